# GNU General Public License v3.0+ (see LICENSE)
"""Expands the macros of the data source plugins for ClickHouse, PostgreSQL and MySQL as their backends do.

Source: grafana/clickhouse-datasource, pkg/macros/macros.go, of 4.18.0 and of 4.20.0. Only the macros that mean the same in both
are known here; every other one is refused, so that no shipped query depends on the version of the plugin. What the plugin's code made
of these macros was recorded for 4.18.0, and this function gave the same.

Sources for PostgreSQL and MySQL: grafana/grafana, pkg/tsdb, the macros.go of each and sql_engine.go. Nothing of them was recorded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

# What Grafana has as the value of a dashboard variable that stands for all values.
ALL = "$__all"
MACRO = re.compile(r"\$__(\w+)")


class MacroError(Exception):
    """A macro that is unknown, or that has another number of arguments."""


def expand(sql: str, start: datetime, end: datetime, interval_ms: int = 60000) -> str:
    """The SQL that reaches ClickHouse for a query over a time range.

    :param sql: the query with its macros.
    :param start: begin of the range, with a time zone.
    :param end: end of the range, with a time zone.
    :param interval_ms: Grafana's interval in milliseconds.
    :raises MacroError: for a macro that the two versions of the plugin do not share, or a wrong number of arguments.
    """
    made, rest = "", sql
    while found := MACRO.search(rest):
        made += rest[: found.start()]
        arguments, length = _arguments(rest[found.end() :])
        made += _one(found[1], arguments, start, end, interval_ms)
        rest = rest[found.end() + length :]
    return made + rest


def _arguments(text: str) -> tuple[list[str], int]:
    """What stands in the parentheses that a text begins with, split at commas outside of inner parentheses, and the length of it all."""
    if not text.startswith("("):
        return [], 0
    found, depth, begin = [], 0, 1
    for place, letter in enumerate(text):
        if letter == "(":
            depth += 1
        elif letter == ")":
            depth -= 1
        if depth == 0 or (depth == 1 and letter == ","):
            found.append(text[begin:place].strip())
            begin = place + 1
        if depth == 0:
            return found, place + 1
    raise MacroError(f"a parenthesis is not closed: {text[:60]}")


def _one(name: str, arguments: list[str], start: datetime, end: datetime, interval_ms: int) -> str:
    times = (start, end)
    seconds = [f"toDateTime({int(when.timestamp())})" for when in times]
    millis = [f"fromUnixTimestamp64Milli({round(when.timestamp() * 1000)})" for when in times]
    days = [f"toDate('{when.astimezone(UTC):%Y-%m-%d}')" for when in times]
    step, step_ms = max(interval_ms // 1000, 1), max(interval_ms, 1)
    forms = {
        "fromTime": seconds[0],
        "toTime": seconds[1],
        "fromTime_ms": millis[0],
        "toTime_ms": millis[1],
        "interval_s": str(step),
        "timeFilter": _between("{0}", seconds),
        "timeFilter_ms": _between("{0}", millis),
        "dateFilter": _between("{0}", days),
        "dateTimeFilter": f"({_between('{0}', days)}) AND ({_between('{1}', seconds)})",
        "timeInterval": f"toStartOfInterval(toDateTime({{0}}), INTERVAL {step} second)",
        "timeInterval_ms": f"toStartOfInterval(toDateTime64({{0}}, 3), INTERVAL {step_ms} millisecond)",
    }
    if name not in forms:
        raise MacroError(f"$__{name} is unknown, or does not mean the same in all versions of the plugin")
    wanted = 2 if "{1}" in forms[name] else 1 if "{0}" in forms[name] else 0
    given = [argument for argument in arguments if argument]
    if len(given) != wanted:
        raise MacroError(f"$__{name} takes {wanted} arguments, not {len(given)}")
    return forms[name].format(*given)


def _between(column: str, times: list[str]) -> str:
    return f"{column} >= {times[0]} AND {column} <= {times[1]}"


# An argument has no parentheses: these plugins end it at the first one.
PRODUCT_MACRO = re.compile(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def expand_product(sql: str, plugin: str, start: datetime, end: datetime, interval_ms: int = 60000) -> str:
    """The SQL that reaches a product's database.

    :param plugin: C(grafana-postgresql-datasource), without TimescaleDB, or C(mysql).
    :param interval_ms: Grafana's interval in milliseconds, whole seconds.
    :raises MacroError: for a macro that no panel needs so far, or wrong arguments of one.
    """
    postgres = plugin == "grafana-postgresql-datasource"
    if postgres:
        times = [f"'{when.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}'" for when in (start, end)]
        grouped = "floor(extract(epoch from {0})/{1})*{1}"
    else:
        times = [f"FROM_UNIXTIME({int(when.timestamp())})" for when in (start, end)]
        grouped = "UNIX_TIMESTAMP({0}) DIV {1} * {1}"
    size, unit = next((size, unit) for unit, size in reversed(UNITS.items()) if interval_ms // 1000 >= size)
    sql = sql.replace("$__interval", f"{interval_ms // 1000 // size}{unit}")

    def written(match: re.Match[str]) -> str:
        name, arguments = match[1], [argument.strip(" ") for argument in match[2].split(",")]
        if name in ("__timeFrom", "__timeTo"):
            return times[name == "__timeTo"]
        if name == "__timeFilter" and arguments[0]:
            return f"{arguments[0]} BETWEEN {times[0]} AND {times[1]}"
        if name not in ("__timeGroup", "__timeGroupAlias") or len(arguments) != 2:
            raise MacroError(f"{match[0]} is unknown, or has wrong arguments")
        length = re.fullmatch(r"(\d+)([smhd])", arguments[1].strip("'\""))
        if not length:
            raise MacroError(f"{arguments[1]} is no interval")
        # As before Grafana 5.3, PostgreSQL's gives the column its name where a comma follows.
        alias = name == "__timeGroupAlias" or (postgres and sql[match.end() :].startswith(","))
        return grouped.format(arguments[0], int(length[1]) * UNITS[length[2]]) + (' AS "time"' if alias else "")

    return PRODUCT_MACRO.sub(written, sql)


def with_variables(sql: str, values: Mapping[str, Sequence[str]]) -> str:
    """The SQL of a panel in which dashboard variables have values, as the browser makes it before the backend expands macros.

    Source: applyConditionalAll of src/data/CHDatasource.ts, and Grafana's format C(singlequote) of variables.

    :param sql: the query with C(${name}), C(${name:singlequote}) and C($__conditionalAll(condition, $name)).
    :param values: name -> the chosen values, [ALL], or [""] for a text box that is empty.
    """
    macro = "$__conditionalAll"
    while (found := sql.rfind(f"{macro}(")) >= 0:
        begin = found + len(macro)
        (condition, variable), length = _arguments(sql[begin:])
        everything = list(values[variable.strip("${}")]) in ([ALL], [""])
        sql = sql[:found] + ("1=1" if everything else condition) + sql[begin + length :]

    def written(match: re.Match[str]) -> str:
        chosen = values[match["name"]]
        if match["format"] == ":singlequote":
            return ",".join("'" + value.replace("'", "\\'") + "'" for value in chosen)
        if match["format"] or len(chosen) != 1:
            raise MacroError(f"{match[0]} cannot be written into SQL")
        return chosen[0]

    return re.sub(r"\$\{(?P<name>(?!__)\w+)(?P<format>:?\w*)\}", written, sql)
