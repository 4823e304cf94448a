# GNU General Public License v3.0+ (see LICENSE)
"""Permissions on folders and dashboards. They are kept and answered; what a caller may do depends on the role alone."""

from __future__ import annotations

from typing import Any

from ..api import ADMIN, AVATAR, ROLES, Fail, Request, Routes, bad_request, not_covered
from ..store import Row, Store, now
from . import dashboards, folders

routes = Routes()
LEVELS = {1: "View", 2: "Edit", 4: "Admin"}
DEFAULTS = {"Viewer": 1, "Editor": 2}
# A permission is given to exactly one of these, and Grafana lists them in this order.
HOLDERS = ("userId", "teamId", "role")
# What a level allows on a folder, in the order recorded.
FOLDER_ACTIONS = {
    "View": "alert.rules:read dashboards:read folders:read",
    "Edit": "dashboards:write folders:read alert.rules:create alert.rules:write dashboards:read dashboards:delete "
    "alert.rules:read folders:write folders:delete dashboards:create alert.rules:delete",
    "Admin": "alert.rules:read dashboards:delete alert.rules:create alert.rules:delete folders.permissions:read "
    "dashboards:read folders:read folders:delete dashboards.permissions:write folders.permissions:write "
    "dashboards:write folders:write dashboards:create alert.rules:write dashboards.permissions:read",
}


def grant_defaults(store: Store, item: Row, who: int) -> None:
    """What Grafana gives on a new folder or dashboard: its creator, and the roles when it lies at the root."""
    if who:
        _grant(store, item, {"userId": who}, 4)
    if not item["parentUid"]:
        for role, level in DEFAULTS.items():
            _grant(store, item, {"role": role}, level)


def _grant(store: Store, item: Row, holder: Row, level: int) -> None:
    """Give a level to a holder, or take it away with a level that is none."""
    everybody = {"userId": 0, "teamId": 0, "role": ""} | holder
    old = store.one("permissions", objectId=item["id"], **everybody)
    if level not in LEVELS:
        store.drop("permissions", objectId=item["id"], **everybody)
    elif old is None:
        row = {"orgId": item["orgId"], "objectId": item["id"], **everybody, "permission": level, "created": now()}
        store.add("permissions", row)
    else:
        old["permission"] = level


def _holder(entry: Row) -> Row:
    return {key: entry[key] for key in HOLDERS if entry.get(key)}


def _granted(store: Store, item: Row) -> list[Row]:
    rows = store.rows("permissions", objectId=item["id"])
    return sorted(rows, key=lambda row: [not row[key] for key in HOLDERS])


def listed(store: Store, item: Row) -> list[Row]:
    """The permissions of a folder or dashboard as answered, then those of the folders above it."""
    is_folder, own = "data" not in item, item["id"]
    rows = _granted(store, item)
    above = item["parentUid"] if is_folder else item["folderUid"]
    while above:
        folder = folders.find(store, item["orgId"], uid=above)
        rows += _granted(store, folder)
        above = folder["parentUid"]
    out = []
    for row in rows:
        user = store.one("users", id=row["userId"]) or store.one("service_accounts", id=row["userId"]) or {}
        team = store.one("teams", id=row["teamId"]) or {}
        shown = {
            "folderId" if is_folder else "dashboardId": own,
            "created": row["created"],
            "updated": row["created"],
            "userId": row["userId"],
            "userLogin": user.get("login", ""),
            "userEmail": user.get("email", ""),
            "userAvatarUrl": AVATAR,
            "teamId": row["teamId"],
            "teamEmail": team.get("email", ""),
            "teamAvatarUrl": "",
            "team": team.get("name", ""),
            "permission": row["permission"],
            "permissionName": LEVELS[row["permission"]],
            "uid": item["uid"],
            "title": item["title"],
            "slug": folders.slug(item["title"]),
            "isFolder": is_folder,
            "url": folders.url(item) if is_folder else dashboards.url(item),
            "inherited": row["objectId"] != own,
        }
        out.append({**shown, **({"role": row["role"]} if row["role"] else {})})
    return out


def replace(request: Request, item: Row, failure: str) -> Row:
    """Put the permissions in the body in the place of all others."""
    store, entries = request.store, request.json().get("items")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise bad_request()
    for entry in entries:
        if len(_holder(entry)) > 1:
            raise Fail(400, "team and user permissions cannot have an associated role", traced=True)
    for entry in entries:
        _check_holder(store, entry, Fail(500, failure, traced=True))
    wanted = [_holder(entry) for entry in entries]
    for row in _granted(store, item):
        if _holder(row) not in wanted:
            store.drop("permissions", id=row["id"])
    for entry in entries:
        _grant(store, item, _holder(entry), entry.get("permission") or 0)
    return {"message": "Dashboard permissions updated"}


