# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module clickhouse_query against the real engine."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable, Iterator

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ConnectionFailed
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse_query import Answer, Session
from ansible_collections.groundwork.observability.plugins.modules import clickhouse_query

from tests.support.clickhouse import ClickHouse
from tests.support.daemon import free_ports
from tests.support.http_server import http_server

pytestmark = pytest.mark.integration

Result = dict[str, t.Any]
Run = Callable[..., Result]

ANYWHERE = "<networks><ip>::/0</ip></networks><quota>default</quota>"
USERS = f"""
<profiles>
  <one><readonly>1</readonly></one>
  <two><readonly>2</readonly></two>
</profiles>
<users>
  <reader><password>reader-pw</password>{ANYWHERE}<profile>default</profile>
    <grants><query>GRANT SELECT ON shop.orders</query></grants></reader>
  <admin><password>admin-pw</password>{ANYWHERE}<profile>default</profile><access_management>1</access_management></admin>
  <one><password>one-pw</password>{ANYWHERE}<profile>one</profile></one>
  <two><password>two-pw</password>{ANYWHERE}<profile>two</profile></two>
</users>
"""
# What parameters must never break out of.
HOSTILE = [
    "it's",
    "'; DROP TABLE shop.orders; --",
    "\\",
    "\\'",
    "trailing \\",
    "\\N",
    "\\x41\\n",
    "`\"{a:String}\"`",
    "line\nfeed\ttab\rreturn\0nul\b\f",
    "ünïcödé 漢字 🜁",
    "&param_b=x%27%00",
    "--boundary\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nDROP TABLE shop.orders",
    "$$heredoc$$",
    "",
]  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[ClickHouse]:
    with ClickHouse(users=USERS) as node:
        node.query("CREATE DATABASE shop")
        node.query("CREATE TABLE shop.orders (id UInt64, customer String) ENGINE = MergeTree ORDER BY id")
        yield node


