# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From declarations to objects on a server (private: may change at any time).

C(declaration) says what is wanted, C(observation) what there is; where both differ, C(rehearsal) has the server try the changes. Then
C(planning) makes the plan, and C(execution), the one place that writes, executes it.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.groundwork.observability.plugins.module_utils._plan import Plan

from .change import Change
from .client import ClickHouse
from .declaration import Declared, Key, Purge
from .observation import Observation, observe, with_readable_texts
from .planning import plan_schema, without_steps


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
    """Read and plan; with C(apply) also execute, until nothing is left to do. Returns the plan, as seen from the start of the run.

    With C(keep_drift) objects that cannot or may not be altered stay as they are and the others are made as declared; without it
    nothing is changed while there are such objects. Raises C(ClickHouseError).
    """

    def read_and_plan() -> tuple[Plan, Observation]:
        observation, changes = client.call_with_retries(lambda: observe_and_compare(client, want, secrets, purge, allow))
        return plan_schema(want, observation, changes, observation.secrets, allow), observation

    def finish(plan: Plan, observation: Observation) -> Plan:
        if plan.drifted and not keep_drift:
            plan = without_steps(plan)
        return _with_effects(client, plan, observation) if plan.steps else plan

    plan, observation = read_and_plan()
    plan = finish(plan, observation)
    if not apply or not plan.steps:
        return plan
    from .execution import execute

    return execute(client, want, (plan, observation), read_and_plan, finish)


def observe_and_compare(
    client: ClickHouse,
    want: t.Sequence[Declared],
    secrets: t.Collection[str],
    purge: t.Sequence[Purge],
    allow: t.Collection[str],
) -> tuple[Observation, t.Mapping[Key, Change]]:
    """What there is, and what makes it as declared where it differs. Changes nothing that outlasts the session."""
    observation = observe(client, want, secrets, purge)
    changes: t.Mapping[Key, Change] = {}
    if observation.needs_changes:
        from .rehearsal import find_changes

        changes, observation = find_changes(client, observation, allow)
    return with_readable_texts(client, observation), changes


def _with_effects(client: ClickHouse, plan: Plan, observation: Observation) -> Plan:
    """What each statement costs, where the server has anything yet."""
    if not observation.needs_changes:
        return dataclasses.replace(plan, steps=tuple(dataclasses.replace(step, effect="instant") for step in plan.steps))
    from .effects import add_effects

    return client.call_with_retries(lambda: add_effects(client, plan, observation))
