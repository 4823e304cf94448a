# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a table is divided for a copy, and which of its columns are copied."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse_copy import (
    HIGHEST,
    LOWEST,
    Declared,
    Partition,
    Range,
    Table,
    copied_columns,
    copy_problems,
    deduplication_window,
    missing_columns,
    split_ranges,
)


def table(**columns: str) -> Table:
    """A table with columns of one type; the value is the kind of default."""
    return Table("d.t", "MergeTree", "id", {name: ("DateTime", kind) for name, kind in columns.items()}, (0, 0.0))


def test_columns_that_the_source_computes_may_be_missing() -> None:
    """As exporters before 0.151 have TimestampTime, and later ones attributes of Kubernetes."""
    source = table(Body="", TimestampTime="DEFAULT", Pod="MATERIALIZED", Short="ALIAS", Extra="DEFAULT")
    target = table(Host="MATERIALIZED", Extra="", Body="", Own="DEFAULT", Short="")
    assert copied_columns(source, target) == ["Extra", "Body"]
    assert missing_columns(source, target) == []


DECLARED = Declared(("d", "s"), ("d", "t"), "Time")
ROWS = table(Time="", Body="")
REPLICATED = dataclasses.replace(ROWS, engine="ReplicatedMergeTree", replica="b")


@pytest.mark.parametrize(
    ("source", "target", "reasons"),
    [
        (ROWS, ROWS, []),
        (ROWS, None, ["target: there is no table"]),
        # Its values would be lost.
        (table(Time="", Added=""), ROWS, ["target: d.t has no column Added, which d.t has"]),
        (ROWS, table(Body=""), ["time_column: d.t has no column Time", "target: d.t has no column Time"]),
        (dataclasses.replace(ROWS, engine="Distributed"), ROWS, ["source: d.t has engine Distributed"]),
        (dataclasses.replace(REPLICATED, first_active="a"), ROWS, []),
        # Otherwise no replica would copy, and all would say that they have nothing to do.
        (REPLICATED, ROWS, ["source: d.t has no active replica"]),
    ],
)
def test_copies_that_cannot_be_made_are_refused(source: Table, target: Table | None, reasons: list[str]) -> None:
    """With the option that each reason is about."""
    problems = copy_problems(DECLARED, source, target)
    assert len(problems) == len(reasons)
    assert [reason for problem, reason in zip(problems, reasons, strict=True) if not problem.startswith(reason)] == []


@pytest.mark.parametrize(
    ("engine", "definition", "window"),
    [
        ("MergeTree", "MergeTree ORDER BY x SETTINGS index_granularity = 8192", (10, float("inf"))),
        ("MergeTree", "MergeTree ORDER BY x SETTINGS non_replicated_deduplication_window = 2000", (2000, float("inf"))),
        ("ReplicatedMergeTree", "ReplicatedMergeTree ORDER BY x SETTINGS replicated_deduplication_window = 5", (5, 3600.0)),
        ("ReplicatedMergeTree", "ReplicatedMergeTree ORDER BY x SETTINGS replicated_deduplication_window_seconds = 60", (100, 60.0)),
    ],
)
def test_how_long_a_table_remembers_blocks(engine: str, definition: str, window: tuple[int, float]) -> None:
    """Its own settings, or the server's."""
    defaults = {
        "non_replicated_deduplication_window": "10",
        "replicated_deduplication_window": "100",
        "replicated_deduplication_window_seconds": "3600",
    }
    assert deduplication_window(engine, definition, defaults) == window


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([], [(LOWEST, HIGHEST, 0)]),
        ([(5, 3)], [(LOWEST, HIGHEST, 3)]),
        ([(5, 3), (6, 7), (9, 1)], [(LOWEST, 9, 10), (9, HIGHEST, 1)]),
        # A second with more rows than fit is a range of its own.
        ([(5, 1), (6, 25), (7, 1)], [(LOWEST, 6, 1), (6, 7, 25), (7, HIGHEST, 1)]),
    ],
)
def test_ranges_cover_everything_once(counts: list[tuple[int, int]], expected: list[tuple[int, int, int]]) -> None:
    """From one open end to the other."""
    assert [(item.begin, item.end, item.rows) for item in split_ranges("20260105", LOWEST, counts, 10)] == expected


def test_late_rows_are_known_when_all_ranges_are_done() -> None:
    """Before that, rows are still to be copied."""
    first, last = Range("p", LOWEST, 9, 10, done=True), Range("p", 9, HIGHEST, 5, done=True)
    assert Partition("p", 16, (first,)).late == 0
    assert Partition("p", 16, (first, last)).late == 1
    assert Partition("p", 14, (first, last)).late == 0
