# GNU General Public License v3.0+ (see LICENSE)
"""Values outside the constraint of every option of every role."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.groundwork.observability.plugins.plugin_utils import _components, _constraints, _options

ROLES = ("common", *_components.components())
UNIT_LINE = "\nExecStartPre=/bin/true"
PLUGIN: dict[str, Any] = {"id": "a-b", "version": "1.0"}
RULE: dict[str, Any] = {"uid": "r", "title": "R", "condition": "A", "data": [{"refId": "A", "datasourceUid": "clickhouse", "model": {}}]}
DEBUG = {"where": "SeverityNumber < 9", "keep": "3d"}
SERVICE: dict[str, Any] = {"unit": "shop.service", "language": "python", "service_name": "shop"}
LDAP = {"host": "ldap.example.com", "search_base_dns": ["dc=example,dc=com"], "search_filter": "(cn=%s)"}
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
    r"an https URL": ["http://x/", "x", "https://u:p@x/", "https://x/?a=b", "https://x/ y", "https://x/\n[users]"],
    r"a mail address": ["grafana", "a@", "@example.com", "a b@example.com", "a@b@c", "a@b\n[users]", "a@b; c", "<a@example.com>"],
    r"an OAuth scope": ["a b", "", "a;b", "a\nb", "${HOME}"],
    r"a JMESPath expression": ['a"""', "${HOME}", "a\nb", " a", "%(x)s", "a\\b", 'x == "y"'],
    r"a ClickHouse URL": ["host:9440", "tcp://", "tcp://u:p@h:9440", "mysql://h:1", "tcp://h:99999", "tcp://h:1,${env:X}:2"],
    r"an IP network": ["10.0.0.0/33", "10.0.0", "all", "10.0.0.0/8</ip>", "::/0\n"],
    r"a name": ["a'; DROP TABLE x", "", "a/b", "../a", "<b>", "a\nb", False, "x" * 64],
    r"an identifier": ["otel; DROP DATABASE x", "otel-2", "2otel", "o.t", "o`t", "o\nt", "o'", True],
    r"an end of an identifier": ["-local", "_local;", "_lo\ncal"],
    r"a collector instance": [
        *("shop", "gateway_", "gateway_Shop", "gateway-shop", "gateway_shop_relay", "node_agent_" + "x" * 14, "gateway_a/b"),
        "gateway_a" + UNIT_LINE,
    ],
    r"a user name": ["a b", "1a", "a<b>", "a:b", "a\nb", "a'b"],
    r"a group name": ["Adm", "a b", "adm" + UNIT_LINE, "-x"],
    r"a version": ["latest", "1/../../x", "v1.0", "1.0 ", "1.0\n", "1..0", False],
    r"a label": ["${env:HOME}", "a\nb", " a", "x" * 129, "a\"b"],
    r"a bearer token": ["short", "x" * 20 + "\n", "x" * 20 + " y", "\n" * 20, "x" * 15],
    r"a regular expression": ["", "(", "[a", "a(?=b)", "(?<!a)b", r"(a)\1", "a\nb", "*a"],
    r"certificates in PEM": ["/etc/ssl/ca.crt", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"],
    r"a secret": ["short", "long enough\nbut two lines", " begins with a space", "tab\tulator"],
    r"tokens by name": [
        *({"shop": "short"}, {"shop": "x" * 20 + "\n"}, {"shop": 12345678901234567890}, {"a b": "x" * 20}, {"": "x" * 20}),
        {"shop": "x" * 20, "billing": "x" * 20},
    ],
    r"a scrape configuration": [{"basic_auth": {"username": "u", "password": "p"}}, {"a": [{"authorization": {"credentials": "c"}}]}],
    r"scrape jobs": [
        *({"a b": {}}, {"../a": {}}, {"shop": "http"}, {"shop": {"job_name": "x"}}, {"shop": {"static_configs": []}}),
        *({"shop": {"dns_sd_configs": []}}, {"shop": {"basic_auth": {"password": "p"}}}),
    ],
    r"scrape targets": [{"shop": 0}, {"shop": "http"}, {"shop": []}, {"shop": [80, 70000]}, {"shop": [80, 80]}, {"shop": True}],
    r"secret files": [{"a/b": "x"}, {"../x": "y"}, {"a": ""}, {"a": 1}],
    r"settings of zoo.cfg": [
        *({"tickTime": "1\n4lw.commands.whitelist=*"}, {"a b": 1}, {"a\nb": 1}, {"tickTime": [1]}, {"x.y": "c:\\d"}, {"x": "y\\"}),
    ],
    r"settings of grafana.ini": [
        *({"server": "x"}, {"ser]ver": {}}, {"server": {"a = b\nc": 1}}, {"server": {"domain": "x\n[auth.anonymous]"}}),
        *({"users": {"login_hint": hint}} for hint in ("a # b", '"""a', "`a", None, [1])),
    ],
    r"a Grafana plugin": [
        *({}, {"id": "a-b"}, {"id": "a-b", "version": "latest"}, {"id": "../a-b", "version": "1.0"}, {"id": "a-b", "version": 1.0}),
        *({**PLUGIN, "id": "grafana-clickhouse-datasource"}, {**PLUGIN, "sha256": "x"}, {**PLUGIN, "backend": "yes"}),
        {**PLUGIN, "verison": 1},
        *({**PLUGIN, "url": "file:///x"}, {**PLUGIN, "url": "https://u:psst@x/y.zip"}, {**PLUGIN, "url": "https://x/ y"}),
    ],
    r"an instrumented service": [
        *({}, {**SERVICE, "unit": "shop"}, {**SERVICE, "unit": "../shop.service"}, {**SERVICE, "unit": "shop.service" + UNIT_LINE}),
        *({**SERVICE, "unit": "shop@.service"}, {**SERVICE, "unit": "otelcol-gateway.service"}, {**SERVICE, "unit": "%n.service"}),
        *({**SERVICE, "language": "cobol"}, {**SERVICE, "service_name": ""}, {**SERVICE, "service_name": "a,b=c"}, {**SERVICE, "nuit": 1}),
        *({**SERVICE, "attributes": ["x"]}, {**SERVICE, "attributes": {"a b": 1}}, {**SERVICE, "attributes": {"team": "a\nb"}}),
        *({**SERVICE, "attributes": {"service.name": "x"}}, {**SERVICE, "attributes": {"team": ""}}),
        *({**SERVICE, "environment": {"lower": "x"}}, {**SERVICE, "environment": {"X": "a\nLD_PRELOAD=/x"}}),
        *({**SERVICE, "environment": {name: "x"}} for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_SERVICE_NAME")),
    ],
    r"a rule group": [
        *({}, {"folder": "F"}, {"folder": "F", "name": "g"}, {"folder": "é", "name": "g", "rules": [RULE]}),
        {"folder": "F", "name": "g", "rules": [{**RULE, "uid": "a b"}]},
        {"folder": "F", "name": "g", "rules": [{**RULE, "condition": "B"}]},
        *({"folder": "F", "name": "g", "rules": [{**RULE, "fro": 1}]}, {"folder": "F", "name": "g", "rules": [{**RULE, "for": "x"}]}),
        *({"folder": "F", "name": "g", "rules": ["x"]}, {"folder": "F", "name": "g", "interval": "7s", "rules": [RULE]}),
    ],
    r"a contact point": [
        *({}, {"uid": "a b", "name": "A", "type": "email"}, {"uid": "a", "type": "email"}, {"uid": "a", "name": "A"}),
        {"uid": "a", "name": "A", "type": "email", "setings": {}},
        {"uid": "a", "name": "A", "type": "email", "secure_settings": {"x": ""}},
    ],
    r"a notification policy tree": [
        *({"routes": []}, {"receiver": "A", "rotues": []}, {"receiver": "A", "routes": [{"object_matchers": ["x"]}]}),
    ],
    r"a mute timing": [{}, {"name": "n"}, {"name": "n", "time_intervals": [{"weekdays": ["someday"]}]}, {"name": "n", "time_interval": []}],
    r"a notification template": [{}, {"name": "n"}, {"name": "n", "template": "{{ if }}"}, {"name": "n", "text": "x"}],
    r"secret settings of grafana.ini": [
        *({"smtp": "x"}, {"s/m": {}}, {"smtp": {"a/b": "x"}}, {"smtp": {"a.b": "x"}}),
        *({"smtp": {"user": ""}}, {"smtp": {"user": 1}}),
    ],
    r"an LDAP server": [
        *({}, {"host": "ldap"}, {**LDAP, "host": "a b"}, {**LDAP, "port": 0}, {**LDAP, "use_ssl": "yes"}),
        *({**LDAP, "search_filter": "(cn=x)"}, {**LDAP, "hots": "x"}, {**LDAP, "bind_password": "${HOME}"}),
        *({**LDAP, "bind_dn": "a\nb"}, {**LDAP, "search_base_dns": []}),
        *({**LDAP, "attributes": {"nam": "x"}}, {**LDAP, "group_mappings": [{"group_dn": "*", "org_role": "Boss"}]}),
        *({**LDAP, "group_mappings": ["x"]}, {**LDAP, "bind_password": 12345678}, {**LDAP, "port": True}),
    ],
    r"server settings of ClickHouse|user settings of ClickHouse": [{"a b": 1}, {"max": "\x00"}, {"x": {"1<": 2}}, {"a": {"@b": [1]}}],
    r"a data source": [
        *({"name": "x"}, {"type": "x"}, {"name": "x", "type": "y", "acess": "proxy"}, {"name": "x", "type": "y", "access": "indirect"}),
        *({"name": "x", "type": "y", "jsonData": []}, {"name": "x", "type": "y", "uid": "a b"}, {"name": "x\ny", "type": "y"}),
    ],
    r"a scope of deletions": [
        *({"dashboards": ["x"]}, {"datasources": "*"}, {"datasources": [""]}, {"templates": [1]}, {"folders": ["shop-*"]}),
    ],
    r"passwords by name": [{"a b": "x"}, {"shop": ""}, {"shop": 12345678}, {"shop": "two\nlines"}, {"shop": ["x"]}],
    r"a retention of telemetry": [
        *({"log": {}}, {"logs": "14d"}, {"logs": {"kep": "14d"}}, {"metrics_gauge_5m": {"rules": [DEBUG]}}),
        {"traces_red_1m": {"cold_after": "3d"}},
        *({"logs": {"keep": keep}} for keep in ("14", 14, "0d", "2w", "18251d", "-1d", "14d" + UNIT_LINE)),
        *({"traces": {"cold_after": after}} for after in ("7d", "8d", "soon", "forever")),
        *({"logs": {"rules": rules}} for rules in ("x", ["x"], [{"keep": "3d"}])),
        *({"logs": {"rules": [{**DEBUG, "keep": keep}]}} for keep in ("15d", "forever")),
        *({"logs": {"rules": [{**DEBUG, "where": where}]}} for where in ("", "a\nb", 1)),
        *({"logs": {"keep": "2d", "rules": [DEBUG]}}, {"logs": {"rules": [{**DEBUG, "for": "3d"}]}}),
    ],
    r"receivers of alerts": [{"critical": ["x"]}, {"default": ["x"]}, {"default": "x", "page": ["x"]}, {"default": "x", "info": "x"}],
    r"settings of alerts": [
        *({"no-such-alert": {}}, {"clickhouse-disk": 80}, {"clickhouse-disk": {"treshold": 80}}, {"clickhouse-down": {"threshold": 1}}),
        *({"clickhouse-disk": {name: value}} for name, value in (("threshold", 99.9), ("for", "2d"), ("severity", "page"), ("enabled", 1))),
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
    found += [("clickhouse", "clickhouse_zookeeper_hosts", [entry]) for entry in nested]
    source = {"name": "shop", "type": "mysql", "host": "db", "database": "shop", "user": "u"}
    snapshot = {"name": "orders", "source": "shop", "table": "orders", "every": "15m"}
    wrong: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
        "product_data_sources": (
            source,
            [
                *({"name": "a-b"}, {"name": None}, {"type": "oracle"}, {"host": "a b"}, {"port": 0}, {"port": "x"}, {"user": "a'b"}),
                *({"database": "a'b"}, {"hots": "x"}),
            ],
        ),
        "product_data_snapshots": (
            snapshot,
            [
                *({"name": "o`; DROP"}, {"source": None}, {"every": "15"}, {"every": "0s"}, {"once": "x"}, {"mode": "apend"}),
                *({"keys": {"a": 1}}, {"keep_days": 0}),
                *({"keep_days": "x"}, {"interval": "1h"}, {"columns": ["id"]}, {"columns": [{"type": "Int8"}]}),
                *({"columns": [{"name": "id", "tpye": "Int8"}]}, {"columns": "id"}),
            ],
        ),
    }
    dictionary = {"name": "order", "snapshot": "orders", "attributes": ["total"]}
    wrong["product_data_dictionaries"] = (
        dictionary,
        [{"name": "a-b"}, {"name": None}, {"snapshot": None}, {"attributes": None}, {"attributes": {"a": 1}}, {"attribute": ["total"]}],
    )
    for key, (right, changes) in wrong.items():
        for change in changes:
            entry = {part: setting for part, setting in {**right, **change}.items() if setting is not None}
            found.append(("product_data", key, [entry]))
    return found
