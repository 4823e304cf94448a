# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module grafana_alerting against the Grafana stand-in: every kind and state, secrets, references, interruption, wrong input."""

from __future__ import annotations

import contextlib
import copy
import json
import re
import threading
import typing as t
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.parse import quote

import pytest
import yaml
from ansible_collections.groundwork.observability.plugins.filter import grafana_alerts
from ansible_collections.groundwork.observability.plugins.module_utils._grafana import alerting, execution
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.client import Client, Connection
from ansible_collections.groundwork.observability.plugins.modules import grafana_alerting

from tests.support.grafana_module import ADMIN, ModuleRun, Result
from tests.support.grafana_proxy import CUT, DROP, FORWARD_AND_DROP, WRITES, Fault, Proxy

pytestmark = pytest.mark.integration

SECRETS = ("Hunter2-pagerduty", "Hunter2-slack", "Hunter2-webhook", "Hunter2-changed")
FILE = """
apiVersion: 1
groups:
  - orgId: 1
    name: From file
    folder: Files
    interval: 1m
    rules:
      - {uid: file-rule, title: R, condition: A, noDataState: OK, execErrState: OK, data: [{refId: A, datasourceUid: __expr__, model: {}}]}
contactPoints: [{orgId: 1, name: from-file, receivers: [{uid: file, type: email, settings: {addresses: a@example.com}}]}]
"""
GRAFANA = {"files": {"alerting/f.yaml": FILE}}
API = "/api/v1/provisioning"
ALERTS = Path(__file__).parents[2] / "roles/grafana/files/alerts"


@pytest.fixture
def run(run_in_grafana: Callable[[ModuleType], ModuleRun]) -> ModuleRun:
    made = run_in_grafana(grafana_alerting)
    made.secrets += SECRETS
    made.ask("POST", "/api/folders", {"uid": "f", "title": "Shop"})
    made.ask("POST", "/api/datasources", {"uid": "ds", "name": "Shop", "type": "prometheus", "access": "proxy", "url": "http://p"})
    made.proxy.reset()
    return made


def rule(uid: str, title: str = "", **more: t.Any) -> Result:
    data = [
        {"refId": "A", "datasourceUid": "ds", "relativeTimeRange": {"from": 600, "to": 0}, "model": {"expr": "up"}},
        {"refId": "B", "datasourceUid": "__expr__", "model": {"type": "reduce", "expression": "A", "reducer": "last"}},
        {"refId": "C", "datasourceUid": "__expr__", "model": {"type": "math", "expression": "$B < 1"}},
    ]
    return {"uid": uid, "title": title or uid.upper(), "condition": "C", "data": data, **more}


def group(name: str, *rules: Result, **more: t.Any) -> Result:
    return {"folder_uid": "f", "name": name, "rules": list(rules), **more}


def point(uid: str, name: str = "", **more: t.Any) -> Result:
    return {"uid": uid, "name": name or uid.upper(), "type": "email", "settings": {"addresses": f"{uid}@example.com"}, **more}


def absent(**keys: str) -> Result:
    return {**keys, "state": "absent"}


NIGHT = [{"times": [{"start_time": "20:00", "end_time": "24:00"}], "weekdays": ["Monday:friday"], "location": "Europe/Berlin"}]
PAGER: Result = {"uid": "pager", "name": "Pager", "type": "pagerduty", "secure_settings": {"integrationKey": SECRETS[0]}}
SLACK: Result = {"uid": "slack", "name": "Slack \"<b>'/ü", "type": "slack", "secure_settings": {"url": SECRETS[1]}}
HOOK: Result = {
    "uid": "hook",
    "name": "Slack \"<b>'/ü",
    "type": "webhook",
    "settings": {"maxAlerts": 5, "http_config": {"a": 1}},
    "secure_settings": {"url": SECRETS[2], "http_config": {"oauth2": {"client_secret": SECRETS[0]}}},
}
ALL: Result = {
    "templates": [
        {"name": "title", "template": '  {{ define "title" }}{{ if .Alerts }}{"a": {"b": 1}}{{ end }}{{ end }}\n'},
        {"name": "plain", "template": "{{ .CommonLabels.alertname }}\ntwo lines"},
    ],
    "mute_timings": [{"name": "nights/ü", "time_intervals": NIGHT}, {"name": "may", "time_intervals": [{"months": ["may"]}]}],
    "contact_points": [point("mail", settings={"addresses": "a@example.com", "singleEmail": True}), PAGER, SLACK, HOOK],
    "policies": [
        {
            "object_matchers": ['team="shop"', ["severity", "=~", "crit.*|warn"]],
            "receiver": "MAIL",
            "group_by": ["b", "a"],
            "group_wait": "90s",
            "repeat_interval": "24h",
            "continue": True,
            "routes": [
                {"matchers": ["severity = critical"], "receiver": "Pager", "group_by": ["..."]},
                {"object_matchers": [["severity", "!=", "critical"]], "mute_time_intervals": ["nights/ü"], "continue": False},
            ],
        }
    ],
    "rule_groups": [
        group(
            "Orders/ü",
            rule("r1", **{"for": "90m"}, labels={"team": "shop", "number": 1}, annotations={"summary": "<b>'"}, no_data_state="OK"),
            rule("r2", is_paused=True, keep_firing_for="120s", notification_settings={"receiver": "Pager", "group_wait": "60s"}),
            interval="120",
        ),
        group("Other", rule("r3")),
    ],
}


def changed(**options: t.Any) -> Result:
    return {**copy.deepcopy(ALL), **options}


def stored(run: ModuleRun) -> Result:
    """All that the server has, as it says it."""
    found = {kind: run.ask("GET", f"{API}/{kind}") for kind in ("templates", "mute-timings", "contact-points", "policies", "alert-rules")}
    return {**found, "contact-points": [raw for raw in found["contact-points"] if raw["uid"]]}


def names(run: ModuleRun, kind: str) -> list[str]:
    return sorted(raw.get("uid") or raw["name"] for raw in stored(run)[kind])


