# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: which requests, in which order (private: may change at any time). Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.groundwork.observability.plugins.module_utils._plan import ObjectState, Plan, Step

from .client import GrafanaError
from .kind import Change, Declared, Found, Kind, Observation, Value, resolved, same_value, shown_value

PRESENT, ABSENT = "present", "absent"
CREATED, ALTERED, DELETED = "created", "altered", "deleted"
Places = dict[str, tuple[str, str]]


def make_plan(kind: Kind, want: t.Sequence[Declared], observation: Observation) -> Plan:
    """What has to be done. C(want) holds also what is to be purged. Raises C(GrafanaError) where it cannot be done."""
    pending: list[Change] = []
    states = []
    for item in want:
        found = observation.have.get(item.uid)
        before = found.value if found else None
        after = final_value(item, found)
        status = _status(before, after)
        if status not in (PRESENT, ABSENT):
            pending += kind.changes(item, found, observation)
        name, what = item.name or item.uid, item.kind or kind.name
        states.append(ObjectState(name, what, status, shown_value(before), shown_value(after), key=(item.uid,)))
    if kind.order:
        return Plan(tuple(_step(change, observation.ids) for change in kind.order(pending, want, observation)), tuple(states))
    declared = {item.uid: item for item in want}
    places = {uid: kind.place(found.value) for uid, found in observation.have.items()}
    ordered = order_changes(pending, places, lambda uid, name: kind.detour(declared[uid], observation.have[uid], name))
    return Plan(tuple(_step(change, observation.ids) for change in ordered), tuple(states))


def final_value(item: Declared, found: Found | None) -> Value | None:
    """What an object will be: what its declaration leaves out stays."""
    return None if item.value is None else {**(found.value if found else {}), **item.value}


def is_as_declared(item: Declared, found: Found) -> bool:
    """Whether nothing is to be done with an object that exists."""
    return same_value(final_value(item, found), found.value)


def _status(before: Value | None, after: Value | None) -> str:
    if before is None or after is None:
        return (ABSENT if after is None else CREATED) if before is None else DELETED
    return PRESENT if same_value(before, after) else ALTERED


def _step(change: Change, ids: t.Mapping[str, int]) -> Step:
    effect = "delete" if change.deletes else ""
    statement = resolved(change.statement, ids)
    return Step((change.uid,), statement, change.shown, prepare=change.prepare, effect=effect, lost=change.lost)


def order_changes(
    changes: t.Sequence[Change], places: t.Mapping[str, tuple[str, str]], detour: t.Callable[[str, str], tuple[Change, Change]]
) -> list[Change]:
    """The changes so that each is possible after those before it.

    Nothing is put below what is not there yet, or below itself. No name is given that another object still has: where two exchange
    their names, or one cannot be moved and renamed in either order, one gets another name for a while (C(detour)). Objects are
    deleted as late as possible. C(places) is where each object stands today: its parent and its name.
    """
    pending = [change for change in changes if not change.deletes] + [change for change in changes if change.deletes]
    now: Places = dict(places)
    ordered: list[Change] = []
    while pending:
        chosen = next((change for change in pending if _possible(change, now)), None)
        if chosen is None:
            moved = _choose_detour(pending, now)
            chosen, final = detour(moved, _temporary_name(moved, now))
            if not any(change.uid == moved and (change.deletes or change.name is not None) for change in pending):
                pending.append(final)
        else:
            pending.remove(chosen)
        ordered.append(chosen)
        _apply(chosen, now)
    return ordered


def _choose_detour(pending: t.Sequence[Change], now: Places) -> str:
    """The object that gets another name for a while, where nothing else is possible: one that changes and has a name that another needs,
    or else one that is kept from its own new name or place. Raises C(GrafanaError) if that does not help.
    """
    blocked = [(change, holder) for change in pending if not change.deletes and (holder := _holder(change, now))]
    if not blocked:
        raise GrafanaError(f"there is no order in which these can be changed: {', '.join(sorted({change.uid for change in pending}))}")
    changing = {change.uid for change in pending}
    for uid in (
        *(holder for _change, holder in blocked if holder in changing),
        *(change.uid for change, _holder in blocked if change.uid in now),
    ):
        if now[uid][1] != _temporary_name(uid, now):
            return uid
    change, holder = blocked[0]
    raise GrafanaError(f"{change.uid}: its name {change.name or now[change.uid][1]!r} is that of {holder}, which keeps it")


def _temporary_name(uid: str, now: Places) -> str:
    name, end = now[uid][1], f" ({uid})"
    return name if name.endswith(end) else name + end


def _target(change: Change, now: Places) -> tuple[str, str]:
    parent, name = now.get(change.uid, ("", ""))
    return (parent if change.parent is None else change.parent, name if change.name is None else change.name)


def _holder(change: Change, now: Places) -> str:
    """Who has the name that a change gives; names are compared without case, as Grafana does."""
    parent, name = _target(change, now)
    if now.get(change.uid) == (parent, name):
        return ""
    for uid, (other_parent, other_name) in now.items():
        if uid != change.uid and other_parent == parent and other_name.casefold() == name.casefold():
            return uid
    return ""


def _possible(change: Change, now: Places) -> bool:
    if change.deletes:
        return not any(parent == change.uid for parent, _name in now.values())
    above = _target(change, now)[0]
    if above and above not in now:
        return False
    while above:
        if above == change.uid:
            return False
        above = now[above][0] if above in now else ""
    return not _holder(change, now)


def _apply(change: Change, now: Places) -> None:
    if change.deletes:
        now.pop(change.uid, None)
    else:
        now[change.uid] = _target(change, now)
