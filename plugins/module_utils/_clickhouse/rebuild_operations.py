# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rebuild does beside the statements of its plan (private: may change at any time).

Each operation is called with the client, with what executes and reports one more statement, and with the arguments of its step.
"""

from __future__ import annotations

import itertools
import time
import typing as t

from . import change as planned
from . import client as clickhouse
from . import error_codes, row_queries, sql_tokens
from . import rebuild as table_rebuild

# What executes a statement and reports it.
Execute = t.Callable[[str], None]

_ROUNDS = 10
# Another replica holds the lock, is about to, or gives it back right now.
_LOCK_IS_HELD = {error_codes.REPLICA_ALREADY_EXISTS, error_codes.ALL_REPLICAS_LOST, error_codes.KEEPER_EXCEPTION}


def acquire_lock(client: clickhouse.ClickHouse, _execute: Execute, rebuild: table_rebuild.Rebuild) -> None:
    """Wait until no other replica rebuilds this table. Raises C(ClickHouseError) when the connection's timeout has passed."""
    deadline = time.monotonic() + client.connection.timeout
    while True:
        try:
            client.execute(rebuild.create_lock)
        except clickhouse.ClickHouseError as error:
            if error.code not in _LOCK_IS_HELD:
                raise
            if time.monotonic() > deadline:
                raise clickhouse.ClickHouseError(
                    "another replica still rebuilds this table, or was lost while it did: run it again. For a lost one: "
                    f"SYSTEM DROP REPLICA 'lock' FROM ZKPATH '{rebuild.lock_path}', with the macros put in"
                ) from error
            time.sleep(0.5)
        else:
            return


def check_replicas(client: clickhouse.ClickHouse, _execute: Execute, rebuild: table_rebuild.Rebuild) -> None:
    """Raise C(Replan) if another replica has made the copies."""
    if row_queries.read_other_replicas(client, rebuild):
        client.execute(f"SYSTEM SYNC REPLICA {rebuild.new.sql_name} LIGHTWEIGHT")
        if not rebuild.leftover and row_queries.read_parts(client, rebuild.new):
            raise planned.Replan(f"another replica has copied rows to {rebuild.new.sql_name}: run it again")


def sync_old_table(client: clickhouse.ClickHouse, _execute: Execute, rebuild: table_rebuild.Rebuild) -> None:
    """Get what other replicas of the old table have inserted until now. What they insert later is theirs to copy."""
    client.execute(f"SYSTEM SYNC REPLICA {rebuild.item.sql_name} LIGHTWEIGHT")


def verify_copy(client: clickhouse.ClickHouse, execute: Execute, rebuild: table_rebuild.Rebuild, mark: str) -> None:
    """Make the copy complete as far as the parts go that are there now: compare, and copy again what differs.

    Merges are stopped, so that the parts stay. C(mark) is what the old table's comment says by now. Raises C(ClickHouseError) where
    both tables do not become equal.
    """
    old, new = rebuild.item.sql_name, rebuild.new.sql_name
    replicas = row_queries.read_other_replicas(client, rebuild)
    if replicas:
        client.execute(f"SYSTEM SYNC REPLICA {new} LIGHTWEIGHT")
    parts = row_queries.read_parts(client, rebuild.item)
    inside = f" WHERE _part IN ({sql_tokens.quoted_list(part.name for part in parts) or chr(39) * 2})"
    for _round in range(_ROUNDS):
        if row_queries.has_mutations(client, rebuild.item):
            raise clickhouse.ClickHouseError(f"mutations of {old} were begun while it was copied: run it again when they are done")
        old_rows, new_rows = row_queries.read_old_rows(client, rebuild, inside), row_queries.read_new_rows(client, rebuild)
        differing = [name for name in {**old_rows, **new_rows} if old_rows.get(name) != new_rows.get(name)]
        wheres = {name: inside + rebuild.copy.of_partition(old_rows[name].partition) for name in differing if name in old_rows}
        if replicas:
            # What others have inserted into the new table is right; only what it lacks counts.
            differing = [name for name in wheres if row_queries.has_missing_rows(client, rebuild, wheres[name])]
        if not differing:
            compared = table_rebuild.format_mark(row_queries.last_blocks(parts))
            if compared != mark:
                execute(rebuild.set_mark(compared))
            return
        if replicas and rebuild.was_replicated and rebuild.may_add_rows:
            for name in differing:
                execute(rebuild.copy.insert_missing(new, rebuild.copy.missing_rows(old, new, wheres[name])))
            continue
        if replicas and any(name in new_rows for name in differing):
            raise clickhouse.ClickHouseError(
                f"rows of {new} came by another replica ({', '.join(replicas)}), the copy cannot be compared. Rebuild on one "
                f"replica first, with nothing inserted at the others; to start again, drop {new} on all"
            )
        _copy_again(execute, rebuild, inside, differing, (old_rows, new_rows))
    raise clickhouse.ClickHouseError(f"{new} does not become equal to {old} in {_ROUNDS} rounds")


