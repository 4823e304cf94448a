# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Temporary tables and views, in which the server tries definitions and changes (private: may change at any time).

They belong to the session, so that check mode may make them; they are gone when the block ends that made them.
"""

from __future__ import annotations

import contextlib
import typing as t

from . import alter, declaration, error_codes, references, sql_clauses, sql_tokens
from . import client as clickhouse

# Beginnings of engines that reach beyond the server's own tables as soon as one is created: they register with ZooKeeper or a
# broker, open a file for themselves or write one, start to replicate, keep a dictionary from being dropped. Tables with one are
# tried as Memory, for their columns.
_EXTERNAL_ENGINES = (
    *("Azure", "DeltaLake", "Dictionary", "EmbeddedRocksDB", "FileLog", "Hudi", "Iceberg", "KeeperMap", "MaterializedPostgreSQL"),
    *("NATS", "Paimon", "RabbitMQ", "S3Queue", "SQLite", "TimeSeries"),
)
# Engines that keep rows themselves, beside the MergeTree family: a temporary table of theirs may hold a row.
_ENGINES_WITH_ROWS = ("Memory",)
_TRIED_AS_MEMORY = ("head", "columns", "source", "engine")
# Statements in one request. Many more take the server longer than several requests (1,000 at once ten times as long as 200, 26.7).
_BATCH = 200
# What a table of the engine AggregatingMergeTree may need to be made again: columns that are neither keys nor aggregates.
_PERMISSIVE_TABLE = {"allow_dimensions_outside_sorting_key": "1"}


class TemporaryObjects:
    """What a C(with) block makes in the session for a moment; at its end the server drops all of it."""

    def __init__(self, client: clickhouse.ClickHouse) -> None:
        self.client = client
        # Tables that refer to a dictionary or another table.
        self._referring: set[str] = set()

    def __enter__(self) -> TemporaryObjects:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.release_references()
        with contextlib.suppress(clickhouse.ClickHouseError):  # its time will end the session
            self.client.end_session()

    def create_all(self, statements: t.Mapping[str, str]) -> dict[str, clickhouse.ClickHouseError]:
        """Execute C(CREATE TEMPORARY) statements, given by the names of what they make, in few requests. Returns what was refused.

        Statements that are sent together fail together: a batch that failed is sent again in two halves. What was made all the same is
        not made again.
        """
        refused: dict[str, clickhouse.ClickHouseError] = {}
        names = list(statements)
        batches = [names[start : start + _BATCH] for start in range(0, len(names), _BATCH)]
        while batches:
            batch = batches.pop()
            try:
                self.client.execute(" PARALLEL WITH ".join(statements[name] for name in batch))
            except clickhouse.ServerError as error:
                if len(batch) > 1:
                    # Servers before 25.4 know no PARALLEL WITH.
                    size = 1 if error.code == error_codes.SYNTAX_ERROR else (len(batch) + 1) // 2
                    batches += [batch[start : start + size] for start in range(0, len(batch), size)]
                else:
                    refused[batch[0]] = error
        self._referring |= {name for name, text in statements.items() if name not in refused and _keeps_reference(text)}
        return refused

    def alter_all(self, statements: t.Mapping[str, str]) -> bool:
        """Execute one C(ALTER) of each of these tables, given by their names, in few requests.

        False where the server refuses one, or knows no C(PARALLEL WITH): which of them were executed is not known then.
        """
        names = list(statements)
        self._referring |= {name for name, text in statements.items() if _keeps_reference(text)}
        try:
            for start in range(0, len(names), _BATCH):
                self.client.execute(" PARALLEL WITH ".join(statements[name] for name in names[start : start + _BATCH]))
        except clickhouse.ServerError:
            return False
        return True

    def create(self, name: str, kind: str, clauses: list[sql_clauses.Clause]) -> None:
        """Make what exists already under another name. Raises C(ClickHouseError) where the server refuses it."""
        try:
            self.execute(name, temporary_statement(name, kind, clauses))
        except clickhouse.ServerError:
            if kind != "table" or not self.create_permissively(name, clauses):
                raise

    def create_permissively(self, name: str, clauses: list[sql_clauses.Clause]) -> bool:
        """Make a table that the server has made before, although its settings refuse it today. Whether it could be made."""
        more = _PERMISSIVE_TABLE if sql_clauses.engine_name(clauses).endswith("AggregatingMergeTree") else {}
        more = {
            setting: value
            for setting, value in more.items()
            if setting not in sql_clauses.parse_settings(sql_clauses.clause_text(clauses, "settings"))
        }
        statement = temporary_statement(name, "table", sql_clauses.set_settings(clauses, more) if more else clauses)
        try:
            self.client.execute(statement, self.client.permissive_settings)
            self._referring |= {name} if references.has_lookup(sql_clauses.join_clauses(clauses)) else set()
            if more:
                self.client.execute(f"ALTER TABLE {name} RESET SETTING {', '.join(more)}")
        except clickhouse.ServerError:
            return False
        return True

    def execute(self, name: str, statement: str) -> None:
        """Execute a statement that makes or alters what has this name."""
        self.client.execute(statement)
        if _keeps_reference(statement):
            self._referring.add(name)

    def definition(self, name: str) -> str:
        """The statement of one of them, which stays."""
        return self.client.rows(
            f"SELECT create_table_query FROM system.tables WHERE is_temporary AND name IN ({sql_tokens.quoted_list([name])})"
        )[0][0]

    def read_back(self, names: t.Collection[str]) -> dict[str, str]:
        """The statements of these, after which all are dropped.

        Formatted once more: the server shows what it has read from its files.
        """
        text = "ifNull(formatQuerySingleLineOrNull(create_table_query), create_table_query)"
        query = f"SELECT name, {text} FROM system.tables WHERE is_temporary AND name IN ({sql_tokens.quoted_list(names)})"
        if not self._referring:
            return dict(self.client.last_rows(query))
        texts = dict(self.client.rows(query))
        self.release_references()
        self.client.last_rows("SELECT 1")
        return texts

    def release_references(self) -> None:
        """Alter tables so that they refer to nothing: the server keeps their references for good, and nobody could drop a dictionary."""
        if not self._referring:
            return
        names = sql_tokens.quoted_list(self._referring)
        self._referring = set()
        with contextlib.suppress(clickhouse.ClickHouseError):  # it is gone, or the engine has no ALTER
            for name, text in self.client.rows(
                f"SELECT name, create_table_query FROM system.tables WHERE is_temporary AND name IN ({names})"
            ):
                have = sql_clauses.split_clauses(text)
                for statement in alter.plan_alter(name, have, alter.remove_expressions(have, references.has_lookup)).statements:
                    self.client.execute(statement)


def _keeps_reference(statement: str) -> bool:
    """Whether the server would keep a reference of what a statement makes."""
    return not statement.startswith("CREATE TEMPORARY VIEW") and references.has_lookup(statement)


def is_external(clauses: list[sql_clauses.Clause]) -> bool:
    """Whether a table, or what it refers to, reaches beyond the server's own tables as soon as it is created."""
    engine = sql_clauses.engine_name(clauses)
    if references.has_lookup(sql_clauses.clause_text(clauses, "columns")) and not engine.endswith("MergeTree"):
        return True  # not every engine lets go of what it refers to
    return engine.startswith(_EXTERNAL_ENGINES) or "kafka_keeper_path" in sql_clauses.parse_settings(
        sql_clauses.clause_text(clauses, "settings")
    )


