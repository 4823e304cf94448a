# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Views are checked against the tables as the plan leaves them, before the first change (private: may change at any time).

Each view that is created or changed, and each that reads from a table that loses columns, is made as a temporary view over temporary tables
with the planned columns. What the server says of it then is what a run would find out too late.
"""

from __future__ import annotations

import random
import re
import typing as t

from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import alter, ddl, dependencies
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouseError, ConnectionFailed
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.declaration import Declared, Key
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.found import Change
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.reader import VIEWS, Reader

# What says nothing about the view: access denied, a server without temporary views, one that cannot make the like, and what the
# temporary tables cannot (SAMPLE, FINAL, PREWHERE).
_NO_ANSWER = {497, 62, 80, 48, 141, 181, 182}
_UNKNOWN_TABLE = 60
_UNKNOWN = {46, 60, 81}
_NO_COLUMN = 8


def check(reader: Reader, changes: t.Mapping[Key, Change], allow: t.Collection[str]) -> dict[Key, Change]:
    """Changes that cannot be made, because a view does not fit what they lead to.

    Raises C(ClickHouseError) for a view that the server would refuse in any case.
    """
    zookeeper(reader)
    planned = Planned(reader, changes, allow)
    found: dict[Key, Change] = {}
    for item in planned.views:
        try:
            planned.make(item)
        except ConnectionFailed:
            raise
        except ClickHouseError as error:
            if error.code in _NO_ANSWER or (error.code in _UNKNOWN and planned.reads_elsewhere(item)):
                continue
            waiting = [key for key in planned.reads(item) if key in planned.stays]
            if not waiting:
                raise planned.readable(error).about(item.subject) from error
            reason = f"it needs {', '.join('.'.join(key) for key in waiting)} as declared, which stays as it is"
            found[item.key] = Change(impossible=(reason,))
    for key, reason in planned.undeclared():
        found[key] = Change(changes[key].statements, impossible=(reason,))
    return found


def zookeeper(reader: Reader) -> None:
    """Whether the server has a ZooKeeper, where replicated tables are to be created."""
    missing = [item for item in reader.tables if item.key not in reader.have and reader.is_replicated(item)]
    if not missing:
        return
    try:
        reader.client.rows("SELECT name FROM system.zookeeper WHERE path = '/' LIMIT 1")
    except ConnectionFailed:
        raise
    except ClickHouseError as error:
        if error.code == _UNKNOWN_TABLE:
            message = "a replicated table needs ZooKeeper, and this server's configuration has no <zookeeper>"
            raise ClickHouseError(message, error.code).about(missing[0].subject) from error
        if error.code not in _NO_ANSWER:
            raise error.about(missing[0].subject) from error


def substituted(text: str, names: t.Mapping[Key, str], database: str) -> str:
    """A query, in the server's words, that reads from other tables in place of some. C(database) is the session's."""
    tokens = ddl.tokenize(text)
    pieces: dict[int, tuple[int, str]] = {}  # where a token begins -> where what it replaces ends, and by what
    for place in dependencies.table_names(text, database):
        if place.key in names:
            aliased = not place.aliased or (place.end < len(tokens) and tokens[place.end].is_("AS"))
            alias = "" if aliased else f" AS {ddl.quote_name(place.key[1])}"
            pieces[tokens[place.start].start] = tokens[place.end - 1].end, names[place.key] + alias
    for first, dot, second, again in zip(tokens, tokens[1:], tokens[2:], tokens[3:]):
        qualifier = (ddl.unquote(first.text), ddl.unquote(second.text))
        if dot.text == again.text == "." and qualifier in names and first.start not in pieces:
            pieces[first.start] = second.end, second.text
    result, position = "", 0
    for start, (end, by) in sorted(pieces.items()):
        result, position = result + text[position:start] + by, end
    return result + text[position:]


def temporary_table(name: str, clauses: t.Sequence[ddl.Clause]) -> str:
    """A table of the session with the columns of another one, by name and type."""
    pieces = []
    for column in alter.elements(ddl.clause(clauses, "columns")).columns.values():
        if column.default_kind == "EPHEMERAL":
            continue
        computed = column.default_kind if column.default_kind in ("MATERIALIZED", "ALIAS") else ""
        default = f" {computed} defaultValueOfTypeName({ddl.quote_string(column.type)})" if computed else ""
        pieces.append(f"{ddl.tokenize(column.text)[0].text} {column.type}{default}")
    engine = ddl.engine_of(ddl.clause(clauses, "engine"))[0].removeprefix("Replicated")
    plain = "MergeTree" if engine == "MergeTree" else "ReplacingMergeTree"  # FINAL is not for all
    return f"CREATE TEMPORARY TABLE {name} ({', '.join(pieces)}) ENGINE = {plain} ORDER BY tuple()"


# In the server's words.
_TABLE_FUNCTION = re.compile(r"\b(FROM|JOIN) [\w.`]+\(")


class Planned:
    """What the plan leads to, as far as views read it: temporary tables and views, made when the first view needs them."""

    def __init__(self, reader: Reader, changes: t.Mapping[Key, Change], allow: t.Collection[str]) -> None:
        self.reader = reader
        self.client = reader.client
        self.changes = changes
        self.prefix = f"__groundwork_{random.getrandbits(32):08x}_planned_"
        # What differs and will not be changed; what will be other than it is.
        self.stays = {key for key, change in changes.items() if change.obstacles(allow)}
        self.items = {item.key: item for item in reader.every}
        self.other = {
            item.key
            for item in reader.every
            if item.key not in self.stays and (item.key in changes or (item.key not in reader.have and not item.absent))
        }
        self.dropped = {key for key in self.other if self.items[key].absent}
        self.loses = {key for key in self.other if key in reader.have and self._loses(key)}
        self.made: dict[Key, str] = {}
        self.columns: dict[Key, set[str]] = {}
        self.views = [item for item in reader.want if item.kind in VIEWS and self._concerns(item)]

    def _loses(self, key: Key) -> bool:
        """Whether it has no longer all columns that it has."""
        if key in self.dropped:
            return True
        if self.items[key].kind != "table":
            return False
        old, new = (dependencies.columns(ddl.split_clauses(side[key])) for side in (self.reader.have, self.reader.texts))
        return not set(old) <= set(new)

    def _concerns(self, item: Declared) -> bool:
        if item.key in self.stays or self.reader.uses_changing(item.body):
            return False
        return item.key in self.other or not self.loses.isdisjoint(self.reads(item))

    def text(self, item: Declared) -> list[ddl.Clause]:
        """An object as the plan leaves it."""
        texts = self.reader.texts if item.key in self.other or item.key not in self.reader.have else self.reader.have
        return ddl.split_clauses(texts[item.key])

    def reads(self, item: Declared) -> list[Key]:
        """Objects that a view reads from, and its target."""
        text = ddl.join_clauses(self.text(item)[1:])
        return sorted(dependencies.references(item, text, self.reader.database, ()) & self.items.keys())

    def reads_elsewhere(self, item: Declared) -> bool:
        """Whether a view reads from a table function or a view with parameters, which may be, or name, what the plan creates."""
        return bool(_TABLE_FUNCTION.search(ddl.clause(self.text(item), "select")))

    def make(self, item: Declared) -> str:
        """Make a view for a moment, and what it reads. Raises C(ClickHouseError) where the server refuses, or its target does not fit."""
        if item.key in self.made:
            return self.made[item.key]
        clauses = self.text(item)
        name = self._view(item, clauses)
        if ddl.clause(clauses, "to"):
            self._check_target(name, ddl.clause(clauses, "to"))
        return name

    def _view(self, item: Declared, clauses: t.Sequence[ddl.Clause]) -> str:
        select = ddl.clause(clauses, "select")
        # Columns that are not declared are those of the query, which changes.
        columns = ddl.clause(clauses, "columns") if item.kind == "view" and item.body.startswith("(") else ""
        names = {place.key: self._source(place.key) for place in dependencies.table_names(select, self.reader.database)}
        query = substituted(select, {key: name for key, name in names.items() if name}, self.reader.database)
        name = f"{self.prefix}{len(self.made):04}"
        self.client.execute(" ".join(filter(None, ["CREATE TEMPORARY VIEW", name, columns, query])))
        self.made[item.key] = name
        return name

    def _source(self, key: Key) -> str:
        """What stands for an object that the plan changes; nothing for any other."""
        if key in self.made:
            return self.made[key]
        if key not in self.other:
            return ""
        item = self.items[key]
        if item.absent:
            raise ClickHouseError(f"{item.label}, which it reads, is to be dropped", _UNKNOWN_TABLE)
        clauses = self.text(item)
        if item.kind == "view" or (item.kind == "materialized_view" and not ddl.clause(clauses, "to")):
            return self._view(item, clauses)
        target = ddl.clause(clauses, "to")
        if target:
            parts = ddl.parse_name(target[len("TO ") :])
            return self._source((parts[0], parts[1])) or target[len("TO ") :]
        if not dependencies.columns(clauses):
            raise ClickHouseError("its columns are not known beforehand", min(_NO_ANSWER))
        name = f"{self.prefix}{len(self.made):04}"
        try:
            self.client.execute(temporary_table(name, clauses))
        except ConnectionFailed:
            raise
        except ClickHouseError as error:
            raise ClickHouseError(str(error), min(_NO_ANSWER)) from error
        self.made[key] = name
        return name

    def _check_target(self, view: str, target: str) -> None:
        """Whether the target has the columns that a materialized view gives; without one the server ignores the values."""
        label = target[len("TO ") :]
        parts = ddl.parse_name(label)
        key = (parts[0], parts[1])
        if key in self.dropped:
            raise ClickHouseError(f"its target {label} is to be dropped", _UNKNOWN_TABLE)
        gives = [name for name, *_rest in self.client.rows(f"DESCRIBE TABLE {view}")]
        missing = [name for name in gives if name not in self._columns_of(key)]
        if missing:
            raise ClickHouseError(f"its query gives column {missing[0]}, which its target {label} does not have", _NO_COLUMN)

    def _columns_of(self, key: Key) -> set[str]:
        if key not in self.columns:
            found = set(dependencies.columns(self.text(self.items[key]))) if key in self.other else set()
            if not found:
                database, table = map(ddl.quote_string, key)
                query = f"SELECT name FROM system.columns WHERE database = {database} AND table = {table}"
                found = {name for (name,) in self.client.rows(query)}
            if not found:
                raise ClickHouseError(f"its target {'.'.join(key)} neither exists nor is declared", _UNKNOWN_TABLE)
            self.columns[key] = found
        return self.columns[key]

    def readable(self, error: ClickHouseError) -> ClickHouseError:
        """The error with the real names of what stands for tables and views."""
        message = str(error)
        for (database, table), name in self.made.items():
            label = ddl.qualified(database, table)
            message = message.replace(f"{name} AS {ddl.quote_name(table)}", label).replace(name, label)
        return ClickHouseError(message, error.code)

    def undeclared(self) -> list[tuple[Key, str]]:
        """Tables that lose columns which a materialized view reads that is not declared, with the reason why they cannot."""
        tables = sorted(key for key in self.loses if any("DROP COLUMN" in text for text in self.changes[key].statements))
        if not tables:
            return []
        keys = ", ".join(f"({ddl.quote_string(database)}, {ddl.quote_string(name)})" for database, name in tables)
        query = (
            "SELECT database, name, create_table_query FROM system.tables WHERE (database, name) IN (SELECT arrayJoin(arrayZip("
            f"dependencies_database, dependencies_table)) FROM system.tables WHERE (database, name) IN ({keys}))"
        )
        found: list[tuple[Key, str]] = []
        for database, name, text in self.client.rows(query):
            if (database, name) in self.items or ddl.kind_of(text) != "materialized_view":
                continue
            item = Declared(-1, "materialized_view", database, name)
            try:
                self._view(item, ddl.split_clauses(text))
            except ConnectionFailed:
                raise
            except ClickHouseError as error:
                if error.code not in _NO_ANSWER:
                    read = {place.key for place in dependencies.table_names(text, self.reader.database)}
                    reason = f"the materialized view {item.label}, which is not declared, reads what would be gone: {self.readable(error)}"
                    found += [(key, reason) for key in tables if key in read]
        return found
