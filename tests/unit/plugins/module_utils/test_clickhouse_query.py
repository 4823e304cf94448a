# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is decided about a statement before and after the server sees it."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils import _clickhouse_query as query
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import settings
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouseError
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse_query import ROWS_FORMAT, Answer


@pytest.mark.parametrize(
    ("text", "verb", "reads"),
    [
        ("select 1", "SELECT", True),
        ("  /* DROP */ ((SELECT 1))", "SELECT", True),
        ("WITH x AS (SELECT 1) SELECT * FROM x", "WITH", True),
        ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", "INSERT", False),
        ("WITH 'INSERT INTO' AS x SELECT x", "WITH", True),
        ("Explain insert into t values (1)", "EXPLAIN", True),
        ("KILL QUERY WHERE 1", "KILL", False),
        ("SYSTEM FLUSH LOGS", "SYSTEM", False),
        ("1 + 1", "1", False),
    ],
)
def test_statements(text: str, verb: str, reads: bool) -> None:
    statement = query.read_statement(text)
    assert (statement.verb, statement.reads) == (verb, reads)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT {a:UInt8}, {b : Array(String)}", {"a": "UInt8", "b": "Array(String)"}),
        ("SELECT {e:Enum8('}' = 1)}", {"e": "Enum8('}' = 1)"}),
        ("SELECT '{a:UInt8}' -- {b:UInt8}", {}),
        ("SELECT {'a': 1}", {}),
        ("SELECT {a:UInt8} + {a:UInt8}", {"a": "UInt8"}),
        ("INSERT INTO t FORMAT JSONEachRow {a:1}", {}),
        ("INSERT INTO t FORMAT Values ({a:UInt8})", {"a": "UInt8"}),
        ("INSERT INTO t (format) VALUES ({a:UInt8})", {"a": "UInt8"}),
    ],
)
def test_placeholders(text: str, found: dict[str, str]) -> None:
    assert query.read_statement(text).placeholders == found


@pytest.mark.parametrize(
    "text", ["INSERT INTO t FORMAT CSV\n'; DROP", "INSERT INTO t FORMAT TSV\na;b\nc;", "SELECT 1 AS format;;", "SELECT t.format FROM t"]
)
def test_one_statement(text: str) -> None:
    query.read_statement(text)


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        ("it's", "String", "it's"),
        ("a\\b\n", "String", "a\\\\b\\n"),
        ("\\N", "Nullable(String)", "\\\\N"),
        (None, "Nullable(String)", "\\N"),
        (["it's", "\\", None], "Array(Nullable(String))", "['it\\'s', '\\\\', NULL]"),
        ([1, "2"], "Array(LowCardinality(UInt8))", "[1, 2]"),
        (["1); DROP"], "Array(UInt8)", "['1); DROP']"),
        ([["a", 1]], "Array(Tuple(n String, m UInt8))", "[('a', 1)]"),
        ({"a'": {"b": [1]}}, "Map(String, Map(String, Array(Int64)))", "{'a\\'': {'b': [1]}}"),
        (2**64 - 1, "UInt64", "18446744073709551615"),
        (1e-7, "Float64", "1e-07"),
        (float("-inf"), "Float64", "-inf"),
        (True, "UInt8", "1"),
        (True, "Nullable(Bool)", "true"),
    ],
)
def test_parameter_text(value: t.Any, kind: str, text: str) -> None:
    assert query.parameter_text(value, kind, "parameters.x") == text


def test_parameters_are_utf_8() -> None:
    # The module's own input cannot show it: where a controller was imported, ansible refuses such text first.
    with pytest.raises(ClickHouseError, match=r"^parameters\.a: it is not UTF-8 text$"):
        query.bind_parameters(query.read_statement("SELECT {a:String}"), {"a": "\udcff"}, {})


def answer(*lines: t.Any, format: str = ROWS_FORMAT) -> Answer:
    return Answer("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines).encode(), format, "", {})


def test_rows() -> None:
    columns, rows = query.read_rows(answer(["a", "a", "a_2"], ["UInt64", "Decimal(9, 2)", "Float64"], "[18446744073709551615, 1.10, 1.10]"))
    assert [column["name"] for column in columns] == ["a", "a_3", "a_2"]
    assert rows == [{"a": 2**64 - 1, "a_3": "1.10", "a_2": 1.1}]
    assert query.read_rows(Answer(b"", None, "", {})) == ([], [])
    assert query.read_rows(Answer(b'["a"]\n["String"]\n["\xff\xc3\xbc"]\n', ROWS_FORMAT, "", {}))[1] == [{"a": "\\xffü"}]
    with pytest.raises(ClickHouseError, match="FORMAT"):
        query.read_rows(answer(["a"], format="TSV"))


def test_settings() -> None:
    assert settings.settings_text({"a": True, "b": 1.5, "c": "x", "d.e": 0}) == {"a": "1", "b": "1.5", "c": "x", "d.e": "0"}


def test_secrets_are_masked_in_results() -> None:
    secrets = query.secret_spellings({"a": "it's\tme", "b": [{"k": 12345}], "c": None, "d": True, "e": " "})
    shown = query.mask_secret_values({"it's\tme": ["it\\'s\\tme", "it's me", "12345", "True", " "], "n": 5}, secrets)
    assert shown == {"[HIDDEN]": ["[HIDDEN]", "[HIDDEN]", "[HIDDEN]", "True", " "], "n": 5}


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("Code: 6. Cannot parse 'hunter2'", "Code: 6. Cannot parse '[HIDDEN]'"),
        ("Code: 6. Expected end before: nter2", "query: Code: 6. The message is hidden, as it may show a part of a secret parameter"),
        (
            "Code: 6. Parsed just 'h' (CANNOT_PARSE_TEXT)",
            "query: Code: 6. (CANNOT_PARSE_TEXT) The message is hidden, as it may show a part of a secret parameter",
        ),
        ("Code: 6. Unknown table 'x'", "Code: 6. Unknown table 'x'"),
    ],
)
def test_parts_of_secrets_in_messages_are_masked(message: str, shown: str) -> None:
    assert query.mask_error_message(ClickHouseError(message, 6), query.secret_spellings({"a": "hunter2"})) == shown
