# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ALTERs: taking back what a temporary table refers to, and the halves of a change."""

from __future__ import annotations

from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import alter
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.references import has_lookup
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.sql_clauses import Clause, split_clauses


def test_only_expressions_with_lookups_are_removed() -> None:
    have = split_clauses(
        "CREATE TEMPORARY TABLE t (`x` UInt64 CODEC(ZSTD(1)), `a b` String DEFAULT dictGet('c.d', 'v', x) COMMENT 'k', "
        "`y` String DEFAULT 'dictGet(', CONSTRAINT known CHECK dictHas('c.d', x), CONSTRAINT small CHECK x < 9) "
        "ENGINE = MergeTree ORDER BY x TTL y + toIntervalDay(1) WHERE x IN (c.s)"
    )
    (statement,) = alter.plan_alter("t", have, alter.remove_expressions(have, has_lookup)).statements
    assert statement == (
        "ALTER TABLE t (DROP CONSTRAINT known), (DROP CONSTRAINT small), (MODIFY COLUMN `a b` REMOVE DEFAULT), "
        "(ADD CONSTRAINT small CHECK x < 9), (REMOVE TTL)"
    )


def test_the_second_half_of_an_alter_only_drops_columns() -> None:
    columns = ("`k` UInt8, `a` UInt8", "`k` UInt8, `b` UInt8")
    have, want = (split_clauses(f"CREATE TABLE t ({text}) ENGINE = MergeTree ORDER BY k") for text in columns)
    change = alter.plan_alter("t", have, want)
    assert change.statements == ("ALTER TABLE t (ADD COLUMN `b` UInt8 AFTER k), (DROP COLUMN a)",)
    assert change.halves == (("ALTER TABLE t (ADD COLUMN `b` UInt8 AFTER k)",), ("ALTER TABLE t (DROP COLUMN a)",))
    assert alter.plan_alter("t", [*have, Clause("comment", "COMMENT 'x'")], have).halves == ()
