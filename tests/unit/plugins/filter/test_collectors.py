# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collectors of one host."""

from __future__ import annotations

from typing import Any

from ansible_collections.groundwork.observability.plugins.filter import collectors, inventory, preflight
from ansible_collections.groundwork.observability.plugins.plugin_utils import _components

HOSTVARS: dict[str, dict[str, Any]] = {
    "gw1": {"ansible_host": "192.0.2.1", "otel_collector_gateway_metrics_port": 18888},
    "app1": {"ansible_host": "192.0.2.2"},
    "shop": {
        "ansible_host": "192.0.2.1",
        "otel_collector_mode": "gateway",
        "otel_collector_instance": "gateway_shop",
        "otel_collector_gateway_metrics_port": 28888,
        "otel_collector_gateway_relay_port": 28137,
    },
    "alone": {"ansible_host": "192.0.2.9", "otel_collector_mode": "node_agent", "otel_collector_instance": "node_agent_eu"},
}
GROUPS = {"all": list(HOSTVARS), "gateway": ["gw1"], "node_agent": ["gw1", "app1"], "collector_instance": ["shop", "alone"]}


def test_an_instance_runs_on_the_host_with_its_address() -> None:
    assert {name: collectors.collector_host(HOSTVARS, GROUPS, name) for name in HOSTVARS} == {
        "gw1": "gw1",
        "app1": "app1",
        "shop": "gw1",
        # No other host of the inventory.
        "alone": "alone",
    }


def test_a_node_agent_reads_all_collectors_of_its_host() -> None:
    """Each job is named after the unit, and has a target where the host has the collector."""
    here = {job["job_name"]: job["static_configs"] for job in collectors.collector_scrape_configs(HOSTVARS, GROUPS, "gw1")}
    assert {job: targets[0]["targets"] for job, targets in here.items() if targets} == {
        "otelcol-gateway": ["127.0.0.1:18888"],
        "otelcol-gateway-relay": ["127.0.0.1:13137"],
        "otelcol-node-agent": ["127.0.0.1:8889"],
        "otelcol-gateway-shop": ["127.0.0.1:28888"],
        "otelcol-gateway-shop-relay": ["127.0.0.1:28137"],
    }
    assert {target["labels"]["instance"] for targets in here.values() for target in targets} == {"gw1"}
    assert here["otelcol-cluster-agent"] == here["otelcol-prometheus-agent"] == []
    there = collectors.collector_scrape_configs(HOSTVARS, GROUPS, "app1")
    assert [job["job_name"] for job in there if job["static_configs"]] == ["otelcol-node-agent"]


def test_the_jobs_of_modes_have_the_names_of_their_accounts() -> None:
    """As the component declares them."""
    declared = {group["account"] for group in _components.components()["otel_collector"]["groups"].values()}
    jobs = {job["job_name"] for job in collectors.collector_scrape_configs(HOSTVARS, GROUPS, "app1")}
    assert declared == jobs - {"otelcol-gateway-relay"}


def test_instances_are_checked_with_the_program_and_are_no_hosts_of_their_own() -> None:
    chosen = preflight.distinct_collectors(HOSTVARS, GROUPS, list(HOSTVARS))
    assert {"mode": "gateway", "host": "shop"} in chosen and {"mode": "node_agent", "host": "alone"} in chosen
    assert {row["host"] for row in inventory.inventory_changes([], GROUPS)} == {"gw1", "app1"}
