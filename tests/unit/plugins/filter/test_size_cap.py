# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which days of telemetry are dropped when a disk is too full."""

from __future__ import annotations

from typing import Any

from ansible_collections.groundwork.observability.plugins.filter.size_cap import size_cap_drops


def day(number: int, size: int = 10, used: int = 90, table: str = "otel_logs_local", disk: str = "default") -> dict[str, Any]:
    """A day of a table on a disk of 100 bytes; day 5 is today."""
    return {"table": table, "day": f"2030-01-0{number}", "disk": disk, "bytes": size, "used": used, "total": 100, "today": "2030-01-05"}


def dropped(rows: list[dict[str, Any]], percent: int) -> list[str]:
    return [f"{drop['table'][5:-6]} {drop['day'][-1]}" for drop in size_cap_drops(rows, percent)["drops"]]


def test_oldest_days_until_the_disk_is_below_the_cap() -> None:
    rows = [day(number) for number in (3, 1, 2, 4, 5)]
    assert dropped(rows, 90) == []
    assert dropped(rows, 89) == ["logs 1"]
    assert dropped(rows, 80) == ["logs 1"]
    assert dropped(rows, 79) == ["logs 1", "logs 2"]


def test_all_signals_of_a_day_before_the_next() -> None:
    rows = [day(number, table=f"otel_{signal}_local") for number in (1, 2, 5) for signal in ("traces", "logs")]
    assert dropped(rows, 65) == ["logs 1", "traces 1", "logs 2"]


def test_never_today_and_never_the_newest_day() -> None:
    assert dropped([day(4), day(5)], 80) == ["logs 4"]
    # Nothing arrived today.
    assert dropped([day(2), day(3)], 80) == ["logs 2"]
    # Rows with a time in the future.
    assert dropped([day(4), day(5), day(9)], 80) == ["logs 4"]


def test_nothing_is_dropped_where_that_is_not_enough() -> None:
    found = size_cap_drops([day(4), day(5), day(3, disk="slow")], 79)
    assert [drop["day"] for drop in found["drops"]] == []
    assert found["left"] == [
        f"disk {disk} is above 79 %, and would be without all days before 2030-01-05, too: something else fills it, "
        "and no day of it is dropped"
        for disk in ("default", "slow")
    ]


def test_each_disk_has_its_own_cap() -> None:
    rows = [day(1, disk="slow", used=50), day(2, disk="slow", used=50), day(3), day(4), day(5)]
    assert dropped(rows, 85) == ["logs 3"]
    # A day on two disks is dropped on both.
    assert dropped([day(1), day(1, disk="slow"), day(5), day(5, disk="slow")], 80) == ["logs 1"]
    # A disk that stays too full does not hold back another.
    assert dropped([day(1, disk="slow"), day(3, size=30), day(5)], 70) == ["logs 3"]


def test_without_rows() -> None:
    assert size_cap_drops([], 80) == {"drops": [], "left": []}
