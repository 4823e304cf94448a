# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Permissions on folders, dashboards and data sources (private: may change at any time).

Those of a folder or dashboard are written as a whole. Those of a data source, which only Grafana Enterprise and Grafana Cloud have, are
written one by one.
"""

from __future__ import annotations

import typing as t

from .client import Client, GrafanaError, path_of
from .directory import SERVICE_ACCOUNT, TEAM, USER, Directory, Part, checked_name, login_of, uid_of
from .kind import Change, Declared, Found, Gathered, Observation, Value, check_uid, check_unique
from .organizations import members_after

PERMISSION, ROLE = "permission", "role"
FOLDER, DASHBOARD, DATASOURCE = "folder", "dashboard", "data source"
_RESOURCES = {"folder_uid": FOLDER, "dashboard_uid": DASHBOARD, "datasource_uid": DATASOURCE}
_HOLDERS = {"user": USER, "team": TEAM, "service_account": SERVICE_ACCOUNT, "role": ROLE}
_LEVELS = {"View": 1, "Edit": 2, "Admin": 4}
_DATASOURCE_LEVELS = ("Query", "Edit", "Admin")


def declare(params: t.Mapping[str, t.Any]) -> list[Declared]:
    """The declared permissions, by resource. Raises C(GrafanaError) for what is wrong whatever the server has."""
    want = []
    for position, options in enumerate(params["permissions"]):
        where = f"permissions[{position}]"
        given = [key for key in _RESOURCES if options[key] is not None]
        if len(given) != 1:
            raise GrafanaError(f"{where}: give one of {', '.join(_RESOURCES)}")
        resource, uid = _RESOURCES[given[0]], options[given[0]]
        check_uid(uid, f"{where}: {given[0]}")
        levels: dict[str, str] = {}
        gone: set[str] = set()
        for number, entry in enumerate(options["permissions"]):
            inside = f"{where}.permissions[{number}]"
            holder = _holder(entry, inside)
            if holder in levels or holder in gone:
                raise GrafanaError(f"{inside}: {holder!r} is declared twice")
            if entry["state"] == "absent":
                gone.add(holder)
                continue
            _check_level(entry, resource, inside)
            levels[holder] = entry["permission"]
        raw = {"resource": resource, "uid": uid, "levels": levels, "gone": gone, "purge": options["purge"]}
        want.append(Declared(uid_of(PERMISSION, f"{resource} {uid}"), {"permissions": dict(levels)}, where, raw))
    check_unique(((item.where, item.uid) for item in want), "resource")
    return want


def _holder(entry: Value, where: str) -> str:
    given = [key for key in _HOLDERS if entry[key] is not None]
    if len(given) != 1:
        raise GrafanaError(f"{where}: give one of {', '.join(_HOLDERS)}")
    name = checked_name(entry[given[0]], where, given[0])
    return f"{_HOLDERS[given[0]]} {login_of(name) if given[0] == 'user' else name}"


def _check_level(entry: Value, resource: str, where: str) -> None:
    levels = _DATASOURCE_LEVELS if resource == DATASOURCE else tuple(_LEVELS)
    if entry["permission"] not in levels:
        raise GrafanaError(f"{where}: permission must be one of {', '.join(levels)} for a {resource}")
    if entry["role"] == "Admin" and resource != DATASOURCE:
        raise GrafanaError(f"{where}: users with the role Admin always have all permissions on a {resource}")


def observe(directory: Directory, want: t.Sequence[Declared], params: t.Mapping[str, t.Any]) -> dict[str, Found]:
    """The permissions of each declared resource by itself: the API has no list of all. Without purge others stay.

    Those that come from the folders above are not looked at. Names are looked up only where somebody has no permission yet.
    """
    have = {}
    for item in want:
        entries = _entries(directory, item)
        if entries is None:
            item.raw["missing"] = True
            continue
        item.raw["missing"] = False
        accounts: dict[int, str] = {}
        if any(holder.startswith(f"{SERVICE_ACCOUNT} ") for holder in (*item.raw["levels"], *item.raw["gone"])):
            accounts = {account["id"]: name for name, found in directory.service_accounts().items() for account in found}
        levels: dict[str, str] = {}
        mails: dict[str, str] = {}
        for entry in entries:
            holder = _found_holder(entry, accounts)
            levels[holder] = entry["permission"]
            mails[f"{USER} {login_of(entry.get('userEmail') or '')}"] = holder
            number = entry.get("userId") or entry.get("teamId")
            directory.ids.update({f"<{holder}>": number} if number else {})
        _complete(item, levels, mails, directory, params)
        have[item.uid] = Found(item.uid, {"permissions": levels})
    return have


def _complete(item: Declared, before: t.Mapping[str, str], mails: t.Mapping[str, str], directory: Directory, params: t.Any) -> None:
    """Put logins in place of mail addresses, add what stays, and note who does not exist."""
    declared: dict[str, str] = {}
    unknown = []
    for holder, level in item.raw["levels"].items():
        known = holder if holder in before else mails.get(holder) or _looked_up(holder, directory, params)
        if known is None:
            unknown.append(holder)
        declared[known or holder] = level
    gone = {mails.get(holder, holder) for holder in item.raw["gone"]}
    stay = {holder: level for holder, level in before.items() if not item.raw["purge"] and holder not in gone}
    t.cast(Value, item.value)["permissions"] = {**stay, **declared}
    item.raw["unknown"] = unknown


def _looked_up(holder: str, directory: Directory, params: t.Mapping[str, t.Any]) -> str | None:
    """A holder by login, if it exists or is declared, too."""
    kind = next(kind for kind in _HOLDERS.values() if holder.startswith(f"{kind} "))
    name = holder[len(kind) + 1 :]
    if kind == USER:
        login = members_after(directory, params).get(name)
        return f"{USER} {login}" if login else None
    lists: dict[str, t.Callable[[], t.Collection[str]]] = {
        TEAM: directory.teams,
        SERVICE_ACCOUNT: directory.service_accounts,
    }
    declared = {TEAM: "teams", SERVICE_ACCOUNT: "service_accounts"}
    if kind in lists:
        states = {entry["name"].strip(): entry["state"] for entry in params[declared[kind]]}
        return holder if states.get(name, "present" if name in lists[kind]() else "absent") == "present" else None
    return holder


def _entries(directory: Directory, item: Declared) -> list[Value] | None:
    """What the server says of one resource: permission, and who has it. C(None) where there is no such resource."""
    resource, uid = item.raw["resource"], item.raw["uid"]
    missing: Value = {}
    found = directory.client.get(_path(item), missing=missing)
    if found is missing:
        if resource == DATASOURCE and directory.client.get(path_of("datasources", "uid", uid), missing={}):
            raise GrafanaError(f"{item.where}: this Grafana has no permissions on data sources; Grafana Enterprise and Grafana Cloud have")
        return None
    if not isinstance(found, list):
        raise GrafanaError(f"GET {_path(item)}: the answer is no list")
    if resource == DATASOURCE:
        return [entry for entry in found if entry.get("isManaged") and not entry.get("isInherited")]
    names = {number: name for name, number in _LEVELS.items()}
    # A level that Grafana does not know, which it takes though, differs from all that can be declared.
    return [{**entry, "permission": names.get(entry["permission"], "")} for entry in found if not entry.get("inherited")]


def _path(item: Declared) -> str:
    parts = {FOLDER: ("folders",), DASHBOARD: ("dashboards", "uid"), DATASOURCE: ("access-control", "datasources")}
    below = () if item.raw["resource"] == DATASOURCE else ("permissions",)
    return path_of(*parts[item.raw["resource"]], item.raw["uid"], *below)


def _found_holder(entry: Value, accounts: t.Mapping[int, str]) -> str:
    role = entry.get("role") or entry.get("builtInRole")
    if role:
        return f"{ROLE} {role}"
    if entry.get("teamId"):
        return f"{TEAM} {entry['team']}"
    if entry["userId"] in accounts:
        return f"{SERVICE_ACCOUNT} {accounts[entry['userId']]}"
    return f"{USER} {login_of(entry['userLogin'])}"


def check(want: t.Sequence[Declared], everything: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> None:
    """Raises C(GrafanaError) for resources and holders that do not exist. In check mode tasks before this one may be about to make them."""
    if params.get("check_mode"):
        return
    for item in want:
        if item.raw.get("missing"):
            raise GrafanaError(f"{item.where}: {item.raw['resource']} {item.raw['uid']!r} does not exist")
        for holder in item.raw.get("unknown", ()):
            raise GrafanaError(f"{item.where}: {holder!r} does not exist in this organisation")


def changes(item: Declared, found: Found | None, observation: Observation) -> list[Change]:
    """The requests that make the permissions of one resource as declared."""
    before = found.value["permissions"] if found else {}
    after = t.cast(Value, item.value)["permissions"]
    if item.raw["resource"] != DATASOURCE:
        items = [{**_who(holder), "permission": _LEVELS[level]} for holder, level in sorted(after.items()) if level in _LEVELS]
        return [Change(item.uid, "POST", _path(item), {"items": items})]
    kinds = {USER: "users", SERVICE_ACCOUNT: "users", TEAM: "teams", ROLE: "builtInRoles"}
    made = []
    for holder in sorted({*before, *after}):
        if before.get(holder) != after.get(holder):
            kind = next(kind for kind in kinds if holder.startswith(f"{kind} "))
            who = holder[len(kind) + 1 :] if kind == ROLE else f"<{holder}>"
            path = f"{_path(item)}{path_of(kinds[kind], who)[len('/api') :]}"
            made.append(Change(item.uid, "POST", path, {"permission": after.get(holder, "")}))
    return made


def _who(holder: str) -> Value:
    kind, _space, name = holder.partition(" ")
    if kind == ROLE:
        return {"role": name}
    return {"teamId" if kind == TEAM else "userId": f"<{holder}>"}


def gather(client: Client) -> Gathered:
    """The own permissions of all folders and dashboards, as a whole. Those of data sources are of some editions only."""
    directory = Directory(client)
    accounts = {account["id"]: name for name, found in directory.service_accounts().items() for account in found}
    gathered = Gathered({})
    for option, kind in (("folder_uid", "dash-folder"), ("dashboard_uid", "dash-db")):
        for uid in sorted({hit["uid"] for hit in client.pages("search", type=kind)}):
            item = Declared(uid, None, "", {"resource": _RESOURCES[option], "uid": uid})
            entries = _entries(directory, item)
            if entries is None:
                continue
            held = [(_found_holder(entry, accounts), entry["permission"]) for entry in entries]
            # Users with this role always have all permissions, so that they are not declared.
            granted = [{**_options_of(holder), "permission": level} for holder, level in held if holder != f"{ROLE} Admin"]
            gathered.options[f"{_RESOURCES[option]} {uid}"] = {option: uid, "permissions": granted, "purge": len(granted) == len(held)}
    return gathered


def _options_of(holder: str) -> Value:
    """The option that names a holder."""
    return {option: holder[len(kind) + 1 :] for option, kind in _HOLDERS.items() if holder.startswith(f"{kind} ")}


PERMISSIONS = Part(PERMISSION, declare, observe, check, changes)
