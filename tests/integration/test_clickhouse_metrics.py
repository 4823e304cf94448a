# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the cluster agent reads from a server of the role: its system tables as metrics, as the read-only user monitor."""

from __future__ import annotations

import base64
import re
import urllib.request
from collections.abc import Iterator

import pytest

from tests.support.clickhouse import ClickHouse, QueryError, until
from tests.support.platform import CLUSTER, MONITOR_PASSWORD, server_config, users
from tests.support.zookeeper import ZooKeeper

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server() -> Iterator[ClickHouse]:
    """A replica with the role's handlers and users, a replicated table, and a mutation that can never be done."""
    with (
        ZooKeeper() as zookeeper,
        ClickHouse(
            server_config(),
            users=users(),
            zookeeper=zookeeper.address,
            macros={"shard": "1", "replica": "a", "cluster": CLUSTER},
            cluster=CLUSTER,
        ) as one,
    ):
        one.query("CREATE DATABASE otel")
        one.query("CREATE TABLE otel.t (a UInt8, b String) ENGINE = ReplicatedMergeTree ORDER BY a PARTITION BY a")
        for value in (1, 1, 2):
            one.query(f"INSERT INTO otel.t SELECT {value}, toString(rand64())")
        one.query("ALTER TABLE otel.t UPDATE b = toString(throwIf(a = 2, 'never')) WHERE 1", mutations_sync=0)
        yield one


def metrics(server: ClickHouse, login: str = f"monitor:{MONITOR_PASSWORD}") -> dict[str, float]:
    """Name and labels -> value."""
    credentials = base64.b64encode(login.encode()).decode()
    request = urllib.request.Request(f"{server.url}/metrics", headers={"Authorization": f"Basic {credentials}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read().decode()
    # All lines of one metric follow each other, as the format asks for.
    names = re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE)
    assert len(names) == len(set(names))
    return {key: float(value) for key, value in re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}


def test_system_tables_are_metrics(server: ClickHouse) -> None:
    """Replicas, mutations, parts, disks and ZooKeeper's counter, each with its labels, beside the server's own metrics."""
    table = '{database="otel",table="t"}'
    until("the mutation has failed", lambda: metrics(server).get(f"ClickHouseMutations_failing{table}") == 1, 60)
    found = metrics(server)
    assert found[f"ClickHouseMutations_running{table}"] == 1
    assert found[f"ClickHouseReplica_readonly{table}"] == found[f"ClickHouseReplica_missing_replicas{table}"] == 0
    assert found[f"ClickHouseReplica_queue_size{table}"] >= 1
    assert found[f"ClickHouseParts_rows{table}"] == 3 and found[f"ClickHouseParts_active{table}"] >= 2
    assert 0 < found['ClickHouseDisk_free_bytes{disk="default"}'] < found['ClickHouseDisk_total_bytes{disk="default"}']
    assert found['ClickHouseZooKeeper_transactions{host="127.0.0.1"}'] > 0
    assert "ClickHouseMetrics_Query" in found and "ClickHouseProfileEvents_InsertQuery" in found


def test_read_only_replica_shows(server: ClickHouse) -> None:
    """A replica without its data in ZooKeeper refuses INSERTs, while the server answers /ping."""
    server.query("CREATE TABLE otel.lost (a UInt8) ENGINE = ReplicatedMergeTree ORDER BY a")
    server.query("SYSTEM DROP REPLICA 'b' FROM TABLE otel.lost")
    server.query("DETACH TABLE otel.lost")
    server.query("SYSTEM DROP REPLICA 'a' FROM ZKPATH '/clickhouse/tables/1/otel/lost'")
    server.query("ATTACH TABLE otel.lost")
    until("it is read-only", lambda: metrics(server).get('ClickHouseReplica_readonly{database="otel",table="lost"}') == 1, 30)


def test_the_user_reads_no_rows(server: ClickHouse) -> None:
    """Names and sizes of tables only, and it changes nothing."""
    for sql in ("SELECT * FROM otel.t", "SELECT * FROM system.query_log", "INSERT INTO otel.t VALUES (3, 'x')", "DROP TABLE otel.t"):
        with pytest.raises(QueryError) as refused:
            server.query(sql, user="monitor", password=MONITOR_PASSWORD)
        assert refused.value.code in (497, 164), sql
