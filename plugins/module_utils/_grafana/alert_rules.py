# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alert rules: the form in which two are compared, and what cannot be a rule (private: may change at any time). Pure."""

from __future__ import annotations

import re
import typing as t

from .client import GrafanaError
from .durations import canonical_duration
from .kind import Value, check_uid

# Uids of what computes from other queries. The number is what it was called before version 9.
EXPRESSIONS = ("__expr__", "-100")
# What Grafana adds to each query.
_MODEL = {"intervalMs": 1000, "maxDataPoints": 43200}
_QUERY = ("refId", "queryType", "relativeTimeRange", "datasourceUid", "model")
_WAITS = ("for", "keep_firing_for")
_OPTIONAL = ("annotations", "labels", "notification_settings", "record", "missingSeriesEvalsToResolve")
# A recording rule has none of these, whatever it was sent with.
_NOT_RECORDED = ("condition", "noDataState", "execErrState", *_WAITS, "notification_settings", "missingSeriesEvalsToResolve")
# Names of the API, by option.
OPTIONS = {
    "uid": "uid",
    "title": "title",
    "condition": "condition",
    "data": "data",
    "no_data_state": "noDataState",
    "exec_err_state": "execErrState",
    "for": "for",
    "keep_firing_for": "keep_firing_for",
    "annotations": "annotations",
    "labels": "labels",
    "is_paused": "isPaused",
    "notification_settings": "notification_settings",
    "record": "record",
    "missing_series_evals_to_resolve": "missingSeriesEvalsToResolve",
}


def canonical_rule(raw: t.Mapping[str, t.Any], where: str) -> Value:
    """A rule of the API in the form in which both sides are compared. Raises C(GrafanaError) for what is no duration."""
    rule: Value = {key: raw.get(key) or "" for key in ("uid", "title", "condition", "noDataState", "execErrState")}
    rule["data"] = [_query(query) for query in raw.get("data") or ()]
    rule["isPaused"] = bool(raw.get("isPaused"))
    rule["for"] = canonical_duration(raw.get("for") or "0s", f"{where}: for")
    if raw.get("keep_firing_for"):
        rule["keep_firing_for"] = canonical_duration(raw["keep_firing_for"], f"{where}: keep_firing_for")
        if rule["keep_firing_for"] == "0s":
            del rule["keep_firing_for"]
    for key in _OPTIONAL:
        if raw.get(key):
            rule[key] = raw[key]
    for key in ("annotations", "labels"):
        if key in rule:
            rule[key] = {str(name): str(text) for name, text in rule[key].items()}
    if "notification_settings" in rule:
        rule["notification_settings"] = _notification(rule["notification_settings"], f"{where}: notification_settings")
    if "record" in rule:
        rule["record"] = {key: part for key, part in rule["record"].items() if part}
        rule = {key: part for key, part in rule.items() if key not in _NOT_RECORDED}
    return rule


def _query(raw: Value) -> Value:
    time_range = raw.get("relativeTimeRange") or {}
    return {
        "refId": raw.get("refId") or "",
        "queryType": raw.get("queryType") or "",
        "datasourceUid": raw.get("datasourceUid") or "",
        "relativeTimeRange": {key: time_range.get(key) or 0 for key in ("from", "to")},
        "model": {**_MODEL, **(raw.get("model") or {})},
    }


def _notification(raw: Value, where: str) -> Value:
    waits = ("group_wait", "group_interval", "repeat_interval")
    return {key: canonical_duration(part, f"{where}: {key}") if key in waits else part for key, part in raw.items() if part}


