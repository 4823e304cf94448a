# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Organisations, and which users they have (private: may change at any time)."""

from __future__ import annotations

import typing as t

from .client import GrafanaError, path_of
from .directory import ORGANIZATION, ORGANIZATION_USERS, USER, Directory, Part, checked_name, login_of, name_of, uid_of
from .kind import Change, Declared, Found, Observation, Value, check_unique, reference

# Grafana makes it at its first start, and puts new users into it.
_MAIN = 1


def declare(params: t.Mapping[str, t.Any]) -> list[Declared]:
    """The declared organisations. Raises C(GrafanaError) for what is wrong whatever the server has."""
    want = []
    for position, options in enumerate(params["organizations"]):
        where = f"organizations[{position}]"
        name = checked_name(options["name"], where)
        value = {"name": name} if options["state"] == "present" else None
        want.append(Declared(uid_of(ORGANIZATION, name), value, where, {"id": options["id"]}))
    check_unique(((item.where, item.uid) for item in want), "name")
    check_unique(((item.where, item.raw["id"]) for item in want if item.raw["id"] is not None), "id")
    return want


def observe(directory: Directory, want: t.Sequence[Declared], params: t.Mapping[str, t.Any]) -> dict[str, Found]:
    """The declared organisations by the list of all."""
    have = {}
    for item in want:
        key, wanted = ("name", name_of(item.uid)) if item.raw["id"] is None else ("id", item.raw["id"])
        raw = next((org for org in directory.organizations() if org[key] == wanted), None)
        if raw is None and key == "id" and item.value is not None:
            raise GrafanaError(f"{item.where}: there is no organisation with id {wanted}")
        if raw:
            have[item.uid] = Found(item.uid, {"name": raw["name"]}, raw)
            directory.ids[reference(ORGANIZATION, name_of(item.uid))] = raw["id"]
            if item.value is None and item.raw["id"] is not None and raw["name"] != name_of(item.uid):
                raise GrafanaError(f"{item.where}: the organisation with id {wanted} is called {raw['name']!r}; it is not deleted")
    return have


def check(want: t.Sequence[Declared], everything: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> None:
    """Raises C(GrafanaError) for what must not be deleted, and for names that others keep."""
    listed = observation.extra.get("organizations", ())
    renamed = {observation.have[item.uid].raw["id"] for item in want if item.uid in observation.have}
    kept = {org["name"]: org["id"] for org in listed if org["id"] not in renamed}
    for item in want:
        found = observation.have.get(item.uid)
        if item.value is not None:
            if item.value["name"] in kept:
                raise GrafanaError(f"{item.where}: the name is that of the organisation with id {kept[item.value['name']]}")
        elif found and found.raw["id"] == _MAIN:
            raise GrafanaError(f"{item.where}: {found.value['name']!r} is the main organisation of this Grafana, which must not be deleted")
        elif found and found.raw["id"] == observation.extra["organization"]["id"]:
            raise GrafanaError(f"{item.where}: it is the current organisation of the user; set org_id or org_name to another one")


def changes(item: Declared, found: Found | None, observation: Observation) -> list[Change]:
    """The request that makes one organisation as declared."""
    path = path_of("orgs", reference(ORGANIZATION, name_of(item.uid)))
    if item.value is None:
        return [Change(item.uid, "DELETE", path, deletes=True, lost="all that is in it")]
    body = {"name": item.value["name"]}
    if found is None:
        return [Change(item.uid, "POST", path_of("orgs"), body)]
    return [Change(item.uid, "PUT", path, body)]


def declare_users(params: t.Mapping[str, t.Any]) -> list[Declared]:
    """The users that organisations are to have. Raises C(GrafanaError) for what is wrong whatever the server has."""
    want = []
    for position, options in enumerate(params["organizations"]):
        where = f"organizations[{position}]"
        if options["users"] is None and not options["purge"]:
            continue
        if options["state"] == "absent":
            raise GrafanaError(f"{where}: an organisation that is absent has no users")
        users: dict[str, str] = {}
        gone: dict[str, str] = {}
        for number, user in enumerate(options["users"] or ()):
            login = login_of(checked_name(user["login"], f"{where}.users[{number}]", "login"))
            if login in users or login in gone:
                raise GrafanaError(f"{where}.users[{number}]: user {login!r} is declared twice")
            if user["state"] == "absent":
                gone[login] = f"{where}.users[{number}]"
            else:
                users[login] = user["role"]
        raw = {"users": users, "gone": gone, "purge": options["purge"]}
        want.append(Declared(uid_of(ORGANIZATION_USERS, options["name"].strip()), {"users": dict(users)}, where, raw))
    return want


def observe_users(directory: Directory, want: t.Sequence[Declared], params: t.Mapping[str, t.Any]) -> dict[str, Found]:
    """The users of the declared organisations, one request for each: the API has no list of all.

    What is declared is completed: without purge others stay, and so does always the user who signs in.
    """
    have = {}
    for item in want:
        number = directory.ids.get(reference(ORGANIZATION, name_of(item.uid)))
        caller = login_of(directory.caller().get("login", ""))
        if number is None:
            before = {caller: "Admin"} if caller else {}
        else:
            before = {login: user["role"] for login, user in directory.members_of(number).items()}
            have[item.uid] = Found(item.uid, {"users": before})
        stay = {login: role for login, role in before.items() if not item.raw["purge"] or login == caller}
        users = {**stay, **item.raw["users"]}
        t.cast(Value, item.value)["users"] = {login: role for login, role in users.items() if login not in item.raw["gone"]}
        if not set(item.raw["users"]) <= set(before):
            directory.users()  # So that unknown ones are found.
    return have


def check_users(
    want: t.Sequence[Declared], everything: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]
) -> None:
    """Raises C(GrafanaError) for users that do not exist, and for organisations that would be left without Admin."""
    known = observation.extra.get("users")
    present = {item.uid for item in everything if item.value is not None}
    absent = {item.uid for item in everything if item.value is None}
    for item in want:
        users = t.cast(Value, item.value)["users"]
        for login in item.raw["users"]:
            if uid_of(USER, login) in absent:
                raise GrafanaError(f"{item.where}: user {login!r} is declared absent")
            if known is not None and login not in known and uid_of(USER, login) not in present and not params.get("check_mode"):
                raise GrafanaError(f"{item.where}: user {login!r} does not exist; declare it in users")
        if "caller" not in observation.extra:
            continue  # No server answers: it is not known who would make the organisation.
        stay = [login for login, role in users.items() if role == "Admin" and uid_of(USER, login) not in absent]
        if not stay:
            raise GrafanaError(f"{item.where}: organisation {name_of(item.uid)!r} would be left without a user with the role Admin")


