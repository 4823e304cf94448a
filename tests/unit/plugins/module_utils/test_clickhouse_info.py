# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How rows about a server become a result."""

from __future__ import annotations

import typing as t

import pytest
import yaml
from ansible_collections.groundwork.observability.plugins.module_utils import _clickhouse_info as info
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouseError
from ansible_collections.groundwork.observability.plugins.modules import clickhouse_info


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        ("26.7.2.1", (26, 7, 2, 1, None)),
        ("24.8.14.10545.altinitystable", (24, 8, 14, 10545, "altinitystable")),
        ("25.3.1.1-lts", (25, 3, 1, 1, "lts")),
        ("25.3", (25, 3, None, None, None)),
        ("head", (None, None, None, None, None)),
    ],
)
def test_versions(raw: str, parts: tuple[t.Any, ...]) -> None:
    assert info.version_parts(raw) == {"raw": raw, **dict(zip(("year", "feature", "maintenance", "build", "type"), parts, strict=True))}


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("GRANT SELECT ON shop.* TO alice", "alice"),
        ("GRANT SELECT(`to`) ON `to`.`x` TO `it\\'s` WITH GRANT OPTION", "it's"),
        ("GRANT r1, r2 TO `to` WITH ADMIN OPTION", "to"),
        ("REVOKE SELECT ON shop.t FROM bob", "bob"),
        ("GRANT SELECT ON *.* TO `with`", "with"),
        ("", ""),
    ],
)
def test_grantees(statement: str, name: str) -> None:
    assert info.grantee(statement) == name


@pytest.mark.parametrize(
    ("row", "problems"),
    [
        ({"is_readonly": 0, "is_session_expired": 0, "active_replicas": 2, "total_replicas": 2, "absolute_delay": 300}, []),
        ({"is_readonly": 1}, ["it is read-only"]),
        ({"is_session_expired": 1}, ["its session with ZooKeeper has expired"]),
        ({"active_replicas": 1, "total_replicas": 3}, ["1 of 3 replicas are active"]),
        ({"absolute_delay": 301}, ["it is 301 seconds behind"]),
        ({"lost_part_count": 2}, ["2 parts were lost"]),
        ({"zookeeper_exception": "a\n b"}, ["zookeeper_exception: a b"]),
        ({"last_queue_update_exception": "c"}, ["last_queue_update_exception: c"]),
        ({}, []),
    ],
)  # fmt: skip
def test_health(row: info.Row, problems: list[str]) -> None:
    assert info.problems(row) == problems


def test_sections() -> None:
    assert info.names_in(["tables", "version"]) == ["version", "tables"]
    assert set(info.names_in(["all"])) == {*info.ALWAYS, *info.SECTIONS}
    assert set(info.names_in(None)) == {*info.ALWAYS, *info.SECTIONS} - set(info.LARGE)
    with pytest.raises(ClickHouseError, match="filter"):
        info.names_in([])


def test_every_section_is_documented() -> None:
    options = yaml.safe_load(clickhouse_info.DOCUMENTATION)["options"]
    sections = ["all", *info.ALWAYS, *info.SECTIONS]
    assert options["filter"]["choices"] == sections
    assert set(yaml.safe_load(clickhouse_info.RETURN)) == {*sections[1:], "skipped", "code"}


def test_databases_narrow_a_section_down() -> None:
    section = info.Section("SELECT 1 FROM a{where}", lambda rows: rows, "name")
    assert section.statement(None) == "SELECT 1 FROM a"
    assert section.statement(["x"]) == "SELECT 1 FROM a WHERE has({databases:Array(String)}, name)"
    assert info.Section("SELECT 1", lambda rows: rows).statement(["x"]) == "SELECT 1"


def test_names_of_databases_are_utf_8() -> None:
    # The module's own input cannot show it: where a controller was imported, ansible refuses such text first.
    with pytest.raises(ClickHouseError, match=r"^databases\[0\]: it is not UTF-8 text$"):
        info.check_databases(["\udcff"])


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("engine_full", "PostgreSQL('h', 'd', 't', 'u', 'pw1')", "PostgreSQL('h', 'd', 't', 'u', '[HIDDEN]')"),
        ("command", "UPDATE password = 'pw1' WHERE 1", "UPDATE password = '[HIDDEN]' WHERE 1"),
        ("value", "https://u:pw1@host/x", "https://u:[HIDDEN]@host/x"),
        ("value", "http://host:80/a@b", "http://host:80/a@b"),
        ("auth_params", ['{"server": "ldap", "password_hash": "pw1"}', "{}"], ['{"server": "ldap", "password_hash": "[HIDDEN]"}', "{}"]),
        ("auth_params", "pw1", "[HIDDEN]"),
        ("comment", "password = 'x'", "password = 'x'"),
        ("total_rows", 5, 5),
        ("total_rows", None, None),
    ],
)
def test_secrets(name: str, value: t.Any, shown: t.Any) -> None:
    assert info.select_columns({name: value}, (name, "absent")) == {name: shown}


@pytest.mark.parametrize(
    ("name", "hidden"),
    [("s3_secret_access_key", True), ("smtp_password", True), ("insert_deduplication_token", False), ("force_primary_key", False)],
)
def test_secret_settings(name: str, hidden: bool) -> None:
    assert info.parse_setting({"name": name, "value": "pw1", "default": ""}, ("value", "default"))["value"] == (
        "[HIDDEN]" if hidden else "pw1"
    )


def test_policies_with_several_volumes() -> None:
    rows = [{"policy_name": "p", "volume_name": name, "disks": [name]} for name in ("hot", "cold")]
    policy = info.shape_policies(rows)["p"]
    assert policy["volume_name"] == "hot"
    assert [volume["volume_name"] for volume in policy["volumes"]] == ["hot", "cold"]


def test_names_of_grantees_are_quoted() -> None:
    assert [info.quote_grantee(name) for name in ("ALL", "a`b\\")] == ["`ALL`", "`a\\`b\\\\`"]
