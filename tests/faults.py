# GNU General Public License v3.0+ (see LICENSE)
"""Faults of the telemetry pipeline under constant load: python -m tests.faults [fault ...].

Each fault of the table below is made on a running pipeline (node agent, gateway, ClickHouse, ZooKeeper: real programs with the roles'
configuration, on loopback) and ended again, while applications send and a log file grows. Then the acknowledged records are looked for in
ClickHouse. The command prints a row for each fault and ends with status 1 if a record is lost, if one is stored twice without a reason,
or if the named metric did not show the fault.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support import telemetry_load
from tests.support.clickhouse import QueryError
from tests.support.pipeline import RESTART_SECONDS, Count, Load, Pipeline, pipeline
from tests.support.platform import DATABASE, SCHEMA
from tests.support.volume import own_mounts

ALERTS = Path(__file__).parents[1] / "roles" / "grafana" / "files" / "alerts"
# Load before and after a fault, and the longest time that is waited for the queues to be empty.
BEFORE_SECONDS = AFTER_SECONDS = 1.5
DRAIN_SECONDS = 120
# The first two pages of a queue's file, which say where the others are.
HEADER_BYTES = 8192
Make = Callable[[Pipeline, Load], AbstractContextManager[None]]
# What an operator sees -> its value; a fault shows itself when the value becomes larger than it was before.
SIGNS: dict[str, Callable[[Pipeline], float]] = {
    "gateway: otelcol_exporter_queue_size": lambda p: p.gateway.value("otelcol_exporter_queue_size", "otlp_http/"),
    "agent: otelcol_exporter_queue_size": lambda p: p.agent.value("otelcol_exporter_queue_size"),
    "gateway: does not answer": lambda p: _silent(p.gateway.value),
    "agent: does not answer": lambda p: _silent(p.agent.value),
    "gateway: dead letters": lambda p: _dead_letters(p),
    "ClickHouse: does not answer": lambda p: _silent(lambda metric: float(p.query("SELECT 1")[0][0])),
    "ClickHouse: read-only tables": lambda p: float(p.query("SELECT countIf(is_readonly) FROM system.replicas")[0][0]),
}


def _silent(value: Callable[[str], float]) -> float:
    try:
        value("otelcol_process_uptime")
    except OSError:
        return 1
    return 0


def _dead_letters(p: Pipeline) -> float:
    return float(len(list((p.gateway.state / "dead_letters").glob("*.otlp"))))


@contextmanager
def clickhouse_down(p: Pipeline, load: Load) -> Iterator[None]:
    """Killed, started again later."""
    p.clickhouse.kill()
    yield
    p.clickhouse.start()


@contextmanager
def clickhouse_killed_in_an_insert(p: Pipeline, load: Load) -> Iterator[None]:
    """The network stops in the middle of an INSERT, the server dies with a part of it."""
    deadline = time.monotonic() + 20
    running = "SELECT count() FROM system.processes WHERE query_kind = 'Insert'"
    p.to_clickhouse.delay = 0.2
    while not int(p.query(running)[0][0]) and time.monotonic() < deadline:
        time.sleep(0.01)
    p.clickhouse.kill()
    p.to_clickhouse.delay = 0.0
    yield
    p.clickhouse.start()


@contextmanager
def clickhouse_read_only(p: Pipeline, load: Load) -> Iterator[None]:
    """ZooKeeper is away: replicated tables refuse every INSERT, and the server answers /ping."""
    p.zookeeper.kill()
    yield
    p.zookeeper.start()


@contextmanager
def clickhouse_slow(p: Pipeline, load: Load) -> Iterator[None]:
    """Each packet of the way to ClickHouse and back needs 500 ms."""
    p.to_clickhouse.delay = 0.5
    yield
    p.to_clickhouse.delay = 0.0


@contextmanager
def gateway_killed(p: Pipeline, load: Load) -> Iterator[None]:
    """Killed once, and started again as systemd does it."""
    p.gateway.kill()
    time.sleep(RESTART_SECONDS)
    yield
    p.gateway.start()


@contextmanager
def gateway_killed_ten_times(p: Pipeline, load: Load) -> Iterator[None]:
    """Again and again, its relay every second time."""
    for number in range(10):
        p.gateway.kill()
        if number % 2:
            p.relay.kill()
            p.relay.start()
        time.sleep(RESTART_SECONDS)
        p.gateway.start()
        time.sleep(0.5 + number / 10)
    yield


@contextmanager
def agent_killed(p: Pipeline, load: Load) -> Iterator[None]:
    """Killed with data in its queue: nothing passes to the gateway before."""
    p.to_gateway.cut = True
    time.sleep(1)
    p.agent.kill()
    time.sleep(RESTART_SECONDS)
    yield
    p.agent.start()
    p.to_gateway.cut = False


@contextmanager
def agent_killed_after_reading(p: Pipeline, load: Load) -> Iterator[None]:
    """Killed five times, each just after it has noted how far it has read the log file."""
    (noted,) = (p.agent.state / "storage").glob("receiver_*")
    for _ in range(5):
        time.sleep(1)
        before = noted.stat().st_mtime_ns
        while noted.stat().st_mtime_ns == before:
            time.sleep(0.001)
        p.agent.kill()
        time.sleep(RESTART_SECONDS)
        p.agent.start()
    yield


@contextmanager
def agent_without_network(p: Pipeline, load: Load) -> Iterator[None]:
    """Nothing passes between agent and gateway."""
    p.to_gateway.cut = True
    yield
    p.to_gateway.cut = False


def full_disk(name: str) -> Make:
    """No byte is free on a host's disk, while the queues on it have to grow because nothing passes to the next hop."""

    @contextmanager
    def make(p: Pipeline, load: Load) -> Iterator[None]:
        onward = {"gateway": p.to_clickhouse, "agent": p.to_gateway}.get(name)
        if onward:
            onward.cut = True
        p.disks[name].fill()
        yield
        p.disks[name].free()
        if onward:
            onward.cut = False

    return make


