# GNU General Public License v3.0+ (see LICENSE)
"""Every port, database and user is written down once: in the defaults of the role that owns it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible.errors import AnsibleError
from ansible_collections.groundwork.observability.plugins.plugin_utils import _settings

from tests.testbed.demo import CHECKOUT, role_defaults

READERS = sorted(
    path
    for pattern in (
        *("roles/*/defaults/*.yml", "roles/*/tasks/*.yml", "roles/*/vars/**/*.yml", "roles/*/templates/*", "roles/*/files/**/*"),
        *("playbooks/*.yml", "inventories/**/*.yml", "plugins/filter/*.py", "examples/app/*.yml", "examples/app/templates/*"),
        *("tests/testbed/demo.py", "molecule/**/*.py"),
    )
    for path in CHECKOUT.glob(pattern)
    if path.is_file()
)
ASKED = re.compile(r"'groundwork\.observability\.setting', '(\w+)'|setting\(\w+, \w+, \"(\w+)\"\)|scrape_targets\(.*?'(\w+_port)'")
PORTS = {str(value): name for name, value in role_defaults().items() if name.endswith("_port") and isinstance(value, int)}


def without_comments(path: Path) -> str:
    return "\n".join(line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#"))


@pytest.mark.parametrize("path", READERS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_no_literal_of_another_owner(path: Path) -> None:
    """Neither a port nor the database's name. An owner's own line is `name: value`."""
    text = without_comments(path)
    if "defaults" in path.parts:
        text = "\n".join(line for line in text.splitlines() if not re.fullmatch(r"\w+_(port|database|cluster): \w+", line))
    assert [number for number in re.findall(r"(?<![\w.])\d{4,5}(?![\w.])", text) if number in PORTS] == []
    assert re.findall(r"\botel\.\w+_?", text) == []


def test_every_referenced_option_has_an_owner() -> None:
    asked = {name for path in READERS for found in ASKED.findall(path.read_text(encoding="utf-8")) for name in found if name}
    assert {"clickhouse_https_port", "clickhouse_native_port", "zookeeper_client_port", "telemetry_schema_database"} <= asked
    for name in asked:
        assert _settings.default(name) not in (None, ""), name


def test_the_inventory_wins() -> None:
    hostvars = {"ch1": {"clickhouse_https_port": 8444}, "ch2": {}}
    assert _settings.setting(hostvars, "ch1", "clickhouse_https_port") == 8444
    assert _settings.setting(hostvars, "ch2", "clickhouse_https_port") == 8443


@pytest.mark.parametrize("name", ["clickhouse_data_folder", "shop_port", "grafana_clickhouse_port"])
def test_option_without_an_owner_is_an_error(name: str) -> None:
    with pytest.raises(AnsibleError, match=name):
        _settings.default(name)
