# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tables that the collector's exporter makes, copied into ours by playbooks/migrate_stock_schema.yml and by its module alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouse as Client
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouseError
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse_copy import (
    HIGHEST,
    Declared,
    Range,
    TableCopy,
    find_copies,
)

from tests.integration.test_telemetry_schema import ROWS
from tests.support import telemetry_rows, telemetry_tables
from tests.support.clickhouse import ClickHouse
from tests.support.collector_files import CHECKOUT

pytestmark = pytest.mark.integration

CLUSTER, STOCK, OURS = "one", "stock", "otel"
LOG = "<part_log><database>system</database><table>part_log</table></part_log>"
SERVER = {"config": LOG, "cluster": CLUSTER}
# Logs, and spans; `make soak` sets more, and interrupts the copy of each signal.
RECORDS = int(os.environ.get("GROUNDWORK_COPIED", "3000"))
INTERRUPTED = ("otel_logs", "otel_traces", "otel_metrics_gauge", "otel_metrics_sum") if RECORDS >= 1_000_000 else ("otel_logs",)
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


def time_column(table: str) -> str:
    """The column of a table of the exporter that has the time of a row."""
    return "TimeUnix" if "metrics" in table else "Timestamp"


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
    rows = {table: entry[0] for table, entry in telemetry_rows.tables(RECORDS).items()} | dict.fromkeys(KINDS, 1)
    changed, said = migrate(stock, "--check", "--diff")
    assert changed == 1
    for table, count in rows.items():
        day = "20300102" if table in KINDS else f"{telemetry_rows.BEGIN:%Y%m%d}"
        assert f"-partition {day}: 0 of {count}\n+partition {day}: {count} of {count}\n" in said
    assert stock.query(tables) == before
    assert migrate(stock)[0] == 1
    for table, count in rows.items():
        copied = checksum(stock, f"{OURS}.{table}_local", table)
        assert copied.split("\t")[0] == str(count)
        assert copied == checksum(stock, f"{STOCK}.{table}", table)
    rolled = stock.query(f"SELECT sum(Rows) FROM {OURS}.logs_volume_1m"), stock.query(f"SELECT sum(Calls) FROM {OURS}.traces_red_1m")
    assert rolled == (str(RECORDS), str(RECORDS))


def run_module(server: ClickHouse, *copies: tuple[str, str, str], rows: int = RECORDS, check: bool = False) -> subprocess.Popen[str]:
    """Start the module as a process of its own, for copies of (source, target, time column)."""
    module = "ansible_collections.groundwork.observability.plugins.modules.clickhouse_copy"
    given = {"login_host": server.host, "login_port": server.port, "secure": False, "retries": 0, "_ansible_check_mode": check}
    tables = [dict(zip(("source", "target", "time_column"), entry, strict=True)) for entry in copies]
    with tempfile.TemporaryFile("w+") as arguments:
        json.dump({"ANSIBLE_MODULE_ARGS": {**given, "tables": tables, "rows": rows}}, arguments)
        arguments.seek(0)
        return subprocess.Popen(
            [sys.executable, "-m", module],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT / ".collections")},
            stdin=arguments,
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


@pytest.fixture(params=["otel_logs"])
def killed(stock: ClickHouse, request: pytest.FixtureRequest) -> Iterator[tuple[str, str, str]]:
    """Copy of a table of the exporter into a further table as ours is, which is empty and has a view over it that counts rows."""
    table = str(request.param)
    stock.query(f"CREATE TABLE {OURS}.killed AS {OURS}.{table}_local")
    window = "SETTINGS non_replicated_deduplication_window = 2000"
    stock.query(f"CREATE TABLE {OURS}.counted (Rows UInt64) ENGINE = MergeTree ORDER BY () {window}")
    stock.query(f"CREATE MATERIALIZED VIEW {OURS}.counted_mv TO {OURS}.counted AS SELECT count() AS Rows FROM {OURS}.killed")
    yield f"{STOCK}.{table}", f"{OURS}.killed", time_column(table)
    for name in ("counted_mv", "counted", "killed"):
        stock.query(f"DROP TABLE {OURS}.{name} SYNC")
    if stock.query(f"EXISTS TABLE {OURS}.copied_ranges") == "1":
        stock.query(f"DELETE FROM {OURS}.copied_ranges WHERE target LIKE '%killed%' SETTINGS lightweight_deletes_sync = 2")


