# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies the rows of a MergeTree table into another table, each once, also when it is interrupted (private: may change at any time).

A partition is copied in ranges of time, and each range by one C(INSERT SELECT) of one block, which the server stores as a whole or not at
all. Before it begins, the range is written down in the table C(copied_ranges) of the target's database, and after it has ended, that it
has. So a run that was interrupted leaves at most one range of which it is not known whether it is stored. The next run inserts that
range again with the same deduplication token: the target and its materialized views ignore what they have. Where the target may
have forgotten the token, its rows themselves say whether it has them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import time
import typing as t

from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import argument_specs, sql_tokens
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouse, ClickHouseError

PROGRESS = "copied_ranges"
# What stands for the open ends of a partition's first and last range, in seconds since 1970.
LOWEST, HIGHEST = -(2**63), 2**63 - 1
# Seconds between two looks at an INSERT of an earlier run that goes on.
_PAUSE = 0.5
# One block for each INSERT, and the same rows in it each time.
_SETTINGS = {
    "max_threads": "1",
    "max_insert_threads": "1",
    "min_insert_block_size_rows": "1000000000000",
    "min_insert_block_size_bytes": "0",
    "max_partitions_per_insert_block": "0",
    "async_insert": "0",
    "deduplicate_blocks_in_dependent_materialized_views": "1",
    "max_execution_time": "0",
}
# The UUID of tables in databases that give them none.
_NO_UUID = "00000000-0000-0000-0000-000000000000"
_WINDOWS = ("deduplication_window", "deduplication_window_seconds")
# A table: its database and name.
Name = tuple[str, str]


def argument_spec() -> dict[str, t.Any]:
    """Options of C(clickhouse_copy)."""
    names = dict.fromkeys(("source", "target", "time_column"), {"type": "str", "required": True})
    return {
        **argument_specs.connection_spec(),
        "tables": {"type": "list", "elements": "dict", "required": True, "options": names},
        "rows": {"type": "int", "default": 200000},
    }


class Declared(t.NamedTuple):
    """A copy as it is declared: both tables, and the column of both that has the time of a row."""

    source: Name
    target: Name
    time_column: str


@dataclasses.dataclass(frozen=True)
class Table:
    """One of the two tables: its name for statements, engine, what identifies it, and its columns with type and kind of default."""

    sql_name: str
    engine: str
    identity: str
    columns: t.Mapping[str, tuple[str, str]]
    # Blocks and seconds for which it remembers tokens.
    window: tuple[int, float]
    rows: int = 0
    # Names of this replica, and of the first of those that are active.
    replica: str = ""
    first_active: str = ""

    @property
    def replicated(self) -> bool:
        """Whether ZooKeeper knows it."""
        return self.engine.startswith("Replicated")


@dataclasses.dataclass(frozen=True)
class Range:
    """Rows of a partition from one second to before another."""

    partition: str
    begin: int
    end: int
    rows: int
    # What C(_blocks) said of the target when the range was begun.
    blocks: int = 0
    done: bool = False
    # Seconds since it was begun.
    age: float = 0.0


@dataclasses.dataclass(frozen=True)
class Partition:
    """A partition of the source: its rows, and the ranges of it that were begun."""

    name: str
    rows: int
    ranges: tuple[Range, ...]

    @property
    def copied(self) -> int:
        """Rows that are surely in the target."""
        return sum(item.rows for item in self.ranges if item.done)

    @property
    def left(self) -> int:
        """Rows that are still to be copied."""
        return max(self.rows - self.copied, 0)

    @property
    def begun(self) -> Range | None:
        """The range that an interrupted run has left."""
        return next((item for item in self.ranges if not item.done), None)

    @property
    def position(self) -> int:
        """Where the next range begins; C(HIGHEST) when there is none."""
        return max((item.end for item in self.ranges), default=LOWEST)

    @property
    def late(self) -> int:
        """Rows that came to the source after their range had been copied. They are counted when all ranges are."""
        return self.left if self.position == HIGHEST and self.begun is None else 0


def rows_left(partitions: t.Iterable[Partition]) -> int:
    """Rows that are still to be copied."""
    return sum(partition.left for partition in partitions)


def missing_columns(source: Table, target: Table) -> list[str]:
    """Columns of the source that the target lacks. One that the source computes (C(DEFAULT), C(MATERIALIZED), C(ALIAS)) may be missing."""
    return [name for name, (_type, kind) in source.columns.items() if name not in target.columns and not kind]


