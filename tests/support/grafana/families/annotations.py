# GNU General Public License v3.0+ (see LICENSE)
"""Annotations of an organisation. The same one can be made twice: they have no key of their own."""

from __future__ import annotations

import time
from typing import Any

from ..api import AVATAR, EDITOR, VIEWER, Fail, Request, Routes, bad_request, matches, not_covered
from ..store import Row, Store

routes = Routes()
FIELDS = ("time", "timeEnd", "text", "tags")
OF_DASHBOARDS = ("dashboardId", "dashboardUID", "panelId", "alertId", "alertUID", "userId")


def find(request: Request) -> Row:
    """The annotation in the path."""
    row = request.store.one("annotations", orgId=request.org, id=request.number("id", bad_request("id is invalid")))
    if row is None:
        raise Fail(404, "Annotation not found")
    return row


def shown(store: Store, row: Row) -> Row:
    """An annotation as answered."""
    user = store.one("users", id=row["madeBy"]) or store.one("service_accounts", id=row["madeBy"]) or {}
    return {
        "id": row["id"],
        "alertId": 0,
        "alertName": "",
        "dashboardId": 0,
        "dashboardUID": None,
        "panelId": 0,
        "userId": 0,
        "newState": "",
        "prevState": "",
        **{key: row[key] for key in (*FIELDS, "created", "updated")},
        "login": user.get("login", ""),
        "email": user.get("email", ""),
        "avatarUrl": AVATAR,
        "data": {},
    }


def given(request: Request) -> Row:
    """What the body sets."""
    body = request.json()
    if any(body.get(key) for key in OF_DASHBOARDS):
        raise not_covered("annotations of a dashboard")
    return {key: body[key] for key in FIELDS if body.get(key)}


def milliseconds() -> int:
    """The time as annotations write it."""
    return time.time_ns() // 1_000_000


@routes("GET", "/api/annotations", VIEWER, "annotations:read")
def listing(request: Request) -> Any:
    if any(request.arg(key) for key in OF_DASHBOARDS):
        raise not_covered("annotations of a dashboard")
    tags, start, end = set(request.query.get("tags", [])), request.integer("from", 0), request.integer("to", 0)
    any_of = request.arg("matchAny") == "true"
    rows = [
        row
        for row in request.store.rows("annotations", orgId=request.org)
        if not tags or (tags & set(row["tags"]) if any_of else tags <= set(row["tags"]))
        if not end or (row["time"] <= end and row["timeEnd"] >= start)
    ]
    rows.sort(key=lambda row: (row["timeEnd"], row["time"], row["id"]), reverse=True)
    return [shown(request.store, row) for row in rows[: request.integer("limit", 100)]]


@routes("POST", "/api/annotations", VIEWER, "annotations:create")
def create(request: Request) -> Any:
    if not request.who.may(EDITOR):
        raise Fail(403, "Access denied to this dashboard")
    body = given(request)
    if not body.get("text"):
        raise Fail(400, "Failed to save annotation", traced=True)
    began = body.get("time") or milliseconds()
    row = {"orgId": request.org, "madeBy": request.who.id, "time": began, "timeEnd": began, "tags": [], **body}
    row = request.store.add("annotations", {**row, "created": milliseconds(), "updated": milliseconds()})
    return {"id": row["id"], "message": "Annotation added"}


@routes("GET", "/api/annotations/tags", VIEWER, "annotations:read")
def tags(request: Request) -> Any:
    used = [tag for row in request.store.rows("annotations", orgId=request.org) for tag in row["tags"]]
    found = [tag for tag in sorted(set(used)) if matches(request.arg("tag"), tag)]
    counted = [{"tag": tag, "count": used.count(tag)} for tag in found[: request.integer("limit", 100)]]
    return {"result": {"tags": counted}}


@routes("GET", "/api/annotations/:id", VIEWER, "annotations:read")
def get(request: Request) -> Any:
    return shown(request.store, find(request))


@routes("PUT", "/api/annotations/:id", EDITOR, "annotations:write")
def update(request: Request) -> Any:
    find(request).update(given(request), updated=milliseconds())
    return {"message": "Annotation updated"}


@routes("PATCH", "/api/annotations/:id", EDITOR, "annotations:write")
def patch(request: Request) -> Any:
    find(request).update(given(request), updated=milliseconds())
    return {"message": "Annotation patched"}


@routes("DELETE", "/api/annotations/:id", EDITOR, "annotations:delete")
def delete(request: Request) -> Any:
    request.store.drop("annotations", id=find(request)["id"])
    return {"message": "Annotation deleted"}
