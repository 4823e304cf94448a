# GNU General Public License v3.0+ (see LICENSE)
"""What every family of routes is made of: requests, answers, route tables, and who may call what."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from .store import Row, Store

if TYPE_CHECKING:
    from .app import App

# Roles in an organisation, and who else may be asked for: nobody, anybody signed in, the server administrator.
NONE, OPTIONAL, SIGNED_IN, SERVER_ADMIN = "none", "optional", "signed in", "server admin"
VIEWER, EDITOR, ADMIN = "Viewer", "Editor", "Admin"
RANKS = {"": 0, VIEWER: 1, EDITOR: 2, ADMIN: 3}
ROLES = (VIEWER, EDITOR, ADMIN)
BAD_REQUEST = "bad request data"
AVATAR = "/public/img/user_profile.png"


@dataclass
class Reply:
    """An answer: JSON unless `content_type` says otherwise."""

    status: int = 200
    body: Any = None
    content_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The body as sent."""
        return self.body.encode() if self.content_type else json.dumps(self.body, ensure_ascii=False).encode()


class Fail(Exception):
    """An error answer. `traced` adds the empty traceID that some of Grafana's errors have."""

    def __init__(self, status: int, message: str, /, *, traced: bool = False, **extra: Any) -> None:
        super().__init__(message)
        body = {"message": message, **extra, **({"traceID": ""} if traced else {})}
        self.reply = Reply(status, body)


def bad_request(message: str = BAD_REQUEST) -> Fail:
    """The answer to a body that is not JSON, or lacks something."""
    return Fail(400, message, traced=True)


def denied(permission: str) -> Fail:
    """403 as Grafana says it."""
    needed = f"You'll need additional permissions to perform this action. Permissions needed: {permission}"
    error = f"ACE{secrets.randbelow(10**10):010d}"
    return Fail(403, needed, accessErrorId=error, title="Access denied")


def not_covered(what: str) -> Fail:
    """501 for what no recording shows: the stand-in makes up no answers."""
    return Fail(501, f"The Grafana stand-in does not cover {what}")


@dataclass(frozen=True)
class Caller:
    """Who sent a request, and what they are in the organisation it is for."""

    kind: str
    id: int
    login: str
    org: int
    role: str
    server_admin: bool = False

    def may(self, role: str) -> bool:
        """Whether this caller is at least that."""
        if role == SERVER_ADMIN:
            return self.server_admin
        return role in (NONE, OPTIONAL, SIGNED_IN) or RANKS[self.role] >= RANKS[role]


@dataclass
class Request:
    """One request to a matched route."""

    app: App
    caller: Caller | None
    params: dict[str, str]
    query: dict[str, list[str]]
    headers: dict[str, str]
    raw: bytes

    @property
    def store(self) -> Store:
        """All state."""
        return self.app.store

    @property
    def who(self) -> Caller:
        """The caller, on routes that need one."""
        assert self.caller is not None
        return self.caller

    @property
    def org(self) -> int:
        """The organisation the request is for."""
        return self.who.org

    def arg(self, name: str, default: str = "") -> str:
        """A query parameter."""
        return self.query.get(name, [default])[0]

    def integer(self, name: str, default: int) -> int:
        """A query parameter that is a number."""
        value = self.arg(name)
        return int(value) if value.isdecimal() else default

    def number(self, name: str, failure: Fail) -> int:
        """A number in the path."""
        if not self.params[name].isdecimal():
            raise failure
        return int(self.params[name])

    def json(self, *required: str, message: str = BAD_REQUEST) -> Row:
        """The body: an object in which the required keys are not empty."""
        if "application/json" not in self.headers.get("content-type", ""):
            raise bad_request(message)
        try:
            body = json.loads(self.raw)
        except ValueError:
            raise bad_request(message) from None
        if not isinstance(body, dict) or any(not body.get(key) for key in required):
            raise bad_request(message)
        return body

    def page(self, rows: list[Any], size: str = "perpage", default: int = 1000, first: int = 1) -> list[Any]:
        """The part of a list that `page` and the page size ask for."""
        length = self.integer(size, default) or default
        start = (self.integer("page", first) - first) * length
        return rows[max(start, 0) :][:length]


Handler = Callable[[Request], Any]


@dataclass(frozen=True)
class Route:
    """`role` is the least one that may call; `needs` the permission named when it is refused."""

    method: str
    path: tuple[str, ...]
    handler: Handler
    role: str
    needs: str
    locked: bool
    or_server_admin: bool
    unauthenticated: int

    def match(self, method: str, path: tuple[str, ...]) -> dict[str, str] | None:
        """The path's parameters when the route answers this request."""
        if method != self.method or len(path) != len(self.path):
            return None
        if any(not want.startswith(":") and want != have for want, have in zip(self.path, path, strict=True)):
            return None
        return {want[1:]: have for want, have in zip(self.path, path, strict=True) if want.startswith(":")}


class Routes(list[Route]):
    """A family's route table, filled by `@routes("GET", "/api/things/:id", ADMIN, "things:read")`.

    `locked=False` is for handlers that talk to other servers: they lock the store themselves.
    """

    def __init__(self, unauthenticated: int = 401) -> None:
        super().__init__()
        self.unauthenticated = unauthenticated

    def __call__(
        self, method: str, path: str, role: str, needs: str = "", *, locked: bool = True, or_server_admin: bool = False
    ) -> Callable[[Handler], Handler]:
        """Register the decorated handler."""

        def register(handler: Handler) -> Handler:
            parts = split(path)
            self.append(Route(method, parts, handler, role, needs, locked, or_server_admin, self.unauthenticated))
            return handler

        return register


def absent(_request: Request) -> Any:
    """The handler of a path that Grafana was recorded not to route."""
    raise Fail(404, "Not found")


def split(path: str) -> tuple[str, ...]:
    """The decoded parts of a path; `+` stands for itself."""
    return tuple(unquote(part) for part in path.strip("/").split("/"))


def parse(target: str) -> tuple[str, dict[str, list[str]]]:
    """Path and query of a request line."""
    path, _mark, query = target.partition("?")
    return path, parse_qs(query, keep_blank_values=True)


def matches(text: str, *values: str) -> bool:
    """Grafana's search: a part of any value, without regard to case."""
    return any(text.lower() in value.lower() for value in values)
