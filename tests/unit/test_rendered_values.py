# GNU General Public License v3.0+ (see LICENSE)
"""No value that a text option accepts adds a line, a setting, an element or a statement to a unit, an ini file, XML, YAML or SQL.

Each example gives every text option a value at once, renders what the roles write, parses it back and compares its shape with that of right
values.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.groundwork.observability.plugins.plugin_utils import _components, _constraints, _options
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.support.inventory import Inventory

ROLES = Path(__file__).parents[2] / "roles"
SERVICES = tuple(_components.components())
HOST = "gw1"
# Each takes a second or two. `make soak` asks for more.
EXAMPLES = int(os.environ.get("GROUNDWORK_RENDERED", "8"))
# A right value of each kind of text.
SAMPLES = {
    "a folder of its own": "/srv/data",
    "an absolute path": "/usr/lib/jvm/java",
    "an absolute path with wildcards": "/var/log/*.log",
    "a path on the controller": "/srv/inventory/my file",
    "a folder on the controller": "/srv/inventory/pki",
    "a heap size": "2g",
    "a host name or IP address": "host.example.com",
    "host:port": "gw.example.com:4317",
    "an http or https URL": "https://mirror.example.com/x",
    "an https URL": "https://login.example.com/x",
    "a mail address": "grafana@example.com",
    "an OAuth scope": "openid",
    "a JMESPath expression": "contains(groups[*], 'admin') && 'Admin' || 'Viewer'",
    "a ClickHouse URL": "tcp://ch.example.com:9440?secure=true",
    "an IP network": "10.0.0.0/8",
    "a name": "replica-1",
    "an identifier": "telemetry",
    "an end of an identifier": "_local",
    "a collector instance": "gateway_shop",
    "a user name": "reader",
    "a group name": "systemd-journal",
    "a version": "12.3.4",
    "a label": "EU production",
    "a bearer token": "0123456789abcdef~+/=",
    "a secret": "pass 'word' \"x\" <b> & $1 {c} \\ %d #;`",
    "a duration from 1s to 1h": "45s",
    "a duration from 1m to 438000h": "48h",
}
HOSTILE = (
    *("\n", "\r", "\r\n", "\t", "\x00", "\x0b", "\x0c", "\x1b", "\x85", "\u2028", "\u2029"),
    *("\ud7ff", "é", " ", "'", '"', "`", "\\", "$", "%n"),
    *("\nExecStart=/bin/sh", "\n[section]", "\nkey = value", "<b/>", "]]>", "&x;", "--", "/*", "*/", ";"),
    *("; DROP TABLE x", "#", "=", "{", "}", "{{ x }}"),
    *("${env:HOME}", "$__file{/etc/shadow}", "..", "/", "//", ":", "@", ",", "-Xmx9g", " -x", "!", "&", "*", "|", ">", "? ", "- ", ": "),
)


def text_options() -> dict[str, tuple[dict[str, Any], _constraints.Constraint]]:
    """Every option whose value is text, or a list of texts."""
    found = {}
    for role in SERVICES:
        for name, option in _options.role_options(role).items():
            constraint = _constraints.of_option(option)
            if constraint and constraint.words in SAMPLES:
                found[name] = (option, constraint)
    return found


OPTIONS = text_options()


def sample(name: str) -> str:
    """A right value of an option. Users have different names: they are elements of one file."""
    return name if name.startswith("clickhouse_") and name.endswith("_user") else SAMPLES[OPTIONS[name][1].words]


@st.composite
def accepted_values(draw: st.DrawFn) -> dict[str, Any]:
    """A value for every text option: a right one with something hostile in it where that is accepted, else the right one."""
    values = {}
    for name, (option, _) in OPTIONS.items():
        right = sample(name)
        place = draw(st.integers(0, len(right)))
        inserted = draw(st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=3)))
        for value in (right[:place] + inserted + right[place:], right):
            tried = [value] if option["type"] == "list" else value
            if not _constraints.value_problems(name, option, tried):
                values[name] = tried
                break
    return values


def variables() -> dict[str, Any]:
    """What a role sees, apart from the values under test."""
    loader = DataLoader()
    known: dict[str, Any] = {}
    for role in ROLES.iterdir():
        for path in [role / "defaults/main.yml", *(role / "vars/main").glob("*.yml")]:
            if path.exists():
                known |= loader.load_from_file(str(path), trusted_as_template=True)
    inventory = Inventory()
    pem = {f"common_tls_{what}": "PEM" for what in ("ca", "certificate", "key")}
    magic = {"inventory_hostname": HOST, "groups": {"all": list(inventory.hosts), **inventory.groups}, "hostvars": inventory.hosts}
    own = {"common_inventory_dir": "/srv/inventory", "role_path": str(ROLES / "clickhouse"), "ansible_managed": "Ansible managed"}
    identity = {"zookeeper_id": 1, "clickhouse_shard": 1, "clickhouse_replica": "a", "otel_collector_grafana_metrics_password": "12345678"}
    return {**known, **inventory.hosts[HOST], **pem, **magic, **own, **identity}


BASE = variables()
XML = "| groundwork.observability.to_clickhouse_xml(common_managed)"


def documents(values: dict[str, Any]) -> dict[str, str]:
    """Everything that the roles write, by name."""
    given = {**BASE, **values}
    # Other hosts have the same values.
    given["hostvars"] = {host: {**own, **values} for host, own in BASE["hostvars"].items()}
    made: dict[str, str] = {}

    def render(name: str, text: str, **more: Any) -> None:
        made[name] = str(Templar(loader=DataLoader(), variables={**given, **more}).template(trust_as_template(text)))

    for path in sorted(ROLES.glob("*/templates/*.j2")):
        if path.parents[1].name in ("zookeeper", "clickhouse", "grafana") and path.suffixes[0] != ".xml":
            render(f"{path.parents[1].name}/{path.stem}", path.read_text(encoding="utf-8"))
    for mode in ("gateway", "node_agent"):
        for file in ("otelcol.service", "config.yaml"):
            template = (ROLES / "otel_collector/templates" / f"{file}.j2").read_text(encoding="utf-8")
            render(f"otel_collector/{mode}/{file}", template, otel_collector_mode=mode)
        secret = "{{ __otel_collector_secret_files[0].content }}"
        render(f"otel_collector/{mode}/secret.yaml", secret, otel_collector_mode=mode)
    for what in ("start_settings", "cluster_settings", "users", "secret_settings", "secret_users"):
        render(f"clickhouse/{what}.xml", f"{{{{ __clickhouse_{what} {XML} }}}}")
    render("grafana/datasources.yml", "{{ {'datasources': __grafana_datasources} | to_nice_yaml }}")
    for database in ("postgres", "mysql"):
        render(f"grafana/{database}.ini", (ROLES / "grafana/templates/grafana.ini.j2").read_text(), grafana_database_type=database)
    render("telemetry_schema/all.sql", "{{ __telemetry_schema_objects | map(attribute='ddl', default='') | join('\n;;\n') }}")
    return made


SQL = re.compile(
    r"'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|\"(?:[^\"\\]|\\.)*\"|--[^\n]*|/\*.*?\*/"
    r"|[A-Za-z_][A-Za-z0-9_]*|[0-9.]+|\s+|.",
    re.DOTALL,
)


def sql_shape(text: str) -> list[str]:
    """The kind of each token, words and strings without what they say."""
    return [
        "word" if token[0].isalpha() or token[0] == "_" else "number" if token[0].isdigit() else token[0] if token[0] in "'`\"" else token
        for token in SQL.findall(text)
        if token.strip()
    ]


def yaml_shape(value: Any) -> Any:
    """Keys and lengths, without texts."""
    if isinstance(value, dict):
        return {key: yaml_shape(item) for key, item in value.items()}
    return [yaml_shape(item) for item in value] if isinstance(value, list) else type(value).__name__


def shape(name: str, text: str, values: dict[str, Any]) -> Any:
    """What a document has, apart from its values. Users and the cluster are names of elements."""
    if name.endswith(".xml"):
        elements = ET.fromstring(text).iter()
        return [("(value)" if element.tag in values.values() else element.tag, sorted(element.attrib)) for element in elements]
    if name.endswith((".yaml", ".yml")):
        return yaml_shape(yaml.safe_load(text))
    if name.endswith(".sql"):
        return sql_shape(text)
    # Whatever some reader takes for the end of a line.
    lines = [line.strip() for line in re.split("[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", text)]
    assert not any("\\" in line and name.endswith(".service") and not line.endswith("\\") for line in lines), text
    words = name.endswith(".service") and len(text.split())
    return words, [line.split("=", 1)[0].strip() if not line.startswith(("#", "[", "-")) else line[:1] for line in lines]


SAMPLED = {name: [sample(name)] if option["type"] == "list" else sample(name) for name, (option, _) in OPTIONS.items()}
SHAPES = {name: shape(name, text, SAMPLED) for name, text in documents(SAMPLED).items()}


def test_the_samples_are_accepted_and_arrive() -> None:
    for name, value in SAMPLED.items():
        assert _constraints.value_problems(name, OPTIONS[name][0], value) == []
    everything = "\n".join(documents(SAMPLED).values())
    for value in (SAMPLES["a name"], SAMPLES["an identifier"], SAMPLES["a folder of its own"], SAMPLES["a heap size"], SAMPLES["a label"]):
        assert value in everything


def test_clusters_and_macros_are_in_a_file_of_their_own() -> None:
    """The server reads that file again while it runs. What users add to it is there, too."""
    cluster = {"shard": {"replica": {"host": "ch9", "port": 1}}}
    added = {"clickhouse_config": {"remote_servers": {"more": cluster}, "macros": {"rack": "r1"}, "max_concurrent_queries": 7}}
    made = documents({**SAMPLED, **added})
    own, others = (ET.fromstring(made[f"clickhouse/{name}_settings.xml"]) for name in ("cluster", "start"))
    assert sorted(element.tag for element in own) == ["macros", "remote_servers"]
    assert own.findtext("remote_servers/more/shard/replica/host") == "ch9"
    assert own.find(f"remote_servers/{SAMPLED['clickhouse_cluster']}/shard") is not None
    assert own.findtext("macros/rack") == "r1"
    assert own.findtext("macros/cluster") == SAMPLED["clickhouse_cluster"]
    assert others.findtext("max_concurrent_queries") == "7"
    assert {"macros", "remote_servers"}.isdisjoint(element.tag for element in others)


def test_a_new_shard_changes_no_other_file_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    before = documents(SAMPLED)
    hosts = {**BASE["hostvars"], "ch3": {**BASE["hostvars"]["ch1"], "clickhouse_shard": 2, "ansible_host": "192.0.2.99"}}
    monkeypatch.setitem(BASE, "hostvars", hosts)
    monkeypatch.setitem(BASE, "groups", {**BASE["groups"], "clickhouse": [*BASE["groups"]["clickhouse"], "ch3"]})
    after = documents(SAMPLED)
    assert {name for name in after if name.startswith("clickhouse/") and after[name] != before[name]} == {"clickhouse/cluster_settings.xml"}


# Without shrinking, which takes minutes here: an example names each value anyway.
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate])
@given(accepted_values())
# A pattern that also matches rotated files.
@example({**SAMPLED, "otel_collector_log_paths": ["/var/log/*.log*"]})
def test_accepted_values_keep_the_structure_of_the_file(values: dict[str, Any]) -> None:
    made, wrong = documents(values), []
    for name, text in made.items():
        if shape(name, text, values) != SHAPES[name]:
            wrong.append(f"{name}\n{text}")
    assert not wrong, wrong[0]


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(OPTIONS)), st.text(max_size=40))
def test_no_text_with_a_line_break_is_accepted(name: str, text: str) -> None:
    option, constraint = OPTIONS[name]
    value = [text] if option["type"] == "list" else text
    if not _constraints.value_problems(name, option, value):
        assert len(text.splitlines()) <= 1, repr(text)
        assert text.isprintable()
