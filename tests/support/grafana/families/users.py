# GNU General Public License v3.0+ (see LICENSE)
"""Users, as themselves and as the server administrator sees them."""

from __future__ import annotations

from typing import Any

from ..api import AVATAR, SERVER_ADMIN, SIGNED_IN, Fail, Request, Routes, bad_request, matches
from ..app import new_user
from ..store import Row, Store, age, hash_password, now, password_matches

routes = Routes()
MISSING = "user not found"
SHORTEST_PASSWORD = 4


def profile(user: Row | None, *, labels: list[str] | None, avatar: str = AVATAR) -> Row:
    """A user as answered to requests for one."""
    if user is None:
        raise Fail(404, MISSING)
    keys = ("id", "email", "name", "login", "theme", "orgId", "isGrafanaAdmin", "isDisabled")
    return {
        **{key: user[key] for key in keys},
        "isExternal": False,
        "isExternallySynced": False,
        "authLabels": labels,
        "updatedAt": user["updated"],
        "createdAt": user["created"],
        "avatarUrl": avatar,
    }


def last_seen(user: Row) -> Row:
    """When, and how long ago in words."""
    minutes = int(age(user["lastSeenAt"]).total_seconds() // 60)
    steps = ((525_600, "year"), (1440, "day"), (60, "hour"), (1, "minute"))
    for size, name in steps:
        if minutes >= size:
            count = minutes // size
            return {"lastSeenAt": user["lastSeenAt"], "lastSeenAtAge": f"{count} {name}{'s' if count > 1 else ''}"}
    return {"lastSeenAt": user["lastSeenAt"], "lastSeenAtAge": "< 1 minute"}


def remove(store: Store, user: int) -> None:
    """Delete a user and all that is theirs."""
    store.drop("users", id=user)
    for table in ("org_users", "team_members", "permissions", "preferences"):
        store.drop(table, userId=user)


def leave(store: Store, user: Row, org: int) -> None:
    """Let the user look at another organisation than this one."""
    member = store.one("org_users", userId=user["id"])
    if user["orgId"] == org and member:
        user["orgId"] = member["orgId"]


def path_user(request: Request) -> int:
    """The user's number in the path."""
    return request.number("user", bad_request("id is invalid"))


def wanted(request: Request) -> Row:
    """The user in the path."""
    user = request.store.one("users", id=path_user(request))
    if user is None:
        raise Fail(404, MISSING)
    return user


def taken(request: Request, login: str, email: str, but: int = 0) -> bool:
    """Whether another user has this login or address, as either."""
    others = (request.app.find_user(value) for value in (login, email) if value)
    return any(other and other["id"] != but for other in others)


@routes("GET", "/api/user", SIGNED_IN)
def me(request: Request) -> Any:
    user = request.store.one("users", id=request.who.id) if request.who.kind == "user" else None
    return profile(user, labels=[])


@routes("GET", "/api/user/orgs", SIGNED_IN)
def my_orgs(request: Request) -> Any:
    return orgs_of(request.store, request.who.id)


@routes("POST", "/api/user/using/:org", SIGNED_IN)
def use_org(request: Request) -> Any:
    org = request.number("org", bad_request("id is invalid"))
    user = request.store.one("users", id=request.who.id)
    if not user or not request.store.one("org_users", orgId=org, userId=user["id"]):
        raise Fail(401, "Not a valid organization")
    user["orgId"] = org
    return {"message": "Active organization changed"}


@routes("PUT", "/api/user/password", SIGNED_IN)
def change_own_password(request: Request) -> Any:
    body, user = request.json("oldPassword", "newPassword"), request.store.one("users", id=request.who.id)
    if not user or not password_matches(body["oldPassword"], user["password"]):
        raise Fail(401, "Invalid old password")
    if len(body["newPassword"]) < SHORTEST_PASSWORD:
        raise Fail(400, "New password is too short")
    user.update(password=hash_password(body["newPassword"]), updated=now())
    return {"message": "User password changed"}


@routes("GET", "/api/users/lookup", SERVER_ADMIN, "users:read")
def look_up(request: Request) -> Any:
    return profile(request.app.find_user(request.arg("loginOrEmail")), labels=None, avatar="")


@routes("GET", "/api/users", SERVER_ADMIN, "users:read")
def listing(request: Request) -> Any:
    return request.page(found(request))


@routes("GET", "/api/users/search", SERVER_ADMIN, "users:read")
def search(request: Request) -> Any:
    users = found(request)
    page, size = request.integer("page", 1), request.integer("perpage", 1000)
    return {"totalCount": len(users), "users": request.page(users), "page": page, "perPage": size}


def found(request: Request) -> list[Row]:
    """The users that `query` asks for, by login."""
    users = [
        {
            **{key: user[key] for key in ("id", "name", "login", "email")},
            "avatarUrl": AVATAR,
            "isAdmin": user["isGrafanaAdmin"],
            "isDisabled": user["isDisabled"],
            **last_seen(user),
            "authLabels": [],
        }
        for user in request.store.rows("users")
        if matches(request.arg("query"), user["login"], user["email"], user["name"])
    ]
    return sorted(users, key=lambda user: str(user["login"]))


@routes("GET", "/api/users/:user", SERVER_ADMIN, "users:read")
def by_id(request: Request) -> Any:
    return profile(wanted(request), labels=[])


@routes("GET", "/api/users/:user/orgs", SERVER_ADMIN, "users:read")
def orgs(request: Request) -> Any:
    return orgs_of(request.store, path_user(request))


def orgs_of(store: Store, user: int) -> list[Row]:
    """A user's organisations."""
    names = {org["id"]: org["name"] for org in store.rows("orgs")}
    members = store.rows("org_users", userId=user)
    return [{"orgId": row["orgId"], "name": names[row["orgId"]], "role": row["role"]} for row in members]


@routes("PUT", "/api/users/:user", SERVER_ADMIN, "users:write")
def update(request: Request) -> Any:
    body, number = request.json(), path_user(request)
    login, email = body.get("login") or "", body.get("email") or ""
    if not login and not email:
        raise Fail(400, "Validation error, need to specify either username or email")
    if taken(request, login, email, number):
        raise Fail(500, "Failed to update user", traced=True)
    user = request.store.one("users", id=number)
    if user is not None:  # Grafana says the same when there is none.
        given = {"login": login, "email": email, **{key: body.get(key) or "" for key in ("name", "theme")}}
        user.update({key: value for key, value in given.items() if value}, updated=now())
    return {"message": "User updated"}


@routes("POST", "/api/admin/users", SERVER_ADMIN, "users:create")
def create(request: Request) -> Any:
    body = request.json("password")
    login, email = body.get("login") or body.get("email") or "", body.get("email") or body.get("login") or ""
    if not login:
        raise Fail(400, "Validation error, need specify either username or email")
    if len(body["password"]) < SHORTEST_PASSWORD:
        raise Fail(400, "Password is missing or too short")
    org = next((body[key] for key in ("OrgId", "orgId") if body.get(key)), 1)
    if not request.store.one("orgs", id=org):
        raise Fail(400, f"[org.notFound] failed to get organization with ID: {org}")
    if taken(request, login, email):
        raise Fail(412, f"User with email '{email}' or username '{login}' already exists", traced=True)
    user = request.store.add("users", new_user(login, email, body.get("name") or "", body["password"], org))
    role = request.app.config.text("users", "auto_assign_org_role", "Viewer")
    request.store.add("org_users", {"orgId": org, "userId": user["id"], "role": role})
    return {"id": user["id"], "message": "User created"}


@routes("DELETE", "/api/admin/users/:user", SERVER_ADMIN, "users:delete")
def delete(request: Request) -> Any:
    remove(request.store, wanted(request)["id"])
    return {"message": "User deleted"}


@routes("PUT", "/api/admin/users/:user/password", SERVER_ADMIN, "users.password:write")
def set_password(request: Request) -> Any:
    password = request.json("password")["password"]
    if len(password) < SHORTEST_PASSWORD:
        raise Fail(400, "New password too short")
    user = request.store.one("users", id=path_user(request))
    if user is None:
        raise Fail(500, "Could not read user from database", traced=True)
    user.update(password=hash_password(password), updated=now())
    return {"message": "User password updated"}


@routes("PUT", "/api/admin/users/:user/permissions", SERVER_ADMIN, "users.permissions:write")
def set_server_admin(request: Request) -> Any:
    admin, user = bool(request.json().get("isGrafanaAdmin")), wanted(request)
    if not admin and [row["id"] for row in request.store.rows("users", isGrafanaAdmin=True)] == [user["id"]]:
        raise Fail(400, "cannot remove last grafana admin")
    user.update(isGrafanaAdmin=admin, updated=now())
    return {"message": "User permissions updated"}


@routes("POST", "/api/admin/users/:user/disable", SERVER_ADMIN, "users:disable")
def disable(request: Request) -> Any:
    wanted(request)["isDisabled"] = True
    return {"message": "User disabled"}


@routes("POST", "/api/admin/users/:user/enable", SERVER_ADMIN, "users:enable")
def enable(request: Request) -> Any:
    wanted(request)["isDisabled"] = False
    return {"message": "User enabled"}


@routes("GET", "/api/admin/users/:user/auth-tokens", SERVER_ADMIN, "users.authtoken:read")
def sessions(request: Request) -> Any:
    wanted(request)
    return []


@routes("POST", "/api/admin/users/:user/logout", SERVER_ADMIN, "users.logout")
def log_out(request: Request) -> Any:
    user = wanted(request)["id"]
    for token in [token for token, owner in request.app.sessions.items() if owner == user]:
        del request.app.sessions[token]
    return {"message": "User logged out"}
