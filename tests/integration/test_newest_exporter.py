# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The newest exporter: its own tables beside those of the version that the role installs, and what it writes into the tables of the role.

`make soak` runs this: the newer collector takes long to compile.
"""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tests.integration.test_clickhouse_copy import CLUSTER, KINDS, OURS, checksum, migrate
from tests.integration.test_telemetry_schema import ROWS
from tests.support import otelcol, telemetry_load, telemetry_rows, telemetry_tables
from tests.support.clickhouse import ClickHouse, until

pytestmark = [pytest.mark.integration, pytest.mark.soak]

RECORDS = 3000
# The exporters' own tables, by database: of the role's default version, and of the newest.
FORMER, NEWEST = "former", "newest"


@pytest.fixture(scope="module")
def both(server: ClickHouse) -> ClickHouse:
    """The server with the same rows in the tables of both exporters, and our tables empty."""
    for database, program in ((FORMER, otelcol.program()), (NEWEST, otelcol.newest_exporter())):
        server.query(f"CREATE DATABASE {database}")
        telemetry_tables.create_stock(server, database, program)
        for statement in telemetry_rows.inserts(database, "", RECORDS):
            server.query(statement)
        for table in KINDS:
            names = ", ".join(f"`{column}`" for column in ROWS[table])
            server.query(f"INSERT INTO {database}.{table} ({names}) FORMAT JSONEachRow", json.dumps(ROWS[table]))
    telemetry_tables.create_ours(server, CLUSTER)
    return server


def columns(server: ClickHouse, name: str) -> dict[str, str]:
    """Column of a table -> its type."""
    found = server.query(f"SELECT name, type FROM system.columns WHERE database || '.' || table = '{name}' FORMAT TSVRaw")
    return dict(line.split("\t") for line in found.splitlines())


def test_the_exporters_tables_differ(both: ClickHouse) -> None:
    """In what the change of 0.151 and those after it were about."""
    former, newest = (columns(both, f"{database}.otel_logs") for database in (FORMER, NEWEST))
    assert "TimestampTime" in former and "TimestampTime" not in newest
    assert "__otel_materialized_k8s.pod.name" not in former and "__otel_materialized_k8s.pod.name" in newest
    times = [columns(both, f"{database}.otel_metrics_gauge")["TimeUnix"] for database in (FORMER, NEWEST)]
    assert times == ["DateTime64(9)", "DateTime"]
    keys = [
        both.query(f"SELECT sorting_key FROM system.tables WHERE database = '{database}' AND name = 'otel_metrics_sum'")
        for database in (FORMER, NEWEST)
    ]
    assert "toUnixTimestamp64Nano" in keys[0] and "cityHash64(Attributes)" in keys[1]


def test_rows_of_both_are_moved(both: ClickHouse) -> None:
    """Into the same tables, each once; a second run only removes the tables."""
    rows = {table: entry[0] for table, entry in telemetry_rows.tables(RECORDS).items()} | dict.fromkeys(KINDS, 1)
    for database in (FORMER, NEWEST):
        assert migrate(both, telemetry_schema_stock_database=database)[0] == 1
    for table, count in rows.items():
        sources = [[int(value) for value in checksum(both, f"{database}.{table}", table).split("\t")] for database in (FORMER, NEWEST)]
        assert [source[0] for source in sources] == [count, count]
        moved = [int(value) for value in checksum(both, f"{OURS}.{table}_local", table).split("\t")]
        assert moved == [2 * count, sum(source[1] for source in sources) % 2**64]
    assert both.query(f"SELECT sum(Rows) FROM {OURS}.logs_volume_1m") == str(2 * RECORDS)
    assert both.query(f"SELECT sum(Calls) FROM {OURS}.traces_red_1m") == str(2 * RECORDS)
    for database in (FORMER, NEWEST):
        assert migrate(both, telemetry_schema_stock_database=database, telemetry_schema_stock_remove=True)[0] == 1
        assert both.query(f"SELECT count() FROM system.tables WHERE database = '{database}'") == "0"


def five_kinds(run: str) -> ExportMetricsServiceRequest:
    """One point of each kind of metric."""
    message = telemetry_load.request("metrics", run, "app", 0, 1)
    metrics = message.resource_metrics[0].scope_metrics[0].metrics
    when = metrics[0].gauge.data_points[0].time_unix_nano
    total = metrics.add(name="load.sum").sum
    total.aggregation_temporality = 2
    total.data_points.add(time_unix_nano=when, as_double=4.0)
    spread = metrics.add(name="load.histogram").histogram
    spread.aggregation_temporality = 2
    spread.data_points.add(time_unix_nano=when, count=3, sum=12.0, bucket_counts=[1, 2], explicit_bounds=[5.0])
    finer = metrics.add(name="load.exponential").exponential_histogram
    finer.aggregation_temporality = 2
    finer.data_points.add(time_unix_nano=when, count=3, sum=12.0, scale=2)
    metrics.add(name="load.summary").summary.data_points.add(time_unix_nano=when, count=3, sum=12.0)
    assert isinstance(message, ExportMetricsServiceRequest)
    return message


def test_newest_exporter_writes_into_our_tables(both: ClickHouse) -> None:
    """All signals, and all kinds of metrics."""
    run, names = "newest", ("gauge", "sum", "histogram", "exponential_histogram", "summary")
    requests = {"logs": telemetry_load.request("logs", run, "app", 0, 20), "traces": telemetry_load.request("traces", run, "app", 0, 20)}
    with (
        telemetry_tables.exporting(both, OURS, otelcol.newest_exporter(), create_schema=False) as address,
        grpc.insecure_channel(address) as channel,
    ):
        for signal, message in {**requests, "metrics": five_kinds(run)}.items():
            stub: Any = telemetry_load.SERVICES[signal](channel)
            stub.Export(message, timeout=60, wait_for_ready=True)
        tables = {"otel_logs": 20, "otel_traces": 20, **{f"otel_metrics_{name}": 1 for name in names}}
        queries = [f"SELECT count() FROM {OURS}.{table} WHERE ServiceName = 'load-{run}'" for table in tables]
        until("rows in all tables", lambda: [int(both.query(query)) for query in queries] == list(tables.values()), 60)
