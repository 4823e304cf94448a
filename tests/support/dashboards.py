# GNU General Public License v3.0+ (see LICENSE)
"""The role's dashboards, built as the role builds them, and their queries run on a platform as Grafana runs them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.groundwork.observability.plugins.plugin_utils import _dashboards

from tests.support.clickhouse import QueryError
from tests.support.collector_files import CHECKOUT
from tests.support.grafana_macros import ALL, expand, with_variables
from tests.support.platform import CLUSTER, DATABASE, HOST, Platform
from tests.support.shop_traffic import SERVICES, Traffic

EXAMPLES = CHECKOUT / "examples" / "dashboards"
FOLDER = CHECKOUT / "roles" / "grafana" / "files" / "dashboards"
CLICKHOUSE = _dashboards.TYPE
HOUR = 3600
# Requests of an hour's traffic.
REQUESTS = 400
NUMBER = re.compile(r"(?:Nullable\()?(?:U?Int|Float|Decimal|Bool)")
TEXT = re.compile(r"(?:LowCardinality\()?(?:Nullable\()?String")
# Columns that panels of these kinds need, by what Grafana's documentation calls the data format of each.
NEEDED = {
    "logs": {"timestamp", "body"},
    "traces": {"traceID", "spanID", "parentSpanID", "serviceName", "operationName", "startTime", "duration"},
}


def specs(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Name of a file -> the description of a dashboard. Of the role the name is the uid."""
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.yml"))}


def built(spec: Mapping[str, Any], database: str = DATABASE) -> dict[str, Any]:
    """Grafana's JSON of it, for a database and the cluster of the tests' platform."""
    return _dashboards.build(spec, database, CLUSTER, "clickhouse")


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Its panels that ask ClickHouse."""
    yield from (panel for panel in dashboard["panels"] if panel.get("datasource", {}).get("type") == CLICKHOUSE)


def fill(platform: Platform) -> None:
    """Let collectors read everything twice and an hour of a shop's traffic arrive; then cause what the remaining panels show."""
    now = time.time()
    traffic = Traffic(now - HOUR, now - 5, REQUESTS)
    for signal, message in traffic.messages():
        platform.send(signal, message)
    shop = ", ".join(f"'{service}'" for service in SERVICES)
    for table in ("otel_traces", "otel_logs"):
        platform.wait_for(table, f"SELECT count() FROM {DATABASE}.{table} WHERE ServiceName IN ({shop})", len(traffic))
    histograms = f"SELECT uniq(ServiceName) FROM {DATABASE}.otel_metrics_histogram WHERE MetricName = 'http.server.request.duration'"
    platform.wait_for("histograms", histograms, len(SERVICES) - 1)
    # Each job and the host itself, three times: a rate needs two samples.
    jobs = "'otelcol-gateway', 'otelcol-node-agent', 'otelcol-cluster-agent', 'zookeeper', 'clickhouse', 'grafana'"
    up = f"{DATABASE}.otel_metrics_gauge WHERE MetricName = 'up' AND ServiceName IN ({jobs})"
    scraped = f"SELECT count() FROM (SELECT ServiceName FROM {up} GROUP BY ServiceName HAVING count() >= 3)"
    platform.wait_for("scrapes", scraped, jobs.count(",") + 1)
    hosts = f"SELECT count(DISTINCT TimeUnix) FROM {DATABASE}.otel_metrics_sum WHERE MetricName = 'system.network.io'"
    platform.wait_for("the host", hosts, 3)
    platform.write_log("sshd", "Accepted publickey for operator")
    platform.wait_for("log file", f"SELECT count() FROM {DATABASE}.otel_logs WHERE `__otel_materialized_host.name` = '{HOST}'")
    clickhouse = platform.clickhouse
    clickhouse.query(f"ALTER TABLE {DATABASE}.otel_logs_local MATERIALIZE INDEX idx_severity SETTINGS mutations_sync = 1")
    clickhouse.query(f"OPTIMIZE TABLE {DATABASE}.otel_traces_local FINAL")
    with pytest.raises(QueryError, match="throwIf"):
        clickhouse.query("SELECT throwIf(1)")
    # A copy of a product's table, and a table that is read live.
    copy = f"CREATE MATERIALIZED VIEW {DATABASE}.products REFRESH EVERY 1 HOUR ENGINE = MergeTree ORDER BY id"
    clickhouse.query(f"{copy} AS SELECT number AS id, concat('product ', toString(number)) AS name FROM numbers(7)")
    clickhouse.query(f"SYSTEM WAIT VIEW {DATABASE}.products")
    live = f"CREATE TABLE {DATABASE}.live_products (id UInt64, name String)"
    clickhouse.query(f"{live} ENGINE = PostgreSQL('db-1:5432', 'shop', 'products', 'reader', 'secret')")
    clickhouse.query("SYSTEM FLUSH LOGS")


