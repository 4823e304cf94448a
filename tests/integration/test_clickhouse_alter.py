# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""clickhouse_schema on tables that exist and differ, on the real engine: from any definition to any other, or nothing at all."""

from __future__ import annotations

import os
import typing as t
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import schema
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouse as Client
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouseError, Connection
from ansible_collections.groundwork.observability.plugins.module_utils._plan import Plan
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.support.clickhouse import ClickHouse

pytestmark = pytest.mark.integration

DATABASE = {"kind": "database", "name": "d"}
EVERYTHING = schema.PERMISSIONS
# `make soak` asks for more.
PAIRS = int(os.environ.get("GROUNDWORK_PAIRS", "500"))
Converge = Callable[..., Plan]
READER = (
    "<users><reader><password>hunter2</password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>"
    "<grants><query>GRANT SELECT ON *.*</query></grants></reader></users>"
)


@pytest.fixture(scope="module")
def server() -> Iterator[ClickHouse]:
    with ClickHouse(users=READER) as node:
        yield node


@pytest.fixture(scope="module")
def client(server: ClickHouse) -> Iterator[Client]:
    parameters: dict[str, t.Any] = {"login_host": server.host, "login_port": server.port, "secure": False, "login_user": "default"}
    parameters |= dict.fromkeys(("login_password", "ca_path", "client_cert", "client_key"))
    connection = Connection.from_params({**parameters, "validate_certs": True, "connect_timeout": 10, "timeout": 60, "retries": 0})
    opened = Client(connection)
    yield opened
    opened.close()


def converge(client: Client, *ddl: str | dict[str, t.Any], apply: bool = True, allow: t.Collection[str] = ()) -> Plan:
    """The module without Ansible around it."""
    objects = [DATABASE, *({"ddl": item} if isinstance(item, str) else item for item in ddl)]
    secrets = schema.secrets_of(objects)
    return schema.converge(client, schema.declare(objects), secrets, apply=apply, keep_drift=False, allow=allow)


@pytest.fixture
def go(server: ClickHouse, client: Client) -> Iterator[Converge]:
    """Converges in an empty database, check mode first: it announces exactly what is then done."""
    server.query("DROP DATABASE IF EXISTS d SYNC")

    def call(*ddl: str | dict[str, t.Any], allow: t.Collection[str] = ()) -> Plan:
        announced = converge(client, *ddl, apply=False, allow=allow)
        done = converge(client, *ddl, allow=allow)
        assert announced.statements == done.statements
        assert [state.result for state in announced.objects] == [state.result for state in done.objects]
        return done

    yield call
    server.query("DROP DATABASE IF EXISTS d SYNC")


def table(columns: str, rest: str = "ENGINE = MergeTree ORDER BY k") -> str:
    return f"CREATE TABLE d.t ({columns}) {rest}"


