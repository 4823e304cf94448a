# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ZooKeeper has about a table, read as the statement that joins it. The values are those that ClickHouse 26.7 wrote."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import replica_definition
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.change import Change
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import (
    ClickHouseError,
    ConnectionFailed,
    ServerError,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.declaration import Key
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.sql_clauses import (
    clause_text,
    join_clauses,
    split_clauses,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.sql_tokens import quote_string
from hypothesis import given
from hypothesis import strategies as st

MACROS = {"shard": "1", "replica": "a", "deep": "{shard}-{table}", "round": "{round}"}
SETTINGS = {"default_replica_path": "/tables/{shard}/{database}/{table}"}


@pytest.mark.parametrize(
    ("engine", "settings", "zookeeper", "path"),
    [
        ("ReplicatedMergeTree", SETTINGS, "", "/tables/1/d/t"),
        ("ReplicatedReplacingMergeTree(v)", SETTINGS, "", "/tables/1/d/t"),
        ("ReplicatedMergeTree('/own/{deep}/', '{replica}')", {}, "", "/own/1-t"),
        ("ReplicatedMergeTree('/it\\'s', 'a')", {}, "", "/it's"),
        ("ReplicatedMergeTree('other:/own/{table}', '{replica}', v)", {}, "other", "/own/t"),
        ("ReplicatedMergeTree('default:/own', '{replica}')", {}, "", "/own"),
    ],
)
def test_zookeeper_paths(engine: str, settings: dict[str, str], zookeeper: str, path: str) -> None:
    assert replica_definition.zookeeper_path(("d", "t"), f"ENGINE = {engine}", MACROS, settings) == replica_definition.ZooKeeperPath(
        zookeeper, path
    )


@pytest.mark.parametrize(
    ("engine", "settings"),
    [
        ("MergeTree", SETTINGS),
        ("ReplicatedMergeTree", {}),
        ("ReplicatedMergeTree", {"default_replica_path": "/clickhouse/tables/{uuid}/{shard}"}),
        ("ReplicatedMergeTree('/own/{uuid}', '{replica}')", SETTINGS),
        ("ReplicatedMergeTree('/own/{unknown}', '{replica}')", SETTINGS),
        ("ReplicatedMergeTree('/own/{round}', '{replica}')", SETTINGS),
        ("ReplicatedMergeTree('own', '{replica}')", SETTINGS),
    ],
)
def test_zookeeper_paths_with_unknown_macros(engine: str, settings: dict[str, str]) -> None:
    assert replica_definition.zookeeper_path(("d", "t"), f"ENGINE = {engine}", MACROS, settings) is None


def test_a_macro_of_the_server_is_preferred() -> None:
    engine = "ENGINE = ReplicatedMergeTree('/{database}/{table}', 'a')"
    assert replica_definition.zookeeper_path(("d", "t"), engine, {"table": "other"}, {}) == replica_definition.ZooKeeperPath("", "/d/other")


# The definition as the server shows it, and its columns and metadata in ZooKeeper.
PATH = "'/clickhouse/tables/{shard}/d/t', '{replica}'"
FULL = (
    "CREATE TABLE d.t (`k` UInt64,"
    " `v` String DEFAULT 'x' COMMENT 'it\\'s\\n \\\\ tab\\t' CODEC(ZSTD(3)) TTL toDateTime(k) + toIntervalYear(90),"
    " `m` UInt64 MATERIALIZED k * 2, `a` UInt64 ALIAS k + 1, `e` UInt8 EPHEMERAL, `e2` UInt8 EPHEMERAL 3,"
    " `we ird\\`x` Array(Tuple(a String, b UInt8)), `en` Enum8('a' = 1, 'b\\'c' = 2),"
    " INDEX i1 v TYPE bloom_filter GRANULARITY 1, INDEX `i 2` (m, k * 2) TYPE minmax GRANULARITY 1,"
    " CONSTRAINT c1 CHECK k < 1000, CONSTRAINT c2 ASSUME k < 2000, PROJECTION p1 (SELECT v, count() GROUP BY v))"
    f" ENGINE = ReplicatedMergeTree({PATH}) PARTITION BY k % 10 PRIMARY KEY k ORDER BY (k, m) SAMPLE BY k"
    " TTL toDateTime(k) + toIntervalYear(1), toDateTime(k) + toIntervalYear(2) WHERE v = 'x'"
    " SETTINGS index_granularity = 1024, min_bytes_for_wide_part = 0 COMMENT 'ours'"
)
FULL_COLUMNS = """\
columns format version: 1
8 columns:
`k` UInt64
`v` String\tDEFAULT\t\\'x\\'\tCOMMENT \\'it\\\\\\'s\\\\n \\\\\\\\ tab\\\\t\\'\tCODEC(ZSTD(3))\tTTL toDateTime(k) + toIntervalYear(90)
`m` UInt64\tMATERIALIZED\tk * 2
`a` UInt64\tALIAS\tk + 1
`e` UInt8\tEPHEMERAL\tdefaultValueOfTypeName(\\'UInt8\\')
`e2` UInt8\tEPHEMERAL\t3
`we ird\\`x` Array(Tuple(a String, b UInt8))
`en` Enum8(\\'a\\' = 1, \\'b\\\\\\'c\\' = 2)
"""
FULL_METADATA = """\
metadata format version: 1
date column:\x20
sampling expression: k
index granularity: 1024
mode: 0
sign column:\x20
primary key: k
data format version: 1
partition key: k % 10
sorting key: k, m
ttl: toDateTime(k) + toIntervalYear(1), toDateTime(k) + toIntervalYear(2) WHERE v = 'x'
indices: i1 v TYPE bloom_filter GRANULARITY 1, `i 2` (m, k * 2) TYPE minmax GRANULARITY 1
projections: p1 (SELECT v, count() GROUP BY v)
granularity bytes: 10485760
constraints: c1 CHECK k < 1000, c2 ASSUME k < 2000
merge parameters format version: 2
"""
ODD = (
    "CREATE TABLE d.t (`k` UInt64, `v` UInt64 DEFAULT (k + 1), `w` UInt64 MATERIALIZED (k * 2) + (1), `d` DateTime DEFAULT now()"
    " TTL (d) + toIntervalDay(1), INDEX i1 (v) TYPE minmax GRANULARITY 1, CONSTRAINT c CHECK (k < 3) AND (v < 3))"
    f" ENGINE = ReplicatedMergeTree({PATH}) PARTITION BY tuple(k % 3, (k)) ORDER BY ((k), v) SAMPLE BY (k) TTL (d) + toIntervalDay((1))"
    " WHERE (k = 3) SETTINGS index_granularity = 8192"
)
ODD_COLUMNS = """\
columns format version: 1
4 columns:
`k` UInt64
`v` UInt64\tDEFAULT\tk + 1
`w` UInt64\tMATERIALIZED\t(k * 2) + 1
`d` DateTime\tDEFAULT\tnow()\tTTL d + toIntervalDay(1)
"""
ODD_METADATA = """\
metadata format version: 1
date column:\x20
sampling expression: k
index granularity: 8192
mode: 0
sign column:\x20
primary key: k, v
data format version: 1
partition key: k % 3, k
ttl: d + toIntervalDay(1) WHERE k = 3
indices: i1 v TYPE minmax GRANULARITY 1
granularity bytes: 10485760
constraints: c CHECK (k < 3) AND (v < 3)
merge parameters format version: 2
"""
BRIEF = f"CREATE TABLE d.t (`z` UInt8) ENGINE = ReplicatedMergeTree({PATH}) ORDER BY z SETTINGS parts_to_throw_insert = 7 COMMENT 'ours'"


def joined(declared: str, columns: str, metadata: str) -> str | None:
    found = replica_definition.stored_definition(split_clauses(declared), columns, metadata)
    return None if found is None else join_clauses(found)


@pytest.mark.parametrize(("text", "columns", "metadata"), [(FULL, FULL_COLUMNS, FULL_METADATA), (ODD, ODD_COLUMNS, ODD_METADATA)])
def test_equal_definitions_stay_as_declared(text: str, columns: str, metadata: str) -> None:
    assert joined(text, columns, metadata) == text


def test_settings_that_zookeeper_does_not_store_are_kept() -> None:
    settings = "SETTINGS parts_to_throw_insert = 7, index_granularity = 1024 COMMENT 'ours'"
    assert joined(BRIEF, FULL_COLUMNS, FULL_METADATA) == FULL[: FULL.index("SETTINGS")] + settings


def test_only_differing_clauses_are_taken_from_zookeeper() -> None:
    other = ODD_METADATA.replace("primary key: k, v", "primary key: k").replace("d + toIntervalDay(1)", "d + toIntervalDay(2)")
    wanted = ODD.replace("ORDER BY ((k), v)", "ORDER BY k")
    wanted = wanted.replace("TTL (d) + toIntervalDay((1)) WHERE (k = 3)", "TTL d + toIntervalDay(2) WHERE k = 3")
    assert joined(ODD, ODD_COLUMNS, other) == wanted


def metadata(*lines: str, mode: int = 0, sign: str = "") -> str:
    """A table sorted by nothing."""
    first = ["metadata format version: 1", "date column: ", "sampling expression: ", "index granularity: 8192"]
    first += [f"mode: {mode}", f"sign column: {sign}", "primary key: ", "data format version: 1", "partition key: "]
    return "\n".join((*first, *lines, ""))


PARAMETERS = ("granularity bytes: 10485760", "merge parameters format version: 2")
COLUMNS = "columns format version: 1\n1 columns:\n`k` UInt64\n"


@pytest.mark.parametrize(
    ("engine", "text"),
    [
        ("MergeTree({0})", metadata(*PARAMETERS)),
        ("CollapsingMergeTree({0}, s)", metadata(*PARAMETERS, mode=1, sign="s")),
        ("SummingMergeTree({0})", metadata(*PARAMETERS, mode=2)),
        ("SummingMergeTree({0}, x)", metadata(*PARAMETERS, "columns to sum: x", mode=2)),
        ("SummingMergeTree({0}, (x, `y z`))", metadata(*PARAMETERS, "columns to sum: x,y z", mode=2)),
        ("AggregatingMergeTree({0})", metadata(*PARAMETERS, mode=3)),
        ("ReplacingMergeTree({0})", metadata(*PARAMETERS, mode=5)),
        ("ReplacingMergeTree({0}, v)", metadata(*PARAMETERS, "version column: v", mode=5)),
        ("ReplacingMergeTree({0}, v, d)", metadata(*PARAMETERS, "version column: v", "is_deleted column: d", mode=5)),
        ("VersionedCollapsingMergeTree({0}, s, v)", metadata(*PARAMETERS, "version column: v", mode=7, sign="s")),
        ("CoalescingMergeTree({0}, (x, y))", metadata(*PARAMETERS, "columns to sum: x,y", mode=8)),
    ],
)
def test_engines(engine: str, text: str) -> None:
    clause = f"ENGINE = Replicated{engine.format(PATH)}"
    for declared in (BRIEF, f"CREATE TABLE d.t (`k` UInt64) {clause} ORDER BY tuple()"):
        found = replica_definition.stored_definition(split_clauses(declared), COLUMNS, text)
        assert found is not None
        assert clause_text(found, "engine") == clause
        assert clause_text(found, "order_by") == "ORDER BY tuple()"


@pytest.mark.parametrize("text", [metadata(*PARAMETERS, "graphite hash: 1", mode=6), metadata("granularity bytes: 10485760", mode=5)])
def test_engine_with_arguments_unknown_to_zookeeper_must_be_the_declared_one(text: str) -> None:
    """Its configuration is elsewhere; old servers did not write all of its columns."""
    kind = "Graphite" if "graphite" in text else "Replacing"
    same = f"CREATE TABLE d.t (`k` UInt64) ENGINE = Replicated{kind}MergeTree({PATH}, x) ORDER BY tuple()"
    assert joined(same, COLUMNS, text) == same
    assert joined(BRIEF, COLUMNS, text) is None


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ("", metadata(*PARAMETERS)),
        (COLUMNS, ""),
        (COLUMNS.replace("version: 1", "version: 2"), metadata(*PARAMETERS)),
        (COLUMNS, metadata(*PARAMETERS).replace("metadata format version: 1", "metadata format version: 2")),
        (COLUMNS, metadata(*PARAMETERS, "something new: 1")),
        (COLUMNS, metadata(*PARAMETERS, "a line without a name")),
        (COLUMNS, metadata(*PARAMETERS, mode=4)),
        (COLUMNS, metadata(*PARAMETERS).replace("date column: ", "date column: d")),
        (COLUMNS, metadata(*PARAMETERS).replace("data format version: 1\npartition key: \n", "")),
    ],
)
def test_unreadable_metadata_is_ignored(columns: str, text: str) -> None:
    assert joined(BRIEF, columns, text) is None