def copied_columns(source: Table, target: Table) -> list[str]:
    """Columns to copy, in the target's order."""
    stored = [name for name, (_type, kind) in target.columns.items() if kind in ("", "DEFAULT")]
    return [name for name in stored if name in source.columns and source.columns[name][1] != "ALIAS"]


def copy_problems(declared: Declared, source: Table, target: Table | None) -> list[str]:
    """Why a copy cannot be made, each reason with the option that it is about."""
    if target is None:
        return [f"target: there is no table {sql_tokens.qualify_name(*declared.target)}"]
    problems = []
    for option, table in (("source", source), ("target", target)):
        if not table.engine.endswith("MergeTree"):
            problems.append(f"{option}: {table.sql_name} has engine {table.engine}, and only MergeTree tables can be copied")
        elif not table.columns.get(declared.time_column, ("", ""))[0].startswith("DateTime"):
            problems.append(f"time_column: {table.sql_name} has no column {declared.time_column} with date and time")
    missing = missing_columns(source, target)
    if missing:
        problems.append(
            f"target: {target.sql_name} has no column {', '.join(missing)}, which {source.sql_name} has: "
            "add it to the target, or drop it from the source"
        )
    if source.replicated and not source.first_active:
        problems.append(f"source: {source.sql_name} has no active replica: see that this server reaches ZooKeeper")
    return problems


def describe_tables(client: ClickHouse, names: t.Collection[Name]) -> dict[Name, Table]:
    """Those of the named tables that exist."""
    listed = ", ".join(f"({sql_tokens.quote_string(database)}, {sql_tokens.quote_string(name)})" for database, name in names)
    found = client.rows(
        "SELECT database, name, engine, toString(uuid), engine_full, total_rows, toString(serverUUID()) FROM system.tables"
        f" WHERE (database, name) IN ({listed})"
    )
    columns: dict[Name, dict[str, tuple[str, str]]] = {}
    query = f"SELECT database, table, name, type, default_kind FROM system.columns WHERE (database, table) IN ({listed}) ORDER BY position"
    for database, table, name, kind, default in client.rows(query):
        columns.setdefault((database, table), {})[name] = (kind, default)
    replicas = {
        (database, table): replica
        for database, table, *replica in client.rows(
            "SELECT database, table, zookeeper_path, replica_name,"
            " arraySort(mapKeys(mapFilter((name, active) -> active = 1, replica_is_active)))[1]"
            f" FROM system.replicas WHERE (database, table) IN ({listed})"
        )
    }
    defaults = {
        kind: dict(client.rows(f"SELECT name, value FROM system.{kind}merge_tree_settings WHERE name LIKE '%deduplication_window%'"))
        for kind in ("", "replicated_")
    }
    tables = {}
    for database, name, engine, uuid, full, rows, server in found:
        # Tables of two servers have the same UUID when they were made by one statement ON CLUSTER.
        identity = f"{server}/{sql_tokens.qualify_name(database, name) if uuid == _NO_UUID else uuid}"
        path, replica, first_active = replicas.get((database, name), (identity, "", ""))
        tables[database, name] = Table(
            sql_tokens.qualify_name(database, name),
            engine,
            path,
            columns.get((database, name), {}),
            deduplication_window(engine, full, defaults["replicated_" if engine.startswith("Replicated") else ""]),
            int(rows or 0),
            replica,
            first_active,
        )
    return tables


def deduplication_window(engine: str, definition: str, defaults: t.Mapping[str, str]) -> tuple[int, float]:
    """Blocks and seconds for which a table remembers deduplication tokens.

    :param definition: its engine with all clauses.
    :param defaults: the server's values of the settings.
    """
    prefix = "replicated" if engine.startswith("Replicated") else "non_replicated"
    names = [f"{prefix}_{name}" for name in _WINDOWS]
    values = {**defaults, **dict(re.findall(rf"\b({'|'.join(names)}) = (\d+)", definition))}
    return int(values.get(names[0], 0)), float(values.get(names[1], "inf"))


