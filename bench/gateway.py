# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a gateway costs ClickHouse and ZooKeeper as the number of agents grows, on a running cluster.

python -m bench.gateway [agents ...]; 10, 100, 1000 and 3000 by default. Starts the hosts of layout `gateways` in containers, installs
the platform, and sends from simulated agents: each sends 20 records every 3 seconds, of logs, spans and points in turn, for a minute.
Then something is away for 20 seconds while 100 agents send, and it is measured how long the queues need when it is back.

configurations:
  unbatched     one gateway; each request is one INSERT into Distributed tables (how it was before gateways made batches)
  one gateway   the role's defaults, two shards
  two gateways  the role's defaults, a gateway for each shard

GROUNDWORK_BENCH_CONFIGURATIONS chooses some, by comma; GROUNDWORK_BENCH_KEEP=1 leaves the hosts running. Prints a table; nothing
depends on its numbers.
"""

from __future__ import annotations

import bisect
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests import conftest  # noqa: F401  makes the collection importable
from tests.support import telemetry_load
from tests.testbed import demo, hosts, mirror
from tests.testbed.core import say

topology = importlib.import_module("ansible_collections.groundwork.observability.plugins.filter.topology")

NAME, LAYOUT = "bench", "gateways"
AGENTS = (10, 100, 1000, 3000)
LOAD_SECONDS = 60
IDLE_SECONDS = 60
# The most that is waited for records to arrive after the end; what takes longer is printed as such.
DRAIN_SECONDS = 240
AWAY_SECONDS = 20
SERVERS = ("ch1", "ch2", "ch3", "ch4")
ENSEMBLE = ("zk1", "zk2", "zk3")
# What is stopped while 100 agents send -> its hosts and its unit.
OUTAGES = {
    "all of ZooKeeper": (ENSEMBLE, "zookeeper"),
    "a replica": (("ch1",), "clickhouse-server"),
    "both replicas of a shard": (("ch1", "ch2"), "clickhouse-server"),
}

# As it was before gateways made batches: from the agents to the disk queue of the exporter.
_UNBATCHED = {
    "otel_collector_clickhouse_endpoint": "tcp://{servers}?secure=true",
    "otel_collector_gateway_config": {
        "exporters": {
            "clickhouse/external": {
                "connection_params": {"distributed_foreground_insert": "1", "connection_open_strategy": "in_order", "dial_timeout": "5s"},
                "retry_on_failure": {"enabled": True, "initial_interval": "1s", "max_interval": "10s", "max_elapsed_time": "0s"},
                "timeout": "60s",
                "sending_queue": {
                    "enabled": True,
                    "storage": "file_storage",
                    "sizer": "bytes",
                    "queue_size": 5000000000,
                    "block_on_overflow": True,
                    "num_consumers": 4,
                },
            }
        },
        "service": {"pipelines": {signal: {"exporters": ["clickhouse/external"]} for signal in telemetry_load.SIGNALS}},
    },
}
# Configuration -> gateways, variables.
CONFIGURATIONS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "unbatched": (("gw1",), _UNBATCHED),
    "one gateway": (("gw1",), {}),
    "two gateways": (("gw1", "gw2"), {}),
}
CPU = "cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2>/dev/null || awk '/^usage_usec/ {print $2 * 1000}' /sys/fs/cgroup/cpu.stat"
INSERTS = "SELECT sum(value) FROM system.events WHERE event = 'InsertQuery'"
PACKETS = "curl -s http://127.0.0.1:8090/commands/monitor"


def inside(host: str, script: str) -> str:
    """What a script prints on a host."""
    return subprocess.run(["docker", "exec", f"{NAME}-{host}", "sh", "-c", script], check=True, capture_output=True, text=True).stdout


@dataclass(frozen=True)
class Counters:
    """What all hosts have done until now."""

    at: float
    cpu: dict[str, float]
    inserts: dict[str, int]
    packets: dict[str, int]


class Bench:
    """The running hosts with one configuration after the other."""

    def __init__(self) -> None:
        self.inventory = hosts.up(NAME, LAYOUT, mirror.default_source())
        self.arguments: list[str] = []
        self.gateways: tuple[str, ...] = ()

    def configure(self, gateways: tuple[str, ...], variables: dict[str, Any]) -> None:
        """Converge to a configuration. Agents, too: they name their gateway and shard."""
        self.gateways = gateways
        folder = self.inventory.parent
        groups = {"all": {"children": {name: {"hosts": dict.fromkeys(gateways)} for name in ("gateway", "node_agent")}}}
        (folder / "gateways.yml").write_text(yaml.safe_dump(groups), encoding="utf-8")
        addresses = yaml.safe_load(self.inventory.read_text())["all"]["hosts"]
        servers = ",".join(f"{addresses[host]['ansible_host']}:9440" for host in SERVERS)
        text = json.dumps(variables).replace("{servers}", servers)
        self.arguments = ["-i", str(folder / "gateways.yml"), "-e", text]
        for name in ("playbooks/secrets.yml", "playbooks/site.yml"):
            demo.playbook(self.inventory, name, what=name, arguments=self.arguments)
        self.platform = demo.Platform(self.inventory)
        self.ca = (self.platform.folder / "pki/ca.crt").read_bytes()

    def agents(self, count: int) -> list[telemetry_load.Agent]:
        """Simulated agents, spread over gateways and shards as the role spreads hosts."""
        identities = {"ch1": (1, "a"), "ch2": (1, "b"), "ch3": (2, "a"), "ch4": (2, "b")}
        hostvars: dict[str, Any] = {
            host: {"clickhouse_shard": shard, "clickhouse_replica": replica} for host, (shard, replica) in identities.items()
        }
        hostvars |= {host: {"ansible_host": self.platform.addresses[host]} for host in self.gateways}
        groups = {"clickhouse": list(identities), "gateway": list(self.gateways)}
        made, option = [], "otel_collector_gateway_grpc_port"
        for number in range(count):
            chosen = topology.gateways_for(hostvars, groups, f"agent{number}")
            # A simulated agent has one connection: all together are spread as real ones, which take turns.
            name = chosen["names"][number % len(chosen["names"])]
            address = f"{self.platform.addresses[name]}:{self.platform.setting(option, name)}"
            made.append(telemetry_load.Agent(f"agent{number}", address, (("x-clickhouse-shard", str(chosen["shard"])),)))
        return made

    def counters(self) -> Counters:
        """Of all hosts at once."""
        with ThreadPoolExecutor(8) as pool:
            cpu = pool.map(lambda host: float(inside(host, CPU)) / 1e9, self.platform.addresses)
            inserts = pool.map(lambda host: int(self.platform.query(host, INSERTS)[0][0]), SERVERS)
            packets = pool.map(lambda host: int(json.loads(inside(host, PACKETS))["packets_received"]), ENSEMBLE)
            return Counters(
                time.monotonic(),
                dict(zip(self.platform.addresses, cpu, strict=True)),
                dict(zip(SERVERS, inserts, strict=True)),
                dict(zip(ENSEMBLE, packets, strict=True)),
            )

    def row(self, agents: int) -> dict[str, str]:
        """Load for a minute, then wait until all is there."""
        run = f"{time.time_ns():x}"
        load = telemetry_load.Load(run, self.agents(agents), self.platform.secrets["otel_collector_gateway_token"], self.ca)
        before = self.counters()
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(load.send, LOAD_SECONDS)
            lags = []
            while not sending.done():
                time.sleep(3)
                lags.append(self.lag(load))
            sent = sending.result()
        during = self.counters()
        end = time.monotonic()
        while True:
            found = telemetry_load.stored(lambda sql: self.platform.query("ch1", sql), run)
            missing = sent.total - sum(different for _, different in found.values())
            waited = time.monotonic() - end
            if missing <= 0 or waited > DRAIN_SECONDS:
                break
            time.sleep(1)
        after = self.counters()
        seconds = during.at - before.at
        clickhouse = sum(after.cpu[host] - before.cpu[host] for host in SERVERS)
        gateway = sum(after.cpu[host] - before.cpu[host] for host in self.gateways)
        packets = [(during.packets[host] - before.packets[host]) / seconds for host in ENSEMBLE]
        return {
            "agents": str(agents),
            "records/s": f"{sent.total / seconds:.0f}",
            "refused": str(sent.refused),
            "lag, s": f"{max(lags):.1f}",
            "drained after": f"{waited:.0f} s" if missing <= 0 else f"{missing} missing",
            "twice": str(sum(rows - different for rows, different in found.values())),
            "INSERTs/s": f"{max(during.inserts[host] - before.inserts[host] for host in SERVERS) / seconds:.1f}",
            "ClickHouse cores": f"{sum(during.cpu[host] - before.cpu[host] for host in SERVERS) / seconds:.2f}",
            "CPU s per million": f"{1e6 * (clickhouse + gateway) / max(sent.total, 1):.0f}",
            "ZooKeeper requests/s": f"{min(packets):.0f} to {max(packets):.0f}",
        }

    def recovery(self, outage: str) -> dict[str, str]:
        """Stop something for a while under load, and wait from its start until everything sent before that is stored."""
        stopped, unit = OUTAGES[outage]
        agents = self.agents(100)
        load = telemetry_load.Load(f"{time.time_ns():x}", agents, self.platform.secrets["otel_collector_gateway_token"], self.ca)
        with ThreadPoolExecutor(8) as pool:
            sending = pool.submit(load.send, 3600)
            try:
                time.sleep(10)
                list(pool.map(lambda host: inside(host, f"systemctl stop {unit}"), stopped))
                time.sleep(AWAY_SECONDS)
                begin = time.time()
                list(pool.map(lambda host: inside(host, f"systemctl start {unit}"), stopped))
                started = time.time()
                while self.behind(load) > time.time() - begin and time.time() < begin + DRAIN_SECONDS:
                    time.sleep(0.2)
                drained = time.time() - begin
            finally:
                load.stop()
            sent = sending.result()
        seconds = f"{drained:.0f} s (started after {started - begin:.0f} s)"
        return {"agents": f"100, {outage} away for {AWAY_SECONDS} s", "refused": str(sent.refused), "drained after": seconds}

    def behind(self, load: telemetry_load.Load) -> float:
        """The lag, also while a server does not answer."""
        try:
            return self.lag(load)
        except OSError:
            return float("inf")

    def idle(self) -> dict[str, str]:
        """What it costs when only the hosts' own agents send."""
        before = self.counters()
        time.sleep(IDLE_SECONDS)
        after = self.counters()
        seconds = after.at - before.at
        packets = [(after.packets[host] - before.packets[host]) / seconds for host in ENSEMBLE]
        cores = {host: (after.cpu[host] - before.cpu[host]) / seconds for host in after.cpu}
        say("idle, cores by host: " + ", ".join(f"{host} {value:.3f}" for host, value in cores.items()))
        return {
            "agents": "none",
            "INSERTs/s": f"{max(after.inserts[host] - before.inserts[host] for host in SERVERS) / seconds:.1f}",
            "ClickHouse cores": f"{sum(cores[host] for host in SERVERS):.2f}",
            "CPU s an idle hour, all hosts": f"{3600 * sum(cores.values()):.0f}",
            "ZooKeeper requests/s": f"{min(packets):.0f} to {max(packets):.0f}",
        }

    def lag(self, load: telemetry_load.Load) -> float:
        """Seconds since the first request after the newest stored record was made, the most of all shards and signals."""
        lags = [0.0]
        for signal, (name, _, when) in telemetry_load.TABLES.items():
            sql = (
                f"SELECT _shard_num, toUnixTimestamp64Micro(toDateTime64(max({when}), 6)) / 1e6 FROM otel.{name}"
                f" WHERE ServiceName = 'load-{load.run}' GROUP BY _shard_num"
            )
            newest = {str(shard): float(stored) for shard, stored in self.platform.query("ch1", sql)}
            now = time.time()
            for (headers, requested), made in list(load.made.items()):
                # A request is noted at most this long after the time of its records.
                later = made[bisect.bisect(made, newest.get(dict(headers)["x-clickhouse-shard"], 0.0) + 0.1) :]
                if requested == signal and later:
                    lags.append(now - later[0])
        return max(lags)


def table(rows: list[dict[str, str]]) -> str:
    """Rows as text."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    widths = {name: max(len(name), *(len(row.get(name, "-")) for row in rows)) for name in names}
    lines = ["  ".join(name.rjust(widths[name]) for name in names)]
    return "\n".join(lines + ["  ".join(row.get(name, "-").rjust(widths[name]) for name in names) for row in rows])


def main() -> None:
    """Print the table of all configurations."""
    counts = [int(word) for word in sys.argv[1:]] or list(AGENTS)
    chosen = os.environ.get("GROUNDWORK_BENCH_CONFIGURATIONS", ",".join(CONFIGURATIONS)).split(",")
    bench, rows = Bench(), []
    try:
        for name in chosen:
            bench.configure(*CONFIGURATIONS[name])
            makers: list[Callable[[], dict[str, str]]] = [bench.idle, *(partial(bench.row, count) for count in counts)]
            makers += [partial(bench.recovery, outage) for outage in OUTAGES if name != "unbatched"]
            for make in makers:
                rows.append({"configuration": name, **make()})
                print(table(rows[-1:]), flush=True)
    finally:
        print(table(rows), flush=True)
        if not os.environ.get("GROUNDWORK_BENCH_KEEP"):
            hosts.down(NAME)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()
