# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Grafana's alerting: five kinds of objects that refer to each other, handled as one (private: may change at any time).

Each kind has its own file. This one says which refers to which: in what order they are written and deleted, and what must be there.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .client import Client, GrafanaError
from .contact_points import CONTACT_POINTS
from .kind import Change, Declared, Found, Kind, Observation
from .mute_timings import MUTE_TIMINGS
from .notification_policies import FIRST_RECEIVER, POLICIES, TIMINGS, final_tree, seen, walk
from .notification_templates import TEMPLATES
from .provenance import check_provenance
from .rule_groups import RULE_GROUPS, before_others

# In the order in which they are written: what others refer to comes first. They are deleted in the reverse order.
KINDS = {kind.name: kind for kind in (TEMPLATES, MUTE_TIMINGS, CONTACT_POINTS, POLICIES, RULE_GROUPS)}
# Of these all are read as soon as one is declared, to check the references.
_ROUTING = {MUTE_TIMINGS.name, CONTACT_POINTS.name, POLICIES.name}
_PURGED_BY = {"templates": TEMPLATES, "mute_timings": MUTE_TIMINGS, "contact_points": CONTACT_POINTS, "rule_groups": RULE_GROUPS}
_NOTHING = Observation({})


def _qualified(kind: Kind, item: Declared) -> Declared:
    """With a key that no object of another kind has."""
    return replace(item, uid=f"{kind.name} {item.uid}", kind=kind.name, name=item.uid)


def _by_kind(want: t.Sequence[Declared]) -> dict[str, list[Declared]]:
    """The objects of each kind, with their keys among these."""
    own: dict[str, list[Declared]] = {name: [] for name in KINDS}
    for item in want:
        own[item.kind].append(replace(item, uid=item.name, kind="", name=""))
    return own


def declare(params: t.Mapping[str, t.Any]) -> list[Declared]:
    """All declared objects. Raises C(GrafanaError) for what is wrong whatever the server has."""
    return [_qualified(kind, item) for kind in KINDS.values() for item in kind.declare(params)]


def observe(client: Client, want: t.Sequence[Declared], params: t.Mapping[str, t.Any]) -> Observation:
    """The kinds that are declared or purged, and those that these refer to. C(extra) has what each kind has seen."""
    own = _by_kind(want)
    needed = {name for name, items in own.items() if items}
    needed |= {kind.name for option, kind in _PURGED_BY.items() if (params["purge"] or {}).get(option)}
    if needed & _ROUTING or any(rule.get("notification_settings") for _item, rule in _rules(own)):
        needed |= _ROUTING
    if _deletes_names(own, params):
        needed.add(RULE_GROUPS.name)
    seen_by = {name: kind.observe(client, own[name], params) for name, kind in KINDS.items() if name in needed}
    if POLICIES.name in needed:
        raw = seen_by[POLICIES.name].extra["raw"]
        renamed = _renamed_receivers(own[CONTACT_POINTS.name], seen_by[CONTACT_POINTS.name])
        seen_by[POLICIES.name] = seen(raw, own[POLICIES.name], renamed)
    have = {f"{name} {uid}": found for name, observation in seen_by.items() for uid, found in observation.have.items()}
    return Observation(have, extra=dict(seen_by))


def _deletes_names(own: t.Mapping[str, t.Sequence[Declared]], params: t.Mapping[str, t.Any]) -> bool:
    """Whether something may be deleted that rules may name."""
    scope = params["purge"] or {}
    absent = any(item.value is None for name in (MUTE_TIMINGS.name, CONTACT_POINTS.name) for item in own[name])
    return absent or bool(scope.get("mute_timings") or scope.get("contact_points"))


def _rules(own: t.Mapping[str, t.Sequence[Declared]]) -> t.Iterator[tuple[Declared, t.Any]]:
    for item in own[RULE_GROUPS.name]:
        for rule in (item.value or {}).get("rules", ()):
            yield item, rule


def _renamed_receivers(want: t.Sequence[Declared], observation: Observation) -> dict[str, str]:
    """Which name Grafana puts in place of another in the policies, when the last contact point of that name gets a new one."""
    groups: dict[str, set[str]] = {}
    for uid, found in observation.have.items():
        groups.setdefault(found.value["name"], set()).add(uid)
    renamed: dict[str, str] = {}
    for item in want:
        if item.value is None:
            continue
        old, new = observation.have.get(item.uid), item.value["name"]
        groups.setdefault(new, set()).add(item.uid)
        if old and old.value["name"] != new:
            name = old.value["name"]
            groups[name].discard(item.uid)
            if not groups[name]:
                renamed = {**{before: new if after == name else after for before, after in renamed.items()}, name: new}
    return renamed


