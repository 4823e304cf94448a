# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One content, delivered by provisioning files and by the API: the servers (stand-ins for Grafana) answer the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.support.grafana_server import GrafanaServer, grafana_server
from tests.support.inventory import SECRETS
from tests.unit.test_rendered_values import BASE, ROLES

pytestmark = pytest.mark.integration

CHECKOUT = Path(__file__).parents[2]
PLUGINS = {"grafana-clickhouse-datasource": "4.20.0", "grafana-postgresql-datasource": "1.0.0"}
PASSWORD = SECRETS["grafana_admin_password"]
ADMIN = ("admin", PASSWORD)
INI = f"[security]\nadmin_password = {PASSWORD}\n"
SHOP = {
    "name": "Shop",
    "uid": "shop",
    "type": "grafana-postgresql-datasource",
    "url": "db.example.com:5432",
    "user": "grafana",
    "jsonData": {"database": "shop", "sslmode": "verify-full"},
    "secureJsonData": {"password": "shop-0123456789"},
}
PAGER_KEY = "pager-$x-0123456789"
ALERTING: dict[str, Any] = {
    "grafana_alert_rule_groups": [
        {
            "folder": "Shop alerts",
            "name": "orders",
            "interval": "1m",
            "rules": [
                {
                    "uid": "no-orders",
                    "title": "No orders",
                    "condition": "A",
                    "labels": {"cost": "$5"},
                    "data": [{"refId": "A", "datasourceUid": "shop", "model": {"rawSql": "SELECT $__timeFilter(t)"}}],
                }
            ],
        }
    ],
    "grafana_contact_points": [
        {"uid": "mail", "name": "On call", "type": "email", "settings": {"addresses": "a@example.com"}},
        {"uid": "pager", "name": "On call", "type": "pagerduty", "secure_settings": {"integrationKey": PAGER_KEY}},
    ],
    "grafana_notification_policy": {
        "receiver": "On call",
        "group_by": ["alertname"],
        "routes": [{"object_matchers": ['severity="info"'], "mute_time_intervals": ["nights"], "repeat_interval": "1d"}],
    },
    "grafana_mute_timings": [{"name": "nights", "time_intervals": [{"times": [{"start_time": "00:00", "end_time": "06:00"}]}]}],
    "grafana_notification_templates": [{"name": "text", "template": "costs $5"}],
}
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: groundwork.observability.grafana, tasks_from: content}
"""


def board(uid: str, title: str, **more: Any) -> dict[str, Any]:
    return {"uid": uid, "title": title, "panels": [{"id": 1, "type": "text", "title": "$var ${x}"}], "tags": ["é"], **more}


def write(folder: Path, boards: dict[str, dict[str, Any]]) -> None:
    for name, model in boards.items():
        (folder / "dashboards" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "dashboards" / name).write_text(json.dumps(model))


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    """Options of the role."""
    boards = {"Shop & Orders/a.json": board("a", "A"), "Shop & Orders/b.json": board("b", "B"), "$Hosts/c.json": board("c", "A")}
    write(tmp_path / "content", boards)
    own = {"grafana_content_dir": str(tmp_path / "content"), "grafana_datasources": [SHOP], "grafana_clickhouse_host": "ch.example.com"}
    return {**SECRETS, **own, **ALERTING}


def provisioned(values: dict[str, Any], previous: str = "") -> dict[str, str]:
    """The provisioning files that the role writes, by path, where a file with alerting is or is not."""
    where = {"groups": {}, "role_path": str(ROLES / "grafana"), "__grafana_alerting_previous": previous}
    variables = {**BASE, **where, **values, "common_tls_ca": "PEM", "__grafana_dashboards_dir": "<<provisioning>>/boards"}
    templar = Templar(loader=DataLoader(), variables=variables)
    files = templar.template(trust_as_template("{{ __grafana_content_files }}"))
    made = {file["path"].removeprefix("provisioning/"): file["content"] for file in files["providers"]}
    made.update({f"boards/{file['path']}": file["content"] for file in files["dashboards"]})
    (alerting,) = templar.template(trust_as_template("{{ __grafana_alerting_files }}"))
    made[alerting["path"].removeprefix("provisioning/")] = alerting["content"]
    return {**made, "datasources/groundwork.yml": json.dumps(templar.template(trust_as_template("{{ __grafana_datasource_file }}")))}


def deliver(tmp_path: Path, url: str, values: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the role's delivery by the API."""
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "pki").mkdir(exist_ok=True)
    (tmp_path / "pki/ca.crt").write_text("PEM")
    given = {**values, "grafana_content_url": url, "grafana_content_delivery": "api", "observability_pki_dir": str(tmp_path / "pki")}
    (tmp_path / "values.json").write_text(json.dumps(given))
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    command = [program, "-i", "localhost,", str(tmp_path / "play.yml"), "-e", f"@{tmp_path}/values.json", *arguments]
    variables = {
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".collections"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
        # Ansible reads the certificates of all authorities for each request, which takes longer than the request.
        "SSL_CERT_FILE": "/dev/null",
    }
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)


