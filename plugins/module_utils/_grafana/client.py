# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to one Grafana over HTTP(S) (private: may change at any time).

Every failure is a :class:`GrafanaError` on one line. A request is sent again only where that cannot do something twice: a read, or a
write that the server has certainly not taken.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import socket
import ssl
import time
import typing as t
import urllib.error
from dataclasses import dataclass, fields, replace
from urllib.parse import quote, urlencode, urlsplit

PAGE = 1000
_PAUSE_AT_MOST = 10.0
_MESSAGE_AT_MOST = 500
# A proxy before Grafana answers these when Grafana does not: whether Grafana did what it was asked is not known.
_GATEWAY = (502, 503, 504)
_TOO_MANY = 429


class GrafanaError(Exception):
    """What went wrong, on one line; C(status) is the HTTP status, if the server answered with one.

    C(done) are the requests that were made before, as they may be shown, C(uncertain) those that the server may have taken.
    """

    def __init__(self, message: str, status: int | None = None, done: t.Sequence[str] = (), uncertain: t.Sequence[str] = ()) -> None:
        super().__init__(" ".join(message.split()))
        self.status = status
        self.done = done
        self.uncertain = uncertain

    @property
    def details(self) -> dict[str, t.Any]:
        """What a failed result says beside the message."""
        status = {} if self.status is None else {"status": self.status}
        uncertain = {"uncertain": list(self.uncertain)} if self.uncertain else {}
        return {**status, **uncertain, "changed": bool(self.done or self.uncertain), "statements": list(self.done)}


class NoOrganisation(GrafanaError):
    """The user is not a member of an organisation with the name of the option org_name."""


class Refused(GrafanaError):
    """The server answered that it does not do it. C(answer) is the body, if that is JSON."""

    answer: t.Any = None


class TooManyRequests(Refused):
    """The server did not look at the request; C(pause) are the seconds that it asks to wait."""

    pause = 0.0


class Unanswered(GrafanaError):
    """The server may have done what it was asked: the connection broke, or only a proxy answered."""


class Unreachable(GrafanaError):
    """The server did not get the request."""


@dataclass(frozen=True)
class Connection:
    """How to reach a server, and as whom. C(timeout) is in seconds."""

    url: str
    username: str | None
    password: str | None
    token: str | None
    client_cert: str | None
    client_key: str | None
    ca_path: str | None
    validate_certs: bool
    use_proxy: bool
    http_agent: str
    timeout: int
    retries: int
    org_id: int | None
    org_name: str | None

    @classmethod
    def from_params(cls, params: t.Mapping[str, t.Any]) -> Connection:
        """Raises C(GrafanaError) for values that cannot be right."""
        url = params["url"]
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            raise GrafanaError("url: it is not a URL") from None
        for name in ("client_cert", "client_key", "ca_path"):
            if params[name] and not os.access(params[name], os.R_OK):
                raise GrafanaError(f"{name}: file {params[name]} is missing or cannot be read")
        if parts.username or parts.password:
            raise GrafanaError("url: it contains a user or password; use url_username and url_password")
        if not usable or parts.query or parts.fragment or re.search(r"\s", url):
            raise GrafanaError(f"url: {url!r} is not that of a Grafana, such as https://grafana.example.com or http://host:3000/path")
        for name, least in (("timeout", 1), ("retries", 0), ("org_id", 1)):
            if params[name] is not None and params[name] < least:
                raise GrafanaError(f"{name}: {params[name]} is less than {least}")
        if params["token"] and re.search(r"[^\x21-\x7e]", params["token"]):
            raise GrafanaError("token: it contains a character that no token has, such as a space or a line break")
        named = {"url": url.rstrip("/"), "username": params["url_username"], "password": params["url_password"]}
        return cls(**named, **{option.name: params[option.name] for option in fields(cls) if option.name not in named})


def path_of(*parts: str, **query: t.Any) -> str:
    """A path below C(/api) with its parts quoted, and a query."""
    path = "/".join(("/api", *(quote(part, safe="") for part in parts)))
    return f"{path}?{urlencode(query, doseq=True)}" if query else path


def _basic_auth(username: str, password: str) -> str:
    from ansible.module_utils.urls import basic_auth_header

    header: str = basic_auth_header(username, password).decode()
    return header


