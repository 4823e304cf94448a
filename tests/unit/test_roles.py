# GNU General Public License v3.0+ (see LICENSE)
"""Defaults, argument specifications and READMEs of the roles say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.groundwork.observability.plugins.filter.artifacts import DEFAULT_ARCH
from ansible_collections.groundwork.observability.plugins.plugin_utils import _components

from tests.readme_tables import BEGIN, ROLES, entry_points, rendered

ROLE_NAMES = sorted(path.name for path in ROLES.iterdir() if path.is_dir())


def defaults(role: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROLES / role / "defaults/main.yml").read_text()) or {}
    return values


def options(role: str) -> dict[str, Any]:
    return {name: option for entry in entry_points(role).values() for name, option in (entry.get("options") or {}).items()}


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_defaults_equal_specification(role: str) -> None:
    specified = {name: option["default"] for name, option in options(role).items() if "default" in option}
    given = defaults(role)
    if role == "common":  # users set observability_*, which the role reads as common_*
        settings = {name for name in given if f"observability_{name.removeprefix('common_')}" in options(role)}
        assert {name.replace("common_", "observability_", 1) for name in settings} == {
            name for name in options(role) if name.startswith("observability_")
        }
        given = {name: value for name, value in given.items() if name not in settings}
    assert given == {name: value for name, value in specified.items() if name in given}
    assert sorted(given) == sorted(specified)


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_required_options_have_no_default(role: str) -> None:
    required = {name for name, option in options(role).items() if option.get("required")}
    assert required.isdisjoint(defaults(role))


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_readme_has_the_table(role: str) -> None:
    readme = ROLES / role / "README.md"
    assert BEGIN in readme.read_text()
    assert readme.read_text() == rendered(role)


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_secrets_are_hidden(role: str) -> None:
    secret_words = ("password", "token", "secret")
    for name, option in options(role).items():
        if option["type"] in ("str", "list") and name.rsplit("_", 1)[-1].rstrip("s") in secret_words:
            assert option.get("no_log") is True, name


SERVICES = [role for role, component in _components.components().items() if "group" in component]
KEYS = {"group", "groups", "unit", "health", "former", "data_tasks", "reload", "archives", "paths", "patterns", "unchanged"}
KEYS |= {"account", "account_groups", "instances", "state_folder"}


@pytest.mark.parametrize("role", _components.components())
def test_component_refers_to_options_of_its_role(role: str) -> None:
    component, known = _components.components()[role], options(role)
    assert set(component) <= KEYS
    for declared in component["groups"].values():
        assert set(declared) <= {"account", "identity", "folders", "ports"}
        addresses = set(declared.get("ports", {}).values()) - {"", "127.0.0.1"}
        assert {*declared.get("identity", ()), *declared.get("folders", {}), *declared.get("ports", {}), *addresses} <= set(known)
        assert all(isinstance(size, int) for size in declared.get("folders", {}).values())
    for archive in component.get("archives", {}).values():
        assert {"source", "version_variable", "arch", "archive", "strip", "url", "checksum"} <= set(archive)
        assert archive["version_variable"] in known


@pytest.mark.parametrize("role", SERVICES)
def test_service_declares_the_keys_that_common_reads(role: str) -> None:
    component = _components.components()[role]
    assert component["group"] in component["groups"] or component["group"].startswith("{{ otel_collector_mode if ")
    assert component["unit"] and component["archives"]
    assert {"url", "seconds"} <= set(component["health"]) <= {"url", "seconds", "expect", "user", "password", "ca_path"}
    if "reload" in component:
        assert set(component["reload"]) == {"url", "body", "user", "password", "ca_path", "seconds", "stamp"}


def test_every_role_with_options_of_an_inventory_is_a_component() -> None:
    """Else preflight would not look at them."""
    assert set(_components.components()) == {role for role in ROLE_NAMES if role != "common" and "main" in entry_points(role)}


def test_the_table_of_archives() -> None:
    table = _components.archives()
    assert {"clickhouse", "grafana", "grafana_clickhouse_datasource", "otelcol", "zookeeper"} <= set(table)
    assert table["grafana_clickhouse_datasource"]["groups"] == ["grafana"]
    assert {"gateway", "node_agent"} <= set(table["otelcol"]["groups"])
    assert table["zookeeper"]["version"] == defaults("zookeeper")["zookeeper_version"]


def test_platform_has_one_default() -> None:
    assert f"default('{DEFAULT_ARCH}')" in defaults("common")["common_arch"]


def test_no_role_name_begins_with_another() -> None:
    """Else a prefix would not say which role owns a variable."""
    assert [(one, other) for one in ROLE_NAMES for other in ROLE_NAMES if one != other and other.startswith(f"{one}_")] == []


def test_roles_read_alike() -> None:
    files = {"main.yml", "preflight.yml", "install.yml", "configure.yml", "restart.yml"}
    for role in SERVICES:
        assert files <= {path.name for path in (ROLES / role / "tasks").iterdir()}, role
        assert Path(ROLES / role / "tasks/main.yml").read_text() == Path(ROLES / "zookeeper/tasks/main.yml").read_text(), role
