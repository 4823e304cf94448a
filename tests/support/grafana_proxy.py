# GNU General Public License v3.0+ (see LICENSE)
"""What stands between a module and the Grafana stand-in: counts requests, and breaks those that a test chooses."""

from __future__ import annotations

import http.client
import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

CUT, DROP, FORWARD_AND_DROP = "cut", "drop", "forward and drop"
# An answer instead of the server's: status, headers, body. Or one of the words above.
Fault = tuple[int, dict[str, str], bytes] | str
WRITES = ("POST", "PUT", "PATCH", "DELETE")


@dataclass
class Proxy:
    """`fault` is asked about each request: its method, its path with query, and how many there were before."""

    url: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    organisations: list[str | None] = field(default_factory=list)
    fault: Callable[[str, str, int], Fault | None] | None = None

    @property
    def writes(self) -> list[str]:
        """The requests that change something, as lines."""
        return [f"{method} {path}" for method, path in self.requests if method in WRITES]

    def disappear_after(self, writes: int) -> None:
        """Forget what was. The server executes this many writes and one more, whose answer is lost; then nothing is answered."""

        def fault(method: str, _path: str, _position: int) -> Fault | None:
            if len(self.writes) <= writes:
                return None
            return FORWARD_AND_DROP if method in WRITES and len(self.writes) == writes + 1 else DROP

        self.reset(fault)

    def reset(self, fault: Callable[[str, str, int], Fault | None] | None = None) -> None:
        """Forget what was, and break what `fault` says."""
        self.requests, self.bodies, self.organisations, self.fault = [], [], [], fault


class Listener(http.server.ThreadingHTTPServer):
    """Does not wait for clients, nor speak of those that have gone."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing to report."""


@contextmanager
def grafana_proxy(target: str) -> Iterator[Proxy]:
    """Forward from a free port of loopback to a server, until the block ends."""
    proxy, netloc = Proxy(), urlsplit(target).netloc

    class Handler(http.server.BaseHTTPRequestHandler):
        wbufsize = -1

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            position = len(proxy.requests)
            proxy.requests.append((self.command, self.path))
            proxy.bodies.append(body)
            proxy.organisations.append(self.headers.get("X-Grafana-Org-Id"))
            fault = proxy.fault(self.command, self.path, position) if proxy.fault else None
            if fault == DROP:
                return
            if isinstance(fault, tuple):
                self._reply(*fault)
                return
            upstream = http.client.HTTPConnection(netloc, timeout=20)
            headers = {key: value for key, value in self.headers.items() if key.lower() not in ("host", "connection")}
            upstream.request(self.command, self.path, body or None, headers)
            response = upstream.getresponse()
            content = response.read()
            upstream.close()
            if fault != FORWARD_AND_DROP:
                kept = {"Content-Type": response.headers.get("Content-Type", "")}
                self._reply(response.status, kept, content, cut=fault == CUT)

        def _reply(self, status: int, headers: dict[str, str], body: bytes, *, cut: bool = False) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    listener = Listener(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    proxy.url = f"http://127.0.0.1:{listener.server_address[1]}"
    try:
        yield proxy
    finally:
        listener.shutdown()
        listener.server_close()
