# GNU General Public License v3.0+ (see LICENSE)
"""Every alert fires on data on which it must, and stays quiet on data on which it must not, on a real ClickHouse.

Each rule is evaluated by its own query, reduction and threshold, as the ClickHouse user that the role makes for Grafana, in a cluster of
which a replica and a whole shard do not answer. A state that lasts is shown by the moment of the evaluation: an hour later, a mutation is
an hour old. Where a state of a server is too costly to make, copy_of() replaces the system table by its own rows with other values in some
columns.
"""

from __future__ import annotations

import json
import math
import re
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.groundwork.observability.plugins.filter.clickhouse_xml import to_clickhouse_xml
from ansible_collections.groundwork.observability.plugins.filter.grafana_alerts import grafana_alert_rules

from tests.support import otelcol
from tests.support.clickhouse import ClickHouse, until
from tests.support.daemon import Daemon, free_ports
from tests.support.grafana_alerts import RuleError, evaluate
from tests.support.pki import Pki
from tests.support.rendered import rendered
from tests.support.zookeeper import ZooKeeper

pytestmark = pytest.mark.integration

ROLES = Path(__file__).parents[2] / "roles"
RUNBOOKS = ROLES.parent / "docs" / "runbooks"
GROUPS = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(ROLES.glob("grafana/files/alerts/*.yml"))]
VALUES = {
    "cluster": "otel",
    "zookeeper_hosts": ["zk1", "zk2", "zk3"],
    "database": "otel",
    "slo_percent": 99.9,
    "certificates": ["h1 1900000000", "h2 1980000000"],
}
DAY = 86400
WEEK = 7 * DAY
DEBUGGER = {"where": "ServiceName = 'debugger'", "keep": "3d"}
RETENTION = {"logs": {"keep": "11d", "rules": [DEBUGGER]}}
# Alerts that are not judged without a shard.
EVERY_SHARD = [alert["uid"] for group in GROUPS for alert in group["alerts"] if alert.get("every_shard")]
RULES = {rule["uid"]: rule for group in grafana_alert_rules(GROUPS, VALUES) for rule in group["rules"]}


@dataclass(frozen=True)
class State:
    """A state of the server and its data.

    Statements or a function that make it; what replaces a system table; when the rule is evaluated, in seconds from now; and the labels of
    the instances that fire then.
    """

    make: Sequence[str] | Callable[[ClickHouse], None] = ()
    replaced: tuple[str, str] | None = None
    later: int = 0
    firing: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class Case:
    """One state in which the alert fires, and one in which it has rows that do not reach the threshold."""

    fires: State
    quiet: State
    # No row is what a good state looks like.
    empty: bool = False


def grafana_user() -> str:
    """The ClickHouse user of Grafana as the role makes it, without a password."""
    profile = rendered("clickhouse", "__clickhouse_users.profiles.grafana")
    rights = rendered("clickhouse", "__clickhouse_rights.grafana", __clickhouse_database="otel")
    user = {"password": "", "networks": {"ip": "::/0"}, "quota": "default", **rights}
    text = to_clickhouse_xml({"profiles": {"grafana": profile}, "users": {"grafana": user}})
    return text.strip().removeprefix("<clickhouse>").removesuffix("</clickhouse>")


@pytest.fixture(scope="module")
def zookeeper_metrics() -> int:
    """The port of ZooKeeper's metrics."""
    return free_ports(1)[0]


def use_cluster(server: ClickHouse, other_shards: int) -> None:
    """Write the cluster of which the server is one of two replicas: neither the other replica nor any other shard answers."""
    nobody = free_ports(1 + other_shards)
    shards = "".join(
        "<shard><internal_replication>true</internal_replication>"
        + "".join(f"<replica><host>127.0.0.1</host><port>{port}</port></replica>" for port in ports)
        + "</shard>"
        for ports in ((server.tcp_port, nobody[0]), *((port,) for port in nobody[1:]))
    )
    server.write("config.d/cluster.xml", f"<remote_servers><otel>{shards}</otel></remote_servers>")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, zookeeper_metrics: int) -> Iterator[ClickHouse]:
    """One server with the telemetry's tables, in the cluster that C(use_cluster) makes."""
    pki = Pki(tmp_path_factory.mktemp("pki"))
    (https,) = free_ports(1)
    provider = "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider"
    with ZooKeeper(f"{provider}\nmetricsProvider.httpHost=127.0.0.1\nmetricsProvider.httpPort={zookeeper_metrics}") as zookeeper:
        node = ClickHouse(
            f"{pki.config()}<https_port>{https}</https_port>"
            + "".join(f"<{log}><database>system</database><table>{log}</table></{log}>" for log in ("query_log", "part_log")),
            users=grafana_user(),
            zookeeper=zookeeper.address,
            macros={"shard": "1", "replica": "a", "cluster": "otel"},
        )
        use_cluster(node, other_shards=1)
        with node:
            objects = rendered(
                "telemetry_schema",
                "__telemetry_schema_objects",
                telemetry_schema_cluster="otel",
                telemetry_schema_replicated=False,
                telemetry_schema_retention=RETENTION,
            )
            node.query("CREATE DATABASE otel")
            for item in objects:
                if "ddl" in item:
                    node.query(item["ddl"])
            hosts = "('h1', ['node_agent'], 0), ('h2', ['node_agent'], 0), ('gone', ['node_agent'], 0), ('bare', [], 0)"
            node.query(f"INSERT INTO otel.inventory_hosts (host, groups, is_deleted) VALUES {hosts}")
            node.query("INSERT INTO otel.inventory_hosts (host, groups, is_deleted) VALUES ('gone', ['node_agent'], 1)")
            node.query("SYSTEM FLUSH LOGS query_log, part_log")
            yield node


