# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""clickhouse_schema on objects that depend on each other and change together, on the real engine."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouse as Client
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouseError
from ansible_collections.groundwork.observability.plugins.module_utils._plan import Plan

from tests.support.clickhouse import ClickHouse
from tests.support.converge import EVERYTHING, converge, drop_everything

pytestmark = pytest.mark.integration

KAFKA = "ENGINE = Kafka('127.0.0.1:1', 'topic', 'group', 'JSONEachRow')"
Objects = list[t.Any]


@pytest.fixture(autouse=True)
def empty(server: ClickHouse) -> Iterator[None]:
    drop_everything(server)
    yield
    drop_everything(server)


def table(columns: str, name: str = "t", engine: str = "ENGINE = MergeTree ORDER BY k") -> str:
    return f"CREATE TABLE d.{name} ({columns}) {engine}"


def feed(query: str, name: str = "m", to: str = "d.x") -> str:
    return f"CREATE MATERIALIZED VIEW d.{name} TO {to} AS {query}"


def dictionary(attributes: str, table: str = "t") -> str:
    source = f"SOURCE(CLICKHOUSE(TABLE '{table}' DB 'd'))"
    return f"CREATE DICTIONARY d.dict (k UInt64, {attributes}) PRIMARY KEY k {source} LAYOUT(FLAT()) LIFETIME(0)"


def everything(server: ClickHouse) -> str:
    """All that a run might change: definitions, and rows of tables that keep some."""
    return server.query(
        "SELECT name, create_table_query, total_rows FROM system.tables WHERE database = 'd' ORDER BY name"
    ) + server.query("SELECT name, create_query FROM system.functions WHERE origin = 'SQLUserDefined' ORDER BY name")


def go(server: ClickHouse, client: Client, *objects: t.Any, allow: t.Collection[str] = EVERYTHING) -> Plan:
    """Check mode changes nothing and announces exactly what is then done; a second run finds nothing to do."""
    untouched = everything(server)
    announced = converge(client, *objects, apply=False, allow=allow)
    assert everything(server) == untouched
    done = converge(client, *objects, allow=allow)
    assert announced.statements == done.statements
    assert done.drifted == []
    assert converge(client, *objects, allow=()).statements == []
    return done


