# GNU General Public License v3.0+ (see LICENSE)
"""Alerts as data: what the filter makes of them, and that each has its runbook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.groundwork.observability.plugins.filter.grafana_alerts import grafana_alert_policy, grafana_alert_rules
from ansible_collections.groundwork.observability.plugins.module_utils._grafana import notification_policies
from ansible_collections.groundwork.observability.plugins.plugin_utils import _constraints, _options
from ansible_collections.groundwork.observability.plugins.plugin_utils import _grafana_alerts as alerts

RUNBOOKS = Path(__file__).parents[4] / "docs" / "runbooks"
ALERTS = {alert["uid"]: alert for alert in alerts.shipped()}
KEYS = {"uid", "title", "severity", "sql", "window", "threshold", "unit", "for", "summary", "description"}
ALERT = {
    "uid": "queue",
    "title": "Queue is full",
    "severity": "warning",
    "sql": "SELECT host, max(v) AS v FROM cluster(@cluster@) WHERE host IN @hosts@ GROUP BY host\n",
    "window": "5m",
    "threshold": {"gt": 80},
    "range": [1, 99],
    "unit": "percent",
    "for": "2m",
    "summary": "{{ .Labels.host }}",
    "description": "It is full.",
}
GROUP = {"name": "Queues", "component": "collector", "interval": "1m", "alerts": [ALERT]}
VALUES = {"cluster": "o'tel", "hosts": ["a", "b"]}


def test_each_alert_has_its_runbook_and_each_runbook_its_alert() -> None:
    assert len(ALERTS) == len(alerts.shipped()) == len({alert["title"] for alert in alerts.shipped()})
    assert sorted(path.stem for path in RUNBOOKS.glob("*.md") if path.stem != "README") == sorted(ALERTS)


@pytest.mark.parametrize("uid", ALERTS)
def test_runbook_is_complete(uid: str) -> None:
    text = (RUNBOOKS / f"{uid}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {ALERTS[uid]['title']}\n")
    assert re.findall(r"^## (.*)", text, flags=re.MULTILINE) == ["What it means", "What to look at", "What to do", "Silence it"]
    assert "```console" in text and f"__alert_rule_uid__={uid}" in text
    ((kind, limit),) = ALERTS[uid]["threshold"].items()
    fires = f"{'more' if kind == 'gt' else 'less'} than {limit} ({ALERTS[uid]['unit']}) is measured for {ALERTS[uid]['for']}."
    assert f"Alert `{uid}`, {ALERTS[uid]['severity']}. It fires when {fires}" in " ".join(text.split())
    low, high = ALERTS[uid].get("range", (None, None))
    change = "{enabled: false}" if low is None else f"{{threshold: {limit}}}  # {low} to {high}, or {{enabled: false}}"
    assert f"grafana_alert_settings:\n  {uid}: {change}\n" in text


@pytest.mark.parametrize("uid", ALERTS)
def test_alert_is_complete(uid: str) -> None:
    alert = ALERTS[uid]
    assert set(alert) >= KEYS and set(alert) <= KEYS | {"range", "no_data", "error", "every_shard"}
    assert re.fullmatch(r"[a-z0-9-]{1,40}", uid)
    assert alert["severity"] in alerts.SEVERITIES
    assert alerts.seconds(alert["window"]) >= 60 and alerts.seconds(alert["for"]) >= 0
    ((kind, limit),) = alert["threshold"].items()
    assert kind in ("gt", "lt")
    low, high = alert.get("range", (limit, limit))
    assert low <= limit <= high
    # Grafana expands $ in texts of provisioning files.
    assert "$" not in alert["summary"] + alert["description"]
    shown = re.findall(r"{{ \.Labels\.(\w+) }}", alert["summary"] + alert["description"])
    assert [name for name in shown if not re.search(rf"\b(AS )?{name}\b", alert["sql"])] == []


def test_query_of_an_alert_that_needs_every_shard() -> None:
    (group,) = grafana_alert_rules([{**GROUP, "alerts": [{**ALERT, "every_shard": True}]}], VALUES)
    assert group["rules"][0]["data"][0]["model"]["rawSql"].endswith("\nSETTINGS skip_unavailable_shards = 0")


def test_rule_in_the_form_of_a_provisioning_file() -> None:
    (group,) = grafana_alert_rules([GROUP], VALUES, {"queue": {"threshold": 90, "for": "5m"}}, runbooks="https://example.com/runbooks/")
    (rule,) = group.pop("rules")
    assert group == {"orgId": 1, "name": "Queues", "folder": "Platform alerts", "interval": "1m"}
    query, reduction, threshold = rule.pop("data")
    assert query["datasourceUid"] == "clickhouse" and query["relativeTimeRange"] == {"from": 300, "to": 0}
    assert query["model"]["rawSql"] == (
        "SELECT host, max(v) AS v FROM cluster('o\\'tel') WHERE host IN CAST(['a', 'b'], 'Array(String)') GROUP BY host\n"
        "SETTINGS skip_unavailable_shards = 1"
    )
    assert (reduction["model"]["expression"], reduction["model"]["reducer"]) == ("A", "last")
    assert threshold["model"]["expression"] == "B"
    assert threshold["model"]["conditions"] == [{"evaluator": {"type": "gt", "params": [90]}}]
    assert rule == {
        "uid": "queue",
        "title": "Queue is full",
        "condition": "C",
        "noDataState": "OK",
        "execErrState": "KeepLast",
        "for": "5m",
        "labels": {"severity": "warning", "component": "collector"},
        "annotations": {
            "summary": "{{ .Labels.host }}",
            "description": "It is full.",
            "runbook_url": "https://example.com/runbooks/queue.md",
        },
        "isPaused": False,
    }


def test_alert_that_is_turned_off_is_paused() -> None:
    (group,) = grafana_alert_rules([GROUP], VALUES, {"queue": {"enabled": False}})
    assert group["rules"][0]["isPaused"]


def test_no_hosts_are_an_array_with_a_type() -> None:
    assert alerts.literal([]) == "CAST([], 'Array(String)')"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"queues": {}}, "queues: no such alert; there are queue"),
        ({"queue": 90}, "queue has to be a dictionary"),
        ({"queue": {"treshold": 90}}, "queue: treshold: no such setting; there are enabled, for, severity, threshold"),
        ({"queue": {"threshold": 100}}, "queue: threshold has to be a number from 1 to 99 (percent)"),
        ({"queue": {"threshold": "90"}}, "queue: threshold has to be a number from 1 to 99 (percent)"),
        ({"queue": {"threshold": True}}, "queue: threshold has to be a number from 1 to 99 (percent)"),
        ({"queue": {"enabled": "no"}}, "queue: enabled has to be true or false"),
        ({"queue": {"severity": "page"}}, "queue: severity has to be one of critical, warning, info, heartbeat"),
        ({"queue": {"for": "2d"}}, "queue: for has to be a duration of at most 24h, such as 30s, 5m or 2h"),
        ({"queue": {"for": 60}}, "queue: for has to be a duration of at most 24h, such as 30s, 5m or 2h"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        grafana_alert_rules([GROUP], VALUES, settings)
    assert message in str(caught.value)


def test_fixed_threshold() -> None:
    fixed = {key: value for key, value in ALERT.items() if key != "range"}
    assert alerts.settings_problem({"queue": {"threshold": 1}}, [fixed]) == "queue: its threshold is fixed"


def test_value_that_is_not_there() -> None:
    with pytest.raises(AnsibleFilterError, match="@hosts@ has no value; there are cluster"):
        grafana_alert_rules([GROUP], {"cluster": "otel"})


def role_variable(name: str, **values: Any) -> Any:
    """A variable of the role, with the hosts of an inventory."""
    role = RUNBOOKS.parents[1] / "roles" / "grafana"
    loader = DataLoader()
    groups = {"zookeeper": ["zk2", "zk1"], "node_agent": ["h1"]}
    known: dict[str, Any] = {"role_path": str(role), "common_pki_dir": "/nowhere", "groups": groups}
    for path in ("defaults/main.yml", "vars/main/alerts.yml"):
        known |= loader.load_from_file(str(role / path), trusted_as_template=True)
    return Templar(loader=loader, variables={**known, **values}).template(trust_as_template(f"{{{{ {name} }}}}"))


def test_rules_of_the_role() -> None:
    """The role's variables lead to rules for all alerts, with the hosts of the inventory, and no text is taken as a template of Ansible."""
    groups = role_variable("__grafana_alert_rule_groups")
    rules = {rule["uid"]: rule for group in groups for rule in group["rules"]}
    assert list(rules) == list(ALERTS)
    assert "CAST(['zk1', 'zk2'], 'Array(String)')" in rules["zookeeper-followers"]["data"][0]["model"]["rawSql"]
    assert rules["clickhouse-down"]["annotations"]["summary"] == "ClickHouse on {{ .Labels.host }} does not answer"
    assert rules["clickhouse-down"]["annotations"]["runbook_url"].endswith("/docs/runbooks/clickhouse-down.md")


