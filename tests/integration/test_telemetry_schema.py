# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role telemetry_schema on two real replicas: what the collector's exporter inserts arrives, once, and is rolled up."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import threading
import typing as t
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.clickhouse import ClickHouse, QueryError, until
from tests.support.zookeeper import ZooKeeper

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
OBJECTS = 29

# The INSERT statements of clickhouseexporter 0.149.0 (internal/sqltemplates), with a value for each column.
SCOPE = {"ScopeSchemaUrl": "s", "ScopeName": "lib", "ScopeVersion": "1", "ScopeAttributes": {"k": "v"}}
RESOURCE = {"ResourceAttributes": {"host.name": "h1", "deployment.environment.name": "test", "service.name": "shop"}}
LOG = {
    "Timestamp": "2030-01-02 03:04:05.123456789",
    "TraceId": "0af7651916cd43dd8448eb211c80319c",
    "SpanId": "b7ad6b7169203331",
    "TraceFlags": 1,
    "SeverityText": "ERROR",
    "SeverityNumber": 17,
    "ServiceName": "shop",
    "Body": "out of stock",
    "ResourceSchemaUrl": "r",
    **RESOURCE,
    **SCOPE,
    "LogAttributes": {"item": "7"},
    "EventName": "sold.out",
}
TRACE = {
    "Timestamp": "2030-01-02 03:04:05.123456789",
    "TraceId": "0af7651916cd43dd8448eb211c80319c",
    "SpanId": "b7ad6b7169203331",
    "ParentSpanId": "",
    "TraceState": "",
    "SpanName": "GET /",
    "SpanKind": "Server",
    "ServiceName": "shop",
    **RESOURCE,
    "ScopeName": "lib",
    "ScopeVersion": "1",
    "SpanAttributes": {"http.status_code": "500"},
    "Duration": 2000000,
    "StatusCode": "Error",
    "StatusMessage": "no",
    "Events.Timestamp": ["2030-01-02 03:04:05.123456789"],
    "Events.Name": ["exception"],
    "Events.Attributes": [{"a": "b"}],
    "Links.TraceId": ["0af7651916cd43dd8448eb211c80319c"],
    "Links.SpanId": ["b7ad6b7169203331"],
    "Links.TraceState": [""],
    "Links.Attributes": [{}],
}
METRIC = {
    **RESOURCE,
    "ResourceSchemaUrl": "r",
    **SCOPE,
    "ScopeDroppedAttrCount": 0,
    "ServiceName": "shop",
    "MetricName": "stock",
    "MetricDescription": "what is left",
    "MetricUnit": "1",
    "Attributes": {"item": "7"},
    "StartTimeUnix": "2030-01-02 03:00:00",
    "TimeUnix": "2030-01-02 03:04:05",
    "Flags": 0,
}
EXEMPLARS = {
    "Exemplars.FilteredAttributes": [{"a": "b"}],
    "Exemplars.TimeUnix": ["2030-01-02 03:04:05"],
    "Exemplars.Value": [1.5],
    "Exemplars.SpanId": ["b7ad6b7169203331"],
    "Exemplars.TraceId": ["0af7651916cd43dd8448eb211c80319c"],
}
RANGE = {"Min": 1.0, "Max": 9.0, "AggregationTemporality": 2}
ROWS: dict[str, dict[str, t.Any]] = {
    "otel_logs": LOG,
    "otel_traces": TRACE,
    "otel_metrics_gauge": {**METRIC, **EXEMPLARS, "Value": 4.5},
    "otel_metrics_sum": {**METRIC, **EXEMPLARS, "Value": 4.5, "AggregationTemporality": 2, "IsMonotonic": True},
    "otel_metrics_histogram": {
        **METRIC,
        **EXEMPLARS,
        **RANGE,
        "Count": 3,
        "Sum": 12.0,
        "BucketCounts": [1, 2],
        "ExplicitBounds": [5.0],
    },
    "otel_metrics_exponential_histogram": {
        **METRIC,
        **EXEMPLARS,
        **RANGE,
        "Count": 3,
        "Sum": 12.0,
        "Scale": 2,
        "ZeroCount": 0,
        "PositiveOffset": -1,
        "PositiveBucketCounts": [1, 2],
        "NegativeOffset": 0,
        "NegativeBucketCounts": [],
    },
    "otel_metrics_summary": {
        **METRIC,
        "Count": 3,
        "Sum": 12.0,
        "ValueAtQuantiles.Quantile": [0.5, 0.9],
        "ValueAtQuantiles.Value": [4.0, 9.0],
    },
}

