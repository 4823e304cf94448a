# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""clickhouse_schema on replicated tables: every replica is converged by its own run, all of them at the same time."""

from __future__ import annotations

import functools
import itertools
import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Self

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import execution
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import (
    ClickHouseError,
    ConnectionFailed,
)
from ansible_collections.groundwork.observability.plugins.module_utils._plan import Plan

from tests.support.clickhouse import REPLICA_PATHS, ClickHouse, QueryError
from tests.support.converge import converge_node
from tests.support.definitions import sorted_settings
from tests.support.zookeeper import ZooKeeper

pytestmark = pytest.mark.integration

ROUNDS = int(os.environ.get("GROUNDWORK_ROUNDS", "10"))
SHARDS, REPLICAS = ("1", "2"), ("a", "b")
SHOWN = "SELECT create_table_query FROM system.tables WHERE database = 'd' AND name = 't' FORMAT TSVRaw"
# Rows of all rounds have other keys.
KEYS = itertools.count()


class Cluster:
    """Shards with their replicas. Start and stop them in the test's own thread."""

    def __init__(self, zookeeper: ZooKeeper) -> None:
        self.zookeeper = zookeeper
        self.shards: dict[str, dict[str, ClickHouse]] = {shard: {} for shard in SHARDS}

    @property
    def nodes(self) -> list[ClickHouse]:
        return [node for replicas in self.shards.values() for node in replicas.values()]

    def add(self, shard: str, replica: str) -> ClickHouse:
        """A new host with nothing on it."""
        node = ClickHouse(REPLICA_PATHS, zookeeper=self.zookeeper.address, macros={"shard": shard, "replica": replica})
        node.__enter__()
        self.shards[shard][replica] = node
        return node

    def remove(self, shard: str, replica: str) -> None:
        """Take a host away for good, as an administrator does: when others have all its rows, and ZooKeeper forgets it."""
        node = self.shards[shard].pop(replica)
        others = list(self.shards[shard].values())
        for other in others:
            other.query("SYSTEM SYNC REPLICA d.t")
        node.__exit__(None, None, None)
        active = f"SELECT replica_is_active['{replica}'] FROM system.replicas WHERE database = 'd' AND table = 't'"
        until(others[0], active, "0", f"ZooKeeper still takes {replica} for a living one")
        others[0].query(f"SYSTEM DROP REPLICA '{replica}' FROM TABLE d.t")

    def close(self) -> None:
        for node in self.nodes:
            node.__exit__(None, None, None)


