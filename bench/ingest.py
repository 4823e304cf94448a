# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What our gateway costs for each record, and how long a record takes, beside the same program with its exporter's defaults.

python -m bench.ingest [seconds [records of a request [requests]]]; by default 20 seconds at each rate, 200 records, and 400 requests of
each signal for the highest rate. The collector, its relay and
ClickHouse run on this machine, without containers and without replication. Both gateways have the same receiver, with TLS and a token.
The default one writes tables that it makes itself, by `async_insert`, from a queue in memory: what it has acknowledged is lost when it
is killed. Ours writes the tables of role telemetry_schema with their roll-ups, from a queue on disk.

rates: a constant number of records a second, while merges are stopped so that the part of each row tells when it was stored; the
latency is from the time of a record to that. `most`: 200 requests are always under way, as of many agents, with merges; records for
each CPU second of collector, relay and ClickHouse together. CPU seconds are what the kernel counts for these processes, so other work
on the machine changes them little; it does change latencies and the highest rate. Memory is the most that was resident since the start.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import yaml

from bench.gateway import table
from tests import conftest  # noqa: F401  makes the collection importable
from tests.support import otelcol, telemetry_tables
from tests.support.clickhouse import ClickHouse
from tests.support.collector_files import GATEWAY_TOKEN, Rendered
from tests.support.daemon import Daemon, free_ports
from tests.support.platform import HOST, Process, server_config, users
from tests.support.telemetry_load import SERVICES, SIGNALS, TABLES, request

RATES = (1_000, 10_000)
UNDER_WAY = 200
DRAIN_SECONDS = 300
TICKS = os.sysconf("SC_CLK_TCK")


