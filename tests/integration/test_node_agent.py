# GNU General Public License v3.0+ (see LICENSE)
"""A real node agent with two real gateways: a gateway that is killed and comes back, and log files that are rotated."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import grpc
import pytest
from ansible_collections.groundwork.observability.plugins.filter.tls import GATEWAY_NAME

from tests.support import otelcol, telemetry_load
from tests.support.collector_files import AGENT_TOKEN, GATEWAY_TOKEN, Rendered, printing
from tests.support.daemon import free_ports, listening

GATEWAYS = ("127.0.0.2", "127.0.0.3")
AGENT = "agent1"
CONTAINER = "0123456789abcdef" * 4
SECONDS = 60
CHECK_DATA = """
- name: Check the data of the agent
  hosts: node_agent
  gather_facts: false
  vars:
    otel_collector_mode: node_agent
  tasks:
    - name: Check
      ansible.builtin.import_role: {name: groundwork.observability.otel_collector, tasks_from: data}
"""


class Failover:
    """Two gateways that print what they get, each at an address of its own, and an agent that sends to both."""

    def __init__(self, base: Path) -> None:
        self.rendered = Rendered(base, otelcol.program())
        grpc, http, gateway_health, gateway_metrics, self.port, *own = free_ports(8)
        agent_grpc, agent_health, agent_metrics = own
        self.own_ports = {"grpc": agent_grpc, "health": agent_health, "metrics": agent_metrics}
        self.health = {**{name: f"{name}:{gateway_health}" for name in GATEWAYS}, AGENT: f"127.0.0.1:{agent_health}"}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.output = {name: base / f"{name}.log" for name in self.health}
        self.sent = 0
        self.log, self.stacks, self.containers = (base / "logs" / name for name in ("app.log", "stacks.log", f"{CONTAINER}-json.log"))
        self.log.parent.mkdir()
        gateway = printing("logs", "traces", "metrics")
        gateway["extensions"] = {"health_check": {"endpoint": f"{{{{ inventory_hostname }}}}:{gateway_health}"}}
        reader = {"pull": {"exporter": {"prometheus": {"host": "{{ inventory_hostname }}", "port": gateway_metrics}}}}
        gateway["service"]["telemetry"]["metrics"] = {"readers": [reader]}
        done = self.rendered.render(
            ("gateway", "node_agent"),
            {"clickhouse": ["ch11"], "gateway": list(GATEWAYS), "node_agent": [AGENT]},
            check_program=False,
            otel_collector_log_paths=[str(self.log)],
            otel_collector_multiline_logs=[
                {"name": "stacks", "paths": [str(self.stacks)], "line_start_pattern": r"^\d+ (ERROR|INFO)\b|^x$"}
            ],
            otel_collector_container_logs=True,
            otel_collector_container_log_paths=[str(self.log.parent / "*-json.log")],
            otel_collector_gateway_grpc_port=grpc,
            otel_collector_gateway_http_port=http,
            otel_collector_gateway_config=gateway,
            otel_collector_node_agent_grpc_port=agent_grpc,
            otel_collector_node_agent_http_port=self.port,
            otel_collector_node_agent_health_port=agent_health,
            otel_collector_node_agent_metrics_port=agent_metrics,
            # Each record is a request of its own.
            otel_collector_node_agent_config={
                "exporters": {"otlp_grpc": {"sending_queue": {"batch": {"flush_timeout": "10ms", "min_size": 100, "max_size": 100000}}}}
            },
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def folder(self, name: str) -> Path:
        """What its unit calls the folder of the configuration."""
        return self.rendered.base / name / ("node_agent" if name == AGENT else "gateway")

    def start(self, name: str) -> None:
        """As the unit does, with its empty folder, and its own hosts file if it has one."""
        folder = self.folder(name)
        shutil.rmtree(folder / "run", ignore_errors=True)
        (folder / "run").mkdir()
        for command in self.rendered.before_start(name, folder.name):
            subprocess.run(command, check=True)
        with self.output[name].open("ab") as output:
            self.processes[name] = subprocess.Popen(self.rendered.command(name, folder.name), stdout=output, stderr=output)
        self.until(lambda: urllib.request.urlopen(f"http://{self.health[name]}/", timeout=2).status == 200, f"{name} is not healthy")

    def kill(self, name: str) -> None:
        """As a crash does."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def until(self, condition: Callable[[], bool], problem: str) -> None:
        """Wait for a bounded time."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            try:
                if condition():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        logs = "\n".join(path.read_text(encoding="utf-8")[-3000:] for path in self.output.values() if path.exists())
        raise AssertionError(f"{problem} after {SECONDS} s\n{logs}")

    def post(self, text: str, token: str | None) -> int:
        """Send a record by HTTP; the status of the answer."""
        body = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": text}}]}]}]}).encode()
        headers = {"Content-Type": "application/json"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/logs", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def send(self, count: int) -> None:
        """Records with numbers, each acknowledged by the agent."""
        for number in range(self.sent, self.sent + count):
            assert self.post(f"record-{number:05}.", AGENT_TOKEN) == HTTPStatus.OK
        self.sent += count

    def check_data(self) -> subprocess.CompletedProcess[str]:
        """What the role asks after a restart of the agent."""
        play = self.rendered.base / "data.yml"
        play.write_text(CHECK_DATA, encoding="utf-8")
        return self.rendered.play(play)

    def found(self, name: str) -> list[str]:
        """The numbers of the records that a gateway has got."""
        return re.findall(r"record-(\d{5})\.", self.output[name].read_text(encoding="utf-8", errors="replace"))

    def bodies(self) -> list[str]:
        """The texts of all records, as the gateways print them."""
        printed = "".join(self.output[name].read_text(encoding="utf-8", errors="replace") for name in GATEWAYS)
        return re.findall(r"^Body: Str\((.*?)\)$", printed, re.MULTILINE | re.DOTALL)

    def all_found(self) -> bool:
        """Whether each record has got to a gateway."""
        return len({number for name in GATEWAYS for number in self.found(name)}) == self.sent


@pytest.fixture(scope="module")
def failover(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Failover]:
    """All three, running."""
    base = tmp_path_factory.mktemp("failover")
    made = Failover(base)
    try:
        for name in (*GATEWAYS, AGENT):
            made.start(name)
        yield made
    finally:
        for name in list(made.processes):
            made.kill(name)
        shutil.rmtree(base)


def assert_even(counts: list[int]) -> None:
    """Each has at least two fifths."""
    assert min(counts) >= 0.4 * sum(counts), counts


def test_a_killed_gateway_costs_no_record(failover: Failover) -> None:
    """The name's certificate is verified throughout: the agent trusts only the authority, and the name has to match."""
    first, second = GATEWAYS
    failover.send(200)
    failover.until(failover.all_found, "records are missing")
    assert_even([len(failover.found(name)) for name in GATEWAYS])
    failover.send(50)
    failover.kill(first)
    before = len(failover.found(second))
    failover.send(200)
    failover.until(failover.all_found, "records are missing while a gateway is away")
    assert len(failover.found(second)) >= before + 200
    failover.start(first)
    returned = len(failover.found(first))

    def used_again() -> bool:
        failover.send(2)
        return len(failover.found(first)) > returned

    failover.until(used_again, "the gateway that is back gets no records")
    failover.until(failover.all_found, "records are missing")
    before_each = [len(failover.found(name)) for name in GATEWAYS]
    failover.send(200)
    failover.until(failover.all_found, "records are missing with both gateways back")
    assert_even([len(failover.found(name)) - count for name, count in zip(GATEWAYS, before_each, strict=True)])


