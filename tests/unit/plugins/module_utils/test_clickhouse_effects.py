# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a plan's statements do to rows that are there."""

from __future__ import annotations

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.effects import (
    Effect,
    rewritten_columns,
    split_alter_commands,
    statement_effect,
)


@pytest.mark.parametrize(
    ("statement", "made"),
    [
        ("CREATE TABLE d.t (a UInt8) ENGINE = Memory", Effect("instant")),
        ("ALTER TABLE d.t (ADD COLUMN `x` UInt8 AFTER a), (MODIFY COMMENT 'DROP COLUMN a, b')", Effect("instant")),
        ("ALTER TABLE d.t (MODIFY COLUMN `b` UInt8 COMMENT 'x')", Effect("instant")),
        ("ALTER TABLE d.t (MODIFY COLUMN `a` UInt64), (ADD COLUMN `x` UInt8)", Effect("rewrite", ("a",))),
        ("ALTER TABLE d.t (DROP COLUMN `b`), (MODIFY COLUMN `a` UInt64)", Effect("rewrite", ("a",))),
        ("ALTER TABLE d.t (MODIFY COLUMN `a` REMOVE COMMENT)", Effect("instant")),
        ("ALTER TABLE d.`t u` (DROP COLUMN `b`)", Effect("mutation")),
        ("ALTER TABLE d.t (RENAME COLUMN a TO b)", Effect("mutation")),
        ("ALTER TABLE d.t (DROP INDEX i), (ADD INDEX i a TYPE minmax AFTER j)", Effect("mutation")),
        ("ALTER TABLE d.t (ADD INDEX i a TYPE minmax FIRST), (MATERIALIZE INDEX i)", Effect("rewrite")),
        ("ALTER TABLE d.t (MODIFY TTL at + toIntervalDay(1), at + toIntervalDay(2) TO DISK 'a')", Effect("rewrite")),
        ("ALTER TABLE d.t (REMOVE TTL)", Effect("instant")),
        ("ALTER TABLE d.v MODIFY QUERY SELECT a, b FROM d.t", Effect("instant")),
        ("INSERT INTO d.t__rebuild (a) SELECT a FROM d.t", Effect("copy")),
        ("DROP TABLE d.t SYNC", Effect("drop")),
    ],
)
def test_effect(statement: str, made: Effect) -> None:
    assert statement_effect(statement, ["a"]) == made


def test_rewritten_columns() -> None:
    have = "CREATE TABLE d.t (`a` UInt8, `b` UInt8 TTL toDate(a), `c` UInt8, `d` UInt8 COMMENT 'x') ENGINE = Memory"
    want = "CREATE TABLE d.t (`a` UInt16, `b` UInt8, `c` UInt8 TTL toDate(a), `d` UInt8, `e` UInt8) ENGINE = Memory"
    assert rewritten_columns(have, want) == ["a", "c"]


def test_alter_commands() -> None:
    assert split_alter_commands("ALTER TABLE `a b`.c (ADD COLUMN x Tuple(a UInt8, b UInt8)), (DROP COLUMN y)") == [
        "ADD COLUMN x Tuple(a UInt8, b UInt8)",
        "DROP COLUMN y",
    ]
    assert split_alter_commands("ALTER TABLE c MODIFY COMMENT 'x'") == ["MODIFY COMMENT 'x'"]