def shown(server: GrafanaServer) -> dict[str, Any]:
    """What Grafana shows, without what only says how it came there."""
    found: dict[str, Any] = {}
    for hit in server.send("GET", "/api/search", auth=ADMIN)[1]:
        if hit["type"] == "dash-folder":
            folder = server.send("GET", f"/api/folders/{hit['uid']}", auth=ADMIN)[1]
            # A folder of rules has a uid of its own where it is made by files.
            found[f"folder {hit['title'] if 'alerts' in hit['title'] else hit['uid']}"] = folder["title"]
        else:
            answer = server.send("GET", f"/api/dashboards/uid/{hit['uid']}", auth=ADMIN)[1]
            model = {key: value for key, value in answer["dashboard"].items() if key not in ("id", "version")}
            found[f"dashboard {hit['uid']}"] = (answer["meta"]["folderUid"], model)
    for source in server.send("GET", "/api/datasources", auth=ADMIN)[1]:
        one = server.send("GET", f"/api/datasources/uid/{source['uid']}", auth=ADMIN)[1]
        json_data = {key: value for key, value in one["jsonData"].items() if not key.startswith("groundwork")}
        kept = {key: one[key] for key in ("name", "type", "access", "url", "user", "database", "isDefault", "secureJsonFields")}
        found[f"data source {one['uid']}"] = {**kept, "jsonData": json_data}
    return {**found, **shown_alerting(server)}


def shown_alerting(server: GrafanaServer) -> dict[str, Any]:
    """Alert rules and where alerts are sent. In files a rule's folder has only a title."""
    titles = {hit["uid"]: hit["title"] for hit in server.send("GET", "/api/search?type=dash-folder", auth=ADMIN)[1]}
    own = ("id", "updated", "provenance", "folderUID", "version", "orgID")
    found: dict[str, Any] = {}

    def entries(kind: str) -> list[dict[str, Any]]:
        answer = server.send("GET", f"/api/v1/provisioning/{kind}", auth=ADMIN)[1]
        return answer if isinstance(answer, list) else [answer]

    for one in entries("alert-rules"):
        found[f"rule {one['uid']}"] = (titles[one["folderUID"]], {key: one[key] for key in one if key not in own})
    for one in entries("contact-points"):
        settings = {key: value for key, value in one["settings"].items() if not key.startswith("groundwork")}
        found[f"contact point {one['uid']}"] = {**{key: one[key] for key in one if key not in own}, "settings": settings}
    for kind, key in (("policies", "receiver"), ("mute-timings", "name"), ("templates", "name")):
        found.update({f"{kind} {one[key]}": {name: one[name] for name in one if name not in own} for one in entries(kind)})
    # What a new organisation has.
    found.pop("contact point ", None)
    found.pop("policies grafana-default-email", None)
    return found


def test_both_ways_give_the_same(tmp_path: Path, values: dict[str, Any]) -> None:
    with grafana_server(INI, provisioned(values), PLUGINS) as by_files, grafana_server(INI, plugins=PLUGINS) as by_api:
        assert len([name for name in shown(by_files) if name.startswith(("folder", "dashboard", "data source"))]) > 20
        assert len([name for name in shown(by_files) if name.startswith("rule ")]) > 10
        checked = deliver(tmp_path, by_api.url, values, "--check", "--diff")
        assert checked.returncode == 0 and "changed=4" in checked.stdout, checked.stdout + checked.stderr
        assert shown(by_api) == {}
        for summary in ("changed=4", "changed=0"):
            done = deliver(tmp_path, by_api.url, values, "--diff", "-vvv")
            assert done.returncode == 0 and summary in done.stdout, done.stdout + done.stderr
            for secret in (PASSWORD, "shop-0123456789", values["clickhouse_grafana_password"], PAGER_KEY):
                assert secret not in done.stdout + done.stderr
            assert shown(by_api) == shown(by_files)


