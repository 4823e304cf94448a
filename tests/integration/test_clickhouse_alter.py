# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""clickhouse_schema on tables that exist and differ, on the real engine: from any definition to any other, or nothing at all."""

from __future__ import annotations

import os
import re
import time
import typing as t
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import alter, declaration
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouse as Client
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouseError
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.sql_clauses import clause_text, split_clauses
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.sql_tokens import quote_string
from ansible_collections.groundwork.observability.plugins.module_utils._plan import Plan
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.support.clickhouse import ClickHouse
from tests.support.converge import EVERYTHING, converge
from tests.support.definitions import WIDER, Random, definitions, quoted, sorted_settings, table

pytestmark = pytest.mark.integration

# The same ones in each run, unless the environment gives a number: then the seed decides, as in `make soak`.
PAIRS = int(os.environ.get("GROUNDWORK_PAIRS", "40"))
Converge = Callable[..., Plan]
READER = (
    "<users><reader><password>hunter2</password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>"
    "<grants><query>GRANT SELECT ON *.*</query></grants></reader>"
    "<default><access_management>1</access_management><named_collection_control>1</named_collection_control></default></users>"
)
SERVER = {"users": READER}


@pytest.fixture
def go(server: ClickHouse, client: Client) -> Iterator[Converge]:
    """Converges in an empty database, check mode first: it announces exactly what is then done."""
    server.query("DROP DATABASE IF EXISTS d SYNC")

    def call(*ddl: str | dict[str, t.Any], allow: t.Collection[str] = (), purge: t.Sequence[declaration.Purge] = ()) -> Plan:
        announced = converge(client, *ddl, apply=False, allow=allow, purge=purge)
        done = converge(client, *ddl, allow=allow, purge=purge)
        assert announced.statements == done.statements
        assert [state.result for state in announced.objects] == [state.result for state in done.objects]
        return done

    yield call
    server.query("DROP DATABASE IF EXISTS d SYNC")


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
    "a column with settings": (
        "m UInt64",
        "new UInt8 SETTINGS (min_compress_block_size = 65536, max_compress_block_size = 65537), m UInt64",
        "",
        ("MODIFY COLUMN new MODIFY SETTING min_compress_block_size = 65536, max_compress_block_size = 65537",),
    ),
    "a column with statistics": ("m UInt64", "new UInt64 STATISTICS(tdigest), m UInt64", "", ("ADD STATISTICS new TYPE tdigest",)),
    "statistics": ("k * 2", "k * 2 STATISTICS(minmax)", "", ("(ADD STATISTICS m TYPE minmax)",)),
    "an ephemeral column": ("m UInt64", "new String EPHEMERAL, m UInt64", "", ("EPHEMERAL defaultValueOfTypeName('String') AFTER v",)),
    "a text index": (I2, f"{I2}, INDEX t v TYPE text(tokenizer = 'splitByNonAlpha')", "", ("ADD INDEX t v TYPE text(tokenizer = ",)),
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
    "a column less that others are computed from": (
        "k UInt32, v String DEFAULT 'x'",
        "k UInt32, c String, v String DEFAULT c",
        "",
        ("ADD COLUMN `c` String AFTER k",),
    ),
    "a longer sorting key": ("k UInt32,", "k UInt32, z UInt8,", "KEY", ("ADD COLUMN `z` UInt8", "MODIFY ORDER BY (k, z)")),
}


@pytest.mark.parametrize("what", CHANGES)
def test_change_and_reverse_change(server: ClickHouse, go: Converge, what: str) -> None:
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
    assert len(back.statements) == (2 if what == "a column less that others are computed from" else 1)
    assert not go(table(FULL)).changed
    assert server.query("SELECT count(), sum(k) FROM d.t") == "50\t1225"