CALLS = {"t": "k UInt64, a UInt64 DEFAULT f({})", "x": "k UInt64, a UInt64"}
# What changes together -> (before, after, the statements in their order; none where only the outcome counts).
TOGETHER: dict[str, tuple[Objects, Objects, list[str]]] = {
    "a new column and the view that reads it": (
        [table("k UInt32"), "CREATE VIEW d.v AS SELECT k FROM d.t"],
        [table("k UInt32, b UInt8"), "CREATE VIEW d.v AS SELECT k, b FROM d.t"],
        ["ALTER TABLE d.t (ADD COLUMN `b` UInt8 AFTER k)", "CREATE OR REPLACE VIEW d.v AS SELECT k, b FROM d.t"],
    ),
    "a view on a view that calls a new function": (
        [table("k UInt32"), "CREATE VIEW d.v AS SELECT k FROM d.t", "CREATE VIEW d.w AS SELECT k FROM d.t"],
        [
            table("k UInt32"),
            "CREATE FUNCTION g AS (x) -> x + 1",
            "CREATE VIEW d.v AS SELECT g(k) AS k FROM d.t",
            "CREATE VIEW d.w AS SELECT k FROM d.v",
        ],
        ["CREATE FUNCTION g ", "CREATE OR REPLACE VIEW d.v ", "CREATE OR REPLACE VIEW d.w "],
    ),
    "a view created beside a changed type and a dropped column": (
        [table("k UInt32, a UInt8, b UInt8"), table("k UInt32, a UInt8", "x"), feed("SELECT k, a FROM d.t")],
        [
            *(table("k UInt32, b UInt16"), table("k UInt32, a UInt8", "x")),
            *("CREATE VIEW d.v AS SELECT k, b FROM d.t", feed("SELECT k FROM d.t")),
        ],
        ["ALTER TABLE d.m MODIFY QUERY", "ALTER TABLE d.t (MODIFY COLUMN `b` UInt16), (DROP COLUMN a)", "CREATE VIEW d.v "],
    ),
    "a view replaced beside a changed type and a dropped column": (
        [table("k UInt32, a UInt8, b UInt8"), "CREATE VIEW d.v AS SELECT a, b FROM d.t"],
        [table("k UInt32, b UInt16"), "CREATE VIEW d.v AS SELECT k, b FROM d.t"],
        ["ALTER TABLE d.t (MODIFY COLUMN `b` UInt16)", "CREATE OR REPLACE VIEW d.v ", "ALTER TABLE d.t (DROP COLUMN a)"],
    ),
    "views on views": (
        [table("k UInt32"), "CREATE VIEW d.v AS SELECT k FROM d.t", "CREATE VIEW d.w AS SELECT v.k FROM d.v"],
        [table("k UInt32, b UInt8"), "CREATE VIEW d.v AS SELECT k, b FROM d.t", "CREATE VIEW d.w AS SELECT v.b FROM d.v WHERE v.b > 0"],
        ["ALTER TABLE d.t (", "CREATE OR REPLACE VIEW d.v ", "CREATE OR REPLACE VIEW d.w "],
    ),
    "a new column from table to target": (
        [table("k UInt32"), table("k UInt32", "x"), feed("SELECT k FROM d.t")],
        [table("k UInt32, b UInt8"), table("k UInt32, b UInt8", "x"), feed("SELECT k, b FROM d.t")],
        ["ALTER TABLE d.t (ADD", "ALTER TABLE d.x (ADD", "ALTER TABLE d.m MODIFY QUERY"],
    ),
    "a column that a materialized view read": (
        [table("k UInt32, a String"), table("k UInt32, a String", "x"), feed("SELECT k, a FROM d.t")],
        [table("k UInt32"), table("k UInt32", "x"), feed("SELECT k FROM d.t")],
        ["ALTER TABLE d.m MODIFY QUERY", "ALTER TABLE d.t (DROP", "ALTER TABLE d.x (DROP"],
    ),
    "one column for another": (
        [table("k UInt32, a String"), table("k UInt32, a String", "x"), feed("SELECT k, a FROM d.t")],
        [table("k UInt32, b UInt8"), table("k UInt32, b UInt8", "x"), feed("SELECT k, b FROM d.t")],
        ["ALTER TABLE d.t (ADD", "ALTER TABLE d.x (ADD", "ALTER TABLE d.m MODIFY", "ALTER TABLE d.t (DROP", "ALTER TABLE d.x (DROP"],
    ),
    "a renamed column and its view": (
        [table("k UInt32, a String"), "CREATE VIEW d.v AS SELECT a FROM d.t"],
        [{"ddl": table("k UInt32, c String"), "renamed_columns": {"c": "a"}}, "CREATE VIEW d.v AS SELECT c FROM d.t"],
        ["ALTER TABLE d.t (RENAME COLUMN a TO c), (ADD COLUMN a String ALIAS c)", "CREATE OR REPLACE VIEW", "ALTER TABLE d.t (DROP"],
    ),
    "attributes of a dictionary": (
        [table("k UInt64, a String"), dictionary("a String"), table("k UInt64, n String DEFAULT dictGet('d.dict', 'a', k)", "x")],
        [table("k UInt64, b String"), dictionary("b String"), table("k UInt64, n String DEFAULT dictGet('d.dict', 'b', k)", "x")],
        ["ALTER TABLE d.t (ADD", "CREATE OR REPLACE DICT", "ALTER TABLE d.x (MODIFY", "CREATE OR REPLACE DICT", "ALTER TABLE d.t (DROP"],
    ),
    "the signature of a function": (
        [
            *("CREATE FUNCTION f AS (x) -> x + 1", table(CALLS["t"].format("k")), table(CALLS["x"], "x")),
            *("CREATE VIEW d.v AS SELECT f(a) AS z FROM d.t", feed("SELECT k, f(a) AS a FROM d.t")),
        ],
        [
            *("CREATE FUNCTION f AS (x, y) -> x * y", table(CALLS["t"].format("k, 3")), table(CALLS["x"], "x")),
            *("CREATE VIEW d.v AS SELECT f(a, 2) AS z FROM d.t", feed("SELECT k, f(a, 4) AS a FROM d.t")),
        ],
        ["CREATE OR REPLACE FUNCTION f", "ALTER TABLE d.t (MODIFY", "CREATE OR REPLACE VIEW d.v", "ALTER TABLE d.m MODIFY QUERY"],
    ),
    "what a function says": (
        ["CREATE FUNCTION f AS (x) -> x + 1", "CREATE FUNCTION g AS (x) -> f(x) * 2", table("k UInt64, a UInt64 DEFAULT g(k)")],
        ["CREATE FUNCTION f AS (x) -> x + 5", "CREATE FUNCTION g AS (x) -> f(x) * 2", table("k UInt64, a UInt64 DEFAULT g(k)")],
        ["CREATE OR REPLACE FUNCTION f AS x -> (x + 5)", "ALTER TABLE d.t (MODIFY COLUMN `a` UInt64 DEFAULT g(k))"],
    ),
    "a Distributed table over another": (
        [table("k UInt32, a String"), table("k UInt32, a String", "all", "ENGINE = Distributed(one, d, t)")],
        [table("k UInt32, b String"), table("k UInt32, b String", "all", "ENGINE = Distributed(one, d, t)")],
        ["ALTER TABLE d.t (ADD", "ALTER TABLE d.all (ADD COLUMN `b` String AFTER k), (DROP COLUMN a)", "ALTER TABLE d.t (DROP"],
    ),
    "a dropped dictionary, and the table that asked it": (
        [table("k UInt64, a String"), dictionary("a String"), table("k UInt64, n String DEFAULT dictGet('d.dict', 'a', k)", "x")],
        [
            {"kind": "table", "name": "d.t", "state": "absent"},
            {"kind": "dictionary", "name": "d.dict", "state": "absent"},
            table("k UInt64, n String", "x"),
        ],
        ["ALTER TABLE d.x (MODIFY COLUMN n REMOVE DEFAULT)", "DROP DICTIONARY d.dict", "DROP TABLE d.t"],
    ),
    "a renamed table, and the dictionary over it": (
        [table("k UInt64, a String"), dictionary("a String")],
        [{"ddl": table("k UInt64, a String", "new"), "renamed_from": "d.t"}, dictionary("a String", "new")],
        ["CREATE OR REPLACE DICTIONARY", "RENAME TABLE d.t TO d.new"],
    ),
    "a queue and its views": (
        [table("k UInt32", "q", KAFKA), table("k UInt32", "x"), feed("SELECT k FROM d.q"), feed("SELECT k + 1 AS k FROM d.q", "n")],
        [
            *(table("k UInt32, b UInt8", "q", KAFKA), table("k UInt32, b UInt8", "x")),
            *(feed("SELECT k, b FROM d.q"), feed("SELECT k + 1 AS k FROM d.q", "n")),
        ],
        [
            *("DROP TABLE d.q SYNC", "CREATE TABLE d.q (`k` UInt32, `b` UInt8) ENGINE = Null", "ALTER TABLE d.x (ADD"),
            *("ALTER TABLE d.m MODIFY QUERY", "CREATE OR REPLACE TABLE d.q (k UInt32, b UInt8) ENGINE = Kafka"),
        ],
    ),
    "a queue alone": (
        [table("k UInt32", "q", KAFKA), table("k UInt32", "x"), feed("SELECT k FROM d.q")],
        [table("k UInt64", "q", KAFKA.replace("topic", "other")), table("k UInt32", "x"), feed("SELECT k FROM d.q")],
        ["DROP TABLE d.q SYNC", "CREATE TABLE d.q (k UInt64) ENGINE = Kafka('127.0.0.1:1', 'other'"],
    ),
}


