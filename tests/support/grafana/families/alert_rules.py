# GNU General Public License v3.0+ (see LICENSE)
"""Alert rules and rule groups of the provisioning API. The rules are stored, they are not evaluated."""

from __future__ import annotations

import uuid
from typing import Any

from .. import durations
from ..alerting import READ, WRITE, missing, provenance
from ..api import ADMIN, Fail, Reply, Request, Routes, bad_request
from ..store import Row, Store, now
from . import folders

routes = Routes()
EXEC_ERR_STATES = ("OK", "Alerting", "Error", "KeepLast")
NO_DATA_STATES = ("OK", "Alerting", "NoData", "KeepLast")
# Fields of later versions: kept and answered as they are sent.
LATER_FIELDS = ("keep_firing_for", "notification_settings", "record", "missingSeriesEvalsToResolve")
OPTIONAL_FIELDS = ("annotations", "labels", *LATER_FIELDS)
PLACE = ("id", "uid", "orgID", "folderUID", "ruleGroup")
FIELDS = (*PLACE, "title", "condition", "data", "updated", "noDataState", "execErrState", "for", "isPaused")
FIRST_INTERVAL, SCHEDULER_INTERVAL = 60, 10
NEVER = "0001-01-01T00:00:00Z"
CONFLICT = "a conflicting alert rule is found: rule title under the same organisation and folder should be unique"


def invalid(problem: str) -> Fail:
    """A rule that cannot be."""
    return Fail(400, f"invalid alert rule: {problem}", traced=True)


def read(body: Row) -> Row:
    """The rule in a body, with what Grafana adds."""
    wait = durations.parse(body.get("for", "0s"))
    if wait is None:
        raise bad_request()
    for key, name, states in (
        ("execErrState", "Error", EXEC_ERR_STATES),
        ("noDataState", "NoData", NO_DATA_STATES),
    ):
        if body.get(key) not in states:
            raise Fail(400, f"unknown {name} state option {body.get(key) or ''}", traced=True)
    return {
        "title": body.get("title") or "",
        "condition": body.get("condition") or "",
        "data": [_query(query) for query in body.get("data") or []],
        "noDataState": body["noDataState"],
        "execErrState": body["execErrState"],
        "for": durations.write(wait),
        "isPaused": bool(body.get("isPaused")),
        **{key: body[key] for key in OPTIONAL_FIELDS if body.get(key)},
    }


def _query(query: Row) -> Row:
    time_range = query.get("relativeTimeRange") or {}
    return {
        "refId": query.get("refId") or "",
        "queryType": query.get("queryType") or "",
        "relativeTimeRange": {key: time_range.get(key) or 0 for key in ("from", "to")},
        "datasourceUid": query.get("datasourceUid") or "",
        "model": {"intervalMs": 1000, "maxDataPoints": 43200, **(query.get("model") or {})},
    }


def check_content(rule: Row) -> None:
    """Refuse a rule without a title or without queries."""
    if not rule["title"]:
        raise invalid("title is empty")
    if not rule["data"]:
        raise invalid("no queries or expressions are found")


def check_folder(store: Store, org: int, uid: str) -> None:
    """A single rule's folder must exist."""
    if not uid:
        raise invalid("folderUID must be set")
    if not store.one("folders", orgId=org, uid=uid):
        raise invalid("folder does not exist")


def put(store: Store, org: int, rule: Row, old: Row | None, origin: str) -> Row:
    """Store a rule. It takes the interval of the group that it joins."""
    check_content(rule)
    for equal in ({"folderUID": rule["folderUID"], "title": rule["title"]}, {"uid": rule["uid"]}):
        other = store.one("alert_rules", orgID=org, **equal)
        if other and other is not old:
            raise Fail(400, CONFLICT, traced=True)
    if old and old["provenance"] not in ("", origin):
        raise Fail(500, f"cannot changed provenance from '{old['provenance']}' to '{origin}'", traced=True)
    group = group_rules(store, org, rule["folderUID"], rule["ruleGroup"])
    row = {**rule, "orgID": org, "updated": now(), "provenance": origin}
    if old:
        row["version"] = old["version"] + 1
        for key in OPTIONAL_FIELDS:
            old.pop(key, None)
        old.update(row)
        return old
    row |= {"interval": group[0]["interval"] if group else FIRST_INTERVAL, "position": 0, "version": 1}
    # `orgId` beside `orgID`, so that the rules go with their organisation.
    return store.add("alert_rules", {**row, "orgId": org})


