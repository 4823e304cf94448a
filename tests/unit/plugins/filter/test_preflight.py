# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an inventory may not have, found without asking a host."""

from __future__ import annotations

import copy
import typing as t

import pytest
from ansible_collections.groundwork.observability.plugins.filter import preflight

GROUPS: dict[str, list[str]] = {
    "all": ["z1", "c1", "c2", "other"],
    "zookeeper": ["z1"],
    "clickhouse": ["c1", "c2"],
    "gateway": [],
}
SECRETS = {name: f"{name}-0123456789abcdef" for name in preflight.required_secrets(GROUPS)}
HOSTVARS: dict[str, dict[str, t.Any]] = {
    "z1": {**SECRETS, "zookeeper_id": 1},
    "c1": {**SECRETS, "clickhouse_shard": 1, "clickhouse_replica": "a"},
    "c2": {**SECRETS, "clickhouse_shard": 1, "clickhouse_replica": "b"},
    "other": {"my_own": 1, "otelx": 2},
}
ARTIFACTS = {
    name: {"version": "1.0", "archive": f"{name}-{{version}}.tgz"}
    for name in ("zookeeper", "clickhouse", "otelcol", "grafana", "grafana_clickhouse_datasource")
}


def problems(host: str = "", groups: dict[str, list[str]] | None = None, **values: t.Any) -> list[str]:
    hostvars = copy.deepcopy(HOSTVARS)
    if host:
        hostvars.setdefault(host, {}).update(values)
    return preflight.inventory_problems(hostvars, {**GROUPS, **(groups or {})})


def test_valid_inventory_has_no_problems() -> None:
    assert problems() == []


def test_required_secrets_follow_the_groups() -> None:
    assert preflight.required_secrets({"grafana": ["g1"]}) == sorted(
        name for name in preflight.required_secrets({**GROUPS, "grafana": ["g1"]}) if name.startswith(("grafana", "clickhouse_grafana"))
    )
    assert preflight.required_secrets({}) == []


def test_hosts_of_the_platform() -> None:
    """Those with a role, and further instances of collectors, in the order of the inventory."""
    groups = {**GROUPS, "all": ["other", "g2", "c2", "c1", "z1"], "collector_instance": ["g2"]}
    assert preflight.platform_hosts(groups) == ["g2", "c2", "c1", "z1"]
    # Where there are none, the play still says what the inventory lacks.
    assert preflight.platform_hosts({"all": ["other"], "zookeeper": []}) == ["all"]


def test_the_same_problem_of_several_hosts_is_one_line() -> None:
    hostvars = copy.deepcopy(HOSTVARS)
    for host in hostvars.values():
        host["zookeeper_heep"] = "1g"
    (line,) = preflight.inventory_problems(hostvars, GROUPS)
    assert line == "z1, c1, c2, other: zookeeper_heep is not a variable of this collection: did you mean zookeeper_heap?"


@pytest.mark.parametrize(
    ("host", "values", "expected"),
    [
        ("c1", {"clickhouse_shard": "x"}, "c1: argument 'clickhouse_shard' is of type"),
        ("z1", {"zookeeper_id": ""}, "z1: zookeeper_id is missing (role zookeeper): set it in the host's host_vars/"),
        ("z1", {"observability_tls_days": "many"}, "observability_tls_days"),
        ("other", {"grafana_prot": 3000}, "did you mean grafana_port?"),
    ],
)
def test_values(host: str, values: dict[str, t.Any], expected: str) -> None:
    assert [line for line in problems(host, **values) if expected in line], problems(host, **values)


def test_a_secret_is_not_repeated() -> None:
    lines = problems("c1", clickhouse_admin_password={"hush": "psst"})
    assert [line for line in lines if "clickhouse_admin_password" in line]
    assert "psst" not in str(lines)


@pytest.mark.parametrize(("size", "refused"), [(1, False), (2, True), (3, False), (4, True), (5, False)])
def test_ensembles(size: int, refused: bool) -> None:
    hosts = [f"z{number}" for number in range(1, size + 1)]
    hostvars = {**HOSTVARS, **{host: {**SECRETS, "zookeeper_id": number} for number, host in enumerate(hosts, 1)}}
    found = preflight.inventory_problems(hostvars, {**GROUPS, "all": [*hosts, "c1", "c2"], "zookeeper": hosts})
    assert bool(found) is refused, found


@pytest.mark.parametrize("shard", [1, "1"])
def test_identities_are_compared_as_text(shard: t.Any) -> None:
    assert [line for line in problems("c2", clickhouse_shard=shard, clickhouse_replica="a") if "are the same as of c1 (1, a)" in line]


def test_clickhouse_needs_an_ensemble() -> None:
    assert [line for line in problems(groups={"zookeeper": []}) if "clickhouse_zookeeper_hosts" in line]


def test_hosts_with_the_same_settings_are_checked_once() -> None:
    hosts = [f"h{number}" for number in range(6)]
    hostvars: dict[str, dict[str, t.Any]] = {host: {"otel_collector_config": {"a": 1}} for host in hosts}
    hostvars["h2"] = hostvars["h3"] = {"otel_collector_config": {"a": 2}}
    hostvars["h4"] = {"grafana_port": 3001}
    groups = {"node_agent": hosts, "gateway": ["h1"]}

    def chosen(limit: list[str]) -> list[tuple[str, str]]:
        return [(entry["mode"], entry["host"]) for entry in preflight.distinct_collectors(hostvars, groups, limit)]

    assert chosen(hosts) == [("gateway", "h1"), ("node_agent", "h0"), ("node_agent", "h2"), ("node_agent", "h4")]
    # With --limit, another host stands for the same settings.
    assert chosen(["h3", "h5"]) == [("node_agent", "h3"), ("node_agent", "h5")]
