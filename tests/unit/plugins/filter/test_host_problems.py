# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host may lack, decided from what module host_info returns."""

from __future__ import annotations

import copy
import typing as t

import pytest
from ansible_collections.groundwork.observability.plugins.filter import preflight

from tests.support.inventory import Inventory

GB = 10**9
DISK = {"exists": False, "mount": "/", "type": "ext4", "size_bytes": 500 * GB, "free_bytes": 400 * GB}
INFO: dict[str, t.Any] = {
    "machine": "x86_64",
    "cpu_flags": ["avx2", "pclmulqdq", "popcnt", "sse4_1", "sse4_2", "ssse3"],
    "python": "3.11.2",
    "systemd": 252,
    "memory_bytes": 16 * 2**30,
    "clock_seconds": 0.4,
    "listeners": [],
}


def listener(port: int, user: str = "www-data", address: str = "0.0.0.0", process: str = "nginx") -> dict[str, t.Any]:
    return {"port": port, "address": address, "process": process, "user": user}


def problems(
    host: str, disk: dict[str, t.Any] | None = None, disks: dict[str, dict[str, t.Any]] | None = None, **changed: t.Any
) -> list[str]:
    """What is said about a host of the complete inventory."""
    inventory = Inventory()
    groups = {"all": list(inventory.hosts), **inventory.groups}
    wanted = preflight.host_requirements(inventory.hosts, groups, host)
    systems = {path: {**DISK, **(disk or {}), **(disks or {}).get(path, {})} for path in wanted["paths"]}
    info = {**copy.deepcopy(INFO), "file_systems": systems, **changed}
    return preflight.host_problems(info, inventory.hosts, groups, host)


def test_inspected_paths_and_ports_depend_on_the_roles() -> None:
    inventory = Inventory().add("bare", "application")
    groups = {"all": list(inventory.hosts), **inventory.groups}
    server = preflight.host_requirements(inventory.hosts, groups, "ch1")
    assert server["paths"] == ["/var/lib/clickhouse", "/var/lib/otelcol", "/opt"]
    assert {8443, 9440, 9010, 4317, 13134} <= set(server["ports"])
    assert preflight.host_requirements(inventory.hosts, groups, "bare") == {"paths": [], "ports": []}


def test_an_instance_is_a_host_of_its_mode() -> None:
    """Its own process may hold its ports, that of another collector may not."""
    own = {"otel_collector_mode": "gateway", "otel_collector_instance": "gateway_shop", "otel_collector_gateway_grpc_port": 14317}
    inventory = Inventory().add("shop", "collector_instance", ansible_host="192.0.2.18", **own)
    groups = {"all": list(inventory.hosts), **inventory.groups}
    wanted = preflight.host_requirements(inventory.hosts, groups, "shop")
    assert 14317 in wanted["ports"] and "/var/lib/otelcol" in wanted["paths"]
    for user, said in (("otelcol-gateway-shop", []), ("otelcol-gateway", ["otel_collector_gateway_grpc_port"])):
        info = {**copy.deepcopy(INFO), "file_systems": dict.fromkeys(wanted["paths"], DISK), "listeners": [listener(14317, user)]}
        found = preflight.host_problems(info, inventory.hosts, groups, "shop")
        assert [text for text in said if text in str(found)] == said and len(found) == len(said), found


@pytest.mark.parametrize("host", ["zk1", "ch1", "gw1", "app1"])
def test_suitable_host_has_no_problems(host: str) -> None:
    assert problems(host) == []


