# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private: how the column types of PostgreSQL and MySQL are read into ClickHouse. May change at any time. Pure.

A column is read by an expression of the source, which brings it into a form that ClickHouse reads without a loss. ClickHouse replaces
dates that it cannot hold by 1970-01-01 without an error (seen on 26.7), so the source makes NULL of them.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

# What DateTime64 with six digits and Date32 can hold.
_FIRST_DAY, _LAST_DAY, _DAY_AFTER = "1900-01-01", "2299-12-31", "2300-01-01"
# Digits of the widest Decimal, and how many of them stand behind the point where the source sets no limit.
_DIGITS, _FRACTION = 76, 38
_POSTGRES: dict[str, str] = {
    "smallint": "Int16",
    "integer": "Int32",
    "bigint": "Int64",
    "oid": "UInt32",
    "boolean": "Bool",
    "real": "Float32",
    "double precision": "Float64",
    "uuid": "UUID",
    **dict.fromkeys(("text", "character varying", "character"), "String"),
}
_MYSQL_INTEGERS = {"tinyint": "Int8", "smallint": "Int16", "mediumint": "Int32", "int": "Int32", "bigint": "Int64"}
_MYSQL: dict[str, str] = {
    "float": "Float32",
    "double": "Float64",
    "year": "UInt16",
    "bit": "UInt64",
    "uuid": "UUID",
    **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "json"), "String"),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), "String"),
}
_MYSQL_SHAPES = ("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection")


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a column is read."""

    # An expression in the source's SQL.
    expression: str
    # The type that ClickHouse reads it as.
    raw: str
    # The type of the snapshot's column.
    type: str
    # What ClickHouse makes of what it has read.
    conversion: str = "{}"


def _nullable(name: str, nullable: bool) -> str:
    return f"Nullable({name})" if nullable else name


def _reading(expression: str, name: str, nullable: bool, stored: str = "") -> Reading:
    """C(stored) is the type of the snapshot's column, where it is another one."""
    inner = _nullable(name, nullable)
    if not stored:
        return Reading(expression, inner, inner)
    return Reading(expression, inner, stored.format(inner), f"CAST({{}}, '{stored.format(inner)}')")


def _decimal(precision: int, scale: int) -> str:
    """The Decimal that holds these digits, or a text if none does. PostgreSQL has negative scales, and scales above the precision."""
    digits = max(precision, scale) - min(scale, 0)
    return f"Decimal({digits}, {max(scale, 0)})" if digits <= _DIGITS else "String"


def postgres_reading(name: str, kind: str, nullable: bool, dimensions: int = 0, is_enum: bool = False) -> Reading:
    """How a column of PostgreSQL is read.

    :param name: the quoted column.
    :param kind: its type as C(format_type) prints it, that of a domain resolved.
    :param nullable: whether it may be NULL.
    :param dimensions: how many dimensions an array has.
    :param is_enum: whether the type is an enumeration.
    """
    base, _parenthesis, arguments = kind.removesuffix("[]").partition("(")
    digits = [int(number) for number in re.findall(r"-?\d+", arguments)]
    base = re.sub(r"\s+", " ", base + arguments.partition(")")[2]).strip()
    if kind.endswith("[]"):
        return _postgres_array(name, base, digits, dimensions)
    if base in _POSTGRES:
        return _reading(name, _POSTGRES[base], nullable)
    if base == "numeric":
        wanted = _decimal(digits[0], digits[1] if len(digits) > 1 else 0) if digits else f"Decimal({_DIGITS}, {_FRACTION})"
        return _reading(f"{name}::text" if wanted == "String" else name, wanted, nullable)
    if base == "money":
        return _reading(f"{name}::numeric", "Decimal(19, 2)", nullable)
    if base == "bytea":
        text = _nullable("String", nullable)
        return Reading(f"encode({name}, 'hex')", text, text, "unhex({})")
    if base == "date":
        bounds = f"{name} BETWEEN '{_FIRST_DAY}' AND '{_LAST_DAY}'"
        return _reading(f"CASE WHEN {bounds} THEN to_char({name}, 'YYYY-MM-DD') END", "Date32", True)
    if base in ("timestamp without time zone", "timestamp with time zone"):
        moment = f"({name} AT TIME ZONE 'UTC')" if base.endswith("with time zone") else name
        bounds = f"{moment} >= '{_FIRST_DAY}' AND {moment} < '{_DAY_AFTER}'"
        return _reading(f"CASE WHEN {bounds} THEN to_char({moment}, 'YYYY-MM-DD HH24:MI:SS.US') END", "DateTime64(6, 'UTC')", True)
    return _reading(f"{name}::text", "String", nullable, "LowCardinality({})" if is_enum else "")


def _postgres_array(name: str, base: str, digits: t.Sequence[int], dimensions: int) -> Reading:
    """Arrays of what ClickHouse reads by itself; all others as arrays of text. An array that is NULL is read as an empty one."""
    expression, element = name, _POSTGRES.get(base, "")
    if base == "numeric" and digits:
        element = _decimal(digits[0], digits[1] if len(digits) > 1 else 0)
    if not element or element == "String":
        expression, element = f"{name}::text[]", "String"
    kind = f"Nullable({element})"
    for _dimension in range(max(dimensions, 1)):
        kind = f"Array({kind})"
    return Reading(expression, kind, kind)


def mysql_reading(name: str, kind: str, nullable: bool) -> Reading:
    """How a column of MySQL or MariaDB is read.

    :param name: the quoted column.
    :param kind: its type, as C(COLUMN_TYPE) of C(information_schema.COLUMNS).
    :param nullable: whether it may be NULL.
    """
    found = re.match(r"([a-z0-9]+)\s*(?:\(([0-9, ]*)\))?(.*)", kind.lower(), re.DOTALL)
    base, arguments, rest = found.groups() if found else (kind.lower(), "", "")
    digits = [int(number) for number in re.findall(r"\d+", arguments or "")]
    if base in _MYSQL_INTEGERS:
        unsigned = "unsigned" in rest or "zerofill" in rest
        return _reading(name, ("U" if unsigned else "") + _MYSQL_INTEGERS[base], nullable)
    if base == "decimal":
        return _reading(name, _decimal(*digits) if len(digits) == 2 else "Decimal(10, 0)", nullable)
    if base in _MYSQL:
        return _reading(name, _MYSQL[base], nullable)
    if base in ("date", "datetime"):
        # Neither zero dates nor days that no month has.
        bounds = f"{name} >= '{_FIRST_DAY}' AND {name} < '{_DAY_AFTER}' AND DAY({name}) BETWEEN 1 AND DAY(LAST_DAY({name}))"
        wanted = "Date32" if base == "date" else f"DateTime64({digits[0] if digits else 0}, 'UTC')"
        return _reading(f"CASE WHEN {bounds} THEN {name} END", wanted, True)
    if base == "timestamp":
        # The moment, whatever the time zone of the session is.
        moment = f"TIMESTAMP'1970-01-01 00:00:00' + INTERVAL NULLIF(UNIX_TIMESTAMP({name}), 0) SECOND"
        return _reading(moment, f"DateTime64({digits[0] if digits else 0}, 'UTC')", True)
    if base in ("enum", "set"):
        return _reading(f"CAST({name} AS CHAR)", "String", nullable, "LowCardinality({})")
    return _reading(f"ST_AsText({name})" if base in _MYSQL_SHAPES else f"CAST({name} AS CHAR)", "String", nullable)