@pytest.fixture
def empty(server: ClickHouse) -> Iterator[ClickHouse]:
    """The server without rows, and without what tests have made."""
    tables = server.query("SELECT name FROM system.tables WHERE database = 'otel' AND name LIKE '%_local' AND total_rows > 0")
    for table in tables.split():
        server.query(f"TRUNCATE TABLE otel.{table}")
    yield server
    server.query("SYSTEM START TTL MERGES")
    for table in server.query("SELECT table FROM system.detached_tables WHERE database = 'otel'").split():
        server.query(f"ATTACH TABLE otel.{table}")
    for table in ("snapshot", "product", "t", "t1", "t2"):
        server.query(f"DROP TABLE IF EXISTS otel.{table} SYNC")


@pytest.fixture
def cluster(empty: ClickHouse, uid: str) -> Iterator[ClickHouse]:
    """The empty server. The other shard is not part of the cluster if the alert needs every shard."""
    if uid not in EVERY_SHARD:
        yield empty
        return
    use_cluster(empty, other_shards=0)
    empty.query("SYSTEM RELOAD CONFIG")
    yield empty
    use_cluster(empty, other_shards=1)
    empty.query("SYSTEM RELOAD CONFIG")


def points(table: str, metric: str, value: str, host: str, service: str, attributes: dict[str, str], ago: int, count: int) -> str:
    """Inserts points of a metric, the newest C(ago) seconds old, 30 seconds between two; the value is SQL of their C(number)."""
    attribute_map = "map(" + ", ".join(f"'{key}', '{text}'" for key, text in attributes.items()) + ")" if attributes else "map()"
    return (
        f"INSERT INTO otel.otel_metrics_{table}_local (ResourceAttributes, ServiceName, MetricName, Attributes, TimeUnix, Value) "
        f"SELECT map('host.name', '{host}'), '{service}', '{metric}', CAST({attribute_map}, 'Map(LowCardinality(String), String)'), "
        f"now() - {ago} - 30 * number, {value} FROM numbers({count})"
    )


def gauge(
    metric: str, value: float | str, host: str = "h1", service: str = "otelcol-node-agent", ago: int = 5, count: int = 1, **attributes: str
) -> str:
    """Points of a gauge."""
    return points("gauge", metric, str(value), host, service, attributes, ago, count)


def counter(
    metric: str, value: float | str, host: str = "h1", service: str = "otelcol-node-agent", ago: int = 5, count: int = 1, **attributes: str
) -> str:
    """Points of a sum."""
    return points("sum", metric, str(value), host, service, attributes, ago, count)


def rollup(metric: str, value: str, ago: int, count: int, host: str = "h1", attributes: str = "map()") -> str:
    """Five-minute values of a gauge, the newest C(ago) seconds old; the value and the attributes are SQL of their C(number)."""
    return (
        "INSERT INTO otel.metrics_gauge_5m_local (T, MetricName, ServiceName, Host, Attributes, Cnt, Sum, Min, Max) "
        f"SELECT toStartOfFiveMinutes(now() - {ago} - 300 * number), '{metric}', 'otelcol-node-agent', '{host}', "
        f"CAST({attributes}, 'Map(LowCardinality(String), String)'), 1, {value}, {value}, {value} FROM numbers({count})"
    )


def log(body: str, service: str, host: str = "h1", ago: int = 5, severity: str = "", count: int = 1, **attributes: str) -> str:
    """Log records, one a second."""
    attribute_map = "map(" + ", ".join(f"'{key}', '{text}'" for key, text in attributes.items()) + ")" if attributes else "map()"
    return (
        "INSERT INTO otel.otel_logs_local (ResourceAttributes, ServiceName, SeverityText, Body, LogAttributes, Timestamp) "
        f"SELECT map('host.name', '{host}'), '{service}', '{severity}', '{body}', "
        f"CAST({attribute_map}, 'Map(LowCardinality(String), String)'), now64(9) - {ago} - number FROM numbers({count})"
    )


def spans(service: str, count: int, failed: str = "0", milliseconds: str = "10", ago: int = 5, apart: int = 1, kind: str = "Server") -> str:
    """Spans, the newest C(ago) seconds old; whether one failed, and how long it took, is SQL of its C(number)."""
    return (
        "INSERT INTO otel.otel_traces_local (ServiceName, SpanName, SpanKind, StatusCode, Duration, TraceId, Timestamp) "
        f"SELECT '{service}', 'GET /', '{kind}', if({failed}, 'Error', 'Unset'), toUInt64(1000000 * ({milliseconds})), toString(number), "
        f"now64(9) - {ago} - {apart} * number FROM numbers({count})"
    )


def copy_of(table: str, **columns: str) -> tuple[str, str]:
    """Replaces a system table of all replicas by its own rows with other values in some columns, one row without any rows."""
    values = ", ".join(f"{value} AS {column}" for column, value in columns.items())
    return (f"clusterAllReplicas('otel', system.{table})", f"(SELECT * REPLACE ({values}) FROM system.{table})")


