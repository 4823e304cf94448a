# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private: Grafana's alert rules, built from the alerts in roles/grafana/files/alerts, and where they are sent. May change at any time.

Each of these files is one rule group: C(name), C(interval), C(component) (a label of its rules), and C(alerts) with these keys, all
required unless a default is named.

- C(uid): also the name of the runbook, docs/runbooks/<uid>.md.
- C(title), C(summary), C(description): texts. The last two are templates of Grafana; they use C({{ .Labels.host }}) instead of
  C($labels), because Grafana takes C($) in a provisioning file as the begin of an environment variable.
- C(severity): V(critical) (act now), V(warning) (act today), V(info) or V(heartbeat).
- C(sql): a query whose text columns become labels and whose only numeric column is the value. C(@name@) stands for a value of the
  platform, as an SQL literal: lists are arrays of strings.
- C(every_shard): whether the query fails while a shard does not answer (default V(false): it does without the rows of that shard, so that
  one shard that is down does not silence the alerts about everything else; the alert C(clickhouse-down) tells of its servers).
- C(window): the time range of the query, as a duration; C($__fromTime) and C($__toTime) are its ends.
- C(threshold): V({gt: 90}) or V({lt: 1}), when the alert fires.
- C(range): lowest and highest value that the threshold may be set to. Default: the threshold is fixed.
- C(unit): what the value is counted in.
- C(for): how long it has to last.
- C(no_data): state if the query returns no row (default V(OK)). C(error): state if the query fails (default V(KeepLast)).
"""

from __future__ import annotations

import functools
import pathlib
import re
import typing as t

import yaml
from ansible_collections.groundwork.observability.plugins.module_utils._durations import parse_duration

Alert = t.Mapping[str, t.Any]

FILES = pathlib.Path(__file__).parents[2] / "roles" / "grafana" / "files" / "alerts"
SEVERITIES = ("critical", "warning", "info", "heartbeat")
# How alerts of a severity are sent: a critical one soon and often, a heartbeat so often that its end is noticed within minutes.
_SENDING = {
    "critical": {"group_wait": "10s", "group_interval": "1m", "repeat_interval": "1h"},
    "warning": {"group_wait": "1m", "group_interval": "5m", "repeat_interval": "12h"},
    "info": {"group_wait": "5m", "group_interval": "1h", "repeat_interval": "7d"},
    "heartbeat": {"group_wait": "0s", "group_interval": "1m", "repeat_interval": "1m"},
}
# What may be set for an alert, by its uid.
SETTINGS = ("enabled", "for", "severity", "threshold")
_PLACEHOLDER = re.compile(r"@(\w+)@")


def seconds(duration: str) -> int:
    """The length of a duration such as V(5m), in the units s, m, h and d.

    :raises ValueError: for any other text.
    """
    length = parse_duration(duration, ("d", "h", "m", "s"))
    if length is None:
        raise ValueError(f"{duration} is no duration such as 30s, 5m, 2h or 1d")
    return length // 1000


def literal(value: t.Any) -> str:
    """A value as an SQL literal: a number, a string, or an array of strings.

    :param value: a number, text, or a list of texts.
    """
    if isinstance(value, (list, tuple)):
        return f"CAST([{', '.join(literal(str(item)) for item in value)}], 'Array(String)')"
    if isinstance(value, (int, float)):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def query(sql: str, values: t.Mapping[str, t.Any]) -> str:
    """The SQL of an alert with the values of the platform.

    :param sql: the query, with C(@name@) for each value.
    :param values: values by name.
    :raises ValueError: for a name without a value.
    """

    def one(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise ValueError(f"@{found[1]}@ has no value; there are {', '.join(sorted(values))}")
        return literal(values[found[1]])

    return _PLACEHOLDER.sub(one, sql).strip()


@functools.cache
def shipped() -> tuple[Alert, ...]:
    """All alerts of the collection, in the order of their files."""
    groups = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FILES.glob("*.yml"))]
    return tuple(alert for group in groups for alert in group["alerts"])


def settings_problem(settings: t.Mapping[str, t.Any], alerts: t.Iterable[Alert]) -> str:
    """What is wrong with the settings of alerts, empty where nothing is.

    :param settings: for each uid C(enabled), C(for), C(severity) and C(threshold), each optional.
    :param alerts: all alerts.
    """
    known = {alert["uid"]: alert for alert in alerts}
    for uid, chosen in settings.items():
        if uid not in known:
            return f"{uid}: no such alert; there are {', '.join(sorted(known))}"
        if not isinstance(chosen, dict):
            return f"{uid} has to be a dictionary of {', '.join(SETTINGS)}"
        wrong = next((text for name, value in chosen.items() if (text := _setting_problem(known[uid], str(name), value))), "")
        if wrong:
            return f"{uid}: {wrong}"
    return ""


def _setting_problem(alert: Alert, name: str, value: t.Any) -> str:
    if name not in SETTINGS:
        return f"{name}: no such setting; there are {', '.join(SETTINGS)}"
    if name == "enabled":
        return "" if isinstance(value, bool) else "enabled has to be true or false"
    if name == "severity":
        return "" if value in SEVERITIES else f"severity has to be one of {', '.join(SEVERITIES)}"
    if name == "for":
        length = parse_duration(str(value), ("d", "h", "m", "s"))
        return "" if length is not None and length <= 86_400_000 else "for has to be a duration of at most 24h, such as 30s, 5m or 2h"
    if "range" not in alert:
        return "its threshold is fixed"
    low, high = alert["range"]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        return f"threshold has to be a number from {low} to {high} ({alert['unit']})"
    return ""


def _statement(alert: Alert, values: t.Mapping[str, t.Any]) -> str:
    """The SQL of an alert with the values of the platform, and what becomes of servers that do not answer.

    Applies to system tables of all servers and to Distributed tables.
    """
    return f"{query(alert['sql'], values)}\nSETTINGS skip_unavailable_shards = {int(not alert.get('every_shard', False))}"


def _rule(
    alert: Alert, component: str, values: t.Mapping[str, t.Any], settings: t.Mapping[str, t.Any], datasource: str, runbooks: str
) -> dict[str, t.Any]:
    """One alert rule, in the form of Grafana's provisioning files.

    :param alert: the alert.
    :param component: what the alert is about.
    :param values: values of the platform that its query names.
    :param settings: what is set for this alert.
    :param datasource: uid of the ClickHouse data source.
    :param runbooks: URL of the folder with the runbooks.
    """
    ((kind, default),) = alert["threshold"].items()
    severity = settings.get("severity", alert["severity"])
    expression = {"type": "__expr__", "uid": "__expr__"}
    evaluator = {"type": kind, "params": [settings.get("threshold", default)]}
    models: dict[str, dict[str, t.Any]] = {
        # Source of the keys: grafana/clickhouse-datasource, src/types/sql.ts; format 1 is a table.
        "A": {"editorType": "sql", "queryType": "table", "format": 1, "rawSql": _statement(alert, values)},
        # Values that are no numbers are left out.
        "B": {"datasource": expression, "type": "reduce", "expression": "A", "reducer": "last", "settings": {"mode": "dropNN"}},
        "C": {"datasource": expression, "type": "threshold", "expression": "B", "conditions": [{"evaluator": evaluator}]},
    }
    return {
        "uid": alert["uid"],
        "title": alert["title"],
        "condition": "C",
        "data": [
            {
                "refId": name,
                "datasourceUid": datasource if name == "A" else "__expr__",
                "relativeTimeRange": {"from": seconds(alert["window"]), "to": 0},
                "model": {**model, "refId": name},
            }
            for name, model in models.items()
        ],
        "noDataState": alert.get("no_data", "OK"),
        "execErrState": alert.get("error", "KeepLast"),
        "for": settings.get("for", alert["for"]),
        "labels": {"severity": severity, "component": component},
        "annotations": {
            "summary": alert["summary"].strip(),
            "description": alert["description"].strip(),
            "runbook_url": f"{runbooks.rstrip('/')}/{alert['uid']}.md",
        },
        "isPaused": not settings.get("enabled", True),
    }


def rule_groups(
    groups: t.Iterable[Alert],
    values: t.Mapping[str, t.Any],
    settings: t.Mapping[str, t.Any],
    datasource: str,
    folder: str,
    runbooks: str,
) -> list[dict[str, t.Any]]:
    """The rule groups, in the form of Grafana's provisioning files.

    :param groups: the contents of the files with alerts.
    :param values: values of the platform that queries name.
    :param settings: what is set for alerts, by uid.
    :param datasource: uid of the ClickHouse data source.
    :param folder: title of the folder that the rules are in.
    :param runbooks: URL of the folder with the runbooks.
    :raises ValueError: for settings of an alert that does not exist, or that it does not take.
    """
    groups = list(groups)
    wrong = settings_problem(settings, [alert for group in groups for alert in group["alerts"]])
    if wrong:
        raise ValueError(wrong)
    return [
        {
            "orgId": 1,
            "name": group["name"],
            "folder": folder,
            "interval": group["interval"],
            "rules": [
                _rule(alert, group["component"], values, settings.get(alert["uid"], {}), datasource, runbooks) for alert in group["alerts"]
            ],
        }
        for group in groups
    ]


def receivers_problem(receivers: t.Mapping[str, t.Any]) -> str:
    """What is wrong with the receivers of alerts, empty where nothing is.

    :param receivers: names of contact points by severity, and C(default), the name of one; empty: there are none.
    """
    unknown = sorted(str(name) for name in receivers if name not in (*SEVERITIES, "default"))
    if unknown:
        return f"{', '.join(unknown)}: no such severity; there are {', '.join(SEVERITIES)}, and default"
    if receivers and not (isinstance(receivers.get("default"), str) and receivers["default"]):
        return "default is missing: the name of the contact point that gets what no other gets"
    for severity in SEVERITIES:
        names = receivers.get(severity, ["x"])
        if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
            return f"{severity} has to be a list of names of contact points, at least one"
    return ""


def policy_tree(receivers: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The tree of notification policies that sends alerts by their severity, as the module grafana_alerting takes it.

    :param receivers: names of contact points by severity, and C(default), the name of one. Empty: there is no tree.
    :raises ValueError: the receivers are wrong.
    """
    wrong = receivers_problem(receivers)
    if wrong:
        raise ValueError(wrong)
    if not receivers:
        return {}
    routes: list[dict[str, t.Any]] = [
        {
            "receiver": name,
            "object_matchers": [["severity", "=", severity]],
            # All contact points of a severity get its alerts.
            "continue": name != receivers[severity][-1],
            **_SENDING[severity],
        }
        for severity in SEVERITIES
        for name in receivers.get(severity, ())
    ]
    return {"receiver": receivers["default"], "group_by": ["grafana_folder", "alertname"], **_SENDING["warning"], "routes": routes}
