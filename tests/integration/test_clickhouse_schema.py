# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module clickhouse_schema against the real engine."""

from __future__ import annotations

import json
import threading
import time
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.groundwork.observability.plugins.module_utils import _plan
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import client, declaration, schema, temporary_objects
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouseError, ServerError
from ansible_collections.groundwork.observability.plugins.modules import clickhouse_schema

from tests.support.clickhouse import ClickHouse
from tests.support.connect import connection
from tests.support.daemon import free_ports
from tests.support.http_server import http_server
from tests.support.pki import Pki

pytestmark = pytest.mark.integration

Result = dict[str, t.Any]
Run = Callable[..., Result]

USERS = """
<users>
  <reader><password>reader-pw</password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
    <grants><query>GRANT SELECT ON *.*</query></grants></reader>
  <maker><password>maker-pw</password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
    <grants>
      <query>GRANT SHOW, CREATE DATABASE, CREATE TABLE ON shop.*</query>
      <query>GRANT CREATE TEMPORARY TABLE, CREATE ARBITRARY TEMPORARY TABLE ON *.*</query>
      <query>GRANT TABLE ENGINE ON MergeTree</query>
      <query>GRANT SELECT ON shop.*</query>
    </grants></maker>
</users>
"""
SERVER = {"users": USERS, "macros": {"shard": "1", "replica": "a"}}

SHOP: list[dict[str, t.Any]] = [
    {"ddl": "CREATE MATERIALIZED VIEW shop.mv TO shop.sums AS SELECT toStartOfHour(t) AS h, count() AS c FROM shop.a GROUP BY ALL"},
    {"ddl": "CREATE VIEW shop.v AS SELECT t::Date AS d, CASE WHEN n > 1 THEN 2 ELSE 3 END AS x FROM shop.a"},
    {"ddl": "CREATE TABLE shop.everywhere AS shop.a ENGINE = Distributed(one, shop, a, n)"},
    {"ddl": "CREATE TABLE shop.a (t DateTime, n UInt32 CODEC(Delta, ZSTD)) ENGINE = MergeTree ORDER BY t TTL t + INTERVAL 1 DAY"},
    {"ddl": "CREATE TABLE shop.sums (h DateTime, c UInt64) ENGINE = SummingMergeTree ORDER BY h;"},
    {"kind": "database", "name": "shop", "engine": "Atomic", "comment": "it's a shop"},
]  # fmt: skip
SHOP_ORDER = ["shop", "shop.a", "shop.sums", "shop.everywhere", "shop.v", "shop.mv"]


