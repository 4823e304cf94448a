# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the limits and the redaction of a gateway cost: CPU seconds of the collector per million records, with and without them.

python -m bench.gateway_processing [records]; 200000 of each signal by default. With C(keys) instead of a number it prints what distinct
attribute keys cost the table of logs. Starts one gateway as the role configures it, with a real
ClickHouse engine behind it, and sends the same requests to it for each variant in turn, three times. Each record has 12 attributes, its
resource has 5. Prints a table of medians; nothing depends on its numbers.

variants:
  none            neither redaction nor limits
  limits          the role's limits
  default         the role's defaults: limits, and names of attributes to redact
  value pattern   the defaults, and one pattern of values: card numbers of 13 to 16 digits
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import yaml

from tests import conftest  # noqa: F401  makes the collection importable
from tests.support import telemetry_load
from tests.support.clickhouse import until
from tests.support.collector_files import GATEWAY_TOKEN
from tests.support.gateway import Gateway, accepted, gateway
from tests.testbed.core import say

ROUNDS, RECORDS_OF_REQUEST = 3, 1000
VARIANTS: dict[str, tuple[str, ...]] = {
    "none": (),
    "limits": ("transform/limits",),
    "default": ("redaction", "transform/limits"),
    "value pattern": ("redaction/values", "transform/limits"),
}
# Signal -> names of the fields that hold resources, scopes and records.
FIELDS = {
    "logs": ("resource_logs", "scope_logs", "log_records"),
    "traces": ("resource_spans", "scope_spans", "spans"),
    "metrics": ("resource_metrics", "scope_metrics", "metrics"),
}
ATTRIBUTES = {f"app.attribute.{number}": f"value {number} of some length" for number in range(7)}


def request(signal: str) -> Any:
    """A request with records as applications send them: of each 12 attributes, and 5 of the resource."""
    made = telemetry_load.request(signal, "bench", "host", 0, RECORDS_OF_REQUEST)
    resources, scopes, names = FIELDS[signal]
    (block,) = getattr(made, resources)
    block.resource.attributes.extend(telemetry_load.attributes({"service.version": "1.2.3", "os.type": "linux", "process.pid": 4711}))
    (scope,) = getattr(block, scopes)
    records = scope.metrics[0].gauge.data_points if signal == "metrics" else getattr(scope, names)
    own = telemetry_load.attributes({**ATTRIBUTES, "http.request.header.accept": "*/*", "url.path": "/api/v1/items"})
    for record in records:
        record.attributes.extend(own)
    return made


def cpu_seconds(process: int) -> float:
    """What a process has used until now."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(one: Gateway, variant: str, records: int) -> dict[str, float]:
    """CPU seconds per million records of each signal."""
    path = one.folder / "config.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["processors"]["redaction/values"] = {**config["processors"]["redaction"], "blocked_values": [r"\b[0-9]{13,16}\b"]}
    config["processors"]["redaction/values"]["redact_all_types"] = True
    for signal in telemetry_load.SIGNALS:
        own = config["service"]["pipelines"][signal]["processors"]
        config["service"]["pipelines"][signal]["processors"] = [
            *(name for name in own if not name.startswith(("redaction", "transform/limits"))),
            *VARIANTS[variant],
        ]
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    one.collector.restart()
    found = {}
    assert one.collector.process is not None
    metadata = (("authorization", f"Bearer {GATEWAY_TOKEN}"),)
    for signal in telemetry_load.SIGNALS:
        message = request(signal)
        until(f"{signal} are refused", partial(accepted, one, signal, message.SerializeToString()), 30)
        before = cpu_seconds(one.collector.process.pid)
        with grpc.secure_channel(f"127.0.0.1:{one.ports['grpc']}", grpc.ssl_channel_credentials(one.ca)) as channel:
            stub: Any = telemetry_load.SERVICES[signal](channel)
            waiting = []
            for _ in range(records // RECORDS_OF_REQUEST):
                waiting.append(stub.Export.future(message, timeout=60, metadata=metadata))
                if len(waiting) > 16:
                    waiting.pop(0).result()
            for answer in waiting:
                answer.result()
        metrics = f"http://127.0.0.1:{one.ports['metrics']}/metrics"
        until("the queue is empty", partial(is_empty, metrics), 60)
        found[signal] = (cpu_seconds(one.collector.process.pid) - before) * 1e6 / records
    return found


def is_empty(url: str) -> bool:
    """Whether the queues of a collector hold nothing, from its metrics."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return all(float(line.rpartition(" ")[2]) == 0 for line in lines if line.startswith("otelcol_exporter_queue_size"))


