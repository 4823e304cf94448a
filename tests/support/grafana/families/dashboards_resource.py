# GNU General Public License v3.0+ (see LICENSE)
"""Dashboards as resources, as Grafana 12 documents them ("Dashboard APIs" of its HTTP API reference); only the list."""

from __future__ import annotations

from typing import Any

from ..api import VIEWER, Request, Routes, denied

routes = Routes()
API = "dashboard.grafana.app/v0alpha1"


@routes("GET", f"/apis/{API}/namespaces/:namespace/dashboards", VIEWER, "dashboards:read")
def listing(request: Request) -> Any:
    """`limit` items, and in `metadata.continue` what the next request has to send."""
    namespace = "default" if request.org == 1 else f"org-{request.org}"
    if request.params["namespace"] != namespace:
        raise denied("dashboards:read")
    boards = request.store.rows("dashboards", orgId=request.org)
    start, limit = request.integer("continue", 0), request.integer("limit", len(boards) or 1)
    more = {"continue": str(start + limit)} if start + limit < len(boards) else {}
    items = [
        {
            "kind": "Dashboard",
            "apiVersion": API,
            "metadata": {
                "name": board["uid"],
                "namespace": namespace,
                "resourceVersion": str(board["version"]),
                "creationTimestamp": board["created"],
                "annotations": {"grafana.app/folder": board["folderUid"]} if board["folderUid"] else {},
            },
            "spec": {**board["data"], "title": board["title"]},
        }
        for board in boards[start : start + limit]
    ]
    return {"kind": "DashboardList", "apiVersion": API, "metadata": {"resourceVersion": "1", **more}, "items": items}
