# GNU General Public License v3.0+ (see LICENSE)
"""Telemetry of a web shop with five services, as OTLP requests: traces, their log records, and latency histograms with exemplars."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = 1, 2, 3, 4, 5
ERROR = 2
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
SECOND = 10**9
SERVICES = ("frontend", "catalog", "checkout", "payment", "mailer")
HOSTS = ("app-1", "app-2")


@dataclass
class Call:
    """One span that is still without ids: who, what, for how long (seconds), and what it calls."""

    service: str
    name: str
    kind: int
    seconds: float
    calls: tuple[Call, ...] = ()
    error: str = ""


def attributes(**values: str) -> list[KeyValue]:
    """Attributes whose names have dots instead of double underscores."""
    return [KeyValue(key=key.replace("__", "."), value=AnyValue(string_value=value)) for key, value in values.items()]


def request(chance: random.Random) -> Call:
    """What one visitor's request sets off: most look at products, some order, some payments fail."""
    slow = 10.0 if chance.random() < 0.02 else 1.0
    query = Call("catalog", "SELECT products", CLIENT, chance.uniform(0.002, 0.02) * slow)
    products = Call("catalog", "GET /products", SERVER, query.seconds + chance.uniform(0.001, 0.01), (query,))
    if chance.random() < 0.7:
        return Call("frontend", "GET /", SERVER, products.seconds + chance.uniform(0.002, 0.02), (products,))
    failed = "card was declined" if chance.random() < 0.08 else ""
    charge = Call("payment", "POST /charge", SERVER, chance.uniform(0.02, 0.2) * slow, (), failed)
    mail = Call("mailer", "orders process", CONSUMER, chance.uniform(0.01, 0.05))
    publish = Call("checkout", "orders publish", PRODUCER, chance.uniform(0.001, 0.004), (mail,))
    order = Call("checkout", "POST /orders", SERVER, charge.seconds + chance.uniform(0.005, 0.03), (charge, publish), failed)
    return Call("frontend", "POST /checkout", SERVER, order.seconds + products.seconds, (products, order), failed)


class Traffic:
    """Requests of a time range, the same for the same seed."""

    def __init__(self, begin: float, end: float, requests: int, seed: int = 1) -> None:
        self.begin, self.end = begin, end
        self._chance = random.Random(seed)
        self._spans: list[tuple[Call, bytes, bytes, bytes, float, str]] = []
        for number in range(requests):
            trace = self._chance.randbytes(16)
            start = begin + (end - begin) * number / requests
            self._walk(request(self._chance), trace, b"", start, HOSTS[number % len(HOSTS)])

    def _walk(self, call: Call, trace: bytes, parent: bytes, start: float, host: str) -> None:
        span = self._chance.randbytes(8)
        self._spans.append((call, trace, span, parent, start, host))
        for inner in call.calls:
            start += 0.001
            self._walk(inner, trace, span, start, host)

    def __len__(self) -> int:
        return len(self._spans)

    def messages(self) -> Iterator[tuple[str, bytes]]:
        """Signal and serialized request, one for each service, host and signal."""
        for service in SERVICES:
            for host in HOSTS:
                own = [span for span in self._spans if span[0].service == service and span[5] == host]
                resource = Resource(attributes=attributes(service__name=service, host__name=host, service__version="1.4.2"))
                yield "traces", self._traces(resource, own)
                yield "logs", self._logs(resource, own)
                yield "metrics", self._metrics(resource, own)

    def _traces(self, resource: Resource, spans: Sequence[Any]) -> bytes:
        message = ExportTraceServiceRequest()
        block = message.resource_spans.add(resource=resource).scope_spans.add()
        for call, trace, span, parent, start, _host in spans:
            made = block.spans.add(
                trace_id=trace,
                span_id=span,
                parent_span_id=parent,
                name=call.name,
                kind=call.kind,
                start_time_unix_nano=int(start * SECOND),
                end_time_unix_nano=int((start + call.seconds) * SECOND),
                attributes=attributes(http__route=call.name.split()[-1]),
            )
            if call.error:
                made.status.code, made.status.message = ERROR, call.error
        return message.SerializeToString()

    def _logs(self, resource: Resource, spans: Sequence[Any]) -> bytes:
        message = ExportLogsServiceRequest()
        block = message.resource_logs.add(resource=resource).scope_logs.add()
        for call, trace, span, _parent, start, _host in spans:
            number, text = (17, "ERROR") if call.error else (13, "WARN") if call.seconds > 0.15 else (9, "INFO")
            record = block.log_records.add(
                time_unix_nano=int((start + call.seconds) * SECOND),
                trace_id=trace,
                span_id=span,
                severity_number=number,
                severity_text=text,
            )
            record.body.string_value = call.error or f"{call.name} took {call.seconds * 1000:.1f} ms"
        return message.SerializeToString()

    def _metrics(self, resource: Resource, spans: Sequence[Any]) -> bytes:
        """http.server.request.duration, cumulative, a point each minute with the minute's slowest request as exemplar."""
        message = ExportMetricsServiceRequest()
        metric = message.resource_metrics.add(resource=resource).scope_metrics.add().metrics.add()
        metric.name, metric.unit = "http.server.request.duration", "s"
        metric.histogram.aggregation_temporality = 2
        served = [span for span in spans if span[0].kind == SERVER]
        buckets, total, count = [0] * (len(BOUNDS) + 1), 0.0, 0
        minute = self.begin
        while minute < self.end:
            fresh = [span for span in served if minute <= span[4] < minute + 60]
            for span in fresh:
                buckets[sum(span[0].seconds > bound for bound in BOUNDS)] += 1
                total, count = total + span[0].seconds, count + 1
            minute += 60
            point = metric.histogram.data_points.add(
                start_time_unix_nano=int(self.begin * SECOND),
                time_unix_nano=int(min(minute, self.end) * SECOND),
                count=count,
                sum=total,
                bucket_counts=buckets,
                explicit_bounds=BOUNDS,
            )
            if fresh:
                slowest = max(fresh, key=lambda span: span[0].seconds)
                point.exemplars.add(
                    time_unix_nano=int(slowest[4] * SECOND), as_double=slowest[0].seconds, trace_id=slowest[1], span_id=slowest[2]
                )
        return message.SerializeToString()
