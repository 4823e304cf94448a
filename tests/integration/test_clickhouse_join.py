# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""clickhouse_schema on a replica that is made anew while the others have another definition: it joins first and changes after."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import execution
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouseError
from hypothesis import HealthCheck, event, given, settings

from tests.support.clickhouse import REPLICA_PATHS, ClickHouse
from tests.support.converge import converge_node
from tests.support.definitions import Random, definitions, sorted_settings
from tests.support.zookeeper import ZooKeeper

pytestmark = pytest.mark.integration

# The same ones in each run, unless the environment gives a number: then the seed decides, as in `make soak`.
PAIRS = int(os.environ.get("GROUNDWORK_JOINS", "15"))
SHOWN = "SELECT create_table_query FROM system.tables WHERE database = 'd' AND name = 't' FORMAT TSVRaw"
# A user who may make tables, but not look into ZooKeeper.
BLIND = """
<users><blind><password>blind-pw</password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
  <grants>
    <query>GRANT SHOW, CREATE, ALTER, SELECT ON d.*</query>
    <query>GRANT CREATE TEMPORARY TABLE, CREATE ARBITRARY TEMPORARY TABLE, TABLE ENGINE ON *.*</query>
    <query>GRANT SELECT ON system.macros</query>
  </grants></blind></users>
"""
GRANTS = (
    "<access_control_improvements><select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>"
    "</access_control_improvements>"
)


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[ClickHouse, ClickHouse]]:
    """Two replicas of one shard, which know their ZooKeeper by another name, too."""
    with ZooKeeper() as zookeeper:
        host, port = zookeeper.address.split(":")
        other = f"<auxiliary_zookeepers><other><node><host>{host}</host><port>{port}</port></node></other></auxiliary_zookeepers>"
        graphite = "<graphite_rollup><default><function>avg</function></default></graphite_rollup>"
        config = REPLICA_PATHS + other + graphite + GRANTS
        nodes = [
            ClickHouse(config, users=BLIND, zookeeper=zookeeper.address, macros={"shard": "1", "replica": name}) for name in ("a", "b")
        ]
        with nodes[0], nodes[1]:
            yield nodes[0], nodes[1]


@pytest.fixture
def first(pair: tuple[ClickHouse, ClickHouse]) -> Iterator[ClickHouse]:
    """The replica that stays."""
    yield pair[0]
    for node in pair:
        node.query("DROP DATABASE IF EXISTS d SYNC")


@pytest.fixture
def second(pair: tuple[ClickHouse, ClickHouse], first: ClickHouse) -> ClickHouse:
    """The replica that is lost: it has nothing, not even the database."""
    return pair[1]


def table(columns: str, rest: str = "ORDER BY k", engine: str = "ReplicatedMergeTree") -> str:
    return f"CREATE TABLE d.t ({columns}) ENGINE = {engine} {rest}"


