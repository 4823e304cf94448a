# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations of Grafana's alerting (private: may change at any time). Pure.

Grafana writes a duration back in its own way (C(24h) becomes C(1d)), so both sides are brought into that form before they are compared.
"""

from __future__ import annotations

import typing as t

from ansible_collections.groundwork.observability.plugins.module_utils import _durations

from .client import GrafanaError

# What Grafana holds: nanoseconds in 63 bits.
_AT_MOST = 2**63 // 1_000_000


def parse_duration(text: t.Any) -> int | None:
    """Milliseconds; C(None) for what is no duration. A number alone is seconds."""
    text = str(text).strip()
    found = _durations.parse_duration(f"{text}s" if text.isascii() and text.isdigit() else text)
    return found if found is not None and found < _AT_MOST else None


def canonical_duration(text: t.Any, where: str, *, may_be_zero: bool = True) -> str:
    """A duration in Grafana's form. Raises C(GrafanaError) for what is none."""
    found = parse_duration(text)
    if found is None:
        raise GrafanaError(f"{where}: {text!r} is not a duration such as 30s, 5m or 1h30m")
    if not found and not may_be_zero:
        raise GrafanaError(f"{where}: {text!r} must be longer than zero")
    return _durations.format_duration(found)
