# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the definitions of objects refer to, and what their changes add and remove (private: may change at any time). Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import alter, ddl
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.declaration import Declared, Key
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.found import Change, Found
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.ordering import ALL, Node
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.recreate import is_stream

# Behind these words a FROM ends.
_AFTER_FROM = frozenset(
    ("WHERE", "PREWHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "SETTINGS", "UNION", "INTERSECT", "EXCEPT", "WINDOW", "QUALIFY", "FORMAT"),
)


class TableName(t.NamedTuple):
    """Where a query names a table: the tokens from C(start) to C(end), and whether an alias could stand behind it."""

    key: Key
    start: int
    end: int
    aliased: bool


def table_names(text: str, database: str) -> list[TableName]:
    """Places of a query, in the server's words, that name a table. C(database) is the session's."""
    tokens = ddl.tokenize(text)
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


def _name_at(tokens: t.Sequence[ddl.Token], index: int, database: str) -> TableName | None:
    words = ("word", "quoted")
    if index >= len(tokens) or tokens[index].kind not in words:
        return None
    parts = [ddl.unquote(tokens[index].text)]
    end = index + 1
    if end + 1 < len(tokens) and tokens[end].text == "." and tokens[end + 1].kind in words:
        parts.append(ddl.unquote(tokens[end + 1].text))
        end += 2
    if end < len(tokens) and tokens[end].text == "(":
        return None  # a table function
    return TableName((parts[0], parts[1]) if len(parts) > 1 else (database, parts[0]), index, end, True)


def names(text: str) -> frozenset[str]:
    """All that a definition may call a column by: its words and literals; C(ALL) where it takes columns without naming them."""
    tokens = ddl.tokenize(text)
    found = {ddl.unquote(token.text) for token in tokens if token.kind in ("word", "quoted", "string")}
    for previous, token in zip(tokens, tokens[1:]):
        # Behind anything else it multiplies.
        if token.text == "*" and (previous.text in (",", ".") or previous.is_("SELECT") or previous.is_("DISTINCT")):
            found.add(ALL)
    return frozenset(found | ({ALL} if "COLUMNS" in found or "columns" in found else set()))


def references(item: Declared, text: str, database: str, functions: t.Collection[Key]) -> frozenset[Key]:
    """Objects that a definition refers to.

    C(text) is what follows the name; C(database) is the session's, C(functions) are those that are known.
    """
    found = ddl.references(ddl.Create(item.kind, database, item.name, text))
    found |= {name.key for name in table_names(text, database)}
    if item.kind == "dictionary":
        found |= dictionary_sources(text, database)
    words = {token.text for token in ddl.tokenize(text) if token.kind in ("word", "quoted")}
    return frozenset(found | {key for key in functions if key[1] in words})


def dictionary_sources(text: str, database: str) -> set[Key]:
    """Tables of the same server that a dictionary is loaded from."""
    tokens = ddl.tokenize(text)
    for index, token in enumerate(tokens):
        if not token.is_("CLICKHOUSE"):
            continue
        inside = tokens[index + 2 :]
        values = {name.text.upper(): ddl.unquote(value.text) for name, value in zip(inside, inside[1:]) if name.kind == "word"}
        home = values.get("DB") or database
        found = {name.key for name in table_names(values.get("QUERY", ""), home)}
        if values.get("TABLE"):
            first, _dot, second = values["TABLE"].partition(".")
            found.add((first, second) if second and not values.get("DB") else (home, values["TABLE"]))
        return found
    return set()


def columns(clauses: t.Sequence[ddl.Clause]) -> dict[str, alter.Column]:
    """Columns of a table, attributes of a dictionary."""
    text = ddl.clause(clauses, "columns")
    return dict(alter.elements(text).columns) if text else {}


def nodes(items: t.Sequence[Declared], found: Found) -> list[Node]:
    """What is created, changed or dropped, for C(ordering.order)."""
    functions = [item.key for item in items if item.kind == "function"]
    return [node(item, found, found.changes.get(item.key), functions) for item in items]


def node(item: Declared, found: Found, change: Change | None, functions: t.Collection[Key]) -> Node:
    """An object that is created (C(change) is nothing), changed or dropped."""
    have, want = (side[item.key].text if item.key in side else "" for side in (found.have, found.want))
    want = "" if item.absent else want or item.statement
    ours, theirs = ddl.split_clauses(want), ddl.split_clauses(have)
    altered = item.kind in ("table", "dictionary") and change is not None and not change.join
    new, old = (columns(side) if altered else {} for side in (ours, theirs))
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
        needs=frozenset() if item.absent else references(item, _behind_name(ours), found.database, functions),
        used=references(item, _behind_name(theirs), found.database, functions) if have else frozenset(),
        names=names(_behind_name(ours)),
        used_names=names(_behind_name(theirs)),
        adds=adds,
        removes=removes,
        splits=change is not None and bool(change.halves or change.last),
        former=item.renamed_from if item.key in found.former else None,
        lazy=item.kind == "dictionary",
        blocks=item.kind in ("materialized_view", "dictionary") or item.absent,
        consumes=consumes,
        between=frozenset(change.between) if change is not None else frozenset(),
    )


def _behind_name(clauses: t.Sequence[ddl.Clause]) -> str:
    return ddl.join_clauses(clauses[1:])
