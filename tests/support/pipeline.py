# GNU General Public License v3.0+ (see LICENSE)
"""A telemetry pipeline on loopback, for tests of faults: node agent, gateways, ClickHouse and ZooKeeper, configured by the roles.

Between an agent and its only gateway, and between gateways and ClickHouse, is a proxy that stands for the network. Several gateways have an
address of their own each, and the agent takes turns among them. With two replicas of ClickHouse, gateways send to the first one alone.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import grpc

from tests.support import otelcol, telemetry_load
from tests.support.clickhouse import REPLICA_PATHS, ClickHouse
from tests.support.collector_files import AGENT_TOKEN, Rendered
from tests.support.daemon import free_ports
from tests.support.link import Link
from tests.support.pki import Pki
from tests.support.platform import CLUSTER, DATABASE, SCHEMA, Process, users
from tests.support.volume import Disk
from tests.support.zookeeper import ZooKeeper

HOST = "gw1"
# Gateways, where there are two.
ADDRESSES = {HOST: "127.0.0.2", "gw2": "127.0.0.3"}
MODES = ("gateway", "node_agent")
# Simulated applications: each sends 20 records every 3 seconds to the node agent.
APPLICATIONS = 10
LINES_PER_SECOND = 20
# Between the end of a program and its next start, as in the units.
RESTART_SECONDS = 2
# How often a collector is started until it serves. systemd goes on for ever.
STARTS = 10
DISK_MEGABYTES = {"gateway": 200, "agent": 200, "ClickHouse": 1000}
# A sample of the Prometheus text format: name, labels, value.
SAMPLE = re.compile(r"^([a-z_:]+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


class Collector(Process):
    """A collector of the pipeline: its folder for sockets is empty at each start, and it is started again if it crashes, as by systemd.

    Who uses it takes the crashes out of C(crashes): those that are left make the end of its block fail.
    """

    def __init__(self, rendered: Rendered, host: str, mode: str, health: int, metrics: int) -> None:
        self.program = rendered.program
        super().__init__(rendered.command(host, mode), health)
        folder = rendered.base / host / mode
        self.sockets, self.state, self.metrics = folder / "run", folder / "state", metrics
        self.before_start = rendered.before_start(host, mode)
        self.state.mkdir(exist_ok=True)
        # What it said last, each time that it ended by itself.
        self.crashes: list[str] = []
        # Held while it is started or ended.
        self._changing = threading.RLock()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._start_after_crashes)

    def start(self) -> None:
        """As the unit does; after a pause again if it ends before it serves. Raises RuntimeError if it never serves."""
        with self._changing:
            for left in reversed(range(STARTS)):
                before = len(self.crashes)
                try:
                    self._start_once()
                except RuntimeError:
                    if len(self.crashes) == before or not left:
                        raise
                    time.sleep(RESTART_SECONDS)
                else:
                    return

    def _start_once(self) -> None:
        shutil.rmtree(self.sockets, ignore_errors=True)
        self.sockets.mkdir()
        for command in self.before_start:
            subprocess.run(command, check=True)
        super().start()

    def signal(self, number: int) -> int:
        """Send a signal and wait for the end, which is then asked for: it is not started again."""
        with self._changing:
            self._notice_a_crash()
            status = super().signal(number)
            self.ended = True
            return status

    def restart_with(self, program: Path) -> None:
        """Stop it, and start another program with the same files, as systemd does it when the unit names another one.

        It is killed if it has not ended in time: one whose next hop does not answer waits for that.
        """
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.kill()
        self._argv = [str(program) if word == str(self.program) else word for word in self._argv]
        assert str(program) in self._argv
        self.program = program
        self.start()

    def take_crashes(self) -> list[str]:
        """What it said last, each time that it ended by itself since the last call."""
        with self._changing:
            taken, self.crashes = self.crashes, []
            return taken

    def _notice_a_crash(self) -> bool:
        """Whether it has ended by itself, and nobody knew."""
        assert self.process is not None
        crashed = self.process.poll() is not None and not self.ended
        if crashed:
            said = self.log.read_text(errors="replace")
            # Go's reason stands before a long list of functions.
            panic = said.rfind("\npanic: ") if self.process.returncode == 2 else -1
            self.crashes.append(f"status {self.process.returncode}:\n{said[panic : panic + 3000] if panic >= 0 else said[-3000:]}")
            self.ended = True
        return crashed

    def _start_after_crashes(self) -> None:
        while not self._over.wait(0.2):
            with self._changing:
                if self._notice_a_crash():
                    time.sleep(RESTART_SECONDS)
                    self.start()

    def __enter__(self) -> Self:
        super().__enter__()
        self._watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._watch.join()
        super().__exit__(*error)
        if self.crashes:
            raise RuntimeError(f"a collector ended by itself {len(self.crashes)} times, at last with {self.crashes[-1]}")

    def value(self, metric: str, labels: str = "") -> float:
        """The sum of a metric of its own over all samples whose labels contain a text. Raises OSError where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except http.client.HTTPException as error:
            # It ended in the middle of its answer.
            raise ConnectionResetError(str(error)) from error
        return sum(float(value) for name, found, value in SAMPLE.findall(text) if name == metric and labels in found)


