# GNU General Public License v3.0+ (see LICENSE)
"""A table of one's own on every server: spread, replicated, written down, rebuilt while rows come through all replicas."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from typing import Any

from tests.testbed.demo import recap

SHARDS = (("ch1", "ch2"), ("ch3", "ch4"))
SERVERS = tuple(itertools.chain(*SHARDS))
PLAYBOOK = "playbooks/schema.yml"


def orders(platform: Any) -> list[int]:
    """How many there are on each server."""
    for server in SERVERS:
        platform.query(server, f"SYSTEM SYNC REPLICA {platform.database}.orders_local")
    return [int(platform.query(server, f"SELECT count() FROM {platform.database}.orders_local")[0][0]) for server in SERVERS]


def test_every_server_has_it_and_its_history(platform: Any) -> None:
    platform.query(
        "ch1",
        f"INSERT INTO {platform.database}.orders SELECT now(), 'shop', number FROM numbers(100)"
        " SETTINGS distributed_foreground_insert = 1",
    )
    counts = orders(platform)
    assert counts[0] == counts[1]
    assert counts[2] == counts[3]
    assert counts[0] + counts[2] == 100
    last = f"SELECT checksum, error, length(statements) > 20 FROM {platform.database}.schema_history"
    assert len({str(platform.query(server, last)) for server in SERVERS}) == 1
    assert platform.query("ch1", last)[0][1:] == ["", 1]


def test_one_host_alone(playbook: Callable[..., Any]) -> None:
    done = playbook(PLAYBOOK, "--limit", "ch2")
    assert done.returncode == 0, done.stdout
    assert recap(done.stdout) == (1, 0), done.stdout
    assert "ch1" not in done.stdout


def test_rebuild_on_all_replicas_loses_no_row(platform: Any, playbook: Callable[..., Any]) -> None:
    """Another partition key, at another path, by one run of the play; every acknowledged row is there once."""
    before, database, cluster = orders(platform), platform.database, platform.setting("clickhouse_cluster")
    ddl = (
        f"CREATE TABLE {database}.orders_local (placed DateTime, shop LowCardinality(String), total Decimal(12, 2))"
        " ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/orders_by_year', '{replica}')"
        " PARTITION BY toYear(placed) ORDER BY (shop, placed)"
    )
    spread = f"Distributed({cluster}, {database}, orders_local, rand())"
    distributed = f"CREATE TABLE {database}.orders AS {database}.orders_local ENGINE = {spread}"
    wanted = {"telemetry_schema_objects": [{"ddl": ddl}, {"ddl": distributed}], "telemetry_schema_allow": ["rebuild"]}
    refused = playbook(PLAYBOOK, "-e", json.dumps({**wanted, "telemetry_schema_allow": []}))
    assert refused.returncode != 0
    assert "allow: [rebuild] copies the rows into a new table" in refused.stdout
    assert f"in cluster {cluster} it is the same on all nodes" in refused.stdout

    done = threading.Event()
    acknowledged = dict.fromkeys(SERVERS, 0)

    def insert() -> None:
        for number in itertools.count():
            server = SERVERS[number % len(SERVERS)]
            platform.query(server, f"INSERT INTO {database}.orders_local VALUES (now(), '{server}', {number})")
            acknowledged[server] += 1
            if done.wait(0.2):
                return

    inserter = threading.Thread(target=insert)
    inserter.start()
    try:
        rebuilt = playbook(PLAYBOOK, "-e", json.dumps(wanted))
    finally:
        done.set()
        inserter.join()
    assert rebuilt.returncode == 0, rebuilt.stdout
    assert all(acknowledged.values())
    expected = [before[index] + sum(acknowledged[server] for server in SHARDS[index // 2]) for index in range(len(SERVERS))]
    assert orders(platform) == expected
    keys = {str(platform.query(server, "SELECT partition_key FROM system.tables WHERE name = 'orders_local'")) for server in SERVERS}
    assert keys == {"[['toYear(placed)']]"}
    again = playbook(PLAYBOOK, "-e", json.dumps(wanted))
    assert again.returncode == 0, again.stdout
    assert recap(again.stdout) == (len(SERVERS), 0), again.stdout
