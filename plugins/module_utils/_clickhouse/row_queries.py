# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rehearsal and a rebuild ask the server about rows of tables (private: may change at any time)."""

from __future__ import annotations

import contextlib
import time
import typing as t
from dataclasses import dataclass, field

from . import client as clickhouse
from . import declaration, sql_tokens
from . import rebuild as table_rebuild

# Characters of a value that a message shows.
_VALUE_AT_MOST = 40


def find_unconvertible_value(client: clickhouse.ClickHouse, rows: str, casts: t.Sequence[str]) -> str:
    """Why the rows' values cannot all be converted by these expressions: column, type and one value. Empty where they can."""
    try:
        client.rows(f"SELECT count() FROM {rows} WHERE NOT ignore({', '.join(casts)})")
    except clickhouse.ServerError as error:
        for cast in casts:
            try:
                client.rows(f"SELECT count() FROM {rows} WHERE NOT ignore({cast})")
            except clickhouse.ServerError as reason:
                return _describe_unconvertible(client, rows, cast, reason)
        return str(error)
    return ""


def _describe_unconvertible(client: clickhouse.ClickHouse, rows: str, cast: str, reason: clickhouse.ClickHouseError) -> str:
    """What is said of an expression that fails: with a value where one is found, else with the server's reason."""
    if not cast.startswith("_CAST("):
        return str(reason)
    column, kind = parse_cast(cast)
    query = f"SELECT toString({sql_tokens.quote_name(column)}) FROM {rows} WHERE {unconvertible_condition(cast)} LIMIT 1"
    with contextlib.suppress(clickhouse.ClickHouseError):  # not every type can be asked for
        for (value,) in client.rows(query):
            return unconvertible_value(column, kind, str(value))
    return f"column {column} cannot become {kind}: {reason}"


def unconvertible_value(column: str, kind: str, value: str) -> str:
    """What is said of a column whose values cannot all be converted to a type; C(value) is one of them."""
    more = "..." if len(value) > _VALUE_AT_MOST else ""
    return f"column {column} has values that are no {kind}, such as {value[:_VALUE_AT_MOST]!r}{more}"


def parse_cast(expression: str) -> tuple[str, str]:
    """Column and type of C(_CAST(column, 'type')), where the column may stand in a function."""
    column, kind = sql_tokens.split_arguments(expression)
    return sql_tokens.unquote((sql_tokens.split_arguments(column) or [column])[0]), sql_tokens.unquote(kind)


def unconvertible_condition(expression: str) -> str:
    """The condition for the values that C(_CAST(column, 'type')) does not take."""
    source, kind = sql_tokens.split_arguments(expression)
    enum = sql_tokens.unquote(kind).removeprefix("Nullable(")
    if enum.startswith("Enum"):
        members = [piece.rpartition("=") for piece in sql_tokens.split_arguments(enum)]
        values = [text for name, _sign, number in members for text in (name.strip(), sql_tokens.quote_string(number.strip()))]
        return f"toString({source}) NOT IN ({', '.join(values)})"
    return f"isNotNull({source}) AND isNull(accurateCastOrNull({source}, {kind}))"


@dataclass(frozen=True)
class Part:
    """An active part of a table: its partition, its first and its last block."""

    name: str
    partition: str
    first: int
    last: int


@dataclass(frozen=True)
class PartitionRows:
    """Rows of one partition: its ID in the table that was asked, their number and checksum."""

    partition: str = field(compare=False)
    rows: int
    checksum: int


def read_parts(client: clickhouse.ClickHouse, table: declaration.Declared) -> list[Part]:
    """Active parts of a table."""
    query = (
        "SELECT name, partition_id, min_block_number, max_block_number FROM system.parts"
        f" WHERE active AND {table.condition('table')}"
        " ORDER BY partition_id, min_block_number"
    )
    return [Part(*row) for row in client.rows(query)]


def last_blocks(parts: t.Iterable[Part]) -> dict[str, int]:
    """The last block of each partition. Pure."""
    found: dict[str, int] = {}
    for part in parts:
        found[part.partition] = max(part.last, found.get(part.partition, part.last))
    return found


