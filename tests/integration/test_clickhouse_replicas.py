# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""clickhouse_schema on replicated tables: every replica is converged by its own run, all of them at the same time."""

from __future__ import annotations

import os
import random
import time
import typing as t
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import schema
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouse as Client
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouseError, Connection
from ansible_collections.groundwork.observability.plugins.module_utils._plan import Plan

from tests.support.clickhouse import ClickHouse
from tests.support.zookeeper import ZooKeeper

pytestmark = pytest.mark.integration

ROUNDS = int(os.environ.get("GROUNDWORK_ROUNDS", "25"))
SHARDS, REPLICAS = ("1", "2"), ("a", "b")
SHOWN = "SELECT create_table_query FROM system.tables WHERE database = 'd' AND name = 't' FORMAT TSVRaw"
PATHS = (
    "<default_replica_path>/clickhouse/tables/{shard}/{database}/{table}</default_replica_path>"
    "<default_replica_name>{replica}</default_replica_name>"
)


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[ClickHouse]]:
    """Two shards with two replicas each."""
    with ZooKeeper() as zookeeper:
        started = [
            ClickHouse(PATHS, zookeeper=zookeeper.address, macros={"shard": shard, "replica": replica})
            for shard in SHARDS
            for replica in REPLICAS
        ]
        try:
            for node in started:
                node.__enter__()
            yield started
        finally:
            for node in started:
                node.__exit__(None, None, None)


def converge(node: ClickHouse, ddl: str, *, apply: bool = True) -> Plan:
    parameters: dict[str, t.Any] = {"login_host": node.host, "login_port": node.port, "secure": False, "login_user": "default"}
    parameters |= dict.fromkeys(("login_password", "ca_path", "client_cert", "client_key"))
    client = Client(Connection.from_params({**parameters, "validate_certs": True, "connect_timeout": 10, "timeout": 60, "retries": 3}))
    try:
        want = schema.declare([{"kind": "database", "name": "d"}, {"ddl": ddl}])
        return schema.converge(client, want, set(), apply=apply, keep_drift=False, allow=schema.PERMISSIONS)
    finally:
        client.close()


def everywhere(nodes: list[ClickHouse], ddl: str) -> list[Plan]:
    """As a play does it: one run a host, side by side."""
    with ThreadPoolExecutor(len(nodes)) as pool:
        return list(pool.map(lambda node: converge(node, ddl), nodes))


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


def test_rounds_of_changes_on_all_replicas_at_once(nodes: list[ClickHouse]) -> None:
    chance = random.Random(4711)
    rows = dict.fromkeys(SHARDS, 0)
    made = 0
    for number in range(ROUNDS):
        ddl = definition(chance)
        plans = everywhere(nodes, ddl)
        assert not [state.reason for plan in plans for state in plan.drifted], f"round {number}: {ddl}"
        made += sum(len(plan.statements) for plan in plans)
        for index, node in enumerate(nodes):
            node.query(f"INSERT INTO d.t (k, v) SELECT number + {number * 1000 + index * 100}, 'v' FROM numbers(10)")
            rows[SHARDS[index // 2]] += 10
        for node in nodes:
            assert not converge(node, ddl).changed, f"round {number}: {ddl}"
        shown = {node.query(SHOWN) for node in nodes}
        assert len(shown) == 1, f"round {number}: {shown}"
    for index, node in enumerate(nodes):
        node.query("SYSTEM SYNC REPLICA d.t")
        assert int(node.query("SELECT count() FROM d.t")) == rows[SHARDS[index // 2]]
        assert node.query("SELECT count() FROM system.mutations WHERE NOT is_done") == "0"
    # A change is made once a shard, with few exceptions where two runs began at the same moment.
    assert made <= ROUNDS * len(nodes)


def test_a_lost_replica_comes_back_empty_and_joins(nodes: list[ClickHouse]) -> None:
    """With its peers in the same run, also where the definition has changed since; alone it says what to do."""
    first, second = nodes[:2]
    before = "CREATE TABLE d.lost (k UInt64) ENGINE = ReplicatedMergeTree ORDER BY k"
    after = "CREATE TABLE d.lost (k UInt64, more String) ENGINE = ReplicatedMergeTree ORDER BY k"
    everywhere([first, second], before)
    first.query("INSERT INTO d.lost SELECT number FROM numbers(10)")
    second.query("DROP TABLE d.lost SYNC")
    with pytest.raises(ClickHouseError, match=r"d\.lost .*its other replicas have another definition, converge them in the same run"):
        converge(second, after)
    everywhere([first, second], after)
    for node in (first, second):
        assert not converge(node, after).changed
        node.query("SYSTEM SYNC REPLICA d.lost")
        assert node.query("SELECT count(), any(more) FROM d.lost") == "10\t"


def test_the_remains_of_a_lost_replica_are_named(nodes: list[ClickHouse]) -> None:
    """As the message says it, the replica is made again."""
    first, second, third = nodes[:3]
    engine = "ENGINE = ReplicatedMergeTree('/tables/remains', '{0}') ORDER BY k"
    for number, node in enumerate((first, second)):
        converge(node, f"CREATE TABLE d.remains (k UInt64) {engine.format(number)}")
    first.query("INSERT INTO d.remains SELECT number FROM numbers(10)")
    second.query("SYSTEM SYNC REPLICA d.remains")
    # The second host is lost: its table is there no more, its replica is. Another host takes its place.
    second.kill()
    again = f"CREATE TABLE d.remains (k UInt64) {engine.format(1)}"
    with pytest.raises(ClickHouseError, match=r"d\.remains .*SYSTEM DROP REPLICA '<replica>' FROM TABLE d\.remains on another replica"):
        converge(third, again)
    deadline = time.monotonic() + 60
    while first.query("SELECT active_replicas FROM system.replicas WHERE table = 'remains'") != "1":
        assert time.monotonic() < deadline, "ZooKeeper still takes the lost replica for a living one"
        time.sleep(0.2)
    first.query("SYSTEM DROP REPLICA '1' FROM TABLE d.remains")
    converge(third, again)
    third.query("SYSTEM SYNC REPLICA d.remains")
    assert third.query("SELECT count() FROM d.remains") == "10"