@pytest.fixture
def run(server: ClickHouse, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Call the module; databases that a test makes are dropped after it."""
    warnings: list[str] = []
    # The library says a warning once a process.
    monkeypatch.setattr(clickhouse_schema.AnsibleModule, "warn", lambda _module, message: warnings.append(message))
    before = set(server.query("SHOW DATABASES").split())

    def call(objects: t.Any, *, check: bool = False, **options: t.Any) -> Result:
        where = {"login_host": server.host, "login_port": server.port, "secure": False, "retries": 0}
        arguments = {"objects": objects, "_ansible_check_mode": check, "_ansible_diff": True, **where, **options}
        capsys.readouterr()
        warnings.clear()
        with patch_module_args(arguments), pytest.raises(SystemExit):
            clickhouse_schema.main()
        return {**json.loads(capsys.readouterr().out), "warnings": list(warnings)}

    yield call
    for database in set(server.query("SHOW DATABASES").split()) - before:
        server.query(f"DROP DATABASE `{database}` SYNC")


def everything(server: ClickHouse) -> str:
    """All that a run might change."""
    return server.query(
        "SELECT database, name, uuid, create_table_query FROM system.tables WHERE database NOT IN ('system') "
        "AND lower(database) != 'information_schema' ORDER BY ALL"
    ) + server.query("SELECT name, uuid FROM system.databases ORDER BY name")


def status(result: Result) -> dict[str, str]:
    return {state["name"]: state["status"] for state in result.get("objects", [])}


def test_check_create_check_and_second_run(server: ClickHouse, run: Run) -> None:
    untouched = everything(server)
    check = run(SHOP, check=True)
    assert everything(server) == untouched
    do = run(SHOP)
    assert check["changed"]
    assert do["changed"]
    for key in ("statements", "objects", "diff"):
        assert check[key] == do[key], key
    assert all("\n" in state["after"] for state in do["objects"] if state["kind"] != "database")
    # How it was called is shown as it was written, not with every option that was left out.
    assert do["invocation"]["module_args"]["objects"] == [{**item, "state": "present", "materialize": False} for item in SHOP]
    assert list(status(do)) == SHOP_ORDER
    assert set(status(do).values()) == {"created"}

    made = everything(server)
    for again in (run(SHOP), run(SHOP, check=True)):
        assert not again["changed"]
        assert again["statements"] == again["diff"] == []
        assert set(status(again).values()) == {"present"}
        assert all(state["before"] == state["after"] for state in again["objects"])
        # Lines to read are for what differs.
        assert not any("\n" in state["after"] for state in again["objects"])
    assert everything(server) == made
    assert server.query("SELECT comment FROM system.databases WHERE name = 'shop'") == "it\\'s a shop"
    assert server.query("SELECT count() FROM system.tables WHERE is_temporary") == "0"


def test_statements_are_what_the_server_ran(server: ClickHouse, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    execute = client.ClickHouse.execute

    def spy(client: t.Any, statement: str) -> None:
        execute(client, statement)
        if not statement.startswith("CREATE TEMPORARY"):
            ran.append(statement)

    monkeypatch.setattr(client.ClickHouse, "execute", spy)
    announced = run(SHOP, check=True)["statements"]
    assert ran == []
    assert run(SHOP)["statements"] == announced == ran


def test_only_missing_objects_are_created(server: ClickHouse, run: Run) -> None:
    run(SHOP)
    server.query("DROP TABLE shop.mv SYNC")
    server.query("DROP TABLE shop.sums SYNC")
    check = run(SHOP, check=True)
    assert [name for name, word in status(check).items() if word == "created"] == ["shop.sums", "shop.mv"]
    assert run(SHOP)["statements"] == check["statements"]
    assert not run(SHOP)["changed"]


def test_objects_with_the_same_name(server: ClickHouse, run: Run) -> None:
    """A database as a function, and tables whose dots are in the database's name or in their own: each has its own state."""
    columns = "(k UInt8) ENGINE = MergeTree ORDER BY k"
    objects: list[Result] = [
        {"kind": "database", "name": "same"},
        {"kind": "database", "name": "same.x"},
        {"ddl": "CREATE FUNCTION same AS (x) -> (x + 1)"},
        {"ddl": f"CREATE TABLE same.`x.y` {columns}"},
        {"ddl": f"CREATE TABLE `same.x`.y {columns}"},
    ]
    try:
        run(objects[:2] + objects[3:4])
        result = run(objects)
        states = [(state["kind"], state["name"], state["status"]) for state in result["objects"]]
        assert sorted(states) == [
            ("database", "same", "present"),
            ("database", "same.x", "present"),
            ("function", "same", "created"),
            ("table", "same.x.y", "created"),
            ("table", "same.x.y", "present"),
        ]
        assert len(result["statements"]) == 2
        assert not run(objects)["changed"]
    finally:
        server.query("DROP FUNCTION IF EXISTS same")


def test_drift(server: ClickHouse, run: Run) -> None:
    run(SHOP)
    server.query("ALTER TABLE shop.a MODIFY TTL t + INTERVAL 2 DAY")
    server.query("ALTER TABLE shop.sums ADD COLUMN extra String")
    server.query("ALTER DATABASE shop MODIFY COMMENT 'a stall'")
    server.query("DROP TABLE shop.v SYNC")
    untouched = everything(server)
    for check in (True, False):
        failed = run(SHOP, check=check)
        assert failed["failed"]
        assert not failed["changed"]
        assert failed["statements"] == []
        assert "\n" not in failed["msg"]
        for words in (
            "table shop.sums: column extra and its values would be dropped (allow: [drop_column])",
            ": - `c` UInt64, | - `extra` String | + `c` UInt64",
        ):
            assert words in failed["msg"]
        assert everything(server) == untouched
        assert "shop.v" not in status(failed)
        # Only what is in the way.
        (entry,) = failed["diff"]
        assert entry["before_header"] == "table shop.sums"
        assert "extra" in entry["before"]
        assert "extra" not in entry["after"]

    check_report = run(SHOP, check=True, on_drift="report")
    report = run(SHOP, on_drift="report")
    assert report["statements"] == check_report["statements"]
    assert [statement.split(" (")[0] for statement in report["statements"]] == [
        "ALTER DATABASE shop MODIFY COMMENT 'it\\'s a shop'",
        "ALTER TABLE shop.a",
        report["statements"][2].split(" (")[0],
    ]
    statuses = ["altered", "altered", "drifted", "present", "created", "present"]
    assert status(report) == dict(zip(SHOP_ORDER, statuses, strict=True))
    again = run(SHOP, on_drift="report")
    assert not again["changed"]
    assert again["statements"] == []
    assert sum("differs from its declaration" in warning for warning in again["warnings"]) == 1
    allowed = run(SHOP, allow=["drop_column"])
    assert allowed["statements"] == ["ALTER TABLE shop.sums (DROP COLUMN extra)"]
    assert not run(SHOP)["changed"]


# The second plan of each must be empty.
SPELLINGS = (Path(__file__).parent / "clickhouse_spellings.sql").read_text(encoding="utf-8").split("\n\n")[1:]


def test_a_table_as_another_is_altered_with_it(server: ClickHouse, run: Run) -> None:
    """In the same run: what the server would copy when the run begins are the columns before."""
    head = "CREATE TABLE shop.a (t DateTime, n UInt32, {}INDEX i n TYPE minmax, CONSTRAINT few CHECK n < 9) ENGINE = MergeTree ORDER BY t"

    def shop(more: str) -> list[Result]:
        copies = [
            {"ddl": f"CREATE TABLE {name} AS shop.a ENGINE = {engine}"}
            for name, engine in (("shop.everywhere", "Distributed(one, shop, a, n)"), ("shop.copy", "MergeTree ORDER BY n"))
        ]
        return [{"kind": "database", "name": "shop"}, {"ddl": head.format(more)}, *copies]

    run(shop(""))
    changed = shop("`INDEX ` LowCardinality(String) DEFAULT toString(n) CODEC(ZSTD(3)), ")
    check = run(changed, check=True)
    assert status(check) == {"shop": "present", **dict.fromkeys(("shop.a", "shop.everywhere", "shop.copy"), "altered")}
    done = run(changed)
    assert done["statements"] == check["statements"]
    assert not run(changed)["changed"]
    column = "SELECT groupArray((type, default_expression, compression_codec)) FROM system.columns WHERE name = 'INDEX '"
    kind = "('LowCardinality(String)','toString(n)','CODEC(ZSTD(3))')"
    assert server.query(column) == f"[{','.join([kind] * 3)}]"


def test_equivalent_definitions_are_no_difference(run: Run) -> None:
    source = "(a UInt8) ENGINE = MergeTree ORDER BY a"
    objects: list[dict[str, t.Any]] = [
        {"kind": "database", "name": "x"},
        *({"ddl": f"CREATE TABLE x.{name} {source}"} for name in ("src", "src2")),
        *({"ddl": ddl.replace("{name}", f"t{number}")} for number, ddl in enumerate(SPELLINGS)),
    ]
    check, do, again = run(objects, check=True), run(objects), run(objects)
    assert "failed" not in do, do["msg"]
    assert check["statements"] == do["statements"]
    assert len(do["statements"]) == len(objects)
    assert "failed" not in again, again["msg"]
    assert not again["changed"]
    assert set(status(again).values()) == {"present"}
    assert "hunter2" not in json.dumps([check, do, again])


DATABASE = {"kind": "database", "name": "shop"}
GOOD = {"ddl": "CREATE TABLE shop.good (a UInt8) ENGINE = MergeTree ORDER BY a"}


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([{"ddl": "CREATE TABLE shop.t (a Uint88) ENGINE = Memory"}], r"shop\.t \(objects\[2\]\.ddl\): Code: 50\..*Uint88"),
        ([{"ddl": "CREATE TABLE shop.t (a UInt8) ENGINE = MergTree"}], r"shop\.t \(objects\[2\]\.ddl\): Code: 56\..*MergTree"),
        ([{"ddl": "CREATE TABLE shop.t (a UInt8 CODEC(Zip)) ENGINE = Memory"}], r"shop\.t \(objects\[2\]\.ddl\): Code: 432"),
        ([{"ddl": "CREATE TABLE shop.t (a UInt8) ENGINE = MergeTree ORDER BY b"}], r"shop\.t \(objects\[2\]\.ddl\): Code: 47"),
        ([{"ddl": "CREATE TABLE shop.t (a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS nonsense = 1"}], r"shop\.t .*Code: 115"),
        ([{"ddl": "CREATE TABLE shop.t (a UInt8, a UInt8) ENGINE = Memory"}], r"shop\.t .*Code: 44"),
        ([{"ddl": "CREATE TABLE shop.t (a UInt8 ENGINE = Memory"}], r"objects\[2\]\.ddl\): its parentheses do not match"),
        ([{"ddl": "CREATE TABLE shop.t (a UInt8,,) ENGINE = Memory"}], r"shop\.t \(objects\[2\]\.ddl\): Code: 62\..*Syntax error"),
        ([{"ddl": "CREATE TABLE shop.t (a UInt8) ENGINE = Distributed(nowhere, shop, good)"}], r"shop\.t .*Code: 701"),
        ([{"ddl": "CREATE TABLE gone.t (a UInt8) ENGINE = Memory"}], r"gone\.t .*the database gone neither exists nor is declared"),
        ([{"ddl": "CREATE TABLE shop.t (a UInt8) ENGINE = Memory; DROP TABLE shop.good"}], r"objects\[2\]\.ddl\): more than one"),
        ([{"ddl": "CREATE TABLE shop.t ON CLUSTER one (a UInt8) ENGINE = Memory"}], r"ON CLUSTER is not accepted"),
        ([{"ddl": "CREATE TABLE t (a UInt8) ENGINE = Memory"}], r"needs its database"),
        ([{"ddl": "CREATE TABLE shop.t (a UInt8) COMMENT 'x"}], r"never closed"),
        ([{"ddl": "CREATE USER d IDENTIFIED BY 'x'"}], r"is not managed"),
        ([{"ddl": "CREATE TABLE shop.t AS shop.good"}], r"objects\[2\]\.ddl\): the statement names no ENGINE"),
        ([{"ddl": "CREATE TABLE shop.t ENGINE = Log AS SELECT 1 AS a"}], r"AS SELECT would fill the table"),
        ([GOOD], r"shop\.good is declared twice: objects\[1\] and objects\[2\]"),
        (
            [{"ddl": f"CREATE VIEW shop.{one} AS SELECT * FROM shop.{other}"} for one, other in ("pq", "qp")],
            r"circle: shop\.p, shop\.q",
        ),
        ([{**DATABASE, "name": "other", "ddl": "CREATE DATABASE other"}], r"does not go with kind=database"),
        ([{"name": "shop.t", "kind": "view"}], r"objects\[2\]\.ddl is missing"),
        ([{"kind": "database", "name": "other", "engine": "Atomic("}], r"other \(objects\[2\]\.name\): Code: 62"),
        ([{"ddl": "CREATE TABLE shop.t (a UInt8) ENGINE = Memory", "state": "absent"}], r"objects\[2\]\.ddl: what is absent"),
        ([{"name": "shop.t", "state": "absent"}], r"objects\[2\]\.kind is missing"),
        ([{"kind": "table", "state": "absent"}], r"objects\[2\]\.name: what is absent"),
        ([{"kind": "table", "name": "shop", "state": "absent"}], r"a table is named database\.name"),
        ([{"kind": "table", "name": "shop.`t", "state": "absent"}], r"objects\[2\]\.name: .* is not a name"),
        ([{"kind": "table", "name": "shop.t; DROP DATABASE shop", "state": "absent"}], r"objects\[2\]\.name: .* is not a name"),
        ([{"ddl": "CREATE TABLE shop.t (a UInt8) ENGINE = Memory", "colums": []}], r"Unsupported parameters.*colums"),
        (
            [{"ddl": "CREATE TABLE shop.t (a UInt8) ENGINE = PostgreSQL('h:1', 'd', 't', 'u', 'hunter2', 'a', 'b', 'c')"}],
            r"shop\.t .*Code: ",
        ),
    ],
)  # fmt: skip
def test_bad_input_changes_nothing(server: ClickHouse, run: Run, objects: list[Result], message: str) -> None:
    untouched = everything(server)
    results = [run([DATABASE, GOOD, *objects], check=check) for check in (True, False)]
    for result in results:
        assert result["failed"]
        assert "\n" not in result["msg"]
        assert not result.get("changed", False)
        assert "hunter2" not in json.dumps(result)
        with pytest.raises(AssertionError, match=message):
            raise AssertionError(result["msg"])
    assert everything(server) == untouched


