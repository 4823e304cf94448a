# GNU General Public License v3.0+ (see LICENSE)
"""Rows of the telemetry tables leave the disk when the retention says so, and the view C(retention) tells when they do not.

One server with two volumes, and the role's tables without replication; and two replicas of them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.groundwork.observability.plugins.filter.size_cap import size_cap_drops, size_cap_query
from ansible_collections.groundwork.observability.plugins.filter.verify import verify_storage_query
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import declaration, schema
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouse as Client
from ansible_collections.groundwork.observability.plugins.plugin_utils._retention import KINDS, view

from tests.support.clickhouse import REPLICA_PATHS, ClickHouse, until
from tests.support.connect import connection
from tests.support.rendered import rendered
from tests.support.zookeeper import ZooKeeper

pytestmark = pytest.mark.integration

# Parts that a merge replaced leave the disk within a second, instead of after eight minutes and up to 40 seconds more, and the server
# looks for work each second.
CLEANUP = {"old_parts_lifetime": 0, "cleanup_delay_period": 0, "cleanup_delay_period_random_add": 0, "max_cleanup_delay_period": 1}
IDLE = "pool_task_sleep_seconds_when_no_work_max"
SERVER = {
    "config": f"<merge_tree>{''.join(f'<{name}>{value}</{name}>' for name, value in CLEANUP.items())}</merge_tree>"
    + "".join(f"<background_{kind}_{IDLE}>1</background_{kind}_{IDLE}>" for kind in ("processing", "move_processing"))
    + "<storage_configuration><disks><slow><path>slow/</path></slow></disks><policies><tiered><volumes>"
    "<default><disk>default</disk></default><cold><disk>slow</disk></cold>"
    "</volumes></tiered></policies></storage_configuration>"
}
TABLES = {table: time for kind in KINDS.values() for table, time in kind.tables.items()}
DEBUG = {"where": "SeverityNumber BETWEEN 1 AND 8", "keep": "3d"}
# The views that fill roll-ups, whose rows are as old as those that they are made of.
INSERTS = (
    "INSERT INTO otel.otel_logs_local (Timestamp, SeverityNumber, Body) SELECT now64(9) - INTERVAL {days} DAY, {severity}, 'x'",
    "INSERT INTO otel.otel_traces_local (Timestamp, TraceId) SELECT now64(9) - INTERVAL {days} DAY, 'a'",
    *(
        f"INSERT INTO otel.otel_metrics_{kind}_local (TimeUnix, MetricName) SELECT now() - INTERVAL {{days}} DAY, 'x'"
        for kind in ("gauge", "sum", "histogram", "exponential_histogram", "summary")
    ),
)


def converge(client: Client, retention: dict[str, Any], policy: str = "", *, replicated: bool = False) -> list[str]:
    """Make the tables as role telemetry_schema does; the statements that were needed."""
    objects = rendered(
        "telemetry_schema",
        "__telemetry_schema_objects",
        telemetry_schema_cluster="one",
        telemetry_schema_replicated=replicated,
        telemetry_schema_retention=retention,
        telemetry_schema_storage_policy=policy,
    )
    want = declaration.declare(objects)
    plan = schema.converge(client, want, set(), apply=True, keep_drift=False)
    assert not plan.drifted, plan.drifted
    return [step.statement for step in plan.steps]


def insert(server: ClickHouse, days: int, severity: int = 17) -> None:
    """A row of each table that is so many days old."""
    for statement in INSERTS:
        server.query(statement.format(days=days, severity=severity))


def stored(server: ClickHouse) -> dict[str, list[tuple[str, int]]]:
    """For each table with rows on disk, disk and age in days of each part, parts that a merge has replaced included."""
    text = server.query(
        "SELECT table, disk_name, dateDiff('day', min_time, now()) AS days FROM system.parts "
        "WHERE database = 'otel' AND rows > 0 ORDER BY table, days FORMAT JSONEachRow"
    )
    found: dict[str, list[tuple[str, int]]] = {}
    for line in text.splitlines():
        row = json.loads(line)
        found.setdefault(row["table"], []).append((row["disk_name"], int(row["days"])))
    return found


def overdue(server: ClickHouse) -> dict[tuple[str, str, str], int]:
    """Days past the retention by table, volume and rule, as the view tells."""
    text = server.query("SELECT table, volume, rule, overdue FROM otel.retention WHERE overdue > 0 FORMAT JSONEachRow")
    rows = [json.loads(line) for line in text.splitlines()]
    return {(row["table"], row["volume"], row["rule"]): row["overdue"] // 86400 for row in rows}


@pytest.fixture
def tables(server: ClickHouse, client: Client) -> Iterator[ClickHouse]:
    """The tables with the default retention, without rows, on a server that applies no TTL yet."""
    server.query("DROP DATABASE IF EXISTS otel SYNC")
    converge(client, {})
    server.query("SYSTEM STOP TTL MERGES")
    server.query("SYSTEM STOP MOVES")
    yield server
    server.query("SYSTEM START TTL MERGES")
    server.query("SYSTEM START MOVES")


def test_expired_rows_of_every_table_leave_the_disk(tables: ClickHouse) -> None:
    insert(tables, days=500)
    insert(tables, days=1)
    assert {table: [days for _, days in parts] for table, parts in stored(tables).items()} == dict.fromkeys(TABLES, [1, 500])
    late = {kind: 500 - int(KINDS[kind].keep[:-1]) for kind in KINDS}
    assert overdue(tables) == {(table, "default", "all rows"): late[name] for name, kind in KINDS.items() for table in kind.tables}
    tables.query("SYSTEM START TTL MERGES")
    fresh = dict.fromkeys(TABLES, [("default", 1)])
    until("expired rows are gone", lambda: stored(tables) == fresh, 60)
    assert overdue(tables) == {}
    assert {table: tables.query(f"SELECT count() FROM otel.{table}") for table in TABLES} == dict.fromkeys(TABLES, "1")


@pytest.fixture
def replicas() -> Iterator[dict[ClickHouse, Client]]:
    """Two servers that replicate the tables, without rows, and apply no TTL yet."""
    with contextlib.ExitStack() as stack:
        zookeeper = stack.enter_context(ZooKeeper())
        nodes = {}
        for name in "ab":
            config, macros = REPLICA_PATHS + SERVER["config"], {"shard": "1", "replica": name}
            node = stack.enter_context(ClickHouse(config, cluster="one", zookeeper=zookeeper.address, macros=macros))
            nodes[node] = Client(connection(node.port))
            stack.callback(nodes[node].close)
            converge(nodes[node], {}, replicated=True)
            node.query("SYSTEM STOP TTL MERGES")
        yield nodes


def test_expired_rows_leave_the_disks_of_both_replicas(replicas: dict[ClickHouse, Client]) -> None:
    """Also when a retention is shortened, which each replica does for itself."""
    first, second = replicas
    for days in (500, 2):
        insert(first, days)

    def on_both(days: list[int]) -> bool:
        return all(
            {table: [age for _, age in parts] for table, parts in stored(node).items()} == dict.fromkeys(TABLES, days) for node in replicas
        )

    until("both have all rows", lambda: on_both([2, 500]), 60)
    assert overdue(first) and overdue(first) == overdue(second)
    for node in replicas:
        node.query("SYSTEM START TTL MERGES")
    until("expired rows are gone", lambda: on_both([2]), 60)
    assert overdue(first) == overdue(second) == {}
    shorter = dict.fromkeys(KINDS, {"keep": "36h"})
    statements = [converge(client, shorter, replicated=True) for client in replicas.values()]
    assert any(statements)
    assert [converge(client, shorter, replicated=True) for client in replicas.values()] == [[], []]
    until("rows of 2 days are gone", lambda: not any(stored(node) for node in replicas), 60)


def test_query_of_playbook_verify(tables: ClickHouse) -> None:
    insert(tables, days=17)
    tables.query("CREATE TABLE system.query_log_0 (event_date Date) ENGINE = MergeTree ORDER BY event_date TTL event_date + INTERVAL 1 DAY")
    tables.query("CREATE TABLE system.asynchronous_insert_log (event_date Date) ENGINE = MergeTree ORDER BY event_date")
    rows = [line.rpartition("\t")[0] for line in tables.query(verify_storage_query("otel")).split("\n")]
    assert rows == [
        "late\totel_logs_local\tall rows, default\t72",
        "late\totel_traces_local\tall rows, default\t240",
        "late\totel_traces_trace_id_ts_local\tall rows, default\t240",
        "left over\tsystem.query_log_0\t\t0",
        "unbounded\tsystem.asynchronous_insert_log\t\t0",
    ]


def test_shortened_retention_takes_effect(tables: ClickHouse, client: Client) -> None:
    insert(tables, days=6)
    assert overdue(tables) == {}
    short = {name: {"keep": "4d"} for name in KINDS}
    tables.query("SYSTEM START TTL MERGES")
    assert len(converge(client, short)) == len(TABLES) + 1
    until("rows are gone", lambda: stored(tables) == {}, 60)
    assert overdue(tables) == {}
    assert converge(client, short) == []


def test_rule_deletes_its_rows_and_no_others(tables: ClickHouse, client: Client) -> None:
    converge(client, {"logs": {"keep": "14d", "rules": [DEBUG]}})
    for days in (5, 1):
        insert(tables, days, severity=5)
        insert(tables, days, severity=17)
    assert overdue(tables) == {("otel_logs_local", "all volumes", DEBUG["where"]): 2}
    tables.query("SYSTEM START TTL MERGES")
    kept = "SELECT groupArray((days, SeverityNumber)) FROM (SELECT dateDiff('day', Timestamp, now64(9)) AS days, SeverityNumber "
    kept += "FROM otel.otel_logs_local ORDER BY ALL)"
    until("debug logs are gone", lambda: tables.query(kept) == "[(1,5),(1,17),(5,17)]", 60)
    assert overdue(tables) == {}


def test_rows_move_to_the_cold_volume(tables: ClickHouse, client: Client) -> None:
    """Also of tables that had rows before they got the storage policy."""
    insert(tables, days=6)
    signals = [name for name, kind in KINDS.items() if kind.ruled]
    tiered = [table for name in signals for table in KINDS[name].tables]
    retention = {name: {"cold_after": "3d"} for name in signals}
    converge(client, retention, "tiered")
    assert overdue(tables) == {(table, "default", "all rows"): 3 for table in tiered}
    tables.query("SYSTEM START MOVES")
    moved = {table: [("slow" if table in tiered else "default", 6)] for table in TABLES}
    until("rows are moved", lambda: stored(tables) == moved, 60)
    insert(tables, days=1)
    assert overdue(tables) == {}
    volumes = "SELECT table, groupArray(volume) FROM (SELECT * FROM otel.retention ORDER BY volume) GROUP BY table HAVING count() = 2"
    assert sorted(tables.query(volumes).split("\n")) == sorted(f"{table}\t['cold','default']" for table in tiered)
    assert converge(client, retention, "tiered") == []


def test_size_cap_drops_the_oldest_day_of_each_table(tables: ClickHouse, client: Client) -> None:
    """The query, the choice and the statement of playbook size_cap, with the cap that only today and the roll-ups keep."""
    for days in (0, 3, 6):
        insert(tables, days)
    text = tables.query(f"{size_cap_query('otel')} FORMAT JSONEachRow")
    rows = [json.loads(line) for line in text.splitlines()]
    signals = {table for kind in KINDS.values() if kind.ruled for table in kind.tables}
    assert {row["table"] for row in rows} == signals
    assert len({row["day"] for row in rows}) == 3
    assert 0 < int(rows[0]["used"]) < int(rows[0]["total"])
    old = sum(int(row["bytes"]) for row in rows if row["day"] != row["today"])
    drops = size_cap_drops(rows, 100 * (int(rows[0]["used"]) - old + 0.5) / int(rows[0]["total"]))["drops"]
    assert [drop["table"] for drop in drops] == sorted(signals) * 2
    assert [drop["day"] for drop in drops] == sorted(drop["day"] for drop in drops)
    for drop in drops:
        tables.query(f"ALTER TABLE otel.{drop['table']} DROP PARTITION '{drop['day']}'", max_partition_size_to_drop=0)
    left = {table: [days for _, days in parts] for table, parts in stored(tables).items()}
    assert {table: left[table] for table in signals} == dict.fromkeys(signals, [0])
    assert set(left) == set(TABLES), "roll-ups stay"


def own_logs(days: int) -> str:
    """How role clickhouse configures the server's log of queries, flushed at once."""
    settings = rendered("clickhouse", "__clickhouse_settings.query_log", clickhouse_system_log_days=days)
    return "".join(f"<{name}>{value}</{name}>" for name, value in (settings | {"flush_interval_milliseconds": 100}).items())


