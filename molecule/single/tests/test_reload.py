# GNU General Public License v3.0+ (see LICENSE)
"""ClickHouse reads changed users, passwords, clusters and macros while it runs."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.testbed.demo import recap

PLAYBOOK = "playbooks/clickhouse.yml"
USERS = ("admin", "ingest", "grafana", "monitor")
PROCESS = "systemctl show clickhouse-server --property=MainPID,ExecMainStartTimestampMonotonic,NRestarts,ActiveState"
RELOADS = "SELECT count() FROM system.query_log WHERE type = 'QueryFinish' AND query = 'SYSTEM RELOAD CONFIG'"
CA = "/etc/clickhouse-server/tls/ca.crt"
COUNT = 200


def test_users_and_clusters_change_without_a_restart(
    hosts: dict[str, Any],
    platform: Any,
    playbook: Callable[..., Any],
    ask: Callable[..., str],
    send: Callable[..., dict[str, Any]],
    stored: Callable[..., Any],
    until: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Meanwhile a gateway that has the former password keeps what it has acknowledged."""
    ((name, host),) = hosts.items()
    former = {user: platform.secrets[f"clickhouse_{user}_password"] for user in USERS}
    changed = {user: secrets.token_hex(16) for user in USERS}
    cluster = {"shard": {"replica": {"host": "127.0.0.9", "port": 9}}}
    options: dict[str, Any] = {f"clickhouse_{user}_password": password for user, password in changed.items()}
    own = platform.setting("clickhouse_config")
    options["clickhouse_config"] = {**own, "remote_servers": {"another": cluster}, "macros": {"rack": "r1"}}
    given = tmp_path / "changed.json"
    given.write_text(json.dumps(options))

    def answer(user: str, password: str, query: str = "SELECT currentUser()") -> str:
        login = base64.b64encode(f"{platform.setting(f'clickhouse_{user}_user')}:{password}".encode()).decode()
        url = f"https://127.0.0.1:{platform.setting('clickhouse_https_port')}/"
        return ask(host, url, {"Authorization": f"Basic {login}"}, query, CA).strip()

    def assert_accepted(accepted: dict[str, str], refused: dict[str, str]) -> None:
        for user in USERS:
            assert answer(user, accepted[user]) == f"200 {platform.setting(f'clickhouse_{user}_user')}"
            assert answer(user, refused[user]).startswith(("401", "403")), user

    process = host.check_output(PROCESS)
    probe = f"reload-{time.time_ns()}"
    try:
        done = playbook(PLAYBOOK, "-e", f"@{given}")
        assert done.returncode == 0, done.stdout
        assert recap(done.stdout)[1] == 2, done.stdout  # the files are written, and read
        assert [user for user, password in changed.items() if password in done.stdout + done.stderr] == []
        assert_accepted(changed, refused=former)
        seen = "SELECT (SELECT host_address FROM system.clusters WHERE cluster = 'another'), getMacro('rack')"
        assert answer("admin", changed["admin"], seen) == "200 127.0.0.9\tr1"
        assert host.check_output(PROCESS) == process
        again = playbook(PLAYBOOK, "-e", f"@{given}")
        assert (again.returncode, recap(again.stdout)[1]) == (0, 0), again.stdout
        # Without the connections that it had opened before.
        host.check_output("systemctl restart otelcol-gateway")
        assert send(name, probe, COUNT)["accepted"] == {"logs": COUNT, "traces": COUNT}
        ingest = platform.setting("clickhouse_ingest_user")
        refused = f"SELECT last_error_message LIKE '%{ingest}: Authentication failed%' FROM system.errors WHERE code = 516"
        until(lambda: answer("admin", changed["admin"], refused) == "200 1", "a refused INSERT of the gateway")
    finally:
        restored = playbook(PLAYBOOK)
    assert restored.returncode == 0, restored.stdout
    assert_accepted(former, refused=changed)
    assert host.check_output(PROCESS) == process
    until(lambda: stored(name, probe) == {"logs": [COUNT, COUNT], "traces": [COUNT, COUNT]}, "all there once", 120)


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