STATEMENT = "CREATE TABLE shop.t (a UInt8) ENGINE = Memory"


def by_options(**more: t.Any) -> list[Result]:
    """A table that is right, but for what is given."""
    return [{"name": "shop.t", "engine": "MergeTree", "columns": [{"name": "a", "type": "UInt8"}], "order_by": "a", **more}]


def column(**more: t.Any) -> list[Result]:
    return by_options(columns=[{"name": "a", "type": "UInt8"}, {"name": "b", "type": "DateTime", **more}])


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        (by_options(columns=[]), r"shop\.t: objects\[2\]\.columns is missing"),
        (by_options(name="t"), r"write database\.t"),
        (by_options(name=None), r"objects\[2\]\.name is missing"),
        (by_options(name="shop.t.u"), r"shop\.t\.u"),
        (by_options(columns=[{"name": "a"}]), r"missing required arguments: type found in objects -> columns"),
        (by_options(columns="a UInt8"), r"dictionary requested"),
        (by_options(engine="MergeTree ORDER BY a"), r"shop\.t \(objects\[2\]\.columns\): Code: 62"),
        (column(type="UInt8) ENGINE = Memory --"), r"columns\[1\]\.type: its parentheses do not match"),
        (column(type=""), r"columns\[1\]\.type is empty"),
        (column(default="1; DROP TABLE shop.good"), r"columns\[1\]\.default: there is a semicolon in it"),
        (column(default="'x"), r"columns\[1\]\.default: a quote opened at character 0 is never closed"),
        (column(default="nowhere + 1"), r"shop\.t .*Code: 47"),
        (column(default_kind="ALIAS"), r"columns\[1\]\.default is missing: ALIAS needs an expression"),
        (column(default_kind="SOMETIMES"), r"value of default_kind must be one of"),
        (column(codec="ZSTD(1"), r"columns\[1\]\.codec: its parentheses do not match"),
        (column(codec="Zip"), r"shop\.t .*Code: 432"),
        (column(ttl="a"), r"shop\.t .*Code: 450"),
        (column(name="a"), r"shop\.t .*Code: 44"),
        (by_options(indices=[{"name": "i", "expression": "a", "type": "minmax", "granularity": "many"}]), r"granularity"),
        (by_options(indices=[{"name": "i", "expression": "z", "type": "minmax"}]), r"shop\.t .*Code: 47"),
        (by_options(indices=[{"name": "i", "expression": "a", "type": "mystery"}]), r"shop\.t .*Code: "),
        (by_options(constraints=[{"name": "c", "check": "z > 1"}]), r"shop\.t .*Code: 47"),
        (by_options(projections=[{"name": "p", "query": "SELECT z"}]), r"shop\.t .*Code: "),
        (by_options(projections=[{"name": "p"}]), r"missing required arguments: query"),
        (by_options(partition_by="no_such(a)"), r"shop\.t .*Code: 46"),
        (by_options(ttl="a + 1"), r"shop\.t .*Code: 450"),
        (by_options(sample_by="toString(a)"), r"shop\.t .*Code: "),
        (by_options(primary_key="a, a, a"), r"shop\.t .*Code: "),
        (by_options(settings={"nonsense": 1}), r"shop\.t .*Code: 115"),
        (by_options(settings={"a b": 1}), r"settings: 'a b' is no name of a setting"),
        (by_options(settings={"merge_max_block_size": [1]}), r"settings\.merge_max_block_size: expected a text, number or boolean"),
        (by_options(settings="no"), r"settings"),
        (by_options(kind="view"), r"objects\[2\]\.columns does not go with a view"),
        (by_options(kind="database"), r"objects\[2\]\.columns does not go with a database"),
        (by_options(ddl=STATEMENT), r"objects\[2\]\.columns does not go with a statement in ddl"),
        (by_options(renamed_columns={"a": "b"}), r"renamed_columns goes with a statement in ddl"),
        (by_options(renamed_from="t"), r"objects\[2\]\.renamed_from is t: expected database\.name"),
        ([{"ddl": STATEMENT, "renamed_from": "shop.good"}], r"objects\[2\]\.renamed_from\): shop\.good is declared itself"),
        ([{"ddl": STATEMENT, "renamed_columns": {"x": "a", "y": "a"}}], r"two columns have one former name"),
        ([{"ddl": STATEMENT, "renamed_columns": {"x": 1}}], r"expected new names with former names, both texts"),
        ([{"ddl": "CREATE VIEW shop.v AS SELECT 1", "renamed_columns": {"x": "a"}}], r"renamed_columns is for tables"),
        ([{"ddl": "CREATE FUNCTION f AS x -> x", "renamed_from": "shop.f"}], r"renamed_from does not go with a function"),
        ([{**DATABASE, "name": "other", "renamed_from": "shop"}], r"renamed_from does not go with kind=database"),
        ([{"ddl": "CREATE NAMED COLLECTION c AS"}], r"objects\[2\]\.ddl\): a named collection is written AS key = value"),
        ([{"ddl": "CREATE NAMED COLLECTION shop.c AS a = 1"}], r"a named collection belongs to no database"),
        ([{"ddl": "CREATE FUNCTION shop.f AS x -> x"}], r"a function belongs to no database"),
        ([{"ddl": "CREATE FUNCTION f AS 1"}], r"objects\[2\]\.ddl\): a function is written AS"),
        ([{"ddl": "CREATE TABLE shop.t (a Int8) ENGINE = PostgreSQL('h', 'd', 't', 'u', '[HIDDEN]')"}], r"shop\.t .*: it has '\[HIDDEN\]'"),
        ([{"ddl": "CREATE NAMED COLLECTION shop_c AS url = '[HIDDEN]'"}], r"shop_c \(objects\[2\]\.ddl\): it has '\[HIDDEN\]'"),
        ([{"ddl": "CREATE TEMPORARY TABLE t (a UInt8) ENGINE = Memory"}], r"CREATE TEMPORARY TABLE is not managed"),
        ([{"ddl": "ATTACH TABLE shop.t (a UInt8) ENGINE = Memory"}], r"expected a CREATE statement, found 'ATTACH'"),
        ([{"ddl": "-- only a comment"}], r"the statement is empty"),
        ([{"ddl": ""}], r"the statement is empty"),
        ([{"ddl": "CREATE TABLE shop."}], r"expected a name after CREATE TABLE"),
        ([{"ddl": "CREATE TABLE shop.t"}], r"nothing follows the name"),
        ([{"ddl": STATEMENT, "kind": "dictionary"}], r"dictionary is declared, but the statement makes a table"),
        ([{"ddl": STATEMENT, "kind": "tabel"}], r"value of kind must be one of"),
        ([{"ddl": STATEMENT, "state": "gone"}], r"value of state must be one of"),
        ([{"ddl": STATEMENT, "engine": "Log"}], r"objects\[2\]\.engine is for databases"),
        (["CREATE TABLE shop.t"], r"dictionary requested"),
        ([{"kind": "table", "name": "shop.t", "state": "absent", "order_by": "a"}], r"objects\[2\]\.order_by: what is absent"),
        ([{}], r"objects\[2\]\.ddl is missing"),
        ([{"kind": "database", "name": ""}], r"objects\[2\]\.name is missing"),
    ],
)  # fmt: skip
def test_more_bad_input_changes_nothing(server: ClickHouse, run: Run, objects: list[Result], message: str) -> None:
    test_bad_input_changes_nothing(server, run, objects, message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"purge": [{"database": "system"}]}, r"purge\[0\]\.database: 'system' is not for purging"),
        ({"purge": [{"database": ""}]}, r"purge\[0\]\.database: '' is not for purging"),
        ({"purge": [{"names": ["x"]}]}, r"missing required arguments: database found in purge"),
        ({"purge": "shop"}, r"dictionary requested"),
        ({"purge": [{"database": "shop", "except": ["x"]}]}, r"Unsupported parameters.*except"),
        ({"allow": ["drop_everything"]}, r"value of allow must be one or more of"),
        ({"on_drift": "ignore"}, r"value of on_drift must be one of"),
        ({"history": "nowhere"}, r"nowhere\.schema_history \(history\): the database nowhere neither exists nor is declared"),
        ({"login_port": "http"}, r"login_port"),
        ({"ca_path": "/nowhere", "secure": True}, r"ca_path|nothing answers|TLS"),
        ({"client_key": "/nowhere"}, r"missing parameter\(s\) required by 'client_key': client_cert"),
    ],
)
def test_bad_options_change_nothing(server: ClickHouse, run: Run, options: Result, message: str) -> None:
    untouched = everything(server)
    for check in (True, False):
        result = run([DATABASE, GOOD], check=check, **options)
        assert result["failed"]
        with pytest.raises(AssertionError, match=message):
            raise AssertionError(result["msg"])
    assert everything(server) == untouched


