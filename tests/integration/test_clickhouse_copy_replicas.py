# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""clickhouse_copy on two shards with ZooKeeper: two replicas of the first, one of the second, and a run of the module for each server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.test_clickhouse_copy import answer, run_module
from tests.support.clickhouse import REPLICA_PATHS, ClickHouse, until
from tests.support.zookeeper import ZooKeeper

pytestmark = pytest.mark.integration

ROWS = 3000
COLUMNS = "(Time DateTime64(9), Number UInt64)"
COPY = ("old.t", "new.t", "Time")
# What a server has without a setting of its own: each replica's table of ranges would be another one.
UUID_PATHS = REPLICA_PATHS.replace("{database}/{table}", "{uuid}").replace("{shard}/{uuid}", "{uuid}/{shard}")
# Of each server what found() says: rows with the numbers from 0 to 2 * ROWS in the first shard, and ROWS more in the second.
EACH_ROW_ONCE = [[2 * ROWS, 2 * ROWS, 0, 2 * ROWS - 1, 2 * ROWS]] * 2 + [[ROWS, ROWS, 2 * ROWS, 3 * ROWS - 1, ROWS]]
WINDOW = "replicated_deduplication_window = 2000"


@pytest.fixture
def nodes(request: pytest.FixtureRequest) -> Iterator[list[ClickHouse]]:
    """Replicas a and b of shard 1, and a of shard 2, with the tables that get rows."""
    with ZooKeeper() as zookeeper:
        started: list[ClickHouse] = []
        try:
            for shard, replica in (("1", "a"), ("1", "b"), ("2", "a")):
                node = ClickHouse(request.param, zookeeper=zookeeper.address, macros={"shard": shard, "replica": replica})
                started.append(node.__enter__())
            create_targets(started)
            yield started
        finally:
            for node in started:
                node.__exit__(None, None, None)


def create_targets(nodes: list[ClickHouse]) -> None:
    """Empty replicated tables for the rows, with a view that counts them."""
    for node in nodes:
        node.query("CREATE DATABASE old")
        node.query("CREATE DATABASE new")
        path = "'/clickhouse/tables/{shard}/new/%s', '{replica}'"
        for name, columns in (("t", COLUMNS), ("counted", "(Rows UInt64)")):
            engine = f"ReplicatedMergeTree({path % name}) ORDER BY () SETTINGS {WINDOW}"
            node.query(f"CREATE TABLE new.{name} {columns} ENGINE = {engine}")
        node.query("CREATE MATERIALIZED VIEW new.counted_mv TO new.counted AS SELECT count() AS Rows FROM new.t")


def fill(node: ClickHouse, first: int) -> None:
    """Rows with numbers from the first on, one a second."""
    node.query(f"INSERT INTO old.t SELECT toDateTime64({1_700_000_000 + first} + number, 9), {first} + number FROM numbers({ROWS})")


def found(node: ClickHouse) -> list[int]:
    """Rows, different ones, the lowest, the highest, and what the view counted, on a replica that has got all of the other's."""
    for name in ("t", "counted"):
        node.query(f"SYSTEM SYNC REPLICA new.{name}")
    row = node.query("SELECT count(), uniqExact(Number), min(Number), max(Number), (SELECT sum(Rows) FROM new.counted) FROM new.t")
    return [int(value) for value in row.split("\t")]


def copy_everywhere(nodes: list[ClickHouse]) -> list[int]:
    """Rows that a run copied for each server, all of them at the same time."""
    answers = [answer(process) for process in [run_module(node, COPY, rows=ROWS // 10) for node in nodes]]
    assert [said["msg"] for said in answers if said.get("failed")] == []
    return [int(said["copied"]) for said in answers]


@pytest.mark.parametrize("nodes", [REPLICA_PATHS], indirect=True, ids=["names"])
def test_tables_of_single_servers_meet_in_replicated_ones(nodes: list[ClickHouse]) -> None:
    """Also when they have one UUID on all servers, as a statement ON CLUSTER gives them, and the same partitions and times."""
    uuid = nodes[0].query("SELECT generateUUIDv4()")
    for place, node in enumerate(nodes):
        node.query(f"CREATE TABLE old.t UUID '{uuid}' {COLUMNS} ENGINE = MergeTree ORDER BY Time")
        fill(node, 0)
        node.query(f"ALTER TABLE old.t UPDATE Number = Number + {place * ROWS} WHERE 1 SETTINGS mutations_sync = 2")
    assert copy_everywhere(nodes) == [ROWS] * 3
    assert [found(node) for node in nodes] == EACH_ROW_ONCE
    assert copy_everywhere(nodes) == [0] * 3


@pytest.mark.soak
@pytest.mark.parametrize("nodes", [UUID_PATHS], indirect=True, ids=["uuids"])
def test_another_replica_completes_what_a_killed_server_began(nodes: list[ClickHouse]) -> None:
    """Of a replicated source: one replica of each shard copies, and each row is there once."""
    engine = "ReplicatedMergeTree('/clickhouse/tables/{shard}/old/t', '{replica}')"
    for node in nodes:
        node.query(f"CREATE TABLE old.t {COLUMNS} ENGINE = {engine} ORDER BY Time")
    first, second, other = nodes
    fill(first, 0)
    fill(second, ROWS)
    fill(other, 2 * ROWS)
    waiting = answer(run_module(second, COPY, rows=ROWS // 50))
    assert not waiting["changed"] and waiting["tables"][0]["total"] == 2 * ROWS
    process = run_module(first, COPY, rows=ROWS // 50)
    done = "SELECT count() FROM new.copied_ranges WHERE done"
    until("ranges are done", lambda: process.poll() is not None or int(second.query(done)) > 5, 60)
    first.kill()
    assert answer(process)["failed"]
    active = "SELECT replica_is_active['a'] FROM system.replicas WHERE table = 't' AND database = 'old'"
    until("a is not active", lambda: second.query(active) == "0", 30)
    copied = answer(run_module(second, COPY, rows=ROWS // 50))
    first.start()
    assert copied["changed"] and 0 < copied["copied"] < 2 * ROWS, copied
    assert copy_everywhere(nodes) == [0, 0, ROWS]
    assert [found(node) for node in nodes] == EACH_ROW_ONCE
