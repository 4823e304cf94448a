# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Materialized views whose target renames columns that they fill (private: may change at any time). Pure.

The server ignores a column of a view that the target does not have. So the view gives the column under both names while the target renames
it: no row is inserted without it.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .change import Change
from .clauses import clause_text, split_clauses
from .declaration import Declared, Key
from .tokens import parse_name, quote_name, tokenize, unquote


def split_view_changes(
    items: t.Sequence[Declared], have: t.Mapping[Key, str], want: t.Mapping[Key, str], changes: t.Mapping[Key, Change]
) -> dict[Key, Change]:
    """Those changes of materialized views that are made in two halves, around the change of their targets."""
    found: dict[Key, Change] = {}
    for item in items:
        change = changes.get(item.key)
        if item.kind != "materialized_view" or change is None or change.impossible or item.key not in have:
            continue
        before, after = (split_clauses(side[item.key]) for side in (have, want))
        parts = parse_name(clause_text(after, "to")[len("TO ") :]) if clause_text(after, "to") else []
        renamed = changes[parts[0], parts[1]].renamed if len(parts) == 2 and (parts[0], parts[1]) in changes else {}
        old, new = (query_output_columns(clause_text(side, "select")) for side in (before, after))
        both = {name: former for name, former in renamed.items() if name in new and former in old and former not in new}
        final = next((text for text in change.statements if " MODIFY QUERY " in text), "")
        if both and final and clause_text(before, "to") == clause_text(after, "to"):
            aliases = ", ".join(f"{quote_name(name)} AS {quote_name(former)}" for name, former in both.items())
            query = clause_text(after, "select")[len("AS") :].strip()
            bridge = f"ALTER TABLE {item.sql_name} MODIFY QUERY SELECT *, {aliases} FROM ({query})"
            halves = ((bridge,), change.statements)
            found[item.key] = dataclasses.replace(change, halves=halves, between=((parts[0], parts[1]),))
    return found


def query_output_columns(select: str) -> list[str]:
    """Names of the columns that a query gives, as far as they are written there; none for a UNION. C(select) begins with C(AS)."""
    tokens = [token for token in tokenize(select) if token.depth == 0]
    if any(token.is_word("UNION") or token.is_word("EXCEPT") or token.is_word("INTERSECT") for token in tokens):
        return []
    start = next((index for index, token in enumerate(tokens) if token.is_word("SELECT")), len(tokens))
    end = next((index for index, token in enumerate(tokens) if index > start and token.is_word("FROM")), len(tokens))
    found: list[str] = []
    for previous, token, following in zip(tokens[start:end], tokens[start + 1 : end], [*tokens[start + 2 : end], None]):
        last = following is None or following.text == ","
        if (
            last
            and token.kind in ("word", "quoted")
            and (previous.is_word("AS") or previous.text in (",", ".") or previous.is_word("SELECT"))
        ):
            found.append(unquote(token.text))
    return found
