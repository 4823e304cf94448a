# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kinds of Grafana objects have in common (private: may change at any time).

A kind is a table of functions. Its file says how objects are declared, read and compared, and which requests make them as declared.
"""

from __future__ import annotations

import fnmatch
import json
import re
import typing as t
from dataclasses import dataclass, field
from urllib.parse import unquote

from ansible_collections.groundwork.observability.plugins.module_utils._plan import Operation, Step

from .client import Client, GrafanaError

Value = dict[str, t.Any]
_UID = re.compile(r"[A-Za-z0-9_-]{1,40}\Z")
# Where a path or a body may refer to an object by its number, which a new one does not have yet.
_REFERRING = ("userId", "teamId", "OrgId")
_QUOTED_REFERENCE = re.compile(r"%3C.*?%3E")


@dataclass(frozen=True)
class Declared:
    """One declared object: its value as compared, C(None) where it is to be absent.

    What the value leaves out stays as it is. C(where) names the option it comes from, C(raw) is what only requests need. C(warning) is
    said to the user. C(kind) and C(name) are shown in results, where a module has several kinds; by default the name of the module's
    kind and the uid.
    """

    uid: str
    value: Value | None
    where: str
    raw: Value = field(default_factory=dict)
    secrets: t.Mapping[str, str] = field(default_factory=dict, repr=False)
    warning: str = ""
    kind: str = ""
    name: str = ""


@dataclass(frozen=True)
class Found:
    """One object of the server: its value as compared, and the server's own words where a request needs them."""

    uid: str
    value: Value
    raw: Value = field(default_factory=dict)


@dataclass(frozen=True)
class Observation:
    """What the server has. C(content) says what is inside of an object that would be lost with it, C(extra) what only the kind knows.

    C(ids) are the server's numbers by C(reference). C(warnings) are for the user.
    """

    have: t.Mapping[str, Found]
    content: t.Mapping[str, str] = field(default_factory=dict)
    extra: Value = field(default_factory=dict)
    ids: t.Mapping[str, int] = field(default_factory=dict)
    warnings: t.Sequence[str] = ()


@dataclass(frozen=True)
class Change:
    """One request, and where the object stands after it: below C(parent), with C(name), each C(None) where it stays.

    A name is taken below its parent by one object only. C(deletes) takes the object away.
    C(masked) stands in place of values of the body where the request is shown. C(headers) are sent beside those of the client.
    C(prepare) is what the kind does before it. The path, and the body under the keys of ids, may hold a C(reference) in place of a number.
    """

    uid: str
    method: str
    path: str
    body: Value | None = None
    parent: str | None = None
    name: str | None = None
    deletes: bool = False
    lost: str = ""
    masked: Value = field(default_factory=dict)
    headers: t.Mapping[str, str] = field(default_factory=dict)
    prepare: Operation | None = None

    @property
    def statement(self) -> str:
        """What is sent: the request line, and the body on a second one."""
        body = "" if self.body is None else json.dumps(self.body, sort_keys=True, ensure_ascii=False)
        return f"{self._line}\n{body}".rstrip("\n")

    @property
    def _line(self) -> str:
        """Method, path (which has no spaces) and headers."""
        return " ".join((self.method, self.path, *(f"{name}: {value}" for name, value in self.headers.items())))

    @property
    def shown(self) -> str:
        """The same without secrets, and without the version, which only guards against others who write."""
        body = {key: value for key, value in {**(self.body or {}), **self.masked}.items() if key != "version"}
        text = "" if self.body is None else json.dumps(body, sort_keys=True, ensure_ascii=False)
        line = _QUOTED_REFERENCE.sub(lambda match: unquote(match[0]), self._line)
        return f"{line} {text}".rstrip()


def parse_statement(statement: str) -> tuple[str, str, t.Any, dict[str, str]]:
    """Method, path, body and headers of a statement. There is at most one header."""
    line, _newline, text = statement.partition("\n")
    method, path, *rest = line.split(" ", 2)
    headers = dict(header.split(": ", 1) for header in rest)
    return method, path, json.loads(text) if text else None, headers


def no_detour(item: Declared, found: Found, name: str) -> tuple[Change, Change]:
    """For kinds whose objects have no name that another may hold."""
    raise AssertionError("not reached")


def no_place(value: Value) -> tuple[str, str]:
    """For kinds whose objects have no parent, and no name that another may hold."""
    return "", ""


