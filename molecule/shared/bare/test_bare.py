# GNU General Public License v3.0+ (see LICENSE)
"""After check mode on bare hosts: nothing is on them, and the diff named what would be."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

PATHS = (
    *("/opt/zookeeper", "/opt/clickhouse", "/opt/otelcol", "/opt/grafana", "/opt/shop"),
    *("/etc/zookeeper", "/etc/clickhouse-server", "/etc/otelcol", "/etc/grafana", "/etc/shop"),
    *("/var/lib/zookeeper", "/var/lib/clickhouse", "/var/lib/otelcol", "/var/lib/grafana"),
    *("/usr/bin/java", "/usr/bin/psql"),
)
NAMES = ("zookeeper", "clickhouse", "otelcol", "grafana", "shop", "postgres")


def test_nothing_was_written(everywhere: Callable[..., dict[str, str]]) -> None:
    there = everywhere(f"for path in {' '.join(PATHS)}; do [ ! -e $path ] || echo $path; done")
    assert set(there.values()) == {""}, there


def test_no_unit_and_no_account(everywhere: Callable[..., dict[str, str]]) -> None:
    for name, known in everywhere("systemctl list-unit-files --no-legend; cut -d: -f1 /etc/passwd /etc/group").items():
        assert [line for line in known.splitlines() if line.startswith(NAMES)] == [], name


@pytest.mark.parametrize("what", ["/opt/{}/current", "/etc/systemd/system/{}"])
def test_the_diff_names_what_would_be_installed(ansible_log: str, scenario: str, what: str) -> None:
    """The versions' links and the units, each with the text of the unit."""
    # Scenario default looks at site.yml alone, without the sample application.
    application = () if scenario == "default" else ("shop",)
    names = {
        "/opt/{}/current": ("zookeeper", "clickhouse", "otelcol", "grafana", "grafana-clickhouse-datasource", *application),
        "/etc/systemd/system/{}": ("zookeeper.service", "clickhouse-server.service", "otelcol-gateway.service", "grafana-server.service"),
    }[what]
    assert [name for name in names if what.format(name) not in ansible_log] == []
    assert re.search(r"\+ExecStart=/opt/otelcol/[\d.]+/otelcol-contrib", ansible_log)