def test_an_address_that_is_not_found_is_left_out(failover: Failover, tmp_path: Path) -> None:
    """So one dead name does not stop an agent; without any address it does not start."""
    script, hosts = str(failover.folder(AGENT) / "gateway_addresses.sh"), tmp_path / "hosts"

    def run(*addresses: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["sh", script, str(hosts), GATEWAY_NAME, *addresses], capture_output=True, text=True, check=False)

    done = run("nowhere.invalid", "::1", "192.0.2.7")
    assert done.returncode == 0
    assert "nowhere.invalid is left out" in done.stderr
    assert hosts.read_text(encoding="utf-8").startswith(Path("/etc/hosts").read_text(encoding="utf-8"))
    assert hosts.read_text(encoding="utf-8").splitlines()[-2:] == [f"::1 {GATEWAY_NAME}", f"192.0.2.7 {GATEWAY_NAME}"]
    done = run("nowhere.invalid")
    assert (done.returncode, "No gateway has an address" in done.stderr) == (1, True)


def test_rotated_log_files_lose_no_line(failover: Failover) -> None:
    """By rename and by truncation, while the agent reads and while it is stopped; no line arrives twice."""
    log, written = failover.log, 0

    def write(count: int) -> None:
        nonlocal written
        with log.open("a", encoding="utf-8") as stream:
            stream.writelines(f"line {number:05}\n" for number in range(written, written + count))
        written += count

    def rotate(how: str) -> None:
        former = log.with_name(f"{log.name}.1")
        if former.exists():
            former.rename(log.with_name(f"{log.name}.2"))
        if how == "rename":
            log.rename(former)
        else:
            shutil.copyfile(log, former)
            os.truncate(log, 0)

    def all_read() -> bool:
        return len({body for body in failover.bodies() if body.startswith("line ")}) == written

    write(100)
    failover.until(all_read, "lines are missing")
    for how in ("rename", "truncate"):
        write(100)
        rotate(how)
        write(100)
        failover.until(all_read, f"lines are missing after: {how}")
        failover.kill(AGENT)
        write(100)
        rotate(how)
        write(100)
        failover.start(AGENT)
        failover.until(all_read, f"lines are missing after: {how}, while the agent was stopped")
    assert sorted(body for body in failover.bodies() if body.startswith("line ")) == [f"line {number:05}" for number in range(written)]


