# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The records that otlp_probe sends."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils import _otlp


def records(signal: str, count: int = 3, probe: str = "p1") -> list[dict[str, t.Any]]:
    """The records of a request, after a trip through JSON."""
    body = json.loads(json.dumps(_otlp.payload(signal, probe, "verify-test", count, 1_000)))
    [resource] = body[{"logs": "resourceLogs", "traces": "resourceSpans", "metrics": "resourceMetrics"}[signal]]
    assert {"key": "service.name", "value": {"stringValue": "verify-test"}} in resource["resource"]["attributes"]
    assert {"key": "groundwork.probe_id", "value": {"stringValue": probe}} in resource["resource"]["attributes"]
    [scope] = resource[{"logs": "scopeLogs", "traces": "scopeSpans", "metrics": "scopeMetrics"}[signal]]
    if signal == "metrics":
        return t.cast("list[dict[str, t.Any]]", scope["metrics"][0]["gauge"]["dataPoints"])
    return t.cast("list[dict[str, t.Any]]", scope[{"logs": "logRecords", "traces": "spans"}[signal]])


@pytest.mark.parametrize("signal", _otlp.SIGNALS)
def test_records_are_numbered_and_named(signal: str) -> None:
    """Each has the probe's id and its number, 64-bit numbers as strings."""
    found = [{entry["key"]: entry["value"] for entry in record["attributes"]} for record in records(signal)]
    assert [entry["groundwork.probe_seq"] for entry in found] == [{"intValue": str(number)} for number in (1, 2, 3)]
    assert {entry["groundwork.probe_id"]["stringValue"] for entry in found} == {"p1"}


def test_log_and_span_of_a_number_belong_together() -> None:
    """Each pair in a trace of its own; the same probe gives the same ids."""
    logs, spans = records("logs"), records("traces")
    assert [(one["traceId"], one["spanId"]) for one in logs] == [(one["traceId"], one["spanId"]) for one in spans]
    assert len({one["traceId"] for one in logs}) == 3
    assert all(len(one["traceId"]) == 32 and len(one["spanId"]) == 16 for one in logs)
    assert records("logs") == logs
    assert records("logs", probe="p2")[0]["traceId"] != logs[0]["traceId"]


@pytest.mark.parametrize(
    ("signal", "answer", "result"),
    [
        ("logs", "", (0, "")),
        ("logs", "{}", (0, "")),
        ("logs", '{"partialSuccess": null}', (0, "")),
        ("logs", '{"partialSuccess": {"rejectedLogRecords": "2", "errorMessage": "too old"}}', (2, "too old")),
        ("traces", '{"partialSuccess": {"rejectedSpans": 1}}', (1, "")),
        ("metrics", '{"partialSuccess": {"rejectedDataPoints": "1"}}', (1, "")),
    ],
)
def test_partial_success(signal: str, answer: str, result: tuple[int, str]) -> None:
    """What a receiver refuses although it says 200."""
    assert _otlp.rejected(signal, answer) == result


@pytest.mark.parametrize("answer", ["<html>", "[]", '{"partialSuccess": {"rejectedLogRecords": "x"}}'])
def test_an_answer_that_is_not_otlp_is_an_error(answer: str) -> None:
    """A web server that says 200 to everything is no receiver."""
    with pytest.raises(_otlp.OtlpError, match="not OTLP"):
        _otlp.rejected("logs", answer)


@pytest.mark.parametrize(
    ("status", "answer", "begins", "has"),
    [
        (401, '{"code": 16, "message": "no token"}', "no token: ", "otel_collector_agent_token"),
        (401, "", "set the token", "otel_collector_agent_token"),
        (404, "404 page not found\n", "404 page not found: ", "base URL"),
        (418, "[1]", "[1]: ", "log"),
    ],
)
def test_refusal_names_the_remedy(status: int, answer: str, begins: str, has: str) -> None:
    """The receiver's words first, then the advice."""
    line = _otlp.refusal(status, answer)
    assert line.startswith(begins)
    assert has in line
