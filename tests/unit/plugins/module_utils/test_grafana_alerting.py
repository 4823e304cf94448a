# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What makes two objects of Grafana's alerting the same, and what a tree of policies becomes, without a server."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._durations import format_duration
from ansible_collections.groundwork.observability.plugins.module_utils._grafana import (
    alert_rules,
    alerting,
    contact_points,
    durations,
    mute_timings,
    notification_policies,
    notification_templates,
)
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.client import GrafanaError
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.kind import Declared, Found, Observation
from hypothesis import given
from hypothesis import strategies as st

Tree = dict[str, t.Any]


@given(milliseconds=st.integers(0, 2**43))
def test_durations_keep_their_length(milliseconds: int) -> None:
    text = format_duration(milliseconds)
    assert durations.parse_duration(text) == milliseconds
    assert durations.canonical_duration(text, "x") == text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("24h", "1d"),
        ("90m", "1h30m"),
        ("0", "0s"),
        ("0s", "0s"),
        (60, "1m"),
        ("1w", "1w"),
        ("8d", "8d"),
        ("250ms", "250ms"),
        ("365d", "1y"),
    ],
)
def test_durations_are_written_as_grafana_does(text: t.Any, written: str) -> None:
    assert durations.canonical_duration(text, "x") == written


@pytest.mark.parametrize("text", ["", "soon", "1", "-5m", "5 m", "1m1h", "1.5h", "٣s", "9" * 30 + "y"])
def test_what_is_no_duration(text: str) -> None:
    if text == "1":
        assert durations.parse_duration(text) == 1000
    else:
        with pytest.raises(GrafanaError, match="is not a duration such as"):
            durations.canonical_duration(text, "x")


@pytest.mark.parametrize(
    ("given_matcher", "parts"),
    [
        ('team="shop"', ["team", "=", "shop"]),
        (" team = shop ", ["team", "=", "shop"]),
        ("a!=b=c", ["a", "!=", "b=c"]),
        ('a=~"x|y.*"', ["a", "=~", "x|y.*"]),
        ('a!~"say \\"hi\\" \\\\ there"', ["a", "!~", 'say "hi" \\ there']),
        ("a=", ["a", "=", ""]),
        ('a=""', ["a", "=", ""]),
        (["a", "=", 1], ["a", "=", "1"]),
    ],
)
def test_matchers(given_matcher: t.Any, parts: list[str]) -> None:
    route = notification_policies.canonical_route({"object_matchers": [given_matcher]}, "x")
    assert route["object_matchers"] == [parts]


ROUTES: list[Tree] = [{"receiver": "r", "object_matchers": [[letter, "=", "1"]]} for letter in "abcd"]


def routes_of(*letters: str) -> Tree:
    return {"receiver": "root", "routes": [route for letter in letters for route in ROUTES if route["object_matchers"][0][0] == letter]}


def own(*present: str, absent: str = "", first: str = "", scope: str = "") -> Declared:
    want = {notification_policies.key_of(route): route for route in routes_of(*present)["routes"]}
    keys = {notification_policies.key_of(route) for route in routes_of(*absent)["routes"]}
    front = [notification_policies.key_of(route) for route in routes_of(*first)["routes"]]
    return Declared(
        "routes", {"routes": want}, "policies", {"absent": keys, "first": front, "scope": [[letter, "=", "1"] for letter in scope]}
    )


@pytest.mark.parametrize(
    ("have", "item", "after"),
    [
        ("", own("a"), "a"),
        ("bc", own("a"), "bca"),
        ("bc", own("a", first="a"), "abc"),
        ("bac", own("a", first="a"), "bac"),
        ("bac", own("b", absent="a"), "bc"),
        ("bac", own("b", scope="cd"), "ba"),
        ("bac", own("d", "a", first="d", scope="b"), "dac"),
        ("bac", own(), "bac"),
    ],
)
def test_own_routes_in_a_tree(have: str, item: Declared, after: str) -> None:
    observation = notification_policies.seen({**routes_of(*have), "provenance": "api"}, [item])
    assert notification_policies.final_tree([item], observation) == routes_of(*after)


