# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the definitions of objects refer to, and the order of changes that follows from it (private: may change at any time). Pure.

Each object that changes is a node. It needs what its declared definition refers to, and it stands in the way of what goes for as long as
its found definition refers to it: a column is added before the view that will read it, and dropped after the view that read it.
A change that would have to stand on both sides of another one is split into a half that adds and a half that removes.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from . import alter, declaration, object_changes, references, sql_clauses, sql_tokens
from . import change as planned
from . import observation as observed

# Behind these words a FROM ends.
_AFTER_FROM = frozenset(
    ("WHERE", "PREWHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "SETTINGS", "UNION", "INTERSECT", "EXCEPT", "WINDOW", "QUALIFY", "FORMAT")
)
# Among names: all of them.
ALL = "*"
WHOLE, FIRST, LAST = "whole", "first", "last"
Vertex = tuple[int, str]


class TableName(t.NamedTuple):
    """Where a query names a table: the tokens from C(start) to C(end), and whether an alias could stand behind it."""

    key: declaration.Key
    start: int
    end: int
    aliased: bool


def table_names(text: str, database: str) -> list[TableName]:
    """Places of a query, in the server's words, that name a table. C(database) is the session's."""
    tokens = sql_tokens.tokenize(text)
    found = []
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


def _name_at(tokens: t.Sequence[sql_tokens.Token], index: int, database: str) -> TableName | None:
    cursor = sql_tokens.TokenCursor(tokens, index)
    for key in cursor.names(database):
        end = cursor.position
        return None if cursor.take("(") else TableName(key, index, end, True)  # nothing for a table function
    return None


def named_columns(text: str) -> frozenset[str]:
    """All that a definition may call a column by: its words and literals; C(ALL) where it takes columns without naming them."""
    tokens = sql_tokens.tokenize(text)
    found = {token.value for token in tokens if token.is_name or token.kind == "string"}
    for previous, token in zip(tokens, tokens[1:]):
        # Behind anything else it multiplies.
        if token.text == "*" and (previous.text in (",", ".") or previous.is_word("SELECT") or previous.is_word("DISTINCT")):
            found.add(ALL)
    return frozenset(found | ({ALL} if "COLUMNS" in found or "columns" in found else set()))


def referenced_objects(
    item: declaration.Declared, text: str, database: str, functions: t.Collection[declaration.Key]
) -> frozenset[declaration.Key]:
    """Objects that a definition refers to.

    C(text) is what follows the name; C(database) is the session's, C(functions) are those that are known.
    """
    found = references.find_references(text, database, item.kind)
    found |= {name.key for name in table_names(text, database)}
    if item.kind == "dictionary":
        found |= dictionary_sources(text, database)
    return frozenset(found | {key for key in functions if key[1] in sql_tokens.names_in(text)})


def dictionary_sources(text: str, database: str) -> set[declaration.Key]:
    """Tables of the same server that a dictionary is loaded from."""
    tokens = sql_tokens.tokenize(text)
    for index, token in enumerate(tokens):
        if not token.is_word("CLICKHOUSE"):
            continue
        inside = tokens[index + 2 :]
        values = {name.text.upper(): value.value for name, value in zip(inside, inside[1:]) if name.kind == "word"}
        home = values.get("DB") or database
        found = {name.key for name in table_names(values.get("QUERY", ""), home)}
        if values.get("TABLE"):
            first, _dot, second = values["TABLE"].partition(".")
            found.add((first, second) if second and not values.get("DB") else (home, values["TABLE"]))
        return found
    return set()


@dataclass(frozen=True)
class Node:
    """One object that is created, changed or dropped.

    C(needs) and C(used) are the objects that its declared and its found definition refer to, C(names) and C(used_names) the names in
    the two definitions. C(adds) are the columns that the change adds or gives another type, C(removes) those that it removes; C(ALL) stands
    for the object itself.
    C(splits): whether its change can be made in two halves. C(former) is its name before it is renamed.
    C(lazy): its definition may refer to what is not there yet (a dictionary to its source). C(blocks): the server refuses to
    remove what its found definition uses. C(consumes): nobody may read from it until all that read it are in place.
    C(between): targets whose change stands between its halves.
    """

    key: declaration.Key
    needs: frozenset[declaration.Key] = frozenset()
    used: frozenset[declaration.Key] = frozenset()
    names: frozenset[str] = frozenset()
    used_names: frozenset[str] = frozenset()
    adds: frozenset[str] = frozenset()
    removes: frozenset[str] = frozenset()
    splits: bool = False
    former: declaration.Key | None = None
    lazy: bool = False
    blocks: bool = False
    consumes: bool = False
    between: frozenset[declaration.Key] = frozenset()


def change_nodes(items: declaration.Objects, observation: observed.Observation, changes: planned.Changes) -> list[Node]:
    """What is created, changed or dropped, for C(order_changes)."""
    functions = [item.key for item in items if item.kind == "function"]
    return [change_node(item, observation, changes.get(item.key), functions) for item in items]


def change_node(
    item: declaration.Declared, observation: observed.Observation, change: planned.Change | None, functions: t.Collection[declaration.Key]
) -> Node:
    """An object that is created (C(change) is nothing), changed or dropped."""
    have, want = (side[item.key].text if item.key in side else "" for side in (observation.have, observation.want))
    want = "" if item.absent else want or item.statement
    ours, theirs = sql_clauses.split_clauses(want), sql_clauses.split_clauses(have)
    text, found = sql_clauses.join_clauses(ours[1:]), sql_clauses.join_clauses(theirs[1:])
    altered = item.kind in ("table", "dictionary") and change is not None and not change.create
    new, old = (alter.parse_columns(side) if altered else {} for side in (ours, theirs))
    # A view keeps the types of what it reads: it is created when these are changed.
    adds = frozenset(name for name, column in new.items() if name not in old or column.type != old[name].type)
    removes = frozenset(old) - frozenset(new)
    if item.absent:
        adds, removes = frozenset(), frozenset((ALL,))
    elif not altered or new.keys() == old.keys() or (change is not None and change.source not in ("", item.sql_name)):
        # It comes, it is replaced as a whole, or its columns stay and mean something else.
        adds |= {ALL}
    consumes = altered and object_changes.is_stream(theirs)
    if consumes:
        adds = removes = frozenset((ALL,))
    return Node(
        key=item.key,
        needs=frozenset() if item.absent else referenced_objects(item, text, observation.database, functions),
        used=referenced_objects(item, found, observation.database, functions) if have else frozenset(),
        names=named_columns(text),
        used_names=named_columns(found),
        adds=adds,
        removes=removes,
        splits=change is not None and bool(change.halves or change.last),
        former=item.renamed_from if item.key in observation.former else None,
        lazy=item.kind == "dictionary",
        blocks=item.kind in ("materialized_view", "dictionary") or item.absent,
        consumes=consumes,
        between=frozenset(change.between) if change is not None else frozenset(),
    )


class Edge(t.NamedTuple):
    """One comes before the other. The edge with the lowest strength is given up first where not all can be kept."""

    before: Vertex
    after: Vertex
    strength: int
    removes: bool


def order_changes(nodes: t.Sequence[Node]) -> list[tuple[declaration.Key, str]]:
    """Keys with C(WHOLE), or C(FIRST) and C(LAST) of what is made in two halves; the given order where nothing else decides."""
    split = {number for number, node in enumerate(nodes) if node.between}
    dropped = set()
    while True:
        edges = [edge for edge in _edges(nodes, split) if edge not in dropped]
        ordered, circle = _sorted(nodes, split, edges)
        if not circle:
            return [(nodes[number].key, half) for number, half in ordered]
        inside = [edge for edge in edges if edge.before in circle and edge.after in circle]
        halve = sorted(edge.after[0] for edge in inside if edge.removes and edge.after[1] == WHOLE and nodes[edge.after[0]].splits)
        if halve:
            split.add(halve[0])
        else:
            dropped.add(min(inside, key=lambda edge: (edge.strength, edge.before, edge.after)))


def _edges(nodes: t.Sequence[Node], split: t.Collection[int]) -> list[Edge]:
    numbers = {node.key: number for number, node in enumerate(nodes)}
    numbers.update({node.former: number for number, node in enumerate(nodes) if node.former is not None})
    edges = []
    for reader, node in enumerate(nodes):
        first, last = _halves(reader, split)
        for key in node.needs | node.used:
            source = numbers.get(key, reader)
            if source == reader:
                continue
            other = nodes[source]
            other_first, other_last = _halves(source, split)
            if key in node.between:
                edges += [Edge(first, other_first, 9, False), Edge(other_last, last, 9, False)]
                continue
            if key in node.needs and key == other.key and _intersects(other.adds, node.names):
                edges.append(Edge(other_first, first, 1 if node.lazy else 3, False))
            if key in node.used and key == other.former:
                edges += [Edge(last, other_first, 2, False)] if node.lazy else []
            elif key in node.used and _intersects(other.removes, node.used_names):
                edges.append(Edge(last, other_last, 2 if node.blocks else 0, True))
            elif key in node.needs and other.consumes:
                edges.append(Edge(last, other_last, 2, True))
    return edges + [Edge((number, FIRST), (number, LAST), 9, False) for number in split]


def _halves(number: int, split: t.Collection[int]) -> tuple[Vertex, Vertex]:
    return ((number, FIRST), (number, LAST)) if number in split else ((number, WHOLE), (number, WHOLE))


def _intersects(changed: t.Collection[str], names: t.Collection[str]) -> bool:
    return bool(changed) and (ALL in changed or ALL in names or not set(changed).isdisjoint(names))


def _sorted(nodes: t.Sequence[Node], split: t.Collection[int], edges: t.Sequence[Edge]) -> tuple[list[Vertex], set[Vertex]]:
    """The vertices in order; where they cannot be, those that are on a circle, or between two."""
    vertices = [vertex for number in range(len(nodes)) for vertex in dict.fromkeys(_halves(number, split))]
    needs: dict[Vertex, set[Vertex]] = {vertex: set() for vertex in vertices}
    for edge in edges:
        needs[edge.after].add(edge.before)
    ordered = declaration.sort_by_needs(needs, {(number, half): (number, half == LAST) for number, half in vertices})
    circle = set(vertices) - set(ordered)
    while True:  # what only waits for a circle is on none
        ends = circle - {edge.before for edge in edges if edge.after in circle}
        if not ends:
            return ordered, circle
        circle -= ends
