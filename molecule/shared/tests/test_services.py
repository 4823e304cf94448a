# GNU General Public License v3.0+ (see LICENSE)
"""Units, accounts, files and sockets of every host."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

UNITS = {
    "zookeeper": "zookeeper",
    "clickhouse": "clickhouse-server",
    "gateway": "otelcol-gateway",
    "node_agent": "otelcol-node-agent",
    "cluster_agent": "otelcol-cluster-agent",
    "prometheus_agent": "otelcol-prometheus-agent",
    "grafana": "grafana-server",
    "application": "shop",
}
# Ports that other hosts reach, and those on loopback, by group. The quorum's is open on the leader only.
CLICKHOUSE = ("clickhouse_https_port", "clickhouse_native_port", "clickhouse_interserver_port")
OPEN = {
    "zookeeper": ("zookeeper_client_port", "zookeeper_quorum_port", "zookeeper_election_port", "zookeeper_metrics_port"),
    "clickhouse": CLICKHOUSE,
    "gateway": ("otel_collector_gateway_grpc_port", "otel_collector_gateway_http_port"),
    "grafana": ("grafana_port",),
}
LOCAL = {
    "zookeeper": ("zookeeper_admin_port",),
    "clickhouse": CLICKHOUSE,
    "gateway": tuple(f"otel_collector_gateway_{what}_port" for what in ("health", "metrics", "relay")),
    "node_agent": tuple(f"otel_collector_node_agent_{what}_port" for what in ("grpc", "http", "health", "metrics")),
    "grafana": ("grafana_clickhouse_proxy_port",),
    "cluster_agent": ("otel_collector_cluster_agent_health_port", "otel_collector_cluster_agent_metrics_port"),
    "prometheus_agent": ("otel_collector_prometheus_agent_health_port", "otel_collector_prometheus_agent_metrics_port"),
}
APPLICATION = {8080, 5432}
LOOPBACK = re.compile(r"127\..*|\[::1\]|\[::ffff:127\..*\]")
SECRET_FILES = {
    "zookeeper": ["/etc/zookeeper/tls/host.pem"],
    "clickhouse": [f"/etc/clickhouse-server/{name}" for name in ("tls/host.key", "config.d/secrets.xml", "users.d/secrets.xml")],
    "gateway": ["/etc/otelcol/gateway/secret.yaml", "/etc/otelcol/gateway/gateway_token", "/etc/otelcol/gateway/tls/host.key"],
    "node_agent": ["/etc/otelcol/node_agent/gateway_token", "/etc/otelcol/node_agent/agent_token"],
    "grafana": ["/etc/grafana/secrets/security.admin_password", "/etc/grafana/secrets/security.secret_key", "/etc/grafana/tls/host.key"],
}


def test_units(everywhere: Callable[..., dict[str, str]], groups: dict[str, list[str]]) -> None:
    """Run since their start, start with the host, as users of their own in a sandbox."""
    properties = ("Id", "User", "ActiveState", "UnitFileState", "NoNewPrivileges", "ProtectSystem", "Restart", "CapabilityBoundingSet")
    shown = everywhere(f"systemctl show --property={','.join(properties)},NRestarts {' '.join(UNITS.values())}")
    for group, unit in UNITS.items():
        assert groups[group]
        for name in groups[group]:
            blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in shown[name].split("\n\n")]
            (found,) = [block for block in blocks if block["Id"] == f"{unit}.service"]
            assert found.pop("User") not in ("", "root"), name
            assert found == {
                "Id": f"{unit}.service",
                "ActiveState": "active",
                "UnitFileState": "enabled",
                "NoNewPrivileges": "yes",
                "ProtectSystem": "strict",
                "Restart": "always",
                "CapabilityBoundingSet": "",
                "NRestarts": "0",
            }, name


def test_nothing_failed(everywhere: Callable[..., dict[str, str]]) -> None:
    failed = everywhere("systemctl --failed --no-legend --plain")
    assert set(failed.values()) == {""}, failed


def test_only_required_ports_listen(everywhere: Callable[..., dict[str, str]], groups: dict[str, list[str]], platform: Any) -> None:
    for name, sockets in everywhere("ss -Hltn").items():
        there = [(group, name) for group, members in groups.items() if name in members]
        # Where there are further collectors, all hosts of the inventory are one machine.
        there += [(platform.setting("otel_collector_mode", other), other) for other in groups.get("collector_instance", [])]

        def ports(options: dict[str, tuple[str, ...]], there: list[tuple[str, str]] = there) -> set[int]:
            return {int(platform.setting(option, host)) for group, host in there for option in options.get(group, ())}

        quorum, election = (int(platform.setting(f"zookeeper_{what}_port", name)) for what in ("quorum", "election"))
        listening = re.findall(r"LISTEN\s+\d+\s+\d+\s+(\S+):(\d+)", sockets)
        local = {int(port) for address, port in listening if LOOPBACK.fullmatch(address)}
        reached = {int(port) for address, port in listening if not LOOPBACK.fullmatch(address)}
        allowed = {22} | ports(OPEN)
        assert reached <= allowed, name
        assert allowed - reached <= ({quorum, election} if len(groups["zookeeper"]) == 1 else {quorum}), name
        # The engine's DNS and, on loopback at ports of the kernel's choice, ClickHouse's stand-in.
        local = {port for port in local if port < 32768}
        assert local - {22} <= ports(LOCAL) | (APPLICATION if ("application", name) in there else set()), name


@pytest.mark.parametrize("group", SECRET_FILES)
def test_secret_files(everywhere: Callable[..., dict[str, str]], groups: dict[str, list[str]], group: str) -> None:
    """Root's, readable by the service, by nobody else."""
    files = everywhere(f"stat -c '%U %G %a' {' '.join(SECRET_FILES[group])}", groups[group])
    for name, lines in files.items():
        for line in lines.splitlines():
            user, owners, mode = line.split()
            assert (user, mode) == ("root", "640"), name
            assert owners not in ("root", "users"), name


def test_no_secret_is_readable_or_visible(everywhere: Callable[..., dict[str, str]], platform: Any) -> None:
    """Neither in a file that everybody may read, nor in an argument or an environment that a unit shows."""
    visible = everywhere(
        "systemctl show --property=ExecStart,Environment 'zookeeper*' 'clickhouse*' 'otelcol*' 'grafana*' 'shop*'; ps -eo args;"
        " find /etc /opt /var/lib -xdev -type f -perm -o=r -size -1024k -newer /etc/hostname -not -path '*/site-packages/*'"
        r" -exec cat {} + 2>/dev/null | tr -cd '\11\12\40-\176'"
    )
    for name, text in visible.items():
        assert "ExecStart" in text
        assert [secret for secret, value in platform.secrets.items() if value in text] == [], name
