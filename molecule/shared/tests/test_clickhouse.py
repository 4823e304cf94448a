# GNU General Public License v3.0+ (see LICENSE)
"""The cluster as its servers see it, who gets in, and what they may do."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

CA = "/etc/clickhouse-server/tls/ca.crt"
CLUSTER = "SELECT shard_num, replica_num, host_name FROM system.clusters WHERE cluster = 'otel' ORDER BY 1, 2"
REPLICAS = "SELECT DISTINCT is_readonly, total_replicas, active_replicas FROM system.replicas WHERE database = 'otel'"


def credentials(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_every_server_sees_the_cluster(groups: dict[str, list[str]], platform: Any) -> None:
    for name in groups["clickhouse"]:
        seen = platform.query(name, CLUSTER)
        assert [host for *_, host in seen] == [platform.addresses[member] for member in groups["clickhouse"]], name
        everybody = platform.query(name, "SELECT DISTINCT hostName() AS h FROM clusterAllReplicas('otel', system.one) ORDER BY h")
        assert [host for (host,) in everybody] == groups["clickhouse"], name


def test_every_table_is_replicated_and_the_same(groups: dict[str, list[str]], platform: Any) -> None:
    schemas = {
        name: platform.query(name, "SELECT name, engine_full, create_table_query FROM system.tables WHERE database = 'otel' ORDER BY name")
        for name in groups["clickhouse"]
    }
    first, *others = schemas.values()
    assert len(first) >= 20
    assert all(other == first for other in others)
    replicas = len(groups["clickhouse"]) // len({platform.query(name, "SELECT getMacro('shard')")[0][0] for name in groups["clickhouse"]})
    for name in groups["clickhouse"]:
        states = platform.query(name, REPLICAS)
        assert states == [[0, replicas, replicas]], name


@pytest.mark.parametrize(("user", "password"), [("default", ""), ("", ""), ("admin", ""), ("admin", "wrong"), ("interserver", "")], ids=str)
def test_nobody_gets_in_without_a_password(
    hosts: dict[str, Any], groups: dict[str, list[str]], ask: Callable[..., str], user: str, password: str
) -> None:
    for name in groups["clickhouse"]:
        headers = credentials(user, password) if user else {}
        status, body = ask(hosts[name], "https://127.0.0.1:8443/?query=SELECT+version()", headers, ca=CA).split(" ", 1)
        assert status in ("401", "403"), name
        assert "AUTHENTICATION_FAILED" in body or "REQUIRED_PASSWORD" in body, name


@pytest.mark.parametrize(
    ("user", "password", "query"),
    [
        ("ingest", "clickhouse_ingest_password", "DROP TABLE otel.otel_logs_local"),
        ("ingest", "clickhouse_ingest_password", "SELECT * FROM system.users"),
        ("grafana", "clickhouse_grafana_password", "INSERT INTO otel.otel_logs (Body) VALUES ('x')"),
        ("grafana", "clickhouse_grafana_password", "SELECT * FROM url('http://127.0.0.1:8090/', LineAsString)"),
        ("monitor", "clickhouse_monitor_password", "SELECT count() FROM otel.otel_logs"),
    ],
)
def test_users_may_do_what_they_need_only(
    hosts: dict[str, Any], groups: dict[str, list[str]], platform: Any, ask: Callable[..., str], user: str, password: str, query: str
) -> None:
    host = hosts[groups["clickhouse"][0]]
    said = ask(host, "https://127.0.0.1:8443/", credentials(user, platform.secrets[password]), query, CA)
    assert said.startswith(("403", "500")), said
    assert "Not enough privileges" in said or "ACCESS_DENIED" in said or "READONLY" in said, said


def test_grafana_can_read(hosts: dict[str, Any], groups: dict[str, list[str]], platform: Any, ask: Callable[..., str]) -> None:
    host = hosts[groups["clickhouse"][0]]
    login = credentials("grafana", platform.secrets["clickhouse_grafana_password"])
    said = ask(host, "https://127.0.0.1:8443/", login, "SELECT count() > 0 FROM otel.otel_logs SETTINGS max_execution_time = 10", CA)
    assert said == "200 1"


def test_other_replicas_need_credentials(
    hosts: dict[str, Any], groups: dict[str, list[str]], platform: Any, ask: Callable[..., str]
) -> None:
    """Parts are not handed to whoever asks."""
    name = groups["clickhouse"][0]
    url = f"https://{platform.addresses[name]}:9010/?endpoint=DataPartsExchange:/clickhouse/tables/1/otel/otel_logs_local/replicas/a&part=all_0_0_0"
    assert ask(hosts[name], url, ca=CA).split(" ")[0] in ("401", "403", "500")
    assert "401" in ask(hosts[name], url, credentials("interserver", "wrong"), ca=CA)