def test_alerts_are_sent_by_severity() -> None:
    tree = grafana_alert_policy({"default": "mail", "critical": ["pager", "chat"], "heartbeat": ["outside"]})
    routes = tree.pop("routes")
    assert tree["receiver"] == "mail" and tree["group_by"] == ["grafana_folder", "alertname"]
    assert [(route["receiver"], route["object_matchers"], route["continue"]) for route in routes] == [
        ("pager", [["severity", "=", "critical"]], True),
        ("chat", [["severity", "=", "critical"]], False),
        ("outside", [["severity", "=", "heartbeat"]], False),
    ]
    assert {route["repeat_interval"] for route in routes if route["receiver"] == "outside"} == {"1m"}


def test_policy_is_one_that_the_module_takes() -> None:
    receivers = {"default": "mail", **{severity: ["mail", "chat"] for severity in alerts.SEVERITIES}}
    assert notification_policies.canonical_route(grafana_alert_policy(receivers), "policy_tree")["receiver"] == "mail"


def test_no_receivers_are_no_policy() -> None:
    assert grafana_alert_policy({}) == {}


@pytest.mark.parametrize(
    ("receivers", "message"),
    [
        ({"critical": ["pager"]}, "default is missing"),
        ({"default": ["mail"]}, "default is missing"),
        ({"default": "mail", "page": ["pager"]}, "page: no such severity; there are critical, warning, info, heartbeat, and default"),
        ({"default": "mail", "info": "mail"}, "info has to be a list"),
        ({"default": "mail", "info": []}, "info has to be a list"),
        ({"default": "mail", "info": [1]}, "info has to be a list"),
    ],
)
def test_wrong_receivers(receivers: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        grafana_alert_policy(receivers)


def test_example_of_notifications() -> None:
    """The options in docs/notifications.md are ones that the role takes, and all that they name is there."""
    text = (RUNBOOKS.parent / "notifications.md").read_text(encoding="utf-8")
    inventory, secrets = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL))
    points = inventory["grafana_contact_points"]
    for point in points:
        for name, value in point.get("secure_settings", {}).items():
            point["secure_settings"][name] = secrets.pop(value.strip("{} "))
    assert secrets == {}
    options = _options.role_options("grafana")
    assert [wrong for name, value in inventory.items() for wrong in _constraints.value_problems(name, options[name], value)] == []
    tree = grafana_alert_policy(inventory["grafana_alert_receivers"])
    assert {route["receiver"] for route in notification_policies.walk(tree)} <= {point["name"] for point in points}
    assert {point["type"] for point in points} == {"pagerduty", "webhook", "opsgenie", "slack", "teams", "email"}