def stored_settings(run: ModuleRun, uid: str) -> Result:
    """The settings of a contact point with its secrets, which only the stand-in's own file has."""
    state = json.loads((run.server.folder / "data" / "grafana-standin.json").read_text())
    rows = state["tables"]["contact_points"]
    found: Result = next(row["settings"] for row in rows if (row["orgId"], row["uid"]) == (run.org, uid))
    found.pop("groundworkSecrets", None)
    return found


def foreign(run: ModuleRun) -> Result:
    """A tree of another team, made by hand."""
    run.ask("POST", f"{API}/contact-points", {**point("theirs"), "settings": {"addresses": "t@example.com"}})
    routes = [{"receiver": "THEIRS", "object_matchers": [["team", "=", "theirs"]], "matchers": ['env="prod"']}, {"receiver": "THEIRS"}]
    tree: Result = {"receiver": "THEIRS", "group_by": ["z", "a"], "group_wait": "45s", "routes": routes}
    run.server.send("PUT", f"{API}/policies", tree, auth=ADMIN, headers=by_hand(run))
    return tree


def by_hand(run: ModuleRun) -> dict[str, str]:
    return {"X-Grafana-Org-Id": str(run.org), "X-Disable-Provenance": "true"}


def test_create_again_change_and_check_mode(proxy: Proxy, run: ModuleRun) -> None:
    announced = run(ALL, check=True)
    assert not proxy.writes and not names(run, "contact-points")
    done = run(ALL)
    assert done["statements"][-2].endswith('"rules": ["r1", "r2"], "title": "Orders/ü"}')
    assert done["statements"][8].endswith('"routes": ["severity=~\\"crit.*|warn\\", team=\\"shop\\""]}')
    assert done["statements"] == announced["statements"] and done["diff"] == announced["diff"] and len(done["statements"]) == 11
    kinds = [line.split("/")[4].split(" ")[0] for line in done["statements"]]
    assert kinds == ["templates"] * 2 + ["mute-timings"] * 2 + ["contact-points"] * 4 + ["policies"] + ["folder"] * 2
    have = stored(run)
    assert have["templates"][0]["template"] == '{{ define "plain" }}\n  {{ .CommonLabels.alertname }}\n  two lines\n{{ end }}'
    assert stored_settings(run, "hook")["http_config"] == {"a": 1, "oauth2": {"client_secret": SECRETS[0]}}
    assert [(raw["uid"], raw["for"], raw["ruleGroup"]) for raw in have["alert-rules"]] == [
        *(("r1", "1h30m", "Orders/ü"), ("r2", "0s", "Orders/ü"), ("r3", "0s", "Other"))
    ]
    assert run.ask("GET", f"{API}/folder/f/rule-groups/{quote('Orders/ü', safe='')}")["interval"] == 120
    route = have["policies"]["routes"][0]
    assert (
        route["group_wait"] == "1m30s"
        and route["repeat_interval"] == "1d"
        and route["routes"][0]["object_matchers"] == [["severity", "=", "critical"]]
    )
    proxy.reset()
    again = run(ALL)
    assert not again["changed"] and not again["diff"] and {state["status"] for state in again["objects"]} == {"present"}
    assert len(proxy.requests) == 8 and set(proxy.organisations) == {str(run.org)}
    wanted = changed(templates=[{"name": "plain", "template": "other"}], rule_groups=[group("Other", rule("r3", "New", labels={"a": "b"}))])
    wanted["mute_timings"][1]["time_intervals"] = [{"months": ["june"]}]
    wanted["policies"][0]["routes"].reverse()
    announced = run(wanted, check=True)
    assert stored(run) == have
    done = run(wanted)
    assert done["statements"] == announced["statements"] and len(done["statements"]) == 4
    assert '"months": [\n        "may"' in done["diff"][1]["before"] and '"months": [\n        "june"' in done["diff"][1]["after"]
    assert [state["status"] for state in done["objects"]] == [*("altered", "present", "altered"), *["present"] * 4, "altered", "altered"]
    assert names(run, "templates") == ["plain", "title"] and len(names(run, "alert-rules")) == 3
    assert not run(wanted)["changed"]


def test_drift_and_deletion(proxy: Proxy, run: ModuleRun) -> None:
    run(ALL)
    run.ask("PUT", f"{API}/templates/plain", {"template": "by hand"})
    run.ask("PUT", f"{API}/mute-timings/may", {"name": "may", "time_intervals": []})
    run.ask("PUT", f"{API}/contact-points/mail", {**point("mail"), "settings": {"addresses": "other@example.com"}})
    run.ask("DELETE", f"{API}/policies")
    run.ask("DELETE", f"{API}/alert-rules/r1")
    run.ask("PUT", f"{API}/folder/f/rule-groups/Other", {"interval": 60 * 60})
    done = run(ALL)
    states = {(state["kind"], state["name"]): state["status"] for state in done["objects"]}
    assert len([status for status in states.values() if status == "altered"]) == 6
    assert states["rule_group", "f/Other"] == "altered" and states["template", "title"] == "present"
    run.ask("PUT", f"{API}/mute-timings/may", {"name": "may", "time_intervals": [{"months": ["MAY"]}]})
    assert not run(ALL)["changed"]
    gone: Result = {
        "templates": [absent(name="title"), absent(name="plain")],
        "mute_timings": [absent(name="nights/ü"), absent(name="may")],
        "contact_points": [absent(uid=uid) for uid in ("mail", "pager", "slack", "hook")],
        "policies": [{**ALL["policies"][0], "state": "absent"}],
        "rule_groups": [absent(folder_uid="f", name="Orders/ü"), absent(folder_uid="f", name="Other")],
    }
    proxy.reset()
    assert run(gone, check=True)["changed"] and not proxy.writes
    done = run(gone)
    assert [line.split("/")[4].split(" ")[0] for line in done["statements"]] == [
        *["alert-rules"] * 3,
        "policies",
        *["contact-points"] * 4,
        *["mute-timings"] * 2,
        *["templates"] * 2,
    ]
    assert [found for kind, found in stored(run).items() if kind != "policies"] == [[], [], [], []]
    assert not run(gone)["changed"]


