# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a rebuild, or why there can be none (private: may change at any time)."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.groundwork.observability.plugins.module_utils import _plan

from . import argument_specs, declaration, differences, row_queries, server_defaults, sql_clauses, sql_tokens
from . import change as planned
from . import client as clickhouse
from . import observation as observed
from . import rebuild as table_rebuild


def plan_rebuilds(
    client: clickhouse.ClickHouse, observation: observed.Observation, changes: planned.Changes, allow: t.Collection[str]
) -> planned.Changes:
    """Changes of tables that no ALTER makes as declared, and of those whose rebuild was interrupted behind the exchange."""
    found = {}
    for item, made, leftover in differences.existing_objects(observation, changes, "table"):
        if made is not None and made.create:
            continue
        have = observation.have[item.key].clauses
        if table_rebuild.parse_mark(_comment(leftover)) is not None:
            finish = plan_finish(
                client, table_rebuild.Rebuild(item, sql_clauses.split_clauses(leftover), have, leftover=leftover, exchanged=True)
            )
            if made is not None and not made.impossible:
                made = dataclasses.replace(made.after(*finish.statements), prepare=finish.prepare)
            found[item.key] = made if made is not None and not made.impossible else finish
        elif made is not None and made.impossible and sql_clauses.object_kind(observation.have[item.key].text) == "table":
            rebuild = table_rebuild.Rebuild(item, have, observation.want[item.key].clauses, leftover=leftover)
            found[item.key] = plan_rebuild(client, rebuild, made) if argument_specs.REBUILD in allow else with_hint(rebuild, made)
    return found


def plan_rebuild(client: clickhouse.ClickHouse, rebuild: table_rebuild.Rebuild, change: planned.Change) -> planned.Change:
    """The rebuild in place of a change that is impossible; what it needs beside the permission, or why it is impossible, too."""
    obstacle = _obstacle(client, rebuild)
    needs = (*change.needs, (argument_specs.REBUILD, "; ".join(change.impossible) + ": the rows would be copied into a new table"))
    if obstacle:
        return change.refused(*change.impossible, obstacle)
    copy, old, new = rebuild.copy, rebuild.item.sql_name, rebuild.new.sql_name
    reason = row_queries.find_unconvertible_value(client, old, copy.casts) if copy.casts else ""
    if reason:
        return change.refused(*change.impossible, f"not all values can be copied: {reason}")
    rebuild = _with_lock_path(client, rebuild)
    blocks = row_queries.last_blocks(row_queries.read_parts(client, rebuild.item))
    condition = "" if copy.unit == "''" else " WHERE _partition_id = {}"
    partitions: t.Iterable[str] = blocks if condition else ["all"] if blocks else []
    if rebuild.leftover:
        row_queries.await_copies(client, rebuild)
        # What an interrupted run has copied stays where it is whole; the rest is found out, and mended, before the exchange.
        copied = row_queries.read_new_rows(client, rebuild)
        partitions = [rows.partition for name, rows in row_queries.read_old_rows(client, rebuild).items() if name not in copied]
    copies = [copy.insert(new, old, condition.format(sql_tokens.quote_string(partition))) for partition in partitions]
    create = [] if rebuild.leftover else [_create_statement(client, rebuild)]
    return _rebuild_change(rebuild, needs, create, copies, table_rebuild.format_mark(blocks))


def _rebuild_change(
    rebuild: table_rebuild.Rebuild, needs: tuple[tuple[str, str], ...], create: list[str], copies: list[str], mark: str
) -> planned.Change:
    """All statements of a rebuild, with the operations that go before some of them. Pure."""
    old, new = rebuild.item.sql_name, rebuild.new.sql_name
    lock = [rebuild.create_lock] if rebuild.replicated else []
    exchange = f"EXCHANGE TABLES {old} AND {new}"
    freeze = [f"SYSTEM STOP FETCHES {old}"] if rebuild.was_replicated else []
    last = _last_statements(rebuild)
    stop = (f"SYSTEM STOP MERGES {new}", *copies, f"SYSTEM STOP MERGES {old}")
    first = {
        table_rebuild.ACQUIRE_LOCK: lock,
        table_rebuild.CHECK_REPLICAS: copies,
        table_rebuild.SYNC_OLD_TABLE: freeze,
        table_rebuild.COPY_LATE_ROWS: last,
    }
    return planned.Change(
        (*lock, *create, *stop, *freeze, rebuild.set_mark(mark), exchange, *last),
        needs,
        prepare={**_prepare(rebuild, first), exchange: _plan.Operation(table_rebuild.VERIFY_COPY, (rebuild, mark))},
        cleanup=_plan.Operation(table_rebuild.RELEASE, (rebuild,)),
    )


def plan_finish(client: clickhouse.ClickHouse, rebuild: table_rebuild.Rebuild) -> planned.Change:
    """What is left to do when the tables have been exchanged already."""
    rebuild = _with_lock_path(client, rebuild)
    lock = [rebuild.create_lock] if rebuild.replicated else []
    last = _last_statements(rebuild)
    return planned.Change((*lock, *last), prepare=_prepare(rebuild, {table_rebuild.ACQUIRE_LOCK: lock, table_rebuild.COPY_LATE_ROWS: last}))