GRAPHITE = "Path String, Time DateTime, Value Float64, Timestamp UInt32"
# What the peers have, what is declared, words of the ALTER.
CHANGES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "more columns": (table("k UInt64"), table("n UInt8 DEFAULT 3, k UInt64, s String"), ("ADD COLUMN `n`", "ADD COLUMN `s`")),
    "fewer columns": (table("k UInt64, gone String, v UInt8"), table("k UInt64, v UInt8"), ("(DROP COLUMN gone)",)),
    "a wider type": (table("k UInt64, v UInt8"), table("k UInt64, v UInt32"), ("MODIFY COLUMN `v` UInt32",)),
    "a wider type under a constraint": (
        table("k UInt64, v UInt8, CONSTRAINT c CHECK v > 0"),
        table("k UInt64, v UInt32, CONSTRAINT c CHECK v > 0"),
        ("MODIFY COLUMN `v` UInt32",),
    ),
    "another TTL": (
        table("k UInt64", "ORDER BY k TTL toDateTime(k) + INTERVAL 90 YEAR"),
        table("k UInt64", "ORDER BY k TTL toDateTime(k) + INTERVAL 80 YEAR"),
        ("MODIFY TTL",),
    ),
    "no TTL": (table("k UInt64", "ORDER BY k TTL toDateTime(k) + INTERVAL 90 YEAR"), table("k UInt64"), ("REMOVE TTL",)),
    "indices, constraints and projections": (
        table("k UInt64, INDEX i1 k TYPE minmax, CONSTRAINT c CHECK k < 1000, PROJECTION p (SELECT count() GROUP BY k)"),
        table("k UInt64, INDEX i2 (k, k + 1) TYPE set(3), CONSTRAINT c CHECK k < 2000, PROJECTION p (SELECT max(k))"),
        ("DROP INDEX i1", "ADD INDEX i2", "DROP CONSTRAINT c", "ADD CONSTRAINT c", "DROP PROJECTION p", "ADD PROJECTION p"),
    ),
    "defaults, codecs and comments": (
        table(
            "k UInt64, a UInt8 DEFAULT 3, b String COMMENT 'it''s\\n\\t\\\\', c String CODEC(ZSTD(3)) TTL toDateTime(k) + INTERVAL 90 YEAR"
        ),
        table("k UInt64 COMMENT 'key', a UInt8 MATERIALIZED k, b String CODEC(LZ4), c String"),
        ("COMMENT 'key'", "MATERIALIZED k", "REMOVE COMMENT", "REMOVE CODEC", "REMOVE TTL"),
    ),
    "columns that are computed or not kept": (
        table("k UInt64, e UInt8 EPHEMERAL, f UInt8 EPHEMERAL 3, a UInt64 ALIAS k + 4, `we ird\\`` UInt64 ALIAS k"),
        table("k UInt64, e UInt8 EPHEMERAL, f UInt8 EPHEMERAL 4, a UInt64 ALIAS k + 5, `we ird\\`` UInt64 ALIAS k"),
        ("MODIFY COLUMN `f` UInt8 EPHEMERAL 4", "MODIFY COLUMN `a` UInt64 ALIAS k + 5"),
    ),
    "a longer sorting key": (
        table("k UInt64"),
        table("k UInt64, z UInt8", "PRIMARY KEY k ORDER BY (k, z)"),
        ("ADD COLUMN `z`", "MODIFY ORDER BY (k, z)"),
    ),
    "a sampling key that goes": (table("k UInt64", "ORDER BY k SAMPLE BY k"), table("k UInt64, v UInt8"), ("REMOVE SAMPLE BY",)),
    "settings of its own": (
        table("k UInt64", "ORDER BY k SETTINGS parts_to_throw_insert = 5000 COMMENT 'theirs'"),
        table("k UInt64, v UInt8", "ORDER BY k SETTINGS min_bytes_for_wide_part = 7 COMMENT 'ours'"),
        ("(ADD COLUMN `v` UInt8 AFTER k)",),
    ),
    "an engine with columns": (
        table("k UInt64, v UInt8, d UInt8", "PARTITION BY (k % 3, d) ORDER BY (k, d)", "ReplicatedReplacingMergeTree(v, d)"),
        table("k UInt64, v UInt8, d UInt8, s String", "PARTITION BY (k % 3, d) ORDER BY (k, d)", "ReplicatedReplacingMergeTree(v, d)"),
        ("ADD COLUMN `s`",),
    ),
    "an engine with a configuration": (
        table(GRAPHITE, "ORDER BY Path", "ReplicatedGraphiteMergeTree('graphite_rollup')"),
        table(f"{GRAPHITE}, k UInt8", "ORDER BY Path", "ReplicatedGraphiteMergeTree('graphite_rollup')"),
        ("ADD COLUMN `k`",),
    ),
    "a path with macros": (
        table("k UInt64", engine="ReplicatedMergeTree('/own/{shard}/{database}/{table}', '{replica}')"),
        table("k UInt64, v UInt8", engine="ReplicatedMergeTree('/own/{shard}/{database}/{table}', '{replica}')"),
        ("ADD COLUMN `v`",),
    ),
    "another ZooKeeper": (
        table("k UInt64", engine="ReplicatedMergeTree('other:/aux/{shard}/{table}', '{replica}')"),
        table("k UInt64, v UInt8", engine="ReplicatedMergeTree('other:/aux/{shard}/{table}', '{replica}')"),
        ("ADD COLUMN `v`",),
    ),
}  # fmt: skip
# Spelt as the server would not, and the same.
ODD = table(
    "k UInt64, v UInt64 DEFAULT (k+1), w UInt64 MATERIALIZED (k * 2) + (1), d DateTime DEFAULT NOW() TTL (d) + INTERVAL 90 YEAR,"
    " INDEX i1 (v) TYPE minmax, CONSTRAINT c CHECK (k < 300) AND ((v) < 300), PROJECTION p (SELECT (k) ORDER BY (v)), e UInt8 EPHEMERAL",
    "PARTITION BY tuple(k % 3, (k)) ORDER BY ((k), v) SAMPLE BY (k) TTL (d) + INTERVAL (90) YEAR WHERE (k = 3)",
)