DEBUG = {"where": "SeverityNumber < 9", "keep": "3d"}
Play = Callable[..., dict[str, dict[str, t.Any]]]
Playbook = Callable[..., dict[str, dict[str, dict[str, t.Any]]]]


class Cluster(t.NamedTuple):
    zookeeper: ZooKeeper
    nodes: tuple[ClickHouse, ...]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One shard with two replicas, configured as the role clickhouse does."""
    with ZooKeeper() as zookeeper:
        nodes = tuple(
            ClickHouse(
                "<default_replica_path>/clickhouse/tables/{shard}/{database}/{table}</default_replica_path>"
                "<default_replica_name>{replica}</default_replica_name>",
                zookeeper=zookeeper.address,
                macros={"shard": "1", "replica": name, "cluster": "otel"},
            )
            for name in "ab"
        )
        replicas = "".join(f"<replica><host>127.0.0.1</host><port>{node.tcp_port}</port></replica>" for node in nodes)
        shard = f"<shard><internal_replication>true</internal_replication>{replicas}</shard>"
        for node in nodes:
            node.write("config.d/cluster.xml", f"<remote_servers><otel>{shard}</otel></remote_servers>")
        with nodes[0], nodes[1]:
            yield Cluster(zookeeper, nodes)


@pytest.fixture(scope="module")
def playbook(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Playbook:
    """Run a playbook by ansible-playbook for both nodes at once; results by host, by the name of the task."""
    folder = tmp_path_factory.mktemp("play")
    hosts = {
        f"ch{number}": {"ansible_host": node.host, "telemetry_schema_login_port": node.port} for number, node in enumerate(cluster.nodes)
    }
    shared = {
        "telemetry_schema_login_user": "default",
        "telemetry_schema_login_password": "",
        "telemetry_schema_secure": False,
        "ansible_become": False,
    }

    def run(*arguments: str | Path, more: dict[str, t.Any] | None = None) -> dict[str, dict[str, dict[str, t.Any]]]:
        inventory = {"all": {"hosts": hosts, "vars": shared, "children": more or {}}}
        (folder / "hosts.json").write_text(json.dumps(inventory), encoding="utf-8")
        answer = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", folder / "hosts.json", *arguments],
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
                "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
                "ANSIBLE_HOME": str(folder / "home"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.stdout.lstrip().startswith("{"), answer.stdout + answer.stderr
        tasks = [task for play in json.loads(answer.stdout)["plays"] for task in play["tasks"]]
        return {task["task"]["name"].partition(" : ")[2]: task["hosts"] for task in tasks}

    return run


@pytest.fixture(scope="module")
def play(playbook: Playbook, tmp_path_factory: pytest.TempPathFactory) -> Play:
    """Run the role on both nodes at once; the module's result by host, and whether hosts were written."""
    book = tmp_path_factory.mktemp("role") / "play.json"
    role = {"role": "groundwork.observability.telemetry_schema"}
    book.write_text(json.dumps([{"hosts": "ch*", "gather_facts": False, "roles": [role]}]), encoding="utf-8")

    def run(*arguments: str, more: dict[str, t.Any] | None = None) -> dict[str, dict[str, t.Any]]:
        tasks = playbook(book, *arguments, more=more)
        refused = {host: result for host, result in tasks["Refuse a newer schema"].items() if result.get("failed")}
        made = refused or tasks["Create the telemetry tables"]
        written = tasks.get("Write the hosts of the inventory", {})
        return {host: {**result, "written": written.get(host, {}).get("changed", False)} for host, result in made.items()}

    return run


