# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which statements lead from one definition to another, both in the server's words."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import differences
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.change import Change
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouseError
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.declaration import Declared, declare
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.observation import Definition, Observation
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.sql_clauses import split_clauses
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.temporary_objects import (
    is_external,
    temporary_statement,
)


def merge_tree(columns: str, more: str = "", engine: str = "MergeTree", settings: str = "index_granularity = 8192", end: str = "") -> str:
    return f"CREATE TABLE d.t ({columns}) ENGINE = {engine} ORDER BY x{more} SETTINGS {settings}{end}"


def observed(before: str, after: str, **options: t.Any) -> tuple[Observation, Declared]:
    """One object that exists with one definition and is declared with another."""
    (item,) = declare([{"ddl": after, **options}])
    sides = ({item.key: Definition(before)}, {item.key: Definition(after)})
    return Observation(*sides, databases={"d": ("Atomic", "")}, database="d", declared=(item,), differing=(item,)), item


def change(before: str, after: str, **options: t.Any) -> Change:
    observation, item = observed(before, after, **options)
    return differences.plan_changes(observation, {}, ())[item.key]


@pytest.mark.parametrize(
    ("before", "after", "statements"),
    [
        (merge_tree("`x` UInt8"), merge_tree("`x` UInt8, `y` String"), ["ALTER TABLE d.t (ADD COLUMN `y` String AFTER x)"]),
        (merge_tree("`x` UInt8, `y` String"), merge_tree("`x` UInt8"), ["ALTER TABLE d.t (DROP COLUMN y)"]),
        (merge_tree("`x` UInt8, `y` UInt8"), merge_tree("`x` UInt8, `y` UInt16"), ["ALTER TABLE d.t (MODIFY COLUMN `y` UInt16)"]),
        (merge_tree("`x` UInt8"), merge_tree("`x` UInt8", end=" COMMENT 'c'"), ["ALTER TABLE d.t (MODIFY COMMENT 'c')"]),
        (
            merge_tree("`x` UInt8"),
            merge_tree("`x` UInt8", settings="index_granularity = 8192, ttl_only_drop_parts = 1"),
            ["ALTER TABLE d.t (MODIFY SETTING ttl_only_drop_parts = 1)"],
        ),
        (
            merge_tree("`x` UInt8, `day` Date"),
            merge_tree("`x` UInt8, `day` Date", " TTL day + toIntervalDay(1)"),
            ["ALTER TABLE d.t (MODIFY TTL day + toIntervalDay(1))"],
        ),
        (
            merge_tree("`x` UInt8"),
            merge_tree("`x` UInt8, INDEX i x TYPE minmax GRANULARITY 1"),
            ["ALTER TABLE d.t (ADD INDEX i x TYPE minmax GRANULARITY 1 FIRST)"],
        ),
        (
            "CREATE TABLE d.t (`x` UInt8) ENGINE = Distributed('c', 'd', 'a')",
            "CREATE TABLE d.t (`x` UInt8) ENGINE = Distributed('c', 'd', 'b')",
            [
                "CREATE TABLE d.t__rebuild (`x` UInt8) ENGINE = Distributed('c', 'd', 'b')",
                "EXCHANGE TABLES d.t AND d.t__rebuild",
                "SYSTEM FLUSH DISTRIBUTED d.t__rebuild",
                "DROP TABLE d.t__rebuild SYNC",
            ],
        ),
        (
            "CREATE VIEW d.v (`x` UInt8) AS SELECT x FROM d.t",
            "CREATE VIEW d.v (`x` UInt8) AS SELECT x FROM d.u",
            ["CREATE OR REPLACE VIEW d.v (`x` UInt8) AS SELECT x FROM d.u"],
        ),
        (
            "CREATE MATERIALIZED VIEW d.m TO d.a (`x` UInt8) AS SELECT x FROM d.t",
            "CREATE MATERIALIZED VIEW d.m TO d.a (`x` UInt8) AS SELECT x + 1 AS x FROM d.t",
            ["ALTER TABLE d.m MODIFY QUERY SELECT x + 1 AS x FROM d.t"],
        ),
        (
            "CREATE MATERIALIZED VIEW d.m TO d.a (`x` UInt8) AS SELECT x FROM d.t",
            "CREATE MATERIALIZED VIEW d.m TO d.b (`x` UInt8) AS SELECT x FROM d.t",
            [
                "CREATE MATERIALIZED VIEW d.m__rebuild TO d.b (`x` UInt8) AS SELECT x FROM d.t",
                "EXCHANGE TABLES d.m AND d.m__rebuild",
                "DROP TABLE d.m__rebuild SYNC",
            ],
        ),
        ("CREATE FUNCTION f AS x -> (x + 1)", "CREATE FUNCTION f AS x -> (x + 2)", ["CREATE OR REPLACE FUNCTION f AS x -> (x + 2)"]),
    ],
)
def test_statements(before: str, after: str, statements: list[str]) -> None:
    made = change(before, after)
    assert list(made.statements) == statements
    assert made.impossible == ()


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (merge_tree("`x` UInt8"), merge_tree("`x` UInt8", engine="ReplacingMergeTree"), "ENGINE cannot be altered"),
        ("CREATE VIEW d.t (`x` UInt8) AS SELECT 1 AS x", merge_tree("`x` UInt8"), "another kind of object has this name"),
        (
            "CREATE MATERIALIZED VIEW d.m (`x` UInt8) ENGINE = MergeTree ORDER BY x AS SELECT x FROM d.t",
            "CREATE MATERIALIZED VIEW d.m (`x` UInt8) ENGINE = MergeTree ORDER BY tuple() AS SELECT x FROM d.t",
            "cannot be altered: order_by. Drop the view and its rows (state: absent), then create it again",
        ),
    ],
)
def test_reasons_of_impossible_changes(before: str, after: str, reason: str) -> None:
    assert change(before, after).impossible == (reason,)


