# GNU General Public License v3.0+ (see LICENSE)
"""Who may send, and that everything arrives."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

LOGS = '{"resourceLogs": []}'
MODES = ("gateway", "node_agent", "cluster_agent", "prometheus_agent")
COLLECTORS = tuple(f"otelcol-{mode.replace('_', '-')}" for mode in MODES)
JSON = {"Content-Type": "application/json"}


def bearer(token: str) -> dict[str, str]:
    return {**JSON, "Authorization": f"Bearer {token}"}


def test_agents_and_gateways_want_their_own_token(
    hosts: dict[str, Any], groups: dict[str, list[str]], platform: Any, ask: Callable[..., str]
) -> None:
    host, gateway = hosts[groups["application"][0]], platform.addresses[groups["gateway"][0]]
    agent_token, gateway_token = platform.secrets["otel_collector_agent_token"], platform.secrets["otel_collector_gateway_token"]
    agent_port = platform.setting("otel_collector_node_agent_http_port", groups["application"][0])
    gateway_port = platform.setting("otel_collector_gateway_http_port", groups["gateway"][0])
    doors = {
        (f"http://127.0.0.1:{agent_port}/v1/logs", None): (agent_token, gateway_token),
        (f"https://{gateway}:{gateway_port}/v1/logs", "/etc/otelcol/node_agent/tls/ca.crt"): (gateway_token, agent_token),
    }
    if groups["application"][0] in groups["gateway"]:  # one host: the gateway's port is on the host's address
        assert gateway != "127.0.0.1"
    for (url, ca), (right, wrong) in doors.items():
        assert ask(host, url, JSON, LOGS, ca).startswith("401"), url
        assert ask(host, url, bearer(wrong), LOGS, ca).startswith("401"), url
        assert ask(host, url, bearer(right), LOGS, ca).startswith("200"), url


def test_health_and_metrics_of_collectors_are_for_their_own_host(
    everywhere: Callable[..., dict[str, str]], groups: dict[str, list[str]], platform: Any
) -> None:
    """They answer without a credential."""
    seen = set()
    for name, printed in everywhere("ss --tcp --listening --numeric --no-header | awk '{print $4}'").items():
        listening = {address for address in printed.split() if not address.startswith(("127.", "[::1]"))}
        for mode in MODES:
            ports = {str(platform.setting(f"otel_collector_{mode}_{what}_port", name)) for what in ("health", "metrics")}
            assert [address for address in listening if address.rpartition(":")[2] in ports] == [], name
            if name in groups.get(mode, []):
                seen |= {mode for port in ports if f"127.0.0.1:{port}" in printed.split()}
    assert seen == {mode for mode in MODES if groups.get(mode)}


def test_the_gateway_speaks_tls_only(hosts: dict[str, Any], groups: dict[str, list[str]], platform: Any, ask: Callable[..., str]) -> None:
    name = groups["gateway"][0]
    url = f"http://{platform.addresses[name]}:{platform.setting('otel_collector_gateway_http_port', name)}/v1/logs"
    said = ask(hosts[name], url, bearer(platform.secrets["otel_collector_gateway_token"]), LOGS)
    assert not said.startswith("200"), said


def test_all_signals_of_the_application_arrive(platform: Any, until: Callable[..., Any]) -> None:
    """Logs, traces, four kinds of metric over OTLP and a summary that is scraped."""
    until(lambda: all(own for _, own in platform.records().values()), "in every table", 90)


def extreme_records(service: str) -> dict[str, tuple[dict[str, Any], int]]:
    """Signal -> a request whose times and numbers are at the ends of what OTLP can say, and its number of records in each table."""
    ends = ("0", "1", str(2**32 * 10**9), str(2**63 - 1), str(2**63), str(2**64 - 1), str(time.time_ns()))
    pairs = [(first, second) for first in ends for second in ends]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    log = {"severityNumber": 200, "body": {"stringValue": "x"}}
    logs = [{**log, "timeUnixNano": first, "observedTimeUnixNano": second} for first, second in pairs]
    ids = {"traceId": "a" * 32, "spanId": "b" * 16}
    spans = [
        {**ids, "name": "s", "startTimeUnixNano": first, "endTimeUnixNano": second, "links": [ids]}
        | {"events": [{"timeUnixNano": second, "name": "e"}]}
        for first, second in pairs
    ]
    points = [
        {"timeUnixNano": first, "startTimeUnixNano": second, "flags": 2**32 - 1, "exemplars": [{"timeUnixNano": second, "asDouble": 1}]}
        for first, second in pairs
    ]
    most = str(2**64 - 1)
    histogram = {"count": most, "sum": 1e308, "bucketCounts": ["1", most], "explicitBounds": [-1e308], "min": -1e308, "max": 1e308}
    exponential = {"count": most, "scale": -(2**31), "zeroCount": most, "positive": {"offset": 2**31 - 1, "bucketCounts": [most]}}
    metrics = [
        {"name": "gauge", "gauge": {"dataPoints": [{**point, "asDouble": 1e308} for point in points]}},
        {"name": "sum", "sum": {"dataPoints": [{**point, "asInt": str(-(2**63))} for point in points], "aggregationTemporality": 7}},
        {"name": "histogram", "histogram": {"dataPoints": [{**point, **histogram} for point in points]}},
        {"name": "exponential", "exponentialHistogram": {"dataPoints": [{**point, **exponential} for point in points]}},
        {"name": "summary", "summary": {"dataPoints": [{**point, "quantileValues": [{"quantile": 2, "value": -1}]} for point in points]}},
        {"name": "of no kind"},
    ]
    return {
        "logs": ({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": logs}]}]}, len(pairs)),
        "traces": ({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}, len(pairs)),
        "metrics": ({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": metrics}]}]}, len(pairs)),
    }


def test_no_record_is_refused_permanently(
    hosts: dict[str, Any], groups: dict[str, list[str]], platform: Any, ask: Callable[..., str], until: Callable[..., Any]
) -> None:
    """A record that ClickHouse refused would hold up all that are in its batch. All arrive, and no TTL removes them at once."""
    host, name = hosts[groups["application"][0]], groups["gateway"][0]
    gateway = f"{platform.addresses[name]}:{platform.setting('otel_collector_gateway_http_port', name)}"
    service = f"extreme-{time.time_ns()}"
    records = extreme_records(service)
    for signal, (request, _) in records.items():
        url, ca = f"https://{gateway}/v1/{signal}", "/etc/otelcol/node_agent/tls/ca.crt"
        said = ask(host, url, bearer(platform.secrets["otel_collector_gateway_token"]), json.dumps(request), ca)
        assert said.startswith("200"), said
    tables = {"otel_logs": "logs", "otel_traces": "traces"} | {
        f"otel_metrics_{kind}": "metrics" for kind in ("gauge", "sum", "histogram", "exponential_histogram", "summary")
    }
    first = groups["clickhouse"][0]
    for table, signal in tables.items():
        query = f"SELECT count() FROM {platform.database}.{table} WHERE ServiceName = '{service}'"
        wanted = records[signal][1]
        until(lambda query=query, wanted=wanted: int(platform.query(first, query)[0][0]) == wanted, f"all in {table}", 60)


def test_roll_ups_are_filled(groups: dict[str, list[str]], platform: Any, until: Callable[..., Any]) -> None:
    """Every table that a materialized view writes to."""
    first, database = groups["clickhouse"][0], platform.database
    views = platform.query(
        first, f"SELECT create_table_query FROM system.tables WHERE database = '{database}' AND engine = 'MaterializedView'"
    )
    tables = sorted(re.findall(rf" TO {database}\.(\w+)", view)[0].removesuffix("_local") for (view,) in views)
    assert len(tables) >= 3
    for table in tables:
        until(lambda table=table: int(platform.query(first, f"SELECT count() FROM {database}.{table}")[0][0]), f"filled: {table}", 90)


def test_hosts_and_components_are_seen(
    groups: dict[str, list[str]], hosts: dict[str, Any], platform: Any, until: Callable[..., Any]
) -> None:
    """Host metrics of every host; ZooKeeper, ClickHouse, Grafana and every collector as the agents scrape them."""
    first, database = groups["clickhouse"][0], platform.database
    reporting = f"SELECT DISTINCT ResourceAttributes['host.name'] FROM {database}.otel_metrics_sum WHERE MetricName = 'system.cpu.time'"
    until(lambda: {name for (name,) in platform.query(first, reporting)} >= set(hosts), "host metrics of every host", 90)
    scraped = f"SELECT DISTINCT ServiceName FROM {database}.otel_metrics_gauge"
    missing = {"zookeeper", "clickhouse", "grafana", "shop", *COLLECTORS}

    def all_seen() -> bool:
        missing.difference_update(name for (name,) in platform.query(first, scraped))
        return not missing

    until(all_seen, f"metrics of {missing}", 90)


def test_verify_tells_what_arrived_where(playbook: Callable[..., Any], groups: dict[str, list[str]]) -> None:
    done = playbook("playbooks/verify.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in groups["clickhouse"]:
        assert name in done.stdout
    assert "OK" in done.stdout
    assert "changed=0" in done.stdout


def test_verify_names_the_hop(playbook: Callable[..., Any], hosts: dict[str, Any], groups: dict[str, list[str]]) -> None:
    """The node agent is stopped: nothing can be sent."""
    agent = hosts[groups["application"][0]]
    agent.check_output("systemctl stop otelcol-node-agent")
    try:
        done = playbook("playbooks/verify.yml", "-e", "verify_seconds=5")
    finally:
        agent.check_output("systemctl start otelcol-node-agent")
    assert done.returncode != 0
    assert "node agent" in done.stdout
