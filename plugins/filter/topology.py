# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that derive who talks to whom from the inventory, and what a collector's configuration needs."""

from __future__ import annotations

import hashlib
import re
import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.groundwork.observability.plugins.filter.addresses import host_address
from ansible_collections.groundwork.observability.plugins.plugin_utils._settings import setting

EVERY_ADDRESS = ("", "0.0.0.0", "::")
KINDS = ("receivers", "processors", "exporters", "connectors", "extensions")
VALID_VALUES = re.compile(r"'(\w+)' unknown type: \"no_such\".*?\(valid values: \[([^\]]*)\]\)")


def address_of(hostvars: t.Mapping[str, t.Any], host: str) -> str:
    """How other hosts reach C(host), fit for a URL."""
    address = host_address(host, hostvars)
    return f"[{address}]" if ":" in address else address


def _identity(hostvars: t.Mapping[str, t.Any], host: str) -> tuple[int, str]:
    names = ("clickhouse_shard", "clickhouse_replica")
    missing = [name for name in names if name not in hostvars[host]]
    if missing:
        raise AnsibleFilterError(f"{' and '.join(missing)} of {host} must be set: identity is never derived from the order of an inventory")
    return int(hostvars[host][names[0]]), str(hostvars[host][names[1]])


def clickhouse_write_target(hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]], gateway: str) -> dict[str, t.Any]:
    """Where one gateway writes.

    With a multiple of the number of shards as gateways, each writes the local tables of one shard: a retried block
    then always meets the replicas that hold its hash. Otherwise all write the Distributed tables through whichever
    host answers first.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    :param gateway: the gateway's name in the inventory.
    """
    hosts = sorted(groups.get("clickhouse", []), key=lambda host: _identity(hostvars, host))
    gateways = sorted(groups.get("gateway", []))
    shards = sorted({_identity(hostvars, host)[0] for host in hosts})
    if not hosts or gateway not in gateways:
        raise AnsibleFilterError(
            f"{gateway} has no ClickHouse to write to: group clickhouse is empty, or {gateway} is not in group gateway"
        )
    number = gateways.index(gateway)
    affine = len(gateways) % len(shards) == 0
    shard = shards[number % len(shards)] if affine else None
    if affine:
        hosts = [host for host in hosts if _identity(hostvars, host)[0] == shard]
    # The first host that answers is used, so gateways of the same hosts begin with different ones.
    first = (number // len(shards) if affine else number) % len(hosts)
    hosts = hosts[first:] + hosts[:first]
    addresses = [f"{address_of(hostvars, host)}:{setting(hostvars, host, 'clickhouse_native_port')}" for host in hosts]
    return {
        "endpoint": f"tcp://{','.join(addresses)}?secure=true",
        "table_suffix": "_local" if affine else "",
        "distributed": not affine,
        "hosts": hosts,
        "shard": shard,
    }


def gateway_for(hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]], host: str) -> dict[str, str]:
    """The gateway that a host's collectors send to, by rendezvous hashing: a further one takes over only its own part.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    :param host: the sending host's name in the inventory.
    """
    gateways = groups.get("gateway", [])
    if not gateways:
        raise AnsibleFilterError(f"{host} has no gateway to send to: group gateway is empty")
    chosen = max(gateways, key=lambda gateway: hashlib.sha256(f"{host} {gateway}".encode()).digest())
    port = setting(hostvars, chosen, "otel_collector_gateway_grpc_port")
    return {"name": chosen, "endpoint": f"{address_of(hostvars, chosen)}:{port}"}


def scrape_targets(
    hostvars: t.Mapping[str, t.Any], hosts: t.Iterable[str], port: str, listen: str = "", address: str = ""
) -> list[dict[str, t.Any]]:
    """The C(static_configs) of a Prometheus job; each target's instance is the host's name in the inventory.

    :param hostvars: ansible's C(hostvars).
    :param hosts: names of the hosts to scrape.
    :param port: the option that is the port.
    :param listen: the option that is the address listened on. A host where it is not set, or is all addresses, is scraped at the address
        that other hosts reach it at.
    :param address: scrape this address instead.
    """

    def reached(host: str) -> str:
        own = str(hostvars[host].get(listen) or "")
        return address_of(hostvars, host) if own in EVERY_ADDRESS else f"[{own}]" if ":" in own else own

    return [
        {
            "targets": [f"{address or reached(host)}:{setting(hostvars, host, port)}"],
            "labels": {"instance": host},
        }
        for host in sorted(hosts)
    ]


def collector_missing_components(config: t.Mapping[str, t.Any], said: str) -> list[str]:
    """What a collector's configuration uses but its program does not have, such as V(receivers: zookeeper).

    The list that C(components) prints leaves out those with two names (seen with 0.149.0), so the program is asked by
    a configuration that it refuses.

    :param config: the whole configuration.
    :param said: what C(validate) said about a configuration with a component C(no_such) of each kind.
    """
    available = {kind: set(names.split()) for kind, names in VALID_VALUES.findall(said)}
    if not available:
        raise AnsibleFilterError(f"the collector does not tell its components: {said.strip()[-500:]}")
    return [
        f"{kind}: {component}"
        for kind in KINDS
        for component in sorted({name.split("/", 1)[0] for name in config.get(kind) or {}} - available.get(kind, set()))
    ]


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "clickhouse_write_target": clickhouse_write_target,
            "collector_missing_components": collector_missing_components,
            "gateway_for": gateway_for,
            "scrape_targets": scrape_targets,
        }
