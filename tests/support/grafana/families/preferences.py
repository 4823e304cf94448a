# GNU General Public License v3.0+ (see LICENSE)
"""Preferences of an organisation, a team, or the caller."""

from __future__ import annotations

from typing import Any

from ..api import ADMIN, SIGNED_IN, Fail, Request, Routes, absent, not_covered
from ..store import Row
from .dashboards import missing
from .teams import find, path_team

routes = Routes()
TEXTS = ("theme", "timezone", "weekStart", "language")
THEMES = ("", "dark", "light", "system")


def shown(request: Request, **owner: int) -> Row:
    """What is set. A home dashboard that is gone is not answered."""
    row = request.store.one("preferences", orgId=request.org, **_owner(owner)) or {}
    home = request.store.one("dashboards", id=row["homeDashboardId"]) if row.get("homeDashboardId") else None
    texts = {key: row[key] for key in TEXTS if row.get(key)}
    return {**texts, **({"homeDashboardUID": home["uid"]} if home else {})}


def put(request: Request, *, merge: bool, **owner: int) -> Row:
    """Set them. What the body leaves out is reset, with `merge` it stays."""
    body, store, key = request.json(), request.store, {"orgId": request.org, **_owner(owner)}
    if body.get("theme", "") not in THEMES:
        raise Fail(400, "Invalid theme")
    given: Row = {name: body[name] or "" for name in TEXTS if name in body}
    for name, column in (("homeDashboardId", "id"), ("homeDashboardUID", "uid")):
        if name in body:
            board = store.one("dashboards", orgId=request.org, **{column: body[name]})
            if body[name] and not board:
                raise missing()
            given["homeDashboardId"] = board["id"] if board else 0
    old = store.one("preferences", **key) or {}
    store.drop("preferences", **key)
    store.add("preferences", {**key, **({name: old[name] for name in old if name != "id"} if merge else {}), **given})
    return {"message": "Preferences updated"}


def _owner(owner: dict[str, int]) -> Row:
    return {"userId": 0, "teamId": 0, **owner}


@routes("GET", "/api/org/preferences", ADMIN, "orgs.preferences:read")
def of_org(request: Request) -> Any:
    return shown(request)


@routes("PUT", "/api/org/preferences", ADMIN, "orgs.preferences:write")
def put_org(request: Request) -> Any:
    return put(request, merge=False)


@routes("PATCH", "/api/org/preferences", ADMIN, "orgs.preferences:write")
def patch_org(request: Request) -> Any:
    return put(request, merge=True)


@routes("GET", "/api/teams/:team/preferences", ADMIN, "teams:read")
def of_team(request: Request) -> Any:
    return shown(request, teamId=path_team(request))


@routes("PUT", "/api/teams/:team/preferences", ADMIN, "teams:write")
def put_team(request: Request) -> Any:
    if find(request) is None:
        raise not_covered("setting the preferences of a team that does not exist")
    return put(request, merge=False, teamId=path_team(request))


routes("PATCH", "/api/teams/:team/preferences", SIGNED_IN)(absent)


@routes("GET", "/api/user/preferences", SIGNED_IN)
def of_user(request: Request) -> Any:
    return shown(request, userId=_user(request))


@routes("PUT", "/api/user/preferences", SIGNED_IN)
def put_user(request: Request) -> Any:
    return put(request, merge=False, userId=_user(request))


@routes("PATCH", "/api/user/preferences", SIGNED_IN)
def patch_user(request: Request) -> Any:
    return put(request, merge=True, userId=_user(request))


def _user(request: Request) -> int:
    if request.who.kind != "user":
        raise not_covered("the preferences of a caller who is no user")
    return request.who.id
