# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One connection to one ClickHouse server over HTTP(S) (private: may change at any time).

Every failure is a :class:`ClickHouseError` with the server's own code and message on one line. Connection errors, and
only those, are retried.
"""

from __future__ import annotations

import base64
import http.client
import re
import socket
import ssl
import time
import traceback
import typing as t
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field

try:
    import clickhouse_connect
    from clickhouse_connect import common
    from clickhouse_connect.driver import exceptions as library
    from clickhouse_connect.driver import httputil
    from urllib3 import exceptions as transport  # what the library speaks HTTP with
except ImportError:
    HAS_CLICKHOUSE_CONNECT = False
    CLICKHOUSE_CONNECT_ERROR: str | None = traceback.format_exc()
else:
    HAS_CLICKHOUSE_CONNECT = True
    CLICKHOUSE_CONNECT_ERROR = None

LOWEST_VERSION = "24.8"

_CODE = re.compile(r"Code: (\d+)\. ")
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.\d+)*")
_FRAME = re.compile(r"^(?:HTTPDriver for \S+ )?(?:Received ClickHouse exception, code: \d+, server response: )?")
_URL = re.compile(r"\s*\(for url [^)]*\)\s*$")
_PERMISSIVE = re.compile(r"allow_(suspicious|experimental)_\w+\Z")
_PAUSE_AT_MOST = 10.0
# What the library and the operating system say of a connection that broke, and what that means.
_BROKEN = (
    ("Remote end closed connection", "the server closed it"),
    ("Connection reset", "the server reset it"),
    ("Broken pipe", "the server closed it"),
    ("Connection refused", "the server refused it"),
    ("Read timed out", "no answer came in time"),
    ("IncompleteRead", "the answer broke off"),
)
_Answer = t.TypeVar("_Answer")


class ClickHouseError(Exception):
    """What went wrong, on one line; C(code) is the server's error code, if the server spoke.

    C(done) are statements that had run before, C(uncertain) those that may have run: the connection broke while they did.
    """

    def __init__(self, message: str, code: int | None = None, done: t.Sequence[str] = (), uncertain: t.Sequence[str] = ()) -> None:
        super().__init__(" ".join(message.split()))
        self.code = code
        self.done = done
        self.uncertain = uncertain

    @property
    def details(self) -> dict[str, t.Any]:
        """What a failed result says beside the message."""
        code = {} if self.code is None else {"code": self.code}
        uncertain = {"uncertain": list(self.uncertain)} if self.uncertain else {}
        return {**code, **uncertain, "changed": bool(self.done or self.uncertain), "statements": list(self.done)}

    def about(self, subject: str, done: t.Sequence[str] = (), uncertain: t.Sequence[str] = ()) -> ClickHouseError:
        """The same error, saying which object and option it is about."""
        return type(self)(f"{subject}: {self}", self.code, done, uncertain)


class ServerError(ClickHouseError):
    """The server answered with an error, or would: it does not do what it was asked."""


class ConnectionFailed(ClickHouseError):
    """The server did not answer, or stopped answering; it may have done what it was asked."""


class Unreachable(ConnectionFailed):
    """Nobody listens there: refused, no route, or no answer in time."""


@dataclass(frozen=True)
class Connection:
    """How to reach a server."""

    host: str
    port: int
    secure: bool
    validate_certs: bool
    ca_path: str | None
    client_cert: str | None
    client_key: str | None
    user: str
    password: str | None
    connect_timeout: int
    timeout: int
    retries: int
    database: str | None = None
    settings: t.Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_params(cls, params: t.Mapping[str, t.Any], *, patient: bool = True) -> Connection:
        same = {name: params[name] for name in ("secure", "validate_certs", "connect_timeout", "timeout")}
        login = {name: params[f"login_{name}"] for name in ("host", "user", "password", "database")}
        files = {name: params["secure"] and params[name] or None for name in ("ca_path", "client_cert", "client_key")}
        session = {}
        if params["session_settings"]:
            from . import settings

            session = settings.settings_text(params["session_settings"], "session_settings")
        return cls(
            **{**same, **login, **files},
            port=params["login_port"] or (8443 if params["secure"] else 8123),
            retries=params["retries"] if patient else 0,
            settings=session,
        )

    @property
    def address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.address}"


class ClickHouse:
    """An open session."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._pool = _connection_pool(connection)
        self.version = _call_with_retries(connection, lambda: _ask_version(connection, self._pool))
        self._client = _call_with_retries(connection, lambda: _open_client(connection, self._pool))
        # Whether the session may have temporary tables.
        self._temporary = False
        if connection.settings:
            self._client.params.update(connection.settings)
            self._probe("session_settings")

    def _probe(self, option: str) -> None:
        """Whether the server takes what was added to the session."""
        try:
            self.call_with_retries(lambda: self.rows("SELECT 1"))
        except ServerError as error:
            raise error.about(option) from error

    def use_database(self) -> None:
        """From now on unqualified names are of the connection's database, where it has one. Raises C(ClickHouseError)."""
        if self.connection.database is not None:
            self._client.params["database"] = self.connection.database
            try:
                self._probe("login_database")
            except ClickHouseError:
                self.leave_database()
                raise

    def leave_database(self) -> None:
        """From now on unqualified names are of the user's database."""
        self._client.params.pop("database", None)

    def call_with_retries(self, call: t.Callable[[], _Answer]) -> _Answer:
        """Call what changes nothing, and call it again when the connection breaks."""
        return _call_with_retries(self.connection, call)

    def rows(self, query: str) -> list[tuple[t.Any, ...]]:
        """Rows of a query."""
        with self._in_session():
            return [tuple(row) for row in self._client.query(query, settings=query_size_settings(query)).result_rows]

    def execute(self, statement: str, settings: t.Mapping[str, str] | None = None) -> None:
        """Run a statement, once: whether a broken connection has run it is for the caller to find out."""
        self._temporary |= statement.startswith("CREATE TEMPORARY")
        with self._in_session():
            self._client.command(statement, settings={**query_size_settings(statement), **(settings or {})})

    @contextmanager
    def _in_session(self) -> t.Iterator[None]:
        """Leave the session when the connection breaks: a server that still runs the statement keeps it locked."""
        try:
            with translate_exceptions(self.connection):
                yield
        except ConnectionFailed:
            self._client.params["session_id"] = str(uuid.uuid4())
            raise

    @property
    def permissive_settings(self) -> dict[str, str]:
        """Settings that let the server make what it takes for suspicious or experimental, as far as this user may set them."""
        known = self._client.server_settings.items()
        return {name: "1" for name, found in known if _PERMISSIVE.match(name) and found.value == "0" and not int(found.readonly)}

    def setting(self, name: str) -> str | None:
        """Value of a setting in this session, but for what this class or its library sends by itself."""
        if name in self.connection.settings:
            return self.connection.settings[name]
        found = self._client.server_settings.get(name)
        return None if found is None else str(found.value)

    def close(self) -> None:
        """Give the connections back; the server forgets the session and its temporary tables."""
        self._client.close()
        self._pool.clear()

    def end_session(self) -> None:
        """Have the server drop the session's temporary tables now; it would keep them until the session times out."""
        if self._temporary:
            self.last_rows("SELECT 1")

    def last_rows(self, query: str) -> list[tuple[t.Any, ...]]:
        """Rows of a query that is the last of its session: the server drops the session's temporary tables after it."""
        self._client.params["close_session"] = "1"
        try:
            return self.rows(query)
        finally:
            del self._client.params["close_session"]
            self._temporary = False


