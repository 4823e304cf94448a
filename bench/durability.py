# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What it costs that an acknowledgement survives a host without power: python -m bench.durability [rounds]; 3 rounds by default.

collectors  C(fsync) of the disk queues, off and on. Eight senders send one request after the other, each when the one before is
            acknowledged: to the gateway 1,000 logs a request, as agents do, and to the agent 20 logs, as applications do.
ClickHouse  INSERTs of 20,000 logs into the table of role telemetry_schema with its roll-ups, on two replicas: as they are, with
            C(fsync_after_insert) and C(fsync_part_directory), and with C(insert_quorum) of both replicas.

All run on this machine in turn, round after round. Prints a table of medians and ratios; nothing depends on its numbers.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc

from bench.gateway import table
from tests.support import telemetry_load
from tests.support.clickhouse import REPLICA_PATHS, ClickHouse, until
from tests.support.collector_files import AGENT_TOKEN, GATEWAY_TOKEN
from tests.support.pipeline import Pipeline, pipeline
from tests.support.platform import CLUSTER, DATABASE, users

ROUNDS = 3
SECONDS = 10
SENDERS = 8
ROWS = 20_000
INSERTS = 10
# Name -> settings of the tables, settings of the query.
INSERT_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "as the server does it": ("fsync_after_insert = 0, fsync_part_directory = 0", {}),
    "fsync_after_insert": ("fsync_after_insert = 1, fsync_part_directory = 1", {}),
    "insert_quorum = 2": ("fsync_after_insert = 0, fsync_part_directory = 0", {"insert_quorum": 2}),
    "both": ("fsync_after_insert = 1, fsync_part_directory = 1", {"insert_quorum": 2}),
}
LOG = f"""
SELECT now64(9) - toIntervalMillisecond(rand(1) % 1000) AS Timestamp, concat('shop-', toString(number % 20)) AS ServiceName,
  concat('request ', toString(number), ' took ', toString(rand(2) % 1000), ' ms and returned ', hex(sipHash128(number, rand(3)))) AS Body,
  'INFO' AS SeverityText, 9 AS SeverityNumber, map('host.name', concat('host-', toString(number % 50))) AS ResourceAttributes,
  map('http.route', concat('/api/', toString(number % 30)), 'user.id', toString(rand(4) % 10000)) AS LogAttributes
FROM numbers({ROWS})
"""


def set_fsync(p: Pipeline, mode: str, on: bool) -> None:
    """Restart a collector with another setting of its disk queues."""
    file = p.file(mode, "config.yaml")
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(f"fsync: {str(not on).lower()}", f"fsync: {str(on).lower()}"), encoding="utf-8")
    assert f"fsync: {str(on).lower()}" in file.read_text(encoding="utf-8")
    (p.gateway if mode == "gateway" else p.agent).restart()


