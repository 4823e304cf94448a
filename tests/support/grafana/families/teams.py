# GNU General Public License v3.0+ (see LICENSE)
"""Teams and their members."""

from __future__ import annotations

import uuid
from typing import Any

from ..api import ADMIN, AVATAR, SERVER_ADMIN, SIGNED_IN, Fail, Request, Routes, absent, bad_request, matches
from ..store import Row, Store

routes = Routes()
MEMBER, TEAM_ADMIN = 0, 4


def path_team(request: Request) -> int:
    """The team's number in the path."""
    return request.number("team", bad_request("teamId is invalid"))


def find(request: Request) -> Row | None:
    """The team in the path."""
    return request.store.one("teams", orgId=request.org, id=path_team(request))


def shown(store: Store, team: Row) -> Row:
    """A team as answered."""
    return {
        **{key: team[key] for key in ("id", "uid", "orgId", "name", "email")},
        "isProvisioned": False,
        "avatarUrl": AVATAR,
        "memberCount": len(store.rows("team_members", teamId=team["id"])),
        "permission": 0,
        "accessControl": None,
    }


@routes("GET", "/api/teams/search", ADMIN, "teams:read")
def search(request: Request) -> Any:
    name = request.arg("name")
    teams = [
        row
        for row in request.store.rows("teams", orgId=request.org)
        if name in ("", row["name"]) and matches(request.arg("query"), row["name"])
    ]
    teams.sort(key=lambda row: (row["name"].lower(), row["name"]))
    return {
        "totalCount": len(teams),
        "teams": [shown(request.store, row) for row in request.page(teams)],
        "page": request.integer("page", 1),
        "perPage": request.integer("perpage", 1000),
    }


@routes("POST", "/api/teams", ADMIN, "teams:create")
def create(request: Request) -> Any:
    body = request.json("name")
    if request.store.one("teams", orgId=request.org, name=body["name"]):
        raise Fail(409, "Team name taken", traced=True)
    row = {"orgId": request.org, "uid": uuid.uuid4().hex[:14], "name": body["name"], "email": body.get("email") or ""}
    team = request.store.add("teams", row)
    if request.who.kind == "user":
        _join(request.store, team, request.who.id, TEAM_ADMIN)
    return {"message": "Team created", "teamId": team["id"], "uid": team["uid"]}


@routes("GET", "/api/teams/:team", ADMIN, "teams:read")
def get(request: Request) -> Any:
    team = find(request)
    if team is None:
        raise Fail(404, "Team not found", traced=True)
    return shown(request.store, team)


@routes("PUT", "/api/teams/:team", ADMIN, "teams:write")
def update(request: Request) -> Any:
    body, team = request.json("name"), find(request)
    other = request.store.one("teams", orgId=request.org, name=body["name"])
    if other and other is not team:
        raise Fail(400, "Team name taken", traced=True)
    if team is None:
        raise Fail(500, "Failed to update Team", traced=True)
    team.update(name=body["name"], email=body.get("email") or "")
    return {"message": "Team updated"}


@routes("DELETE", "/api/teams/:team", ADMIN, "teams:delete")
def delete(request: Request) -> Any:
    if not request.store.drop("teams", orgId=request.org, id=path_team(request)):
        raise Fail(404, "Failed to delete Team. ID not found")
    for table in ("team_members", "permissions", "preferences"):
        request.store.drop(table, teamId=path_team(request))
    return {"message": "Team deleted"}


@routes("GET", "/api/teams/:team/members", ADMIN, "teams.permissions:read")
def members(request: Request) -> Any:
    out = []
    for row in request.store.rows("team_members", orgId=request.org, teamId=path_team(request)):
        user = request.store.one("users", id=row["userId"])
        if user:
            out.append(
                {
                    "orgId": row["orgId"],
                    "teamId": row["teamId"],
                    "userId": user["id"],
                    "auth_module": "",
                    "email": user["email"],
                    "name": user["name"],
                    "login": user["login"],
                    "avatarUrl": AVATAR,
                    "labels": [],
                    "permission": row["permission"],
                }
            )
    return sorted(out, key=lambda member: str(member["login"]))


@routes("POST", "/api/teams/:team/members", ADMIN, "teams.permissions:write")
def add_member(request: Request) -> Any:
    user, team = request.json("userId")["userId"], find(request)
    if team is None or not request.store.one("users", id=user):
        raise Fail(500, "Failed to add Member to Team", traced=True)
    if request.store.one("team_members", teamId=team["id"], userId=user):
        raise Fail(400, "User is already added to this team")
    _join(request.store, team, user, MEMBER)
    return {"message": "Member added to Team"}


@routes("PUT", "/api/teams/:team/members", ADMIN, "teams.permissions:write")
def set_members(request: Request) -> Any:
    """All at once, by mail address."""
    body, team = request.json(), find(request)
    if team is None:
        raise Fail(404, "Team not found")
    wanted: dict[int, int] = {}
    for key, permission in (("members", MEMBER), ("admins", TEAM_ADMIN)):
        for email in body.get(key) or []:
            user = request.app.find_user(email)
            if user is None:
                raise Fail(404, "user not found")
            wanted[user["id"]] = permission
    request.store.drop("team_members", teamId=team["id"])
    for number, permission in wanted.items():
        _join(request.store, team, number, permission)
    return {"message": "Team memberships have been updated"}


@routes("PUT", "/api/teams/:team/members/:user", ADMIN, "teams.permissions:write")
def change_member(request: Request) -> Any:
    _member(request)["permission"] = request.json().get("permission") or MEMBER
    return {"message": "Team member updated"}


@routes("DELETE", "/api/teams/:team/members/:user", ADMIN, "teams.permissions:write")
def remove_member(request: Request) -> Any:
    request.store.drop("team_members", id=_member(request)["id"])
    return {"message": "Team Member removed"}


@routes("GET", "/api/users/:user/teams", SERVER_ADMIN, "users:read")
def teams_of(request: Request) -> Any:
    user = request.number("user", bad_request("id is invalid"))
    ids = [row["teamId"] for row in request.store.rows("team_members", orgId=request.org, userId=user)]
    return [shown(request.store, team) for team in request.store.rows("teams", orgId=request.org) if team["id"] in ids]


# Synchronised groups are not in the open edition.
routes("GET", "/api/teams/:team/groups", SIGNED_IN)(absent)


def _join(store: Store, team: Row, user: int, permission: int) -> None:
    row = {"orgId": team["orgId"], "teamId": team["id"], "userId": user, "permission": permission}
    store.add("team_members", row)


def _member(request: Request) -> Row:
    user = request.number("user", bad_request("userId is invalid"))
    member = request.store.one("team_members", orgId=request.org, teamId=path_team(request), userId=user)
    if member is None:
        raise Fail(404, "Team member not found")
    return member
