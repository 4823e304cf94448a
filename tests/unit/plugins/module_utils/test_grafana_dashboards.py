# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What makes two dashboards the same, and what is sent, without a server."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._grafana import dashboards, planning
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.client import GrafanaError
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.kind import Declared, Found, Observation

Value = dict[str, t.Any]


def declare(*entries: Value, **params: t.Any) -> list[Declared]:
    return dashboards.declare({"dashboards": list(entries), "directories": [], "inputs": {}, "commit_message": "m", "purge": [], **params})


def found(model: Value, folder: str | None = "f", **meta: t.Any) -> Found:
    return Found("a", dashboards._value(model, folder), {"dashboard": model, "meta": meta})


@pytest.mark.parametrize(
    ("declared", "stored", "same"),
    [
        ({}, {}, True),
        ({"id": 5, "version": 9, "__requires": [1], "__inputs": [], "__elements": {}}, {"id": 1, "version": 2}, True),
        ({"title": " T "}, {}, True),
        ({"title": "U"}, {}, False),
        ({"tags": []}, {}, False),
        ({}, {"tags": []}, False),
        ({"panels": [{"id": 1, "b": True}]}, {"panels": [{"b": True, "id": 1}]}, True),
        ({"panels": [{"id": 1}, {"id": 2}]}, {"panels": [{"id": 2}, {"id": 1}]}, False),
        ({"panels": [{"id": True}]}, {"panels": [{"id": 1}]}, False),
        ({"refresh": 1.0}, {"refresh": 1}, True),
        ({"text": "\u2028ü"}, {"text": "\u2028ü"}, True),
    ],
)
def test_equal_values_are_no_difference(declared: Value, stored: Value, same: bool) -> None:
    (item,) = declare({"dashboard": {"uid": "a", "title": "T", **declared}, "folder_uid": "f"})
    assert planning.is_as_declared(item, found({"uid": "a", "title": "T", **stored})) is same


@pytest.mark.parametrize(
    ("folder", "stored", "same"), [("", None, True), ("", "", True), ("f", "f", True), ("f", "", False), ("", "f", False)]
)
def test_folders(folder: str, stored: str | None, same: bool) -> None:
    (item,) = declare({"dashboard": {"uid": "a", "title": "T"}, "folder_uid": folder})
    assert planning.is_as_declared(item, found({"title": "T"}, stored)) is same


def test_requests_contain_the_version_and_no_id() -> None:
    (item,) = declare({"dashboard": {"uid": "a", "title": "T", "id": 99, "version": 99}, "folder_uid": "f"})
    have = found({"id": 3, "uid": "a", "title": "Old", "version": 7})
    (step,) = planning.make_plan(dashboards.DASHBOARDS, [item], Observation({"a": have})).steps
    body = json.loads(step.statement.partition("\n")[2])
    assert body == {"dashboard": {"uid": "a", "title": "T", "version": 7}, "folderUid": "f", "message": "m", "overwrite": False}
    (step,) = planning.make_plan(dashboards.DASHBOARDS, [item], Observation({})).steps
    assert json.loads(step.statement.partition("\n")[2])["dashboard"] == {"uid": "a", "title": "T"}


INPUT = {"name": "DS", "type": "datasource", "label": "The database"}


@pytest.mark.parametrize(
    ("inputs", "given", "text"),
    [
        ([INPUT], {"DS": "uid"}, "x uid uid $DS ${OTHER}"),
        ([INPUT], {"DS": "${DS}"}, "x ${DS} ${DS} $DS ${OTHER}"),
        ([{"name": "DS", "type": "constant", "value": "c"}], {}, "x c c $DS ${OTHER}"),
        ([{"name": "DS", "type": "constant", "value": "c"}], {"DS": 5}, "x 5 5 $DS ${OTHER}"),
        ([], {"DS": "uid"}, "x ${DS} ${DS} $DS ${OTHER}"),
    ],
)
def test_inputs(inputs: list[Value], given: Value, text: str) -> None:
    model = {"uid": "a", "title": "T", "deep": [{"text": "x ${DS} ${DS} $DS ${OTHER}"}], "__inputs": inputs}
    (item,) = declare({"dashboard": model}, inputs=given)
    assert item.value and item.value["dashboard"]["deep"] == [{"text": text}]


def test_an_input_without_a_value() -> None:
    with pytest.raises(GrafanaError, match=r"dashboards\[0\]: input DS \(The database\) has no value in inputs"):
        declare({"dashboard": {"uid": "a", "title": "T", "__inputs": [INPUT]}})


@pytest.mark.parametrize(
    ("meta", "refused"), [({}, ""), ({"provisionedExternalId": "x.json"}, "x.json"), ({"isFolder": True}, "is that of a folder")]
)
def test_provisioned_dashboards_are_refused(meta: Value, refused: str) -> None:
    """A file owns a dashboard also where the flag provisioned says no."""
    (item,) = declare({"dashboard": {"uid": "a", "title": "New"}, "folder_uid": "f"})
    have = Observation({"a": found({"title": "Old"}, provisioned=False, **meta)})
    assert bool(dashboards.purged([], have, {"purge": ["f"]})) == ("provisionedExternalId" not in meta)
    if refused:
        with pytest.raises(GrafanaError, match=refused):
            dashboards.check([item], have, {})
    else:
        dashboards.check([item], have, {})