@dataclass
class Answer:
    """Columns with their types, and rows, of one query; whole numbers of 64 bits are numbers."""

    columns: dict[str, str]
    rows: list[list[Any]]
    sql: str


def check_form(panel: Mapping[str, Any], name: str, answer: Answer) -> None:
    """The answer to the query of that name has the form that this kind of panel needs, and what its legend, links and units name."""
    columns = answer.columns
    defaults = panel["fieldConfig"]["defaults"]
    labels = {column for column, kind in columns.items() if TEXT.match(kind)}
    numbers = {column for column, kind in columns.items() if NUMBER.match(kind)}
    overrides = {override["matcher"]["options"]: override for override in panel["fieldConfig"]["overrides"]}
    # The points of one query have a legend and links of their own.
    of_points = overrides.pop(name, None)
    assert set(re.findall(r"\$\{__field\.labels\.(\w+)\}", str(of_points or defaults))) <= labels
    assert set(re.findall(r"\$\{__data\.fields\.(\w+)\}", str(panel["fieldConfig"]))) <= set(columns)
    assert set(overrides) - {target["refId"] for target in panel["targets"]} <= set(columns)
    if panel["type"] == "timeseries":
        first = next(iter(columns))
        assert first == "time" and columns[first].startswith("DateTime")
        assert set(columns) - {"time"} == labels | numbers
        assert len(numbers) == 1
        # What the plugin makes series of must be in order of time.
        times = [row[0] for row in answer.rows]
        assert times == sorted(times)
    elif panel["type"] == "stat":
        assert len(answer.rows) == 1
        assert len(numbers) == len(columns) == 1
        assert answer.rows[0][0] is not None
    elif panel["type"] == "bargauge":
        assert len(numbers) == 1 and len(columns) == 2
    elif panel["type"] == "nodeGraph":
        assert {"nodes": {"id", "title"}, "edges": {"id", "source", "target"}}[name] <= set(columns)
    assert NEEDED.get(panel["type"], set()) <= set(columns)


@dataclass
class View:
    """A platform seen through a time range, with values of variables."""

    platform: Platform
    begin: datetime
    end: datetime

    def ask(self, sql: str, values: Mapping[str, Sequence[str]], query_id: str = "") -> Answer:
        """Run a query with its variables and macros."""
        expanded = expand(with_variables(sql, values), self.begin, self.end)
        said = self.platform.query(f"{expanded}\nFORMAT JSONCompact", query_id)
        answer = json.loads(said)
        return Answer({column["name"]: column["type"] for column in answer["meta"]}, answer["data"], expanded)

    def values(self, dashboard: Mapping[str, Any], *, choose: bool = False) -> dict[str, list[str]]:
        """The value of each variable when the dashboard opens: everything, the first or the default one. `choose` takes a value
        where everything would be shown."""
        found: dict[str, list[str]] = {}
        for variable in dashboard["templating"]["list"]:
            if variable["type"] != "query":
                found[variable["name"]] = [variable["current"]["value"]]
            elif variable["includeAll"] and not choose:
                found[variable["name"]] = [ALL]
            else:
                rows = self.ask(variable["query"]["rawSql"], found).rows
                assert rows, f"variable {variable['name']} has no values"
                offered = [str(row[0]) for row in rows]
                found[variable["name"]] = [next((value for value in PREFERRED if value in offered), offered[0])]
        return found

    def answers(self, panel: Mapping[str, Any], values: Mapping[str, Sequence[str]]) -> dict[str, Answer]:
        """RefId -> the answer to each of a panel's queries."""
        return {target["refId"]: self.ask(target["rawSql"], values) for target in panel["targets"]}


# What a person would look at first: a service and a host of which there is much to see.
PREFERRED = ("checkout", HOST)


def view(platform: Platform, seconds: int = HOUR) -> View:
    """The time until now."""
    now = datetime.now(UTC)
    return View(platform, now - timedelta(seconds=seconds), now)