def test_names_with_special_characters(server: ClickHouse, run: Run) -> None:
    """Quotes, backticks, new lines and words of SQL are names like others."""
    names = ["it's", 'quo"ted', "back`tick", "back\\slash", "select", "a b", "ünïcode", "semi;colon", "--", "new\nline", "{macro}", "%s"]
    objects = [
        {**item, "comment": f"{name}\nsecond 'line' \\"}
        for name in names
        for item in by_options(
            name="shop.`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`",
            columns=[{"name": name, "type": "UInt8"}],
            order_by="tuple()",
        )
    ]
    check, done = (run([DATABASE, *objects], check=check) for check in (True, False))
    assert "failed" not in done, done["msg"]
    assert check["statements"] == done["statements"]
    assert not run([DATABASE, *objects])["changed"]
    made = "SELECT groupArray(name) AS names FROM system.columns WHERE database = 'shop' FORMAT JSONEachRow"
    assert sorted(json.loads(server.query(made))["names"]) == sorted(names)
    purged = run([DATABASE], purge=[{"database": "shop"}], allow=["drop_table"])
    assert len(purged["statements"]) == len(names)
    assert server.query("SELECT count() FROM system.tables WHERE database = 'shop'") == "0"


def test_permission_denied_at_the_third_of_five(server: ClickHouse, run: Run) -> None:
    """What was done stays and is told; with the permission the next run does the rest, and nothing twice."""
    maker = {"login_user": "maker", "login_password": "maker-pw"}
    tables = [{"ddl": f"CREATE TABLE shop.t{number} (a UInt8) ENGINE = MergeTree ORDER BY a"} for number in range(3)]
    objects = [DATABASE, tables[0], {"ddl": "CREATE FUNCTION denied AS x -> x"}, *tables[1:]]
    result = run(objects, **maker)
    assert result["failed"]
    assert result["code"] == 497
    assert result["msg"].startswith("denied (objects[2].ddl): Code: 497. ")
    assert result["statements"] == ["CREATE DATABASE shop"]
    assert len(run(objects)["statements"]) == 4
    assert not run(objects)["changed"]
    server.query("DROP FUNCTION denied")