WRONG: list[tuple[str, dict[str, t.Any], tuple[str, ...]]] = [
    ("ch1", {"machine": "aarch64", "cpu_flags": ["asimd", "aes", "atomics", "asimddp"]}, ("aarch64", "archives are for amd64")),
    ("zk1", {"machine": "i686"}, ("i686", "amd64")),
    ("ch1", {"cpu_flags": ["ssse3", "sse4_1", "popcnt", "pclmulqdq"]}, ("lacks sse4_2", "ClickHouse")),
    ("zk1", {"python": "3.8.10"}, ("Python is 3.8.10", "ansible_python_interpreter")),
    ("zk1", {"systemd": 239}, ("systemd is 239", "247")),
    ("zk1", {"systemd": 0}, ("not started by systemd",)),
    ("zk1", {"clock_seconds": 90.0}, ("90 seconds ahead",)),
    ("zk1", {"clock_seconds": -6.0}, ("6 seconds behind",)),
    ("zk1", {"memory_bytes": 2**30}, ("1024 MiB of memory", "zookeeper_heap")),
    ("gw1", {"memory_bytes": 2 * 2**30}, ("otel_collector_gateway_memory_mib",)),
    ("ch1", {"disk": {"free_bytes": 4 * GB}}, ("/ has 4.0 GB free", "/var/lib/clickhouse")),
    ("ch1", {"disks": {"/var/lib/clickhouse": {"mount": "/srv", "free_bytes": GB}}}, ("/srv has 1.0 GB free", "5.0 GB")),
    ("ch1", {"disk": {"exists": True, "free_bytes": GB // 20}}, ("/ has 0.1 GB free",)),
    ("ch1", {"disks": {"/var/lib/clickhouse": {"type": "nfs4"}}}, ("clickhouse_data_dir", "nfs4")),
    ("zk1", {"disks": {"/var/lib/zookeeper/log": {"type": "tmpfs"}}}, ("zookeeper_log_dir", "tmpfs")),
    (
        "gw1",
        {"disk": {"size_bytes": 10 * GB}},
        ("/var/lib/otelcol has 10 GB", "otel_collector_gateway_queue_bytes", "otel_collector_agent_queue_bytes"),
    ),
    ("ch1", {"listeners": [listener(8443)]}, ("port 8443 (clickhouse_https_port)", "nginx of user www-data")),
    (
        "ch1",
        {"listeners": [listener(8443, process="", address="127.0.0.1")]},
        ("port 8443 (clickhouse_https_port)", "a process of user www-data"),
    ),
    ("ch1", {"listeners": [listener(8443, user="grafana")]}, ("port 8443", "user grafana")),
    ("gw1", {"listeners": [listener(3000)]}, ("port 3000 (grafana_port)",)),
    ("gw1", {"listeners": [listener(8888, address="127.0.0.1")]}, ("port 8888 (otel_collector_gateway_metrics_port)",)),
    (
        "zk1",
        {"listeners": [listener(2281, user="clickhouse", process="clickhouse-keep")]},
        ("port 2281 (zookeeper_client_port)", "clickhouse-keep of user clickhouse"),
    ),
]


@pytest.mark.parametrize(("host", "changed", "said"), WRONG, ids=[" ".join(said) for _, _, said in WRONG])
def test_missing_requirements_of_a_host_are_named(host: str, changed: dict[str, t.Any], said: tuple[str, ...]) -> None:
    found = problems(host, **changed)
    assert len([line for line in found if all(text in line for text in said)]) == 1, found


def test_hours_of_a_queue_need_the_disk_for_them() -> None:
    """12 hours at 5 MB a second, three signals: 648 GB; a tenth of it fits."""
    for rate, fits in ((5_000_000, False), (500_000, True)):
        inventory = Inventory().set(otel_collector_gateway_queue_hours=12, otel_collector_gateway_queue_rate=rate)
        assert inventory.problems() == []
        groups = {"all": list(inventory.hosts), **inventory.groups}
        paths = preflight.host_requirements(inventory.hosts, groups, "gw1")["paths"]
        info = {**copy.deepcopy(INFO), "file_systems": dict.fromkeys(paths, DISK)}
        found = preflight.host_problems(info, inventory.hosts, groups, "gw1")
        assert len(found) == (not fits)
        assert fits or "lower otel_collector_gateway_queue_hours and" in found[0]


@pytest.mark.parametrize(("gateway", "agent", "fits"), [(60, 30, True), (90, 20, False)])
def test_queues_share_their_file_system(gateway: int, agent: int, fits: bool) -> None:
    """A gateway's host is also a node agent: their shares are of one disk of any size."""
    inventory = Inventory().set(otel_collector_gateway_queue_percent=gateway, otel_collector_agent_queue_percent=agent)
    assert inventory.problems() == []
    groups = {"all": list(inventory.hosts), "gateway": ["gw1"], "node_agent": ["gw1"]}
    paths = preflight.host_requirements(inventory.hosts, groups, "gw1")["paths"]
    info = {**copy.deepcopy(INFO), "file_systems": dict.fromkeys(paths, {**DISK, "size_bytes": 1000 * GB})}
    found = preflight.host_problems(info, inventory.hosts, groups, "gw1")
    assert len(found) == (not fits), found
    assert fits or "lower otel_collector_gateway_queue_percent and" in found[0]
    assert fits or "otel_collector_agent_queue_percent" in found[0]


@pytest.mark.parametrize(
    ("host", "changed"),
    [
        ("ch1", {"listeners": [listener(8443, user="clickhouse"), listener(9440, user="clickhouse")]}),
        ("zk1", {"listeners": [listener(8090, address="192.0.2.11")]}),  # the AdminServer listens on loopback only
        ("zk1", {"listeners": [listener(2281, address="127.0.0.1")]}),
        ("ch1", {"disk": {"exists": True, "free_bytes": GB}}),  # a second run
        ("ch1", {"clock_seconds": 30.0}),  # it took so long to start the module
        ("zk1", {"cpu_flags": []}),
    ],
)
def test_irrelevant_differences_are_accepted(host: str, changed: dict[str, t.Any]) -> None:
    assert problems(host, **changed) == []
