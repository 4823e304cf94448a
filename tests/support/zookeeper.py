# GNU General Public License v3.0+ (see LICENSE)
"""A real ZooKeeper for tests."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from tests.support.daemon import Daemon, free_ports, unpacked
from tests.testbed.artifacts import zookeeper


class ZooKeeper(Daemon):
    """One ZooKeeper on a free loopback port; `config` adds lines to zoo.cfg."""

    def __init__(self, config: str = "") -> None:
        super().__init__()
        (self.port,) = free_ports(1)
        self.address = f"127.0.0.1:{self.port}"
        (self.folder / "zoo.cfg").write_text(
            f"tickTime=500\ndataDir={self.folder}/data\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n"
            f"admin.enableServer=false\n4lw.commands.whitelist=*\nmaxClientCnxns=0\n{config}\n",
            encoding="utf-8",
        )

    def argv(self) -> Sequence[str | Path]:
        """The server without its shell scripts, with what makes a JVM start quickly."""
        java = shutil.which("java")
        if java is None:
            raise RuntimeError("ZooKeeper needs a JRE (Debian: openjdk-17-jre-headless)")
        return [
            *(java, "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
            # Netty, for TLS; it serves plain ports as well.
            "-Dzookeeper.serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
            *("-cp", f"{unpacked(zookeeper)}/lib/*"),
            *("org.apache.zookeeper.server.quorum.QuorumPeerMain", self.folder / "zoo.cfg"),
        ]

    def ready(self) -> bool:
        """Whether it serves requests."""
        try:
            return "Mode:" in self.ask("srvr")
        except OSError:
            return False

    def ask(self, word: str) -> str:
        """The answer to a four-letter word."""
        with socket.create_connection(("127.0.0.1", self.port), 2) as connection:
            connection.sendall(word.encode())
            return b"".join(iter(lambda: connection.recv(4096), b"")).decode()
