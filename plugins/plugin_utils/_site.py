# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private: what hosts of an inventory may not have together. May change at any time."""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import typing as t

from ansible_collections.groundwork.observability.plugins.plugin_utils import _components as components
from ansible_collections.groundwork.observability.plugins.plugin_utils._across import (
    AGENTS,
    INSTANCES,
    MODES,
    groups_of,
    listeners,
    overlap,
)
from ansible_collections.groundwork.observability.plugins.plugin_utils._options import GROUP_ROLES, Host

# Identity is explicit: never derived from the order of an inventory.
IDENTITIES: dict[str, tuple[str, ...]] = {group: declared["identity"] for group, declared in components.groups().items()}
# What all hosts of these groups have to agree on, and why.
SAME: tuple[tuple[tuple[str, ...], tuple[str, ...], str], ...] = (
    (("zookeeper",), ("zookeeper_quorum_port", "zookeeper_election_port"), "members of an ensemble reach each other at the same ports"),
    (("clickhouse",), ("clickhouse_cluster", "clickhouse_native_port"), "servers find each other by them"),
    (
        ("clickhouse",),
        ("clickhouse_cluster_secret", "clickhouse_interserver_password", "clickhouse_zookeeper_password"),
        "servers of a cluster prove it to each other",
    ),
    (
        ("clickhouse",),
        tuple(f"clickhouse_{purpose}_user" for purpose in ("admin", "ingest", "grafana", "monitor")),
        "others name it",
    ),
    (
        ("clickhouse",),
        ("clickhouse_admin_password",),
        "a user may be sent to any server",
    ),
    (("clickhouse", "gateway"), ("clickhouse_ingest_password",), "gateways log in with it"),
    (("clickhouse", "grafana"), ("clickhouse_grafana_password",), "Grafana logs in with it"),
    (("clickhouse", "cluster_agent"), ("clickhouse_monitor_password",), "the cluster agent logs in with it"),
    (("grafana", "cluster_agent"), ("grafana_metrics_password",), "the cluster agent asks Grafana for its metrics with it"),
    (
        ("grafana",),
        (
            *("grafana_secret_key", "grafana_admin_user", "grafana_admin_password"),
            *(f"grafana_database_{what}" for what in ("type", "host", "port", "name", "user", "password")),
        ),
        "servers of one database have the same users and secrets",
    ),
    (("clickhouse",), ("clickhouse_zookeeper_hosts",), "servers of a cluster use one ensemble"),
    (
        ("clickhouse",),
        (
            *("telemetry_schema_database", "telemetry_schema_cluster", "telemetry_schema_replicated", "telemetry_schema_objects"),
            *("telemetry_schema_retention", "telemetry_schema_storage_policy", "telemetry_schema_cold_volume"),
            *("telemetry_schema_deduplication_window", "telemetry_schema_deduplication_seconds", "telemetry_schema_min_free_disk_ratio"),
        ),
        "servers of a cluster have the same tables",
    ),
    (
        ("clickhouse",),
        tuple(f"product_data_{what}" for what in ("database", "sources", "passwords", "snapshots", "dictionaries")),
        "each server has the same snapshots",
    ),
    (("gateway", *AGENTS), ("otel_collector_gateway_token",), "agents present it to gateways"),
    (("cluster_agent",), ("otel_collector_cluster_agent_active",), "one of them is active"),
    (("gateway",), ("otel_collector_gateway_grpc_port", "otel_collector_gateway_tokens"), "an agent sends to several gateways"),
    (
        ("gateway",),
        ("otel_collector_clickhouse_endpoint", "otel_collector_clickhouse_database", "otel_collector_clickhouse_table_suffix"),
        "gateways share one destination",
    ),
    (
        tuple(GROUP_ROLES),
        ("observability_mirror", "observability_lock_file", "observability_cache_dir", "observability_pki_dir"),
        "the controller has one",
    ),
)


@dataclasses.dataclass(frozen=True)
class Site:
    """The hosts of an inventory that have a role, by group."""

    members: t.Mapping[str, t.Sequence[Host]]
    groups: t.Mapping[str, t.Sequence[str]]
    # Further collectors, each with the address of the host that it runs on.
    instances: t.Sequence[Host] = ()

    @property
    def hosts(self) -> list[Host]:
        """Each host once, in the order of the groups."""
        return list({host.name: host for hosts in self.members.values() for host in hosts}.values())


def site_problems(site: Site) -> list[str]:
    """What is wrong between hosts, one line each."""
    checks = (_identities, _instances, _ensemble, _grafanas, _groups, _addresses, _reachable, _networks, _disagreements)
    return [problem for check in checks for problem in check(site)]