def test_invalid_view_is_refused_before_the_first_change(server: ClickHouse, run: Run) -> None:
    """A view that the server would refuse is found out before the first change, by asking it."""
    objects: list[dict[str, t.Any]] = [DATABASE, GOOD, {"ddl": "CREATE VIEW shop.v AS SELECT nothing FROM shop.good"}]
    for check in (True, False):
        result = run(objects, check=check)
        assert result["failed"]
        assert result["code"] == 47
        assert not result["changed"]
        assert result["statements"] == []
        assert result["msg"].startswith("shop.v (objects[2].ddl): Code: 47. ")
        assert "__groundwork" not in result["msg"]
    objects[2]["ddl"] = "CREATE VIEW shop.v AS SELECT a FROM shop.good"
    assert len(run(objects)["statements"]) == 3
    assert not run(objects)["changed"]


def test_permissions_are_never_swallowed(server: ClickHouse, run: Run) -> None:
    reader = {"login_user": "reader", "login_password": "reader-pw"}
    for check in (True, False):
        result = run([DATABASE, GOOD], check=check, **reader)
        assert result["failed"]
        assert result["code"] == 497
        assert not result["changed"]
        assert "shop" in result["msg"]
        assert "Not enough privileges" in result["msg"]
    maker = {"login_user": "maker", "login_password": "maker-pw"}
    result = run([DATABASE, GOOD, {"kind": "database", "name": "stall"}], **maker)
    assert result["failed"]
    assert result["code"] == 497
    assert result["msg"].startswith("stall (objects[2].name): Code: 497. ")
    assert result["statements"] == ["CREATE DATABASE shop"]
    assert result["changed"]
    assert run([DATABASE, GOOD], **maker)["statements"] == [GOOD["ddl"]]
    result = run([DATABASE, {"ddl": "CREATE TABLE shop.t (a UInt8) ENGINE = Log"}], **maker)
    assert result["failed"]
    assert result["code"] == 497
    assert not result["changed"]


@pytest.mark.parametrize("user", ["default", "reader", "nobody"])
def test_wrong_password(run: Run, user: str) -> None:
    for check in (True, False):
        result = run([DATABASE], check=check, login_user=user, login_password="wrong-pw")
        assert result["failed"]
        assert result["code"] in (194, 516)
        assert "wrong-pw" not in json.dumps(result)


def test_no_server(run: Run) -> None:
    (port,) = free_ports(1)
    for options in ({}, {"secure": True, "ca_path": "/nowhere/ca.crt"}):
        check = run(SHOP, check=True, login_port=port, **options)
        assert check["changed"]
        assert list(status(check)) == SHOP_ORDER
        assert check["statements"] == run(SHOP, check=True)["statements"]
        assert any("empty server" in warning for warning in check["warnings"])
        result = run(SHOP, login_port=port, **options)
        assert result["failed"]
        assert f"127.0.0.1:{port}" in result["msg"]


def test_failed_query_is_not_taken_for_an_empty_server(server: ClickHouse, run: Run) -> None:
    for check in (True, False):
        result = run([DATABASE], check=check, secure=True)
        assert result["failed"]
        assert "TLS to https://" in result["msg"]
        result = run([DATABASE], check=check, secure=True, ca_path="/nowhere/ca.crt")
        assert result["msg"] == "ca_path: cannot read /nowhere/ca.crt: No such file or directory"
        result = run([DATABASE], check=check, login_host="no-such-host.invalid")
        assert result["failed"]
        assert "login_host: no-such-host.invalid cannot be resolved" in result["msg"]


def test_tls(run: Run, tmp_path: Path) -> None:
    """The server's certificate is verified, and it may ask for ours."""
    (port,) = free_ports(1)
    for name in ("pki", "other"):
        (tmp_path / name).mkdir()
    pki, other = Pki(tmp_path / "pki"), Pki(tmp_path / "other")
    ours = {"client_cert": str(pki.certificate), "client_key": str(pki.key), "login_password": ""}
    with ClickHouse(f"<https_port>{port}</https_port>" + pki.config("strict")):

        def call(ca: Pki, **options: t.Any) -> Result:
            return run([DATABASE], login_port=port, secure=True, ca_path=str(ca.ca), **options)

        assert call(pki, check=True, **ours)["statements"] == call(pki, **ours)["statements"] == ["CREATE DATABASE shop"]
        assert "failed" not in call(other, validate_certs=False, **ours)
        for result in (call(other, **ours), call(other, check=True, **ours), call(pki), call(pki, check=True)):
            assert result["failed"]
            assert f"https://127.0.0.1:{port}" in result["msg"]


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (b"18.16.1\n", 200, r"ClickHouse 18\.16\.1 at http://127\.0\.0\.1:\d+ is too old: 24\.8 is the lowest supported"),
        (b"24.7.9.1\n", 200, r"is too old"),
        (b"<html>hello</html>", 200, r"is not ClickHouse 24\.8 or newer"),
        (b"not here", 404, r"is not ClickHouse 24\.8 or newer \(HTTP 404\)"),
        (b"", 302, r"is not ClickHouse"),
    ],
)  # fmt: skip
def test_external_clickhouse(run: Run, answer: bytes, code: int, message: str) -> None:
    with http_server(answer, code) as port:
        for check in (True, False):
            result = run([DATABASE], check=check, login_port=port)
            assert result["failed"]
            with pytest.raises(AssertionError, match=message):
                raise AssertionError(result["msg"])


def test_without_the_library(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "HAS_CLICKHOUSE_CONNECT", False)
    result = run([DATABASE])
    assert result["failed"]
    assert "Failed to import the required Python library (clickhouse-connect)" in result["msg"]