def nothing_to_check(want: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> None:
    """For kinds whose objects refer to no others, or whose references are checked where all kinds are known."""


def nothing_misread(statement: str, answer: t.Any) -> str:
    """For kinds whose answers say nothing that has to be checked."""
    return ""


@dataclass(frozen=True)
class Kind:
    """How one kind of objects is handled.

    C(declare) checks options by themselves. C(observe) reads, in a number of requests that does not grow with the number of unchanged
    objects. C(check) refuses what the server would refuse, or what would lose something. C(changes) are the requests for one object,
    C(detour) those that give it another name for a while and the declared one afterwards. C(place) is the parent and the name of a
    value. C(misread) says what is wrong with the answer to a request. C(order) puts the changes in order; by default that follows from
    parents and names. C(observe) asks the server, C(declare) may read files; all others are pure, but for C(prepare), which does
    something on this host before a request, and C(receive), which takes from the answer what has to be kept: it returns the numbers of
    new objects by C(reference). C(result) is what the module returns beside the plan. What is wrong raises C(GrafanaError).
    """

    name: str
    declare: t.Callable[[t.Mapping[str, t.Any]], list[Declared]]
    observe: t.Callable[[Client, t.Sequence[Declared], t.Mapping[str, t.Any]], Observation]
    purged: t.Callable[[t.Sequence[Declared], Observation, t.Mapping[str, t.Any]], list[Declared]]
    check: t.Callable[[t.Sequence[Declared], Observation, t.Mapping[str, t.Any]], None]
    changes: t.Callable[[Declared, t.Optional[Found], Observation], list[Change]]
    detour: t.Callable[[Declared, Found, str], tuple[Change, Change]] = no_detour
    place: t.Callable[[Value], tuple[str, str]] = no_place
    misread: t.Callable[[str, t.Any], str] = nothing_misread
    order: t.Optional[t.Callable[[t.Sequence[Change], t.Sequence[Declared], Observation], list[Change]]] = None
    prepare: t.Callable[[Step], None] = lambda _step: None
    receive: t.Callable[[Step, t.Any], t.Mapping[str, int]] = lambda _step, _answer: {}
    result: t.Callable[[], Value] = dict


def reference(kind: str, name: str) -> str:
    """Stands for the number of an object in a request, which is not known before the object exists."""
    return f"<{kind} {name}>"


def resolved(statement: str, ids: t.Mapping[str, int]) -> str:
    """A statement with numbers in place of the references that are known."""
    if not ids:
        return statement
    line, newline, text = statement.partition("\n")
    parts = [str(ids.get(unquote(part), part)) for part in line.split("/")]

    def fill(value: t.Any, key: str = "") -> t.Any:
        if isinstance(value, dict):
            return {name: fill(part, name) for name, part in value.items()}
        if isinstance(value, list):
            return [fill(part) for part in value]
        return ids.get(value, value) if key in _REFERRING and isinstance(value, str) else value

    body = json.dumps(fill(json.loads(text)), sort_keys=True, ensure_ascii=False) if text else ""
    return "/".join(parts) + newline + body


def shown_value(value: Value | None) -> str:
    """A value as text for diffs and results."""
    return "" if value is None else json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)


def same_value(one: t.Any, other: t.Any) -> bool:
    """Whether both are the same JSON. Not so for Python: it takes true for 1. Grafana writes 1.0 as 1."""
    return shown_value(_plain(one)) == shown_value(_plain(other))


def _plain(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def read_json(path: str, where: str) -> t.Any:
    """What a file holds. Raises C(GrafanaError) if it cannot be read, or is not JSON."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return json.load(file)
    except OSError as error:
        raise GrafanaError(f"{where}: {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise GrafanaError(f"{where}: {path} is not JSON: {error}") from None


def matches_any(name: str, patterns: t.Iterable[str]) -> bool:
    """Whether a name is one of those that patterns with C(*) stand for."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def check_uid(uid: str, where: str) -> None:
    """Raises C(GrafanaError) for a uid that Grafana refuses, since version 12 for all kinds."""
    if not _UID.match(uid):
        raise GrafanaError(f"{where}: uid {uid!r} must have 1 to 40 characters, of A-Z a-z 0-9 _ and -")


def check_unique(items: t.Iterable[tuple[str, t.Any]], what: str) -> None:
    """Raises C(GrafanaError) where two declared objects have the same. C(items) are pairs of the option and the value."""
    seen: dict[t.Any, str] = {}
    for where, value in items:
        if value in seen:
            raise GrafanaError(f"{where}: {what} is also that of {seen[value]}")
        seen[value] = where


@dataclass(frozen=True)
class Gathered:
    """What a server has of one kind, as options of the module that manages it, by uid.

    C(left_out) says why an object is not among them, C(secrets) are the names of secrets that are set, which the server does not show.
    """

    options: dict[str, Value]
    left_out: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, list[str]] = field(default_factory=dict)


FROM_FILE = "it comes from a provisioning file"
