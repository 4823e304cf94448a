# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private: how long the telemetry tables keep rows, as TTL clauses and as a view that compares them with the oldest rows.

A retention is a dictionary with an entry for each signal (C(logs), C(traces), C(metrics)) and each roll-up that differs from the default.
Keys of an entry:

- C(keep): how long rows are kept, a duration such as V(30d), or V(forever).
- C(cold_after), for signals: when rows move to the cold volume. Default: never. Parts are moved whole, and those of roll-ups have up to a
  month.
- C(rules), for signals: rows that are kept for a shorter time, each with C(where) (an SQL condition) and C(keep).
"""

from __future__ import annotations

import typing as t

from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.sql_tokens import quote_string
from ansible_collections.groundwork.observability.plugins.module_utils._durations import parse_duration, sql_interval

Retention = t.Mapping[str, t.Any]


class Kind(t.NamedTuple):
    """A signal or roll-up: how long it is kept by default, and its tables with their time as C(DateTime).

    Rules hold for the tables in C(ruled).
    """

    keep: str
    tables: t.Mapping[str, str]
    ruled: tuple[str, ...] = ()


_METRICS = tuple(f"otel_metrics_{kind}_local" for kind in ("gauge", "sum", "histogram", "exponential_histogram", "summary"))
KINDS: t.Mapping[str, Kind] = {
    "logs": Kind("14d", {"otel_logs_local": "toDateTime(Timestamp)"}, ("otel_logs_local",)),
    "traces": Kind(
        "7d", {"otel_traces_local": "toDateTime(Timestamp)", "otel_traces_trace_id_ts_local": "Start"}, ("otel_traces_local",)
    ),
    "metrics": Kind("30d", dict.fromkeys(_METRICS, "TimeUnix"), _METRICS),
    "logs_volume_1m": Kind("400d", {"logs_volume_1m_local": "Minute"}),
    "traces_red_1m": Kind("400d", {"traces_red_1m_local": "Minute"}),
    "metrics_gauge_5m": Kind("400d", {"metrics_gauge_5m_local": "T"}),
}
FOREVER = "forever"
# 50 years. A DateTime ends in 2106.
_LONGEST = 18250 * 86400
_KEYS = ("keep", "cold_after", "rules")


def seconds(duration: str) -> int:
    """The length of a duration such as V(12h) or V(30d); V(forever) is 0.

    :raises ValueError: for any other text, and for more than 50 years.
    """
    length = (parse_duration(duration, ("d", "h")) or 0) // 1000
    if duration != FOREVER and not 0 < length <= _LONGEST:
        raise ValueError(f"{duration!r} is no duration such as 12h or 30d, of at most 18250d")
    return length


def _interval(duration: str) -> str:
    return f"INTERVAL {sql_interval(seconds(duration))}"


def retention_problem(retention: Retention) -> str:
    """What is wrong with a retention, empty where nothing is.

    :param retention: what differs from the defaults, see above.
    """
    for name, entry in retention.items():
        if name not in KINDS:
            return f"{name}: no such signal or roll-up; there are {', '.join(KINDS)}"
        if not isinstance(entry, t.Mapping):
            return f"{name} has to be a dictionary of {', '.join(_KEYS)}"
        unknown = [str(key) for key in entry if key not in _KEYS]
        if unknown:
            return f"{name} has {unknown[0]}: no such key; there are {', '.join(_KEYS)}"
        wrong = _entry_problem(KINDS[name], entry)
        if wrong:
            return f"{name}: {wrong}"
    return ""


def _entry_problem(kind: Kind, entry: Retention) -> str:
    keep = str(entry.get("keep", kind.keep))
    if not kind.ruled and set(entry) - {"keep"}:
        return "a roll-up has nothing but keep"
    try:
        length = seconds(keep)
        if "cold_after" in entry and not 0 < seconds(str(entry["cold_after"])) < (length or _LONGEST + 1):
            return f"cold_after is {entry['cold_after']}, and has to be shorter than keep, which is {keep}"
    except ValueError as error:
        return str(error)
    rules = entry.get("rules", [])
    if not isinstance(rules, list):
        return "rules has to be a list"
    return next((f"rules[{number}]: {wrong}" for number, rule in enumerate(rules) if (wrong := _rule_problem(rule, keep))), "")


def _rule_problem(rule: t.Any, keep: str) -> str:
    if not isinstance(rule, t.Mapping) or sorted(map(str, rule)) != ["keep", "where"]:
        return "has to be a dictionary of where and keep"
    where = rule["where"]
    if not isinstance(where, str) or not where.strip() or not where.isprintable():
        return "where has to be an SQL condition on one line"
    try:
        length = seconds(str(rule["keep"]))
    except ValueError as error:
        return str(error)
    if not length or length > (seconds(keep) or _LONGEST):
        return f"keep is {rule['keep']}, and may not be longer than keep of all rows, which is {keep}"
    return ""


def complete(retention: Retention) -> dict[str, dict[str, t.Any]]:
    """The retention of every signal and roll-up, with the defaults.

    :raises ValueError: the retention is wrong.
    """
    wrong = retention_problem(retention)
    if wrong:
        raise ValueError(wrong)
    return {name: {"keep": kind.keep, "rules": [], **retention.get(name, {})} for name, kind in KINDS.items()}


def clauses(retention: Retention, policy: str, cold: str) -> dict[str, dict[str, str]]:
    """For each table its C(ttl) (with the word TTL, empty without any), and C(settings) that begin with a comma or are empty.

    :param retention: what differs from the defaults.
    :param policy: the storage policy, empty for the server's default.
    :param cold: the volume that rows move to.
    :raises ValueError: the retention is wrong.
    """
    found = {}
    for name, entry in complete(retention).items():
        for table, time in KINDS[name].tables.items():
            parts = []
            if "cold_after" in entry:
                parts.append(f"{time} + {_interval(entry['cold_after'])} TO VOLUME '{cold}'")
            if entry["keep"] != FOREVER:
                parts.append(f"{time} + {_interval(entry['keep'])}")
            rules = entry["rules"] if table in KINDS[name].ruled else []
            parts += [f"{time} + {_interval(rule['keep'])} DELETE WHERE ({rule['where']})" for rule in rules]
            settings = f", storage_policy = '{policy}'" if policy else ""
            # Whole parts are dropped at no cost. Rows that a rule deletes are among others, and their parts have to be rewritten.
            if KINDS[name].ruled:
                settings += f", ttl_only_drop_parts = {0 if rules else 1}"
            found[table] = {"ttl": f"TTL {', '.join(parts)}" if parts else "", "settings": settings}
    return found


def view(retention: Retention, database: str, policy: str, cold: str) -> str:
    """The query of the view that compares the oldest rows of this server with the retention.

    A row for each table and volume, and one for each table and rule. Columns: C(table), C(volume), C(rule), C(keep) in seconds (0: for
    ever), C(oldest), C(rows), C(bytes), and C(overdue), the seconds that the oldest row is past C(keep).

    :param retention: what differs from the defaults.
    :param database: where the tables are.
    :param policy: the storage policy, empty for the server's default.
    :param cold: the volume that rows move to.
    :raises ValueError: the retention is wrong.
    """
    entries = complete(retention)
    limits, selects = [], []
    for name, entry in entries.items():
        keep, cold_after = seconds(entry["keep"]), seconds(entry.get("cold_after", FOREVER))
        for table, time in KINDS[name].tables.items():
            limits.append(f"('{table}', {keep}, {cold_after})")
            for rule in entry["rules"] if table in KINDS[name].ruled else []:
                length, where = seconds(rule["keep"]), rule["where"]
                # Only rows past their time are read: the partition key leaves out the other days.
                selects.append(
                    f"SELECT '{table}' AS table, 'all volumes' AS volume, {quote_string(where)} AS rule, toUInt32({length}) AS keep, "
                    f"if(count() = 0, now(), min({time})) AS oldest, count() AS rows, toUInt64(0) AS bytes, "
                    f"toUInt32(if(count() = 0, 0, dateDiff('second', oldest, now()) - {length})) AS overdue "
                    f"FROM {database}.{table} WHERE ({where}) AND {time} < now() - {length}"
                )
    parts = (
        "SELECT table, volume, 'all rows' AS rule, any(limit) AS keep, min(min_time) AS oldest, sum(parts.rows) AS rows, "
        "sum(bytes_on_disk) AS bytes, toUInt32(if(keep = 0, 0, greatest(dateDiff('second', oldest, now()) - keep, 0))) AS overdue "
        "FROM (SELECT table, rows, bytes_on_disk, min_time, volume, "
        f"if(cold_after > 0 AND volume != '{cold}', cold_after, keep_all) AS limit "
        "FROM system.parts "
        "INNER JOIN (SELECT volume_name AS volume, arrayJoin(disks) AS disk_name FROM system.storage_policies "
        f"WHERE policy_name = '{policy or 'default'}') AS volumes USING (disk_name) "
        f"INNER JOIN (SELECT * FROM values('table String, keep_all UInt32, cold_after UInt32', {', '.join(limits)})) AS limits "
        "USING (table) "
        f"WHERE active AND rows > 0 AND database = '{database}') AS parts "
        "GROUP BY table, volume"
    )
    return " UNION ALL ".join([parts, *selects])
