# GNU General Public License v3.0+ (see LICENSE)
"""Dashboards, their versions, and the search."""

from __future__ import annotations

import uuid
from typing import Any

from ..api import EDITOR, VIEWER, Fail, Request, Routes, bad_request, matches
from ..store import Row, Store, now
from . import folders, permissions

routes = Routes()
MOST_HITS = 5000


def missing() -> Fail:
    """The answer for a uid that nothing has."""
    return Fail(404, "Dashboard not found", traced=True)


def url(board: Row) -> str:
    """A dashboard's page."""
    return f"/d/{board['uid']}/{folders.slug(board['title'])}"


def find(request: Request) -> Row:
    """The dashboard in the path, by uid or number."""
    equal: Row = {"uid": request.params["uid"]} if "uid" in request.params else {}
    if not equal:
        equal = {"id": request.number("id", bad_request("id is invalid"))}
    board = request.store.one("dashboards", orgId=request.org, **equal)
    if board is None:
        raise missing()
    return board


def remove(store: Store, number: int) -> None:
    """Delete a dashboard with its versions."""
    store.drop("dashboards", id=number)
    store.drop("permissions", objectId=number)
    store.drop("dashboard_versions", dashboardId=number)
    store.drop("dashboard_files", dashboardId=number)


def save(
    store: Store,
    org: int,
    model: Row,
    folder: str,
    *,
    who: int,
    message: str,
    old_id: int | None = None,
    restored: int = 0,
) -> Row:
    """Write a dashboard as its next version. Whether that may be is the caller's affair."""
    uid, title = model.get("uid") or "", str(model.get("title") or "").strip()
    folders.check_uid(uid, traced=False)
    if store.one("folders", orgId=org, uid=uid or " "):
        raise Fail(400, "Dashboard cannot be changed to a folder")
    board = store.one("dashboards", orgId=org, uid=uid) if uid else None
    board = board or (store.one("dashboards", id=old_id) if old_id else None)
    data = {key: value for key, value in model.items() if key not in ("id", "uid", "version")}
    data["title"] = title
    if board is None:
        row = {"orgId": org, "uid": uid or str(uuid.uuid4()), "version": 0, "created": now(), "createdBy": who}
        board = store.add("dashboards", row)
        permissions.grant_defaults(store, {**board, "parentUid": folder}, who)
        stored = {**data, "uid": board["uid"], "version": 1}
    else:
        stored = {**data, "id": board["id"], "uid": uid or board["uid"], "version": board["version"] + 1}
    parent = board["version"]
    board.update(uid=stored["uid"], title=title, folderUid=folder, data=data, version=stored["version"])
    board.update(updated=now(), updatedBy=who)
    version = {
        "dashboardId": board["id"],
        "version": board["version"],
        "parentVersion": parent,
        "restoredFrom": restored,
    }
    store.add("dashboard_versions", {**version, "created": now(), "createdBy": who, "message": message, "data": stored})
    return board


def saved(board: Row) -> Row:
    """The answer to a save."""
    return {
        "id": board["id"],
        "slug": folders.slug(board["title"]),
        "status": "success",
        "uid": board["uid"],
        "url": url(board),
        "version": board["version"],
    }


def shown(request: Request, item: Row) -> Row:
    """A dashboard, or a folder as if it were one, with everything around it."""
    store, folder = request.store, None
    is_folder = "data" not in item
    if item.get("folderUid"):
        folder = store.one("folders", orgId=request.org, uid=item["folderUid"])
    file = store.one("dashboard_files", dashboardId=item["id"])
    edit = request.who.may(EDITOR)
    rights = {"canAdd": edit, "canEdit": edit, "canDelete": edit}
    data = {"schemaVersion": 17, "title": item["title"]} if is_folder else item["data"]
    return {
        "meta": {
            "type": "db",
            "canSave": edit,
            "canEdit": edit,
            "canAdmin": edit,
            "canStar": request.who.kind == "user",
            "canDelete": edit,
            "slug": folders.slug(item["title"]),
            "url": folders.url(item) if is_folder else url(item),
            "expires": "0001-01-01T00:00:00Z",
            "created": item["created"],
            "updated": item["updated"],
            "updatedBy": folders.login(store, item["updatedBy"]),
            "createdBy": folders.login(store, item["createdBy"]),
            "version": item["version"],
            "hasAcl": False,
            "isFolder": is_folder,
            "folderId": folder["id"] if folder else 0,
            "folderUid": folder["uid"] if folder else "",
            "folderTitle": folder["title"] if folder else "General",
            "folderUrl": folders.url(folder) if folder else "",
            "provisioned": bool(file) and not (file or {})["allowUpdates"],
            "provisionedExternalId": file["externalId"] if file else "",
            "annotationsPermissions": {"dashboard": rights, "organization": rights},
            "publicDashboardAccessToken": "",
            "publicDashboardUid": "",
            "publicDashboardEnabled": False,
        },
        "dashboard": {**data, "id": item["id"], "uid": item["uid"], "version": item["version"]},
    }