@contextmanager
def clickhouse_without_power(p: Pipeline, load: Load) -> Iterator[None]:
    """Its host loses its power, and with it all that was not synced to disk, such as rows that were just inserted."""
    deadline = time.monotonic() + 30
    while load.count().different < 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    p.disks["ClickHouse"].cut_power()
    p.clickhouse.kill()
    p.disks["ClickHouse"].restore()
    yield
    p.clickhouse.start()


@contextmanager
def gateway_without_power(p: Pipeline, load: Load) -> Iterator[None]:
    """The same with data in its queues, because nothing passes to ClickHouse."""
    p.to_clickhouse.cut = True
    time.sleep(5)
    p.disks["gateway"].cut_power()
    p.gateway.kill()
    p.relay.kill()
    p.disks["gateway"].restore()
    yield
    p.relay.start()
    p.gateway.start()
    p.to_clickhouse.cut = False


@contextmanager
def agent_without_power(p: Pipeline, load: Load) -> Iterator[None]:
    """The same with data in its queue, because nothing passes to the gateway."""
    p.to_gateway.cut = True
    time.sleep(5)
    p.disks["agent"].cut_power()
    p.agent.kill()
    p.disks["agent"].restore()
    yield
    p.agent.start()
    p.to_gateway.cut = False


@contextmanager
def damaged_queue(p: Pipeline, load: Load) -> Iterator[None]:
    """All pages of the file with the gateway's queue of logs are overwritten, but for the header, while batches are in it."""
    p.to_clickhouse.cut = True
    time.sleep(5)
    p.gateway.kill()
    path = p.gateway.state / "storage" / "exporter_otlp_http_external_logs"
    with path.open("r+b") as file:
        file.seek(HEADER_BYTES)
        file.write(b"\xa5" * (path.stat().st_size - HEADER_BYTES))
    yield
    p.gateway.start()
    p.to_clickhouse.cut = False


