# GNU General Public License v3.0+ (see LICENSE)
"""Folders, nested as in Grafana 11 and later."""

from __future__ import annotations

import re
import uuid
from typing import Any

from ..api import EDITOR, VIEWER, Caller, Fail, Request, Routes, bad_request, not_covered
from ..store import Row, Store, now
from . import dashboards, permissions

routes = Routes()
MISSING = "folder not found"


def stale() -> Fail:
    """The answer to a write that does not know the current version."""
    return Fail(412, "the folder has been changed by someone else", status="version-mismatch")


def taken() -> Fail:
    """The answer to a title that a sibling has."""
    return Fail(409, "a folder with the same name already exists in the current location")


def slug(title: str) -> str:
    """A title as it stands in a URL."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def url(folder: Row) -> str:
    """A folder's page."""
    return f"/dashboards/f/{folder['uid']}/{slug(folder['title'])}"


def check_uid(uid: str, *, traced: bool) -> None:
    """Refuse what Grafana refuses as the uid of a folder or dashboard."""
    if len(uid) > 40:
        raise Fail(400, "uid too long, max 40 characters", traced=traced)
    if not re.fullmatch(r"[A-Za-z0-9_-]*", uid):
        raise Fail(400, "uid contains illegal characters", traced=traced)


def children(store: Store, org: int, parent: str) -> list[Row]:
    """The folders directly below another, or at the root."""
    return store.rows("folders", orgId=org, parentUid=parent)


def find(store: Store, org: int, **equal: Any) -> Row:
    """One folder, or 404."""
    folder = store.one("folders", orgId=org, **equal)
    if folder is None:
        raise Fail(404, MISSING, status="not-found")
    return folder


def create(store: Store, org: int, body: Row, who: int) -> Row:
    """A new folder; `who` is the user's id, 0 for a provisioning file."""
    title, uid, parent = str(body.get("title") or "").strip(), body.get("uid") or "", body.get("parentUid") or ""
    if not title:
        raise Fail(400, "folder title cannot be empty")
    check_uid(uid, traced=True)
    if uid == "general":
        raise Fail(500, "Folder API error", traced=True)
    if title.lower() == "general" and not parent:
        raise Fail(400, "A folder with that name already exists", traced=True)
    if parent:
        find(store, org, uid=parent)
    if uid and store.one("folders", orgId=org, uid=uid):
        raise stale()
    if _named(store, org, parent, title):
        raise taken()
    row = {"orgId": org, "uid": uid or str(uuid.uuid4()), "title": title, "parentUid": parent, "version": 1}
    times = {"created": now(), "createdBy": who, "updated": now(), "updatedBy": who}
    folder = store.add("folders", {**row, **times}, counter="dashboards")
    permissions.grant_defaults(store, folder, who)
    return folder


def remove(store: Store, org: int, folder: Row) -> None:
    """Delete a folder with all below it."""
    for child in children(store, org, folder["uid"]):
        remove(store, org, child)
    for board in store.rows("dashboards", orgId=org, folderUid=folder["uid"]):
        dashboards.remove(store, board["id"])
    store.drop("folders", id=folder["id"])
    store.drop("permissions", objectId=folder["id"])
    store.drop("alert_rules", orgId=org, folderUID=folder["uid"])


def login(store: Store, user: int) -> str:
    """The name of whoever made something."""
    row = store.one("users", id=user)
    return str(row["login"]) if row else "Anonymous"


def shown(store: Store, folder: Row, who: Caller) -> Row:
    """A folder as answered to requests for one."""
    edit = who.may(EDITOR)
    body = {
        "id": folder["id"],
        "uid": folder["uid"],
        "title": folder["title"],
        "url": url(folder),
        "hasAcl": False,
        "canSave": edit,
        "canEdit": edit,
        "canAdmin": edit,
        "canDelete": edit,
        "createdBy": login(store, folder["createdBy"]),
        "created": folder["created"],
        "updatedBy": login(store, folder["updatedBy"]),
        "updated": folder["updated"],
        "version": folder["version"],
    }
    if folder["parentUid"]:
        body["parentUid"] = folder["parentUid"]
        parents: list[Row] = []
        above = store.one("folders", orgId=folder["orgId"], uid=folder["parentUid"])
        while above:
            parents.insert(0, {key: above[key] for key in ("id", "uid", "title")} | {"url": url(above)})
            above = store.one("folders", orgId=folder["orgId"], uid=above["parentUid"])
        body["parents"] = parents
    return body


