# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tail sampling on a gateway of the role, the real collector, and what is refused before the first change."""

from __future__ import annotations

import re
import ssl
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support import otelcol
from tests.support.clickhouse import until
from tests.support.collector_files import GATEWAY_TOKEN, Rendered, printing
from tests.support.daemon import free_ports
from tests.support.platform import Process

pytestmark = pytest.mark.integration

ERRORS = {"decision_wait": "1s", "policies": [{"name": "errors", "type": "status_code", "status_code": {"status_codes": ["ERROR"]}}]}
# The collector's own metric: traces by decision.
DECIDED = "otelcol_processor_tail_sampling_global_count_traces_sampled"
EXTERNAL = {"otel_collector_clickhouse_endpoint": "tcp://127.0.0.1:1"}


def spans(trace: int, number: int, error: bool) -> bytes:
    """A request with one span of a trace."""
    made = ExportTraceServiceRequest()
    span = made.resource_spans.add().scope_spans.add().spans.add(name=f"trace-{trace}-span-{number}")
    span.trace_id, span.span_id = trace.to_bytes(16, "big"), (100 * trace + number).to_bytes(8, "big")
    span.start_time_unix_nano = span.end_time_unix_nano = time.time_ns()
    span.status.code = 2 if error else 1
    return made.SerializeToString()


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a shorter path than pytest's own: that of a socket may have 107 bytes."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_whole_traces_are_kept_or_dropped(folder: Path) -> None:
    """Spans come in several requests; a trace with one error is kept with all its spans, one without is not."""
    grpc, http, health, metrics = free_ports(4)
    rendered = Rendered(folder, otelcol.program())
    done = rendered.render(
        ("gateway",),
        {"gateway": ["gw1"]},
        check_program=False,
        ansible_host="127.0.0.1",
        **EXTERNAL,
        otel_collector_gateway_grpc_port=grpc,
        otel_collector_gateway_http_port=http,
        otel_collector_gateway_health_port=health,
        otel_collector_gateway_metrics_port=metrics,
        otel_collector_gateway_tail_sampling=ERRORS,
        otel_collector_gateway_config=printing("traces"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert rendered.load("gw1", "gateway")["service"]["pipelines"]["traces"]["processors"][-2:] == ["transform/limits", "tail_sampling"]
    (folder / "gw1/gateway/run").mkdir()
    context = ssl.create_default_context(cafile=str(rendered.certificate))
    headers = {"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {GATEWAY_TOKEN}"}
    with Process([rendered.program, *rendered.argv("gw1", "gateway")], health) as collector:
        for number in range(2):
            for trace in range(1, 5):
                body = spans(trace, number, error=trace == 3 and number == 1)
                request = urllib.request.Request(f"https://127.0.0.1:{http}/v1/traces", body, headers)
                urllib.request.urlopen(request, timeout=30, context=context).close()
        kept: set[str] = set()

        def decided() -> bool:
            kept.update(re.findall(r"trace-[0-9]-span-[0-9]", collector.log.read_text(encoding="utf-8")))
            with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=5) as answer:
                found = re.findall(rf"^{DECIDED}.* ([0-9]+)$", answer.read().decode(), re.MULTILINE)
            return sum(map(int, found)) == 4 and len(kept) >= 2

        until("all traces are decided on", decided, 30)
    assert kept == {"trace-3-span-0", "trace-3-span-1"}


@pytest.mark.parametrize(
    ("gateways", "variables", "said"),
    [
        (
            ["gw1", "gw2"],
            {"otel_collector_gateway_tail_sampling": ERRORS},
            "otel_collector_gateway_tail_sampling needs all spans of a trace in one place, so it works with one gateway and one shard",
        ),
        (["gw1"], {"otel_collector_gateway_span_metrics": {"metrics_flush_interval": "60s"}}, "needs: connectors: spanmetrics."),
        (["gw1"], {"otel_collector_gateway_tail_sampling": {**ERRORS, "decision_wait": "soon"}}, "'decision_wait' time: invalid duration"),
    ],
)
def test_refused_before_the_first_change(tmp_path: Path, gateways: list[str], variables: dict[str, Any], said: str) -> None:
    """What cannot work, what the program lacks, and what it does not take."""
    rendered = Rendered(tmp_path, otelcol.program())
    done = rendered.render(("gateway",), {"gateway": gateways}, **EXTERNAL, **variables)
    assert done.returncode != 0
    assert said in re.sub(r"\s+", " ", done.stdout).replace("''", "'")
    assert not (tmp_path / "gw1").exists()