def test_granularity_is_that_of_zookeeper() -> None:
    text = metadata("merge parameters format version: 2").replace("granularity: 8192", "granularity: 64")
    found = replica_definition.stored_definition(split_clauses(BRIEF), COLUMNS, text)
    assert found is not None
    assert clause_text(found, "settings") == "SETTINGS parts_to_throw_insert = 7, index_granularity = 64, index_granularity_bytes = 0"


def test_indices_that_settings_add_are_left_out() -> None:
    text = metadata("indices: auto_minmax_index_k k TYPE minmax GRANULARITY 1, i k TYPE minmax GRANULARITY 1", *PARAMETERS)
    found = replica_definition.stored_definition(split_clauses(BRIEF), COLUMNS, text)
    assert found is not None
    assert clause_text(found, "columns") == "(`k` UInt64, INDEX i k TYPE minmax GRANULARITY 1)"


NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=300, exclude_characters="\x7f"), min_size=1, max_size=8)
PARTS = ("DEFAULT", "COMMENT", "CODEC", "TTL")


def escaped(text: str) -> str:
    """As the server escapes a text in a file of tab-separated values."""
    for character, escape in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("'", "\\'")):
        text = text.replace(character, escape)
    return text


@st.composite
def columns_of(draw: st.DrawFn) -> list[tuple[str, list[str], list[str]]]:
    """Columns: name and type, parts as a statement has them, parts as ZooKeeper has them."""
    found = []
    for name in draw(st.lists(NAMES, unique=True, min_size=1, max_size=4)):
        value = quote_string(draw(st.text(max_size=6)))
        parts = {
            "DEFAULT": ("DEFAULT", f"concat({value}, 'x')"),
            "COMMENT": (f"COMMENT {value}",),
            "CODEC": ("CODEC(ZSTD(1))",),
            "TTL": ("TTL toDateTime(k) + toIntervalDay(1)",),
        }
        chosen = [part for key in PARTS if draw(st.booleans()) for part in parts[key]]
        quoted = "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
        kind = draw(st.sampled_from(["UInt8", "Enum8('a' = 1, 'b\\'c' = 2)", "Array(Tuple(a String, b UInt8))"]))
        found.append((quoted, [kind, *chosen], [escaped(part) for part in (kind, *chosen)]))
    return found


