# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the definitions of objects refer to, and what their changes add and remove (private: may change at any time). Pure."""

from __future__ import annotations

import typing as t

from . import alter
from .change import Change
from .clauses import Clause, clause_text, join_clauses, split_clauses
from .create_statement import Create
from .declaration import Declared, Key
from .object_changes import is_stream
from .observation import Observation
from .ordering import ALL, Node
from .references import find_references
from .tokens import Token, tokenize, unquote

# Behind these words a FROM ends.
_AFTER_FROM = frozenset(
    ("WHERE", "PREWHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "SETTINGS", "UNION", "INTERSECT", "EXCEPT", "WINDOW", "QUALIFY", "FORMAT")
)


class TableName(t.NamedTuple):
    """Where a query names a table: the tokens from C(start) to C(end), and whether an alias could stand behind it."""

    key: Key
    start: int
    end: int
    aliased: bool


def table_names(text: str, database: str) -> list[TableName]:
    """Places of a query, in the server's words, that name a table. C(database) is the session's."""
    tokens = tokenize(text)
    found: list[TableName] = []
    depths: set[int] = set()  # of the FROM clauses that are open
    for index, token in enumerate(tokens):
        depths = {depth for depth in depths if depth <= token.depth}
        word = token.text.upper() if token.kind == "word" else token.text
        if word in _AFTER_FROM:
            depths.discard(token.depth)
        position = index + 1
        if word == "FROM":
            depths.add(token.depth)
        elif word == "IN":
            position += int(position < len(tokens) and tokens[position].text == "(")
        elif not (word == "JOIN" or (word == "," and token.depth in depths)):
            continue
        name = _name_at(tokens, position, database)
        if name and not (word == "IN" and position > index + 1 and tokens[name.end].text != ")"):
            found.append(name._replace(aliased=word != "IN"))
    return found


def _name_at(tokens: t.Sequence[Token], index: int, database: str) -> TableName | None:
    words = ("word", "quoted")
    if index >= len(tokens) or tokens[index].kind not in words:
        return None
    parts = [unquote(tokens[index].text)]
    end = index + 1
    if end + 1 < len(tokens) and tokens[end].text == "." and tokens[end + 1].kind in words:
        parts.append(unquote(tokens[end + 1].text))
        end += 2
    if end < len(tokens) and tokens[end].text == "(":
        return None  # a table function
    return TableName((parts[0], parts[1]) if len(parts) > 1 else (database, parts[0]), index, end, True)


def named_columns(text: str) -> frozenset[str]:
    """All that a definition may call a column by: its words and literals; C(ALL) where it takes columns without naming them."""
    tokens = tokenize(text)
    found = {unquote(token.text) for token in tokens if token.kind in ("word", "quoted", "string")}
    for previous, token in zip(tokens, tokens[1:]):
        # Behind anything else it multiplies.
        if token.text == "*" and (previous.text in (",", ".") or previous.is_word("SELECT") or previous.is_word("DISTINCT")):
            found.add(ALL)
    return frozenset(found | ({ALL} if "COLUMNS" in found or "columns" in found else set()))


def referenced_objects(item: Declared, text: str, database: str, functions: t.Collection[Key]) -> frozenset[Key]:
    """Objects that a definition refers to.

    C(text) is what follows the name; C(database) is the session's, C(functions) are those that are known.
    """
    found = find_references(Create(item.kind, database, item.name, text))
    found |= {name.key for name in table_names(text, database)}
    if item.kind == "dictionary":
        found |= dictionary_sources(text, database)
    words = {token.text for token in tokenize(text) if token.kind in ("word", "quoted")}
    return frozenset(found | {key for key in functions if key[1] in words})


def dictionary_sources(text: str, database: str) -> set[Key]:
    """Tables of the same server that a dictionary is loaded from."""
    tokens = tokenize(text)
    for index, token in enumerate(tokens):
        if not token.is_word("CLICKHOUSE"):
            continue
        inside = tokens[index + 2 :]
        values = {name.text.upper(): unquote(value.text) for name, value in zip(inside, inside[1:]) if name.kind == "word"}
        home = values.get("DB") or database
        found = {name.key for name in table_names(values.get("QUERY", ""), home)}
        if values.get("TABLE"):
            first, _dot, second = values["TABLE"].partition(".")
            found.add((first, second) if second and not values.get("DB") else (home, values["TABLE"]))
        return found
    return set()


def column_definitions(clauses: t.Sequence[Clause]) -> dict[str, alter.Column]:
    """Columns of a table, attributes of a dictionary."""
    text = clause_text(clauses, "columns")
    return dict(alter.parse_elements(text).columns) if text else {}


def change_nodes(items: t.Sequence[Declared], observation: Observation, changes: t.Mapping[Key, Change]) -> list[Node]:
    """What is created, changed or dropped, for C(ordering.order)."""
    functions = [item.key for item in items if item.kind == "function"]
    return [change_node(item, observation, changes.get(item.key), functions) for item in items]


def change_node(item: Declared, observation: Observation, change: Change | None, functions: t.Collection[Key]) -> Node:
    """An object that is created (C(change) is nothing), changed or dropped."""
    have, want = (side[item.key].text if item.key in side else "" for side in (observation.have, observation.want))
    want = "" if item.absent else want or item.statement
    ours, theirs = split_clauses(want), split_clauses(have)
    altered = item.kind in ("table", "dictionary") and change is not None and not change.create
    new, old = (column_definitions(side) if altered else {} for side in (ours, theirs))
    adds, removes = frozenset(new) - frozenset(old), frozenset(old) - frozenset(new)
    if item.absent:
        adds, removes = frozenset(), frozenset((ALL,))
    elif not altered or not (adds or removes) or (change is not None and change.source not in ("", item.sql_name)):
        # It comes, it is replaced as a whole, or its columns stay and mean something else.
        adds |= {ALL}
    consumes = altered and is_stream(theirs)
    if consumes:
        adds = removes = frozenset((ALL,))
    return Node(
        key=item.key,
        needs=frozenset() if item.absent else referenced_objects(item, _text_after_name(ours), observation.database, functions),
        used=referenced_objects(item, _text_after_name(theirs), observation.database, functions) if have else frozenset(),
        names=named_columns(_text_after_name(ours)),
        used_names=named_columns(_text_after_name(theirs)),
        adds=adds,
        removes=removes,
        splits=change is not None and bool(change.halves or change.last),
        former=item.renamed_from if item.key in observation.former else None,
        lazy=item.kind == "dictionary",
        blocks=item.kind in ("materialized_view", "dictionary") or item.absent,
        consumes=consumes,
        between=frozenset(change.between) if change is not None else frozenset(),
    )


def _text_after_name(clauses: t.Sequence[Clause]) -> str:
    return join_clauses(clauses[1:])
