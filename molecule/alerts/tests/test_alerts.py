# GNU General Public License v3.0+ (see LICENSE)
"""Faults are made on running hosts and mended: the condition of each alert turns true and back.

The rules are those that Grafana (a stand-in) has. Each is evaluated at the present moment by its own query, reduction and threshold. The
query goes through Grafana's proxy, with TLS, as Grafana's user. The time for which a condition has to last (`for`) is not waited for.
"""

from __future__ import annotations

import base64
import http.client
import json
import shlex
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.daemon import free_ports
from tests.support.grafana_alerts import RuleError, evaluate

Labels = dict[str, str]
# Seconds between two evaluations of a rule.
PAUSE = 3


class Grafana:
    """The rules that Grafana has, and its way to ClickHouse: through the proxy on its host, which a tunnel leads to."""

    def __init__(self, platform: Any, tunnel: int) -> None:
        self._platform, self._tunnel = platform, tunnel
        self._source = self._get("datasources/uid/clickhouse")["jsonData"]
        self.rules: dict[str, dict[str, Any]] = {}
        self.read_rules()

    def _get(self, path: str) -> Any:
        login = f"{self._platform.setting('grafana_admin_user', 'gw1')}:{self._platform.secrets['grafana_admin_password']}"
        url = f"https://{self._platform.addresses['gw1']}:{self._platform.setting('grafana_port', 'gw1')}/api/{path}"
        request = urllib.request.Request(url, headers={"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"})
        with urllib.request.urlopen(request, context=self._platform.context, timeout=30) as answer:
            return json.load(answer)

    def read_rules(self) -> None:
        """Ask for the rules, again after a playbook has changed them."""
        self.rules = {rule["uid"]: rule for rule in self._get("v1/provisioning/alert-rules")}

    def query(self, sql: str) -> str:
        """Ask as the data source does."""
        parameters = {"database": self._source["defaultDatabase"], "default_format": "JSONCompact", "max_execution_time": 60}
        login = {"X-ClickHouse-User": self._source["username"], "X-ClickHouse-Key": self._platform.secrets["clickhouse_grafana_password"]}
        url = f"https://127.0.0.1:{self._tunnel}/?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, sql.encode(), login), context=self._platform.context, timeout=60
            ) as answer:
                return str(answer.read().decode())
        except http.client.HTTPException as error:
            raise OSError(f"the answer was cut off: {error!r}") from error

    def firing(self, uid: str) -> list[Labels] | None:
        """Labels of the instances whose condition is true. None after an error, when Grafana keeps the state that the rule had."""
        try:
            found = evaluate(self.rules[uid], self.query, datetime.now(UTC))
        except RuleError:
            return None
        return sorted((instance.labels for instance in found if instance.firing), key=str)


@dataclass(frozen=True)
class Site:
    """The running hosts, and what faults are made with."""

    platform: Any
    grafana: Grafana
    everywhere: Callable[..., dict[str, str]]
    playbook: Callable[..., subprocess.CompletedProcess[str]]
    until: Callable[..., Any]


Step = Callable[[Site], object]


def nothing(_site: Site) -> None:
    """There is nothing to do."""


@dataclass(frozen=True)
class Fault:
    """What makes a fault and mends it, and which instances of which alerts are true meanwhile; {database} stands for the telemetry's."""

    alerts: dict[str, list[Labels]]
    make: Step
    mend: Step
    # Removes what was there for the fault only.
    clean: Step = nothing
    # How long each alert has to become true, and false again.
    seconds: float = 150


def on(script: str, *hosts: str) -> Step:
    """Runs a script on hosts, as root."""
    return lambda site: site.everywhere(script, hosts)


def stopped(alerts: dict[str, list[Labels]], unit: str, *hosts: str, seconds: float = 150) -> Fault:
    """A service that is stopped and started."""
    return Fault(alerts, on(f"systemctl stop {unit}", *hosts), on(f"systemctl start {unit}", *hosts), seconds=seconds)


def sql(*statements: str) -> Step:
    """Runs statements on ch3 as the administrator. The tables belong to this server alone; {database} stands for the telemetry's."""

    def run(site: Site) -> None:
        for statement in statements:
            site.platform.query("ch3", statement.format(database=site.platform.database))

    return run


def table(name: str) -> str:
    """A table with one row."""
    return f"CREATE TABLE {{database}}.{name} (x UInt32) ENGINE = MergeTree ORDER BY x AS SELECT 1"


def cut_off(action: str) -> Step:
    """Adds (-I) or removes (-D) rules of a firewall, with which the gateway reaches no server of shard 2."""

    def run(site: Site) -> None:
        port = site.platform.setting("clickhouse_native_port", "gw1")
        commands = [f"iptables {action} OUTPUT -p tcp -d {site.platform.addresses[host]} --dport {port} -j DROP" for host in ("ch3", "ch4")]
        site.everywhere(" && ".join(commands), ["gw1"])

    return run


