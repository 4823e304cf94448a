# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of the server, and their passwords (private: may change at any time)."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.groundwork.observability.plugins.module_utils._plan import Operation

from .client import GrafanaError, path_of
from .directory import USER, Directory, Part, checked_name, login_of, name_of, uid_of
from .kind import Change, Declared, Found, Observation, Value, check_unique, reference
from .secret_digest import ALWAYS, MASK, OTHER

SIGN_IN = "sign in with the new password"
_MAIL = re.compile(r"[^@\s]+@[^@\s]+\Z")
_SHORTEST_PASSWORD = 4


def declare(params: t.Mapping[str, t.Any]) -> list[Declared]:
    """The declared users. Raises C(GrafanaError) for what is wrong whatever the server has."""
    want = []
    for position, options in enumerate(params["users"]):
        where = f"users[{position}]"
        login = checked_name(options["login"], where, "login")
        uid, password = uid_of(USER, login_of(login)), options["password"]
        if options["state"] == "absent":
            want.append(Declared(uid, None, where, {"always": False}))
            continue
        if options["email"] is not None and not _MAIL.match(options["email"]):
            raise GrafanaError(f"{where}: email {options['email']!r} is not a mail address")
        if options["name"] is not None:
            checked_name(options["name"], where)
        if password is not None and len(password) < _SHORTEST_PASSWORD:
            raise GrafanaError(f"{where}: password of user {login!r} has less than {_SHORTEST_PASSWORD} characters")
        if password is None and options["update_password"] == ALWAYS:
            raise GrafanaError(f"{where}: update_password is {ALWAYS}, but user {login!r} has no password here")
        value = {key: options[key] for key in ("email", "name", "is_admin", "disabled") if options[key] is not None}
        if password is not None:
            value["password"] = MASK
        raw = {"login": login, "always": options["update_password"] == ALWAYS}
        want.append(Declared(uid, value, where, raw, {} if password is None else {"password": password}))
    check_unique(((item.where, item.uid) for item in want), "login")
    check_unique(((item.where, item.value["email"].casefold()) for item in want if item.value and "email" in item.value), "email")
    return want


def observe(directory: Directory, want: t.Sequence[Declared], params: t.Mapping[str, t.Any]) -> dict[str, Found]:
    """The declared users by the list of all. A password is compared by signing in with it, if that is asked for."""
    have: dict[str, Found] = {}
    for item in want:
        raw = directory.users().get(name_of(item.uid))
        if raw is None:
            continue
        value = {"email": raw["email"], "name": raw["name"], "is_admin": raw["isAdmin"], "disabled": raw["isDisabled"]}
        if item.value and item.raw["always"]:
            # Nobody can sign in as a disabled user: a password that cannot be compared is as declared, until the user is enabled.
            stays_disabled = raw["isDisabled"] and item.value.get("disabled", True)
            same = stays_disabled or (not raw["isDisabled"] and directory.client.signs_in(raw["login"], item.secrets["password"]))
            value["password"] = MASK if same else OTHER
        elif item.value:
            item.value.pop("password", None)
        have[item.uid] = Found(item.uid, value, raw)
    return have


def check(want: t.Sequence[Declared], everything: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> None:
    """Raises C(GrafanaError) for new users without password, addresses of others, and the loss of one's own rights."""
    caller = login_of(observation.extra.get("caller", {}).get("login", ""))
    known: t.Mapping[str, Value] = observation.extra.get("users", {})
    declared = {name_of(item.uid): item for item in want}
    for item in want:
        login = name_of(item.uid)
        if login == caller and (item.value is None or item.value.get("disabled") or item.value.get("is_admin") is False):
            what = "deleted" if item.value is None else "disabled" if item.value.get("disabled") else "no server administrator any more"
            raise GrafanaError(f"{item.where}: user {login!r} is the one who signs in here, and would be {what}")
        if item.value is None:
            continue
        if item.uid not in observation.have and not item.secrets and "users" in observation.extra:
            raise GrafanaError(f"{item.where}: user {login!r} is new and needs a password")
        address = item.value.get("email", "").casefold()
        for other, user in known.items():
            mail = user["email"].casefold()
            if other in declared:
                mail = (declared[other].value or {}).get("email", mail if declared[other].value is not None else "").casefold()
            if other != login and (address and address in (other, mail) or login == mail):
                raise GrafanaError(f"{item.where}: login or email of user {login!r} is that of user {other!r}")
    admins = {login for login, user in known.items() if user["isAdmin"] and not user["isDisabled"]}
    for login, item in declared.items():
        if item.value is None or item.value.get("is_admin") is False or item.value.get("disabled"):
            admins.discard(login)
        elif item.value.get("is_admin"):
            admins.add(login)
    if want and known and not admins:
        raise GrafanaError("users: no server administrator would be left")


def changes(item: Declared, found: Found | None, observation: Observation) -> list[Change]:
    """The requests that make one user as declared."""
    login = name_of(item.uid)
    user = reference(USER, login)
    if item.value is None:
        return [Change(item.uid, "DELETE", path_of("admin", "users", user), deletes=True)]
    made, before = [], found.value if found else {"is_admin": False, "disabled": False}
    after = {**before, **item.value}
    if found is None:
        body: Value = {"login": item.raw["login"], **item.secrets}
        body.update({key: after[key] for key in ("email", "name") if key in after})
        organization = observation.extra.get("made_in", {}).get(login)
        if organization:
            body["OrgId"] = reference("organization", organization)
        made.append(Change(item.uid, "POST", path_of("admin", "users"), body, masked={"password": MASK}))
    elif any(after[key] != before[key] for key in ("email", "name")):
        body = {"login": found.raw["login"], "email": after["email"], "name": after["name"]}
        made.append(Change(item.uid, "PUT", path_of("users", user), body))
    if after["is_admin"] != before["is_admin"]:
        made.append(Change(item.uid, "PUT", path_of("admin", "users", user, "permissions"), {"isGrafanaAdmin": after["is_admin"]}))
    if after["disabled"] != before["disabled"]:
        made.append(Change(item.uid, "POST", path_of("admin", "users", user, "disable" if after["disabled"] else "enable")))
    if found and after.get("password") != before.get("password"):
        own = login == login_of(observation.extra.get("caller", {}).get("login", ""))
        prepare = Operation(SIGN_IN, (found.raw["login"], item.secrets["password"])) if own else None
        path = path_of("admin", "users", user, "password")
        made.append(Change(item.uid, "PUT", path, dict(item.secrets), masked={"password": MASK}, prepare=prepare))
    return made


USERS = Part(USER, declare, observe, check, changes)
