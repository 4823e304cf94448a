# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notification policies: how they are declared, read, compared and changed (private: may change at any time).

An organisation has one tree of routes, which is read and written as a whole. A module manages either all of it, or single routes
directly below its root, which are told apart by their matchers.
"""

from __future__ import annotations

import copy
import re
import typing as t

from .client import Client, GrafanaError, path_of
from .durations import canonical_duration
from .kind import Change, Declared, Found, Gathered, Kind, Observation, Value, check_unique, nothing_to_check
from .provenance import headers_for, wanted_provenance

TREE, ROUTES = "tree", "routes"
# The tree of an organisation that has none of its own. Its receiver exists always.
FIRST_RECEIVER = "grafana-default-email"
FIRST = {"receiver": FIRST_RECEIVER, "group_by": ["alertname", "grafana_folder"]}
_PATH = path_of("v1", "provisioning", "policies")
_MATCHER = re.compile(r"\s*([^=!~\s]+)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)
_OPERATORS = ("=", "!=", "=~", "!~")
_WAITS = {"group_wait": True, "group_interval": False, "repeat_interval": False}
TIMINGS = ("mute_time_intervals", "active_time_intervals")
_SETS = ("group_by", *TIMINGS)
_KEYS = ("receiver", *_SETS, "object_matchers", "matchers", "continue", *_WAITS, "routes")


def _matcher(given: t.Any, where: str) -> list[str]:
    """Label, operator and value, from a list of these or from text such as C(team="shop")."""
    parts = given
    if isinstance(given, str):
        match = _MATCHER.fullmatch(given)
        parts = list(match.groups()) if match else []
        if parts and len(parts[2]) > 1 and parts[2][0] == parts[2][-1] == '"':
            parts[2] = parts[2][1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if not isinstance(parts, (list, tuple)) or len(parts) != 3 or not str(parts[0]).strip() or parts[1] not in _OPERATORS:
        raise GrafanaError(f"{where}: matcher {given!r} is neither a text such as team=\"shop\" nor a list such as [team, '=', shop]")
    return [str(part) for part in parts]


def key_of(route: t.Mapping[str, t.Any]) -> str:
    """What identifies a route among those beside it: its matchers, in their order."""
    return ", ".join(f'{label}{operator}"{value}"' for label, operator, value in route.get("object_matchers", ()))


def canonical_route(route: t.Any, where: str) -> Value:
    """A route, with all below it, in the form in which both sides are compared. Raises C(GrafanaError)."""
    if not isinstance(route, dict):
        raise GrafanaError(f"{where}: a route must be a dictionary, with keys such as receiver and object_matchers")
    unknown = sorted(str(key) for key, value in route.items() if key not in _KEYS and value)
    if unknown:
        raise GrafanaError(f"{where}: a route has no {', '.join(unknown)}; it has {', '.join(_KEYS)}")
    found: Value = {"receiver": str(route["receiver"])} if route.get("receiver") else {}
    for key in (*_SETS, "object_matchers", "matchers", "routes"):
        if not isinstance(route.get(key) or [], list):
            raise GrafanaError(f"{where}: {key} must be a list")
    for key in _SETS:
        if route.get(key):
            found[key] = sorted({str(text) for text in route[key]})
    if "..." in found.get("group_by", ()) and len(found["group_by"]) > 1:
        raise GrafanaError(f"{where}: group_by: '...' means all labels, and must stand alone")
    for key, may_be_zero in _WAITS.items():
        if route.get(key):
            found[key] = canonical_duration(route[key], f"{where}: {key}", may_be_zero=may_be_zero)
    matchers = [_matcher(given, where) for key in ("object_matchers", "matchers") for given in route.get(key) or ()]
    if matchers:
        found["object_matchers"] = sorted(matchers)
    if route.get("continue") not in (None, True, False):
        raise GrafanaError(f"{where}: continue must be true or false")
    if route.get("continue"):
        found["continue"] = True
    if route.get("routes"):
        found["routes"] = [canonical_route(part, f"{where}: routes[{place}]") for place, part in enumerate(route["routes"])]
    return found


def _comparable(route: t.Any) -> Value:
    """A route of the server; as it is where it has what a declared one cannot have."""
    try:
        return canonical_route(route, "")
    except GrafanaError:
        return t.cast(Value, route)


def walk(route: t.Mapping[str, t.Any]) -> t.Iterator[t.Mapping[str, t.Any]]:
    """A route and all below it."""
    yield route
    for part in route.get("routes") or ():
        yield from walk(part)


def declare(params: t.Mapping[str, t.Any]) -> list[Declared]:
    """The tree, or the single routes as one object. Raises C(GrafanaError) for what is wrong whatever the server has."""
    tree, routes, scope = params["policy_tree"], params["policies"], _purge_scope(params)
    if tree is not None and (routes or scope):
        raise GrafanaError("policy_tree is all of the tree: give either it, or policies and purge.policies")
    if tree is not None:
        if tree["state"] == "absent":
            return [Declared(TREE, None, "policy_tree")]
        value = canonical_route(_options_of(tree), "policy_tree")
        if "receiver" not in value:
            raise GrafanaError("policy_tree: receiver is missing: it gets what no other route takes")
        return [Declared(TREE, {"tree": value, "provenance": wanted_provenance(params)}, "policy_tree")]
    if not routes and not scope:
        return []
    want, absent, first = {}, set(), []
    keys = []
    for position, options in enumerate(routes):
        where = f"policies[{position}]"
        route = canonical_route(_options_of(options), where)
        key = key_of(route)
        if not key:
            raise GrafanaError(f"{where}: object_matchers is missing: it identifies the route among those of others")
        keys.append((where, key))
        if options["state"] == "absent":
            absent.add(key)
            continue
        want[key] = route
        if options["position"] == "first":
            first.append(key)
    check_unique(keys, "object_matchers")
    return [Declared(ROUTES, {"routes": want}, "policies", {"absent": absent, "first": first, "scope": scope})]


def _options_of(options: t.Mapping[str, t.Any]) -> Value:
    """The options of a route by their names, without their aliases."""
    return {key: options[key] for key in _KEYS if key in options and key != "matchers"}


def _purge_scope(params: t.Mapping[str, t.Any]) -> list[list[str]]:
    return [_matcher(given, "purge.policies") for given in (params["purge"] or {}).get("policies") or ()]


def observe(client: Client, want: t.Sequence[Declared], params: t.Mapping[str, t.Any]) -> Observation:
    """The tree."""
    raw = client.get(_PATH)
    if not isinstance(raw, dict):
        raise GrafanaError(f"GET {_PATH}: the answer is no tree")
    return seen(raw, want)


def seen(raw: Value, want: t.Sequence[Declared], renamed: t.Mapping[str, str] | None = None) -> Observation:
    """What a tree is for the declared object. C(renamed) are receivers that get another name before the tree is written."""
    tree = rename_receivers({key: part for key, part in raw.items() if key != "provenance"}, renamed or {})
    origin = {"provenance": raw.get("provenance") or ""}
    have = {}
    for item in want:
        if item.uid == ROUTES:
            value: Value = {"routes": _own_routes(item, tree)}
        elif item.value is None and not origin["provenance"] and _comparable(tree) == FIRST:
            continue
        else:
            value = {"tree": _comparable(tree), **origin}
        have[item.uid] = Found(item.uid, value, origin)
    return Observation(have, extra={"tree": tree, "raw": raw})


def rename_receivers(route: Value, renamed: t.Mapping[str, str]) -> Value:
    """A copy of a route where other names stand for receivers."""
    route = copy.deepcopy(route)
    for part in walk(route):
        if part.get("receiver") in renamed:
            t.cast(Value, part)["receiver"] = renamed[part["receiver"]]
    return route


def _own_routes(item: Declared, tree: Value) -> Value:
    """The routes below the root that are declared, declared absent, or in the scope of purge."""
    own: Value = {}
    for route in tree.get("routes") or ():
        found = _comparable(route)
        key = key_of(found)
        if not _is_own(item, found):
            continue
        if key in own:
            raise GrafanaError(f"{item.where}: the tree has several routes with the matchers {key}: delete all but one, or use policy_tree")
        own[key] = found
    return own


def _is_own(item: Declared, route: Value) -> bool:
    key, matchers = key_of(route), route.get("object_matchers") or []
    declared = key in (item.value or {})["routes"] or key in item.raw["absent"]
    return bool(key) and (declared or any(scope in matchers for scope in item.raw["scope"]))


def purged(want: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> list[Declared]:
    """Nothing: what purge deletes is part of the one object."""
    return []


def final_tree(want: t.Sequence[Declared], observation: Observation) -> Value:
    """The tree after the run."""
    tree: Value = observation.extra.get("tree") or FIRST
    for item in want:
        if item.uid == TREE:
            return item.value["tree"] if item.value else FIRST
        routes: Value = (item.value or {})["routes"]
        left, kept = dict(routes), []
        for route in tree.get("routes") or ():
            found = _comparable(route)
            if not _is_own(item, found):
                kept.append(route)
            elif key_of(found) in left:
                kept.append(left.pop(key_of(found)))
        first = [left.pop(key) for key in item.raw["first"] if key in left]
        return {**tree, "routes": [*first, *kept, *left.values()]}
    return tree


def changes(item: Declared, found: Found | None, observation: Observation) -> list[Change]:
    """The request that writes the tree, or resets it."""
    if item.value is None:
        return [Change(item.uid, "DELETE", _PATH)]
    # Who manages single routes leaves it to others whether the tree may be changed at Grafana's pages.
    headers = headers_for(found) if item.uid == ROUTES else headers_for(item)
    tree = final_tree([item], observation)
    shown = {"routes": [key_of(_comparable(route)) for route in tree.get("routes") or ()]}
    return [Change(item.uid, "PUT", _PATH, tree, masked=shown, headers=headers)]


def gather(client: Client) -> Gathered:
    """The tree, with its provenance, unless it is that of an organisation that has none of its own."""
    tree = observe(client, [Declared(TREE, None, "")], {}).have.get(TREE)
    if tree is None:
        return Gathered({})
    if tree.value["tree"].get("object_matchers"):
        return Gathered({}, {TREE: "its root has matchers, which mean nothing there"})
    return Gathered({TREE: {**tree.value["tree"], "provenance": tree.value["provenance"]}})


POLICIES = Kind("notification_policy", declare, observe, purged, nothing_to_check, changes)
