# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What makes two data sources the same, without a server."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._grafana import datasources, planning, secret_digest
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.client import GrafanaError
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.kind import Declared, Found, Observation

OPTIONS: dict[str, t.Any] = {
    "uid": "a",
    "name": "A",
    "type": "mysql",
    "access": "proxy",
    "url": "db:3306",
    "user": "",
    "database": "",
    "state": "present",
    "basic_auth": None,
    "basic_auth_user": None,
    "with_credentials": None,
    "is_default": None,
    "json_data": {},
    "secure_json_data": None,
}
LISTED: dict[str, t.Any] = {
    "id": 1,
    "uid": "a",
    "orgId": 1,
    "name": "A",
    "type": "mysql",
    "access": "proxy",
    "url": "db:3306",
    "user": "",
    "database": "",
    "basicAuth": False,
    "isDefault": False,
    "jsonData": {},
    "readOnly": False,
}


def declare(*changed: dict[str, t.Any], mode: str = "digest") -> list[Declared]:
    return datasources.declare({"datasources": [{**OPTIONS, **options} for options in changed], "update_secrets": mode})


def found(item: Declared, **changed: t.Any) -> Found:
    return datasources._found({**LISTED, **changed}, item)


@pytest.mark.parametrize(
    ("options", "raw", "same"),
    [
        ({}, {}, True),
        ({"name": " A "}, {}, True),
        ({"type": "postgres"}, {"type": "grafana-postgresql-datasource"}, True),
        ({"type": "grafana-postgresql-datasource"}, {"type": "postgres"}, True),
        ({"type": "postgres", "database": "d"}, {"type": "postgres", "database": "d", "jsonData": {"database": "d"}}, True),
        ({"type": "postgres", "database": "d"}, {"type": "postgres", "database": "d"}, False),
        ({"database": "d"}, {"database": "d"}, True),
        ({"is_default": None}, {"isDefault": True}, True),
        ({"is_default": False}, {"isDefault": True}, False),
        ({"basic_auth_user": "u"}, {"basicAuth": True, "basicAuthUser": "u"}, True),
        ({"basic_auth_user": "u"}, {"basicAuth": False, "basicAuthUser": "u"}, False),
        ({}, {"basicAuth": True}, False),
        ({"with_credentials": False}, {"withCredentials": True}, False),
        ({}, {"withCredentials": True}, True),
        ({"json_data": {"a": 1}}, {"jsonData": {"a": 1}}, True),
        ({"json_data": {"a": 1}}, {"jsonData": {"a": 1, "b": 2}}, False),
        ({"json_data": {"a": [1]}}, {"jsonData": {"a": [True]}}, False),
        ({"json_data": {"a": [{"b": 1.0}]}}, {"jsonData": {"a": [{"b": 1}]}}, True),
        ({}, {"jsonData": None}, True),
        ({}, {"jsonData": {"groundworkSecrets": {"salt": "s"}}}, True),
        ({"access": "direct"}, {}, False),
        ({"url": "db:3307"}, {}, False),
    ],
)
def test_equal_values_are_no_difference(options: dict[str, t.Any], raw: dict[str, t.Any], same: bool) -> None:
    (item,) = declare(options)
    have = found(item, **raw)
    assert planning.is_as_declared(item, have) is same


RECORD = {"salt": "s", "scrypt": secret_digest.digest({"p": "x"}, "s")}


@pytest.mark.parametrize(
    ("mode", "secrets", "raw", "same"),
    [
        ("digest", {"p": "x"}, {"jsonData": {"groundworkSecrets": RECORD}}, True),
        ("digest", {"p": "y"}, {"jsonData": {"groundworkSecrets": RECORD}}, False),
        ("digest", {"q": "x"}, {"jsonData": {"groundworkSecrets": RECORD}}, False),
        ("digest", {}, {"jsonData": {"groundworkSecrets": RECORD}}, False),
        ("digest", {"p": "x"}, {}, False),
        ("digest", {}, {}, False),
        ("digest", {"p": "x"}, {"jsonData": {"groundworkSecrets": RECORD}, "secureJsonFields": {"p": True}}, True),
        ("digest", {"p": "x"}, {"jsonData": {"groundworkSecrets": RECORD}, "secureJsonFields": {}}, False),
        ("digest", {"p": "x"}, {"jsonData": {"groundworkSecrets": RECORD}, "secureJsonFields": {"p": True, "q": True}}, False),
        ("digest", {"p": "x"}, {"jsonData": {"groundworkSecrets": {}}}, False),
        ("digest", {"p": "x"}, {"jsonData": {"groundworkSecrets": "by hand"}}, False),
        ("digest", {"p": "x"}, {"jsonData": {"groundworkSecrets": {"salt": 1, "scrypt": "ü"}}}, False),
        ("always", {"p": "x"}, {"jsonData": {"groundworkSecrets": RECORD}}, False),
        ("always", {}, {}, True),
        ("on_create", {"p": "y"}, {}, True),
    ],
)
def test_secrets(mode: str, secrets: dict[str, str], raw: dict[str, t.Any], same: bool) -> None:
    (item,) = declare({"secure_json_data": secrets}, mode=mode)
    have = found(item, **raw)
    assert planning.is_as_declared(item, have) is same


def test_a_request_removes_secrets_that_are_not_declared_and_is_shown_without_any() -> None:
    (item,) = declare({"secure_json_data": {"p": "hunter2"}})
    raw = {**LISTED, "version": 7, "secureJsonFields": {"q": True}, "withCredentials": True, "basicAuthUser": "kept"}
    plan = planning.make_plan(datasources.DATASOURCES, [item], Observation({"a": datasources._found(raw, item)}))
    (step,) = plan.steps
    body = json.loads(step.statement.partition("\n")[2])
    assert body["secureJsonData"] == {"p": "hunter2", "q": ""} and body["version"] == 7
    assert body["withCredentials"] is True and body["basicAuthUser"] == "kept"
    assert body["jsonData"]["groundworkSecrets"]["scrypt"] == secret_digest.digest(
        {"p": "hunter2"}, body["jsonData"]["groundworkSecrets"]["salt"]
    )
    assert "hunter2" not in step.shown and "groundworkSecrets" not in step.shown and "hunter2" not in json.dumps(plan.result)


def test_a_declared_default_is_the_only_one() -> None:
    first, second = declare({"is_default": True}, {"uid": "b", "name": "B"})
    assert first.value and first.value["is_default"] and second.value and second.value["is_default"] is False
    with pytest.raises(GrafanaError, match="is_default=true"):
        declare({"is_default": True}, {"uid": "b", "name": "B", "is_default": True})


@pytest.mark.parametrize("url", ["", "h", "h:1", "http://h:1/p?q=a b", "https://[::1]:8443", "u@h:1", "mongodb+srv://h", "tcp://h:9000"])
def test_urls(url: str) -> None:
    assert declare({"url": url})[0].value