@dataclass
class Count:
    """Records of a run: acknowledged, and found in ClickHouse as rows and as different records."""

    acknowledged: int
    rows: int
    different: int

    @property
    def lost(self) -> int:
        """Acknowledged records that are not there."""
        return max(0, self.acknowledged - self.different)

    @property
    def twice(self) -> int:
        """Rows too many."""
        return self.rows - self.different


@dataclass
class Pipeline:
    """The running programs."""

    base: Path
    zookeeper: ZooKeeper
    # One or two of a shard.
    replicas: Sequence[ClickHouse]
    # One of each or two, in the same order.
    relays: Sequence[Process]
    gateways: Sequence[Collector]
    agent: Collector
    # Not used with two gateways.
    to_gateway: Link
    to_clickhouse: Link
    # Addresses of the agent and of the first gateway for OTLP by gRPC.
    otlp: str
    gateway_otlp: str
    log: Path
    # The gateway's certificate, which the agent checks with an authority of its own.
    pki: Pki
    # Host -> its disk; none without root.
    disks: Mapping[str, Disk]
    # Write the files of the collectors again, with other settings.
    render: Callable[..., None]

    @property
    def clickhouse(self) -> ClickHouse:
        """The first replica."""
        return self.replicas[0]

    @property
    def gateway(self) -> Collector:
        """The first one."""
        return self.gateways[0]

    @property
    def relay(self) -> Process:
        """Of the first gateway."""
        return self.relays[0]

    def crashes(self) -> list[str]:
        """Of all collectors, since the last call: what each said last when it ended by itself."""
        return [said for collector in (*self.gateways, self.agent) for said in collector.take_crashes()]

    def file(self, mode: str, name: str) -> Path:
        """A file of the configuration of the agent or of the first gateway."""
        return self.base / HOST / mode / name

    def replay(self) -> None:
        """Send the gateway's dead letters again, as playbook dead_letters does."""
        argv = ["replay" if word == "serve" else word for word in self.relay.argv()]
        subprocess.run(argv, check=True, capture_output=True)

    def query(self, sql: str) -> list[list[Any]]:
        """Rows of a query, each value as text."""
        return [line.split("\t") for line in self.clickhouse.query(sql).splitlines()]

    @contextmanager
    def load(self) -> Iterator[Load]:
        """Applications and a log file that send while the block runs."""
        load = Load(self)
        with ThreadPoolExecutor(2) as pool:
            sending: list[Future[Any]] = [pool.submit(load.applications.send, 36000), pool.submit(load.write_lines)]
            try:
                yield load
            finally:
                load.stop()
                for end in sending:
                    end.result()