def insert(node: ClickHouse, table: str, rows: list[dict[str, t.Any]], **settings: t.Any) -> None:
    """What the exporter sends: a column list, and rows in one block."""
    columns = ", ".join(f"`{column}`" for column in rows[0])
    node.query(
        f"INSERT INTO otel.{table} ({columns}) FORMAT JSONEachRow",
        "\n".join(json.dumps(row) for row in rows),
        async_insert=0,
        distributed_foreground_insert=1,
        **settings,
    )


def test_bare_hosts_in_check_mode(play: Play) -> None:
    for result in play("--check", "-e", "telemetry_schema_login_port=1").values():
        assert result["changed"]
        assert len(result["statements"]) == OBJECTS
        assert "empty server" in str(result["warnings"])


def test_check_create_and_second_run_on_both_replicas_at_once(cluster: Cluster, play: Play) -> None:
    check, do = play("--check"), play()
    for host in ("ch0", "ch1"):
        assert "failed" not in do[host], do[host]["msg"]
        assert check[host]["changed"]
        assert len(do[host]["statements"]) == OBJECTS
        assert do[host]["statements"] == check[host]["statements"]
        assert check[host]["written"] and do[host]["written"]
    for again in (play(), play("--check")):
        for result in again.values():
            assert "failed" not in result, result["msg"]
            assert not result["changed"] and not result["written"]
            assert {state["status"] for state in result["objects"]} == {"present"}
    for node in cluster.nodes:
        replicas = node.query("SELECT countIf(is_readonly), min(total_replicas), count() FROM system.replicas")
        assert replicas == "0\t2\t11"


def test_new_replica_fetches_all_rows(cluster: Cluster, play: Play) -> None:
    _first, second = cluster.nodes
    second.query("DROP DATABASE otel SYNC")
    results = play("--limit", "ch1")
    assert len(results["ch1"]["statements"]) == OBJECTS
    assert not any(result["changed"] for result in play().values())


@pytest.fixture(scope="module")
def rows(cluster: Cluster, play: Play) -> None:
    """Each table's row through the first replica, again through the second, and one more through Distributed."""
    play()
    first, second = cluster.nodes
    for table, row in ROWS.items():
        insert(first, f"{table}_local", [row])
        insert(second, f"{table}_local", [row])
        insert(first, table, [{**row, "ServiceName": "other"}])
        insert(second, table, [{**row, "ServiceName": "other"}])
    for table in second.query("SELECT table FROM system.replicas").split():
        for node in cluster.nodes:
            node.query(f"SYSTEM SYNC REPLICA otel.{table}")


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("table", ROWS)
def test_repeated_block_is_stored_once_on_both_replicas(cluster: Cluster, table: str) -> None:
    for node in cluster.nodes:
        for name in (table, f"{table}_local"):
            services = node.query(f"SELECT ServiceName FROM otel.{name} ORDER BY ServiceName")
            assert services.split() == ["other", "shop"], name


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("table", ROWS)
def test_stored_values_are_read_back(cluster: Cluster, table: str) -> None:
    row = ROWS[table]
    columns = ", ".join(f"`{column}`" for column in row)
    text = cluster.nodes[1].query(
        f"SELECT {columns} FROM otel.{table}_local WHERE ServiceName = 'shop' FORMAT JSONEachRow",
        output_format_json_quote_64bit_integers=0,
    )
    assert json.loads(text) == row


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("table", ROWS)
def test_materialized_host(cluster: Cluster, table: str) -> None:
    query = f"SELECT DISTINCT `__otel_materialized_host.name` FROM otel.{table}"
    assert cluster.nodes[0].query(query) == "h1"


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("suffix", ["", "_local"])
@pytest.mark.parametrize("node", [0, 1])
def test_roll_ups(cluster: Cluster, node: int, suffix: str) -> None:
    query = cluster.nodes[node].query
    assert (
        query(
            "SELECT Minute, ServiceName, SeverityText, Host, Env, sum(Rows), sum(Bytes) "
            f"FROM otel.logs_volume_1m{suffix} WHERE ServiceName = 'shop' GROUP BY ALL"
        )
        == "2030-01-02 03:04:00\tshop\tERROR\th1\ttest\t1\t12"
    )
    assert (
        query(
            "SELECT SpanKind, SpanName, Env, sum(Calls), sum(Errors), sum(DurationSum), max(DurationMax), "
            "quantilesTDigestMerge(0.5, 0.9, 0.95, 0.99)(DurationQ)[1] "
            f"FROM otel.traces_red_1m{suffix} WHERE ServiceName = 'shop' GROUP BY ALL"
        )
        == "Server\tGET /\ttest\t1\t1\t2000000\t2000000\t2000000"
    )
    assert (
        query(
            "SELECT T, MetricName, Host, Attributes, sum(Cnt), sum(Sum), min(Min), max(Max) "
            f"FROM otel.metrics_gauge_5m{suffix} WHERE ServiceName = 'shop' GROUP BY ALL"
        )
        == "2030-01-02 03:00:00\tstock\th1\t{'item':'7'}\t1\t4.5\t4.5\t4.5"
    )
    assert (
        query(f"SELECT TraceId, min(Start), max(End) FROM otel.otel_traces_trace_id_ts{suffix} GROUP BY TraceId")
        == "0af7651916cd43dd8448eb211c80319c\t2030-01-02 03:04:05\t2030-01-02 03:04:05"
    )


