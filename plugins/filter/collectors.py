# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters about the collectors that run on one host: the first of each mode, and those of group C(collector_instance)."""

from __future__ import annotations

import typing as t

from ansible_collections.groundwork.observability.plugins.filter.addresses import host_address
from ansible_collections.groundwork.observability.plugins.filter.topology import scrape_targets
from ansible_collections.groundwork.observability.plugins.plugin_utils._across import INSTANCES, MODES
from ansible_collections.groundwork.observability.plugins.plugin_utils._settings import setting

LOOPBACK = "127.0.0.1"


def collector_host(hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]], collector: str) -> str:
    """The name of the host that a collector runs on: that of an instance is the other host of the inventory with its address.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    :param collector: the collector's name in the inventory.
    :returns: the name; the collector's own where the inventory has no other host with its address.
    """
    instances = groups.get(INSTANCES, [])
    if collector not in instances:
        return collector
    address = host_address(collector, hostvars)
    same = (host for host in groups["all"] if host not in instances and host_address(host, hostvars) == address)
    return next(same, collector)


def collector_scrape_configs(
    hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]], host: str
) -> list[dict[str, t.Any]]:
    """The jobs of Prometheus with which a node agent reads the metrics of all collectors on its host.

    A job is named after the unit of the collector, an instance of it after the host. There is a job for each mode, also without targets.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    :param host: the node agent's name in the inventory.
    """
    jobs: dict[str, list[dict[str, t.Any]]] = {}
    for mode in MODES:
        here = [host] if host in groups.get(mode, []) else []
        for job, port in _endpoints(mode, mode):
            jobs[job] = scrape_targets(hostvars, here, port, address=LOOPBACK)
    for instance in sorted(groups.get(INSTANCES, [])):
        if instance != host and collector_host(hostvars, groups, instance) == host:
            mode = str(hostvars[instance]["otel_collector_mode"])
            for job, port in _endpoints(mode, str(hostvars[instance]["otel_collector_instance"])):
                jobs[job] = [{"targets": [f"{LOOPBACK}:{setting(hostvars, instance, port)}"], "labels": {"instance": host}}]
    return [{"job_name": job, "static_configs": targets} for job, targets in jobs.items()]


def _endpoints(mode: str, name: str) -> list[tuple[str, str]]:
    """The units of a collector that have metrics, each with the option that is its port."""
    unit = f"otelcol-{name.replace('_', '-')}"
    relay = [(f"{unit}-relay", "otel_collector_gateway_relay_port")] if mode == "gateway" else []
    return [(unit, f"otel_collector_{mode}_metrics_port"), *relay]


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"collector_host": collector_host, "collector_scrape_configs": collector_scrape_configs}
