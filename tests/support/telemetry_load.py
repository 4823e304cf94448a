# GNU General Public License v3.0+ (see LICENSE)
"""Simulated agents: numbered logs, spans and points, sent to gateways as node agents send theirs, and counted in ClickHouse."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

SIGNALS = ("logs", "traces", "metrics")
# Signal -> table, the map that holds a record's own attributes, the time of the record.
TABLES = {
    "logs": ("otel_logs", "LogAttributes", "Timestamp"),
    "traces": ("otel_traces", "SpanAttributes", "Timestamp"),
    "metrics": ("otel_metrics_gauge", "Attributes", "TimeUnix"),
}
SERVICES = {"logs": LogsServiceStub, "traces": TraceServiceStub, "metrics": MetricsServiceStub}
INTERVAL = 3.0
TIMEOUT = 30
# What a failure says when the gateway has surely not taken the request.
ANSWERED = ("failed to connect", "Connection refused", "queue is full", "data refused", "RESOURCE_EXHAUSTED")


@dataclass(frozen=True)
class Agent:
    """One simulated agent: its host's name, the gateway's host and port for OTLP over gRPC, and headers such as the one for the shard."""

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


def attributes(values: Mapping[str, str | int]) -> list[KeyValue]:
    """Attributes of text and whole numbers."""
    return [
        KeyValue(key=key, value=AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value))
        for key, value in values.items()
    ]


def request(signal: str, run: str, host: str, sequence: int, count: int) -> Any:
    """One request of an agent with C(count) records, numbered from C(sequence), as an OTLP message."""
    resource = Resource(attributes=attributes({"service.name": f"load-{run}", "host.name": host}))
    now = time.time_ns()
    records: list[dict[str, Any]] = []
    for number in range(sequence, sequence + count):
        digest = hashlib.sha256(f"{run}/{host}/{signal}/{number}".encode()).digest()
        route, status = f"/api/v1/items/{number % 7}", 200 + number % 3
        own = attributes({"load.id": f"{host}/{number}", "http.route": route, "http.status_code": status})
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
        return logs
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
        return traces
    metrics = ExportMetricsServiceRequest()
    gauge = metrics.resource_metrics.add(resource=resource).scope_metrics.add().metrics.add(name="load.gauge", unit="1").gauge
    for record in records:
        gauge.data_points.add(time_unix_nano=record["time"], as_double=float(record["number"]), attributes=record["attributes"])
    return metrics


class Load:
    """Agents that send until they are told to stop.

    Each sends a number of records every interval, of one signal after the other, whether or not those before are acknowledged, as an
    agent's queue does. Every request is sent until it is acknowledged. Each agent has a connection of its own, without TLS where C(ca) is
    None.
    """

    def __init__(
        self,
        run: str,
        agents: Sequence[Agent],
        token: str,
        ca: bytes | None,
        *,
        records: int = 20,
        signals: Sequence[str] = SIGNALS,
    ) -> None:
        self.run, self.agents, self.token, self.ca = run, agents, token, ca
        self.records, self.signals = records, signals
        self.sent = Sent()
        # Headers and signal -> when each request was made, Unix time in seconds.
        self.made: dict[tuple[tuple[tuple[str, str], ...], str], list[float]] = {}
        self._stop = threading.Event()

    def send(self, seconds: float) -> Sent:
        """Send for a time; what is not acknowledged then is tried again for a bounded time."""
        asyncio.run(self._send(seconds))
        return self.sent

    def stop(self) -> None:
        """End before the time is over."""
        self._stop.set()

    async def _send(self, seconds: float) -> None:
        await asyncio.gather(*(self._agent(number, agent, seconds) for number, agent in enumerate(self.agents)))

    async def _agent(self, number: int, agent: Agent, seconds: float) -> None:
        """Agents begin evenly over the interval."""
        options = (
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.initial_reconnect_backoff_ms", 200),
        )
        begin, turn, requests = time.monotonic(), 0, []
        if self.ca is None:
            opened = grpc.aio.insecure_channel(agent.address, options)
        else:
            opened = grpc.aio.secure_channel(agent.address, grpc.ssl_channel_credentials(self.ca), options)
        async with opened as channel:
            stubs = {signal: SERVICES[signal](channel) for signal in self.signals}
            while not self._stop.is_set() and turn * INTERVAL < seconds:
                due = begin + (turn + number / len(self.agents)) * INTERVAL
                while not self._stop.is_set() and (pause := due - time.monotonic()) > 0:
                    await asyncio.sleep(min(pause, 0.5))
                signal = self.signals[(turn + number) % len(self.signals)]
                made = request(signal, self.run, agent.host, turn * self.records, self.records)
                self.made.setdefault((agent.headers, signal), []).append(time.time())
                requests.append(asyncio.create_task(self._deliver(stubs[signal], agent, signal, made)))
                turn += 1
            await asyncio.gather(*requests)

    async def _deliver(self, stub: Any, agent: Agent, signal: str, made: Any) -> None:
        """One request until it is acknowledged, for as long as the load may take to give up."""
        metadata = (("authorization", f"Bearer {self.token}"), *agent.headers)
        deadline = time.monotonic() + 10 * TIMEOUT
        while True:
            try:
                await stub.Export(made, timeout=TIMEOUT, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                self.sent.refused += 1
                said = f"{error.code().name}: {error.details()}"
                self.sent.unanswered += 0 if any(word in said for word in ANSWERED) else self.records
                self.sent.reasons = [*self.sent.reasons, said[:300]][:5]
            else:
                self.sent.accepted[signal] += self.records
                self.sent.by_headers[agent.headers] = self.sent.by_headers.get(agent.headers, 0) + self.records
                return
            if time.monotonic() > deadline:
                self.sent.unsent += self.records
                return
            await asyncio.sleep(1)


def stored(query: Callable[[str], list[list[Any]]], run: str, signals: Sequence[str] = SIGNALS) -> dict[str, tuple[int, int]]:
    """Signal -> rows of a run, and different records among them, over all shards."""
    found = {}
    for signal in signals:
        table, attributes, _ = TABLES[signal]
        rows = query(f"SELECT count(), uniqExact({attributes}['load.id']) FROM otel.{table} WHERE ServiceName = 'load-{run}'")
        found[signal] = (int(rows[0][0]), int(rows[0][1]))
    return found