def _identities(site: Site) -> list[str]:
    return [line for group, names in IDENTITIES.items() if names for line in _duplicates(site.members[group], names)]


def _duplicates(hosts: t.Sequence[Host], names: tuple[str, ...]) -> list[str]:
    seen: dict[tuple[str, ...], str] = {}
    found = []
    for host in hosts:
        if not all(host.has(name) for name in names):
            continue
        identity = tuple(host.text(name) for name in names)
        if identity in seen:
            found.append(
                f"{' and '.join(names)} of {host.name} {'is' if len(names) == 1 else 'are'} the same as of {seen[identity]} "
                f"({', '.join(identity)}): give each host its own, in host_vars/{host.name}.yml or in the hosts file"
            )
        seen.setdefault(identity, host.name)
    return found


def _instances(site: Site) -> list[str]:
    """Further collectors that lack a mode or a name, or that share a name or a port with what runs on the same host."""
    further = {host.name for host in site.instances}
    found = [
        f"{host.name}: otel_collector_instance is set, and the host is not in group {INSTANCES}: put it there, or take the variable out"
        for host in site.hosts
        if host.has("otel_collector_instance") and host.name not in further
    ]
    beside: dict[str, list[Host]] = {}
    for host in site.hosts:
        if host.name not in further:
            beside.setdefault(host.address, []).append(host)
    for host in site.instances:
        mode, name = host.text("otel_collector_mode"), host.text("otel_collector_instance")
        others = beside.setdefault(host.address, [])
        both = [group for group in GROUP_ROLES if host.name in site.groups.get(group, [])]
        if both:
            found.append(f"{host.name} is in group {INSTANCES} and in {', '.join(both)}: leave it in {INSTANCES} only")
        elif mode not in MODES:
            found.append(f"{host.name} is in group {INSTANCES}, and its otel_collector_mode is not one of {', '.join(MODES)}: set it")
        elif not name.startswith(f"{mode}_"):
            found.append(f"{host.name}: otel_collector_instance ({name or 'not set'}) has to begin with {mode}_, such as {mode}_second")
        else:
            found += [line for other in others for line in _collisions(host, other, site)]
        others.append(host)
    return found


def _collisions(instance: Host, other: Host, site: Site) -> list[str]:
    """What an instance has in common with another host of the inventory that is the same machine."""
    both = f"{instance.name} and {other.name}, which are the host {instance.address}"
    found = []
    if instance.text("otel_collector_instance") == other.text("otel_collector_instance"):
        found.append(f"otel_collector_instance is {instance.text('otel_collector_instance')} for {both}: give each a name of its own")
    if instance.text("otel_collector_version") != other.text("otel_collector_version"):
        found.append(f"otel_collector_version differs between {both}: set the same for both")
    for one in listeners(instance, groups_of(instance, site.groups)):
        for another in listeners(other, groups_of(other, site.groups)):
            if one.port == another.port and overlap(one.address, another.address):
                found.append(
                    f"{one.option} of {instance.name} and {another.option} of {other.name} are both {one.port}, on the host "
                    f"{instance.address}: give {instance.name} a port of its own"
                )
    return found


def _ensemble(site: Site) -> list[str]:
    found = []
    size = len(site.members["zookeeper"])
    if size and size % 2 == 0:
        found.append(
            f"group zookeeper has {size} hosts: an even ensemble survives no more failures than one with {size - 1}; "
            "use 1, 3 or 5 (zookeeper_id and the group are in the hosts file)"
        )
    servers = site.members["clickhouse"]
    external = [host.name for host in servers if host.value("clickhouse_zookeeper_hosts")]
    if servers and not size and not external:
        found.append("group zookeeper is empty: fill it, or set clickhouse_zookeeper_hosts to an ensemble that is there already")
    if size and external:
        found.append(
            f"{', '.join(external)}: clickhouse_zookeeper_hosts names another ensemble than group zookeeper, and only one can be used: "
            "empty the group, or take the variable out"
        )
    return found


def _grafanas(site: Site) -> list[str]:
    hosts = site.members["grafana"]
    files = [host.name for host in hosts if host.text("grafana_database_type") == "sqlite3"]
    if len(hosts) < 2 or not files:
        return []
    return [
        f"group grafana has {len(hosts)} hosts, and grafana_database_type of {', '.join(files)} is sqlite3, a file of one host: "
        "set grafana_database_type to postgres or mysql, with grafana_database_host, in group_vars/grafana.yml, or leave one host in "
        "the group"
    ]


