# GNU General Public License v3.0+ (see LICENSE)
"""Library elements: panels and variables that several dashboards share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from ..api import AVATAR, EDITOR, VIEWER, Fail, Request, Routes, bad_request, not_covered
from ..store import Row, Store, now
from . import folders

routes = Routes()
PANEL, VARIABLE = KINDS = (1, 2)
NOT_COVERED = ("searchString", "sortDirection", "typeFilter", "excludeUid", "folderFilter", "folderFilterUIDs")


def fail(status: int, message: str) -> Fail:
    """These routes' errors all carry a trace."""
    return Fail(status, message, traced=True)


def find(request: Request) -> Row:
    """The element in the path."""
    row = request.store.one("library_elements", orgId=request.org, uid=request.params["uid"])
    if row is None:
        raise fail(404, "library element could not be found")
    return row


def path_folder(request: Request, body: Row) -> Row | None:
    """The folder that a body names by uid, or by the older number; none is the root."""
    for key, column in (("folderUid", "uid"), ("folderId", "id")):
        if body.get(key):
            folder = request.store.one("folders", orgId=request.org, **{column: body[key]})
            if folder is None:
                raise fail(400, "failed to get folder")
            return folder
    return None


def model(value: Row, kind: int, name: str) -> Row:
    """An element's model, with what Grafana adds. In that of a variable it puts the name, as its source says."""
    named = {"name": name} if kind == VARIABLE else {}
    return {**value, "type": value.get("type") or "", "description": value.get("description") or "", **named}


def connections(store: Store, row: Row) -> list[Row]:
    """The dashboards that use an element."""
    boards = store.rows("dashboards", orgId=row["orgId"])
    return [board for board in boards if row["uid"] in set(_used(board["data"].get("panels") or []))]


def _used(panels: list[Row]) -> Iterator[str]:
    for panel in panels:
        yield str((panel.get("libraryPanel") or {}).get("uid"))
        yield from _used(panel.get("panels") or [])


def person(store: Store, number: int) -> Row:
    """Who made or changed something."""
    return {"avatarUrl": AVATAR, "id": number, "name": folders.login(store, number)}


def shown(store: Store, row: Row, folder: Row | None, root: str) -> Row:
    """An element as answered. `root` is what the root is called there."""
    folder_uid = folder["uid"] if folder else ""
    return {
        **{key: row[key] for key in ("id", "orgId", "uid", "name", "kind", "model", "version")},
        "folderId": folder["id"] if folder else 0,
        "folderUid": folder_uid,
        "type": row["model"]["type"],
        "description": row["model"]["description"],
        "meta": {
            "folderName": folder["title"] if folder else root,
            "folderUid": folder_uid,
            "connectedDashboards": len(connections(store, row)),
            "created": row["created"],
            "updated": row["updated"],
            "createdBy": person(store, row["createdBy"]),
            "updatedBy": person(store, row["updatedBy"]),
        },
    }


def stored(store: Store, row: Row) -> Row:
    """An element as answered to requests for one or more."""
    return shown(store, row, store.one("folders", orgId=row["orgId"], uid=row["folderUid"]), "General")


def check_taken(request: Request, row: Row, old: Row | None) -> None:
    """The uid is unique in the organisation, the name among those of its kind in a folder."""
    name = {key: row[key] for key in ("folderUid", "name", "kind")}
    for equal in ({"uid": row["uid"]}, name):
        other = request.store.one("library_elements", orgId=request.org, **equal)
        if other and other is not old:
            raise fail(400, "library element with that name or UID already exists")


