# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what, as one kind made of parts (private: may change at any time).

All parts are read and checked before the first write, and written in the order of :data:`PARTS`: each needs only those before it.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.groundwork.observability.plugins.module_utils._plan import Step

from .client import Client, GrafanaError
from .directory import ORGANIZATION, ORGANIZATION_USERS, SERVICE_ACCOUNT, TEAM, USER, Directory, name_of, uid_of
from .kind import Change, Declared, Found, Kind, Observation, Value, reference
from .organizations import MEMBERSHIPS, ORGANIZATIONS
from .permissions import PERMISSIONS
from .preferences import PREFERENCES_OF
from .service_accounts import MAKE_TOKEN, SERVICE_ACCOUNTS, Key, prepare, receive
from .teams import TEAMS
from .users import SIGN_IN, USERS

PARTS = {part.name: part for part in (ORGANIZATIONS, USERS, MEMBERSHIPS, TEAMS, SERVICE_ACCOUNTS, PERMISSIONS, PREFERENCES_OF)}
# Where the answer to a request that makes something has its number.
_NUMBERS = {ORGANIZATION: "orgId", USER: "id", TEAM: "teamId", SERVICE_ACCOUNT: "id"}


class Access:
    """The objects of one run of C(grafana_access). C(hidden) says that its result is not shown to anybody."""

    def __init__(self, hidden: bool) -> None:
        self._hidden = hidden
        self._client: Client | None = None
        self._keys: list[Key] = []

    def kind(self) -> Kind:
        """The table of functions."""
        return Kind(
            "access",
            self.declare,
            self.observe,
            lambda _want, _observation, _params: [],
            self.check,
            self.changes,
            order=in_order,
            prepare=prepare,
            receive=self.receive,
            result=self.result,
        )

    def declare(self, params: t.Mapping[str, t.Any]) -> list[Declared]:
        """What is declared, part by part."""
        for position, account in enumerate(params["service_accounts"]):
            if not self._hidden and any(token["return_key"] for token in account["tokens"] or ()):
                raise GrafanaError(f"service_accounts[{position}]: return_key needs no_log: true at the task, or the key would be shown")
        return [replace(item, kind=part.name, name=name_of(item.uid)) for part in PARTS.values() for item in part.declare(params)]

    def observe(self, client: Client, want: t.Sequence[Declared], params: t.Mapping[str, t.Any]) -> Observation:
        """What the server has of it."""
        self._client = client
        directory = Directory(client)
        have: dict[str, Found] = {}
        for part in PARTS.values():
            have.update(part.observe(directory, _of(part.name, want), params))
        if any(item.kind in (USER, ORGANIZATION_USERS) for item in want):
            directory.caller()
        if any(item.value is None for item in _of(ORGANIZATION, want)):
            directory.organization()
        new = {item.uid for item in _of(USER, want) if item.value is not None and item.uid not in have}
        made_in: dict[str, str] = {}
        for item in _of(ORGANIZATION_USERS, want):
            for login in item.raw["users"]:
                if uid_of(USER, login) in new:
                    made_in.setdefault(login, name_of(item.uid))
        extra = {**directory.read, "made_in": made_in}
        if "users" in extra:
            extra["users"] = directory.users()
        return Observation(have, extra=extra, ids=directory.ids, warnings=directory.warnings)

    def check(self, want: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> None:
        """Raises C(GrafanaError) for what is wrong on this server."""
        for part in PARTS.values():
            part.check(_of(part.name, want), want, observation, params)

    def changes(self, item: Declared, found: Found | None, observation: Observation) -> list[Change]:
        """The requests that make one object as declared."""
        return PARTS[item.kind].changes(item, found, observation)

    def receive(self, step: Step, answer: t.Any) -> t.Mapping[str, int]:
        """The number of a new object. After the user who signs in got another password, that is used."""
        if step.prepare and step.prepare.name == SIGN_IN and self._client:
            self._client.sign_in(*step.prepare.arguments)
        if step.prepare and step.prepare.name == MAKE_TOKEN:
            key = receive(step, answer)
            self._keys += [key] if key else []
            return {}
        part, _newline, name = step.target[0].partition("\n")
        number = answer.get(_NUMBERS.get(part, "")) if isinstance(answer, dict) else None
        return {reference(part, name): number} if isinstance(number, int) else {}

    def result(self) -> Value:
        """The keys that are to be returned."""
        keys = [{"service_account": key.service_account, "name": key.token, "key": key.key} for key in self._keys]
        return {"tokens": keys} if keys else {}


def in_order(pending: t.Sequence[Change], want: t.Sequence[Declared], observation: Observation) -> list[Change]:
    """As declared; what is deleted comes last, when nothing refers to it any more."""
    return sorted(pending, key=lambda change: change.deletes)


def _of(part: str, want: t.Sequence[Declared]) -> list[Declared]:
    return [item for item in want if item.kind == part]