def test_routes_of_others_keep_what_a_declared_one_cannot_have() -> None:
    legacy = {"match": {"a": "b"}, "receiver": "r"}
    item = own("a")
    observation = notification_policies.seen({"receiver": "root", "routes": [legacy]}, [item])
    assert notification_policies.final_tree([item], observation)["routes"][0] == legacy


def point(uid: str, name: str) -> Declared:
    return Declared(uid, {"name": name}, uid)


@pytest.mark.parametrize(
    ("have", "want", "renamed"),
    [
        ({"1": "A"}, {"1": "B"}, {"A": "B"}),
        ({"1": "A"}, {"1": "A"}, {}),
        # Another one keeps the name, or gets it before.
        ({"1": "A", "2": "A"}, {"1": "B"}, {}),
        ({"1": "A"}, {"2": "A", "1": "B"}, {}),
        ({"1": "A"}, {"1": "B", "2": "A"}, {"A": "B"}),
        ({"1": "A", "2": "A"}, {"1": "B", "2": "C"}, {"A": "C"}),
        ({"1": "A", "2": "B"}, {"1": "B", "2": "C"}, {"A": "B"}),
        ({"1": "A", "2": "B"}, {"2": "C", "1": "B"}, {"A": "B", "B": "C"}),
    ],
)
def test_receivers_that_grafana_renames(have: dict[str, str], want: dict[str, str], renamed: dict[str, str]) -> None:
    found = {uid: Found(uid, {"name": name}) for uid, name in have.items()}
    assert alerting._renamed_receivers([point(uid, name) for uid, name in want.items()], Observation(found)) == renamed


def test_receivers_are_renamed_at_every_depth() -> None:
    tree = {"receiver": "A", "routes": [{"receiver": "B", "routes": [{"receiver": "A"}]}, {}]}
    renamed = notification_policies.rename_receivers(tree, {"A": "C"})
    assert renamed == {"receiver": "C", "routes": [{"receiver": "B", "routes": [{"receiver": "C"}]}, {}]} and tree["receiver"] == "A"


RULE: Tree = {"uid": "u", "title": "T", "condition": "A", "noDataState": "OK", "execErrState": "OK", "for": "60s"}
QUERY: Tree = {"refId": "A", "datasourceUid": "d", "model": {"expr": "up"}}
SHOWN: Tree = {
    "refId": "A",
    "datasourceUid": "d",
    "queryType": "",
    "relativeTimeRange": {"from": 0, "to": 0},
    "model": {"expr": "up", "intervalMs": 1000, "maxDataPoints": 43200},
}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"for": "1m", "isPaused": False, "labels": {}, "annotations": None, "id": 3, "updated": "now", "orgID": 1}),
        ({"data": [QUERY]}, {"data": [SHOWN]}),
        ({"labels": {"a": 1}}, {"labels": {"a": "1"}}),
        ({"keep_firing_for": "0s"}, {}),
        (
            {"notification_settings": {"receiver": "r", "group_wait": "60s", "group_by": []}},
            {"notification_settings": {"receiver": "r", "group_wait": "1m"}},
        ),
        (
            {"record": {"metric": "m", "from": "A"}},
            {"record": {"metric": "m", "from": "A"}, "condition": "", "for": "0s", "noDataState": ""},
        ),
    ],
)
def test_rules_that_are_the_same(one: Tree, other: Tree) -> None:
    assert alert_rules.canonical_rule({**RULE, **one}, "x") == alert_rules.canonical_rule({**RULE, **other}, "x")


@pytest.mark.parametrize(
    "other", [{"for": "2m"}, {"isPaused": True}, {"data": [QUERY]}, {"labels": {"a": "b"}}, {"missingSeriesEvalsToResolve": 3}]
)
def test_rules_that_differ(other: Tree) -> None:
    assert alert_rules.canonical_rule(RULE, "x") != alert_rules.canonical_rule({**RULE, **other}, "x")


