# GNU General Public License v3.0+ (see LICENSE)
"""The notification policies of an organisation: one tree, read and written as a whole."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from .. import durations
from ..alerting import READ, WRITE, check_provenance, invalid, provenance, with_provenance
from ..api import ADMIN, Reply, Request, Routes, bad_request, not_covered
from ..store import Row, Store

routes = Routes()
FIRST_RECEIVER = "grafana-default-email"
FIRST: Row = {"receiver": FIRST_RECEIVER, "group_by": ["grafana_folder", "alertname"]}
OPERATORS = ("=", "!=", "=~", "!~")
LISTS = ("group_by", "matchers", "mute_time_intervals", "active_time_intervals")
# The waits, and whether each may be zero.
WAITS = {"group_wait": True, "group_interval": False, "repeat_interval": False}
DEPRECATED = ("match", "match_re")


def read(body: Row) -> Row:
    """A route of a tree as it is stored: what is empty or a default is left out."""
    if any(body.get(key) for key in DEPRECATED):
        raise not_covered("policies with `match` or `match_re`")
    route: Row = {key: body[key] for key in ("receiver", *LISTS) if body.get(key)}
    for key, may_be_zero in WAITS.items():
        if body.get(key):
            wait = durations.parse(body[key])
            if wait is None or not (wait or may_be_zero):
                raise bad_request()
            route[key] = durations.write(wait)
    matchers = body.get("object_matchers") or []
    if any(len(matcher) != 3 or matcher[1] not in OPERATORS for matcher in matchers):
        raise bad_request()
    if matchers:
        route["object_matchers"] = sorted(matchers)
    if body.get("continue"):
        route["continue"] = True
    if body.get("routes"):
        route["routes"] = [read(child) for child in body["routes"]]
    return route


def walk(route: Row) -> Iterator[Row]:
    """A route and all below it."""
    yield route
    for child in route.get("routes") or []:
        yield from walk(child)


def tree(store: Store, org: int) -> Row:
    """The organisation's tree."""
    row = store.one("policies", orgId=org)
    stored: Row = row["tree"] if row else copy.deepcopy(FIRST)
    return stored


def uses(store: Store, org: int, key: str, name: str) -> bool:
    """Whether any route names a receiver or a time interval."""
    named = (route.get(key) for route in walk(tree(store, org)))
    return any(name in value if isinstance(value, list) else name == value for value in named)


def rename_receiver(store: Store, org: int, old: str, new: str) -> None:
    """Follow a contact point's new name."""
    for route in walk(tree(store, org)):
        if route.get("receiver") == old:
            route["receiver"] = new


def put(store: Store, org: int, body: Row, origin: str) -> None:
    """Replace the tree. What it names must exist."""
    if not body.get("receiver"):
        raise bad_request()
    new = read(body)
    receivers = {FIRST_RECEIVER, *(row["name"] for row in store.rows("contact_points", orgId=org))}
    timings = {row["name"] for row in store.rows("mute_timings", orgId=org)}
    for route in walk(new):
        if route.get("receiver", FIRST_RECEIVER) not in receivers:
            raise invalid(f"receiver '{route['receiver']}' does not exist")
        for name in [*route.get("mute_time_intervals", []), *route.get("active_time_intervals", [])]:
            if name not in timings:
                raise invalid(f"mute time interval '{name}' does not exist")
    check_provenance(store.one("policies", orgId=org), origin)
    store.drop("policies", orgId=org)
    store.add("policies", {"orgId": org, "tree": new, "provenance": origin})


@routes("GET", "/api/v1/provisioning/policies", ADMIN, READ)
def get(request: Request) -> Any:
    row = request.store.one("policies", orgId=request.org) or {"provenance": ""}
    return with_provenance(tree(request.store, request.org), row)


@routes("PUT", "/api/v1/provisioning/policies", ADMIN, WRITE)
def update(request: Request) -> Any:
    put(request.store, request.org, request.json(), provenance(request))
    return Reply(202, {"message": "policies updated"})


@routes("DELETE", "/api/v1/provisioning/policies", ADMIN, WRITE)
def reset(request: Request) -> Any:
    request.store.drop("policies", orgId=request.org)
    return Reply(202, FIRST)
