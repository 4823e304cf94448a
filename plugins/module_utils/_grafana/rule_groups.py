# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups of alert rules: how they are declared, read, compared and changed (private: may change at any time)."""

from __future__ import annotations

import re
import typing as t

from .alert_rules import OPTIONS, canonical_rule, datasources_of, declared_rule, written_rule
from .client import Client, GrafanaError, Refused, path_of
from .durations import canonical_duration, parse_duration
from .kind import Change, Declared, Found, Gathered, Kind, Observation, Value, check_uid, check_unique
from .planning import is_as_declared
from .provenance import API, FILE, PAGES, headers_for, wanted_provenance

_RULES = ("v1", "provisioning", "alert-rules")
# Grafana looks at rules every so many seconds.
_SCHEDULER = 10
# Before this version a group takes no rule that brings its uid, and does not keep the order of its rules.
_WHOLE_GROUPS = (11, 6)


def key_of(folder: str, group: str) -> str:
    """What identifies a group: folders' uids contain no slash."""
    return f"{folder}/{group}"


def _path(key: str) -> str:
    folder, _slash, group = key.partition("/")
    return path_of("v1", "provisioning", "folder", folder, "rule-groups", group)


def declare(params: t.Mapping[str, t.Any]) -> list[Declared]:
    """The declared groups. Raises C(GrafanaError) for what is wrong whatever the server has."""
    want = []
    for position, options in enumerate(params["rule_groups"]):
        where, name = f"rule_groups[{position}]", options["name"].strip()
        check_uid(options["folder_uid"], f"{where}: folder_uid")
        if not name or len(name) > 190 or any(ord(character) < 32 for character in name):
            raise GrafanaError(f"{where}: name must have 1 to 190 characters, and no control characters")
        value = None
        if options["state"] == "present":
            if not options["rules"]:
                raise GrafanaError(f"{where}: group {name!r} has no rules: without any it does not exist; state absent deletes it")
            origin = {"provenance": wanted_provenance(params)}
            rules = [{**declared_rule(rule, f"{where}: rules[{place}]"), **origin} for place, rule in enumerate(options["rules"])]
            value = {"interval": _interval(options["interval"], where), "rules": rules, **origin}
        want.append(Declared(key_of(options["folder_uid"], name), value, where))
    check_unique(((item.where, item.uid) for item in want), "folder_uid and name")
    declared = [(item, rule) for item in want for rule in (item.value or {}).get("rules", ())]
    check_unique(((f"{item.where}: rule {rule['title']!r}", rule["uid"]) for item, rule in declared), "uid")
    titles = ((f"{item.where}: rule {rule['uid']!r}", (item.uid.partition("/")[0], rule["title"])) for item, rule in declared)
    check_unique(titles, "title in the same folder")
    for uid in (params["purge"] or {}).get("rule_groups") or ():
        check_uid(uid, "purge.rule_groups")
    return want


def _interval(text: t.Any, where: str) -> str:
    found = canonical_duration(text, f"{where}: interval", may_be_zero=False)
    if (parse_duration(found) or 0) % (_SCHEDULER * 1000):
        raise GrafanaError(f"{where}: interval {found} is not a multiple of {_SCHEDULER}s")
    return found


def observe(client: Client, want: t.Sequence[Declared], params: t.Mapping[str, t.Any]) -> Observation:
    """All rules by the list, the groups' intervals by the export, and what new or changed rules refer to."""
    listed = client.get_list(*_RULES)
    groups: dict[str, list[Value]] = {}
    for raw in listed:
        groups.setdefault(key_of(raw["folderUID"], raw["ruleGroup"]), []).append(raw)
    intervals = _intervals(client, groups, want) if want and groups else {}
    whole = _keeps_order(client) if want else True
    declared = {item.uid: item for item in want}
    have = {key: _found(key, rules, intervals.get(key, ""), None if whole else declared.get(key)) for key, rules in groups.items()}
    changed = [item for item in want if item.value and (item.uid not in have or not is_as_declared(item, have[item.uid]))]
    folders = sorted({item.uid.partition("/")[0] for item in changed if item.uid not in have})
    missing = [uid for uid in folders if not client.get(path_of("folders", uid), missing={})]
    asked = {uid for item in changed for rule in (item.value or {})["rules"] for uid in datasources_of(rule)}
    sources = _datasources(client) if asked else None
    lost = sorted(asked - sources) if sources is not None else []
    places = {raw["uid"]: key for key, rules in groups.items() for raw in rules}
    kept = {rule["uid"] for item in want for rule in (item.value or {}).get("rules", ())}
    return Observation(have, extra={"folders": missing, "datasources": lost, "whole": whole, "places": places, "kept": kept})