def _prepare(rebuild: table_rebuild.Rebuild, statements: t.Mapping[str, t.Sequence[str]]) -> dict[str, _plan.Operation]:
    """Operations by the statements that they go before: each before the first of its own, where it has any."""
    return {texts[0]: _plan.Operation(name, (rebuild,)) for name, texts in statements.items() if texts}


def with_hint(rebuild: table_rebuild.Rebuild, change: planned.Change) -> planned.Change:
    """The impossible change, with the way out where there is one. Pure."""
    engines = [sql_clauses.engine_name(side) for side in (rebuild.have, rebuild.want)]
    if not all(name.endswith("MergeTree") for name in engines):
        return change
    *others, last = change.impossible
    return change.refused(*others, f"{last} (allow: [{argument_specs.REBUILD}] copies the rows into a new table)")


def _last_statements(rebuild: table_rebuild.Rebuild) -> list[str]:
    """What follows the exchange."""
    old, new = rebuild.item.sql_name, rebuild.new.sql_name
    return [
        *([f"SYSTEM START FETCHES {new}"] if rebuild.was_replicated else []),
        f"SYSTEM START MERGES {old}",
        f"SYSTEM START MERGES {new}",
        *([rebuild.drop_lock] if rebuild.replicated else []),
        f"RENAME TABLE {new} TO {rebuild.before.sql_name}",
    ]


def _obstacle(client: clickhouse.ClickHouse, rebuild: table_rebuild.Rebuild) -> str:
    """Why a table cannot be rebuilt; empty where it can."""
    item = rebuild.item
    engines = [sql_clauses.table_engine(side) for side in (rebuild.have, rebuild.want)]
    if not all(name.endswith("MergeTree") for name, _arguments in engines):
        return "a rebuild copies tables of the MergeTree family only"
    if not rebuild.copy.names:
        return "a rebuild would copy no column"
    database = sql_tokens.quote_string(item.database)
    query = (
        f"SELECT (SELECT engine FROM system.databases WHERE name = {database}),"
        f" (SELECT count() FROM system.tables WHERE database = {database} AND name = {sql_tokens.quote_string(rebuild.before.name)})"
    )
    ((engine, before),) = client.rows(query)
    if engine != "Atomic":
        return f"a rebuild exchanges tables, which the database's engine {engine} cannot"
    if before:
        return f"{rebuild.before.label} is there, of an earlier rebuild: {_drop_first(rebuild.before)}"
    if row_queries.has_mutations(client, item):
        return "mutations of it are not done (system.mutations): wait for them, or kill them"
    if rebuild.leftover:
        theirs = sql_clauses.split_clauses(rebuild.leftover)
        ours = sql_clauses.replace_clause(rebuild.want, "head", sql_clauses.clause_text(theirs, "head"))
        if sql_clauses.join_clauses(server_defaults.fill_server_defaults(ours, theirs, {})) != rebuild.leftover:
            return f"{rebuild.new.label} is there, with another definition: {_drop_first(rebuild.new)}"
    elif rebuild.replicated and rebuild.was_replicated:
        paths = [sql_clauses.replica_path(arguments) for _name, arguments in engines]
        if not paths[1] or paths[0] == paths[1]:
            return "its path in ZooKeeper is taken by the table as it is: declare another path among the engine's arguments"
    return ""


def _drop_first(table: declaration.Declared) -> str:
    return f"drop it first (kind: table, name: {table.label}, state: absent)"


def _create_statement(client: clickhouse.ClickHouse, rebuild: table_rebuild.Rebuild) -> str:
    """The new table, at the path in ZooKeeper that a table of the declared name would have."""
    body = rebuild.item.body
    name, arguments = sql_clauses.parse_engine(body)
    if name.startswith("Replicated") and not sql_clauses.replica_path(arguments):
        body = sql_clauses.replace_engine(
            body, sql_clauses.engine_clause(name, [*_replica_path(client, rebuild.item, arguments), *arguments])
        )
    return dataclasses.replace(rebuild.new, body=body).statement


def _with_lock_path(client: clickhouse.ClickHouse, rebuild: table_rebuild.Rebuild) -> table_rebuild.Rebuild:
    """The same, with the path of the lock, which replicas have in common."""
    if not rebuild.replicated:
        return rebuild
    path = _replica_path(client, rebuild.item, sql_clauses.table_engine(rebuild.want)[1])[0]
    return dataclasses.replace(rebuild, lock_path=f"{sql_tokens.unquote(path)}{planned.LOCK_SUFFIX}")


def _replica_path(client: clickhouse.ClickHouse, item: declaration.Declared, arguments: t.Sequence[str]) -> list[str]:
    """Path and replica name of the declared table in ZooKeeper, as arguments of its engine."""
    given = sql_clauses.replica_path(arguments)
    if given:
        return given
    query = "SELECT name, value FROM system.server_settings WHERE name IN ('default_replica_path', 'default_replica_name')"
    defaults = dict(client.rows(query))
    path = defaults["default_replica_path"].replace("{database}", item.database).replace("{table}", item.name)
    return [sql_tokens.quote_string(path), sql_tokens.quote_string(defaults["default_replica_name"])]


def _comment(text: str) -> str:
    """The comment of a table, from its definition."""
    clauses = sql_clauses.split_clauses(text) if text else []
    return sql_tokens.unquote(sql_clauses.clause_text(clauses, "comment")[len("COMMENT ") :])
