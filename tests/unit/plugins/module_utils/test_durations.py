# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Durations of options, whoever has them."""

from __future__ import annotations

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._durations import parse_duration, sql_interval


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("1h30m", 5_400_000), ("250ms", 250), ("0s", 0), ("2m500ms", 120_500), *dict.fromkeys(("1w", "30d", "30", "", "30m1h")).items()],
)
def test_units_that_an_option_takes(text: str, milliseconds: int | None) -> None:
    """A unit of another option is refused."""
    assert parse_duration(text, ("h", "m", "s", "ms")) == milliseconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(86400, "1 DAY"), (90000, "25 HOUR"), (5400, "90 MINUTE"), (61, "61 SECOND")]
)
def test_intervals_of_clickhouse_have_the_largest_unit_that_fits(seconds: int, text: str) -> None:
    """Without a rest."""
    assert sql_interval(seconds) == text
