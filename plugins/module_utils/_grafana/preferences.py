# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preferences of an organisation and of teams (private: may change at any time)."""

from __future__ import annotations

import typing as t

from .client import Client, GrafanaError, path_of
from .directory import ORGANIZATION, TEAM, Directory, Part, checked_name, uid_of
from .kind import Change, Declared, Found, Gathered, Observation, check_uid, check_unique, reference

PREFERENCES = "preferences"
# Names in requests, by option.
_KEYS = {
    "theme": "theme",
    "timezone": "timezone",
    "week_start": "weekStart",
    "language": "language",
    "home_dashboard_uid": "homeDashboardUID",
}


def declare(params: t.Mapping[str, t.Any]) -> list[Declared]:
    """The declared preferences. Raises C(GrafanaError) for what is wrong whatever the server has."""
    want = []
    for position, options in enumerate(params["preferences"]):
        where = f"preferences[{position}]"
        team = None if options["team"] is None else checked_name(options["team"], where, "team")
        value = {key: options[key].strip() for key in _KEYS if options[key] is not None}
        if not value:
            raise GrafanaError(f"{where}: give at least one of {', '.join(_KEYS)}")
        if value.get("home_dashboard_uid"):
            check_uid(value["home_dashboard_uid"], f"{where}: home_dashboard_uid")
        name = ORGANIZATION if team is None else f"{TEAM} {team}"
        want.append(Declared(uid_of(PREFERENCES, name), value, where, {"team": team}))
    check_unique(((item.where, item.uid) for item in want), "owner")
    return want


def observe(directory: Directory, want: t.Sequence[Declared], params: t.Mapping[str, t.Any]) -> dict[str, Found]:
    """The preferences of each by itself: the API has no list of all. What is not set is an empty text."""
    have = {}
    for item in want:
        team, raw = item.raw["team"], {}
        item.raw["unknown"] = ""
        if team is None:
            raw = directory.client.get(path_of("org", "preferences"))
        elif team in directory.teams():
            raw = directory.client.get(path_of("teams", str(directory.teams()[team]["id"]), "preferences"))
        if team is not None:
            states = {entry["name"].strip(): entry["state"] for entry in params["teams"]}
            if states.get(team, "present" if team in directory.teams() else "absent") == "absent":
                item.raw["unknown"] = f"team {team!r}"
        have[item.uid] = Found(item.uid, {key: raw.get(wire) or "" for key, wire in _KEYS.items()})
        home = (item.value or {}).get("home_dashboard_uid")
        new = home if home != have[item.uid].value["home_dashboard_uid"] else ""
        if new and not directory.client.get(path_of("dashboards", "uid", new), missing={}):
            item.raw["unknown"] = f"dashboard {home!r}"
    return have


def check(want: t.Sequence[Declared], everything: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> None:
    """Raises C(GrafanaError) for teams and dashboards that do not exist. In check mode tasks before this one may be about to make them."""
    for item in want:
        if item.raw.get("unknown") and not params.get("check_mode"):
            raise GrafanaError(f"{item.where}: {item.raw['unknown']} does not exist in this organisation")


def changes(item: Declared, found: Found | None, observation: Observation) -> list[Change]:
    """The request that sets the preferences of one: what it leaves out is reset."""
    value = {**(found.value if found else {}), **(item.value or {})}
    path = path_of("org", "preferences") if item.raw["team"] is None else path_of("teams", reference(TEAM, item.raw["team"]), "preferences")
    return [Change(item.uid, "PUT", path, {_KEYS[key]: part for key, part in value.items() if part})]


def gather(client: Client) -> Gathered:
    """The preferences of the organisation and of all teams, where some are set."""
    directory = Directory(client)
    gathered = Gathered({})
    for team in (None, *sorted(directory.teams())):
        owner = ORGANIZATION if team is None else f"{TEAM} {team}"
        found = observe(directory, [Declared(owner, None, "", {"team": team})], {"teams": []})[owner]
        value = {key: part for key, part in found.value.items() if part}
        if value:
            gathered.options[owner] = {**({} if team is None else {"team": team}), **value}
    return gathered


PREFERENCES_OF = Part(PREFERENCES, declare, observe, check, changes)
