# GNU General Public License v3.0+ (see LICENSE)
"""Every option of every role: values outside its constraint are refused by name, its default and the documented examples are accepted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.groundwork.observability.plugins.filter import preflight
from ansible_collections.groundwork.observability.plugins.plugin_utils import _constraints, _options

from tests.support.inventory import SECRETS, Inventory, load
from tests.support.wrong_values import ROLES, options, refusals

CHECKOUT = Path(__file__).parents[2]
# Options with any value that their type allows, and who says what is wrong with it.
WITHOUT = {
    "otel_collector_config": "the collector's own validate, on the controller",
    "otel_collector_gateway_config": "the same",
    "otel_collector_node_agent_config": "the same",
    "otel_collector_cluster_agent_config": "the same",
    "otel_collector_prometheus_agent_config": "the same",
    "otel_collector_gateway_additions": "the same",
    "otel_collector_node_agent_additions": "the same",
    "otel_collector_cluster_agent_additions": "the same",
    "otel_collector_prometheus_agent_additions": "the same",
    "otel_collector_secret_config": "the same",
    "otel_collector_clickhouse_tls": "the same",
    "otel_collector_gateway_tail_sampling": "the same",
    "otel_collector_gateway_span_metrics": "the same",
    "telemetry_schema_objects": "module clickhouse_schema, before its first change",
}

REFUSALS = refusals()


def test_there_are_refusals_for_every_option() -> None:
    assert {name for _, name, _ in REFUSALS} == {name for _, name, _ in options()}
    assert len(REFUSALS) >= 150


def test_every_option_is_constrained_or_deliberately_is_not() -> None:
    free = {
        name
        for _, name, option in options()
        if not _constraints.of_option(option) and option["type"] != "bool" and "choices" not in option and "options" not in option
    }
    assert free == set(WITHOUT)


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_constraints_are_where_both_belong(role: str) -> None:
    for name, option in _options.role_options(role).items():
        lines = option["description"] if isinstance(option["description"], list) else [option["description"]]
        stated = [line for line in lines if re.search(r"\bmust be\b", line, re.IGNORECASE)]
        assert len(stated) <= 1, name
        assert [_constraints.parse(line) for line in stated] == ([_constraints.of_option(option)] if stated else []), name


@pytest.mark.parametrize(("role", "name", "value"), REFUSALS, ids=[f"{name}-{value!r}"[:80] for _, name, value in REFUSALS])
def test_a_value_outside_is_refused_by_name(role: str, name: str, value: Any) -> None:
    found = [line for line in Inventory().set(**{name: value}).problems() if re.search(rf"\b{name}\b", line) and f"(role {role})" in line]
    assert found, f"{name}: {value!r} is accepted"
    option = _options.role_options(role)[name]
    if option.get("no_log") and isinstance(value, str) and value.strip():
        assert value not in str(found)


def test_unmodified_inventory_is_accepted() -> None:
    assert Inventory().problems() == []


@pytest.mark.parametrize(("role", "name", "option"), options(), ids=[f"{role}-{name}" for role, name, _ in options()])
def test_the_default_is_accepted(role: str, name: str, option: dict[str, Any]) -> None:
    inventory = Inventory().set(common_inventory_dir="/srv/inventory")
    host = _options.Host("gw1", inventory.hosts, {"all": list(inventory.hosts), **inventory.groups})
    own = name.replace("observability_", "common_") if role == "common" else name
    value = host.value(own)
    if not option.get("required") and "default" in option:
        assert value is not None, f"the default of {name} is not resolved"
    if value is not None:
        assert _constraints.value_problems(name, option, value) == []


def readme_examples() -> list[tuple[str, dict[str, Any]]]:
    """The variables of each YAML block in a README."""
    found = []
    for path in [CHECKOUT / "README.md", *sorted(CHECKOUT.glob("roles/*/README.md"))]:
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)):
            loaded = yaml.safe_load(block)
            if isinstance(loaded, dict):
                found.append((f"{path.parent.name}-{number}", loaded))
    return found


@pytest.mark.parametrize(("where", "variables"), readme_examples(), ids=[where for where, _ in readme_examples()])
def test_examples_of_readmes_are_accepted(where: str, variables: dict[str, Any]) -> None:
    assert Inventory().set(**variables).problems() == [], where


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in (CHECKOUT / "inventories").glob("*/hosts.yml")))
def test_example_inventories_are_accepted(folder: str) -> None:
    assert preflight.inventory_problems(*load(CHECKOUT / "inventories" / folder, **SECRETS)) == []


@pytest.mark.parametrize(
    ("value", "refused"),
    [
        ("{{ zookeeper_client_port }}", False),  # a role's default
        ("{{ zookeeper_client_port + 70000 }}", True),
        ("{{ ansible_host }}", True),
        ("{{ no_such_variable }}", False),  # left to whoever sets it
    ],
)
def test_templates_are_resolved(tmp_path: Path, value: str, refused: bool) -> None:
    own = {"ansible_host": "c.example.com", "clickhouse_https_port": value}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": {"clickhouse": {"hosts": {"c1": own}}}}}))
    found = preflight.inventory_problems(*load(tmp_path, **SECRETS, clickhouse_shard=1, clickhouse_replica="a"))
    assert bool([line for line in found if "clickhouse_https_port:" in line or "'clickhouse_https_port'" in line]) is refused, found