@contextmanager
def translate_exceptions(connection: Connection) -> t.Iterator[None]:
    """Turn the library's exceptions into ours."""
    try:
        yield
    except library.Error as error:
        message = _URL.sub("", _FRAME.sub("", str(error)))
        code = getattr(error, "code", None)
        if code is None and isinstance(error, library.OperationalError):
            raise ConnectionFailed(f"the connection to {connection.url} broke: {broken_connection(message)}") from error
        raise ServerError(message, code) from error
    except OSError as error:
        raise ConnectionFailed(f"the connection to {connection.url} broke: {broken_connection(str(error))}") from error


def broken_connection(text: str) -> str:
    """Why a connection broke, in place of what the library for HTTP says; text that is not known is cut to one line."""
    return next((short for words, short in _BROKEN if words in text), " ".join(text.split())[:160])


def query_size_settings(text: str) -> dict[str, t.Any]:
    """The server's parser refuses statements over 256 KiB unless told their size."""
    size = len(text.encode("utf-8", "surrogateescape"))
    return {"max_query_size": size + 1024} if size > 200_000 else {}


def _call_with_retries(connection: Connection, call: t.Callable[[], _Answer]) -> _Answer:
    pause = 1.0
    for _attempt in range(connection.retries):
        try:
            return call()
        except ConnectionFailed:
            time.sleep(pause)
            pause = min(pause * 2, _PAUSE_AT_MOST)
    return call()


def _connection_pool(connection: Connection) -> t.Any:
    """The library's connections, made before its client: the question of the version opens the one that the client goes on with."""
    proxy = httputil.check_env_proxy("https" if connection.secure else "http", connection.host, connection.port)
    return httputil.get_pool_manager(
        ca_cert=connection.ca_path,
        verify=connection.validate_certs,
        client_cert=connection.client_cert,
        client_cert_key=connection.client_key,
        http_proxy=None if connection.secure else proxy,
        https_proxy=proxy if connection.secure else None,
    )


