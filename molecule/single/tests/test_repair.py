# GNU General Public License v3.0+ (see LICENSE)
"""What a person or an accident changed on the host is seen by check mode and put right by the next run."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.testbed.demo import recap

# What happens -> how, a question, and its answer once repaired.
DAMAGE = {
    "a file was edited": ("echo '# x' >> /etc/zookeeper/zoo.cfg", "grep -c '# x' /etc/zookeeper/zoo.cfg", "0"),
    "a file was added": (
        "touch /etc/clickhouse-server/config.d/stray.xml",
        "cd /etc/clickhouse-server/config.d && echo *",
        "cluster.xml secrets.xml",
    ),
    "a secret was opened": ("chmod 644 /etc/otelcol/gateway/secret.yaml", "stat -c %a /etc/otelcol/gateway/secret.yaml", "640"),
    "a unit was disabled": (
        "systemctl disable --now otelcol-prometheus-agent 2>&1",
        "systemctl is-active otelcol-prometheus-agent",
        "active",
    ),
}
PROCESS = "systemctl show clickhouse-server --property=MainPID"
# The playbooks of the damaged components. site.yml would run the preflight checks as well, which look at no host's files.
DAMAGED = "".join(f"- import_playbook: groundwork.observability.{name}\n" for name in ("zookeeper", "clickhouse", "collectors"))
TAGS = "zookeeper,clickhouse,gateway,prometheus_agent"


def test_damage_is_seen_and_repaired(hosts: dict[str, Any], playbook: Callable[..., Any], tmp_path: Path) -> None:
    (host,) = hosts.values()
    play = tmp_path / "damaged.yml"
    play.write_text(DAMAGED)

    def answers() -> dict[str, str]:
        return {what: host.run(question).stdout.strip() for what, (_command, question, _answer) in DAMAGE.items()}

    process = host.check_output(PROCESS)
    for command, _question, _answer in DAMAGE.values():
        host.check_output(command)
    damaged = answers()
    seen = playbook(play, "--check", "--diff", "--tags", TAGS)
    assert seen.returncode == 0, seen.stdout
    assert recap(seen.stdout)[1] >= len(DAMAGE), seen.stdout
    assert answers() == damaged
    repaired = playbook(play, "--tags", TAGS)
    assert repaired.returncode == 0, repaired.stdout
    assert answers() == {what: answer for what, (_command, _question, answer) in DAMAGE.items()}
    # The added file is none that the server reads again while it runs.
    assert host.check_output(PROCESS) != process
    again = playbook(play, "--tags", TAGS)
    assert recap(again.stdout)[1] == 0, again.stdout


def test_an_identity_cannot_be_changed(hosts: dict[str, Any], playbook: Callable[..., Any]) -> None:
    (host,) = hosts.values()
    for variable, value, component in (
        ("zookeeper_id", "7", "zookeeper"),
        ("clickhouse_replica", "z", "clickhouse"),
        ("clickhouse_zookeeper_password", "another-password-of-32-characters", "clickhouse"),
    ):
        done = playbook(f"playbooks/{component}.yml", "-e", f"{variable}={value}")
        assert done.returncode != 0
        assert variable in done.stdout
        assert "host_vars" in done.stdout or "inventory" in done.stdout
        assert recap(done.stdout)[1] == 0, done.stdout
    assert host.file("/var/lib/zookeeper/data/myid").content_string.strip() == "1"


def test_the_administrators_password_is_put_right(
    hosts: dict[str, Any], groups: dict[str, list[str]], platform: Any, playbook: Callable[..., Any], ask: Callable[..., str]
) -> None:
    """Another one in Grafana's database is seen by check mode, changed on the running server by the next run, and left alone after it."""
    (host,) = hosts.values()
    name = groups["grafana"][0]
    url = f"https://{platform.addresses[name]}:{platform.setting('grafana_port', name)}/api/user"

    def status(password: str) -> str:
        login = base64.b64encode(f"{platform.setting('grafana_admin_user', name)}:{password}".encode()).decode()
        return ask(host, url, {"Authorization": f"Basic {login}"}, ca="/etc/grafana/tls/ca.crt")[:3]

    started = "systemctl show grafana-server --property=ExecMainStartTimestampMonotonic"
    before = host.check_output(started)
    reset = "runuser -u grafana -- /opt/grafana/current/bin/grafana cli --config=/etc/grafana/grafana.ini admin reset-admin-password"
    host.check_output(f"echo another-password | {reset} --password-from-stdin")
    assert (status("another-password"), status(platform.secrets["grafana_admin_password"])) == ("200", "401")
    seen = playbook("playbooks/grafana.yml", "--check")
    assert (seen.returncode, recap(seen.stdout)[1]) == (0, 1), seen.stdout
    assert status("another-password") == "200"
    for changed in (1, 0):
        done = playbook("playbooks/grafana.yml", "-vvv")
        assert (done.returncode, recap(done.stdout)[1]) == (0, changed), done.stdout
        assert platform.secrets["grafana_admin_password"] not in done.stdout
        assert (status(platform.secrets["grafana_admin_password"]), status("another-password")) == ("200", "401")
    assert host.check_output(started) == before


def test_a_configuration_that_never_becomes_healthy_is_put_back(
    hosts: dict[str, Any], platform: Any, playbook: Callable[..., Any], tmp_path: Path
) -> None:
    """The program accepts it, and cannot start with it: the port is another collector's."""
    (host,) = hosts.values()
    url = f"http://127.0.0.1:{platform.setting('otel_collector_prometheus_agent_health_port')}/"
    files = "find /etc/otelcol/prometheus_agent /etc/systemd/system/otelcol-prometheus-agent.service -type f -exec sha256sum {} + | sort"
    process = "systemctl show otelcol-prometheus-agent --property=MainPID"
    before, old = host.check_output(files), host.check_output(process)
    taken = f"127.0.0.1:{platform.setting('otel_collector_gateway_health_port')}"
    given = tmp_path / "changed.json"
    receiver = {"otlp": {"protocols": {"http": {"endpoint": taken}}}}
    pipelines = {"metrics": {"receivers": ["prometheus", "otlp"]}}
    config = {"receivers": receiver, "service": {"pipelines": pipelines}}
    given.write_text(json.dumps({"otel_collector_prometheus_agent_config": config, "otel_collector_health_seconds": 5}))
    done = playbook("playbooks/collectors.yml", "--tags", "prometheus_agent", "-e", f"@{given}")
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "The former one was put back, and the service runs with it" in said
    assert f"{taken}: bind: address already in use" in said
    assert host.check_output(files) == before
    assert host.check_output(process) != old
    assert host.check_output(f"python3 -c 'import urllib.request; print(urllib.request.urlopen(\"{url}\").status)'").strip() == "200"
    assert not host.file("/var/lib/otelcol/prometheus_agent.former.tar").exists