FULL = (
    "k UInt32, v String DEFAULT 'x' COMMENT 'c' CODEC(ZSTD(3)), m UInt64 MATERIALIZED k * 2,"
    " n Nullable(UInt8) TTL toDateTime(k) + INTERVAL 90 YEAR,"
    " INDEX i1 v TYPE bloom_filter GRANULARITY 1, INDEX i2 m TYPE minmax, CONSTRAINT c1 CHECK k < 1000,"
    " PROJECTION p1 (SELECT v, count() GROUP BY v)"
)
I1, I2 = "INDEX i1 v TYPE bloom_filter GRANULARITY 1", "INDEX i2 m TYPE minmax"
# What changes -> what of the columns becomes what, the wanted rest, and words of the one statement that does it.
CHANGES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "a column in the middle": ("m UInt64", "new UInt8 DEFAULT 7, m UInt64", "", ("ADD COLUMN `new` UInt8 DEFAULT 7 AFTER v",)),
    "a column in front": ("k UInt32,", "first Array(String), k UInt32,", "", ("ADD COLUMN `first` Array(String) FIRST",)),
    "columns change places": ("k UInt32, v String", "v String", "", ()),
    "a default": ("'x'", "'y'", "", ("MODIFY COLUMN `v` String DEFAULT 'y'",)),
    "no default": ("DEFAULT 'x' ", "", "", ("MODIFY COLUMN v REMOVE DEFAULT",)),
    "no comment and no codec": ("COMMENT 'c' CODEC(ZSTD(3))", "", "", ("REMOVE COMMENT", "REMOVE CODEC")),
    "no column TTL": (" TTL toDateTime(k) + INTERVAL 90 YEAR", "", "", ("MODIFY COLUMN n REMOVE TTL",)),
    "another kind of default": ("MATERIALIZED k * 2", "DEFAULT k * 3", "", ("MODIFY COLUMN `m` UInt64 DEFAULT k * 3",)),
    "a wider type": ("Nullable(UInt8)", "Nullable(UInt64)", "", ("MODIFY COLUMN `n` Nullable(UInt64)",)),
    "an index changes": ("bloom_filter", "bloom_filter(0.1)", "", ("DROP INDEX i1", "ADD INDEX i1", "FIRST")),
    "an index goes": (f" {I1},", "", "", ("(DROP INDEX i1)",)),
    "indices change places": (f"{I1}, {I2}", f"{I2}, {I1}", "", ("DROP INDEX i1", "AFTER i2")),
    "a constraint changes": ("< 1000", "< 2000", "", ("DROP CONSTRAINT c1", "ADD CONSTRAINT c1")),
    "a projection changes": ("count()", "max(k)", "", ("DROP PROJECTION p1", "ADD PROJECTION p1")),
    "a table TTL": ("", "", "TTL toDateTime(k) + INTERVAL 80 YEAR", ("MODIFY TTL",)),
    "a setting": ("", "", "SETTINGS min_bytes_for_wide_part = 5, parts_to_throw_insert = 10", ("MODIFY SETTING",)),
    "a comment": ("", "", "COMMENT 'it''s \\\\ \\n new'", ("MODIFY COMMENT",)),
    "a longer sorting key": ("k UInt32,", "k UInt32, z UInt8,", "KEY", ("ADD COLUMN `z` UInt8", "MODIFY ORDER BY (k, z)")),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_and_its_way_back(server: ClickHouse, go: Converge, what: str) -> None:
    before, after, rest, words = CHANGES[what]
    columns = FULL.replace(before, after, 1) if before else FULL
    if what == "columns change places":
        columns = columns.replace("m UInt64", "k UInt32, m UInt64")
    key = "PRIMARY KEY k ORDER BY (k, z)" if rest == "KEY" else f"ORDER BY k {rest}"
    wanted = table(columns, f"ENGINE = MergeTree {key}")
    go(table(FULL))
    server.query("INSERT INTO d.t (k, v, n) SELECT number, 'a', 3 FROM numbers(50)")
    plan = go(wanted)
    (statement,) = plan.statements
    for word in words:
        assert word in statement
    assert [state.status for state in plan.objects] == ["present", "altered"]
    assert plan.objects[1].before != plan.objects[1].after
    assert not go(wanted).changed
    assert server.query("SELECT count(), sum(k), any(v), any(n) FROM d.t") == "50\t1225\ta\t3"
    if what == "a longer sorting key":  # the server cannot make it shorter again
        assert go(table(FULL)).drifted[0].reason
        return
    back = go(table(FULL), allow=EVERYTHING)
    assert len(back.statements) == 1
    assert not go(table(FULL)).changed
    assert server.query("SELECT count(), sum(k) FROM d.t") == "50\t1225"


