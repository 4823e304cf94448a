# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configurations that role otel_collector makes, read and run by the real collector."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.groundwork.observability.plugins.filter.tls import GATEWAY_NAME
from ansible_collections.groundwork.observability.plugins.plugin_utils import _components

from tests.support import otelcol
from tests.support.collector_files import AGENT_TOKEN, GATEWAY_TOKEN, INGEST_PASSWORD, Rendered, printing
from tests.support.daemon import free_ports
from tests.unit.test_rendered_values import BASE

SECONDS = 30

@pytest.fixture(scope="session")
def program() -> Path:
    """The collector of the testbed."""
    return otelcol.program()


CLUSTER = {
    "zookeeper": ["zk1", "zk2", "zk3"],
    "clickhouse": ["ch11", "ch12", "ch21", "ch22"],
    "gateway": ["gw1", "gw2"],
    "grafana": ["gw1"],
    "cluster_agent": ["gw1"],
    "prometheus_agent": ["app1"],
    "node_agent": ["gw1", "app1"],
}


MODES = tuple(_components.components()["otel_collector"]["groups"])


@pytest.fixture
def rendered(tmp_path: Path, program: Path) -> Rendered:
    """A folder for configurations."""
    return Rendered(tmp_path, program)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, program: Path) -> Rendered:
    """Everything that the role makes for a cluster with default settings."""
    made = Rendered(tmp_path_factory.mktemp("cluster"), program)
    done = made.render(MODES, CLUSTER)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    return made


@pytest.mark.parametrize("mode", MODES)
def test_the_program_accepts_every_mode(cluster: Rendered, mode: str) -> None:
    """On a host that has nothing yet: neither certificates nor folders of a live installation."""
    cluster.validate(CLUSTER[mode][-1], mode)
    # A line break at the end of a token file would let an empty token in.
    token = cluster.base / CLUSTER[mode][-1] / mode / "gateway_token"
    assert token.read_text(encoding="utf-8") == GATEWAY_TOKEN


def test_a_program_that_accepts_a_configuration_is_asked_once(tmp_path: Path) -> None:
    """What it has is asked only where it refuses. The program is a stand-in that writes down its arguments."""
    asked, program = tmp_path / "asked", tmp_path / "otelcol"
    # It reads all that it is given: who writes to a program that has ended gets an error.
    program.write_text(f'#!/bin/sh\ncat > /dev/null\necho "$@" >> {asked}\n', encoding="utf-8")
    program.chmod(0o755)
    done = Rendered(tmp_path, program).render(("cluster_agent",), CLUSTER)
    assert done.returncode == 0, done.stdout + done.stderr
    assert asked.read_text(encoding="utf-8").splitlines() == ["validate --config=/dev/stdin"] * len(CLUSTER["cluster_agent"])


def unredacted(rendered: Rendered, host: str) -> dict[str, Any]:
    """A gateway's configuration as the program understands it, with its secrets."""
    shown = subprocess.run(
        [str(rendered.program), "print-config", "--feature-gates=otelcol.printInitialConfig", "--mode=unredacted"]
        + rendered.argv(host, "gateway"),
        capture_output=True,
        text=True,
        check=True,
    )
    loaded: dict[str, Any] = yaml.safe_load(shown.stdout)
    return loaded


def test_every_gateway_writes_the_local_tables_of_each_shard(cluster: Rendered) -> None:
    """An exporter for each shard; the password is in the second file only, and arrives as it is."""
    config = cluster.load("gw2", "gateway")
    kinds: list[tuple[str, ...]] = [("clickhouse/{}",), ("clickhouse/{}_ignore_views",)]
    kinds += [("otlp_grpc/{}_logs", "otlp_grpc/{}_traces", "otlp_grpc/{}_metrics"), ("otlp_http/{}",)]
    assert list(config["exporters"]) == [name.format(shard) for kind in kinds for shard in (2, 1) for name in kind]
    for shard in (1, 2):
        exporter = config["exporters"][f"clickhouse/{shard}"]
        assert exporter["endpoint"] == f"tcp://ch{shard}1:9440,ch{shard}2:9440?secure=true"
        assert exporter["logs_table_name"] == "otel_logs_local"
        assert config["exporters"][f"otlp_http/{shard}"]["sending_queue"]["queue_size"] == 2500000000
        assert "password" not in exporter
        for name in (f"clickhouse/{shard}", f"clickhouse/{shard}_ignore_views"):
            assert unredacted(cluster, "gw2")["exporters"][name]["password"] == INGEST_PASSWORD
    assert config["connectors"]["routing/traces"]["default_pipelines"] == ["traces/2"]


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "gateway"])
def test_agents_have_every_gateway(cluster: Rendered, mode: str) -> None:
    """Under one name, whose addresses the unit writes at each start; and a shard of the first one."""
    for host in CLUSTER[mode]:
        exporter = cluster.load(host, mode)["exporters"]["otlp_grpc"]
        assert exporter["endpoint"] == f"{GATEWAY_NAME}:4317"
        unit = (cluster.base / host / mode / "unit").read_text(encoding="utf-8")
        gateways = re.findall(rf"^ExecStartPre=.*/hosts {GATEWAY_NAME} (.*)$", unit, re.MULTILINE)[0].split()
        assert sorted(gateways) == CLUSTER["gateway"]
        assert exporter["headers"] == {"x-clickhouse-shard": gateways[0].removeprefix("gw")}


