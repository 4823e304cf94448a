# GNU General Public License v3.0+ (see LICENSE)
"""After check mode on bare hosts: nothing is on them."""

from __future__ import annotations

from typing import Any

import pytest

PATHS = (
    *("/opt/zookeeper", "/opt/clickhouse", "/opt/otelcol", "/opt/grafana", "/opt/shop"),
    *("/etc/zookeeper", "/etc/clickhouse-server", "/etc/otelcol", "/etc/grafana", "/etc/shop"),
    *("/var/lib/zookeeper", "/var/lib/clickhouse", "/var/lib/otelcol", "/var/lib/grafana"),
    *("/usr/bin/java", "/usr/bin/psql"),
)
UNITS = ("zookeeper", "clickhouse", "otelcol", "grafana", "shop", "postgresql")


@pytest.mark.parametrize("path", PATHS)
def test_no_path(hosts: dict[str, Any], path: str) -> None:
    assert [name for name, host in hosts.items() if host.file(path).exists] == []


def test_no_unit(hosts: dict[str, Any]) -> None:
    for name, host in hosts.items():
        known = host.check_output("systemctl list-unit-files --no-legend")
        assert [unit for unit in UNITS if unit in known] == [], name


def test_no_account(hosts: dict[str, Any]) -> None:
    for name, host in hosts.items():
        accounts = host.check_output("cut -d: -f1 /etc/passwd").split()
        assert [unit for unit in UNITS if any(account.startswith(unit) for account in accounts)] == [], name