def test_records_of_several_lines_and_of_containers(failover: Failover) -> None:
    """The lines of a record stay together; what a container printed is the body, with time, stream and container."""
    day = time.strftime("%Y-%m-%d", time.gmtime())
    entry = {"log": "from a container\n", "stream": "stderr", "time": f"{day}T00:00:00.678901234Z"}
    texts = {
        failover.stacks: ("0 INFO earlier\n", "1 ERROR first\n  at a\n  at b\n2 INFO second\n"),
        failover.containers: (json.dumps({**entry, "log": "earlier\n"}) + "\n", json.dumps(entry) + "\n"),
    }
    # What a file has when the agent sees it for the first time is not sent.
    for path, (earlier, _) in texts.items():
        path.write_text(earlier, encoding="utf-8")
    for path, (_, later) in texts.items():
        seen = re.compile(rf"Started watching file.*{path}")
        failover.until(lambda seen=seen: seen.search(failover.output[AGENT].read_text(encoding="utf-8")), f"{path} is not read")  # type: ignore[misc]
        with path.open("a", encoding="utf-8") as stream:
            stream.write(later)
    wanted = {"1 ERROR first\n  at a\n  at b", "2 INFO second", "from a container"}
    failover.until(lambda: wanted <= set(failover.bodies()), f"not all of {wanted} arrived")
    printed = "".join(failover.output[name].read_text(encoding="utf-8") for name in GATEWAYS)
    record = printed.split("Body: Str(from a container)")
    assert f"Timestamp: {day} 00:00:00.678901234" in record[0][-600:]
    assert f"container.id: Str({CONTAINER})" in record[0].rsplit("Resource attributes", 1)[1]
    assert "log.iostream: Str(stderr)" in record[1][:600]


def test_nothing_but_health_and_metrics_answers_without_a_token(failover: Failover) -> None:
    """Of all ports that the agent listens on, which are on loopback. What is sent without a token of an agent arrives nowhere."""
    ports = listening(failover.processes[AGENT].pid)
    assert set(ports.values()) == {"127.0.0.1"}
    assert set(ports) == {failover.port, *failover.own_ports.values()}
    message = telemetry_load.request("logs", "unauthenticated", "box", 0, 1)
    for token in (None, "", "wrong-token-0123456789", GATEWAY_TOKEN, AGENT_TOKEN[:-1]):
        assert failover.post("unauthenticated", token) == HTTPStatus.UNAUTHORIZED, token
        metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        for port in ports:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub: Any = telemetry_load.SERVICES["logs"](channel)
                with pytest.raises(grpc.RpcError) as refused:
                    stub.Export(message, timeout=10, metadata=metadata)
            expected = grpc.StatusCode.UNAUTHENTICATED if port == failover.own_ports["grpc"] else grpc.StatusCode.UNAVAILABLE
            assert refused.value.code() is expected, (port, token)
    for name in ("health", "metrics"):
        with urllib.request.urlopen(f"http://127.0.0.1:{failover.own_ports[name]}/metrics", timeout=10) as answer:
            assert answer.status == HTTPStatus.OK
    failover.send(20)
    failover.until(failover.all_found, "records are missing")
    assert not [name for name in GATEWAYS if "unauthenticated" in failover.output[name].read_text(encoding="utf-8")]


def test_a_revoked_token_is_refused_while_others_send(failover: Failover) -> None:
    """Within a minute; no request with another token is refused meanwhile, and all of these records arrive."""
    file, revoked = failover.folder(AGENT) / "agent_token", "second-token-0123456789"

    def write(*tokens: str) -> None:
        # As the module does: by an atomic rename.
        new = file.with_name(".new")
        new.write_text("\n".join(tokens), encoding="utf-8")
        new.rename(file)

    write(AGENT_TOKEN, revoked)
    failover.until(lambda: failover.post("second", revoked) == HTTPStatus.OK, "the second token is not accepted")
    write(AGENT_TOKEN)
    end = time.monotonic() + SECONDS
    while failover.post("second", revoked) != HTTPStatus.UNAUTHORIZED:
        failover.send(1)
        assert time.monotonic() < end, "the token is still accepted"
    failover.send(20)
    failover.until(failover.all_found, "records are missing")


def test_a_restart_that_loses_records_is_seen(failover: Failover) -> None:
    """The agent answers as healthy, and its token is not the gateways'."""
    done = failover.check_data()
    assert done.returncode == 0, done.stdout
    token = failover.folder(AGENT) / "gateway_token"
    right = token.read_text(encoding="utf-8")
    failover.kill(AGENT)
    token.write_text("wrong-token-0123456789", encoding="utf-8")
    try:
        failover.start(AGENT)
        done = failover.check_data()
        assert done.returncode != 0
        said = " ".join(done.stdout.split())
        assert f"otelcol-node-agent.service on {AGENT} runs, and its data does not move: exporter otlp_grpc has lost" in said
    finally:
        token.write_text(right, encoding="utf-8")
