# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What leads from what exists to what is declared, where both differ (private: may change at any time). Pure.

Functions over an C(Observation); what they cannot decide without the server, C(rehearsal) and C(rebuild_plan) find out.

Where the target of a materialized view renames columns that the view fills, the view gives these under both names meanwhile, for the server
ignores a column that the target does not have: no row is inserted without it.
"""

from __future__ import annotations

import dataclasses
import typing as t

from . import alter, declaration, dependencies, object_changes, references, replica_definition, sql_clauses, sql_tokens, temporary_objects
from . import change as planned
from . import client as clickhouse
from . import observation as observed

# Definitions of tables after the renaming of columns, or why the server refuses that.
RenamedTables = t.Mapping[declaration.Key, t.Union[sql_clauses.Clauses, clickhouse.ClickHouseError]]


def pending_renames(observation: observed.Observation, item: declaration.Declared) -> dict[str, str]:
    """Columns of a table (new names to former ones) that are still to be renamed."""
    have, want = observation.both(item)
    old, new = alter.parse_columns(have), alter.parse_columns(want)
    return {name: former for name, former in item.renamed_columns.items() if name in new and name not in old and former in old}


def plan_changes(observation: observed.Observation, renamed: RenamedTables, allow: t.Collection[str]) -> planned.Changes:
    """What makes each object as declared, each for itself.

    Replicated tables that are missing, and cannot be created as ZooKeeper has them, have no change: they are created as declared.
    """
    found = {
        item.key: object_changes.plan_drop(item, observation.have[item.key].text if item.key in observation.have else "")
        for item in observation.declared
        if item.absent
    }
    for item in observation.differing:
        if item.kind == "named_collection":
            made = object_changes.plan_collection_change(item, observation.collections[item.key])
        else:
            made = _plan_object(observation, item, renamed.get(item.key))
            if item.key in observation.stored:
                made = replica_definition.create_then_alter(observation.stored[item.key], made, allow)
        if made is not None:
            found[item.key] = made
    return found


def _plan_object(
    observation: observed.Observation, item: declaration.Declared, renamed: sql_clauses.Clauses | clickhouse.ClickHouseError | None
) -> planned.Change:
    """From what exists to what is declared, behind renaming it and its columns."""
    have, want = observation.both(item)
    columns = pending_renames(observation, item)
    if isinstance(renamed, clickhouse.ClickHouseError):
        rest = planned.Change(impossible=(str(renamed),))
    else:
        rest = object_changes.plan_change(item, have if renamed is None else renamed, want, observation.database_engine(item))
    if item.kind == "materialized_view" and not sql_clauses.clause_text(want, "to") and item.key in observation.query_columns:
        own, given = (
            alter.parse_elements(text).columns for text in (sql_clauses.clause_text(have, "columns"), observation.query_columns[item.key])
        )
        if set(given) - set(own):
            more = ", ".join(name for name in given if name not in own)
            rest = planned.Change(impossible=(f"its query gives other columns than the view's own table has ({more})",))
    if columns:
        rename = f"ALTER TABLE {item.sql_name} {alter.rename_commands(columns)}"
        rest = dataclasses.replace(
            rest.after(rename),
            halves=_halves_with_renames(item, rest, rename, alter.alias_commands(columns, want), temporary_objects.keeps_rows(want)),
            renamed=columns,
            shared=sql_clauses.is_replicated(want),
            source=item.sql_name,
        )
    if item.key in observation.former and item.renamed_from:
        rest = object_changes.plan_rename(item, sql_tokens.qualify_name(*item.renamed_from), have, want, rest)
    return rest


def _halves_with_renames(
    item: declaration.Declared, rest: planned.Change, rename: str, aliases: t.Mapping[str, str], with_rows: bool
) -> tuple[tuple[str, ...], ...]:
    """Between the halves, columns have both names: materialized views go on with the former ones until they are altered."""
    first, last = rest.halves or (rest.statements, ())
    if not aliases or rest.impossible or not with_rows:
        return ((rename, *first), last) if rest.halves else ()
    adds = ", ".join(f"({command})" for command in aliases.values())
    drops = ", ".join(f"(DROP COLUMN {sql_tokens.quote_name(name)})" for name in aliases)
    return (f"{rename}, {adds}", *first), (f"ALTER TABLE {item.sql_name} {drops}", *last)


def split_changes(observation: observed.Observation, changes: planned.Changes) -> planned.Changes:
    """All changes, in two halves those between whose halves something that depends on them has to change."""
    found = {**changes, **_split_view_changes(observation, changes)}
    items = [item for item in observation.declared if item.key in found or (item.key not in observation.have and not item.absent)]
    ordered = dependencies.order_changes(dependencies.change_nodes(items, observation, found)) if len(items) > 1 else []
    halved = {key for key, half in ordered if half == dependencies.FIRST and found[key].halves}
    return {**found, **{key: found[key].in_halves() for key in halved}}


def existing_objects(
    observation: observed.Observation, changes: planned.Changes, kind: str
) -> t.Iterator[tuple[declaration.Declared, planned.Change | None, str]]:
    """Objects of a kind that exist under their declared names, each with its change and with what an interrupted run has left beside it."""
    for item in observation.tables:
        if item.kind == kind and item.key in observation.have and item.key not in observation.former:
            yield item, changes.get(item.key), observation.leftovers.get(item.key, "")


def recreate_tables(observation: observed.Observation, changes: planned.Changes) -> planned.Changes:
    """Tables without rows that no ALTER makes as declared, and those that an earlier run has left beside their successor."""
    found = {}
    for item, made, leftover in existing_objects(observation, changes, "table"):
        have, want = observation.have[item.key], observation.want[item.key]
        if (
            made is not None
            and made.impossible
            and object_changes.holds_no_rows(have.clauses)
            and sql_clauses.object_kind(have.text) == "table"
        ):
            made = found[item.key] = object_changes.plan_recreate(item, have.clauses, want.clauses, observation.database_engine(item))
        if leftover and object_changes.holds_no_rows(sql_clauses.split_clauses(leftover)):
            statements = object_changes.drop_statements(sql_clauses.engine_name(sql_clauses.split_clauses(leftover)), _leftover_name(item))
            found[item.key] = (made or planned.Change()).after(*statements)
    return found


def drop_left_views(observation: observed.Observation, changes: planned.Changes) -> planned.Changes:
    """Materialized views beside which an interrupted run has left the one that it had replaced."""
    return {
        item.key: (made or planned.Change()).after(f"DROP TABLE {_leftover_name(item)} SYNC")
        for item, made, leftover in existing_objects(observation, changes, "materialized_view")
        if leftover and sql_clauses.object_kind(leftover) == "materialized_view" and not (made is not None and made.create)
    }


def _leftover_name(item: declaration.Declared) -> str:
    return sql_tokens.qualify_name(item.database, item.name + planned.REBUILD_SUFFIX)


def _split_view_changes(observation: observed.Observation, changes: planned.Changes) -> planned.Changes:
    """Those changes of materialized views that are made in two halves, around the change of their targets."""
    found = {}
    for item in observation.present:
        change = changes.get(item.key)
        if item.kind != "materialized_view" or change is None or change.impossible or item.key not in observation.have:
            continue
        before, after = observation.both(item)
        target = references.view_target(after)
        renamed = changes[target].renamed if target in changes else {}
        old, new = (query_output_columns(sql_clauses.clause_text(side, "select")) for side in (before, after))
        both = {name: former for name, former in renamed.items() if name in new and former in old and former not in new}
        final = next((text for text in change.statements if " MODIFY QUERY " in text), "")
        if both and final and sql_clauses.clause_text(before, "to") == sql_clauses.clause_text(after, "to"):
            aliases = ", ".join(f"{sql_tokens.quote_name(name)} AS {sql_tokens.quote_name(former)}" for name, former in both.items())
            query = sql_clauses.clause_text(after, "select")[len("AS") :].strip()
            bridge = f"ALTER TABLE {item.sql_name} MODIFY QUERY SELECT *, {aliases} FROM ({query})"
            halves = ((bridge,), change.statements)
            found[item.key] = dataclasses.replace(change, halves=halves, between=(target,))
    return found


def query_output_columns(select: str) -> list[str]:
    """Names of the columns that a query gives, as far as they are written there; none for a UNION. C(select) begins with C(AS)."""
    tokens = [token for token in sql_tokens.tokenize(select) if token.depth == 0]
    if any(token.is_word(word) for token in tokens for word in ("UNION", "EXCEPT", "INTERSECT")):
        return []
    start = next((index + 1 for index, token in enumerate(tokens) if token.is_word("SELECT")), len(tokens))
    end = next((index for index in range(start, len(tokens)) if tokens[index].is_word("FROM")), len(tokens))
    found = []
    for *before, last in filter(None, sql_tokens.split_at_commas(tokens[start:end])):
        if last.is_name and (not before or before[-1].is_word("AS") or before[-1].text == "."):
            found.append(last.value)
    return found
