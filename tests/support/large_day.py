# GNU General Public License v3.0+ (see LICENSE)
"""A database with a whole day of telemetry in merged parts, for what queries read of it.

Its granules have 64 rows instead of 8192: 100,000 rows have as many granules as 12.8 million rows of a platform. Roll-ups are empty.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from tests.support.clickhouse import ClickHouse
from tests.support.platform import CLUSTER, DATABASE, Platform

NAME = "large"
GRANULE = 64
# Yesterday, which no TTL removes yet.
BEGIN = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
TIME = f"toDateTime64({int(BEGIN.timestamp())}, 9) + toIntervalMillisecond(number * 864)"
RESOURCE = "map('host.name', concat('host-', toString(number % 20)), 'service.instance.id', 'one')"
# A service and a host of it.
CHOSEN = {"service": ["service-1"], "host": ["host-1"]}
SERVICE = "concat('service-', toString(number % 17))"
# Names of metrics with the service that sends them.
GAUGES = {
    **dict.fromkeys(("system.cpu.utilization", "system.memory.utilization", "system.filesystem.utilization"), ""),
    **dict.fromkeys(("up", "otelcol_exporter_queue_size", "otelcol_process_memory_rss"), "otelcol-gateway"),
    **dict.fromkeys(("znode_count", "avg_latency"), "zookeeper"),
}
SUMS = {
    **dict.fromkeys(("system.network.io", "system.disk.io", "system.disk.io_time", "system.processes.count"), ""),
    **dict.fromkeys(("otelcol_receiver_accepted_spans", "otelcol_exporter_sent_spans"), "otelcol-gateway"),
}


class Reader(Platform):
    """Reads it as an administrator: the user of Grafana may not."""

    def query(self, sql: str, query_id: str = "") -> str:
        """Run one statement."""
        return self.clickhouse.query(sql, query_id=query_id)


def rows() -> list[str]:
    """The INSERT statements."""
    made = [
        f"""INSERT INTO {NAME}.otel_logs_local (Timestamp, TraceId, ServiceName, SeverityText, SeverityNumber, Body, ResourceAttributes)
        SELECT {TIME}, hex(sipHash128(number)), {SERVICE}, if(number % 50 = 0, 'ERROR', 'INFO'), 9, concat('request ', toString(number)),
          {RESOURCE}
        FROM numbers(100000)""",
        f"""INSERT INTO {NAME}.otel_traces_local
        (Timestamp, TraceId, SpanId, ServiceName, SpanName, SpanKind, StatusCode, Duration, ResourceAttributes)
        SELECT {TIME}, hex(sipHash128(number)), hex(number), {SERVICE}, concat('GET /', toString(number % 30)), 'Server',
          if(number % 50 = 0, 'Error', 'Unset'), 1000000 + number, {RESOURCE}
        FROM numbers(100000)""",
    ]
    for table, metrics, columns, values in (
        ("gauge", GAUGES, "Value", "number % 100 / 100"),
        ("sum", SUMS, "Value, AggregationTemporality, IsMonotonic", "number, 2, true"),
    ):
        for name, service in metrics.items():
            made.append(
                f"""INSERT INTO {NAME}.otel_metrics_{table}_local
                (TimeUnix, MetricName, ServiceName, ResourceAttributes, Attributes, {columns})
                SELECT {TIME.replace("864", "4320")}, '{name}', '{service}', {RESOURCE}, map('state', 'idle', 'device', 'vda'), {values}
                FROM numbers(20000)"""
            )
    return made


def create(server: ClickHouse) -> dict[str, int]:
    """Make it with the definitions that the role has given the tests' platform; the granules of each raw table."""
    server.query(f"CREATE DATABASE {NAME}")
    views = "('otel_traces_trace_id_ts_mv', 'retention')"
    wanted = f"database = '{DATABASE}' AND (engine LIKE '%MergeTree' OR engine = 'Distributed' OR name IN {views})"
    order = "ORDER BY engine = 'Distributed', engine = 'MaterializedView'"
    found = server.query(f"SELECT create_table_query FROM system.tables WHERE {wanted} AND name NOT LIKE '.inner%' {order} FORMAT TSVRaw")
    for text in found.splitlines():
        server.query(definition(text))
    for statement in rows():
        server.query(statement)
    filled = server.query(f"SELECT DISTINCT table FROM system.parts WHERE active AND database = '{NAME}'").split()
    for table in filled:
        server.query(f"OPTIMIZE TABLE {NAME}.{table} FINAL")
    marks = f"SELECT table, sum(marks) FROM system.parts WHERE active AND database = '{NAME}' GROUP BY table"
    return {table: int(count) for table, count in (line.split("\t") for line in server.query(marks).splitlines())}


def definition(text: str) -> str:
    """A table's definition for this database: not replicated, with small granules."""
    text = re.sub(r"ENGINE = Replicated(\w*MergeTree)\('[^']*', '[^']*'(?:, )?\)?", r"ENGINE = \1 ", text)
    text = re.sub(r" SETTINGS (?!\().*", f" SETTINGS index_granularity = {GRANULE}", text)
    text = text.replace(f"Distributed('{CLUSTER}', '{DATABASE}'", f"Distributed('{CLUSTER}', '{NAME}'")
    return re.sub(rf"\b{DATABASE}\.", f"{NAME}.", text)