@pytest.mark.parametrize("what", TOGETHER)
def test_objects_change_in_one_call(server: ClickHouse, client: Client, what: str) -> None:
    before, after, wanted = TOGETHER[what]
    go(server, client, *before)
    done = go(server, client, *after).statements
    assert len(done) == len(wanted), done
    assert all(statement.startswith(words) for statement, words in zip(done, wanted, strict=True)), done


def test_no_inserted_row_is_missed_while_columns_are_renamed(
    server: ClickHouse, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Source and target rename a column: between any two statements an INSERT reaches the target with its value."""
    columns = {"renamed_columns": {"c": "a"}}
    go(server, client, table("k UInt32, a String"), table("k UInt32, a String", "x"), feed("SELECT k, a FROM d.t"))
    inserted = 0
    execute = Client.execute

    def insert_behind(self: Client, statement: str) -> None:
        nonlocal inserted
        execute(self, statement)
        if statement.startswith("ALTER TABLE d."):
            inserted += 1
            server.query(f"INSERT INTO d.t VALUES ({inserted}, 'value')")

    monkeypatch.setattr(Client, "execute", insert_behind)
    wanted = [{"ddl": table("k UInt32, c String"), **columns}, {"ddl": table("k UInt32, c String", "x"), **columns}]
    converge(client, *wanted, feed("SELECT k, c FROM d.t"))
    assert inserted == 5
    assert server.query("SELECT count(), countIf(c = 'value') FROM d.x") == f"{inserted}\t{inserted}"
    assert server.query("SELECT count(), countIf(c = 'value') FROM d.t") == f"{inserted}\t{inserted}"


WITHOUT_ROWS: dict[str, tuple[str, ...]] = {
    "Distributed, its sharding key": ("Distributed(one, d, t, k)", "Distributed(one, d, t, k + 1)"),
    "Merge, its tables": ("Merge(d, '^t$')", "Merge(d, '^(t|u)$')"),
    "Buffer, its size": tuple(f"Buffer(d, t, 1, 1000, 1000, {size}, 100000, 10000, 10000)" for size in (9, 10)),
    "URL, its address": ("URL('http://127.0.0.1:1/a', 'CSV')", "URL('http://127.0.0.1:1/b', 'CSV')"),
    "MySQL, its host": ("MySQL('h1:1', 'd', 't', 'u', 'hunter2')", "MySQL('h2:1', 'd', 't', 'u', 'hunter2')"),
    "Null that becomes a table": ("Null", "MergeTree ORDER BY k"),
}


@pytest.mark.parametrize("what", WITHOUT_ROWS)
def test_objects_without_rows_are_recreated(server: ClickHouse, client: Client, what: str) -> None:
    """Without a permission, for nothing is lost: what a Buffer or a Distributed table holds back arrives."""
    before, after = (table("k UInt32", "r", f"ENGINE = {engine}") for engine in WITHOUT_ROWS[what])
    converge(client, table("k UInt32"), before)
    if what.startswith(("Buffer", "Distributed")):
        server.query("INSERT INTO d.r VALUES (1)", distributed_foreground_insert=0)
    done = go(server, client, table("k UInt32"), after, allow=())
    assert done.changed
    assert not any("hunter2" in statement for statement in done.statements)
    assert server.query("SELECT count() FROM d.t") == ("1" if what.startswith(("Buffer", "Distributed")) else "0")
    assert server.query("SELECT count() FROM system.tables WHERE database = 'd'") == "2"


ELSEWHERE = {
    "HDFS": ("HDFS('hdfs://127.0.0.1:1')", "HDFS('hdfs://127.0.0.1:2')"),
    "PostgreSQL": ("PostgreSQL('127.0.0.1:1', 'db', 'u', 'hunter2')", "PostgreSQL('127.0.0.1:2', 'db', 'u', 'hunter2')"),
    "S3": ("S3('http://127.0.0.1:1/b/', 'k', 'hunter2')", "S3('http://127.0.0.1:2/b/', 'k', 'hunter2')"),
}


@pytest.mark.parametrize("what", ELSEWHERE)
def test_database_with_external_tables_is_recreated(server: ClickHouse, client: Client, what: str) -> None:
    try:
        for engine in ELSEWHERE[what]:
            done = go(server, client, {"kind": "database", "name": "remote", "engine": engine}, allow=())
            assert not any("hunter2" in statement for statement in done.statements)
        assert done.statements[0] == "DROP DATABASE remote SYNC"
        assert [step.lost for step in done.steps] == ["nothing that is kept, but it is not there for a moment", ""]
        assert "127.0.0.1:2" in server.query("SELECT engine_full FROM system.databases WHERE name = 'remote'")
    finally:
        server.query("DROP DATABASE IF EXISTS remote")


@pytest.mark.parametrize("engine", ["Filesystem('/')", "Memory"])
def test_database_that_is_not_recreated_is_refused_by_name(server: ClickHouse, client: Client, engine: str) -> None:
    try:
        server.query(f"CREATE DATABASE remote ENGINE = {engine}")
        plan = converge(client, {"kind": "database", "name": "remote", "engine": "Atomic"}, allow=EVERYTHING, apply=False)
        assert f"one of the engine {engine.partition('(')[0]} is not dropped for another: " in plan.drifted[0].reason
    finally:
        server.query("DROP DATABASE IF EXISTS remote")


def test_the_plan_says_what_is_lost(server: ClickHouse, client: Client) -> None:
    go(server, client, table("k UInt32, a String"), table("k UInt32", "gone"))
    done = go(server, client, table("k UInt32"), {"kind": "table", "name": "d.gone", "state": "absent"})
    lost = {step.statement: step.lost for step in done.steps}
    assert lost == {
        "DROP TABLE d.gone SYNC": "its rows would be dropped",
        "ALTER TABLE d.t (DROP COLUMN a)": "column a and its values would be dropped",
    }
    assert "; lost: column a and its values would be dropped\nALTER TABLE" in "".join(entry["prepared"] for entry in done.diff)


UNQUALIFIED = {
    "TO": "CREATE MATERIALIZED VIEW default.m TO x AS SELECT k FROM t",
    "APPEND TO": "CREATE MATERIALIZED VIEW d.m REFRESH EVERY 1 HOUR APPEND TO x AS SELECT k FROM t",
    "DEPENDS ON": "CREATE MATERIALIZED VIEW d.m REFRESH EVERY 1 HOUR DEPENDS ON other, d.r APPEND TO x AS SELECT k FROM t",
    "a query": "CREATE VIEW d.v AS SELECT k FROM t WHERE k IN (SELECT k FROM x)",
    "Buffer": "CREATE TABLE d.b (k UInt32) ENGINE = Buffer('', 't', 1, 10, 100, 1, 1, 1, 1)",
    "Buffer of a database": "CREATE TABLE d.b (k UInt32) ENGINE = Buffer(currentDatabase(), t, 1, 10, 100, 1, 1, 1, 1)",
    "Distributed": "CREATE TABLE d.b (k UInt32) ENGINE = Distributed(one, '', 't', k)",
    "Distributed over the session's": "CREATE TABLE d.b (k UInt32) ENGINE = Distributed(one, currentDatabase(), t, k)",
    "Merge": "CREATE TABLE d.b (k UInt32) ENGINE = Merge('', '^t$')",
}


@pytest.mark.parametrize("what", UNQUALIFIED)
def test_unqualified_names_are_no_difference(server: ClickHouse, client: Client, what: str) -> None:
    """They belong to the session's database, and are no difference."""
    tables = [f"CREATE TABLE default.{name} (k UInt32) ENGINE = MergeTree ORDER BY k" for name in ("t", "x")]
    other = "CREATE MATERIALIZED VIEW d.r REFRESH EVERY 1 HOUR APPEND TO x AS SELECT k FROM t"
    try:
        first = go(server, client, *tables, other, UNQUALIFIED[what])
        assert len(first.statements) == 5
        uuids = server.query("SELECT name, uuid FROM system.tables WHERE database IN ('d', 'default') ORDER BY ALL")
        assert not go(server, client, *tables, other, UNQUALIFIED[what]).changed
        assert server.query("SELECT name, uuid FROM system.tables WHERE database IN ('d', 'default') ORDER BY ALL") == uuids
    finally:
        for name in ("m", "t", "x"):
            server.query(f"DROP TABLE IF EXISTS default.{name} SYNC")


# What would fail in the middle of a run -> what is said before the first change.
HOLDS = {
    "a view with an unknown column": ("CREATE VIEW d.z AS SELECT nope FROM d.t", "Unknown expression identifier `nope`"),
    "a view over nothing": ("CREATE VIEW d.z AS SELECT k FROM d.nope", "Code: "),
    "a view over a view with an unknown column": ("CREATE VIEW d.w AS SELECT v.nope FROM d.v", "Code: 47"),
    "a materialized view without a target": (feed("SELECT k FROM d.t", to="d.nope"), "its target d.nope neither exists nor is declared"),
    "a materialized view with a wrong column": (feed("SELECT k AS key FROM d.t"), "gives column key, which its target d.x does not have"),
    "a replicated table without ZooKeeper": (
        table("k UInt32", "r", "ENGINE = ReplicatedMergeTree('/r', 'a') ORDER BY k"),
        "a replicated table needs ZooKeeper",
    ),
}


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("what", HOLDS)
def test_invalid_plans_fail_in_check_mode(server: ClickHouse, client: Client, what: str, exists: bool) -> None:
    objects = [table("k UInt32"), table("k UInt32", "x"), "CREATE VIEW d.v AS SELECT k FROM d.t"]
    if exists:
        go(server, client, *objects)
    statement, words = HOLDS[what]
    untouched = everything(server)
    for apply in (False, True):
        with pytest.raises(ClickHouseError, match=r"objects\[4\]\.ddl") as caught:
            converge(client, *objects, statement, apply=apply)
        assert words in str(caught.value)
        assert "__groundwork" not in str(caught.value)
        assert everything(server) == untouched


def test_a_materialized_view_that_is_not_declared_keeps_its_columns(server: ClickHouse, client: Client) -> None:
    go(server, client, table("k UInt32, a String, b String"), table("k UInt32, a String", "x"), feed("SELECT k, a FROM d.t"))
    (state,) = converge(client, table("k UInt32, b String"), allow=EVERYTHING).drifted
    assert "the materialized view d.m, which is not declared, reads what would be gone" in state.reason
    assert go(server, client, table("k UInt32, a String")).changed
