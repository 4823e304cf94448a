# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""grafana_dashboards beside looped tasks, on dashboards that are as declared, in the same run on the same stand-in.

python -m bench.grafana_dashboards [dashboards]; 100 by default. Seconds are of the task alone, once each. The loops are
ansible.builtin.uri, which saves every dashboard again, and community.grafana.grafana_dashboard. Prints a table; nothing depends on its
numbers.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.clickhouse_schema import seconds
from tests.support.grafana_proxy import Proxy, grafana_proxy
from tests.support.grafana_server import grafana_server


def tasks(url: str, files: list[Path]) -> dict[str, dict[str, Any]]:
    """One task for each way, all for the same files."""
    login = {"url": url, "url_username": "admin", "url_password": "admin"}
    saved = {"dashboard": "{{ lookup('ansible.builtin.file', item) | from_json }}", "overwrite": True}
    uri = {**login, "url": f"{url}/api/dashboards/db", "method": "POST", "force_basic_auth": True, "body_format": "json", "body": saved}
    loop = [str(file) for file in files]
    return {
        "grafana_dashboards": {"groundwork.observability.grafana_dashboards": {**login, "directories": [{"path": str(files[0].parent)}]}},
        "uri": {"ansible.builtin.uri": uri, "loop": loop},
        "community.grafana": {
            "community.grafana.grafana_dashboard": {**login, "path": "{{ item }}", "overwrite": True, "org_id": 1},
            "loop": loop,
        },
    }


def measured(proxy: Proxy, task: dict[str, Any]) -> tuple[float, int, int]:
    """Seconds, requests, and how many of these were writes."""
    proxy.reset()
    return seconds({"name": "measured", **task}), len(proxy.requests), len(proxy.writes)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    panel = {"id": 1, "type": "stat", "title": "Panel", "targets": [{"rawSql": "SELECT 1"}]}
    with tempfile.TemporaryDirectory() as folder, grafana_server() as server, grafana_proxy(server.url) as proxy:
        files = [Path(folder) / f"d{number}.json" for number in range(count)]
        for file in files:
            file.write_text(json.dumps({"uid": file.stem, "title": file.stem, "panels": [panel] * 20, "schemaVersion": 39}))
        ways = tasks(proxy.url, files)
        measured(proxy, ways["grafana_dashboards"])
        print(f"{count} dashboards without a change\n{'way':<20} {'seconds':>8} {'times':>6} {'requests':>8} {'writes':>6}")
        own = 0.0
        for name, task in ways.items():
            took, requests, writes = measured(proxy, task)
            own = own or took
            print(f"{name:<20} {took:>8.2f} {took / own:>6.1f} {requests:>8} {writes:>6}", flush=True)


if __name__ == "__main__":
    main()
