# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the observations of the playbook verify mean."""

from __future__ import annotations

import copy
import typing as t

import pytest
from ansible_collections.groundwork.observability.plugins.filter import verify

# As a collector 0.149.0 writes them, with and without the suffixes that the role turns off.
IDLE = """\
# TYPE otelcol_exporter_queue_size gauge
otelcol_exporter_queue_size{data_type="logs",exporter="otlp_grpc"} 0
otelcol_exporter_queue_size{data_type="traces",exporter="otlp_grpc"} 0
otelcol_exporter_sent_log_records{exporter="otlp_grpc"} 7
"""
QUEUED = IDLE.replace('data_type="logs",exporter="otlp_grpc"} 0', 'data_type="logs",exporter="otlp_grpc"} 1')
LOST = IDLE + 'otelcol_exporter_send_failed_log_records_total{exporter="otlp_grpc",otel_scope_name="x"} 3e+00\n'

APP = {"host": "app1", "text": IDLE, "refusal": ""}
GATEWAY = {"text": IDLE, "refusal": ""}


def observed(**changes: t.Any) -> dict[str, t.Any]:
    """One log that went to shard 1 of 2, all well; changed as said."""
    have: dict[str, t.Any] = {
        "count": 1,
        "accepted": {"logs": 1},
        "errors": {},
        "agent": APP,
        "gateways": {"gw1": GATEWAY},
        "nodes": {
            f"ch{number}": {"shard": shard, "replica": replica, "rows": {"logs": int(shard == 1)}, "seconds": 0.44}
            for number, (shard, replica) in enumerate([(1, "a"), (1, "b"), (2, "a"), (2, "b")], start=1)
        },
    }
    rows = changes.pop("rows", None)
    have = copy.deepcopy(have | changes)
    for name, count in (rows or {}).items():
        have["nodes"][name]["rows"] = {"logs": count}
    return have


def silent(node: str, **changes: t.Any) -> dict[str, t.Any]:
    """The same with a node that did not answer."""
    have = observed(**changes)
    del have["nodes"][node]["rows"]
    have["nodes"][node]["error"] = "Connection refused"
    return have


NOWHERE = {"ch1": 0, "ch2": 0}


@pytest.mark.parametrize(
    ("have", "verdict"),
    [
        (observed(), None),
        (observed(rows={"ch1": 0, "ch2": 0, "ch3": 1, "ch4": 1}), None),
        (observed(count=3, accepted={"logs": 3}, rows={"ch1": 1, "ch2": 1, "ch3": 2, "ch4": 2}), None),
        (
            observed(accepted={"logs": 0}, errors={"logs": "401 from http://127.0.0.1:4318/v1/logs: no"}, rows=NOWHERE),
            "node agent on app1 did not accept it: 401 from http://127.0.0.1:4318/v1/logs: no",
        ),
        (
            observed(agent=APP | {"text": QUEUED, "refusal": "connection refused"}, rows=NOWHERE),
            "node agent on app1 accepted it and still queues it, gateway gw1 does not take it: connection refused",
        ),
        (
            observed(gateways={"gw1": {"text": QUEUED, "refusal": "code: 241"}}, rows=NOWHERE),
            "gateway gw1 has it in its queue, ClickHouse does not take it: code: 241",
        ),
        (observed(agent=APP | {"text": LOST}, rows=NOWHERE), "node agent on app1 gave up 3 records since its start"),
        (
            observed(gateways={"gw1": {"text": LOST.replace("otlp_grpc", "otlp_http/1")}}, rows=NOWHERE),
            "gateway gw1 gave up 3 records since its start",
        ),
        # Its agents try again what its batches or its exporters did not take.
        (observed(gateways={"gw1": {"text": LOST}}, rows=NOWHERE), "it is in no queue and on no ClickHouse node; gateway gw1 had it last"),
        (
            observed(gateways={"gw1": {"text": ""}}, rows=NOWHERE),
            "node agent on app1 accepted it; gateway gw1 does not answer at its own metrics: does it run?",
        ),
        (
            observed(agent=APP | {"text": ""}, rows=NOWHERE),
            "node agent on app1 accepted it and does not answer at its own metrics any more: does it run?",
        ),
        (observed(rows=NOWHERE), "it is in no queue and on no ClickHouse node; gateway gw1 had it last"),
        (
            observed(count=9, accepted={"logs": 9}, rows={"ch1": 7, "ch2": 7}),
            "2 of 9 are in no queue and on no ClickHouse node; gateway gw1 had it last",
        ),
        (observed(rows={"ch2": 0}), "on ch1 (shard 1, replica a) but not on ch2 (shard 1, replica b): replication"),
        (
            observed(count=3, accepted={"logs": 3}, rows={"ch1": 2, "ch2": 3}),
            "3 on ch2 (shard 1, replica b) but 2 on ch1 (shard 1, replica a): replication",
        ),
        (
            observed(rows={"ch1": 2, "ch2": 2}),
            "1 sent, 2 stored: 2 on ch1 (shard 1, replica a), 2 on ch2 (shard 1, replica b)",
        ),
        (silent("ch2"), "stored, not proven on every replica; no answer from ch2: Connection refused"),
        (
            silent("ch2", gateways={"gw1": {"text": QUEUED}}, rows={"ch1": 0}),
            "gateway gw1 has it in its queue, ClickHouse does not take it; no answer from ch2: Connection refused",
        ),
    ],
)
def test_last_hop_of_the_path_is_reported(have: dict[str, t.Any], verdict: str | None) -> None:
    """The hop that had the record last is named."""
    assert verify.last_hops(have) == ({} if verdict is None else {"logs": f"log: {verdict}"})