def clock(seconds: Callable[[], float]) -> Make:
    """An application whose clock is wrong sends all signals."""

    def shift(message: Any) -> bytes:
        when = int(seconds() * 1e9)
        for resource in getattr(message, message.DESCRIPTOR.fields[0].name):
            for scope in getattr(resource, resource.DESCRIPTOR.fields_by_number[2].name):
                for record in getattr(scope, scope.DESCRIPTOR.fields_by_number[2].name):
                    if hasattr(record, "gauge"):
                        for number, point in enumerate(record.gauge.data_points):
                            point.time_unix_nano = when + number
                    elif hasattr(record, "start_time_unix_nano"):
                        record.start_time_unix_nano, record.end_time_unix_nano = when, when + 1_000_000
                    else:
                        record.time_unix_nano = when
        return message.SerializeToString()

    @contextmanager
    def make(p: Pipeline, load: Load) -> Iterator[None]:
        for signal in telemetry_load.SIGNALS:
            load.send(signal, shift)
        yield

    return make


@contextmanager
def large_lines(p: Pipeline, load: Load) -> Iterator[None]:
    """Lines of a log file with one million characters, and log records of the same size by OTLP."""

    def enlarge(message: Any) -> bytes:
        for record in message.resource_logs[0].scope_logs[0].log_records:
            record.body.string_value = "x" * 1_000_000
        return message.SerializeToString()

    for _ in range(5):
        load.write_line(b"x" * 1_000_000)
        load.send("logs", enlarge, 5)
    yield


@contextmanager
def invalid_utf8(p: Pipeline, load: Load) -> Iterator[None]:
    """Bytes that are no UTF-8, in lines of a log file, and in bodies and attributes of log records by OTLP."""

    def damage(message: Any) -> bytes:
        # As many bytes as before: the message says how long each text is.
        return message.SerializeToString().replace(b"request ", b"\xff\xfe\x80\xc3\x28\xed\xa0 ").replace(b"/api/v1", b"/\xe2\x28\xa1/v1")

    for _ in range(5):
        load.write_line(b"\xff\xfe\x80 \xc3\x28 \xed\xa0\x80")
        load.send("logs", damage)
    yield


@contextmanager
def many_attribute_keys(p: Pipeline, load: Load) -> Iterator[None]:
    """100,000 different keys of attributes."""
    keys = itertools.count()

    def add(message: Any) -> bytes:
        for record in message.resource_logs[0].scope_logs[0].log_records:
            for _ in range(100):
                record.attributes.add(key=f"key.{next(keys)}").value.string_value = "value"
        return message.SerializeToString()

    for _ in range(10):
        load.send("logs", add, 100)
    yield


@contextmanager
def refused_batch(p: Pipeline, load: Load) -> Iterator[None]:
    """A record that a constraint of the table refuses; later the constraint goes, and the dead letters are sent again."""
    p.query(f"ALTER TABLE {DATABASE}.otel_logs_local ADD CONSTRAINT faults CHECK NOT startsWith(LogAttributes['load.id'], 'special')")
    load.send("logs", lambda message: message.SerializeToString(), 1)
    deadline = time.monotonic() + 30
    while not _dead_letters(p) and time.monotonic() < deadline:
        time.sleep(0.1)
    yield
    p.query(f"ALTER TABLE {DATABASE}.otel_logs_local DROP CONSTRAINT faults")
    p.replay()


@contextmanager
def expired_certificate(p: Pipeline, load: Load) -> Iterator[None]:
    """The gateway starts with a certificate that ended an hour ago, and later with a valid one."""
    file = p.file("gateway", "tls/host.crt")
    file.write_text(p.pki.expired(), encoding="ascii")
    p.gateway.restart()
    yield
    file.write_text(p.pki.certificate.read_text(encoding="ascii"), encoding="ascii")
    p.gateway.restart()


@contextmanager
def new_token(p: Pipeline, load: Load) -> Iterator[None]:
    """In the order of the documentation: the gateway accepts both, the agent changes, the gateway accepts the new one alone."""
    accepted, used = p.file("gateway", "gateway_token"), p.file("node_agent", "gateway_token")
    old, new = used.read_text(encoding="ascii"), f"token-{time.time_ns()}"
    for file, text in ((accepted, f"{new}\n{old}"), (used, new), (accepted, new)):
        # As the role replaces a file.
        written = file.with_suffix(".new")
        written.write_text(text, encoding="ascii")
        written.rename(file)
        time.sleep(3)
    yield