@given(columns_of(), columns_of())
def test_columns_are_read_as_they_are_written(
    theirs: list[tuple[str, list[str], list[str]]], ours: list[tuple[str, list[str], list[str]]]
) -> None:
    def text(columns: list[tuple[str, list[str], list[str]]]) -> str:
        return "(" + ", ".join(" ".join([name, *parts]) for name, parts, _stored in columns) + ")"

    stored = "".join(f"{name} " + "\t".join(parts) + "\n" for name, _parts, parts in theirs)
    stored = f"columns format version: 1\n{len(theirs)} columns:\n{stored}"
    for declared in (theirs, ours):
        statement = f"CREATE TABLE d.t {text(declared)} ENGINE = ReplicatedMergeTree ORDER BY tuple() SETTINGS a = 1"
        found = replica_definition.stored_definition(split_clauses(statement), stored, metadata(*PARAMETERS))
        assert found is not None
        assert clause_text(found, "columns") == text(theirs)


def test_casts_are_not_tested_on_a_replica_without_rows() -> None:
    clauses = split_clauses("CREATE TABLE d.t (`k` UInt64, `v` String, `m` UInt8 ALIAS k) ENGINE = ReplicatedMergeTree ORDER BY k")
    change = Change(("ALTER TABLE d.t (MODIFY COLUMN `v` UInt8)",), casts=("_CAST(v, 'UInt8')",), needs=(("modify_lossy", "values"),))
    assert replica_definition.create_then_alter(clauses, change, ["modify_lossy"]) is None
    behind = replica_definition.create_then_alter(clauses, change, [])
    assert behind is not None
    assert (behind.create, behind.statements) == (join_clauses(clauses), change.statements)
    assert behind.source == "(SELECT defaultValueOfTypeName('UInt64') AS k, defaultValueOfTypeName('String') AS v WHERE 1)"


