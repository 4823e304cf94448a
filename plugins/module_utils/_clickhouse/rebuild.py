# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A MergeTree table that no ALTER makes as declared is copied into a new one, which takes its place (private: may change at any time).

The new table stands beside the old one as ``<table>__rebuild``. Rows are copied a partition at a time; then merges of both stop, number
and checksum of each partition's rows are compared, what differs is copied again, the tables are exchanged, rows that were inserted into
the old one on the way are copied, and the old one stays as ``<table>__before``. What was copied is written into the old table's comment
before the exchange, so that a run that is interrupted at any point is finished by the next one. Parts are told by their block numbers
(``system.parts``), which only grow.

Replicas rebuild one after the other, each in its own run. The one that could create the table ``<table>__lock``, whose name in ZooKeeper
they share, goes on, the others wait; then they join the new table, and copy what was inserted through them meanwhile and is not in it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import alter, ddl, messages
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.changes import is_replicated
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import (
    ClickHouse,
    ClickHouseError,
    ConnectionFailed,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.declaration import Declared
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.found import (
    LOCK_SUFFIX,
    REBUILD,
    REBUILD_SUFFIX,
    TAIL_SUFFIX,
    Change,
    Do,
    Replan,
)

BEFORE_SUFFIX = "__before"
_MARK = "replaced by a rebuild of groundwork.observability, copied up to block "
_ROUNDS = 10
_UNKNOWN_TABLE = 60
# Another replica holds the lock, is about to, or gives it back right now.
_HELD = {253, 415, 999}
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
    # Those of the expressions that fail on a value that does not fit.
    casts: tuple[str, ...] = ()

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
    casts: list[str] = []
    for name, column in new.items():
        source = old.get(renamed.get(name, name)) or old.get(name)
        if source is None or column.default_kind not in ("", "DEFAULT") or source.default_kind == "EPHEMERAL":
            continue
        names.append(ddl.quote_name(name))
        expressions.append(_expression(source, column))
        if not alter.widens(source.type, column.type):
            casts.append(expressions[-1])
    key = ddl.clause(have, "partition_by")
    used = {ddl.unquote(token.text) for token in ddl.tokenize(key) if token.kind in ("word", "quoted")} & set(old)
    kept = all(name in new and new[name].type == old[name].type and ddl.quote_name(name) in names for name in used)
    unit = f"toString(tuple({key[len('PARTITION BY') :].strip()}))" if key and kept else "''"
    return Copy(tuple(names), tuple(expressions), unit, kept and key == ddl.clause(want, "partition_by"), tuple(casts))


def find_misfit(client: ClickHouse, rows: str, casts: t.Sequence[str]) -> str:
    """Why the rows' values cannot all be converted by these expressions: column, type and one value. Empty where they can."""
    try:
        client.rows(f"SELECT count() FROM {rows} WHERE NOT ignore({', '.join(casts)})")
    except ConnectionFailed:
        raise
    except ClickHouseError as error:
        for cast in casts:
            try:
                client.rows(f"SELECT count() FROM {rows} WHERE NOT ignore({cast})")
            except ConnectionFailed:
                raise
            except ClickHouseError as reason:
                return _misfit(client, rows, cast, reason)
        return str(error)
    return ""


def _misfit(client: ClickHouse, rows: str, cast: str, reason: ClickHouseError) -> str:
    """What is said of an expression that fails: with a value where one is found, else with the server's reason."""
    if not cast.startswith("_CAST("):
        return str(reason)
    column, kind = messages.cast_parts(cast)
    query = f"SELECT toString({ddl.quote_name(column)}) FROM {rows} WHERE {messages.misfit_condition(cast)} LIMIT 1"
    with contextlib.suppress(ClickHouseError):  # not every type can be asked for
        for (value,) in client.rows(query):
            return messages.misfit(column, kind, str(value))
    return f"column {column} cannot become {kind}: {reason}"


def _expression(old: alter.Column, new: alter.Column) -> str:
    name = ddl.quote_name(old.name)
    if old.type == new.type:
        return name
    if alter.is_nullable(old.type) and not alter.is_nullable(new.type):
        text = ddl.quote_string(new.type)
        default = f"_CAST({new.parts['DEFAULT']}, {text})" if "DEFAULT" in new.parts else f"defaultValueOfTypeName({text})"
        return f"ifNull(_CAST({name}, {ddl.quote_string(alter.nullable(new.type))}), {default})"
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
        self.lock = dataclasses.replace(item, name=item.name + LOCK_SUFFIX)
        self.lock_path = self.lock_statement = ""
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
        if self.copy.casts:
            misfit = find_misfit(self.client, self.table, self.copy.casts)
            if misfit:
                return dataclasses.replace(plan, impossible=(*plan.impossible, f"not all values can be copied: {misfit}"))
        lock = self._lock()
        statements = lock + ([] if self.leftover else [self._create()])
        statements.append(f"SYSTEM STOP MERGES {self.beside}")
        parts = self._blocks(self.table)
        condition = "" if self.copy.unit == "''" else " WHERE _partition_id = {}"
        rest: t.Iterable[str] = parts if condition else ["all"] if parts else []
        if self.leftover:
            self._await_copies()
            # What an interrupted run has copied stays where it is whole; the rest is found out, and mended, before the exchange.
            copied = self._units(self.beside)
            rest = [unit.partition for name, unit in self._units(self.table).items() if name not in copied]
        copies = [self.copy.insert(self.beside, self.table, condition.format(ddl.quote_string(part))) for part in rest]
        statements += copies
        self.planned_mark = mark_of(parts)
        exchange = f"EXCHANGE TABLES {self.table} AND {self.beside}"
        statements.append(f"SYSTEM STOP MERGES {self.table}")
        freeze = [f"SYSTEM STOP FETCHES {self.table}"] if is_replicated(self.have) else []
        statements += [*freeze, self._marking(self.table, self.planned_mark), exchange]
        last = self._last()
        return Change(
            (*statements, *last),
            needs,
            prepare={
                **dict.fromkeys(lock, self.acquire),
                **({copies[0]: self.begin} if copies else {}),
                **dict.fromkeys(freeze, self.complete),
                exchange: self.settle,
                last[0]: self.catch_up,
            },
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
        lock, last = self._lock(), self._last()
        return Change((*lock, *last), prepare={**dict.fromkeys(lock, self.acquire), last[0]: self.catch_up})

    def _lock(self) -> list[str]:
        """The statement that one replica at a time can run; none for a table without replicas."""
        if not is_replicated(self.want):
            return []
        self.lock_path = f"{ddl.unquote(self._path(ddl.engine_of(ddl.clause(self.want, 'engine'))[1])[0])}{LOCK_SUFFIX}"
        engine = ddl.engine_clause("ReplicatedMergeTree", [ddl.quote_string(self.lock_path), "'lock'"])
        self.lock_statement = f"CREATE TABLE IF NOT EXISTS {self.lock.sql_name} (holder String) {engine} ORDER BY holder"
        return [self.lock_statement]

    def acquire(self, _do: Do) -> None:
        """Wait until no other replica rebuilds this table."""
        deadline = time.monotonic() + self.client.connection.timeout
        while True:
            try:
                self.client.execute(self.lock_statement)
            except ClickHouseError as error:
                if error.code not in _HELD:
                    raise
                if time.monotonic() > deadline:
                    raise ClickHouseError(
                        "another replica still rebuilds this table, or was lost while it did: run it again. For a lost one: "
                        f"SYSTEM DROP REPLICA 'lock' FROM ZKPATH '{self.lock_path}', with the macros put in"
                    ) from error
                time.sleep(0.5)
            else:
                return

    def begin(self, _do: Do) -> None:
        """Whether the copies are still wanted: another replica may have made them."""
        if self._peers():
            self.client.execute(f"SYSTEM SYNC REPLICA {self.beside} LIGHTWEIGHT")
            if not self.leftover and self._parts(self.beside):
                raise Replan(f"another replica has copied rows to {self.beside}: run it again")

    def complete(self, _do: Do) -> None:
        """Get what other replicas of the old table have inserted until now. What they insert later is theirs to copy."""
        self.client.execute(f"SYSTEM SYNC REPLICA {self.table} LIGHTWEIGHT")

    def _last(self) -> list[str]:
        return [
            *([f"SYSTEM START FETCHES {self.beside}"] if is_replicated(self.have) else []),
            f"SYSTEM START MERGES {self.table}",
            f"SYSTEM START MERGES {self.beside}",
            *([f"DROP TABLE IF EXISTS {self.lock.sql_name} SYNC"] if is_replicated(self.want) else []),
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
            body = ddl.with_engine(body, ddl.engine_clause(name, [*self._path(arguments), *arguments]))
        return dataclasses.replace(self.shadow, body=body).statement

    def _path(self, arguments: t.Sequence[str]) -> list[str]:
        """Path and replica name of the declared table in ZooKeeper, as arguments of its engine."""
        given = ddl.replica_path(arguments)
        if given:
            return given
        query = "SELECT name, value FROM system.server_settings WHERE name IN ('default_replica_path', 'default_replica_name')"
        defaults = dict(self.client.rows(query))
        path = defaults["default_replica_path"].replace("{database}", self.item.database).replace("{table}", self.item.name)
        return [ddl.quote_string(path), ddl.quote_string(defaults["default_replica_name"])]

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

    def _units(self, table: str, where: str = "") -> dict[str, Unit]:
        columns = self.copy.expressions if table == self.table else self.copy.names
        query = (
            f"SELECT {self.copy.unit} AS unit, any(_partition_id), count(), sum({self.copy.row(columns)}) FROM {table}{where} GROUP BY unit"
        )
        return {name: Unit(partition, rows, digest) for name, partition, rows, digest in self.client.rows(query)}

    def settle(self, do: Do) -> None:
        """Make the copy complete as far as the parts go that are there now: compare, and copy again what differs.

        Merges are stopped, so that the parts stay.
        """
        replicas = self._peers()
        if replicas:
            self.client.execute(f"SYSTEM SYNC REPLICA {self.beside} LIGHTWEIGHT")
        parts = self._parts(self.table)
        inside = f"_part IN ({', '.join(ddl.quote_string(name) for name, *_rest in parts) or chr(39) * 2})"
        for _round in range(_ROUNDS):
            if self._mutations():
                raise ClickHouseError(f"mutations of {self.table} were begun while it was copied: run it again when they are done")
            old, new = self._units(self.table, f" WHERE {inside}"), self._units(self.beside)
            differing = [name for name in {**old, **new} if name not in old or name not in new or not old[name].same(new[name])]
            wheres = {name: f" WHERE {inside}{self._of_partition(old[name].partition)}" for name in differing if name in old}
            if replicas:
                # What others have inserted into the new table is right; only what it lacks counts.
                differing = [name for name in wheres if self._missing(wheres[name])]
            if not differing:
                self._mark_copied(do, _maxima((partition, block) for _name, partition, _first, block in parts))
                return
            wrong = [name for name in differing if name in new]
            if replicas and is_replicated(self.have) and self._keeps_rows():
                for name in differing:
                    do(self._add(self.beside, self._lacking(self.table, self.beside, wheres[name])))
                continue
            if wrong and replicas:
                raise ClickHouseError(
                    f"rows of {self.beside} came by another replica ({', '.join(replicas)}), the copy cannot be compared. Rebuild on one "
                    f"replica first, with nothing inserted at the others; to start again, drop {self.beside} on all"
                )
            if wrong and not self.copy.same_partitions:
                do(f"TRUNCATE TABLE {self.beside} SYNC")
                wheres = {name: f" WHERE {inside}{self._of_partition(unit.partition)}" for name, unit in old.items()}
            else:
                for name in wrong:
                    do(f"ALTER TABLE {self.beside} DROP PARTITION ID {ddl.quote_string(new[name].partition)}")
            for where in wheres.values():
                do(self.copy.insert(self.beside, self.table, where))
        raise ClickHouseError(f"{self.beside} does not become equal to {self.table} in {_ROUNDS} rounds")

    def _of_partition(self, partition: str) -> str:
        return "" if self.copy.unit == "''" else f" AND _partition_id = {ddl.quote_string(partition)}"

    def _keeps_rows(self) -> bool:
        """Whether rows that merges have collapsed may be added again."""
        return ddl.engine_of(ddl.clause(self.want, "engine"))[0].removeprefix("Replicated") in ("MergeTree", "ReplacingMergeTree")

    def _lacking(self, source: str, target: str, where: str) -> str:
        """The rows of the old table that the new one has not, or not as often."""
        aliased = ", ".join(f"{expression} AS __e{number}" for number, expression in enumerate(self.copy.expressions))
        numbered = f"{self.copy.row(self.copy.expressions)} AS __row, row_number() OVER (PARTITION BY __row) AS __number"
        old = f"(SELECT {aliased}, {numbered} FROM {source}{where})"
        same = f"{self.copy.unit} IN (SELECT {self.copy.unit} FROM {source}{where})"
        new = f"(SELECT {self.copy.row(self.copy.names)} AS __row, count() AS __times FROM {target} WHERE {same} GROUP BY __row)"
        return f"{old} AS old LEFT JOIN {new} AS new ON old.__row = new.__row WHERE old.__number > new.__times"

    def _missing(self, where: str) -> bool:
        return bool(self.client.rows(f"SELECT count() FROM {self._lacking(self.table, self.beside, where)}")[0][0])

    def _add(self, target: str, lacking: str) -> str:
        columns = ", ".join(f"__e{number}" for number in range(len(self.copy.names)))
        return f"INSERT INTO {target} ({', '.join(self.copy.names)}) SELECT {columns} FROM {lacking} {_COPY_SETTINGS}"

    def _mark_copied(self, do: Do, blocks: t.Mapping[str, int]) -> None:
        """Write down which blocks have been compared."""
        if mark_of(blocks) != self.planned_mark:
            self.planned_mark = mark_of(blocks)
            do(self._marking(self.table, self.planned_mark))

    def catch_up(self, do: Do) -> None:
        """Copy what was inserted into the old table, now C(__rebuild), after it was compared, until nothing more can come."""
        self._await_inserts()
        blocks = blocks_of(self.planned_mark) or {}
        late = [part for part in self._parts(self.beside) if part[3] > blocks.get(part[1], -1)]
        mixed = [name for name, partition, first, _last in late if first <= blocks.get(partition, -1)]
        if mixed and not self._keeps_rows():
            raise ClickHouseError(
                f"part {mixed[0]} of {self.beside} has merged rows that were copied to {self.table} with some that were not (up to block "
                f"{blocks}): compare them, then rename it to {self.before.sql_name}"
            )
        if late:
            where = f" WHERE _part IN ({', '.join(ddl.quote_string(name) for name, *_rest in late)})"
            self._attach(do, where, all_rows=not mixed and not self.resumed)

    def _attach(self, do: Do, where: str, *, all_rows: bool) -> None:
        """Add rows of the old table, or those that the new one lacks, without an INSERT: materialized views have seen them already."""
        tail = dataclasses.replace(self.item, name=self.item.name + TAIL_SUFFIX)
        plain = ddl.without_replicas(self.want)
        do(f"DROP TABLE IF EXISTS {tail.sql_name} SYNC")
        do(ddl.join_clauses(ddl.replace_clause(plain, "head", f"CREATE TABLE {tail.sql_name}")))
        do(f"SYSTEM STOP MERGES {tail.sql_name}")
        if all_rows:
            do(self.copy.insert(tail.sql_name, self.beside, where))
        else:
            do(self._add(tail.sql_name, self._lacking(self.beside, self.table, where)))
        for (partition,) in self.client.rows(f"SELECT DISTINCT _partition_id FROM {tail.sql_name} ORDER BY 1"):
            do(f"ALTER TABLE {self.table} ATTACH PARTITION ID {ddl.quote_string(partition)} FROM {tail.sql_name}")
        do(f"DROP TABLE {tail.sql_name} SYNC")

    def release(self, do: Do) -> str:
        """Let the tables merge again when the rebuild has failed; the next run goes on. Returns what could not be done, for the message."""
        still = []
        if is_replicated(self.want):
            try:
                do(f"DROP TABLE IF EXISTS {self.lock.sql_name} SYNC")
            except ClickHouseError:
                still.append(f"; {self.lock.sql_name} may still keep other replicas waiting, until the next run")
        for table, what in itertools.product((self.table, self.beside), ("FETCHES", "MERGES") if is_replicated(self.have) else ("MERGES",)):
            try:
                do(f"SYSTEM START {what} {table}")
            except ClickHouseError as error:
                if error.code != _UNKNOWN_TABLE:
                    still.append(f"; {table} may still be stopped: SYSTEM START {what} {table}")
        return "".join(still)

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
    """Rows of one partition: its ID in the table that was asked, their number and checksum."""

    partition: str
    rows: int
    digest: int

    def same(self, other: Unit) -> bool:
        return (self.rows, self.digest) == (other.rows, other.digest)


def _drop_first(table: Declared) -> str:
    return f"drop it first (kind: table, name: {table.label}, state: absent)"


def _maxima(pairs: t.Iterable[tuple[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, number in pairs:
        found[name] = max(number, found.get(name, number))
    return found
