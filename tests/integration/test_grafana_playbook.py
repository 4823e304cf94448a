# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Grafana modules as Ansible runs them: packed and sent, with options of their action group, shown at -vvv."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible_collections.groundwork.observability.plugins.modules import grafana_alerting, grafana_library_panels, grafana_silences

from tests.support.grafana_server import grafana_server

pytestmark = pytest.mark.integration

CHECKOUT = Path(__file__).parents[2]
SECRETS = ("hunter2-login", "hunter2-source", "hunter2-pager", "hunter2-user", "glsa_")
CONNECTION = ("url", "token", "url_username", "url_password", "org_name")


def first_example(module: ModuleType) -> dict[str, Any]:
    """The task of a module's documentation, without its connection."""
    (task,) = ((name, options) for name, options in yaml.safe_load(module.EXAMPLES)[0].items() if name.startswith("groundwork."))
    return {task[0]: {key: value for key, value in task[1].items() if key not in CONNECTION}}


PLAY = f"""
- hosts: localhost
  gather_facts: false
  module_defaults:
    group/groundwork.observability.grafana:
      url: "{{{{ url }}}}"
      url_username: admin
      url_password: {SECRETS[0]}
  vars:
    shop_pagerduty_key: {SECRETS[2]}
  tasks:
    - groundwork.observability.grafana_folders:
        folders: [{{uid: a, title: A}}, {{uid: b, title: B, parent_uid: a}}, {{uid: shop, title: Shop}}, {{uid: platform, title: P}}]
    - groundwork.observability.grafana_datasources:
        datasources:
          - {{uid: p, name: P, type: prometheus, url: "http://p", secure_json_data: {{httpHeaderValue1: {SECRETS[1]}}}}}
          - {{uid: shop-postgres, name: Shop, type: postgres, url: db, database: shop}}
    - groundwork.observability.grafana_dashboards:
        dashboards: [{{dashboard: {{uid: d, title: D, panels: []}}, folder: A/B}}]
    - {json.dumps(first_example(grafana_alerting))}
    - {json.dumps(first_example(grafana_library_panels))}
    - {json.dumps(first_example(grafana_silences))}
    - groundwork.observability.grafana_info:
    - groundwork.observability.grafana_access:
        users: [{{login: anna, password: {SECRETS[3]}, update_password: always}}]
        organizations: [{{name: Main Org., users: [{{login: anna, role: Editor}}]}}]
        teams: [{{name: SRE, members: [anna], purge: true}}]
        service_accounts: [{{name: deploy, tokens: [{{name: deploy, path: "{{{{ folder }}}}/token"}}]}}]
        permissions:
          - {{folder_uid: a, permissions: [{{team: SRE, permission: Edit}}, {{service_account: deploy, permission: View}}], purge: true}}
        preferences: [{{home_dashboard_uid: d}}, {{team: SRE, theme: dark}}]
    - groundwork.observability.grafana_access:
        service_accounts: [{{name: reports, tokens: [{{name: reports, return_key: true}}]}}]
      no_log: true
      register: reports
    - ansible.builtin.assert:
        that: reports.changed == (reports.tokens is defined) or ansible_check_mode
"""


def test_check_run_and_second_run(tmp_path: Path) -> None:
    """Check mode on an empty server announces all, also what needs what a task before it makes; the second run changes nothing."""
    (tmp_path / "play.yml").write_text(PLAY)
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    command = [program, "-i", "localhost,", "-c", "local", str(tmp_path / "play.yml"), "-vvv", "--diff"]
    variables = {
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".collections"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
        # Ansible reads the certificates of all authorities for each request, which takes longer than the request.
        "SSL_CERT_FILE": "/dev/null",
    }
    with grafana_server(f"[security]\nadmin_password = {SECRETS[0]}\n") as server:
        given = ["-e", f"url={server.url} folder={tmp_path}", "-e", f"ansible_python_interpreter={sys.executable}"]
        for mode, summary in ((["--check"], "ok=10   changed=8"), ([], "ok=10   changed=8"), ([], "ok=10   changed=0")):
            done = subprocess.run([*command, *given, *mode], env={**os.environ, **variables}, capture_output=True, text=True)
            assert done.returncode == 0 and summary in done.stdout, done.stdout + done.stderr
            assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]
            folders = server.send("GET", "/api/search?type=dash-folder", auth=("admin", SECRETS[0]))[1]
            assert len(folders) == (0 if mode else 4) and (tmp_path / "token").exists() != bool(mode)
        assert server.send("GET", "/api/org", auth=(tmp_path / "token").read_text())[0] == 200
