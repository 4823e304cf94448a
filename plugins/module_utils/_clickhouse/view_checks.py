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

from . import alter, declaration, dependencies, error_codes, references, sql_clauses, sql_tokens, temporary_objects
from . import change as planned
from . import client as clickhouse
from . import observation as observed

# What says nothing about the view: a server without temporary views, one that cannot make the like, and what the temporary tables cannot.
_NO_ANSWER = {
    error_codes.ACCESS_DENIED,
    error_codes.SYNTAX_ERROR,
    error_codes.INCORRECT_QUERY,
    error_codes.NOT_IMPLEMENTED,
    error_codes.SAMPLING_NOT_SUPPORTED,
    error_codes.ILLEGAL_FINAL,
    error_codes.ILLEGAL_PREWHERE,
}
_MISSING = {error_codes.UNKNOWN_FUNCTION, error_codes.UNKNOWN_TABLE, error_codes.UNKNOWN_DATABASE}


def check_views(
    client: clickhouse.ClickHouse, observation: observed.Observation, changes: planned.Changes, allow: t.Collection[str]
) -> planned.Changes:
    """Changes that cannot be made, because a view does not fit what they lead to.

    Raises C(ClickHouseError) for a view that the server would refuse in any case.
    """
    check_zookeeper(client, observation)
    found = {}
    with temporary_objects.TemporaryObjects(client) as temporary:
        views = PlannedViews(temporary, observation, changes, allow)
        for item in views.views:
            try:
                views.create(item)
            except clickhouse.ServerError as error:
                if error.code in _NO_ANSWER or (error.code in _MISSING and views.reads_elsewhere(item)):
                    continue
                waiting = [key for key in views.sources(item) if key in views.unchanged]
                if not waiting:
                    raise views.with_real_names(error).about(item.subject) from error
                reason = f"it needs {', '.join('.'.join(key) for key in waiting)} as declared, which stays as it is"
                found[item.key] = planned.Change(impossible=(reason,))
        for key, reason in views.broken_undeclared_views():
            found[key] = planned.Change(changes[key].statements, impossible=(reason,))
    return found


def check_zookeeper(client: clickhouse.ClickHouse, observation: observed.Observation) -> None:
    """Whether the server has a ZooKeeper, where replicated tables are to be created."""
    missing = [item for item in observation.tables if item.key not in observation.have]
    missing = [item for item in missing if sql_clauses.is_replicated(observation.want[item.key].clauses)]
    if not missing:
        return
    try:
        client.rows("SELECT name FROM system.zookeeper WHERE path = '/' LIMIT 1")
    except clickhouse.ServerError as error:
        if error.code == error_codes.UNKNOWN_TABLE:
            message = "a replicated table needs ZooKeeper, and this server's configuration has no <zookeeper>"
            raise clickhouse.ClickHouseError(message, error.code).about(missing[0].subject) from error
        if error.code not in _NO_ANSWER:
            raise error.about(missing[0].subject) from error


def replace_table_names(text: str, names: declaration.Texts, database: str) -> str:
    """A query, in the server's words, that reads from other tables in place of some. C(database) is the session's."""
    tokens = sql_tokens.tokenize(text)
    pieces: dict[int, tuple[int, str]] = {}  # where a token begins -> where what it replaces ends, and by what
    for place in dependencies.table_names(text, database):
        if place.key in names:
            aliased = not place.aliased or (place.end < len(tokens) and tokens[place.end].is_word("AS"))
            alias = "" if aliased else f" AS {sql_tokens.quote_name(place.key[1])}"
            pieces[tokens[place.start].start] = tokens[place.end - 1].end, names[place.key] + alias
    for first, dot, second, again in zip(tokens, tokens[1:], tokens[2:], tokens[3:]):
        qualifier = (first.value, second.value)
        if dot.text == again.text == "." and qualifier in names and first.start not in pieces:
            pieces[first.start] = second.end, second.text
    result, position = "", 0
    for start, (end, by) in sorted(pieces.items()):
        result, position = result + text[position:start] + by, end
    return result + text[position:]


# Columns that a table of an engine has beside those that are declared. Those of a MergeTree the stand-in has by itself.
# https://clickhouse.com/docs/engines/table-engines/integrations/kafka#virtual-columns
_VIRTUAL_COLUMNS = {
    "Kafka": {
        "_topic": "String",
        "_key": "String",
        "_partition": "UInt64",
        "_offset": "UInt64",
        "_timestamp": "Nullable(DateTime)",
        "_timestamp_ms": "Nullable(DateTime64(3))",
        "_headers.name": "Array(String)",
        "_headers.value": "Array(String)",
        # With kafka_handle_error_mode = 'stream'.
        "_raw_message": "String",
        "_error": "String",
    }
}