def until(node: ClickHouse, query: str, answer: str, complaint: str) -> None:
    """Wait for the answer to a query."""
    deadline = time.monotonic() + 60
    while node.query(query) != answer:
        assert time.monotonic() < deadline, complaint
        time.sleep(0.1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two shards with two replicas each."""
    with ZooKeeper() as zookeeper:
        started = Cluster(zookeeper)
        try:
            for shard in SHARDS:
                for replica in REPLICAS:
                    started.add(shard, replica)
            yield started
        finally:
            started.close()


@pytest.fixture
def nodes(cluster: Cluster) -> list[ClickHouse]:
    """All replicas, those of the first shard first."""
    return cluster.nodes


def everywhere(nodes: list[ClickHouse], ddl: str) -> list[Plan]:
    """As a play does it: one run a host, side by side."""
    with ThreadPoolExecutor(len(nodes)) as pool:
        return list(pool.map(lambda node: converge_node(node, ddl), nodes))


def definition(chance: random.Random) -> str:
    """A table with another choice of columns, indices, TTL and settings; what is inserted is always there."""
    columns = ["c0 UInt64", "c1 String", "c2 Array(String)", "c3 UInt32 DEFAULT 7"]
    columns = [column for column in columns if chance.random() < 0.6]
    if chance.random() < 0.5:
        columns = [column.replace("DEFAULT 7", "DEFAULT 8").replace("c1 String", "c1 String COMMENT 'x'") for column in columns]
    chance.shuffle(columns)
    parts = [*columns, "k UInt64", "v String" + chance.choice(("", " CODEC(ZSTD(3))", " COMMENT 'v'"))]
    parts += [f"INDEX i{number} k TYPE minmax" for number in range(2) if chance.random() < 0.4]
    ttl = chance.choice(("", " TTL toDateTime(k) + INTERVAL 90 YEAR", " TTL toDateTime(k) + INTERVAL 80 YEAR"))
    rest = chance.choice(("", " SETTINGS parts_to_throw_insert = 5000")) + chance.choice(("", " COMMENT 'a'"))
    return f"CREATE TABLE d.t ({', '.join(parts)}) ENGINE = ReplicatedMergeTree ORDER BY k{ttl}{rest}"


class Writer(threading.Thread):
    """Inserts rows into one replica after the other until it is left, and knows those that were acknowledged."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.targets = [(shard, node) for shard, replicas in cluster.shards.items() for node in replicas.values()]
        self.left = threading.Event()
        self.tried = 0
        self.acknowledged: dict[str, set[int]] = {shard: set() for shard in SHARDS}
        self.refused: list[str] = []

    def run(self) -> None:
        for shard, node in itertools.cycle(self.targets):
            if self.left.is_set():
                return
            first = next(KEYS)
            keys = range(first * 5, first * 5 + 5)
            try:
                node.query(f"INSERT INTO d.t (k, v) SELECT number + {keys.start}, 'v' FROM numbers(5)")
            except QueryError as error:
                self.refused.append(str(error))
            except (OSError, HTTPException):
                pass
            else:
                self.acknowledged[shard].update(keys)
            time.sleep(0.02)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.left.set()
        self.join()


def round_of_changes(cluster: Cluster, ddl: str, chance: random.Random, *, victim: ClickHouse | None, before: bool) -> list[Plan]:
    """As `everywhere`, while rows are inserted. A victim is killed before or in the middle, and started when all others are done.

    Others may have to rewrite rows that only the victim has. No run waits for them longer than its timeout.
    """
    timeout = 60 if victim is None else 10
    with ThreadPoolExecutor(len(cluster.nodes)) as pool:
        if victim is not None and before:
            victim.kill()
        runs = {node: pool.submit(converge_node, node, ddl, retries=0 if node is victim else 3, timeout=timeout) for node in cluster.nodes}
        if victim is not None and not before:
            time.sleep(chance.uniform(0, 0.5))
            victim.kill()
        plans = [run.result() for node, run in runs.items() if node is not victim]
        if victim is not None:
            try:
                plans.append(runs[victim].result())
            except ConnectionFailed:
                assert victim.process is not None and victim.process.poll() is not None
            victim.start()
            plans.append(converge_node(victim, ddl))
    return plans


def rows_are_everywhere(cluster: Cluster, acknowledged: dict[str, set[int]]) -> None:
    """No row that was acknowledged is lost, none is there twice, and all replicas have the same."""
    for shard, replicas in cluster.shards.items():
        there = []
        for node in replicas.values():
            node.query("SYSTEM SYNC REPLICA d.t")
            there.append(sorted(map(int, node.query("SELECT k FROM d.t").split())))
        assert acknowledged[shard] <= set(there[0])
        assert len(set(there[0])) == len(there[0])
        assert all(keys == there[0] for keys in there)


def test_rounds_of_changes_on_all_replicas_at_once(cluster: Cluster) -> None:
    """Another definition each time, for all replicas at once, while rows are inserted.

    In every tenth round a replica is killed, in every twentieth a new host is added, and an earlier one is removed.
    """
    chance = random.Random(4711)
    acknowledged: dict[str, set[int]] = {shard: set() for shard in SHARDS}
    added: tuple[str, str] | None = None
    made = 0
    converge_all = functools.partial(round_of_changes, cluster, chance=chance)
    for number in range(ROUNDS):
        ddl = definition(chance)
        what = f"round {number}: {ddl}"
        if number % 20 == 19 and added is not None:
            cluster.remove(*added)
        victim = chance.choice(cluster.nodes) if number % 10 == 9 else None
        if number % 20 == 19:
            added = (chance.choice(SHARDS), f"new{number}")
            cluster.add(*added)
        with Writer(cluster) as writer:
            plans = converge_all(ddl, victim=victim, before=number % 20 == 9)
        for shard, keys in writer.acknowledged.items():
            acknowledged[shard] |= keys
        assert not [state.reason for plan in plans for state in plan.drifted], what
        made += sum(len(plan.statements) for plan in plans)
        assert not any(plan.changed for plan in everywhere(cluster.nodes, ddl)), what
        shown = {sorted_settings(node.query(SHOWN)) for node in cluster.nodes}
        assert len(shown) == 1, f"{what}: {shown}"
        if victim is not None:
            rows_are_everywhere(cluster, acknowledged)
    if added is not None:
        cluster.remove(*added)
    rows_are_everywhere(cluster, acknowledged)
    for node in cluster.nodes:
        until(node, "SELECT count() FROM system.mutations WHERE NOT is_done", "0", "mutations are not done")
    # A change is made once a shard, with few exceptions where two runs began at the same moment; the first round makes the database, too.
    assert made <= (ROUNDS + 1) * len(cluster.nodes)


def test_lost_replica_is_recreated_and_joins(nodes: list[ClickHouse]) -> None:
    """Alone, or with its peers in the same run, also where the definition has changed since."""
    first, second = nodes[:2]
    before = "CREATE TABLE d.lost (k UInt64) ENGINE = ReplicatedMergeTree ORDER BY k"
    after = "CREATE TABLE d.lost (k UInt64, more String) ENGINE = ReplicatedMergeTree ORDER BY k"
    for wanted, together in ((after, False), (before, False), (after, True)):
        everywhere([first, second], before if wanted == after else after)
        first.query("INSERT INTO d.lost (k) SELECT number FROM numbers(10)")
        second.query("DROP TABLE d.lost SYNC")
        if together:
            everywhere([first, second], wanted)
        else:
            announced = converge_node(second, wanted, apply=False)
            assert converge_node(second, wanted).statements == announced.statements
            assert [statement.split(" ")[0] for statement in announced.statements] == ["CREATE", "ALTER"]
        for node in (first, second):
            assert not converge_node(node, wanted).changed
            node.query("SYSTEM SYNC REPLICA d.lost")
            assert node.query("SELECT count(), uniq(k) FROM d.lost") == "10\t10"
        first.query("DROP TABLE d.lost SYNC")
        second.query("DROP TABLE d.lost SYNC")


def test_a_replica_that_is_read_only_is_waited_for(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """ZooKeeper is away, or the server was started a moment ago: as long as a statement may take, and then the way out is named."""
    node = cluster.nodes[0]
    before = "CREATE TABLE d.waits (k UInt64) ENGINE = ReplicatedMergeTree ORDER BY k"
    after = "CREATE TABLE d.waits (k UInt64, more String) ENGINE = ReplicatedMergeTree ORDER BY k"
    refused = "SELECT sum(value) FROM system.errors WHERE name = 'TABLE_IS_READ_ONLY'"
    converge_node(node, before)
    cluster.zookeeper.kill()
    until(node, "SELECT is_readonly FROM system.replicas WHERE table = 'waits'", "1", "it goes on without ZooKeeper")
    with pytest.raises(ClickHouseError, match=r"within 1 s \(timeout\).* SYSTEM RESTORE REPLICA d\.waits, then run again"):
        converge_node(node, after, timeout=1)
    monkeypatch.setattr(execution, "_ATTEMPTS", 1)
    earlier = node.query(refused)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(converge_node, node, after)
        until(node, f"SELECT ({refused}) > {earlier} + 1", "1", "it does not try again")
        cluster.zookeeper.start()
        assert len(run.result().statements) == 1
    assert not converge_node(node, after).changed
    node.query("DROP TABLE d.waits SYNC")
    for other in cluster.nodes:
        until(other, "SELECT count() FROM system.replicas WHERE is_readonly", "0", "a replica stays read-only")


def test_change_completes_while_a_replica_is_lost(nodes: list[ClickHouse]) -> None:
    """It rewrites rows that only the lost host has: the server waits for them, the module for as long as it may."""
    first, second = nodes[:2]
    before = "CREATE TABLE d.waits (k UInt64, v UInt8) ENGINE = ReplicatedMergeTree ORDER BY k"
    after = "CREATE TABLE d.waits (k UInt64) ENGINE = ReplicatedMergeTree ORDER BY k"
    everywhere([first, second], before)
    first.query("SYSTEM STOP FETCHES d.waits")
    second.query("INSERT INTO d.waits SELECT number, 1 FROM numbers(10)")
    until(first, "SELECT count() FROM system.replication_queue WHERE table = 'waits'", "1", "the part is not announced")
    second.kill()
    first.query("SYSTEM START FETCHES d.waits")
    assert len(converge_node(first, after, timeout=2).statements) == 1
    assert not converge_node(first, after).changed
    second.start()
    assert not any(plan.changed for plan in everywhere([first, second], after))
    for node in (first, second):
        node.query("SYSTEM SYNC REPLICA d.waits")
        assert node.query("SELECT count() FROM d.waits") == "10"


def test_remaining_zookeeper_nodes_of_a_lost_replica_are_named(nodes: list[ClickHouse]) -> None:
    """As the message says it, the replica is made again."""
    first, second, third = nodes[:3]
    engine = "ENGINE = ReplicatedMergeTree('/tables/remains', '{0}') ORDER BY k"
    for number, node in enumerate((first, second)):
        converge_node(node, f"CREATE TABLE d.remains (k UInt64) {engine.format(number)}")
    first.query("INSERT INTO d.remains SELECT number FROM numbers(10)")
    second.query("SYSTEM SYNC REPLICA d.remains")
    # The second host is lost: its table is there no more, its replica is. Another host takes its place.
    second.kill()
    again = f"CREATE TABLE d.remains (k UInt64) {engine.format(1)}"
    with pytest.raises(ClickHouseError, match=r"d\.remains .*SYSTEM DROP REPLICA '<replica>' FROM TABLE d\.remains on another replica"):
        converge_node(third, again)
    active = "SELECT active_replicas FROM system.replicas WHERE table = 'remains'"
    until(first, active, "1", "ZooKeeper still takes the lost replica for a living one")
    first.query("SYSTEM DROP REPLICA '1' FROM TABLE d.remains")
    converge_node(third, again)
    third.query("SYSTEM SYNC REPLICA d.remains")
    assert third.query("SELECT count() FROM d.remains") == "10"
