# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of a rebuild, as data."""

from __future__ import annotations

import pickle
import typing as t

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import rebuild, rebuild_operations, rebuild_plan
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.declaration import declare
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.sql_clauses import split_clauses


def make_rebuild(before: str, after: str, **options: t.Any) -> rebuild.Rebuild:
    have, want = (f"CREATE TABLE d.t {text}" for text in (before, after))
    (item,) = declare([{"ddl": want, **options}])
    return rebuild.Rebuild(item, split_clauses(have), split_clauses(want), lock_path="/p__lock")


PLAIN = "(`x` UInt8, `p` UInt8) ENGINE = MergeTree PARTITION BY p ORDER BY x"
REPLICATED = "(`x` UInt8, `p` UInt8) ENGINE = ReplicatedMergeTree('/{}', 'r') PARTITION BY p ORDER BY x"
INSERT = "INSERT INTO d.t__rebuild (x, p) SELECT x, p FROM d.t"
COMMENT = """ALTER TABLE d.t MODIFY COMMENT 'replaced by a rebuild of groundwork.observability, copied up to block {"1": 3}'"""


@pytest.mark.parametrize(
    ("before", "after", "steps"),
    [
        (
            PLAIN,
            PLAIN.replace("ORDER BY x", "ORDER BY (p, x)"),
            [
                ("", "CREATE TABLE d.t__rebuild"),
                ("", "SYSTEM STOP MERGES d.t__rebuild"),
                ("check_replicas", INSERT),
                ("", "SYSTEM STOP MERGES d.t"),
                ("", COMMENT),
                ("verify_copy", "EXCHANGE TABLES d.t AND d.t__rebuild"),
                ("copy_late_rows", "SYSTEM START MERGES d.t"),
                ("", "SYSTEM START MERGES d.t__rebuild"),
                ("", "RENAME TABLE d.t__rebuild TO d.t__before"),
            ],
        ),
        (
            REPLICATED.format("a"),
            REPLICATED.format("b").replace("ORDER BY x", "ORDER BY (p, x)"),
            [
                ("acquire_lock", "CREATE TABLE IF NOT EXISTS d.t__lock (holder String) ENGINE = ReplicatedMergeTree('/p__lock', 'lock')"),
                ("", "CREATE TABLE d.t__rebuild"),
                ("", "SYSTEM STOP MERGES d.t__rebuild"),
                ("check_replicas", INSERT),
                ("", "SYSTEM STOP MERGES d.t"),
                ("sync_old_table", "SYSTEM STOP FETCHES d.t"),
                ("", COMMENT),
                ("verify_copy", "EXCHANGE TABLES d.t AND d.t__rebuild"),
                ("copy_late_rows", "SYSTEM START FETCHES d.t__rebuild"),
                ("", "SYSTEM START MERGES d.t"),
                ("", "SYSTEM START MERGES d.t__rebuild"),
                ("", "DROP TABLE IF EXISTS d.t__lock SYNC"),
                ("", "RENAME TABLE d.t__rebuild TO d.t__before"),
            ],
        ),
    ],
    ids=["one server", "replicas"],
)
def test_steps(before: str, after: str, steps: list[tuple[str, str]]) -> None:
    planned = make_rebuild(before, after)
    copies = [planned.copy.insert("d.t__rebuild", "d.t", " WHERE _partition_id = '1'")]
    change = rebuild_plan._rebuild_change(planned, (), [planned.new.statement], copies, rebuild.format_mark({"1": 3}))
    made = change.steps(planned.item.key, ())
    assert len(made) == len(steps)
    for step, (operation, statement) in zip(made, steps, strict=True):
        assert step.statement.startswith(statement)
        assert (step.prepare.name if step.prepare else "") == (f"rebuild.{operation}" if operation else "")
        assert step.cleanup is not None and step.cleanup.name == rebuild.RELEASE
    # A step is data: nothing of a client or a running rebuild is in it.
    assert pickle.loads(pickle.dumps(made)) == made


def test_every_operation_has_a_function() -> None:
    names = {value for name, value in vars(rebuild).items() if name.isupper() and str(value).startswith("rebuild.")}
    assert rebuild_operations.OPERATIONS.keys() == names


@pytest.mark.parametrize(
    ("before", "after", "renamed", "names", "expressions", "casts"),
    [
        ("`x` UInt8", "`x` UInt8, `y` String", {}, ("x",), ("x",), ()),
        ("`x` UInt8", "`x` UInt16", {}, ("x",), ("_CAST(x, 'UInt16')",), ()),
        ("`x` UInt16", "`x` UInt8", {}, ("x",), ("_CAST(x, 'UInt8')",), ("_CAST(x, 'UInt8')",)),
        ("`x` UInt8, `a` UInt8", "`x` UInt8, `b` UInt8", {"b": "a"}, ("x", "b"), ("x", "a"), ()),
        ("`x` UInt8, `a` UInt8", "`x` UInt8, `a` UInt8 MATERIALIZED x", {}, ("x",), ("x",), ()),
        (
            "`x` UInt8, `n` Nullable(UInt8)",
            "`x` UInt8, `n` UInt8",
            {},
            ("x", "n"),
            ("x", "ifNull(_CAST(n, 'Nullable(UInt8)'), defaultValueOfTypeName('UInt8'))"),
            None,
        ),
    ],
)
def test_copied_columns(
    before: str,
    after: str,
    renamed: dict[str, str],
    names: tuple[str, ...],
    expressions: tuple[str, ...],
    casts: tuple[str, ...] | None,
) -> None:
    have, want = (split_clauses(f"CREATE TABLE d.t ({columns}) ENGINE = MergeTree ORDER BY x") for columns in (before, after))
    copy = rebuild.plan_copy(have, want, renamed)
    assert (copy.names, copy.expressions, copy.unit) == (names, expressions, "''")
    assert casts is None or copy.casts == casts


def test_mark_of_copied_partitions() -> None:
    blocks = {"all": 7, "20240101": 3}
    assert rebuild.parse_mark(rebuild.format_mark(blocks)) == blocks
    assert rebuild.parse_mark("a comment") is None
