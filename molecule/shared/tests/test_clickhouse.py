# GNU General Public License v3.0+ (see LICENSE)
"""The cluster as its servers see it, who gets in, and what they may do."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

CA = "/etc/clickhouse-server/tls/ca.crt"
CLUSTER = "SELECT shard_num, replica_num, host_name FROM system.clusters WHERE cluster = '{}' ORDER BY 1, 2"
REPLICAS = "SELECT DISTINCT is_readonly, total_replicas, active_replicas FROM system.replicas WHERE database = '{}'"
TABLES = "SELECT name, engine_full, create_table_query FROM system.tables WHERE database = '{}' ORDER BY name"


def credentials(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def url(platform: Any, host: str) -> str:
    """A server's own address for itself."""
    return f"https://127.0.0.1:{platform.setting('clickhouse_https_port', host)}/"


def test_every_server_sees_the_cluster(groups: dict[str, list[str]], platform: Any) -> None:
    cluster = platform.setting("clickhouse_cluster")
    for name in groups["clickhouse"]:
        seen = platform.query(name, CLUSTER.format(cluster))
        assert [host for *_, host in seen] == [platform.addresses[member] for member in groups["clickhouse"]], name
        everybody = platform.query(name, f"SELECT DISTINCT hostName() AS h FROM clusterAllReplicas('{cluster}', system.one) ORDER BY h")
        assert [host for (host,) in everybody] == groups["clickhouse"], name


def test_every_table_is_replicated_and_the_same(groups: dict[str, list[str]], platform: Any) -> None:
    schemas = {name: platform.query(name, TABLES.format(platform.database)) for name in groups["clickhouse"]}
    first, *others = schemas.values()
    assert len(first) >= 20
    assert all(other == first for other in others)
    replicas = len(groups["clickhouse"]) // len({platform.query(name, "SELECT getMacro('shard')")[0][0] for name in groups["clickhouse"]})
    for name in groups["clickhouse"]:
        states = platform.query(name, REPLICAS.format(platform.database))
        assert states == [[0, replicas, replicas]], name


@pytest.mark.parametrize(
    ("user", "password"),
    [("default", ""), ("", ""), ("clickhouse_admin_user", ""), ("clickhouse_admin_user", "wrong"), ("interserver", "")],
    ids=str,
)
def test_access_without_a_password_is_refused(
    hosts: dict[str, Any], groups: dict[str, list[str]], platform: Any, ask: Callable[..., str], user: str, password: str
) -> None:
    if user.startswith("clickhouse_"):
        user = platform.setting(user)
    for name in groups["clickhouse"]:
        headers = credentials(user, password) if user else {}
        status, body = ask(hosts[name], url(platform, name) + "?query=SELECT+version()", headers, ca=CA).split(" ", 1)
        assert status in ("401", "403"), name
        assert "AUTHENTICATION_FAILED" in body or "REQUIRED_PASSWORD" in body, name


@pytest.mark.parametrize(
    ("user", "query"),
    [
        ("ingest", "DROP TABLE {database}.otel_logs_local"),
        ("ingest", "SELECT * FROM system.users"),
        ("grafana", "INSERT INTO {database}.otel_logs (Body) VALUES ('x')"),
        ("grafana", "SELECT * FROM url('http://127.0.0.1:{port}/', LineAsString)"),
        ("monitor", "SELECT count() FROM {database}.otel_logs"),
    ],
)
def test_users_may_do_what_they_need_only(
    hosts: dict[str, Any], groups: dict[str, list[str]], platform: Any, ask: Callable[..., str], user: str, query: str
) -> None:
    name = groups["clickhouse"][0]
    login = credentials(platform.setting(f"clickhouse_{user}_user"), platform.secrets[f"clickhouse_{user}_password"])
    query = query.format(database=platform.database, port=platform.setting("zookeeper_admin_port", name))
    said = ask(hosts[name], url(platform, name), login, query, CA)
    assert said.startswith(("403", "500")), said
    assert "Not enough privileges" in said or "ACCESS_DENIED" in said or "READONLY" in said, said


def test_grafana_can_read(hosts: dict[str, Any], groups: dict[str, list[str]], platform: Any, ask: Callable[..., str]) -> None:
    name = groups["clickhouse"][0]
    login = credentials(platform.setting("clickhouse_grafana_user"), platform.secrets["clickhouse_grafana_password"])
    query = f"SELECT count() > 0 FROM {platform.database}.otel_logs SETTINGS max_execution_time = 10"
    said = ask(hosts[name], url(platform, name), login, query, CA)
    assert said == "200 1"


def test_other_replicas_need_credentials(
    hosts: dict[str, Any], groups: dict[str, list[str]], platform: Any, ask: Callable[..., str]
) -> None:
    """Parts are not handed to whoever asks."""
    name = groups["clickhouse"][0]
    replica = f"/clickhouse/tables/1/{platform.database}/otel_logs_local/replicas/a"
    address = f"{platform.addresses[name]}:{platform.setting('clickhouse_interserver_port', name)}"
    parts = f"https://{address}/?endpoint=DataPartsExchange:{replica}&part=all_0_0_0"
    assert ask(hosts[name], parts, ca=CA).split(" ")[0] in ("401", "403", "500")
    assert "401" in ask(hosts[name], parts, credentials("interserver", "wrong"), ca=CA)
