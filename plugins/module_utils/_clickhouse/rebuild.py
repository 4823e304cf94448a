# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A MergeTree table that no ALTER makes as declared is copied into a new one, which takes its place (private: may change at any time).

The new table stands beside the old one as ``<table>__rebuild``. Rows are copied a partition at a time; then merges of both stop, number
and checksum of each partition's rows are compared, what differs is copied again, the tables are exchanged, rows that were inserted into
the old one on the way are copied, and the old one stays as ``<table>__before``. What was copied is written into the old table's comment
before the exchange, so that a run that is interrupted at any point is finished by the next one. Parts are told by their block numbers
(``system.parts``), which only grow.

Replicas rebuild one after the other, each in its own run. The one that could create the table ``<table>__lock``, whose name in ZooKeeper
they share, goes on, the others wait; then they join the new table, and copy what was inserted through them meanwhile and is not in it.

This module has the values and the SQL of a rebuild, and is pure. C(rebuild_plan) plans it, C(rebuild_operations) does what statements
alone cannot, C(row_queries) asks the server for both.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t
from dataclasses import dataclass

from . import alter, declaration, sql_clauses, sql_tokens
from . import change as planned

BEFORE_SUFFIX = "__before"
_MARK = "replaced by a rebuild of groundwork.observability, copied up to block "
# Every row as it is: no collapsing of a block before it is written, no block dropped as already inserted, no limit to parts that wait
# for merges.
_COPY_SETTINGS = "SETTINGS optimize_on_insert = 0, insert_deduplicate = 0, parts_to_delay_insert = 100000, parts_to_throw_insert = 100000"
# Names of the operations that steps of a rebuild have, see rebuild_operations.
ACQUIRE_LOCK = "rebuild.acquire_lock"
CHECK_REPLICAS = "rebuild.check_replicas"
SYNC_OLD_TABLE = "rebuild.sync_old_table"
VERIFY_COPY = "rebuild.verify_copy"
COPY_LATE_ROWS = "rebuild.copy_late_rows"
RELEASE = "rebuild.release"


@dataclass(frozen=True)
class Copy:
    """How rows of the old table become rows of the new one: names to insert, and expressions over the old table."""

    names: tuple[str, ...]
    expressions: tuple[str, ...]
    # What a partition of the old table is called, in both tables; without a key that both have, the table is one.
    unit: str
    # Whether both tables are cut into the same partitions.
    same_partitions: bool
    # Those of the expressions that fail on a value that does not fit.
    casts: tuple[str, ...] = ()

    def insert(self, target: str, source: str, condition: str) -> str:
        """The statement that copies rows. C(condition) is empty or begins with C( WHERE)."""
        rows = f"SELECT {', '.join(self.expressions)} FROM {source}{condition}"
        return f"INSERT INTO {target} ({', '.join(self.names)}) {rows} {_COPY_SETTINGS}"

    def insert_missing(self, target: str, missing: str) -> str:
        """The statement that adds the rows of C(missing_rows)."""
        columns = ", ".join(f"__e{number}" for number in range(len(self.names)))
        return f"INSERT INTO {target} ({', '.join(self.names)}) SELECT {columns} FROM {missing} {_COPY_SETTINGS}"

    def missing_rows(self, source: str, target: str, where: str) -> str:
        """The rows of the old table that the new one has not, or not as often, as what stands behind C(FROM)."""
        aliased = ", ".join(f"{expression} AS __e{number}" for number, expression in enumerate(self.expressions))
        numbered = f"{self.row_checksum(self.expressions)} AS __row, row_number() OVER (PARTITION BY __row) AS __number"
        old = f"(SELECT {aliased}, {numbered} FROM {source}{where})"
        same = f"{self.unit} IN (SELECT {self.unit} FROM {source}{where})"
        new = f"(SELECT {self.row_checksum(self.names)} AS __row, count() AS __times FROM {target} WHERE {same} GROUP BY __row)"
        return f"{old} AS old LEFT JOIN {new} AS new ON old.__row = new.__row WHERE old.__number > new.__times"

    def of_partition(self, partition: str) -> str:
        """The condition for rows of one partition of the old table, behind other conditions."""
        return "" if self.unit == "''" else f" AND _partition_id = {sql_tokens.quote_string(partition)}"

    @staticmethod
    def row_checksum(columns: t.Sequence[str]) -> str:
        """A checksum of a row, of any types."""
        return f"cityHash64(formatRow('RowBinary', {', '.join(columns)}))"