@pytest.mark.parametrize("rest", ["", "PARTITION BY k % 2 "])
def test_null_becomes_the_default(server: ClickHouse, go: Converge, rest: str) -> None:
    """Altered, and copied by a rebuild."""
    go(table("k UInt32, a LowCardinality(Nullable(String)), b Nullable(UInt8)"))
    server.query("INSERT INTO d.t (k) SELECT number FROM numbers(4)")
    wanted = table("k UInt32, a LowCardinality(String) DEFAULT 'none', b UInt8 DEFAULT 7", f"ENGINE = MergeTree {rest}ORDER BY k")
    assert len(go(wanted, allow=EVERYTHING).statements) == (9 if rest else 1)
    assert not go(wanted).changed
    assert server.query("SELECT a, b, count() FROM d.t GROUP BY a, b") == "none\t7\t4"


@pytest.mark.parametrize("kind", ["JSON(a UInt8)", "Tuple(x UInt8)"])
def test_column_is_dropped_before_its_subcolumns_are_added(server: ClickHouse, go: Converge, kind: str) -> None:
    """The server (26.7) died when it did both while it rewrote rows."""
    wanted = table("k UInt32, v String, b Nested(x UInt8)")
    go(table(f"k UInt32, v UInt8, b {kind}, INDEX i1 b.a TYPE minmax" if "JSON" in kind else f"k UInt32, v UInt8, b {kind}"))
    server.query("INSERT INTO d.t (k) SELECT number FROM numbers(5)")
    statements = go(wanted, allow=EVERYTHING).statements
    index = "(DROP INDEX i1), " if "JSON" in kind else ""
    assert statements[0] == f"ALTER TABLE d.t {index}(DROP COLUMN b)"
    assert statements[1:] == ["ALTER TABLE d.t (MODIFY COLUMN `v` String), (ADD COLUMN `b.x` Array(UInt8) AFTER v)"]
    assert not go(wanted).changed
    assert server.query("SELECT count(), any(v), any(b.x) FROM d.t") == "5\t0\t[]"


def test_source_column_is_dropped_in_a_second_alter(server: ClickHouse, go: Converge) -> None:
    """It goes last, when no rows are rewritten any more, and the other keeps its values."""
    wanted = table("k UInt32, v String, b Nested(x UInt8), c UInt8")
    go(table("k UInt32, v UInt8, b JSON(a UInt8), c UInt8 DEFAULT b.a"))
    server.query('INSERT INTO d.t (k, b) FORMAT JSONEachRow {"k": 1, "b": {"a": 3, "x": [4]}} {"k": 2, "b": {"a": 5}}')
    assert go(wanted, allow=EVERYTHING).statements == [
        "ALTER TABLE d.t (MODIFY COLUMN `v` String), (ADD COLUMN `b.x` Array(UInt8) AFTER v), (MODIFY COLUMN c REMOVE DEFAULT)",
        "ALTER TABLE d.t (DROP COLUMN b)",
    ]
    assert not go(wanted).changed
    assert server.query("SELECT sum(k), any(v), sum(length(b.x)), sum(c) FROM d.t") == "3\t0\t0\t8"


KEYWORDS = ("ttl", "TTL", "comment", "COMMENT", "codec", "settings", "SETTINGS", "statistics", "as", "refresh", "empty")


@pytest.mark.parametrize("name", KEYWORDS)
def test_names_that_are_sql_keywords(server: ClickHouse, go: Converge, name: str) -> None:
    """The server quotes few of them in expressions."""
    own, ttl = f"k UInt32, `{name}` UInt8", "TTL toDateTime(k)"
    before = f"{own}, a UInt8 DEFAULT `{name}` + 1, b UInt8 MATERIALIZED `{name}`, i UInt8 {ttl}"
    after = f"{own}, a UInt8 DEFAULT `{name}` + 2 COMMENT 'c' CODEC(LZ4), b UInt8 MATERIALIZED `{name}` {ttl}, i UInt8"
    rest = f"ENGINE = MergeTree PARTITION BY `{name}` PRIMARY KEY `{name}` ORDER BY (`{name}`, k) SAMPLE BY `{name}`"
    go(table(before, rest))
    server.query(f"INSERT INTO d.t (k, `{name}`, i) VALUES (4000000000, 5, 7)")
    wanted = table(after, f"{rest} TTL toDateTime(k) + toIntervalYear(`{name}`) SETTINGS parts_to_throw_insert = 9 COMMENT 'x'")
    assert len(go(wanted).statements) == 1
    assert not go(wanted).changed
    assert server.query("SELECT k, a, b, i FROM d.t") == "4000000000\t6\t5\t7"
    other = f"CREATE TABLE d.`{name}` (k UInt32) ENGINE = MergeTree ORDER BY k COMMENT 'y'"
    go(other)
    assert len(go(other.replace("'y'", "'z'")).statements) == 1


