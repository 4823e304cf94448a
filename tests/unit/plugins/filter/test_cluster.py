# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cluster's shape follows from identities, never from the order of an inventory."""

from __future__ import annotations

import random
import typing as t

import pytest
from ansible_collections.groundwork.observability.plugins.filter import addresses, cluster

HOSTVARS: dict[str, dict[str, t.Any]] = {
    "c1": {"clickhouse_shard": 2, "clickhouse_replica": "a", "ansible_host": "192.0.2.3"},
    "c2": {"clickhouse_shard": 1, "clickhouse_replica": "b", "ansible_host": "192.0.2.2", "observability_address": "ch2.example.com"},
    "c3": {"clickhouse_shard": "1", "clickhouse_replica": "a"},
    "c4": {"clickhouse_shard": 10, "clickhouse_replica": "a", "ansible_host": "192.0.2.4"},
    "z1": {"zookeeper_id": 10, "ansible_host": "192.0.2.11"},
    "z2": {"zookeeper_id": 9, "zookeeper_client_port": 3281},
}


@pytest.mark.parametrize(("host", "address"), [("c1", "192.0.2.3"), ("c2", "ch2.example.com"), ("c3", "c3")])
def test_addresses(host: str, address: str) -> None:
    assert addresses.host_address(host, HOSTVARS) == address


def test_servers_by_https() -> None:
    hostvars = {**HOSTVARS, "c3": {**HOSTVARS["c3"], "clickhouse_https_port": 8444}}
    assert cluster.clickhouse_servers(hostvars, {"clickhouse": ["c1", "c3"]}) == [
        {"name": "c1", "host": "192.0.2.3", "port": 8443},
        {"name": "c3", "host": "c3", "port": 8444},
    ]


def test_shards_in_order_of_identity() -> None:
    hosts = ["c1", "c2", "c3", "c4"]
    for seed in range(5):
        random.Random(seed).shuffle(hosts)
        shards = cluster.cluster_shards(HOSTVARS, {"clickhouse": hosts})
        assert [[replica["host"] for replica in shard["replica"]] for shard in shards] == [
            ["c3", "ch2.example.com"],
            ["192.0.2.3"],
            ["192.0.2.4"],
        ]
        assert all(shard["internal_replication"] is True for shard in shards)
        assert {(replica["port"], replica["secure"]) for shard in shards for replica in shard["replica"]} == {(9440, 1)}


def test_each_replica_has_its_own_port() -> None:
    hostvars = {**HOSTVARS, "c1": {**HOSTVARS["c1"], "clickhouse_native_port": 9441}}
    shards = cluster.cluster_shards(hostvars, {"clickhouse": ["c1", "c3"]})
    assert [replica["port"] for shard in shards for replica in shard["replica"]] == [9440, 9441]


def test_members_in_order_of_identity() -> None:
    assert cluster.ensemble_nodes(HOSTVARS, {"zookeeper": ["z1", "z2"]}) == [
        {"host": "z2", "port": 3281, "secure": 1},
        {"host": "192.0.2.11", "port": 2281, "secure": 1},
    ]


def test_no_hosts() -> None:
    assert cluster.cluster_shards({}, {}) == []
    assert cluster.ensemble_nodes({}, {}) == []
