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
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.found import Change, Definition, Do, Found, Replan
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
# Statements that do not show whether they ran, or how far.
_WITHOUT_TRACE = ("SYSTEM ", "OPTIMIZE ", "INSERT ", "DROP TABLE IF EXISTS ", "CREATE TABLE IF NOT EXISTS ")
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
    run = Run(client, items)
    pause = 0.2
    while True:
        try:
            found = client.patiently(lambda: _known(Reader(client, want, secrets, purge), allow))
            items |= {item.key: item for item in found.purged}
            plan = plan_schema(want, found, found.secrets, allow)
            run.find_out(plan, found)
            if plan.drifted and not keep_drift:
                plan = _without_steps(plan)
            if plan.steps:
                plan = _with_effects(client, plan, found)
        except ClickHouseError as error:
            raise run.stopped(error) from error
        if not apply or not plan.steps:
            return run.reported(plan)
        if run.execute(plan, found):
            return run.reported(dataclasses.replace(plan, steps=()))
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(pause * 2, _PAUSE_AT_MOST)


class Run:
    """What was executed so far, on the way to what is declared, and what may have been when the connection broke."""

    def __init__(self, client: ClickHouse, items: t.Mapping[tuple[str, ...], Declared]) -> None:
        self.client = client
        self.items = items
        self.done: list[tuple[Step, ObjectState]] = []
        self.uncertain: list[Step] = []
        # The statement whose answer was lost, and those that were to follow it on the same object.
        self.unanswered: tuple[Step, tuple[Step, ...]] | None = None
        self.left = ""
        self.attempts = 0
        self.deadline = time.monotonic() + client.connection.timeout

    def execute(self, plan: Plan, found: Found) -> bool:
        """Execute a plan. False where it is to be read and planned again; raises C(ClickHouseError) where that is of no use."""
        self.attempts += 1
        states = {state.key: state for state in plan.objects}
        for position, step in enumerate(plan.steps):
            does = self._does(states[step.target], found.secrets)
            sending = False
            try:
                if step.prepare is not None:
                    step.prepare(does)
                sending = True
                self.client.execute(step.statement)
                sending = False
                self.done.append((step, states[step.target]))
                if step.target == (self.client.connection.database, ""):
                    self.client.leave_database() if self.items[step.target].absent else self.client.use_database()
            except ClickHouseError as error:
                if sending and isinstance(error, ConnectionFailed):
                    self.unanswered = (step, tuple(later for later in plan.steps[position + 1 :] if later.target == step.target))
                self.left = f"{len(plan.steps) - position} of {len(plan.steps)} statements left"
                if self._may_repeat(step, error):
                    return False
                self._leave_open()
                raise self._explained(step, error, step.release(does) if step.release is not None else "") from error
        return True

    def _does(self, state: ObjectState, secrets: t.Collection[str]) -> Do:
        """What executes and reports more statements for an object than those that were planned."""

        def do(statement: str) -> None:
            step = Step(state.key, statement, ddl.mask(statement, secrets))
            try:
                self.client.execute(statement)
            except ConnectionFailed:
                self.uncertain.append(step)
                raise
            self.done.append((step, state))

        return do

    def _may_repeat(self, step: Step, error: ClickHouseError) -> bool:
        """Whether to read and plan again: the connection broke, somebody else is changing it, or a replica is coming back."""
        if step.shared and error.code == _READ_ONLY:
            return time.monotonic() < self.deadline
        contested = isinstance(error, Replan) or error.code in _CONTESTED or (step.shared and error.code not in _REFUSED)
        return (isinstance(error, ConnectionFailed) or contested) and self.attempts < _ATTEMPTS

    def find_out(self, plan: Plan, found: Found) -> None:
        """Whether the statement ran whose answer was lost, by what is planned for its object now."""
        if self.unanswered is None:
            return
        (step, following), self.unanswered = self.unanswered, None
        state = next(state for state in plan.objects if state.key == step.target)
        now = tuple(other for other in plan.steps if other.target == step.target)
        ran = None if state.status == DRIFTED else _ran(step, following, now, self.items[step.target], found)
        if ran:
            self.done.append((step, state))
        elif ran is None:
            self.uncertain.append(step)

    def _leave_open(self) -> None:
        """Nobody can be asked any more whether the statement ran whose answer was lost."""
        self.uncertain += [self.unanswered[0]] if self.unanswered is not None else []

    def stopped(self, error: ClickHouseError) -> ClickHouseError:
        """The error of what was asked before the next statement, with what was executed before."""
        self._leave_open()
        return self._lost(error, "") if self.done or self.uncertain else error

    def _lost(self, error: ClickHouseError, release: str) -> ClickHouseError:
        """The error of a server that has gone, with the statement that it may have executed."""
        if self.unanswered is None:
            return self._reporting(error, f"{len(self.done)} statements were executed{release}")
        message = f"{error}; whether its statement ran is not known; {self.left}, run it again"
        return self._reporting(type(error)(message, error.code), self.items[self.unanswered[0].target].subject + release)

    def _explained(self, step: Step, error: ClickHouseError, release: str) -> ClickHouseError:
        """The error of a statement, with the object that it is about, what was executed before, and what to do."""
        item = self.items[step.target]
        if isinstance(error, ConnectionFailed):
            return self._lost(error, release)
        where = item.subject + release
        if error.code in _PEERS_DIFFER:
            where += ": its other replicas have another definition, converge them in the same run"
        elif error.code == _REPLICA_REMAINS:
            where += (
                ": ZooKeeper has this replica already, of a host that was lost or of one with the same macros. "
                f"For a lost one: SYSTEM DROP REPLICA '<replica>' FROM TABLE {item.sql_name} on another replica, then run again"
            )
        elif step.shared and error.code == _READ_ONLY:
            where += (
                f": its replica has not come back within {self.client.connection.timeout} s (timeout). Look for ZooKeeper; "
                f"where that has lost the replica: SYSTEM RESTORE REPLICA {item.sql_name}, then run again"
            )
        return self._reporting(error, where)

    def _reporting(self, error: ClickHouseError, where: str) -> ClickHouseError:
        return error.about(where, [step.shown for step, _state in self.done], [step.shown for step in self.uncertain])

    def reported(self, plan: Plan) -> Plan:
        """The plan as seen from the start of the run: what was done on the way is reported as it was then."""
        states = {state.key: state for _step, state in reversed(self.done)}
        return dataclasses.replace(
            plan,
            steps=(*(step for step, _state in self.done), *plan.steps),
            objects=tuple(states.get(state.key, state) for state in plan.objects),
            uncertain=tuple(step.shown for step in self.uncertain),
        )


def _ran(step: Step, following: tuple[Step, ...], now: tuple[Step, ...], item: Declared, found: Found) -> bool | None:
    """Whether a statement ran; None where that cannot be known. Pure.

    C(following) were to follow it on the same object, C(now) are planned for the object since.
    """
    if now == following:
        return True
    if step.statement.startswith(_WITHOUT_TRACE):
        return None
    if now == (step, *following) or not following:
        return False
    if step.statement == f"DROP TABLE {item.sql_name} SYNC":
        return item.key not in found.have
    if step.statement.startswith(f"CREATE TABLE {item.sql_name} "):
        return item.key in found.have
    return None


def _with_effects(client: ClickHouse, plan: Plan, found: Found) -> Plan:
    """What each statement costs, where the server has anything yet."""
    if not found.changes:
        return dataclasses.replace(plan, steps=tuple(dataclasses.replace(step, effect="instant") for step in plan.steps))
    from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.effects import with_effects

    return client.patiently(lambda: with_effects(client, plan, found))


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