def test_own_logs_are_bounded_and_former_ones_are_found_and_dropped() -> None:
    """A changed setting makes the server begin a new table when it starts again, and keep the former one."""

    def kept_too_long() -> list[str]:
        node.query("SYSTEM FLUSH LOGS query_log")
        return ["\t".join(line.split("\t")[:2]) for line in node.query(verify_storage_query("otel")).splitlines()]

    with ClickHouse(f"<query_log>{own_logs(14)}</query_log>") as node:
        node.query("CREATE DATABASE otel")
        node.query(f"CREATE VIEW otel.retention AS {view({}, 'otel', '', 'cold')}")
        assert kept_too_long() == []
        assert "TTL event_date + toIntervalDay(14)" in node.query("SHOW CREATE TABLE system.query_log")
        node.write("config.d/test.xml", f"<query_log>{own_logs(7)}</query_log>")
        node.restart()
        assert kept_too_long() == ["left over\tsystem.query_log_0"]
        assert "TTL event_date + toIntervalDay(7)" in node.query("SHOW CREATE TABLE system.query_log")
        opened = Client(connection(node.port))
        want = declaration.declare([{"kind": "table", "name": "system.query_log_0", "state": "absent"}])
        assert schema.converge(opened, want, set(), apply=True, keep_drift=False, allow=["drop_table"]).steps
        opened.close()
        assert kept_too_long() == []