def _found(key: str, rules: t.Sequence[Value], interval: str, order: Declared | None) -> Found:
    found = [{**canonical_rule(raw, key), "provenance": raw.get("provenance") or ""} for raw in rules]
    if order is not None and order.value:
        # The server decides about the order: it is no difference.
        places = {rule["uid"]: place for place, rule in enumerate(order.value["rules"])}
        found.sort(key=lambda rule: places.get(rule["uid"], len(places)))
    origins = {rule["provenance"] for rule in found}
    origin = next((one for one in (FILE, API, PAGES) if one in origins), PAGES)
    return Found(key, {"interval": interval, "rules": found, "provenance": origin}, {"provenance": origin})


def _intervals(client: Client, groups: t.Mapping[str, list[Value]], want: t.Sequence[Declared]) -> dict[str, str]:
    """The interval of each group. The export names folders by titles, so that a group is known by its rules."""
    keys = {raw["uid"]: key for key, rules in groups.items() for raw in rules}
    try:
        export = client.get(f"{path_of(*_RULES, 'export')}?format=json")
        found = {keys[group["rules"][0]["uid"]]: canonical_duration(group["interval"], "interval") for group in export["groups"]}
    except (Refused, KeyError, TypeError, IndexError):
        # A rule whose folder is missing breaks the export of all.
        found = {}
    for item in want:
        if item.uid in groups and item.uid not in found:
            group = client.get(_path(item.uid), missing={})
            found[item.uid] = canonical_duration(group.get("interval") or "0s", "interval")
    return found


def _keeps_order(client: Client) -> bool:
    """Whether the server takes a group as a whole. One that does not tell its version is taken for a new one."""
    match = re.match(r"([0-9]+)\.([0-9]+)", str((client.get(path_of("health")) or {}).get("version") or ""))
    return match is None or (int(match[1]), int(match[2])) >= _WHOLE_GROUPS


def _datasources(client: Client) -> set[str] | None:
    """The data sources; C(None) for who may not see them."""
    try:
        return {raw["uid"] for raw in client.get_list("datasources")}
    except Refused as error:
        if error.status != 403:
            raise
        return None