def fill_the_queue(site: Site) -> None:
    """Cut the gateway off from a shard, and send logs for it until the gateway refuses them."""
    cut_off("-I")(site)
    logs = {"scopeLogs": [{"logRecords": [{"body": {"stringValue": "x" * 50_000}}] * 40}]}
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {site.platform.secrets['otel_collector_gateway_token']}",
        "x-clickhouse-shard": "2",
    }
    url = f"https://{site.platform.addresses['gw1']}:{site.platform.setting('otel_collector_gateway_http_port', 'gw1')}/v1/logs"
    request = urllib.request.Request(url, json.dumps({"resourceLogs": [logs]}).encode(), headers)

    def refused() -> bool:
        try:
            with urllib.request.urlopen(request, context=site.platform.context, timeout=60):
                return False
        except urllib.error.HTTPError as error:
            return error.code >= http.HTTPStatus.TOO_MANY_REQUESTS

    site.until(refused, "refused", 120)


def deliver_certificates(site: Site, **variables: int) -> None:
    """Run the playbooks for Grafana alone: they issue the certificates that are due, and tell Grafana when those of hosts end."""
    done = site.playbook("playbooks/site.yml", "--tags", "grafana", "-e", json.dumps(variables))
    assert done.returncode == 0, done.stdout
    site.grafana.read_rules()


def short_lived_certificate(site: Site) -> None:
    """Grafana's host gets a certificate that ends in ten days."""
    (site.platform.folder / "pki/hosts/gw1.crt").unlink()
    deliver_certificates(site, observability_tls_days=10, observability_tls_renew_days=5)


FILL_A_DISK = """set -e
mkdir -p /run/small /srv/data
mount -t tmpfs -o size=16m tmpfs /run/small
mkdir /run/small/lower /run/small/upper /run/small/work
mount -t overlay -o lowerdir=/run/small/lower,upperdir=/run/small/upper,workdir=/run/small/work overlay /srv/data
systemctl restart otelcol-node-agent
head -c 15700000 /dev/zero > /srv/data/full
"""
# Source and target of a snapshot, and the view that copies one to the other.
SNAPSHOT = (
    table("source"),
    "CREATE TABLE {database}.target (x UInt32) ENGINE = MergeTree ORDER BY x",
    "CREATE MATERIALIZED VIEW {database}.snapshot REFRESH EVERY 1 SECOND TO {database}.target AS SELECT x FROM {database}.source",
    "SYSTEM WAIT VIEW {database}.snapshot",
)
SERVERS = ("ch1", "ch2", "ch3", "ch4")
ENSEMBLE = ("zk1", "zk2", "zk3")

# The agent's fault takes minutes until it is seen. The others are made meanwhile.
SILENT_AGENT = stopped({"host-agent-silent": [{"host": "ch4"}]}, "otelcol-node-agent", "ch4", seconds=600)
# The faults of a group do not disturb each other and are made at the same time.
GROUPS: tuple[tuple[Fault, ...], ...] = (
    (
        stopped({"clickhouse-down": [{"host": "ch2"}], "clickhouse-replica-missing": [{"shard": "1"}]}, "clickhouse-server", "ch2"),
        stopped({"zookeeper-down": [{"host": "zk3"}], "zookeeper-followers": [{}]}, "zookeeper", "zk3"),
        stopped({"collector-down": [{"host": "app1", "service": "otelcol-prometheus-agent"}]}, "otelcol-prometheus-agent", "app1"),
        # It hangs: its unit would stop the proxy with it, which the rules are asked through.
        Fault(
            {"grafana-down": [{"host": "gw1"}]},
            on("systemctl kill --signal=STOP grafana-server", "gw1"),
            on("systemctl kill --signal=CONT grafana-server", "gw1"),
        ),
        Fault(
            {"host-disk": [{"host": "zk1", "mountpoint": "/srv/data"}]},
            on(FILL_A_DISK, "zk1"),
            on("rm /srv/data/full", "zk1"),
            on("umount /srv/data /run/small && systemctl restart otelcol-node-agent", "zk1"),
        ),
        Fault(
            {"clickhouse-parts": [{"host": "ch3"}]},
            sql(
                "CREATE TABLE {database}.pieces (x UInt32) ENGINE = MergeTree ORDER BY x",
                "SYSTEM STOP MERGES {database}.pieces",
                "INSERT INTO {database}.pieces SELECT number FROM numbers(301)"
                " SETTINGS max_block_size = 1, min_insert_block_size_rows = 1, max_insert_threads = 1",
            ),
            sql("SYSTEM START MERGES {database}.pieces", "OPTIMIZE TABLE {database}.pieces FINAL"),
            sql("DROP TABLE IF EXISTS {database}.pieces SYNC"),
        ),
        Fault(
            {"clickhouse-mutation-stuck": [{"host": "ch3", "table": "{database}.waits"}]},
            sql(
                table("waits"),
                "SYSTEM STOP MERGES {database}.waits",
                "ALTER TABLE {database}.waits DELETE WHERE x = 1 SETTINGS mutations_sync = 0",
            ),
            sql("SYSTEM START MERGES {database}.waits"),
            sql("DROP TABLE IF EXISTS {database}.waits SYNC"),
        ),
        Fault(
            {"clickhouse-mutation-failing": [{"host": "ch3", "table": "{database}.fails"}]},
            sql(table("fails"), "ALTER TABLE {database}.fails DELETE WHERE throwIf(x = 1) SETTINGS mutations_sync = 0"),
            sql("KILL MUTATION WHERE database = '{database}' AND table = 'fails'"),
            sql("DROP TABLE IF EXISTS {database}.fails SYNC"),
        ),
        Fault(
            {"clickhouse-snapshot-failing": [{"host": "ch3", "view": "{database}.snapshot"}]},
            sql(*SNAPSHOT, "RENAME TABLE {database}.source TO {database}.away"),
            sql("RENAME TABLE {database}.away TO {database}.source"),
            sql(*(f"DROP TABLE IF EXISTS {{database}}.{name} SYNC" for name in ("snapshot", "target", "source", "away"))),
        ),
    ),
    (
        Fault(
            {"collector-queue": [{"host": "gw1", "service": "otelcol-gateway", "exporter": "otlp_http/2", "signal": "logs"}]},
            fill_the_queue,
            cut_off("-D"),
        ),
    ),
    (
        stopped(
            {
                "clickhouse-replica-readonly": [{"host": host} for host in SERVERS],
                "telemetry-metrics-stale": [{}],
                "telemetry-stale": [{"signal": "logs"}, {"signal": "traces"}],
                "zookeeper-no-leader": [{}],
            },
            "zookeeper",
            *ENSEMBLE,
            seconds=300,
        ),
    ),
    # Mended by a run with the default, which renews what ends within 30 days.
    (Fault({"certificate-expires": [{"host": "gw1"}]}, short_lived_certificate, deliver_certificates),),
    (stopped({"clickhouse-unreachable": [{}]}, "grafana-clickhouse-proxy", "gw1"),),
)
ALERTS = [uid for fault in (SILENT_AGENT, *(fault for group in GROUPS for fault in group)) for uid in fault.alerts]


