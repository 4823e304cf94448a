# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which values of a column cannot be converted to another type (private: may change at any time)."""

from __future__ import annotations

import contextlib
import typing as t

from .client import ClickHouse, ClickHouseError, ConnectionFailed
from .tokens import quote_name, quote_string, split_arguments, unquote

# Characters of a value that a message shows.
_VALUE_AT_MOST = 40


def find_unconvertible_value(client: ClickHouse, rows: str, casts: t.Sequence[str]) -> str:
    """Why the rows' values cannot all be converted by these expressions: column, type and one value. Empty where they can."""
    try:
        client.rows(f"SELECT count() FROM {rows} WHERE NOT ignore({', '.join(casts)})")
    except ConnectionFailed:
        raise
    except ClickHouseError as error:
        for cast in casts:
            try:
                client.rows(f"SELECT count() FROM {rows} WHERE NOT ignore({cast})")
            except ConnectionFailed:
                raise
            except ClickHouseError as reason:
                return _describe_unconvertible(client, rows, cast, reason)
        return str(error)
    return ""


def _describe_unconvertible(client: ClickHouse, rows: str, cast: str, reason: ClickHouseError) -> str:
    """What is said of an expression that fails: with a value where one is found, else with the server's reason."""
    if not cast.startswith("_CAST("):
        return str(reason)
    column, kind = parse_cast(cast)
    query = f"SELECT toString({quote_name(column)}) FROM {rows} WHERE {unconvertible_condition(cast)} LIMIT 1"
    with contextlib.suppress(ClickHouseError):  # not every type can be asked for
        for (value,) in client.rows(query):
            return unconvertible_value(column, kind, str(value))
    return f"column {column} cannot become {kind}: {reason}"


def unconvertible_value(column: str, kind: str, value: str) -> str:
    """What is said of a column whose values cannot all be converted to a type; C(value) is one of them."""
    more = "..." if len(value) > _VALUE_AT_MOST else ""
    return f"column {column} has values that are no {kind}, such as {value[:_VALUE_AT_MOST]!r}{more}"


def parse_cast(expression: str) -> tuple[str, str]:
    """Column and type of C(_CAST(column, 'type')), where the column may stand in a function."""
    column, kind = split_arguments(expression)
    return unquote((split_arguments(column) or [column])[0]), unquote(kind)


def unconvertible_condition(expression: str) -> str:
    """The condition for the values that C(_CAST(column, 'type')) does not take."""
    source, kind = split_arguments(expression)
    enum = unquote(kind).removeprefix("Nullable(")
    if enum.startswith("Enum"):
        members = [piece.rpartition("=") for piece in split_arguments(enum)]
        values = [text for name, _sign, number in members for text in (name.strip(), quote_string(number.strip()))]
        return f"toString({source}) NOT IN ({', '.join(values)})"
    return f"isNotNull({source}) AND isNull(accurateCastOrNull({source}, {kind}))"