def declared_rule(options: t.Mapping[str, t.Any], where: str) -> Value:
    """A declared rule in the same form. Raises C(GrafanaError) for what cannot be a rule."""
    check_uid(options["uid"], where)
    where = f"{where}: rule {options['uid']!r}"
    title = (options["title"] or "").strip()
    if not title or len(title) > 190 or any(ord(character) < 32 for character in title):
        raise GrafanaError(f"{where}: title must have 1 to 190 characters, and no control characters")
    if not options["data"]:
        raise GrafanaError(f"{where}: data is missing: a rule needs at least one query")
    for position, query in enumerate(options["data"]):
        _check_query(query, f"{where}: data[{position}]")
    _check_references(options, where)
    settings = options.get("notification_settings")
    if settings and not settings.get("receiver"):
        raise GrafanaError(f"{where}: notification_settings: receiver is missing")
    if options.get("record") and not (options["record"].get("metric") and options["record"].get("from")):
        raise GrafanaError(f"{where}: record must have metric and from")
    given = {name: options.get(option) for option, name in OPTIONS.items()}
    return canonical_rule({**given, "title": title}, where)


def _check_query(query: Value, where: str) -> None:
    unknown = sorted(str(key) for key in query if key not in _QUERY)
    if unknown:
        raise GrafanaError(f"{where}: a query has no {', '.join(unknown)}; it has {', '.join(_QUERY)}")
    for key in ("refId", "datasourceUid"):
        if not isinstance(query.get(key), str) or not query[key].strip():
            raise GrafanaError(f"{where}: {key} must be a text that is not empty")
    if not isinstance(query.get("model") or {}, dict):
        raise GrafanaError(f"{where}: model must be a dictionary")
    time_range = query.get("relativeTimeRange") or {}
    start, end = (time_range.get(key) or 0 for key in ("from", "to")) if isinstance(time_range, dict) else (None, None)
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= end <= start:
        raise GrafanaError(f"{where}: relativeTimeRange must have from and to in seconds before now, and from must not be less than to")


def _check_references(options: t.Mapping[str, t.Any], where: str) -> None:
    """Raises C(GrafanaError) where the condition or an expression names no query, or expressions need each other."""
    queries = {query["refId"]: _references(query) for query in options["data"]}
    if len(queries) != len(options["data"]):
        raise GrafanaError(f"{where}: data has two queries with the same refId")
    recorded = (options.get("record") or {}).get("from")
    for name, what in ((options["condition"], "condition"), (recorded, "record.from")):
        if name and name not in queries:
            raise GrafanaError(f"{where}: {what} {name!r} is no refId of data, which are {', '.join(sorted(queries))}")
    if not options["condition"] and not options.get("record"):
        raise GrafanaError(f"{where}: condition is missing: the refId of the query that decides, one of {', '.join(sorted(queries))}")
    for name, needed in queries.items():
        for other in sorted(needed - set(queries)):
            raise GrafanaError(f"{where}: expression {name!r} refers to {other!r}, which is no refId of data")
    done: set[str] = set()
    while len(done) < len(queries):
        possible = {name for name, needed in queries.items() if name not in done and needed <= done}
        if not possible:
            raise GrafanaError(f"{where}: expressions refer to each other in a circle: {', '.join(sorted(set(queries) - done))}")
        done |= possible


def _references(query: Value) -> set[str]:
    """The queries that an expression computes from."""
    model = query.get("model") or {}
    if query["datasourceUid"] not in EXPRESSIONS:
        return set()
    kind, expression = model.get("type"), str(model.get("expression") or "")
    if kind == "math":
        return {braced or plain for braced, plain in re.findall(r"\$(?:\{([^}]+)\}|(\w+))", expression)}
    if kind in ("reduce", "resample", "threshold"):
        name = expression.strip().lstrip("$").strip("{}")
        return {name} if name else set()
    if kind == "classic_conditions":
        conditions = model.get("conditions") or ()
        return {str(part) for condition in conditions for part in ((condition.get("query") or {}).get("params") or ())[:1]}
    return set()


def datasources_of(rule: t.Mapping[str, t.Any]) -> set[str]:
    """Uids of the data sources that a rule asks."""
    return {query["datasourceUid"] for query in rule["data"]} - set(EXPRESSIONS)


def written_rule(rule: Value, folder: str, group: str) -> Value:
    """A rule as it is sent. Grafana wants states also for a recording rule, and then forgets them."""
    states = {"noDataState": "NoData", "execErrState": "Error", "for": "0s", "condition": ""} if "record" in rule else {}
    return {**states, **rule, "folderUID": folder, "ruleGroup": group}
