# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server fills in by itself where a declaration leaves it open (private: may change at any time). Pure."""

from __future__ import annotations

import re
import typing as t

from . import sql_clauses, sql_secrets, sql_tokens

# Engines to whose arguments the server adds the format that it has guessed.
_GUESSED_FORMAT = frozenset(("AzureBlobStorage", "COSN", "GCS", "HDFS", "OSS", "S3", "URL"))
# Engines for which an empty name of a database is the session's.
SESSION_DATABASE_ENGINES = frozenset(("Buffer", "Merge"))
_VIEW = re.compile(r"CREATE (MATERIALIZED )?VIEW ")
_LAYOUT = re.compile(r" LAYOUT\((\w+)")
# Types of a dictionary's key for which the server keeps a simple layout.
_NUMERIC_TYPE = re.compile(r"(U?Int\d+|B?Float\d+|Bool|Decimal\d*)\Z")
# What a materialized view's own table is called: of a database that gives UUIDs, and of any other.
_INNER = re.compile(r"\.inner_id\.[0-9a-f-]{36}")
_EPHEMERAL = re.compile(r"( EPHEMERAL) defaultValueOfTypeName\('(?:[^'\\]|\\.)*'\)")


def fill_server_defaults(
    want: sql_clauses.Clauses, have: sql_clauses.Clauses, macros: t.Mapping[str, str]
) -> sql_clauses.Clauses:
    """A canonical declaration with what the server fills in by itself where it was left open.

    Only that: the path of a replicated table, C(index_granularity), C(ORDER BY) from C(PRIMARY KEY) or where there is
    none, C(PRIMARY KEY) where it is the same, the expression of C(EPHEMERAL), the column list and the definer of a view,
    the columns of a table that takes them from elsewhere, among an engine's arguments the quotes around names and the
    format that it guesses, the C(COMPLEX_KEY_) of a dictionary's layout, and C('[HIDDEN]') in place of an empty password.
    What remains different is drift.
    C(macros) are the server's and, as calls, the functions that it replaces by their values.
    """
    filled = []
    for item in want:
        other = sql_clauses.clause_text(have, item.key)
        text = item.text
        if item.key == "head":
            # It may carry a UUID.
            text = other if text.split()[:2] == other.split()[:2] else text
        elif item.key == "engine":
            text = _fill_engine(text, other, macros)
        elif item.key == "settings":
            text = _fill_settings(text, other)
        elif item.key == "columns" and " EPHEMERAL" in text:
            text = _fill_ephemeral(text, other)
        elif item.key == "definer" and text == "DEFINER = CURRENT_USER":
            text = other if sql_tokens.unquote(other.partition("= ")[2]) == macros.get("currentUser()") else text
        elif item.key == "primary_key":
            text = _fill_layout(text, other, sql_clauses.clause_text(want, "columns"))
        if item.key != "fill":
            filled.append(sql_clauses.Clause(item.key, _fill_empty_secrets(text, other)))
    keys = {item.key for item in filled}
    view = _VIEW.match(sql_clauses.clause_text(have, "head")) is not None
    unsorted = not sql_clauses.clause_text(want, "primary_key") and not sql_clauses.clause_text(want, "order_by")
    for item in have:
        if item.key in keys:
            continue
        granularity = sql_clauses.parse_settings(item.text).get("index_granularity") if item.key == "settings" else None
        implied = item.key in ("columns", "definer", "security") and view
        implied = implied or (item.key == "columns" and not sql_clauses.clause_text(want, "source"))
        implied = implied or (item.text == "ORDER BY tuple()" and unsorted)
        sorted_by_key = item.text.replace("ORDER BY", "PRIMARY KEY", 1) == sql_clauses.clause_text(want, "primary_key") != ""
        if granularity:
            filled.append(sql_clauses.Clause("settings", f"SETTINGS index_granularity = {granularity}"))
        elif implied or sorted_by_key:
            filled.append(item)
    filled = _fill_primary_key(filled, sql_clauses.clause_text(have, "primary_key"))
    theirs = [item.key for item in have]
    order = theirs if {item.key for item in filled} == set(theirs) else sql_clauses.CLAUSE_ORDER
    return sorted(filled, key=lambda item: order.index(item.key))


def inner_table_name(view: str, engine: str) -> str:
    """The name of the table in which a materialized view keeps its rows, where its C(ENGINE) clause has it in the path in ZooKeeper."""
    named = _INNER.search(engine)
    return named.group() if named else f".inner.{view}"


