# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a table is divided for a copy, and which of its columns are copied."""

from __future__ import annotations

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouseError
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.table_copy import (
    HIGHEST,
    LOWEST,
    Partition,
    Range,
    Table,
    copied_columns,
    split_ranges,
)


def table(**columns: str) -> Table:
    """A table with columns of one type; the value is the kind of default."""
    return Table("d.t", "MergeTree", "id", {name: ("String", kind) for name, kind in columns.items()}, (0, 0.0))


def test_columns_that_the_source_computes_may_be_missing() -> None:
    """As exporters before 0.151 have TimestampTime, and later ones attributes of Kubernetes."""
    source = table(Body="", TimestampTime="DEFAULT", Pod="MATERIALIZED", Short="ALIAS", Extra="DEFAULT")
    target = table(Host="MATERIALIZED", Extra="", Body="", Own="DEFAULT", Short="")
    assert copied_columns(source, target) == ["Extra", "Body"]


def test_another_missing_column_is_refused() -> None:
    """Its values would be lost."""
    with pytest.raises(ClickHouseError, match="no column Added"):
        copied_columns(table(Body="", Added=""), table(Body=""))


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