def temporary_table_statement(name: str, clauses: sql_clauses.Clauses) -> str:
    """A table of the session with the columns of another one, by name and type."""
    columns = alter.parse_columns(clauses)
    pieces = [
        f"{sql_tokens.quote_name(virtual)} {kind} MATERIALIZED defaultValueOfTypeName({sql_tokens.quote_string(kind)})"
        for virtual, kind in _VIRTUAL_COLUMNS.get(sql_clauses.engine_name(clauses), {}).items()
        if virtual not in columns
    ]
    for column in columns.values():
        if column.default_kind == "EPHEMERAL":
            continue
        computed = column.default_kind if column.default_kind in ("MATERIALIZED", "ALIAS") else ""
        default = f" {computed} defaultValueOfTypeName({sql_tokens.quote_string(column.type)})" if computed else ""
        pieces.append(f"{sql_tokens.tokenize(column.text)[0].text} {column.type}{default}")
    engine = sql_clauses.engine_name(clauses).removeprefix("Replicated")
    plain = "MergeTree" if engine == "MergeTree" else "ReplacingMergeTree"  # FINAL is not for all
    return f"CREATE TEMPORARY TABLE {name} ({', '.join(pieces)}) ENGINE = {plain} ORDER BY tuple()"


# In the server's words.
_TABLE_FUNCTION = re.compile(r"\b(FROM|JOIN) [\w.`]+\(")