def show(site: Site, fault: Fault) -> dict[str, list[list[Labels]]]:
    """Make a fault and mend it: alert -> the instances that were true before, meanwhile and afterwards."""
    seen: dict[str, list[list[Labels]]] = {uid: [] for uid in fault.alerts}
    firing = {
        uid: [{name: value.format(database=site.platform.database) for name, value in labels.items()} for labels in instances]
        for uid, instances in fault.alerts.items()
    }

    def wait_for(when: str, wanted: dict[str, list[Labels]]) -> None:
        for uid, instances in wanted.items():
            deadline = time.monotonic() + fault.seconds
            while (found := site.grafana.firing(uid)) != instances:
                assert time.monotonic() < deadline, f"{uid} {when}: {found} instead of {instances}"
                time.sleep(PAUSE)
            seen[uid].append(found)

    none: dict[str, list[Labels]] = {uid: [] for uid in fault.alerts}
    wait_for("before the fault", none)
    try:
        try:
            fault.make(site)
            wait_for("during the fault", firing)
        finally:
            fault.mend(site)
        wait_for("after the fault", none)
    finally:
        fault.clean(site)
    return seen


@pytest.fixture(scope="module")
def grafana(connections: dict[str, Any], platform: Any, until: Callable[..., Any]) -> Iterator[Grafana]:
    variables, (port,) = connections["vars"], free_ports(1)
    proxy = f"127.0.0.1:{platform.setting('grafana_clickhouse_proxy_port', 'gw1')}"
    argv = ["ssh", "-i", variables["ansible_ssh_private_key_file"], *shlex.split(variables["ansible_ssh_common_args"])]
    argv += ["-N", "-L", f"127.0.0.1:{port}:{proxy}", f"{variables['ansible_user']}@{platform.addresses['gw1']}"]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as tunnel:
        try:
            grafana = Grafana(platform, port)
            # This rule is true while metrics arrive.
            until(lambda: grafana.firing("heartbeat") == [{}], "a tunnel to the proxy, and metrics", 120)
            yield grafana
        finally:
            tunnel.terminate()


@pytest.fixture(scope="module")
def shown(
    grafana: Grafana,
    platform: Any,
    everywhere: Callable[..., dict[str, str]],
    playbook: Callable[..., subprocess.CompletedProcess[str]],
    until: Callable[..., Any],
) -> dict[str, Future[dict[str, list[list[Labels]]]]]:
    """All faults are made, group after group: alert -> what C(show) returned or raised."""
    site = Site(platform, grafana, everywhere, playbook, until)
    with ThreadPoolExecutor(1 + max(len(group) for group in GROUPS)) as pool:
        outcome = dict.fromkeys(SILENT_AGENT.alerts, pool.submit(show, site, SILENT_AGENT))
        for group in GROUPS:
            started = [pool.submit(show, site, fault) for fault in group]
            wait(started)
            outcome |= {uid: future for fault, future in zip(group, started, strict=True) for uid in fault.alerts}
    return outcome


@pytest.mark.parametrize("uid", ALERTS)
def test_condition_turns_true_and_back(shown: dict[str, Future[dict[str, list[list[Labels]]]]], uid: str) -> None:
    before, meanwhile, afterwards = shown[uid].result()[uid]
    assert before == afterwards == []
    assert meanwhile
