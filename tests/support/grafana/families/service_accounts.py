# GNU General Public License v3.0+ (see LICENSE)
"""Service accounts and their tokens. Their routes answer 403, not 401, without credentials."""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from datetime import timedelta
from typing import Any

from ..api import ADMIN, AVATAR, ROLES, Fail, Reply, Request, Routes, bad_request, matches
from ..store import Row, age, now

routes = Routes(unauthenticated=403)
# These routes write it with a capital.
BAD_REQUEST = "Bad request data"
KEYS = ("id", "name", "login", "orgId", "isDisabled")


def number(request: Request) -> int:
    """The account's number in the path."""
    return request.number("id", bad_request("Service account ID is invalid"))


def find(request: Request) -> Row:
    """The account in the path."""
    account = request.store.one("service_accounts", orgId=request.org, id=number(request))
    if account is None:
        raise Fail(404, "Failed to retrieve service account", traced=True)
    return account


def brief(request: Request, account: Row, avatar: str) -> Row:
    """An account as answered in lists and on creation."""
    tokens = len(request.store.rows("tokens", accountId=account["id"]))
    return {**{key: account[key] for key in KEYS}, "role": account["role"], "tokens": tokens, "avatarUrl": avatar}


def shown(account: Row) -> Row:
    """An account as answered to requests for one."""
    return {
        **{key: account[key] for key in KEYS},
        "createdAt": account["created"],
        "updatedAt": account["updated"],
        "avatarUrl": AVATAR,
        "role": account["role"],
        "teams": None,
    }


@routes("GET", "/api/serviceaccounts/search", ADMIN, "serviceaccounts:read")
def search(request: Request) -> Any:
    rows = request.store.rows("service_accounts", orgId=request.org)
    accounts = [row for row in rows if matches(request.arg("query"), row["name"], row["login"])]
    accounts.sort(key=lambda row: row["login"])
    return {
        "totalCount": len(accounts),
        "serviceAccounts": [brief(request, row, AVATAR) for row in request.page(accounts)],
        "page": request.integer("page", 1),
        "perPage": request.integer("perpage", 1000),
    }


@routes("POST", "/api/serviceaccounts", ADMIN, "serviceaccounts:create")
def create(request: Request) -> Any:
    body = request.json("name", message=BAD_REQUEST)
    role = body.get("role") or "Viewer"
    if role not in ROLES:
        raise bad_request(BAD_REQUEST)
    login = "sa-" + re.sub(r"\s+", "-", body["name"].lower())
    if request.store.one("service_accounts", orgId=request.org, login=login):
        raise Fail(400, "Failed to create service account", traced=True)
    row = {"orgId": request.org, "name": body["name"], "login": login, "role": role, "created": now(), "updated": now()}
    account = {**row, "isDisabled": bool(body.get("isDisabled"))}
    # Accounts and users share one sequence of numbers: in Grafana they share a table.
    account = request.store.add("service_accounts", account, counter="users")
    return Reply(201, brief(request, account, ""))


@routes("GET", "/api/serviceaccounts/:id", ADMIN, "serviceaccounts:read")
def get(request: Request) -> Any:
    return shown(find(request))


@routes("PATCH", "/api/serviceaccounts/:id", ADMIN, "serviceaccounts:write")
def update(request: Request) -> Any:
    body = request.json(message=BAD_REQUEST)
    if body.get("role") not in (None, *ROLES):
        raise bad_request(BAD_REQUEST)
    account = find(request)
    account.update(
        {key: body[key] for key in ("name", "role", "isDisabled") if body.get(key) is not None}, updated=now()
    )
    answer = {"id": account["id"], "message": "Service account updated", "name": account["name"]}
    return {**answer, "serviceaccount": shown(account)}


@routes("DELETE", "/api/serviceaccounts/:id", ADMIN, "serviceaccounts:delete")
def delete(request: Request) -> Any:
    if not request.store.drop("service_accounts", orgId=request.org, id=number(request)):
        raise Fail(500, "Service account deletion error", traced=True)
    request.store.drop("tokens", accountId=number(request))
    request.store.drop("permissions", userId=number(request))
    return {"message": "Service account deleted"}


@routes("GET", "/api/serviceaccounts/:id/tokens", ADMIN, "serviceaccounts:read")
def tokens(request: Request) -> Any:
    out = []
    for row in request.store.rows("tokens", orgId=request.org, accountId=number(request)):
        left = -age(row["expiration"]).total_seconds() if row["expiration"] else 0
        out.append(
            {
                **{key: row[key] for key in ("id", "name", "created", "lastUsedAt", "expiration")},
                "secondsUntilExpiration": max(left, 0),
                "hasExpired": left < 0,
                "isRevoked": False,
            }
        )
    return out


@routes("POST", "/api/serviceaccounts/:id/tokens", ADMIN, "serviceaccounts:write")
def create_token(request: Request) -> Any:
    body = request.json("name", message=BAD_REQUEST)
    account, life = find(request), body.get("secondsToLive") or 0
    if life < 0:
        raise Fail(400, "[serviceaccounts.ErrInvalidInput] ")
    if request.store.one("tokens", orgId=request.org, name=body["name"]):
        raise Fail(409, "[serviceaccounts.ErrTokenAlreadyExists] ")
    secret = secrets.token_hex(16)
    key = f"glsa_{secret}_{zlib.crc32(secret.encode()):08x}"
    row = {
        "orgId": request.org,
        "accountId": account["id"],
        "name": body["name"],
        "hash": hashlib.sha256(key.encode()).hexdigest(),
        "created": now(),
        "lastUsedAt": None,
        "expiration": now(timedelta(seconds=life)) if life else None,
    }
    return {"id": request.store.add("tokens", row)["id"], "name": body["name"], "key": key}


@routes("DELETE", "/api/serviceaccounts/:id/tokens/:token", ADMIN, "serviceaccounts:write")
def delete_token(request: Request) -> Any:
    token = request.number("token", bad_request("Token ID is invalid"))
    if not request.store.drop("tokens", orgId=request.org, accountId=number(request), id=token):
        raise Fail(500, "Failed to delete service account token", traced=True)
    return {"message": "Service account token deleted"}
