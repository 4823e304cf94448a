# GNU General Public License v3.0+ (see LICENSE)
"""Faults of the telemetry pipeline under constant load: python -m tests.faults [fault ...].

Each fault of the table below is made on a running pipeline (node agent, gateway, ClickHouse, ZooKeeper: real programs with the roles'
configuration, on loopback) and ended again, while applications send and a log file grows. Then the acknowledged records are looked for in
ClickHouse. The command prints a row for each fault and ends with status 1 if a record is lost, if one is stored twice without a reason,
if the named metric did not show the fault, or if a collector ended by itself. It is started again then, as systemd does it; only with all
faults in turn (--minutes) that is a number of the report and no failure.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import math
import os
import re
import signal
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc
import yaml

from tests import conftest  # noqa: F401  makes the collection importable, which the modules below need
from tests.support import otelcol, telemetry_load
from tests.support.clickhouse import QueryError
from tests.support.collector_files import GATEWAY_TOKEN
from tests.support.pipeline import RESTART_SECONDS, Collector, Count, Load, Pipeline, pipeline
from tests.support.platform import DATABASE, SCHEMA
from tests.support.volume import own_mounts

ALERTS = Path(__file__).parents[1] / "roles" / "grafana" / "files" / "alerts"
# Load before and after a fault, and the longest time that is waited for the queues to be empty.
# Before: for as long as an agent waits for its next batch, so that its queue has had all the sizes that it has without a fault.
BEFORE_SECONDS, AFTER_SECONDS = 3.5, 1.5
DRAIN_SECONDS = 120
# ClickHouse looks every five minutes at the latest whether it can forget a broken part, and may fetch it only then.
CLEANUP_SECONDS = 330
# The longest time until a fault shows itself, and until a gateway gets its share.
SEEN_SECONDS = TURN_SECONDS = 60
# The first two pages of a queue's file, which say where the others are.
HEADER_BYTES = 8192
Make = Callable[[Pipeline, Load], AbstractContextManager[None]]
# What a question to a program that is about to end may raise.
UNANSWERED = (OSError, http.client.HTTPException, QueryError)
# What an operator sees -> its value; a fault shows itself when the value becomes larger than it was under the same load before.
SIGNS: dict[str, Callable[[Pipeline, Load], float]] = {
    "gateway: otelcol_exporter_send_failed_*": lambda p, load: sum(
        p.gateway.value(f"otelcol_exporter_send_failed_{items}", "clickhouse/") for items in ("log_records", "spans", "metric_points")
    ),
    "gateway: otelcol_exporter_queue_size": lambda p, load: p.gateway.value("otelcol_exporter_queue_size", "otlp_http/"),
    "agent: otelcol_exporter_queue_size": lambda p, load: p.agent.value("otelcol_exporter_queue_size"),
    "gateway: does not answer": lambda p, load: float(any(_silent(gateway) for gateway in p.gateways)),
    "agent: does not answer": lambda p, load: float(_silent(p.agent)),
    "gateway: otelcol_process_uptime begins again": lambda p, load: -p.gateway.value("otelcol_process_uptime"),
    "agent's log: new file": lambda p, load: float(p.agent.log.read_text(encoding="utf-8").count("Started watching file")),
    "gateway: otelcol_gateway_dead_letters": lambda p, load: _dead_letters(p),
    "gateway: the former token is refused": lambda p, load: float(_refused(p, GATEWAY_TOKEN)),
    "ClickHouse: read-only tables": lambda p, load: _number(p, "countIf(is_readonly) FROM system.replicas"),
    "ClickHouse: tables": lambda p, load: _number(p, f"count() FROM system.tables WHERE database = '{DATABASE}'"),
    "ClickHouse: does not answer": lambda p, load: float(_clickhouse_silent(p)),
    "ClickHouse: records with clock.skew": lambda p, load: _number(p, f"countIf(LogAttributes['clock.skew'] = 'true') {_logs(load)}"),
    "ClickHouse: logs of half an hour ago": lambda p, load: _number(p, f"countIf(Timestamp < now() - 1800) {_logs(load)}"),
    "ClickHouse: logs with body.length": lambda p, load: _number(p, f"countIf(LogAttributes['body.length'] != '') {_logs(load)}"),
    "ClickHouse: bodies that are not UTF-8": lambda p, load: _number(p, f"countIf(NOT isValidUTF8(Body)) {_logs(load)}"),
    "ClickHouse: different keys of attributes": lambda p, load: _number(p, f"uniqArray(mapKeys(LogAttributes)) {_logs(load)}"),
    "acknowledged records that are not stored yet": lambda p, load: float(load.count().lost),
}


def _number(p: Pipeline, sql: str) -> float:
    """Of a SELECT."""
    return float(p.query(f"SELECT {sql}")[0][0])


def _logs(load: Load) -> str:
    """Those of the applications of a load."""
    return f"FROM {DATABASE}.otel_logs WHERE ServiceName = 'load-{load.run}'"


def _silent(collector: Collector) -> bool:
    """Whether its metrics cannot be read."""
    try:
        collector.value("otelcol_process_uptime")
    except OSError:
        return True
    return False


def _clickhouse_silent(p: Pipeline) -> bool:
    try:
        p.query("SELECT 1")
    except UNANSWERED:
        return True
    return False


def _found(load: Load) -> int:
    """Different records; none where a table cannot be read, such as one with a broken part that is not replaced yet."""
    with contextlib.suppress(*UNANSWERED):
        return load.count().different
    return 0


def _dead_letters(p: Pipeline) -> float:
    """As the relay tells."""
    with urllib.request.urlopen(f"http://127.0.0.1:{p.relay.port}/metrics", timeout=5) as answer:
        return float(re.findall(r"^otelcol_gateway_dead_letters (\S+)$", answer.read().decode(), re.MULTILINE)[0])


def _refused(p: Pipeline, token: str) -> bool:
    """Whether the gateway wants another token: it answers an empty request, which stores nothing."""
    with grpc.secure_channel(p.gateway_otlp, grpc.ssl_channel_credentials(p.pki.ca.read_bytes())) as channel:
        stub: Any = telemetry_load.SERVICES["logs"](channel)
        try:
            stub.Export(telemetry_load.request("logs", "", "", 0, 0), timeout=5, metadata=(("authorization", f"Bearer {token}"),))
        except grpc.RpcError as error:
            return bool(error.code() is grpc.StatusCode.UNAUTHENTICATED)
    return False


def takes_records(collector: Collector) -> None:
    """Wait until a collector accepts log records. Raises TimeoutError."""
    labels = 'receiver="otlp"'
    before = collector.value("otelcol_receiver_accepted_log_records", labels)
    deadline = time.monotonic() + TURN_SECONDS
    while collector.value("otelcol_receiver_accepted_log_records", labels) <= before:
        if time.monotonic() > deadline:
            raise TimeoutError(f"a gateway that runs has got no log records for {TURN_SECONDS} s")
        time.sleep(0.25)


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
def one_gateway_killed(p: Pipeline, load: Load) -> Iterator[None]:
    """The agent takes turns among both before and afterwards, and the other one gets all meanwhile."""
    first, second = p.gateways
    takes_records(first)
    takes_records(second)
    first.kill()
    takes_records(second)
    yield
    first.start()
    takes_records(first)
    takes_records(second)


@contextmanager
def one_gateway_hangs(p: Pipeline, load: Load) -> Iterator[None]:
    """It is stopped with its connections open, and goes on later."""
    first, second = p.gateways
    process = first.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    takes_records(second)
    yield
    process.send_signal(signal.SIGCONT)
    takes_records(first)


@contextmanager
def gateways_killed_in_turn(p: Pipeline, load: Load) -> Iterator[None]:
    """Ten times, each with its relay."""
    for number in range(10):
        gateway, relay = p.gateways[number % 2], p.relays[number % 2]
        gateway.kill()
        relay.kill()
        time.sleep(RESTART_SECONDS)
        relay.start()
        gateway.start()
        time.sleep(0.5 + number / 10)
    yield
    for gateway in p.gateways:
        takes_records(gateway)


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
    while _found(load) < 200 and time.monotonic() < deadline:
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
        for name in telemetry_load.SIGNALS:
            load.send(name, shift)
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
    """100,000 different keys of attributes, others each time that it is made under the same load."""
    keys = itertools.count(100 * load.more)

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


def other_version(p: Pipeline, program: Path) -> Iterator[None]:
    """Both collectors are restarted with another version while their queues have records, because nothing passes to the next hop."""
    p.to_clickhouse.cut = True
    time.sleep(5)
    p.to_gateway.cut = True
    time.sleep(5)
    for collector in (p.gateway, p.agent):
        collector.restart_with(program)
    yield
    p.to_gateway.cut = False
    p.to_clickhouse.cut = False


@contextmanager
def newer_version(p: Pipeline, load: Load) -> Iterator[None]:
    """The collectors are upgraded, and stay so: the next fault of the table puts them back."""
    yield from other_version(p, otelcol.newer())


@contextmanager
def former_version(p: Pipeline, load: Load) -> Iterator[None]:
    """The collectors are put back to the version that the role has by default."""
    for collector in (p.gateway, p.agent):
        if collector.program != otelcol.newer():
            collector.restart_with(otelcol.newer())
    yield from other_version(p, otelcol.program())


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

    `make` begins it and, when its block ends, ends it. `seconds` is how long it lasts in between at least, `longest` at most if outages are
    to be longer. `sign` is one of SIGNS, and has to show the fault before it ends. `alert` is the uid of the alert that tells of it when it
    lasts. `twice` says why records may be stored twice; empty: they may not.
    """

    name: str
    make: Make
    seconds: float
    sign: str
    alert: str
    twice: str = ""
    longest: float = 0
    # Whether hosts need disks of their own, and so root.
    disks: bool = False
    # What is lost because it is destroyed; empty: nothing may be lost.
    loses: str = ""
    gateways: int = 1
    # Whether collectors may end by themselves, and are started again.
    crashes: bool = False
    # Whether it needs the newer collector, which takes long to compile.
    newer: bool = False

    def lasts(self, outage: float) -> float:
        """Seconds between its begin and its end."""
        return max(self.seconds, min(outage, self.longest))


