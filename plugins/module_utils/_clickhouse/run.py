# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules that converge ClickHouse objects have in common (private: may change at any time)."""

from __future__ import annotations

import gc
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import (
    CLICKHOUSE_CONNECT_ERROR,
    HAS_CLICKHOUSE_CONNECT,
    ClickHouse,
    ClickHouseError,
    Connection,
    ConnectionFailed,
    Unreachable,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.declaration import declare, declare_purge, secrets_of
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.found import PERMISSIONS
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.schema import converge, plan_offline
from ansible_collections.groundwork.observability.plugins.module_utils._plan import ObjectState


def policy_spec() -> dict[str, dict[str, t.Any]]:
    """Argument specification of what may be done to objects that differ."""
    return {
        "allow": {"type": "list", "elements": "str", "choices": list(PERMISSIONS), "default": []},
        "on_drift": {"type": "str", "choices": ["fail", "report"], "default": "fail"},
        "history": {"type": "str"},
        "cluster": {"type": "str"},
    }


def run(module: AnsibleModule, objects: t.Sequence[t.Mapping[str, t.Any]], where: str = "objects[{}].") -> None:
    """Converge and leave the module. C(where) is how its user has named the options of an object, by its number."""
    try:
        _run(module, objects)
    except ClickHouseError as error:
        message = str(error)
        if "{}" not in where:
            message = message.replace("objects[0].", where)
        module.fail_json(msg=message, **error.details)


def _run(module: AnsibleModule, objects: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    if not HAS_CLICKHOUSE_CONNECT:
        module.fail_json(msg=missing_required_lib("clickhouse-connect"), exception=CLICKHOUSE_CONNECT_ERROR)
    report = module.params["on_drift"] == "report"
    secrets = secrets_of(objects)
    module.no_log_values.update(secrets)
    want = declare(objects, module.params["login_database"] or "")
    log, cluster = module.params["history"], module.params["cluster"]
    if log or cluster:
        from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import history
    if log:
        rows = history.table(log)
        if any(item.key == rows.key for item in want):
            raise ClickHouseError(f"{rows.subject}: it is declared as an object, too: the module makes it by itself")
        want.append(rows)
    purge = declare_purge(module.params.get("purge") or ())
    connection = Connection.from_params(module.params, patient=not module.check_mode)
    try:
        client = ClickHouse(connection)
    except Unreachable as error:
        if not module.check_mode:
            raise
        plan = plan_offline(want, secrets)
        module.warn(f"{error}; planned as for an empty server")
    else:
        try:
            plan = converge(
                client,
                want,
                secrets,
                apply=not module.check_mode,
                keep_drift=report,
                allow=module.params["allow"],
                purge=purge,
            )
        except ClickHouseError as error:
            if log and error.done and not isinstance(error, ConnectionFailed):
                history.record(client, log, history.checksum(want, secrets), error.done, str(error))
            raise
        if log and plan.changed and not module.check_mode:
            history.record(client, log, history.checksum(want, secrets), plan.statements)
        if cluster and plan.drifted:
            plan = history.with_peers(client, cluster, plan)
        client.close()
    for state in plan.drifted:
        if not report:
            module.fail_json(msg=_drift_message(plan.drifted), **plan.result)
        module.warn(f"{state.kind} {state.name} differs from its declaration and stays as it is: {state.reason}: {state.difference}")
    # At its end Python looks through all that is there for what could be freed, which takes as long as asking about fifty tables.
    gc.freeze()
    module.exit_json(**plan.result)


def _drift_message(drifted: t.Sequence[ObjectState]) -> str:
    differences = "; ".join(f"{state.kind} {state.name}: {state.reason}: {state.difference}" for state in drifted)
    return f"objects differ from their declaration and were not altered (on_drift=fail), nothing was changed: {differences}"