class Server:
    """Answers queries by the table they read, with rows or an error."""

    def __init__(self, **answers: t.Any) -> None:
        self.answers: dict[str, t.Any] = {"macros": list(MACROS.items()), "server_settings": list(SETTINGS.items()), **answers}
        self.asked: list[str] = []

    def rows(self, query: str) -> t.Any:
        table = query.split(" FROM system.")[1].split(" ")[0]
        self.asked.append(query)
        answer = self.answers[table]
        if isinstance(answer, Exception):
            raise answer
        return answer


def read(server: Server, **engines: str) -> dict[Key, t.Any]:
    text = "CREATE TABLE d.{} (`k` UInt64) ENGINE = {} ORDER BY tuple() SETTINGS index_granularity = 8192"
    tables = {("d", name): split_clauses(text.format(name, engine)) for name, engine in engines.items()}
    return replica_definition.read_stored_definitions(t.cast(t.Any, server), tables)


def stored(path: str, columns: str = COLUMNS) -> list[tuple[str, str, str]]:
    return [(path, "columns", columns), (path, "metadata", metadata(*PARAMETERS))]


def test_missing_tables_are_looked_up_in_one_query_of_zookeeper() -> None:
    other = COLUMNS.replace("UInt64", "UInt8")
    server = Server(zookeeper=[*stored("/tables/1/d/a", other), *stored("/tables/1/d/b"), *stored("/c", other)[:1]])
    found = read(server, a="ReplicatedMergeTree", b="ReplicatedMergeTree", c="ReplicatedMergeTree('/c', 'a')", d="MergeTree")
    assert list(found) == [("d", "a")]
    assert len(server.asked) == 3
    assert "path IN ('/c', '/tables/1/d/a', '/tables/1/d/b') AND name IN" in server.asked[-1]


