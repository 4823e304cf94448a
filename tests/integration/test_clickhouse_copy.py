# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tables that the collector's exporter makes, copied into ours by playbooks/migrate_stock_schema.yml and by its module alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouse as Client
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.table_copy import HIGHEST, TableCopy

from tests.integration.test_telemetry_schema import ROWS
from tests.support import telemetry_rows, telemetry_tables
from tests.support.clickhouse import ClickHouse
from tests.support.collector_files import CHECKOUT

pytestmark = pytest.mark.integration

CLUSTER, STOCK, OURS = "one", "stock", "otel"
LOG = "<part_log><database>system</database><table>part_log</table></part_log>"
SERVER = {"config": LOG, "cluster": CLUSTER}
# Logs, and spans; `make soak` sets more.
RECORDS = int(os.environ.get("GROUNDWORK_COPIED", "3000"))
# Tables that get a row each beside the generated ones.
KINDS = ("otel_metrics_histogram", "otel_metrics_exponential_histogram", "otel_metrics_summary")
PLAYS = [{"import_playbook": str(CHECKOUT / "playbooks" / "migrate_stock_schema.yml")}]


@pytest.fixture(scope="module")
def stock(server: ClickHouse) -> ClickHouse:
    """The server with rows in the exporter's own tables, and our tables empty."""
    server.statement_seconds = 600
    server.query(f"CREATE DATABASE {STOCK}")
    telemetry_tables.create_stock(server, STOCK)
    telemetry_tables.create_ours(server, CLUSTER)
    for statement in telemetry_rows.inserts(STOCK, "", RECORDS):
        server.query(statement)
    for table in KINDS:
        names = ", ".join(f"`{column}`" for column in ROWS[table])
        server.query(f"INSERT INTO {STOCK}.{table} ({names}) FORMAT JSONEachRow", json.dumps(ROWS[table]))
    return server


def migrate(server: ClickHouse, *arguments: str, **variables: Any) -> tuple[int, str]:
    """Run the playbook; tasks that changed something, and what it said."""
    given = {"telemetry_schema_cluster": CLUSTER, "telemetry_schema_stock_database": STOCK, **variables}
    done = telemetry_tables.play(server, PLAYS, *arguments, **given)
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.rsplit("changed=", 1)[1].split()[0]), done.stdout


def checksum(server: ClickHouse, name: str, table: str) -> str:
    """Rows of a table, and the sum of their hashes over all columns, as our table of a signal has them."""
    wanted = f"SELECT name, type FROM system.columns WHERE database = '{OURS}' AND table = '{table}_local' AND default_kind = ''"
    columns = [line.split("\t") for line in server.query(f"{wanted} FORMAT TSVRaw").splitlines()]
    casts = ", ".join(f"CAST(`{column}`, $${kind}$$)" for column, kind in columns)
    return server.query(f"SELECT count(), sum(cityHash64({casts})) FROM {name}")


def test_the_playbook_moves_every_row(stock: ClickHouse) -> None:
    """Check mode says so and writes nothing."""
    tables = f"SELECT count(), sum(total_rows) FROM system.tables WHERE database = '{OURS}'"
    before = stock.query(tables)
    moved = (*telemetry_rows.tables(RECORDS), *KINDS)
    assert migrate(stock, "--check")[0] == len(moved)
    assert stock.query(tables) == before
    assert migrate(stock)[0] == len(moved)
    for table in moved:
        copied = checksum(stock, f"{OURS}.{table}_local", table)
        assert int(copied.split("\t")[0]) >= (1 if table in KINDS else RECORDS)
        assert copied == checksum(stock, f"{STOCK}.{table}", table)
    rolled = stock.query(f"SELECT sum(Rows) FROM {OURS}.logs_volume_1m"), stock.query(f"SELECT sum(Calls) FROM {OURS}.traces_red_1m")
    assert rolled == (str(RECORDS), str(RECORDS))