def changes_users(item: Declared, found: Found | None, observation: Observation) -> list[Change]:
    """The requests that give an organisation its users: Admins first, so that there is one at any time."""
    path = ("orgs", reference(ORGANIZATION, name_of(item.uid)), "users")
    caller = login_of(observation.extra.get("caller", {}).get("login", ""))
    before = found.value["users"] if found else ({caller: "Admin"} if caller else {})
    # A new user is made in the organisation, with a role that only the server's configuration knows.
    made = {login for login, name in observation.extra.get("made_in", {}).items() if name == name_of(item.uid)}
    after = t.cast(Value, item.value)["users"]
    requests = []
    for login, role in sorted(after.items(), key=lambda pair: (pair[1] != "Admin", pair)):
        if login not in before and login not in made:
            requests.append(Change(item.uid, "POST", path_of(*path), {"loginOrEmail": login, "role": role}))
        elif before.get(login) != role:
            requests.append(Change(item.uid, "PATCH", path_of(*path, reference(USER, login)), {"role": role}))
    gone = sorted(set(before) - set(after))
    return requests + [Change(item.uid, "DELETE", path_of(*path, reference(USER, login))) for login in gone]


def members_after(directory: Directory, params: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Who will be a user of the organisation that requests are for: login by login and by mail address, both in lower case."""
    current = directory.organization()
    found = {name: login for login, user in directory.members().items() for name in (login, login_of(user["email"]))}
    placed: set[str] = set()
    joining: set[str] = set()
    for organization in params["organizations"]:
        here = organization["name"].strip() == current["name"] or organization["id"] == current["id"]
        for user in organization["users"] or ():
            if user["state"] == "present":
                placed.add(login_of(user["login"]))
                joining |= {login_of(user["login"])} if here else set()
    for user in params["users"]:
        login = login_of(user["login"])
        if user["state"] == "present" and (login in joining or (login not in placed and current["id"] == _MAIN)):
            joining.add(login)
            found.update({login_of(user["email"]): login} if user["email"] else {})
    return {**found, **{login: login for login in joining}}


ORGANIZATIONS = Part(ORGANIZATION, declare, observe, check, changes)
MEMBERSHIPS = Part(ORGANIZATION_USERS, declare_users, observe_users, check_users, changes_users)
