# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""clickhouse_schema with `rebuild` allowed: no row is lost or doubled, wherever it is interrupted and whatever is inserted meanwhile."""

from __future__ import annotations

import itertools
import os
import typing as t
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import argument_specs, declaration, rebuild, schema
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouse as Client
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouseError, Connection
from ansible_collections.groundwork.observability.plugins.module_utils._plan import Plan

from tests.support.clickhouse import REPLICA_PATHS, ClickHouse
from tests.support.connect import connection
from tests.support.zookeeper import ZooKeeper

pytestmark = pytest.mark.integration

# `make soak` asks for more.
SOAK = int(os.environ.get("GROUNDWORK_ROUNDS", "0")) > 50
PLAIN = "CREATE TABLE d.t (k UInt32, v String, ts DateTime, row UInt8 DEFAULT k) ENGINE = MergeTree PARTITION BY toYYYYMM(ts) ORDER BY k"
# What else it may be -> what the rows are then.
TARGETS = {
    "replicated": PLAIN.replace("MergeTree", "ReplicatedMergeTree"),
    "another partition key": PLAIN.replace("toYYYYMM(ts)", "toYear(ts)"),
    "another sorting key and type": PLAIN.replace("ORDER BY k", "ORDER BY (v, k)").replace("k UInt32", "k UInt64"),
    "an engine that collapses": PLAIN.replace("MergeTree", "ReplacingMergeTree").replace("ORDER BY k", "ORDER BY (k, v)"),
    "no partitions": PLAIN.replace(" PARTITION BY toYYYYMM(ts)", ""),
}


