# GNU General Public License v3.0+ (see LICENSE)
"""Processes are killed, stopped and cut off while agents send: every acknowledged record is there once."""

from __future__ import annotations

import base64
import json
import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support import telemetry_load

COUNT = 1000
SHARDS = {"1": ("ch1", "ch2"), "2": ("ch3", "ch4")}
SERVERS = [host for hosts in SHARDS.values() for host in hosts]
ENSEMBLE = ["zk1", "zk2", "zk3"]
# Seconds that a shard is away, and faults of the random test.
AWAY_SECONDS = int(os.environ.get("GROUNDWORK_AWAY_SECONDS", "60"))
FAULTS = int(os.environ.get("GROUNDWORK_FAULTS", "20"))
DRAIN_SECONDS = 120

KILL_AGAIN = "end=$(( $(date +%s) + {seconds} )); while [ $(date +%s) -lt $end ]; do pkill -9 -u {user}; sleep 0.1; done"
# Fault -> the hosts that it may meet (as many as it takes at once), and what is run on them in the background.
FAULT_KINDS: dict[str, tuple[list[list[str]], str]] = {
    "kill the gateway": ([["gw1"]], "pkill -9 -u otelcol-gateway"),
    "kill a replica": ([[host] for host in SERVERS], "pkill -9 -u clickhouse"),
    "stop a replica for 5 s": ([[host] for host in SERVERS], "pkill -STOP -u clickhouse; sleep 5; pkill -CONT -u clickhouse"),
    "cut a replica off for 5 s": (
        [[host] for host in SERVERS],
        "iptables -I INPUT ! -i lo -p tcp ! --dport 22 -j DROP; sleep 5; iptables -D INPUT ! -i lo -p tcp ! --dport 22 -j DROP",
    ),
    "kill a member of the ensemble": ([[host] for host in ENSEMBLE], "pkill -9 -u zookeeper"),
    "keep the whole ensemble away for 10 s": ([ENSEMBLE], KILL_AGAIN.format(seconds=10, user="zookeeper")),
}
# Roll-up -> its number of records, and the table that it counts.
ROLL_UPS = {
    "logs_volume_1m": ("Rows", "otel_logs"),
    "traces_red_1m": ("Calls", "otel_traces"),
    "metrics_gauge_5m": ("Cnt", "otel_metrics_gauge"),
}


@pytest.fixture
def load(platform: Any) -> telemetry_load.Load:
    """Twenty agents, ten for each shard."""
    gateway = f"{platform.addresses['gw1']}:{platform.setting('otel_collector_gateway_grpc_port', 'gw1')}"
    agents = [telemetry_load.Agent(f"agent{number}", gateway, (("x-clickhouse-shard", str(1 + number % 2)),)) for number in range(20)]
    token = platform.secrets["otel_collector_gateway_token"]
    return telemetry_load.Load(f"{time.time_ns():x}", agents, token, (platform.folder / "pki/ca.crt").read_bytes())


def records(platform: Any, host: str, run: str, suffix: str = "") -> tuple[int, int]:
    """Rows and different records of a run, of all signals, as one server sees them."""
    rows = [0, 0]
    for table, attributes, _ in telemetry_load.TABLES.values():
        where = f"FROM {platform.database}.{table}{suffix} WHERE ServiceName = 'load-{run}'"
        query = f"SELECT count(), uniqExact({attributes}['load.id']) {where}"
        rows = [total + int(number) for total, number in zip(rows, platform.query(host, query)[0], strict=True)]
    return rows[0], rows[1]


def on_both_replicas(platform: Any, run: str, accepted: dict[str, int]) -> Callable[[], dict[str, list[tuple[int, int]]] | None]:
    """A call that gives what is stored by shard, once both replicas of each have all different records that were acknowledged.

    It prints what was stored before, for a test that fails.
    """
    printed: dict[str, list[tuple[int, int]]] = {}

    def call() -> dict[str, list[tuple[int, int]]] | None:
        try:
            found = {shard: [records(platform, host, run, "_local") for host in hosts] for shard, hosts in SHARDS.items()}
        except OSError as error:  # still away
            print(error)
            return None
        if found != printed:
            printed.update(found)
            print(found)
        complete = all(first == second and first[1] >= accepted[shard] for shard, (first, second) in found.items())
        return found if complete else None

    return call


def accepted_by_shard(sent: telemetry_load.Sent) -> dict[str, int]:
    """Acknowledged records by shard."""
    return {dict(headers)["x-clickhouse-shard"]: count for headers, count in sent.by_headers.items()}


def queued(gateway: Any, port: int, exporter: str) -> float:
    """Bytes in the gateway's queues of an exporter, from its own metrics."""
    program = f"import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:{port}/metrics', timeout=5).read().decode())"
    lines = gateway.run("python3 -c %s", program).stdout.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("otelcol_exporter_queue_size") and exporter in line)


