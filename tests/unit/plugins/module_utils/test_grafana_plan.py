# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order of changes in Grafana, without a server: names and places change hands in every possible way."""

from __future__ import annotations

import itertools
import typing as t

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._grafana import client, folders, planning
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.client import Connection, GrafanaError
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.kind import (
    Change,
    Declared,
    Found,
    Observation,
    parse_statement,
)
from hypothesis import given
from hypothesis import strategies as st

Tree = dict[str, tuple[str, str]]
UIDS = "abcde"


def found(tree: Tree) -> dict[str, Found]:
    return {uid: Found(uid, {"parent_uid": parent, "title": title}, {"version": 1}) for uid, (parent, title) in tree.items()}


def declared(tree: Tree, have: Tree) -> list[Declared]:
    present = [Declared(uid, {"parent_uid": parent, "title": title}, uid) for uid, (parent, title) in tree.items()]
    return [*present, *(Declared(uid, None, uid) for uid in have if uid not in tree)]


def apply(have: Tree, plan: planning.Plan) -> Tree:
    """Execute a plan as Grafana would, refusing what it refuses."""
    now = dict(have)
    for step in plan.steps:
        line, _newline, text = step.statement.partition("\n")
        (uid,) = step.target
        if line.startswith("DELETE"):
            assert not [other for other, (parent, _title) in now.items() if parent == uid], line
            del now[uid]
            continue
        body = client.json.loads(text)
        parent, title = now.get(uid, ("", ""))
        parent, title = body.get("parentUid", parent), body.get("title", title)
        assert (uid in now) == (line != "POST /api/folders"), line
        assert not parent or parent in now, line
        others = {(above, name.casefold()) for other, (above, name) in now.items() if other != uid}
        assert (parent, title.casefold()) not in others, line
        now[uid] = (parent, title)
        above, steps = parent, 0
        while above:
            assert above != uid and steps < 9, line
            above, steps = now[above][0], steps + 1
    return now


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """A tree of some of the uids, with few titles so that many change hands."""
    tree: Tree = {}
    for uid in draw(st.permutations(UIDS))[: draw(st.integers(0, len(UIDS)))]:
        place = (draw(st.sampled_from(["", *tree])), draw(st.sampled_from(["X", "x", "Y", "Z"])))
        if (place[0], place[1].casefold()) not in {(parent, title.casefold()) for parent, title in tree.values()}:
            tree[uid] = place
    return tree


@given(have=trees(), want=trees())
def test_any_tree_becomes_any_other(have: Tree, want: Tree) -> None:
    items = declared(want, have)
    plan = planning.make_plan(folders.FOLDERS, items, Observation(found(have)))
    assert apply(have, plan) == want
    assert plan.changed == (have != want)
    assert not planning.make_plan(folders.FOLDERS, items, Observation(found(want))).steps


@given(have=trees(), want=trees(), data=st.data())
def test_the_next_run_finishes_an_interrupted_one(have: Tree, want: Tree, data: st.DataObject) -> None:
    items = declared(want, have)
    plan = planning.make_plan(folders.FOLDERS, items, Observation(found(have)))
    done = planning.Plan(plan.steps[: data.draw(st.integers(0, len(plan.steps)))])
    half = apply(have, done)
    assert apply(half, planning.make_plan(folders.FOLDERS, items, Observation(found(half)))) == want


def test_names_in_a_circle_need_one_temporary_name() -> None:
    have = {"a": ("", "A"), "b": ("", "B"), "c": ("", "C")}
    want = {"a": ("", "B"), "b": ("", "C"), "c": ("", "A")}
    plan = planning.make_plan(folders.FOLDERS, declared(want, {}), Observation(found(have)))
    assert len(plan.steps) == 4


def test_an_object_that_can_neither_be_moved_nor_renamed_first() -> None:
    """Its new name is taken where it is, and its name is taken where it goes."""
    have = {"a": ("", "X"), "d": ("", "Z")}
    want = {"a": ("", "X"), "b": ("a", "Z"), "d": ("a", "X")}
    assert apply(have, planning.make_plan(folders.FOLDERS, declared(want, have), Observation(found(have)))) == want