@pytest.fixture
def run(server: ClickHouse, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call the module; the table is empty before every test."""
    server.query("TRUNCATE TABLE shop.orders")

    def call(query: t.Any, *, check: bool = False, **options: t.Any) -> Result:
        where = {"login_host": server.host, "login_port": server.port, "secure": False, "retries": 0}
        arguments = {"query": query, "_ansible_check_mode": check, **where, **options}
        capsys.readouterr()
        with patch_module_args(arguments), pytest.raises(SystemExit):
            clickhouse_query.main()
        return t.cast(Result, json.loads(capsys.readouterr().out, parse_constant=pytest.fail))

    return call


def one(result: Result) -> t.Any:
    """The only value of a result."""
    assert "failed" not in result, result["msg"]
    ((value,),) = [list(row.values()) for row in result["rows"]]
    return value


def orders(server: ClickHouse) -> str:
    return server.query("SELECT id, customer FROM shop.orders ORDER BY ALL")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("18446744073709551615::UInt64", 18446744073709551615),
        ("-9223372036854775808::Int64", -9223372036854775808),
        ("toUInt256('115792089237316195423570985008687907853269984665640564039457584007913129639935')", 2**256 - 1),
        ("9007199254740993::Int64", 9007199254740993),
        ("toDecimal128('123456789012345678.1234567890123456789', 19)", "123456789012345678.1234567890123456789"),
        ("[toDecimal32('0.1', 2), NULL]", ["0.1", None]),
        ("toDecimal64('5', 2)", "5"),
        ("(toDecimal64('5', 2), 5, true)", ["5", 5, True]),
        ("map('a', toDecimal64('99999999999.99', 2))", {"a": "99999999999.99"}),
        ("0.1::Float64", 0.1),
        ("0.1::Float32", 0.1),
        ("1e300", 1e300),
        ("nan", "nan"),
        ("-inf", "-inf"),
        ("true", True),
        ("NULL", None),
        ("toDate('2024-02-29')", "2024-02-29"),
        ("toDateTime('2024-02-29 12:00:00', 'UTC')", "2024-02-29 12:00:00"),
        ("toDateTime64('2024-02-29 12:00:00.123456789', 9, 'UTC')", "2024-02-29 12:00:00.123456789"),
        ("toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')", "61f0c404-5cb3-11e7-907b-a6006ad3dba0"),
        ("toIPv4('127.0.0.1')", "127.0.0.1"),
        ("toIPv6('::1')", "::1"),
        ("CAST('b', 'Enum8(\\'a\\' = 1, \\'b\\' = 2)')", "b"),
        ("(1, 'x')", [1, "x"]),
        ("CAST((1, [('y', 2)]), 'Tuple(a UInt8, b Array(Tuple(c String, d UInt8)))')", {"a": 1, "b": [{"c": "y", "d": 2}]}),
        ("map(1, 'x')", {"1": "x"}),
        ("""'{"a": {"b": 9223372036854775807}}'::JSON""", {"a": {"b": 9223372036854775807}}),
        ("unhex('41ff0a27')", "A\\xff\n'"),
        ("[unhex('ff')]", ["\\xff"]),
        ("'ünï 漢字 🜁'", "ünï 漢字 🜁"),
        (r"'tab\t nul\0 quote\' back\\slash'", "tab\t nul\0 quote' back\\slash"),
    ],
)  # fmt: skip
def test_values(run: Run, expression: str, value: t.Any) -> None:
    result = run(f"SELECT {expression} AS x")
    assert one(result) == value
    assert type(one(result)) is type(value)
    assert [column["name"] for column in result["columns"]] == ["x"]


def test_result(server: ClickHouse, run: Run) -> None:
    server.query("INSERT INTO shop.orders VALUES (1, 'a'), (2, 'b')")
    result = run("SELECT id, customer FROM orders ORDER BY id;", database="shop")
    assert result["rows"] == [{"id": 1, "customer": "a"}, {"id": 2, "customer": "b"}]
    assert result["row_count"] == 2
    assert result["columns"] == [{"name": "id", "type": "UInt64"}, {"name": "customer", "type": "String"}]
    assert not result["changed"]
    assert result["statistics"]["read_rows"] == 2
    assert result["elapsed"] > 0
    assert result["query_id"]
    nothing = run("SELECT id FROM shop.orders WHERE id > 5")
    assert (nothing["rows"], nothing["row_count"], len(nothing["columns"])) == ([], 0, 1)


def test_database_and_settings_of_the_session(run: Run) -> None:
    """Those of the statement come on top."""
    where: Result = {"login_database": "shop", "session_settings": {"max_threads": 3, "max_block_size": 77}}
    seen = "SELECT concat(currentDatabase(), ' ', toString(getSetting('max_threads')), ' ', toString(getSetting('max_block_size')))"
    assert one(run(seen, **where)) == "shop 3 77"
    assert one(run(seen, **where, database="system", settings={"max_threads": 2})) == "system 2 77"
    assert one(run("SELECT count() FROM orders", **where)) == 0
    missing = run(seen, login_database="nowhere")
    assert (missing["code"], missing["msg"].split(":")[0]) == (81, "login_database")


def test_duplicate_column_names(run: Run) -> None:
    result = run("SELECT * FROM (SELECT 1 AS a) AS l, (SELECT 2 AS a) AS r, (SELECT 3 AS a_2) AS m")
    assert sorted(result["rows"][0].values()) == [1, 2, 3]
    assert [column["name"] for column in result["columns"]] == list(result["rows"][0])


@pytest.mark.parametrize("query", ["SHOW DATABASES", "DESCRIBE shop.orders", "EXISTS shop.orders", "EXPLAIN SELECT 1", "(SELECT 1)",
                                   "FROM shop.orders SELECT count()", "WITH 1 AS a SELECT a", "CHECK TABLE shop.orders",
                                   "SELECT 1 AS format", "-- a comment; and more\nSELECT ';' /* ; */ ;"])  # fmt: skip
def test_read_queries(server: ClickHouse, run: Run, query: str) -> None:
    server.query("INSERT INTO shop.orders VALUES (1, 'a')")
    for options in ({}, {"check": True}, {"write": True}, {"write": True, "check": True}):
        result = run(query, **options)
        assert "failed" not in result, result["msg"]
        assert not result["changed"]
        assert result["rows"]


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values(server: ClickHouse, run: Run, value: str) -> None:
    server.query("INSERT INTO shop.orders VALUES (1, 'a')")
    forms: dict[str, tuple[str, t.Any]] = {"s": ("String", value), "n": ("Nullable(String)", value), "l": ("Array(String)", [value, "x"])}
    forms |= {"m": ("Map(String, String)", {value: value}), "t": ("Tuple(String, Array(Nullable(String)))", [value, [value, None]])}
    for parameters in ("parameters", "secret_parameters"):
        query = "SELECT " + ", ".join(
            f"toString({{{name}:{kind}}} = {{{name}:{kind}}}) AS {name}" for name, (kind, _value) in forms.items()
        )
        assert "failed" not in run(query, **{parameters: {name: item for name, (_kind, item) in forms.items()}})
    query = "SELECT " + ", ".join(f"{{{name}:{kind}}} AS {name}" for name, (kind, _value) in forms.items())
    (row,) = run(query, parameters={name: item for name, (_kind, item) in forms.items()})["rows"]
    assert row == {name: item for name, (_kind, item) in forms.items()}
    inserted = run("INSERT INTO shop.orders VALUES (2, {v:String})", parameters={"v": value}, write=True)
    assert inserted["statistics"]["written_rows"] == 1
    assert one(run("SELECT customer FROM shop.orders WHERE customer = {v:String}", parameters={"v": value})) == value
    assert server.query("SELECT count() FROM shop.orders") == "2"


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("UInt64", 18446744073709551615, 18446744073709551615),
        ("UInt64", "18446744073709551615", 18446744073709551615),
        ("Int8", True, 1),
        ("Bool", True, True),
        ("Bool", 0, False),
        ("Array(Bool)", [True, 0, "1", "false"], [True, False, True, False]),
        ("String", True, "true"),
        ("String", 5, "5"),
        ("Float64", 0.1, 0.1),
        ("Float64", "inf", "inf"),
        ("Array(Float64)", [1, 2.5, "3e5"], [1, 2.5, 300000]),
        ("Decimal(38, 10)", "0.1234567891", "0.1234567891"),
        ("Array(Decimal(9, 2))", ["1.25", 3], ["1.25", "3"]),
        ("Nullable(UInt8)", None, None),
        ("Array(UInt64)", ["18446744073709551615", 1], [18446744073709551615, 1]),
        ("Array(UInt8)", [], []),
        ("Array(UInt8)", "[1, 2]", [1, 2]),
        ("Array(Array(String))", [["a"], []], [["a"], []]),
        ("Tuple(a UInt8, b Nullable(String))", [1, "x"], {"a": 1, "b": "x"}),
        ("Map(String, Array(UInt8))", {"a": [1]}, {"a": [1]}),
        ("JSON", {"a": {"b": "it's \\ \"q\""}}, {"a": {"b": "it's \\ \"q\""}}),
        ("Date", "2024-02-29", "2024-02-29"),
        ("DateTime64(3, 'UTC')", "2024-02-29 12:00:00.5", "2024-02-29 12:00:00.500"),
        ("Array(Date)", ["2024-02-29"], ["2024-02-29"]),
        ("UUID", "61f0c404-5cb3-11e7-907b-a6006ad3dba0", "61f0c404-5cb3-11e7-907b-a6006ad3dba0"),
        ("Enum8('a b' = 1)", "a b", "a b"),
        ("LowCardinality(String)", "x", "x"),
    ],
)  # fmt: skip
def test_parameters(run: Run, kind: str, value: t.Any, expected: t.Any) -> None:
    assert one(run(f"SELECT {{x:{kind}}} AS x", parameters={"x": value})) == expected


def test_identifiers(server: ClickHouse, run: Run) -> None:
    server.query("INSERT INTO shop.orders VALUES (1, 'a')")
    assert one(run("SELECT id FROM {d:Identifier}.{t:Identifier}", parameters={"d": "shop", "t": "orders"})) == 1
    result = run("SELECT 1 FROM {t:Identifier}", parameters={"t": "shop.orders; DROP TABLE shop.orders"})
    assert result["failed"]
    assert orders(server)


def test_write_queries(server: ClickHouse, run: Run) -> None:
    for query, data in (
        ("INSERT INTO shop.orders VALUES (1, 'a;b'), (2, 'c');", "1\ta;b\n2\tc"),
        ("INSERT INTO shop.orders FORMAT TSV\n3\tx;\n4\tit's {a:String}\n", "1\ta;b\n2\tc\n3\tx;\n4\tit\\'s {a:String}"),
        ("ALTER TABLE shop.orders DELETE WHERE id < 4 SETTINGS mutations_sync = 1", "4\tit\\'s {a:String}"),
        ("WITH 5 AS n INSERT INTO shop.orders SELECT n, 'w'", "4\tit\\'s {a:String}\n5\tw"),
        ("TRUNCATE TABLE shop.orders", ""),
    ):
        before = orders(server)
        check = run(query, check=True, write=True)
        assert check["changed"]
        assert "was not sent" in check["msg"]
        assert (check["rows"], check["row_count"], check["query_id"]) == ([], 0, "")
        assert orders(server) == before
        result = run(query, write=True)
        assert "failed" not in result, result["msg"]
        assert result["changed"]
        assert result["rows"] == []
        assert orders(server) == data
    assert run("INSERT INTO shop.orders SELECT number, '' FROM numbers(7)", write=True)["statistics"]["written_rows"] == 7


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO shop.orders VALUES (1, 'a')",
        "WITH 1 AS n INSERT INTO shop.orders SELECT n, ''",
        "DROP TABLE shop.orders",
        "ALTER TABLE shop.orders ADD COLUMN x UInt8",
        "CREATE TABLE shop.other (a UInt8) ENGINE = Memory",
        "TRUNCATE TABLE shop.orders",
        "OPTIMIZE TABLE shop.orders FINAL",
        "SYSTEM STOP MERGES",
        # These two the server would let through in its mode for reading.
        "KILL QUERY WHERE 1 = 0",
        "CREATE TEMPORARY TABLE x (a UInt8)",
        "SET readonly = 0",
    ],
)
def test_writing_needs_write(server: ClickHouse, run: Run, query: str) -> None:
    for check in (True, False):
        result = run(query, check=check)
        assert result["failed"]
        assert not result["changed"]
        assert result["msg"].startswith("query: ")
        assert "set write: true" in result["msg"]
        assert "\n" not in result["msg"]
    assert server.query("EXISTS shop.orders") == "1"
    assert orders(server) == ""


def test_the_server_refuses_as_well(server: ClickHouse, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What gets past the module, taken for reading, is refused by the server and explained."""
    for write in (False, True):
        result = run("SELECT 1 SETTINGS readonly = 0", write=write)
        assert result["code"] == 164
    monkeypatch.setattr("ansible_collections.groundwork.observability.plugins.module_utils._clickhouse_query._READS", ("INSERT",))
    result = run("INSERT INTO shop.orders VALUES (1, 'a')")
    assert result["code"] == 164
    assert "set write: true" in result["msg"]
    assert not result["changed"]
    assert orders(server) == ""


@pytest.mark.parametrize("user", ["one", "two"])
def test_users_whose_profile_only_reads(server: ClickHouse, run: Run, user: str) -> None:
    """They get the same values, as far as the server gives them by default."""
    login = {"login_user": user, "login_password": f"{user}-pw"}
    decimal = "toDecimal128('123456789012345678.1234567890123456789', 19)"
    query = f"SELECT 18446744073709551615::UInt64 AS u, {decimal} AS d, [0.1] AS f, {{p:String}} AS p, [toDecimal32(5, 2)] AS w"
    (row,) = run(query, parameters={"p": "it's"}, **login)["rows"]
    assert row == {"u": 18446744073709551615, "d": "123456789012345678.1234567890123456789", "f": [0.1], "p": "it's", "w": ["5"]}
    result = run("INSERT INTO shop.orders VALUES (1, 'a')", write=True, **login)
    assert result["code"] == 164
    assert not result["changed"]
    assert "set write: true" not in result["msg"]
    assert orders(server) == ""


def test_settings(run: Run) -> None:
    assert one(run("SELECT getSetting('max_threads')", settings={"max_threads": 3})) == 3
    assert one(run("SELECT getSetting('join_use_nulls')", settings={"join_use_nulls": True}))
    result = run("SELECT sleepEachRow(1) FROM numbers(3)", settings={"max_execution_time": 0.1, "max_block_size": "1"})
    assert result["code"] == 159


BIG = "x" * 140_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query": ""}, r"^query: it is empty$"),
        ({"query": " -- nothing\n ; "}, r"^query: it is empty$"),
        ({"query": "SELECT 1; SELECT 2"}, r"^query: more than one statement$"),
        ({"query": "INSERT INTO shop.orders VALUES (1, 'a'); DROP TABLE shop.orders", "write": True}, r"^query: more than one"),
        ({"query": "SELECT 'abc"}, r"^query: a quote opened at character 7 is never closed$"),
        ({"query": "SELECT 1 FORMAT TSV"}, r"^query: leave the FORMAT clause out"),
        ({"query": "SHOW TABLES FORMAT JSON SETTINGS max_threads = 1"}, r"^query: leave the FORMAT clause out"),
        ({"query": "SELECT {a:UInt8}"}, r"^parameters\.a is missing: the query has \{a:UInt8\}$"),
        ({"query": "SELECT 1", "parameters": {"a": 1}}, r"^parameters\.a: the query has no \{a:Type\}$"),
        ({"query": "SELECT '{a:UInt8}'", "parameters": {"a": 1}}, r"^parameters\.a: the query has no"),
        ({"query": "SELECT 1", "secret_parameters": {"a": "hunter2"}}, r"^secret_parameters\.a: the query has no"),
        ({"query": "SELECT 1", "parameters": {"a b'": 1}}, r"^parameters: .* is no name of a parameter"),
        ({"query": "SELECT {a:UInt8}", "parameters": {"a": 1}, "secret_parameters": {"a": "hunter2"}}, r"^secret_parameters\.a: it is"),
        ({"query": "SELECT {a:UInt8}", "parameters": {"a": [1]}}, r"^parameters\.a: a list is no value of UInt8$"),
        ({"query": "SELECT {a:Array(UInt8)}", "parameters": {"a": {"b": 1}}}, r"^parameters\.a: a dict is no value of Array\(UInt8\)$"),
        ({"query": "SELECT {a:Tuple(UInt8, UInt8)}", "parameters": {"a": [1]}}, r"^parameters\.a: 1 values for Tuple"),
        ({"query": "SELECT {a:String}", "parameters": {"a": BIG}}, r"^parameters\.a: it is longer than 128 KiB$"),
        ({"query": f"SELECT {{a:String}}, '{BIG}'", "parameters": {"a": "b"}}, r"^query: with parameters it cannot be longer than"),
        ({"query": "SELECT 1", "settings": {"readonly": 0}}, r"^settings\.readonly cannot be given: write decides about it$"),
        ({"query": "SELECT 1", "settings": {"profile": "default"}}, r"^settings\.profile cannot be given"),
        ({"query": "SELECT 1", "settings": {"database": "shop"}}, r"^settings\.database cannot be given: it is an option of its own$"),
        ({"query": "SELECT 1", "settings": {"param_a": 1}}, r"^settings\.param_a cannot be given"),
        ({"query": "SELECT 1", "settings": {"default_format": "TSV"}}, r"^settings\.default_format cannot be given"),
        ({"query": "SELECT 1", "settings": {"output_format_json_quote_decimals": 0}}, r"^settings\.output_format_json_quote_decimals"),
        ({"query": "SELECT 1", "settings": {"a b": 1}}, r"^settings: 'a b' is no name of a setting$"),
        ({"query": "SELECT 1", "settings": {"max_threads": [1]}}, r"^settings\.max_threads: expected a text, number or boolean$"),
        ({"query": "SELECT 1", "database": " "}, r"^database: it is empty$"),
        ({"query": "SELECT 1", "write": "perhaps"}, r"write"),
        ({"query": "SELECT 1", "execute": "SELECT 2"}, r"Unsupported parameters.*execute"),
        ({"query": None}, r"query"),
        ({"query": "SELECT 1", "parameters": "a"}, r"parameters"),
    ],
)  # fmt: skip
def test_bad_input_is_not_sent(run: Run, monkeypatch: pytest.MonkeyPatch, options: Result, message: str) -> None:
    monkeypatch.setattr(clickhouse_query, "Session", lambda _connection: pytest.fail("it was sent"))
    for check in (True, False):
        result = run(check=check, **options)
        assert result["failed"]
        assert not result.get("changed", False)
        assert "\n" not in result["msg"]
        assert "hunter2" not in json.dumps(result)
        with pytest.raises(AssertionError, match=message):
            raise AssertionError(result["msg"])


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ({"query": "SELEC 1"}, None, r"^query: 'SELEC' is not known to only read"),
        ({"query": "SELECT 1 +"}, 62, r"^query: Code: 62\..*Syntax error"),
        ({"query": "SELECT nothing"}, 47, r"^query: Code: 47\."),
        ({"query": "SELECT * FROM nowhere"}, 60, r"^query: Code: 60\."),
        ({"query": "SELECT {a:Uint88}", "parameters": {"a": 1}}, 50, r"^query: Code: 50\."),
        ({"query": "SELECT {a:UInt8}", "parameters": {"a": "many"}}, 457, r"query parameter 'a'"),
        ({"query": "SELECT {a:UInt8}", "parameters": {"a": None}}, None, r"a"),
        ({"query": "SELECT 1", "settings": {"nonsense": 1}}, 115, r"nonsense"),
        ({"query": "SELECT 1", "settings": {"max_threads": "many"}}, None, r"max_threads|many"),
        ({"query": "SELECT 1", "database": "nowhere"}, 81, r"nowhere"),
        ({"query": "INSERT INTO shop.orders VALUES ('x')", "write": True}, None, r"^query: Code: "),
        ({"query": "SELECT 1 INTO OUTFILE '/tmp/x'"}, 358, r"OUTFILE"),
        ({"query": "SELECT throwIf(number = 100000, 'late') FROM numbers(200000)"}, 395, r"late"),
    ],
)  # fmt: skip
def test_errors_of_the_server(server: ClickHouse, run: Run, options: Result, code: int | None, message: str) -> None:
    result = run(**options)
    assert result["failed"]
    assert not result["changed"]
    assert "\n" not in result["msg"]
    assert code is None or result["code"] == code
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(result["msg"])
    assert orders(server) == ""


