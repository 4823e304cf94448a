# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is made of the messages of servers and of the library."""

from __future__ import annotations

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import (
    client,
    create_statement,
    row_queries,
    server_state,
)

STATEMENT = "CREATE TABLE d.t (a UInt8, b Strin g, p String DEFAULT 'hunter2') ENGINE = Memory"
SYNTAX = (
    "Code: 62. DB::Exception: Syntax error: failed at position {} (g): g, p String DEFAULT 'hunter2') ENGINE = Memory. Expected one of: {}"
    ": In scope SELECT formatQuerySingleLine('CREATE TABLE d.t (a UInt8, b Strin g, ...'). (SYNTAX_ERROR)"
)


@pytest.mark.parametrize(
    ("message", "statement", "short"),
    [
        (
            SYNTAX.format(36, "COLLATE, NOT"),
            STATEMENT,
            "Code: 62. Syntax error at character 36, near ', b Strin g, p'; expected COLLATE, NOT",
        ),
        (
            SYNTAX.format(57, "a, b, c, d, e, f, g"),
            STATEMENT,
            "Code: 62. Syntax error at character 57, near \"p String DEFAULT '...') ENGINE\"; expected a, b, c, d, e, f, ...",
        ),
        (
            "Code: 62. DB::Exception: Syntax error (Query): failed at position 900 (end of query): . (SYNTAX_ERROR)",
            "CREATE VIEW d.v AS SELECT",
            "Code: 62. Syntax error at character 25, near '.v AS SELECT'",
        ),
        (SYNTAX.format(5, "x"), "größe x", "Code: 62. Syntax error at character 3, near 'größe x'; expected x"),
        ("Code: 60. DB::Exception: Unknown table", "CREATE", "Code: 60. DB::Exception: Unknown table"),
    ],
)  # fmt: skip
def test_syntax_error(message: str, statement: str, short: str) -> None:
    found = server_state.syntax_error(message, statement)
    assert found == short
    assert "hunter2" not in found


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("('Connection aborted.', RemoteDisconnected('Remote end closed connection without response'))", "the server closed it"),
        ("('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))", "the server reset it"),
        ("HTTPConnectionPool(host='h', port=8123): Read timed out. (read timeout=300)", "no answer came in time"),
        ("something\nelse", "something else"),
    ],
)
def test_broken_connection(text: str, short: str) -> None:
    assert client.broken_connection(text) == short


def test_unconvertible_value_is_described() -> None:
    assert row_queries.unconvertible_value("a", "UInt8", "x" * 50).endswith(f"such as '{'x' * 40}'...")
    assert row_queries.parse_cast("_CAST(toInt16(`a b`), 'Enum8(\\'x\\' = 1)')") == ("a b", "Enum8('x' = 1)")
    enum = "_CAST(toInt16(a), 'Nullable(Enum8(\\'x=\\' = 1, \\'y\\' = -2))')"
    assert row_queries.unconvertible_condition(enum) == "toString(toInt16(a)) NOT IN ('x=', '1', 'y', '-2')"
    assert row_queries.unconvertible_condition("_CAST(a, 'UInt8')") == "isNotNull(a) AND isNull(accurateCastOrNull(a, 'UInt8'))"
    assert row_queries.parse_cast("_CAST(`a b`, 'Enum8(\\'x\\' = 1)')") == ("a b", "Enum8('x' = 1)")


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("CREATE TABLE IF NOT EXISTS d.t (a UInt8", "d.t"),
        ("CREATE OR REPLACE MATERIALIZED VIEW `d`.`t u` TO", "d.t u"),
        ("CREATE FUNCTION f", "f"),
        ("CREATE TABLE", ""),
        ("CREATE TABLE 'x'", ""),
        ("SELECT 1", ""),
    ],
)
def test_object_name(statement: str, name: str) -> None:
    assert create_statement.created_name(statement) == name
