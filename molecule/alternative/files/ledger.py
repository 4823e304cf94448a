# GNU General Public License v3.0+ (see LICENSE)
"""A service that knows nothing of OpenTelemetry: once a second it asks its database and itself, and writes a log record."""

from __future__ import annotations

import http.server
import logging
import sqlite3
import threading
import time
import urllib.request

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
books = sqlite3.connect(":memory:")
while True:
    (balance,) = books.cursor().execute("SELECT 42").fetchone()
    urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/").close()
    logging.getLogger("ledger").warning("balance is %d", balance)
    time.sleep(1)
