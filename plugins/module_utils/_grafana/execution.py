# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From declarations to objects on a server: what all Grafana modules do (private: may change at any time).

Everything is read and checked, then planned; the plan is executed by :func:`execute`, the one place that writes. Where somebody else
changes the same object, or an answer is lost, everything is read and planned again.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.groundwork.observability.plugins.module_utils._plan import ObjectState, Plan, Step

from .client import Client, Connection, GrafanaError, NoOrganisation, Refused, Unanswered, Unreachable
from .kind import Declared, Kind, Observation, parse_statement, resolved
from .planning import make_plan

# Somebody else has deleted it, has made it, or has changed it since it was read.
_CONTESTED = (404, 409, 412)
_ATTEMPTS = 5


def run(module: AnsibleModule, kind: Kind) -> None:
    """Make the objects of the module's options as declared, and leave the module."""
    try:
        want = kind.declare(module.params)
        module.no_log_values.update(secret for item in want for secret in item.secrets.values() if secret)
        for item in want:
            if item.warning:
                module.warn(f"{item.where}: {item.warning}")
        client = Client(Connection.from_params(module.params))
        plan = converge(module, client, kind, want)
    except GrafanaError as error:
        module.fail_json(msg=str(error), **error.details, **kind.result())
    result = plan.result
    shown = {key: result[key] for key in ("changed", "statements", "objects", "diff", "uncertain") if key in result}
    module.exit_json(**shown, **kind.result())


def converge(module: AnsibleModule, client: Client, kind: Kind, want: t.Sequence[Declared]) -> Plan:
    """Read, check and plan; unless in check mode also execute. Returns the plan as seen from the start of the run."""

    params = {**module.params, "check_mode": module.check_mode}
    warned: set[str] = set()

    def read_and_plan() -> Plan:
        observation = kind.observe(client, want, params)
        for warning in observation.warnings:
            if warning not in warned:
                module.warn(warning)
        warned.update(observation.warnings)
        items = [*want, *kind.purged(want, observation, params)]
        kind.check(items, observation, params)
        return make_plan(kind, items, observation)

    try:
        client.enter_organisation()
        plan = read_and_plan()
    except (Unreachable, NoOrganisation) as error:
        # In check mode a task before this one may be about to start the server, or to make the organisation.
        if not module.check_mode:
            raise
        module.warn(f"{error}; planned as for an empty {'server' if isinstance(error, Unreachable) else 'organisation'}")
        kind.check(want, Observation({}), params)
        return make_plan(kind, want, Observation({}))
    return plan if module.check_mode else execute(client, kind, plan, read_and_plan)


class _Run:
    """What was done so far, and what may have been."""

    def __init__(self) -> None:
        self.done: list[tuple[Step, ObjectState]] = []
        self.versions: dict[str, int] = {}
        self.ids: dict[str, int] = {}
        self.unanswered: tuple[Step, ObjectState] | None = None

    def stopped(self, error: GrafanaError, subject: str, left: int) -> GrafanaError:
        """The error with what was done before it."""
        shown = [step.shown for step, _state in self.done]
        uncertain = [self.unanswered[0].shown] if self.unanswered else []
        history = f"; {len(shown)} requests were made, {left} are left: run it again" if shown else ""
        lost = "; whether the request was executed is not known" if uncertain and not history else ""
        return type(error)(f"{subject}{error}{history}{lost}", error.status, shown, uncertain)


def execute(client: Client, kind: Kind, plan: Plan, read_and_plan: t.Callable[[], Plan]) -> Plan:
    """Execute a plan, and those that are made after it. Raises C(GrafanaError), which names the requests that were made before."""
    run, previous = _Run(), ""
    for attempt in range(_ATTEMPTS):
        failed = _execute_once(client, kind, plan, run)
        if failed is None:
            break
        error, step, left = failed
        contested = isinstance(error, Unanswered) or (isinstance(error, Refused) and error.status in _CONTESTED)
        # The same request is refused although everything was read again: nobody else changes it, the server does not take it.
        repeated = isinstance(error, Refused) and step.statement == previous
        if not contested or repeated or attempt == _ATTEMPTS - 1:
            subject = next((f"{state.kind} {state.name}: " for state in plan.objects if state.key == step.target), "")
            raise run.stopped(error, subject, left) from error
        previous = step.statement
        try:
            plan = read_and_plan()
        except GrafanaError as unread:
            raise run.stopped(unread, "", left) from unread
        _look_up_unanswered(run, plan)
    states = {state.key: state for _step, state in reversed(run.done)}
    objects = tuple(states.pop(state.key, state) for state in plan.objects)
    return replace(plan, steps=tuple(step for step, _state in run.done), objects=(*objects, *states.values()))


def _execute_once(client: Client, kind: Kind, plan: Plan, run: _Run) -> tuple[GrafanaError, Step, int] | None:
    """Make the requests of one plan. Returns the error that stopped it, its step, and how many requests are left."""
    states = {state.key: state for state in plan.objects}
    run.versions = {}
    for position, step in enumerate(plan.steps):
        method, path, body, headers = parse_statement(resolved(step.statement, run.ids))
        if body and "version" in body and step.target[0] in run.versions:
            body["version"] = run.versions[step.target[0]]
        state = states[step.target]
        try:
            kind.prepare(step)
            answer = client.send(method, path, body, headers)
        except GrafanaError as error:
            run.unanswered = (step, state) if isinstance(error, Unanswered) else None
            return error, step, len(plan.steps) - position
        run.done.append((step, state))
        changed = next((answer[key] for key in ("datasource", "result") if key in answer), answer) if isinstance(answer, dict) else {}
        if isinstance(changed, dict) and isinstance(changed.get("version"), int):
            run.versions[step.target[0]] = changed["version"]
        try:
            run.ids.update(kind.receive(step, answer))
        except GrafanaError as error:
            return error, step, len(plan.steps) - position - 1
        problem = kind.misread(step.statement, answer)
        if problem:
            return GrafanaError(problem), step, len(plan.steps) - position - 1
    return None


def _look_up_unanswered(run: _Run, plan: Plan) -> None:
    """A request whose answer was lost was executed if it is no longer planned."""
    if run.unanswered is not None:
        step, _state = run.unanswered
        if not any(other.target == step.target and other.shown == step.shown for other in plan.steps):
            run.done.append(run.unanswered)
        run.unanswered = None