def purged(want: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> list[Declared]:
    """What is not declared, and is in the scope of the option purge."""
    own = _by_kind(want)
    return [
        _qualified(kind, item)
        for name, kind in KINDS.items()
        for item in kind.purged(own[name], observation.extra.get(name, _NOTHING), params)
    ]


def check(want: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> None:
    """Raises C(GrafanaError) for what the server would refuse, or what it would take and could not use."""
    own = _by_kind(want)
    for name, kind in KINDS.items():
        kind.check(own[name], observation.extra.get(name, _NOTHING), params)
    for item in want:
        title = f"{item.kind.replace('_', ' ')} {item.name!r}"
        check_provenance(item, observation.have.get(item.uid), title, may_become_editable=item.kind == RULE_GROUPS.name)
    if POLICIES.name in observation.extra:
        _check_references(own, observation, params)


def _check_references(own: t.Mapping[str, list[Declared]], observation: Observation, params: t.Mapping[str, t.Any]) -> None:
    """Raises C(GrafanaError) where a policy or rule names a contact point or mute timing that is missing, or that would be deleted."""
    points, policies = observation.extra[CONTACT_POINTS.name], observation.extra[POLICIES.name]
    names = {uid: found.value["name"] for uid, found in points.have.items()}
    # A receiver may have no contact point: Grafana has accepted those of today's policies.
    others = {route.get("receiver") for route in walk(policies.extra["raw"])} - set(names.values())
    others |= {FIRST_RECEIVER, *points.extra["nameless"]}
    timings = {name: name for name in observation.extra[MUTE_TIMINGS.name].have}
    declared, left = _users(own, observation)
    for what, keys, want, have, more in (
        ("contact point", ("receiver",), own[CONTACT_POINTS.name], names, others),
        ("mute timing", TIMINGS, own[MUTE_TIMINGS.name], timings, set()),
    ):
        final = {**have, **{item.uid: item.value.get("name", item.uid) if item.value else None for item in want}}
        there = set(final.values()) | more
        deleted = {have[item.uid]: item.where for item in want if item.value is None and item.uid in have}
        for where, key, name in _named(keys, declared):
            # In check mode a task before this one may be about to make it.
            if name not in there and not params.get("check_mode"):
                raise GrafanaError(f"{where}: {key} {name!r}: there is no {what} with this name")
        for where, _key, name in _named(keys, left):
            if name not in there and name in deleted:
                raise GrafanaError(f"{deleted[name]}: {what} {name!r} is used by {where}: change that first")


_Users = list[tuple[str, t.Mapping[str, t.Any]]]


def _users(own: t.Mapping[str, list[Declared]], observation: Observation) -> tuple[_Users, _Users]:
    """What names contact points and mute timings after the run: what is declared, and all else, with where it is."""
    declared: _Users = []
    for item in own[POLICIES.name]:
        value = item.value or {}
        tops = {f"{item.where}: {key}": route for key, route in value.get("routes", {}).items()} or {item.where: value.get("tree", {})}
        declared += [(where, route) for where, top in tops.items() for route in walk(top)]
    declared += [(f"{item.where}: rule {rule['uid']!r}", rule.get("notification_settings") or {}) for item, rule in _rules(own)]
    left: _Users = [
        ("the notification policies", route) for route in walk(final_tree(own[POLICIES.name], observation.extra[POLICIES.name]))
    ]
    written = {item.uid for item in own[RULE_GROUPS.name]} | {rule["uid"] for _item, rule in _rules(own)}
    for key, found in observation.extra.get(RULE_GROUPS.name, _NOTHING).have.items():
        rules = [rule for rule in found.value["rules"] if key not in written and rule["uid"] not in written]
        left += [(f"rule {rule['uid']!r} in group {key!r}", rule.get("notification_settings") or {}) for rule in rules]
    return declared, left


def _named(keys: t.Sequence[str], users: _Users) -> t.Iterator[tuple[str, str, str]]:
    """Where, by which key, and which name. A route without a receiver inherits it."""
    for where, user in users:
        for key in keys:
            named = user.get(key) or []
            yield from ((where, key, name) for name in ([named] if isinstance(named, str) else named))


def changes(item: Declared, found: Found | None, observation: Observation) -> list[Change]:
    """The requests that make one object as declared."""
    plain = _by_kind([item])[item.kind][0]
    made = KINDS[item.kind].changes(plain, found, observation.extra.get(item.kind, _NOTHING))
    return [replace(change, uid=item.uid) for change in made]


def order(pending: t.Sequence[Change], want: t.Sequence[Declared], observation: Observation) -> list[Change]:
    """Rules that go first, as others may take their titles; then what is written; then what is deleted, when nothing names it any more."""
    ranks = {name: rank for rank, name in enumerate(KINDS)}
    own = _by_kind(want)
    groups = _sorted_groups(own[RULE_GROUPS.name], observation.extra.get(RULE_GROUPS.name, _NOTHING), pending)

    def rank(change: Change) -> tuple[int, int]:
        name, _space, key = change.uid.partition(" ")
        if name == RULE_GROUPS.name:
            return (-1, 0) if change.deletes else (ranks[name], groups.index(key))
        return (len(ranks) + len(ranks) - ranks[name], 0) if change.deletes else (ranks[name], 0)

    return sorted(pending, key=rank)


def _sorted_groups(want: t.Sequence[Declared], observation: Observation, pending: t.Sequence[Change]) -> list[str]:
    """The groups that are written, in an order in which no rule is lost and no title is taken."""
    written = {change.uid.partition(" ")[2] for change in pending if change.uid.startswith(f"{RULE_GROUPS.name} ") and not change.deletes}
    needed = before_others(want, observation)
    left, ordered = [item.uid for item in want if item.uid in written], []
    while left:
        chosen = next((key for key in left if not needed[key] & set(left) - {key}), None)
        if chosen is None:
            raise GrafanaError(f"rule groups exchange rules or titles of rules, which needs two runs: {', '.join(sorted(left))}")
        left.remove(chosen)
        ordered.append(chosen)
    return ordered


ALERTING = Kind("alerting", declare, observe, purged, check, changes, order=order)
