# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations such as C(1h30m) or C(250ms), as options and Grafana have them (private: may change at any time). Pure."""

from __future__ import annotations

import re
import typing as t

# Milliseconds, the longest first.
UNITS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_ALL = tuple(UNITS)
# Written only where nothing is left over, as Prometheus and Grafana do.
_EXACT = ("y", "w")
_PATTERN = re.compile("".join(rf"(?:([0-9]{{1,19}}){unit})?" for unit in UNITS))
_INTERVALS = {"DAY": 86400, "HOUR": 3600, "MINUTE": 60, "SECOND": 1}


def parse_duration(text: str, units: t.Container[str] = _ALL) -> int | None:
    """Milliseconds of a text of numbers with units, the longest unit first, each once; C(None) for any other text.

    :param units: those that the text may have.
    """
    match = _PATTERN.fullmatch(text)
    found = {unit: int(count) for unit, count in zip(UNITS, match.groups()) if count} if match else {}
    return sum(count * UNITS[unit] for unit, count in found.items()) if found and all(unit in units for unit in found) else None


def format_duration(milliseconds: int) -> str:
    """The text of a duration as Grafana writes it."""
    parts = ""
    for unit, size in UNITS.items():
        if milliseconds >= size and (unit not in _EXACT or milliseconds % size == 0):
            parts += f"{milliseconds // size}{unit}"
            milliseconds %= size
    return parts or "0s"


def sql_interval(seconds: int) -> str:
    """A duration as ClickHouse's SQL has it after C(INTERVAL) and C(EVERY), in the largest unit that divides it."""
    return next(f"{seconds // size} {unit}" for unit, size in _INTERVALS.items() if seconds % size == 0)