SECRETS = ["hunter2secret", "it's 'hunter2'", "back\\slash hunter2", "tab\thunter2\nline", "ünï'hunter2漢", "12hunter2"]


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_never_shown(server: ClickHouse, run: Run, secret: str) -> None:
    """Neither in rows, names of columns and errors, nor the part of one that could not be parsed."""
    for query in (
        "SELECT {s:String}",
        "SELECT {s:String} AS a, [{s:String}] AS b, map({s:String}, 1) AS c, length({s:String}) AS d",
        "SELECT {s:String}, nothing",
        "SELECT toUInt8({s:String})",
        "SELECT toDate({s:String})",
        "SELECT {s:UInt8}",
        "SELECT {s:Array(String)}",
        "SELECT throwIf(1, {s:String})",
        "SELECT * FROM {s:Identifier}",
        "INSERT INTO shop.orders VALUES (1, {s:String}",
        "SELECT 1",
    ):
        # A traceback would quote the server's own words.
        result = run(query, secret_parameters={"s": secret}, write=True, _ansible_tracebacks_for=["error"])
        text = json.dumps(result, ensure_ascii=False)
        assert "hunt" not in text
        assert "nter" not in text
        assert "ter2" not in text
        assert "\n" not in result.get("msg", "")
    assert one(run("SELECT length({s:String}) AS n", secret_parameters={"s": secret})) == len(secret.encode())
    nested = {"a": {"k": [secret]}}
    assert "hunter2" not in json.dumps(run("SELECT {a:Map(String, Array(String))}", secret_parameters=nested))


