# GNU General Public License v3.0+ (see LICENSE)
"""Addresses follow from the name and the layout alone; the inventory says how to connect and where things lie."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import yaml

from tests.testbed import hosts
from tests.testbed.core import TestbedError

LAYOUTS = yaml.safe_load(hosts.LAYOUTS.read_text(encoding="utf-8"))


def test_cluster_addresses() -> None:
    plan = hosts.plan("demo", "cluster", LAYOUTS)
    assert (plan.network, plan.subnet, plan.mirror) == ("groundwork-demo", "172.29.1.0/24", "172.29.1.2")
    assert plan.hosts == {
        "zk1": "172.29.1.11", "zk2": "172.29.1.12", "zk3": "172.29.1.13",
        "ch1": "172.29.1.14", "ch2": "172.29.1.15", "ch3": "172.29.1.16", "ch4": "172.29.1.17",
        "gw1": "172.29.1.18", "app1": "172.29.1.19",
    }


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["demo", "molecule-default", "molecule-cluster", "anything", ""])
def test_addresses_are_distinct_and_in_the_subnet(name: str, layout: str) -> None:
    plan = hosts.plan(name, layout, LAYOUTS)
    addresses = [plan.gateway, plan.mirror, *plan.hosts.values()]
    assert len(set(addresses)) == len(addresses)
    assert all(ip_address(address) in ip_network(plan.subnet) for address in addresses)


def test_other_names_keep_off_the_fixed_subnets() -> None:
    octets = {hosts.third_octet(f"name-{number}") for number in range(500)}
    assert min(octets) >= 10
    assert max(octets) <= 250
    assert len(octets) > 150


def test_prefix() -> None:
    assert hosts.plan("demo", "single", LAYOUTS, "10.77").hosts == {"obs1": "10.77.1.11"}


def test_unknown_layout() -> None:
    with pytest.raises(TestbedError, match="choose one of single, three_hosts, cluster"):
        hosts.plan("demo", "double", LAYOUTS)


def test_inventory_has_no_settings_of_the_roles() -> None:
    plan = hosts.plan("demo", "single", LAYOUTS)
    data = hosts.inventory(plan, Path("/key"), Path("/mirror/artifacts.lock.yml"))
    assert list(data) == ["all"]
    assert data["all"]["hosts"] == {"obs1": {"ansible_host": "172.29.1.11"}}
    assert data["all"]["vars"] == {
        "ansible_user": "ansible",
        "ansible_ssh_private_key_file": "/key",
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=accept-new "
        f"-o UserKnownHostsFile={plan.folder / 'known_hosts'} -o IdentitiesOnly=yes",
        "observability_mirror": "http://172.29.1.2",
        "observability_lock_file": "/mirror/artifacts.lock.yml",
        "observability_pki_dir": str(plan.folder / "pki"),
        "observability_secrets_file": str(plan.folder / "group_vars" / "all" / "secrets.yml"),
    }