def test_one_gateway_is_reached_at_its_address(rendered: Rendered) -> None:
    """Or at the one that the user names: neither needs a hosts file."""
    for variables in ({}, {"otel_collector_gateway_endpoint": "gw1:4317"}):
        hosts = {**CLUSTER, "node_agent": ["app1"], "gateway": ["gw1", "gw2"] if variables else ["gw1"]}
        assert rendered.render(("node_agent",), hosts, **variables).returncode == 0
        assert rendered.load("app1", "node_agent")["exporters"]["otlp_grpc"]["endpoint"] == "gw1:4317"
        assert "/etc/hosts" not in (rendered.base / "app1" / "node_agent" / "unit").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("variables", "most"),
    [
        ({}, 8947848),
        ({"otel_collector_gateway_memory_mib": 512}, 2236962),
        ({"otel_collector_gateway_memory_mib": 16384}, 16000000),
        ({"otel_collector_gateway_batch_bytes": 2000000}, 2000000),
    ],
)
def test_batches_fit_into_memory(variables: dict[str, Any], most: int) -> None:
    """The size follows from the memory of the gateway and the number of shards."""
    shards = {"hostvars": {**BASE["hostvars"], "ch2": {**BASE["hostvars"]["ch2"], "clickhouse_shard": 2}}}
    templar = Templar(loader=DataLoader(), variables={**BASE, **shards, "otel_collector_mode": "gateway", **variables})
    exporters = templar.template(trust_as_template("{{ __otel_collector_config }}"))["exporters"]
    batch = exporters["otlp_grpc/1_logs"]["sending_queue"]["batch"]
    assert "batch" not in exporters["otlp_http/1"]["sending_queue"]
    assert batch == {"sizer": "bytes", "flush_timeout": "5s", "min_size": most // 4, "max_size": most}


def test_a_gateway_of_an_external_clickhouse(rendered: Rendered) -> None:
    """One exporter, and no routing."""
    url = "tcp://clickhouse.example.com:9440?secure=true"
    variables = {"otel_collector_clickhouse_endpoint": url, "otel_collector_clickhouse_table_suffix": ""}
    assert rendered.render(("gateway",), {**CLUSTER, "gateway": ["gw1"], "clickhouse": []}, **variables).returncode == 0
    config = rendered.load("gw1", "gateway")
    assert config["exporters"]["clickhouse/external"]["endpoint"] == url
    assert config["exporters"]["clickhouse/external"]["traces_table_name"] == "otel_traces"
    assert config["connectors"] == {}
    rendered.validate("gw1", "gateway")


def test_each_host_scrapes_its_own_collectors(cluster: Rendered) -> None:
    """Those that it runs, and no other's."""
    jobs = cluster.load("gw1", "node_agent")["receivers"]["prometheus/collectors"]["config"]["scrape_configs"]
    targets = {job["job_name"]: [target for entry in job["static_configs"] for target in entry["targets"]] for job in jobs}
    assert targets == {
        "otelcol-gateway": ["127.0.0.1:8888"],
        "otelcol-gateway-relay": ["127.0.0.1:13137"],
        "otelcol-node-agent": ["127.0.0.1:8889"],
        "otelcol-cluster-agent": ["127.0.0.1:8890"],
        "otelcol-prometheus-agent": [],
    }


def test_the_unit_holds_no_secret(cluster: Rendered) -> None:
    """And stays within its limits."""
    unit = (cluster.base / "gw2" / "gateway" / "unit").read_text(encoding="utf-8")
    assert "MemoryMax=2048M" in unit
    assert "GOMEMLIMIT=1638MiB" in unit
    config = (cluster.base / "gw2" / "gateway" / "config.yaml").read_text(encoding="utf-8")
    for secret in (GATEWAY_TOKEN, AGENT_TOKEN, INGEST_PASSWORD):
        assert secret not in unit + config


def test_additions_keep_what_is_there(rendered: Rendered) -> None:
    """Of any component, in lists and with settings of its own; and the queues get the hours that were asked for."""
    service = {"extensions": ["pprof"], "pipelines": {"logs": {"receivers": ["otlp/apps"], "processors": ["attributes"]}}}
    additions = {
        "extensions": {"pprof": {"endpoint": "127.0.0.1:1777"}},
        "receivers": {"otlp/apps": {"protocols": {"http": {"endpoint": "127.0.0.1:5318"}}}},
        "processors": {"attributes": {"actions": [{"key": "team", "value": "shop", "action": "insert"}]}},
        "service": service,
    }
    hours: dict[str, Any] = {"otel_collector_agent_queue_hours": 2, "otel_collector_agent_queue_rate": 100000}
    hosts = {**CLUSTER, "node_agent": ["app1"]}
    assert rendered.render(("node_agent",), hosts, otel_collector_node_agent_additions=additions, **hours).returncode == 0
    config = rendered.load("app1", "node_agent")
    assert config["service"]["extensions"] == ["health_check", "file_storage", "bearertokenauth/gateway", "bearertokenauth/agent", "pprof"]
    logs = config["service"]["pipelines"]["logs"]
    assert logs["receivers"] == ["otlp", "file_log", "otlp/apps"]
    assert logs["processors"] == ["memory_limiter", "resource/host", "resourcedetection", "resource/environment", "attributes"]
    assert "attributes" not in config["service"]["pipelines"]["traces"]["processors"]
    assert config["exporters"]["otlp_grpc"]["sending_queue"]["queue_size"] == 720000000
    rendered.validate("app1", "node_agent")


def test_queues_take_a_share_of_the_file_system(rendered: Rendered) -> None:
    """A gateway's is divided by the number of shards, and a host with another disk has another size."""
    share: dict[str, Any] = {"otel_collector_gateway_queue_percent": 60, "__common_state": {"file_system_bytes": 300_000_000_000}}
    assert rendered.render(("gateway",), {**CLUSTER, "gateway": ["gw1"]}, **share).returncode == 0
    sizes = {
        name: exporter["sending_queue"]["queue_size"]
        for name, exporter in rendered.load("gw1", "gateway")["exporters"].items()
        if name.startswith("otlp_http/")
    }
    assert sizes == {"otlp_http/1": 30_000_000_000, "otlp_http/2": 30_000_000_000}


def test_missing_collector_component_is_named(rendered: Rendered) -> None:
    """Before anything is written."""
    more = {"receivers": {"zookeeper/own": {"endpoint": "zk1:2181"}}}
    done = rendered.render(("cluster_agent",), CLUSTER, otel_collector_cluster_agent_config=more)
    assert done.returncode != 0
    assert "needs: receivers: zookeeper" in re.sub(r"\s+", " ", done.stdout)
    assert not (rendered.base / "gw1").exists()


@pytest.mark.parametrize(
    ("mode", "groups", "variables", "names"),
    [
        ("gateway", {"clickhouse": []}, {}, "otel_collector_clickhouse_endpoint"),
        ("node_agent", {"gateway": []}, {}, "otel_collector_gateway_endpoint"),
        ("node_agent", {}, {"otel_collector_agent_token": "two\nlines-of-token-text"}, "otel_collector_agent_token"),
    ],
)
def test_preflight_names_the_variable(
    rendered: Rendered, mode: str, groups: dict[str, list[str]], variables: dict[str, Any], names: str
) -> None:
    """What can be seen without the host, and no secret in the message."""
    done = rendered.render((mode,), {**CLUSTER, **groups}, **variables)
    assert done.returncode != 0
    assert names in done.stdout
    assert not (rendered.base / CLUSTER[mode][0]).exists()
    assert GATEWAY_TOKEN not in done.stdout + done.stderr
    assert "lines-of-token-text" not in done.stdout + done.stderr


def post(url: str, body: dict[str, Any], token: str | None, certificate: Path | None = None) -> int:
    """Send OTLP as JSON; the status of the answer."""
    headers = {"Content-Type": "application/json"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    context = ssl.create_default_context(cafile=str(certificate)) if certificate else None
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def log_of(body: str, **fields: Any) -> dict[str, Any]:
    """One log record."""
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": body}, **fields}]}]}]}


class Running:
    """A node agent that sends to a gateway that prints what arrives."""

    def __init__(self, rendered: Rendered, **variables: Any) -> None:
        names = ("grpc", "http", "health", "agent_grpc", "agent_http", "agent_health", "metrics", "agent_metrics")
        self.port = dict(zip(names, free_ports(len(names)), strict=True))
        self.log = rendered.base / "syslog"
        self.log.write_text("what was there before the agent\n", encoding="utf-8")
        self.certificate = rendered.certificate
        ports, gateway = self._ports("", "health", "metrics"), printing("logs", "traces", "metrics")
        gateway["service"]["telemetry"] |= ports.pop("service")["telemetry"]
        gateway |= ports
        agent = self._ports("agent_", "agent_health", "agent_metrics")
        done = rendered.render(
            ("gateway", "node_agent"),
            {"clickhouse": ["ch11"], "gateway": ["box"], "node_agent": ["box"]},
            check_program=False,
            ansible_host="127.0.0.1",
            otel_collector_log_paths=[str(self.log)],
            otel_collector_interval="2s",
            otel_collector_gateway_endpoint=f"127.0.0.1:{self.port['grpc']}",
            otel_collector_gateway_config=gateway,
            otel_collector_node_agent_config=agent,
            **variables,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        self.output = {mode: rendered.base / f"{mode}.log" for mode in ("gateway", "node_agent")}
        self.rendered = rendered
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def _ports(self, prefix: str, health: str, metrics: str) -> dict[str, Any]:
        def address(name: str) -> str:
            return f"127.0.0.1:{self.port[name]}"

        exporter = {"prometheus": {"host": "127.0.0.1", "port": self.port[metrics]}}
        return {
            "extensions": {"health_check": {"endpoint": address(health)}},
            "receivers": {
                "otlp": {
                    "protocols": {kind: {"endpoint": address(f"{prefix}{kind}")} for kind in ("grpc", "http")},
                }
            },
            "service": {"telemetry": {"metrics": {"readers": [{"pull": {"exporter": exporter}}]}}},
        }

    def start(self, mode: str) -> None:
        """Start one, with an empty folder for its sockets as systemd makes it, and wait until it is healthy."""
        sockets = self.rendered.base / "box" / mode / "run"
        shutil.rmtree(sockets, ignore_errors=True)
        sockets.mkdir()
        with self.output[mode].open("ab") as output:
            argv = [str(self.rendered.program), *self.rendered.argv("box", mode)]
            self.processes[mode] = subprocess.Popen(argv, stderr=output, stdout=output)
        health = self.port["health" if mode == "gateway" else "agent_health"]
        self.wait(lambda: urllib.request.urlopen(f"http://127.0.0.1:{health}/", timeout=2).status == 200, mode)

    def kill(self, mode: str) -> None:
        """As a crash does."""
        process = self.processes.pop(mode)
        process.kill()
        process.wait()

    def arrived(self) -> str:
        """Everything that the gateway printed."""
        return self.output["gateway"].read_text(encoding="utf-8", errors="replace")

    def wait(self, condition: Any, what: str) -> None:
        """Until true, for a bounded time."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            try:
                if condition():
                    return
            except OSError:
                pass
            time.sleep(0.1)
        logs = "\n".join(path.read_text(encoding="utf-8")[-3000:] for path in self.output.values() if path.exists())
        raise AssertionError(f"{what} after {SECONDS} s\n{logs}")

    def send(self, signal: str, body: dict[str, Any], token: str | None = AGENT_TOKEN) -> int:
        """To the node agent."""
        return post(f"http://127.0.0.1:{self.port['agent_http']}/v1/{signal}", body, token)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, program: Path) -> Iterator[Running]:
    """Both, started as their units start them."""
    base = tmp_path_factory.mktemp("running")
    pair = Running(Rendered(base, program))
    try:
        for mode in ("gateway", "node_agent"):
            pair.start(mode)
        yield pair
    finally:
        for mode in list(pair.processes):
            pair.kill(mode)
        shutil.rmtree(base)


def test_requests_without_the_token_are_refused(running: Running) -> None:
    """Neither none, nor an empty one, nor another's."""
    gateway = f"https://127.0.0.1:{running.port['http']}/v1/logs"
    for token in (None, "", " ", "wrong"):
        assert running.send("logs", log_of("x"), token) == 401
        assert post(gateway, log_of("x"), token, running.certificate) == 401
    assert running.send("logs", log_of("x"), GATEWAY_TOKEN) == 401
    assert post(gateway, log_of("straight"), GATEWAY_TOKEN, running.certificate) == 200


def test_record_is_stored_with_its_host(running: Running) -> None:
    """Through agent and gateway, with what both add."""
    assert running.send("logs", log_of("one record", eventName="checkout.done")) == 200
    running.wait(lambda: "one record" in running.arrived(), "the record has not arrived")
    block = running.arrived().split("one record")[0].rsplit("Resource attributes", 1)[1]
    assert "host.name: Str(box)" in block
    assert "deployment.environment.name: Str(production)" in block
    running.wait(lambda: "event.name: Str(checkout.done)" in running.arrived(), "the event's name is lost")


def test_a_wrong_clock_is_corrected(running: Running) -> None:
    """Dates that would make partitions of their own: of every signal."""
    past, future = str(86400 * 10**9), "4102444800000000000"
    spans = [{"traceId": "a" * 32, "spanId": "b" * 16, "name": "late", "startTimeUnixNano": past}]
    spans[0]["endTimeUnixNano"] = str(int(past) + 5 * 10**9)
    point = {"asInt": "1", "timeUnixNano": future, "startTimeUnixNano": past}
    metrics = [{"name": "early_metric", "gauge": {"dataPoints": [point]}}, {"name": "empty_metric"}]
    assert running.send("logs", log_of("early", timeUnixNano=future)) == 200
    assert running.send("traces", {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}) == 200
    assert running.send("metrics", {"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}) == 200
    for text in ("Body: Str(early)", "Name           : late", "Name: early_metric"):
        running.wait(lambda text=text: text in running.arrived(), f"not arrived: {text}")
    running.wait(lambda: running.arrived().count("clock.skew: Bool(true)") == 3, "the three are not marked")
    assert "2100-01-01" not in running.arrived()
    assert "1970-01-02" not in running.arrived()
    assert "empty_metric" not in running.arrived()
    # A span keeps its length.
    start, end = re.findall(r"(?:Start|End) time +: \S+ (\S+)", running.arrived().split("Name           : late")[1])[:2]
    seconds = [sum(float(part) * unit for part, unit in zip(when.split(":"), (3600, 60, 1), strict=True)) for when in (start, end)]
    assert (seconds[1] - seconds[0]) % 86400 == pytest.approx(5, abs=0.5)


def test_log_files_are_read(running: Running) -> None:
    """Both formats of rsyslog are taken apart; other lines arrive as they are, from when the agent has seen the file."""
    running.wait(lambda: "Started watching file" in running.output["node_agent"].read_text(encoding="utf-8"), "the file is not read")
    with running.log.open("a", encoding="utf-8") as log:
        log.write("2026-01-02T03:04:05.123456+00:00 box clickhouse-server[42]: <Error> new: format\n")
        log.write("Jan  2 03:04:05 box sshd[7]: old format\n")
        log.write("neither of the two\n")
    for text in ("Body: Str(<Error> new: format)", "Body: Str(old format)", "Body: Str(neither of the two)"):
        running.wait(lambda text=text: text in running.arrived(), f"not arrived: {text}")
    assert "service.name: Str(clickhouse-server)" in running.arrived()
    assert "service.name: Str(sshd)" in running.arrived()
    assert "process.pid: Str(42)" in running.arrived()
    running.wait(lambda: "system.cpu.utilization" in running.arrived(), "no metrics of the host")
    assert "what was there before the agent" not in running.arrived()


def test_nothing_is_lost_by_crashes(running: Running) -> None:
    """The gateway is away, the agent crashes with data that it accepted, both come back."""
    running.kill("gateway")
    for number in range(50):
        assert running.send("logs", log_of(f"crash-{number:03}")) == 200
    running.kill("node_agent")
    running.start("node_agent")
    running.start("gateway")
    running.wait(lambda: len(set(re.findall(r"crash-\d{3}", running.arrived()))) == 50, "records are missing")