class Client:
    """Sends requests as one user, or with one token, for one organisation."""

    def __init__(self, connection: Connection) -> None:
        from ansible.module_utils.urls import Request  # loads cryptography, which filters that only check values would do in each task

        self.connection = connection
        headers = {"Accept": "application/json"}
        if connection.token:
            headers["Authorization"] = f"Bearer {connection.token}"
        elif connection.username is not None:
            headers["Authorization"] = _basic_auth(connection.username, connection.password or "")
        self._headers = headers
        self._request = Request(
            use_proxy=connection.use_proxy,
            timeout=connection.timeout,
            validate_certs=connection.validate_certs,
            http_agent=connection.http_agent,
            follow_redirects="none",
            client_cert=connection.client_cert,
            client_key=connection.client_key,
            ca_path=connection.ca_path,
            # A .netrc would replace the Authorization header.
            use_netrc=False,
        )

    def sign_in(self, username: str, password: str) -> None:
        """Send what follows with these credentials."""
        self._headers["Authorization"] = _basic_auth(username, password)

    def signs_in(self, username: str, password: str) -> bool:
        """Whether a user can sign in with a password. A wrong one counts: Grafana locks a login after five within five minutes."""
        other = Client(replace(self.connection, username=username, password=password, token=None))
        try:
            other.get(path_of("user"))
        except Refused as error:
            if error.status != 401:
                raise
            return False
        return True

    def enter_organisation(self) -> None:
        """Send what follows for the organisation that the options name, and prove that the server does so.

        A token belongs to one organisation and the server ignores the header, so that the header alone proves nothing. The user's
        own current organisation is never switched: that would change what others do with the same user.
        """
        org_id, name = self.connection.org_id, self.connection.org_name
        if org_id is None and name is None:
            return
        if org_id is None and not self.connection.token:
            orgs = [org["orgId"] for org in self.get(path_of("user", "orgs")) if org["name"] == name]
            if not orgs:
                raise NoOrganisation(f"org_name: the user is not a member of an organisation {name!r}")
            org_id = orgs[0]
        if org_id is not None:
            self._headers["X-Grafana-Org-Id"] = str(org_id)
        org = self.get(path_of("org"), missing={})
        if org_id is not None and org.get("id") != org_id:
            found = f"the credentials are of organisation {org['id']} ({org['name']})" if org else "there is no such organisation"
            raise GrafanaError(f"org_id: {org_id}: {found}")
        if name is not None and org.get("name") != name:
            raise GrafanaError(f"org_name: {name!r}: the credentials are of organisation {org['id']} ({org['name']})")

    def get(self, path: str, *, missing: t.Any = None) -> t.Any:
        """The answer, parsed. Where the object is missing (404): C(missing), if that is given."""
        try:
            return self.send("GET", path)
        except Refused as error:
            if error.status == 404 and missing is not None:
                return missing
            raise

    def get_list(self, *parts: str) -> list[dict[str, t.Any]]:
        """All objects of a list that comes as a whole."""
        answer = self.get(path_of(*parts))
        answer = [] if answer is None else answer
        if not isinstance(answer, list) or not all(isinstance(item, dict) for item in answer):
            raise GrafanaError(f"GET {path_of(*parts)}: the answer is no list")
        return answer

    def pages(self, *parts: str, size: str = "limit", inside: t.Sequence[str] = (), first: int = 1, **query: t.Any) -> list[t.Any]:
        """All items of a list that comes in pages. C(size) names the parameter for their length, C(inside) the keys above the list.

        C(first) is the number of the first page.
        """
        items: list[t.Any] = []
        for page in range(first, 1000):
            answer = self.get(path_of(*parts, **query, **{size: PAGE, "page": page}))
            for key in inside:
                answer = answer.get(key) if isinstance(answer, dict) else None
            if not isinstance(answer, list):
                raise GrafanaError(f"GET {path_of(*parts)}: the answer is no list")
            items += answer
            if len(answer) < PAGE:
                break
        return items

    def send(self, method: str, path: str, body: t.Any = None, headers: t.Mapping[str, str] | None = None) -> t.Any:
        """Send a request, again where that is safe. Returns the parsed answer, C(None) for an empty one."""
        # Not by ansible.module_utils.api: its delays are made before the server can ask for a longer one (Retry-After).
        pause = 0.25
        for attempt in range(self.connection.retries + 1):
            try:
                return self._send_once(method, path, body, headers or {})
            except (Unreachable, Unanswered, TooManyRequests) as error:
                if attempt == self.connection.retries or (isinstance(error, Unanswered) and method != "GET"):
                    raise
                if isinstance(error, Unreachable) and isinstance(error.__cause__, ssl.SSLError):
                    raise
                asked = error.pause if isinstance(error, TooManyRequests) else 0.0
            time.sleep(min(max(pause * random.uniform(0.5, 1.5), asked), _PAUSE_AT_MOST))
            pause *= 2
        raise AssertionError("not reached")

    def _send_once(self, method: str, path: str, body: t.Any, more: t.Mapping[str, str]) -> t.Any:
        where = f"{method} {path.partition('?')[0]}"
        headers = {**self._headers, **more, **({} if body is None else {"Content-Type": "application/json"})}
        data = None if body is None else json.dumps(body).encode()
        try:
            response = self._request.open(method, self.connection.url + path, data=data, headers=headers)
            with response:
                return _parsed(where, response.read())
        except urllib.error.HTTPError as error:
            raise self._refusal(where, error) from None
        except urllib.error.URLError as error:
            # The request was not sent as a whole: errors of the answer are no URLError.
            reason = error.reason if isinstance(error.reason, Exception) else error
            raise Unreachable(f"{self.connection.url} cannot be reached: {self._explained(reason)}") from reason
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, (ssl.SSLError, http.client.InvalidURL)) and not isinstance(error, ssl.SSLEOFError):
                raise Unreachable(f"{self.connection.url} cannot be reached: {self._explained(error)}") from error
            raise Unanswered(f"{where}: {self._explained(error)}") from error

    def _explained(self, error: Exception) -> str:
        if isinstance(error, (socket.timeout, TimeoutError)):
            return f"no answer within {self.connection.timeout} s (timeout)"
        if isinstance(error, http.client.IncompleteRead):
            return "the answer broke off"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted ({error.verify_message}); ca_path names a file of authorities to trust"
        if isinstance(error, ssl.SSLError):
            return f"TLS failed ({error.reason or error}); does it speak HTTPS, and does it ask for client_cert?"
        if isinstance(error, http.client.HTTPException) and not isinstance(error, OSError):
            return "the answer is no HTTP"
        return str(getattr(error, "strerror", None) or error or type(error).__name__)

    def _refusal(self, where: str, error: urllib.error.HTTPError) -> GrafanaError:
        status = error.code
        if 300 <= status < 400:
            target = urlsplit(error.headers.get("Location") or "")
            return Refused(
                f"{where}: redirected to {target._replace(query='', fragment='', netloc=target.netloc.rpartition('@')[2]).geturl()!r}: "
                "url must be the address of Grafana itself, with its scheme and path, not that of a login page before it",
                status,
            )
        try:
            text = error.read()
        except (OSError, http.client.HTTPException):
            text = b""
        said = _message(text)
        if status in _GATEWAY:
            return Unanswered(f"{where}: {status}: Grafana did not answer a proxy before it{said}", status)
        if status == _TOO_MANY:
            refusal = TooManyRequests(f"{where}: {status}: too many requests{said}", status)
            asked = error.headers.get("Retry-After") or ""
            refusal.pause = float(asked) if asked.isdecimal() else 0.0
            return refusal
        if status == 404 and not _is_json(text):
            return GrafanaError(f"{where}: {status}, and not JSON: url is not that of Grafana, or its path is missing", status)
        advice = {
            401: "the user or token is not accepted (url_username and url_password, or token, which may have expired)",
            403: "the user or token may not do this",
        }
        refused = Refused(f"{where}: {status}: {advice.get(status, 'refused')}{said}", status)
        refused.answer = json.loads(text) if text and _is_json(text) else None
        return refused


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text or b"null")
    except ValueError:
        return False
    return True


def _parsed(where: str, text: bytes) -> t.Any:
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except ValueError:
        what = "a page (HTML)" if text.lstrip()[:1] == b"<" else "not JSON"
        raise GrafanaError(f"{where}: the answer is {what}: url is not that of Grafana, or a login page stands before it") from None


def _message(text: bytes) -> str:
    """What the server says, to put behind a colon; nothing where it says nothing that a person can read."""
    try:
        answer = json.loads(text)
    except ValueError:
        return ""
    said = answer.get("message") if isinstance(answer, dict) else None
    return f": {str(said)[:_MESSAGE_AT_MOST]}" if said else ""
