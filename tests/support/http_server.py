# GNU General Public License v3.0+ (see LICENSE)
"""A server that is not ClickHouse: it gives every request the same answer."""

from __future__ import annotations

import http.server
import threading
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def http_server(answer: bytes, code: int = 200) -> Iterator[int]:
    """Serve an answer with a status code on a free port of loopback; yields the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: t.Any) -> None:
            pass

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    try:
        yield listener.server_address[1]
    finally:
        listener.shutdown()
        listener.server_close()
