# GNU General Public License v3.0+ (see LICENSE)
"""Mute timings: named lists of time intervals."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..alerting import READ, WRITE, check_provenance, invalid, missing, provenance, with_provenance
from ..api import ADMIN, Fail, Reply, Request, Routes, bad_request, not_covered
from ..store import Row, Store
from . import policies

routes = Routes()
WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)


def minutes(text: Any) -> int | None:
    """The minute of the day, or None for what is no time."""
    match = re.fullmatch(r"([01]\d|2[0-4]):([0-5]\d)", text) if isinstance(text, str) else None
    number = int(match[1]) * 60 + int(match[2]) if match else None
    return number if number is None or number <= 24 * 60 else None


def is_time(value: Any) -> bool:
    """A start before an end."""
    start, end = (minutes(value.get(key)) for key in ("start_time", "end_time"))
    return start is not None and end is not None and start < end


def is_range(number: Callable[[str], int | None]) -> Callable[[Any], bool]:
    """A check for one value, or for `first:last` in this order; a negative day counts from the month's end."""

    def check(value: Any) -> bool:
        found = [number(part.lower()) for part in str(value).split(":")]
        if None in found or len(found) > 2:
            return False
        first, last = found[0] or 0, found[-1] or 0
        return first <= last or (first > 0 > last)

    return check


def day(text: str) -> int | None:
    """A day of the month."""
    return int(text) if re.fullmatch(r"-?([1-9]|[12]\d|3[01])", text) else None


def month(text: str) -> int | None:
    """A month by name or number."""
    if text in MONTHS:
        return MONTHS.index(text) + 1
    return int(text) if re.fullmatch(r"[1-9]|1[0-2]", text) else None


CHECKS: dict[str, Callable[[Any], bool]] = {
    "times": is_time,
    "weekdays": is_range(lambda text: WEEKDAYS.index(text) if text in WEEKDAYS else None),
    "days_of_month": is_range(day),
    "months": is_range(month),
    "years": is_range(lambda text: int(text) if text.isdecimal() else None),
}


def read(intervals: list[Row] | None) -> list[Row]:
    """The intervals as stored: what is not given stays away."""
    out = []
    for interval in intervals or []:
        for key, check in CHECKS.items():
            if not all(check(value) for value in interval.get(key) or []):
                raise bad_request()
        out.append({key: interval[key] for key in (*CHECKS, "location") if interval.get(key)})
    return out


def put(store: Store, org: int, name: str, intervals: list[Row], origin: str) -> Row:
    """Create or replace a mute timing."""
    old = store.one("mute_timings", orgId=org, name=name)
    check_provenance(old, origin)
    if old is None:
        return store.add("mute_timings", {"orgId": org, "name": name, "intervals": intervals, "provenance": origin})
    old.update(intervals=intervals, provenance=origin)
    return old


def remove(store: Store, org: int, name: str) -> None:
    """Delete a mute timing that no policy uses."""
    if any(policies.uses(store, org, key, name) for key in ("mute_time_intervals", "active_time_intervals")):
        raise Fail(409, f"mute time '{name}' is currently used by a notification policy", traced=True)
    store.drop("mute_timings", orgId=org, name=name)


def shown(row: Row) -> Row:
    """A mute timing as answered to requests for one."""
    return {"name": row["name"], "time_intervals": row["intervals"]}


@routes("GET", "/api/v1/provisioning/mute-timings", ADMIN, READ)
def listing(request: Request) -> Any:
    return [shown(row) for row in request.store.rows("mute_timings", orgId=request.org)]


@routes("POST", "/api/v1/provisioning/mute-timings", ADMIN, WRITE)
def create(request: Request) -> Any:
    body = request.json("name")
    intervals = read(body.get("time_intervals"))
    if request.store.one("mute_timings", orgId=request.org, name=body["name"]):
        raise invalid("a mute timing with this name already exists")
    row = put(request.store, request.org, body["name"], intervals, provenance(request))
    return Reply(201, with_provenance(shown(row), row))


@routes("GET", "/api/v1/provisioning/mute-timings/export", ADMIN, READ)
def export(_request: Request) -> Any:
    raise not_covered("the export of mute timings")


@routes("GET", "/api/v1/provisioning/mute-timings/:name", ADMIN, READ)
def get(request: Request) -> Any:
    row = request.store.one("mute_timings", orgId=request.org, name=request.params["name"])
    return shown(row) if row else missing()


@routes("PUT", "/api/v1/provisioning/mute-timings/:name", ADMIN, WRITE)
def update(request: Request) -> Any:
    """The name in the path counts."""
    name, intervals = request.params["name"], read(request.json().get("time_intervals"))
    if not request.store.one("mute_timings", orgId=request.org, name=name):
        return missing()
    row = put(request.store, request.org, name, intervals, provenance(request))
    return Reply(202, with_provenance(shown(row), row))


@routes("DELETE", "/api/v1/provisioning/mute-timings/:name", ADMIN, WRITE)
def delete(request: Request) -> Any:
    remove(request.store, request.org, request.params["name"])
    return Reply(204)
