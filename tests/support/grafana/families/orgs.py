# GNU General Public License v3.0+ (see LICENSE)
"""Organisations and their members."""

from __future__ import annotations

from typing import Any

from ..api import ADMIN, AVATAR, ROLES, SERVER_ADMIN, SIGNED_IN, VIEWER, Fail, Request, Routes, absent, bad_request, denied, matches
from ..store import Row, Store
from . import users

routes = Routes()
ADDRESS = ("address1", "address2", "city", "zipCode", "state", "country")
MISSING = "Organization not found"


def shown(org: Row | None) -> Row:
    """An organisation as answered."""
    if org is None:
        raise Fail(404, MISSING, traced=True)
    address = {key: org["address"].get(key, "") for key in ADDRESS}
    return {"id": org["id"], "name": org["name"], "address": address}


def path_org(request: Request) -> int:
    """The organisation in the path. What is no number is nobody's organisation, so nobody may see it."""
    return request.number("org", denied(""))


@routes("GET", "/api/org", VIEWER, "orgs:read", or_server_admin=True)
def current(request: Request) -> Any:
    return shown(request.store.one("orgs", id=request.org))


@routes("PUT", "/api/org", ADMIN, "orgs:write")
def rename_current(request: Request) -> Any:
    return rename_org(request, request.org)


routes("PATCH", "/api/org", SIGNED_IN)(absent)


@routes("PUT", "/api/org/address", ADMIN, "orgs:write")
def address_current(request: Request) -> Any:
    return set_address(request, request.org)


@routes("GET", "/api/orgs", SERVER_ADMIN, "orgs:read")
def listing(request: Request) -> Any:
    name, query = request.arg("name"), request.arg("query")
    found = [row for row in request.store.rows("orgs") if matches(query, row["name"]) and name in ("", row["name"])]
    found.sort(key=lambda row: row["name"].lower())
    return [{"id": row["id"], "name": row["name"]} for row in request.page(found, first=0)]


@routes("POST", "/api/orgs", SERVER_ADMIN, "orgs:create")
def create(request: Request) -> Any:
    name = request.json("name")["name"]
    if request.store.one("orgs", name=name):
        raise Fail(409, "Organization name taken", traced=True)
    org = request.store.add("orgs", {"name": name, "address": {}})
    request.store.add("org_users", {"orgId": org["id"], "userId": request.who.id, "role": "Admin"})
    return {"message": "Organization created", "orgId": org["id"]}


@routes("GET", "/api/orgs/name/:name", SERVER_ADMIN, "orgs:read")
def by_name(request: Request) -> Any:
    return shown(request.store.one("orgs", name=request.params["name"]))


@routes("GET", "/api/orgs/:org", SERVER_ADMIN, "orgs:read")
def by_id(request: Request) -> Any:
    return shown(request.store.one("orgs", id=path_org(request)))


@routes("PUT", "/api/orgs/:org", SERVER_ADMIN, "orgs:write")
def rename(request: Request) -> Any:
    return rename_org(request, path_org(request))


@routes("PUT", "/api/orgs/:org/address", SERVER_ADMIN, "orgs:write")
def address(request: Request) -> Any:
    return set_address(request, path_org(request))


@routes("DELETE", "/api/orgs/:org", SERVER_ADMIN, "orgs:delete")
def delete(request: Request) -> Any:
    org = path_org(request)
    if org == request.org:
        raise Fail(400, "Can not delete org for current user")
    if not request.store.drop("orgs", id=org):
        raise Fail(404, "Failed to delete organization. ID not found")
    for table in request.store.tables():
        if table != "users":  # There orgId is only the organisation somebody looks at.
            request.store.drop(table, orgId=org)
    for user in request.store.rows("users", orgId=org):
        users.leave(request.store, user, org)
    return {"message": "Organization deleted"}


def rename_org(request: Request, org: int) -> Any:
    name = request.json("name")["name"]
    row, other = request.store.one("orgs", id=org), request.store.one("orgs", name=name)
    if other and other is not row:
        raise Fail(400, "Organization name taken", traced=True)
    if row is None:
        raise Fail(500, "Failed to update organization", traced=True)
    row["name"] = name
    return {"message": "Organization updated"}


def set_address(request: Request, org: int) -> Any:
    body, row = request.json(), request.store.one("orgs", id=org)
    if row is None:
        raise Fail(500, "Failed to update org address", traced=True)
    row["address"] = {key: body.get(key, "") for key in ADDRESS}
    return {"message": "Address updated"}