def test_purge(proxy: Proxy, run: ModuleRun) -> None:
    foreign(run)
    run.ask("POST", "/api/folders", {"uid": "g", "title": "Other"})
    more = changed()
    more["templates"].append({"name": "old-1", "template": "x"})
    more["mute_timings"].append({"name": "old-1", "time_intervals": NIGHT})
    more["contact_points"] += [point("old-1"), point("keep-1")]
    more["policies"] += [{"object_matchers": ["team=shop", "x=y"], "receiver": "OLD-1"}, {"object_matchers": ["a=b"], "receiver": "KEEP-1"}]
    more["rule_groups"] += [group("Old", rule("old-1")), {**group("Kept", rule("kept-1")), "folder_uid": "g"}]
    run(more)
    proxy.reset()
    scope = {
        "templates": ["old-*"],
        "mute_timings": ["old-*"],
        "contact_points": ["old-*"],
        "rule_groups": ["f"],
        "policies": ["team=shop"],
    }
    refused = run({**ALL, "policies": []}, purge={"contact_points": ["old-*"]})
    assert "purge.contact_points: contact point 'OLD-1' is used by the notification policies" in refused["msg"]
    refused = run({"contact_points": [absent(uid="pager")], "policies": [{**ALL["policies"][0], "state": "absent"}]})
    assert "contact_points[0]: contact point 'Pager' is used by rule 'r2' in group 'f/Orders/ü': change that first" in refused["msg"]
    assert not proxy.writes
    done = run(ALL, purge=scope)
    assert len(done["statements"]) == 5
    assert names(run, "templates") == ["plain", "title"] and names(run, "mute-timings") == ["may", "nights/ü"]
    assert names(run, "contact-points") == ["hook", "keep-1", "mail", "pager", "slack", "theirs"]
    assert names(run, "alert-rules") == ["kept-1", "r1", "r2", "r3"]
    assert len(stored(run)["policies"]["routes"]) == 4
    assert not run(ALL, purge=scope)["changed"]


def test_policies_of_others_stay_as_they_are(run: ModuleRun) -> None:
    tree = foreign(run)
    mine = [
        {"object_matchers": ["team=a"], "receiver": "MAIL"},
        {"object_matchers": ["team=b"], "receiver": "grafana-default-email", "position": "first"},
    ]
    wanted: Result = {"contact_points": [point("mail")], "policies": mine}
    run(wanted)
    before = run.ask("GET", f"{API}/policies")
    theirs = {**before, "routes": before["routes"][1:3]}
    assert theirs == {**tree, "routes": [{**tree["routes"][0]}, tree["routes"][1]]} and "provenance" not in before
    assert [route["object_matchers"][0][2] for route in (before["routes"][0], before["routes"][3])] == ["b", "a"]
    assert not run(wanted)["changed"]
    # Others change theirs meanwhile, and one of ours.
    before["routes"][1]["continue"] = True
    before["routes"][0]["group_wait"] = "1m"
    run.server.send("PUT", f"{API}/policies", before, auth=ADMIN, headers=by_hand(run))
    done = run(wanted)
    assert len(done["statements"]) == 1 and "theirs" not in json.dumps(done["diff"][0]["before"])
    after = run.ask("GET", f"{API}/policies")
    assert after["routes"][1]["continue"] and "group_wait" not in after["routes"][0]
    run({"policies": [{**item, "state": "absent"} for item in mine], "contact_points": [absent(uid="mail")]})
    assert len(run.ask("GET", f"{API}/policies")["routes"]) == 2
    doubled = {**after, "routes": [after["routes"][0]] * 2}
    run.ask("POST", f"{API}/contact-points", {**point("mail")})
    run.server.send("PUT", f"{API}/policies", doubled, auth=ADMIN, headers=by_hand(run))
    assert 'several routes with the matchers team="b"' in run({"policies": mine})["msg"]


def test_the_whole_tree(run: ModuleRun) -> None:
    foreign(run)
    whole = {"receiver": "MAIL", "group_by": ["alertname"], "repeat_interval": "3600", "routes": ALL["policies"][0]["routes"]}
    wanted: Result = {"policy_tree": whole, "contact_points": [point("mail"), PAGER], "mute_timings": ALL["mute_timings"]}
    assert run(wanted)["changed"] and not run(wanted)["changed"]
    tree = run.ask("GET", f"{API}/policies")
    assert tree["receiver"] == "MAIL" and tree["repeat_interval"] == "1h" and len(tree["routes"]) == 2 and tree["provenance"] == "api"
    wanted = {"policy_tree": {"state": "absent"}, "contact_points": [absent(uid="mail")], "mute_timings": [absent(name="nights/ü")]}
    assert len(run(wanted)["statements"]) == 3 and not run(wanted)["changed"]
    assert run.ask("GET", f"{API}/policies")["receiver"] == "grafana-default-email"


def test_the_second_example(run: ModuleRun) -> None:
    """The first one runs in test_grafana_playbook."""
    run({"contact_points": [point("mail", "Shop mail"), {**PAGER, "name": "Shop pager"}]})
    options = yaml.safe_load(grafana_alerting.EXAMPLES)[1]["groundwork.observability.grafana_alerting"]
    declared = {key: value for key, value in options.items() if key not in ("url", "token")}
    assert run(declared)["changed"] and not run(declared)["changed"]
    assert "provenance" not in run.ask("GET", f"{API}/policies")


def test_the_alerts_of_the_platform(proxy: Proxy, run: ModuleRun) -> None:
    """All rules of role grafana, and policies by severity, as the filters make them."""
    texts = [path.read_text() for path in sorted(ALERTS.glob("*.yml"))]
    names_of_values = re.findall(r"@(\w+)@", "".join(texts))
    made = grafana_alerts.grafana_alert_rules(
        [yaml.safe_load(text) for text in texts], dict.fromkeys(names_of_values, ["x"]), datasource="ds"
    )
    receivers = {"default": "MAIL", "critical": ["Pager", "MAIL"]}
    wanted: Result = {
        "contact_points": [point("mail"), PAGER],
        "policy_tree": grafana_alerts.grafana_alert_policy(receivers),
        "rule_groups": [{"folder_uid": "f", **{key: made_group[key] for key in ("name", "interval", "rules")}} for made_group in made],
    }
    assert not run(wanted).get("failed") and len(stored(run)["alert-rules"]) == sum(len(made_group["rules"]) for made_group in made) > 0
    proxy.reset()
    assert not run(wanted)["changed"] and len(proxy.requests) == 7


