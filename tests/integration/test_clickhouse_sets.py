# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""clickhouse_schema on objects that depend on each other and change together, on the real engine."""

from __future__ import annotations

import os
import typing as t
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import client as client_module
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouse as Client
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouseError, ConnectionFailed
from ansible_collections.groundwork.observability.plugins.module_utils._plan import Plan
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.integration.test_clickhouse_alter import EVERYTHING, converge
from tests.support.clickhouse import ClickHouse
from tests.support.connect import connection

pytestmark = pytest.mark.integration

# `make soak` asks for more.
SETS = int(os.environ.get("GROUNDWORK_SETS", "300"))
KAFKA = "ENGINE = Kafka('127.0.0.1:1', 'topic', 'group', 'JSONEachRow')"
Objects = list[t.Any]


@pytest.fixture(scope="module")
def server() -> Iterator[ClickHouse]:
    node = ClickHouse()
    shard = f"<shard><replica><host>127.0.0.1</host><port>{node.tcp_port}</port></replica></shard>"
    node._write("config.d/cluster.xml", f"<remote_servers><one>{shard}</one></remote_servers>")
    with node:
        yield node


@pytest.fixture(scope="module")
def client(server: ClickHouse) -> Iterator[Client]:
    opened = Client(connection(server.port))
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def empty(server: ClickHouse) -> Iterator[None]:
    clear(server)
    yield
    clear(server)


def clear(server: ClickHouse) -> None:
    server.query("DROP DATABASE IF EXISTS d SYNC")
    for name in ("f", "g"):
        server.query(f"DROP FUNCTION IF EXISTS {name}")


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
def test_together(server: ClickHouse, client: Client, what: str) -> None:
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

    monkeypatch.setattr(client_module.ClickHouse, "execute", insert_behind)
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
def test_objects_without_rows_are_made_anew(server: ClickHouse, client: Client, what: str) -> None:
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


def test_a_database_whose_tables_are_elsewhere_is_made_anew(server: ClickHouse, client: Client) -> None:
    try:
        for host in ("127.0.0.1:1", "127.0.0.1:2"):
            engine = f"PostgreSQL('{host}', 'db', 'u', 'hunter2')"
            done = go(server, client, {"kind": "database", "name": "remote", "engine": engine}, allow=())
            assert not any("hunter2" in statement for statement in done.statements)
        assert done.statements[0] == "DROP DATABASE remote SYNC"
        assert "127.0.0.1:2" in server.query("SELECT engine_full FROM system.databases WHERE name = 'remote'")
    finally:
        server.query("DROP DATABASE IF EXISTS remote")


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
def test_names_that_are_not_qualified(server: ClickHouse, client: Client, what: str) -> None:
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
def test_plans_hold(server: ClickHouse, client: Client, what: str, exists: bool) -> None:
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


@dataclass(frozen=True)
class Set:
    """Declarations of one set of objects, and the names that they have in it."""

    objects: tuple[t.Any, ...]

    @property
    def kinds(self) -> list[str]:
        return [text.split()[1] for text in self.objects if isinstance(text, str)]


COLUMNS = ("a", "b", "c")
NUMBERS = ("UInt32", "UInt64")


@st.composite
def sets(draw: st.DrawFn) -> Set:
    """Tables with columns of some names and types, and what reads them; every object refers only to those before it."""

    def some(names: t.Sequence[str], least: int = 0) -> list[str]:
        return draw(st.lists(st.sampled_from(list(names)), min_size=min(least, len(names)), max_size=3, unique=True)) if names else []

    objects: list[t.Any] = []
    called = ""
    if draw(st.booleans()):
        function = draw(st.sampled_from(("(x) -> x + 1", "(x) -> x * 3", "(x, y) -> x + y")))
        objects.append(f"CREATE FUNCTION f AS {function}")
        called = "f({0}, {0})" if "y" in function else "f({0})"
    columns: dict[str, list[str]] = {}
    for name in ("t", "u"):
        own = columns[name] = some(COLUMNS)
        texts = [f"{column} {draw(st.sampled_from(NUMBERS))}" for column in own]
        if called and own and draw(st.booleans()):
            texts[-1] += f" DEFAULT {called.format('k')}"
        objects.append(table(", ".join(["k UInt64", *texts]), name))
    if draw(st.booleans()):
        own = some(columns["t"])
        attributes = "".join(f", {column} UInt64" for column in own)
        source = "SOURCE(CLICKHOUSE(TABLE 't' DB 'd'))"
        objects.append(f"CREATE DICTIONARY d.dict (k UInt64{attributes}) PRIMARY KEY k {source} LAYOUT(HASHED()) LIFETIME(0)")
        asked = [f"n UInt64 DEFAULT dictGet('d.dict', '{column}', k)" for column in own[:1]]
        objects.append(table(", ".join(["k UInt64", *asked]), "asks"))
    columns["v"] = some(columns["t"])
    if draw(st.booleans()):
        own = [f"{column} UInt64" for column in columns["t"]]
        objects.append(table(", ".join(["k UInt64", *own]), "all", "ENGINE = Distributed(one, d, t)"))
    reads = ["k", *columns["v"]]
    computed = f", {called.format(reads[-1])} AS z" if called and draw(st.booleans()) else ""
    objects.append(f"CREATE VIEW d.v AS SELECT {', '.join(reads)}{computed} FROM d.t")
    if draw(st.booleans()):
        join = " INNER JOIN d.u AS o ON v.k = o.k" if draw(st.booleans()) else ""
        objects.append(f"CREATE VIEW d.w AS SELECT {', '.join(f'v.{column}' for column in ['k', *some(columns['v'])])} FROM d.v{join}")
    for name in ("m", "n")[: draw(st.integers(0, 2))]:
        given = [column for column in some(columns["u"]) if column in columns["t"]]
        given_as = [f"{column} + 1 AS {column}" if draw(st.booleans()) else column for column in given]
        objects.append(feed(f"SELECT {', '.join(['k', *given_as])} FROM d.t", name, "d.u"))
    return Set(tuple(draw(st.permutations(objects))))