KILLED = "killed between storing a batch and answering for it"
HUNG = "taken after the agent no longer waited for the answer"
# The collector 0.149 deletes a request if it cannot note that it takes it from its disk queue (persistentQueue.getNextItem).
TAKEN = "taken from a queue that could not be written"
# Before 0.156 a collector takes requests before all its queues have started, and crashes then (opentelemetry-collector issue 15485). Of
# what it was taking up again (persistentQueue.enqueueNotDispatchedReqs) the rest is lost.
STARTING = "taken from a queue by a collector that crashed while it started"
CRASHED_AT_START = ("nil pointer dereference", "persistentQueue[...]).putInternal")
REFUSED = "gateway: otelcol_exporter_send_failed_*"
GATEWAY_QUEUE, AGENT_QUEUE = "gateway: otelcol_exporter_queue_size", "agent: otelcol_exporter_queue_size"
NO_GATEWAY, NO_AGENT, NO_CLICKHOUSE = "gateway: does not answer", "agent: does not answer", "ClickHouse: does not answer"
SKEW = "ClickHouse: records with clock.skew"
UNDER_WAY = "acknowledged records that are not stored yet"
RESTARTED = "gateway: otelcol_process_uptime begins again"
FAULTS = (
    Fault("ClickHouse is down", clickhouse_down, 5, REFUSED, "clickhouse-down", longest=600),
    Fault("ClickHouse is killed in an INSERT", clickhouse_killed_in_an_insert, 1, REFUSED, "clickhouse-down"),
    Fault("ClickHouse is read-only", clickhouse_read_only, 8, "ClickHouse: read-only tables", "clickhouse-replica-readonly", longest=60),
    Fault("ClickHouse is slow (500 ms)", clickhouse_slow, 5, GATEWAY_QUEUE, "collector-queue", longest=60),
    Fault("gateway is killed", gateway_killed, 0, NO_GATEWAY, "collector-down", KILLED),
    Fault("gateway is killed ten times", gateway_killed_ten_times, 0, NO_GATEWAY, "collector-down", KILLED),
    Fault("agent is killed", agent_killed, 0, NO_AGENT, "host-agent-silent", KILLED),
    Fault("agent is killed after reading", agent_killed_after_reading, 0, NO_AGENT, "host-agent-silent", KILLED),
    Fault("agent has no network", agent_without_network, 5, AGENT_QUEUE, "host-agent-silent", HUNG, longest=600),
    Fault("ClickHouse's disk is full", full_disk("ClickHouse"), 5, REFUSED, "clickhouse-inserts-refused", disks=True),
    Fault("gateway's disk is full", full_disk("gateway"), 15, AGENT_QUEUE, "host-disk", disks=True, loses=TAKEN),
    Fault("agent's disk is full", full_disk("agent"), 15, AGENT_QUEUE, "host-disk", disks=True, loses=TAKEN),
    Fault("ClickHouse's host loses power", clickhouse_without_power, 0, NO_CLICKHOUSE, "clickhouse-down", KILLED, disks=True),
    Fault("gateway's host loses power", gateway_without_power, 0, NO_GATEWAY, "collector-down", KILLED, disks=True),
    Fault("agent's host loses power", agent_without_power, 0, NO_AGENT, "host-agent-silent", KILLED, disks=True),
    Fault("queue file is damaged", damaged_queue, 0, NO_GATEWAY, "collector-down", loses="what was in the file"),
    Fault("clock is 1 h ahead", clock(lambda: time.time() + 3600), 0, SKEW, ""),
    Fault("clock is 1 h behind", clock(lambda: time.time() - 3600), 0, "ClickHouse: logs of half an hour ago", ""),
    Fault("timestamps of 1970", clock(lambda: 1), 0, SKEW, ""),
    Fault("timestamps of 2100", clock(lambda: 4102444800), 0, SKEW, ""),
    Fault("log lines of 1 MB", large_lines, 0, "ClickHouse: logs with body.length", ""),
    Fault("invalid UTF-8", invalid_utf8, 0, "ClickHouse: bodies that are not UTF-8", ""),
    Fault("100,000 attribute keys", many_attribute_keys, 0, "ClickHouse: different keys of attributes", ""),
    Fault("ClickHouse refuses a record", refused_batch, 0, "gateway: otelcol_gateway_dead_letters", "gateway-dead-letters"),
    Fault("gateway's certificate has expired", expired_certificate, 5, AGENT_QUEUE, "certificate-expires"),
    Fault("token is replaced", new_token, 1, "gateway: the former token is refused", ""),
    Fault("schema is upgraded", new_schema, 0, "ClickHouse: tables", ""),
    Fault("collectors get another configuration", new_configuration, 0, RESTARTED, "", KILLED),
    Fault("collectors are upgraded", newer_version, 1, RESTARTED, "", newer=True),
    Fault("collectors are put back", former_version, 1, RESTARTED, "", newer=True),
    Fault("log file is renamed", renamed_log, 0, "agent's log: new file", ""),
    Fault("log file is truncated", truncated_log, 0, "agent's log: new file", ""),
    Fault("one of two gateways is killed", one_gateway_killed, 5, NO_GATEWAY, "collector-down", KILLED, longest=60, gateways=2),
    Fault("one of two gateways hangs", one_gateway_hangs, 15, NO_GATEWAY, "collector-down", HUNG, longest=60, gateways=2),
    Fault("two gateways are killed in turn, ten times", gateways_killed_in_turn, 0, NO_GATEWAY, "collector-down", KILLED, gateways=2),
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
    # What collectors said last that ended by themselves.
    crashes: Sequence[str] = ()

    @property
    def lost(self) -> str:
        """How many records are lost, and why, where that is known."""
        crashed_at_start = any(all(words in said for words in CRASHED_AT_START) for said in self.crashes)
        why = self.fault.loses or (STARTING if crashed_at_start else "")
        return f"{self.count.lost}" + (f" ({why})" if self.count.lost and why else "")

    @property
    def problems(self) -> list[str]:
        """What must not be."""
        found = [f"records are lost: {self.lost}"] if self.count.lost and not self.fault.loses else []
        if self.count.twice and not self.fault.twice and not self.unanswered:
            found.append(f"{self.count.twice} records are stored twice")
        if self.unsent:
            found.append(f"{self.unsent} records were never acknowledged")
        if self.crashes and not self.fault.crashes:
            found.append(f"a collector ended by itself {len(self.crashes)} times, at last with {self.crashes[-1]}")
        return found if self.seen else [*found, f"{self.fault.sign} did not show it"]

    def row(self) -> list[str]:
        """For the table."""
        twice = f"{self.count.twice}" + (f" ({self.fault.twice or 'sent again without an answer'})" if self.count.twice else "")
        numbers = [self.count.acknowledged, self.count.different, self.lost]
        drained = "not" if self.count.lost else f"{self.drained:.1f}"
        return [self.fault.name, *map(str, numbers), twice, drained, str(len(self.crashes)), self.fault.sign, self.fault.alert]


HEAD = ("fault", "acknowledged", "found", "lost", "twice", "drained, s", "crashes", "metric that showed it", "alert")


class Watch:
    """Looks at a sign while its block runs, and remembers its largest value."""

    def __init__(self, p: Pipeline, load: Load, sign: str) -> None:
        self.pipeline, self.load, self.sign = p, load, SIGNS[sign]
        self.most = -math.inf
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        """At least once. Where nobody answers, the sign has no value."""
        while True:
            with contextlib.suppress(*UNANSWERED):
                self.most = max(self.most, self.sign(self.pipeline, self.load))
            if self._end.wait(0.25):
                return

    def until_above(self, value: float, seconds: float) -> bool:
        """Whether it becomes larger than a value within a time."""
        end = time.monotonic() + seconds
        while self.most <= value and time.monotonic() < end:
            time.sleep(0.1)
        return self.most > value

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def until_found(load: Load, seconds: float = DRAIN_SECONDS) -> Count:
    """Wait until all is there, for a bounded time."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(*UNANSWERED):
            count = load.count()
            if not count.lost:
                return count
        if time.monotonic() > end:
            return load.count()
        time.sleep(0.25)


def run(p: Pipeline, fault: Fault, outage: float = 0) -> Outcome:
    """Make a fault under load and count. Outages that may be longer last for C(outage) seconds."""
    with p.load() as load:
        seen = make(p, load, fault, outage)
        ended = time.monotonic()
        time.sleep(AFTER_SECONDS)
    until_found(load, DRAIN_SECONDS / 2 if fault.loses else DRAIN_SECONDS + fault.lasts(outage))
    drained = time.monotonic() - ended
    # What comes again comes within this time.
    time.sleep(1)
    sent = load.applications.sent
    return Outcome(fault, load.count(), sent.unanswered, sent.unsent, drained, seen, p.crashes())


def make(p: Pipeline, load: Load, fault: Fault, outage: float = 0) -> bool:
    """Begin a fault, wait, and end it. Whether its sign has shown it before its end."""
    with Watch(p, load, fault.sign) as before:
        time.sleep(BEFORE_SECONDS)
    # The watch ends first, and then the fault.
    with ExitStack() as stack, Watch(p, load, fault.sign) as watch:
        stack.enter_context(fault.make(p, load))
        time.sleep(fault.lasts(outage))
        return watch.until_above(before.most, SEEN_SECONDS)


def usually_under_way(p: Pipeline, load: Load) -> float:
    """How many acknowledged records are not stored yet at any moment without a fault, while each application sends all signals."""
    with Watch(p, load, UNDER_WAY) as watch:
        time.sleep(3 * BEFORE_SECONDS)
    return watch.most


def until_drained(p: Pipeline, load: Load, usual: float) -> float:
    """Wait until no more records than usual are under way, for a bounded time: what is left of the last fault would hide the next one.

    The sizes of queues do not tell: after a restart they count twice what was being sent, until the queue is empty for a moment (collector
    0.149, persistentQueue.enqueueNotDispatchedReqs). Returns how many are usual from now on: with those that did not come, if any.
    """
    end = time.monotonic() + DRAIN_SECONDS
    under_way = math.inf
    while under_way > usual:
        if time.monotonic() > end:
            print(f"not drained after {DRAIN_SECONDS} s: {under_way:.0f} records are under way, usually up to {usual:.0f}", flush=True)
            return under_way
        time.sleep(0.25)
        with contextlib.suppress(*UNANSWERED):
            under_way = SIGNS[UNDER_WAY](p, load)
    return usual


def run_in_turn(p: Pipeline, faults: Sequence[Fault], minutes: float) -> Outcome:
    """One load for so many minutes, in which the faults that may lose nothing are made one after the other, again and again.

    The pipeline has two replicas of ClickHouse: a full disk may leave a merged part without content, which is fetched from the other one.
    """
    end = time.monotonic() + 60 * minutes
    made, unseen = 0, set[str]()
    lossless = itertools.cycle(fault for fault in faults if not fault.loses)
    with p.load() as load:
        usual = usually_under_way(p, load)
        while time.monotonic() < end:
            fault = next(lossless)
            made += 1
            usual = until_drained(p, load, usual)
            # These stay as they are after the first time.
            if not make(p, load, fault) and fault.make not in (new_token, new_schema):
                unseen.add(fault.name)
        ended = time.monotonic()
    until_found(load, DRAIN_SECONDS + CLEANUP_SECONDS)
    drained = time.monotonic() - ended
    time.sleep(1)
    sent = load.applications.sent
    every = Fault(f"{made} faults in turn, {minutes:g} minutes", clickhouse_down, 0, "the sign of each", "", KILLED, crashes=True)
    if unseen:
        print(f"not seen: {', '.join(sorted(unseen))}", flush=True)
    crashes = p.crashes()
    for said in crashes:
        print(f"a collector ended by itself with {said}\n", flush=True)
    return Outcome(every, load.count(), sent.unanswered, sent.unsent, drained, not unseen, crashes)


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
    parser.add_argument("--outage", type=float, default=0, metavar="SECONDS", help="how long outages last, of those that can be so long")
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
    if any(fault.newer for fault in chosen):
        otelcol.newer()
    if root:
        own_mounts()
    outcomes: list[Outcome] = []
    for gateways in (1, 2):
        with_these = [fault for fault in chosen if fault.gateways == gateways]
        if not with_these:
            continue
        with tempfile.TemporaryDirectory() as base, pipeline(Path(base), disks=root, gateways=gateways) as p:
            for fault in with_these:
                outcomes.append(run(p, fault, options.outage))
                print(table(outcomes[-1:]), *(f"  {fault.name}: {problem}" for problem in outcomes[-1].problems), sep="\n", flush=True)
    if options.minutes:
        with tempfile.TemporaryDirectory() as base, pipeline(Path(base), disks=root, replicas=2) as p:
            outcomes.append(run_in_turn(p, [fault for fault in chosen if fault.gateways == 1], options.minutes))
            print(*outcomes[-1].problems, sep="\n", flush=True)
    print(f"\n{table(outcomes)}", flush=True)
    return 1 if any(outcome.problems for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