EXPRESSIONS = (
    *("NOT ttl", "k AND ttl", "k OR NOT ttl", "k IN ttl", "'a' NOT LIKE ttl", "'a' ILIKE ttl", "'a' REGEXP ttl", "k BETWEEN ttl AND ttl"),
    *("k DIV ttl", "k % ttl", "-ttl", "ttl IS NOT NULL", "ttl::String", "k ? ttl : ttl", "CASE WHEN ttl THEN ttl ELSE ttl END"),
    *("CASE ttl WHEN 1 THEN ttl ELSE ttl END", "now() + INTERVAL ttl DAY", "[k, ttl][1]", "tuple(ttl).1", "x -> ttl", "ttl"),
)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_name_that_is_a_keyword_in_an_expression(server: ClickHouse, expression: str) -> None:
    """As the server writes it."""
    written = f"CREATE TABLE d.t (a UInt8 DEFAULT {expression} COMMENT 'c' TTL x) ENGINE = MergeTree ORDER BY k"
    text = server.query(f"SELECT formatQuerySingleLine({quote_string(written)}) FORMAT TSVRaw")
    column = alter.parse_elements(clause_text(split_clauses(text), "columns")).columns["a"]
    assert list(column.parts) == ["DEFAULT", "COMMENT", "TTL"]
    assert "ttl" in column.parts["DEFAULT"]


TTL = "TTL toDateTime(k) + INTERVAL 90 YEAR"
AB = "a UInt8, b UInt8 DEFAULT a + 1"
# Which TTL changes -> columns before and wanted, the table's wanted TTL.
STUCK = {
    "of a column": (AB, f"{AB} {TTL}", ""),
    "of another column": (f"{AB} {TTL}, z UInt8", f"{AB} {TTL}, z UInt8 {TTL}", ""),
    "of the table": (f"{AB} {TTL}", f"{AB} {TTL}", f"{TTL} RECOMPRESS CODEC(ZSTD(3))"),
}


@pytest.mark.parametrize("what", STUCK)
def test_ttl_that_blocks_mutations_of_wide_parts_is_refused(server: ClickHouse, go: Converge, what: str) -> None:
    """The server (26.7) does not read what a column with TTL is computed from; a small part has all columns in one file."""
    before, after, rest = STUCK[what]
    large = "SETTINGS min_bytes_for_wide_part = 1000"
    go(table(f"k UInt32, {before}", f"ENGINE = MergeTree ORDER BY k {large}"))
    server.query("INSERT INTO d.t (k, a) SELECT number, number % 5 FROM numbers(9000)")
    assert server.query("SELECT DISTINCT part_type FROM system.parts WHERE database = 'd' AND active") == "Wide"
    wanted = table(f"k UInt32, {after}", f"ENGINE = MergeTree ORDER BY k {rest} {large}")
    (state,) = go(wanted, allow=[word for word in EVERYTHING if word != "rebuild"]).drifted
    assert "Not found column or subcolumn a in block" in (state.reason or "")
    assert server.query("SELECT count() FROM system.mutations WHERE database = 'd'") == "0"
    assert go(wanted, allow=EVERYTHING).changed
    assert not go(wanted).changed
    assert server.query("SELECT count(), sum(a), sum(b) FROM d.t") == "9000\t18000\t27000"