def test_changed_secrets_are_found_and_never_shown(run: ModuleRun) -> None:
    wanted: Result = {"contact_points": [PAGER, HOOK]}
    run(wanted)
    more = copy.deepcopy(wanted)
    more["contact_points"][0]["secure_settings"]["integrationKey"] = SECRETS[3]
    more["contact_points"][1]["secure_settings"]["password"] = SECRETS[3]
    assert run(more, check=True)["changed"] and stored_settings(run, "pager") == {"integrationKey": SECRETS[0]}
    done = run(more)
    assert stored_settings(run, "pager") == {"integrationKey": SECRETS[3]} and stored_settings(run, "hook")["password"] == SECRETS[3]
    assert '"integrationKey": "******** (another value)"' in done["diff"][0]["before"] and "scrypt" not in json.dumps(done)
    assert not run(more)["changed"]
    # What Grafana shows although it is declared as secret is compared as it is.
    run.ask("PUT", f"{API}/contact-points/hook", {**HOOK, "settings": {**stored_settings(run, "hook"), "url": "http://by-hand"}})
    assert run(more)["changed"] and stored_settings(run, "hook")["url"] == SECRETS[2]
    # None declared leaves all; one that is no longer declared is removed; an empty set removes all.
    free = {"contact_points": [{**PAGER, "secure_settings": None, "settings": {"severity": "info"}}]}
    assert run(free)["changed"] and stored_settings(run, "pager") == {"integrationKey": SECRETS[3], "severity": "info"}
    assert not run(free)["changed"]
    hook = {key: part for key, part in HOOK.items() if key != "secure_settings"}
    less: Result = {"contact_points": [{**hook, "secure_settings": {"url": SECRETS[2]}}]}
    assert run(less)["changed"] and stored_settings(run, "hook") == {**HOOK["settings"], "url": SECRETS[2]}
    public: Result = {"contact_points": [{**hook, "settings": {"url": "http://public"}}]}
    assert run(public)["changed"] and stored_settings(run, "hook") == {"url": "http://public"} and not run(public)["changed"]
    none: Result = {"contact_points": [{**hook, "settings": {"url": "http://plain"}, "secure_settings": {}}]}
    assert run(none)["changed"] and stored_settings(run, "hook") == {"url": "http://plain"} and not run(none)["changed"]


def test_other_ways_to_update_secrets(run: ModuleRun) -> None:
    wanted: Result = {"contact_points": [PAGER]}
    more: Result = {"contact_points": [{**PAGER, "secure_settings": {"integrationKey": SECRETS[3]}}]}
    run(wanted, update_secrets="on_create")
    assert not run(more, update_secrets="on_create")["changed"]
    more["contact_points"][0]["settings"] = {"severity": "info"}
    assert run(more, update_secrets="on_create")["changed"]
    assert stored_settings(run, "pager") == {"integrationKey": SECRETS[0], "severity": "info"}
    for _time in range(2):
        assert run(more, update_secrets="always")["changed"] and stored_settings(run, "pager")["integrationKey"] == SECRETS[3]
    assert "groundworkSecrets" not in stored(run)["contact-points"][0]["settings"]
    assert run(more)["changed"] and not run(more)["changed"]


def test_renamed_contact_points(run: ModuleRun) -> None:
    """Grafana renames the receiver in the policies; those of others are not written with the old name."""
    foreign(run)
    wanted: Result = {"contact_points": [point("theirs", "Renamed"), point("new", "THEIRS-2")], "policies": []}
    wanted["policies"] = [{"object_matchers": ["team=a"], "receiver": "THEIRS-2"}]
    assert len(run(wanted)["statements"]) == 3 and not run(wanted)["changed"]
    tree = run.ask("GET", f"{API}/policies")
    assert tree["receiver"] == "Renamed" and [route["receiver"] for route in tree["routes"]] == ["Renamed", "Renamed", "THEIRS-2"]
    # A joint name: the policies keep it as long as one contact point has it.
    run({"contact_points": [point("theirs", "THEIRS-2")]})
    assert {route["receiver"] for route in run.ask("GET", f"{API}/policies")["routes"]} == {"THEIRS-2"}


def test_rules_move_between_groups(run: ModuleRun) -> None:
    run({"rule_groups": [group("A", rule("a1"), rule("a2")), group("B", rule("b1"))]})
    ids = {raw["uid"]: raw["id"] for raw in stored(run)["alert-rules"]}
    moved: Result = {"rule_groups": [group("A", rule("a1")), group("B", rule("b1"), rule("a2"))]}
    assert len(run(moved)["statements"]) == 2 and not run(moved)["changed"]
    have = stored(run)["alert-rules"]
    assert {raw["uid"]: raw["ruleGroup"] for raw in have} == {"a1": "A", "b1": "B", "a2": "B"}
    assert {raw["uid"]: raw["id"] for raw in have} == ids
    # A renamed group keeps its rules; a title goes from one group to another; the order in a group is a difference.
    renamed: Result = {"rule_groups": [group("C", rule("a1")), absent(folder_uid="f", name="A"), group("B", rule("a2"), rule("b1"))]}
    done = run(renamed)
    assert len(done["statements"]) == 2 and not run(renamed)["changed"]
    assert [(raw["uid"], raw["id"]) for raw in stored(run)["alert-rules"]] == [(uid, ids[uid]) for uid in ("a2", "b1", "a1")]
    titles: Result = {"rule_groups": [group("B", rule("a2"), rule("b1", "A1")), group("C", rule("a1", "Free"))]}
    assert run(titles)["changed"] and not run(titles)["changed"]
    swapped: Result = {"rule_groups": [group("B", rule("a2"), rule("b1", "Free")), group("C", rule("a1", "A1"))]}
    assert "exchange rules or titles of rules, which needs two runs: f/B, f/C" in run(swapped)["msg"]
    replaced: Result = {"rule_groups": [absent(folder_uid="f", name="C"), group("D", rule("d1", "Free"))]}
    assert run(replaced)["changed"] and not run(replaced)["changed"]