def absent(first: Set, second: Set) -> list[dict[str, str]]:
    """What is in the first set only, as objects to be removed."""

    def named(objects: Set) -> dict[str, str]:
        kinds = {"TABLE": "table", "VIEW": "view", "MATERIALIZED": "materialized_view", "DICTIONARY": "dictionary", "FUNCTION": "function"}
        found = {}
        for text in objects.objects:
            words = text.split()
            found[words[3] if words[1] == "MATERIALIZED" else words[2]] = kinds[words[1]]
        return found

    return [{"kind": kind, "name": name, "state": "absent"} for name, kind in named(first).items() if name not in named(second)]


@settings(max_examples=SETS, deadline=None, derandomize=SETS <= 300, suppress_health_check=list(HealthCheck))
@given(first=sets(), second=sets())
def test_any_set_to_any_other(server: ClickHouse, client: Client, first: Set, second: Set) -> None:
    """In one call, as check mode has said; then it is as declared, and rows are where they were."""
    clear(server)
    converge(client, *first.objects)
    server.query("INSERT INTO d.t (k) SELECT number FROM numbers(3)")
    fed = server.query("SELECT count() FROM d.u")
    wanted = [*second.objects, *absent(first, second)]
    untouched = everything(server)
    announced = converge(client, *wanted, apply=False, allow=EVERYTHING)
    assert everything(server) == untouched
    done = converge(client, *wanted, allow=EVERYTHING)
    assert announced.statements == done.statements
    assert done.drifted == []
    event("changed" if done.changed else "the same")
    again = converge(client, *wanted, allow=())
    assert again.statements == []
    assert server.query("SELECT (SELECT count() FROM d.t), (SELECT count() FROM d.u)") == f"3\t{fed}"
    server.query("SELECT * FROM d.v FORMAT Null")
    server.query("INSERT INTO d.t (k) VALUES (7)")


def test_an_interrupted_run_is_finished_by_the_next(server: ClickHouse, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks before or after any statement of a change of many objects; what was done is told, and the rest follows."""
    before = [item for what in ("one column for another",) for item in TOGETHER[what][0]]
    after = [item for what in ("one column for another",) for item in TOGETHER[what][1]]
    before += [table("k UInt32", "q", KAFKA), feed("SELECT k FROM d.q", "n"), table("k UInt32", "all", "ENGINE = Distributed(one, d, t)")]
    after += [
        *(table("k UInt32, b UInt8", "q", KAFKA), feed("SELECT k, b FROM d.q", "n")),
        table("k UInt32", "all", "ENGINE = Distributed(one, d, t, k)"),
    ]
    go(server, client, *before)
    total = len(converge(client, *after, apply=False, allow=EVERYTHING).statements)
    execute = Client.execute
    for killed_at in range(total):
        for runs in (False, True):
            clear(server)
            converge(client, *before)
            server.query("INSERT INTO d.t (k) VALUES (1)")
            ran: list[str] = []

            def breaking(self: Client, statement: str, killed_at: int = killed_at, runs: bool = runs, ran: list[str] = ran) -> None:
                if "__groundwork" in statement:
                    return execute(self, statement)
                if len(ran) == killed_at and not runs:
                    raise ConnectionFailed("it broke")
                execute(self, statement)
                ran.append(statement)
                if len(ran) > killed_at:
                    raise ConnectionFailed("it broke")
                return None

            with monkeypatch.context() as patched:
                patched.setattr(client_module.ClickHouse, "execute", breaking)
                patched.setattr("time.sleep", lambda _seconds: None)
                with pytest.raises(ClickHouseError) as caught:
                    converge(client, *after, allow=EVERYTHING)
            assert list(caught.value.done) == [statement for statement in ran if statement in caught.value.done]
            assert len(ran) - len(caught.value.done) in (0, 1), (killed_at, runs)
            go(server, client, *after)
            assert server.query("SELECT (SELECT count() FROM d.t), (SELECT count() FROM d.x)") == "1\t1", (killed_at, runs)