def plan_copy(have: sql_clauses.Clauses, want: sql_clauses.Clauses, renamed: t.Mapping[str, str]) -> Copy:
    """How to copy. C(renamed) gives former names of columns."""
    old, new = alter.parse_columns(have), alter.parse_columns(want)
    names = []
    expressions = []
    casts = []
    for name, column in new.items():
        source = old.get(renamed.get(name, name)) or old.get(name)
        if source is None or column.default_kind not in ("", "DEFAULT") or source.default_kind == "EPHEMERAL":
            continue
        names.append(sql_tokens.quote_name(name))
        expressions.append(_expression(source, column))
        if not alter.is_lossless_cast(source.type, column.type):
            casts.append(expressions[-1])
    key = sql_clauses.clause_text(have, "partition_by")
    used = sql_tokens.names_in(key) & old.keys()
    kept = all(name in new and new[name].type == old[name].type and sql_tokens.quote_name(name) in names for name in used)
    unit = f"toString(tuple({key[len('PARTITION BY') :].strip()}))" if key and kept else "''"
    return Copy(tuple(names), tuple(expressions), unit, kept and key == sql_clauses.clause_text(want, "partition_by"), tuple(casts))


def _expression(old: alter.Column, new: alter.Column) -> str:
    name = sql_tokens.quote_name(old.name)
    if old.type == new.type:
        return name
    if alter.is_nullable(old.type) and not alter.is_nullable(new.type):
        text = sql_tokens.quote_string(new.type)
        default = f"_CAST({new.parts['DEFAULT']}, {text})" if "DEFAULT" in new.parts else f"defaultValueOfTypeName({text})"
        return f"ifNull(_CAST({name}, {sql_tokens.quote_string(alter.to_nullable(new.type))}), {default})"
    return f"_CAST({name}, {sql_tokens.quote_string(new.type)})"


def format_mark(blocks: t.Mapping[str, int]) -> str:
    """The old table's comment: the last block of each partition that has been copied."""
    return _MARK + json.dumps(dict(sorted(blocks.items())))


def parse_mark(comment: str) -> dict[str, int] | None:
    """What C(format_mark) has written, or nothing."""
    return json.loads(comment[len(_MARK) :]) if comment.startswith(_MARK) else None


@dataclass(frozen=True)
class Rebuild:
    """One table's rebuild on one server. C(have) is the old definition, C(want) the new one, C(lock_path) that of the lock in ZooKeeper.

    C(leftover) is what an interrupted run has left as C(<table>__rebuild); with C(exchanged) that is the old table, because the run came
    as far as the exchange.
    """

    item: declaration.Declared
    have: sql_clauses.Clauses
    want: sql_clauses.Clauses
    lock_path: str = ""
    leftover: str = ""
    exchanged: bool = False

    @property
    def copy(self) -> Copy:
        return plan_copy(self.have, self.want, self.item.renamed_columns)

    def _named(self, suffix: str) -> declaration.Declared:
        return dataclasses.replace(self.item, name=self.item.name + suffix)

    @property
    def new(self) -> declaration.Declared:
        """The new table, until the exchange; then the old one has its name."""
        return self._named(planned.REBUILD_SUFFIX)

    @property
    def before(self) -> declaration.Declared:
        """What the old table is called at the end."""
        return self._named(BEFORE_SUFFIX)

    @property
    def tail(self) -> str:
        """The name, for SQL, of a table for rows that came late."""
        return self._named(planned.TAIL_SUFFIX).sql_name

    @property
    def lock(self) -> str:
        """The name, for SQL, of the table that only one replica has at a time."""
        return self._named(planned.LOCK_SUFFIX).sql_name

    @property
    def replicated(self) -> bool:
        """Whether the new table has replicas."""
        return sql_clauses.is_replicated(self.want)

    @property
    def was_replicated(self) -> bool:
        """Whether the old table has replicas."""
        return sql_clauses.is_replicated(self.have)

    @property
    def may_add_rows(self) -> bool:
        """Whether rows that merges have collapsed may be added again."""
        return sql_clauses.engine_name(self.want).removeprefix("Replicated") in ("MergeTree", "ReplacingMergeTree")

    @property
    def create_lock(self) -> str:
        engine = sql_clauses.engine_clause("ReplicatedMergeTree", [sql_tokens.quote_string(self.lock_path), "'lock'"])
        return f"CREATE TABLE IF NOT EXISTS {self.lock} (holder String) {engine} ORDER BY holder"

    @property
    def drop_lock(self) -> str:
        return f"DROP TABLE IF EXISTS {self.lock} SYNC"

    @property
    def create_tail(self) -> str:
        return sql_clauses.join_clauses(
            sql_clauses.replace_clause(sql_clauses.without_replication(self.want), "head", f"CREATE TABLE {self.tail}")
        )

    def set_mark(self, mark: str) -> str:
        """The statement that writes down, before the exchange, what has been copied."""
        return f"ALTER TABLE {self.item.sql_name} MODIFY COMMENT {sql_tokens.quote_string(mark)}"
