# GNU General Public License v3.0+ (see LICENSE)
"""Data sources, their health, and queries to ClickHouse."""

from __future__ import annotations

import re
import socket
import uuid
from typing import Any
from urllib.parse import urlsplit

from .. import clickhouse
from ..api import ADMIN, SIGNED_IN, VIEWER, Fail, Reply, Request, Routes, absent, bad_request
from ..app import App
from ..store import Row, Store
from .plugins import CORE

routes = Routes()
CLICKHOUSE = "grafana-clickhouse-datasource"
POSTGRES = "grafana-postgresql-datasource"
# An alias that Grafana answers under the new name since 10.2.3.
ALIASES = {"postgres": POSTGRES}
NEEDS_URL = {POSTGRES, "mysql", "mssql", "prometheus", "loki", "tempo", "jaeger", "zipkin", "graphite", "influxdb"}
NEEDS_URL |= {"elasticsearch", "opentsdb", "alertmanager"}
SQL_PORTS = {POSTGRES: 5432, "mysql": 3306, "mssql": 1433}
TEXTS = ("url", "user", "database", "basicAuthUser")
FLAGS = ("basicAuth", "withCredentials", "isDefault")
UNREACHABLE = "failed to connect to server - please inspect Grafana server log for details"


def put(store: Store, org: int, body: Row, old: Row | None) -> Row:
    """Create or replace a data source. Secrets left out stay, empty ones go."""
    uid = body.get("uid") or (old["uid"] if old else str(uuid.uuid4()))
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", uid):
        raise Fail(400, "Invalid datasource UID.", messageId="datasource.uidInvalid", statusCode=400, traced=True)
    for key, value in (("name", body["name"]), ("uid", uid)):
        other = store.one("datasources", orgId=org, **{key: value})
        if other and other is not old:
            if old:
                raise Fail(500, "Failed to update datasource", traced=True)
            raise Fail(409, f"data source with the same {key} already exists", traced=True)
    sent = body.get("version") or 0
    if old and sent and old["version"] > sent:
        raise Fail(409, "Datasource has already been updated by someone else. Please reload and try again", traced=True)
    if body.get("isDefault"):
        for row in store.rows("datasources", orgId=org, isDefault=True):
            row["isDefault"] = False
    secrets = {**(old["secrets"] if old else {}), **(body.get("secureJsonData") or {})}
    row = {
        "orgId": org,
        "uid": uid,
        "name": body["name"],
        "type": ALIASES.get(body["type"], body["type"]),
        "access": body["access"],
        **{key: body.get(key) or "" for key in TEXTS},
        **{key: bool(body.get(key)) for key in FLAGS},
        "jsonData": body.get("jsonData") or {},
        "secrets": {key: value for key, value in secrets.items() if value},
        "version": sent + 1 if old and sent else 1,
        "readOnly": False,
    }
    if old is None:
        return store.add("datasources", row)
    row["basicAuthUser"] = row["basicAuthUser"] or old["basicAuthUser"]
    old.update(row)
    return old


def shown(row: Row) -> Row:
    """A data source as answered to requests for one."""
    keys = ("id", "uid", "orgId", "name", "type", "access", "jsonData", "version", "readOnly", *TEXTS, *FLAGS)
    fields = dict.fromkeys(row["secrets"], True)
    return {**{key: row[key] for key in keys}, "typeLogoUrl": "", "secureJsonFields": fields}


def listed(app: App, row: Row) -> Row:
    """A data source as answered in the list."""
    keys = ("id", "uid", "orgId", "name", "type", "access", "url", "user", "database", "basicAuth", "isDefault")
    plugin = CORE.get(row["type"]) or app.plugins.get(row["type"]) or {}
    logo = plugin["info"]["logos"]["small"] if row["type"] in CORE else "public/img/icn-datasource.svg"
    return {
        **{key: row[key] for key in (*keys, "jsonData", "readOnly")},
        "typeName": plugin.get("name", row["type"]),
        "typeLogoUrl": logo,
    }


def check_url(kind: str, text: str) -> None:
    """Refuse a URL that cannot be one, or is missing where the type needs it."""
    failure = Fail(400, "Validation error, invalid URL", traced=True)
    if not text.strip():
        if ALIASES.get(kind, kind) in NEEDS_URL:
            raise failure
        return
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        _port = parts.port
    except ValueError:
        raise failure from None
    if " " in parts.netloc:
        raise failure


def find(request: Request, refuse: str = "") -> Row:
    """The data source in the path, by uid, name or number; `refuse` names what a read-only one may not suffer."""
    equal: Row = {key: value for key, value in request.params.items() if key in ("uid", "name")}
    if "id" in request.params:
        equal["id"] = request.number("id", bad_request("id is invalid"))
    row = request.store.one("datasources", orgId=request.org, **equal)
    if row is None:
        raise Fail(404, "Data source not found")
    if refuse and row["readOnly"]:
        raise Fail(403, f"Cannot {refuse} read-only data source")
    return row


@routes("GET", "/api/datasources", VIEWER, "datasources:read")
def listing(request: Request) -> Any:
    rows = sorted(request.store.rows("datasources", orgId=request.org), key=lambda row: row["name"].lower())
    return [listed(request.app, row) for row in rows]


@routes("GET", "/api/datasources/uid/:uid", VIEWER, "datasources:read")
@routes("GET", "/api/datasources/name/:name", VIEWER, "datasources:read")
@routes("GET", "/api/datasources/:id", VIEWER, "datasources:read")
def get(request: Request) -> Any:
    return shown(find(request))