class Killed(BaseException):
    """The module's process is gone: nothing of it runs any more."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[ClickHouse]]:
    """Two replicas of one shard."""
    with (
        ZooKeeper() as zookeeper,
        ClickHouse(REPLICA_PATHS, zookeeper=zookeeper.address, macros={"shard": "1", "replica": "a"}) as first,
        ClickHouse(REPLICA_PATHS, zookeeper=zookeeper.address, macros={"shard": "1", "replica": "b"}) as second,
    ):
        yield [first, second]


@pytest.fixture
def node(nodes: list[ClickHouse]) -> Iterator[ClickHouse]:
    """One of them, with the table and a view that counts what is inserted."""
    for each in nodes:
        each.query("DROP DATABASE IF EXISTS d SYNC")
        each.query("CREATE DATABASE d")
    first = nodes[0]
    first.query(PLAIN)
    first.query("CREATE TABLE d.seen (v String) ENGINE = MergeTree ORDER BY v")
    first.query("CREATE MATERIALIZED VIEW d.mv TO d.seen AS SELECT v FROM d.t")
    first.query("INSERT INTO d.t (k, v, ts) SELECT number, 'old', toDateTime('2024-01-15 00:00:00') + number * 86400 * 10 FROM numbers(12)")
    first.query("INSERT INTO d.t (k, v, ts) SELECT number, 'old', toDateTime('2024-02-15 00:00:00') FROM numbers(12)")
    yield first
    for each in nodes:
        each.query("DROP DATABASE d SYNC")


class Watched(Client):
    """A client that tells every statement of the plan before it sends it."""

    def __init__(self, server: Connection, watch: Callable[[str], None]) -> None:
        super().__init__(server)
        self.watch = watch

    def execute(self, statement: str, settings: t.Mapping[str, str] | None = None) -> None:
        if "__groundwork_" not in statement:
            self.watch(statement)
        super().execute(statement, settings)


def converge(
    node: ClickHouse,
    ddl: str,
    *,
    apply: bool = True,
    allow: t.Collection[str] = ("rebuild",),
    watch: Callable[[str], None] | None = None,
    more: t.Sequence[dict[str, t.Any]] = (),
    timeout: int = 60,
) -> Plan:
    """The module without Ansible around it. C(watch) is called with every statement before it is run."""
    client = Watched(connection(node.port, timeout=timeout), watch) if watch else Client(connection(node.port, timeout=timeout))
    try:
        want = declaration.declare([{"ddl": ddl}, *more])
        return schema.converge(client, want, set(), apply=apply, keep_drift=False, allow=allow)
    finally:
        client.close()


def rows(node: ClickHouse, table: str = "d.t") -> str:
    return node.query(f"SELECT k, v, ts FROM {table} ORDER BY ALL")


@pytest.mark.parametrize("what", TARGETS)
def test_rebuild(node: ClickHouse, what: str) -> None:
    wanted = TARGETS[what]
    before = rows(node)
    refused = converge(node, wanted, allow=())
    assert "(allow: [rebuild] copies the rows into a new table)" in refused.drifted[0].reason
    announced = converge(node, wanted, apply=False)
    assert rows(node) == before
    assert node.query("EXISTS d.t__rebuild") == "0"
    done = converge(node, wanted)
    assert announced.statements == done.statements
    assert [state.status for state in done.objects] == ["altered"]
    assert rows(node) == before
    assert rows(node, "d.t__before") == before
    assert not converge(node, wanted, allow=()).changed
    # What follows goes to the new table, to its views, and is merged.
    node.query("INSERT INTO d.t (k, v, ts) VALUES (1, 'new', now())")
    assert node.query("SELECT v, count() FROM d.seen GROUP BY v ORDER BY v") == "new\t1\nold\t24"
    node.query("OPTIMIZE TABLE d.t FINAL")
    parts = "SELECT count() AS count FROM system.parts WHERE database = 'd' AND table = 't' AND active GROUP BY partition"
    assert node.query(f"SELECT max(count) FROM ({parts})") == "1"
    again = converge(node, PLAIN, allow=("rebuild",))
    way_out = "d.t__before is there, of an earlier rebuild: drop it first (kind: table, name: d.t__before, state: absent)"
    assert way_out in again.drifted[0].reason
    gone: dict[str, t.Any] = {"kind": "table", "name": "d.t__before", "state": "absent"}
    assert converge(node, wanted, more=[gone], allow=("drop_table",)).statements == ["DROP TABLE d.t__before SYNC"]


@pytest.mark.parametrize("what", list(TARGETS)[: None if SOAK else 1])
def test_killed_anywhere_with_rows_inserted_meanwhile(node: ClickHouse, what: str) -> None:
    """Before each statement (`make test`: every second), and after all: the next run finishes. A row is inserted before each of them."""
    wanted = TARGETS[what]
    total = len(converge(node, wanted, apply=False).statements)
    for killed_at in range(0, total + 4, 1 if SOAK else 2):
        node.query("DROP TABLE IF EXISTS d.t SYNC")
        for rest in ("t__rebuild", "t__before", "t__tail"):
            node.query(f"DROP TABLE IF EXISTS d.{rest} SYNC")
        node.query("TRUNCATE TABLE d.seen")
        node.query(PLAIN)
        node.query(
            "INSERT INTO d.t (k, v, ts) SELECT number, 'old', toDateTime('2024-01-15 00:00:00') + number * 86400 * 10 FROM numbers(12)"
        )
        count = 0

        def watch(statement: str, killed_at: int = killed_at) -> None:
            nonlocal count
            if count == killed_at:
                raise Killed
            node.query(f"INSERT INTO d.t (k, v, ts) VALUES ({1000 + count}, 'meanwhile', toDateTime('2024-0{count % 6 + 1}-02 00:00:00'))")
            count += 1

        try:
            converge(node, wanted, watch=watch)
        except Killed:
            converge(node, wanted)
        assert not converge(node, wanted, allow=()).changed, killed_at
        expected = [f"{number}\told" for number in range(12)] + [f"{1000 + number}\tmeanwhile" for number in range(count)]
        assert node.query("SELECT k, v FROM d.t ORDER BY k") == "\n".join(expected), killed_at
        assert node.query("SELECT count() FROM d.seen") == str(len(expected)), killed_at
        assert node.query("SELECT count() FROM system.tables WHERE database = 'd' AND name IN ('t__rebuild', 't__tail')") == "0"


@pytest.mark.parametrize("killed_at", ["", "INSERT INTO d.t__tail", "ALTER TABLE d.t ATTACH", "DROP TABLE d.t__tail", "RENAME"])
def test_insert_during_the_exchange_of_tables(node: ClickHouse, killed_at: str) -> None:
    """It began with the old table and ends in it: its rows are copied, once, and seen once by the view."""
    statements: list[str] = []
    slow: t.Any = None

    def watch(statement: str) -> None:
        nonlocal slow
        statements.append(statement)
        if killed_at and statement.startswith(killed_at):
            raise Killed
        if statement.startswith("EXCHANGE"):
            slow = pool.submit(
                node.query,
                "INSERT INTO d.t (k, v, ts) SELECT number, 'slow', toDateTime('2024-03-01 00:00:00') FROM numbers(4)"
                " WHERE NOT sleepEachRow(0.4) SETTINGS max_block_size = 1",
            )
            # Not sooner: an INSERT that has found its table, and not yet the views over it, finds none of them any more.
            running = "SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO d.t (k, v, ts) SELECT%' AND read_rows > 0"
            while node.query(running) == "0":
                pass

    with ThreadPoolExecutor(1) as pool:
        try:
            converge(node, TARGETS["another partition key"], watch=watch)
        except Killed:
            converge(node, TARGETS["another partition key"])
        assert slow.done()
    assert any("INSERT INTO d.t__tail" in statement for statement in statements)
    assert node.query("SELECT v, count() FROM d.t GROUP BY v ORDER BY v") == "old\t24\nslow\t4"
    assert node.query("SELECT v, count() FROM d.seen GROUP BY v ORDER BY v") == "old\t24\nslow\t4"
    assert not converge(node, TARGETS["another partition key"]).changed


def test_columns_change_in_the_same_rebuild(node: ClickHouse) -> None:
    wanted = "CREATE TABLE d.t (k Int8, ts DateTime, more UInt8 DEFAULT 7) ENGINE = MergeTree ORDER BY ts"
    reasons = converge(node, wanted).drifted[0].reason
    assert "column v and its values would be dropped (allow: [drop_column])" in reasons
    assert "column k from UInt32 to Int8 may lose values (allow: [modify_lossy])" in reasons
    converge(node, wanted, allow=argument_specs.PERMISSIONS)
    assert not converge(node, wanted).changed
    assert node.query("SELECT count(), sum(k), sum(more) FROM d.t") == "24\t132\t168"


def test_alias_values_are_tested_before_they_are_stored(node: ClickHouse) -> None:
    """They are stored from then on, and have to fit."""
    node.query("ALTER TABLE d.t ADD COLUMN a UInt8 ALIAS k % 2")
    wanted = PLAIN.replace("row UInt8 DEFAULT k", "row UInt8 DEFAULT k, a Enum8('one' = 1)").replace("ORDER BY k", "ORDER BY (k, v)")
    refused = converge(node, wanted, allow=argument_specs.PERMISSIONS).drifted[0].reason
    assert "not all values can be copied: column a has values that are no Enum8('one' = 1), such as '0'" in refused
    assert node.query("SELECT count() FROM system.tables WHERE database = 'd' AND name LIKE '%rebuild'") == "0"
    fits = wanted.replace("Enum8('one' = 1)", "Enum8('none' = 0, 'one' = 1)")
    converge(node, fits, allow=argument_specs.PERMISSIONS)
    assert node.query("SELECT a, count() FROM d.t GROUP BY a ORDER BY a") == "none\t12\none\t12"


def test_other_replica_joins_the_rebuilt_table(nodes: list[ClickHouse], node: ClickHouse) -> None:
    """The host without the table creates it at the path of the new one, and gets the rows."""
    _first, second = nodes
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda each: converge(each, TARGETS["replicated"]), nodes))
    second.query("SYSTEM SYNC REPLICA d.t")
    assert rows(second) == rows(node) == rows(node, "d.t__before")
    for each in nodes:
        assert not converge(each, TARGETS["replicated"]).changed


def test_plain_tables_of_two_servers_are_not_joined(nodes: list[ClickHouse], node: ClickHouse) -> None:
    _first, second = nodes
    second.query(PLAIN)
    second.query("INSERT INTO d.t (k, v, ts) VALUES (99, 'other', '2024-01-20 00:00:00')")
    converge(node, TARGETS["replicated"])
    with pytest.raises(ClickHouseError, match=r"d\.t .*came by another replica \(a\), the copy cannot be compared"):
        converge(second, TARGETS["replicated"])
    assert second.query("SELECT v FROM d.t") == "other"
    assert node.query("SELECT count() FROM d.t WHERE v = 'old'") == "24"


def test_a_replicated_table_needs_another_path(node: ClickHouse) -> None:
    wanted = TARGETS["replicated"]
    converge(node, wanted)
    node.query("DROP TABLE d.t__before SYNC")
    other = wanted.replace("toYYYYMM(ts)", "toYear(ts)")
    assert "its path in ZooKeeper is taken by the table as it is" in converge(node, other).drifted[0].reason
    other = other.replace("ReplicatedMergeTree", "ReplicatedMergeTree('/clickhouse/tables/{shard}/d/t2', '{replica}')")
    assert not converge(node, other).drifted
    assert node.query("SELECT count() FROM d.t") == "24"
    assert not converge(node, other).changed


OLD_PATH = PLAIN.replace("MergeTree", "ReplicatedMergeTree")
NEW_PATH = OLD_PATH.replace("toYYYYMM(ts)", "toYear(ts)").replace(
    "ReplicatedMergeTree", "ReplicatedMergeTree('/clickhouse/tables/{shard}/d/t2', '{replica}')"
)


@pytest.mark.parametrize("order", ["at once", "one after the other"])
def test_replicas_are_rebuilt_while_rows_come_through_both(nodes: list[ClickHouse], node: ClickHouse, order: str) -> None:
    """Each in its own run; before every statement of either, a row is inserted on both."""
    node.query("DROP TABLE d.mv SYNC")
    node.query("DROP TABLE d.t SYNC")
    for each in nodes:
        each.query(OLD_PATH)
    node.query("INSERT INTO d.t (k, v, ts) SELECT number, 'old', toDateTime('2024-01-15 00:00:00') + number * 86400 * 10 FROM numbers(12)")
    acknowledged: list[int] = []
    counter = itertools.count(1000)

    def watch(_statement: str) -> None:
        for each in nodes:
            number = next(counter)
            each.query(f"INSERT INTO d.t (k, v, ts) VALUES ({number}, 'meanwhile', toDateTime('2024-0{number % 6 + 1}-02 00:00:00'))")
            acknowledged.append(number)

    with ThreadPoolExecutor(2 if order == "at once" else 1) as pool:
        plans = list(pool.map(lambda each: converge(each, NEW_PATH, watch=watch), nodes))
    assert all(not plan.drifted for plan in plans)
    for each in nodes:
        assert not converge(each, NEW_PATH, allow=()).changed
        each.query("SYSTEM SYNC REPLICA d.t")
        assert each.query("SELECT k FROM d.t ORDER BY k").split() == [str(k) for k in (*range(12), *sorted(acknowledged))]
        assert each.query("SELECT name FROM system.tables WHERE database = 'd' AND name LIKE 't%' ORDER BY name") == "t\nt__before"


def test_a_replica_waits_for_one_that_was_killed(nodes: list[ClickHouse], node: ClickHouse) -> None:
    """It says for what; the killed one's next run finishes, and then the other's does."""
    first, second = nodes
    node.query("DROP TABLE d.mv SYNC")
    node.query("DROP TABLE d.t SYNC")
    for each in nodes:
        each.query(OLD_PATH)
    first.query("INSERT INTO d.t (k, v, ts) SELECT number, 'old', toDateTime('2024-01-15 00:00:00') + number * 86400 * 10 FROM numbers(12)")
    second.query("SYSTEM SYNC REPLICA d.t")

    def watch(statement: str) -> None:
        if statement.startswith("INSERT INTO d.t__rebuild"):
            raise Killed

    with pytest.raises(Killed):
        converge(first, NEW_PATH, watch=watch)
    with pytest.raises(
        ClickHouseError,
        match=r"another replica still rebuilds this table, or was lost .* FROM ZKPATH '/clickhouse/tables/\{shard\}/d/t2__lock'",
    ):
        converge(second, NEW_PATH, timeout=2)
    assert second.query("SELECT count() FROM d.t") == "12"
    for each in nodes:
        converge(each, NEW_PATH)
        assert not converge(each, NEW_PATH).changed
        assert each.query("SELECT count() FROM d.t") == "12"


def test_existing_rebuild_table_with_another_definition(node: ClickHouse) -> None:
    node.query("CREATE TABLE d.t__rebuild (x UInt8) ENGINE = MergeTree ORDER BY x")
    assert "d.t__rebuild is there, with another definition" in converge(node, TARGETS["replicated"]).drifted[0].reason
    node.query("DROP TABLE d.t__rebuild SYNC")
    node.query("SYSTEM STOP MERGES d.t")
    node.query("ALTER TABLE d.t UPDATE v = 'x' WHERE 1 SETTINGS mutations_sync = 0")
    assert "mutations of it are not done" in converge(node, TARGETS["replicated"]).drifted[0].reason
    node.query("SYSTEM START MERGES d.t")


def test_mark_of_copied_blocks_round_trips() -> None:
    blocks = {"all": 3, "202401": 0}
    assert rebuild.parse_mark(rebuild.format_mark(blocks)) == blocks
    assert rebuild.parse_mark("a table's own comment") is None
