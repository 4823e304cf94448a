# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private: alert rules and where alerts are sent, delivered in two ways. May change at any time.

C(module_options) makes the options of the module grafana_alerting. C(provisioning_file) makes of the same options the file that a server
reads itself. Grafana keeps what left such a file, so the file also lists what to delete: all that an earlier one had.
"""

from __future__ import annotations

import copy
import re
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.groundwork.observability.plugins.module_utils._grafana import alerting
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.alert_rules import datasources_of
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.argument_specs import alerting_spec
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.client import GrafanaError
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.contact_points import leaves, with_leaf
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.kind import Declared
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.notification_policies import walk
from ansible_collections.groundwork.observability.plugins.plugin_utils._grafana_content import ContentError, folder_uid

Options = dict[str, t.Any]
# The contact point that every organisation has from the beginning.
GRAFANAS_OWN = "grafana-default-email"
# No data source: expressions of a rule.
_EXPRESSIONS = ("__expr__", "-100")
ORG = 1
# Keys of a rule that a file calls otherwise than the API.
_FILE_NAMES = {"keep_firing_for": "keepFiringFor", "missingSeriesEvalsToResolve": "missing_series_evals_to_resolve"}
_API_NAMES = {name: key for key, name in _FILE_NAMES.items()}
# List of a file -> the list with what is to be deleted, the key of its entries, and whether they are inside of C(rules) or C(receivers).
_LISTS = {
    "groups": ("deleteRules", "uid", "rules"),
    "contactPoints": ("deleteContactPoints", "uid", "receivers"),
    "muteTimes": ("deleteMuteTimes", "name", ""),
    "templates": ("deleteTemplates", "name", ""),
}


def module_options(
    rule_groups: t.Sequence[t.Mapping[str, t.Any]] = (),
    contact_points: t.Sequence[t.Mapping[str, t.Any]] = (),
    policy: t.Mapping[str, t.Any] | None = None,
    mute_timings: t.Sequence[t.Mapping[str, t.Any]] = (),
    templates: t.Sequence[t.Mapping[str, t.Any]] = (),
    datasources: t.Collection[str] | None = None,
    dashboard_folders: t.Sequence[t.Mapping[str, str]] = (),
) -> Options:
    """Options of the module grafana_alerting, and C(folders), the folders of the rules.

    :param rule_groups: groups of rules, with C(folder), the title of their folder, instead of its uid.
    :param contact_points: contact points, as the module takes them.
    :param policy: the tree of notification policies, as the module takes it; empty: it is not managed.
    :param mute_timings: mute timings, as the module takes them.
    :param templates: notification templates, as the module takes them.
    :param datasources: uids of the data sources that there are; None: it is not known.
    :param dashboard_folders: folders with dashboards, each with C(title). Rules cannot be in one of them: a server that reads its files
        gives a folder of rules a uid of its own, before it looks at the dashboards.
    :raises ContentError: Grafana would refuse something of it, or it refers to something that is not declared.
    """
    options: Options = {
        "rule_groups": [_with_folder_uid(group) for group in rule_groups],
        "contact_points": list(contact_points),
        "mute_timings": list(mute_timings),
        "templates": list(templates),
        **({"policy_tree": policy} if policy else {}),
    }
    _check_references(_declared(options), datasources)
    folders = {folder_uid(group["folder"]): group["folder"] for group in rule_groups}
    taken = {folder["title"].casefold() for folder in dashboard_folders} & {title.casefold() for title in folders.values()}
    if taken:
        raise ContentError(f"folder {', '.join(sorted(taken))} has dashboards, and rules need folders of their own: give it another name")
    return {**options, "folders": [{"uid": uid, "title": title} for uid, title in folders.items()]}


def problem(name: str, value: t.Any) -> str:
    """What is wrong with one entry of an option of the module, empty where nothing is. What it refers to is not looked at.

    :param name: the option. Groups of rules have C(folder) instead of C(folder_uid).
    :param value: the entry; of C(policy_tree) the option itself.
    """
    try:
        given = _with_folder_uid(value) if name == "rule_groups" else value
        _declared({"contact_points": [], name: given if name == "policy_tree" else [given]})
    except ContentError as error:
        return re.sub(rf"^{name}\[0\]: ", "", str(error))
    return ""


def _with_folder_uid(group: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """A group of rules as the module takes it."""
    title, rules = group.get("folder"), group.get("rules") or []
    if not isinstance(title, str):
        raise ContentError("folder is missing: the title of the folder that the rules are in")
    if not isinstance(rules, list) or not all(isinstance(rule, t.Mapping) for rule in rules):
        raise ContentError("rules has to be a list of dictionaries")
    kept = {key: value for key, value in group.items() if key not in ("folder", "orgId")}
    return {**kept, "folder_uid": folder_uid(title), "rules": [{_API_NAMES.get(key, key): rule[key] for key in rule} for rule in rules]}


def _declared(options: t.Mapping[str, t.Any]) -> list[Declared]:
    """What the module makes of its options."""
    given = {name: value for name, value in options.items() if name != "folders"}
    checked = ArgumentSpecValidator(alerting_spec()).validate({"url": "http://localhost", "token": "x", **copy.deepcopy(given)})
    if checked.error_messages:
        raise ContentError(_without_secrets(checked.error_messages[0], given))
    try:
        return alerting.declare(checked.validated_parameters)
    except GrafanaError as error:
        raise ContentError(_without_secrets(str(error), given)) from error


def _without_secrets(message: str, options: t.Mapping[str, t.Any]) -> str:
    for point in options["contact_points"]:
        secrets = point.get("secure_settings") if isinstance(point, t.Mapping) else None
        for _path, secret in leaves(secrets) if isinstance(secrets, t.Mapping) else ():
            message = message.replace(str(secret), "(hidden)")
    return message


def _check_references(declared: t.Sequence[Declared], datasources: t.Collection[str] | None) -> None:
    values = [(item, item.value) for item in declared if item.value]
    receivers = {value["name"] for _item, value in values if "settings" in value} | {GRAFANAS_OWN}
    timings = {item.name for item, value in values if "time_intervals" in value}
    for item, value in values:
        routes = [*walk(value["tree"])] if "tree" in value else []
        named = [(f"{item.where}: a route", route) for route in routes]
        for rule in value.get("rules", ()):
            named += [(f"rule {rule['uid']}", rule["notification_settings"])] if rule.get("notification_settings") else []
            asked = datasources_of(rule) - set(_EXPRESSIONS)
            unknown = sorted(asked - set(asked if datasources is None else datasources))
            if unknown:
                raise ContentError(f"rule {rule['uid']} asks data source {', '.join(unknown)}, which grafana_datasources does not have")
        for where, route in named:
            if route.get("receiver", GRAFANAS_OWN) not in receivers:
                raise ContentError(f"{where} sends to {route['receiver']}, which grafana_contact_points does not have")
            for name in (*route.get("mute_time_intervals", ()), *route.get("active_time_intervals", ())):
                if name not in timings:
                    raise ContentError(f"{where} names the mute timing {name}, which grafana_mute_timings does not have")


def provisioning_file(options: Options, previous: t.Mapping[str, t.Any] | None = None) -> dict[str, t.Any]:
    """The file for Grafana's folder C(provisioning/alerting).

    :param options: what C(module_options) returned.
    :param previous: the file that is there. What it has, or deletes, and what is not declared any more, is deleted.
    :raises ContentError: contact points are to be deleted, and a tree of policies that is not managed may use them.
    """
    titles = {folder["uid"]: folder["title"] for folder in options["folders"]}
    made: dict[str, t.Any] = {"apiVersion": 1, **{name: [] for name in _LISTS}, "policies": []}
    receivers: dict[str, list[dict[str, t.Any]]] = {}
    secrets = {point["uid"]: point.get("secure_settings") or {} for point in options["contact_points"]}
    for item in _declared(options):
        value = item.value or {}
        if "rules" in value:
            uid, _slash, name = item.name.partition("/")
            rules = [_file_rule(rule) for rule in value["rules"]]
            made["groups"].append({"orgId": ORG, "name": name, "folder": titles[uid], "interval": value["interval"], "rules": rules})
        elif "settings" in value:
            settings = copy.deepcopy(dict(value["settings"]))
            for path, secret in leaves(secrets[item.name]):
                with_leaf(settings, path, secret)
            receiver = {"uid": item.name, "type": value["type"], "settings": settings}
            receivers.setdefault(value["name"], []).append({**receiver, "disableResolveMessage": value["disable_resolve_message"]})
        elif "tree" in value:
            made["policies"] = [{"orgId": ORG, **value["tree"]}]
        elif "time_intervals" in value:
            made["muteTimes"].append({"orgId": ORG, "name": item.name, **value})
        elif "template" in value:
            made["templates"].append({"orgId": ORG, "name": item.name, "template": value["template"]})
    made["contactPoints"] = [{"orgId": ORG, "name": name, "receivers": entries} for name, entries in receivers.items()]
    made = t.cast("dict[str, t.Any]", _escaped(made))
    return {**made, **_deletions(made, previous or {})}


def _file_rule(rule: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {_FILE_NAMES.get(key, key): value for key, value in rule.items() if key != "provenance"}


def _escaped(value: t.Any) -> t.Any:
    """With C($) as C($$). Grafana expands variables in all texts but those of queries and annotations.

    Source: grafana/grafana, pkg/services/provisioning/alerting/rules_types.go, which takes C(Raw) for these two.
    """
    if isinstance(value, dict):
        return {key: part if key in ("model", "annotations") else _escaped(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_escaped(part) for part in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def _deletions(made: t.Mapping[str, t.Any], previous: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {}
    for name, (deleted, key, inside) in _LISTS.items():
        there = _keys(made, name, key, inside)
        before = [*_keys(previous, name, key, inside), *(entry[key] for entry in previous.get(deleted) or ())]
        gone = sorted(set(before) - set(there))
        if gone:
            found[deleted] = [{"orgId": ORG, key: one} for one in gone]
    if not made["policies"] and (previous.get("policies") or previous.get("resetPolicies")):
        found["resetPolicies"] = [ORG]
    newly = set(_keys(previous, "contactPoints", "uid", "receivers")) & {entry["uid"] for entry in found.get("deleteContactPoints", ())}
    if newly and not made["policies"] and "resetPolicies" not in found:
        raise ContentError(
            f"contact points {', '.join(sorted(newly))} left grafana_contact_points, and notification policies that are made in Grafana's "
            "pages may send to them, with which Grafana would not start: set grafana_notification_policy, or put them back"
        )
    return found


def _keys(file: t.Mapping[str, t.Any], name: str, key: str, inside: str) -> list[str]:
    entries = file.get(name) or ()
    return [entry[key] for outer in entries for entry in ((outer.get(inside) or ()) if inside else (outer,))]