def group_rules(store: Store, org: int, folderUID: str, ruleGroup: str) -> list[Row]:
    """The rules of a group in their order."""
    rows = store.rows("alert_rules", orgID=org, folderUID=folderUID, ruleGroup=ruleGroup)
    return sorted(rows, key=lambda row: (row["position"], row["id"]))


def ordered(store: Store, org: int) -> list[Row]:
    """All rules: by folder, group, and place in the group. A rule that no group's PUT placed comes first."""
    rows = store.rows("alert_rules", orgID=org)
    return sorted(rows, key=lambda row: (row["folderUID"], row["ruleGroup"], row["position"], row["id"]))


def shown(rule: Row, *, with_provenance: bool = True) -> Row:
    """A rule as answered."""
    optional = (*OPTIONAL_FIELDS, *(("provenance",) if with_provenance else ()))
    return {**{key: rule[key] for key in FIELDS}, **{key: rule[key] for key in optional if rule.get(key)}}


def find(request: Request) -> Row | None:
    """The rule in the path."""
    return request.store.one("alert_rules", orgID=request.org, uid=request.params["uid"])


def place(request: Request, body: Row) -> Row:
    """Where a body puts its rule. The folder must exist."""
    check_folder(request.store, request.org, body.get("folderUID") or "")
    return {"folderUID": body["folderUID"], "ruleGroup": body.get("ruleGroup") or ""}


@routes("GET", "/api/v1/provisioning/alert-rules", ADMIN, READ)
def listing(request: Request) -> Any:
    return [shown(row) for row in ordered(request.store, request.org)]


@routes("POST", "/api/v1/provisioning/alert-rules", ADMIN, WRITE)
def create(request: Request) -> Any:
    body = request.json()
    rule = {**read(body), **place(request, body), "uid": body.get("uid") or str(uuid.uuid4())}
    folders.check_uid(rule["uid"], traced=True)
    return Reply(201, shown(put(request.store, request.org, rule, None, provenance(request))))


@routes("GET", "/api/v1/provisioning/alert-rules/:uid", ADMIN, READ)
def get(request: Request) -> Any:
    rule = find(request)
    return shown(rule) if rule else Reply(404, "", "text/plain; charset=utf-8")


@routes("PUT", "/api/v1/provisioning/alert-rules/:uid", ADMIN, WRITE)
def update(request: Request) -> Any:
    body = request.json()
    rule, old = {**read(body), **place(request, body), "uid": request.params["uid"]}, find(request)
    if old is None:
        return missing()
    return shown(put(request.store, request.org, rule, old, provenance(request)))


@routes("DELETE", "/api/v1/provisioning/alert-rules/:uid", ADMIN, WRITE)
def delete(request: Request) -> Any:
    rule = find(request)
    if rule and rule["provenance"] == "file":
        raise Fail(500, "cannot delete with provided provenance 'api', needs 'file'", traced=True)
    request.store.drop("alert_rules", orgID=request.org, uid=request.params["uid"])
    return Reply(204)


@routes("GET", "/api/v1/provisioning/folder/:folder/rule-groups/:group", ADMIN, READ)
def get_group(request: Request) -> Any:
    rules = path_group(request)
    return {
        "title": request.params["group"],
        "folderUid": request.params["folder"],
        "interval": rules[0]["interval"],
        "rules": [shown(rule, with_provenance=False) for rule in rules],
    }