@pytest.mark.parametrize("what", CHANGES)
def test_replica_joins_and_is_altered(first: ClickHouse, second: ClickHouse, what: str) -> None:
    """Check mode announces the two statements and does nothing; then they are run, and the rows come."""
    theirs, ours, words = CHANGES[what]
    converge_node(first, theirs)
    key = "Path" if GRAPHITE in theirs else "k"
    columns, values = ("k, v", "number, 1") if "v > 0" in theirs else (key, "number")
    first.query(f"INSERT INTO d.t ({columns}) SELECT {values} FROM numbers(5)")
    before = first.query(SHOWN)
    announced = converge_node(second, ours, apply=False)
    assert second.query("SELECT count() FROM system.databases WHERE name = 'd'") == "0"
    assert first.query(SHOWN) == before
    done = converge_node(second, ours)
    assert announced.statements == done.statements
    assert [state.result for state in announced.objects] == [state.result for state in done.objects]
    _database, create, alter = done.statements
    assert create.startswith("CREATE TABLE d.t ") and alter.startswith("ALTER TABLE d.t ")
    for word in words:
        assert word in alter
    assert [state.status for state in done.objects] == ["created", "created"]
    assert done.objects[1].before == ""
    assert not converge_node(second, ours).changed
    second.query("SYSTEM SYNC REPLICA d.t")
    rows = first.query(f"SELECT * FROM d.t ORDER BY {key}")
    assert second.query(f"SELECT * FROM d.t ORDER BY {key}") == rows
    assert rows.count("\n") == 4
    # What others have in common with it has changed for all: nothing but their own settings is left to do.
    rest = converge_node(first, ours)
    assert "MODIFY SETTING" in str(rest.statements) if what == "settings of its own" else not rest.changed
    assert sorted_settings(first.query(SHOWN)) == sorted_settings(second.query(SHOWN))


@pytest.mark.parametrize("text", [ODD, *(want for _have, want, _words in CHANGES.values())])
def test_the_same_definition_is_created_as_declared(first: ClickHouse, second: ClickHouse, text: str) -> None:
    converge_node(first, text)
    assert converge_node(second, text).statements[1:] == [text]
    assert not converge_node(second, text).changed


def test_change_without_permission_is_drift(first: ClickHouse, second: ClickHouse) -> None:
    """Reported, it joins; either way nothing that others have in common with it changes."""
    converge_node(first, table("k UInt64, v UInt8"))
    before = first.query(SHOWN)
    plan = converge_node(second, table("k UInt64"), allow=())
    assert plan.statements == []
    assert [(state.name, state.status) for state in plan.drifted] == [("d.t", "drifted")]
    assert "column v and its values would be dropped (allow: [drop_column])" in plan.drifted[0].reason
    assert second.query("SELECT count() FROM system.databases WHERE name = 'd'") == "0"
    plan = converge_node(second, table("k UInt64"), allow=(), keep_drift=True)
    assert [statement.split(" (")[0] for statement in plan.statements] == ["CREATE DATABASE d", "CREATE TABLE d.t"]
    assert [(state.name, state.status) for state in plan.objects] == [("d", "created"), ("d.t", "drifted")]
    assert first.query(SHOWN) == before == second.query(SHOWN)
    assert converge_node(second, table("k UInt64"), allow=(), keep_drift=True).statements == []


@pytest.mark.parametrize(
    ("theirs", "ours", "reason"),
    [
        (table("k UInt64, v UInt8"), table("k UInt64, v UInt8", engine="ReplicatedReplacingMergeTree(v)"), "ENGINE cannot be altered"),
        (table("k UInt64"), table("k UInt64", "PARTITION BY k ORDER BY k"), "PARTITION BY cannot be altered"),
        (
            table("k UInt64", "ORDER BY k SETTINGS index_granularity = 1024"),
            table("k UInt64", "ORDER BY k SETTINGS index_granularity = 8192"),
            "Code: ",
        ),
        (table("k UInt64", "ORDER BY k SETTINGS index_granularity_bytes = 0"), table("k UInt64"), "Code: "),
    ],
)
def test_impossible_change_is_drift(first: ClickHouse, second: ClickHouse, theirs: str, ours: str, reason: str) -> None:
    converge_node(first, theirs)
    plan = converge_node(second, ours)
    assert plan.statements == []
    assert reason in plan.drifted[0].reason
    plan = converge_node(second, ours, keep_drift=True)
    assert [statement.split(" (")[0] for statement in plan.statements] == ["CREATE DATABASE d", "CREATE TABLE d.t"]
    assert first.query(SHOWN) == second.query(SHOWN)


