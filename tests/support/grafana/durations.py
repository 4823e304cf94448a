# GNU General Public License v3.0+ (see LICENSE)
"""Durations as Prometheus and Grafana's alerting write them, such as `1d`, `1h30m`, `250ms`."""

from __future__ import annotations

import re
from typing import Any

UNITS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
# Written only where nothing is left over.
EXACT = ("y", "w")
PATTERN = re.compile("".join(rf"(?:(\d+){unit})?" for unit in UNITS))


def parse(text: Any) -> int | None:
    """Milliseconds, or None for what is no duration."""
    if text == "0":
        return 0
    match = PATTERN.fullmatch(text) if isinstance(text, str) and text else None
    if match is None:
        return None
    return sum(int(count or 0) * size for count, size in zip(match.groups(), UNITS.values(), strict=True))


def write(milliseconds: int) -> str:
    """The text that Prometheus makes of a duration."""
    parts = ""
    for unit, size in UNITS.items():
        if milliseconds >= size and (unit not in EXACT or milliseconds % size == 0):
            parts += f"{milliseconds // size}{unit}"
            milliseconds %= size
    return parts or "0s"