def purged(want: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> list[Declared]:
    """Groups that are not declared, in the folders of the option purge, but for those of files."""
    scope, declared = (params["purge"] or {}).get("rule_groups") or (), {item.uid for item in want}
    return [
        Declared(key, None, "purge.rule_groups")
        for key, found in sorted(observation.have.items())
        if key not in declared and found.raw["provenance"] != FILE and key.partition("/")[0] in scope
    ]


def check(want: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> None:
    """Raises C(GrafanaError) for missing folders and data sources, and for a title that a rule elsewhere keeps."""
    declared = {item.uid for item in want}
    moved = {rule["uid"] for item in want for rule in (item.value or {}).get("rules", ())}
    titles = {
        (key.partition("/")[0], rule["title"]): (rule["uid"], key)
        for key, found in observation.have.items()
        for rule in found.value["rules"]
        if key not in declared and rule["uid"] not in moved
    }
    for item in want:
        folder = item.uid.partition("/")[0]
        if item.value is None:
            continue
        # In check mode a task before this one may be about to make the folder or the data source.
        if folder in observation.extra.get("folders", ()) and not params.get("check_mode"):
            raise GrafanaError(f"{item.where}: folder_uid {folder!r}: there is no such folder; grafana_folders makes folders")
        for rule in item.value["rules"]:
            source = observation.extra.get("places", {}).get(rule["uid"], item.uid)
            if source != item.uid and observation.have[source].raw["provenance"] == FILE:
                raise GrafanaError(
                    f"{item.where}: uid {rule['uid']!r} is that of a rule in group {source!r}, which comes from a provisioning file"
                )
            taken = titles.get((folder, rule["title"]))
            if taken:
                raise GrafanaError(
                    f"{item.where}: rule {rule['uid']!r}: title {rule['title']!r} is that of rule {taken[0]!r} in group {taken[1]!r}, "
                    "which is not declared"
                )
            for uid in sorted(datasources_of(rule) & set(observation.extra.get("datasources", ()))):
                if not params.get("check_mode"):
                    raise GrafanaError(f"{item.where}: rule {rule['uid']!r}: there is no data source with uid {uid!r}")


def changes(item: Declared, found: Found | None, observation: Observation) -> list[Change]:
    """The requests that make one group as declared."""
    before = {rule["uid"]: rule for rule in found.value["rules"]} if found else {}
    if item.value is None:
        return [_deletion(item, uid, rule) for uid, rule in before.items() if uid not in observation.extra["kept"]]
    folder, _slash, group = item.uid.partition("/")
    made, headers = [], headers_for(item)
    rules = [written_rule({key: part for key, part in rule.items() if key != "provenance"}, folder, group) for rule in item.value["rules"]]
    if not observation.extra.get("whole", True):
        uids = {rule["uid"] for rule in rules}
        made += [_deletion(item, uid, rule) for uid, rule in before.items() if uid not in uids | observation.extra["kept"]]
        new = [rule for rule in rules if rule["uid"] not in observation.extra["places"]]
        made += [Change(item.uid, "POST", path_of(*_RULES), rule, headers=headers) for rule in new]
    body = {"title": group, "folderUid": folder, "interval": (parse_duration(item.value["interval"]) or 0) // 1000, "rules": rules}
    shown = {"rules": [rule["uid"] for rule in rules]}
    return [*made, Change(item.uid, "PUT", _path(item.uid), body, masked=shown, headers=headers)]


def _deletion(item: Declared, uid: str, rule: Value) -> Change:
    origin = Found(uid, rule, {"provenance": rule["provenance"]})
    return Change(item.uid, "DELETE", path_of(*_RULES, uid), deletes=item.value is None, headers=headers_for(origin))


def before_others(want: t.Sequence[Declared], observation: Observation) -> dict[str, set[str]]:
    """For each group those that have to be written before it.

    A group that takes a rule from another comes first, or the rule would be deleted there; one that gives up a title of a rule comes
    before one that takes it.
    """
    needed: dict[str, set[str]] = {item.uid: set() for item in want if item.value}
    places: dict[str, str] = observation.extra.get("places", {})
    holders = {
        (key.partition("/")[0], rule["title"]): (key, rule["uid"])
        for key, found in observation.have.items()
        for rule in found.value["rules"]
    }
    for item in want:
        for rule in (item.value or {}).get("rules", ()):
            source = places.get(rule["uid"], item.uid)
            if source != item.uid and source in needed:
                needed[source].add(item.uid)
            key, uid = holders.get((item.uid.partition("/")[0], rule["title"]), (item.uid, rule["uid"]))
            if uid != rule["uid"] and key != item.uid and key in needed:
                needed[item.uid].add(key)
    return needed


def gather(client: Client) -> Gathered:
    """All groups of rules, with their provenance."""
    groups = [Declared(uid, None, "") for uid in observe(client, [], {}).have]
    gathered = Gathered({})
    for uid, found in observe(client, groups, {}).have.items():
        folder, _slash, name = uid.partition("/")
        rules = [{option: rule[key] for option, key in OPTIONS.items() if key in rule} for rule in found.value["rules"]]
        gathered.options[uid] = {"folder_uid": folder, "name": name, **found.value, "rules": rules}
    return gathered


RULE_GROUPS = Kind("rule_group", declare, observe, purged, check, changes)