def assert_roll_ups_are_exact(platform: Any, run: str) -> None:
    """Every roll-up counts what is stored, on each shard."""
    for host in (hosts[0] for hosts in SHARDS.values()):
        for roll_up, (column, table) in ROLL_UPS.items():
            where = f"WHERE ServiceName = 'load-{run}'"
            counted = platform.query(host, f"SELECT sum({column}) FROM {platform.database}.{roll_up}_local {where}")[0][0]
            stored = platform.query(host, f"SELECT count() FROM {platform.database}.{table}_local {where}")[0][0]
            assert int(counted) == int(stored), (host, roll_up)


def test_unavailable_shard_does_not_block_others(
    hosts: dict[str, Any], platform: Any, load: telemetry_load.Load, until: Callable[..., Any]
) -> None:
    """Both replicas of a shard are killed again and again: the other shard's records arrive, those of this one later, each once."""
    port = platform.setting("otel_collector_gateway_metrics_port", "gw1")
    counter = "systemctl show --property=NRestarts --value clickhouse-server"
    restarts = {name: int(hosts[name].check_output(counter)) for name in SHARDS["1"]}
    for name in SHARDS["1"]:
        script = KILL_AGAIN.format(seconds=AWAY_SECONDS + 60, user="clickhouse")
        hosts[name].check_output("systemd-run --quiet --collect --unit=killer sh -c %s", script)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(load.send, AWAY_SECONDS)
        try:
            until(lambda: queued(hosts["gw1"], port, "otlp_http/1"), "something in the queue of the shard that is away", 30)
            sent = sending.result()
            accepted = accepted_by_shard(sent)
            until(lambda: records(platform, "ch3", load.run, "_local")[1] == accepted["2"], "all of the other shard", 30)
            assert queued(hosts["gw1"], port, "otlp_http/1") > 0
            assert all(hosts[name].service("killer").is_running for name in SHARDS["1"])
        finally:
            load.stop()
            for name in SHARDS["1"]:
                hosts[name].check_output("systemctl stop killer")
    assert sent.unsent == 0
    stored = until(on_both_replicas(platform, load.run, accepted), f"all of {accepted} on both replicas", DRAIN_SECONDS)
    assert {shard: rows for shard, (rows, _) in stored.items()} == {shard: (count, count) for shard, count in accepted.items()}
    assert_roll_ups_are_exact(platform, load.run)
    # Nobody but systemd brought them back.
    for name in SHARDS["1"]:
        assert int(hosts[name].check_output(counter)) > restarts[name]