def split_ranges(partition: str, position: int, counts: t.Sequence[tuple[int, int]], rows: int) -> list[Range]:
    """Ranges of about so many rows that cover a partition from a position on.

    :param counts: second since 1970 and rows of it, by second.
    :param rows: most rows of a range; a second with more makes a range of its own.
    """
    ranges: list[Range] = []
    begin, size = position, 0
    for second, count in counts:
        if size and size + count > rows:
            ranges.append(Range(partition, begin, second, size))
            begin, size = second, 0
        size += count
    return [*ranges, Range(partition, begin, HIGHEST, size)]


def _named(sql_name: str, column: str = "name") -> str:
    """The condition that a row of a system table is about a table, whose name stands in a column."""
    database, name = sql_tokens.parse_name(sql_name)
    return f"database = {sql_tokens.quote_string(database)} AND {column} = {sql_tokens.quote_string(name)}"


def find_copies(client: ClickHouse, declared: t.Sequence[Declared], rows: int) -> list[TableCopy | None]:
    """The declared copies in order. One whose source is gone has nothing to copy, and is C(None).

    :param rows: most rows of a range.
    :raises ClickHouseError: when some of them cannot be made, with all reasons.
    """
    tables = describe_tables(client, {name for item in declared for name in item[:2]})
    copies: list[TableCopy | None] = []
    problems: list[str] = []
    for place, item in enumerate(declared):
        source, target = tables.get(item.source), tables.get(item.target)
        found = copy_problems(item, source, target) if source else []
        problems += [f"tables[{place}].{problem}" for problem in found]
        copies.append(TableCopy(client, source, target, item.time_column, rows) if source and target and not found else None)
    if problems:
        raise ClickHouseError("; ".join(problems))
    return copies


def late_rows(item: TableCopy, partitions: t.Sequence[Partition]) -> list[str]:
    """What to say of rows that came to a source after their partition was copied; empty when there are none."""
    late = ", ".join(f"{partition.name}: {partition.late}" for partition in partitions if partition.late)
    if not late:
        return []
    return [
        f"{item.source.sql_name} got rows in partitions that were copied before ({late}): stop what writes to it, copy these rows by hand, "
        f"and correct the rows of {item.progress}"
    ]


def difference(item: TableCopy, partitions: t.Sequence[Partition]) -> dict[str, str]:
    """What copying the rest of a table changes, in Ansible's form."""
    header = f"rows of {item.source.sql_name} in {item.target.sql_name}"
    sides = {"before": lambda partition: partition.copied, "after": lambda partition: partition.rows}
    lines = {
        side: "".join(f"partition {partition.name}: {rows(partition)} of {partition.rows}\n" for partition in partitions)
        for side, rows in sides.items()
    }
    return {"before_header": header, "after_header": header, **lines}


def _sync_replica(client: ClickHouse, sql_name: str, *, active_only: bool = False) -> None:
    """Wait until this replica of a table has the rows of the others, or of those others that are active."""
    statement = f"SYSTEM SYNC REPLICA {sql_name} LIGHTWEIGHT"
    if active_only:
        active = client.rows(
            "SELECT arrayJoin(mapKeys(mapFilter((name, active) -> active = 1 AND name != replica_name, replica_is_active)))"
            f" FROM system.replicas WHERE {_named(sql_name, 'table')}"
        )
        if not active:
            return
        statement += f" FROM {', '.join(sql_tokens.quote_string(name) for (name,) in active)}"
    try:
        client.execute(statement)
    except ClickHouseError as error:
        raise error.about(statement) from error