@pytest.mark.parametrize("expression", ["", " 7"])
def test_an_ephemeral_column_is_stored_from_now_on(server: ClickHouse, go: Converge, expression: str) -> None:
    """It is made anew, for there is no REMOVE EPHEMERAL."""
    wanted = table("k UInt32, a UInt8 COMMENT 'c'")
    go(table(f"k UInt32, a UInt8 EPHEMERAL{expression} COMMENT 'c'"))
    server.query("INSERT INTO d.t (k) SELECT number FROM numbers(5)")
    assert go(wanted).statements == ["ALTER TABLE d.t (DROP COLUMN a), (ADD COLUMN `a` UInt8 COMMENT 'c' AFTER k)"]
    assert not go(wanted).changed
    assert server.query("SELECT sum(a), count() FROM d.t") == "0\t5"


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
    "another sorting key": (
        table("k UInt32, b UInt8"),
        table("k UInt32, b UInt8", "ENGINE = MergeTree ORDER BY (b, k)"),
        "PRIMARY KEY cannot be altered",
    ),
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
def test_refused_changes_leave_all_objects_unchanged(server: ClickHouse, go: Converge, what: str) -> None:
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
def test_allowed_changes_are_applied(server: ClickHouse, go: Converge, what: str) -> None:
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


TO = "CREATE MATERIALIZED VIEW d.v TO d.t AS SELECT k FROM d.src"
OWN = "CREATE MATERIALIZED VIEW d.v ENGINE = MergeTree ORDER BY k AS SELECT k FROM d.src"
EVERY = "CREATE MATERIALIZED VIEW d.v REFRESH EVERY 1 HOUR TO d.t AS SELECT k FROM d.src"
DEFINED = "DEFINER = CURRENT_USER SQL SECURITY DEFINER"


@pytest.mark.parametrize(
    ("before", "wanted", "statements"),
    [
        (TO, f"{TO} COMMENT 'new'", ["ALTER TABLE d.v MODIFY COMMENT 'new'"]),
        (f"{TO} COMMENT 'old'", TO, ["ALTER TABLE d.v MODIFY COMMENT ''"]),
        (TO, TO.replace(" AS", f" {DEFINED} AS"), [f"ALTER TABLE d.v MODIFY {DEFINED}"]),
        (OWN, f"{OWN} COMMENT 'new'", ["ALTER TABLE d.v MODIFY COMMENT 'new'"]),
        (OWN, OWN.replace("ORDER BY k", "PRIMARY KEY k"), []),
        (OWN, OWN.replace("SELECT k", "SELECT k + 1 AS k"), ["ALTER TABLE d.v MODIFY QUERY SELECT k + 1 AS k FROM d.src"]),
        (EVERY, f"{EVERY} COMMENT 'new'", ["ALTER TABLE d.v MODIFY COMMENT 'new'"]),
        (EVERY, TO, ["DROP TABLE d.v SYNC", TO]),
        (TO, EVERY, ["DROP TABLE d.v SYNC", EVERY]),
        (
            TO,
            TO.replace("SELECT k FROM d.src", "WITH x AS (SELECT k, v FROM d.src) SELECT k, v FROM x"),
            ["ALTER TABLE d.v MODIFY QUERY WITH x AS (SELECT k, v FROM d.src) SELECT k, v FROM x"],
        ),
    ],
)
def test_changes_of_materialized_views(go: Converge, before: str, wanted: str, statements: list[str]) -> None:
    tables = [table("k UInt64, v String"), table("k UInt64, v String").replace("d.t", "d.src")]
    go(*tables, before)
    done = go(*tables, wanted)
    assert done.statements == statements
    assert done.objects[-1].after.count("SELECT") == wanted.count("SELECT")
    assert not go(*tables, wanted).changed


