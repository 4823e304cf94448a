# GNU General Public License v3.0+ (see LICENSE)
"""A real PostgreSQL for tests, from Debian's package."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.daemon import Daemon, free_ports
from tests.testbed import engine

# The server refuses to run as root.
ACCOUNT, ACCOUNT_GROUP = "nobody", "nogroup"


def program(name: str) -> Path:
    """One of the server's programs, which Debian keeps outside of PATH; the package is installed where it is missing."""
    engine.need("pg_ctlcluster", "postgresql")
    return sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))[-1]


def as_account(*argv: str | Path) -> list[str | Path]:
    """A command line that root runs as another account. The change of the account clears the signal at the parent's death."""
    if os.geteuid():
        return list(argv)
    return ["setpriv", f"--reuid={ACCOUNT}", f"--regid={ACCOUNT_GROUP}", "--clear-groups", "--pdeathsig", "KILL", *argv]


class Postgres(Daemon):
    """One server on a free loopback port, with the superuser `owner` and database `shop`. Other users need their passwords."""

    host = "127.0.0.1"
    owner = "owner"
    database = "shop"

    def __init__(self) -> None:
        super().__init__()
        (self.port,) = free_ports(1)
        self.data = self.folder / "data"
        initdb = program("initdb")
        if not os.geteuid():
            shutil.chown(self.folder, ACCOUNT, ACCOUNT_GROUP)
        options: tuple[str, ...] = ("--no-sync", "--encoding=UTF8", "--locale=C", f"--username={self.owner}")
        options += ("--auth-local=trust", "--auth-host=scram-sha-256")
        subprocess.run(as_account(initdb, "-D", self.data, *options), check=True, capture_output=True, env=self.environment())

    def argv(self) -> Sequence[str | Path]:
        """The server, without the syncs that only a loss of power needs."""
        return as_account(
            program("postgres"),
            *("-D", self.data, "-p", str(self.port), "-k", self.folder),
            *("-c", f"listen_addresses={self.host}", "-c", "fsync=off", "-c", "shared_buffers=32MB"),
        )

    def ready(self) -> bool:
        """Whether it serves; the first time, it gets the database."""
        try:
            if self.query("SELECT count(*) FROM pg_database WHERE datname = 'shop'", database="postgres") == "0":
                self.query(f"CREATE DATABASE {self.database}", database="postgres")
        except subprocess.CalledProcessError:
            return False
        return True

    def stop(self) -> int:
        """Stop it although clients are connected, return the exit status."""
        return self.signal(signal.SIGINT)

    def query(self, sql: str, database: str = database, user: str = owner) -> str:
        """Run statements as the superuser or another user, through the socket, and return the rows, columns apart by tabs."""
        argv: list[str | Path] = [program("psql"), "-h", self.folder, "-p", str(self.port), "-U", user, "-d", database]
        options = ("--no-psqlrc", "-v", "ON_ERROR_STOP=1", "--quiet", "--no-align", "--tuples-only", "--field-separator=\t", "-f", "-")
        done = subprocess.run([*argv, *options], input=sql, check=True, capture_output=True, text=True, env=self.environment())
        return done.stdout.rstrip("\n")