def plain(name: str = "t", settings: str = "index_granularity = 8192") -> str:
    return f"CREATE TABLE otel.{name} (x UInt32) ENGINE = MergeTree ORDER BY x SETTINGS {settings}"


def replicated(name: str, replica: str) -> str:
    return f"CREATE TABLE otel.{name} (x UInt32) ENGINE = ReplicatedMergeTree('/test/{{database}}/t', '{replica}') ORDER BY x"


def read_only_replica(server: ClickHouse) -> None:
    """A replica whose entry in ZooKeeper is gone."""
    for number in "12":
        server.query(replicated(f"t{number}", number))
    server.query("DETACH TABLE otel.t2 SYNC")
    server.query("SYSTEM DROP REPLICA '2' FROM ZKPATH '/test/otel/t'")
    server.query("ATTACH TABLE otel.t2")
    until("read-only", lambda: server.query("SELECT is_readonly FROM system.replicas WHERE table = 't2'") == "1")


def missing_replica(server: ClickHouse) -> None:
    """A replica that ZooKeeper knows and no server has."""
    for number in "12":
        server.query(replicated(f"t{number}", number))
    server.query("DETACH TABLE otel.t2 SYNC")
    until("inactive", lambda: server.query("SELECT active_replicas FROM system.replicas WHERE table = 't1'") == "1", 30)


def broken_part(server: ClickHouse) -> None:
    """A part that is put aside, with the name that the server gives to one that it cannot read."""
    server.query(plain())
    server.query("INSERT INTO otel.t VALUES (1)")
    server.query("ALTER TABLE otel.t DETACH PART 'all_1_1_0'")
    path = Path(server.query("SELECT path FROM system.detached_parts"))
    path = path if path.is_absolute() else server.folder / "data" / path
    path.rename(path.with_name(f"broken_{path.name}"))


def failing_mutation(server: ClickHouse) -> None:
    server.query(plain())
    server.query("INSERT INTO otel.t VALUES (1)")
    server.query("ALTER TABLE otel.t DELETE WHERE throwIf(x = 1) SETTINGS mutations_sync = 0")
    until("fails", lambda: server.query("SELECT latest_fail_reason != '' FROM system.mutations") == "1")


def waiting_mutation(server: ClickHouse) -> None:
    server.query(plain())
    server.query("INSERT INTO otel.t VALUES (1)")
    server.query("SYSTEM STOP MERGES otel.t")
    server.query("ALTER TABLE otel.t DELETE WHERE x = 1 SETTINGS mutations_sync = 0")


def refused_insert(server: ClickHouse) -> None:
    """More parts than the table may have."""
    server.query(plain(settings="parts_to_throw_insert = 1, parts_to_delay_insert = 0"))
    server.query("SYSTEM STOP MERGES otel.t")
    server.query("INSERT INTO otel.t VALUES (1)")
    with pytest.raises(Exception, match="TOO_MANY_PARTS"):
        server.query("INSERT INTO otel.t VALUES (2)")


def snapshot(query: str) -> Callable[[ClickHouse], None]:
    """A view that is refreshed once, with rows of a query."""

    def make(server: ClickHouse) -> None:
        server.query("CREATE TABLE otel.product (x UInt32) ENGINE = MergeTree ORDER BY x")
        server.query(f"CREATE MATERIALIZED VIEW otel.snapshot REFRESH EVERY 4 WEEK TO otel.product AS {query}")
        ended = "status NOT IN ('Running', 'Scheduling') AND (last_success_time IS NOT NULL OR exception != '')"
        done = f"SELECT {ended} FROM system.view_refreshes"
        until("refreshed", lambda: server.query(done) == "1")

    return make


def many_parts(count: int) -> list[str]:
    """As many parts in one partition."""
    insert = f"INSERT INTO otel.t SELECT number FROM numbers({count})"
    return [
        plain(),
        "SYSTEM STOP MERGES otel.t",
        f"{insert} SETTINGS max_block_size = 1, min_insert_block_size_rows = 1, max_insert_threads = 1",
    ]


def inodes(used: int, free: int) -> list[str]:
    values = (("used", used), ("free", free))
    return [counter("system.filesystem.inodes.usage", value, mountpoint="/data", state=state) for state, value in values]


def mode(name: str) -> str:
    return f"map('mountpoint', '/data', 'mode', '{name}')"


def queue(size: int) -> list[str]:
    """A queue for logs of a gateway, with room for 100, and one that is empty."""
    values = (("logs", "size", size), ("logs", "capacity", 100), ("traces", "size", 0), ("traces", "capacity", 100))
    return [
        gauge(f"otelcol_exporter_queue_{what}", value, "g1", "otelcol-gateway", exporter="otlp_http/1", data_type=signal)
        for signal, what, value in values
    ]


def grafana_counter(metric: str, value: str, count: int = 3, **attributes: str) -> list[str]:
    """A counter of Grafana's, and one that always exists, of three scrapes."""
    return [
        counter("process_cpu_seconds_total", "9 - number", "gr1", "grafana", count=3),
        points("sum", metric, value, "gr1", "grafana", attributes, 5, count),
    ]