def test_granularity_that_is_not_declared_is_that_of_the_others(first: ClickHouse, second: ClickHouse) -> None:
    converge_node(first, table("k UInt64", "ORDER BY k SETTINGS index_granularity = 1024"))
    assert len(converge_node(second, table("k UInt64")).statements) == 2
    assert first.query(SHOWN) == second.query(SHOWN)
    assert not converge_node(second, table("k UInt64")).changed


def test_casts_are_left_to_replicas_with_rows(
    first: ClickHouse, second: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a user who may not look into ZooKeeper join: what the server says comes with what to do."""
    converge_node(first, table("k UInt64, v String"))
    first.query("INSERT INTO d.t SELECT number, toString(number) FROM numbers(5)")
    lossy = table("k UInt64, v UInt8")
    monkeypatch.setattr(execution, "_ATTEMPTS", 2)
    assert converge_node(second, lossy, apply=False).statements == ["CREATE DATABASE d", lossy]
    with pytest.raises(ClickHouseError, match=r"d\.t .*its other replicas have another definition, converge them in the same run"):
        converge_node(second, lossy)
    assert "modify_lossy" in converge_node(second, lossy, allow=()).drifted[0].reason
    for engine in ("ReplicatedMergeTree", "ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')"):
        wider = table("k UInt64, v String, w UInt8", engine=engine)
        with pytest.raises(ClickHouseError, match="converge them in the same run"):
            converge_node(second, wider, user="blind", password="blind-pw")
    converge_node(first, lossy)
    assert converge_node(second, lossy).statements == [lossy]


@pytest.mark.parametrize("declared", [table("k UInt64"), table(f"k UInt64, v String DEFAULT encrypt('aes-256-ofb', 'x', '{'b' * 32}')")])
def test_definition_with_a_secret_is_hidden(first: ClickHouse, second: ClickHouse, declared: str) -> None:
    """The server hides it; ZooKeeper would show it."""
    secret = "12345678901234567890123456789012"
    converge_node(first, table(f"k UInt64, v String DEFAULT encrypt('aes-256-ofb', 'x', '{secret}')"))
    plan = converge_node(second, declared, apply=False)
    assert len(plan.statements) == 2
    assert secret not in str(plan.result)


def test_errors_of_zookeeper_are_not_hidden(first: ClickHouse, second: ClickHouse) -> None:
    with pytest.raises(ClickHouseError, match=r"^d\.t: .*Unknown auxiliary ZooKeeper name 'nowhere'"):
        converge_node(second, table("k UInt64", engine="ReplicatedMergeTree('nowhere:/t', '{replica}')"), apply=False)


def replicated(text: str) -> str:
    return text.replace("ENGINE = ", "ENGINE = Replicated", 1)


@settings(max_examples=PAIRS, derandomize="GROUNDWORK_JOINS" not in os.environ, suppress_health_check=list(HealthCheck))
@given(theirs=definitions(), ours=definitions())
def test_any_definition_joins_any_other(pair: tuple[ClickHouse, ClickHouse], theirs: Random, ours: Random) -> None:
    """Both replicas are then as declared, with all rows; or nothing has changed, and the reason is the server's."""
    first, second = pair
    for node in pair:
        node.query("DROP DATABASE IF EXISTS d SYNC")
    wanted = replicated(ours.text)
    try:
        converge_node(first, wanted)
        first.query("DROP TABLE d.t SYNC")
        converge_node(first, replicated(theirs.text))
    except ClickHouseError as error:
        event(f"the server takes no such table: {str(error)[:150]}")
        return
    first.query(theirs.insert)
    before = first.query(SHOWN)
    announced = converge_node(second, wanted, apply=False)
    if announced.statements[1:] == [wanted]:
        event("the same, or values would have to be tried")
        return
    done = converge_node(second, wanted)
    assert announced.statements == done.statements
    if done.drifted:
        event("refused")
        assert done.statements == []
        assert first.query(SHOWN) == before
        reason = done.drifted[0].reason
        assert "cannot be altered" in reason or "Code: " in reason, reason
        return
    event("joined and altered")
    assert len(done.statements) <= 4
    assert not converge_node(second, wanted).changed
    # Settings and comment are each replica's own.
    own = converge_node(first, wanted)
    commands = r"\((MODIFY SETTING|RESET SETTING|MODIFY COMMENT) [^()]*\)(, )?"
    assert not own.changed or re.fullmatch(rf"ALTER TABLE d\.t ({commands})+", own.statements[0]), own.statements
    assert sorted_settings(first.query(SHOWN)) == sorted_settings(second.query(SHOWN))
    second.query("SYSTEM SYNC REPLICA d.t")
    assert second.query("SELECT count(), sum(k) FROM d.t") == "20\t190"