class Gateway:
    """A gateway of one configuration, with its database."""

    def __init__(self, name: str, server: ClickHouse, processes: Sequence[Daemon], address: str, certificate: bytes, tables: str) -> None:
        self.name, self.server, self.tables = name, server, tables
        self.processes = {"collector": processes[0], **({"relay": processes[1]} if len(processes) > 1 else {}), "ClickHouse": server}
        self.channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(certificate))
        self.stubs: dict[str, Any] = {signal: SERVICES[signal](self.channel) for signal in SIGNALS}

    def send(self, signal: str, message: Any) -> None:
        """Until it is acknowledged."""
        end = time.monotonic() + DRAIN_SECONDS
        while True:
            try:
                self.stubs[signal].Export(message, timeout=30, metadata=(("authorization", f"Bearer {GATEWAY_TOKEN}"),))
            except grpc.RpcError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
            else:
                return

    def cpu(self) -> dict[str, float]:
        """CPU seconds of each process until now."""
        return {name: _cpu(daemon) for name, daemon in self.processes.items()}

    def drain(self, run: str, wanted: int) -> float:
        """Wait until all records are stored; seconds."""
        begin = time.monotonic()
        while sum(self._stored(run, signal) for signal in SIGNALS) < wanted:
            if time.monotonic() > begin + DRAIN_SECONDS:
                raise SystemExit(f"{self.name}: records are missing {DRAIN_SECONDS} s after they were sent")
            time.sleep(0.2)
        return time.monotonic() - begin

    def _stored(self, run: str, signal: str) -> int:
        name, _, _ = TABLES[signal]
        return int(self.server.query(f"SELECT count() FROM {self.tables.format(name)} WHERE ServiceName = 'load-{run}'"))

    def latency(self, run: str) -> list[float]:
        """Seconds that half, 95 % and 99 % of the records took at most, of logs and spans (points have whole seconds)."""
        self.server.query("SYSTEM FLUSH LOGS")
        rows = []
        for signal in ("logs", "traces"):
            database, name = self.tables.format(TABLES[signal][0]).split(".")
            parts = (
                "SELECT part_name, min(event_time_microseconds) AS stored FROM system.part_log"
                f" WHERE event_type = 'NewPart' AND database = '{database}' AND table = '{name}' GROUP BY part_name"
            )
            rows.append(
                f"SELECT dateDiff('microsecond', toDateTime64(Timestamp, 6), stored) / 1e6 AS seconds FROM {database}.{name}"
                f" JOIN ({parts}) AS parts ON part_name = _part WHERE ServiceName = 'load-{run}'"
            )
        found = self.server.query(f"SELECT quantilesExact(0.5, 0.95, 0.99)(seconds) FROM ({' UNION ALL '.join(rows)})")
        return [float(number) for number in found.strip("[]").split(",")]

    def constant(self, rate: int, seconds: float, count: int) -> dict[str, str]:
        """Send at a constant rate."""
        run, before, begin = f"{time.time_ns():x}", self.cpu(), time.monotonic()
        number, turns = 0, int(rate * seconds / count)
        self.server.query("SYSTEM STOP MERGES")
        with ThreadPoolExecutor(64) as pool:
            sent: list[Future[None]] = []
            for turn in range(turns):
                time.sleep(max(begin + turn * count / rate - time.monotonic(), 0))
                signal = SIGNALS[turn % len(SIGNALS)]
                sent.append(pool.submit(self.send, signal, request(signal, run, "agent", number, count)))
                number += count
            for future in sent:
                future.result()
        took = time.monotonic() - begin
        self.drain(run, number)
        row = self._row(f"{rate} records/s", number, took, before)
        for name, value in zip(("p50, s", "p95, s", "p99, s"), self.latency(run), strict=True):
            row[name] = f"{value:.1f}"
        self.server.query("SYSTEM START MERGES")
        return row

    def most(self, messages: dict[str, list[Any]], run: str, count: int) -> dict[str, str]:
        """Send as fast as it takes them."""
        before, begin = self.cpu(), time.monotonic()
        with ThreadPoolExecutor(UNDER_WAY) as pool:
            list(pool.map(lambda entry: self.send(*entry), _alternating(messages)))
        records = count * sum(len(entries) for entries in messages.values())
        self.drain(run, records)
        return self._row("most", records, time.monotonic() - begin, before)

    def _row(self, rate: str, records: int, seconds: float, before: dict[str, float]) -> dict[str, str]:
        used = {name: value - before[name] for name, value in self.cpu().items()}
        total = sum(used.values())
        return {
            "gateway": self.name,
            "rate": rate,
            "records": str(records),
            "records/s": f"{records / seconds:.0f}",
            **{f"{name}, CPU s per million": f"{1e6 * used.get(name, 0) / records:.1f}" for name in ("collector", "relay", "ClickHouse")},
            "records per CPU s": f"{records / total:.0f}",
            "collector and relay, MB": f"{sum(_resident(self.processes[name]) for name in used if name != 'ClickHouse'):.0f}",
        }


def _alternating(messages: dict[str, list[Any]]) -> Iterator[tuple[str, Any]]:
    for entries in zip(*messages.values(), strict=True):
        yield from zip(messages, entries, strict=True)


def _family(daemon: Daemon) -> list[Path]:
    """Folders in /proc of a process and of those that it has started: ClickHouse's engine is a child of its launcher."""
    assert daemon.process is not None
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[folder] = int(_stat(folder)[1])
    family = [Path(f"/proc/{daemon.process.pid}")]
    for member in family:
        family += [folder for folder, parent in parents.items() if parent == int(member.name)]
    return family


