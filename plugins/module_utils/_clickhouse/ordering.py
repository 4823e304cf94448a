# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of changes to objects that depend on each other (private: may change at any time). Pure.

Each object that changes is a node. It needs what its declared definition refers to, and it stands in the way of what goes for as long as
its found definition refers to it: a column is added before the view that will read it, and dropped after the view that read it.
A change that would have to stand on both sides of another one is split into a half that adds and a half that removes.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .declaration import Key, sort_by_needs

# Among names: all of them.
ALL = "*"
WHOLE, FIRST, LAST = "whole", "first", "last"
Vertex = tuple[int, str]


@dataclass(frozen=True)
class Node:
    """One object that is created, changed or dropped.

    C(needs) and C(used) are the objects that its declared and its found definition refer to, C(names) and C(used_names) the names in
    the two definitions. C(adds) and C(removes) are the columns that the change adds and removes; C(ALL) stands for the object itself.
    C(splits): whether its change can be made in two halves. C(former) is its name before it is renamed.
    C(lazy): its definition may refer to what is not there yet (a dictionary to its source). C(blocks): the server refuses to
    remove what its found definition uses. C(consumes): nobody may read from it until all that read it are in place.
    C(between): targets whose change stands between its halves.
    """

    key: Key
    needs: frozenset[Key] = frozenset()
    used: frozenset[Key] = frozenset()
    names: frozenset[str] = frozenset()
    used_names: frozenset[str] = frozenset()
    adds: frozenset[str] = frozenset()
    removes: frozenset[str] = frozenset()
    splits: bool = False
    former: Key | None = None
    lazy: bool = False
    blocks: bool = False
    consumes: bool = False
    between: frozenset[Key] = frozenset()


class Edge(t.NamedTuple):
    """One comes before the other. The edge with the lowest strength is given up first where not all can be kept."""

    before: Vertex
    after: Vertex
    strength: int
    removes: bool


def order_changes(nodes: t.Sequence[Node]) -> list[tuple[Key, str]]:
    """Keys with C(WHOLE), or C(FIRST) and C(LAST) of what is made in two halves; the given order where nothing else decides."""
    split = {number for number, node in enumerate(nodes) if node.between}
    dropped: set[Edge] = set()
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
    edges: list[Edge] = []
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
    ordered = sort_by_needs(needs, {(number, half): (number, half == LAST) for number, half in vertices})
    circle = set(vertices) - set(ordered)
    while True:  # what only waits for a circle is on none
        ends = circle - {edge.before for edge in edges if edge.after in circle}
        if not ends:
            return ordered, circle
        circle -= ends
