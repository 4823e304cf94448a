# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What statements of a plan cost: what is instant, waits for a mutation, copies or drops rows (private: may change at any time).

C(effect) is pure. Which commands are mutations was seen on 26.7: with merges stopped they do not end.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.groundwork.observability.plugins.module_utils import _plan

from . import alter, sql_clauses, sql_tokens
from . import client as clickhouse
from . import observation as observed

INSTANT = "instant"
# Files of parts are linked, renamed or removed.
MUTATION = "mutation"
# Values of a column are read and written.
REWRITE = "rewrite"
COPY = "copy"
DROP = "drop"
_HEAVIEST_LAST = (INSTANT, MUTATION, REWRITE, COPY, DROP)
_MUTATIONS = re.compile(r"(RENAME COLUMN|DROP COLUMN|DROP INDEX|DROP PROJECTION|DROP STATISTICS) ")
_REWRITES = re.compile(r"(MODIFY TTL|MATERIALIZE \w+) ")


@dataclasses.dataclass(frozen=True)
class Effect:
    """What one statement does to rows that are there; C(columns) are those that are rewritten, all where it names none."""

    kind: str
    columns: tuple[str, ...] = ()


def statement_effect(statement: str, rewritten: t.Collection[str]) -> Effect:
    """Of one statement. C(rewritten) are the table's columns whose type or TTL changes."""
    if statement.startswith(("DROP TABLE", "DROP DATABASE")):
        return Effect(DROP)
    if statement.startswith("INSERT INTO"):
        return Effect(COPY)
    if not statement.startswith("ALTER TABLE"):
        return Effect(INSTANT)
    kind, columns = INSTANT, []
    commands = split_alter_commands(statement)
    for command in commands:
        tokens = sql_tokens.tokenize(command)
        name = tokens[2].value if len(tokens) > 2 else ""
        found = REWRITE if _REWRITES.match(command) else MUTATION if _MUTATIONS.match(command) else INSTANT
        if command.startswith("MODIFY COLUMN") and name in rewritten and " REMOVE " not in command:
            found = REWRITE
            columns.append(name)
        kind = max(kind, found, key=_HEAVIEST_LAST.index)
    whole = any(_REWRITES.match(command) for command in commands)
    return Effect(kind, () if whole else tuple(dict.fromkeys(columns)))


def rewritten_columns(have: str, want: str) -> list[str]:
    """Columns of a table, in the server's words, whose type or TTL changes."""
    old, new = (alter.parse_columns(sql_clauses.split_clauses(text)) for text in (have, want))
    kept = [name for name in new if name in old]
    ttls = {name: new[name].parts.get("TTL") for name in kept}
    return [name for name in kept if old[name].type != new[name].type or ttls[name] not in (None, old[name].parts.get("TTL"))]


def add_effects(client: clickhouse.ClickHouse, plan: _plan.Plan, observation: observed.Observation) -> _plan.Plan:
    """The plan, with what each statement does to rows that are there, and how many rows and bytes these are by the server's own figures."""
    effects = {}
    for number, step in enumerate(plan.steps):
        key = (step.target[0], step.target[1])
        have, want = observation.have.get(key), observation.want.get(key)
        altered = rewritten_columns(have.text, want.text) if have and want and sql_clauses.object_kind(have.text) == "table" else []
        effects[number] = statement_effect(step.statement, altered)
    heavy = {plan.steps[number].target for number, made in effects.items() if made.kind != INSTANT}
    sizes = _table_sizes(client, heavy) if heavy else {}
    steps = [_with_effect(step, effects[number], sizes.get(step.target)) for number, step in enumerate(plan.steps)]
    return dataclasses.replace(plan, steps=tuple(steps))


def _with_effect(step: _plan.Step, made: Effect, size: tuple[int, int, dict[str, int]] | None) -> _plan.Step:
    if made.kind == INSTANT or size is None:
        return dataclasses.replace(step, effect=made.kind)
    rows, whole, columns = size
    if not rows:
        return dataclasses.replace(step, effect=INSTANT)
    taken = sum(columns.get(name, 0) for name in made.columns) if made.columns else whole
    return dataclasses.replace(step, effect=made.kind, rows=rows, bytes=0 if made.kind == MUTATION else taken)


def _table_sizes(
    client: clickhouse.ClickHouse, keys: t.Collection[tuple[str, ...]]
) -> dict[tuple[str, ...], tuple[int, int, dict[str, int]]]:
    """Rows and compressed bytes of tables, and bytes of their columns. Nothing where the user may not ask."""
    pairs = sql_tokens.quoted_keys(sorted(keys))
    try:
        tables = client.rows(
            f"SELECT database, name, ifNull(total_rows, 0), ifNull(total_bytes, 0) FROM system.tables WHERE (database, name) IN ({pairs})"
        )
        query = f"SELECT database, table, name, data_compressed_bytes FROM system.columns WHERE (database, table) IN ({pairs})"
        columns = client.rows(query)
    except clickhouse.ServerError:
        return {}
    found: dict[tuple[str, ...], tuple[int, int, dict[str, int]]] = {}
    for database, name, rows, size in tables:
        found[database, name] = (rows, size, {})
    for database, table, name, size in columns:
        if (database, table) in found:
            found[database, table][2][name] = size
    return found


def split_alter_commands(statement: str) -> list[str]:
    """Commands of an C(ALTER TABLE), without the parentheses around each."""
    tokens = sql_tokens.tokenize(statement)
    start = 5 if len(tokens) > 3 and tokens[3].text == "." else 3
    groups = sql_tokens.split_at_commas(tokens[start:])
    texts = [group[1:-1] if group[0].text == "(" and group[-1].text == ")" else group for group in groups if group]
    return [statement[group[0].start : group[-1].end] for group in texts if group]