class TableCopy:
    """A copy from one table into another over an open session.

    :param source: the table that is read.
    :param target: the table that gets the rows.
    :param time_column: column of both with the time of a row, of a type with date and time.
    :param rows: most rows of a range.
    """

    def __init__(self, client: ClickHouse, source: Table, target: Table, time_column: str, rows: int) -> None:
        self.client, self.source, self.target, self.rows = client, source, target, rows
        self.time = sql_tokens.quote_name(time_column)
        self.progress = sql_tokens.qualify_name(sql_tokens.parse_name(target.sql_name)[0], PROGRESS)
        self.columns = copied_columns(source, target)

    @property
    def copies_here(self) -> bool:
        """Whether this server copies: of a replicated source, the first active replica does."""
        return not self.source.replicated or self.source.replica == self.source.first_active

    def partitions(self) -> list[Partition]:
        """Of the source, the oldest first, with what was copied of each."""
        ranges = self._ranges()
        counted = self.client.rows(f"SELECT _partition_id AS id, count() FROM {self.source.sql_name} GROUP BY id ORDER BY id")
        return [Partition(name, int(count), tuple(item for item in ranges if item.partition == name)) for name, count in counted]

    def _ranges(self) -> list[Range]:
        if not self.client.rows(f"SELECT 1 FROM system.tables WHERE {_named(self.progress)}"):
            return []
        rows = self.client.rows(
            f"SELECT partition, begin, end, rows, blocks, done, dateDiff('millisecond', at, now64(3)) / 1000 FROM {self.progress} FINAL"
            f" WHERE source = {sql_tokens.quote_string(self.source.identity)} AND target = {sql_tokens.quote_string(self.target.sql_name)}"
            " ORDER BY begin"
        )
        return [Range(*row) for row in rows]

    def prepare(self) -> None:
        """Make the table of ranges, and get what other replicas know: rows of the source, and ranges that they have copied.

        The table is replicated where the target is, so that another replica can go on.
        """
        engine = f"Replicated{self._replica_path()}" if self.target.replicated else "ReplacingMergeTree(done)"
        self.client.execute(
            f"CREATE TABLE IF NOT EXISTS {self.progress} (source String, target String, partition String, begin Int64, end Int64,"
            f" rows UInt64, blocks UInt64, done Bool, at DateTime64(3) DEFAULT now64(3)) ENGINE = {engine}"
            " ORDER BY (source, target, partition, begin)"
        )
        if self.source.replicated:
            _sync_replica(self.client, self.source.sql_name)
            if self.target.replicated:
                # A range that a replica copied just before it went away is inserted again with the same token.
                _sync_replica(self.client, self.progress, active_only=True)

    def _replica_path(self) -> str:
        """The engine of the table of ranges without C(Replicated). Its path must be the same on each replica, which a UUID is not."""
        settings = dict(self.client.rows("SELECT name, value FROM system.server_settings WHERE name LIKE 'default_replica_%'"))
        path = settings.get("default_replica_path", "")
        if "{uuid}" not in path:
            return "ReplacingMergeTree(done)"
        path = path.replace("{uuid}", ".".join(sql_tokens.parse_name(self.progress)))
        arguments = [sql_tokens.quote_string(path), sql_tokens.quote_string(settings["default_replica_name"]), "done"]
        return f"ReplacingMergeTree({', '.join(arguments)})"

    def copy_all(self, partitions: t.Iterable[Partition], warn: t.Callable[[str], None]) -> t.Iterator[int]:
        """Copy what is left of partitions; the rows of each range when it is done.

        :param warn: told of ranges of which views over the target may lack rows.
        :raises ClickHouseError: also when the source has got rows meanwhile.
        """
        copied = False
        for partition in partitions:
            if partition.begun:
                if self.finish(partition.begun):
                    warn(
                        f"{self.target.sql_name} had the rows of partition {partition.name} from second {partition.begun.begin} to "
                        f"{partition.begun.end} already; compare what its materialized views have of this time"
                    )
                yield partition.begun.rows
            for item in self.copy(partition):
                copied = True
                yield item.rows
        if copied and rows_left(self.partitions()):
            raise ClickHouseError(f"{self.source.sql_name} got rows while it was copied: stop what writes to it, and run it again")

    def finish(self, item: Range) -> bool:
        """End what an interrupted run has begun. Whether only its rows could be checked, not those of the views over the target."""
        self._wait_for_earlier_insert(item)
        blocks, seconds = self.target.window
        if item.age < seconds and self._blocks() - item.blocks < blocks:
            self._insert(item)
            self._record(item, done=True)
            return False
        if self.target.replicated:
            _sync_replica(self.client, self.target.sql_name)
        wanted, found = self._rows_of(item)
        if found not in (0, wanted):
            raise ClickHouseError(
                f"{found} of {wanted} different rows of partition {item.partition} from second {item.begin} to {item.end} are in "
                f"{self.target.sql_name}, and it has forgotten whether an interrupted run inserted them: delete them, then run it again"
            )
        if not found:
            self._insert(item)
        self._record(item, done=True)
        return found > 0

    def copy(self, partition: Partition) -> t.Iterator[Range]:
        """Copy what was not begun of a partition, range by range."""
        if partition.position == HIGHEST:
            return
        where = self._where(Range(partition.name, partition.position, HIGHEST, 0))
        counts = self.client.rows(
            f"SELECT toUnixTimestamp64Second(toDateTime64({self.time}, 0)) AS second, count() FROM {self.source.sql_name} WHERE {where}"
            " GROUP BY second ORDER BY second"
        )
        for item in split_ranges(partition.name, partition.position, [(int(second), int(count)) for second, count in counts], self.rows):
            begun = dataclasses.replace(item, blocks=self._blocks())
            self._record(begun, done=False)
            self._insert(begun)
            self._record(begun, done=True)
            yield begun

    def _where(self, item: Range, partition: bool = True) -> str:
        conditions = [f"_partition_id = {sql_tokens.quote_string(item.partition)}"] if partition else []
        if item.begin != LOWEST:
            conditions.append(f"{self.time} >= toDateTime64({item.begin}, 0)")
        if item.end != HIGHEST:
            conditions.append(f"{self.time} < toDateTime64({item.end}, 0)")
        return " AND ".join(conditions) or "1"

    def _select(self) -> str:
        """The source's columns as the target stores them."""
        casts = []
        for name in self.columns:
            column, kind = sql_tokens.quote_name(name), self.target.columns[name][0]
            casts.append(f"CAST({column}, {sql_tokens.quote_string(kind)}) AS {column}")
        return ", ".join(casts)

    def _names(self) -> str:
        """The copied columns."""
        return ", ".join(sql_tokens.quote_name(name) for name in self.columns)

    def _token(self, item: Range) -> str:
        return f"{self.source.identity}/{item.partition}/{item.begin}"

    def _query_id(self, item: Range) -> str:
        """The same for a range in each run, so that the server refuses a second one beside the first."""
        return f"copy-{hashlib.sha256(f'{self.target.sql_name}/{self._token(item)}'.encode()).hexdigest()[:32]}"

    def _insert(self, item: Range) -> None:
        settings = {**_SETTINGS, "insert_deduplication_token": self._token(item), "query_id": self._query_id(item)}
        self.client.execute(f"INSERT INTO {self.target.sql_name} ({self._names()}) {self._converted(item)}", settings)

    def _converted(self, item: Range) -> str:
        """The query of a range's rows. The inner one is there because the names of the outer one must not be meant by the condition."""
        inner = f"SELECT {self._names()} FROM {self.source.sql_name} WHERE {self._where(item)}"
        return f"SELECT {self._select()} FROM ({inner})"

    def _record(self, item: Range, *, done: bool) -> None:
        values = [*map(sql_tokens.quote_string, (self.source.identity, self.target.sql_name, item.partition))]
        values += [str(value) for value in (item.begin, item.end, item.rows, item.blocks, str(done).lower())]
        self.client.execute(
            f"INSERT INTO {self.progress} (source, target, partition, begin, end, rows, blocks, done) VALUES ({', '.join(values)})",
            {"async_insert": "0"},
        )

    def _blocks(self) -> int:
        """A number that grows at least by one with each block that the target gets."""
        ((blocks,),) = self.client.rows(
            "SELECT sum(newest) FROM (SELECT max(max_block_number) + 1 AS newest FROM system.parts"
            f" WHERE {_named(self.target.sql_name, 'table')} GROUP BY partition_id)"
        )
        return int(blocks)

    def _rows_of(self, item: Range) -> tuple[int, int]:
        """Different rows of a range, and how many of these the target has."""
        own = f"SELECT cityHash64({self._names()}) AS hash FROM ({self._converted(item)})"
        there = f"SELECT cityHash64({self._names()}) FROM {self.target.sql_name} WHERE {self._where(item, partition=False)}"
        ((wanted, found),) = self.client.rows(f"SELECT uniqExact(hash), uniqExactIf(hash, hash IN ({there})) FROM ({own})")
        return int(wanted), int(found)

    def _wait_for_earlier_insert(self, item: Range) -> None:
        """An interrupted client may leave its statement running.

        :raises ClickHouseError: when it still runs after the connection's timeout.
        """
        deadline = time.monotonic() + self.client.connection.timeout
        running = f"SELECT 1 FROM system.processes WHERE query_id = {sql_tokens.quote_string(self._query_id(item))}"
        while self.client.rows(running):
            if time.monotonic() > deadline:
                raise ClickHouseError(f"an INSERT of an earlier run still writes to {self.target.sql_name}: run it again when it has ended")
            time.sleep(_PAUSE)
