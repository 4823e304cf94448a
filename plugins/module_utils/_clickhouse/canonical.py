# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declarations in the server's own words, by making each one as a temporary object (private: may change at any time)."""

from __future__ import annotations

import random
import typing as t

from . import alter, declaration, error_codes, references, sql_clauses, sql_functions, sql_tokens, temporary_objects
from . import client as clickhouse
from . import observation as observed

# Answers to a declaration that needs what the same plan creates.
_MISSING = {error_codes.UNKNOWN_TABLE, error_codes.UNKNOWN_DATABASE}
_MISSING_KINDS = {"function": error_codes.UNKNOWN_FUNCTION, "named_collection": error_codes.NAMED_COLLECTION_DOESNT_EXIST}
# Behind the name of what shows a materialized view's own columns; what its query gives is shown without them.
_OWN_COLUMNS = "_columns"


def canonical_definitions(
    client: clickhouse.ClickHouse, comparison: observed.Comparison, tried: declaration.Objects
) -> observed.Canonical:
    """Have the server understand declarations, by making each one for a moment.

    C(tried) are tables, views, dictionaries and functions that are not yet as declared.
    What needs something that the same plan creates stays as it is formatted, or as it exists. Raises C(ClickHouseError) for what
    the server would refuse in any case.
    """
    # But for calls of functions, in whose place the server has their text, these are as declared.
    definitions = {
        item.key: sql_clauses.split_clauses(comparison.have[item.key]) for item in tried if _differs_by_calls_only(comparison, item)
    }
    trials = _trial_statements(comparison, [item for item in tried if item.key not in definitions])
    made: dict[str, declaration.Declared] = {}
    with temporary_objects.TemporaryObjects(client) as temporary:
        refused = temporary.create_all({name: text for texts in trials.values() for name, text in texts.items()})
        for item in tried:
            names = list(trials.get(item.key, ()))
            error = next((refused[name] for name in names if name in refused), None)
            exists = item.kind == "table" and item.key in comparison.have
            if error is not None and exists and temporary.create_permissively(names[0], comparison.clauses[item.key]):
                error = None
            if error is None:
                made.update(dict.fromkeys(names[:1], item))
            elif exists and error.code in _codes_of_missing(comparison, item):
                definitions[item.key] = sql_clauses.split_clauses(comparison.have[item.key])  # compared once that is there
            elif not _may_be_valid(comparison, item, error):
                raise error.about(item.subject) from error
        texts = temporary.read_back([*made, *(name + _OWN_COLUMNS for name in made)]) if made else {}
    if len(texts) < len(made):
        raise clickhouse.ClickHouseError(
            f"{client.connection.url} lost the session's temporary tables: address one server, no load balancer"
        )
    query_columns = {}
    secrets = set()
    for name, item in made.items():
        theirs = sql_clauses.split_clauses(texts[name])
        secrets |= observed.hidden_secrets(comparison.clauses[item.key], theirs)
        query_columns[item.key] = sql_clauses.clause_text(theirs, "columns")
        definitions[item.key] = _understood(comparison, item, theirs, texts.get(name + _OWN_COLUMNS, ""))
    return observed.Canonical(definitions, query_columns, frozenset(secrets))


def _understood(
    comparison: observed.Comparison, item: declaration.Declared, theirs: sql_clauses.Clauses, own_columns: str
) -> sql_clauses.Clauses:
    """A declaration in the words that the server has found for it."""
    ours = comparison.clauses[item.key]
    if own_columns:
        ours = sql_clauses.replace_clause(ours, "columns", sql_clauses.clause_text(sql_clauses.split_clauses(own_columns), "columns"))
    found = temporary_objects.from_temporary(item, ours, theirs)
    if item.key in comparison.have and item.kind == "table" and comparison.uses_changing(item.body):
        with_text, with_calls = (
            alter.restore_expressions(found, ours, comparison.uses_changing, spelt)
            for spelt in (lambda text: sql_functions.inline_calls(text, comparison.functions), str)
        )
        return with_text if comparison.is_as_declared(item, with_text) else with_calls
    return found


