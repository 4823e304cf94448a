# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for all objects: which statements, in which order (private: may change at any time). Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.groundwork.observability.plugins.module_utils import _plan

from . import change as planned
from . import client as clickhouse
from . import declaration, sql_secrets
from . import observation as observed

PRESENT = "present"
CREATED = "created"
ALTERED = "altered"
DROPPED = "dropped"


def plan_schema(
    want: declaration.Objects,
    observation: observed.Observation,
    changes: planned.Changes | None = None,
    allow: t.Collection[str] = (),
) -> _plan.Plan:
    """What has to be done. C(changes) are those of objects that exist and differ.

    Raises C(ClickHouseError) for an object whose database neither exists nor is declared, and for a statement with C('[HIDDEN]').
    """
    changes, secrets = changes or {}, observation.secrets
    steps: dict[declaration.Key, list[_plan.Step]] = {}
    states = []
    databases = {item.database for item in want if item.kind == "database" and not item.absent} | set(observation.databases)
    items = [*want, *observation.purged]
    for item in items:
        if item.database and item.database not in databases and not item.absent:
            raise clickhouse.ClickHouseError(f"{item.subject}: the database {item.database} neither exists nor is declared")
        made = []
        have = observation.have.get(item.key)
        shown = "" if item.absent else item.shown(secrets)
        canonical = observation.want.get(item.key, observed.Definition(shown, shown))
        if have is None:
            if not item.absent:
                text = item.create_statement_as(canonical.text)
                made.append(_plan.Step(item.key, text, shown if text == item.statement else text))
            states.append(_state(item, declaration.ABSENT if item.absent else CREATED, "", canonical.pretty))
        elif have.text == canonical.text and item.key not in changes:
            states.append(_state(item, PRESENT, have.pretty, have.pretty))
        else:
            change = changes.get(item.key, planned.Change(impossible=("it cannot be altered",)))
            obstacles = change.obstacles(allow)
            status = _plan.DRIFTED if obstacles else DROPPED if item.absent else CREATED if change.create else ALTERED
            before = "" if status == CREATED else have.pretty
            states.append(_state(item, status, before, canonical.pretty, "; ".join(obstacles)))
            if change.create:
                made.append(_plan.Step(item.key, change.create, sql_secrets.mask_secrets(change.create, secrets)))
            if not obstacles:
                made += change.steps(item.key, secrets)
        if made:
            steps[item.key] = made
    hidden = {key for key, made in steps.items() if any(sql_secrets.contains_hidden_secret(step.statement) for step in made)}
    for item in want:
        if item.key in hidden:
            raise clickhouse.ClickHouseError(
                f"{item.subject}: it has '[HIDDEN]', which servers show in place of a secret: write the secret itself"
            )
    return _plan.Plan(_ordered_steps(items, observation, changes, steps), tuple(states))


def _ordered_steps(
    items: list[declaration.Declared],
    observation: observed.Observation,
    changes: planned.Changes,
    steps: dict[declaration.Key, list[_plan.Step]],
) -> tuple[_plan.Step, ...]:
    """The steps of all objects, each behind those that it needs."""
    if len(steps) < 2:
        return tuple(step for made in steps.values() for step in made)
    from . import dependencies

    ordered = []
    nodes = dependencies.change_nodes([item for item in items if item.key in steps], observation, changes)
    for key, half in dependencies.order_changes(nodes):
        cut = len(steps[key]) - (0 if half == dependencies.WHOLE else changes[key].last)
        ordered += steps[key][cut:] if half == dependencies.LAST else steps[key][:cut]
    return tuple(ordered)


def _state(item: declaration.Declared, status: str, before: str, after: str, reason: str = "") -> _plan.ObjectState:
    return _plan.ObjectState(item.label, item.kind, status, before, after, reason, item.key)


def plan_offline(want: declaration.Objects, secrets: t.Collection[str]) -> _plan.Plan:
    """The plan for a server that is not there yet: it has nothing, or it has what cannot be known."""
    return plan_schema(want, observed.Observation(databases={item.database: ("", "") for item in want}, secrets=frozenset(secrets)))


def without_steps(plan: _plan.Plan) -> _plan.Plan:
    """The plan when nothing may be done: what is there, and how it differs."""
    return _plan.Plan((), tuple(state for state in plan.objects if state.status not in (CREATED, ALTERED, DROPPED)))