def test_replica_that_differs_is_altered_to_match(cluster: Cluster, play: Play) -> None:
    """Settings are each replica's own."""
    cluster.nodes[1].query("ALTER TABLE otel.otel_logs_local MODIFY SETTING replicated_deduplication_window = 1")
    results = play()
    assert not results["ch0"]["changed"]
    assert results["ch1"]["statements"] == ["ALTER TABLE otel.otel_logs_local (MODIFY SETTING replicated_deduplication_window = 2000)"]
    assert not any(result["changed"] for result in play().values())


@pytest.mark.soak
@pytest.mark.usefixtures("rows")
def test_hosts_that_join_and_leave_the_inventory(cluster: Cluster, play: Play) -> None:
    """Also a thousand at once, by one statement."""
    hosts = "SELECT host, groups FROM otel.inventory_hosts FINAL ORDER BY host"
    assert [node.query(hosts) for node in cluster.nodes] == ["ch0\t[]\nch1\t[]"] * 2
    many = {"node_agent": {"hosts": {f"app{number:04}": None for number in range(1000)}}}
    joined = play(more=many)
    assert all(result["written"] and not result["changed"] for result in joined.values())
    for node in cluster.nodes:
        assert node.query(f"SELECT count(), countIf(has(groups, 'node_agent')) FROM ({hosts})") == "1002\t1000"
        assert node.query("SELECT uniq(written) FROM otel.inventory_hosts WHERE host LIKE 'app%'") == "1"
    assert not any(result["written"] for result in play(more=many).values())
    left = play()
    assert all(result["written"] for result in left.values())
    assert [node.query(hosts) for node in cluster.nodes] == ["ch0\t[]\nch1\t[]"] * 2


@pytest.mark.soak
@pytest.mark.usefixtures("rows")
def test_changed_retention_is_applied_and_reverted(cluster: Cluster, play: Play) -> None:
    for retention, ttl in (
        (
            {"logs": {"keep": "10d", "rules": [DEBUG]}},
            "toIntervalDay(10), toDateTime(Timestamp) + toIntervalDay(3) WHERE (SeverityNumber < 9)",
        ),
        ({}, "toIntervalDay(14)"),
    ):
        arguments = ("-e", json.dumps({"telemetry_schema_retention": retention}))
        announced = [result["statements"] for result in play("--check", *arguments).values()]
        assert announced[0] == announced[1]
        assert len(announced[0]) == 2, "the table, and the view that compares its rows with the retention"
        made = [statement for result in play(*arguments).values() for statement in result["statements"]]
        assert set(made) == set(announced[0])
        for node in cluster.nodes:
            assert f"TTL toDateTime(Timestamp) + {ttl}\n" in node.query("SHOW CREATE TABLE otel.otel_logs_local FORMAT TSVRaw")
        assert not any(result["changed"] for result in play(*arguments).values())