def _differs_by_calls_only(comparison: observed.Comparison, item: declaration.Declared) -> bool:
    """Whether what is declared is what exists, but for calls of functions that are created or changed."""
    if item.key not in comparison.have or item.kind in ("dictionary", "function") or not comparison.uses_changing(item.body):
        return False
    called = [
        sql_clauses.Clause(part.key, sql_functions.inline_calls(part.text, comparison.functions)) for part in comparison.clauses[item.key]
    ]
    return comparison.is_as_declared(item, called)


def _trial_statements(comparison: observed.Comparison, items: declaration.Objects) -> dict[declaration.Key, dict[str, str]]:
    """The statements that try each declaration, by the names of what they make; the first of them is read back."""
    trials: dict[declaration.Key, dict[str, str]] = {}
    attempt = random.getrandbits(32)
    altered = {item.key for item in items if item.key in comparison.have and not comparison.uses_changing(item.body)}
    for number, item in enumerate(items):
        clauses, exists = comparison.clauses[item.key], item.key in comparison.have
        if exists and item.kind == "table":
            clauses = _with_planned_columns(comparison, item, altered)
        if item.kind in ("dictionary", "function") or (item.kind != "table" and not exists):
            continue
        if (
            item.kind == "table"
            and temporary_objects.is_external(clauses)
            and not (sql_clauses.clause_text(clauses, "columns") or sql_clauses.clause_text(clauses, "source"))
        ):
            continue
        if comparison.uses_changing(item.body):
            if item.kind in observed.VIEWS:
                continue
            # The part of it that the server can be shown before the functions and dictionaries of the plan are there.
            clauses = alter.remove_expressions(clauses, comparison.uses_changing) if exists else clauses
        name = f"__groundwork_{attempt:08x}_{number}"
        trials[item.key] = {name: temporary_objects.temporary_statement(name, item.kind, clauses)}
        if item.kind == "materialized_view" and sql_clauses.clause_text(clauses, "columns"):
            trials[item.key][name + _OWN_COLUMNS] = temporary_objects.temporary_statement(name + _OWN_COLUMNS, "view", clauses)
    return trials


def _with_planned_columns(
    comparison: observed.Comparison, item: declaration.Declared, altered: t.Collection[declaration.Key]
) -> sql_clauses.Clauses:
    """A table's declaration. In place of C(AS other) it has the columns of a table that the same plan alters.

    The server would copy the columns of today.
    """
    clauses = comparison.clauses[item.key]
    source = sql_tokens.tokenize(sql_clauses.clause_text(clauses, "source"))
    others = [key for key in sql_tokens.TokenCursor(source[1:]).names(item.database) if key in altered]
    columns = sql_clauses.clause_text(comparison.clauses[others[0]], "columns") if others else ""
    if not columns:
        return clauses
    # Into other engines the server copies columns and constraints.
    left_out = () if sql_clauses.engine_name(clauses).endswith("MergeTree") else ("INDEX ", "PROJECTION ")
    copied = [part for part in sql_tokens.split_arguments(columns) if not part.startswith(left_out)]
    planned = sql_clauses.Clause("columns", f"({', '.join(copied)})")
    return [planned if part.key == "source" else part for part in clauses]


def _codes_of_missing(comparison: observed.Comparison, item: declaration.Declared) -> set[int]:
    """Errors of a declaration that needs functions, named collections or dictionaries that the same plan creates."""
    missing = [other for other in comparison.present if other.key not in comparison.have]
    codes = {code for kind, code in _MISSING_KINDS.items() if kind in {other.kind for other in missing}}
    dictionaries = {other.key for other in missing if other.kind == "dictionary"}
    if dictionaries & references.find_references(item.body, item.database, item.kind):
        codes.add(error_codes.BAD_ARGUMENTS)
    return codes


def _may_be_valid(comparison: observed.Comparison, item: declaration.Declared, error: clickhouse.ClickHouseError) -> bool:
    """Whether a declaration that cannot be tried may be right all the same."""
    view = item.kind != "table"
    if view and error.code != error_codes.ACCESS_DENIED:
        return True  # what it reads may be altered by the same plan: it is checked when all that is known
    if item.key not in comparison.have and comparison.uses_changing(item.body):
        return True
    if (view or item.key not in comparison.have) and error.code in _MISSING | _codes_of_missing(comparison, item):
        return True
    # Not every engine can be that of a temporary table; the code is used for much else.
    return error.code == error_codes.INCORRECT_QUERY and "emporary" in str(error)
