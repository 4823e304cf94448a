# GNU General Public License v3.0+ (see LICENSE)
"""A second gateway on the host: its own unit, account, token and queue, seen by the node agent and by verify."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

INSTANCE = "obs1_shop"


def test_it_has_a_unit_an_account_and_folders_of_its_own(hosts: dict[str, Any]) -> None:
    (host,) = hosts.values()
    for unit in ("otelcol-gateway-shop", "otelcol-gateway-shop-relay"):
        shown = host.check_output(f"systemctl show --property=ActiveState,User --value {unit}").split()
        assert sorted(shown) == ["active", "otelcol-gateway-shop"], unit
    assert host.check_output("stat -c %U:%G:%a /etc/otelcol/gateway_shop/gateway_token") == "root:otelcol-gateway-shop:640"
    assert host.check_output("stat -c %U /var/lib/otelcol/gateway_shop/storage") == "otelcol-gateway-shop"


def test_it_takes_its_own_token_only_and_writes_to_clickhouse(
    hosts: dict[str, Any], platform: Any, ask: Callable[..., str], until: Callable[..., Any]
) -> None:
    (name, host), service = *hosts.items(), f"second-{time.time_ns()}"
    record = {"timeUnixNano": str(time.time_ns()), "body": {"stringValue": "through the second gateway"}}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    request = json.dumps({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]})

    def said(instance: str, token: str) -> str:
        url = f"https://{platform.addresses[name]}:{platform.setting('otel_collector_gateway_http_port', instance)}/v1/logs"
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        return ask(host, url, headers, request, "/etc/otelcol/gateway_shop/tls/ca.crt")[:3]

    first, second = platform.secrets["otel_collector_gateway_token"], platform.setting("otel_collector_gateway_token", INSTANCE)
    assert (said(INSTANCE, first), said(name, second), said(INSTANCE, second)) == ("401", "401", "200")
    query = f"SELECT ResourceAttributes['deployment.environment.name'] FROM {platform.database}.otel_logs WHERE ServiceName = '{service}'"
    assert until(lambda: platform.query(platform.server, query), "the record in ClickHouse", 60) == [["shop"]]


def test_the_node_agent_reads_its_metrics(hosts: dict[str, Any], platform: Any, until: Callable[..., Any]) -> None:
    (name,) = hosts
    query = (
        f"SELECT DISTINCT ServiceName, ResourceAttributes['host.name'] FROM {platform.database}.otel_metrics_gauge"
        " WHERE MetricName = 'up' AND Value = 1 AND ServiceName LIKE 'otelcol-gateway-shop%' ORDER BY ServiceName"
    )
    wanted = [["otelcol-gateway-shop", name], ["otelcol-gateway-shop-relay", name]]
    until(lambda: platform.query(platform.server, query) == wanted, "metrics of the second gateway", 60)


def test_verify_sees_it(ansible_log: str) -> None:
    """In the runs of the playbook verify before this test."""
    assert re.search(rf"collector +gateway_shop on {INSTANCE} +- +(records sent|no record yet)", ansible_log.replace("\\n", "\n"))