def _copy_again(
    execute: Execute,
    rebuild: table_rebuild.Rebuild,
    inside: str,
    differing: t.Sequence[str],
    rows: tuple[t.Mapping[str, row_queries.PartitionRows], t.Mapping[str, row_queries.PartitionRows]],
) -> None:
    """Copy partitions that differ. C(inside) is the condition for rows that are copied, C(rows) are those of both tables."""
    old_rows, new_rows = rows
    wrong = [name for name in differing if name in new_rows]
    copied = [name for name in differing if name in old_rows]
    if wrong and not rebuild.copy.same_partitions:
        execute(f"TRUNCATE TABLE {rebuild.new.sql_name} SYNC")
        copied = list(old_rows)
    else:
        for name in wrong:
            execute(f"ALTER TABLE {rebuild.new.sql_name} DROP PARTITION ID {sql_tokens.quote_string(new_rows[name].partition)}")
    for name in copied:
        condition = inside + rebuild.copy.of_partition(old_rows[name].partition)
        execute(rebuild.copy.insert(rebuild.new.sql_name, rebuild.item.sql_name, condition))


def copy_late_rows(client: clickhouse.ClickHouse, execute: Execute, rebuild: table_rebuild.Rebuild) -> None:
    """Copy what was inserted into the old table, now C(<table>__rebuild), after it was compared, until nothing more can come.

    Raises C(ClickHouseError) where merges have mixed such rows with others, and the engine does not allow to add rows twice.
    """
    row_queries.await_inserts(client)
    blocks = table_rebuild.parse_mark(row_queries.read_comment(client, rebuild.new)) or {}
    late = [part for part in row_queries.read_parts(client, rebuild.new) if part.last > blocks.get(part.partition, -1)]
    mixed = [part.name for part in late if part.first <= blocks.get(part.partition, -1)]
    if mixed and not rebuild.may_add_rows:
        raise clickhouse.ClickHouseError(
            f"part {mixed[0]} of {rebuild.new.sql_name} has merged rows that were copied to {rebuild.item.sql_name} with some that were "
            f"not (up to block {blocks}): compare them, then rename it to {rebuild.before.sql_name}"
        )
    if late:
        where = f" WHERE _part IN ({sql_tokens.quoted_list(part.name for part in late)})"
        # What is copied last may have been copied by a run that was interrupted.
        _attach_rows(client, execute, rebuild, where, all_rows=not mixed and not rebuild.exchanged)


def _attach_rows(client: clickhouse.ClickHouse, execute: Execute, rebuild: table_rebuild.Rebuild, where: str, *, all_rows: bool) -> None:
    """Add rows of the old table, or those that the new one lacks, without an INSERT: materialized views have seen them already."""
    copy, tail, source, target = rebuild.copy, rebuild.tail, rebuild.new.sql_name, rebuild.item.sql_name
    execute(f"DROP TABLE IF EXISTS {tail} SYNC")
    execute(rebuild.create_tail)
    execute(f"SYSTEM STOP MERGES {tail}")
    execute(copy.insert(tail, source, where) if all_rows else copy.insert_missing(tail, copy.missing_rows(source, target, where)))
    for (partition,) in client.rows(f"SELECT DISTINCT _partition_id FROM {tail} ORDER BY 1"):
        execute(f"ALTER TABLE {target} ATTACH PARTITION ID {sql_tokens.quote_string(partition)} FROM {tail}")
    execute(f"DROP TABLE {tail} SYNC")


def release(_client: clickhouse.ClickHouse, execute: Execute, rebuild: table_rebuild.Rebuild) -> str:
    """Let the tables merge again when the rebuild has failed; the next run goes on. Returns what could not be done, for the message."""
    still = []
    if rebuild.replicated:
        try:
            execute(rebuild.drop_lock)
        except clickhouse.ClickHouseError:
            still.append(f"; {rebuild.lock} may still keep other replicas waiting, until the next run")
    tables = (rebuild.item.sql_name, rebuild.new.sql_name)
    for table, what in itertools.product(tables, ("FETCHES", "MERGES") if rebuild.was_replicated else ("MERGES",)):
        try:
            execute(f"SYSTEM START {what} {table}")
        except clickhouse.ClickHouseError as error:
            if error.code != error_codes.UNKNOWN_TABLE:
                still.append(f"; {table} may still be stopped: SYSTEM START {what} {table}")
    return "".join(still)


OPERATIONS: t.Mapping[str, t.Callable[..., t.Optional[str]]] = {
    table_rebuild.ACQUIRE_LOCK: acquire_lock,
    table_rebuild.CHECK_REPLICAS: check_replicas,
    table_rebuild.SYNC_OLD_TABLE: sync_old_table,
    table_rebuild.VERIFY_COPY: verify_copy,
    table_rebuild.COPY_LATE_ROWS: copy_late_rows,
    table_rebuild.RELEASE: release,
}