def test_a_materialized_view_gets_another_target(server: ClickHouse, go: Converge) -> None:
    """The new view is there before the old one goes; what an interrupted run left beside it goes, too."""
    source = "CREATE TABLE d.t (k UInt32) ENGINE = MergeTree ORDER BY k"
    targets = [f"CREATE TABLE d.{name} (k UInt32) ENGINE = MergeTree ORDER BY k" for name in ("one", "two")]
    mv = "CREATE MATERIALIZED VIEW d.mv TO d.one AS SELECT k FROM d.t"
    go(source, *targets, mv)
    other = mv.replace("d.one", "d.two").replace("SELECT k", "SELECT k + 1 AS k")
    assert [statement.split(" TO ")[0] for statement in go(source, *targets, other).statements] == [
        "CREATE MATERIALIZED VIEW d.mv__rebuild",
        "EXCHANGE TABLES d.mv AND d.mv__rebuild",
        "DROP TABLE d.mv__rebuild SYNC",
    ]
    assert not go(source, *targets, other).changed
    server.query("INSERT INTO d.t VALUES (1)")
    assert server.query("SELECT k FROM d.two") == "2"
    assert server.query("SELECT count() FROM d.one") == "0"
    server.query("CREATE MATERIALIZED VIEW d.mv__rebuild TO d.one AS SELECT k FROM d.t")
    assert go(source, *targets, other).statements == ["DROP TABLE d.mv__rebuild SYNC"]
    assert not go(source, *targets, other).changed


def test_a_materialized_view_with_rows_of_its_own(server: ClickHouse, go: Converge) -> None:
    source = "CREATE TABLE d.t (k UInt32) ENGINE = MergeTree ORDER BY k"
    mv = "CREATE MATERIALIZED VIEW d.mv ENGINE = MergeTree ORDER BY k AS SELECT k FROM d.t"
    go(source, mv)
    plan = go(source, mv.replace("SELECT k", "SELECT k + 1 AS k"))
    assert plan.statements == ["ALTER TABLE d.mv MODIFY QUERY SELECT k + 1 AS k FROM d.t"]
    server.query("INSERT INTO d.t VALUES (1)")
    assert server.query("SELECT k FROM d.mv") == "2"
    (state,) = go(source, mv.replace("SELECT k", "SELECT k, 1 AS z")).drifted
    assert "its query gives other columns than the view's own table has (z)" in state.reason
    (state,) = go(source, mv.replace("ORDER BY k", "ORDER BY tuple()")).drifted
    assert "Drop the view and its rows (state: absent), then create it again" in state.reason


def test_refreshable_views(server: ClickHouse, go: Converge) -> None:
    source = "CREATE TABLE d.t (k UInt32) ENGINE = MergeTree ORDER BY k"
    target = "CREATE TABLE d.s (k UInt32) ENGINE = MergeTree ORDER BY k"
    first = "CREATE MATERIALIZED VIEW d.a REFRESH EVERY 1 HOUR APPEND TO d.s EMPTY AS SELECT k FROM d.t"
    second = (
        "CREATE MATERIALIZED VIEW d.b REFRESH EVERY 1 HOUR OFFSET 5 MINUTE RANDOMIZE FOR 10 SECOND DEPENDS ON d.a"
        " SETTINGS refresh_retries = 3 ENGINE = MergeTree ORDER BY k AS SELECT k FROM d.t"
    )
    plan = go(second, first, target, source)
    assert [state.name for state in plan.objects][-2:] == ["d.a", "d.b"]
    assert not go(second, first, target, source).changed
    slower = (first.replace("1 HOUR", "2 HOUR"), second.replace("= 3", "= 4").replace(" RANDOMIZE FOR 10 SECOND", ""))
    assert go(source, target, *slower).statements == [
        "ALTER TABLE d.a MODIFY REFRESH EVERY 2 HOUR APPEND",
        "ALTER TABLE d.b MODIFY REFRESH EVERY 1 HOUR OFFSET 5 MINUTE DEPENDS ON d.a SETTINGS refresh_retries = 4",
    ]
    assert not go(source, target, *slower).changed
    replacing = slower[0].replace(" APPEND", "")
    plan = go(source, target, replacing)
    assert [statement[:24] for statement in plan.statements] == ["DROP TABLE d.a SYNC", "CREATE MATERIALIZED VIEW"]
    assert not go(source, target, replacing).changed
    server.query("INSERT INTO d.t VALUES (5)")
    server.query("SYSTEM REFRESH VIEW d.a")
    server.query("SYSTEM WAIT VIEW d.a")
    assert server.query("SELECT k FROM d.s") == "5"