def run_module(server: ClickHouse, source: str, target: str, rows: int, time_column: str = "Timestamp") -> subprocess.Popen[str]:
    """Start the module as a process of its own."""
    module = "ansible_collections.groundwork.observability.plugins.modules.clickhouse_copy"
    given = {"login_host": server.host, "login_port": server.port, "secure": False, "retries": 0}
    arguments = {"ANSIBLE_MODULE_ARGS": {**given, "source": source, "target": target, "time_column": time_column, "rows": rows}}
    return subprocess.Popen(
        [sys.executable, "-m", module, json.dumps(arguments)],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / ".collections")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What the module returned."""
    said, errors = process.communicate(timeout=600)
    assert said.strip(), errors
    returned: dict[str, Any] = json.loads(said)
    return returned


def ranges(server: ClickHouse) -> int:
    """How many ranges were begun."""
    if server.query(f"EXISTS TABLE {OURS}.copied_ranges") == "0":
        return 0
    return int(server.query(f"SELECT uniqExact(begin) FROM {OURS}.copied_ranges WHERE target LIKE '%killed'"))


@pytest.fixture
def killed(stock: ClickHouse) -> Iterator[str]:
    """A further table as our logs are, empty, with a view over it that counts rows."""
    stock.query(f"CREATE TABLE {OURS}.killed AS {OURS}.otel_logs_local")
    window = "SETTINGS non_replicated_deduplication_window = 2000"
    stock.query(f"CREATE TABLE {OURS}.counted (Rows UInt64) ENGINE = MergeTree ORDER BY () {window}")
    stock.query(f"CREATE MATERIALIZED VIEW {OURS}.counted_mv TO {OURS}.counted AS SELECT count() AS Rows FROM {OURS}.killed")
    yield f"{OURS}.killed"
    for name in ("counted_mv", "counted", "killed"):
        stock.query(f"DROP TABLE {OURS}.{name} SYNC")
    stock.query(f"DELETE FROM {OURS}.copied_ranges WHERE target LIKE '%killed' SETTINGS lightweight_deletes_sync = 2")


def complete(server: ClickHouse) -> None:
    """Every row once, in the table and in what the view has counted."""
    assert checksum(server, f"{OURS}.killed", "otel_logs") == checksum(server, f"{STOCK}.otel_logs", "otel_logs")
    assert server.query(f"SELECT sum(Rows) FROM {OURS}.counted") == str(RECORDS)


@pytest.mark.parametrize("whom", ["module", "server"])
def test_sigkill_in_the_middle(stock: ClickHouse, killed: str, whom: str) -> None:
    """Of the module, and of ClickHouse: the next run completes it, and no row is there twice."""
    rows = RECORDS // 30
    process = run_module(stock, f"{STOCK}.otel_logs", killed, rows)
    while ranges(stock) < 5:
        assert process.poll() is None
        time.sleep(0.01)
    if whom == "module":
        process.send_signal(signal.SIGKILL)
        process.communicate()
    else:
        stock.kill()
        assert answer(process)["failed"]
        stock.start()
    assert int(stock.query(f"SELECT count() FROM {killed}")) < RECORDS
    again = answer(run_module(stock, f"{STOCK}.otel_logs", killed, rows))
    assert again["changed"] and 0 < again["copied"] < RECORDS
    complete(stock)
    assert not answer(run_module(stock, f"{STOCK}.otel_logs", killed, rows))["changed"]


@pytest.fixture
def copy(stock: ClickHouse, killed: str, client: Client) -> TableCopy:
    """A copy of the logs with its table of ranges."""
    made = TableCopy(client, (STOCK, "otel_logs"), (OURS, "killed"), "Timestamp", RECORDS // 10)
    made.prepare()
    return made


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("remembered", [False, True])
def test_interrupted_range_is_stored_once(
    stock: ClickHouse, copy: TableCopy, monkeypatch: pytest.MonkeyPatch, stored: bool, remembered: bool
) -> None:
    """Whether its rows had come to be stored or not, and whether the target still knows their block."""
    (partition,) = copy.partitions()
    record = copy._record
    with monkeypatch.context() as patch:
        if not stored:
            patch.setattr(copy, "_insert", lambda item: None)
        # As a crash leaves it: before the note that the range has ended.
        patch.setattr(copy, "_record", lambda item, done: None if done else record(item, done=False))
        first = next(iter(copy.copy(partition)))
    if not remembered:
        for table in ("killed", "counted"):
            stock.query(f"ALTER TABLE {OURS}.{table} MODIFY SETTING non_replicated_deduplication_window = 0")
    copy = TableCopy(copy.client, (STOCK, "otel_logs"), (OURS, "killed"), "Timestamp", copy.rows)
    (partition,) = copy.partitions()
    assert partition.begun is not None and partition.begun.rows == first.rows
    assert copy.finish(partition.begun) == (stored and not remembered)
    assert sum(item.rows for item in copy.copy(partition)) == RECORDS - first.rows
    complete(stock)


def test_each_range_is_one_part(stock: ClickHouse, copy: TableCopy) -> None:
    """So it is stored as a whole or not at all."""
    (partition,) = copy.partitions()
    made = list(copy.copy(partition))
    assert made[-1].end == HIGHEST
    assert sum(item.rows for item in made) == RECORDS
    stock.query("SYSTEM FLUSH LOGS")
    uuid = f"(SELECT uuid FROM system.tables WHERE database = '{OURS}' AND name = 'killed')"
    assert int(stock.query(f"SELECT count() FROM system.part_log WHERE event_type = 'NewPart' AND table_uuid = {uuid}")) == len(made) > 5


def test_rows_that_come_late_are_reported(stock: ClickHouse, killed: str) -> None:
    """They would be lost with the source."""
    answer(run_module(stock, f"{STOCK}.otel_logs", killed, RECORDS))
    stock.query(f"INSERT INTO {STOCK}.otel_logs (Timestamp, Body) VALUES ('{telemetry_rows.BEGIN:%Y-%m-%d} 12:00:00', 'late')")
    said = answer(run_module(stock, f"{STOCK}.otel_logs", killed, RECORDS))
    stock.query(f"ALTER TABLE {STOCK}.otel_logs DELETE WHERE Body = 'late' SETTINGS mutations_sync = 2")
    assert said["failed"]
    assert f"{telemetry_rows.BEGIN:%Y%m%d}: 1" in said["msg"]


@pytest.mark.parametrize(
    ("source", "target", "column", "named"),
    [
        ("otel.otel_logs", "otel.killed", "Timestamp", "only MergeTree"),
        ("stock.otel_logs", "otel.killed", "Body", "time_column"),
        ("stock.otel_logs", "otel.nothing", "Timestamp", "target"),
        ("stock.otel_traces", "otel.killed", "Timestamp", "SpanName"),
        ("otel_logs", "otel.killed", "Timestamp", "database.table"),
    ],
)
def test_wrong_tables_are_refused(stock: ClickHouse, killed: str, source: str, target: str, column: str, named: str) -> None:
    """Before anything is written."""
    said = answer(run_module(stock, source, target, RECORDS, column))
    assert said["failed"] and named in said["msg"]
    assert stock.query(f"SELECT count() FROM {killed}") == "0"


def test_the_exporters_tables_are_removed_when_asked(stock: ClickHouse) -> None:
    """The last of this file. A second run copies nothing: only the removal is a change, and a third run has none."""
    left = f"SELECT count() FROM system.tables WHERE database = '{STOCK}'"
    assert int(stock.query(left)) == len(telemetry_tables.STOCK)
    assert migrate(stock, telemetry_schema_stock_remove=True)[0] == 1
    assert stock.query(left) == "0"
    assert migrate(stock, telemetry_schema_stock_remove=True)[0] == 0
