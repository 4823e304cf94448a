# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations of Grafana's alerting, such as C(1h30m) or C(250ms) (private: may change at any time). Pure.

Grafana writes a duration back in its own way (C(24h) becomes C(1d)), so both sides are brought into that form before they are compared.
"""

from __future__ import annotations

import re
import typing as t

from .client import GrafanaError

# Milliseconds. A year and a week are written only where nothing is left over, as Prometheus does.
_UNITS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_EXACT = ("y", "w")
_PATTERN = re.compile("".join(rf"(?:([0-9]+){unit})?" for unit in _UNITS))
_AT_MOST = 2**63 // 1_000_000


def parse_duration(text: t.Any) -> int | None:
    """Milliseconds; C(None) for what is no duration. A number alone is seconds."""
    text = str(text).strip()
    if text.isascii() and text.isdigit():
        text += "s"
    match = _PATTERN.fullmatch(text) if text else None
    if match is None:
        return None
    found = sum(int(count or 0) * size for count, size in zip(match.groups(), _UNITS.values()))
    return found if found < _AT_MOST else None


def format_duration(milliseconds: int) -> str:
    """The text that Grafana makes of a duration."""
    parts = ""
    for unit, size in _UNITS.items():
        if milliseconds >= size and (unit not in _EXACT or milliseconds % size == 0):
            parts += f"{milliseconds // size}{unit}"
            milliseconds %= size
    return parts or "0s"


def canonical_duration(text: t.Any, where: str, *, may_be_zero: bool = True) -> str:
    """A duration in Grafana's form. Raises C(GrafanaError) for what is none."""
    found = parse_duration(text)
    if found is None:
        raise GrafanaError(f"{where}: {text!r} is not a duration such as 30s, 5m or 1h30m")
    if not found and not may_be_zero:
        raise GrafanaError(f"{where}: {text!r} must be longer than zero")
    return format_duration(found)