@contextmanager
def new_schema(p: Pipeline, load: Load) -> Iterator[None]:
    """Role telemetry_schema changes the retention and adds a view."""
    query = f"SELECT SeverityText FROM {DATABASE}.otel_logs_local"
    view = f"CREATE MATERIALIZED VIEW {DATABASE}.faults_by_severity ENGINE = MergeTree ORDER BY SeverityText AS {query}"
    p.render(SCHEMA, telemetry_schema_retention={"logs": {"keep": "20d"}}, telemetry_schema_objects=[{"ddl": view}])
    yield


@contextmanager
def new_configuration(p: Pipeline, load: Load) -> Iterator[None]:
    """Role otel_collector writes other settings, and both collectors are restarted as systemd does it."""
    p.render(otel_collector_gateway_batch_timeout="1s", otel_collector_interval="5s")
    p.gateway.restart()
    p.agent.restart()
    yield


@contextmanager
def renamed_log(p: Pipeline, load: Load) -> Iterator[None]:
    """The log file is renamed, and a new one begins."""
    for number in range(3):
        with load.writing:
            p.log.rename(p.log.with_name(f"syslog.{number}"))
        time.sleep(2)
    yield


@contextmanager
def truncated_log(p: Pipeline, load: Load) -> Iterator[None]:
    """The log file is emptied when it has been read."""
    for _ in range(3):
        with load.writing:
            time.sleep(3)
            os.truncate(p.log, 0)
        time.sleep(2)
    yield


@dataclass(frozen=True)
class Fault:
    """A fault, and how it shows.

    `make` begins it and, when its block ends, ends it. `seconds` is how long it lasts in between, `long` the same in `make soak`; 0: as
    long as always. `sign` is one of SIGNS, `alert` the uid of the alert that tells of it when it lasts. `twice` says why records may be
    stored twice; empty: they may not.
    """

    name: str
    make: Make
    seconds: float
    sign: str
    alert: str
    twice: str = ""
    long: float = 0
    # Whether hosts need disks of their own, and so root.
    disks: bool = False
    # What is lost because it is destroyed; empty: nothing may be lost.
    loses: str = ""