@pytest.mark.parametrize(
    ("model", "needed"),
    [
        ({"type": "math", "expression": "$A + ${B c} > 1"}, {"A", "B c"}),
        ({"type": "reduce", "expression": "A"}, {"A"}),
        ({"type": "threshold", "expression": "${A}"}, {"A"}),
        ({"type": "resample", "expression": ""}, set()),
        ({"type": "sql", "expression": "SELECT $1"}, set()),
        ({"type": "classic_conditions", "conditions": [{"query": {"params": ["A", "5m"]}}, {}]}, {"A"}),
    ],
)
def test_what_expressions_refer_to(model: Tree, needed: set[str]) -> None:
    assert alert_rules._references({"datasourceUid": "__expr__", "model": model}) == needed


def test_nested_settings() -> None:
    settings: Tree = {"a": 1, "b": {"c": {"d": 2, "e": []}, "f": {}}, "g": {}}
    assert dict(contact_points.leaves(settings)) == {("a",): 1, ("b", "c", "d"): 2, ("b", "c", "e"): []}
    assert contact_points.without_leaves(settings, {("b", "c", "d"), ("a",)}) == {"b": {"c": {"e": []}, "f": {}}, "g": {}}
    assert contact_points.without_leaves({"a": {"b": {"c": 1}}}, {("a", "b", "c")}) == {}
    contact_points.with_leaf(settings, ("b", "x", "y"), 3)
    assert contact_points.get_leaf(settings, ("b", "x", "y")) == 3 and contact_points.get_leaf(settings, ("a", "x")) is None


def test_settings_that_grafana_turns_out_to_hide() -> None:
    """A secret of a type or version that is not known here is refused as soon as Grafana hides it."""
    options: Tree = {"uid": "a", "name": "A", "type": "new", "disable_resolve_message": False, "secure_settings": None, "state": "present"}
    options["settings"] = {"auth": {"password": "x"}}
    params = {"contact_points": [options], "editable_in_ui": False, "update_secrets": "digest"}
    (item,) = contact_points.declare(params)
    raw = {"uid": "a", "name": "A", "type": "new", "settings": {"auth": {"password": "[REDACTED]"}}}
    have = {"a": contact_points._found(raw, item)}
    contact_points.check([item], Observation({}), params)
    with pytest.raises(GrafanaError, match=r"auth\.password is a secret for Grafana: give it in secure_settings"):
        contact_points.check([item], Observation(have), params)


@pytest.mark.parametrize(
    ("key", "text", "is_range"),
    [
        *(
            ("weekdays", "monday", True),
            ("weekdays", "monday:friday", True),
            ("weekdays", "friday:monday", False),
            ("weekdays", "1", False),
        ),
        *(
            ("days_of_month", "1:-1", True),
            ("days_of_month", "-3:-1", True),
            ("days_of_month", "-1:1", False),
            ("days_of_month", "0", False),
        ),
        *(("months", "1:december", True), ("months", "13", False), ("years", "2026:2027", True), ("years", "1:2:3", False)),
    ],
)
def test_ranges_of_mute_timings(key: str, text: str, is_range: bool) -> None:
    assert mute_timings._is_range(key, text) == is_range


@pytest.mark.parametrize(("text", "minute"), [("00:00", 0), ("24:00", 1440), ("24:01", None), ("7:00", None), ("12:60", None), (720, None)])
def test_times_of_mute_timings(text: t.Any, minute: int | None) -> None:
    assert mute_timings._minute(text) == minute


@pytest.mark.parametrize(
    "text",
    [
        '{{ define "a" }}{{ range .Alerts }}{{ if .X }}x{{ else if .Y }}y{{ end }}{{ end }}{{ end }}',
        '{{- define "a" -}}{"json": {"deep": {}}}{{- end -}}',
        '{{/* {{ if }} */}}{{ define "a" }}{{ end }}',
    ],
)
def test_templates_that_are_right(text: str) -> None:
    assert notification_templates._canonical("a", f"  {text}\n", "x") == text