def test_table() -> None:
    """What arrived, what did not; shards that have nothing to do with it are left out."""
    assert verify.text_table(verify.table_rows(observed(rows={"ch2": 0}))) == (
        "signal  where                     seconds  state\n"
        "log     node agent on app1              -  accepted\n"
        "log     ch1 (shard 1, replica a)      0.4  stored\n"
        "log     ch2 (shard 1, replica b)        -  missing"
    )


@pytest.mark.parametrize(
    ("have", "states"),
    [
        (observed(), ["accepted", "stored", "stored"]),
        (observed(rows=NOWHERE), ["accepted", "missing", "missing", "missing", "missing"]),
        (
            observed(count=3, accepted={"logs": 3}, rows={"ch1": 1, "ch2": 1, "ch3": 2, "ch4": 1}),
            ["accepted", "1 stored", "1 stored", "2 stored", "1 of 2 stored"],
        ),
        (observed(accepted={"logs": 0}, rows=NOWHERE), ["accepted 0 of 1", "missing", "missing", "missing", "missing"]),
        (silent("ch4"), ["accepted", "stored", "stored", "no answer: Connection refused"]),
    ],
)
def test_rows(have: dict[str, t.Any], states: list[str]) -> None:
    """Each hop's state, in the order of the way."""
    assert [row["state"] for row in verify.table_rows(have)] == states


def test_query_asks_other_shards_by_their_place() -> None:
    """Shard 7 of 3, 7 and 9 is ClickHouse's second."""
    query = verify.verify_query({"logs": 2, "metrics": 2}, 7, [9, 3, 7, 3], "otel")
    assert "FROM otel.otel_logs_local WHERE" in query
    assert "FROM otel.otel_metrics_gauge WHERE TimeUnix > now() - INTERVAL 1 DAY" in query
    assert query.count("_shard_num != 2") == 2
    assert "logs + logs_elsewhere >= 2 AND metrics + metrics_elsewhere >= 2 AS complete" in query


def test_observations() -> None:
    """What the tasks registered becomes what the filters want."""
    probe = {"count": 1, "sent_at": 100.0, "accepted": {"logs": 1}, "errors": {}}
    answer = {"now": 100.5, "logs": "1", "logs_elsewhere": "0", "complete": 1}
    hostvars = {
        "app1": {"__verify_probe": probe, "__verify_agent": {"content": IDLE}, "__verify_agent_log": {"stdout": ""}},
        "gw1": {"__verify_gateway_log": {"stdout": 'x\tExporting failed. {"a": 1, "error": "code: \\"60\\"\\nagain", "b": 2}'}},
        "ch1": {"clickhouse_shard": 1, "clickhouse_replica": "a", "__verify_stored": {"json": {"data": [answer]}}},
        "ch2": {
            "clickhouse_shard": 1,
            "clickhouse_replica": "b",
            "__verify_stored": {"msg": "Status code was -1 and not [200]: no\nanswer"},
        },
        "ch3": {"clickhouse_shard": 2, "clickhouse_replica": "a"},
    }
    groups = {"gateway": ["gw1"], "clickhouse": ["ch1", "ch2", "ch3"]}
    have = verify.observations(hostvars, groups, "app1")
    assert have["agent"] == {"host": "app1", "text": IDLE, "refusal": ""}
    assert have["gateways"] == {"gw1": {"text": "", "refusal": 'code: "60"'}}
    assert have["nodes"]["ch1"]["rows"]["logs"] == 1
    assert have["nodes"]["ch1"]["seconds"] == 0.5
    assert have["nodes"]["ch2"]["error"] == "no answer"
    assert have["nodes"]["ch3"]["error"] == "was not asked"