def late_rows(*inserts: str) -> list[str]:
    """Rows past their time, on a server that does not delete them."""
    return ["SYSTEM STOP TTL MERGES otel.otel_logs_local", *inserts]


HOST = "@host@"
UP, DOWN = 1, 0
H1 = {"host": "h1"}
AGENT = "otelcol-node-agent"
GATEWAY = {"host": "g1", "service": "otelcol-gateway"}
LOAD, DISK = "system.cpu.load_average.1m", "system.filesystem.utilization"
DATA = "map('mountpoint', '/data', 'mode', 'rw')"
REFUSAL = "3 refused logs of shard 1 are in /var/lib/otelcol/gateway/dead_letters/1.otlp: code: 395"
UPTIME, DROPPED, REFUSED = "otelcol_process_uptime", "otelcol_exporter_send_failed_log_records", "otelcol_receiver_refused_spans"
CASES = {
    "clickhouse-down": Case(
        State([gauge("up", UP, "ch1", "clickhouse"), gauge("up", "number >= 1", "ch2", "clickhouse", count=4)], firing=({"host": "ch2"},)),
        State([gauge("up", UP, "ch1", "clickhouse"), gauge("up", "number < 1", "ch2", "clickhouse", count=4)]),
    ),
    "clickhouse-replica-readonly": Case(State(read_only_replica, firing=({"host": HOST},)), State([replicated("t1", "1")])),
    "clickhouse-replica-behind": Case(
        State([replicated("t1", "1")], copy_of("replicas", absolute_delay="301"), firing=({"host": HOST},)),
        State([replicated("t1", "1")], copy_of("replicas", absolute_delay="300")),
    ),
    "clickhouse-replica-missing": Case(State(missing_replica, firing=({"shard": "1"},)), State([replicated("t1", "1")])),
    "clickhouse-parts": Case(State(many_parts(301), firing=({"host": HOST},)), State(many_parts(9))),
    "clickhouse-inserts-refused": Case(
        State(refused_insert, firing=({"host": HOST, "error": "TOO_MANY_PARTS"},)), State(refused_insert, later=400)
    ),
    "clickhouse-broken-parts": Case(
        State(broken_part, firing=({"host": HOST, "table": "otel.t"},)),
        State([plain(), "INSERT INTO otel.t VALUES (1)", "ALTER TABLE otel.t DETACH PART 'all_1_1_0'"]),
    ),
    "clickhouse-mutation-failing": Case(
        State(failing_mutation, firing=({"host": HOST, "table": "otel.t"},)), State(waiting_mutation), empty=True
    ),
    "clickhouse-mutation-stuck": Case(
        State(waiting_mutation, later=3700, firing=({"host": HOST, "table": "otel.t"},)), State(waiting_mutation, later=3500)
    ),
    "clickhouse-disk": Case(
        State((), copy_of("disks", unreserved_space="14", total_space="100"), firing=({"host": HOST, "disk": "default"},)),
        State((), copy_of("disks", unreserved_space="16", total_space="100")),
    ),
    "clickhouse-snapshot-failing": Case(
        State(snapshot("SELECT throwIf(1)::UInt32 AS x"), firing=({"host": HOST, "view": "otel.snapshot"},)),
        State(snapshot("SELECT 1::UInt32 AS x")),
    ),
    "clickhouse-snapshot-stale": Case(
        State(snapshot("SELECT 1::UInt32 AS x"), later=13 * WEEK + 60, firing=({"host": HOST, "view": "otel.snapshot"},)),
        State(snapshot("SELECT 1::UInt32 AS x"), later=11 * WEEK),
    ),
    "clickhouse-old-system-logs": Case(
        State(["CREATE TABLE system.query_log_0 (x UInt8) ENGINE = Memory"], firing=({"host": HOST},)),
        State(["DROP TABLE IF EXISTS system.query_log_0"]),
    ),
    "certificate-authority-expires": Case(
        State(firing=({"host": HOST, "authority": "/CN=test CA"},)),
        State(later=-40 * 86400),
    ),
    "zookeeper-down": Case(
        State([gauge("up", DOWN, "zk1", "zookeeper"), gauge("up", UP, "zk2", "zookeeper")], firing=({"host": "zk1"},)),
        State([gauge("up", UP, "zk1", "zookeeper"), gauge("up", UP, "zk2", "zookeeper")]),
    ),
    "zookeeper-no-leader": Case(
        State([gauge("up", UP, "zk1", "zookeeper"), gauge("synced_followers", 2, "zk2", "zookeeper", ago=200)], firing=({},)),
        State([gauge("up", UP, "zk1", "zookeeper"), gauge("synced_followers", 2, "zk2", "zookeeper", ago=100)]),
    ),
    "zookeeper-followers": Case(
        State([gauge("synced_followers", "1 + number", "zk2", "zookeeper", count=2)], firing=({},)),
        State([gauge("synced_followers", "2 - number", "zk2", "zookeeper", count=2)]),
    ),
    "zookeeper-requests": Case(
        State([gauge("outstanding_requests", 101, "zk1", "zookeeper", count=5)], firing=({"host": "zk1"},)),
        State([gauge("outstanding_requests", "if(number = 0, 400, 20)", "zk1", "zookeeper", count=5)]),
    ),
    "zookeeper-file-descriptors": Case(
        State(
            [gauge(f"{what}_file_descriptor_count", value, "zk1", "zookeeper") for what, value in (("open", 81), ("max", 100))],
            firing=({"host": "zk1"},),
        ),
        State([gauge(f"{what}_file_descriptor_count", value, "zk1", "zookeeper") for what, value in (("open", 80), ("max", 100))]),
    ),
    "zookeeper-transactions": Case(
        State((), copy_of("zookeeper_connection", last_zxid_seen="bitShiftLeft(7::Int64, 32) + 3900000000"), firing=({},)),
        State((), copy_of("zookeeper_connection", last_zxid_seen="bitShiftLeft(7::Int64, 32) + 3800000000")),
    ),
    "host-agent-silent": Case(
        State([rollup(LOAD, "1", 1300, 3), rollup(LOAD, "1", 5, 3, "h2")], firing=({"host": "h1"},)),
        # A host that is not in the inventory any more does not count.
        State([rollup(LOAD, "1", 200, 3), rollup(LOAD, "1", 1300, 3, "removed")]),
    ),
    "host-agent-missing": Case(
        State([rollup(LOAD, "1", 5, 1)], firing=({"host": "h2"},)),
        State([rollup(LOAD, "1", 5, 1), rollup(LOAD, "1", 80000, 1, "h2")]),
    ),
    "host-cpu": Case(
        State([gauge("system.cpu.utilization", "0.04 * number", cpu=cpu, state="idle", count=2) for cpu in ("cpu0", "cpu1")], firing=(H1,)),
        State([gauge("system.cpu.utilization", idle, cpu=cpu, state="idle", count=9) for cpu, idle in (("cpu0", 0), ("cpu1", 0.2))]),
    ),
    "host-memory": Case(
        State([gauge("system.memory.utilization", 0.91, state="used")], firing=(H1,)),
        State([gauge("system.memory.utilization", 0.89, state="used"), gauge("system.memory.utilization", 0.95, state="cached")]),
    ),
    "host-swap": Case(
        State([gauge("system.paging.utilization", 0.81, device="/dev/sdb", state="used")], firing=({**H1, "device": "/dev/sdb"},)),
        State([gauge("system.paging.utilization", 0.79, device="/dev/sdb", state="used")]),
    ),
    "host-disk": Case(
        State(
            [gauge(DISK, 0.91, mountpoint="/data"), gauge(DISK, 0.5, mountpoint="/")],
            firing=({**H1, "mountpoint": "/data"},),
        ),
        State([gauge(DISK, "if(number = 0, 0.89, 0.99)", mountpoint="/data", count=5)]),
    ),
    "host-disk-forecast": Case(
        # One percent in an hour: 24 more in a day.
        State([rollup(DISK, "0.80 - 0.01 * number / 12", 5, 70, attributes=DATA)], firing=({**H1, "mountpoint": "/data"},)),
        State([rollup(DISK, "0.70 - 0.01 * number / 12", 5, 70, attributes=DATA)]),
    ),
    "host-inodes": Case(
        State(inodes(91, 9), firing=({**H1, "mountpoint": "/data"},)),
        State(inodes(90, 10)),
    ),
    "host-filesystem-readonly": Case(
        State(
            [rollup(DISK, "0.5", 900, 3, attributes=mode("rw")), rollup(DISK, "0.5", 5, 1, attributes=mode("ro"))],
            firing=({**H1, "mountpoint": "/data"},),
        ),
        # A file system that was never writable, such as that of an installation medium.
        State([rollup(DISK, "0.5", 5, 3, attributes=mode("ro")), rollup(DISK, "0.5", 5, 3, "h2", attributes=mode("rw"))]),
    ),
    "host-network-errors": Case(
        # The counter starts again at 0 after a restart.
        State(
            [
                counter(
                    "system.network.errors",
                    "if(number < 2, 51 - 51 * number, 900 - 51 * (number - 2))",
                    device="eth0",
                    direction="receive",
                    count=4,
                )
            ],
            firing=({**H1, "device": "eth0"},),
        ),
        State(
            [
                counter(
                    "system.network.errors",
                    "if(number < 2, 50 - 50 * number, 900 - 50 * (number - 2))",
                    device="eth0",
                    direction="receive",
                    count=4,
                )
            ]
        ),
    ),
    "host-clock": Case(
        State(
            [gauge(LOAD, 1, "h1", ago=-90), points("gauge", LOAD, "1", "h2", AGENT, {"clock.skew": "true"}, 5, 1), gauge(LOAD, 1, "h3")],
            firing=({"host": "h2"}, H1),
        ),
        State([gauge(LOAD, 1, "h1", ago=-50), gauge(LOAD, 1, "h2", ago=200)]),
    ),
    "host-oom": Case(
        State([log("Out of memory: Killed process 812 (shop) total-vm:2048kB", "kernel")], firing=(H1,)),
        State([log("usb 1-1: new device", "kernel"), log("Out of memory: Killed process 812", "shop")]),
    ),
    "host-storage-errors": Case(
        State([log("blk_update_request: I/O error, dev sda, sector 4711", "kernel")], firing=(H1,)),
        State([log("sd 0:0:0:0: [sda] Attached SCSI disk", "kernel")]),
    ),
    "host-unit-failed": Case(
        State([log("shop.service: Failed with result \\'exit-code\\'.", "systemd")], firing=({**H1, "unit": "shop.service"},)),
        State([log("shop.service: Deactivated successfully.", "systemd")]),
        empty=True,
    ),
    "telemetry-retention": Case(
        State(
            late_rows(log("old", "shop", ago=13 * DAY + 3600), log("noise", "debugger", ago=10 * DAY)),
            firing=(
                {"host": HOST, "table": "otel_logs_local", "volume": "default", "rule": "all rows"},
                {"host": HOST, "table": "otel_logs_local", "volume": "all volumes", "rule": DEBUGGER["where"]},
            ),
        ),
        State(late_rows(log("old", "shop", ago=12 * DAY), log("noise", "debugger", ago=4 * DAY))),
    ),
    "heartbeat": Case(State([gauge("up", UP)], firing=({},)), State([gauge("up", UP, ago=400)])),
    "telemetry-metrics-stale": Case(State([gauge("up", UP, ago=310)], firing=({},)), State([gauge("up", UP, ago=290)])),
    "telemetry-stale": Case(
        State([log("hello", "shop", ago=1000), spans("shop", 1, ago=100)], firing=({"signal": "logs"},)),
        State([log("hello", "shop", ago=700), spans("shop", 1, ago=700)]),
    ),
    "collector-down": Case(
        State([gauge("up", DOWN, "g1", "otelcol-gateway"), gauge("up", UP, "g1")], firing=({"host": "g1", "service": "otelcol-gateway"},)),
        State([gauge("up", "number < 1", "g1", "otelcol-gateway", count=3), gauge("up", DOWN, "db1", "shop")]),
    ),
    "collector-queue": Case(State(queue(81), firing=({**GATEWAY, "exporter": "otlp_http/1", "signal": "logs"},)), State(queue(79))),
    "collector-drops": Case(
        # The counter does not exist before the first record is dropped, and does not grow afterwards.
        State(
            [counter(UPTIME, "600 - number", count=10), counter(DROPPED, 7, exporter="otlp_grpc", count=2)],
            firing=({**H1, "service": AGENT},),
        ),
        # After a gap in the metrics nobody knows when the records were dropped.
        State([counter(UPTIME, "600 - number", count=2), counter(DROPPED, 7, exporter="otlp_grpc", count=2)]),
    ),
    "collector-refuses": Case(
        State(
            [
                counter(UPTIME, 600, "g1", "otelcol-gateway"),
                counter(REFUSED, "2 - number", "g1", "otelcol-gateway", receiver="otlp", count=2),
            ],
            firing=({**GATEWAY},),
        ),
        State([counter(UPTIME, 600, "g1", "otelcol-gateway"), counter(REFUSED, 2, "g1", "otelcol-gateway", receiver="otlp", count=2)]),
    ),
    "gateway-dead-letters": Case(
        State([log(REFUSAL, "otelcol-gateway-relay", "g1")], firing=({"host": "g1"},)),
        State([log("serving", "otelcol-gateway-relay", "g1"), log(REFUSAL, "shop", "g2")]),
    ),
    "grafana-down": Case(
        State([gauge("up", DOWN, "gr1", "grafana"), gauge("up", UP, "gr2", "grafana")], firing=({"host": "gr1"},)),
        State([gauge("up", UP, "gr1", "grafana"), gauge("up", UP, "gr2", "grafana")]),
    ),
    "grafana-rules-failing": Case(
        State([*grafana_counter("grafana_alerting_rule_evaluation_failures_total", "5 - number")], firing=({"host": "gr1"},)),
        State([*grafana_counter("grafana_alerting_rule_evaluation_failures_total", "5")]),
    ),
    "grafana-notifications-failing": Case(
        State(
            [*grafana_counter("grafana_alerting_notifications_failed_total", "1", count=1, integration="slack")],
            firing=({"host": "gr1", "integration": "slack"},),
        ),
        State([*grafana_counter("grafana_alerting_notifications_failed_total", "1", count=3, integration="slack")]),
    ),
    "certificate-expires": Case(
        State(later=1900000000 - 20 * 86400 - int(time.time()), firing=({"host": "h1"},)),
        State(later=1900000000 - 22 * 86400 - int(time.time())),
    ),
    "service-errors": Case(
        State([spans("shop", 100, "number < 6"), spans("rare", 10, "1")], firing=({"service": "shop"},)),
        State([spans("shop", 100, "number < 5"), spans("shop", 50, "1", kind="Client")]),
    ),
    "service-latency": Case(
        State([spans("shop", 100, milliseconds="if(number < 10, 2000, 10)")], firing=({"service": "shop"},)),
        State([spans("shop", 100, milliseconds="if(number < 3, 2000, 10)")]),
    ),
    "service-slo-fast": Case(
        State([spans("shop", 1000, "number % 50 = 0", apart=3)], firing=({"service": "shop"},)),
        # The fault is over, or has just begun.
        State([spans("shop", 1000, "number > 500", apart=3), spans("new", 1000, "number < 10", apart=3)]),
    ),
    "service-slo-slow": Case(
        State([spans("shop", 1000, "number % 125 = 0", apart=20)], firing=({"service": "shop"},)),
        State([spans("shop", 1000, "number > 500 AND number % 10 = 0", apart=20)]),
    ),
    "service-error-logs": Case(
        State(
            [log("no", "shop", severity="ERROR", count=60, ago=60), log("no", "shop", severity="error", count=50, ago=1000)],
            firing=({"service": "shop"},),
        ),
        State([log("no", "shop", severity="ERROR", count=60, ago=60), log("no", "shop", severity="ERROR", count=200, ago=1000)]),
    ),
    "service-silent": Case(
        State([spans("shop", 500, apart=60, ago=1000), spans("nightly", 100, apart=60, ago=1000)], firing=({"service": "shop"},)),
        State([spans("shop", 500, apart=60, ago=700)]),
    ),
}