def test_heartbeat_is_paused_until_somebody_gets_it() -> None:
    for receivers, paused in (({}, True), ({"default": "mail"}, True), ({"default": "mail", "heartbeat": ["outside"]}, False)):
        groups = role_variable("__grafana_alert_rule_groups", grafana_alert_receivers=receivers)
        assert [rule["isPaused"] for group in groups for rule in group["rules"] if rule["uid"] == "heartbeat"] == [paused]
        assert not any(rule["isPaused"] for group in groups for rule in group["rules"] if rule["uid"] != "heartbeat")
    settings = {"heartbeat": {"enabled": True}}
    groups = role_variable("__grafana_alert_rule_groups", grafana_alert_settings=settings)
    assert not any(rule["isPaused"] for group in groups for rule in group["rules"])


def test_policies_of_the_role() -> None:
    assert role_variable("__grafana_notification_policy") == {}
    assert role_variable("__grafana_notification_policy", grafana_alert_receivers={"default": "mail"})["receiver"] == "mail"
    own = {"receiver": "chat"}
    assert role_variable("__grafana_notification_policy", grafana_notification_policy=own) == own


def test_table_of_severities() -> None:
    """docs/notifications.md says how alerts are sent, as the policies have it."""
    words = {"0s": "at once", "10s": "10 s", "1m": "1 min", "5m": "5 min"}
    again = {"1m": "every minute", "1h": "every hour", "12h": "every 12 hours", "7d": "every 7 days"}
    routes = grafana_alert_policy({"default": "mail", **{severity: ["mail"] for severity in alerts.SEVERITIES}})["routes"]
    text = (RUNBOOKS.parent / "notifications.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \| ([^|]+) \|$", text, flags=re.MULTILINE)
    assert rows == [(route["object_matchers"][0][2], words[route["group_wait"]], again[route["repeat_interval"]]) for route in routes]