@pytest.mark.parametrize(
    ("asked", "state", "problem"),
    [
        ({"json": {"status": "OK", "message": "Data source is working"}}, "OK", ""),
        (
            {"json": {"status": "ERROR", "message": "dial tcp: refused"}, "msg": "400"},
            "dial tcp: refused",
            "dial tcp: refused",
        ),
        ({"msg": "Connection refused"}, "Connection refused", "Connection refused"),
        (None, "was not asked", "was not asked"),
    ],
)
def test_grafana(asked: dict[str, t.Any] | None, state: str, problem: str) -> None:
    """Healthy is only what says so."""
    row = verify.grafana_rows({"gw1": {"__verify_grafana": asked} if asked else {}}, {"grafana": ["gw1"]})[0]
    assert row["state"] == state
    assert row["problem"] == (f"Grafana on gw1: its data source clickhouse is not healthy: {problem}" if problem else "")


def test_report() -> None:
    """The table has what every hop says; problems are the missing signals and the data sources that are not healthy."""
    probe = {"count": 1, "sent_at": 100.0, "accepted": {"logs": 1}, "errors": {}}
    hostvars: dict[str, t.Any] = {
        "app1": {"__verify_probe": probe},
        "gw1": {"__verify_grafana": {"msg": "Connection refused"}},
        "ch1": {
            "clickhouse_shard": 1,
            "clickhouse_replica": "a",
            "__verify_stored": {"json": {"data": [{"now": 101, "logs": 0}]}},
            "__verify_storage": {"rows": []},
        },
    }
    groups = {"gateway": ["gw1"], "clickhouse": ["ch1"], "grafana": ["gw1"]}
    report = verify.verify_report(hostvars, groups, "app1")
    assert list(report["missing"]) == ["logs"]
    assert report["problems"] == [
        report["missing"]["logs"],
        "Grafana on gw1: its data source clickhouse is not healthy: Connection refused",
    ]
    assert [line.split()[0] for line in report["table"].splitlines()] == ["signal", "log", "log", "storage", "query"]
    hostvars["ch1"]["__verify_stored"]["json"]["data"][0]["logs"] = 1
    hostvars["gw1"]["__verify_grafana"] = {"json": {"status": "OK"}}
    assert verify.verify_report(hostvars, groups, "app1") | {"table": ""} == {"table": "", "missing": {}, "problems": []}


@pytest.mark.parametrize(
    ("asked", "state", "wrong"),
    [
        ({"content": 'otelcol_exporter_sent_spans{exporter="otlp_grpc"} 7\n'}, "records sent", False),
        ({"content": "otelcol_process_uptime{} 7\n"}, "no record yet", False),
        (
            {"content": 'otelcol_exporter_send_failed_spans{exporter="debug"} 2\n'},
            "exporter debug has lost 2 spans: the next hop refuses them for ever",
            True,
        ),
        ({"msg": "Status code was -1 and not [200]: Connection refused"}, "does not answer: Connection refused", True),
        ({}, "does not answer: was not asked", True),
    ],
)
def test_instances(asked: dict[str, t.Any], state: str, wrong: bool) -> None:
    hostvars = {"shop": {"otel_collector_instance": "gateway_shop", "__verify_instance": asked}}
    (row,) = verify.instance_rows(hostvars, {"collector_instance": ["shop"]})
    assert (row["signal"], row["where"], row["state"]) == ("collector", "gateway_shop on shop", state)
    assert row["problem"] == (f"Collector gateway_shop on shop: {state}" if wrong else "")
    assert verify.instance_rows(hostvars, {}) == []


def test_storage() -> None:
    late = {"kind": "late", "name": "otel_logs_local", "detail": "all rows, cold", "hours": 49, "size": "1.00 MiB"}
    old = {"kind": "left over", "name": "system.query_log_0", "detail": "", "hours": 0, "size": "2.00 MiB"}
    unbounded = {"kind": "unbounded", "name": "system.trace_log", "detail": "", "hours": 0, "size": "3.00 MiB"}
    hostvars = {
        "ch1": {"__verify_storage": {"rows": [late, old]}},
        "ch2": {"__verify_storage": {"rows": [old, unbounded]}},
        "ch3": {"__verify_storage": {"msg": "Connection refused"}},
    }
    found = verify.storage_rows(hostvars, {"clickhouse": list(hostvars)})
    assert [(row["where"][-3:], row["state"].partition(":")[0]) for row in found] == [
        ("ch1", "otel_logs_local has rows 49 h past their retention (all rows, cold)"),
        ("ch1", "system.query_log_0 (2.00 MiB) is left over from other settings or an older version"),
        ("ch2", "no row past its retention"),
        ("ch2", "system.query_log_0 (2.00 MiB) is left over from other settings or an older version"),
        ("ch2", "system.trace_log (3.00 MiB) has no TTL and grows for ever"),
        ("ch3", "not read"),
    ]
    # Log tables of the server itself are no reason to fail.
    assert [row["problem"] for row in found if row["problem"]] == [
        f"Storage of ch1: {found[0]['state']}",
        "Storage of ch3: not read: Connection refused",
    ]
