# GNU General Public License v3.0+ (see LICENSE)
"""The ruler: alert rules as the pages of Grafana write them. A namespace is a folder's uid."""

from __future__ import annotations

import uuid
from itertools import groupby
from typing import Any

from .. import durations
from ..api import EDITOR, VIEWER, Fail, Reply, Request, Routes, bad_request, not_covered
from ..store import Row, Store
from . import folders
from .alert_rules import FIRST_INTERVAL, group_rules, ordered, read, replace_group

routes = Routes()
RULES = "/api/ruler/grafana/api/v1/rules"
WRITE = "any of alert.rules:write, alert.rules:create, alert.rules:delete"
# The names of a rule's fields here, and in the provisioning API.
FIELDS = {
    "title": "title",
    "condition": "condition",
    "data": "data",
    "no_data_state": "noDataState",
    "exec_err_state": "execErrState",
    "is_paused": "isPaused",
}
PROVISIONED = "request affects resources created via provisioning API"


def folder_of(request: Request) -> Row:
    """The folder in the path."""
    return folders.find(request.store, request.org, uid=request.params["namespace"])


def shown(rule: Row, folder: Row) -> Row:
    """A rule as answered."""
    alert = {
        "id": rule["id"],
        "orgId": rule["orgID"],
        **{here: rule[there] for here, there in FIELDS.items()},
        "updated": rule["updated"],
        "intervalSeconds": rule["interval"],
        "version": rule["version"],
        "uid": rule["uid"],
        "namespace_uid": folder["uid"],
        "namespace_id": folder["id"],
        "rule_group": rule["ruleGroup"],
        **({"provenance": rule["provenance"]} if rule["provenance"] else {}),
    }
    texts = {key: rule[key] for key in ("labels", "annotations") if rule.get(key)}
    return {"expr": "", "for": rule["for"], **texts, "grafana_alert": alert}


def shown_group(rules: list[Row], folder: Row) -> Row:
    """A group as answered."""
    interval = durations.write(rules[0]["interval"] * 1000)
    return {"name": rules[0]["ruleGroup"], "interval": interval, "rules": [shown(rule, folder) for rule in rules]}


def namespaces(store: Store, org: int, only: str = "") -> Row:
    """The groups by the titles of their folders."""
    out: Row = {}
    for (uid, _group), rules in groupby(ordered(store, org), key=lambda rule: (rule["folderUID"], rule["ruleGroup"])):
        folder = store.one("folders", orgId=org, uid=uid)
        if folder and only in ("", uid):
            out.setdefault(folder["title"], []).append(shown_group(list(rules), folder))
    return out


@routes("GET", RULES, VIEWER, "alert.rules:read")
def listing(request: Request) -> Any:
    return namespaces(request.store, request.org)


@routes("GET", f"{RULES}/:namespace", VIEWER, "alert.rules:read")
def namespace(request: Request) -> Any:
    return Reply(202, namespaces(request.store, request.org, folder_of(request)["uid"]))


@routes("GET", f"{RULES}/:namespace/:group", VIEWER, "alert.rules:read")
def group(request: Request) -> Any:
    folder = folder_of(request)
    rules = group_rules(request.store, request.org, folder["uid"], request.params["group"])
    if not rules:
        raise not_covered("reading a group of the ruler that does not exist")
    return Reply(202, shown_group(rules, folder))


@routes("POST", f"{RULES}/:namespace", EDITOR, WRITE)
def put(request: Request) -> Any:
    body, folder, store = request.json("name"), folder_of(request), request.store
    where = {"folderUID": folder["uid"], "ruleGroup": body["name"]}
    if any(rule["provenance"] for rule in group_rules(store, request.org, **where)):
        key = f"{{orgID: {request.org}, namespaceUID: {folder['uid']}, groupName: {body['name']}}}"
        raise Fail(400, f"failed to update rule group: {PROVISIONED}: alert rule group [{key}]", traced=True)
    if not body.get("rules"):
        raise not_covered("a group of the ruler without rules")
    interval = durations.parse(body.get("interval") or f"{FIRST_INTERVAL}s")
    if not interval:
        raise bad_request()
    replace_group(store, request.org, where, [_read(rule) for rule in body["rules"]], "")
    for row in group_rules(store, request.org, **where):
        row["interval"] = interval // 1000
    return Reply(202, {"message": "rule group updated successfully"})


def _read(rule: Row) -> Row:
    alert = rule.get("grafana_alert") or {}
    body = {there: alert.get(here) for here, there in FIELDS.items()}
    body |= {key: rule[key] for key in ("for", "labels", "annotations") if rule.get(key)}
    return {**read(body), "uid": alert.get("uid") or str(uuid.uuid4())}


@routes("DELETE", f"{RULES}/:namespace/:group", EDITOR, WRITE)
def delete(request: Request) -> Any:
    rules = group_rules(request.store, request.org, folder_of(request)["uid"], request.params["group"])
    if any(rule["provenance"] for rule in rules):
        raise Fail(400, f"failed to delete rule group: {PROVISIONED}", traced=True)
    for rule in rules:
        request.store.drop("alert_rules", id=rule["id"])
    return Reply(202, {"message": "rules deleted"})
