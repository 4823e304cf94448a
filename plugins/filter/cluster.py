# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cluster's shape, from the identities that hosts have in the inventory."""

from __future__ import annotations

import typing as t

from ansible_collections.groundwork.observability.plugins.filter.addresses import host_address
from ansible_collections.groundwork.observability.plugins.plugin_utils._settings import setting

HostVars = t.Mapping[str, t.Mapping[str, t.Any]]
Groups = t.Mapping[str, t.Sequence[str]]


def cluster_shards(hostvars: HostVars, groups: Groups) -> list[dict[str, t.Any]]:
    """The shards as C(remote_servers) wants them, in order of shard and replica, whatever the inventory's order.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups); the hosts of C(clickhouse) are the cluster.
    """
    hosts = sorted(
        groups.get("clickhouse", []),
        key=lambda host: (int(hostvars[host]["clickhouse_shard"]), str(hostvars[host]["clickhouse_replica"])),
    )
    shards: dict[int, list[dict[str, t.Any]]] = {}
    for host in hosts:
        replica = {"host": host_address(host, hostvars), "port": int(setting(hostvars, host, "clickhouse_native_port")), "secure": 1}
        shards.setdefault(int(hostvars[host]["clickhouse_shard"]), []).append(replica)
    return [{"internal_replication": True, "replica": replicas} for replicas in shards.values()]


def ensemble_nodes(hostvars: HostVars, groups: Groups) -> list[dict[str, t.Any]]:
    """The ensemble's members as ClickHouse's C(zookeeper) section wants them, in order of their ids.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups); the hosts of C(zookeeper) are the ensemble.
    """
    hosts = sorted(groups.get("zookeeper", []), key=lambda host: int(hostvars[host]["zookeeper_id"]))
    return [
        {"host": host_address(host, hostvars), "port": int(setting(hostvars, host, "zookeeper_client_port")), "secure": 1}
        for host in hosts
    ]


def clickhouse_servers(hostvars: HostVars, groups: Groups) -> list[dict[str, t.Any]]:
    """Where ClickHouse's HTTPS interface is reached: C(name), C(host) and C(port) of each server, in the inventory's order.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups); the hosts of C(clickhouse) are the servers.
    """
    return [
        {"name": host, "host": host_address(host, hostvars), "port": int(setting(hostvars, host, "clickhouse_https_port"))}
        for host in groups.get("clickhouse", [])
    ]


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"clickhouse_servers": clickhouse_servers, "cluster_shards": cluster_shards, "ensemble_nodes": ensemble_nodes}
