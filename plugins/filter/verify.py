# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters of role verify: queries for the records of a probe and for what is kept too long, and the report of what arrived where."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.groundwork.observability.plugins.filter.collector_health import collector_health
from ansible_collections.groundwork.observability.plugins.plugin_utils._across import INSTANCES

# What a signal's record is called, and what the collector calls it in its own metrics.
SIGNALS = {"logs": ("log", "log_records"), "traces": ("trace", "spans"), "metrics": ("metric", "metric_points")}
SAMPLE = re.compile(r"^(\w+?)(?:_total)?(?:\{(.*)\})? (\S+)", re.MULTILINE)

# As in the alert telemetry-retention: the rows of a day expire together, and merges for TTLs run every four hours.
LATE_HOURS = 48
TABLES = {
    "logs": ("otel_logs", "Timestamp"),
    "traces": ("otel_traces", "Timestamp"),
    "metrics": ("otel_metrics_gauge", "TimeUnix"),
}
REFUSAL = re.compile(r'"error": "((?:[^"\\]|\\.)*)"')  # in a line of the collector's log

Observations = dict[str, t.Any]


def _sum(text: str, name: str, label: str = "") -> float:
    """The sum of a metric's samples that have the label, in Prometheus' text format."""
    return sum(float(value) for found, labels, value in SAMPLE.findall(text) if found == name and label in labels)


def _queued(text: str, signal: str) -> bool:
    return _sum(text, "otelcol_exporter_queue_size", f'data_type="{signal}"') > 0


def _lost_by_agent(text: str, signal: str) -> int:
    """Records that an agent lost since its start: the gateway refused them for good, or its own queue was full."""
    kind = SIGNALS[signal][1]
    return int(sum(_sum(text, f"otelcol_exporter_{what}_failed_{kind}") for what in ("send", "enqueue")))


def _lost_by_gateway(text: str, signal: str) -> int:
    """Records that a gateway lost since its start.

    Only its disk queues can lose any: what fails before them is refused and stays with the agent, what fails behind them is tried again.
    """
    return int(_sum(text, f"otelcol_exporter_send_failed_{SIGNALS[signal][1]}", 'exporter="otlp_http/'))


def _because(collector: t.Mapping[str, t.Any]) -> str:
    return f": {collector['refusal']}" if collector.get("refusal") else ""


def _stored(observed: Observations, signal: str) -> dict[t.Any, dict[str, int]]:
    """Rows by shard and node, of the nodes that answered."""
    shards: dict[t.Any, dict[str, int]] = {}
    for name, node in sorted(observed["nodes"].items()):
        rows = shards.setdefault(node["shard"], {})
        if not node.get("error"):
            rows[name] = int(node["rows"][signal])
    return shards


def _place(observed: Observations, name: str) -> str:
    node = observed["nodes"][name]
    return f"{name} (shard {node['shard']}, replica {node['replica']})"


def _silent(observed: Observations) -> str:
    """Which nodes did not answer, as an addition to a message."""
    silent = [f"{name}: {node['error']}" for name, node in sorted(observed["nodes"].items()) if node.get("error")]
    return f"; no answer from {', '.join(silent)}" if silent else ""


def _upstream(observed: Observations, signal: str, missing: int) -> str:
    """Where records are that are on no node: the last hop that shows a sign of them."""
    agent, gateways = observed["agent"], sorted(observed["gateways"].items())
    names = ", ".join(observed["gateways"]) or "outside of this inventory"
    accepted = f"node agent on {agent['host']} accepted it"
    for name, gateway in gateways:
        if _queued(gateway["text"], signal):
            return f"gateway {name} has it in its queue, ClickHouse does not take it{_because(gateway)}"
    if _queued(agent["text"], signal):
        return f"{accepted} and still queues it, gateway {names} does not take it{_because(agent)}"
    for name, gateway in gateways:
        lost = _lost_by_gateway(gateway["text"], signal)
        if lost:
            return f"gateway {name} gave up {lost} records since its start{_because(gateway)}"
    lost = _lost_by_agent(agent["text"], signal)
    if lost:
        return f"node agent on {agent['host']} gave up {lost} records since its start{_because(agent)}"
    for name, gateway in gateways:
        if not gateway["text"]:
            return f"{accepted}; gateway {name} does not answer at its own metrics: does it run?"
    if not agent["text"]:
        return f"{accepted} and does not answer at its own metrics any more: does it run?"
    part = "it is" if missing == observed["count"] else f"{missing} of {observed['count']} are"
    return f"{part} in no queue and on no ClickHouse node; gateway {names} had it last"