class PlannedViews:
    """What the plan leads to, as far as views read it: temporary tables and views, made when the first view needs them."""

    def __init__(
        self,
        temporary: temporary_objects.TemporaryObjects,
        observation: observed.Observation,
        changes: planned.Changes,
        allow: t.Collection[str],
    ) -> None:
        self.temporary = temporary
        self.client = temporary.client
        self.observation = observation
        self.changes = changes
        self.prefix = f"__groundwork_{random.getrandbits(32):08x}_planned_"
        # What differs and will not be changed; what will be other than it is.
        self.unchanged = {key for key, change in changes.items() if change.obstacles(allow)}
        self.items = {item.key: item for item in observation.declared}
        self.changed = {
            item.key
            for item in observation.declared
            if item.key not in self.unchanged and (item.key in changes or (item.key not in observation.have and not item.absent))
        }
        self.dropped = {key for key in self.changed if self.items[key].absent}
        self.losing_columns = {key for key in self.changed if key in observation.have and self._loses_columns(key)}
        self.made: dict[declaration.Key, str] = {}
        self.columns: dict[declaration.Key, set[str]] = {}
        self.views = [item for item in observation.present if item.kind in observed.VIEWS and self._is_affected(item)]

    def _loses_columns(self, key: declaration.Key) -> bool:
        """Whether it has no longer all columns that it has."""
        if key in self.dropped:
            return True
        if self.items[key].kind != "table":
            return False
        old, new = map(alter.parse_columns, self.observation.both(self.items[key]))
        return not set(old) <= set(new)

    def _is_affected(self, item: declaration.Declared) -> bool:
        if item.key in self.unchanged or self.observation.uses_changing(item.body):
            return False
        return item.key in self.changed or not self.losing_columns.isdisjoint(self.sources(item))

    def definition(self, item: declaration.Declared) -> sql_clauses.Clauses:
        """An object as the plan leaves it."""
        side = self.observation.want if item.key in self.changed or item.key not in self.observation.have else self.observation.have
        return side[item.key].clauses

    def sources(self, item: declaration.Declared) -> list[declaration.Key]:
        """Objects that a view reads from, and its target."""
        text = sql_clauses.join_clauses(self.definition(item)[1:])
        return sorted(dependencies.referenced_objects(item, text, self.observation.database, ()) & self.items.keys())

    def reads_elsewhere(self, item: declaration.Declared) -> bool:
        """Whether a view reads from a table function or a view with parameters, which may be, or name, what the plan creates."""
        return bool(_TABLE_FUNCTION.search(sql_clauses.clause_text(self.definition(item), "select")))

    def create(self, item: declaration.Declared) -> str:
        """Make a view for a moment, and what it reads. Raises C(ClickHouseError) where the server refuses, or its target does not fit."""
        if item.key in self.made:
            return self.made[item.key]
        clauses = self.definition(item)
        name = self._create_view(item, clauses)
        if sql_clauses.clause_text(clauses, "to"):
            self._check_target(name, clauses)
        return name

    def _create_view(self, item: declaration.Declared, clauses: sql_clauses.Clauses) -> str:
        select = sql_clauses.clause_text(clauses, "select")
        # Columns that are not declared are those of the query, which changes.
        columns = sql_clauses.clause_text(clauses, "columns") if item.kind == "view" and item.body.startswith("(") else ""
        names = {place.key: self._stand_in(place.key) for place in dependencies.table_names(select, self.observation.database)}
        query = replace_table_names(select, {key: name for key, name in names.items() if name}, self.observation.database)
        name = f"{self.prefix}{len(self.made):04}"
        self.temporary.execute(name, " ".join(filter(None, ["CREATE TEMPORARY VIEW", name, columns, query])))
        self.made[item.key] = name
        return name

    def _stand_in(self, key: declaration.Key) -> str:
        """What stands for an object that the plan changes; nothing for any other."""
        if key in self.made:
            return self.made[key]
        if key not in self.changed:
            return ""
        item = self.items[key]
        if item.absent:
            raise clickhouse.ServerError(f"{item.label}, which it reads, is to be dropped", error_codes.UNKNOWN_TABLE)
        if item.kind in observed.VIEWS and self.observation.uses_changing(item.body):
            raise clickhouse.ServerError(f"{item.label} calls a function that the plan creates or changes", error_codes.NOT_IMPLEMENTED)
        clauses = self.definition(item)
        if item.kind == "view" or (item.kind == "materialized_view" and not sql_clauses.clause_text(clauses, "to")):
            return self._create_view(item, clauses)
        target = references.view_target(clauses)
        if target[1]:
            return self._stand_in(target) or sql_clauses.clause_text(clauses, "to")[len("TO ") :]
        if not alter.parse_columns(clauses):
            raise clickhouse.ServerError("its columns are not known beforehand", error_codes.NOT_IMPLEMENTED)
        name = f"{self.prefix}{len(self.made):04}"
        try:
            self.temporary.execute(name, temporary_table_statement(name, clauses))
        except clickhouse.ServerError as error:
            raise clickhouse.ServerError(str(error), error_codes.NOT_IMPLEMENTED) from error
        self.made[key] = name
        return name

    def _check_target(self, view: str, clauses: sql_clauses.Clauses) -> None:
        """Whether the target has the columns that a materialized view gives; without one the server ignores the values."""
        key, label = references.view_target(clauses), sql_clauses.clause_text(clauses, "to")[len("TO ") :]
        if key in self.dropped:
            raise clickhouse.ServerError(f"its target {label} is to be dropped", error_codes.UNKNOWN_TABLE)
        gives = [name for name, *_rest in self.client.rows(f"DESCRIBE TABLE {view}")]
        missing = [name for name in gives if name not in self._target_columns(key)]
        if missing:
            raise clickhouse.ServerError(
                f"its query gives column {missing[0]}, which its target {label} does not have", error_codes.THERE_IS_NO_COLUMN
            )

    def _target_columns(self, key: declaration.Key) -> set[str]:
        if key not in self.columns:
            found = set(alter.parse_columns(self.definition(self.items[key]))) if key in self.changed else set()
            if not found:
                where = declaration.Declared(-1, "table", *key).condition("table")
                found = {name for (name,) in self.client.rows(f"SELECT name FROM system.columns WHERE {where}")}
            if not found:
                raise clickhouse.ServerError(f"its target {'.'.join(key)} neither exists nor is declared", error_codes.UNKNOWN_TABLE)
            self.columns[key] = found
        return self.columns[key]

    def with_real_names(self, error: clickhouse.ClickHouseError) -> clickhouse.ClickHouseError:
        """The error with the real names of what stands for tables and views."""
        message = str(error)
        for (database, table), name in self.made.items():
            label = sql_tokens.qualify_name(database, table)
            message = message.replace(f"{name} AS {sql_tokens.quote_name(table)}", label).replace(name, label)
        return clickhouse.ClickHouseError(message, error.code)

    def broken_undeclared_views(self) -> list[tuple[declaration.Key, str]]:
        """Tables that lose columns which a materialized view reads that is not declared, with the reason why they cannot."""
        tables = sorted(key for key in self.losing_columns if any("DROP COLUMN" in text for text in self.changes[key].statements))
        if not tables:
            return []
        query = (
            "SELECT database, name, create_table_query FROM system.tables WHERE (database, name) IN (SELECT arrayJoin(arrayZip("
            f"dependencies_database, dependencies_table)) FROM system.tables WHERE (database, name) IN ({sql_tokens.quoted_keys(tables)}))"
        )
        found = []
        for database, name, text in self.client.rows(query):
            if (database, name) in self.items or sql_clauses.object_kind(text) != "materialized_view":
                continue
            item = declaration.Declared(-1, "materialized_view", database, name)
            try:
                self._create_view(item, sql_clauses.split_clauses(text))
            except clickhouse.ServerError as error:
                if error.code not in _NO_ANSWER:
                    read = {place.key for place in dependencies.table_names(text, self.observation.database)}
                    reads = f"the materialized view {item.label}, which is not declared, reads what would be gone"
                    reason = f"{reads}: {self.with_real_names(error)}"
                    found += [(key, reason) for key in tables if key in read]
        return found