@pytest.mark.parametrize(
    ("before", "after", "permission"),
    [
        ("`x` UInt8, `y` String", "`x` UInt8", "drop_column"),
        ("`x` UInt8, `y` UInt16", "`x` UInt8, `y` UInt8", "modify_lossy"),
        ("`x` UInt8, `y` UInt8", "`x` UInt8, `y` UInt16", None),
    ],
)
def test_permissions(before: str, after: str, permission: str | None) -> None:
    made = change(merge_tree(before), merge_tree(after))
    assert [need for need, _reason in made.needs] == ([permission] if permission else [])
    assert made.obstacles([permission or ""]) == []
    assert bool(made.obstacles(())) is bool(permission)


def test_renamed_columns_have_both_names_between_the_halves() -> None:
    before, after = (merge_tree(f"`x` UInt8, `{first}` String, `{second}` UInt8") for first, second in (("a", "b"), ("p", "q")))
    observation, item = observed(before, after, renamed_columns={"p": "a", "q": "b"})
    made = differences.plan_changes(observation, {item.key: split_clauses(after)}, ())[item.key]
    assert made.statements == ("ALTER TABLE d.t (RENAME COLUMN a TO p), (RENAME COLUMN b TO q)",)
    assert made.halves == (
        ("ALTER TABLE d.t (RENAME COLUMN a TO p), (RENAME COLUMN b TO q), (ADD COLUMN a String ALIAS p), (ADD COLUMN b UInt8 ALIAS q)",),
        ("ALTER TABLE d.t (DROP COLUMN a), (DROP COLUMN b)",),
    )
    refused = differences.plan_changes(observation, {item.key: ClickHouseError("no")}, ())[item.key]
    assert refused.impossible == ("no",)


def test_a_replica_that_cannot_be_tried_is_created_as_declared() -> None:
    """Where values would have to be converted, which only other replicas have, there is no change."""
    stored, after = (merge_tree(f"`x` UInt8, `y` {kind}", engine="ReplicatedMergeTree('/p', 'r')") for kind in ("UInt16", "UInt8"))
    observation, item = observed(stored, after)
    replica = Observation(**{**vars(observation), "stored": {item.key: split_clauses(stored)}})
    assert differences.plan_changes(replica, {}, ("modify_lossy",)) == {}
    made = differences.plan_changes(replica, {}, ())[item.key]
    assert made.create == stored
    assert item.key not in replica.without([item.key]).have


def test_tables_without_rows_are_recreated() -> None:
    before, after = (f"CREATE TABLE d.t (`x` UInt8) ENGINE = {engine}" for engine in ("Null", "Memory"))
    observation, item = observed(before, after)
    changes = differences.plan_changes(observation, {}, ())
    assert differences.recreate_tables(observation, changes).get(item.key, changes[item.key]).statements == (
        "CREATE OR REPLACE TABLE d.t (`x` UInt8) ENGINE = Memory",
    )


@pytest.mark.parametrize(
    ("kind", "definition", "statement"),
    [
        (
            "table",
            "CREATE TABLE d.t (`x` UInt8) ENGINE = ReplicatedMergeTree('/p', 'r') ORDER BY x",
            "CREATE TEMPORARY TABLE IF NOT EXISTS n (`x` UInt8) ENGINE = MergeTree ORDER BY x",
        ),
        (
            "table",
            "CREATE TABLE d.t (`x` UInt8) ENGINE = RabbitMQ SETTINGS a = 1",
            "CREATE TEMPORARY TABLE IF NOT EXISTS n (`x` UInt8) ENGINE = Memory",
        ),
        (
            "view",
            "CREATE VIEW d.v (`x` UInt8) AS SELECT x FROM d.t",
            "CREATE TEMPORARY VIEW IF NOT EXISTS n (`x` UInt8) AS SELECT x FROM d.t",
        ),
        (
            "materialized_view",
            "CREATE MATERIALIZED VIEW d.v TO d.a (`x` UInt8) AS SELECT x FROM d.t",
            "CREATE TEMPORARY VIEW IF NOT EXISTS n AS SELECT x FROM d.t",
        ),
    ],
)
def test_temporary_statements_reach_nothing_outside(kind: str, definition: str, statement: str) -> None:
    assert temporary_statement("n", kind, split_clauses(definition)) == statement
    assert not is_external(split_clauses(statement))
