# GNU General Public License v3.0+ (see LICENSE)
"""An hour of metrics from seconds: every series that collectors really read is sent again through them, with earlier times.

Names, attributes, units and kinds are those of the real series. Values are made from the real ones: gauges vary around them, counters rise
at about their rate. For pictures only; tests look at what was really read.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tests.support.platform import DATABASE, HOST, Platform

STEP = 60
SECOND = 10**9
# Further hosts, which get the measurements of this one.
HOSTS = ("app-1", "app-2", "clickhouse-1", "zookeeper-1")
SERIES = """
SELECT ServiceName AS service, MetricName AS name, MetricUnit AS unit, ResourceAttributes AS resource, Attributes AS attributes,
  argMax(Value, TimeUnix) AS value, max(Value) - min(Value) AS increase, dateDiff('second', min(TimeUnix), max(TimeUnix)) AS seconds,
  {kind} AS kind
FROM {database}.{table} WHERE MetricName IN ({names}) GROUP BY ALL
"""


def named_metrics(queries: Iterable[str]) -> set[str]:
    """What may be names of metrics in queries: quoted words."""
    return {word for query in queries for word in re.findall(r"'([\w.]+)'", query)}


def send_history(platform: Platform, names: set[str], begin: float, end: float) -> None:
    """Send points of these metrics, one a minute, for this host and the further ones."""
    chance = random.Random(1)
    quoted = ", ".join(f"'{name}'" for name in sorted(names))
    found = []
    for table, kind in (("otel_metrics_gauge", "'gauge'"), ("otel_metrics_sum", "if(IsMonotonic, 'counter', 'level')")):
        sql = SERIES.format(database=DATABASE, table=table, names=quoted, kind=kind)
        found += [json.loads(line) for line in platform.clickhouse.query(f"{sql} FORMAT JSONEachRow").splitlines()]
    for host in (HOST, *HOSTS):
        own = [series for series in found if host == HOST or series["name"].startswith("system.")]
        for first in range(0, len(own), 200):
            platform.send("metrics", _message(own[first : first + 200], host, begin, end, chance))


def _message(series: Iterable[Mapping[str, Any]], host: str, begin: float, end: float, chance: random.Random) -> bytes:
    message = ExportMetricsServiceRequest()
    for one in series:
        resource = dict(one["resource"])
        if resource.get("host.name") == HOST:
            resource["host.name"] = host
        block = message.resource_metrics.add(resource=Resource(attributes=_attributes(resource)))
        metric = block.scope_metrics.add().metrics.add(name=one["name"], unit=one["unit"])
        if one["kind"] == "gauge":
            points = metric.gauge.data_points
        else:
            metric.sum.aggregation_temporality, metric.sum.is_monotonic = 2, one["kind"] == "counter"
            points = metric.sum.data_points
        for time, value in _values(one, begin, end, chance):
            points.add(time_unix_nano=int(time * SECOND), as_double=value, attributes=_attributes(one["attributes"]))
    return message.SerializeToString()


def _values(one: Mapping[str, Any], begin: float, end: float, chance: random.Random) -> Iterable[tuple[float, float]]:
    """Times and values."""
    value, phase = float(one["value"]), chance.uniform(0, 2 * math.pi)
    rate = float(one["increase"]) / max(float(one["seconds"]), 1)
    steady = one["name"] == "up" or one["name"].startswith(("system.cpu.logical", "process_start", "grafana_build", "grafana_stat"))
    total, time = 0.0, begin
    while time < end:
        wave = 1 if steady else 1 + 0.3 * math.sin(phase + (time - begin) / 700) + chance.uniform(-0.1, 0.1)
        if one["kind"] == "counter":
            total += rate * STEP * max(wave, 0)
            yield time, total
        else:
            made = value * wave
            if one["name"] == "system.cpu.utilization":
                # This machine is busy with the pictures: a platform is not.
                made = 1 - 0.3 * (1 - value) * wave if one["attributes"]["state"] == "idle" else 0.3 * made
            yield time, min(made, 1.0) if "utilization" in one["name"] else made
        time += STEP


def _attributes(values: Mapping[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in values.items()]
