# GNU General Public License v3.0+ (see LICENSE)
"""A real MariaDB for tests, from Debian's package."""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.daemon import Daemon, free_ports
from tests.testbed import engine


class MariaDB(Daemon):
    """One server on a free loopback port, with database `shop`. Its superuser is reached by the socket, others need their passwords."""

    host = "127.0.0.1"
    database = "shop"

    def __init__(self) -> None:
        super().__init__()
        engine.need("mariadbd", "mariadb-server-core", "mariadb-client-core")
        (self.port,) = free_ports(1)
        self.data, self.socket = self.folder / "data", self.folder / "socket"
        self.account = getpass.getuser()
        options = ("--no-defaults", f"--datadir={self.data}", f"--user={self.account}", "--auth-root-authentication-method=normal")
        install = ["mariadb-install-db", *options, "--skip-test-db", "--skip-name-resolve"]
        subprocess.run(install, check=True, capture_output=True, env=self.environment())

    def argv(self) -> Sequence[str | Path]:
        """The server, without the syncs that only a loss of power needs, in the SQL mode of a product that has zero dates."""
        return [
            *("mariadbd", "--no-defaults", f"--user={self.account}", f"--datadir={self.data}", f"--socket={self.socket}"),
            *(f"--bind-address={self.host}", f"--port={self.port}", "--skip-name-resolve", "--sql-mode=ALLOW_INVALID_DATES"),
            *("--innodb-flush-log-at-trx-commit=0", "--innodb-fast-shutdown=2", "--character-set-server=utf8mb4"),
        ]

    def ready(self) -> bool:
        """Whether it serves; the first time, it gets the database."""
        try:
            self.query(f"CREATE DATABASE IF NOT EXISTS {self.database}", database="mysql")
        except subprocess.CalledProcessError:
            return False
        return True

    def query(self, sql: str, database: str = database) -> str:
        """Run statements as the superuser, and return the rows, columns apart by tabs."""
        argv = ["mariadb", "--no-defaults", f"--socket={self.socket}", "--user=root", "--default-character-set=utf8mb4"]
        argv += ["--batch", "--skip-column-names", database]
        done = subprocess.run(argv, input=sql, check=True, capture_output=True, text=True, env=self.environment())
        return done.stdout.rstrip("\n")
