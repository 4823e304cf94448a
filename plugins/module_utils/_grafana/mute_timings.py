# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mute timings: how they are declared, read, compared and changed (private: may change at any time)."""

from __future__ import annotations

import functools
import re
import typing as t

from .client import Client, GrafanaError, path_of
from .kind import Change, Declared, Found, Gathered, Kind, Observation, Value, check_unique, nothing_to_check
from .provenance import headers_for, purged_by_pattern, wanted_provenance

_PATH = ("v1", "provisioning", "mute-timings")
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_LISTS = ("weekdays", "days_of_month", "months", "years")


def _minute(text: t.Any) -> int | None:
    """The minute of the day, up to C(24:00)."""
    match = re.fullmatch(r"([01][0-9]|2[0-4]):([0-5][0-9])", text) if isinstance(text, str) else None
    minute = int(match[1]) * 60 + int(match[2]) if match else None
    return minute if minute is not None and minute <= 24 * 60 else None


def _number(key: str, text: str) -> int | None:
    """The number of a weekday, day of the month (negative from its end), month or year."""
    if key == "weekdays":
        return _WEEKDAYS.index(text) if text in _WEEKDAYS else None
    if key == "months" and text in _MONTHS:
        return _MONTHS.index(text) + 1
    patterns = {"days_of_month": r"-?([1-9]|[12][0-9]|3[01])", "months": r"[1-9]|1[0-2]", "years": r"[0-9]{1,4}"}
    return int(text) if re.fullmatch(patterns[key], text) else None


def _is_range(key: str, text: str) -> bool:
    """One value, or C(first:last) in this order; a negative day counts from the end of the month."""
    found = [_number(key, part) for part in text.split(":")]
    if len(found) > 2 or None in found:
        return False
    first, last = found[0] or 0, found[-1] or 0
    return (first <= last and not first < 0 < last) or (first > 0 > last)


def _interval(options: Value, where: str) -> Value:
    """One interval in the form in which Grafana stores it. Raises C(GrafanaError)."""
    found: Value = {}
    for times in options.get("times") or []:
        start, end = (_minute(times.get(key)) for key in ("start_time", "end_time"))
        if start is None or end is None or start >= end:
            raise GrafanaError(
                f"{where}: times must have start_time before end_time, as texts such as '22:00' (with quotes in YAML); "
                "a time over midnight needs two"
            )
        found.setdefault("times", []).append({key: times[key] for key in ("start_time", "end_time")})
    for key in _LISTS:
        texts = [str(text).strip().lower() for text in options.get(key) or []]
        for text in texts:
            if not _is_range(key, text):
                raise GrafanaError(f"{where}: {key}: {text!r} is neither one value nor a range such as first:last")
        if texts:
            found[key] = texts
    if options.get("location"):
        if not re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", options["location"]):
            raise GrafanaError(f"{where}: location {options['location']!r} is not a time zone such as Europe/Berlin")
        found["location"] = options["location"]
    if set(found) <= {"location"}:
        raise GrafanaError(f"{where}: it is empty, and would mute at all times; give at least one of times, {', '.join(_LISTS)}")
    return found


def declare(params: t.Mapping[str, t.Any]) -> list[Declared]:
    """The declared mute timings. Raises C(GrafanaError) for what is wrong whatever the server has."""
    want = []
    for position, options in enumerate(params["mute_timings"]):
        where, name = f"mute_timings[{position}]", options["name"].strip()
        if not name or any(ord(character) < 32 for character in name):
            raise GrafanaError(f"{where}: name must not be empty, and must not contain control characters")
        value = None
        if options["state"] == "present":
            intervals = options["time_intervals"] or []
            if not intervals:
                raise GrafanaError(f"{where}: mute timing {name!r} has no time_intervals")
            parts = [_interval(interval, f"{where}: time_intervals[{place}]") for place, interval in enumerate(intervals)]
            value = {"time_intervals": parts}
        # Not every version says where a mute timing comes from, so that it cannot be compared.
        want.append(Declared(name, value, where, {"provenance": wanted_provenance(params)}))
    check_unique(((item.where, item.uid) for item in want), "name")
    return want


def observe(client: Client, want: t.Sequence[Declared], params: t.Mapping[str, t.Any]) -> Observation:
    """All mute timings by the list."""
    listed = client.get_list(*_PATH)
    return Observation({raw["name"]: Found(raw["name"], _value(raw), raw) for raw in listed})


def _value(raw: Value) -> Value:
    intervals = [{key: part for key, part in interval.items() if part} for interval in raw.get("time_intervals") or []]
    for interval in intervals:
        interval.update({key: [str(text).lower() for text in interval[key]] for key in _LISTS if key in interval})
    return {"time_intervals": intervals}


def changes(item: Declared, found: Found | None, observation: Observation) -> list[Change]:
    """The request that makes one mute timing as declared."""
    path = path_of(*_PATH, item.uid)
    if item.value is None:
        return [Change(item.uid, "DELETE", path, deletes=True)]
    body = {"name": item.uid, **item.value}
    if found is None:
        return [Change(item.uid, "POST", path_of(*_PATH), body, headers=headers_for(item))]
    return [Change(item.uid, "PUT", path, body, headers=headers_for(item))]


def gather(client: Client) -> Gathered:
    """All mute timings, with their provenance."""
    found = observe(client, [], {}).have.values()
    return Gathered({one.uid: {"name": one.uid, **one.value, "provenance": one.raw.get("provenance") or ""} for one in found})


MUTE_TIMINGS = Kind("mute_timing", declare, observe, functools.partial(purged_by_pattern, "mute_timings"), nothing_to_check, changes)
