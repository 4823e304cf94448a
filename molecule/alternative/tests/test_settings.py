# GNU General Public License v3.0+ (see LICENSE)
"""The scenario changes what it says it changes, and the running platform is what was asked for."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509

from tests.testbed.demo import CHECKOUT, role_defaults

CHANGED = Path(__file__).parents[1] / "inventory/group_vars/all/main.yml"
DASHBOARDS = CHECKOUT / "roles/grafana/files/dashboards"
RUNBOOKS = CHECKOUT / "docs/runbooks"


def test_every_port_path_and_name_is_changed() -> None:
    """Also those of options that are made later."""
    changed, defaults = yaml.safe_load(CHANGED.read_text()), role_defaults()
    ends = ("_port", "_dir", "_user", "_cluster", "_database", "_interval")
    constant = {name for name, value in defaults.items() if name.endswith(ends) and value and "{{" not in str(value)}
    assert {name for name in constant if changed.get(name, defaults[name]) == defaults[name]} == set()


def test_certificates_live_as_long_as_they_should(platform: Any) -> None:
    files = sorted((platform.folder / "pki/hosts").glob("*.crt"))
    assert [file.stem for file in files] == ["obs1", "obs1_shop"]
    for file in files:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == platform.setting("observability_tls_days")


def test_clickhouse_uses_the_configured_paths_and_ports(platform: Any) -> None:
    said = platform.query(platform.server, "SELECT currentUser(), path, getMacro('cluster') FROM system.disks WHERE name = 'default'")
    assert said == [["dba", "/srv/clickhouse/", "telemetry_cluster"]]
    assert platform.query(platform.server, "SELECT name FROM system.databases WHERE name = 'otel'") == []


def test_grafana_has_its_content_by_the_api(hosts: dict[str, Any], platform: Any) -> None:
    """And nothing from files: the run after a first one, which is to change nothing, has delivered it again."""
    (host,) = hosts.values()
    user = f"{platform.setting('grafana_admin_user')}:{platform.secrets['grafana_admin_password']}"
    headers = {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}
    root = f"https://{next(iter(platform.addresses.values()))}:{platform.setting('grafana_port')}/api"

    def get(path: str) -> Any:
        with urllib.request.urlopen(urllib.request.Request(f"{root}/{path}", headers=headers), context=platform.context) as answer:
            return json.load(answer)

    assert get("datasources/uid/clickhouse")["readOnly"] is False
    boards = get("search?type=dash-db&folderUIDs=platform")
    assert {board["uid"] for board in boards} == {path.stem for path in DASHBOARDS.glob("*.yml")}
    assert get(f"dashboards/uid/{boards[0]['uid']}")["meta"]["provisioned"] is False
    rules = get("v1/provisioning/alert-rules")
    assert {rule["uid"] for rule in rules} == {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    assert {rule["provenance"] for rule in rules} == {"api"}
    assert not host.file("/etc/grafana/provisioning/alerting/groundwork.yml").exists


def test_no_service_has_files_in_a_default_folder(hosts: dict[str, Any]) -> None:
    (host,) = hosts.values()
    assert host.run("ls -d /opt/* /var/lib/zookeeper /var/lib/clickhouse /var/lib/grafana").stdout == ""
    for folder in ("/srv/zookeeper/snapshots/version-2", "/srv/zookeeper/transactions/version-2", "/srv/clickhouse/store", "/srv/grafana"):
        assert host.file(folder).is_directory, folder


def test_metrics_come_as_often_as_they_should(platform: Any, until: Callable[..., Any]) -> None:
    """Host metrics, every five seconds instead of every thirty."""
    gaps = (
        f"SELECT count(), max(gap) FROM (SELECT dateDiff('second', lagInFrame(TimeUnix) OVER (ORDER BY TimeUnix), TimeUnix) AS gap"
        f" FROM (SELECT DISTINCT TimeUnix FROM {platform.database}.otel_metrics_sum"
        " WHERE MetricName = 'system.cpu.time' ORDER BY TimeUnix DESC LIMIT 4)) WHERE gap BETWEEN 1 AND 1000"
    )

    def often() -> bool:
        count, longest = platform.query(platform.server, gaps)[0]
        return int(count) >= 3 and int(longest) < 15

    until(often, "three points without a gap of 15 s", 60)
