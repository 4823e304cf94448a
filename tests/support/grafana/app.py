# GNU General Public License v3.0+ (see LICENSE)
"""One running stand-in: configuration, state, plugins, sessions, and the way from a request to its answer."""

from __future__ import annotations

import base64
import binascii
import hashlib
import importlib
import json
import pkgutil
import secrets
import threading
import time
import traceback
from collections import Counter, defaultdict
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

from . import families
from .api import NONE, OPTIONAL, VIEWER, Caller, Fail, Reply, Request, Route, denied, not_covered, parse, split
from .config import Config
from .log import Log
from .store import FILE_NAME, Row, Store, age, hash_password, now, password_matches

SESSION_COOKIE = "grafana_session"
LOCK_AFTER, LOCK_SECONDS = 5, 300


def load_routes() -> list[Route]:
    """Every family's routes; a literal part of a path wins over a parameter."""
    routes: list[Route] = []
    for module in pkgutil.iter_modules(families.__path__):
        routes += importlib.import_module(f"{families.__name__}.{module.name}").routes
    return sorted(routes, key=lambda route: [part.startswith(":") for part in route.path])


class App:
    """Everything the handlers need."""

    def __init__(self, config: Config, log: Log) -> None:
        self.config = config
        self.log = log
        config.path("data").mkdir(parents=True, exist_ok=True)
        self.store = Store(config.path("data") / FILE_NAME)
        self.routes = load_routes()
        # Source: pkg/services/pluginsintegration, where the section of a plugin may name its folder.
        named = [config.text(name, "path") for name in config.sections if name.startswith("plugin.")]
        folders = [config.path("plugins"), *(Path(name) for name in named if name)]
        self.plugins = {name: plugin for folder in folders for name, plugin in find_plugins(folder, log).items()}
        self.dashboard_providers: list[Row] = []
        self.sessions: dict[str, int] = {}
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.seconds: defaultdict[tuple[str, str, int], float] = defaultdict(float)
        self.started = time.time()
        self._failures: dict[str, list[float]] = {}
        self._counting = threading.Lock()
        self._first_start()

    def handle(self, method: str, target: str, headers: dict[str, str], raw: bytes) -> Reply:
        """Answer one request."""
        path, query = parse(target)
        began, name = time.monotonic(), path
        try:
            route, params = self._route(method, path, headers, query)
            name = "/" + "/".join(route.path)
            caller = self._admit(route, headers, query)
            request = Request(self, caller, params, query, headers, raw)
            if not route.locked:
                answer = route.handler(request)
            elif method == "GET":
                with self.store.locked():
                    answer = route.handler(request)
            else:
                with self.store.change():
                    answer = route.handler(request)
            reply = answer if isinstance(answer, Reply) else Reply(200, answer)
        except Fail as failure:
            reply = failure.reply
        except Exception:  # noqa: BLE001 # A handler's mistake must not take the server down; the log has it.
            self.log("error", "context", "Request error", path=path, error=traceback.format_exc())
            reply = Reply(500, {"message": "Internal Server Error", "traceID": ""})
        with self._counting:
            self.requests[name, method, reply.status] += 1
            self.seconds[name, method, reply.status] += time.monotonic() - began
        return reply

    def log_in(self, login: str, password: str) -> Row | None:
        """The user, if the password is right; five failures lock the login for five minutes."""
        failures = [when for when in self._failures.get(login, []) if time.monotonic() - when < LOCK_SECONDS]
        user = self.find_user(login)
        if len(failures) < LOCK_AFTER and user and password_matches(password, user["password"]):
            self._failures.pop(login, None)
            return None if user["isDisabled"] else user
        self._failures[login] = [*failures, time.monotonic()][:LOCK_AFTER]
        return None

    def find_user(self, login: str) -> Row | None:
        """By login name or mail address, without regard to case."""
        wanted = login.lower()
        users = self.store.rows("users")
        return next(
            (user for user in users if wanted and wanted in (user["login"].lower(), user["email"].lower())), None
        )

    def open_session(self, user: Row) -> str:
        """A new session's Set-Cookie header."""
        token = secrets.token_hex(16)
        self.sessions[token] = user["id"]
        secure = "; Secure" if self.config.flag("security", "cookie_secure") else ""
        return f"{SESSION_COOKIE}={token}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax{secure}"

    def session_token(self, headers: dict[str, str]) -> str:
        """The session's cookie."""
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(SESSION_COOKIE)
        except CookieError:
            return ""
        return cookie.value if cookie else ""

    def _route(
        self, method: str, path: str, headers: dict[str, str], query: dict[str, list[str]]
    ) -> tuple[Route, dict[str, str]]:
        parts = split(path)
        for route in self.routes:
            params = route.match(method, parts)
            if params is not None:
                return route, params
        if parts[0] == "api":
            with self.store.locked():
                caller = self._identify(headers, query)
            if caller is None:
                raise Fail(401, "Unauthorized")
            raise not_covered(f"{method} {path}")
        raise Fail(404, "Not found")

    def _admit(self, route: Route, headers: dict[str, str], query: dict[str, list[str]]) -> Caller | None:
        if route.role == NONE:
            return None
        with self.store.locked():
            caller = self._identify(headers, query)
        if caller is None and route.role == OPTIONAL:
            return None
        if caller is None and route.unauthenticated == 401:
            raise Fail(401, "Unauthorized")
        if caller is None or not (caller.may(route.role) or (route.or_server_admin and caller.server_admin)):
            raise denied(route.needs)
        return caller

    def _identify(self, headers: dict[str, str], query: dict[str, list[str]]) -> Caller | None:
        scheme, _space, credentials = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic" and self.config.flag("auth.basic", "enabled", True):
            try:
                login, _colon, password = base64.b64decode(credentials).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                raise Fail(401, "invalid username or password", traced=True) from None
            if login == "api_key":
                return self._token(password)
            user = self.log_in(login, password)
            if user is None:
                raise Fail(401, "invalid username or password", traced=True)
            return self._user(user, headers, query)
        if scheme.lower() == "bearer":
            return self._token(credentials)
        user = self.store.one("users", id=self.sessions.get(self.session_token(headers), 0))
        if user and not user["isDisabled"]:
            return self._user(user, headers, query)
        if self.config.flag("auth.anonymous", "enabled"):
            return Caller("anonymous", 0, "Anonymous", 1, self.config.text("auth.anonymous", "org_role", VIEWER))
        return None

    def _user(self, user: Row, headers: dict[str, str], query: dict[str, list[str]]) -> Caller:
        user["lastSeenAt"] = now()
        asked = query.get("targetOrgId", [""])[0] or headers.get("x-grafana-org-id", "")
        org = int(asked) if asked.isdecimal() else user["orgId"]
        member = self.store.one("org_users", orgId=org, userId=user["id"])
        return Caller("user", user["id"], user["login"], org, member["role"] if member else "", user["isGrafanaAdmin"])

    def _token(self, key: str) -> Caller:
        digest = hashlib.sha256(key.encode()).hexdigest()
        if self.store.one("api_keys", hash=digest):
            raise not_covered("signing in with an API key")
        token = self.store.one("tokens", hash=digest)
        account = token and self.store.one("service_accounts", id=token["accountId"])
        if not token or not account or (token["expiration"] and age(token["expiration"]).total_seconds() > 0):
            raise Fail(401, "invalid API key", traced=True)
        if account["isDisabled"]:
            raise Fail(401, "Service account is disabled", traced=True)
        token["lastUsedAt"] = now()
        return Caller("token", account["id"], account["login"], account["orgId"], account["role"])

    def _first_start(self) -> None:
        """The first organisation and administrator, only on an empty store: later the ini's password is ignored."""
        with self.store.change():
            if self.store.rows("orgs"):
                return
            org = self.store.add("orgs", {"name": "Main Org.", "address": {}})
            if self.config.flag("security", "disable_initial_admin_creation"):
                return
            login = self.config.text("security", "admin_user", "admin")
            user = new_user(
                login,
                self.config.text("security", "admin_email", "admin@localhost"),
                "",
                self.config.text("security", "admin_password", "admin"),
                org["id"],
            )
            user = self.store.add("users", {**user, "isGrafanaAdmin": True}, "users")
            self.store.add("org_users", {"orgId": org["id"], "userId": user["id"], "role": "Admin"})
            self.log("info", "sqlstore", "Created default admin", user=login)


def new_user(login: str, email: str, name: str, password: str, org: int) -> Row:
    """A row of the users table. Nobody has seen a new user for ten years: so says Grafana."""
    return {
        "login": login,
        "email": email,
        "name": name,
        "theme": "",
        "password": hash_password(password),
        "isGrafanaAdmin": False,
        "isDisabled": False,
        "orgId": org,
        "created": now(),
        "updated": now(),
        "lastSeenAt": f"{int(now()[:4]) - 10}{now()[4:]}".replace("-02-29", "-02-28"),
    }


def find_plugins(folder: Path, log: Log) -> dict[str, Row]:
    """Installed plugins by id. Like Grafana, only a start looks for them."""
    found = {}
    for file in sorted(folder.glob("**/plugin.json")):
        try:
            plugin = json.loads(file.read_text(encoding="utf-8"))
            found[plugin["id"]] = plugin
        except (OSError, ValueError, KeyError, TypeError) as error:
            log("error", "plugins", "Skipping a plugin that cannot be read", path=str(file), error=repr(error))
        else:
            log("info", "plugins.registration", "Plugin registered", pluginId=plugin["id"])
    return found
