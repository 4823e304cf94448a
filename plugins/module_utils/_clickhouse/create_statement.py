# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""C(CREATE) statements as users write them: which are accepted, and what they make (private: may change at any time). Pure."""

from __future__ import annotations

import typing as t

from .clauses import parse_engine
from .tokens import DDLError, Token, TokenCursor, excerpt, quote_name, tokenize, tokens_match, unquote

_KINDS = {
    ("TABLE",): "table",
    ("VIEW",): "view",
    ("MATERIALIZED", "VIEW"): "materialized_view",
    ("DICTIONARY",): "dictionary",
    ("FUNCTION",): "function",
    ("NAMED", "COLLECTION"): "named_collection",
}
# Kinds that belong to no database.
GLOBAL_KINDS = ("function", "named_collection")
KIND_KEYWORDS = {kind: " ".join(words) for words, kind in _KINDS.items()}
_FILLED = {("AS", "SELECT"): "AS SELECT", ("AS", "WITH"): "AS SELECT", ("AS", "("): "AS SELECT", ("CLONE", "AS"): "CLONE AS"}


class Create(t.NamedTuple):
    """A C(CREATE) statement: what it makes, and the text behind the name."""

    kind: str
    database: str
    name: str
    body: str


def parse_create(text: str, database: str = "") -> Create:
    """Take a C(CREATE) statement apart, or raise C(DDLError), which says why it cannot be managed.

    C(database) is that of a name without one; where it is empty, the name has to have it.
    """
    tokens = _statement_tokens(text)
    cursor = TokenCursor(tokens)
    if not cursor.take("CREATE"):
        raise DDLError(f"expected a CREATE statement, found {excerpt(tokens[0].text)}")
    cursor.take("OR", "REPLACE")
    kind = next((kind for words, kind in _KINDS.items() if cursor.take(*words)), None)
    if kind is None:
        words = " ".join(token.text.upper() for token in tokens[1:3] if token.kind == "word")
        hint = "; declare databases by kind and name" if words.startswith("DATABASE") else ""
        raise DDLError(f"CREATE {words} is not managed, only {', '.join(KIND_KEYWORDS.values())}{hint}")
    cursor.take("IF", "NOT", "EXISTS")
    parts = [cursor.identifier()]
    while cursor.take("."):
        parts.append(cursor.identifier())
    if None in parts or len(parts) > 2:
        raise DDLError(f"expected a name after CREATE {KIND_KEYWORDS[kind]}")
    if kind in GLOBAL_KINDS:
        if len(parts) > 1:
            raise DDLError(f"a {kind.replace('_', ' ')} belongs to no database: give its name alone")
        parts.insert(0, "")
    elif len(parts) == 1 and not database:
        raise DDLError(f"the name {quote_name(str(parts[0]))} needs its database: write database.{parts[0]}, or set login_database")
    elif len(parts) == 1:
        parts.insert(0, database)
    rest = tokens[cursor.position :]
    if not rest:
        raise DDLError(f"nothing follows the name in CREATE {KIND_KEYWORDS[kind]}")
    body = text[rest[0].start : rest[-1].end]
    _check_body(kind, rest, body)
    return Create(kind, str(parts[0]), str(parts[1]), body)


def _statement_tokens(text: str) -> t.Sequence[Token]:
    """Tokens of one whole statement, without the semicolon at its end."""
    tokens = tokenize(text)
    while tokens and tokens[-1].is_word(";"):
        tokens = tokens[:-1]
    if not tokens:
        raise DDLError("the statement is empty")
    for token in tokens:
        if token.kind == "other" and token.text in "'`\"":
            raise DDLError(f"a quote opened at character {token.start} is never closed")
        if token.is_word(";") and token.depth == 0:
            raise DDLError("more than one statement: give each object its own ddl")
    if tokens[-1].depth or any(token.depth < 0 for token in tokens) or tokens[-1].text in ("(", "[", "{"):
        raise DDLError("its parentheses do not match")
    return tokens


def _check_body(kind: str, rest: t.Sequence[Token], body: str) -> None:
    """Raise C(DDLError) for what this collection does not make, or not that way."""
    if tokens_match(rest, 0, ("ON", "CLUSTER")) or tokens_match(rest, 2, ("ON", "CLUSTER")):
        raise DDLError("ON CLUSTER is not accepted: every node is converged by its own host in the play")
    if kind == "function" and not any(one.text == "-" and other.text == ">" for one, other in zip(rest, rest[1:])):
        raise DDLError("a function is written AS (arguments) -> expression")
    if kind != "table":
        return
    for index, token in enumerate(rest):
        filled = next((name for words, name in _FILLED.items() if tokens_match(rest, index, words)), None)
        if filled and not token.depth and token.kind == "word":
            raise DDLError(f"{filled} would fill the table: declare its columns")
    if not parse_engine(body)[0] and rest[0].is_word("AS"):
        raise DDLError("the statement names no ENGINE, which would be that of the other table: declare it")


def parse_collection(text: str) -> dict[str, tuple[str, str]]:
    """Keys of a C(CREATE NAMED COLLECTION): the value as it is written, and C(OVERRIDABLE), C(NOT OVERRIDABLE) or nothing."""
    tokens = tokenize(text)
    start = next((index for index, token in enumerate(tokens) if token.is_word("AS")), -1) + 1
    found: dict[str, tuple[str, str]] = {}
    group: list[Token] = []
    for token in [*tokens[start:], Token("other", ",", len(text), len(text), 0)]:
        if token.text != ",":
            group.append(token)
            continue
        if len(group) < 3 or group[1].text != "=":
            raise DDLError("a named collection is written AS key = value [[NOT] OVERRIDABLE], ...")
        flag = " ".join(item.text.upper() for item in group[3:] if item.kind == "word")
        sign = group[2].text == "-"
        found[unquote(group[0].text)] = (text[group[2].start : group[2 + sign].end], flag)
        group = []
    return found
