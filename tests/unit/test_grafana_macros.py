# GNU General Public License v3.0+ (see LICENSE)
"""The macros of the ClickHouse data source plugin."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.support.grafana_macros import MacroError, expand

START, END = datetime(2026, 3, 1, 12, 0, 0, 123000, UTC), datetime(2026, 3, 1, 18, 30, 0, 456000, UTC)


@pytest.mark.parametrize(
    ("sql", "interval", "expanded"),
    [
        (
            "$__timeFilter(toDateTime(T, 'UTC'))",
            250,
            "toDateTime(T, 'UTC') >= toDateTime(1772366400) AND toDateTime(T, 'UTC') <= toDateTime(1772389800)",
        ),
        ("$__timeFilter_ms(T)", 250, "T >= fromUnixTimestamp64Milli(1772366400123) AND T <= fromUnixTimestamp64Milli(1772389800456)"),
        ("$__dateFilter(D)", 250, "D >= toDate('2026-03-01') AND D <= toDate('2026-03-01')"),
        (
            "$__dateTimeFilter(D, T)",
            250,
            "(D >= toDate('2026-03-01') AND D <= toDate('2026-03-01')) AND (T >= toDateTime(1772366400) AND T <= toDateTime(1772389800))",
        ),
        ("$__fromTime, $__toTime", 250, "toDateTime(1772366400), toDateTime(1772389800)"),
        ("$__fromTime_ms, $__toTime_ms", 250, "fromUnixTimestamp64Milli(1772366400123), fromUnixTimestamp64Milli(1772389800456)"),
        ("count() / $__interval_s", 250, "count() / 1"),
        ("count() / $__interval_s", 15000, "count() / 15"),
        ("$__timeInterval(T)", 15000, "toStartOfInterval(toDateTime(T), INTERVAL 15 second)"),
        ("$__timeInterval_ms(T)", 250, "toStartOfInterval(toDateTime64(T, 3), INTERVAL 250 millisecond)"),
    ],
)
def test_expansions_recorded_from_the_plugin(sql: str, interval: int, expanded: str) -> None:
    assert expand(f"SELECT {sql} FROM t", START, END, interval) == f"SELECT {expanded} FROM t"


@pytest.mark.parametrize(
    "sql", ["$__timeFilter()", "$__timeFilter(a, b)", "$__dateTimeFilter(a)", "$__timeGroup(t, 5m)", "$__unknown(t)", "$__timeFilter(t"]
)
def test_refused(sql: str) -> None:
    with pytest.raises(MacroError):
        expand(f"SELECT {sql}", START, END)
