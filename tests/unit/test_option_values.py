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

CHECKOUT = Path(__file__).parents[2]
ROLES = ("common", "zookeeper", "clickhouse", "otel_collector", "telemetry_schema", "grafana")
# Options with any value that their type allows, and who says what is wrong with it.
WITHOUT = {
    "otel_collector_config": "the collector's own validate, on the controller",
    "otel_collector_gateway_config": "the same",
    "otel_collector_node_agent_config": "the same",
    "otel_collector_cluster_agent_config": "the same",
    "otel_collector_prometheus_agent_config": "the same",
    "otel_collector_secret_config": "the same",
    "otel_collector_clickhouse_tls": "the same",
    "otel_collector_scrape_configs": "the same",
    "telemetry_schema_objects": "module clickhouse_schema, before its first change",
}
UNIT_LINE = "\nExecStartPre=/bin/true"
# Words of a constraint -> values outside of it. The first value of text is also tried with a line of a unit behind it.
BAD: dict[str, list[Any]] = {
    r"an integer from 1 to 255": [0, 256, -1, "1\n2", 1.5],
    r"an integer from .*": [-1, 10**16, "ten", True],
    r"a number from .*": [-0.1, 1.5, "half"],
    r"a port of the host|a port": [0, -1, 70000, "http", "80 80"],
    r"a duration from .*": ["30", "30 s", "1d", "0s", "-5s", "9999999h", "10s" + UNIT_LINE],
    r"a heap size": ["lots", "512", "1g -XX:OnOutOfMemoryError=reboot", "0g", "16m", "9999g", "1g" + UNIT_LINE],
    r"a folder of its own": [
        *("/", "/etc", "/etc/clickhouse", "/var", "/var/lib", "/usr/local/x", "/home/x", "/tmp/x", "/root"),
        *("/opt/grafana", "/var/lib/dpkg"),
        *("relative/path", "/data/../etc", "/data//x", "/data/ x", "/data/x/", "/data/%n", "/data/$HOME", "/data" + UNIT_LINE),
    ],
    r"an absolute path": ["java", "/usr/bin/java -version", "/usr/bin/../x", "/usr/bin/java" + UNIT_LINE],
    r"an absolute path with wildcards": ["var/log/*.log", "/var/log/${env:HOME}", "/var/log/x\ny", "/var/../etc/shadow"],
    r"a path on the controller": ["lock.yml", "/x/../lock.yml", "/x/lock.yml\n"],
    r"a folder on the controller": ["/", "/etc", "/usr/local", "cache", "/x/../y", "/x/y\nz"],
    r"a host name or IP address": [
        *("10.0.0.300", "a b", "https://x", "host:80", "-x", "[::1]", "x" * 300),
        "x\n[auth.anonymous]\nenabled = true",
    ],
    r"host:port": ["host", "host:0", ":4317", "::1:4317", "http://host:4317", "host:4317\n"],
    r"an http or https URL": [
        *("ftp://x", "mirror", "http://", "http://user:psst@x/", "http://x/?a=b", "http://x/ y", "http://x/../y", "file:///x"),
    ],
    r"a ClickHouse URL": ["host:9440", "tcp://", "tcp://u:p@h:9440", "mysql://h:1", "tcp://h:99999", "tcp://h:1,${env:X}:2"],
    r"an IP network": ["10.0.0.0/33", "10.0.0", "all", "10.0.0.0/8</ip>", "::/0\n"],
    r"a name": ["a'; DROP TABLE x", "", "a/b", "../a", "<b>", "a\nb", False, "x" * 64],
    r"an identifier": ["otel; DROP DATABASE x", "otel-2", "2otel", "o.t", "o`t", "o\nt", "o'", True],
    r"an end of an identifier": ["-local", "_local;", "_lo\ncal"],
    r"a user name": ["a b", "1a", "a<b>", "a:b", "a\nb", "a'b"],
    r"a group name": ["Adm", "a b", "adm" + UNIT_LINE, "-x"],
    r"a version": ["latest", "1/../../x", "v1.0", "1.0 ", "1.0\n", "1..0", False],
    r"a label": ["${env:HOME}", "a\nb", " a", "x" * 129, "a\"b"],
    r"a bearer token": ["short", "x" * 20 + "\n", "x" * 20 + " y", "\n" * 20, "x" * 15],
    r"a secret": ["short", "long enough\nbut two lines", " begins with a space", "tab\tulator"],
    r"settings of zoo.cfg": [
        *({"tickTime": "1\n4lw.commands.whitelist=*"}, {"a b": 1}, {"a\nb": 1}, {"tickTime": [1]}, {"x.y": "c:\\d"}, {"x": "y\\"}),
    ],
    r"settings of grafana.ini": [
        *({"server": "x"}, {"ser]ver": {}}, {"server": {"a = b\nc": 1}}, {"server": {"domain": "x\n[auth.anonymous]"}}),
        *({"users": {"login_hint": hint}} for hint in ("a # b", '"""a', "`a", None, [1])),
    ],
    r"server settings of ClickHouse|user settings of ClickHouse": [{"a b": 1}, {"max": "\x00"}, {"x": {"1<": 2}}, {"a": {"@b": [1]}}],
    r"a data source": [
        *({"name": "x"}, {"type": "x"}, {"name": "x", "type": "y", "acess": "proxy"}, {"name": "x", "type": "y", "access": "indirect"}),
        *({"name": "x", "type": "y", "jsonData": []}, {"name": "x", "type": "y", "uid": "a b"}, {"name": "x\ny", "type": "y"}),
    ],
}


def options() -> list[tuple[str, str, dict[str, Any]]]:
    """Every option that an inventory may set: role, name, specification."""
    return [(role, name, option) for role in ROLES for name, option in _options.role_options(role).items()]


def bad_values(words: str) -> list[Any]:
    """Values outside a constraint."""
    return next(values for pattern, values in BAD.items() if re.fullmatch(pattern, words))


def wrong_type(option: dict[str, Any]) -> Any:
    """A value that the option's type refuses."""
    return {"bool": "perhaps", "dict": "text", "list": {"a": 1}}.get(option["type"], ["a list"])


def refusals() -> list[tuple[str, str, Any]]:
    """Role, option and a value that has to be refused."""
    found: list[tuple[str, str, Any]] = []
    for role, name, option in options():
        found.append((role, name, wrong_type(option)))
        if "choices" in option:
            found.append((role, name, ["neither"] if option["type"] == "list" else "neither"))
        if not option.get("required"):
            found.append((role, name, None))
        constraint = _constraints.of_option(option)
        if constraint:
            values = [value for value in bad_values(constraint.words) if not (constraint.empty and value == "")]
            found += [(role, name, [value] if constraint.each else value) for value in values]
            found += [(role, name, [])] if constraint.nonempty else []
    nested: list[Any] = [{"host": "a b"}, {"port": 1}, {"h": 1}]
    nested += [{"host": "zk", **more} for more in ({"port": 0}, {"port": 70000}, {"secure": "x"})]
    return found + [("clickhouse", "clickhouse_zookeeper_hosts", [entry]) for entry in nested]


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


def test_the_inventory_that_is_made_wrong_is_right() -> None:
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