def keys(one: Gateway) -> None:
    """Print what 200,000 logs with ten attributes each cost the table, by the number of distinct keys over all of them."""
    print("| distinct keys | inserted in, s | MB | one key of an hour, ms | all keys of an hour, ms |\n|---|---|---|---|---|")
    for distinct in (10, 1000, 10_000, 100_000):
        one.query("TRUNCATE TABLE otel.otel_logs_local")
        attributes = f"mapFromArrays(arrayMap(i -> concat('key-', toString(intHash64(number * 10 + i) % {distinct})), range(10)), "
        attributes += "arrayMap(i -> concat('value ', toString(intHash32(number + i) % 1000)), range(10)))"
        insert = (
            "INSERT INTO otel.otel_logs_local (Timestamp, ServiceName, Body, LogAttributes) "
            f"SELECT now64(9), 'bench', concat('text ', toString(number)), {attributes} FROM numbers(200000)"
        )
        seconds = {"insert": timed(one, insert, 1)}
        one.query("OPTIMIZE TABLE otel.otel_logs_local FINAL")
        where = "WHERE Timestamp > now() - 3600 AND ServiceName = 'bench'"
        seconds["one"] = timed(one, f"SELECT count() FROM otel.otel_logs_local {where} AND LogAttributes['key-7'] = 'value 7'")
        seconds["all"] = timed(one, f"SELECT uniqExact(arrayJoin(mapKeys(LogAttributes))) FROM otel.otel_logs_local {where}")
        size = one.query("SELECT sum(bytes_on_disk) / 1e6 FROM system.parts WHERE active AND table = 'otel_logs_local'")
        times = (f"{seconds[what] * 1e3:.0f}" for what in ("one", "all"))
        columns = (f"{distinct:,}", f"{seconds['insert']:.1f}", f"{float(size):.1f}", *times)
        print("| " + " | ".join(columns) + " |")


def timed(one: Gateway, sql: str, rounds: int = 7) -> float:
    """Median seconds of a statement."""
    taken = []
    for _ in range(rounds):
        begin = time.perf_counter()
        one.query(sql)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def main() -> None:
    """Run it and print the table."""
    if sys.argv[1:] == ["keys"]:
        with tempfile.TemporaryDirectory() as folder, gateway(Path(folder)) as one:
            keys(one)
        return
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    taken: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS}
    with tempfile.TemporaryDirectory() as folder, gateway(Path(folder), otel_collector_gateway_batch_timeout="1s") as one:
        for number in range(ROUNDS):
            for variant in VARIANTS:
                taken[variant].append(measure(one, variant, records))
                say(f"round {number + 1}, {variant}: {taken[variant][-1]}")
    print("| CPU seconds per million records | " + " | ".join(telemetry_load.SIGNALS) + " |\n|---|" + "---|" * 3)
    base = {signal: statistics.median(found[signal] for found in taken["none"]) for signal in telemetry_load.SIGNALS}
    for variant, all_found in taken.items():
        medians = {signal: statistics.median(found[signal] for found in all_found) for signal in telemetry_load.SIGNALS}
        print(f"| {variant} | " + " | ".join(f"{value:.1f} ({value / base[signal]:.2f})" for signal, value in medians.items()) + " |")


if __name__ == "__main__":
    main()