def test_absent_views_are_dropped_before_tables(server: ClickHouse, go: Converge) -> None:
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


def test_named_collections(server: ClickHouse, go: Converge) -> None:
    """By key and by OVERRIDABLE; no value is shown anywhere."""
    before = (
        "CREATE NAMED COLLECTION pg AS host = 'db.internal', database = 'x', port = 5432, user = 'u', password = 'hunter2' NOT OVERRIDABLE"
    )
    user = "CREATE TABLE d.remote (k UInt32) ENGINE = PostgreSQL(pg, table = 't')"
    plan = go(user, before)
    assert [state.name for state in plan.objects] == ["d", "pg", "d.remote"]
    assert plan.statements[1] == (
        "CREATE NAMED COLLECTION pg AS database = '[HIDDEN]', host = '[HIDDEN]', password = '[HIDDEN]' NOT OVERRIDABLE,"
        " port = '[HIDDEN]', user = '[HIDDEN]'"
    )
    assert not go(user, before).changed
    after = before.replace("port = 5432", "owner = 'it''s', n = -1").replace("NOT OVERRIDABLE", "OVERRIDABLE")
    plan = go(user, after)
    assert plan.statements == [
        "ALTER NAMED COLLECTION pg SET owner = '[HIDDEN]', n = '[HIDDEN]', password = '[HIDDEN]' OVERRIDABLE DELETE port"
    ]
    for secret in ("hunter2", "it's", "db.internal"):
        assert secret not in str(plan.result)
    assert not go(user, after).changed
    keys = "SELECT arraySort(mapKeys(collection)) FROM system.named_collections WHERE name = 'pg'"
    assert server.query(keys) == "['database','host','n','owner','password','user']"
    gone: list[dict[str, t.Any]] = [{"kind": "table", "name": "d.remote", "state": "absent"}]
    gone.append({"kind": "named_collection", "name": "pg", "state": "absent"})
    assert go(*gone, allow=["drop_table"]).statements == ["DROP TABLE d.remote SYNC", "DROP NAMED COLLECTION pg"]
    assert not go(*gone).changed


def test_renamed(server: ClickHouse, go: Converge) -> None:
    """Table and columns, with other changes behind; keys and indices follow their columns."""
    go(
        "CREATE TABLE d.old (k UInt32, a String, b UInt8, INDEX i b TYPE minmax)"
        " ENGINE = MergeTree ORDER BY k TTL toDateTime(b) + INTERVAL 90 YEAR",
        "CREATE VIEW d.v AS SELECT k FROM d.old",
    )
    server.query("INSERT INTO d.old SELECT number, 'x', 3 FROM numbers(5)")
    new = (
        "CREATE TABLE d.new (k UInt32, a2 String COMMENT 'c', `b 2` UInt16, more UInt8, INDEX i `b 2` TYPE minmax)"
        " ENGINE = MergeTree ORDER BY k TTL toDateTime(`b 2`) + INTERVAL 90 YEAR"
    )
    table = {"ddl": new, "renamed_from": "d.old", "renamed_columns": {"a2": "a", "b 2": "b"}}
    view = {"ddl": "CREATE VIEW d.w AS SELECT k FROM d.new", "renamed_from": "d.v"}
    plan = go(table, view)
    assert plan.statements[:2] == ["RENAME TABLE d.old TO d.new", "ALTER TABLE d.new (RENAME COLUMN a TO a2), (RENAME COLUMN b TO `b 2`)"]
    assert [statement.split(" d.")[0] for statement in plan.statements[2:]] == ["ALTER TABLE", "RENAME TABLE", "CREATE OR REPLACE VIEW"]
    assert not go(table, view).changed
    assert server.query("SELECT count(), sum(`b 2`), any(a2), any(more) FROM d.new") == "5\t15\tx\t0"
    # Both there: it has been renamed before, and the other is another.
    server.query("CREATE TABLE d.old (x UInt8) ENGINE = Memory")
    assert not go(table, view).changed
    by_options = {
        "kind": "table",
        "name": "d.newer",
        "engine": "MergeTree",
        "renamed_from": "d.new",
        "columns": [
            {"name": "k", "type": "UInt32", "default_kind": "DEFAULT"},
            {"name": "a3", "type": "String", "default_kind": "DEFAULT", "renamed_from": "a2"},
        ],
        "order_by": "k",
    }
    assert "column b 2 and its values would be dropped" in go(by_options).drifted[0].reason
    plan = go(by_options, allow=["drop_column"])
    assert len(plan.statements) == 3
    assert server.query("SELECT any(a3) FROM d.newer") == "x"