ONE = table("k UInt32")
# What is asked for -> before, wanted, and words of the reason why not.
REFUSED = {
    "a column goes": (table("k UInt32, b String"), ONE, "column b and its values would be dropped (allow: [drop_column])"),
    "a narrower type": (
        table("k UInt32, b UInt16"),
        table("k UInt32, b UInt8"),
        "from UInt16 to UInt8 may lose values (allow: [modify_lossy])",
    ),
    "no null any more": (
        table("k UInt32, b Nullable(Int8)"),
        table("k UInt32, b Int8 DEFAULT 0"),
        "may lose values (allow: [modify_lossy])",
    ),
    "an alias": (
        table("k UInt32, b UInt32"),
        table("k UInt32, b UInt32 ALIAS k"),
        "would no longer keep its values (ALIAS) (allow: [modify_lossy])",
    ),
    "another engine": (ONE, table("k UInt32", "ENGINE = ReplacingMergeTree ORDER BY k"), "ENGINE cannot be altered"),
    "another partition key": (
        ONE,
        table("k UInt32", "ENGINE = MergeTree PARTITION BY k ORDER BY k"),
        "PARTITION BY cannot be altered",
    ),
    "another sorting key": (table("k UInt32, b UInt8"), table("k UInt32, b UInt8", "ENGINE = MergeTree ORDER BY (b, k)"), "Code: 36"),
    "the type of a key": (ONE, table("k UInt64"), "ALTER of key column k"),
    "a read-only setting": (ONE, table("k UInt32", "ENGINE = MergeTree ORDER BY k SETTINGS index_granularity = 5"), "readonly"),
    "an engine without ALTER": (
        table("k UInt32", "ENGINE = Log"),
        table("k UInt32, b UInt8", "ENGINE = Log"),
        "not supported by storage Log",
    ),
    "a view for a table": (ONE, "CREATE VIEW d.t AS SELECT 1 AS k", "another kind of object has this name"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_may_not_or_cannot_be_altered_is_left_alone(server: ClickHouse, go: Converge, what: str) -> None:
    """Nothing else of the same run is done either."""
    before, wanted, reason = REFUSED[what]
    go(before)
    untouched = server.query("SELECT name, create_table_query FROM system.tables WHERE database = 'd'")
    plan = go(wanted, "CREATE TABLE d.other (x UInt8) ENGINE = Memory")
    (state,) = plan.drifted
    assert plan.statements == []
    assert reason in state.reason
    assert "\n" not in state.reason
    assert server.query("SELECT name, create_table_query FROM system.tables WHERE database = 'd'") == untouched


@pytest.mark.parametrize("what", [name for name, (_before, _wanted, reason) in REFUSED.items() if "allow" in reason])
def test_what_is_allowed_is_done(server: ClickHouse, go: Converge, what: str) -> None:
    before, wanted, _reason = REFUSED[what]
    go(before)
    server.query("INSERT INTO d.t (k) SELECT number FROM numbers(10)")
    assert len(go(wanted, allow=EVERYTHING).statements) == 1
    assert not go(wanted).changed
    assert server.query("SELECT count(), sum(k) FROM d.t") == "10\t45"


def test_views_and_databases(server: ClickHouse, go: Converge) -> None:
    source = "CREATE TABLE d.t (k UInt32) ENGINE = MergeTree ORDER BY k"
    sums = "CREATE TABLE d.sums (k UInt32, c UInt64) ENGINE = SummingMergeTree ORDER BY k"
    view = "CREATE VIEW d.v AS SELECT k FROM d.t"
    mv = "CREATE MATERIALIZED VIEW d.mv TO d.sums AS SELECT k, count() AS c FROM d.t GROUP BY k"
    go(source, sums, view, mv)
    other = (view.replace("SELECT k", "SELECT k, k * 2 AS twice"), mv.replace("count()", "toUInt64(1)").replace(" GROUP BY k", ""))
    plan = go(source, sums, *other)
    assert [statement.split(" AS ")[0].split(" SELECT")[0] for statement in plan.statements] == [
        "CREATE OR REPLACE VIEW d.v",
        "ALTER TABLE d.mv MODIFY QUERY",
    ]
    assert not go(source, sums, *other).changed
    server.query("INSERT INTO d.t SELECT number FROM numbers(5)")
    assert server.query("SELECT sum(c) FROM d.sums") == "5"
    assert server.query("SELECT max(twice) FROM d.v") == "8"
    (state,) = go(source, sums, view, mv.replace("TO d.sums", "TO d.t")).drifted
    assert "cannot be altered: to" in state.reason


def test_what_is_absent_goes_views_first(server: ClickHouse, go: Converge) -> None:
    go(
        "CREATE TABLE d.t (k UInt32) ENGINE = MergeTree ORDER BY k",
        "CREATE VIEW d.v AS SELECT k FROM d.t",
        "CREATE MATERIALIZED VIEW d.mv ENGINE = MergeTree ORDER BY k AS SELECT k FROM d.t",
    )
    gone: list[dict[str, t.Any]] = [{"kind": "table", "name": "d.t", "state": "absent"}, {"kind": "view", "name": "d.v", "state": "absent"}]
    kept = {"kind": "materialized_view", "name": "d.mv", "state": "absent"}
    assert [state.reason for state in go(*gone, kept).drifted] == ["its rows would be dropped (allow: [drop_table])"] * 2
    plan = go(*gone, kept, allow=["drop_table"])
    assert plan.statements == ["DROP TABLE d.mv SYNC", "DROP TABLE d.v SYNC", "DROP TABLE d.t SYNC"]
    again = go(*gone, kept)
    assert not again.changed
    assert {state.status for state in again.objects} == {"present", "absent"}
    assert server.query("SELECT count() FROM system.tables WHERE database = 'd'") == "0"


def test_options_and_statement_are_the_same(server: ClickHouse, go: Converge) -> None:
    """What one creates, the other finds as declared."""
    column = {"default_kind": "DEFAULT"}
    options: dict[str, t.Any] = {
        "kind": "table",
        "name": "d.t",
        "engine": "MergeTree",
        "columns": [
            {**column, "name": "k", "type": "UInt32"},
            {**column, "name": "with space", "type": "String", "default": "'x'", "codec": "ZSTD(3)", "comment": "it's"},
            {"name": "m", "type": "UInt64", "default": "k * 2", "default_kind": "MATERIALIZED"},
        ],
        "indices": [{"name": "i1", "expression": "m", "type": "minmax", "granularity": 2}],
        "constraints": [{"name": "c1", "check": "k < 1000"}],
        "projections": [{"name": "p1", "query": "SELECT count() GROUP BY k"}],
        "partition_by": "k % 3",
        "order_by": "k",
        "ttl": "toDateTime(k) + INTERVAL 90 YEAR",
        "settings": {"min_bytes_for_wide_part": 5},
        "comment": "two\nlines",
    }
    text = table(
        "k UInt32, `with space` String DEFAULT 'x' COMMENT 'it''s' CODEC(ZSTD(3)), m UInt64 MATERIALIZED k * 2,"
        " INDEX i1 m TYPE minmax GRANULARITY 2, CONSTRAINT c1 CHECK k < 1000, PROJECTION p1 (SELECT count() GROUP BY k)",
        "ENGINE = MergeTree PARTITION BY k % 3 ORDER BY k TTL toDateTime(k) + INTERVAL 90 YEAR"
        " SETTINGS min_bytes_for_wide_part = 5 COMMENT 'two\\nlines'",
    )
    go(options)
    assert not go(text).changed
    assert not go(options).changed
    assert go({**options, "comment": None}).statements == ["ALTER TABLE d.t (MODIFY COMMENT '')"]


DICTIONARY = (
    "CREATE DICTIONARY d.dict (id UInt64, v String DEFAULT 'x') PRIMARY KEY id"
    " SOURCE(CLICKHOUSE(TABLE 't' DB 'd' USER 'reader' PASSWORD 'hunter2')) LIFETIME(300) LAYOUT(FLAT())"
)
FUNCTION = "CREATE FUNCTION plus_twice AS (x, y) -> x + y * 2"


def test_dictionaries_and_functions_are_replaced(server: ClickHouse, go: Converge) -> None:
    source = "CREATE TABLE d.t (id UInt64, v String) ENGINE = MergeTree ORDER BY id"
    plan = go(DICTIONARY, source, FUNCTION)
    assert [state.name for state in plan.objects] == ["d", "plus_twice", "d.t", "d.dict"]
    assert "hunter2" not in str(plan.result)
    assert not go(DICTIONARY, source, FUNCTION).changed
    server.query("INSERT INTO d.t (id, v) VALUES (1, 'one')")
    assert server.query("SELECT dictGet('d.dict', 'v', 1::UInt64), plus_twice(1, 2)") == "one\t5"
    other = (DICTIONARY.replace("'x'", "'y'").replace("FLAT()", "HASHED()"), FUNCTION.replace("* 2", "* 3"))
    plan = go(*other, source)
    assert [statement.split(" ")[:4] for statement in plan.statements] == [
        ["CREATE", "OR", "REPLACE", "FUNCTION"],
        ["CREATE", "OR", "REPLACE", "DICTIONARY"],
    ]
    assert "hunter2" not in str(plan.result)
    assert not go(*other, source).changed
    assert server.query("SELECT dictGet('d.dict', 'v', 1::UInt64), dictGet('d.dict', 'v', 2::UInt64), plus_twice(1, 2)") == "one\ty\t7"
    user = source.replace("v String", "v String, n UInt64 DEFAULT plus_twice(1, 2)")
    assert not go(*other, user).drifted
    assert not go(*other, user).changed
    gone = [{"kind": "function", "name": "plus_twice", "state": "absent"}, {"kind": "dictionary", "name": "d.dict", "state": "absent"}]
    assert go(*gone).statements == ["DROP DICTIONARY d.dict SYNC", "DROP FUNCTION plus_twice"]
    assert not go(*gone).changed


# Definitions over the option space: a key that stays, other columns, indices, constraints, projections, clauses.
TYPES = (
    *("UInt8", "UInt16", "UInt64", "Int16", "Int64", "Float32", "Float64", "String", "Date", "DateTime", "DateTime('UTC')"),
    *("LowCardinality(String)", "Nullable(UInt8)", "Nullable(String)", "Array(UInt8)", "Array(UInt32)", "Map(String, UInt8)"),
    *("Decimal(9, 2)", "Decimal(18, 2)", "Enum8('a' = 1)", "Enum8('a' = 1, 'b' = 2)", "Tuple(x UInt8, y String)", "UUID", "FixedString(4)"),
)
NAMES = ("a", "b", "c", "with space", "tick`", "ü", "select", "ttl")
NUMERIC = ("UInt8", "UInt16", "UInt64", "Int16", "Int64")


def quoted(name: str) -> str:
    return "`" + name.replace("`", "\\`") + "`"


@st.composite
def definitions(draw: st.DrawFn) -> tuple[str, dict[str, str]]:
    """A table and the types of its columns other than the key."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=5))
    columns: dict[str, str] = {}
    types: dict[str, str] = {}
    for name in names:
        kind = draw(st.sampled_from(TYPES))
        text = f"{quoted(name)} {kind}"
        if kind in NUMERIC and draw(st.booleans()):
            text += f" {draw(st.sampled_from(('DEFAULT', 'MATERIALIZED', 'ALIAS')))} k + {draw(st.integers(0, 3))}"
        if draw(st.integers(0, 3)) == 0:
            text += " COMMENT " + draw(st.sampled_from(("'x'", "'it''s'", "'two\\nlines'")))
        if " ALIAS " not in text and draw(st.integers(0, 3)) == 0:
            text += " CODEC(" + draw(st.sampled_from(("ZSTD(1)", "LZ4", "NONE"))) + ")"
        if " ALIAS " not in text and draw(st.integers(0, 5)) == 0:
            text += f" TTL toDateTime(k) + INTERVAL {draw(st.integers(90, 91))} YEAR"
        columns[name] = text
        types[name] = kind
    place = draw(st.integers(0, len(names)))
    parts = [*list(columns.values())[:place], "k UInt32", *list(columns.values())[place:]]
    stored = [name for name in names if " ALIAS " not in columns[name]]
    for index in draw(st.lists(st.sampled_from(("i1", "i2", "i3")), unique=True, max_size=3)):
        over = draw(st.sampled_from(["k", *(quoted(name) for name in stored if types[name] in NUMERIC)]))
        parts.append(f"INDEX {index} {over} TYPE {draw(st.sampled_from(('minmax', 'set(10)')))} GRANULARITY {draw(st.integers(1, 2))}")
    for constraint in draw(st.lists(st.sampled_from(("c1", "c2")), unique=True, max_size=2)):
        parts.append(f"CONSTRAINT {constraint} CHECK k < {draw(st.integers(1000, 1001))}")
    engine = "MergeTree" if draw(st.integers(0, 9)) else "ReplacingMergeTree"
    if engine == "MergeTree" and draw(st.integers(0, 3)) == 0:
        parts.append(f"PROJECTION p1 (SELECT count() GROUP BY k + {draw(st.integers(0, 1))})")
    rest = f"ENGINE = {engine} ORDER BY k"
    if draw(st.integers(0, 2)) == 0:
        rest += f" TTL toDateTime(k) + INTERVAL {draw(st.integers(90, 91))} YEAR"
    chosen = draw(st.dictionaries(st.sampled_from(("min_bytes_for_wide_part", "parts_to_throw_insert")), st.integers(1000, 1001)))
    if chosen:
        rest += " SETTINGS " + ", ".join(f"{name} = {value}" for name, value in chosen.items())
    if draw(st.integers(0, 2)) == 0:
        rest += " COMMENT " + draw(st.sampled_from(("'one'", "'t''wo'")))
    return table(", ".join(parts), rest), types


def canonical(server: ClickHouse, client: Client, text: str) -> str:
    """What the server makes of a definition on a fresh table."""
    converge(client, text.replace("d.t ", "d.fresh ", 1))
    shown = server.query("SELECT create_table_query FROM system.tables WHERE database = 'd' AND name = 'fresh' FORMAT TSVRaw")
    server.query("DROP TABLE d.fresh SYNC")
    return shown.replace("d.fresh ", "d.t ", 1)


def sorted_settings(text: str) -> str:
    """The order of settings has no meaning, and follows the order of changes."""
    head, found, tail = text.partition(" SETTINGS ")
    values, comment, rest = tail.partition(" COMMENT ")
    return head + found + ", ".join(sorted(values.split(", "))) + comment + rest


@settings(max_examples=PAIRS, deadline=None, derandomize=PAIRS <= 500, suppress_health_check=list(HealthCheck))
@given(first=definitions(), second=definitions())
def test_any_definition_to_any_other(
    server: ClickHouse, client: Client, first: tuple[str, dict[str, str]], second: tuple[str, dict[str, str]]
) -> None:
    """Either the table is then as declared, with its rows, and a second plan is empty; or nothing has changed."""
    (before, types), (wanted, wanted_types) = first, second
    server.query("DROP DATABASE IF EXISTS d SYNC")
    try:
        converge(client, before)
        target = canonical(server, client, wanted)
    except ClickHouseError as error:
        event(f"the server takes no such table: {str(error)[:150]}")
        return
    server.query("INSERT INTO d.t (k) SELECT number FROM numbers(20)")
    parts = "SELECT name, rows, modification_time FROM system.parts WHERE database = 'd' AND active ORDER BY name"
    shown = "SELECT create_table_query FROM system.tables WHERE database = 'd' AND name = 't' FORMAT TSVRaw"
    untouched = (server.query(shown), server.query(parts))
    announced = converge(client, wanted, apply=False, allow=EVERYTHING)
    assert (server.query(shown), server.query(parts)) == untouched
    # What is computed may change with its expression.
    computed = {"ALIAS", "MATERIALIZED"} & {*before.split(), *wanted.split()}
    kept = [name for name in types if wanted_types.get(name) == types[name] and not computed]
    values = f"SELECT {', '.join(['k', *map(quoted, kept)])} FROM d.t ORDER BY k"
    rows = server.query(values)
    done = converge(client, wanted, allow=EVERYTHING)
    assert announced.statements == done.statements
    if done.drifted:
        event("refused")
        assert done.statements == []
        assert (server.query(shown), server.query(parts)) == untouched
        assert "ENGINE cannot be altered" in done.drifted[0].reason or "Code: " in done.drifted[0].reason, done.drifted[0].reason
        return
    event("altered" if done.changed else "the same")
    assert len(done.statements) <= 1
    assert converge(client, wanted, allow=()).statements == []
    assert sorted_settings(server.query(shown)) == sorted_settings(target)
    assert server.query(values) == rows