def test_a_secret_reaches_its_statement(server: ClickHouse, run: Run) -> None:
    """This engine keeps no users but those of its configuration: it says so after it has understood the statement."""
    secret = {"s": "hunter2'\\ ü"}
    assert "failed" not in run("INSERT INTO shop.orders VALUES (1, {s:String})", secret_parameters=secret, write=True)
    assert orders(server) == "1\thunter2\\'\\\\ ü"
    query = "CREATE USER alice IDENTIFIED WITH sha256_password BY {s:String}"
    result = run(query, secret_parameters=secret, write=True, login_user="admin", login_password="admin-pw")
    assert result["code"] == 514
    assert "user `alice`" in result["msg"]
    assert "hunter2" not in json.dumps(result)


def test_permissions_are_never_swallowed(server: ClickHouse, run: Run) -> None:
    reader = {"login_user": "reader", "login_password": "reader-pw"}
    assert "failed" not in run("SELECT * FROM shop.orders", **reader)
    for query in ("SELECT * FROM system.users", "INSERT INTO shop.orders VALUES (1, 'a')", "DROP TABLE shop.orders"):
        result = run(query, write=True, **reader)
        assert result["failed"]
        assert result["code"] == 497
        assert not result["changed"]
        assert "Not enough privileges" in result["msg"]
        assert "reader-pw" not in json.dumps(result)
    assert server.query("EXISTS shop.orders") == "1"