def test_grafana_that_takes_no_group_with_new_uids(proxy: Proxy, run: ModuleRun) -> None:
    """Before 11.6 new rules are made one by one, and the order of the rules is the server's."""

    def old(_method: str, path: str, _position: int) -> Fault | None:
        return (200, {"Content-Type": "application/json"}, b'{"version": "11.5.1+security-01"}') if path == "/api/health" else None

    proxy.reset(old)
    wanted: Result = {"rule_groups": [group("A", rule("z"), rule("a"), interval="5m")]}
    done = run(wanted)
    assert [line.split(" ")[0] for line in done["statements"]] == ["POST", "POST", "PUT"]
    run.ask("PUT", f"{API}/folder/f/rule-groups/A", {"interval": 300, "rules": list(reversed(stored(run)["alert-rules"]))})
    assert not run(wanted)["changed"]
    other: Result = {"rule_groups": [group("A", rule("new", "Z"), rule("a"))]}
    assert [line.split(" ")[0] for line in run(other)["statements"]] == ["DELETE", "POST", "PUT"] and not run(other)["changed"]
    assert names(run, "alert-rules") == ["a", "new"]


def test_a_broken_export_is_no_obstacle(proxy: Proxy, run: ModuleRun) -> None:
    """A rule in a missing folder breaks the export of all rules: then each declared group is read by itself."""
    run(ALL)
    proxy.reset(lambda _method, path, _position: (500, {}, b'{"message": "failed"}') if "export" in path else None)
    assert not run(ALL)["changed"] and len(proxy.requests) == 10


def test_who_may_edit(proxy: Proxy, run: ModuleRun) -> None:
    run(ALL, editable_in_ui=True)
    assert not [raw for kind, found in stored(run).items() if kind != "policies" for raw in found if raw.get("provenance")]
    assert not run(ALL, editable_in_ui=True)["changed"]
    # The list of mute timings does not say it, so one is changed by hand.
    may = {"name": "may", "time_intervals": [{"months": ["5"]}]}
    assert run.server.send("PUT", f"{API}/mute-timings/may", may, auth=ADMIN, headers=by_hand(run))[0] == 202
    # Grafana's pages lose the right, and do not get it back, but for rules.
    done = run(ALL)
    assert done["changed"] and {raw["provenance"] for raw in stored(run)["alert-rules"]} == {"api"}
    assert not run(ALL)["changed"]
    proxy.reset()
    refused = run(ALL, editable_in_ui=True)
    assert "template 'title' was written through the API without editable_in_ui" in refused["msg"] and not proxy.writes
    assert len(run({"rule_groups": ALL["rule_groups"]}, editable_in_ui=True)["statements"]) == 2
    assert not [raw for raw in stored(run)["alert-rules"] if raw.get("provenance")]
    run({"policy_tree": {"receiver": "MAIL"}, "contact_points": [point("mail")]})
    assert "notification policy 'tree' was written through" in run({"policy_tree": {"receiver": "Pager"}}, editable_in_ui=True)["msg"]


def test_files_own_what_they_provision(proxy: Proxy, run: ModuleRun) -> None:
    run.org = 1
    for declared in (point("file", "other"), absent(uid="file")):
        proxy.reset()
        refused = run({"templates": [{"name": "x", "template": "x"}], "contact_points": [declared]})
        assert "contact point 'file' comes from a provisioning file" in refused["msg"] and not proxy.writes
    run.ask("POST", "/api/folders", {"uid": "f", "title": "Shop"})
    run.ask("POST", "/api/datasources", {"uid": "ds", "name": "Shop", "type": "prometheus", "access": "proxy", "url": "http://p"})
    files = run.ask("GET", f"{API}/alert-rules")[0]["folderUID"]
    proxy.reset()
    assert "uid 'file-rule' is that of a rule in group" in run({"rule_groups": [group("A", rule("file-rule"))]})["msg"]
    gone = run({"rule_groups": [absent(folder_uid=files, name="From file")]})
    assert f"rule group '{files}/From file' comes from a provisioning file" in gone["msg"] and not proxy.writes
    kept = run({"contact_points": []}, purge={"contact_points": ["*"], "rule_groups": [files]})
    assert not kept.get("failed") and not kept["changed"]


def test_a_hundred_of_each_in_the_same_number_of_requests(proxy: Proxy, run: ModuleRun) -> None:
    many: Result = {
        "templates": [{"name": f"t{number}", "template": "x"} for number in range(100)],
        "mute_timings": [{"name": f"m{number}", "time_intervals": NIGHT} for number in range(100)],
        "contact_points": [point(f"p{number}") for number in range(100)],
        "policies": [{"object_matchers": [["n", "=", str(number)]], "receiver": f"P{number}"} for number in range(100)],
        "rule_groups": [group(f"g{number}", rule(f"r{number}")) for number in range(100)],
    }
    run(many)
    proxy.reset()
    assert not run(many)["changed"] and len(proxy.requests) == 8