def acknowledged(address: str, token: str, ca: bytes | None, records: int) -> list[float]:
    """Seconds until each request of the senders was acknowledged, within the time of a run."""
    seconds: list[float] = []

    def sender(number: int, end: float) -> None:
        message = telemetry_load.request("logs", "bench", f"sender{number}", 0, records)
        opened = grpc.secure_channel(address, grpc.ssl_channel_credentials(ca)) if ca else grpc.insecure_channel(address)
        with opened as channel:
            stub = telemetry_load.LogsServiceStub(channel)
            while (begin := time.monotonic()) < end:
                stub.Export(message, timeout=60, metadata=(("authorization", f"Bearer {token}"),), wait_for_ready=True)
                seconds.append(time.monotonic() - begin)

    def answers() -> bool:
        try:
            sender(0, time.monotonic() + 0.1)
        except grpc.RpcError:
            return False
        return True

    # A collector that has just started may refuse for a moment.
    until("an acknowledgement", answers, 30)
    seconds.clear()
    end = time.monotonic() + SECONDS
    threads = [threading.Thread(target=sender, args=(number, end)) for number in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds


def collectors(p: Pipeline, rounds: int) -> list[dict[str, str]]:
    """Both collectors with and without."""
    kinds: dict[str, Callable[[], list[float]]] = {
        "gateway": lambda: acknowledged(f"127.0.0.1:{p.to_gateway.target}", GATEWAY_TOKEN, p.pki.ca.read_bytes(), 1000),
        "node_agent": lambda: acknowledged(p.otlp, AGENT_TOKEN, None, 20),
    }
    rows = []
    for mode, measure in kinds.items():
        records = 1000 if mode == "gateway" else 20
        found: dict[bool, list[list[float]]] = {False: [], True: []}
        for _ in range(rounds):
            for on, runs in found.items():
                set_fsync(p, mode, on)
                runs.append(measure())
        rate = {on: statistics.median(len(run) * records / SECONDS for run in runs) for on, runs in found.items()}
        middle = {on: statistics.median(statistics.median(run) for run in runs) for on, runs in found.items()}
        late = {on: statistics.median(statistics.quantiles(run, n=20)[-1] for run in runs) for on, runs in found.items()}
        for on in found:
            rows.append(
                {
                    "what": f"{mode}, fsync {'on' if on else 'off'}",
                    "records/s": f"{rate[on]:.0f}",
                    "ratio": f"{rate[on] / rate[False]:.2f}",
                    "p50, ms": f"{1000 * middle[on]:.1f}",
                    "p95, ms": f"{1000 * late[on]:.1f}",
                }
            )
    return rows


def inserts(p: Pipeline, other: ClickHouse, rounds: int) -> list[dict[str, str]]:
    """INSERTs of each kind, in turn."""
    tables = [row[0] for row in p.query(f"SELECT name FROM system.tables WHERE database = '{DATABASE}' AND engine LIKE 'Replicated%'")]
    for (text,) in p.query(f"SELECT create_table_query FROM system.tables WHERE database = '{DATABASE}' AND name LIKE '%\\\\_local'"):
        other.query(text.replace("\\n", "\n").replace("\\'", "'"))
    for name in tables:
        other.query(f"SYSTEM SYNC REPLICA {DATABASE}.{name}")
    found: dict[str, list[float]] = {kind: [] for kind in INSERT_KINDS}
    p.query(f"CREATE TABLE {DATABASE}.bench_source ENGINE = Memory AS {LOG}")
    columns = "Timestamp, ServiceName, Body, SeverityText, SeverityNumber, ResourceAttributes, LogAttributes"
    number = 0
    for _ in range(rounds):
        for kind, (settings, query) in INSERT_KINDS.items():
            for name in tables:
                p.query(f"ALTER TABLE {DATABASE}.{name} MODIFY SETTING {settings}")
            for _ in range(INSERTS):
                number += 1
                source = f"SELECT Timestamp + toIntervalNanosecond({number}), {columns.partition(', ')[2]} FROM {DATABASE}.bench_source"
                begin = time.monotonic()
                p.clickhouse.query(f"INSERT INTO {DATABASE}.otel_logs_local ({columns}) {source}", **query)
                found[kind].append(time.monotonic() - begin)
    first = statistics.median(next(iter(found.values())))
    return [
        {
            "what": f"INSERT of {ROWS:,} logs, {kind}",
            "records/s": f"{ROWS / statistics.median(seconds):.0f}",
            "ratio": f"{first / statistics.median(seconds):.2f}",
            "p50, ms": f"{1000 * statistics.median(seconds):.0f}",
            "p95, ms": f"{1000 * statistics.quantiles(seconds, n=20)[-1]:.0f}",
        }
        for kind, seconds in found.items()
    ]


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if sys.argv[1:] else ROUNDS
    with ExitStack() as stack:
        p = stack.enter_context(pipeline(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        macros = {"shard": "1", "replica": "b", "cluster": CLUSTER}
        second = ClickHouse(REPLICA_PATHS, users=users(), zookeeper=p.zookeeper.address, macros=macros, cluster=CLUSTER)
        other = stack.enter_context(second)
        other.query(f"CREATE DATABASE {DATABASE}")
        until("a second server", lambda: other.query("SELECT 1") == "1")
        rows = inserts(p, other, rounds)
        print(table(rows), flush=True)
        rows += collectors(p, rounds)
    print(f"\n{table(rows)}", flush=True)


if __name__ == "__main__":
    from tests import conftest  # noqa: F401  makes the collection importable

    main()