@pytest.mark.parametrize("user", ["default", "nobody"])
def test_wrong_password(run: Run, user: str) -> None:
    result = run("SELECT 1", login_user=user, login_password="wrong-pw")
    assert result["failed"]
    assert result["code"] in (194, 516)
    assert "wrong-pw" not in json.dumps(result)


def test_no_server(run: Run) -> None:
    """A statement that may write is announced in check mode even where no server is yet."""
    (port,) = free_ports(1)
    for check in (True, False):
        result = run("SELECT 1", check=check, login_port=port)
        assert result["failed"]
        assert f"127.0.0.1:{port}" in result["msg"]
    assert run("DROP TABLE a", check=True, write=True, login_port=port)["changed"]
    result = run("DROP TABLE a", write=True, login_port=port)
    assert result["failed"]
    assert not result["changed"]


@pytest.mark.parametrize(("answer", "message"), [(b"18.16.1\n", "is too old"), (b"<html>hello</html>", "is not ClickHouse 24.8 or newer")])
def test_external_clickhouse(run: Run, answer: bytes, message: str) -> None:
    with http_server(answer) as port:
        result = run("SELECT 1", login_port=port)
        assert result["failed"]
        assert message in result["msg"]


def test_without_the_library(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clickhouse_query, "HAS_CLICKHOUSE_CONNECT", False)
    result = run("SELECT 1")
    assert result["failed"]
    assert "Failed to import the required Python library (clickhouse-connect)" in result["msg"]