@pytest.mark.parametrize("part", ["DEFAULT\ttryDecrypt(\\'aes\\', k, \\'key\\')", "COMMENT \\'[HIDDEN]\\'"])
def test_definition_with_a_secret_is_hidden(part: str) -> None:
    assert read(Server(zookeeper=stored("/tables/1/d/t", COLUMNS.replace("UInt64", f"UInt64\t{part}"))), t="ReplicatedMergeTree") == {}


@pytest.mark.parametrize(
    ("answers", "engine"),
    [
        ({"zookeeper": ServerError("no ZooKeeper", 60)}, "ReplicatedMergeTree"),
        ({"zookeeper": ServerError("not allowed", 497)}, "ReplicatedMergeTree"),
        ({"macros": ServerError("not allowed", 497)}, "ReplicatedMergeTree"),
        ({"server_settings": ServerError("not allowed", 497)}, "ReplicatedMergeTree"),
        ({"zookeeper": ServerError("no column zookeeperName", 47)}, "ReplicatedMergeTree('other:/own', 'a')"),
        ({}, "MergeTree"),
    ],
)
def test_join_without_grants_is_skipped(answers: dict[str, t.Any], engine: str) -> None:
    assert read(Server(**answers), t=engine) == {}


@pytest.mark.parametrize(
    ("error", "engine"),
    [
        (ServerError("ZooKeeper is gone", 999), "ReplicatedMergeTree"),
        (ServerError("no column", 47), "ReplicatedMergeTree"),
        (ConnectionFailed("gone"), "ReplicatedMergeTree"),
    ],
)
def test_unexpected_errors_are_raised(error: ClickHouseError, engine: str) -> None:
    with pytest.raises(type(error), match="gone|no column"):
        read(Server(zookeeper=error), t=engine)