@pytest.mark.soak
def test_killed_after_each_request(run: ModuleRun) -> None:
    """The next run finishes, whatever the last write was."""
    before = {
        "templates": [{"name": "old", "template": "x"}],
        "mute_timings": [{"name": "old", "time_intervals": NIGHT}],
        "contact_points": [point("old"), PAGER],
        "policies": [{"object_matchers": ["team=shop"], "receiver": "OLD", "mute_time_intervals": ["old"]}],
        "rule_groups": [group("A", rule("a1"), rule("a2")), group("B", rule("b1")), group("Old", rule("o1"), rule("o2"))],
    }
    after = {
        "templates": [absent(name="old"), {"name": "new", "template": "y"}],
        "mute_timings": [absent(name="old"), {"name": "new", "time_intervals": NIGHT}],
        "contact_points": [absent(uid="old"), {**PAGER, "name": "Pager 2"}, point("new")],
        "policies": [{"object_matchers": ["team=shop"], "receiver": "NEW", "mute_time_intervals": ["new"]}],
        "rule_groups": [group("A", rule("a1", "O1")), group("B", rule("b1"), rule("a2")), absent(folder_uid="f", name="Old")],
    }

    def prepare() -> None:
        run.ask("DELETE", f"{API}/policies")
        for uid in names(run, "alert-rules"):
            run.ask("DELETE", f"{API}/alert-rules/{uid}")
        for kind in ("contact-points", "mute-timings", "templates"):
            for name in names(run, kind):
                run.ask("DELETE", f"{API}/{kind}/{name}")
        assert run(before)["changed"]

    interrupted = 0
    for stopped in run.interrupted(prepare, after):
        interrupted += 1
        finished = run(after)
        assert not finished.get("failed"), (stopped, finished)
        assert {raw["uid"]: (raw["title"], raw["ruleGroup"]) for raw in stored(run)["alert-rules"]} == {
            "a1": ("O1", "A"),
            "a2": ("A2", "B"),
            "b1": ("B1", "B"),
        }
        assert names(run, "contact-points") == ["new", "pager"] and names(run, "templates") == names(run, "mute-timings") == ["new"]
        assert not run(after)["changed"]
    assert interrupted == 12


def test_lost_answers(proxy: Proxy, run: ModuleRun) -> None:
    """The answers to the third, sixth and ninth write are lost: the module reads that they were executed, and goes on."""

    def lose(method: str, _path: str, _position: int) -> Fault | None:
        return FORWARD_AND_DROP if method in WRITES and len(proxy.writes) % 3 == 0 else None

    proxy.reset(lose)
    done = run(ALL)
    assert len(done["statements"]) == 11 == len(proxy.writes) and "uncertain" not in done
    assert not run(ALL)["changed"]


def test_concurrent_changes(proxy: Proxy, run: ModuleRun) -> None:
    """Somebody changes a template, and deletes a contact point, between the module's read and its write: it reads again."""
    run(ALL)

    def interfere(method: str, _path: str, _position: int) -> Fault | None:
        if method == "PUT" and len(proxy.writes) == 1:
            run.ask("PUT", f"{API}/templates/plain", {"template": "theirs"})
        if method == "PUT" and len(proxy.writes) == 3:
            run.ask("DELETE", f"{API}/policies")
            run.ask("DELETE", f"{API}/contact-points/mail")
        return None

    wanted = changed(templates=[{"name": "plain", "template": "ours"}])
    wanted["contact_points"][0]["disable_resolve_message"] = True
    proxy.reset(interfere)
    done = run(wanted)
    assert [line.split(" ")[0] + line.split("/")[4].split(" ")[0] for line in proxy.writes] == [
        *["PUTtemplates"] * 2,
        "PUTcontact-points",
        "POSTcontact-points",
        "PUTpolicies",
    ]
    assert len(done["statements"]) == 3 and not run(wanted)["changed"]


def test_a_recording_rule(run: ModuleRun) -> None:
    """It has neither condition nor states, whatever Grafana answers."""
    record = {"metric": "up_last", "from": "B", "target_datasource_uid": "ds"}
    wanted: Result = {"rule_groups": [group("A", rule("a1", record=record, condition=None))]}
    assert run(wanted)["changed"] and not run(wanted)["changed"]
    assert stored(run)["alert-rules"][0]["record"] == record
    refused = run({"rule_groups": [group("A", rule("a1", record={**record, "from": "Z"}))]})
    assert "record.from 'Z' is no refId of data" in refused["msg"]


def test_who_may_not_see_data_sources(proxy: Proxy, run: ModuleRun) -> None:
    """Then the server decides about the rules."""
    proxy.reset(lambda _method, path, _position: (403, {}, b'{"message": "no"}') if path == "/api/datasources" else None)
    assert run({"rule_groups": [group("A", rule("a1"))]})["changed"]


def test_two_organisations_at_once(run: ModuleRun) -> None:
    """Two runs of one user, each request by turns: nothing lands in the other's organisation."""
    other = run.server.send("POST", "/api/orgs", {"name": "other"}, auth=ADMIN)[1]["orgId"]
    barrier, results = threading.Barrier(2), {}

    class Turns(Client):
        def send(self, *arguments: t.Any, **options: t.Any) -> t.Any:
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(20)
            return super().send(*arguments, **options)

    def converge(org: int, name: str) -> None:
        declared: Result = {**dict.fromkeys(("rule_groups", "policies"), []), "policy_tree": None, "purge": None, "editable_in_ui": False}
        declared["templates"] = [{"name": f"{name}{number}", "template": name, "state": "present"} for number in range(3)]
        contact = {**point(name), "secure_settings": None, "disable_resolve_message": False, "state": "present"}
        declared.update(contact_points=[contact], mute_timings=[], update_secrets="digest")
        options = {**dict.fromkeys(("token", "client_cert", "client_key", "ca_path", "org_name")), "use_proxy": False, "http_agent": "a"}
        login = {"url": run.proxy.url, "url_username": ADMIN[0], "url_password": ADMIN[1], "timeout": 20, "retries": 0, "org_id": org}
        client = Turns(Connection.from_params({**options, **login, "validate_certs": True}))
        module: t.Any = SimpleNamespace(params=declared, check_mode=False)
        results[name] = execution.converge(module, client, alerting.ALERTING, alerting.declare(declared))
        barrier.abort()

    runs = [threading.Thread(target=converge, args=arguments) for arguments in ((run.org, "x"), (other, "y"))]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join()
    assert {name: len(plan.steps) for name, plan in results.items()} == {"x": 4, "y": 4}
    for org, name in ((run.org, "x"), (other, "y")):
        run.org = org
        assert names(run, "templates") == [f"{name}{number}" for number in range(3)] and names(run, "contact-points") == [name]
    run.server.send("DELETE", f"/api/orgs/{other}", auth=ADMIN)


