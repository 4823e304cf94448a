# GNU General Public License v3.0+ (see LICENSE)
"""A complete small inventory as data, to be made wrong in one place: what preflight's filters are given, without a playbook."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible_collections.groundwork.observability.plugins.filter import preflight

Variables = dict[str, Any]

# One host of every kind, and two of what has to agree.
HOSTS: dict[str, Variables] = {
    "zk1": {"ansible_host": "192.0.2.11", "zookeeper_id": 1},
    "zk2": {"ansible_host": "192.0.2.12", "zookeeper_id": 2},
    "zk3": {"ansible_host": "192.0.2.13", "zookeeper_id": 3},
    "ch1": {"ansible_host": "192.0.2.14", "clickhouse_shard": 1, "clickhouse_replica": "a"},
    "ch2": {"ansible_host": "192.0.2.15", "clickhouse_shard": 1, "clickhouse_replica": "b"},
    "gw1": {"ansible_host": "192.0.2.18"},
    "app1": {"ansible_host": "192.0.2.19"},
}
GROUPS: dict[str, list[str]] = {
    "zookeeper": ["zk1", "zk2", "zk3"],
    "clickhouse": ["ch1", "ch2"],
    "gateway": ["gw1"],
    "cluster_agent": ["gw1"],
    "grafana": ["gw1"],
    "node_agent": list(HOSTS),
    "application": ["app1"],
    "prometheus_agent": ["app1"],
}
SECRETS: Variables = {name: f"{name}-0123456789abcdef" for name in preflight.required_secrets(GROUPS)}


class Inventory:
    """Hosts with their variables, and groups; both may be changed before C(problems) is asked."""

    def __init__(self) -> None:
        self.hosts: dict[str, Variables] = {name: {**SECRETS, **copy.deepcopy(own)} for name, own in HOSTS.items()}
        self.groups: dict[str, list[str]] = copy.deepcopy(GROUPS)

    def set(self, hosts: str = "all", **values: Any) -> Inventory:
        """Set variables on hosts, named with spaces between, or on all."""
        for host in self.hosts if hosts == "all" else hosts.split():
            self.hosts[host].update(values)
        return self

    def drop(self, group: str) -> Inventory:
        """Empty a group."""
        self.groups[group] = []
        return self

    def add(self, name: str, groups: str, **values: Any) -> Inventory:
        """A further host."""
        self.hosts[name] = {**SECRETS, **values}
        for group in groups.split():
            self.groups.setdefault(group, []).append(name)
        return self

    def join(self, name: str, group: str, **values: Any) -> Inventory:
        """A host joins a group."""
        self.groups[group].append(name)
        return self.set(name, **values)

    def problems(self) -> list[str]:
        """What preflight says before any host is touched."""
        return preflight.inventory_problems(self.hosts, {"all": list(self.hosts), **self.groups})


def load(folder: Path, **more: Any) -> tuple[HostVars, dict[str, list[str]]]:
    """The C(hostvars) and C(groups) of an inventory folder, as ansible itself has them."""
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(folder)])
    variables = VariableManager(loader=loader, inventory=inventory)
    variables.extra_vars.update(more)
    return HostVars(inventory, variables, loader), inventory.get_groups_dict()
