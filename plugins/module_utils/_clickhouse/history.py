# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was changed, when and by whom; and which nodes of a cluster differ (private: may change at any time)."""

from __future__ import annotations

import dataclasses
import hashlib
import platform
import typing as t

from ansible_collections.groundwork.observability.plugins.module_utils import _plan

from . import client as clickhouse
from . import create_statement, declaration, sql_tokens

TABLE = "schema_history"
_COLUMNS = (
    "at DateTime64(3) DEFAULT now64(3), user String DEFAULT currentUser(), run_on String, checksum FixedString(64),"
    " statements Array(String), error String"
)


def history_table(database: str) -> declaration.Declared:
    """The table C(schema_history) of a database, as every other object is declared. Each node has its own."""
    name = sql_tokens.qualify_name(database, TABLE)
    (item,) = declaration.declare([{"ddl": f"CREATE TABLE {name} ({_COLUMNS}) ENGINE = MergeTree ORDER BY at"}])
    return dataclasses.replace(item, where="history")


def declaration_checksum(want: declaration.Objects, secrets: t.Collection[str]) -> str:
    """SHA-256 over what is declared, in any order and without secrets: equal declarations have equal ones on every node."""
    lines = sorted(f"{'absent' if item.absent else 'present'} {item.kind} {item.label} {item.shown(secrets)}" for item in want)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def record_run(client: clickhouse.ClickHouse, database: str, version: str, statements: t.Sequence[str], error: str = "") -> None:
    """Write down what a run has executed; C(statements) are without secrets."""
    run = sql_tokens.quoted_list((platform.node(), version))
    client.execute(
        f"INSERT INTO {sql_tokens.qualify_name(database, TABLE)} (run_on, checksum, statements, error)"
        f" VALUES ({run}, [{sql_tokens.quoted_list(statements)}], {sql_tokens.quote_string(error)})"
    )


def add_peer_differences(client: clickhouse.ClickHouse, cluster: str, plan: _plan.Plan) -> _plan.Plan:
    """The plan, with the names of the cluster's nodes that have another definition of what drifted than this node has.

    Of tables, views and dictionaries; databases, functions and named collections are not compared.
    """
    asked = [state for state in plan.drifted if state.kind not in ("database", *create_statement.GLOBAL_KINDS)]
    if not asked:
        return plan
    quoted = sql_tokens.quote_string(cluster)
    nodes = client.rows(f"SELECT host_name, is_local FROM system.clusters WHERE cluster = {quoted} ORDER BY shard_num, replica_num")
    if not nodes:
        reason = f"cluster {cluster} is not in system.clusters of this server"
        return _add_reasons(plan, dict.fromkeys((state.key for state in asked), reason))
    keys = sql_tokens.quoted_keys(state.key for state in asked)
    query = (
        "SELECT _shard_num, database, name, create_table_query"
        f" FROM clusterAllReplicas({quoted}, system.tables) WHERE (database, name) IN ({keys}) SETTINGS skip_unavailable_shards = 1"
    )
    try:
        rows = client.rows(query)
    except clickhouse.ClickHouseError as error:
        # The drift itself is what matters, and is told as well.
        reason = f"the nodes of cluster {cluster} could not be asked: {error}"
        return _add_reasons(plan, dict.fromkeys((state.key for state in asked), reason))
    here = next((number for number, (_name, local) in enumerate(nodes, 1) if local), 0)
    reasons = {}
    for state in asked:
        texts = {number: text for number, *key, text in rows if tuple(key) == state.key}
        other = [name for number, (name, _local) in enumerate(nodes, 1) if number != here and texts.get(number) != texts.get(here)]
        reasons[state.key] = f"in cluster {cluster} it is {'other on ' + ', '.join(other) if other else 'the same on all nodes'}"
    return _add_reasons(plan, reasons)


def _add_reasons(plan: _plan.Plan, reasons: t.Mapping[tuple[str, ...], str]) -> _plan.Plan:
    """The plan, with something added to the reasons of objects, by key."""
    states = [
        dataclasses.replace(state, reason=f"{state.reason}; {reasons[state.key]}") if state.key in reasons else state
        for state in plan.objects
    ]
    return dataclasses.replace(plan, objects=tuple(states))
