# GNU General Public License v3.0+ (see LICENSE)
"""Starts the Grafana stand-in from source, for tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.daemon import free_ports

SOURCE = Path(__file__).with_name("grafana")
ROOT = SOURCE.parents[2]
START_SECONDS = 120
# What bin/grafana does, for a package that lies in the checkout instead of an archive.
PROGRAM = (
    "import sys, pathlib, tests.support.grafana.cli as c; sys.exit(c.main(pathlib.Path(sys.argv[1]), sys.argv[2:]))"
)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Answers are looked at as they are."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        """Do not follow."""


@dataclass
class GrafanaServer:
    """A running stand-in; its administrator is admin/admin."""

    url: str
    folder: Path
    process: subprocess.Popen[str]

    @property
    def provisioning(self) -> Path:
        """paths.provisioning."""
        return self.folder / "provisioning"

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        auth: tuple[str, str] | str | None = ("admin", "admin"),
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Send a request; status and body, parsed where it is JSON. A `bytes` body is sent as it is; `auth` may be a token."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"Accept": "application/json", **({"Content-Type": "application/json"} if data is not None else {})}
        if isinstance(auth, tuple):
            sent["Authorization"] = "Basic " + b64encode(":".join(auth).encode()).decode()
        elif auth is not None:
            sent["Authorization"] = f"Bearer {auth}"
        request = urllib.request.Request(self.url + path, data, {**sent, **(headers or {})}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect())
        try:
            with opener.open(request, timeout=30) as response:
                return response.status, _parsed(response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _parsed(error.headers, error.read())


@contextmanager
def grafana_server(
    ini: str = "",
    files: Mapping[str, str] | None = None,
    plugins: Mapping[str, str] | None = None,
    *,
    wait: bool = True,
) -> Iterator[GrafanaServer]:
    """Serve on a free loopback port with all state in a temporary folder, until the block ends.

    `ini` is added to grafana.ini; `files` are provisioning files by path, where `<<provisioning>>` stands for their
    folder; `plugins` maps the ids of installed plugins to their versions. `wait=False` does not wait for an answer.
    """
    with tempfile.TemporaryDirectory(prefix="grafana-standin-") as name:
        folder = Path(name)
        process, port = start(folder, ini, files or {}, plugins or {})
        try:
            server = GrafanaServer(f"http://127.0.0.1:{port}", folder, process)
            if wait:
                _wait(server)
            yield server
        finally:
            process.terminate()
            process.communicate(timeout=START_SECONDS)


def start(
    folder: Path, ini: str, files: Mapping[str, str], plugins: Mapping[str, str]
) -> tuple[subprocess.Popen[str], int]:
    """Write what the server reads and start it; its port."""
    (port,) = free_ports(1)
    provisioning = folder / "provisioning"
    written = {
        f"provisioning/{path}": text.replace("<<provisioning>>", str(provisioning)) for path, text in files.items()
    }
    for plugin, version in plugins.items():
        manifest = {"id": plugin, "type": "datasource", "name": plugin, "info": {"version": version}}
        written[f"plugins/{plugin}/plugin.json"] = json.dumps(manifest)
    paths = "".join(f"{key} = {folder / key}\n" for key in ("data", "logs", "plugins", "provisioning"))
    listen = f"http_addr = 127.0.0.1\nhttp_port = {port}\n"
    written["grafana.ini"] = f"[paths]\n{paths}\n[server]\n{listen}\n[log]\nmode = console\n\n{ini}\n"
    written["conf/defaults.ini"] = (SOURCE / "defaults.ini").read_text(encoding="utf-8")
    for path, text in written.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    command = [sys.executable, "-c", PROGRAM, str(folder), "server", "--config", str(folder / "grafana.ini")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GF_")}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    return process, port


def _wait(server: GrafanaServer) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.process.poll() is not None:
            _out, errors = server.process.communicate()
            raise RuntimeError(f"the Grafana stand-in ended with {server.process.returncode}: {errors.strip()}")
        try:
            server.send("GET", "/api/health", auth=None)
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the Grafana stand-in does not answer after {START_SECONDS} s")


def _parsed(headers: Any, raw: bytes) -> Any:
    text = raw.decode("utf-8", "replace")
    if "json" not in headers.get("Content-Type", ""):
        return text
    return json.loads(text) if text else ""
