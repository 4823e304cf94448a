# GNU General Public License v3.0+ (see LICENSE)
"""ClickHouse reads changed users, passwords, clusters and macros while it runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.testbed.demo import recap

PLAYBOOK = "playbooks/clickhouse.yml"
PROCESS = "systemctl show clickhouse-server --property=MainPID,ExecMainStartTimestampMonotonic,NRestarts,ActiveState"
RELOADS = "SELECT count() FROM system.query_log WHERE type = 'QueryFinish' AND query = 'SYSTEM RELOAD CONFIG'"


def test_a_run_that_ends_before_the_server_has_answered_is_completed(
    hosts: dict[str, Any], platform: Any, playbook: Callable[..., Any], tmp_path: Path
) -> None:
    ((name, host),) = hosts.items()
    given = tmp_path / "changed.json"
    given.write_text(json.dumps({"clickhouse_grafana_max_seconds": 61, "clickhouse_health_seconds": 2}))
    process = host.check_output(PROCESS)

    def reloads() -> int:
        platform.query(name, "SYSTEM FLUSH LOGS")
        return int(platform.query(name, RELOADS)[0][0])

    before = reloads()
    block = f"iptables -{{}} INPUT -i lo -d 127.0.0.1 -p tcp --dport {platform.setting('clickhouse_https_port')} -j REJECT"
    host.check_output(block.format("I"))
    try:
        ended = playbook(PLAYBOOK, "-e", f"@{given}")
    finally:
        host.check_output(block.format("D"))
    try:
        assert ended.returncode != 0
        assert "has not read its changed files on request (SYSTEM RELOAD CONFIG)" in " ".join(ended.stdout.split())
        seen = playbook(PLAYBOOK, "--check", "--diff", "-e", f"@{given}")
        assert (seen.returncode, recap(seen.stdout)[1]) == (0, 1), seen.stdout
        assert reloads() == before
        completed = playbook(PLAYBOOK, "-e", f"@{given}")
        assert (completed.returncode, recap(completed.stdout)[1]) == (0, 1), completed.stdout
        assert reloads() == before + 1
        again = playbook(PLAYBOOK, "-e", f"@{given}")
        assert (again.returncode, recap(again.stdout)[1]) == (0, 0), again.stdout
        limit = "SELECT max FROM system.settings_profile_elements WHERE profile_name = 'grafana' AND setting_name = 'max_execution_time'"
        assert ["61"] in platform.query(name, limit)
    finally:
        restored = playbook(PLAYBOOK)
    assert restored.returncode == 0, restored.stdout
    assert host.check_output(PROCESS) == process
