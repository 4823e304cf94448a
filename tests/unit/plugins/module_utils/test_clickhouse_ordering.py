# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order of changes to objects that depend on each other, as tables of nodes and orders."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.dependencies import ALL, Node, order_changes


def node(name: str, **fields: t.Any) -> Node:
    """An object d.name; sets are written as words."""
    keys = ("needs", "used", "between")
    sets: dict[str, t.Any] = {field: frozenset(("d", word) for word in fields.pop(field).split()) for field in keys if field in fields}
    words = ("names", "used_names", "adds", "removes")
    sets |= {field: frozenset(fields.pop(field).split()) for field in words if field in fields}
    return Node(("d", name), **sets, **fields)


VIEW = {"needs": "t", "used": "t"}
# What changes, in the order of declaration -> the order of the statements.
CASES: dict[str, tuple[list[Node], str]] = {
    "nothing": ([], ""),
    "independent objects keep their order": ([node("b", adds=ALL), node("a", adds=ALL)], "b a"),
    "a column comes before the view that reads it": ([node("v", **VIEW, names="a b"), node("t", adds="b")], "t v"),
    "a column goes after the view that read it": ([node("t", removes="a"), node("v", **VIEW, used_names="a")], "v t"),
    "one that the view does not read does not wait": ([node("t", removes="x"), node("v", **VIEW, used_names="a")], "t v"),
    "a wildcard reads everything": ([node("t", removes="x"), node("v", **VIEW, used_names=ALL)], "v t"),
    "a table is altered in two halves around its view": (
        [node("t", adds="b", removes="a", splits=True), node("v", **VIEW, names="b", used_names="a")],
        "t:first v t:last",
    ),
    "only the table that is read is altered in halves": (
        [
            node("t", adds="b", removes="a", splits=True),
            node("all", **VIEW, adds="b", removes="a", splits=True, names="b", used_names="a"),
        ],
        "t:first all t:last",
    ),
    "a chain of three": (
        [
            node("t", adds="b", removes="a", splits=True),
            node("all", **VIEW, adds="b", removes="a", splits=True, names="b", used_names="a"),
            node("v", needs="all", used="all", names="b", used_names="a"),
        ],
        "t:first all:first v all:last t:last",
    ),
    "what cannot be split comes first": (
        [node("v", **VIEW, names="b", used_names="a"), node("t", adds="b", removes="a")],
        "t v",
    ),
    "unless the server would refuse it": (
        [node("t", adds="b", removes="a"), node("v", **VIEW, names="b", used_names="a", blocks=True, lazy=True)],
        "v t",
    ),
    "a view is dropped before its table": ([node("t", removes=ALL), node("v", used="t")], "v t"),
    "a table is dropped after its reader has been changed": ([node("t", removes=ALL), node("v", used="t", adds=ALL)], "v t"),
    "a dictionary lets go of a table before that is renamed": (
        [node("new", former=("d", "t"), adds=ALL), node("dict", needs="new", used="t", lazy=True, blocks=True)],
        "dict new",
    ),
    "what consumes waits for new readers, too": (
        [node("k", consumes=True, adds=ALL, removes=ALL, splits=True), node("v", needs="k", adds=ALL)],
        "k:first v k:last",
    ),
    "what consumes is made at once where nobody changes": ([node("k", consumes=True, adds=ALL, removes=ALL, splits=True)], "k"),
    "a target is renamed between the halves of its view": (
        [node("t", adds="c", removes="a"), node("m", **VIEW, between="t", names="c", used_names="a", splits=True)],
        "m:first t m:last",
    ),
    "views on views": ([node("w", needs="v", names="b"), node("v", needs="t", adds=ALL, names="b"), node("t", adds="b")], "t v w"),
}


@pytest.mark.parametrize("case", CASES)
def test_order(case: str) -> None:
    nodes, wanted = CASES[case]
    assert " ".join(name if half == "whole" else f"{name}:{half}" for (_database, name), half in order_changes(nodes)) == wanted
