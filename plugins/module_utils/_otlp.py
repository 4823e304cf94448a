# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Numbered telemetry records as OTLP/JSON, and what a receiver says about them."""

from __future__ import annotations

import hashlib
import json
import typing as t

SIGNALS = ("logs", "traces", "metrics")
# What a partial success calls the records it refused.
REJECTED = {"logs": "rejectedLogRecords", "traces": "rejectedSpans", "metrics": "rejectedDataPoints"}
METRIC = "groundwork.verify.probe"


class OtlpError(Exception):
    """A signal was not accepted: one line for the user."""


def _attributes(values: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    # OTLP/JSON writes 64-bit numbers as strings.
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in values.items()
    ]


def payload(signal: str, probe_id: str, service: str, count: int, now: int) -> dict[str, t.Any]:
    """One request with C(count) records of one signal.

    :param signal: one of SIGNALS.
    :param probe_id: stands in every record and in the resource.
    :param service: the resource's service.name.
    :param count: number of records, which the attribute groundwork.probe_seq numbers from 1.
    :param now: nanoseconds since 1970; record n is dated n nanoseconds later, so that records are in order.
    """
    records = [_record(signal, probe_id, seq, count, now) for seq in range(1, count + 1)]
    resource = {"attributes": _attributes({"service.name": service, "groundwork.probe_id": probe_id})}
    scope = {"name": "groundwork.observability"}
    if signal == "logs":
        return {"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": records}]}]}
    if signal == "traces":
        return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": records}]}]}
    metric = {"name": METRIC, "unit": "1", "gauge": {"dataPoints": records}}
    return {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"scope": scope, "metrics": [metric]}]}]}


def _record(signal: str, probe_id: str, seq: int, count: int, now: int) -> dict[str, t.Any]:
    # A trace for each record, so that many records are spread over all shards. The log record belongs to the span.
    digest = hashlib.sha256(f"{probe_id}/{seq}".encode()).hexdigest()
    trace_id, span_id, time = digest[:32], digest[32:48], str(now + seq)
    attributes = _attributes({"groundwork.probe_id": probe_id, "groundwork.probe_seq": seq})
    if signal == "logs":
        return {
            "timeUnixNano": time,
            "observedTimeUnixNano": time,
            "severityNumber": 9,
            "severityText": "INFO",
            "body": {"stringValue": f"probe {probe_id} record {seq} of {count}"},
            "attributes": attributes,
            "traceId": trace_id,
            "spanId": span_id,
        }
    if signal == "traces":
        return {
            "traceId": trace_id,
            "spanId": span_id,
            "name": "verify",
            "kind": 1,
            "startTimeUnixNano": time,
            "endTimeUnixNano": str(now + seq + 1_000_000),
            "attributes": attributes,
            "status": {},
        }
    return {"timeUnixNano": time, "asDouble": float(seq), "attributes": attributes}


def rejected(signal: str, answer: str) -> tuple[int, str]:
    """How many records the receiver refused although it answered 200, and why.

    :param signal: one of SIGNALS.
    :param answer: the body of the answer.
    """
    try:
        parsed = json.loads(answer or "{}")
        partial = parsed.get("partialSuccess") or {}
        return int(partial.get(REJECTED[signal], 0)), str(partial.get("errorMessage", ""))
    except (ValueError, AttributeError, TypeError):
        raise OtlpError(f"200, but the answer is not OTLP: {answer[:80]!r}") from None


def refusal(status: int, answer: str) -> str:
    """A receiver's refusal in one line, with what to do.

    :param status: the HTTP status.
    :param answer: the body of the answer.
    """
    try:
        message = json.loads(answer)["message"]
    except (ValueError, KeyError, TypeError):
        message = " ".join(answer.split())[:200]
    advice = {
        401: "set the token of the receiver (otel_collector_agent_token for a node agent)",
        403: "set the token of the receiver (otel_collector_agent_token for a node agent)",
        404: "it is no OTLP/HTTP receiver: give its base URL, without /v1/...",
        413: "send fewer records",
        429: "it is overloaded: is its memory limit too small, or the next hop away?",
        503: "it is overloaded: is its memory limit or its queue full, or the next hop away?",
    }.get(status, "see the receiver's log")
    return f"{message}: {advice}" if message else advice
