# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which objects a statement names (private: may change at any time). Pure."""

from __future__ import annotations

import re
import typing as t

from . import sql_clauses, sql_tokens

# Functions whose first argument names a dictionary, or a table of the engine Join.
_LOOKUP = re.compile(r"(dict[A-Z]|joinGet)")
# Engines over another table, with the place of its database among their arguments; its name is the next one.
_ENGINES_OVER_TABLES = {"Alias": 0, "Buffer": 0, "Distributed": 1}


def find_references(text: str, database: str, kind: str = "") -> set[tuple[str, str]]:
    """Objects that a statement reads or writes (a superset: aliases may be among them).

    C(text) is what follows its name, C(database) is that of names without one, C(kind) is what it creates.
    """
    tokens = sql_tokens.tokenize(text)
    found = set()
    for index, token in enumerate(tokens):
        if token.kind != "word":
            continue
        cursor = sql_tokens.TokenCursor(tokens, index + 1)
        word = token.text.upper()
        if word in ("FROM", "JOIN", "TO", "IN") or _depends_on(tokens, index) or (word == "AS" and token.depth == 0 and kind == "table"):
            found |= cursor.names(database)
            while cursor.take(",") or (cursor.take("AS") and cursor.identifier() and cursor.take(",")):
                found |= cursor.names(database)
        elif _LOOKUP.match(token.text) and cursor.take("("):
            found |= _in_text(tokens[index + 2 :], database)
    engine, arguments = sql_clauses.parse_engine(text)
    values = [sql_tokens.unquote(argument) for argument in arguments]
    first = _ENGINES_OVER_TABLES.get(engine, len(values))
    if len(values) > first + 1:
        found.add((values[first], values[first + 1]))
    elif engine in ("Alias", "Dictionary") and len(values) == 1:
        found |= _in_text(sql_tokens.tokenize(arguments[0]), database)
    return found


def view_target(clauses: sql_clauses.Clauses) -> tuple[str, str]:
    """The table that a materialized view writes to, in the server's words; empty names where the view has one of its own."""
    names = [token.value for token in sql_tokens.tokenize(sql_clauses.clause_text(clauses, "to"))[1::2]]
    return (names[0], names[1]) if len(names) == 2 else ("", "")


def qualify_clause(text: str, database: str) -> str:
    """A C(TO) or C(REFRESH) clause with the database of every object: the session's, where there is none."""
    tokens = sql_tokens.tokenize(text)
    bare = []
    for index, token in enumerate(tokens):
        cursor = sql_tokens.TokenCursor(tokens, index + 1)
        more = token.is_word("TO") or _depends_on(tokens, index)
        while more:
            start = cursor.position
            if len(cursor.name_parts()) == 1:
                bare.append(tokens[start].start)
            more = cursor.take(",")
    for start in reversed(bare):
        text = f"{text[:start]}{sql_tokens.quote_name(database)}.{text[start:]}"
    return text


def _depends_on(tokens: t.Sequence[sql_tokens.Token], index: int) -> bool:
    """Whether this is the C(ON) of C(DEPENDS ON)."""
    return tokens[index].is_word("ON") and index > 0 and tokens[index - 1].is_word("DEPENDS")


def has_lookup(text: str) -> bool:
    """Whether an expression reads a dictionary, or a table by its name."""
    tokens = sql_tokens.tokenize(text)
    for index, token in enumerate(tokens):
        cursor = sql_tokens.TokenCursor(tokens, index + 1)
        if token.kind == "word" and _LOOKUP.match(token.text) and cursor.take("("):
            return True
        if token.is_word("IN"):
            cursor.take("(")
            if cursor.identifier() is not None:
                return True
    return False


def _in_text(tokens: t.Sequence[sql_tokens.Token], database: str) -> set[tuple[str, str]]:
    """The object named by the first token, which may be a literal that holds the name."""
    if tokens and tokens[0].kind == "string":
        tokens = sql_tokens.tokenize(tokens[0].value)
    return sql_tokens.TokenCursor(tokens).names(database)


def refers_to_any(text: str, keys: t.Collection[tuple[str, str]], database: str) -> bool:
    """Whether an expression calls functions, or reads dictionaries, of these. C(database) is that of names without one."""
    functions = {name for home, name in keys if not home}
    if not functions.isdisjoint(sql_tokens.names_in(text)):
        return True
    return bool(keys) and has_lookup(text) and not find_references(text, database).isdisjoint(keys)