def _ask_version(connection: Connection, pool: t.Any) -> str:
    """Ask who is there before the library does, which knows neither old servers nor other programs."""
    if connection.client_cert and connection.password is None:
        headers = {"X-ClickHouse-User": connection.user, "X-ClickHouse-SSL-Certificate-Auth": "on"}
    else:
        credentials = f"{connection.user}:{connection.password or ''}".encode("utf-8", "surrogateescape")
        headers = {"Authorization": "Basic " + base64.b64encode(credentials).decode("ascii")}
    _check_readable(connection)
    url = f"{connection.url}/?query=SELECT%20version()"
    once = {"retries": False, "redirect": False, "timeout": connection.connect_timeout, "preload_content": False}
    try:
        # Leaving the block closes the connection, unless the answer was read to its end.
        with pool.request("GET", url, headers=headers, **once) as answer:
            text = answer.read(2000, decode_content=False).decode("utf-8", "replace").strip()
    except transport.LocationValueError as error:
        raise ClickHouseError(f"login_host: {connection.host} cannot be resolved: {error}") from error
    except (transport.HTTPError, OSError) as error:
        raise _connection_error(connection, error) from error
    if not 200 <= answer.status < 300:
        code = _CODE.search(text)
        if code:
            raise ClickHouseError(text, int(code.group(1)))
        raise ClickHouseError(_not_clickhouse_message(connection, f"HTTP {answer.status}"))
    match = _VERSION.fullmatch(text)
    if match is None:
        raise ClickHouseError(_not_clickhouse_message(connection, f"its answer to SELECT version() begins {text[:40]!r}"))
    if [int(match.group(1)), int(match.group(2))] < [int(part) for part in LOWEST_VERSION.split(".")]:
        raise ClickHouseError(f"ClickHouse {text} at {connection.url} is too old: {LOWEST_VERSION} is the lowest supported")
    return text


def _open_client(connection: Connection, pool: t.Any) -> t.Any:
    # A question that the library asks each server, for columns with time zones in its own format, of which rows() reads none.
    common.set_setting("use_protocol_version", False)
    with translate_exceptions(connection):
        try:
            return clickhouse_connect.get_client(
                interface="https" if connection.secure else "http",
                host=connection.host,
                port=connection.port,
                username=connection.user,
                password=connection.password or "",
                # Only says how the user is known; the pool has the files.
                client_cert=connection.client_cert,
                tls_mode="strict" if connection.client_cert and connection.password is not None else None,
                pool_mgr=pool,
                connect_timeout=connection.connect_timeout,
                send_receive_timeout=connection.timeout,
                query_retries=0,
                autogenerate_session_id=True,
            )
        except (ValueError, TypeError, LookupError) as error:
            raise ClickHouseError(_not_clickhouse_message(connection, f"{type(error).__name__}: {error}")) from error


def _not_clickhouse_message(connection: Connection, reason: str) -> str:
    return f"what answers at {connection.url} is not ClickHouse {LOWEST_VERSION} or newer ({reason})"


def _check_readable(connection: Connection) -> None:
    """Raise C(ClickHouseError) for a file that cannot be read, unless nobody listens there anyway."""
    for option in ("ca_path", "client_cert", "client_key"):
        path = getattr(connection, option)
        try:
            if path is not None:
                open(path, "rb").close()
        except OSError as error:
            if nobody_listens(connection):
                raise Unreachable(f"nothing answers at {connection.url}") from error
            raise ClickHouseError(f"{option}: cannot read {path}: {error.strerror}") from error


def nobody_listens(connection: Connection) -> bool:
    """Whether the port refuses or swallows a plain connection (a wrong name or certificate is another matter)."""
    try:
        socket.create_connection((connection.host, connection.port), timeout=connection.connect_timeout).close()
    except socket.gaierror:
        return False
    except OSError:
        return True
    return False


def _connection_error(connection: Connection, error: BaseException) -> ClickHouseError:
    reason = error
    # What the operating system or TLS said is below what the library's HTTP makes of it.
    while isinstance(reason, transport.HTTPError) and (below := reason.__cause__ or reason.__context__) is not None:
        reason = below
    if isinstance(error, transport.SSLError) or isinstance(reason, ssl.SSLError):
        return ClickHouseError(f"TLS to {connection.url} failed: {reason}")
    if isinstance(reason, http.client.HTTPException) and not isinstance(reason, OSError):
        return ClickHouseError(_not_clickhouse_message(connection, str(reason) or type(reason).__name__))
    if nobody_listens(connection):
        return Unreachable(f"nothing answers at {connection.url}: {reason}")
    if isinstance(reason, socket.gaierror):
        return ClickHouseError(f"login_host: {connection.host} cannot be resolved: {reason.strerror}")
    return ConnectionFailed(f"the connection to {connection.url} failed: {reason}")


def driver_version() -> str:
    """Version of the library."""
    return str(common.version())
