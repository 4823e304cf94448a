# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server has, in the form that the modules take as options (private: may change at any time)."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from . import (
    contact_points,
    dashboards,
    datasources,
    folders,
    library_panels,
    mute_timings,
    notification_policies,
    notification_templates,
    permissions,
    preferences,
    rule_groups,
    service_accounts,
    silences,
    teams,
)
from .access import Access
from .alerting import ALERTING
from .argument_specs import (
    Spec,
    access_spec,
    alerting_spec,
    dashboards_spec,
    datasources_spec,
    folders_spec,
    library_panels_spec,
    silences_spec,
)
from .client import Client, GrafanaError, Refused, path_of
from .kind import FROM_FILE, Gathered, Kind, Value
from .provenance import FILE, PAGES

Reason = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Source:
    """How one list of objects is read, and which module's option takes it."""

    gather: t.Callable[[Client], Gathered]
    kind: Kind
    spec: t.Callable[[], Spec]


SOURCES = {
    "folders": Source(folders.gather, folders.FOLDERS, folders_spec),
    "datasources": Source(datasources.gather, datasources.DATASOURCES, datasources_spec),
    "library_panels": Source(library_panels.gather, library_panels.LIBRARY_PANELS, library_panels_spec),
    "dashboards": Source(dashboards.gather, dashboards.DASHBOARDS, dashboards_spec),
    "silences": Source(silences.gather, silences.SILENCES, silences_spec),
}
TREE = "policy_tree"
# Options of one module.
ALERTING_SOURCES = {
    "templates": Source(notification_templates.gather, ALERTING, alerting_spec),
    "mute_timings": Source(mute_timings.gather, ALERTING, alerting_spec),
    "contact_points": Source(contact_points.gather, ALERTING, alerting_spec),
    TREE: Source(notification_policies.gather, ALERTING, alerting_spec),
    "rule_groups": Source(rule_groups.gather, ALERTING, alerting_spec),
}
# Options of one module, but for what belongs to the server and not to the organisation.
ACCESS_SOURCES = {
    "teams": Source(teams.gather, Access(hidden=False).kind(), access_spec),
    "service_accounts": Source(service_accounts.gather, Access(hidden=False).kind(), access_spec),
    "permissions": Source(permissions.gather, Access(hidden=False).kind(), access_spec),
    "preferences": Source(preferences.gather, Access(hidden=False).kind(), access_spec),
}
SECTIONS = (*SOURCES, "alerting", "access")
# How Grafana answers who may not see something, and for what it does not have in all editions and versions.
_NOT_FOR_YOU = (403, 404)


@dataclass
class Report:
    """What was found, and what was not: C(skipped) says why a section is missing, C(left_out) why single objects are."""

    found: Value = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    left_out: Reason = field(default_factory=dict)
    secrets: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    @property
    def result(self) -> Value:
        """As the module returns it."""
        return {**self.found, "skipped": self.skipped, "left_out": self.left_out, "secrets": self.secrets}


def gather(client: Client, names: t.Collection[str]) -> Report:
    """The chosen sections. One that the user may not see is skipped. Raises C(GrafanaError) for all other errors."""
    org, health = client.get(path_of("org")), client.get(path_of("health")) or {}
    report = Report({"organization": {"id": org["id"], "name": org["name"]}, "version": str(health.get("version") or "")})
    for name in SECTIONS:
        if name not in names and "all" not in names:
            continue
        try:
            if name == "alerting":
                report.found[name] = _alerting(client, report)
            elif name == "access":
                report.found[name] = _access(client, report)
            else:
                report.found[name] = _usable(client, name, SOURCES[name], report)
        except Refused as error:
            if error.status not in _NOT_FOR_YOU:
                raise
            report.skipped[name] = str(error)
    return report


def _usable(client: Client, name: str, source: Source, report: Report) -> list[Value]:
    """The objects that the module would take, by uid. What it would refuse is left out with its reason."""
    gathered = source.gather(client)
    left_out, usable = dict(gathered.left_out), []
    for uid, options in sorted(gathered.options.items()):
        problem = _problem(name, options, source)
        if problem:
            left_out[uid] = problem
        else:
            usable.append(options)
    if left_out:
        report.left_out[name] = left_out
    secrets = {uid: names for uid, names in gathered.secrets.items() if uid not in left_out}
    if secrets:
        report.secrets[name] = secrets
    return usable


def _problem(name: str, options: Value, source: Source) -> str:
    """Why the module would refuse an object whatever the server has; nothing if it would take it."""
    if options.get("provenance") == FILE:
        return FROM_FILE
    given = {key: part for key, part in options.items() if key != "provenance"}
    checked = ArgumentSpecValidator(source.spec()).validate({"url": "http://localhost", name: given if name == TREE else [given]})
    if checked.error_messages:
        return "; ".join(checked.error_messages)
    try:
        source.kind.declare(checked.validated_parameters)
    except GrafanaError as error:
        return str(error).removeprefix(f"{name}[0]: ")
    return ""


def _alerting(client: Client, report: Report) -> list[Value]:
    """The options of one call for what Grafana's pages may change, and of one for the rest. That with the policies is last."""
    calls: dict[bool, Value] = {True: {}, False: {}}
    for name, source in ALERTING_SOURCES.items():
        for options in _usable(client, name, source, report):
            editable = options.pop("provenance") == PAGES
            if name == TREE:
                calls[editable][name] = options
            else:
                calls[editable].setdefault(name, []).append(options)
    filled = [{"editable_in_ui": editable, **options} for editable, options in calls.items() if options]
    return sorted(filled, key=lambda options: TREE in options)


def _access(client: Client, report: Report) -> Value:
    """The options of one call, as far as the user may see them."""
    options: Value = {}
    for name, source in ACCESS_SOURCES.items():
        try:
            options[name] = _usable(client, name, source, report)
        except Refused as error:
            if error.status not in _NOT_FOR_YOU:
                raise
            report.skipped[f"access.{name}"] = str(error)
    return options