def test_server_dies_between_statements(server: ClickHouse, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the second statement: the run says what is left, the next one finishes it."""
    monkeypatch.setattr("ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.execution._ATTEMPTS", 1)
    execute = client.ClickHouse.execute
    seen: list[str] = []

    def kill(client: t.Any, statement: str) -> None:
        execute(client, statement)
        if not statement.startswith("CREATE TEMPORARY"):
            seen.append(statement)
            if len(seen) == 2:
                server.kill()

    with monkeypatch.context() as patch:
        patch.setattr(client.ClickHouse, "execute", kill)
        result = run(SHOP)
    server.start()
    assert result["failed"]
    assert result["changed"]
    assert len(result["statements"]) == 2
    assert "run it again" in result["msg"]
    assert "\n" not in result["msg"]
    assert run(SHOP)["changed"]
    assert not run(SHOP)["changed"]


def test_a_server_that_dies_after_99_of_100_creates(server: ClickHouse, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told with what was executed, the object that it may have died of, and no more than a line of the library's own words."""
    objects = [DATABASE, *({"ddl": f"CREATE TABLE shop.t{number} (a UInt8) ENGINE = Memory"} for number in range(100))]
    execute = client.ClickHouse.execute
    seen: list[str] = []

    def kill(client: t.Any, statement: str) -> None:
        if not statement.startswith("CREATE TEMPORARY"):
            seen.append(statement)
            if len(seen) == 101:
                server.kill()
        execute(client, statement)

    with monkeypatch.context() as patch:
        patch.setattr(client.ClickHouse, "execute", kill)
        patch.setattr("time.sleep", lambda _seconds: None)
        result = run(objects)
    server.start()
    assert result["failed"]
    assert result["changed"]
    assert result["statements"] == seen[:100]
    assert result["msg"].startswith("shop.t99 (objects[100].ddl): ")
    assert "whether its statement ran is not known; 1 of 101 statements left, run it again" in result["msg"]
    assert not [word for word in ("urllib3", "HTTPConnection", "object at", "Max retries", "\n") if word in result["msg"]]
    assert len(result["msg"]) < 250
    assert run(objects)["statements"] == seen[100:]


def test_messages_name_the_place(server: ClickHouse, run: Run) -> None:
    """Of a statement that is wrong, of a declaration without a database, and of values that do not fit."""
    columns = ", ".join(f"c{number} UInt8" for number in range(200))
    wrong = run([DATABASE, {"ddl": f"CREATE TABLE shop.t (a UInt8, b Strin g, {columns}) ENGINE = Memory"}])
    assert wrong["msg"].startswith("shop.t (objects[1].ddl): Code: 62. Syntax error at character 39, near ', b Strin g, c0'; expected ")
    assert len(wrong["msg"]) < 250
    assert "t (objects[0].ddl): ON CLUSTER" in run([{"ddl": "CREATE TABLE shop.t ON CLUSTER c (a UInt8)"}])["msg"]
    table = "CREATE TABLE shop.t (k UInt8, a String, b String) ENGINE = MergeTree ORDER BY k"
    run([DATABASE, {"ddl": table}])
    server.query("INSERT INTO shop.t VALUES (1, '1', '2'), (2, '3', 'four')")
    for more in ({}, {"to": "ORDER BY (k, a)"}):
        declared = table.replace("a String, b String", "a UInt8, b UInt8").replace("ORDER BY k", more.get("to", "ORDER BY k"))
        result = run([{"ddl": declared}], allow=["modify_lossy", "rebuild"])
        assert "column b has values that are no UInt8, such as 'four'" in result["msg"]
        assert "FUNCTION" not in result["msg"]
        assert "mutation" not in result["msg"]
    assert server.query("SELECT * FROM shop.t ORDER BY k") == "1\t1\t2\n2\t3\tfour"
    enum = "CREATE TABLE shop.e (a Enum8('x' = 1, 'y' = 2)) ENGINE = MergeTree ORDER BY tuple()"
    run([{"ddl": enum}])
    server.query("INSERT INTO shop.e VALUES ('y')")
    fewer = run([{"ddl": enum.replace(", 'y' = 2", "")}], allow=["modify_lossy"])
    assert "column a has values that are no Enum8('x' = 1), such as 'y'" in fewer["msg"]


def test_the_plan_says_what_each_statement_costs(server: ClickHouse, run: Run) -> None:
    """By the server's own figures, in check mode as in the run, and beside the difference."""
    table = "CREATE TABLE shop.t (k UInt32, a UInt8, b String, c UInt8) ENGINE = MergeTree ORDER BY k SETTINGS min_bytes_for_wide_part = 0"
    run([DATABASE, {"ddl": table}, {"ddl": table.replace("shop.t", "shop.u")}])
    server.query("INSERT INTO shop.t SELECT number, 1, randomString(100), 2 FROM numbers(1000)")
    declared = table.replace("a UInt8", "a UInt16").replace(", c UInt8", "").replace("b String", "b String COMMENT 'x'")
    objects = [{"ddl": declared}, {"ddl": declared.replace("shop.t", "shop.u")}, {"ddl": table.replace("shop.t", "shop.new")}]
    check, do = run(objects, check=True, allow=["drop_column"]), run(objects, allow=["drop_column"])
    assert check["plan"] == do["plan"]
    assert [entry["statement"] for entry in do["plan"]] == do["statements"]
    effects = {entry["name"]: (entry["effect"], entry["rows"]) for entry in do["plan"]}
    assert effects == {"shop.t": ("rewrite", 1000), "shop.u": ("instant", 0), "shop.new": ("instant", 0)}
    # The column alone, of a table with 100 bytes of text in each row.
    (rewritten,) = [entry["bytes"] for entry in do["plan"] if entry["name"] == "shop.t"]
    assert 0 < rewritten < 10_000
    (shown,) = [entry["prepared"] for entry in check["diff"] if entry["after_header"] == "table shop.t"]
    lost = "column c and its values would be dropped"
    assert shown == f"-- rewrite: 1000 rows, {rewritten} bytes; lost: {lost}\n{do['plan'][0]['statement']}\n"
    rebuilt = declared.replace("ORDER BY k", "ORDER BY (k, a)")
    copied = run([{"ddl": rebuilt}], check=True, allow=["rebuild"])["plan"]
    assert {entry["effect"]: entry["rows"] for entry in copied}["copy"] == 1000
    assert next(entry["bytes"] for entry in copied if entry["effect"] == "copy") > 100_000
    gone = run([{"kind": "table", "name": "shop.t", "state": "absent"}], check=True, allow=["drop_table"])["plan"]
    assert [(entry["effect"], entry["rows"]) for entry in gone] == [("drop", 1000)]


def test_values_that_depend_on_a_dropped_column(server: ClickHouse, run: Run) -> None:
    table = "CREATE TABLE shop.t (k UInt8, old String{}) ENGINE = MergeTree ORDER BY k"
    run([DATABASE, {"ddl": table.format("")}])
    server.query("INSERT INTO shop.t VALUES (1, 'a')")
    run([{"ddl": table.format(", new String DEFAULT old")}])
    last = [{"ddl": table.format(", new String").replace("old String, ", "")}]
    for check in (True, False):
        refused = run(last, check=check, allow=["drop_column"])
        assert "column new has values that were never written and are computed from old" in refused["msg"]
        assert "renamed_columns" in refused["msg"]
    server.query("ALTER TABLE shop.t MATERIALIZE COLUMN new SETTINGS mutations_sync = 2")
    assert run(last, allow=["drop_column"])["changed"]
    assert server.query("SELECT * FROM shop.t") == "1\ta"
    named = run([{"ddl": last[0]["ddl"].replace("new String", "newer String")}])
    assert "if newer is its new name, declare renamed_columns: {newer: new}" in named["msg"]


def test_a_connection_that_breaks_while_reading(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read again, in the same session, over what the first attempt has left in it."""
    execute = client.ClickHouse.execute
    seen: list[str] = []

    def breaks(connected: t.Any, statement: str) -> None:
        execute(connected, statement)
        seen.append(statement)
        if len(seen) == 2:
            raise client.ConnectionFailed("it broke")

    with monkeypatch.context() as patch:
        patch.setattr(client.ClickHouse, "execute", breaks)
        patch.setattr("time.sleep", lambda _seconds: None)
        result = run(SHOP, retries=1)
    assert "failed" not in result, result["msg"]
    assert result["changed"]
    assert not run(SHOP)["changed"]


def test_many_runs_at_once_on_one_server(server: ClickHouse, run: Run) -> None:
    """Runs that race for the same objects all succeed, and each statement took effect once."""
    plans: list[t.Any] = []
    errors: list[ClickHouseError] = []

    def one() -> None:
        try:
            want = declaration.declare(SHOP)
            plans.append(schema.converge(client.ClickHouse(connection(server.port)), want, (), apply=True, keep_drift=False))
        except ClickHouseError as error:
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(plans) == 6
    assert not run(SHOP)["changed"]


def test_unchanged_objects_cost_few_requests(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in other words than the server's cost one together, the others none; the limit of seconds is for a busy machine."""
    columns = ", ".join(f"c{number} LowCardinality(String) CODEC(ZSTD)" for number in range(20))
    spelt = "(`a` UInt8 CODEC(ZSTD(1))) ENGINE = MergeTree ORDER BY a SETTINGS index_granularity = 8192"
    objects = [DATABASE]
    objects += [{"ddl": f"CREATE TABLE shop.t{number} (t DateTime, {columns}) ENGINE = MergeTree ORDER BY t"} for number in range(19)]
    objects += [{"ddl": f"CREATE TABLE shop.s{number} {spelt}"} for number in range(10)]
    run(objects)
    requests: list[str] = []

    def count(method: Callable[[t.Any, str], t.Any]) -> Callable[[t.Any, str], t.Any]:
        def counted(connected: t.Any, text: str) -> t.Any:
            requests.append(text)
            return method(connected, text)

        return counted

    for name in ("rows", "execute"):
        monkeypatch.setattr(client.ClickHouse, name, count(getattr(client.ClickHouse, name)))
    start = time.monotonic()
    result = run(objects)
    assert time.monotonic() - start < 10
    assert not result["changed"]
    assert len(requests) == 1 + 4


class OldClient(client.ClickHouse):
    """As before version 25.4, which added PARALLEL WITH."""

    def execute(self, statement: str, *arguments: t.Any) -> None:
        if "PARALLEL WITH" in statement:
            raise ServerError("Syntax error", 62)
        super().execute(statement, *arguments)


@pytest.mark.parametrize("kind", [client.ClickHouse, OldClient])
def test_definitions_are_tried_in_one_request(server: ClickHouse, kind: type[client.ClickHouse], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused among many is found by halves, and all others are made."""
    connected = kind(connection(server.port))
    sent: list[str] = []
    execute = client.ClickHouse.execute

    def count(self: client.ClickHouse, statement: str, *arguments: t.Any) -> None:
        sent.append(statement)
        execute(self, statement, *arguments)

    monkeypatch.setattr(client.ClickHouse, "execute", count)
    columns = {**{f"t{number}": "a UInt8" for number in range(100)}, "t7": "a UInt8 DEFAULT nope()", "t90": "a Nope"}
    statements = {name: f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ({text})" for name, text in columns.items()}
    try:
        errors = temporary_objects.TemporaryObjects(connected).create_all(statements)
        assert {name: error.code for name, error in errors.items()} == {"t7": 46, "t90": 50}
        made = {name for (name,) in connected.rows("SELECT name FROM system.tables WHERE is_temporary")}
        assert made == statements.keys() - errors.keys()
    finally:
        connected.close()
    assert len(sent) <= (100 if kind is OldClient else 30)


@pytest.mark.parametrize("kind", [client.ClickHouse, OldClient])
def test_changes_of_tables_are_tried_in_batches(
    server: ClickHouse, run: Run, kind: type[client.ClickHouse], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If one of them is refused, each is tried by itself, and the reason is told of that table alone."""

    def tables(columns: Callable[[int], str]) -> list[declaration.Declared]:
        texts = [f"CREATE TABLE shop.t{number} {columns(number)}" for number in range(10)]
        return declaration.declare([DATABASE, *({"ddl": text} for text in texts)])

    def converge(columns: Callable[[int], str]) -> tuple[_plan.Plan, list[str]]:
        sent: list[str] = []
        execute = kind.execute

        def count(self: client.ClickHouse, statement: str, *arguments: t.Any) -> None:
            sent.append(statement)
            execute(self, statement, *arguments)

        connected = kind(connection(server.port))
        try:
            with monkeypatch.context() as patch:
                patch.setattr(kind, "execute", count)
                plan = schema.converge(connected, tables(columns), (), apply=True, keep_drift=True)
        finally:
            connected.close()
        return plan, [statement for statement in sent if "_twin" in statement]

    engine = "ENGINE = MergeTree ORDER BY a SETTINGS index_granularity"
    monkeypatch.setattr(temporary_objects, "_BATCH", 4)
    converge(lambda number: f"(a UInt8) {engine} = 8192")
    plan, sent = converge(lambda number: f"(a UInt8, b UInt8) {engine} = 8192")
    assert len(plan.steps) == 10
    assert not plan.drifted
    # Ten tables are three batches; the old server refuses each batch of CREATEs and the first of ALTERs.
    assert len(sent) == (2 * 3 if kind is client.ClickHouse else 3 + 10 + 1 + 2 * 10)
    # The server says only when it is asked that a table keeps this setting.
    plan, _sent = converge(
        lambda number: f"(a UInt8, b UInt8, c UInt8) {engine} = 8192" if number != 7 else f"(a UInt8, b UInt8) {engine} = 4096"
    )
    assert [state.name for state in plan.drifted] == ["shop.t7"]
    assert "Setting 'index_granularity' is readonly" in plan.drifted[0].reason
    assert len(plan.steps) == 9


def test_create_or_replace_and_no_engine_are_declarations_like_others(server: ClickHouse, run: Run) -> None:
    objects = [
        DATABASE,
        {"ddl": "CREATE OR REPLACE TABLE shop.a (a UInt8, b text) ORDER BY a"},
        {"ddl": "CREATE TABLE shop.b (a UInt8 PRIMARY KEY)"},
        {"ddl": "CREATE OR REPLACE VIEW shop.v AS SELECT a FROM shop.a"},
        {"ddl": "CREATE OR REPLACE DICTIONARY shop.d (a UInt8) PRIMARY KEY a SOURCE(NULL()) LAYOUT(FLAT()) LIFETIME(0)"},
        {"ddl": "CREATE OR REPLACE FUNCTION shop_f AS x -> x + 1"},
        {"kind": "table", "name": "shop.c", "columns": [{"name": "a", "type": "UInt8"}], "order_by": "a"},
    ]
    assert set(status(run(objects)).values()) == {"created"}
    server.query("INSERT INTO shop.a VALUES (1, 'x')")
    assert not run(objects)["changed"]
    engines = server.query("SELECT DISTINCT engine FROM system.tables WHERE database = 'shop' AND name IN ('a', 'b', 'c')")
    assert engines == "MergeTree"
    memory = [DATABASE, {"ddl": "CREATE TABLE shop.m (a UInt8)"}]
    for changed in (True, False):
        assert run(memory, session_settings={"default_table_engine": "Memory"})["changed"] is changed
    more = [{"ddl": "CREATE TABLE shop.a (a UInt8, b text, c UInt8) ORDER BY a"}]
    assert run(more)["statements"] == ["ALTER TABLE shop.a (ADD COLUMN `c` UInt8 AFTER b)"]
    assert server.query("SELECT * FROM shop.a") == "1\tx\t0"
    run([{"kind": "function", "name": "shop_f", "state": "absent"}])


# Tables that the server would not make today, with the setting under which it did, and a column more.
SUSPICIOUS = {
    "low_cardinality": ("(k UInt8, a LowCardinality(UInt8)) ENGINE = MergeTree ORDER BY k", "allow_suspicious_low_cardinality_types"),
    "fixed_string": ("(k UInt8, a FixedString(300)) ENGINE = MergeTree ORDER BY k", "allow_suspicious_fixed_string_types"),
    "codec": ("(k UInt8, a UInt8 CODEC(NONE, LZ4)) ENGINE = MergeTree ORDER BY k", "allow_suspicious_codecs"),
    "aggregating": ("(k UInt8, s SimpleAggregateFunction(sum, UInt64), a text) ENGINE = AggregatingMergeTree ORDER BY k", ""),
}


@pytest.mark.parametrize("name", SUSPICIOUS)
def test_tables_that_the_server_would_not_make_today(server: ClickHouse, run: Run, name: str) -> None:
    """Are compared and altered all the same; to make them anew the session needs the setting."""
    body, setting = SUSPICIOUS[name]
    run([DATABASE])
    if setting:
        assert run([{"ddl": f"CREATE TABLE shop.t {body}"}])["failed"]
        assert "failed" not in run([{"ddl": f"CREATE TABLE shop.t {body}"}], session_settings={setting: 1})
    else:
        server.query(f"CREATE TABLE shop.t {body} SETTINGS allow_dimensions_outside_sorting_key = 1")
        server.query("ALTER TABLE shop.t RESET SETTING allow_dimensions_outside_sorting_key")
    assert not run([{"ddl": f"CREATE TABLE shop.t {body}"}])["changed"]
    result = run([{"ddl": f"CREATE TABLE shop.t {body.replace('k UInt8', 'k UInt8, more text')}"}])
    assert result["statements"] == ["ALTER TABLE shop.t (ADD COLUMN `more` String AFTER k)"]


def test_a_changed_type_in_a_merge_table(server: ClickHouse, run: Run) -> None:
    """It holds no rows itself, so that there is nothing to rehearse with."""
    merge = "CREATE TABLE shop.all (a UInt8, b String) ENGINE = Merge('shop', '^part')"
    run([DATABASE, {"ddl": "CREATE TABLE shop.part1 (a UInt8, b String) ENGINE = MergeTree ORDER BY a"}, {"ddl": merge}])
    server.query("INSERT INTO shop.part1 VALUES (1, 'x')")
    wider = [{"ddl": merge.replace("UInt8", "UInt16")}]
    assert run(wider)["statements"] == ["ALTER TABLE shop.all (MODIFY COLUMN `a` UInt16)"]
    assert not run(wider)["changed"]
    assert server.query("SELECT toTypeName(a), a, b FROM shop.all") == "UInt16\t1\tx"


def test_database_and_settings_of_the_session(server: ClickHouse, run: Run) -> None:
    objects = [
        {"kind": "database", "name": "shop"},
        {"ddl": "CREATE TABLE a (a UInt8, b String) ENGINE = MergeTree ORDER BY a"},
        {"ddl": "CREATE VIEW v AS SELECT a FROM a", "name": "v"},
        {"kind": "table", "name": "c", "engine": "Memory", "columns": [{"name": "a", "type": "UInt8"}]},
        {"ddl": "CREATE FUNCTION shop_g AS x -> x", "name": "shop_g"},
    ]
    check, do = run(objects, check=True, login_database="shop"), run(objects, login_database="shop")
    assert check["statements"] == do["statements"]
    assert set(status(do)) == {"shop", "shop.a", "shop.v", "shop.c", "shop_g"}
    assert not run(objects, login_database="shop")["changed"]
    gone = [{"kind": kind, "name": name, "state": "absent"} for kind, name in (("view", "v"), ("function", "shop_g"), ("database", "shop"))]
    gone_too = run(gone, login_database="shop", allow=["drop_table"])
    assert set(status(gone_too).values()) == {"dropped"}
    missing = run(objects[1:2], login_database="shop")
    assert "the database shop neither exists nor is declared" in missing["msg"]
    for settings, message in (
        ({"nonsense": 1}, "session_settings: Code: 115"),
        ({"readonly": 1}, "session_settings.readonly cannot be given"),
        ({"a b": 1}, "session_settings: 'a b' is no name of a setting"),
    ):
        failed = run([DATABASE], session_settings=settings)
        assert message in failed["msg"]
        assert not failed["changed"]


def test_large_statements(run: Run) -> None:
    columns = ", ".join(f"column_with_a_long_name_{number} UInt64 COMMENT '{'x' * 100}'" for number in range(2500))
    objects = [DATABASE, {"ddl": f"CREATE TABLE shop.wide ({columns}) ENGINE = Memory"}]
    assert run(objects)["changed"]
    assert not run(objects)["changed"]
