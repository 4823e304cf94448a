# GNU General Public License v3.0+ (see LICENSE)
"""Silences of Grafana's own Alertmanager."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from typing import Any

from ..api import ADMIN, EDITOR, VIEWER, Fail, Reply, Request, Routes, bad_request, not_covered
from ..store import Row

routes = Routes()
STATES = ("active", "pending", "expired")
REQUIRED = ("matchers", "startsAt", "endsAt", "createdBy", "comment")
FILTER = re.compile(r'{?\s*(\w+)\s*=\s*"([^"]*)"\s*}?')


def instant(moment: datetime) -> str:
    """A time as Alertmanager writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse(text: Any) -> datetime:
    """A time in a body."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise bad_request() from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def state(row: Row) -> str:
    """Whether a silence holds now, later, or no more."""
    now = datetime.now(UTC)
    if parse(row["endsAt"]) <= now:
        return "expired"
    return "pending" if parse(row["startsAt"]) > now else "active"


def expire(row: Row) -> None:
    """End a silence now; one that has not begun ends as it begins."""
    now, was = instant(datetime.now(UTC)), state(row)
    if was == "expired":
        return
    row.update(endsAt=now, updatedAt=now, startsAt=now if was == "pending" else row["startsAt"])


def invalid(problem: str) -> Fail:
    """A body that lacks something."""
    lists = "validation failure list:\n" * 2
    return Fail(400, f"silence failed validation: {lists}{problem}", traced=True)


def read(body: Row) -> Row:
    """The silence in a body, checked."""
    for key in REQUIRED:
        if body.get(key) is None:
            raise invalid(f"{key} in body is required")
    if not body["matchers"]:
        raise invalid("matchers in body should have at least 1 items")
    now, start, end = datetime.now(UTC), parse(body["startsAt"]), parse(body["endsAt"])
    if end <= now:
        raise Fail(400, "end time can't be in the past: unable to create silence", traced=True)
    if start >= end:
        raise Fail(400, "start time must be before end time: unable to create silence", traced=True)
    return {
        "comment": body["comment"],
        "createdBy": body["createdBy"],
        "startsAt": instant(start),
        "endsAt": instant(end),
        "updatedAt": instant(now),
        "matchers": [
            {
                "name": matcher.get("name") or "",
                "value": matcher.get("value") or "",
                "isRegex": bool(matcher.get("isRegex")),
                "isEqual": matcher.get("isEqual", True),
            }
            for matcher in body["matchers"]
        ],
    }


def shown(row: Row) -> Row:
    """A silence as answered."""
    keys = ("comment", "createdBy", "startsAt", "endsAt", "updatedAt", "matchers")
    return {"id": row["uid"], "status": {"state": state(row)}, **{key: row[key] for key in keys}}


def find(request: Request, uid: str) -> Row:
    """A silence by its id."""
    row = request.store.one("silences", orgId=request.org, uid=uid)
    if row is None:
        raise Fail(404, "silence not found", traced=True)
    return row


@routes("GET", "/api/alertmanager/grafana/api/v2/silences", VIEWER, "alert.instances:read")
def listing(request: Request) -> Any:
    rows = request.store.rows("silences", orgId=request.org)
    for text in request.query.get("filter", []):
        match = FILTER.fullmatch(text)
        if match is None:
            raise not_covered(f"the filter {text!r}")
        wanted = {"name": match[1], "value": match[2]}
        rows = [row for row in rows if any(wanted.items() <= matcher.items() for matcher in row["matchers"])]
    return [shown(row) for row in sorted(rows, key=lambda row: STATES.index(state(row)))]


@routes(
    "POST",
    "/api/alertmanager/grafana/api/v2/silences",
    EDITOR,
    "any of alert.instances:create, alert.instances:write",
)
def put(request: Request) -> Any:
    """Create one, or with an id change it. Where the matchers or a past start change, a new one replaces it."""
    body = request.json()
    new = read(body)
    old = find(request, body["id"]) if body.get("id") else None
    if old and _may_change(old, new):
        old.update(new)
        return Reply(202, {"silenceID": old["uid"]})
    if old:
        expire(old)
    new["startsAt"] = max(new["startsAt"], new["updatedAt"])
    row = request.store.add("silences", {"orgId": request.org, "uid": str(uuid.uuid4()), **new})
    return Reply(202, {"silenceID": row["uid"]})


def _may_change(old: Row, new: Row) -> bool:
    """As Alertmanager's source says: one that holds keeps its start, to the second, one that is to come must not begin in the past."""
    starts = {
        "active": parse(old["startsAt"]).replace(microsecond=0) == parse(new["startsAt"]).replace(microsecond=0),
        "pending": new["startsAt"] >= new["updatedAt"],
        "expired": False,
    }
    return bool(old["matchers"] == new["matchers"] and starts[state(old)])


@routes("GET", "/api/alertmanager/grafana/api/v2/silence/:id", VIEWER, "alert.instances:read")
def get(request: Request) -> Any:
    return shown(find(request, request.params["id"]))


@routes("DELETE", "/api/alertmanager/grafana/api/v2/silence/:id", EDITOR, "alert.instances:write")
def delete(request: Request) -> Any:
    expire(find(request, request.params["id"]))
    return {"message": "silence deleted"}


@routes("GET", "/api/alertmanager/grafana/api/v2/status", ADMIN, "alert.notifications:read")
def status(_request: Request) -> Any:
    unknown = dict.fromkeys(("branch", "buildDate", "buildUser", "goVersion", "revision", "version"), "N/A")
    cluster = {"peers": [], "status": "disabled"}
    return {"cluster": cluster, "config": {"templates": None}, "uptime": None, "versionInfo": unknown}