def locked_by_file(store: Store, board: Row) -> bool:
    """Whether a provisioning file owns it."""
    return bool(store.one("dashboard_files", dashboardId=board["id"], allowUpdates=False))


@routes("GET", "/api/dashboards/uid/:uid", VIEWER, "dashboards:read")
def by_uid(request: Request) -> Any:
    uid = request.params["uid"]
    item = request.store.one("dashboards", orgId=request.org, uid=uid)
    item = item or request.store.one("folders", orgId=request.org, uid=uid)
    if item is None:
        raise missing()
    return shown(request, item)


@routes("POST", "/api/dashboards/db", EDITOR, "any of dashboards:create, dashboards:write")
def post(request: Request) -> Any:
    body, store, org = request.json("dashboard"), request.store, request.org
    model = body["dashboard"]
    folder = _target_folder(request, body)
    title, uid = str(model.get("title") or "").strip(), model.get("uid") or ""
    if not title:
        raise Fail(400, "Dashboard title cannot be empty", status="empty-name")
    if folder and folder["title"].lower() == title.lower():
        raise Fail(400, "Dashboard name cannot be the same as folder", status="name-match")
    folders.check_uid(uid, traced=False)
    old = store.one("dashboards", orgId=org, uid=uid) if uid else None
    if model.get("id"):
        old = store.one("dashboards", orgId=org, id=model["id"])
        if old is None:
            raise Fail(404, "Dashboard not found", status="not-found")
    if old and locked_by_file(store, old):
        raise Fail(400, "Cannot save provisioned dashboard")
    if old and not body.get("overwrite") and model.get("version") != old["version"]:
        raise Fail(412, "The dashboard has been changed by someone else", status="version-mismatch")
    old_id = old["id"] if old else None
    message, folder_uid = body.get("message") or "", folder["uid"] if folder else ""
    return saved(save(store, org, model, folder_uid, who=request.who.id, message=message, old_id=old_id))


def _target_folder(request: Request, body: Row) -> Row | None:
    """The folder named by uid, or by the older number; none is the root."""
    for key, column in (("folderUid", "uid"), ("folderId", "id")):
        if body.get(key):
            folder = request.store.one("folders", orgId=request.org, **{column: body[key]})
            if folder is None:
                raise Fail(400, "Folder not found", traced=True)
            return folder
    return None


@routes("DELETE", "/api/dashboards/uid/:uid", EDITOR, "dashboards:delete")
def delete(request: Request) -> Any:
    board = find(request)
    if locked_by_file(request.store, board):
        raise Fail(400, "provisioned dashboard cannot be deleted", traced=True)
    remove(request.store, board["id"])
    return {"id": board["id"], "message": f"Dashboard {board['title']} deleted", "title": board["title"]}


@routes("GET", "/api/dashboards/uid/:uid/versions", VIEWER, "dashboards:read")
def versions(request: Request) -> Any:
    board = find(request)
    rows = request.store.rows("dashboard_versions", dashboardId=board["id"])[::-1]
    start = request.integer("start", 0)
    rows = rows[start:][: request.integer("limit", len(rows) or 1)]
    return {
        "continueToken": "",
        "versions": [{**row, "dashboardUid": board["uid"], "message": _message(row)} for row in rows],
    }