def test_indices_and_projections_of_old_rows(server: ClickHouse, go: Converge) -> None:
    go(table("k UInt32, v String"))
    server.query("INSERT INTO d.t SELECT number, 'x' FROM numbers(10)")
    more = table("k UInt32, v String, INDEX i v TYPE minmax, PROJECTION p (SELECT v, count() GROUP BY v)")
    mutations = "SELECT count() FROM system.mutations WHERE database = 'd' AND table = 't'"
    go(more)
    assert server.query(mutations) == "0"
    go(table("k UInt32, v String"))
    wanted = {"ddl": more, "materialize": True}
    before = int(server.query(mutations))
    (statement,) = go(wanted).statements
    assert "(MATERIALIZE INDEX i)" in statement
    assert "(MATERIALIZE PROJECTION p)" in statement
    assert int(server.query(mutations)) == before + 2
    assert not go(wanted).changed
    deadline = time.monotonic() + 30
    parts = "SELECT count() FROM system.projection_parts WHERE database = 'd' AND table = 't' AND active"
    while server.query(parts) != "1":
        assert time.monotonic() < deadline


def test_a_key_that_is_renamed_is_refused(server: ClickHouse, go: Converge) -> None:
    go(ONE)
    (state,) = go({"ddl": table("key UInt32", "ENGINE = MergeTree ORDER BY key"), "renamed_columns": {"key": "k"}}).drifted
    assert "Code: 524" in state.reason


def test_purge(server: ClickHouse, go: Converge) -> None:
    kept = "CREATE TABLE d.kept (k UInt32) ENGINE = MergeTree ORDER BY k"
    go(
        kept,
        "CREATE TABLE d.tmp_a (k UInt32) ENGINE = MergeTree ORDER BY k",
        "CREATE TABLE d.tmp_keep (k UInt32) ENGINE = MergeTree ORDER BY k",
        "CREATE VIEW d.tmp_v AS SELECT k FROM d.tmp_a",
        "CREATE MATERIALIZED VIEW d.tmp_mv ENGINE = MergeTree ORDER BY k AS SELECT k FROM d.tmp_a",
        "CREATE DICTIONARY d.tmp_d (k UInt64) PRIMARY KEY k SOURCE(NULL()) LAYOUT(FLAT()) LIFETIME(0)",
    )
    server.query("CREATE TABLE d.`it's \\`hostile\\`` (k UInt32) ENGINE = Memory")
    purge = [declaration.Purge("d", ("tmp_*",), ("*_keep",))]
    refused = go(kept, purge=purge)
    assert {state.name for state in refused.drifted} == {"d.tmp_a", "d.tmp_mv"}
    assert refused.statements == []
    plan = go(kept, purge=purge, allow=["drop_table"])
    assert plan.statements == [
        "DROP TABLE d.tmp_mv SYNC",
        "DROP TABLE d.tmp_v SYNC",
        "DROP DICTIONARY d.tmp_d SYNC",
        "DROP TABLE d.tmp_a SYNC",
    ]
    assert not go(kept, purge=purge).changed
    everything = [declaration.Purge("d")]
    assert len(go(kept, purge=everything, allow=["drop_table"]).statements) == 2
    assert server.query("SELECT name FROM system.tables WHERE database = 'd'") == "kept"