def run(server: ClickHouse, uid: str, state: State, ask: Callable[[str], str] | None = None) -> list[Any]:
    """Make a state, and evaluate the rule."""
    moment = datetime.now(UTC).replace(microsecond=0)
    for statement in () if callable(state.make) else state.make:
        # All rows of a state are made at one moment, as those of one scrape are.
        seconds = int(moment.timestamp())
        server.query(statement.replace("now()", f"toDateTime({seconds})").replace("now64(9)", f"toDateTime64({seconds}, 9)"))
    if callable(state.make):
        state.make(server)
        moment = datetime.now(UTC)

    def query(text: str) -> str:
        if state.replaced:
            assert state.replaced[0] in text
            text = text.replace(*state.replaced)
        return server.query(text, user="grafana", database="otel", default_format="JSONCompact", max_execution_time=60)

    return evaluate(RULES[uid], ask or query, moment + timedelta(seconds=state.later))


def labels_of(server: ClickHouse, wanted: dict[str, str]) -> dict[str, str]:
    return {name: server.query("SELECT hostName()") if value == HOST else value for name, value in wanted.items()}


@pytest.mark.parametrize("uid", CASES)
def test_fires(cluster: ClickHouse, uid: str) -> None:
    found = run(cluster, uid, CASES[uid].fires)
    firing = [instance.labels for instance in found if instance.firing]
    wanted = [labels_of(cluster, labels) for labels in CASES[uid].fires.firing]
    assert sorted(firing, key=str) == sorted(wanted, key=str), found