def _check_elements(store: Store, org: int, folder: Row, what: str) -> None:
    if store.rows("library_elements", orgId=org, folderUid=folder["uid"]):
        raise not_covered(f"{what} a folder that holds library elements")
    for child in children(store, org, folder["uid"]):
        _check_elements(store, org, child, what)


def _has_rules(store: Store, org: int, folder: Row) -> bool:
    below = children(store, org, folder["uid"])
    own = store.rows("alert_rules", orgId=org, folderUID=folder["uid"])
    return bool(own) or any(_has_rules(store, org, child) for child in below)


def _named(store: Store, org: int, parent: str, title: str) -> Row | None:
    return next((row for row in children(store, org, parent) if row["title"].lower() == title.lower()), None)


@routes("GET", "/api/folders", VIEWER, "folders:read")
def listing(request: Request) -> Any:
    parent = request.arg("parentUid")
    found = sorted(children(request.store, request.org, parent), key=lambda row: row["title"].lower())
    keys = ("id", "uid", "title", *(("parentUid",) if parent else ()))
    return [{key: row[key] for key in keys} for row in request.page(found, "limit")]


@routes("POST", "/api/folders", EDITOR, "folders:create")
def post(request: Request) -> Any:
    folder = create(request.store, request.org, request.json(), request.who.id)
    return shown(request.store, folder, request.who)


@routes("GET", "/api/folders/id/:id", VIEWER, "folders:read")
def by_id(request: Request) -> Any:
    folder = find(request.store, request.org, id=request.number("id", bad_request("id is invalid")))
    return shown(request.store, folder, request.who)


@routes("GET", "/api/folders/:uid", VIEWER, "folders:read")
def by_uid(request: Request) -> Any:
    return shown(request.store, find(request.store, request.org, uid=request.params["uid"]), request.who)


@routes("PUT", "/api/folders/:uid", EDITOR, "folders:write")
def put(request: Request) -> Any:
    body, store = request.json(), request.store
    folder = find(store, request.org, uid=request.params["uid"])
    title, uid = str(body.get("title") or folder["title"]).strip(), body.get("uid") or folder["uid"]
    check_uid(uid, traced=True)
    if not body.get("overwrite") and body.get("version") != folder["version"]:
        raise stale()
    other = _named(store, request.org, folder["parentUid"], title)
    if other and other is not folder:
        if not body.get("overwrite"):
            raise taken()
        folder, uid = other, other["uid"]  # As Grafana does: `overwrite` then writes the other folder.
    if uid != folder["uid"] and _has_rules(store, request.org, folder):
        raise not_covered("another uid for a folder that holds alert rules")
    if uid != folder["uid"]:
        _check_elements(store, request.org, folder, "another uid for")
    for board in store.rows("dashboards", orgId=request.org, folderUid=folder["uid"]):
        board["folderUid"] = uid
    for child in children(store, request.org, folder["uid"]):
        child["parentUid"] = uid
    folder.update(title=title, uid=uid, version=folder["version"] + 1, updated=now(), updatedBy=request.who.id)
    return shown(store, folder, request.who)


@routes("POST", "/api/folders/:uid/move", EDITOR, "folders:write")
def move(request: Request) -> Any:
    store, parent = request.store, request.json().get("parentUid") or ""
    folder = find(store, request.org, uid=request.params["uid"])
    above = find(store, request.org, uid=parent) if parent else None
    while above:
        if above is folder:
            raise Fail(400, "circular reference detected", traced=True)
        above = store.one("folders", orgId=request.org, uid=above["parentUid"])
    other = _named(store, request.org, parent, folder["title"])
    if other and other is not folder:
        raise taken()
    folder.update(parentUid=parent, updated=now(), updatedBy=request.who.id)
    return shown(store, folder, request.who)


@routes("DELETE", "/api/folders/:uid", EDITOR, "folders:delete")
def delete(request: Request) -> Any:
    store, folder = request.store, find(request.store, request.org, uid=request.params["uid"])
    if request.arg("forceDeleteRules") != "true" and _has_rules(store, request.org, folder):
        raise Fail(400, "folder cannot be deleted: folder contains alert rules")
    _check_elements(store, request.org, folder, "deleting")
    remove(store, request.org, folder)
    return {"message": "Folder deleted"}
