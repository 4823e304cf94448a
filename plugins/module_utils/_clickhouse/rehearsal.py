# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of tables, tried by the server before the first one is made (private: may change at any time).

An ALTER that the server refuses, or that leads elsewhere, is no plan. It is tried on a twin: a temporary table with the same definition
and one row at most. Where rows are rewritten there are two twins, for small parts and large ones.
"""

from __future__ import annotations

import random
import typing as t

from ansible_collections.groundwork.observability.plugins.module_utils import _plan

from . import (
    alter,
    declaration,
    differences,
    error_codes,
    rebuild_plan,
    row_queries,
    server_defaults,
    sql_clauses,
    sql_tokens,
    temporary_objects,
    view_checks,
)
from . import change as planned
from . import client as clickhouse
from . import observation as observed

_MISSING_COLUMN = {error_codes.NOT_FOUND_COLUMN_IN_BLOCK, error_codes.NO_SUCH_COLUMN_IN_TABLE, error_codes.UNKNOWN_IDENTIFIER}
# With a file a column, as large parts have it, the server reads only the columns that it takes for needed.
_WIDE_PARTS = {"min_bytes_for_wide_part": "0", "min_rows_for_wide_part": "0"}


def find_changes(
    client: clickhouse.ClickHouse, observation: observed.Observation, allow: t.Collection[str]
) -> tuple[dict[declaration.Key, planned.Change], observed.Observation]:
    """What makes each object as declared that exists and differs, and the observation without those that are created all the same.

    Each change has been tried by the server, as far as it can be, and each view been checked against what the changes lead to. Raises
    C(ClickHouseError).
    """
    changes = differences.plan_changes(observation, rename_columns(client, observation), allow)
    observation = observation.without([key for key in observation.stored if key not in changes])
    changes = {**differences.split_changes(observation, changes)}
    changes.update(rehearse_changes(client, observation, changes, allow))
    changes.update(differences.recreate_tables(observation, changes))
    changes.update(find_lost_values(client, observation, changes))
    changes.update(differences.drop_left_views(observation, changes))
    changes.update(rebuild_plan.plan_rebuilds(client, observation, changes, allow))
    changes.update(view_checks.check_views(client, observation, changes, allow))
    return changes, observation


def rename_columns(
    client: clickhouse.ClickHouse, observation: observed.Observation
) -> dict[declaration.Key, list[sql_clauses.Clause] | clickhouse.ClickHouseError]:
    """Tables with their columns renamed, in the server's words: other columns, keys and indices name them, too.

    In place of a definition there is the server's error where it refuses the new names.
    """
    items = [item for item in observation.differing if item.kind == "table" and differences.pending_renames(observation, item)]
    found: dict[declaration.Key, list[sql_clauses.Clause] | clickhouse.ClickHouseError] = {}
    for item in items:
        name = f"__groundwork_{random.getrandbits(32):08x}_renamed"
        have = observation.have[item.key].clauses
        with temporary_objects.TemporaryObjects(client) as temporary:
            try:
                temporary.create(name, item.kind, have)
                client.execute(f"ALTER TABLE {name} {alter.rename_commands(differences.pending_renames(observation, item))}")
                found[item.key] = temporary_objects.from_temporary(item, have, sql_clauses.split_clauses(temporary.definition(name)))
            except clickhouse.ServerError as error:
                found[item.key] = error
    return found


def rehearse_changes(
    client: clickhouse.ClickHouse, observation: observed.Observation, changes: planned.Changes, allow: t.Collection[str]
) -> planned.Changes:
    """Those changes of tables that turn out to be impossible, with the reason."""
    found: dict[declaration.Key, planned.Change] = {}
    tried = {item.key: item for item in observation.tables if _is_altered(observation, item, changes.get(item.key))}
    prefix = f"__groundwork_{random.getrandbits(32):08x}_twin"
    with temporary_objects.TemporaryObjects(client) as temporary:
        made = _alter_together(temporary, f"{prefix}_all", observation, tried.values(), changes)
        alone = tried.keys() - {item.key for item in made.values()}
        for number, (key, item) in enumerate(tried.items()):
            twins = _create_twins(temporary, f"{prefix}_{number}", observation.have[key], changes[key]) if key in alone else {}
            if not twins:
                continue
            try:
                complete, reason = _rehearse(temporary, item, changes[key], twins, allow)
            except clickhouse.ServerError as error:
                complete, reason = True, str(error)
            if reason:
                found[key] = changes[key].refused(reason)
            elif complete:
                made[next(iter(twins))] = item
        texts = temporary.read_back(made) if made else {}
    for name, text in texts.items():
        reason = _difference_left(observation, made[name], sql_clauses.split_clauses(text))
        if reason:
            found[made[name].key] = changes[made[name].key].refused(reason)
    return found


def _is_altered(observation: observed.Observation, item: declaration.Declared, change: planned.Change | None) -> bool:
    """Whether a change has an ALTER that a twin of the table can try."""
    if change is None or item.kind != "table" or change.impossible or observation.uses_changing(item.body):
        return False
    altered = any(text.startswith("ALTER") for text in change.statements)
    return altered and not temporary_objects.is_external(observation.have[item.key].clauses)


def _alter_together(
    temporary: temporary_objects.TemporaryObjects,
    prefix: str,
    observation: observed.Observation,
    items: t.Iterable[declaration.Declared],
    changes: planned.Changes,
) -> dict[str, declaration.Declared]:
    """Twins of the tables whose change is one ALTER that rewrites no rows, made and altered in few requests, by name.

    An empty result if the server refuses any of them: the caller then tries each by itself, which shows whose change is refused.
    """
    twins: dict[str, declaration.Declared] = {}
    for number, item in enumerate(items):
        change = changes[item.key]
        if len(change.statements) == 1 and not (change.sample or change.casts):
            twins[f"{prefix}_{number}"] = item
    made = {name: temporary_objects.temporary_statement(name, "table", observation.have[item.key].clauses) for name, item in twins.items()}
    alters = {name: changes[item.key].statements[0].replace(item.sql_name, name, 1) for name, item in twins.items()}
    return twins if not temporary.create_all(made) and temporary.alter_all(alters) else {}


def _create_twins(
    temporary: temporary_objects.TemporaryObjects, name: str, have: observed.Definition, change: planned.Change
) -> dict[str, list[sql_clauses.Clause]]:
    """The twins that were made, by name; none where the table cannot have any."""
    twins = {name: have.clauses}
    if change.sample and sql_clauses.engine_name(have.clauses).endswith("MergeTree"):
        twins[f"{name}_wide"] = sql_clauses.set_settings(have.clauses, _WIDE_PARTS)
    try:
        for table, clauses in twins.items():
            temporary.create(table, "table", clauses)
    except clickhouse.ServerError:
        return {}  # the engine has no temporary tables: the server decides when the table is altered
    return twins


def _rehearse(
    temporary: temporary_objects.TemporaryObjects,
    item: declaration.Declared,
    change: planned.Change,
    twins: t.Mapping[str, list[sql_clauses.Clause]],
    allow: t.Collection[str],
) -> tuple[bool, str]:
    """Alter the twins of a table. Whether the first one is complete then, and why the change is impossible.

    Raises C(ClickHouseError) where the server refuses a statement.
    """
    source = change.source or item.sql_name
    # The twin of a table that passes rows on would pass this one on, and reading such a table may consume rows.
    with_row = temporary_objects.keeps_rows(next(iter(twins.values())))
    if change.casts and with_row and not change.obstacles(allow):
        # A value that does not fit would stop the mutation, and everything behind it.
        former = "".join(f", {sql_tokens.quote_name(old)} AS {sql_tokens.quote_name(new)}" for new, old in change.renamed.items())
        reason = row_queries.find_unconvertible_value(
            temporary.client, f"(SELECT *{former} FROM {source})" if former else source, change.casts
        )
        if reason:
            return False, reason
    sample = ", ".join(sql_tokens.quote_name(change.renamed.get(column, column)) for column in change.sample)
    complete = True
    for table in twins:
        if sample and with_row:
            complete = _copy_row(temporary.client, source, table, sample)
        for statement in change.statements if complete else ():
            if statement.startswith("ALTER"):
                temporary.execute(table, statement.replace(item.sql_name, table, 1))
    return complete, ""


def _copy_row(client: clickhouse.ClickHouse, source: str, target: str, columns: str) -> bool:
    """Copy a row. False where the source lacks a column that it had a moment ago: a peer is altering it.

    Its own ALTER fails then, too, and is planned again.
    """
    try:
        client.execute(f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {source} LIMIT 1")
    except clickhouse.ServerError as error:
        if error.code not in _MISSING_COLUMN:
            raise
        return False
    return True


def _difference_left(observation: observed.Observation, item: declaration.Declared, altered: list[sql_clauses.Clause]) -> str:
    """Why a change is impossible whose statements do not lead to what is declared; empty where they do."""
    want = observation.want[item.key]
    theirs = temporary_objects.from_temporary(item, want.clauses, altered)
    if sql_clauses.join_clauses(server_defaults.fill_server_defaults(want.clauses, theirs, {})) == sql_clauses.join_clauses(theirs):
        return ""
    left = _plan.ObjectState(item.label, item.kind, _plan.DRIFTED, sql_clauses.join_clauses(theirs), want.text).difference
    return f"no ALTER leads there, but only to: {left}"


def find_lost_values(client: clickhouse.ClickHouse, observation: observed.Observation, changes: planned.Changes) -> planned.Changes:
    """Changes that drop a column from which another's values are computed where they were never written: these would be gone."""
    found: dict[declaration.Key, planned.Change] = {}
    for item in observation.tables:
        change = changes.get(item.key)
        if change is None or change.impossible:
            continue
        for name, source in change.unwritten.items():
            where = f"active AND {item.condition('table')}"
            written = f"SELECT name FROM system.parts_columns WHERE {where} AND column = {sql_tokens.quote_string(name)}"
            if client.rows(f"SELECT count() FROM system.parts WHERE {where} AND rows > 0 AND name NOT IN ({written})")[0][0]:
                write = f"ALTER TABLE {item.sql_name} MATERIALIZE COLUMN {sql_tokens.quote_name(name)}"
                reason = (
                    f"column {name} has values that were never written and are computed from {source}, which would be dropped: "
                    f"declare renamed_columns instead of both, or write them first ({write})"
                )
                found[item.key] = change.refused(reason)
    return found
