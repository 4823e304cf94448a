# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Execute a plan: the one place that changes a server (private: may change at any time).

Where a statement fails because somebody else changes the same object, or because the connection broke, everything is read and planned
again. What was executed before is part of the result and of every error.
"""

from __future__ import annotations

import dataclasses
import random
import time
import typing as t

from ansible_collections.groundwork.observability.plugins.module_utils import _plan

from . import change as planned
from . import client as clickhouse
from . import declaration, error_codes, sql_secrets
from . import observation as observed

# Answers that mean "somebody else is changing it": already there, gone meanwhile, being created, a peer's ALTER, a peer's
# definition in ZooKeeper that is ahead. Read again, plan again.
_CONTESTED = {
    error_codes.TABLE_ALREADY_EXISTS,
    error_codes.DATABASE_ALREADY_EXISTS,
    error_codes.INCOMPATIBLE_COLUMNS,
    error_codes.METADATA_MISMATCH,
    error_codes.CANNOT_ASSIGN_ALTER,
}
# Of a replica that is created while its peers still have another definition.
_PEERS_DIFFER = {error_codes.INCOMPATIBLE_COLUMNS, error_codes.METADATA_MISMATCH}
_ATTEMPTS = 6
_PAUSE_AT_MOST = 4.0
# Statements that do not show whether they ran, or how far.
_WITHOUT_TRACE = ("SYSTEM ", "OPTIMIZE ", "INSERT ", "DROP TABLE IF EXISTS ", "CREATE TABLE IF NOT EXISTS ")


def execute(
    client: clickhouse.ClickHouse,
    want: declaration.Objects,
    first: tuple[_plan.Plan, observed.Observation],
    read_and_plan: t.Callable[[], tuple[_plan.Plan, observed.Observation]],
    finish: t.Callable[[_plan.Plan, observed.Observation], _plan.Plan],
) -> _plan.Plan:
    """Execute a plan, and those that are made after it, until one needs no more. Returns what was done, as one plan.

    C(first) is the plan and what it was made from. C(read_and_plan) makes the next one, C(finish) prepares that for execution.
    Raises C(ClickHouseError), which names the statements that were executed before.
    """
    plan, observation = first
    run = Execution(client, (*want, *observation.purged))
    pause = 0.2
    while plan.steps:
        if run.execute(plan, observation):
            return run.reported(dataclasses.replace(plan, steps=()))
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(pause * 2, _PAUSE_AT_MOST)
        try:
            plan, observation = read_and_plan()
            run.look_up_unanswered(plan, observation)
            plan = finish(plan, observation)
        except clickhouse.ClickHouseError as error:
            raise run.stopped(error) from error
    return run.reported(plan)


class Execution:
    """What was executed so far, on the way to what is declared, and what may have been when the connection broke."""

    def __init__(self, client: clickhouse.ClickHouse, items: t.Iterable[declaration.Declared]) -> None:
        self.client = client
        self.items: dict[tuple[str, ...], declaration.Declared] = {item.key: item for item in items}
        self.done: list[tuple[_plan.Step, _plan.ObjectState]] = []
        self.uncertain: list[_plan.Step] = []
        # The statement whose answer was lost, and those that were to follow it on the same object.
        self.unanswered: tuple[_plan.Step, tuple[_plan.Step, ...]] | None = None
        self.left = ""
        self.attempts = 0
        self.deadline = time.monotonic() + client.connection.timeout

    def execute(self, plan: _plan.Plan, observation: observed.Observation) -> bool:
        """Execute a plan. False where it is to be read and planned again; raises C(ClickHouseError) where that is of no use."""
        self.attempts += 1
        states = {state.key: state for state in plan.objects}
        for position, step in enumerate(plan.steps):
            execute_more = self._reporting_execute(states[step.target], observation.secrets)
            sending = False
            try:
                if step.prepare is not None:
                    self._do(step.prepare, execute_more)
                sending = True
                self.client.execute(step.statement)
                sending = False
                self.done.append((step, states[step.target]))
                if step.target == (self.client.connection.database, ""):
                    self.client.leave_database() if self.items[step.target].absent else self.client.use_database()
            except clickhouse.ClickHouseError as error:
                if sending and isinstance(error, clickhouse.ConnectionFailed):
                    self.unanswered = (step, tuple(later for later in plan.steps[position + 1 :] if later.target == step.target))
                self.left = f"{len(plan.steps) - position} of {len(plan.steps)} statements left"
                if self._may_repeat(step, error):
                    return False
                self._report_unanswered()
                still = self._do(step.cleanup, execute_more) if step.cleanup is not None else ""
                raise self._with_advice(step, error, still) from error
        return True

    def _do(self, operation: _plan.Operation, execute_more: t.Callable[[str], None]) -> str:
        """Do what a step asks for beside its statement. Returns what the operation says; raises what it raises."""
        from . import rebuild_operations

        return rebuild_operations.OPERATIONS[operation.name](self.client, execute_more, *operation.arguments) or ""

    def _reporting_execute(self, state: _plan.ObjectState, secrets: t.Collection[str]) -> t.Callable[[str], None]:
        """What executes and reports more statements for an object than those that were planned."""

        def execute_more(statement: str) -> None:
            step = _plan.Step(state.key, statement, sql_secrets.mask_secrets(statement, secrets))
            try:
                self.client.execute(statement)
            except clickhouse.ConnectionFailed:
                self.uncertain.append(step)
                raise
            self.done.append((step, state))

        return execute_more

    def _may_repeat(self, step: _plan.Step, error: clickhouse.ClickHouseError) -> bool:
        """Whether to read and plan again: the connection broke, somebody else is changing it, or a replica is coming back."""
        if step.shared and error.code == error_codes.TABLE_IS_READ_ONLY:
            return time.monotonic() < self.deadline
        contested = (
            isinstance(error, planned.Replan) or error.code in _CONTESTED or (step.shared and error.code != error_codes.ACCESS_DENIED)
        )
        return (isinstance(error, clickhouse.ConnectionFailed) or contested) and self.attempts < _ATTEMPTS

    def look_up_unanswered(self, plan: _plan.Plan, observation: observed.Observation) -> None:
        """Whether the statement ran whose answer was lost, by what is planned for its object now."""
        self.items.update({item.key: item for item in observation.purged})
        if self.unanswered is None:
            return
        (step, following), self.unanswered = self.unanswered, None
        state = next(state for state in plan.objects if state.key == step.target)
        now = tuple(other for other in plan.steps if other.target == step.target)
        ran = None if state.status == _plan.DRIFTED else _has_run(step, following, now, self.items[step.target], observation)
        if ran:
            self.done.append((step, state))
        elif ran is None:
            self.uncertain.append(step)

    def _report_unanswered(self) -> None:
        """Nobody can be asked any more whether the statement ran whose answer was lost."""
        self.uncertain += [self.unanswered[0]] if self.unanswered is not None else []

    def stopped(self, error: clickhouse.ClickHouseError) -> clickhouse.ClickHouseError:
        """The error of what was asked before the next statement, with what was executed before."""
        self._report_unanswered()
        return self._lost_connection(error, "") if self.done or self.uncertain else error

    def _lost_connection(self, error: clickhouse.ClickHouseError, still: str) -> clickhouse.ClickHouseError:
        """The error of a server that has gone, with the statement that it may have executed."""
        if self.unanswered is None:
            return self._with_history(error, f"{len(self.done)} statements were executed{still}")
        message = f"{error}; whether its statement ran is not known; {self.left}, run it again"
        return self._with_history(type(error)(message, error.code), self.items[self.unanswered[0].target].subject + still)

    def _with_advice(self, step: _plan.Step, error: clickhouse.ClickHouseError, still: str) -> clickhouse.ClickHouseError:
        """The error of a statement, with the object that it is about, what was executed before, and what to do."""
        item = self.items[step.target]
        if isinstance(error, clickhouse.ConnectionFailed):
            return self._lost_connection(error, still)
        where = item.subject + still
        if error.code in _PEERS_DIFFER:
            where += ": its other replicas have another definition, converge them in the same run"
        elif error.code == error_codes.REPLICA_ALREADY_EXISTS:
            where += (
                ": ZooKeeper has this replica already, of a host that was lost or of one with the same macros. "
                f"For a lost one: SYSTEM DROP REPLICA '<replica>' FROM TABLE {item.sql_name} on another replica, then run again"
            )
        elif step.shared and error.code == error_codes.TABLE_IS_READ_ONLY:
            where += (
                f": its replica has not come back within {self.client.connection.timeout} s (timeout). Look for ZooKeeper; "
                f"where that has lost the replica: SYSTEM RESTORE REPLICA {item.sql_name}, then run again"
            )
        return self._with_history(error, where)

    def _with_history(self, error: clickhouse.ClickHouseError, where: str) -> clickhouse.ClickHouseError:
        return error.about(where, [step.shown for step, _state in self.done], [step.shown for step in self.uncertain])

    def reported(self, plan: _plan.Plan) -> _plan.Plan:
        """The plan as seen from the start of the run: what was done on the way is reported as it was then."""
        states = {state.key: state for _step, state in reversed(self.done)}
        return dataclasses.replace(
            plan,
            steps=(*(step for step, _state in self.done), *plan.steps),
            objects=tuple(states.get(state.key, state) for state in plan.objects),
            uncertain=tuple(step.shown for step in self.uncertain),
        )


def _has_run(
    step: _plan.Step,
    following: tuple[_plan.Step, ...],
    now: tuple[_plan.Step, ...],
    item: declaration.Declared,
    observation: observed.Observation,
) -> bool | None:
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
        return item.key not in observation.have
    if step.statement.startswith(f"CREATE TABLE {item.sql_name} "):
        return item.key in observation.have
    return None
