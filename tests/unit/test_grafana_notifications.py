# GNU General Public License v3.0+ (see LICENSE)
"""Alert rules and where alerts are sent: what is refused, the file that Grafana reads, and what that file deletes."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.groundwork.observability.plugins.plugin_utils import _grafana_notifications as notifications
from ansible_collections.groundwork.observability.plugins.plugin_utils._grafana_content import ContentError

SECRET = "pager-$-0123456789"
MAIL = {"uid": "mail", "name": "On call", "type": "email", "settings": {"addresses": "a@example.com"}}
PAGER = {"uid": "pager", "name": "On call", "type": "pagerduty", "secure_settings": {"integrationKey": SECRET}}
NIGHTS = {"name": "nights", "time_intervals": [{"times": [{"start_time": "00:00", "end_time": "06:00"}]}]}
POLICY = {"receiver": "On call", "routes": [{"object_matchers": ['severity="info"'], "mute_time_intervals": ["nights"]}]}
TEMPLATE = {"name": "t", "template": "costs $5"}


def rule(uid: str, **more: Any) -> dict[str, Any]:
    query = {"refId": "A", "datasourceUid": "clickhouse", "model": {"rawSql": "SELECT $__fromTime"}}
    texts = {"labels": {"cost": "$5"}, "annotations": {"summary": "{{ $value }}"}}
    return {"uid": uid, "title": f"Rule {uid}", "condition": "A", "data": [query], **texts, **more}


def group(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"folder": "Shop & Orders", "name": "g", "interval": "1m", "rules": list(rules), **more}


def everything(**changed: Any) -> dict[str, Any]:
    content = {"rule_groups": [group(rule("a"), rule("b"))], "contact_points": [MAIL, PAGER], "policy": POLICY}
    return {**content, "mute_timings": [NIGHTS], "templates": [TEMPLATE], "datasources": ["clickhouse"], **changed}


def made(previous: dict[str, Any] | None = None, **content: Any) -> dict[str, Any]:
    return notifications.provisioning_file(notifications.module_options(**content), previous)


def test_options_of_the_module() -> None:
    options = notifications.module_options(**everything())
    assert options["folders"] == [{"uid": "shop-orders", "title": "Shop & Orders"}]
    assert options["rule_groups"][0]["folder_uid"] == "shop-orders" and "folder" not in options["rule_groups"][0]
    assert options["contact_points"] == [MAIL, PAGER] and options["policy_tree"] == POLICY
    assert "policy_tree" not in notifications.module_options()


def test_the_file_says_the_same() -> None:
    file = made(**everything())
    (rules,) = file["groups"]
    assert (rules["folder"], rules["name"], rules["interval"]) == ("Shop & Orders", "g", "1m")
    assert [one["uid"] for one in rules["rules"]] == ["a", "b"]
    # Grafana expands variables in all but queries and annotations.
    assert rules["rules"][0]["data"][0]["model"]["rawSql"] == "SELECT $__fromTime"
    assert rules["rules"][0]["annotations"] == {"summary": "{{ $value }}"}
    assert rules["rules"][0]["labels"] == {"cost": "$$5"}
    (point,) = file["contactPoints"]
    assert [(entry["uid"], entry["settings"]) for entry in point["receivers"]] == [
        ("mail", {"addresses": "a@example.com"}),
        ("pager", {"integrationKey": SECRET.replace("$", "$$")}),
    ]
    assert file["policies"][0]["routes"] == [{"object_matchers": [["severity", "=", "info"]], "mute_time_intervals": ["nights"]}]
    assert [entry["name"] for entry in file["muteTimes"]] == ["nights"]
    assert "costs $$5" in file["templates"][0]["template"]
    assert not [name for name in file if name.startswith(("delete", "reset"))]


def test_what_left_the_data_is_deleted_and_stays_deleted() -> None:
    first = made(**everything())
    second = made(first, rule_groups=[group(rule("b"))], policy={"receiver": "grafana-default-email"}, datasources=["clickhouse"])
    gone = {name: value for name, value in second.items() if name.startswith(("delete", "reset"))}
    assert gone == {
        "deleteRules": [{"orgId": 1, "uid": "a"}],
        "deleteContactPoints": [{"orgId": 1, "uid": "mail"}, {"orgId": 1, "uid": "pager"}],
        "deleteMuteTimes": [{"orgId": 1, "name": "nights"}],
        "deleteTemplates": [{"orgId": 1, "name": "t"}],
    }
    again = made(second, rule_groups=[group(rule("b"))], policy={"receiver": "grafana-default-email"}, datasources=["clickhouse"])
    assert again == second
    # What comes back is not deleted.
    assert not [name for name in made(second, **everything()) if name.startswith(("delete", "reset"))]


def test_policies_that_left_the_data_are_reset() -> None:
    first = made(**everything())
    second = made(first)
    assert second["resetPolicies"] == [1] and len(second["deleteContactPoints"]) == 2
    assert made(second) == second


def test_contact_points_that_pages_may_use_are_not_deleted() -> None:
    first = made(**everything(policy=None))
    with pytest.raises(ContentError, match="contact points mail, pager left grafana_contact_points.*set grafana_notification_policy"):
        made(first, mute_timings=[NIGHTS])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"contact_points": [MAIL, {**PAGER, "uid": "mail"}]}, "contact_points.*uid"),
        ({"contact_points": []}, "sends to On call, which grafana_contact_points does not have"),
        ({"mute_timings": []}, "names the mute timing nights, which grafana_mute_timings does not have"),
        ({"datasources": ["other"]}, "rule a asks data source clickhouse, which grafana_datasources does not have"),
        ({"rule_groups": [group(rule("a"), rule("a", title="another"))]}, "uid"),
        ({"rule_groups": [group(rule("a"), rule("b", title="Rule a"))]}, "title"),
        ({"rule_groups": [group(rule("a"), rule("b", notification_settings={"receiver": "Nobody"}))]}, "rule b sends to Nobody"),
        ({"rule_groups": [group(rule("a")), group(rule("b"))]}, "name"),
        ({"dashboard_folders": [{"uid": "x", "title": "shop & orders"}]}, "folder shop & orders has dashboards"),
        ({"contact_points": [{**PAGER, "settings": {"integrationKey": "x"}}]}, "integrationKey"),
        ({"contact_points": [{**PAGER, "name": f"{SECRET}\nx"}]}, "name"),
    ],
)
def test_what_grafana_would_refuse_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ContentError, match=said) as caught:
        made(**everything(**changed))
    assert SECRET not in str(caught.value)
