# GNU General Public License v3.0+ (see LICENSE)
"""Grafana (in the testbed a stand-in that serves recorded answers) at its own paths, ports and unit."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

CA = "/etc/grafana/tls/ca.crt"


def login(platform: Any, groups: dict[str, list[str]], password: str) -> dict[str, str]:
    user = platform.setting("grafana_admin_user", groups["grafana"][0])
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def url(platform: Any, groups: dict[str, list[str]], path: str) -> str:
    name = groups["grafana"][0]
    return f"https://{platform.addresses[name]}:{platform.setting('grafana_port', name)}{path}"


def test_health(hosts: dict[str, Any], groups: dict[str, list[str]], platform: Any, ask: Callable[..., str]) -> None:
    status, body = ask(hosts[groups["grafana"][0]], url(platform, groups, "/api/health"), ca=CA).split(" ", 1)
    assert (status, json.loads(body)["database"]) == ("200", "ok")


def test_access_without_a_password_is_refused(
    hosts: dict[str, Any], groups: dict[str, list[str]], platform: Any, ask: Callable[..., str]
) -> None:
    host, path = hosts[groups["grafana"][0]], url(platform, groups, "/api/datasources")
    assert ask(host, path, ca=CA).startswith("401")
    assert ask(host, path, login(platform, groups, "admin"), ca=CA).startswith("401")
    assert ask(host, url(platform, groups, "/metrics"), ca=CA).startswith("401")


def test_the_data_source_works(hosts: dict[str, Any], groups: dict[str, list[str]], platform: Any, ask: Callable[..., str]) -> None:
    host, headers = hosts[groups["grafana"][0]], login(platform, groups, platform.secrets["grafana_admin_password"])
    status, body = ask(host, url(platform, groups, "/api/datasources/uid/clickhouse/health"), headers, ca=CA).split(" ", 1)
    assert (status, json.loads(body)["status"]) == ("200", "OK")
    status, body = ask(host, url(platform, groups, "/api/datasources/uid/clickhouse"), headers, ca=CA).split(" ", 1)
    assert status == "200"
    assert platform.secrets["clickhouse_grafana_password"] not in body