def _message(version: Row) -> str:
    if version["restoredFrom"]:
        return f"Restored from version {version['restoredFrom']}"
    return str(version["message"]) if version["parentVersion"] else "Initial save"


@routes("GET", "/api/dashboards/uid/:uid/versions/:version", VIEWER, "dashboards:read")
def version(request: Request) -> Any:
    board, row = _version(request, request.number("version", bad_request("id is invalid")))
    data = {**row["data"], "id": board["id"]}
    return {**row, "uid": board["uid"], "createdBy": folders.login(request.store, row["createdBy"]), "data": data}


def _version(request: Request, number: Any) -> tuple[Row, Row]:
    board = find(request)
    row = request.store.one("dashboard_versions", dashboardId=board["id"], version=number)
    if row is None:
        raise Fail(500, f"Dashboard version {number} not found for dashboardId {board['id']}", traced=True)
    return board, row


@routes("POST", "/api/dashboards/uid/:uid/restore", EDITOR, "dashboards:write")
def restore(request: Request) -> Any:
    board, row = _version(request, request.json("version")["version"])
    model, who = {**row["data"], "uid": board["uid"]}, request.who.id
    return saved(
        save(request.store, request.org, model, board["folderUid"], who=who, message="", restored=row["version"])
    )


@routes("GET", "/api/dashboards/tags", VIEWER, "dashboards:read")
def tags(request: Request) -> Any:
    used = [
        tag for board in request.store.rows("dashboards", orgId=request.org) for tag in board["data"].get("tags") or []
    ]
    return [{"term": tag, "count": used.count(tag)} for tag in sorted(set(used))]


@routes("GET", "/api/search", VIEWER, "dashboards:read")
def search(request: Request) -> Any:
    if request.integer("limit", 1) > MOST_HITS:
        advice = "use page parameter to access hits beyond limit"
        raise Fail(422, f"Limit is above maximum allowed ({MOST_HITS}), {advice}")
    store, kind, sort = request.store, request.arg("type"), request.arg("sort")
    hits: list[Row] = []
    if kind in ("", "dash-folder"):
        hits += sorted((_hit(store, row, []) for row in store.rows("folders", orgId=request.org)), key=_title)
    if kind in ("", "dash-db"):
        boards = store.rows("dashboards", orgId=request.org)
        hits += sorted((_hit(store, row, _tags(row, bool(sort))) for row in boards), key=_title)
    if sort:
        hits.sort(key=_title, reverse=sort == "alpha-desc")
    return request.page([hit for hit in hits if _wanted(request, hit)], "limit")


def _title(hit: Row) -> str:
    return str(hit["title"]).lower()


def _tags(board: Row, as_saved: bool) -> list[str]:
    used = board["data"].get("tags") or []
    return used if as_saved else sorted(used)


def _wanted(request: Request, hit: Row) -> bool:
    """Whether a hit passes every filter given: any of several uids, all of several tags."""
    any_of = {
        "dashboardUIDs": hit["uid"],
        "dashboardIds": str(hit["id"]),
        "folderUIDs": hit.get("folderUid", ""),
        "folderIds": str(hit.get("folderId", 0)),
    }
    for name, value in any_of.items():
        asked = [part for text in request.query.get(name, []) for part in text.split(",") if part]
        if asked and value not in asked:
            return False
    return set(request.query.get("tag", [])) <= set(hit["tags"]) and matches(request.arg("query"), hit["title"])


def _hit(store: Store, row: Row, tags_: list[str]) -> Row:
    is_folder = "data" not in row
    above = row["parentUid"] if is_folder else row["folderUid"]
    folder = store.one("folders", orgId=row["orgId"], uid=above) if above else None
    hit = {
        "id": row["id"],
        "uid": row["uid"],
        "title": row["title"],
        "uri": f"db/{folders.slug(row['title'])}",
        "url": folders.url(row) if is_folder else url(row),
        "slug": "",
        "type": "dash-folder" if is_folder else "dash-db",
        "tags": tags_,
        "isStarred": False,
        "sortMeta": 0,
    }
    if folder:
        hit.update(
            folderId=folder["id"], folderUid=folder["uid"], folderTitle=folder["title"], folderUrl=folders.url(folder)
        )
    return hit
