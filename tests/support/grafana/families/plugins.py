# GNU General Public License v3.0+ (see LICENSE)
"""Plugins: Grafana's own, as recorded, and those unpacked below paths.plugins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..api import ADMIN, VIEWER, Fail, Request, Routes
from ..store import Row

routes = Routes()
CORE: dict[str, Row] = {
    plugin["id"]: plugin
    for plugin in json.loads((Path(__file__).parent.parent / "core_plugins.json").read_text(encoding="utf-8"))
}
ALIASES = {"postgres": "grafana-postgresql-datasource"}
MISSING = "Plugin not found, no installed plugin with that id"


def installed(request: Request) -> dict[str, Row]:
    """The external plugins, in the shape of a list's item."""
    out = {}
    for name, plugin in request.app.plugins.items():
        info: Row = {"author": {}, "description": "", "links": None, "logos": {}, "build": {}, "screenshots": None}
        out[name] = {
            "name": plugin.get("name", name),
            "type": plugin.get("type", ""),
            "id": name,
            "enabled": plugin.get("type") != "app",
            "pinned": False,
            "info": {**info, "version": "", "updated": "", **plugin.get("info", {})},
            "dependencies": {
                "grafanaDependency": "",
                "grafanaVersion": "*",
                "plugins": [],
                **plugin.get("dependencies", {}),
            },
            "latestVersion": "",
            "hasUpdate": False,
            "defaultNavUrl": f"/plugins/{name}/",
            "category": plugin.get("category", ""),
            "state": plugin.get("state", ""),
            "signature": "unsigned",  # The stand-in checks no signatures, and loads all.
            "signatureType": "",
            "signatureOrg": "",
        }
    return out


@routes("GET", "/api/plugins", VIEWER)
def listing(request: Request) -> Any:
    core = {} if request.arg("core") == "0" else CORE
    found = [*core.values(), *installed(request).values()]
    if request.arg("type"):
        found = [plugin for plugin in found if plugin["type"] == request.arg("type")]
    return sorted(found, key=lambda plugin: plugin["name"])


@routes("GET", "/api/plugins/:id/settings", VIEWER)
def settings(request: Request) -> Any:
    name = ALIASES.get(request.params["id"], request.params["id"])
    plugin = {**CORE, **installed(request)}.get(name)
    if plugin is None:
        raise Fail(404, MISSING)
    folder = Path(plugin["info"]["logos"].get("small", f"public/plugins/{name}/x")).parts
    base = "/".join(folder[: folder.index("img")]) if "img" in folder else f"public/plugins/{name}"
    shown = {key: value for key, value in plugin.items() if key != "category"}
    extra: Row = {"includes": None, "jsonData": None, "secureJsonFields": {}, "defaultNavUrl": "", "enabled": False}
    return {**shown, **extra, "module": f"{base.removeprefix('public/')}/module", "baseUrl": base}


@routes("GET", "/api/plugins/:id/health", VIEWER)
def health(request: Request) -> Any:
    if request.params["id"] not in {**CORE, **request.app.plugins}:
        raise Fail(404, "Plugin not found")
    return {"status": "OK", "message": ""}


@routes("POST", "/api/plugins/:id/install", ADMIN, "plugins:install")
def install(_request: Request) -> Any:
    raise Fail(500, "The stand-in installs no plugins: unpack them into paths.plugins and restart", traced=True)


@routes("POST", "/api/plugins/:id/uninstall", ADMIN, "plugins:install")
def uninstall(request: Request) -> Any:
    if ALIASES.get(request.params["id"], request.params["id"]) in CORE:
        raise Fail(403, "Cannot uninstall a Core plugin", traced=True)
    if request.params["id"] not in request.app.plugins:
        raise Fail(404, "Plugin not installed", traced=True)
    raise Fail(500, "The stand-in removes no plugins: delete the folder in paths.plugins and restart", traced=True)