def canonical(server: ClickHouse, client: Client, text: str) -> str:
    """What the server makes of a definition on a fresh table."""
    converge(client, text.replace("d.t ", "d.fresh ", 1))
    shown = server.query("SELECT create_table_query FROM system.tables WHERE database = 'd' AND name = 'fresh' FORMAT TSVRaw")
    server.query("DROP TABLE d.fresh SYNC")
    return shown.replace("d.fresh ", "d.t ", 1)


def settled(text: str) -> str:
    """What is shown after changes, as it would be shown of a fresh table."""
    text = re.sub(r"PRIMARY KEY (.*?) (?=ORDER BY \1(?: |$))", "", text)
    return re.sub(r"EPHEMERAL defaultValueOfTypeName\((\\?').*?\1\)", "EPHEMERAL", sorted_settings(text))


@settings(max_examples=PAIRS, derandomize="GROUNDWORK_PAIRS" not in os.environ, suppress_health_check=list(HealthCheck))
@given(first=definitions(), second=definitions(), rebuild=st.booleans())
def test_any_definition_to_any_other(
    server: ClickHouse, client: Client, first: Random, second: Random, rebuild: bool
) -> None:
    """Either the table is then as declared, with its rows, and a second plan is empty; or nothing has changed."""
    allow = EVERYTHING if rebuild else [word for word in EVERYTHING if word != "rebuild"]
    before, wanted = first.text, second.text
    server.query("DROP DATABASE IF EXISTS d SYNC")
    try:
        converge(client, before)
        target = canonical(server, client, wanted)
    except ClickHouseError as error:
        event(f"the server takes no such table: {str(error)[:150]}")
        return
    server.query(first.insert)
    parts = "SELECT name, rows, modification_time FROM system.parts WHERE database = 'd' AND active ORDER BY name"
    shown = "SELECT create_table_query FROM system.tables WHERE database = 'd' AND name = 't' FORMAT TSVRaw"
    untouched = (server.query(shown), server.query(parts))
    announced = converge(client, wanted, apply=False, allow=allow)
    assert (server.query(shown), server.query(parts)) == untouched
    # What is computed may change with its expression.
    computed = {*first.computed, *second.computed}
    kept = [name for name, kind in first.types.items() if second.types.get(name) == kind and name not in computed]
    wider = [name for name, kind in first.types.items() if (kind, second.types.get(name)) in WIDER and name not in computed]
    shown_as = ["k", *map(quoted, kept), *(f"toInt128({quoted(name)})" for name in wider)]
    values = f"SELECT k, hex(formatRow('RowBinary', {', '.join(shown_as)})) FROM d.t ORDER BY k"
    rows = server.query(values)
    done = converge(client, wanted, allow=allow)
    assert announced.statements == done.statements
    if done.drifted:
        event("refused")
        event("refused: " + (re.findall(r"[A-Z ]+ cannot be altered|Code: \d+", done.drifted[0].reason) or ["by something else"])[0])
        assert done.statements == []
        assert (server.query(shown), server.query(parts)) == untouched
        reason = done.drifted[0].reason
        assert re.search(r"(ENGINE|PARTITION BY|PRIMARY KEY) cannot be altered|has values that are no |Code: ", reason), reason
        assert "SYNTAX_ERROR" not in reason, reason
        return
    rebuilt = any(statement.startswith("EXCHANGE") for statement in done.statements)
    assert rebuilt or len(done.statements) <= 3
    event("rebuilt" if rebuilt else "altered" if done.changed else "the same")
    assert rebuild or not rebuilt
    assert converge(client, wanted, allow=()).statements == []
    assert settled(server.query(shown)) == settled(target)
    assert server.query(values) == rows