def test_check_mode_before_folders_and_data_sources(run: ModuleRun) -> None:
    """A task before may be about to make what is missing; a real run refuses it."""
    wanted: Result = {"rule_groups": [{**group("A", rule("a1")), "folder_uid": "later"}]}
    wanted["rule_groups"][0]["rules"][0]["data"][0]["datasourceUid"] = "later"
    wanted["policies"] = [{"object_matchers": ["a=b"], "receiver": "Later"}]
    assert len(run(wanted, check=True)["statements"]) == 2
    assert "there is no" in run(wanted)["msg"]
    planned = run(ALL, check=True, url="http://127.0.0.1:1")
    assert len(planned["statements"]) == 11 and [text for text in planned["warnings"] if "planned as for an empty server" in text]


def test_viewers_and_editors_are_refused(run: ModuleRun) -> None:
    for token in run.tokens("Viewer", "Editor"):
        refused = run(ALL, as_user={"token": token})
        assert "403: the user or token may not do this" in refused["msg"] and not refused["changed"]


def with_data(*data: Result, **more: t.Any) -> Result:
    return {"rule_groups": [group("A", {**rule("a1"), "data": list(data), "condition": "A", **more})]}


def expression(ref: str, **model: t.Any) -> Result:
    return {"refId": ref, "datasourceUid": "__expr__", "model": model}


QUERY = {"refId": "A", "datasourceUid": "ds", "model": {}}
ROUTE = {"object_matchers": ["a=b"], "receiver": "THEIRS"}
WRONG: list[tuple[Result, str]] = [
    ({"contact_points": [point("white space")]}, "contact_points[0]: uid 'white space' must have 1 to 40 characters"),
    ({"contact_points": [point("a"), point("a", "b")]}, "contact_points[1]: uid is also that of contact_points[0]"),
    ({"contact_points": [{"uid": "a", "type": "email"}]}, "contact point 'a': name must not be empty"),
    ({"contact_points": [point("a", "two\nlines")]}, "must not contain control characters"),
    ({"contact_points": [{"uid": "a", "name": "A"}]}, "contact point 'a': type is missing"),
    (
        {"contact_points": [point("a", type="slack", settings={"url": SECRETS[3]})]},
        "url is a secret for Grafana: give it in secure_settings",
    ),
    ({"contact_points": [point("a", type="LINE", settings={"token": SECRETS[3]})]}, "token is a secret for Grafana: give it in"),
    ({"contact_points": [point("a", settings={"password": "[REDACTED]"})]}, "[REDACTED] stands for a secret that Grafana does not show"),
    ({"contact_points": [point("a", secure_settings={"password": ""})]}, "secure_settings.password must be a text that is not empty"),
    ({"contact_points": [point("a", secure_settings={"b": {"c": [1]}})]}, "secure_settings.b.c must be a text"),
    ({"contact_points": [point("a", secure_settings={"addresses": "x"})]}, "addresses is both in settings and in secure_settings"),
    ({"contact_points": [point("a", settings={"groundworkSecrets": 1})]}, "is where this module keeps its digest"),
    ({"contact_points": [absent(uid="theirs")]}, "contact point 'THEIRS' is used by the notification policies: change that first"),
    ({"contact_points": [point("a", unknown=1)]}, "Unsupported parameters"),
    ({"policies": [{**ROUTE, "receiver": "Nobody"}]}, "policies: a=\"b\": receiver 'Nobody': there is no contact point with this name"),
    ({"policies": [{**ROUTE, "mute_time_intervals": ["never"]}]}, "mute_time_intervals 'never': there is no mute timing with this name"),
    ({"policies": [{**ROUTE, "routes": [{"active_time_intervals": ["x"]}]}]}, "active_time_intervals 'x': there is no mute timing"),
    ({"policies": [{"receiver": "THEIRS"}]}, "policies[0]: object_matchers is missing"),
    ({"policies": [ROUTE, {**ROUTE, "object_matchers": [["a", "=", "b"]]}]}, "policies[1]: object_matchers is also that of policies[0]"),
    ({"policies": [{**ROUTE, "object_matchers": ["a ~ b"]}]}, "matcher 'a ~ b' is neither a text such as"),
    ({"policies": [{**ROUTE, "object_matchers": [["a", "==", "b"]]}]}, "is neither a text such as"),
    ({"policies": [{**ROUTE, "group_wait": "soon"}]}, "policies[0]: group_wait: 'soon' is not a duration such as"),
    ({"policies": [{**ROUTE, "group_interval": "0s"}]}, "policies[0]: group_interval: '0s' must be longer than zero"),
    ({"policies": [{**ROUTE, "group_by": ["...", "a"]}]}, "'...' means all labels, and must stand alone"),
    ({"policies": [{**ROUTE, "routes": [{"reciever": "THEIRS"}]}]}, "policies[0]: routes[0]: a route has no reciever; it has receiver"),
    ({"policies": [{**ROUTE, "routes": [{"routes": {"a": 1}}]}]}, "policies[0]: routes[0]: routes must be a list"),
    ({"policies": [{**ROUTE, "routes": [{"routes": ["x"]}]}]}, "a route must be a dictionary"),
    ({"policies": [ROUTE], "policy_tree": {"receiver": "THEIRS"}}, "parameters are mutually exclusive: policies|policy_tree"),
    ({"policy_tree": {"receiver": "THEIRS"}, "purge": {"policies": ["a=b"]}}, "policy_tree is all of the tree"),
    ({"policy_tree": {"group_by": ["a"]}}, "policy_tree: receiver is missing"),
    ({"policy_tree": {"receiver": "THEIRS", "object_matchers": ["a=b"]}}, "Unsupported parameters"),
    ({"mute_timings": [{"name": "a"}]}, "mute timing 'a' has no time_intervals"),
    ({"mute_timings": [{"name": "a", "time_intervals": [{}]}]}, "time_intervals[0]: it is empty, and would mute at all times"),
    ({"mute_timings": [{"name": "a", "time_intervals": [{"times": [{"start_time": 1320, "end_time": 1439}]}]}]}, "with quotes in YAML"),
    ({"mute_timings": [{"name": "a", "time_intervals": [{"times": [{"start_time": "22:00", "end_time": "06:00"}]}]}]}, "over midnight"),
    (
        {"mute_timings": [{"name": "a", "time_intervals": [{"weekdays": ["funday"]}]}]},
        "weekdays: 'funday' is neither one value nor a range",
    ),
    ({"mute_timings": [{"name": "a", "time_intervals": [{"days_of_month": ["32"]}]}]}, "days_of_month: '32' is neither"),
    ({"mute_timings": [{"name": "a", "time_intervals": [{"months": ["5:3"]}]}]}, "months: '5:3' is neither"),
    ({"mute_timings": [{"name": "a", "time_intervals": [{"months": ["5"], "location": "not a zone"}]}]}, "is not a time zone such as"),
    ({"mute_timings": [{"name": "a", "time_intervals": NIGHT}] * 2}, "mute_timings[1]: name is also that of mute_timings[0]"),
    ({"templates": [{"name": "a", "template": "  "}]}, "template 'a' has no text"),
    ({"templates": [{"name": "a", "template": '{{ define "a" }}{{ if .X }}{{ end }}'}]}, "opens 2 blocks"),
    ({"templates": [{"name": " ", "template": "x"}]}, "templates[0]: name must not be empty"),
    ({"rule_groups": [group("A")]}, "group 'A' has no rules"),
    ({"rule_groups": [group("A", rule("a1"), interval="15s")]}, "interval 15s is not a multiple of 10s"),
    ({"rule_groups": [group("A", rule("a1"), interval="often")]}, "interval: 'often' is not a duration"),
    ({"rule_groups": [{**group("A", rule("a1")), "folder_uid": "nowhere"}]}, "folder_uid 'nowhere': there is no such folder"),
    ({"rule_groups": [group("A", rule("a1")), group("B", rule("a1", "X"))]}, "uid is also that of rule_groups[0]: rule 'A1'"),
    ({"rule_groups": [group("A", rule("a1")), group("B", rule("b1", "A1"))]}, "title in the same folder is also that of"),
    ({"rule_groups": [group("A", rule("a1", "THEIRS-RULE"))]}, "is that of rule 'theirs-rule' in group 'f/Theirs', which is not declared"),
    ({"rule_groups": [group("A", rule("a b"))]}, "rules[0]: uid 'a b' must have 1 to 40 characters"),
    ({"rule_groups": [group("A", rule("a1", " "))]}, "rule 'a1': title must have 1 to 190 characters"),
    ({"rule_groups": [group("A", rule("a1", condition="Z"))]}, "condition 'Z' is no refId of data, which are A, B, C"),
    ({"rule_groups": [group("A", rule("a1", condition=None))]}, "condition is missing"),
    ({"rule_groups": [group("A", rule("a1", **{"for": "x"}))]}, "rule 'a1': for: 'x' is not a duration"),
    ({"rule_groups": [group("A", rule("a1", no_data_state="Fine"))]}, "value of no_data_state must be one of"),
    ({"rule_groups": [group("A", rule("a1", notification_settings={"group_wait": "1m"}))]}, "notification_settings: receiver is missing"),
    ({"rule_groups": [group("A", rule("a1", notification_settings={"receiver": "X"}))]}, "receiver 'X': there is no contact point"),
    ({"rule_groups": [group("A", rule("a1", record={"metric": "m"}))]}, "record must have metric and from"),
    (with_data(), "data is missing"),
    (with_data(QUERY, {**QUERY, "datasourceUid": "gone", "refId": "B"}), "rule 'a1': there is no data source with uid 'gone'"),
    (with_data({**QUERY, "datasourceUid": ""}), "data[0]: datasourceUid must be a text that is not empty"),
    (with_data(QUERY, QUERY), "data has two queries with the same refId"),
    (with_data({**QUERY, "expr": "up"}), "data[0]: a query has no expr; it has refId"),
    (with_data({**QUERY, "relativeTimeRange": {"from": 0, "to": 60}}), "data[0]: relativeTimeRange must have from and to"),
    (with_data(expression("A", type="math", expression="$Z > 1")), "expression 'A' refers to 'Z', which is no refId of data"),
    (with_data(expression("A", type="reduce", expression="B"), expression("B", type="math", expression="${A} + 1")), "in a circle: A, B"),
    (with_data(expression("A", type="classic_conditions", conditions=[{"query": {"params": ["Q"]}}])), "refers to 'Q'"),
    ({"purge": {"policies": ["all"]}}, "purge.policies: matcher 'all' is neither"),
    ({"purge": {"rule_groups": ["*"]}}, "purge.rule_groups: uid '*' must have 1 to 40 characters"),
    ({"update_secrets": "never"}, "value of update_secrets must be one of"),
]