@pytest.mark.parametrize("uid", CASES)
def test_does_not_fire(cluster: ClickHouse, uid: str) -> None:
    found = run(cluster, uid, CASES[uid].quiet)
    assert [instance for instance in found if instance.firing] == []
    assert CASES[uid].empty or any(math.isfinite(instance.value) for instance in found), "no row says nothing"


@pytest.mark.parametrize("uid", EVERY_SHARD)
def test_keeps_its_state_while_a_shard_does_not_answer(empty: ClickHouse, uid: str) -> None:
    with pytest.raises(RuleError, match="ALL_CONNECTION_TRIES_FAILED"):
        run(empty, uid, State())


def test_unreachable_clickhouse(server: ClickHouse) -> None:
    """The only rule that fires because a query fails. The other rules do not."""
    uid = "clickhouse-unreachable"
    assert [instance.firing for instance in run(server, uid, State())] == [False]
    refused = run(server, uid, State(), lambda text: server.query(text, user="grafana", password="of another time"))
    assert [instance.firing for instance in refused] == [True]
    assert [name for name, rule in RULES.items() if rule["execErrState"] == "Alerting"] == [uid]


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_queries_of_runbooks(server: ClickHouse, page: Path) -> None:
    """Each query that a runbook shows runs on this version."""
    for query in re.findall(r'^\$ ask "(SELECT .*)"$', page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        server.query(f"EXPLAIN {query}", database="otel")


class Collector(Daemon):
    """The real collector with what role otel_collector lets a node agent read.

    It also scrapes itself, ZooKeeper and a server that is not there. It writes to ClickHouse, and to a collector that is not there.
    """

    def __init__(self, server: ClickHouse, zookeeper_metrics: int) -> None:
        super().__init__()
        self.port, own, nobody = free_ports(3)
        self.log_file = self.folder / "syslog"
        self.log_file.touch()
        jobs = {"otelcol-node-agent": ("real", own), "zookeeper": ("zk1", zookeeper_metrics), "clickhouse": ("ch1", nobody)}
        hosts, logs = "__otel_collector_node_agent_receivers.hostmetrics", "__otel_collector_node_agent_log_receivers.file_log"
        receivers = rendered("otel_collector", f"{{'hostmetrics': {hosts}, 'file_log': {logs}}}", otel_collector_mode="node_agent")
        receivers["hostmetrics"]["collection_interval"] = "1s"
        receivers["hostmetrics"]["scrapers"]["filesystem"] = {"metrics": {"system.filesystem.utilization": {"enabled": True}}}
        receivers["file_log"] |= {"include": [str(self.log_file)], "start_at": "beginning", "poll_interval": "200ms", "storage": None}
        insert = {"endpoint": f"tcp://127.0.0.1:{server.tcp_port}", "database": "otel", "create_schema": False}
        tables = ("gauge", "sum", "summary", "histogram", "exponential_histogram")
        insert |= {"logs_table_name": "otel_logs_local"}
        insert |= {"metrics_tables": {kind: {"name": f"otel_metrics_{kind}_local"} for kind in tables}}
        away = {"endpoint": f"127.0.0.1:{nobody}", "tls": {"insecure": True}, "sending_queue": {"queue_size": 2}}
        away |= {"retry_on_failure": {"initial_interval": "1s", "max_interval": "1s", "max_elapsed_time": "1s"}}
        reader = {"host": "127.0.0.1", "port": own, "without_scope_info": True, "without_type_suffix": True, "without_units": True}
        scrapes = [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {"instance": host}}]}
            for job, (host, port) in jobs.items()
        ]
        host = [{"key": "host.name", "value": "real", "action": "insert"}]
        target = [{"key": "host.name", "from_attribute": "service.instance.id", "action": "insert"}]
        config = {
            "receivers": {
                "hostmetrics": receivers["hostmetrics"],
                "file_log": receivers["file_log"],
                "prometheus": {"config": {"global": {"scrape_interval": "2s"}, "scrape_configs": scrapes}},
            },
            "processors": {"resource/host": {"attributes": host}, "resource/target": {"attributes": target}},
            "exporters": {"clickhouse": insert, "otlp_grpc": away},
            "extensions": {"health_check": {"endpoint": f"127.0.0.1:{self.port}"}},
            "service": {
                "extensions": ["health_check"],
                "telemetry": {"metrics": {"level": "normal", "readers": [{"pull": {"exporter": {"prometheus": reader}}}]}},
                "pipelines": {
                    "metrics/host": {
                        "receivers": ["hostmetrics"],
                        "processors": ["resource/host"],
                        "exporters": ["clickhouse", "otlp_grpc"],
                    },
                    "metrics/target": {"receivers": ["prometheus"], "processors": ["resource/target"], "exporters": ["clickhouse"]},
                    "logs": {"receivers": ["file_log"], "processors": ["resource/host"], "exporters": ["clickhouse"]},
                },
            },
        }
        (self.folder / "config.json").write_text(json.dumps(config), encoding="utf-8")

    def argv(self) -> list[str | Path]:
        return [otelcol.program(), f"--config={self.folder}/config.json"]

    def ready(self) -> bool:
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=1).status == 200
        except OSError:
            return False