def members(request: Request, org: int) -> list[Row]:
    """The members of an organisation, by login, narrowed by `query`."""
    out = []
    for member in request.store.rows("org_users", orgId=org):
        user = request.store.one("users", id=member["userId"])
        if not user or not matches(request.arg("query"), user["login"], user["email"], user["name"]):
            continue
        out.append(
            {
                "orgId": org,
                "userId": user["id"],
                "email": user["email"],
                "name": user["name"],
                "avatarUrl": AVATAR,
                "login": user["login"],
                "role": member["role"],
                **users.last_seen(user),
                "isDisabled": user["isDisabled"],
                "authLabels": None,
            }
        )
    return sorted(out, key=lambda member: str(member["login"]))


def checked_role(body: Row) -> str:
    """The role in a body, if it is one."""
    role = body.get("role")
    if role not in ROLES:
        raise bad_request()
    return str(role)


def last_admin(store: Store, org: int, user: int) -> bool:
    """Whether nobody else administers the organisation."""
    return [row["userId"] for row in store.rows("org_users", orgId=org, role="Admin")] == [user]


def add_member(request: Request, org: int) -> Any:
    body = request.json("loginOrEmail")
    role = checked_role(body)
    user = request.app.find_user(body["loginOrEmail"])
    if user is None:
        raise Fail(404, "User not found")
    if not request.store.one("orgs", id=org):
        raise Fail(500, "Could not add user to organization", traced=True)
    if request.store.one("org_users", orgId=org, userId=user["id"]):
        raise Fail(409, "User is already member of this organization", userId=user["id"])
    request.store.add("org_users", {"orgId": org, "userId": user["id"], "role": role})
    return {"message": "User added to organization", "userId": user["id"]}


def change_member(request: Request, org: int) -> Any:
    role = checked_role(request.json())
    user = request.number("user", bad_request("userId is invalid"))
    member = request.store.one("org_users", orgId=org, userId=user)
    if member is None:
        raise Fail(500, "Failed update org user", traced=True)
    if role != "Admin" and last_admin(request.store, org, user):
        raise Fail(400, "Cannot change role so that there is no organization admin left")
    member["role"] = role
    return {"message": "Organization user updated"}


def remove_member(request: Request, org: int, *, orphans: bool) -> Any:
    """Leave the organisation. `orphans`: a user without any organisation left is deleted."""
    store, number = request.store, request.number("user", bad_request("userId is invalid"))
    user = store.one("users", id=number)
    if user is None:
        raise Fail(500, "Failed to remove user from organization", traced=True)
    if last_admin(store, org, number):
        raise Fail(400, "Cannot remove last organization admin")
    store.drop("org_users", orgId=org, userId=number)
    store.drop("team_members", orgId=org, userId=number)
    if orphans and not store.rows("org_users", userId=number):
        users.remove(store, number)
        return {"message": "User deleted"}
    users.leave(store, user, org)
    return {"message": "User removed from organization"}


@routes("GET", "/api/org/users", ADMIN, "org.users:read")
def current_members(request: Request) -> Any:
    return members(request, request.org)[: request.integer("limit", 10**6)]


@routes("GET", "/api/org/users/search", ADMIN, "org.users:read")
def search_members(request: Request) -> Any:
    found = members(request, request.org)
    page, size = request.integer("page", 1), request.integer("perpage", 1000)
    return {"totalCount": len(found), "orgUsers": request.page(found), "page": page, "perPage": size}


@routes("GET", "/api/org/users/lookup", ADMIN, "org.users:read")
def look_up_members(request: Request) -> Any:
    return [{key: row[key] for key in ("userId", "login", "avatarUrl")} for row in members(request, request.org)]


@routes("POST", "/api/org/users", ADMIN, "org.users:add")
def add_current(request: Request) -> Any:
    return add_member(request, request.org)


@routes("PATCH", "/api/org/users/:user", ADMIN, "org.users:write")
def change_current(request: Request) -> Any:
    return change_member(request, request.org)


@routes("DELETE", "/api/org/users/:user", ADMIN, "org.users:remove")
def remove_current(request: Request) -> Any:
    return remove_member(request, request.org, orphans=True)


@routes("GET", "/api/orgs/:org/users", SERVER_ADMIN, "org.users:read")
def other_members(request: Request) -> Any:
    return members(request, path_org(request))


@routes("POST", "/api/orgs/:org/users", SERVER_ADMIN, "org.users:add")
def add_other(request: Request) -> Any:
    return add_member(request, path_org(request))


@routes("PATCH", "/api/orgs/:org/users/:user", SERVER_ADMIN, "org.users:write")
def change_other(request: Request) -> Any:
    return change_member(request, path_org(request))


@routes("DELETE", "/api/orgs/:org/users/:user", SERVER_ADMIN, "org.users:remove")
def remove_other(request: Request) -> Any:
    return remove_member(request, path_org(request), orphans=False)