@pytest.mark.usefixtures("rows")
def test_newer_schema_is_refused(cluster: Cluster, play: Play) -> None:
    """Nothing is changed on the server that has it."""
    cluster.nodes[0].query("ALTER DATABASE otel MODIFY COMMENT 'telemetry schema 99'")
    cluster.nodes[0].query("ALTER TABLE otel.otel_logs_local MODIFY SETTING replicated_deduplication_window = 1")
    (result,) = play("--limit", "ch0").values()
    assert "Database otel of ch0 has version 99 of the telemetry schema, and this collection knows version 2" in result["msg"]
    assert "replicated_deduplication_window = 1," in cluster.nodes[0].query("SHOW CREATE TABLE otel.otel_logs_local")
    assert cluster.nodes[0].query("SELECT comment FROM system.databases WHERE name = 'otel'") == "telemetry schema 99"
    cluster.nodes[0].query("ALTER DATABASE otel MODIFY COMMENT 'telemetry schema 2'")
    cluster.nodes[0].query("ALTER TABLE otel.otel_logs_local MODIFY SETTING replicated_deduplication_window = 2000")


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"telemetry_schema_replicated": False}, "+ ENGINE = MergeTree"),
        ({"telemetry_schema_cluster": "other"}, "'other'"),
    ],
)
def test_unalterable_change_is_drift(play: Play, variables: dict[str, t.Any], line: str) -> None:
    for result in play("--check", "-e", json.dumps(variables)).values():
        assert result["failed"]
        assert line in result["msg"]


@pytest.mark.usefixtures("rows")
def test_partition_is_dropped_through_both_replicas_at_once(cluster: Cluster) -> None:
    """As by playbook size_cap, which runs for all servers of a shard at the same time."""
    days = [{**LOG, "Timestamp": f"2030-02-0{number} 00:00:00"} for number in (1, 2)]
    insert(cluster.nodes[0], "otel_logs_local", days)
    cluster.nodes[1].query("SYSTEM SYNC REPLICA otel.otel_logs_local")
    with ThreadPoolExecutor() as pool:
        drop = "ALTER TABLE otel.otel_logs_local DROP PARTITION '2030-02-01'"
        list(pool.map(lambda node: node.query(drop, max_partition_size_to_drop=0), cluster.nodes))
    for node in cluster.nodes:
        node.query("SYSTEM SYNC REPLICA otel.otel_logs_local")
        left = node.query("SELECT groupArray(toDate(Timestamp)) FROM otel.otel_logs_local WHERE Timestamp >= '2030-02-01'")
        assert left == "['2030-02-02']"


@pytest.mark.soak
@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("found_by", ["a query", "CHECK TABLE", "a restart"])
def test_merged_part_that_a_full_disk_left_empty_comes_from_the_other_replica(cluster: Cluster, found_by: str) -> None:
    """A server (26.7) took a merge as done though the disk was full and all files of the part were empty."""
    first, second = cluster.nodes
    for number in range(5):
        insert(first, "otel_logs_local", [{**LOG, "Timestamp": "2030-04-01 00:00:00", "Body": f"{found_by} {number}"}])
    first.query("OPTIMIZE TABLE otel.otel_logs_local PARTITION '2030-04-01' FINAL")
    second.query("SYSTEM SYNC REPLICA otel.otel_logs_local")
    part = first.query("SELECT path FROM system.parts WHERE active AND table = 'otel_logs_local' AND partition = '2030-04-01'")
    for file in Path(part).rglob("*.*"):
        os.truncate(file, 0)
    rows = "SELECT uniqExact(Body) FROM otel.otel_logs_local WHERE toDate(Timestamp) = '2030-04-01'"
    # The restart may put the files aside a second time.
    put_aside = f"SELECT count() > 0 FROM system.detached_parts WHERE match(name, '^broken.*{Path(part).name}')"
    if found_by == "a query":
        with pytest.raises(QueryError, match="Empty marks file"):
            first.query(rows)
        until("the part is put aside", lambda: first.query(put_aside) == "1")
    if found_by == "CHECK TABLE":
        assert "looks broken" in first.query("CHECK TABLE otel.otel_logs_local", check_query_single_value_result=0)
    if found_by == "a restart":
        first.restart()
    else:
        # Who read the part may still have it, and the server does not fetch it for minutes then. The runbook says so.
        first.query("SYSTEM RESTART REPLICA otel.otel_logs_local")
    until("the rows are there again", lambda: first.query(rows) == "5", 60)
    assert first.query(put_aside) == "1" and second.query(rows) == "5"
    first.query("ALTER TABLE otel.otel_logs_local DROP PARTITION '2030-04-01'")
    first.query("ALTER TABLE otel.otel_logs_local DROP DETACHED PARTITION ALL", allow_drop_detached=1)


