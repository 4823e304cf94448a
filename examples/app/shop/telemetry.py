# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the shop measures, and where it goes.

Traces, logs and metrics are pushed by OTLP; where to and with which token say the standard OTEL_* variables
(OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS, OTEL_RESOURCE_ATTRIBUTES, OTEL_METRIC_EXPORT_INTERVAL).
The Prometheus metrics wait for a scrape of /metrics.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import prometheus_client
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from shop import __version__

log = logging.getLogger("shop")
tracer = trace.get_tracer("shop", __version__)
meter = metrics.get_meter("shop", __version__)

# One instrument for each kind of metric that OTLP can carry from an SDK.
orders = meter.create_counter("shop.orders", "{order}", "Orders, by result")  # sum, only rises
active_requests = meter.create_up_down_counter("http.server.active_requests", "{request}", "Requests being answered")
request_duration = meter.create_histogram("http.server.request.duration", "s", "Time to answer a request")
query_duration = meter.create_histogram("db.client.operation.duration", "s", "Time of a query, by its SQL verb")

# And the kinds that a scrape adds: a summary comes only from here, SDKs send none.
prom_orders = prometheus_client.Counter("shop_orders", "Orders, by result", ["result"])  # exposed as shop_orders_total
prom_requests = prometheus_client.Histogram("shop_request_seconds", "Time to answer a request", ["route"])
prom_order_value = prometheus_client.Summary("shop_order_value_euros", "Value of the accepted orders")
prom_products = prometheus_client.Gauge("shop_products", "Products on sale")


def start() -> Callable[[], None]:
    """Begin to export; return what flushes and ends it. An agent that does not answer costs log lines, nothing else."""
    resource = Resource.create({"service.name": "shop", "service.version": __version__})

    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(traces)

    # Only this metric: exponential buckets need no boundaries chosen beforehand.
    exponential = View(instrument_name="db.client.operation.duration", aggregation=ExponentialBucketHistogramAggregation())
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    measures = MeterProvider([reader], resource=resource, views=[exponential])
    metrics.set_meter_provider(measures)

    logs = LoggerProvider(resource=resource)
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    # The shop's own logger only: an exporter that complains about the agent must not send its complaint there.
    log.addHandler(LoggingHandler(logger_provider=logs))
    log.setLevel(logging.INFO)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)

    def stop() -> None:
        # At once: each waits for an agent that does not answer until its timeout.
        with ThreadPoolExecutor() as pool:
            for provider in (traces, logs, measures):
                pool.submit(provider.shutdown)

    return stop


def observe(name: str, unit: str, description: str, read: Callable[[], int]) -> None:
    """Report what `read` returns, whenever metrics are exported (OTLP gauge)."""

    def callback(_options: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        return [metrics.Observation(read())]

    meter.create_observable_gauge(name, [callback], unit, description)