def test_a_name_that_stays_taken_is_an_error() -> None:
    change = Change("a", "PUT", "/x", parent="", name="b")
    with pytest.raises(GrafanaError, match="a: its name 'b' is that of z, which keeps it"):
        planning.order_changes([change], {"a": ("", "A"), "z": ("", "B")}, lambda uid, name: (Change(uid, "PUT", "/x", name=name), change))
    with pytest.raises(GrafanaError, match="no order"):
        planning.order_changes([Change("a", "POST", "/x", parent="nowhere", name="b")], {}, lambda _uid, _name: (change, change))


def test_headers_are_part_of_a_statement_and_shown() -> None:
    change = Change("a", "PUT", "/x", {"b": "c d: e"}, headers={"X-Disable-Provenance": "true"})
    assert parse_statement(change.statement) == ("PUT", "/x", {"b": "c d: e"}, {"X-Disable-Provenance": "true"})
    assert change.shown == 'PUT /x X-Disable-Provenance: true {"b": "c d: e"}'
    assert parse_statement(Change("a", "DELETE", "/x").statement) == ("DELETE", "/x", None, {})


def test_secrets_and_versions_are_not_shown() -> None:
    change = Change("a", "PUT", "/x", {"version": 3, "secret": "hunter2"}, masked={"secret": "********"})
    assert change.shown == 'PUT /x {"secret": "********"}' and "hunter2" in change.statement


@pytest.mark.parametrize(
    ("statement", "answer", "problem"),
    [
        ('POST /api/folders\n{"uid": "a"}', {"uid": "a"}, ""),
        ('POST /api/folders\n{"uid": "a", "parentUid": "p"}', {"uid": "a"}, "does not nest folders"),
        ('POST /api/folders/a/move\n{"parentUid": ""}', {"uid": "a"}, ""),
        ('PUT /api/folders/a\n{"title": "b"}', {"uid": "other"}, "changed folder 'other' instead"),
        ("DELETE /api/folders/a?forceDeleteRules=true", {"message": "Folder deleted"}, ""),
        ("DELETE /api/folders/a", None, ""),
    ],
)
def test_answers_are_checked(statement: str, answer: t.Any, problem: str) -> None:
    said = folders.misread(statement, answer)
    assert problem in said and bool(problem) == bool(said)


PARAMS: dict[str, t.Any] = {
    **dict.fromkeys(("url_username", "url_password", "client_cert", "client_key", "ca_path", "org_id", "org_name")),
    **dict.fromkeys(("validate_certs", "use_proxy"), True),
    "token": "t",
    "http_agent": "a",
    "timeout": 1,
    "retries": 0,
}


@pytest.mark.parametrize("url", ["http://h", "https://h:3000", "http://h/sub/path/", "http://[::1]:3000", "HTTP://h"])
def test_urls(url: str) -> None:
    assert Connection.from_params({**PARAMS, "url": url}).url == url.rstrip("/")


@pytest.mark.parametrize(
    "url", ["", "h", "ftp://h", "http://", "http://h:x", "http://h:0", "http://h?a=b", "http://h#f", "http://h /", "http://u@h"]
)
def test_invalid_urls(url: str) -> None:
    with pytest.raises(GrafanaError, match="^url: "):
        Connection.from_params({**PARAMS, "url": url})


def test_paths_are_quoted() -> None:
    assert client.path_of("a b", "c/d", "e?f", q=["x y", "&"]) == "/api/a%20b/c%2Fd/e%3Ff?q=x+y&q=%26"


def test_every_error_is_one_line() -> None:
    kinds = (GrafanaError, client.Refused, client.TooManyRequests, client.Unanswered, client.Unreachable)
    for kind, status in itertools.product(kinds, (None, 500)):
        error = kind("a\n  b", status, ["POST /x"], ["PUT /y"])
        assert str(error) == "a b" and error.details["changed"] and error.details["statements"] == ["POST /x"]