def keeps_rows(clauses: list[sql_clauses.Clause]) -> bool:
    """Whether a table's engine keeps its rows itself; every other one may pass them on, or take them from elsewhere."""
    engine = sql_clauses.engine_name(clauses)
    return engine.endswith("MergeTree") or engine in _ENGINES_WITH_ROWS


def temporary_statement(name: str, kind: str, clauses: list[sql_clauses.Clause]) -> str:
    """The statement that makes a temporary table or view, once however often it is sent."""
    if kind != "table":
        keys = ("columns", "select") if kind == "view" else ("select",)
        return " ".join([f"CREATE TEMPORARY VIEW IF NOT EXISTS {name}", *(sql_clauses.clause_text(clauses, key) for key in keys)])
    if is_external(clauses):
        clauses = sql_clauses.replace_clause([part for part in clauses if part.key in _TRIED_AS_MEMORY], "engine", "ENGINE = Memory")
    else:
        clauses = sql_clauses.without_replication(clauses)
    return sql_clauses.join_clauses(sql_clauses.replace_clause(clauses, "head", f"CREATE TEMPORARY TABLE IF NOT EXISTS {name}"))


def from_temporary(
    item: declaration.Declared, ours: list[sql_clauses.Clause], theirs: list[sql_clauses.Clause]
) -> list[sql_clauses.Clause]:
    """What was read back, under its own name and engine again. C(ours) is the definition that was tried."""
    if item.kind == "materialized_view":
        return sql_clauses.replace_clause(ours, "select", sql_clauses.clause_text(theirs, "select"))
    if item.kind == "view":
        kept = [part for part in ours if part.key not in ("columns", "select")]
        return [kept[0], *(part for part in theirs if part.key == "columns"), *kept[1:], theirs[-1]]
    if is_external(ours):
        columns = [part for part in theirs if part.key == "columns"]
        return [ours[0], *columns, *(part for part in ours[1:] if part.key not in ("columns", "source"))]
    clauses = sql_clauses.replace_clause(theirs, "head", sql_clauses.clause_text(ours, "head"))
    engine, arguments = sql_clauses.table_engine(ours)
    if engine.startswith("Replicated"):
        _plain, rest = sql_clauses.table_engine(theirs)
        clauses = sql_clauses.replace_clause(
            clauses, "engine", sql_clauses.engine_clause(engine, sql_clauses.replica_path(arguments) + rest)
        )
    return clauses