def _stat(folder: Path) -> list[str]:
    """The fields behind the name of the program."""
    return (folder / "stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()


def _cpu(daemon: Daemon) -> float:
    return sum(int(_stat(folder)[11]) + int(_stat(folder)[12]) for folder in _family(daemon)) / TICKS


def _resident(daemon: Daemon) -> float:
    texts = [(folder / "status").read_text(encoding="ascii", errors="replace") for folder in _family(daemon)]
    return sum(int(text.split("VmHWM:")[1].split()[0]) for text in texts) / 1024


def _server(stack: ExitStack) -> ClickHouse:
    logs = server_config().replace("<default_replica_path>", "<!--").replace("</default_replica_name>", "-->")
    return stack.enter_context(ClickHouse(logs, users=users(), cluster="one"))


def ours(stack: ExitStack, base: Path) -> Gateway:
    """The gateway with the defaults of role otel_collector."""
    server = _server(stack)
    telemetry_tables.create_ours(server, "one")
    port: dict[str, Any] = dict(zip(("grpc", "http", "relay", "health", "metrics"), free_ports(5), strict=True))
    rendered = Rendered(base, otelcol.program())
    done = rendered.render(
        ("gateway",),
        {"clickhouse": [], "gateway": [HOST]},
        ansible_host="127.0.0.1",
        otel_collector_clickhouse_endpoint=f"tcp://127.0.0.1:{server.tcp_port}",
        otel_collector_clickhouse_table_suffix="_local",
        otel_collector_clickhouse_tls={"insecure": True},
        **{f"otel_collector_gateway_{name}_port": number for name, number in port.items()},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = base / HOST / "gateway"
    for name in ("run", "state"):
        (folder / name).mkdir()
    relay: list[str | Path] = [sys.executable, "-B", folder / "relay.py", "serve", f"--port={port['relay']}", f"--sockets={folder}/run"]
    relay += [f"--tokens={folder}/gateway_token", f"--folder={folder}/state/dead_letters", "--limit=1000000"]
    running = stack.enter_context(Process(relay, port["relay"]))
    collector = stack.enter_context(Process([rendered.program, *rendered.argv(HOST, "gateway")], port["health"]))
    certificate = rendered.certificate.read_bytes()
    return Gateway("ours", server, (collector, running), f"127.0.0.1:{port['grpc']}", certificate, "otel.{}_local")


def default(stack: ExitStack, base: Path, receiver: dict[str, Any]) -> Gateway:
    """The exporter as it is configured by default, behind the receiver of our gateway."""
    server = _server(stack)
    server.query("CREATE DATABASE stock")
    grpc_port, health = free_ports(2)
    exporter = {"endpoint": f"tcp://127.0.0.1:{server.tcp_port}", "database": "stock"}
    pipeline = {"receivers": ["otlp"], "exporters": ["clickhouse"]}
    protocol = {**receiver["otlp"]["protocols"]["grpc"], "endpoint": f"127.0.0.1:{grpc_port}"}
    config = {
        "extensions": {
            "health_check": {"endpoint": f"127.0.0.1:{health}"},
            "bearertokenauth/gateway": {"filename": str(base / HOST / "gateway" / "gateway_token")},
        },
        "receivers": {"otlp": {"protocols": {"grpc": protocol}}},
        "exporters": {"clickhouse": exporter},
        "service": {
            "extensions": ["health_check", "bearertokenauth/gateway"],
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": dict.fromkeys(SIGNALS, pipeline),
        },
    }
    file = base / "default.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    collector = stack.enter_context(Process([otelcol.program(), f"--config={file}"], health))
    return Gateway("exporter's defaults", server, (collector,), f"127.0.0.1:{grpc_port}", (base / "host.crt").read_bytes(), "stock.{}")


def main() -> None:
    """Print the table."""
    given = [int(word) for word in sys.argv[1:]]
    seconds, count, most = (given + [20, 200, 400][len(given) :])[:3]
    base, rows = Path(tempfile.mkdtemp(prefix="ingest-")), []
    try:
        with ExitStack() as stack:
            own = ours(stack, base)
            receiver = yaml.safe_load((base / HOST / "gateway" / "config.yaml").read_text(encoding="utf-8"))["receivers"]
            gateways = (default(stack, base, receiver), own)
            for rate in RATES:
                for gateway in gateways:
                    rows.append(gateway.constant(rate, seconds, count))
                    print(table(rows[-1:]), flush=True)
            for gateway in gateways:
                run = f"{time.time_ns():x}"
                turns = range(most)
                messages = {signal: [request(signal, run, "agent", turn * count, count) for turn in turns] for signal in SIGNALS}
                rows.append(gateway.most(messages, run, count))
                print(table(rows[-1:]), flush=True)
    finally:
        shutil.rmtree(base, ignore_errors=True)
        print("\n" + table(rows))
    theirs, own_row = (float(row["records per CPU s"]) for row in rows[-2:])
    print(f"\nours takes {own_row / theirs:.1f} times the records of the exporter's defaults for each CPU second")


if __name__ == "__main__":
    main()