@routes("GET", "/api/library-elements", VIEWER)
def listing(request: Request) -> Any:
    for name in NOT_COVERED:
        if request.arg(name):
            raise not_covered(f"the list of library elements by {name}")
    rows = sorted(request.store.rows("library_elements", orgId=request.org), key=lambda row: row["name"].lower())
    kind = request.integer("kind", 0)
    rows = [row for row in rows if kind in (0, row["kind"])]
    return {
        "result": {
            # As recorded, one created with the folder's number is listed, but not counted.
            "totalCount": len([row for row in rows if row["counted"]]),
            "elements": [stored(request.store, row) for row in request.page(rows, "perPage", 100)],
            "page": request.integer("page", 1),
            "perPage": request.integer("perPage", 100),
        }
    }


@routes("POST", "/api/library-elements", VIEWER)
def create(request: Request) -> Any:
    body, who = request.json(), request.who
    if not who.may(EDITOR):
        raise fail(400, "failed to get folder")
    folder = path_folder(request, body)
    if body.get("kind") not in KINDS:
        raise fail(500, "Failed to create library element")
    row = {
        "orgId": request.org,
        "uid": body.get("uid") or str(uuid.uuid4()),
        "folderUid": folder["uid"] if folder else "",
        "counted": not body.get("folderId"),
        "name": body.get("name") or "",
        "kind": body["kind"],
        "model": model(body.get("model") or {}, body["kind"], body.get("name") or ""),
        "version": 1,
    }
    folders.check_uid(row["uid"], traced=True)
    check_taken(request, row, None)
    times = {"created": now(), "createdBy": who.id, "updated": now(), "updatedBy": who.id}
    row = request.store.add("library_elements", {**row, **times})
    return {"result": shown(request.store, row, folder, "")}


@routes("GET", "/api/library-elements/:uid", VIEWER)
def get(request: Request) -> Any:
    return {"result": stored(request.store, find(request))}


@routes("GET", "/api/library-elements/name/:name", VIEWER)
def by_name(request: Request) -> Any:
    rows = request.store.rows("library_elements", orgId=request.org, name=request.params["name"])
    if not rows:
        raise fail(404, "library element could not be found")
    return {"result": [stored(request.store, row) for row in rows]}


@routes("PATCH", "/api/library-elements/:uid", VIEWER)
def update(request: Request) -> Any:
    """Without a folder the answer says the root, but the element stays where it is. As the source says, an empty one is the root."""
    if not request.who.may(EDITOR):
        raise not_covered("a change of a library element by a viewer")
    body, row = request.json(), find(request)
    if not body.get("version"):
        raise bad_request()
    if body["version"] != row["version"]:
        raise fail(412, "the library element has been changed by someone else")
    if body.get("uid", row["uid"]) != row["uid"] or body.get("kind", row["kind"]) != row["kind"]:
        raise not_covered("another uid or kind for a library element")
    folder = path_folder(request, body)
    stays = folder is None and "folderUid" not in body
    new = {"folderUid": row["folderUid"] if stays else folder["uid"] if folder else "", "name": body.get("name") or row["name"]}
    check_taken(request, {**row, **new}, row)
    changed = {"model": model(body.get("model") or row["model"], row["kind"], new["name"]), "version": row["version"] + 1}
    row.update(new, **changed, updated=now(), updatedBy=request.who.id)
    return {"result": shown(request.store, row, folder, "")}


@routes("GET", "/api/library-elements/:uid/connections", VIEWER)
def connected(request: Request) -> Any:
    row = find(request)
    return {
        "result": [
            {
                "id": number,
                "kind": row["kind"],
                "elementId": row["id"],
                "connectionId": board["id"],
                "connectionUid": board["uid"],
                "created": board["updated"],
                "createdBy": person(request.store, board["updatedBy"]),
            }
            for number, board in enumerate(connections(request.store, row), 1)
        ]
    }


@routes("DELETE", "/api/library-elements/:uid", VIEWER)
def delete(request: Request) -> Any:
    if not request.who.may(EDITOR):
        raise fail(403, "access denied to folder")
    row = find(request)
    if connections(request.store, row):
        raise fail(403, "the library element has connections")
    request.store.drop("library_elements", id=row["id"])
    return {"id": row["id"], "message": "Library element deleted"}