KILLED = "killed between storing a batch and answering for it"
# The collector 0.149 deletes a request if it cannot note that it takes it from its disk queue (persistentQueue.getNextItem).
TAKEN = "taken from a queue that could not be written"
QUEUE = "gateway: otelcol_exporter_queue_size"
FAULTS = (
    Fault("ClickHouse is down", clickhouse_down, 5, QUEUE, "clickhouse-down", long=600),
    Fault("ClickHouse is killed in an INSERT", clickhouse_killed_in_an_insert, 1, QUEUE, "clickhouse-down"),
    Fault("ClickHouse is read-only", clickhouse_read_only, 8, "ClickHouse: read-only tables", "clickhouse-replica-readonly", long=60),
    Fault("ClickHouse is slow (500 ms)", clickhouse_slow, 5, QUEUE, "collector-queue", long=60),
    Fault("gateway is killed", gateway_killed, 0, "gateway: does not answer", "collector-down", KILLED),
    Fault("gateway is killed ten times", gateway_killed_ten_times, 0, "gateway: does not answer", "collector-down", KILLED),
    Fault("agent is killed", agent_killed, 0, "agent: does not answer", "host-agent-silent", KILLED),
    Fault("agent is killed after reading", agent_killed_after_reading, 0, "", "host-agent-silent", KILLED),
    Fault("agent has no network", agent_without_network, 5, "agent: otelcol_exporter_queue_size", "host-agent-silent", long=600),
    Fault("ClickHouse's disk is full", full_disk("ClickHouse"), 5, QUEUE, "clickhouse-inserts-refused", disks=True),
    Fault("gateway's disk is full", full_disk("gateway"), 15, "agent: otelcol_exporter_queue_size", "host-disk", disks=True, loses=TAKEN),
    Fault("agent's disk is full", full_disk("agent"), 15, "agent: otelcol_exporter_queue_size", "host-disk", disks=True, loses=TAKEN),
    Fault(
        "ClickHouse's host loses power", clickhouse_without_power, 0, "ClickHouse: does not answer", "clickhouse-down", KILLED, disks=True
    ),
    Fault("gateway's host loses power", gateway_without_power, 0, "gateway: does not answer", "collector-down", KILLED, disks=True),
    Fault("agent's host loses power", agent_without_power, 0, "agent: does not answer", "host-agent-silent", KILLED, disks=True),
    Fault("queue file is damaged", damaged_queue, 0, "gateway: does not answer", "collector-down", loses="what was in the file"),
    Fault("clock is 1 h ahead", clock(lambda: time.time() + 3600), 0, "", ""),
    Fault("clock is 1 h behind", clock(lambda: time.time() - 3600), 0, "", ""),
    Fault("timestamps of 1970", clock(lambda: 1), 0, "", ""),
    Fault("timestamps of 2100", clock(lambda: 4102444800), 0, "", ""),
    Fault("log lines of 1 MB", large_lines, 0, "", ""),
    Fault("invalid UTF-8", invalid_utf8, 0, "", ""),
    Fault("100,000 attribute keys", many_attribute_keys, 0, "", ""),
    Fault("ClickHouse refuses a record", refused_batch, 0, "gateway: dead letters", "gateway-dead-letters"),
    Fault("gateway's certificate has expired", expired_certificate, 5, "agent: otelcol_exporter_queue_size", "certificate-expires"),
    Fault("token is replaced", new_token, 1, "", ""),
    Fault("schema is upgraded", new_schema, 0, "", ""),
    Fault("collectors get another configuration", new_configuration, 0, "", "", KILLED),
    Fault("log file is renamed", renamed_log, 0, "", ""),
    Fault("log file is truncated", truncated_log, 0, "", ""),
)


@dataclass(frozen=True)
class Outcome:
    """What was seen of a fault."""

    fault: Fault
    count: Count
    unanswered: int
    unsent: int
    drained: float
    seen: bool

    @property
    def problems(self) -> list[str]:
        """What must not be."""
        found = [f"{self.count.lost} records are lost"] if self.count.lost and not self.fault.loses else []
        if self.count.twice and not self.fault.twice and not self.unanswered:
            found.append(f"{self.count.twice} records are stored twice")
        if self.unsent:
            found.append(f"{self.unsent} records were never acknowledged")
        return found if self.seen or not self.fault.sign else [*found, f"{self.fault.sign} did not show it"]

    def row(self) -> list[str]:
        """For the table."""
        twice = f"{self.count.twice}" + (f" ({self.fault.twice or 'sent again without an answer'})" if self.count.twice else "")
        lost = f"{self.count.lost}" + (f" ({self.fault.loses})" if self.count.lost else "")
        numbers = [self.count.acknowledged, self.count.different, lost]
        drained = "not" if self.count.lost else f"{self.drained:.1f}"
        return [self.fault.name, *map(str, numbers), twice, drained, self.fault.sign, self.fault.alert]


HEAD = ("fault", "acknowledged", "found", "lost", "twice", "drained, s", "metric that showed it", "alert")


class Watch:
    """Looks at a sign and remembers its largest value."""

    def __init__(self, p: Pipeline, sign: str) -> None:
        self.pipeline, self.sign = p, SIGNS.get(sign, lambda p: 0.0)
        self.before = self.look()
        self.most = self.before

    def look(self) -> float:
        """The value now; nothing where nobody answers."""
        with contextlib.suppress(OSError, QueryError):
            return self.sign(self.pipeline)
        return 0.0

    def during(self, seconds: float) -> None:
        """For a time, at least once."""
        end = time.monotonic() + seconds
        while True:
            self.most = max(self.most, self.look())
            if time.monotonic() >= end:
                return
            time.sleep(0.25)