@pytest.mark.usefixtures("rows")
def test_playbooks_that_drop(cluster: Cluster, playbook: Playbook, tmp_path: Path) -> None:
    """size_cap for all nodes at once, with a choice of the test instead of a full disk; and drop_old_system_logs."""
    node = cluster.nodes[0]
    insert(node, "otel_logs_local", [{**LOG, "Timestamp": f"2030-03-0{number} 00:00:00"} for number in (1, 2)])
    node.query("CREATE TABLE system.query_log_0 (x UInt8) ENGINE = MergeTree ORDER BY x")
    node.query("INSERT INTO system.query_log_0 VALUES (1)")
    chosen = {"drops": [{"table": "otel_logs_local", "day": "2030-03-01", "bytes": 1}], "left": []}
    both = [{"ansible.builtin.import_playbook": f"{ROOT}/playbooks/{name}.yml"} for name in ("size_cap", "drop_old_system_logs")]
    (tmp_path / "both.json").write_text(json.dumps(both), encoding="utf-8")
    variables = {"telemetry_schema_size_cap_percent": 80, "__telemetry_schema_over_cap": chosen}
    arguments = (tmp_path / "both.json", "-e", json.dumps(variables))
    group = {"clickhouse": {"hosts": {"ch0": None, "ch1": None}}}
    days = "SELECT arraySort(groupArray(toDate(Timestamp))) FROM otel.otel_logs_local WHERE Timestamp >= '2030-03-01'"
    left = "SELECT count() FROM system.tables WHERE database = 'system' AND name = 'query_log_0'"
    checked = playbook(*arguments, "--check", more=group)
    assert node.query(days) == "['2030-03-01','2030-03-02']" and node.query(left) == "1"
    dropped = playbook(*arguments, more=group)
    for tasks in (checked, dropped):
        assert {row["used"] < row["total"] for row in tasks["size_cap | Read the days on each disk"]["ch1"]["rows"]} == {True}
        changed = {name: [host for host, result in hosts.items() if result.get("changed")] for name, hosts in tasks.items()}
        assert sorted(changed["size_cap | Drop the oldest days"]) == ["ch0", "ch1"]
        assert changed["old_system_logs | Drop them"] == ["ch0"]
    for replica in cluster.nodes:
        replica.query("SYSTEM SYNC REPLICA otel.otel_logs_local")
        assert replica.query(days) == "['2030-03-02']"
    assert node.query(left) == "0"