@dataclass
class Load:
    """Constant load: applications that send all three signals by OTLP, and a program that writes lines to a log file."""

    pipeline: Pipeline
    run: str = field(default_factory=lambda: f"{time.time_ns():x}")
    lines: int = 0

    def __post_init__(self) -> None:
        agents = [telemetry_load.Agent(f"app{number}", self.pipeline.otlp, ()) for number in range(APPLICATIONS)]
        self.applications = telemetry_load.Load(self.run, agents, AGENT_TOKEN, None)
        # Other records that were acknowledged.
        self.more = 0
        self._stop = threading.Event()
        self.writing = threading.Lock()

    def stop(self) -> None:
        """End the load; requests without an answer are still repeated until they have one."""
        self._stop.set()
        self.applications.stop()

    def write_lines(self) -> None:
        """Until the end. The file is opened for each line, so that it can be renamed meanwhile."""
        while not self._stop.wait(1 / LINES_PER_SECOND):
            self.write_line()

    def write_line(self, end: bytes = b"") -> None:
        """One line, with an end of its own."""
        with self.writing, self.pipeline.log.open("ab") as file:
            file.write(f"load-{self.run} line {self.lines} ".encode() + end + b"\n")
            self.lines += 1

    def send(self, signal: str, change: Callable[[Any], bytes], count: int = 20) -> None:
        """One further request of an application, which is sent until it is acknowledged; C(change) makes it special and encodes it."""
        message = telemetry_load.request(signal, self.run, f"special{self.more}", 0, count)
        channel = grpc.insecure_channel(self.pipeline.otlp)
        service = {"logs": "Logs", "traces": "Trace", "metrics": "Metrics"}[signal]
        package = signal.replace("traces", "trace")
        export: Any = channel.unary_unary(f"/opentelemetry.proto.collector.{package}.v1.{service}Service/Export")
        encoded = change(message)
        deadline = time.monotonic() + telemetry_load.TIMEOUT
        with contextlib.closing(channel):
            while True:
                try:
                    export(encoded, timeout=30, metadata=(("authorization", f"Bearer {AGENT_TOKEN}"),), wait_for_ready=True)
                    break
                except grpc.RpcError as error:
                    # The agent has ended meanwhile, perhaps after it took the request.
                    if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > deadline:
                        raise
                    self.applications.sent.unanswered += count
        self.more += count

    @property
    def acknowledged(self) -> int:
        """Until now: records in requests that were answered, and lines in the file."""
        return self.applications.sent.total + self.lines + self.more

    def count(self) -> Count:
        """What is stored at this moment."""
        acknowledged = self.acknowledged
        found = list(telemetry_load.stored(self.pipeline.query, self.run).values())
        sql = f"SELECT count(), uniqExact(Body) FROM {DATABASE}.otel_logs WHERE Body LIKE 'load-{self.run} line %'"
        rows, different = self.pipeline.query(sql)[0]
        found.append((int(rows), int(different)))
        return Count(acknowledged, sum(rows for rows, _ in found), sum(different for _, different in found))


