# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is on a server: organisations, users, teams, service accounts (private: may change at any time)."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from .client import Client, GrafanaError, path_of
from .kind import Change, Declared, Found, Observation, Value, reference

ORGANIZATION, ORGANIZATION_USERS, USER = "organization", "organization users", "user"
TEAM, SERVICE_ACCOUNT = "team", "service account"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAME_AT_MOST = 190


class Directory:
    """Lists of one server, each read once and only when somebody asks for it: C(read) has them by name.

    C(ids) are the numbers of all that was read. C(warnings) are what the user has to know of what was found.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.read: dict[str, t.Any] = {}
        self.ids: dict[str, int] = {}
        self.warnings: list[str] = []

    def _once(self, name: str, read: t.Callable[[], t.Any]) -> t.Any:
        if name not in self.read:
            self.read[name] = read()
        return self.read[name]

    def caller(self) -> Value:
        """The user who signs in; empty for a token, which is no user's."""
        return t.cast(Value, self._once("caller", lambda: self.client.get(path_of("user"), missing={})))

    def organization(self) -> Value:
        """The organisation that requests are for."""
        return t.cast(Value, self._once("organization", lambda: self.client.get(path_of("org"))))

    def organizations(self) -> list[Value]:
        """All organisations: id and name."""
        found = self._once("organizations", lambda: self.client.pages("orgs", size="perpage", first=0))
        self.ids.update({reference(ORGANIZATION, org["name"]): org["id"] for org in found})
        return t.cast(t.List[Value], found)

    def users(self) -> dict[str, Value]:
        """All users of the server, by login in lower case."""
        return self._by_login("users", lambda: self.client.pages("users", "search", size="perpage", inside=["users"]), "id")

    def members(self) -> dict[str, Value]:
        """The users of the organisation that requests are for, by login in lower case."""
        return self._by_login("members", lambda: self.client.get_list("org", "users"), "userId")

    def members_of(self, organization: int) -> dict[str, Value]:
        """The users of another organisation, by login in lower case."""
        number = str(organization)
        return self._by_login(f"members of {number}", lambda: self.client.get_list("orgs", number, "users"), "userId")

    def teams(self) -> dict[str, Value]:
        """All teams of the organisation, by name: Grafana tells cases apart."""
        found = self._once("teams", lambda: self.client.pages("teams", "search", size="perpage", inside=["teams"]))
        self.ids.update({reference(TEAM, team["name"]): team["id"] for team in found})
        return {team["name"]: team for team in found}

    def service_accounts(self) -> dict[str, list[Value]]:
        """All service accounts of the organisation, by name: several may have the same."""
        path = ("serviceaccounts", "search")
        found = self._once("service accounts", lambda: self.client.pages(*path, size="perpage", inside=["serviceAccounts"]))
        self.ids.update({reference(SERVICE_ACCOUNT, account["name"]): account["id"] for account in found})
        names: dict[str, list[Value]] = {}
        for account in found:
            names.setdefault(account["name"], []).append(account)
        return names

    def _by_login(self, name: str, read: t.Callable[[], t.Sequence[Value]], key: str) -> dict[str, Value]:
        users = {login_of(user["login"]): user for user in self._once(name, read)}
        self.ids.update({reference(USER, login): user[key] for login, user in users.items()})
        return users


@dataclass(frozen=True)
class Part:
    """One kind of objects of C(grafana_access). As in C(Kind), but all parts read by one directory, and check with all in view.

    C(check) gets what is declared of this part, all that is declared, the observation of all, and the module's options.
    """

    name: str
    declare: t.Callable[[t.Mapping[str, t.Any]], list[Declared]]
    observe: t.Callable[[Directory, t.Sequence[Declared], t.Mapping[str, t.Any]], dict[str, Found]]
    check: t.Callable[[t.Sequence[Declared], t.Sequence[Declared], Observation, t.Mapping[str, t.Any]], None]
    changes: t.Callable[[Declared, t.Optional[Found], Observation], list[Change]]


def login_of(login: str) -> str:
    """A login as it is compared: Grafana does not tell cases apart."""
    return login.strip().casefold()


def checked_name(name: str | None, where: str, what: str = "name") -> str:
    """A name without blanks around it. Raises C(GrafanaError) where it cannot be one."""
    text = (name or "").strip()
    if not text or len(text) > _NAME_AT_MOST or _CONTROL.search(text):
        raise GrafanaError(f"{where}: {what} must have 1 to {_NAME_AT_MOST} characters, and no control characters")
    return text


def uid_of(part: str, name: str) -> str:
    """The key of an object among those of all parts."""
    return f"{part}\n{name}"


def name_of(uid: str) -> str:
    """The name in such a key."""
    return uid.partition("\n")[2]
