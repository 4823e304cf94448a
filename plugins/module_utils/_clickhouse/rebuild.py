# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A MergeTree table that no ALTER makes as declared is copied into a new one, which takes its place (private: may change at any time).

The new table stands beside the old one as ``<table>__rebuild``. Rows are copied a partition at a time; then merges of both stop, number and
checksum of each partition's rows are compared, what differs is copied again, the tables are exchanged, rows that were inserted into the
old one on the way are copied, and the old one stays as ``<table>__before``. What was copied is written into the old table's
comment before the exchange, so that a run that is interrupted at any point is finished by the next one. Parts are told by
their block numbers (``system.parts``), which only grow; a part that has merged old rows with new ones cannot be told, and is refused.
"""

from __future__ import annotations

import dataclasses
import json
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import alter, ddl
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.changes import REBUILD_SUFFIX, Change, is_replicated
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import (
    ClickHouse,
    ClickHouseError,
    ConnectionFailed,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.declaration import Declared

REBUILD = "rebuild"
BEFORE_SUFFIX = "__before"
TAIL_SUFFIX = "__tail"
_MARK = "replaced by a rebuild of groundwork.observability, copied up to block "
_ROUNDS = 10
_UNKNOWN_TABLE = 60
# Every row as it is: no collapsing of a block before it is written, no block dropped as already inserted, no limit to parts that wait
# for merges.
_COPY_SETTINGS = "SETTINGS optimize_on_insert = 0, insert_deduplicate = 0, parts_to_delay_insert = 100000, parts_to_throw_insert = 100000"


@dataclass(frozen=True)
class Copy:
    """How rows of the old table become rows of the new one: names to insert, and expressions over the old table."""

    names: tuple[str, ...]
    expressions: tuple[str, ...]
    # What a partition of the old table is called, in both tables; without a key that both have, the table is one.
    unit: str
    # Whether both tables are cut into the same partitions.
    same_partitions: bool

    def insert(self, target: str, source: str, condition: str) -> str:
        rows = f"SELECT {', '.join(self.expressions)} FROM {source}{condition}"
        return f"INSERT INTO {target} ({', '.join(self.names)}) {rows} {_COPY_SETTINGS}"

    @staticmethod
    def row(columns: t.Sequence[str]) -> str:
        """A checksum of a row, of any types."""
        return f"cityHash64(formatRow('RowBinary', {', '.join(columns)}))"


def copy_of(have: t.Sequence[ddl.Clause], want: t.Sequence[ddl.Clause], renamed: t.Mapping[str, str]) -> Copy:
    """How to copy. C(renamed) gives former names of columns."""
    old = alter.elements(ddl.clause(have, "columns")).columns
    new = alter.elements(ddl.clause(want, "columns")).columns
    names: list[str] = []
    expressions: list[str] = []
    for name, column in new.items():
        source = old.get(renamed.get(name, name)) or old.get(name)
        if source is None or column.default_kind not in ("", "DEFAULT") or source.default_kind == "EPHEMERAL":
            continue
        names.append(ddl.quote_name(name))
        expressions.append(_expression(source, column))
    key = ddl.clause(have, "partition_by")
    used = {ddl.unquote(token.text) for token in ddl.tokenize(key) if token.kind in ("word", "quoted")} & set(old)
    kept = all(name in new and new[name].type == old[name].type and ddl.quote_name(name) in names for name in used)
    unit = f"toString(tuple({key[len('PARTITION BY') :].strip()}))" if key and kept else "''"
    return Copy(tuple(names), tuple(expressions), unit, kept and key == ddl.clause(want, "partition_by"))


def _expression(old: alter.Column, new: alter.Column) -> str:
    name = ddl.quote_name(old.name)
    if old.type == new.type:
        return name
    if old.type.startswith("Nullable(") and not new.type.startswith("Nullable("):
        text = ddl.quote_string(new.type)
        return f"ifNull(_CAST({name}, {ddl.quote_string(f'Nullable({new.type})')}), defaultValueOfTypeName({text}))"
    return f"_CAST({name}, {ddl.quote_string(new.type)})"


def mark_of(blocks: t.Mapping[str, int]) -> str:
    """The old table's comment: the last block of each partition that has been copied."""
    return _MARK + json.dumps(dict(sorted(blocks.items())))


