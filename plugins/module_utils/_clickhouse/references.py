# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which objects a statement names (private: may change at any time). Pure."""

from __future__ import annotations

import re
import typing as t

from . import create_statement, sql_clauses, sql_tokens

# Functions whose first argument names a dictionary, or a table of the engine Join.
_LOOKUP = re.compile(r"(dict[A-Z]|joinGet)")


def find_references(create: create_statement.Create) -> set[tuple[str, str]]:
    """Objects that a statement reads or writes (a superset: aliases may be among them)."""
    tokens = sql_tokens.tokenize(create.body)
    found: set[tuple[str, str]] = set()
    for index, token in enumerate(tokens):
        if token.kind != "word":
            continue
        word = token.text.upper()
        opens = word in ("FROM", "JOIN", "TO", "IN") or (word == "ON" and index and tokens[index - 1].is_word("DEPENDS"))
        if opens or (word == "AS" and token.depth == 0 and create.kind == "table"):
            cursor = sql_tokens.TokenCursor(tokens[index + 1 :])
            found |= cursor.names(create.database)
            while cursor.take(",") or (cursor.take("AS") and cursor.identifier() and cursor.take(",")):
                found |= cursor.names(create.database)
        if _LOOKUP.match(token.text) and sql_tokens.tokens_match(tokens, index + 1, ("(",)) and index + 2 < len(tokens):
            found |= _in_text(tokens[index + 2 :], create.database)
    engine, arguments = sql_clauses.parse_engine(create.body)
    values = [sql_tokens.unquote(argument) for argument in arguments]
    if engine in ("Alias", "Dictionary") and len(values) == 1:
        found |= _in_text(sql_tokens.tokenize(arguments[0]), create.database)
    if engine == "Alias" and len(values) > 1:
        found.add((values[0], values[1]))
    if engine == "Distributed" and len(values) > 2:
        found.add((values[1], values[2]))
    if engine == "Buffer" and len(values) > 1:
        found.add((values[0], values[1]))
    return found


def view_target(clauses: t.Iterable[sql_clauses.Clause]) -> tuple[str, str]:
    """The table that a materialized view writes to, in the server's words; empty names where the view has one of its own."""
    names = [sql_tokens.unquote(token.text) for token in sql_tokens.tokenize(sql_clauses.clause_text(clauses, "to"))[1::2]]
    return (names[0], names[1]) if len(names) == 2 else ("", "")


def has_unqualified_name(text: str) -> bool:
    """Whether a C(TO) or C(REFRESH) clause names an object without its database."""
    return any(len(name) == 1 for name in _clause_names(text))


def qualify_clause(text: str, database: str) -> str:
    """A C(TO) or C(REFRESH) clause with the database of every object: the session's, where there is none."""
    for name in reversed(_clause_names(text)):
        if len(name) == 1:
            text = f"{text[: name[0].start]}{sql_tokens.quote_name(database)}.{text[name[0].start :]}"
    return text


def _clause_names(text: str) -> list[list[sql_tokens.Token]]:
    """The names behind C(TO), and behind C(DEPENDS ON) up to what is none; each is its parts."""
    tokens = sql_tokens.tokenize(text)
    found: list[list[sql_tokens.Token]] = []
    for index, token in enumerate(tokens):
        if not (token.is_word("TO") or (token.is_word("ON") and index and tokens[index - 1].is_word("DEPENDS"))):
            continue
        position = index + 1
        while position < len(tokens) and tokens[position].kind in ("word", "quoted"):
            qualified_name = position + 2 < len(tokens) and tokens[position + 1].text == "."
            found.append([tokens[position], tokens[position + 2]] if qualified_name else [tokens[position]])
            position += 3 if qualified_name else 1
            if position >= len(tokens) or tokens[position].text != ",":
                break
            position += 1
    return found


def has_lookup(text: str) -> bool:
    """Whether an expression reads a dictionary, or a table by its name."""
    tokens = sql_tokens.tokenize(text)
    for index, token in enumerate(tokens):
        reads = token.kind == "word" and _LOOKUP.match(token.text)
        if reads or token.is_word("IN"):
            opened = sql_tokens.tokens_match(tokens, index + 1, ("(",))
            behind = tokens[index + 1 + opened : index + 2 + opened]
            if (reads and opened) or (not reads and behind and behind[0].kind in ("word", "quoted")):
                return True
    return False


def _in_text(tokens: t.Sequence[sql_tokens.Token], database: str) -> set[tuple[str, str]]:
    """The object named by the first token, which may be a literal that holds the name."""
    return sql_tokens.TokenCursor(sql_tokens.tokenize(sql_tokens.unquote(tokens[0].text)) if tokens[0].kind == "string" else tokens).names(
        database
    )


def refers_to_any(text: str, keys: t.Collection[tuple[str, str]], database: str) -> bool:
    """Whether an expression calls functions, or reads dictionaries, of these. C(database) is that of names without one."""
    if not keys:
        return False
    functions = {name for home, name in keys if not home}
    if any(token.text in functions for token in sql_tokens.tokenize(text) if token.kind in ("word", "quoted")):
        return True
    return not set(keys).isdisjoint(find_references(create_statement.Create("", database, "", text))) if has_lookup(text) else False