def last_hops(observed: Observations) -> dict[str, str]:
    """Which hop last had the records of each signal that did not arrive on every replica exactly once.

    :param observed: C(count), how many records of each signal were sent; C(accepted) and C(errors), by signal; C(agent) with C(host),
        C(text) (the collector's own metrics in Prometheus' format, empty where it did not answer) and C(refusal); C(gateways), by host,
        with C(text) and C(refusal); C(nodes), by host, with C(shard), C(replica), and C(rows) by signal or C(error).
    :returns: a line for each such signal; empty when all is well.
    """
    verdicts = {}
    for signal in observed["accepted"]:
        word, count = SIGNALS[signal][0], int(observed["count"])
        refusal = (observed.get("errors") or {}).get(signal)
        if refusal:
            verdicts[signal] = f"{word}: node agent on {observed['agent']['host']} did not accept it: {refusal}"
            continue
        stored = _stored(observed, signal)
        total = sum(max(rows.values(), default=0) for rows in stored.values())
        behind = [
            f"on {_place(observed, most)} but not on {_place(observed, name)}: replication"
            if not rows[name]
            else f"{rows[most]} on {_place(observed, most)} but {rows[name]} on {_place(observed, name)}: replication"
            for rows in stored.values()
            for most in [max(rows, key=lambda node: rows[node], default="")]
            for name in rows
            if rows[name] < rows[most]
        ]
        if total > count:
            where = ", ".join(f"{rows[name]} on {_place(observed, name)}" for rows in stored.values() for name in rows if rows[name])
            verdicts[signal] = f"{word}: {count} sent, {total} stored: {where}"
        elif total < count:
            verdicts[signal] = f"{word}: {_upstream(observed, signal, count - total)}{_silent(observed)}"
        elif behind:
            verdicts[signal] = f"{word}: {'; '.join(behind)}{_silent(observed)}"
        elif _silent(observed):
            verdicts[signal] = f"{word}: stored, not proven on every replica{_silent(observed)}"
    return verdicts


def table_rows(observed: Observations) -> list[dict[str, t.Any]]:
    """The rows of the table: for each signal what every hop has to say about it.

    :param observed: as for C(last_hops); a node may have C(seconds).
    """
    table = []
    for signal, accepted in observed["accepted"].items():
        word, count, host = SIGNALS[signal][0], int(observed["count"]), observed["agent"]["host"]
        state = "accepted" if int(accepted) == count else f"accepted {accepted} of {count}"
        table.append({"signal": word, "where": f"node agent on {host}", "seconds": None, "state": state})
        stored = _stored(observed, signal)
        for name, node in sorted(observed["nodes"].items()):
            row: dict[str, t.Any] = {"signal": word, "where": _place(observed, name), "seconds": node.get("seconds")}
            rows = stored[node["shard"]]
            wanted = max(rows.values(), default=0)
            if node.get("error"):
                row["state"] = f"no answer: {node['error']}"
            elif not wanted:
                # Other shards have it all, or nobody has.
                if sum(max(other.values(), default=0) for other in stored.values()) >= count:
                    continue
                row["state"] = "missing"
            else:
                row["state"] = "stored" if rows[name] == wanted == count else f"{rows[name]} stored"
                if rows[name] < wanted:
                    row["state"] = f"{rows[name]} of {wanted} stored" if rows[name] else "missing"
            if row["state"] == "missing":
                row["seconds"] = None
            table.append(row)
    return table


def text_table(rows: t.Iterable[t.Mapping[str, t.Any]]) -> str:
    """An aligned text table with the columns signal, where, seconds, state.

    :param rows: mappings with these keys; C(seconds) is a number or nothing.
    """
    lines = [("signal", "where", "seconds", "state")]
    for row in rows:
        seconds = row.get("seconds")
        lines.append(
            (
                str(row["signal"]),
                str(row["where"]),
                "-" if seconds is None else f"{float(seconds):.1f}",
                str(row["state"]),
            )
        )
    signal, where, number = (max(len(line[column]) for line in lines) for column in (0, 1, 2))
    return "\n".join(f"{a:<{signal}}  {b:<{where}}  {c:>{number}}  {d}".rstrip() for a, b, c, d in lines)


