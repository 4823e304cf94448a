# GNU General Public License v3.0+ (see LICENSE)
"""API keys, which service accounts replaced. They can be made, listed and deleted; nobody can sign in with one."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from ..api import ADMIN, ROLES, Fail, Request, Routes, bad_request
from ..store import Row, age, now

routes = Routes()


@routes("GET", "/api/auth/keys", ADMIN, "apikeys:read")
def listing(request: Request) -> Any:
    rows = request.store.rows("api_keys", orgId=request.org)
    if request.arg("includeExpired") != "true":
        rows = [row for row in rows if not row["expiration"] or age(row["expiration"]).total_seconds() < 0]
    return [{key: row[key] for key in ("id", "name", "role", "expiration") if row[key] is not None} for row in rows]


@routes("POST", "/api/auth/keys", ADMIN, "apikeys:create")
def create(request: Request) -> Any:
    body = request.json("name", "role")
    if body["role"] not in ROLES:
        raise bad_request()
    if request.store.one("api_keys", orgId=request.org, name=body["name"]):
        raise Fail(409, "API key, organization ID and name must be unique")
    key, life = f"glsa_{secrets.token_hex(16)}_{secrets.token_hex(4)}", body.get("secondsToLive") or 0
    row: Row = {"orgId": request.org, "name": body["name"], "role": body["role"]}
    row["hash"] = hashlib.sha256(key.encode()).hexdigest()
    row["expiration"] = now(timedelta(seconds=life)) if life else None
    return {"id": request.store.add("api_keys", row)["id"], "name": body["name"], "key": key}


@routes("DELETE", "/api/auth/keys/:id", ADMIN, "apikeys:delete")
def delete(request: Request) -> Any:
    number = request.number("id", bad_request("id is invalid"))
    if not request.store.drop("api_keys", orgId=request.org, id=number):
        raise Fail(404, "Failed to delete API key", traced=True)
    return {"message": "API key deleted"}