# Objects that people have made, in and out of the folders of the content.
FOREIGN = (
    ("POST", "/api/folders", {"uid": "foreign", "title": "Foreign"}),
    ("POST", "/api/dashboards/db", {"dashboard": board("foreign-board", "Board"), "folderUid": "foreign"}),
    ("POST", "/api/datasources", {"uid": "foreign", "name": "Foreign", "type": "prometheus", "access": "proxy", "url": "http://p"}),
    (
        "POST",
        "/api/v1/provisioning/contact-points",
        {"uid": "foreign", "name": "Foreign", "type": "email", "settings": {"addresses": "f@example.com"}},
    ),
    ("POST", "/api/v1/provisioning/mute-timings", {"name": "foreign", "time_intervals": [{"weekdays": ["sunday"]}]}),
    ("PUT", "/api/v1/provisioning/templates/foreign", {"template": '{{ define "foreign" }}x{{ end }}'}),
)
PURGE = {
    "datasources": ["shop*"],
    "contact_points": ["mail", "pager"],
    "mute_timings": ["night?"],
    "templates": ["text"],
    "folders": ["hosts", "shop-alerts"],
}
LEFT = ("dashboard b", "dashboard c", "data source shop", "rule no-orders", "contact point pager", "mute-timings nights", "templates text")


def provision(server: GrafanaServer, files: dict[str, str]) -> None:
    """Replace the provisioning files of a running server, and let it read them."""
    provisioning = server.folder / "provisioning"
    for path in provisioning.glob("boards/*/*.json"):
        path.unlink()
    for name, text in files.items():
        (provisioning / name).write_text(text.replace("<<provisioning>>", str(provisioning)))
    for kind in ("datasources", "alerting", "dashboards"):
        assert server.send("POST", f"/api/admin/provisioning/{kind}/reload", auth=ADMIN)[0] == 200


def without_most(tmp_path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Options of the role after something of each kind has left the data."""
    for name in ("Shop & Orders/b.json", "$Hosts/c.json"):
        (tmp_path / "content/dashboards" / name).unlink()
    (tmp_path / "content/dashboards/$Hosts").rmdir()
    write(tmp_path / "content", {"Shop & Orders/a.json": board("a", "another")})
    policy = {"receiver": "On call", "group_by": ["alertname"]}
    lists = ("grafana_datasources", "grafana_alert_rule_groups", "grafana_mute_timings", "grafana_notification_templates")
    points = [point for point in values["grafana_contact_points"] if point["uid"] != "pager"]
    return {**values, **dict.fromkeys(lists, []), "grafana_contact_points": points, "grafana_notification_policy": policy}


@pytest.mark.soak
def test_what_left_the_data_is_gone_in_both(tmp_path: Path, values: dict[str, Any]) -> None:
    """In the scope of grafana_content_purge, and without one only in the content's folders. What people have made stays."""
    files = provisioned(values)
    with grafana_server(INI, files, PLUGINS) as by_files, grafana_server(INI, plugins=PLUGINS) as by_api:
        assert deliver(tmp_path, by_api.url, values).returncode == 0
        for server in (by_files, by_api):
            for method, path, body in FOREIGN:
                assert server.send(method, path, body, auth=ADMIN)[0] < 300, path
        before = shown(by_api)
        assert before == shown(by_files) and not [name for name in LEFT if name not in before]
        less = without_most(tmp_path, values)
        done = deliver(tmp_path, by_api.url, less)
        assert done.returncode == 0, done.stdout + done.stderr
        unscoped = shown(by_api)
        assert set(before) - set(unscoped) == {"dashboard b"}
        less["grafana_content_purge"] = PURGE
        provision(by_files, provisioned(less, files["alerting/groundwork.yml"]))
        checked = deliver(tmp_path, by_api.url, less, "--check", "--diff")
        assert checked.returncode == 0 and "changed=3" in checked.stdout, checked.stdout + checked.stderr
        assert shown(by_api) == unscoped
        for summary in ("changed=3", "changed=0"):
            done = deliver(tmp_path, by_api.url, less)
            assert done.returncode == 0 and summary in done.stdout, done.stdout + done.stderr
        after = shown(by_api)
        assert after == shown(by_files)
        assert set(before) - set(after) == set(LEFT) and after["dashboard a"][1]["title"] == "another"
        assert len([name for name in after if name.casefold().endswith(("foreign", "foreign-board"))]) == len(FOREIGN)


def test_a_broken_file_is_refused_before_a_request(tmp_path: Path, values: dict[str, Any]) -> None:
    (tmp_path / "content/dashboards/Shop & Orders/b.json").write_text("{")
    with grafana_server(INI, plugins=PLUGINS) as server:
        done = deliver(tmp_path, server.url, values)
        assert done.returncode != 0 and "b.json" in done.stdout and "is not JSON" in done.stdout, done.stdout
        assert shown(server) == {}