def _check_holder(store: Store, entry: Row, failure: Fail) -> None:
    # Service accounts are users here, as the documentation of Grafana's Terraform provider says. No recording shows one.
    account = store.one("service_accounts", id=entry.get("userId"))
    for key, table in (("userId", "users"), ("teamId", "teams")):
        if entry.get(key) and not (key == "userId" and account) and not store.one(table, id=entry[key]):
            raise failure
    if not _holder(entry) or entry.get("role", ROLES[0]) not in ROLES:
        raise not_covered("a permission for nobody, or for a role that does not exist")


@routes("GET", "/api/folders/:uid/permissions", ADMIN, "folders.permissions:read")
def of_folder(request: Request) -> Any:
    return listed(request.store, folders.find(request.store, request.org, uid=request.params["uid"]))


@routes("POST", "/api/folders/:uid/permissions", ADMIN, "folders.permissions:write")
def set_on_folder(request: Request) -> Any:
    folder = folders.find(request.store, request.org, uid=request.params["uid"])
    return replace(request, folder, "Failed to create permission")


@routes("GET", "/api/dashboards/uid/:uid/permissions", ADMIN, "dashboards.permissions:read")
@routes("GET", "/api/dashboards/id/:id/permissions", ADMIN, "dashboards.permissions:read")
def of_dashboard(request: Request) -> Any:
    return listed(request.store, dashboards.find(request))


@routes("POST", "/api/dashboards/uid/:uid/permissions", ADMIN, "dashboards.permissions:write")
@routes("POST", "/api/dashboards/id/:id/permissions", ADMIN, "dashboards.permissions:write")
def set_on_dashboard(request: Request) -> Any:
    return replace(request, dashboards.find(request), "Failed to update permissions")


@routes("GET", "/api/access-control/folders/description", ADMIN, "folders.permissions:read")
def description(_request: Request) -> Any:
    return {
        "assignments": {"users": True, "teams": True, "builtInRoles": True},
        "permissions": list(LEVELS.values()),
    }


@routes("GET", "/api/access-control/folders/:uid", ADMIN, "folders.permissions:read")
def resource(request: Request) -> Any:
    folder = folders.find(request.store, request.org, uid=request.params["uid"])
    out = [_managed(request.store, row) for row in _granted(request.store, folder)]
    fixed = {"id": 0, "roleName": "", "isManaged": False, "builtInRole": "Admin", **_allowed("Admin")}
    return [*out, fixed]


def _allowed(level: str) -> Row:
    return {
        "isInherited": False,
        "userAvatarUrl": AVATAR,
        "actions": FOLDER_ACTIONS[level].split(),
        "permission": level,
    }


def _managed(store: Store, row: Row) -> Row:
    shown = {"id": row["id"], "isManaged": True, **_allowed(LEVELS[row["permission"]])}
    if row["teamId"]:
        raise not_covered("a team's permission in the list of resource permissions")
    if row["role"]:
        role = row["role"]
        return {**shown, "roleName": f"managed:builtins:{role.lower()}:permissions", "builtInRole": role}
    user = store.one("users", id=row["userId"]) or {}
    name = f"managed:users:{row['userId']}:permissions"
    return {**shown, "roleName": name, "userId": row["userId"], "userLogin": user["login"]}


@routes("POST", "/api/access-control/folders/:uid/users/:holder", ADMIN, "folders.permissions:write")
def grant_user(request: Request) -> Any:
    return _grant_resource(request, {"userId": request.number("holder", bad_request())})


@routes("POST", "/api/access-control/folders/:uid/teams/:holder", ADMIN, "folders.permissions:write")
def grant_team(request: Request) -> Any:
    return _grant_resource(request, {"teamId": request.number("holder", bad_request())})


@routes("POST", "/api/access-control/folders/:uid/builtInRoles/:holder", ADMIN, "folders.permissions:write")
def grant_role(request: Request) -> Any:
    return _grant_resource(request, {"role": request.params["holder"]})


def _grant_resource(request: Request, holder: Row) -> Row:
    folder = folders.find(request.store, request.org, uid=request.params["uid"])
    name = request.json().get("permission") or ""
    level = next((number for number, known in LEVELS.items() if known == name), 0)
    if name and not level:
        raise not_covered(f"the resource permission {name!r}")
    _check_holder(request.store, holder, not_covered("a resource permission for somebody who does not exist"))
    _grant(request.store, folder, holder, level)
    return {"message": "Permission updated" if name else "Permission removed"}
