# GNU General Public License v3.0+ (see LICENSE)
"""Health, settings, statistics, and reloads of provisioning files."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from .. import VERSION, provisioning
from ..api import NONE, SERVER_ADMIN, SIGNED_IN, VIEWER, Fail, Reply, Request, Routes, absent
from ..store import age

routes = Routes()
SECRET_KEYS = ("password", "secret", "key")
RELOADS = {
    "datasources": ("Datasources", provisioning.provision_datasources),
    "dashboards": ("Dashboards", provisioning.provision_dashboards),
    "plugins": ("Plugins", provisioning.check_plugins),
    "alerting": ("Alerting", provisioning.provision_alerting),
}


@routes("GET", "/api/health", NONE, locked=False)
def health(_request: Request) -> Any:
    return {"commit": "standin", "database": "ok", "version": VERSION}


@routes("GET", "/healthz", NONE, locked=False)
def alive(_request: Request) -> Any:
    return Reply(200, "Ok", "text/plain; charset=utf-8")


@routes("GET", "/api/login/ping", SIGNED_IN)
def ping(_request: Request) -> Any:
    return {"message": "Logged in"}


@routes("GET", "/api/frontend/settings", SIGNED_IN)
def settings(request: Request) -> Any:
    default = request.store.one("datasources", orgId=request.org, isDefault=True)
    return {
        "buildInfo": {
            "hideVersion": False,
            "version": VERSION,
            "commit": "standin",
            "buildstamp": int(request.app.started),
            "edition": "Open Source",
            "latestVersion": "",
            "hasUpdate": False,
            "env": "production",
        },
        "authProxyEnabled": False,
        "unifiedAlertingEnabled": True,
        "defaultDatasource": default["name"] if default else "-- Grafana --",
        "appUrl": request.app.config.text("server", "root_url"),
        "rbacEnabled": True,
        "featureToggles": {"nestedFolders": True},
    }


@routes("GET", "/api/admin/stats", SERVER_ADMIN, "server.stats:read")
def stats(request: Request) -> Any:
    store = request.store
    seen = [age(user["lastSeenAt"]) for user in store.rows("users")]
    month, day = (sum(one < timedelta(days=days) for one in seen) for days in (30, 1))
    counts = {
        "orgs": len(store.rows("orgs")),
        "dashboards": len(store.rows("dashboards")),
        "snapshots": 0,
        "tags": len({tag for board in store.rows("dashboards") for tag in board["data"].get("tags") or []}),
        "datasources": len(store.rows("datasources")),
        "playlists": 0,
        "stars": 0,
        "alerts": 0,
        "users": len(seen),
        "admins": len(store.rows("users", isGrafanaAdmin=True)),
        "activeUsers": month,
        "dailyActiveUsers": day,
        "monthlyActiveUsers": month,
    }
    # Grafana counts by role seldom and keeps the numbers; until it has, they are 0.
    names = [*(f"{span}ctive{who}" for span in ("a", "dailyA") for who in ("Admins", "Editors", "Viewers", "Sessions"))]
    return {**dict.fromkeys(["editors", "viewers", *names], 0), **counts}


@routes("GET", "/api/admin/settings", SERVER_ADMIN, "settings:read")
def all_settings(request: Request) -> Any:
    def shown(key: str, value: str) -> str:
        return "*********" if value and any(word in key for word in SECRET_KEYS) and key != "cert_key" else value

    sections = request.app.config.sections
    return {name: {key: shown(key, value) for key, value in keys.items()} for name, keys in sections.items()}


@routes("GET", "/api/admin/usage-report-preview", SERVER_ADMIN, "server.usagestats.report:read")
def usage(_request: Request) -> Any:
    return {"version": VERSION.replace(".", "_"), "edition": "oss", "metrics": {}}


@routes("GET", "/api/access-control/user/permissions", VIEWER)
def permissions(request: Request) -> Any:
    """Only the permission that the recordings show: folders. The stand-in checks roles, not permissions."""
    uids = sorted(row["uid"] for row in request.store.rows("folders", orgId=request.org))
    return {"folders:read": [f"folders:uid:{uid}" for uid in uids]}


@routes("POST", "/api/admin/provisioning/:kind/reload", SERVER_ADMIN, "provisioning:reload")
def reload(request: Request) -> Any:
    if request.params["kind"] not in RELOADS:
        raise Fail(404, "Not found")
    name, load = RELOADS[request.params["kind"]]
    try:
        load(request.app)
    except provisioning.ProvisioningError as error:
        # As in Grafana the cause is only in the log.
        request.app.log("error", "provisioning", f"Failed to provision {request.params['kind']}", error=str(error))
        raise Fail(500, "Internal Server Error", traced=True) from error
    return {"message": f"{name} config reloaded"}


routes("GET", "/api/no-such-thing", SIGNED_IN)(absent)