def _groups(site: Site) -> list[str]:
    """A group whose name is nearly one of ours, with hosts that are not in that one."""
    found = []
    for group, hosts in site.groups.items():
        if group in (*GROUP_ROLES, INSTANCES):
            continue
        name = group.lower().replace("-", "_")
        for close in difflib.get_close_matches(name, (*GROUP_ROLES, INSTANCES), n=1, cutoff=0.8):
            outside = [host for host in hosts if host not in site.groups.get(close, [])]
            # clickhouse_old is a name of its own, clickhouses is not.
            if outside and not (close in name and len(name) > len(close) + 1):
                found.append(f"group {group} ({', '.join(outside)}) is none of the collection's: did you mean {close}?")
    return found


def _addresses(site: Site) -> list[str]:
    seen: dict[str, str] = {}
    found = []
    for host in site.hosts:
        if host.address in seen:
            found.append(
                f"{host.name} and {seen[host.address]} have the same address {host.address}: "
                "set ansible_host or observability_address of each"
            )
        seen.setdefault(host.address, host.name)
    return found


def is_loopback(address: str) -> bool:
    """Whether only the host itself reaches this address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _reachable(site: Site) -> list[str]:
    """Addresses that only the host itself reaches, where others have to."""
    hosts = site.hosts
    if len(hosts) < 2:
        return []
    found = [
        f"{host.name}: its address {host.address} is loopback, which other hosts cannot reach: set observability_address"
        for host in hosts
        if is_loopback(host.address)
    ]
    agents = {host.name for group in AGENTS for host in site.members[group] if not host.has("otel_collector_gateway_endpoint")}
    watchers = {host.name for host in site.members["cluster_agent"]}
    needs = (
        ("gateway", "otel_collector_gateway_listen_address", agents, "agents"),
        ("zookeeper", "zookeeper_metrics_address", watchers, "the cluster agent"),
        ("clickhouse", "clickhouse_listen", {host.name for host in site.members["clickhouse"]}, "the other servers"),
    )
    for group, name, others, who in needs:
        for host in site.members[group]:
            value = host.value(name) if name in host.given else ""
            listens = value if isinstance(value, list) else [value]
            if others - {host.name} and listens and all(is_loopback(str(address)) for address in listens):
                found.append(f"{host.name}: {name} is loopback, where {who} on other hosts cannot reach it")
    return found


def _networks(site: Site) -> list[str]:
    """Hosts that log in to ClickHouse from an address that it does not let in."""
    clients: dict[str, str] = {}
    for group in ("clickhouse", "gateway", "grafana", "cluster_agent"):
        clients.update({host.name: host.address for host in site.members[group]})
    clients.update({host.name: host.address for host in site.instances if host.text("otel_collector_mode") in ("gateway", "cluster_agent")})
    problems: dict[str, list[str]] = {}
    for host in site.members["clickhouse"]:
        networks = _parsed(host.value("clickhouse_networks"))
        if not networks:
            continue
        if not any(_inside("127.0.0.1", network) for network in networks):
            problems.setdefault("127.0.0.1, from which the role asks for the server's health", []).append(host.name)
        for name, address in clients.items():
            if not any(_inside(address, network) for network in networks):
                problems.setdefault(f"{address} of {name}", []).append(host.name)
    return [f"{', '.join(names)}: clickhouse_networks does not let in {client}" for client, names in problems.items()]


_Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


def _parsed(values: t.Any) -> list[_Network]:
    try:
        return [ipaddress.ip_network(str(value), strict=False) for value in values or []]
    except (TypeError, ValueError):
        return []


def _inside(address: str, network: _Network) -> bool:
    """Whether an address is in a network; a name may be anywhere, and ::/0 has IPv4 in it, as in ClickHouse."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return True
    if parsed.version == 4 and network.version == 6:
        return ipaddress.IPv6Address(f"::ffff:{address}") in network
    return parsed in network


def _disagreements(site: Site) -> list[str]:
    found = []
    for groups, names, why in SAME:
        hosts = list({host.name: host for group in groups for host in site.members[group]}.values())
        for name in names:
            first: dict[str, str] = {}
            # Nobody's own value is the default, which is the same for all.
            for host in hosts if any(name in host.given for host in hosts) else []:
                first.setdefault(repr(host.value(name)), host.name)
            if len(first) > 1:
                one, other = list(first.values())[:2]
                found.append(f"{name} differs between {one} and {other}, and has to be the same: {why}. Set it once, in group_vars/")
    return found
