# GNU General Public License v3.0+ (see LICENSE)
"""Both replicas of a shard die, records keep coming, the gateway is killed: all of them are there once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

COUNT = 1000
# The killer stops when it is told to, and by itself after this time.
DOWN_SECONDS = 90
COUNTS = (
    "SELECT count(), uniqExact({attributes}['groundwork.probe_seq']) FROM {database}.{table}"
    " WHERE {attributes}['groundwork.probe_id'] = '{probe}'"
)
KILLER = "end=$(( $(date +%s) + {seconds} )); while [ $(date +%s) -lt $end ]; do pkill -9 -u clickhouse; sleep 0.1; done"


def numbers(platform: Any, host: str, query: str) -> list[int]:
    """The first row of an answer."""
    return [int(number) for number in platform.query(host, query)[0]]


def send(inventory: Path, probe: str, token: str) -> dict[str, Any]:
    """Send records to the node agent of the application's host."""
    arguments = {"probe_id": probe, "count": COUNT, "signals": ["logs", "traces"], "token": token}
    program = Path(sys.executable).with_name("ansible")
    argv = [program, "-i", inventory, "app1", "--one-line", "-m", "groundwork.observability.otlp_probe", "-a", json.dumps(arguments)]
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.split("=>", 1)[1])
    return answer


def test_a_dead_shard_and_a_killed_gateway_lose_nothing(
    hosts: dict[str, Any], platform: Any, inventory: Path, until: Callable[..., Any]
) -> None:
    shard, probe = ("ch1", "ch2"), f"fault-{time.time_ns()}"
    restarts = {name: int(hosts[name].check_output("systemctl show --property=NRestarts --value clickhouse-server")) for name in shard}
    for name in shard:
        hosts[name].check_output("systemd-run --quiet --collect --unit=killer sh -c %s", KILLER.format(seconds=DOWN_SECONDS))
    answer = send(inventory, probe, platform.secrets["otel_collector_agent_token"])
    assert answer["accepted"] == {"logs": COUNT, "traces": COUNT}
    # The records are at the gateway, and the shard is still away.
    port = platform.setting("otel_collector_gateway_metrics_port", "gw1")
    until(lambda: waiting(hosts["gw1"], port), "something in the gateway's queue", 30)
    hosts["gw1"].check_output("systemctl kill --signal=KILL otelcol-gateway")
    for name in shard:
        assert hosts[name].service("killer").is_running
        hosts[name].check_output("systemctl stop killer")

    for table, attributes in (("otel_logs", "LogAttributes"), ("otel_traces", "SpanAttributes")):
        names = {"database": platform.database, "attributes": attributes, "probe": probe}
        local, whole = (COUNTS.format(table=name, **names) for name in (f"{table}_local", table))

        def arrived(query: str = local) -> list[list[int]]:
            try:
                first, second, third, fourth = (numbers(platform, name, query) for name in ("ch1", "ch2", "ch3", "ch4"))
            except OSError:  # still away
                return []
            return [first, third] if first == second and third == fourth and first[0] + third[0] >= COUNT else []

        shards = until(arrived, f"{COUNT} records in {table}, on both replicas of each shard", 120)
        assert [sum(column) for column in zip(*shards, strict=True)] == [COUNT, COUNT], shards
        assert numbers(platform, "ch4", whole) == [COUNT, COUNT]
    # Nobody but systemd brought them back.
    for name in shard:
        assert int(hosts[name].check_output("systemctl show --property=NRestarts --value clickhouse-server")) > restarts[name]
        assert hosts[name].service("clickhouse-server").is_running
    assert hosts["gw1"].service("otelcol-gateway").is_running


def waiting(gateway: Any, port: int) -> float:
    """Batches in the gateway's queues, from its own metrics."""
    program = f"import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:{port}/metrics', timeout=5).read().decode())"
    lines = gateway.run("python3 -c %s", program).stdout.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("otelcol_exporter_queue_size"))


def test_a_dead_zookeeper_member_changes_nothing(hosts: dict[str, Any], platform: Any, inventory: Path, until: Callable[..., Any]) -> None:
    """Two of three serve; the third comes back by itself."""
    probe = f"fault-{time.time_ns()}"
    hosts["zk1"].check_output("systemctl kill --signal=KILL zookeeper")
    send(inventory, probe, platform.secrets["otel_collector_agent_token"])
    query = COUNTS.format(database=platform.database, table="otel_logs", attributes="LogAttributes", probe=probe)
    until(lambda: numbers(platform, "ch1", query) == [COUNT, COUNT], "all there once", 60)
    until(lambda: hosts["zk1"].service("zookeeper").is_running, "back", 30)