def test_broken_connections(server: ClickHouse, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading is tried again; writing is not, and the result says that it may have happened."""
    ask = Session.ask
    seen: list[str] = []

    def breaks(connected: Session, statement: str, *args: t.Any, **options: t.Any) -> Answer:
        seen.append(statement)
        answer = ask(connected, statement, *args, **options)
        if len(seen) == 1:
            raise ConnectionFailed("it broke")
        return answer

    monkeypatch.setattr(Session, "ask", breaks)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    assert one(run("SELECT 5", retries=1)) == 5
    assert len(seen) == 2
    seen.clear()
    result = run("INSERT INTO shop.orders VALUES (1, 'a')", write=True, retries=3)
    assert len(seen) == 1
    assert result["failed"]
    assert result["changed"]
    assert result["msg"] == "query: whether it ran is not known: it broke"


def test_a_server_that_dies_while_it_answers(server: ClickHouse, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Session.ask

    def kill(connected: Session, *args: t.Any, **options: t.Any) -> Answer:
        server.kill()
        return ask(connected, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "ask", kill)
        result = run("INSERT INTO shop.orders VALUES (1, 'a')", write=True)
    server.start()
    assert result["failed"]
    assert result["changed"]
    assert "\n" not in result["msg"]


def test_large_statements(run: Run) -> None:
    assert one(run(f"SELECT length('{'x' * 1_000_000}') AS n")) == 1_000_000
    assert run("SELECT number FROM numbers(100000)")["row_count"] == 100_000