def read_old_rows(client: clickhouse.ClickHouse, rebuild: table_rebuild.Rebuild, where: str = "") -> dict[str, PartitionRows]:
    """Rows of the old table, as they are copied, by the names of its partitions."""
    return _read_rows(client, rebuild, rebuild.item.sql_name, rebuild.copy.expressions, where)


def read_new_rows(client: clickhouse.ClickHouse, rebuild: table_rebuild.Rebuild) -> dict[str, PartitionRows]:
    """Rows of the new table, by the names of the old one's partitions."""
    return _read_rows(client, rebuild, rebuild.new.sql_name, rebuild.copy.names, "")


def _read_rows(
    client: clickhouse.ClickHouse, rebuild: table_rebuild.Rebuild, table: str, columns: t.Sequence[str], where: str
) -> dict[str, PartitionRows]:
    copy = rebuild.copy
    checksum = f"sum({copy.row_checksum(columns)})"
    query = f"SELECT {copy.unit} AS unit, any(_partition_id), count(), {checksum} FROM {table}{where} GROUP BY unit"
    return {name: PartitionRows(*rest) for name, *rest in client.rows(query)}


def read_comment(client: clickhouse.ClickHouse, table: declaration.Declared) -> str:
    """The comment of a table; empty where there is no table."""
    return "".join(comment for (comment,) in client.rows(f"SELECT comment FROM system.tables WHERE {table.condition('name')}"))


def has_mutations(client: clickhouse.ClickHouse, table: declaration.Declared) -> bool:
    """Whether mutations of a table are not done."""
    return _count(client, f"system.mutations WHERE {table.condition('table')} AND NOT is_done") > 0


def has_missing_rows(client: clickhouse.ClickHouse, rebuild: table_rebuild.Rebuild, where: str) -> bool:
    """Whether the new table lacks rows of the old one."""
    return _count(client, rebuild.copy.missing_rows(rebuild.item.sql_name, rebuild.new.sql_name, where)) > 0


def _count(client: clickhouse.ClickHouse, rows: str) -> int:
    """The number of rows of what stands behind C(FROM)."""
    return int(client.rows(f"SELECT count() FROM {rows}")[0][0])


def read_other_replicas(client: clickhouse.ClickHouse, rebuild: table_rebuild.Rebuild) -> list[str]:
    """Names of the new table's other replicas."""
    if not rebuild.replicated:
        return []
    query = (
        "SELECT arrayFilter(name -> name != replica_name, mapKeys(replica_is_active)) FROM system.replicas"
        f" WHERE {rebuild.new.condition('table')}"
    )
    return [name for (names,) in client.rows(query) for name in names]


def await_copies(client: clickhouse.ClickHouse, rebuild: table_rebuild.Rebuild) -> None:
    """Wait for copies of an interrupted run: the server goes on when the run that asked for them is gone."""
    head = sql_tokens.quote_string(f"INSERT INTO {rebuild.new.sql_name} (")
    _await_none(client, f"startsWith(query, {head})", "a copy of an interrupted run still goes on")


def await_inserts(client: clickhouse.ClickHouse) -> None:
    """Wait for INSERTs that run now: those that began before the exchange write into the old table."""
    running = [name for (name,) in client.rows("SELECT query_id FROM system.processes WHERE query_kind = 'Insert'")]
    if running:
        _await_none(client, f"query_id IN ({sql_tokens.quoted_list(running)})", "INSERTs that began before the exchange still run")


def _await_none(client: clickhouse.ClickHouse, condition: str, what: str) -> None:
    """Wait until no statement runs that meets a condition; raises C(ClickHouseError) when the connection's timeout has passed."""
    deadline = time.monotonic() + client.connection.timeout
    while _count(client, f"system.processes WHERE {condition}"):
        if time.monotonic() > deadline:
            raise clickhouse.ClickHouseError(f"{what}: run it again when they are done")
        time.sleep(0.2)
