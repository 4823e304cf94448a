# GNU General Public License v3.0+ (see LICENSE)
"""A real ClickHouse engine as a server for tests, started by the testbed's launcher."""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import socket
import sys
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.support.daemon import Daemon, free_ports, unpacked
from tests.testbed.artifacts import clickhouse

ALL_USERS = """
<profiles><default/></profiles><quotas><default/></quotas>
<users><default><password></password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota></default></users>
"""


# Where replicated tables are in ZooKeeper, and what a server is called there, by its macros.
REPLICA_PATHS = (
    "<default_replica_path>/clickhouse/tables/{shard}/{database}/{table}</default_replica_path>"
    "<default_replica_name>{replica}</default_replica_name>"
)


class QueryError(Exception):
    """The server refused a statement; `code` is ClickHouse's."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class ClickHouse(Daemon):
    """One server on free loopback ports.

    `config` and `users` are XML: elements of config.d/ and users.d/ files. `zookeeper` is host:port. Without `users`,
    the user `default` has no password and all rights. `cluster` is the name of a cluster of which this server is all.
    """

    host = "127.0.0.1"
    # Seconds that a statement may take.
    statement_seconds = 60.0

    def __init__(
        self, config: str = "", *, users: str = "", zookeeper: str = "", macros: Mapping[str, str] | None = None, cluster: str = ""
    ) -> None:
        super().__init__()
        self.port, self.tcp_port, self.interserver_port = free_ports(3)
        self.url = f"http://{self.host}:{self.port}"
        zoo_host, _, zoo_port = zookeeper.partition(":")
        self.write(
            "config.xml",
            f"<path>{self.folder}/data/</path><users_config>users.xml</users_config>"
            f"<logger><level>information</level><console>1</console></logger><listen_host>{self.host}</listen_host>"
            f"<http_port>{self.port}</http_port><tcp_port>{self.tcp_port}</tcp_port>"
            f"<interserver_http_port>{self.interserver_port}</interserver_http_port>"
            f"<interserver_http_host>{self.host}</interserver_http_host><mark_cache_size>100000000</mark_cache_size>",
        )
        if zookeeper:
            node = f"<node><host>{zoo_host}</host><port>{zoo_port}</port></node>"
            self.write(
                "config.d/zookeeper.xml", f"<zookeeper>{node}<session_timeout_ms>5000</session_timeout_ms></zookeeper>"
            )
        if cluster:
            shard = f"<shard><replica><host>{self.host}</host><port>{self.tcp_port}</port></replica></shard>"
            self.write("config.d/cluster.xml", f"<remote_servers><{cluster}>{shard}</{cluster}></remote_servers>")
        names = "".join(f"<{key}>{value}</{key}>" for key, value in (macros or {}).items())
        self.write("config.d/macros.xml", f"<macros>{names}</macros>")
        self.write("config.d/test.xml", config)
        self.write("users.xml", ALL_USERS)
        self.write("users.d/test.xml", users)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._notify.bind(str(self.folder / "notify"))

    def write(self, name: str, content: str) -> None:
        """Write a file of the configuration, such as users.d/test.xml: the elements in its root."""
        path = self.folder / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<clickhouse>{content}</clickhouse>", encoding="utf-8")

    @staticmethod
    def program() -> list[str | Path]:
        """The launcher as `clickhouse`, by this interpreter."""
        return [sys.executable, "-IS", unpacked(clickhouse) / "usr" / "bin" / "clickhouse"]

    def argv(self) -> Sequence[str | Path]:
        """The server in the foreground."""
        return [*self.program(), "server", f"--config-file={self.folder}/etc/config.xml"]

    def environment(self) -> Mapping[str, str]:
        """Where the engine is, and where to report readiness, as systemd wants it."""
        return {
            **super().environment(),
            "GROUNDWORK_ENGINE": str(clickhouse.engine_library() / "libchdb.so"),
            "NOTIFY_SOCKET": str(self.folder / "notify"),
        }

    def ready(self) -> bool:
        """Whether the launcher said so."""
        try:
            return b"READY=1" in self._notify.recv(4096)
        except BlockingIOError:
            return False

    def __exit__(self, *exc: object) -> None:
        try:
            super().__exit__(*exc)
        finally:
            self._notify.close()

    def query(
        self, sql: str, data: str = "", *, user: str = "default", password: str = "", **settings: str | int
    ) -> str:
        """Run one statement, with data to insert, and return its output without the last line's end."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.statement_seconds)
        credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
        target = "/?" + urllib.parse.urlencode({"query": sql, **settings})
        try:
            connection.request("POST", target, data.encode(), {"Authorization": f"Basic {credentials}"})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status != 200:
            raise QueryError(int(answer.headers.get("X-ClickHouse-Exception-Code", "0")), text.strip())
        return text.rstrip("\n")


def until(what: str, condition: Callable[[], bool], seconds: float = 15) -> None:
    """Wait until a callable is true; a refused query counts as false."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except QueryError:
            pass
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def files(server: ClickHouse) -> dict[str, int]:
    """Every file that the server keeps, with its size. Folders and files that a merge removes meanwhile are passed over."""
    top = server.folder / "data"
    found: dict[str, int] = {}
    for folder, _, names in os.walk(top):
        for name in names:
            path = Path(folder, name)
            with contextlib.suppress(FileNotFoundError):
                found[str(path.relative_to(top))] = path.stat().st_size
    return found
