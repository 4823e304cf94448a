# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Storage and query time of the tables of role telemetry_schema beside those that the collector's exporter makes for itself.

python -m bench.schema [records [rounds]]; 5,000,000 logs, as many spans and twice as many points, and 7 rounds by default. Both kinds of
tables get the same rows of one day, on one server, and are merged into one part. Each query runs on one thread, on both in turns; what is
printed are medians. CPU time and what was read come from the server's query log, so other work on the machine changes them little.

Queries are those that Grafana's ClickHouse plugin makes (Explore, and the dashboards that it brings), where both tables are asked the same,
and those of panels of role grafana. For a panel, the stock tables are asked for the same numbers in the form that fits them best.
Stock indices are the exporter's of 0.149. At the end each panel is asked for an hour, and what it reads is printed.
Prints tables; nothing depends on its numbers.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from bench.gateway import table
from tests import conftest  # noqa: F401  makes the collection importable
from tests.support import dashboards, large_day, telemetry_rows, telemetry_tables
from tests.support.clickhouse import ClickHouse, QueryError
from tests.support.grafana_macros import ALL, expand, with_variables

QUERIES = Path(__file__).with_name("schema_queries.yml")
STOCK, OURS, CLUSTER = "stock", "otel", "otel"
# ClickHouse's codes for a database, a table and a column that do not exist.
NOT_HERE = {81, 60, 47}
END = telemetry_rows.BEGIN + timedelta(hours=18)
LOGS = "<query_log><database>system</database><table>query_log</table></query_log>"
# Signal -> stock tables, our tables, and roll-ups that only we have.
SIGNALS = {
    "logs": (("otel_logs",), ("otel_logs_local",), ("logs_volume_1m_local",)),
    "traces": (
        ("otel_traces", "otel_traces_trace_id_ts"),
        ("otel_traces_local", "otel_traces_trace_id_ts_local"),
        ("traces_red_1m_local",),
    ),
    "gauges": (("otel_metrics_gauge",), ("otel_metrics_gauge_local",), ("metrics_gauge_5m_local",)),
    "sums": (("otel_metrics_sum",), ("otel_metrics_sum_local",), ()),
}


class Server(ClickHouse):
    """Statements may take long."""

    statement_seconds = 1800.0


@dataclass(frozen=True)
class Query:
    """An entry of bench/schema_queries.yml, which says what its keys mean."""

    name: str
    minutes: int
    stock: str
    panel: tuple[str, str] | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    rollup: str = ""


# A trace, and users of a log record and of a span, by the number of these.
_TRACE = "lower(hex(sipHash128('trace', toUInt64(intDiv({number}, 5)))))"
_USER = "toString(sipHash64('user', sipHash64('{signal}', toUInt64({number}))) % 20000)"


@dataclass(frozen=True)
class Cost:
    """What a query took: microseconds of CPU and of the clock; rows and granules read."""

    cpu: float
    clock: float
    rows: int
    granules: int