@contextmanager
def pipeline(base: Path, *, disks: bool = False, gateways: int = 1, replicas: int = 1, **variables: Any) -> Iterator[Pipeline]:
    """Start all of it with the files of the collectors in an empty folder, until the block ends.

    With C(disks) the agent, the first gateway and the first replica of ClickHouse have a file system of their own each; C(gateways) and
    C(replicas) are 1 or 2; C(variables) are settings of the roles.
    """
    names = ("grpc", "http", "agent_grpc", "agent_http", "agent_health", "agent_metrics")
    port = dict(zip(names, free_ports(len(names)), strict=True))
    hosts = list(ADDRESSES)[:gateways]
    own = {host: dict(zip(("relay", "health", "metrics"), free_ports(3), strict=True)) for host in hosts}
    with ExitStack() as stack:
        zookeeper = stack.enter_context(ZooKeeper())
        servers = []
        for name in "ab"[:replicas]:
            macros = {"shard": "1", "replica": name, "cluster": CLUSTER}
            servers.append(ClickHouse(REPLICA_PATHS, users=users(), zookeeper=zookeeper.address, macros=macros, cluster=CLUSTER))
            stack.callback(shutil.rmtree, servers[-1].folder, ignore_errors=True)
        clickhouse = servers[0]
        folders = {mode: base / HOST / mode for mode in MODES}
        mounted: dict[str, Disk] = {}
        if disks:
            places = {"gateway": folders["gateway"] / "state", "agent": folders["node_agent"] / "state"}
            places["ClickHouse"] = clickhouse.folder / "data"
            for name, folder in places.items():
                mounted[name] = stack.enter_context(Disk(folder, base / f"{name}.img", DISK_MEGABYTES[name]))
        for server in servers:
            stack.enter_context(server)
        to_gateway = stack.enter_context(Link(port["grpc"]))
        to_clickhouse = stack.enter_context(Link(clickhouse.tcp_port))
        log = base / "syslog"
        log.touch()
        rendered = Rendered(base, otelcol.program())
        (base / "pki").mkdir()
        pki = Pki(base / "pki")

        def render(plays: str = "", **changed: Any) -> None:
            several = {"ansible_host": f"{{{{ {ADDRESSES}[inventory_hostname] }}}}"}
            one = {"ansible_host": "127.0.0.1", "otel_collector_gateway_endpoint": f"127.0.0.1:{to_gateway.port}"}
            settings: Mapping[str, Any] = {
                **(one if gateways == 1 else several),
                "telemetry_schema_login_host": "127.0.0.1",
                "telemetry_schema_login_port": clickhouse.port,
                "telemetry_schema_login_user": "default",
                "telemetry_schema_login_password": "",
                "telemetry_schema_secure": False,
                "common_tls_ca": pki.ca.read_text(encoding="ascii"),
                "common_tls_certificate": pki.certificate.read_text(encoding="ascii"),
                "common_tls_key": pki.key.read_text(encoding="ascii"),
                "otel_collector_interval": "10s",
                "otel_collector_log_paths": [str(log)],
                "otel_collector_clickhouse_endpoint": f"tcp://127.0.0.1:{to_clickhouse.port}",
                "otel_collector_clickhouse_table_suffix": "_local",
                "otel_collector_clickhouse_tls": {"insecure": True},
                "otel_collector_gateway_batch_timeout": "500ms",
                "otel_collector_gateway_grpc_port": port["grpc"],
                "otel_collector_gateway_http_port": port["http"],
                **{f"otel_collector_gateway_{name}_port": f"{{{{ {own}[inventory_hostname].{name} }}}}" for name in own[HOST]},
                "otel_collector_node_agent_grpc_port": port["agent_grpc"],
                "otel_collector_node_agent_http_port": port["agent_http"],
                "otel_collector_node_agent_health_port": port["agent_health"],
                "otel_collector_node_agent_metrics_port": port["agent_metrics"],
                **variables,
                **changed,
            }
            on = {"clickhouse": [], "gateway": hosts, "node_agent": [HOST]}
            done = rendered.render(MODES, on, plays=plays, check_program=False, **settings)
            if done.returncode:
                raise RuntimeError(done.stdout + done.stderr)

        for server in reversed(servers):
            render(SCHEMA, telemetry_schema_login_port=server.port)
        relays = []
        for host in hosts:
            folder = base / host / "gateway"
            relay: list[str | Path] = [sys.executable, "-B", folder / "relay.py", "serve", f"--port={own[host]['relay']}"]
            relay += [f"--sockets={folder}/run", f"--tokens={folder}/gateway_token", f"--folder={folder}/state/dead_letters"]
            (folder / "state").mkdir(exist_ok=True)
            relays.append(stack.enter_context(Process([*relay, "--limit=10000000"], own[host]["relay"])))
        running = [stack.enter_context(Collector(rendered, host, "gateway", own[host]["health"], own[host]["metrics"])) for host in hosts]
        agent = Collector(rendered, HOST, "node_agent", port["agent_health"], port["agent_metrics"])
        made = Pipeline(
            base,
            zookeeper,
            servers,
            relays,
            running,
            stack.enter_context(agent),
            to_gateway,
            to_clickhouse,
            f"127.0.0.1:{port['agent_grpc']}",
            f"{'127.0.0.1' if gateways == 1 else ADDRESSES[HOST]}:{port['grpc']}",
            log,
            pki,
            mounted,
            render,
        )
        _wait_for_the_first_line(made)
        yield made


def _wait_for_the_first_line(made: Pipeline) -> None:
    """The agent reads what is added after it has seen the file for the first time."""
    sql = f"SELECT count() FROM {DATABASE}.otel_logs WHERE Body LIKE 'first line%'"
    deadline = time.monotonic() + 30
    while True:
        with made.log.open("a", encoding="utf-8") as file:
            file.write(f"first line at {time.time()}\n")
        with contextlib.suppress(OSError):
            if int(made.query(sql)[0][0]):
                return
        if time.monotonic() > deadline:
            said = made.agent.log.read_text()[-2000:] + made.gateway.log.read_text()[-2000:]
            raise RuntimeError(f"no line of {made.log} arrives:\n{said}")
        time.sleep(0.5)
