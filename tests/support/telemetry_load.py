# GNU General Public License v3.0+ (see LICENSE)
"""Simulated agents: numbered logs, spans and points, sent to gateways as node agents send theirs, and counted in ClickHouse."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

SIGNALS = ("logs", "traces", "metrics")
# Signal -> table, the map that holds a record's own attributes, the time of the record.
TABLES = {
    "logs": ("otel_logs", "LogAttributes", "Timestamp"),
    "traces": ("otel_traces", "SpanAttributes", "Timestamp"),
    "metrics": ("otel_metrics_gauge", "Attributes", "TimeUnix"),
}
INTERVAL = 3.0
TIMEOUT = 30


@dataclass(frozen=True)
class Agent:
    """One simulated agent: its host's name, the gateway's host and port for OTLP by HTTP, and headers such as the one for the shard."""

    host: str
    address: str
    headers: tuple[tuple[str, str], ...]


@dataclass
class Sent:
    """What all agents have sent.

    Acknowledged records by signal and by the headers of the agent; refused requests and why the first ones were; records that were
    sent again because the first attempt got no answer, so that the gateway may have both; records that were given up.
    """

    accepted: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SIGNALS, 0))
    by_headers: dict[tuple[tuple[str, str], ...], int] = field(default_factory=dict)
    refused: int = 0
    reasons: list[str] = field(default_factory=list)
    unanswered: int = 0
    unsent: int = 0

    @property
    def total(self) -> int:
        """Acknowledged records of all signals."""
        return sum(self.accepted.values())


def _attributes(values: Mapping[str, str | int]) -> list[KeyValue]:
    return [
        KeyValue(key=key, value=AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value))
        for key, value in values.items()
    ]


def request_body(signal: str, run: str, host: str, sequence: int, count: int) -> bytes:
    """One request of an agent with C(count) records, numbered from C(sequence), as OTLP in protobuf."""
    resource = Resource(attributes=_attributes({"service.name": f"load-{run}", "host.name": host}))
    now = time.time_ns()
    records: list[dict[str, Any]] = []
    for number in range(sequence, sequence + count):
        digest = hashlib.sha256(f"{run}/{host}/{signal}/{number}".encode()).digest()
        route, status = f"/api/v1/items/{number % 7}", 200 + number % 3
        own = _attributes({"load.id": f"{host}/{number}", "http.route": route, "http.status_code": status})
        records.append({"digest": digest, "time": now + number - sequence, "attributes": own, "number": number})
    if signal == "logs":
        logs = ExportLogsServiceRequest()
        block = logs.resource_logs.add(resource=resource).scope_logs.add()
        for record in records:
            text = f"request {record['number']} of {host} took {record['number'] % 97} ms and returned {record['digest'].hex()}"
            log = block.log_records.add(
                time_unix_nano=record["time"], severity_number=9, severity_text="INFO", attributes=record["attributes"]
            )
            log.body.string_value = text
        return logs.SerializeToString()
    if signal == "traces":
        traces = ExportTraceServiceRequest()
        spans = traces.resource_spans.add(resource=resource).scope_spans.add()
        for record in records:
            spans.spans.add(
                trace_id=record["digest"][:16],
                span_id=record["digest"][16:24],
                name=f"GET /api/v1/items/{record['number'] % 7}",
                kind=2,
                start_time_unix_nano=record["time"],
                end_time_unix_nano=record["time"] + 1_000_000 * (record["number"] % 97),
                attributes=record["attributes"],
            )
        return traces.SerializeToString()
    metrics = ExportMetricsServiceRequest()
    gauge = metrics.resource_metrics.add(resource=resource).scope_metrics.add().metrics.add(name="load.gauge", unit="1").gauge
    for record in records:
        gauge.data_points.add(time_unix_nano=record["time"], as_double=float(record["number"]), attributes=record["attributes"])
    return metrics.SerializeToString()


class Load:
    """Agents that send until they are told to stop.

    Each sends a number of records of one signal at a time, of another signal the next time. Every request is sent until it is
    acknowledged, as an agent's queue does.
    """

    def __init__(
        self,
        run: str,
        agents: Sequence[Agent],
        token: str,
        context: ssl.SSLContext,
        *,
        records: int = 20,
        signals: Sequence[str] = SIGNALS,
    ) -> None:
        self.run, self.agents, self.token, self.context = run, agents, token, context
        self.records, self.signals = records, signals
        self.sent = Sent()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        # A gateway answers when a batch is full or its time is over: each agent needs a thread of its own.
        self._threads = len(agents)

    def send(self, seconds: float) -> Sent:
        """Send for a time; what is not acknowledged in its interval is tried again, also after the end for a bounded time."""
        with ThreadPoolExecutor(self._threads) as pool:
            lots = [self.agents[number :: self._threads] for number in range(self._threads)]
            list(pool.map(lambda lot: self._worker(lot, seconds), lots))
        return self.sent

    def stop(self) -> None:
        """End before the time is over."""
        self._stop.set()

    def _worker(self, agents: Sequence[Agent], seconds: float) -> None:
        """A part of the agents, evenly over the interval, on one connection to each gateway."""
        connections: dict[str, http.client.HTTPSConnection] = {}
        begin, turn, signals = time.monotonic(), 0, self.signals
        while not self._stop.is_set() and turn * INTERVAL < seconds:
            for index, agent in enumerate(agents):
                due = begin + (turn + index / len(agents)) * INTERVAL
                if self._stop.wait(max(0.0, due - time.monotonic())):
                    break
                signal = signals[(turn + index) % len(signals)]
                body = request_body(signal, self.run, agent.host, turn * self.records, self.records)
                self._deliver(connections, agent, signal, body)
            turn += 1

    def _deliver(self, connections: dict[str, http.client.HTTPSConnection], agent: Agent, signal: str, body: bytes) -> None:
        """One request until it is acknowledged, for as long as the load may take to give up."""
        headers = {"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {self.token}", **dict(agent.headers)}
        deadline = time.monotonic() + 10 * TIMEOUT
        while True:
            reason, answered = self._post(connections, agent.address, f"/v1/{signal}", body, headers)
            with self._lock:
                if not reason:
                    self.sent.accepted[signal] += self.records
                    self.sent.by_headers[agent.headers] = self.sent.by_headers.get(agent.headers, 0) + self.records
                    return
                self.sent.refused += 1
                self.sent.unanswered += 0 if answered else self.records
                self.sent.reasons = [*self.sent.reasons, reason][:5]
                if time.monotonic() > deadline:
                    self.sent.unsent += self.records
                    return
            time.sleep(1)

    def _post(
        self, connections: dict[str, http.client.HTTPSConnection], address: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[str, bool]:
        """Why the request was not acknowledged, empty when it was; whether there was an answer or surely no request."""
        connection = connections.get(address)
        if connection is None:
            connection = connections[address] = http.client.HTTPSConnection(address, timeout=TIMEOUT, context=self.context)
        try:
            connection.request("POST", path, body, dict(headers))
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return f"{type(error).__name__}: {error}", isinstance(error, ConnectionRefusedError)
        return "" if answer.status == 200 else f"{answer.status} {text[:200]!r}", True


def stored(query: Callable[[str], list[list[Any]]], run: str, signals: Sequence[str] = SIGNALS) -> dict[str, tuple[int, int]]:
    """Signal -> rows of a run, and different records among them, over all shards."""
    found = {}
    for signal in signals:
        table, attributes, _ = TABLES[signal]
        rows = query(f"SELECT count(), uniqExact({attributes}['load.id']) FROM otel.{table} WHERE ServiceName = 'load-{run}'")
        found[signal] = (int(rows[0][0]), int(rows[0][1]))
    return found
