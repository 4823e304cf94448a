# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Teams and their members (private: may change at any time)."""

from __future__ import annotations

import typing as t

from .client import Client, GrafanaError, path_of
from .directory import TEAM, USER, Directory, Part, checked_name, login_of, name_of, uid_of
from .kind import Change, Declared, Found, Gathered, Observation, Value, check_unique, reference
from .organizations import members_after

MEMBER, ADMIN = "Member", "Admin"
_LEVELS = {MEMBER: 0, ADMIN: 4}
# Options that list members, and their level.
_LISTS = (("members", MEMBER), ("admins", ADMIN))


def declare(params: t.Mapping[str, t.Any]) -> list[Declared]:
    """The declared teams. Raises C(GrafanaError) for what is wrong whatever the server has."""
    want = []
    for position, options in enumerate(params["teams"]):
        where = f"teams[{position}]"
        name = checked_name(options["name"], where)
        given = options["members"] is not None or options["admins"] is not None or options["purge"]
        if options["state"] == "absent":
            if given:
                raise GrafanaError(f"{where}: a team that is absent has no members")
            want.append(Declared(uid_of(TEAM, name), None, where))
            continue
        value: Value = {} if options["email"] is None else {"email": options["email"]}
        members: dict[str, str] = {}
        for key, level in _LISTS:
            for number, member in enumerate(options[key] or ()):
                login = login_of(checked_name(member, f"{where}.{key}[{number}]", "login"))
                if login in members:
                    raise GrafanaError(f"{where}.{key}[{number}]: user {login!r} is declared twice")
                members[login] = level
        if given:
            value["members"] = dict(members)
        want.append(Declared(uid_of(TEAM, name), value, where, {"members": members, "purge": options["purge"]}))
    check_unique(((item.where, item.uid) for item in want), "name")
    return want


def observe(directory: Directory, want: t.Sequence[Declared], params: t.Mapping[str, t.Any]) -> dict[str, Found]:
    """The declared teams by the list of all, and the members of each that declares some by itself: the API has no list of all.

    Mail addresses become logins. Without purge other members stay.
    """
    have = {}
    for item in want:
        name = name_of(item.uid)
        raw = directory.teams().get(name)
        value: Value = {"email": raw["email"]} if raw else {}
        if item.value is not None and "members" in item.value:
            before, names = _members(directory, raw)
            value["members"] = before
            if not set(item.raw["members"]) <= set(names):
                names = {**members_after(directory, params), **names}
            declared: dict[str, str] = {}
            for login, level in item.raw["members"].items():
                if names.get(login, login) in declared:
                    raise GrafanaError(f"{item.where}: user {names.get(login, login)!r} is declared twice, by login and by mail address")
                declared[names.get(login, login)] = level
            item.value["members"] = {**({} if item.raw["purge"] else before), **declared}
            item.raw["unknown"] = [login for login in item.raw["members"] if login not in names]
        if raw:
            have[item.uid] = Found(item.uid, value, raw)
    return have


def _members(directory: Directory, team: Value | None) -> tuple[dict[str, str], dict[str, str]]:
    """The members of a team; and login by login and by mail address. The user who makes a team becomes its Admin."""
    if team is None:
        caller = login_of(directory.caller().get("login", ""))
        directory.ids.update({reference(USER, caller): directory.caller()["id"]} if caller else {})
        return ({caller: ADMIN}, {caller: caller}) if caller else ({}, {})
    found = directory.client.get_list("teams", str(team["id"]), "members")
    directory.ids.update({reference(USER, login_of(user["login"])): user["userId"] for user in found})
    levels = {number: level for level, number in _LEVELS.items()}
    members = {login_of(user["login"]): levels.get(user["permission"], MEMBER) for user in found}
    return members, {login_of(name): login_of(user["login"]) for user in found for name in (user["login"], user["email"])}


def check(want: t.Sequence[Declared], everything: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> None:
    """Raises C(GrafanaError) for members who are no users of the organisation."""
    absent = {item.uid for item in everything if item.value is None}
    for item in want:
        for login in (item.value or {}).get("members", {}):
            if uid_of(USER, login) in absent and login in item.raw["members"]:
                raise GrafanaError(f"{item.where}: user {login!r} is declared absent")
        unknown = item.raw.get("unknown")
        if unknown and not params.get("check_mode"):
            raise GrafanaError(f"{item.where}: {unknown[0]!r} is neither login nor mail address of a user of this organisation")


def changes(item: Declared, found: Found | None, observation: Observation) -> list[Change]:
    """The requests that make one team as declared."""
    name = name_of(item.uid)
    team = reference(TEAM, name)
    if item.value is None:
        return [Change(item.uid, "DELETE", path_of("teams", team), deletes=True)]
    made = []
    if found is None:
        made.append(Change(item.uid, "POST", path_of("teams"), {"name": name, "email": item.value.get("email", "")}))
    elif item.value.get("email", found.value["email"]) != found.value["email"]:
        made.append(Change(item.uid, "PUT", path_of("teams", team), {"name": name, "email": item.value["email"]}))
    if "members" not in item.value:
        return made
    caller = login_of(observation.extra.get("caller", {}).get("login", ""))
    before = found.value["members"] if found else ({caller: ADMIN} if caller else {})
    after = item.value["members"]
    for login, level in sorted(after.items()):
        user = reference(USER, login)
        if login not in before:
            made.append(Change(item.uid, "POST", path_of("teams", team, "members"), {"userId": user}))
        if before.get(login, MEMBER) != level:
            made.append(Change(item.uid, "PUT", path_of("teams", team, "members", user), {"permission": _LEVELS[level]}))
    gone = sorted(set(before) - set(after))
    return made + [Change(item.uid, "DELETE", path_of("teams", team, "members", reference(USER, login))) for login in gone]


def gather(client: Client) -> Gathered:
    """All teams with their members."""
    directory = Directory(client)
    gathered = Gathered({})
    for name, raw in directory.teams().items():
        levels, _names = _members(directory, raw)
        logins = {key: sorted(login for login, found in levels.items() if found == level) for key, level in _LISTS}
        gathered.options[name] = {"name": name, "email": raw["email"], **logins, "purge": True}
    return gathered


TEAMS = Part(TEAM, declare, observe, check, changes)