def blocks_of(comment: str) -> dict[str, int] | None:
    """What C(mark_of) has written, or nothing."""
    return json.loads(comment[len(_MARK) :]) if comment.startswith(_MARK) else None


class Rebuild:
    """One table's rebuild on one server."""

    def __init__(
        self, client: ClickHouse, item: Declared, have: list[ddl.Clause], want: list[ddl.Clause], leftover: str | None = None
    ) -> None:
        self.client = client
        self.item = item
        self.have, self.want = have, want
        self.leftover = leftover
        self.copy = copy_of(have, want, item.renamed_columns)
        self.shadow = dataclasses.replace(item, name=item.name + REBUILD_SUFFIX)
        self.before = dataclasses.replace(item, name=item.name + BEFORE_SUFFIX)
        self.table, self.beside = item.sql_name, self.shadow.sql_name
        self.planned_mark = ""
        # Whether what is copied last may have been copied by a run that was interrupted.
        self.resumed = False

    def change(self, plan: Change) -> Change:
        """The rebuild in place of a change that is impossible; what it needs beside the permission, or why it is impossible, too."""
        obstacle = self._obstacle()
        needs = (*plan.needs, (REBUILD, "; ".join(plan.impossible) + ": the rows would be copied into a new table"))
        if obstacle:
            return dataclasses.replace(plan, impossible=(*plan.impossible, obstacle))
        if plan.casts:
            try:
                self.client.rows(f"SELECT count() FROM {self.table} WHERE NOT ignore({', '.join(self.copy.expressions)})")
            except ConnectionFailed:
                raise
            except ClickHouseError as error:
                return dataclasses.replace(plan, impossible=(*plan.impossible, f"not all values can be copied: {error}"))
        statements = [] if self.leftover else [self._create()]
        statements.append(f"SYSTEM STOP MERGES {self.beside}")
        parts = self._blocks(self.table)
        condition = "" if self.copy.unit == "''" else " WHERE _partition_id = {}"
        rest: t.Iterable[str] = parts if condition else ["all"] if parts else []
        if self.leftover:
            self._await_copies()
            # What an interrupted run has copied stays where it is whole; the rest is found out, and mended, before the exchange.
            rest = [unit.partition for name, unit in self._units(self.table).items() if name not in self._units(self.beside)]
        statements += [self.copy.insert(self.beside, self.table, condition.format(ddl.quote_string(part))) for part in rest]
        self.planned_mark = mark_of(parts)
        exchange = f"EXCHANGE TABLES {self.table} AND {self.beside}"
        statements += [f"SYSTEM STOP MERGES {self.table}", self._marking(self.table, self.planned_mark), exchange]
        last = self._last()
        return Change(
            (*statements, *last),
            needs,
            prepare={exchange: self.settle, last[0]: self.catch_up},
            release=self.release,
        )

    def hint(self, plan: Change) -> Change:
        """The impossible change, with the way out where there is one."""
        engines = [ddl.engine_of(ddl.clause(side, "engine"))[0] for side in (self.have, self.want)]
        if not all(name.endswith("MergeTree") for name in engines):
            return plan
        *others, last = plan.impossible
        return dataclasses.replace(plan, impossible=(*others, f"{last} (allow: [{REBUILD}] copies the rows into a new table)"))

    def finish(self, comment: str) -> Change:
        """What is left to do when the tables have been exchanged already. C(comment) is that of the old one."""
        self.planned_mark = comment
        self.resumed = True
        last = self._last()
        return Change(tuple(last), prepare={last[0]: self.catch_up})

    def _last(self) -> list[str]:
        return [
            f"SYSTEM START MERGES {self.table}",
            f"SYSTEM START MERGES {self.beside}",
            f"RENAME TABLE {self.beside} TO {self.before.sql_name}",
        ]

    def _obstacle(self) -> str:
        item = self.item
        engines = [ddl.engine_of(ddl.clause(side, "engine")) for side in (self.have, self.want)]
        if not all(name.endswith("MergeTree") for name, _arguments in engines):
            return "a rebuild copies tables of the MergeTree family only"
        if not self.copy.names:
            return "a rebuild would copy no column"
        database = ddl.quote_string(item.database)
        query = (
            f"SELECT (SELECT engine FROM system.databases WHERE name = {database}),"
            f" (SELECT count() FROM system.tables WHERE database = {database} AND name = {ddl.quote_string(self.before.name)})"
        )
        ((engine, before),) = self.client.rows(query)
        if engine != "Atomic":
            return f"a rebuild exchanges tables, which the database's engine {engine} cannot"
        if before:
            return f"{self.before.label} is there, of an earlier rebuild: {_drop_first(self.before)}"
        if self._mutations():
            return "mutations of it are not done (system.mutations): wait for them, or kill them"
        if self.leftover:
            theirs = ddl.split_clauses(self.leftover)
            ours = ddl.replace_clause(self.want, "head", ddl.clause(theirs, "head"))
            if ddl.join_clauses(ddl.fill(ours, theirs, {})) != self.leftover:
                return f"{self.shadow.label} is there, with another definition: {_drop_first(self.shadow)}"
        elif is_replicated(self.want) and is_replicated(self.have):
            paths = [ddl.replica_path(arguments) for _name, arguments in engines]
            if not paths[1] or paths[0] == paths[1]:
                return "its path in ZooKeeper is taken by the table as it is: declare another path among the engine's arguments"
        return ""

    def _create(self) -> str:
        """The new table, at the path in ZooKeeper that a table of the declared name would have."""
        body = self.item.body
        name, arguments = ddl.engine_of(body)
        if name.startswith("Replicated") and not ddl.replica_path(arguments):
            query = "SELECT name, value FROM system.server_settings WHERE name IN ('default_replica_path', 'default_replica_name')"
            defaults = dict(self.client.rows(query))
            path = defaults["default_replica_path"].replace("{database}", self.item.database).replace("{table}", self.item.name)
            given = [ddl.quote_string(path), ddl.quote_string(defaults["default_replica_name"])]
            body = ddl.with_engine(body, ddl.engine_clause(name, [*given, *arguments]))
        return dataclasses.replace(self.shadow, body=body).statement

    def _marking(self, table: str, mark: str) -> str:
        return f"ALTER TABLE {table} MODIFY COMMENT {ddl.quote_string(mark)}"

    def _blocks(self, table: str) -> dict[str, int]:
        """The last block of each partition, of the parts that are there."""
        return _maxima((partition, block) for _name, partition, _first, block in self._parts(table))

    def _parts(self, table: str) -> list[tuple[t.Any, ...]]:
        name = self.shadow.name if table == self.beside else self.item.name
        return self.client.rows(
            "SELECT name, partition_id, min_block_number, max_block_number FROM system.parts"
            f" WHERE active AND database = {ddl.quote_string(self.item.database)} AND table = {ddl.quote_string(name)}"
            " ORDER BY partition_id, min_block_number"
        )

    def _units(self, table: str) -> dict[str, Unit]:
        columns = self.copy.expressions if table == self.table else self.copy.names
        query = (
            f"SELECT {self.copy.unit} AS unit, any(_partition_id), count(), sum({self.copy.row(columns)}), groupUniqArray(_part)"
            f" FROM {table} GROUP BY unit"
        )
        return {name: Unit(partition, rows, digest, tuple(parts)) for name, partition, rows, digest, parts in self.client.rows(query)}

    def settle(self) -> list[str]:
        """Make the copy complete: compare, and copy again what differs. Returns the statements that this took."""
        done: list[str] = []
        replicas = self._peers()
        if replicas:
            self.client.execute(f"SYSTEM SYNC REPLICA {self.beside}")
        for _round in range(_ROUNDS):
            if self._mutations():
                raise ClickHouseError(f"mutations of {self.table} were begun while it was copied: run it again when they are done")
            old, new = self._units(self.table), self._units(self.beside)
            differing = [name for name in {**old, **new} if name not in old or name not in new or not old[name].same(new[name])]
            if not differing:
                return done + self._mark_copied(old)
            wrong = [name for name in differing if name in new]
            if wrong and replicas:
                raise ClickHouseError(
                    f"rows of {self.beside} came by another replica ({', '.join(replicas)}), the copy cannot be compared. Rebuild on one "
                    f"replica first, with nothing inserted at the others; to start again, drop {self.beside} on all"
                )
            if wrong and not self.copy.same_partitions:
                self._do(done, f"TRUNCATE TABLE {self.beside} SYNC")
                differing = list(old)
            else:
                for name in wrong:
                    self._do(done, f"ALTER TABLE {self.beside} DROP PARTITION ID {ddl.quote_string(new[name].partition)}")
            for name in differing:
                if name in old:
                    where = "" if self.copy.unit == "''" else f" WHERE _partition_id = {ddl.quote_string(old[name].partition)}"
                    self._do(done, self.copy.insert(self.beside, self.table, where))
        reason = f"in {_ROUNDS} rounds: too much is inserted or removed meanwhile"
        raise ClickHouseError(f"{self.beside} does not become equal to {self.table} {reason}")

    def _mark_copied(self, units: t.Mapping[str, Unit]) -> list[str]:
        """Write down which blocks have been compared. Merges are stopped, so that every part seen is still there."""
        seen = {part for unit in units.values() for part in unit.parts}
        mark = mark_of(_maxima((partition, block) for name, partition, _first, block in self._parts(self.table) if name in seen))
        done: list[str] = []
        if mark != self.planned_mark:
            self._do(done, self._marking(self.table, mark))
            self.planned_mark = mark
        return done

    def catch_up(self) -> list[str]:
        """Copy what was inserted into the old table, now C(__rebuild), after it was compared, until nothing more can come."""
        done: list[str] = []
        self._await_inserts()
        blocks = blocks_of(self.planned_mark) or {}
        late: list[str] = []
        for name, partition, first, last in self._parts(self.beside):
            if last <= blocks.get(partition, -1) or (self.resumed and self._has_rows_of(name)):
                continue
            if first <= blocks.get(partition, -1):
                raise ClickHouseError(
                    f"part {name} of {self.beside} has merged rows that were copied to {self.table} with some that were not (up to block "
                    f"{blocks.get(partition)}): compare them, then rename it to {self.before.sql_name}"
                )
            late.append(name)
        if late:
            self._attach(done, late)
        return done

    def _attach(self, done: list[str], parts: t.Sequence[str]) -> None:
        """Add rows of the old table without an INSERT: materialized views have seen them already."""
        tail = dataclasses.replace(self.item, name=self.item.name + TAIL_SUFFIX)
        name, arguments = ddl.engine_of(ddl.clause(self.want, "engine"))
        plain = name.removeprefix("Replicated")
        kept = arguments[len(ddl.replica_path(arguments)) :] if plain != name else arguments
        clauses = ddl.replace_clause(self.want, "engine", ddl.engine_clause(plain, kept))
        self._do(done, f"DROP TABLE IF EXISTS {tail.sql_name} SYNC")
        self._do(done, ddl.join_clauses(ddl.replace_clause(clauses, "head", f"CREATE TABLE {tail.sql_name}")))
        self._do(done, f"SYSTEM STOP MERGES {tail.sql_name}")
        names = ", ".join(map(ddl.quote_string, parts))
        self._do(done, self.copy.insert(tail.sql_name, self.beside, f" WHERE _part IN ({names})"))
        for (partition,) in self.client.rows(f"SELECT DISTINCT _partition_id FROM {tail.sql_name} ORDER BY 1"):
            self._do(done, f"ALTER TABLE {self.table} ATTACH PARTITION ID {ddl.quote_string(partition)} FROM {tail.sql_name}")
        self._do(done, f"DROP TABLE {tail.sql_name} SYNC")

    def _has_rows_of(self, part: str) -> bool:
        """Whether an interrupted run has copied a part already."""
        where = f" WHERE _part = {ddl.quote_string(part)}"
        theirs = f"SELECT {self.copy.row(self.copy.expressions)} FROM {self.beside}{where}"
        query = (
            f"SELECT (SELECT count() FROM {self.table} WHERE {self.copy.row(self.copy.names)} IN ({theirs}))"
            f" >= (SELECT count() FROM {self.beside}{where})"
        )
        return bool(self.client.rows(query)[0][0])

    def release(self) -> str:
        """Let the tables merge again when the rebuild has failed; the next run goes on. Returns what could not be done, for the message."""
        still = []
        for table in (self.table, self.beside):
            try:
                self.client.execute(f"SYSTEM START MERGES {table}")
            except ClickHouseError as error:
                if error.code != _UNKNOWN_TABLE:
                    still.append(f"; merges of {table} may still be stopped: SYSTEM START MERGES {table}")
        return "".join(still)

    def _do(self, done: list[str], statement: str) -> None:
        self.client.execute(statement)
        done.append(statement)

    def _mutations(self) -> bool:
        database, table = ddl.quote_string(self.item.database), ddl.quote_string(self.item.name)
        query = f"SELECT count() FROM system.mutations WHERE database = {database} AND table = {table} AND NOT is_done"
        return bool(self.client.rows(query)[0][0])

    def _peers(self) -> list[str]:
        if not is_replicated(self.want):
            return []
        query = (
            "SELECT arrayFilter(name -> name != replica_name, mapKeys(replica_is_active)) FROM system.replicas"
            f" WHERE database = {ddl.quote_string(self.item.database)} AND table = {ddl.quote_string(self.shadow.name)}"
        )
        return [name for (names,) in self.client.rows(query) for name in names]

    def _await_copies(self) -> None:
        """The server goes on copying when the run that asked for it is gone."""
        head = ddl.quote_string(f"INSERT INTO {self.beside} (")
        self._await(f"SELECT count() FROM system.processes WHERE startsWith(query, {head})", "a copy of an interrupted run still goes on")

    def _await_inserts(self) -> None:
        """INSERTs that began before the exchange write into the old table."""
        running = [name for (name,) in self.client.rows("SELECT query_id FROM system.processes WHERE query_kind = 'Insert'")]
        if running:
            names = ", ".join(map(ddl.quote_string, running))
            query = f"SELECT count() FROM system.processes WHERE query_id IN ({names})"
            self._await(query, "INSERTs that began before the exchange still run")

    def _await(self, query: str, what: str) -> None:
        deadline = time.monotonic() + self.client.connection.timeout
        while self.client.rows(query)[0][0]:
            if time.monotonic() > deadline:
                raise ClickHouseError(f"{what}: run it again when they are done")
            time.sleep(0.2)


@dataclass(frozen=True)
class Unit:
    """Rows of one partition: its ID in the table that was asked, their number and checksum, and the parts they are in."""

    partition: str
    rows: int
    digest: int
    parts: tuple[str, ...]

    def same(self, other: Unit) -> bool:
        return (self.rows, self.digest) == (other.rows, other.digest)


def _drop_first(table: Declared) -> str:
    return f"drop it first (kind: table, name: {table.label}, state: absent)"


def _maxima(pairs: t.Iterable[tuple[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, number in pairs:
        found[name] = max(number, found.get(name, number))
    return found