def complete(server: ClickHouse, source: str) -> None:
    """Every row once, in the table and in what the view has counted."""
    table = source.partition(".")[2]
    wanted = checksum(server, source, table)
    assert checksum(server, f"{OURS}.killed", table) == wanted
    assert server.query(f"SELECT sum(Rows) FROM {OURS}.counted") == wanted.split("\t")[0]


@pytest.mark.parametrize("killed", INTERRUPTED, indirect=True)
@pytest.mark.parametrize("whom", ["module", "server"])
def test_sigkill_in_the_middle(stock: ClickHouse, killed: tuple[str, str, str], whom: str) -> None:
    """Of the module, and of ClickHouse: the next run completes it, and no row is there twice."""
    source, target, _column = killed
    total = int(stock.query(f"SELECT count() FROM {source}"))
    process = run_module(stock, killed, rows=total // 30)
    while ranges(stock) < 5:
        assert process.poll() is None
        time.sleep(0.01)
    if whom == "module":
        process.send_signal(signal.SIGKILL)
        process.communicate()
    else:
        stock.kill()
        failed = answer(process)
        assert failed["failed"] and 0 < failed["copied"] == failed["tables"][0]["copied"] < total
        stock.start()
    assert 0 < int(stock.query(f"SELECT count() FROM {target}")) < total
    again = answer(run_module(stock, killed, rows=total // 30))
    assert again["changed"] and 0 < again["copied"] < total
    complete(stock, source)
    assert not answer(run_module(stock, killed, rows=total // 30))["changed"]


@pytest.fixture
def copy(stock: ClickHouse, killed: tuple[str, str, str], client: Client) -> TableCopy:
    """A copy of the logs with its table of ranges."""
    made = find(client, RECORDS // 10)
    made.prepare()
    return made


def find(client: Client, rows: int) -> TableCopy:
    """The copy of the logs as the server knows its tables now."""
    (found,) = find_copies(client, [Declared((STOCK, "otel_logs"), (OURS, "killed"), "Timestamp")], rows)
    assert found is not None
    return found


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
    copy = find(copy.client, copy.rows)
    (partition,) = copy.partitions()
    assert partition.begun is not None and partition.begun.rows == first.rows
    assert copy.finish(partition.begun) == (stored and not remembered)
    assert sum(item.rows for item in copy.copy(partition)) == RECORDS - first.rows
    complete(stock, f"{STOCK}.otel_logs")


def test_each_range_is_one_part(stock: ClickHouse, copy: TableCopy) -> None:
    """So it is stored as a whole or not at all."""
    (partition,) = copy.partitions()
    made = list(copy.copy(partition))
    assert made[-1].end == HIGHEST
    assert sum(item.rows for item in made) == RECORDS
    stock.query("SYSTEM FLUSH LOGS")
    uuid = f"(SELECT uuid FROM system.tables WHERE database = '{OURS}' AND name = 'killed')"
    assert int(stock.query(f"SELECT count() FROM system.part_log WHERE event_type = 'NewPart' AND table_uuid = {uuid}")) == len(made) > 5


def test_rows_that_come_late_are_reported(stock: ClickHouse, killed: tuple[str, str, str]) -> None:
    """They would be lost with the source."""
    answer(run_module(stock, killed))
    stock.query(f"INSERT INTO {STOCK}.otel_logs (Timestamp, Body) VALUES ('{telemetry_rows.BEGIN:%Y-%m-%d} 12:00:00', 'late')")
    said = answer(run_module(stock, killed))
    stock.query(f"ALTER TABLE {STOCK}.otel_logs DELETE WHERE Body = 'late' SETTINGS mutations_sync = 2")
    assert said["failed"] and not said["changed"]
    assert f"{telemetry_rows.BEGIN:%Y%m%d}: 1" in said["msg"]


def test_rows_that_come_meanwhile_are_reported(stock: ClickHouse, copy: TableCopy, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the run that copied the others: one that removes the source must not come so far."""
    inserted = copy._insert

    def insert_another(item: Range) -> None:
        inserted(item)
        if item.end == HIGHEST:
            stock.query(f"INSERT INTO {STOCK}.otel_logs (Timestamp, Body) VALUES ('{telemetry_rows.BEGIN:%Y-%m-%d} 12:00:00', 'late')")

    monkeypatch.setattr(copy, "_insert", insert_another)
    with pytest.raises(ClickHouseError, match="got rows while"):
        list(copy.copy_all(copy.partitions(), pytest.fail))
    stock.query(f"ALTER TABLE {STOCK}.otel_logs DELETE WHERE Body = 'late' SETTINGS mutations_sync = 2")


def test_every_wrong_table_is_refused_at_once(stock: ClickHouse, killed: tuple[str, str, str]) -> None:
    """Before a row of a right one is copied."""
    wrong = [
        ("otel.otel_logs", "otel.killed", "Timestamp", "source: otel.otel_logs has engine Distributed, and only MergeTree"),
        ("stock.otel_logs", "otel.otel_logs_local", "Body", "time_column: stock.otel_logs has no column Body with date and time"),
        ("stock.otel_logs", "otel.nothing", "Timestamp", "target: there is no table otel.nothing"),
        ("stock.otel_traces", "otel.killed", "Timestamp", "target: otel.killed has no column ParentSpanId, "),
    ]
    said = answer(run_module(stock, killed, *[(source, target, column) for source, target, column, _reason in wrong]))
    assert said["failed"] and not said["changed"] and said["copied"] == 0
    assert [place for place, entry in enumerate(wrong, 1) if f"tables[{place}].{entry[3]}" not in said["msg"]] == []
    assert stock.query(f"SELECT count() FROM {OURS}.killed") == "0"


@pytest.mark.parametrize(
    ("copies", "rows", "named"),
    [
        ([("otel_logs", "otel.killed", "Timestamp")], 1, "tables[0].source: must be database.table, not otel_logs"),
        ([("stock.otel_logs", "otel.killed", "Timestamp")] * 2, 1, "tables[1]: another entry copies stock.otel_logs to otel.killed"),
        ([("stock.otel_logs", "otel.killed", "Timestamp")], 0, "rows: must be at least 1"),
    ],
)
def test_wrong_declarations_are_refused(stock: ClickHouse, copies: list[tuple[str, str, str]], rows: int, named: str) -> None:
    """Without asking the server."""
    said = answer(run_module(stock, *copies, rows=rows))
    assert said["failed"] and named in said["msg"]


def test_one_call_copies_several_tables(stock: ClickHouse, killed: tuple[str, str, str]) -> None:
    """Check mode counts the same rows for each; a source that is not there has none."""
    gone = ("stock.gone", "otel.killed", "Timestamp")
    expected = [answer(run_module(stock, killed, gone, check=check)) for check in (True, False)]
    assert expected[0]["tables"] == expected[1]["tables"]
    assert [table["copied"] for table in expected[0]["tables"]] == [RECORDS, 0]
    assert [table["total"] for table in answer(run_module(stock, killed, gone))["tables"]] == [RECORDS, 0]
    complete(stock, f"{STOCK}.otel_logs")


def test_the_exporters_tables_are_removed_when_asked(stock: ClickHouse) -> None:
    """The last of this file. A second run copies nothing: only the removal is a change, and a third run has none."""
    left = f"SELECT count() FROM system.tables WHERE database = '{STOCK}'"
    assert int(stock.query(left)) == len(telemetry_tables.STOCK)
    assert migrate(stock, telemetry_schema_stock_remove=True)[0] == 1
    assert stock.query(left) == "0"
    assert migrate(stock, telemetry_schema_stock_remove=True)[0] == 0
