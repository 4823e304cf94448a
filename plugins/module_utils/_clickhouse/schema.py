# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases, tables and views: read, planned, applied (private: may change at any time).

``plan_schema`` is pure; ``converge`` joins it with what the ``Reader`` knows, and is the one place that writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import time
import typing as t

from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import ddl
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import (
    ClickHouse,
    ClickHouseError,
    ConnectionFailed,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.declaration import ABSENT, Declared, Key, Purge
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.found import Change, Definition, Found, Replan
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.reader import Reader
from ansible_collections.groundwork.observability.plugins.module_utils._plan import DRIFTED, ObjectState, Plan, Step

PRESENT = "present"
CREATED = "created"
ALTERED = "altered"
DROPPED = "dropped"

# Answers that mean "somebody else is changing it": already there, gone meanwhile, being created, a peer's ALTER, a peer's
# definition in ZooKeeper that is ahead. Read again, plan again.
_CONTESTED = {57, 82, 122, 342, 517}
# Of a replica that is created while its peers still have another definition.
_PEERS_DIFFER = {122, 342}
_ATTEMPTS = 6
# A replica that has lost ZooKeeper, or was started a moment ago: no matter how often, as long as a statement may take.
_READ_ONLY = 242
_PAUSE_AT_MOST = 4.0
# ZooKeeper has a replica of this name already.
_REPLICA_REMAINS = 253
# Of a change to a replicated table: no use in trying again.
_REFUSED = {497}


def plan_schema(want: t.Sequence[Declared], found: Found, secrets: t.Collection[str] = (), allow: t.Collection[str] = ()) -> Plan:
    """What has to be done. Pure: two structures in, a plan out."""
    steps: dict[Key, list[Step]] = {}
    states: list[ObjectState] = []
    databases = {item.database for item in want if item.kind == "database" and not item.absent} | set(found.databases)
    items = (*_by_dependency(want, found.have), *_by_dependency(found.purged, found.have))
    for item in items:
        if item.database and item.database not in databases and not item.absent:
            raise ClickHouseError(f"{item.subject}: the database {item.database} neither exists nor is declared")
        made: list[Step] = []
        have = found.have.get(item.key)
        shown = "" if item.absent else item.shown(secrets)
        canonical = found.want.get(item.key, Definition(shown, shown))
        if have is None:
            if not item.absent:
                text = item.made_as(canonical.text)
                made.append(Step(item.key, text, shown if text == item.statement else text))
            states.append(_state(item, ABSENT if item.absent else CREATED, "", canonical.pretty))
        elif have.text == canonical.text and item.key not in found.changes:
            states.append(_state(item, PRESENT, have.pretty, have.pretty))
        else:
            change = found.changes.get(item.key, Change(impossible=("it cannot be altered",)))
            obstacles = change.obstacles(allow)
            status = DRIFTED if obstacles else DROPPED if item.absent else CREATED if change.join else ALTERED
            before = "" if status == CREATED else have.pretty
            states.append(_state(item, status, before, canonical.pretty, "; ".join(obstacles)))
            if change.join:
                made.append(Step(item.key, change.join, ddl.mask(change.join, secrets)))
            if not obstacles:
                made += change.steps(item.key, secrets)
        if made:
            steps[item.key] = made
    hidden = {key for key, made in steps.items() if any(ddl.holds_hidden(step.statement) for step in made)}
    for item in want:
        if item.key in hidden:
            raise ClickHouseError(f"{item.subject}: it has '[HIDDEN]', which servers show in place of a secret: write the secret itself")
    return Plan(_ordered(items, found, steps), tuple(states))


def _ordered(items: t.Sequence[Declared], found: Found, steps: t.Mapping[Key, list[Step]]) -> tuple[Step, ...]:
    """The steps of all objects, each behind those that it needs."""
    if len(steps) < 2:
        return tuple(step for made in steps.values() for step in made)
    from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import dependencies, ordering

    ordered: list[Step] = []
    for key, half in ordering.order(dependencies.nodes([item for item in items if item.key in steps], found)):
        last = found.changes[key].last if half != ordering.WHOLE else 0
        cut = len(steps[key]) - last
        ordered += steps[key] if half == ordering.WHOLE else steps[key][:cut] if half == ordering.FIRST else steps[key][cut:]
    return tuple(ordered)


def _state(item: Declared, status: str, before: str, after: str, reason: str = "") -> ObjectState:
    return ObjectState(item.label, item.kind, status, before, after, reason, item.key)


def _by_dependency(want: t.Sequence[Declared], have: t.Mapping[Key, Definition]) -> list[Declared]:
    """What goes goes after what refers to it: a dictionary after the tables that ask it."""
    uses = {
        item.key: ddl.references(ddl.Create("table", item.database, item.name, have[item.key].text))
        for item in want
        if item.absent and item.key in have
    }
    ordered: dict[Key, Declared] = {}
    pending: set[Key] = set()

    def place(item: Declared) -> None:
        if item.key in pending or item.key in ordered:
            return
        pending.add(item.key)
        for other in want:
            if item.absent and item.key in uses.get(other.key, ()):
                place(other)
        ordered[item.key] = item

    for item in want:
        place(item)
    return list(ordered.values())


def converge(
    client: ClickHouse,
    want: t.Sequence[Declared],
    secrets: t.Collection[str],
    *,
    apply: bool,
    keep_drift: bool,
    allow: t.Collection[str] = (),
    purge: t.Sequence[Purge] = (),
) -> Plan:
    """Read, plan and, if asked to, apply, until nothing is left to do or somebody else's change does not end."""
    items: dict[tuple[str, ...], Declared] = {item.key: item for item in want}
    done: list[tuple[Step, ObjectState]] = []
    unsure: tuple[Step, ObjectState] | None = None
    left = ""
    pause = 0.2
    deadline = time.monotonic() + client.connection.timeout
    attempt = 0
    while True:
        attempt += 1
        try:
            found = client.patiently(lambda: _known(Reader(client, want, secrets, purge), allow))
        except ConnectionFailed as error:
            raise _gone(error, items, done, unsure, left) from error
        items |= {item.key: item for item in found.purged}
        plan = plan_schema(want, found, found.secrets, allow)
        states = {state.key: state for state in plan.objects}
        if unsure is not None and unsure[0] not in plan.steps:
            done.append(unsure)
        unsure = None
        if plan.drifted and not keep_drift:
            plan = _without_steps(plan)
        if plan.steps:
            plan = _with_effects(client, plan, found)
        if not apply or not plan.steps:
            return _with_done(plan, done)
        for position, step in enumerate(plan.steps):
            try:
                if step.prepare is not None:
                    extra = step.prepare()
                    done += [(Step(step.target, text, ddl.mask(text, found.secrets)), states[step.target]) for text in extra]
                client.execute(step.statement)
                if step.target == (client.connection.database, ""):
                    client.leave_database() if items[step.target].absent else client.use_database()
            except ClickHouseError as error:
                lost = isinstance(error, ConnectionFailed)
                contested = isinstance(error, Replan) or error.code in _CONTESTED or (step.shared and error.code not in _REFUSED)
                read_only = step.shared and error.code == _READ_ONLY
                again = time.monotonic() < deadline if read_only else (lost or contested) and attempt < _ATTEMPTS
                if again:
                    unsure = (step, states[step.target]) if lost else None
                    left = f"{len(plan.steps) - position} of {len(plan.steps)} statements left"
                    break
                item = items[step.target]
                where = item.subject + (step.release() if step.release is not None else "")
                if error.code in _PEERS_DIFFER:
                    where += ": its other replicas have another definition, converge them in the same run"
                elif error.code == _REPLICA_REMAINS:
                    where += (
                        ": ZooKeeper has this replica already, of a host that was lost or of one with the same macros. "
                        f"For a lost one: SYSTEM DROP REPLICA '<replica>' FROM TABLE {item.sql_name} on another replica, then run again"
                    )
                elif read_only:
                    where += (
                        f": its replica has not come back within {client.connection.timeout} s (timeout). Look for ZooKeeper; "
                        f"where that has lost the replica: SYSTEM RESTORE REPLICA {item.sql_name}, then run again"
                    )
                elif isinstance(error, ConnectionFailed):
                    left = f"{len(plan.steps) - position} of {len(plan.steps)} statements left"
                    raise _gone(error, items, done, (step, states[step.target]), left) from error
                raise error.about(where, [item.shown for item, _state in done]) from error
            done.append((step, states[step.target]))
        else:
            return _with_done(dataclasses.replace(plan, steps=()), done)
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(pause * 2, _PAUSE_AT_MOST)


def _with_effects(client: ClickHouse, plan: Plan, found: Found) -> Plan:
    """What each statement costs, where the server has anything yet."""
    if not found.changes:
        return dataclasses.replace(plan, steps=tuple(dataclasses.replace(step, effect="instant") for step in plan.steps))
    from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.effects import with_effects

    return client.patiently(lambda: with_effects(client, plan, found))


def _gone(
    error: ConnectionFailed,
    items: t.Mapping[tuple[str, ...], Declared],
    done: t.Sequence[tuple[Step, ObjectState]],
    unsure: tuple[Step, ObjectState] | None,
    left: str,
) -> ClickHouseError:
    """The error of a server that has gone, with what was executed before, and the object whose statement may have been."""
    executed = [step.shown for step, _state in done]
    if unsure is None:
        return error.about(f"{len(executed)} statements were executed", executed) if executed else error
    subject = items[unsure[0].target].subject
    return Interrupted(f"{subject}: {error}; whether its statement ran is not known; {left}, run it again", done=executed)


class Interrupted(ConnectionFailed):
    """The server went while it was changed: the statement it was sent last may have run."""

    @property
    def details(self) -> dict[str, t.Any]:
        return {**super().details, "changed": True}


def _known(reader: Reader, allow: t.Collection[str]) -> Found:
    """What the reader finds, and what makes it as declared."""
    try:
        reader.read()
        if not reader.to_check:
            return reader.found({})
        from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.differences import Differences

        return reader.found(Differences(reader, allow).changes())
    finally:
        reader.let_go()
        with contextlib.suppress(ClickHouseError):  # its time will end it
            reader.client.end_session()


def plan_offline(want: t.Sequence[Declared], secrets: t.Collection[str]) -> Plan:
    """The plan for a server that is not there yet: it has nothing, or it has what cannot be known."""
    return plan_schema(want, Found(databases={item.database for item in want}), secrets)


_DONE = (CREATED, ALTERED, DROPPED)


def _without_steps(plan: Plan) -> Plan:
    """The plan when nothing may be done: what is there, and how it differs."""
    return Plan((), tuple(state for state in plan.objects if state.status not in _DONE))


def _with_done(plan: Plan, done: t.Sequence[tuple[Step, ObjectState]]) -> Plan:
    """The plan as seen from the start of the run: what was done on the way is reported as it was then."""
    states = {state.key: state for _step, state in reversed(done)}
    return dataclasses.replace(
        plan,
        steps=(*(step for step, _state in done), *plan.steps),
        objects=tuple(states.get(state.key, state) for state in plan.objects),
    )