@routes("GET", "/api/datasources/id/:name", VIEWER, "datasources.id:read")
def id_by_name(request: Request) -> Any:
    return {"id": find(request)["id"]}


@routes("POST", "/api/datasources", ADMIN, "datasources:create")
def post(request: Request) -> Any:
    body = request.json("name", "type", "access")
    if body.get("url"):
        check_url(body["type"], body["url"])
    row = put(request.store, request.org, body, None)
    return {"datasource": shown(row), "id": row["id"], "message": "Datasource added", "name": row["name"]}


@routes("PUT", "/api/datasources/uid/:uid", ADMIN, "datasources:write")
@routes("PUT", "/api/datasources/:id", ADMIN, "datasources:write")
def update(request: Request) -> Any:
    body = request.json("name", "type", "access")
    check_url(body["type"], body.get("url") or "")
    row = put(request.store, request.org, body, find(request, "update"))
    return {"datasource": shown(row), "id": row["id"], "message": "Datasource updated", "name": row["name"]}


@routes("DELETE", "/api/datasources/uid/:uid", ADMIN, "datasources:delete")
@routes("DELETE", "/api/datasources/name/:name", ADMIN, "datasources:delete")
def delete(request: Request) -> Any:
    row = find(request, "delete")
    request.store.drop("datasources", id=row["id"])
    return {"id": row["id"], "message": "Data source deleted"}


@routes("DELETE", "/api/datasources/:id", ADMIN, "datasources:delete")
def delete_by_id(request: Request) -> Any:
    return {"message": delete(request)["message"]}


@routes("GET", "/api/datasources/uid/:uid/health", VIEWER, "datasources:query", locked=False)
def health(request: Request) -> Any:
    with request.store.locked():
        found = request.store.one("datasources", orgId=request.org, uid=request.params["uid"])
        row = dict(found) if found else None
    if row is None:
        raise Fail(500, "Unable to load datasource metadata", traced=True)
    if row["type"] not in CORE and row["type"] not in request.app.plugins:
        raise Fail(500, "Unable to find datasource plugin")
    problem = _problem(row)
    if problem:
        request.app.log("warn", "datasources", "Health check failed", uid=row["uid"], error=problem)
        return Reply(400, {"message": problem, "status": "ERROR"})
    message = "Data source is working"
    if row["type"] != CLICKHOUSE:
        message = "The server can be reached (the stand-in checks only that)"
    return {"message": message, "status": "OK"}


def _problem(row: Row) -> str:
    """Why a data source does not work, or nothing."""
    if row["type"] == CLICKHOUSE:
        try:
            clickhouse.check(row["jsonData"], row["secrets"])
        except clickhouse.ClickHouseError as error:
            return str(error)
        return ""
    if row["type"] not in SQL_PORTS:
        return f"the stand-in cannot check a data source of type {row['type']}"
    target = urlsplit(f"//{row['url'].partition('://')[2] or row['url']}")
    try:
        with socket.create_connection((target.hostname or "", target.port or SQL_PORTS[row["type"]]), 5) as connection:
            if row["type"] == POSTGRES:
                connection.sendall((8).to_bytes(4, "big") + (80877103).to_bytes(4, "big"))  # SSLRequest
                if connection.recv(1) not in (b"S", b"N"):
                    return UNREACHABLE
    except OSError:
        return UNREACHABLE
    return ""


@routes("POST", "/api/ds/query", VIEWER, "datasources:query", locked=False)
def query(request: Request) -> Any:
    queries = request.json().get("queries")
    if not queries:
        raise Fail(400, "No queries found", messageId="query.noQueries", statusCode=400, traced=True)
    results = {item.get("refId") or "A": _result(request, item) for item in queries}
    status = 400 if any("error" in result for result in results.values()) else 200
    return Reply(status, {"results": results})


def _result(request: Request, item: Row) -> Row:
    """One query's answer; its own errors stay inside."""
    sql, source = item.get("rawSql") or "", item.get("datasource")
    with request.store.locked():
        uid = source.get("uid") if isinstance(source, dict) else source
        found = request.store.one("datasources", orgId=request.org, uid=uid)
        row = dict(found) if found else None
    if row is None:
        raise Fail(404, "Data source not found", traced=True)
    if row["type"] not in CORE and row["type"] not in request.app.plugins:
        raise Fail(404, "Not found", messageId="plugin.notRegistered", statusCode=404, traced=True)
    ref_id, error = item.get("refId") or "A", ""
    if row["type"] != CLICKHOUSE:
        problem = _problem(row) or f"the stand-in does not query data sources of type {row['type']}"
        error = f"db query error: {problem}"
    elif row["jsonData"].get("protocol") != "http":
        error = "the stand-in queries ClickHouse only over HTTP; this data source says protocol native"
    elif "$__" in sql:
        error = "the stand-in does not expand the plugin's macros yet"
    else:
        try:
            answer = clickhouse.query(row["jsonData"], row["secrets"], sql)
            return {"status": 200, "frames": [clickhouse.frame(ref_id, sql, answer)]}
        except clickhouse.ClickHouseError as failure:
            error = str(failure)
    meta = {"typeVersion": [0, 0], "executedQueryString": sql}
    empty = {"schema": {"refId": ref_id, "meta": meta, "fields": []}, "data": {"values": []}}
    return {"error": error, "status": 500, "frames": [empty]}


# Permissions on data sources are not in the open edition.
routes("GET", "/api/access-control/datasources/:uid", SIGNED_IN)(absent)