DOWN_OR_UP = ("clickhouse-down", "zookeeper-down", "collector-down")
# Lines as rsyslog writes them, and the alert that fires because of each.
LINES = {
    "kernel: [ 4711.1] Out of memory: Killed process 812 (shop) total-vm:2048kB": "host-oom",
    "kernel: [ 4711.2] blk_update_request: I/O error, dev sda, sector 4711": "host-storage-errors",
    "systemd[1]: shop.service: Failed with result 'exit-code'.": "host-unit-failed",
    f"otelcol-gateway-relay[813]: {REFUSAL}": "gateway-dead-letters",
}
# Alerts that find nothing wrong with this machine and with the servers of the test, or do: that is not what is tested.
WITH_ROWS = (
    *("host-cpu", "host-memory", "host-disk", "host-inodes", "host-network-errors", "host-clock", "host-filesystem-readonly"),
    *("heartbeat", "telemetry-metrics-stale", "collector-queue", "collector-refuses"),
    *("zookeeper-requests", "zookeeper-file-descriptors"),
)


def test_telemetry_of_a_real_collector(empty: ClickHouse, zookeeper_metrics: int) -> None:
    """Names and attributes are those that the collector, ZooKeeper and rsyslog use."""
    now = datetime.now(UTC)
    with Collector(empty, zookeeper_metrics) as collector:
        with collector.log_file.open("a", encoding="utf-8") as file:
            file.writelines(f"{now:%Y-%m-%dT%H:%M:%S.%f}+00:00 real {line}\n" for line in LINES)
        failed = "SELECT count() > 1 FROM otel.otel_metrics_sum_local WHERE MetricName = 'otelcol_exporter_send_failed_metric_points'"
        until("failures to send", lambda: empty.query(failed) == "1", 60)
        known = "SELECT count() > 0 FROM otel.otel_metrics_gauge_local WHERE MetricName = 'outstanding_requests'"
        until("ZooKeeper", lambda: empty.query(known) == "1", 60)
        until("logs", lambda: empty.query("SELECT count() FROM otel.otel_logs_local") == str(len(LINES)), 30)
    found = {uid: run(empty, uid, State()) for uid in (*WITH_ROWS, *LINES.values(), "collector-drops", *DOWN_OR_UP)}
    assert {uid: instances for uid, instances in found.items() if not any(math.isfinite(instance.value) for instance in instances)} == {}
    firing = {uid: [instance.labels for instance in instances if instance.firing] for uid, instances in found.items()}
    assert {uid: firing[uid] for uid in LINES.values()} == {
        "host-oom": [{"host": "real"}],
        "host-storage-errors": [{"host": "real"}],
        "host-unit-failed": [{"host": "real", "unit": "shop.service"}],
        "gateway-dead-letters": [{"host": "real"}],
    }
    assert {uid: firing[uid] for uid in DOWN_OR_UP} == {"clickhouse-down": [{"host": "ch1"}], "zookeeper-down": [], "collector-down": []}
    assert firing["collector-drops"] == [{"host": "real", "service": AGENT}]
    assert firing["heartbeat"] == [{}] and firing["telemetry-metrics-stale"] == []


def test_every_alert_has_a_case() -> None:
    assert set(CASES) | {"clickhouse-unreachable"} == set(RULES)


def test_values_are_json() -> None:
    """What the role writes is data that Grafana reads back unchanged."""
    assert json.loads(json.dumps(RULES)) == RULES
