# GNU General Public License v3.0+ (see LICENSE)
"""Playlists. Their names are not unique, and the server makes their uids."""

from __future__ import annotations

import uuid
from typing import Any

from ..api import EDITOR, VIEWER, Fail, Reply, Request, Routes, matches
from ..store import Row

routes = Routes()
BRIEF = ("id", "uid", "name", "interval")
FULL = ("interval", "items", "name", "uid")


def find(request: Request) -> Row:
    """The playlist in the path."""
    row = request.store.one("playlists", orgId=request.org, uid=request.params["uid"])
    if row is None:
        raise Fail(404, "Playlist not found", traced=True)
    return row


def shown(row: Row, keys: tuple[str, ...]) -> Row:
    """A playlist as answered."""
    return {key: row[key] for key in keys}


def given(request: Request) -> Row:
    """The playlist in the body, of a caller who may write one."""
    check_editor(request)
    body = request.json("name")
    return {"name": body["name"], "interval": body.get("interval") or "", "items": body.get("items") or []}


def check_editor(request: Request) -> None:
    """These routes have a refusal of their own."""
    if not request.who.may(EDITOR):
        raise Fail(403, "Permission denied")


@routes("GET", "/api/playlists", VIEWER)
def listing(request: Request) -> Any:
    rows = request.store.rows("playlists", orgId=request.org)
    found = [shown(row, BRIEF) for row in rows if matches(request.arg("query"), row["name"])]
    return found[: request.integer("limit", 1000)]


@routes("POST", "/api/playlists", VIEWER)
def create(request: Request) -> Any:
    row = {"orgId": request.org, "uid": str(uuid.uuid4()), **given(request)}
    return shown(request.store.add("playlists", row), BRIEF)


@routes("GET", "/api/playlists/:uid", VIEWER)
def get(request: Request) -> Any:
    return shown(find(request), FULL)


@routes("GET", "/api/playlists/:uid/items", VIEWER)
def items(request: Request) -> Any:
    return find(request)["items"]


@routes("PUT", "/api/playlists/:uid", VIEWER)
def update(request: Request) -> Any:
    body, row = given(request), find(request)
    row.update(body)
    return shown(row, FULL)


@routes("DELETE", "/api/playlists/:uid", VIEWER)
def delete(request: Request) -> Any:
    check_editor(request)
    request.store.drop("playlists", id=find(request)["id"])
    return Reply(200, "", "application/json")