class Bench:
    """A server with both kinds of tables."""

    def __init__(self, server: Server, records: int) -> None:
        self.server, self.records, self.runs = server, records, 0
        self.dashboards = {uid: dashboards.built(spec, OURS) for uid, spec in dashboards.specs().items()}
        # Half an hour before the end.
        number = int(records * ((END - telemetry_rows.BEGIN).total_seconds() - 1800) / telemetry_rows.DAY)
        self.searched = {"trace": server.query(f"SELECT {_TRACE.format(number=number)}")}
        for signal in ("log", "span"):
            self.searched[f"{signal}_user"] = server.query(f"SELECT {_USER.format(signal=signal, number=number)}")

    def fill(self) -> None:
        """Make the tables, insert, merge."""
        telemetry_tables.create_stock(self.server, STOCK)
        telemetry_tables.create_ours(self.server, CLUSTER)
        for database, suffix in ((STOCK, ""), (OURS, "_local")):
            for statement in telemetry_rows.inserts(database, suffix, self.records):
                self.server.query(statement, max_threads=1)
        for stock, ours, rollups in SIGNALS.values():
            for name in [*(f"{STOCK}.{name}" for name in stock), *(f"{OURS}.{name}" for name in ours + rollups)]:
                self.server.query(f"OPTIMIZE TABLE {name} FINAL")

    def storage(self) -> list[dict[str, str]]:
        """Bytes of a record in columns and in indices, in both."""
        rows = []
        for signal, (stock, ours, rollups) in SIGNALS.items():
            count, data, indices = self._bytes(STOCK, stock)
            own_count, own_data, own_indices = self._bytes(OURS, ours)
            assert own_count == count, (signal, count, own_count)
            _, rolled_data, rolled_indices = self._bytes(OURS, rollups)
            rows.append(
                {
                    "signal": signal,
                    "records": str(count),
                    "columns: stock": f"{data / count:.1f}",
                    "ours": f"{own_data / count:.1f}",
                    "ratio": f"{own_data / data:.2f}",
                    "with indices: stock": f"{(data + indices) / count:.1f}",
                    "ours ": f"{(own_data + own_indices) / count:.1f}",
                    "ratio ": f"{(own_data + own_indices) / (data + indices):.2f}",
                    "roll-ups": f"{(rolled_data + rolled_indices) / count:.1f}",
                }
            )
        return rows

    def _bytes(self, database: str, names: tuple[str, ...]) -> tuple[int, int, int]:
        """Rows of the first table; bytes of all: without and of indices."""
        wanted = "', '".join(names)
        sql = (
            f"SELECT sumIf(rows, table = '{names[0] if names else ''}'), sum(bytes_on_disk - secondary_indices_compressed_bytes),"
            f" sum(secondary_indices_compressed_bytes) FROM system.parts WHERE active AND database = '{database}' AND table IN ('{wanted}')"
        )
        count, data, indices = self.server.query(sql).split("\t")
        return int(count), int(data), int(indices)

    def columns(self) -> list[dict[str, str]]:
        """Where the bytes are: the largest columns of each signal in both, in bytes a record."""
        rows = []
        for signal, ((stock, *_), (ours, *_), _) in SIGNALS.items():
            sql = (
                f"SELECT name, sumIf(data_compressed_bytes, database = '{STOCK}'), sumIf(data_compressed_bytes, database = '{OURS}')"
                f" FROM system.columns WHERE (database, table) IN (('{STOCK}', '{stock}'), ('{OURS}', '{ours}'))"
                " GROUP BY name ORDER BY sum(data_compressed_bytes) DESC LIMIT 8"
            )
            count = self._bytes(STOCK, (stock,))[0]
            for line in self.server.query(sql).splitlines():
                name, before, now = line.split("\t")
                rows.append({"signal": signal, "column": name, "stock": f"{int(before) / count:.2f}", "ours": f"{int(now) / count:.2f}"})
        return rows

    def texts(self, query: Query) -> tuple[str, str]:
        """What both are asked."""
        begin = END - timedelta(minutes=query.minutes)
        interval = max(query.minutes // 60, 1) * 60_000

        def filled(sql: str, database: str, log_time: str) -> str:
            for name, value in {"db": database, "log_time": log_time, **self.searched}.items():
                sql = sql.replace(f"{{{name}}}", value)
            return expand(sql, begin, END, interval)

        if query.panel is None:
            return filled(query.stock, STOCK, "TimestampTime"), filled(query.stock, OURS, "Timestamp")
        uid, title = query.panel
        dashboard = self.dashboards[uid]
        values: dict[str, list[str]] = {}
        for variable in dashboard["templating"]["list"]:
            value = variable["current"]["value"] if variable["type"] != "query" else ALL if variable["includeAll"] else ""
            values[variable["name"]] = [value]
        values |= {name: [value] for name, value in query.values.items()}
        (panel,) = (panel for panel in dashboards.panels(dashboard) if panel["title"] == title)
        return filled(query.stock, STOCK, ""), expand(with_variables(panel["targets"][0]["rawSql"], values), begin, END, interval)

    def run(self, sql: str) -> tuple[str, int]:
        """Run it once; its id, and how many rows came back."""
        self.runs += 1
        query_id = f"schema-{self.runs}"
        # A dashboard's time range moves, so what the server remembers of the conditions of the same text is of no use to it.
        text = f"{sql}\nFORMAT TabSeparated"
        answer = self.server.query(text, query_id=query_id, max_threads=1, use_query_condition_cache=0)
        return query_id, len(answer.splitlines())

    def measure(self, queries: Sequence[Query], rounds: int) -> dict[str, tuple[Cost, Cost]]:
        """Name -> the medians of stock and of ours. Rounds go through all queries, and both answer one after the other."""
        texts = {query.name: self.texts(query) for query in queries}
        for name, (stock, ours) in texts.items():
            one, other = (self.run(sql)[1] for sql in (stock, ours))
            # TimestampTime has whole seconds, so the last second of a range is in it; roll-ups have whole minutes.
            assert abs(one - other) <= max(1, 0.03 * one), (name, one, other)
        ids = [{name: tuple(self.run(sql)[0] for sql in pair) for name, pair in texts.items()} for _ in range(rounds)]
        self.server.query("SYSTEM FLUSH LOGS")
        sql = (
            "SELECT query_id, ProfileEvents['OSCPUVirtualTimeMicroseconds'], dateDiff('microsecond', query_start_time_microseconds,"
            " event_time_microseconds), read_rows, ProfileEvents['SelectedMarks'] FROM system.query_log"
            " WHERE type = 'QueryFinish' AND query_id LIKE 'schema-%'"
        )
        costs: dict[str, list[int]] = {}
        for line in self.server.query(sql).splitlines():
            query_id, *numbers = line.split("\t")
            costs[query_id] = [int(number) for number in numbers]

        def median(name: str, side: int) -> Cost:
            runs = zip(*(costs[turn[name][side]] for turn in ids), strict=True)
            cpu, clock, rows, granules = (statistics.median(column) for column in runs)
            return Cost(cpu, clock, int(rows), int(granules))

        return {name: (median(name, 0), median(name, 1)) for name in texts}

    def panels(self) -> tuple[list[dict[str, str]], list[str]]:
        """Granules that each panel of each dashboard reads for an hour, most first; and panels that ask for what is not here.

        Not here are system logs that this server does not keep, the product's database, and metrics that the data set does not have.
        """
        view = dashboards.View(large_day.Reader(self.server, "", Path()), END - timedelta(hours=1), END)
        missing: list[str] = []
        for uid, dashboard in self.dashboards.items():
            try:
                values = view.values(dashboard)
            except (AssertionError, QueryError):
                missing.append(f"{uid}: all, a variable has no values")
                continue
            for panel in dashboards.panels(dashboard):
                for target in panel["targets"]:
                    try:
                        view.ask(target["rawSql"], values, f"panel {uid}: {panel['title']} {target['refId']}")
                    except QueryError as error:
                        if error.code not in NOT_HERE:
                            raise
                        missing.append(f"{uid}: {panel['title']} {target['refId']}")
        self.server.query("SYSTEM FLUSH LOGS")
        log = "system.query_log WHERE type = 'QueryFinish' AND query_id LIKE 'panel %'"
        marks = f"SELECT query_id, ProfileEvents['SelectedMarks'] AS marks, read_rows FROM {log} ORDER BY marks DESC, query_id"
        lines = (line.split("\t") for line in self.server.query(marks).splitlines())
        return [{"panel": name.removeprefix("panel "), "granules": read, "rows": rows} for name, read, rows in lines], missing


def geometric_mean(ratios: list[float]) -> float:
    """Of ratios: the root of their product."""
    return math.exp(sum(math.log(ratio) for ratio in ratios) / len(ratios))


def answers(queries: Sequence[Query], costs: dict[str, tuple[Cost, Cost]]) -> list[dict[str, str]]:
    """Costs as a table, with the geometric mean last."""
    rows, cpu, clock = [], [], []
    for query in queries:
        stock, ours = costs[query.name]
        cpu.append(stock.cpu / ours.cpu)
        clock.append(stock.clock / ours.clock)
        rows.append(
            {
                "query": query.name,
                "minutes": str(query.minutes),
                "CPU ms: stock": f"{stock.cpu / 1e3:.1f}",
                "ours": f"{ours.cpu / 1e3:.1f}",
                "times faster": f"{cpu[-1]:.1f}",
                "by the clock": f"{clock[-1]:.1f}",
                "granules: stock": str(stock.granules),
                "ours ": str(ours.granules),
                "rows: stock": str(stock.rows),
                "ours  ": str(ours.rows),
                "slower: ask": query.rollup if cpu[-1] < 1 else "",
            }
        )
    rows.append({"query": "geometric mean", "times faster": f"{geometric_mean(cpu):.1f}", "by the clock": f"{geometric_mean(clock):.1f}"})
    return rows


def main() -> None:
    """Print the tables."""
    given = [int(word) for word in sys.argv[1:]]
    records, rounds = (given + [5_000_000, 7][len(given) :])[:2]
    with Server(LOGS, cluster=CLUSTER) as server:
        bench = Bench(server, records)
        begin = datetime.now(UTC)
        bench.fill()
        print(f"{records} logs and spans, {telemetry_rows.hosts_for(2 * records)} hosts; filled in {(datetime.now(UTC) - begin).seconds} s")
        print("\nBytes a record\n" + table(bench.storage()) + "\n\n" + table(bench.columns()), flush=True)
        listed: dict[str, list[dict[str, Any]]] = yaml.safe_load(QUERIES.read_text(encoding="utf-8"))
        for kind, entries in listed.items():
            queries = [Query(**entry) for entry in entries]
            print(f"\n{kind}\n" + table(answers(queries, bench.measure(queries, rounds))), flush=True)
        read, missing = bench.panels()
        print(f"\nGranules that panels read for an hour, {len(read)} queries\n" + table(read[:20]), flush=True)
        print(f"\nNot asked, {len(missing)}: " + "; ".join(missing), flush=True)


if __name__ == "__main__":
    main()