class Writer(threading.Thread):
    """Inserts a log and a span a turn, through the replicas in turn, until it is told to stop. Each has its own name."""

    def __init__(self, nodes: tuple[ClickHouse, ...]) -> None:
        super().__init__()
        self.nodes, self.stop, self.turns, self.error = nodes, threading.Event(), 0, ""

    def run(self) -> None:
        while not self.stop.is_set():
            node, service = self.nodes[self.turns % len(self.nodes)], f"turn {self.turns}"
            try:
                for table, row in (("otel_logs_local", LOG), ("otel_traces_local", TRACE)):
                    until(f"{service} in {table}", functools.partial(self.sent, node, table, {**row, "ServiceName": service}), 120)
            except Exception as error:
                self.error = f"{service}: {error!r}"
                return
            self.turns += 1
            self.stop.wait(0.02)

    @staticmethod
    def sent(node: ClickHouse, table: str, row: dict[str, t.Any]) -> bool:
        """Whether a row was taken. A collector sends what was refused again, too, and the server leaves out a block that it has."""
        insert(node, table, [row], deduplicate_blocks_in_dependent_materialized_views=1)
        return True


def test_upgrade_from_version_1_while_rows_are_written(cluster: Cluster, play: Play) -> None:
    """With another retention at the same time, so that tables are altered. Check mode rehearses it and changes nothing."""
    for node in cluster.nodes:
        node.query("DROP DATABASE IF EXISTS otel SYNC")
    old = (Path(__file__).parent / "telemetry_schema_1.sql").read_text(encoding="utf-8")
    for node in cluster.nodes:
        for statement in old.split(";\n\n"):
            node.query(statement.rstrip().rstrip(";"))
        node.query("SYSTEM START TTL MERGES")
    for table, row in ROWS.items():
        insert(cluster.nodes[0], f"{table}_local", [row])
    retention = ("-e", json.dumps({"telemetry_schema_retention": {"logs": {"keep": "10d", "rules": [DEBUG]}}}))
    writer = Writer(cluster.nodes)
    writer.start()
    try:
        definitions = "SELECT groupArray(create_table_query) FROM (SELECT * FROM system.tables WHERE database = 'otel' ORDER BY name)"
        before = cluster.nodes[0].query(definitions)
        rehearsed = play("--check", *retention)
        assert cluster.nodes[0].query(definitions) == before
        done = play(*retention)
    finally:
        writer.stop.set()
        writer.join()
    assert writer.error == "" and writer.turns > 0
    statements = rehearsed["ch0"]["statements"]
    assert [statement.partition(" (")[0].partition(" AS ")[0].partition("\n")[0] for statement in statements] == [
        "ALTER DATABASE otel MODIFY COMMENT 'telemetry schema 2'",
        # All tables, for what is inserted is synced.
        *(f"ALTER TABLE otel.{name}" for name in re.findall(r"CREATE TABLE otel\.(\w+_local)", old)),
        "CREATE TABLE otel.inventory_hosts",
        # With columns of other types, as the local tables.
        *(f"ALTER TABLE otel.{name}" for name in ROWS),
        "CREATE VIEW otel.retention",
    ]
    made = {statement for result in done.values() for statement in result["statements"]}
    assert made >= set(statements)
    # Settings are each replica's own. One that finds the rest altered by its peer changes them by that part of the statement.
    for statement in made - set(statements):
        table, _, settings = statement.rstrip(")").partition(" (MODIFY SETTING ")
        assert any(announced.startswith(f"{table} (") and f"MODIFY SETTING {settings}" in announced for announced in statements), statement
    assert not any(result["changed"] or result["written"] for result in play(*retention).values())
    for node in cluster.nodes:
        for table in ("otel_logs_local", "otel_traces_local"):
            node.query(f"SYSTEM SYNC REPLICA otel.{table}")
            counted = node.query(f"SELECT count(), uniq(ServiceName), countIf(ServiceName = 'shop') FROM otel.{table}")
            assert counted == f"{writer.turns + 1}\t{writer.turns + 1}\t1", table
        for roll_up, rows in (("logs_volume_1m_local", "sum(Rows)"), ("traces_red_1m_local", "sum(Calls)")):
            node.query(f"SYSTEM SYNC REPLICA otel.{roll_up}")
            assert node.query(f"SELECT {rows} FROM otel.{roll_up}") == str(writer.turns + 1)
        for table in ROWS:
            assert node.query(f"SELECT countIf(ServiceName = 'shop') FROM otel.{table}_local") == "1", table