def path_group(request: Request) -> list[Row]:
    """The rules of the group in the path; a group without any does not exist."""
    rules = group_rules(request.store, request.org, request.params["folder"], request.params["group"])
    if not rules:
        raise Fail(404, "rulegroup not found", traced=True)
    return rules


@routes("PUT", "/api/v1/provisioning/folder/:folder/rule-groups/:group", ADMIN, WRITE)
def put_group(request: Request) -> Any:
    """The rules in the body take the place of the group's. Without `rules`, or with none, only the interval changes."""
    body, interval = request.json(), request.json().get("interval") or 0
    folder, group, origin = request.params["folder"], request.params["group"], provenance(request)
    if not isinstance(interval, int):
        raise bad_request()
    if not interval or interval % SCHEDULER_INTERVAL:
        limit = f"should be non-zero and divided exactly by scheduler interval: {SCHEDULER_INTERVAL}"
        raise invalid(f"interval ({durations.write(interval * 1000)}) {limit}")
    bodies = body.get("rules") or []
    rules = [{**read(item), "uid": item.get("uid") or str(uuid.uuid4())} for item in bodies]
    if rules:
        replace_group(request.store, request.org, {"folderUID": folder, "ruleGroup": group}, rules, origin)
    for row in group_rules(request.store, request.org, folder, group):
        row["interval"] = interval
    sent = body.get("rules")
    echo = None if sent is None else [_echo(item, rule) for item, rule in zip(bodies, rules, strict=True)]
    return {"title": group, "folderUid": folder, "interval": interval, "rules": echo}


def _echo(body: Row, rule: Row) -> Row:
    """A group's PUT answers what was sent, not what is stored."""
    sent = {"uid": body.get("uid") or "", "orgID": body.get("orgID") or 0, "id": 0, "updated": NEVER}
    where = {key: body.get(key) or "" for key in ("folderUID", "ruleGroup")}
    return shown({**rule, **sent, **where})


def replace_group(store: Store, org: int, where: Row, rules: list[Row], origin: str) -> None:
    """Check all rules before the first is written, so that a refused group is left as it was."""
    uids, titles = [rule["uid"] for rule in rules], [rule["title"] for rule in rules]
    gone = [row for row in group_rules(store, org, **where) if row["uid"] not in uids]
    kept = [row for row in store.rows("alert_rules", orgID=org) if row["uid"] in uids]
    for row in [*gone, *kept]:
        check_group_provenance(row, origin, "update")
    for rule in rules:
        check_content(rule)
        others = store.rows("alert_rules", orgID=org, folderUID=where["folderUID"], title=rule["title"])
        if titles.count(rule["title"]) > 1 or any(row not in gone and row not in kept for row in others):
            raise Fail(400, f"failed to insert alert rules: {CONFLICT}", traced=True)
    for row in gone:
        store.drop("alert_rules", id=row["id"])
    for row in kept:  # A title may pass from one rule to another; the provenance has been checked.
        row.update(title="", provenance="")
    for position, rule in enumerate(rules, 1):
        old = store.one("alert_rules", orgID=org, uid=rule["uid"])
        put(store, org, {**rule, **where}, old, origin)["position"] = position


def check_group_provenance(rule: Row, origin: str, what: str) -> None:
    """In a group, unlike in a single rule, `api` may become none."""
    stored = rule["provenance"]
    if stored not in ("", origin) and (stored, origin) != ("api", ""):
        raise Fail(500, f"cannot {what} with provided provenance '{origin}', needs '{stored}'", traced=True)


@routes("DELETE", "/api/v1/provisioning/folder/:folder/rule-groups/:group", ADMIN, WRITE)
def delete_group(request: Request) -> Any:
    rules = path_group(request)
    for rule in rules:
        check_group_provenance(rule, provenance(request), "delete")
    for rule in rules:
        request.store.drop("alert_rules", id=rule["id"])
    return Reply(204)
