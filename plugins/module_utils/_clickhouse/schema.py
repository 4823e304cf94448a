# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From declarations to objects on a server: what the modules that converge objects have in common (private: may change at any time).

C(declaration) says what is wanted, C(observation) what there is; where both differ, C(rehearsal) has the server try the changes. Then
C(planning) makes the plan, and C(execution), the one place that writes, executes it.
"""

from __future__ import annotations

import dataclasses
import gc
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.groundwork.observability.plugins.module_utils import _plan

from . import change as planned
from . import client as clickhouse
from . import declaration, planning
from . import observation as observed


def run(module: AnsibleModule, objects: t.Sequence[t.Mapping[str, t.Any]], where: str = "objects[0].") -> None:
    """Converge and leave the module. C(where) is how its user has named the options of the first object."""
    try:
        _run(module, objects)
    except clickhouse.ClickHouseError as error:
        module.fail_json(msg=str(error).replace("objects[0].", where), **error.details)


def _run(module: AnsibleModule, objects: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    if not clickhouse.HAS_CLICKHOUSE_CONNECT:
        module.fail_json(msg=missing_required_lib("clickhouse-connect"), exception=clickhouse.CLICKHOUSE_CONNECT_ERROR)
    report = module.params["on_drift"] == "report"
    secrets = declaration.find_declared_secrets(objects)
    module.no_log_values.update(secrets)
    want = declaration.declare(objects, module.params["login_database"] or "")
    if module.params["history"]:
        from . import history

        rows = history.history_table(module.params["history"])
        if any(item.key == rows.key for item in want):
            raise clickhouse.ClickHouseError(f"{rows.subject}: it is declared as an object, too: the module makes it by itself")
        want.append(rows)
    purge = declaration.declare_purge(module.params.get("purge") or ())
    try:
        client = clickhouse.ClickHouse(clickhouse.Connection.from_params(module.params, patient=not module.check_mode))
    except clickhouse.Unreachable as error:
        if not module.check_mode:
            raise
        plan = planning.plan_offline(want, secrets)
        module.warn(f"{error}; planned as for an empty server")
    else:
        plan = _converge_and_record(client, module, want, secrets, purge)
        client.close()
    for state in plan.drifted:
        if not report:
            module.fail_json(msg=_drift_message(plan.drifted), **plan.result)
        module.warn(f"{state.kind} {state.name} differs from its declaration and stays as it is: {state.reason}: {state.difference}")
    # At its end Python looks through all that is there for what could be freed, which takes as long as asking about fifty tables.
    gc.freeze()
    module.exit_json(**plan.result)


def _converge_and_record(
    client: clickhouse.ClickHouse,
    module: AnsibleModule,
    want: declaration.Objects,
    secrets: set[str],
    purge: t.Sequence[declaration.Purge],
) -> _plan.Plan:
    """Converge, and record what was executed; what differs on other nodes of the cluster is added to the plan."""
    params = module.params
    log, cluster = params["history"], params["cluster"]
    if log or cluster:
        from . import history
    try:
        keep = params["on_drift"] == "report"
        plan = converge(client, want, secrets, apply=not module.check_mode, keep_drift=keep, allow=params["allow"], purge=purge)
    except clickhouse.ClickHouseError as error:
        if log and error.done and not isinstance(error, clickhouse.ConnectionFailed):
            history.record_run(client, log, history.declaration_checksum(want, secrets), error.done, str(error))
        raise
    if log and plan.changed and not module.check_mode:
        history.record_run(client, log, history.declaration_checksum(want, secrets), plan.statements)
    return history.add_peer_differences(client, cluster, plan) if cluster and plan.drifted else plan


def _drift_message(drifted: t.Sequence[_plan.ObjectState]) -> str:
    differences = "; ".join(f"{state.kind} {state.name}: {state.reason}: {state.difference}" for state in drifted)
    return f"objects differ from their declaration and were not altered (on_drift=fail), nothing was changed: {differences}"


def converge(
    client: clickhouse.ClickHouse,
    want: declaration.Objects,
    secrets: t.Collection[str],
    *,
    apply: bool,
    keep_drift: bool,
    allow: t.Collection[str] = (),
    purge: t.Sequence[declaration.Purge] = (),
) -> _plan.Plan:
    """Read and plan; with C(apply) also execute, until nothing is left to do. Returns the plan, as seen from the start of the run.

    With C(keep_drift) objects that cannot or may not be altered stay as they are and the others are made as declared; without it
    nothing is changed while there are such objects. Raises C(ClickHouseError).
    """

    def read_and_plan() -> tuple[_plan.Plan, observed.Observation]:
        observation, changes = client.call_with_retries(lambda: observe_and_compare(client, want, secrets, purge, allow))
        return planning.plan_schema(want, observation, changes, allow), observation

    def finish(plan: _plan.Plan, observation: observed.Observation) -> _plan.Plan:
        if plan.drifted and not keep_drift:
            plan = planning.without_steps(plan)
        return _with_effects(client, plan, observation) if plan.steps else plan

    plan, observation = read_and_plan()
    plan = finish(plan, observation)
    if not apply or not plan.steps:
        return plan
    from . import execution

    return execution.execute(client, want, (plan, observation), read_and_plan, finish)


def observe_and_compare(
    client: clickhouse.ClickHouse,
    want: declaration.Objects,
    secrets: t.Collection[str],
    purge: t.Sequence[declaration.Purge],
    allow: t.Collection[str],
) -> tuple[observed.Observation, planned.Changes]:
    """What there is, and what makes it as declared where it differs. Changes nothing that outlasts the session."""
    observation = observed.observe(client, want, secrets, purge)
    changes: planned.Changes = {}
    if observation.needs_changes:
        from . import rehearsal

        changes, observation = rehearsal.find_changes(client, observation, allow)
    return observed.with_readable_texts(client, observation), changes


def _with_effects(client: clickhouse.ClickHouse, plan: _plan.Plan, observation: observed.Observation) -> _plan.Plan:
    """What each statement costs, where the server has anything yet."""
    if not observation.needs_changes:
        return dataclasses.replace(plan, steps=tuple(dataclasses.replace(step, effect="instant") for step in plan.steps))
    from . import effects

    return client.call_with_retries(lambda: effects.add_effects(client, plan, observation))