@pytest.mark.parametrize(("declared", "message"), WRONG, ids=[message[-40:] for _declared, message in WRONG])
def test_wrong_input(proxy: Proxy, run: ModuleRun, declared: Result, message: str) -> None:
    foreign(run)
    theirs = {**rule("theirs-rule"), "folderUID": "f", "ruleGroup": "Theirs", "noDataState": "OK", "execErrState": "OK"}
    run.ask("POST", f"{API}/alert-rules", theirs)
    before = stored(run)
    refused = run({"templates": [{"name": "first", "template": "x"}], **declared})
    assert refused["failed"] and message in refused["msg"] and "\n" not in refused["msg"]
    assert stored(run) == before and not proxy.writes and not refused.get("changed")


@pytest.mark.parametrize(
    "fault",
    [(500, {}, b'{"message": "Failed"}'), (502, {}, b"<html>"), (200, {}, b"<html>"), (200, {}, b'["x"]'), (302, {}, b""), CUT, DROP],
    ids=str,
)
def test_broken_answers(proxy: Proxy, run: ModuleRun, fault: Fault) -> None:
    """To a list: nothing is written. To a write in the middle: the next run finishes."""
    for end in ("contact-points", "alert-rules", "policies"):

        def break_list(_method: str, path: str, _position: int, end: str = end) -> Fault | None:
            return fault if path.endswith(end) else None

        proxy.reset(break_list)
        refused = run(ALL)
        assert refused["failed"] and "\n" not in refused["msg"] and not proxy.writes
    proxy.reset(lambda _method, _path, _position: fault if len(proxy.writes) == 5 else None)
    run(ALL)
    proxy.reset()
    run(ALL)
    assert not run(ALL)["changed"]
