# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What leads from what exists to what is declared, where they differ (private: may change at any time).

``changes`` decides, and is pure; this asks the server what it makes of it.
"""

from __future__ import annotations

import dataclasses
import random
import typing as t

from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import (
    alter,
    ddl,
    dependencies,
    join,
    ordering,
    views,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.bridge import bridged
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.changes import (
    change,
    collection,
    dropped,
    is_replicated,
    renamed,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouseError, ConnectionFailed
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.declaration import Declared, Key, collection_text
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.found import (
    REBUILD,
    REBUILD_SUFFIX,
    Change,
    Definition,
    Found,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.reader import (
    Reader,
    from_temporary,
    keeps_rows,
    reaches_outside,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.rebuild import Rebuild, blocks_of, find_misfit
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.recreate import (
    cleared,
    engine,
    holds_no_rows,
    recreated,
)
from ansible_collections.groundwork.observability.plugins.module_utils._plan import DRIFTED, ObjectState

# NOT_FOUND_COLUMN_IN_BLOCK, NO_SUCH_COLUMN_IN_TABLE, UNKNOWN_IDENTIFIER.
_NO_SUCH_COLUMN = {10, 16, 47}
_WIDE = {"min_bytes_for_wide_part": "0", "min_rows_for_wide_part": "0"}


class Differences:
    """Between what a reader has found and what is declared, both in the server's words."""

    def __init__(self, reader: Reader, allow: t.Collection[str]) -> None:
        self.reader = reader
        self.client = reader.client
        self.allow = allow
        self.have = reader.have
        self.want = reader.texts

    def changes(self) -> dict[Key, Change]:
        """How each is made as declared. What cannot be joined is taken out of what exists, for it is created as declared."""
        found = {item.key: dropped(item, self.have.get(item.key, "")) for item in self.reader.every if item.absent}
        for item in self.reader.differing:
            if item.kind == "named_collection":
                made = self._collection(item)
            else:
                made = self._change(item, ddl.split_clauses(self.have[item.key]), ddl.split_clauses(self.want[item.key]))
                if item.key in self.reader.joined:
                    made = join.behind(self.reader.joined[item.key], made, self.allow)
                    if made is None:
                        del self.have[item.key]
            if made is not None:
                found[item.key] = made
        found.update(self._in_halves(found))
        found.update(self._rehearsed(found))
        found.update(self._recreated(found))
        found.update(self._losing(found))
        found.update(self._replaced(found))
        found.update(views.check(self.reader, found, self.allow))
        return found

    def _in_halves(self, changes: t.Mapping[Key, Change]) -> dict[Key, Change]:
        """Changes that are made in two halves, because what depends on them changes between these."""
        found = {**changes, **bridged(self.reader.want, self.have, self.want, changes)}
        known = Found(
            have={key: Definition(text) for key, text in self.have.items()},
            want={key: Definition(text) for key, text in self.want.items()},
            changes=found,
            database=self.reader.database,
            former=frozenset(self.reader.former),
        )
        items = [item for item in self.reader.every if item.key in found or (item.key not in self.have and not item.absent)]
        ordered = ordering.order(dependencies.nodes(items, known)) if len(items) > 1 else []
        halved = {key for key, half in ordered if half == ordering.FIRST and found[key].halves}
        return {**found, **{key: found[key].in_halves() for key in halved}}

    def _recreated(self, changes: t.Mapping[Key, Change]) -> dict[Key, Change]:
        """Tables without rows that no ALTER makes as declared, and those that an earlier run has left beside their successor."""
        found: dict[Key, Change] = {}
        for item in self.reader.tables:
            made, leftover = changes.get(item.key), self.reader.beside.get(item.key)
            if item.kind != "table" or item.key not in self.have or item.key in self.reader.former:
                continue
            have, want = (ddl.split_clauses(side[item.key]) for side in (self.have, self.want))
            if made is not None and made.impossible and holds_no_rows(have) and ddl.kind_of(self.have[item.key]) == "table":
                made = found[item.key] = recreated(item, have, want, self._database_engine(item))
            if leftover is not None and holds_no_rows(ddl.split_clauses(leftover)):
                beside = ddl.qualified(item.database, item.name + REBUILD_SUFFIX)
                statements = cleared(engine(ddl.split_clauses(leftover)), beside)
                found[item.key] = (made or Change()).after(*statements)
        return found

    def _database_engine(self, item: Declared) -> str:
        return self.reader.databases.get(item.database, ("", ""))[0]

    def _change(self, item: Declared, have: list[ddl.Clause], want: list[ddl.Clause]) -> Change:
        """From what exists to what is declared, behind renaming it and its columns."""
        columns = alter.renames(have, want, item.renamed_columns)
        try:
            rest = change(item, self._with_renamed(item, have, columns) if columns else have, want, self._database_engine(item))
        except ConnectionFailed:
            raise
        except ClickHouseError as error:
            rest = Change(impossible=(str(error),))
        if item.kind == "materialized_view" and not ddl.clause(want, "to") and item.key in self.reader.gives:
            own, given = (alter.elements(text).columns for text in (ddl.clause(have, "columns"), self.reader.gives[item.key]))
            if set(given) - set(own):
                more = ", ".join(name for name in given if name not in own)
                rest = Change(impossible=(f"its query gives other columns than the view's own table has ({more})",))
        if columns:
            rename = f"ALTER TABLE {item.sql_name} {alter.rename_commands(columns)}"
            rest = dataclasses.replace(
                rest.after(rename),
                halves=self._renamed_halves(item, rest, rename, alter.kept_names(columns, want)),
                renamed=columns,
                shared=is_replicated(want),
                source=item.sql_name,
            )
        if item.key in self.reader.former and item.renamed_from:
            rest = renamed(item, ddl.qualified(*item.renamed_from), have, want, rest)
        return rest

    def _renamed_halves(self, item: Declared, rest: Change, rename: str, kept: t.Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
        """Between the halves, columns have both names: materialized views go on with the former ones until they are altered."""
        first, last = rest.halves or (rest.statements, ())
        if not kept or rest.impossible or not keeps_rows(ddl.split_clauses(self.want[item.key])):
            return ((rename, *first), last) if rest.halves else ()
        aliases = ", ".join(f"({command})" for command in kept.values())
        drops = ", ".join(f"(DROP COLUMN {ddl.quote_name(name)})" for name in kept)
        return (f"{rename}, {aliases}", *first), (f"ALTER TABLE {item.sql_name} {drops}", *last)

    def _with_renamed(self, item: Declared, have: list[ddl.Clause], columns: t.Mapping[str, str]) -> list[ddl.Clause]:
        """The table with its columns renamed, in the server's words: other columns, keys and indices name them, too."""
        name = f"__groundwork_{random.getrandbits(32):08x}_renamed"
        self.reader.make(name, item.kind, have)
        self.client.execute(f"ALTER TABLE {name} {alter.rename_commands(columns)}")
        query = f"SELECT create_table_query FROM system.tables WHERE is_temporary AND name = {ddl.quote_string(name)}"
        return from_temporary(item, have, ddl.split_clauses(self.client.rows(query)[0][0]))

    def _collection(self, item: Declared) -> Change | None:
        """Compare named collections by key, and by value as far as the server shows values."""
        have = self.have[item.key]
        if not have:
            return Change(impossible=("it is defined in the server's configuration",))
        made = collection(item, have, item.statement)
        self.have[item.key] = collection_text(item.name, ddl.collection_entries(have))
        return made if made.statements else None

    def _losing(self, changes: t.Mapping[Key, Change]) -> dict[Key, Change]:
        """Changes that drop a column from which another's values are computed where they were never written: these would be gone."""
        found: dict[Key, Change] = {}
        for item in self.reader.tables:
            made = changes.get(item.key)
            if made is None or made.impossible:
                continue
            for name, source in made.unwritten.items():
                where = f"active AND database = {ddl.quote_string(item.database)} AND table = {ddl.quote_string(item.name)}"
                written = f"SELECT name FROM system.parts_columns WHERE {where} AND column = {ddl.quote_string(name)}"
                if self.client.rows(f"SELECT count() FROM system.parts WHERE {where} AND rows > 0 AND name NOT IN ({written})")[0][0]:
                    write = f"ALTER TABLE {item.sql_name} MATERIALIZE COLUMN {ddl.quote_name(name)}"
                    reason = (
                        f"column {name} has values that were never written and are computed from {source}, which would be dropped: "
                        f"declare renamed_columns instead of both, or write them first ({write})"
                    )
                    found[item.key] = dataclasses.replace(made, impossible=(reason,))
        return found

    def _replaced(self, changes: t.Mapping[Key, Change]) -> dict[Key, Change]:
        """Tables that no ALTER makes as declared, and replacements that an earlier run has left in the middle."""
        found: dict[Key, Change] = {}
        for item in self.reader.tables:
            made, leftover = changes.get(item.key), self.reader.beside.get(item.key)
            if item.kind not in ("table", "materialized_view") or item.key not in self.have or item.key in self.reader.former:
                continue
            if made is not None and made.join:
                continue
            if item.kind == "materialized_view":
                if leftover is not None and ddl.kind_of(leftover) == "materialized_view":
                    name = ddl.qualified(item.database, item.name + REBUILD_SUFFIX)
                    found[item.key] = (made or Change()).after(f"DROP TABLE {name} SYNC")
                continue
            now = ddl.split_clauses(self.have[item.key])
            comment = _comment(leftover) if leftover is not None else ""
            if leftover is not None and blocks_of(comment) is not None:
                finish = Rebuild(self.client, item, ddl.split_clauses(leftover), now).finish(comment)
                if made is not None and not made.impossible:
                    made = dataclasses.replace(made.after(*finish.statements), prepare=finish.prepare)
                found[item.key] = made if made is not None and not made.impossible else finish
            elif made is not None and made.impossible and ddl.kind_of(self.have[item.key]) == "table":
                rebuild = Rebuild(self.client, item, now, ddl.split_clauses(self.want[item.key]), leftover)
                found[item.key] = rebuild.change(made) if REBUILD in self.allow else rebuild.hint(made)
        return found

    def _copy_row(self, source: str, target: str, columns: str) -> bool:
        """Copy a row. False where the source lacks a column that it had a moment ago: a peer is altering it.

        Its own ALTER fails then, too, and is planned again.
        """
        try:
            self.client.execute(f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {source} LIMIT 1")
        except ConnectionFailed:
            raise
        except ClickHouseError as error:
            if error.code not in _NO_SUCH_COLUMN:
                raise
            return False
        return True

    def _rehearsed(self, changes: t.Mapping[Key, Change]) -> dict[Key, Change]:
        """Changes of tables, tried on a twin of each with one row at most: a refused one, or one that leads elsewhere, is none.

        Where rows are rewritten there are two twins, for small parts and large ones.
        """
        found: dict[Key, Change] = {}
        made: dict[str, Declared] = {}
        attempt = random.getrandbits(32)
        for number, item in enumerate(self.reader.tables):
            made_by = changes.get(item.key)
            if made_by is None or item.kind != "table" or made_by.impossible or self.reader.uses_changing(item.body):
                continue
            alters = [text for text in made_by.statements if text.startswith("ALTER")]
            name = f"__groundwork_{attempt:08x}_twin_{number}"
            twin = ddl.split_clauses(self.have[item.key])
            if not alters or reaches_outside(twin):
                continue
            twins = {name: twin}
            # The twin of a table that passes rows on would pass this one on, and reading such a table may consume rows.
            with_row = keeps_rows(twin)
            if made_by.sample and ddl.engine_of(ddl.clause(twin, "engine"))[0].endswith("MergeTree"):
                # With a file a column, as large parts have it, the server reads only the columns that it takes for needed.
                twins[f"{name}_wide"] = ddl.with_settings(twin, _WIDE)
            try:
                for table, parts in twins.items():
                    self.reader.make(table, item.kind, parts)
            except ConnectionFailed:
                raise
            except ClickHouseError:  # an engine without temporary tables: the server decides when it is altered
                continue
            real = made_by.source or item.sql_name
            sample = ", ".join(ddl.quote_name(made_by.renamed.get(column, column)) for column in made_by.sample)
            misfit, current = "", True
            try:
                if made_by.casts and with_row and not made_by.obstacles(self.allow):
                    # A value that does not fit would stop the mutation, and everything behind it.
                    former = "".join(f", {ddl.quote_name(old)} AS {ddl.quote_name(new)}" for new, old in made_by.renamed.items())
                    misfit = find_misfit(self.client, f"(SELECT *{former} FROM {real})" if former else real, made_by.casts)
                for table in () if misfit else twins:
                    if sample and with_row:
                        current = self._copy_row(real, table, sample)
                    for statement in alters if current else ():
                        self.reader.alter(table, statement.replace(item.sql_name, table, 1))
            except ConnectionFailed:
                raise
            except ClickHouseError as error:
                misfit = str(error)
            if misfit:
                found[item.key] = dataclasses.replace(made_by, impossible=(misfit,))
            elif current:
                made[name] = item
        if made:
            for name, text in self.reader.read_back(made).items():
                item = made[name]
                ours = ddl.split_clauses(self.want[item.key])
                theirs = from_temporary(item, ours, ddl.split_clauses(text))
                if ddl.join_clauses(ddl.fill(ours, theirs, {})) != ddl.join_clauses(theirs):
                    left = ObjectState(item.label, item.kind, DRIFTED, ddl.join_clauses(theirs), self.want[item.key]).difference
                    reason = f"no ALTER leads there, but only to: {left}"
                    found[item.key] = dataclasses.replace(changes[item.key], impossible=(reason,))
        return found


def _comment(text: str) -> str:
    """The comment of a table."""
    return ddl.unquote(ddl.clause(ddl.split_clauses(text), "comment")[len("COMMENT ") :])
