# GNU General Public License v3.0+ (see LICENSE)
"""A local server that stands in for the vendors' download sites: their paths, parts of files, and downloads that break."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Vendor(ThreadingHTTPServer):
    """Serves `files` (path with query -> content). An answer breaks off after the next number of bytes in `cut`, while there is one."""

    daemon_threads = True

    def __init__(self) -> None:
        self.files: dict[str, bytes | Path] = {}
        self.cut: dict[str, list[int]] = {}
        self.ranges = True
        # (path, Range header or "") of every request.
        self.asked: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """What one request is answered with."""

    server: Vendor

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.asked.append((self.path, wanted))
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        body = content.read_bytes() if isinstance(content, Path) else content
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        if begin and begin >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body) - begin))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        cuts = self.server.cut.get(self.path)
        end = begin + cuts.pop(0) if cuts else len(body)
        # The client may have gone.
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body[begin:end])
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


def signed(content: bytes, home: Path) -> tuple[bytes, bytes]:
    """A signature and the public keys of a vendor whose key is made in the folder `home`."""

    def gpg(*words: str | Path) -> bytes:
        command = ["gpg", "--batch", "--homedir", home, "--passphrase", "", *words]
        return subprocess.run(list(map(str, command)), check=True, capture_output=True).stdout

    home.mkdir(mode=0o700, parents=True)
    archive = home / "archive"
    archive.write_bytes(content)
    try:
        gpg("--quick-generate-key", f"{home.name}@example.com", "ed25519", "sign", "never")
        gpg("--armor", "--output", home / "signature", "--detach-sign", archive)
        return (home / "signature").read_bytes(), b"The keys of this vendor\n" + gpg("--armor", "--export")
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, capture_output=True)


@contextlib.contextmanager
def running() -> Iterator[Vendor]:
    """A server for the time of the block."""
    with Vendor() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()