def verify_query(accepted: t.Mapping[str, int], shard: int, shards: t.Iterable[int], database: str) -> str:
    """The query that a ClickHouse host is asked until it has its part; the probe's id is its parameter C(probe).

    :param accepted: number of records sent, by signal.
    :param shard: the host's shard.
    :param shards: the shards of all hosts.
    :param database: where the tables are.
    """
    # ClickHouse numbers shards by their place in remote_servers, which is sorted.
    number = sorted({int(other) for other in shards}).index(int(shard)) + 1
    columns, conditions = ["toFloat64(now64(3)) AS now"], []
    for signal, count in accepted.items():
        table, time = TABLES[signal]
        where = f"{time} > now() - INTERVAL 1 DAY AND ResourceAttributes['groundwork.probe_id'] = {{probe:String}}"
        columns.append(f"(SELECT count() FROM {database}.{table}_local WHERE {where}) AS {signal}")
        columns.append(f"(SELECT count() FROM {database}.{table} WHERE {where} AND _shard_num != {number}) AS {signal}_elsewhere")
        conditions.append(f"{signal} + {signal}_elsewhere >= {int(count)}")
    return (
        f"SELECT {', '.join(columns)}, {' AND '.join(conditions) or '1'} AS complete "
        "SETTINGS skip_unavailable_shards = 1, connect_timeout_with_failover_secure_ms = 1000"
    )


def _line(message: str) -> str:
    """A message of the module uri, or of a server, as one short line."""
    return " ".join(message.removeprefix("Status code was -1 and not [200]: ").split())[:200]


def _node(stored: t.Mapping[str, t.Any], sent_at: float) -> dict[str, t.Any]:
    """What a ClickHouse host answered last."""
    if not (stored.get("json") or {}).get("data"):
        why = str(stored.get("content") or stored.get("msg") or "was not asked")
        return {"error": _line(why)}
    answer = stored["json"]["data"][0]
    return {
        "rows": {signal: int(answer.get(signal, 0)) for signal in SIGNALS},
        "seconds": max(0.0, float(answer["now"]) - sent_at),
    }


def observations(hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, list[str]], sender: str) -> Observations:
    """What the tasks of role verify registered, in the form that the other functions want.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    :param sender: the host that the records were sent from.
    """

    def text(host: str, what: str) -> str:
        return str((hostvars[host].get(f"__verify_{what}") or {}).get("content") or "")

    def refusal(host: str, what: str) -> str:
        found = REFUSAL.findall(str((hostvars[host].get(f"__verify_{what}") or {}).get("stdout") or ""))
        # One attempt has a line for each address that was tried.
        return str(found[-1]).split("\\n", maxsplit=1)[0].replace('\\"', '"') if found else ""

    probe = hostvars[sender]["__verify_probe"]
    gateways = sorted(groups.get("gateway", []))
    return {
        "count": max(int(probe["count"]), 1),
        "accepted": dict(probe["accepted"]),
        "errors": dict(probe["errors"]),
        "agent": {"host": sender, "text": text(sender, "agent"), "refusal": refusal(sender, "agent_log")},
        "gateways": {host: {"text": text(host, "gateway"), "refusal": refusal(host, "gateway_log")} for host in gateways},
        "nodes": {
            host: {
                "shard": hostvars[host]["clickhouse_shard"],
                "replica": hostvars[host]["clickhouse_replica"],
                **_node(hostvars[host].get("__verify_stored") or {}, float(probe["sent_at"])),
            }
            for host in groups.get("clickhouse", [])
        },
    }


def grafana_rows(hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, list[str]]) -> list[dict[str, t.Any]]:
    """Rows of the table for each Grafana's data source; C(problem) is the message where it is not healthy.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    """
    table = []
    for host in groups.get("grafana", []):
        asked = hostvars[host].get("__verify_grafana") or {}
        answer = asked.get("json") or {}
        state = str(answer.get("status") or answer.get("message") or asked.get("msg") or "was not asked")
        why = _line(str(answer.get("message") or asked.get("msg") or state))
        problem = f"Grafana on {host}: its data source clickhouse is not healthy: {why}"
        row = {
            "signal": "query",
            "where": f"Grafana on {host}",
            "seconds": None,
            "state": state if state == "OK" else why,
        }
        table.append(row | {"problem": "" if state == "OK" else problem})
    return table