def _fill_primary_key(want: sql_clauses.Clauses, have: str) -> sql_clauses.Clauses:
    """A primary key that is the sorting key may be said or not."""
    same = sql_clauses.clause_text(want, "order_by").replace("ORDER BY", "PRIMARY KEY", 1)
    if not same or {sql_clauses.clause_text(want, "primary_key"), have} != {"", same}:
        return want
    return [part for part in want if part.key != "primary_key"] + ([sql_clauses.Clause("primary_key", have)] if have else [])


def _fill_layout(want: str, have: str, columns: str) -> str:
    """The server writes C(COMPLEX_KEY_) before a dictionary's layout where its key is not one number."""
    ours, theirs = _LAYOUT.search(want), _LAYOUT.search(have)
    if ours is None or theirs is None or theirs.group(1) != f"COMPLEX_KEY_{ours.group(1)}":
        return want
    key = [sql_tokens.unquote(name.strip()) for name in want[len("PRIMARY KEY") :].partition(" SOURCE")[0].strip(" ()").split(",")]
    kinds = {
        tokens[0].value: tokens[1].text
        for tokens in map(sql_tokens.tokenize, sql_tokens.split_arguments(columns))
        if len(tokens) > 1
    }
    if len(key) == 1 and _NUMERIC_TYPE.match(kinds.get(key[0], "")):
        return want
    return want[: ours.start(1)] + theirs.group(1) + want[ours.end(1) :]


def _fill_empty_secrets(want: str, have: str) -> str:
    """The server shows an empty password as a hidden one."""
    if sql_secrets.HIDDEN_LITERAL not in have or "''" not in want:
        return want
    spans = [our for our, their in sql_secrets.aligned_tokens(want, have) if our.text == "''" and their.text == sql_secrets.HIDDEN_LITERAL]
    for token in reversed(spans):
        want = want[: token.start] + sql_secrets.HIDDEN_LITERAL + want[token.end :]
    return want


def _fill_ephemeral(want: str, have: str) -> str:
    """C(EPHEMERAL) without an expression is shown with one when the column came by C(ALTER TABLE)."""
    theirs = {sql_tokens.tokenize(piece)[0].text: piece for piece in sql_tokens.split_arguments(have)}
    pieces = sql_tokens.split_arguments(want)
    for number, piece in enumerate(pieces):
        other = theirs.get(sql_tokens.tokenize(piece)[0].text, "")
        if _EPHEMERAL.sub(r"\1", other) == _EPHEMERAL.sub(r"\1", piece):
            pieces[number] = other
    return f"({', '.join(pieces)})"


def _fill_engine(want: str, have: str, macros: t.Mapping[str, str]) -> str:
    name, arguments = sql_clauses.parse_engine(want)
    have_name, have_arguments = sql_clauses.parse_engine(have)
    if name != have_name:
        return want
    if name.startswith("Replicated"):
        path, have_path = sql_clauses.replica_path(arguments), sql_clauses.replica_path(have_arguments)
        if not path or [_expand(item, macros) for item in path] == [_expand(item, macros) for item in have_path]:
            arguments = have_path + arguments[len(path) :]
    elif len(arguments) == len(have_arguments) or (name in _GUESSED_FORMAT and len(arguments) < len(have_arguments)):
        session = {"''": macros.get("currentDatabase()")} if name in SESSION_DATABASE_ENGINES else {}
        known = {**macros, **session}
        same = [
            sql_tokens.unquote(theirs) in (sql_tokens.unquote(ours), known.get(ours)) for ours, theirs in zip(arguments, have_arguments)
        ]
        if all(same):
            arguments = have_arguments
        else:
            arguments = [theirs if equal else ours for ours, theirs, equal in zip(arguments, have_arguments, same)]
    return sql_clauses.replace_engine(want, sql_clauses.engine_clause(name, arguments))


def _expand(text: str, macros: t.Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: macros.get(match.group(1), match.group()), sql_tokens.unquote(text))


def _fill_settings(want: str, have: str) -> str:
    ours, theirs = sql_clauses.parse_settings(want), sql_clauses.parse_settings(have)
    if "index_granularity" in theirs:
        ours.setdefault("index_granularity", theirs["index_granularity"])
    if ours == theirs:
        return have
    return sql_clauses.settings_clause(ours)