def test_refused_record_does_not_block_others(
    hosts: dict[str, Any], platform: Any, load: telemetry_load.Load, until: Callable[..., Any], playbook: Callable[..., Any]
) -> None:
    """A log that a user's view refuses is in the table; one that a user's constraint refuses is a dead letter until that is gone."""
    table, view = f"{platform.database}.otel_logs_local", f"{platform.database}.refuses_one"
    record = f"ServiceName = 'load-{load.run}' AND LogAttributes['load.id'] = '%s'"
    folder = "/var/lib/otelcol/gateway/dead_letters"
    letters = f"find {folder} -name '*.otlp' | wc -l"
    before = int(hosts["gw1"].check_output(letters))
    try:
        for server in SHARDS["1"]:
            query = f"SELECT throwIf({record % 'agent2/25'}, 'no such customer') AS refused FROM {table}"
            platform.query(server, f"CREATE MATERIALIZED VIEW {view} ENGINE = Null AS {query}")
        platform.query("ch1", f"ALTER TABLE {table} ADD CONSTRAINT only_some CHECK NOT ({record % 'agent4/45'})")
        sent = load.send(len(telemetry_load.SIGNALS) * telemetry_load.INTERVAL)
        accepted = accepted_by_shard(sent)
        assert sent.unsent == 0 and accepted["1"] == accepted["2"]
        until(lambda: int(hosts["gw1"].check_output(letters)) == before + 1, "a dead letter", DRAIN_SECONDS)
        others = {shard: count - (shard == "1") for shard, count in accepted.items()}
        stored = until(on_both_replicas(platform, load.run, others), f"all of {others} on both replicas", DRAIN_SECONDS)
        assert {shard: rows for shard, (rows, _) in stored.items()} == {shard: (count, count) for shard, count in others.items()}
        assert platform.query("ch1", f"SELECT count() FROM {table} WHERE {record % 'agent2/25'}") == [[1]]
        about = json.loads(hosts["gw1"].check_output(f"grep -l load-{load.run} {folder}/*.otlp | sed s/otlp$/json/ | xargs cat"))
        assert (about["signal"], about["shard"], about["records"]) == ("logs", "1", 1)
        assert about["refused"].startswith("VIOLATED_CONSTRAINT") and "only_some" in about["refused"]
        journal = "journalctl -u otelcol-gateway-relay --since=-5min -o cat --no-pager | grep 'a view of shard 1 misses a batch of'"
        until(lambda: "no such customer" in hosts["gw1"].run(journal).stdout, "a line about the view in the relay's journal", DRAIN_SECONDS)
        still = playbook("playbooks/dead_letters.yml")
        said = " ".join(still.stdout.split())
        assert still.returncode != 0 and f"others are left in {folder}. ClickHouse still refuses 1:" in said, said
    finally:
        for server in SHARDS["1"]:
            platform.query(server, f"DROP TABLE IF EXISTS {view} SYNC")
        platform.query("ch1", f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS only_some")
    again = playbook("playbooks/dead_letters.yml")
    assert again.returncode == 0, again.stdout + again.stderr
    stored = until(on_both_replicas(platform, load.run, accepted), f"all of {accepted} on both replicas", DRAIN_SECONDS)
    assert {shard: rows for shard, (rows, _) in stored.items()} == {shard: (count, count) for shard, count in accepted.items()}
    assert int(hosts["gw1"].check_output(letters)) == 0
    assert_roll_ups_are_exact(platform, load.run)


def test_dashboards_survive_a_lost_server(
    hosts: dict[str, Any], groups: dict[str, list[str]], platform: Any, ask: Callable[..., str], until: Callable[..., Any]
) -> None:
    """Grafana (in the testbed a stand-in, whose connection to ClickHouse is real) asks the servers that are left, one after the other."""
    name = groups["grafana"][0]
    port, user = platform.setting("grafana_port", name), platform.setting("grafana_admin_user", name)
    login = base64.b64encode(f"{user}:{platform.secrets['grafana_admin_password']}".encode()).decode()
    url = f"https://{platform.addresses[name]}:{port}/api/datasources/uid/clickhouse/health"

    def failed() -> list[str]:
        """Answers of as many questions in a row as there are servers, without those that are right."""
        answers = [ask(hosts[name], url, {"Authorization": f"Basic {login}"}, ca="/etc/grafana/tls/ca.crt") for _ in SERVERS]
        return [answer for answer in answers if not answer.startswith("200")]

    assert failed() == []
    for server in ("ch1", "ch4"):
        try:
            hosts[server].check_output("systemctl stop clickhouse-server")
            # At once by another try, whether the proxy has noticed yet or not.
            assert failed() == [], server
            noticed = f"journalctl --unit=grafana-clickhouse-proxy --since=-1min --output=cat | grep -c '{server} is DOWN'"
            until(lambda noticed=noticed: int(hosts[name].run(noticed).stdout or 0), "noticed by the proxy", 30)
            assert failed() == [], server
        finally:
            hosts[server].check_output("systemctl start clickhouse-server")
        back = f"journalctl --unit=grafana-clickhouse-proxy --since=-1min --output=cat | grep -c '{server} is UP'"
        until(lambda back=back: int(hosts[name].run(back).stdout or 0), "back behind the proxy", 60)


def test_random_faults_lose_nothing(hosts: dict[str, Any], platform: Any, load: telemetry_load.Load, until: Callable[..., Any]) -> None:
    """Gateway, replicas and ensemble meet random faults under load. Records are stored twice only where a gateway was killed."""
    seed = int(os.environ.get("GROUNDWORK_SEED", "0")) or random.randrange(2**32)
    print(f"\nseed {seed}")
    chance = random.Random(seed)
    done = []
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(load.send, 3600)
        try:
            for number in range(FAULTS):
                # The first one is the gateway's: the most interesting one is in every run.
                kind = "kill the gateway" if number == 0 else chance.choice(list(FAULT_KINDS))
                targets, script = FAULT_KINDS[kind]
                target = chance.choice(targets)
                time.sleep(chance.uniform(2, 6))
                for host in target:
                    hosts[host].check_output(f"systemd-run --quiet --collect --unit=fault{number} sh -c %s", script)
                done.append(kind)
                print(f"{kind}: {', '.join(target)}")
                for host in target:
                    until(lambda host=host, number=number: not hosts[host].service(f"fault{number}").is_running, "fault over", 60)
        finally:
            load.stop()
            sent = sending.result()
    ended = time.monotonic()
    accepted = accepted_by_shard(sent)
    stored = until(on_both_replicas(platform, load.run, accepted), f"all of {accepted} on both replicas", DRAIN_SECONDS)
    twice = sum(rows - different for (rows, different), _ in stored.values())
    killed = done.count("kill the gateway")
    print(
        f"{sent.total} records acknowledged, all stored, drained after {time.monotonic() - ended:.0f} s;"
        f" {twice} stored twice, with the gateway killed {killed} times and {sent.unanswered} sent again because no answer came"
    )
    assert sent.unsent == 0
    assert {shard: different for shard, ((_, different), _) in stored.items()} == accepted
    assert killed or not twice
    assert_roll_ups_are_exact(platform, load.run)


def test_writes_continue_without_one_zookeeper(
    hosts: dict[str, Any], send: Callable[..., dict[str, Any]], stored: Callable[..., Any], until: Callable[..., Any]
) -> None:
    """Two of three serve; the third comes back by itself."""
    probe = f"fault-{time.time_ns()}"
    hosts["zk1"].check_output("systemctl kill --signal=KILL zookeeper")
    answer = send("app1", probe, COUNT)
    assert answer["accepted"] == {"logs": COUNT, "traces": COUNT}
    until(lambda: stored("ch1", probe) == {"logs": [COUNT, COUNT], "traces": [COUNT, COUNT]}, "all there once", 60)
    until(lambda: hosts["zk1"].service("zookeeper").is_running, "back", 30)
