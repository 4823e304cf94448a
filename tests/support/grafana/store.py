# GNU General Public License v3.0+ (see LICENSE)
"""All state: tables of rows in memory, written to one JSON file after every change."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

Row = dict[str, Any]
FILE_NAME = "grafana-standin.json"
ITERATIONS = 10_000


def now(delta: timedelta = timedelta()) -> str:
    """The time as Grafana writes it."""
    return (datetime.now(UTC) + delta).strftime("%Y-%m-%dT%H:%M:%SZ")


def age(instant: str) -> timedelta:
    """How long ago an instant written by `now` was."""
    then = datetime.strptime(instant, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return datetime.now(UTC) - then


def hash_password(password: str, salt: str = "") -> str:
    """`salt$hash`; with the salt of a stored value the same password gives the same text."""
    salt = salt or secrets.token_hex(8)
    return f"{salt}${hashlib.pbkdf2_hmac('sha256', password.encode(), salt.encode(), ITERATIONS).hex()}"


def password_matches(password: str, stored: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(hash_password(password, stored.partition("$")[0]), stored)


class Store:
    """Rows are plain dicts; whoever changes them does so inside `with store.change():`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._seen: tuple[int, int] = (0, 0)
        self._written = ""
        self._data: dict[str, Any] = {"counters": {}, "tables": {}}
        self._load()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else reads or writes meanwhile."""
        with self._lock:
            self._load()
            yield

    @contextmanager
    def change(self) -> Iterator[None]:
        """As `locked`, and write the file at the end, also after an error: what was done then stays done."""
        with self.locked():
            try:
                yield
            finally:
                self._save()

    def rows(self, table: str, **equal: Any) -> list[Row]:
        """The rows whose keys have these values, in the order of their creation."""
        return [row for row in self._table(table) if all(row.get(key) == value for key, value in equal.items())]

    def one(self, table: str, **equal: Any) -> Row | None:
        """The first such row."""
        return next(iter(self.rows(table, **equal)), None)

    def add(self, table: str, row: Row, counter: str = "") -> Row:
        """Append a row under the next id of its counter (dashboards and folders share one)."""
        counters = self._data["counters"]
        counters[counter or table] = counters.get(counter or table, 0) + 1
        row = {"id": counters[counter or table], **row}
        self._table(table).append(row)
        return row

    def drop(self, table: str, **equal: Any) -> int:
        """Delete the rows whose keys have these values; how many there were."""
        gone = [id(row) for row in self.rows(table, **equal)]
        self._data["tables"][table] = [row for row in self._table(table) if id(row) not in gone]
        return len(gone)

    def tables(self) -> list[str]:
        """The names of all tables."""
        return list(self._data["tables"])

    def _table(self, name: str) -> list[Row]:
        rows: list[Row] = self._data["tables"].setdefault(name, [])
        return rows

    def _stamp(self) -> tuple[int, int]:
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return (0, 0)
        return (stat.st_ino, stat.st_mtime_ns)

    def _load(self) -> None:
        """Read the file again when somebody else (`grafana cli`) replaced it."""
        stamp = self._stamp()
        if stamp not in (self._seen, (0, 0)):
            self._written = self.path.read_text(encoding="utf-8")
            self._data = json.loads(self._written)
            self._seen = stamp

    def _save(self) -> None:
        text = json.dumps(self._data, separators=(",", ":"))
        if text == self._written:
            return
        temporary = self.path.with_name(self.path.name + ".new")
        # The file holds the secrets of data sources: nobody but the server's user may read it.
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        if os.geteuid() == 0 and self.path.exists():
            # `grafana cli` run by root must not take the file away from the server's user.
            owner = self.path.stat()
            os.chown(temporary, owner.st_uid, owner.st_gid)
        os.replace(temporary, self.path)
        self._written, self._seen = text, self._stamp()