def until_found(load: Load, seconds: float = DRAIN_SECONDS) -> Count:
    """Wait until all is there, for a bounded time."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, QueryError):
            count = load.count()
            if not count.lost:
                return count
        if time.monotonic() > end:
            return load.count()
        time.sleep(0.25)


def run(p: Pipeline, fault: Fault, *, long: bool = False) -> Outcome:
    """Make a fault under load and count."""
    with p.load() as load:
        time.sleep(BEFORE_SECONDS)
        watch = Watch(p, fault.sign)
        with fault.make(p, load):
            watch.during(long and fault.long or fault.seconds)
        ended = time.monotonic()
        time.sleep(AFTER_SECONDS)
    until_found(load, DRAIN_SECONDS / 2 if fault.loses else DRAIN_SECONDS)
    drained = time.monotonic() - ended
    # What comes again comes within this time.
    time.sleep(1)
    sent = load.applications.sent
    return Outcome(fault, load.count(), sent.unanswered, sent.unsent, drained, watch.most > watch.before)


def run_in_turn(p: Pipeline, faults: Sequence[Fault], minutes: float) -> Outcome:
    """One load for so many minutes, in which the faults are made one after the other, again and again."""
    end = time.monotonic() + 60 * minutes
    every = Fault(f"{len(faults)} faults in turn, {minutes:g} minutes", clickhouse_down, 0, QUEUE, "", KILLED)
    with p.load() as load:
        watch = Watch(p, QUEUE)
        while time.monotonic() < end:
            for fault in faults:
                time.sleep(BEFORE_SECONDS)
                with fault.make(p, load):
                    watch.during(fault.seconds)
                if time.monotonic() >= end:
                    break
        ended = time.monotonic()
    until_found(load)
    drained = time.monotonic() - ended
    time.sleep(1)
    sent = load.applications.sent
    return Outcome(every, load.count(), sent.unanswered, sent.unsent, drained, watch.most > watch.before)


def table(outcomes: Sequence[Outcome]) -> str:
    """As text."""
    rows = [list(HEAD), *(outcome.row() for outcome in outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def alerts() -> set[str]:
    """The uids of all alerts that role grafana has."""
    return {alert["uid"] for file in ALERTS.glob("*.yml") for alert in yaml.safe_load(file.read_text(encoding="utf-8"))["alerts"]}


def main() -> int:
    """Run the faults that are named, all by default."""
    parser = argparse.ArgumentParser(description="Faults of the telemetry pipeline under constant load.")
    parser.add_argument("faults", nargs="*", metavar="fault", help="part of a name; all by default")
    parser.add_argument("--long", action="store_true", help="faults last as long as in make soak")
    parser.add_argument("--minutes", type=float, default=0, help="afterwards: one load for so long, with the faults in turn")
    parser.add_argument("--list", action="store_true", help="print the names")
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if not options.faults or any(part in fault.name for part in options.faults)]
    if options.list or not chosen:
        print("\n".join(fault.name for fault in FAULTS))
        return 0 if options.list else 2
    root = os.geteuid() == 0
    for fault in chosen:
        if fault.disks and not root:
            print(f"{fault.name}: not made, it needs root", flush=True)
    chosen = [fault for fault in chosen if root or not fault.disks]
    if root:
        own_mounts()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as base, pipeline(Path(base), disks=root) as p:
        for fault in chosen:
            outcomes.append(run(p, fault, long=options.long))
            print(table(outcomes[-1:]), *(f"  {fault.name}: {problem}" for problem in outcomes[-1].problems), sep="\n", flush=True)
        if options.minutes:
            outcomes.append(run_in_turn(p, chosen, options.minutes))
            print(*outcomes[-1].problems, sep="\n", flush=True)
    print(f"\n{table(outcomes)}", flush=True)
    return 1 if any(outcome.problems for outcome in outcomes) else 0


if __name__ == "__main__":
    from tests import conftest  # noqa: F401  makes the collection importable

    sys.exit(main())