def instance_rows(hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, list[str]]) -> list[dict[str, t.Any]]:
    """A row of the table for each host of group collector_instance; C(problem) is the message where it does not answer or loses records.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    """
    table = []
    for host in groups.get(INSTANCES, []):
        name = f"{hostvars[host]['otel_collector_instance']} on {host}"
        asked = hostvars[host].get("__verify_instance") or {}
        flow = collector_health(str(asked.get("content") or ""))
        if not asked.get("content"):
            state, wrong = f"does not answer: {_line(str(asked.get('msg') or 'was not asked'))}", True
        elif flow["problems"]:
            state, wrong = "; ".join(flow["problems"]), True
        else:
            state, wrong = "records sent" if flow["moved"] else "no record yet", False
        row = {"signal": "collector", "where": name, "seconds": None, "state": state}
        table.append(row | {"problem": f"Collector {name}: {state}" if wrong else ""})
    return table


def verify_storage_query(database: str) -> str:
    """The query that tells what a ClickHouse host keeps too long: telemetry past its retention, and its own logs.

    :param database: where the telemetry tables are.
    :returns: SQL; columns C(kind) (V(late), V(left over) or V(unbounded)), C(name), C(detail), C(hours) past the retention, and C(size).
    """
    logs = "database = 'system' AND endsWith(engine, 'MergeTree') AND match(name, '_log(_[0-9]+)?$')"
    return (
        "SELECT * FROM (SELECT 'late' AS kind, table AS name, concat(rule, ', ', volume) AS detail, toUInt32(overdue / 3600) AS hours, "
        f"formatReadableSize(bytes) AS size FROM {database}.retention WHERE hours > {LATE_HOURS} "
        "UNION ALL SELECT if(match(name, '[0-9]$'), 'left over', 'unbounded') AS kind, concat('system.', name) AS name, '' AS detail, "
        f"toUInt32(0) AS hours, formatReadableSize(total_bytes) AS size FROM system.tables WHERE {logs} "
        "AND (match(name, '[0-9]$') OR position(engine_full, ' TTL ') = 0)) ORDER BY kind, name, detail"
    )


def storage_rows(hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, list[str]]) -> list[dict[str, t.Any]]:
    """Rows of the table for what each ClickHouse host keeps too long; C(problem) is the message where that is telemetry.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    """
    table = []
    for host in groups.get("clickhouse", []):
        asked = hostvars[host].get("__verify_storage") or {}
        found = [(_storage_state(row), row["kind"] == "late") for row in asked.get("rows") or []]
        if "rows" not in asked:
            found = [(f"not read: {_line(str(asked.get('msg') or 'was not asked'))}", True)]
        elif not any(late for _state, late in found):
            found = [("no row past its retention", False), *found]
        for state, wrong in found:
            row = {"signal": "storage", "where": f"ClickHouse on {host}", "seconds": None, "state": state}
            table.append(row | {"problem": f"Storage of {host}: {state}" if wrong else ""})
    return table


def _storage_state(row: t.Mapping[str, t.Any]) -> str:
    if row["kind"] == "late":
        return f"{row['name']} has rows {row['hours']} h past their retention ({row['detail']}): see the runbook telemetry-retention"
    if row["kind"] == "left over":
        return f"{row['name']} ({row['size']}) is left over from other settings or an older version: playbook drop_old_system_logs drops it"
    return f"{row['name']} ({row['size']}) has no TTL and grows for ever: give it one in clickhouse_config"


def verify_report(hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, list[str]], sender: str) -> dict[str, t.Any]:
    """What arrived where: C(table) as text, C(missing) with the last hop of each signal that did not arrive, and all C(problems).

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    :param sender: the host that the records were sent from.
    """
    observed = observations(hostvars, groups, sender)
    others = [*instance_rows(hostvars, groups), *storage_rows(hostvars, groups), *grafana_rows(hostvars, groups)]
    missing = last_hops(observed)
    return {
        "table": text_table([*table_rows(observed), *others]),
        "missing": missing,
        "problems": [*missing.values(), *(row["problem"] for row in others if row["problem"])],
    }


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"verify_query": verify_query, "verify_report": verify_report, "verify_storage_query": verify_storage_query}
