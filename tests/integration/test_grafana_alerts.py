# GNU General Public License v3.0+ (see LICENSE)
"""Every alert fires on data on which it must, and stays quiet on data on which it must not, on a real ClickHouse.

Each rule is evaluated by its own query, reduction and threshold, as the ClickHouse user that the role makes for Grafana, in a cluster of
which one server does not answer. A state that lasts is shown by the moment of the evaluation: an hour later, a mutation is an hour old.
Where a state of a server is too costly to make, copy_of() replaces the system table by its own rows with other values in some columns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.groundwork.observability.plugins.filter.clickhouse_xml import to_clickhouse_xml
from ansible_collections.groundwork.observability.plugins.filter.grafana_alerts import grafana_alert_rules

from tests.support.clickhouse import ClickHouse, until
from tests.support.daemon import free_ports
from tests.support.grafana_alerts import evaluate
from tests.support.pki import Pki
from tests.support.zookeeper import ZooKeeper

pytestmark = pytest.mark.integration

ROLES = Path(__file__).parents[2] / "roles"
RUNBOOKS = ROLES.parent / "docs" / "runbooks"
GROUPS = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(ROLES.glob("grafana/files/alerts/*.yml"))]
VALUES = {"cluster": "otel", "zookeeper_hosts": ["zk1", "zk2", "zk3"], "node_agent_hosts": ["h1", "h2"], "slo_percent": 99.9}
RULES = {rule["uid"]: rule for group in grafana_alert_rules(GROUPS, VALUES) for rule in group["rules"]}


@dataclass(frozen=True)
class State:
    """A state of the server and its data.

    Statements or a function that make it; what replaces a system table; when the rule is evaluated, in seconds from now; and the labels of
    the instances that fire then.
    """

    make: Sequence[str] | Callable[[ClickHouse], None] = ()
    replaced: tuple[str, str] | None = None
    later: int = 0
    firing: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class Case:
    """One state in which the alert fires, and one in which it has rows that do not reach the threshold."""

    fires: State
    quiet: State
    # No row is what a good state looks like.
    empty: bool = False


def rendered(role: str, expression: str, **values: Any) -> Any:
    """What an expression is with the defaults and variables of a role."""
    loader = DataLoader()
    known: dict[str, Any] = {}
    for path in (ROLES / role / "defaults/main.yml", *(ROLES / role / "vars/main").glob("*.yml")):
        known |= loader.load_from_file(str(path), trusted_as_template=True)
    return Templar(loader=loader, variables={**known, **values}).template(trust_as_template(f"{{{{ {expression} }}}}"))


def grafana_user() -> str:
    """The ClickHouse user of Grafana as the role makes it, without a password."""
    profile = rendered("clickhouse", "__clickhouse_users.profiles.grafana")
    rights = rendered("clickhouse", "__clickhouse_rights.grafana", __clickhouse_database="otel")
    user = {"password": "", "networks": {"ip": "::/0"}, "quota": "default", **rights}
    text = to_clickhouse_xml({"profiles": {"grafana": profile}, "users": {"grafana": user}})
    return text.strip().removeprefix("<clickhouse>").removesuffix("</clickhouse>")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """One server with the telemetry's tables, in a cluster whose second replica does not answer."""
    pki = Pki(tmp_path_factory.mktemp("pki"))
    https, nobody = free_ports(2)
    with ZooKeeper() as zookeeper:
        node = ClickHouse(
            f"{pki.config()}<https_port>{https}</https_port>"
            + "".join(f"<{log}><database>system</database><table>{log}</table></{log}>" for log in ("query_log", "part_log")),
            users=grafana_user(),
            zookeeper=zookeeper.address,
            macros={"shard": "1", "replica": "a", "cluster": "otel"},
        )
        replicas = "".join(f"<replica><host>127.0.0.1</host><port>{port}</port></replica>" for port in (node.tcp_port, nobody))
        shard = f"<shard><internal_replication>true</internal_replication>{replicas}</shard>"
        node.write("config.d/cluster.xml", f"<remote_servers><otel>{shard}</otel></remote_servers>")
        with node:
            objects = rendered(
                "telemetry_schema", "__telemetry_schema_objects", telemetry_schema_cluster="otel", telemetry_schema_replicated=False
            )
            node.query("CREATE DATABASE otel")
            for item in objects:
                if "ddl" in item:
                    node.query(item["ddl"])
            node.query("SYSTEM FLUSH LOGS query_log, part_log")
            yield node


@pytest.fixture
def empty(server: ClickHouse) -> Iterator[ClickHouse]:
    """The server without rows, and without what tests have made."""
    tables = server.query("SELECT name FROM system.tables WHERE database = 'otel' AND name LIKE '%_local' AND total_rows > 0")
    for table in tables.split():
        server.query(f"TRUNCATE TABLE otel.{table}")
    yield server
    for table in server.query("SELECT table FROM system.detached_tables WHERE database = 'otel'").split():
        server.query(f"ATTACH TABLE otel.{table}")
    for table in ("snapshot", "product", "t", "t1", "t2"):
        server.query(f"DROP TABLE IF EXISTS otel.{table} SYNC")


def points(table: str, metric: str, value: str, host: str, service: str, attributes: dict[str, str], ago: int, count: int) -> str:
    """Inserts points of a metric, the newest C(ago) seconds old, 30 seconds between two; the value is SQL of their C(number)."""
    attribute_map = "map(" + ", ".join(f"'{key}', '{text}'" for key, text in attributes.items()) + ")" if attributes else "map()"
    return (
        f"INSERT INTO otel.otel_metrics_{table}_local (ResourceAttributes, ServiceName, MetricName, Attributes, TimeUnix, Value) "
        f"SELECT map('host.name', '{host}'), '{service}', '{metric}', CAST({attribute_map}, 'Map(LowCardinality(String), String)'), "
        f"now() - {ago} - 30 * number, {value} FROM numbers({count})"
    )


def gauge(
    metric: str, value: float | str, host: str = "h1", service: str = "otelcol-node-agent", ago: int = 5, count: int = 1, **attributes: str
) -> str:
    """Points of a gauge."""
    return points("gauge", metric, str(value), host, service, attributes, ago, count)


def counter(
    metric: str, value: float | str, host: str = "h1", service: str = "otelcol-node-agent", ago: int = 5, count: int = 1, **attributes: str
) -> str:
    """Points of a sum."""
    return points("sum", metric, str(value), host, service, attributes, ago, count)


def copy_of(table: str, **columns: str) -> tuple[str, str]:
    """Replaces a system table of all replicas by its own rows with other values in some columns, one row without any rows."""
    values = ", ".join(f"{value} AS {column}" for column, value in columns.items())
    return (f"clusterAllReplicas('otel', system.{table})", f"(SELECT * REPLACE ({values}) FROM system.{table})")


def plain(name: str = "t", settings: str = "index_granularity = 8192") -> str:
    return f"CREATE TABLE otel.{name} (x UInt32) ENGINE = MergeTree ORDER BY x SETTINGS {settings}"


def replicated(name: str, replica: str) -> str:
    return f"CREATE TABLE otel.{name} (x UInt32) ENGINE = ReplicatedMergeTree('/test/{{database}}/t', '{replica}') ORDER BY x"


def read_only_replica(server: ClickHouse) -> None:
    """A replica whose entry in ZooKeeper is gone."""
    for number in "12":
        server.query(replicated(f"t{number}", number))
    server.query("DETACH TABLE otel.t2 SYNC")
    server.query("SYSTEM DROP REPLICA '2' FROM ZKPATH '/test/otel/t'")
    server.query("ATTACH TABLE otel.t2")
    until("read-only", lambda: server.query("SELECT is_readonly FROM system.replicas WHERE table = 't2'") == "1")


def missing_replica(server: ClickHouse) -> None:
    """A replica that ZooKeeper knows and no server has."""
    for number in "12":
        server.query(replicated(f"t{number}", number))
    server.query("DETACH TABLE otel.t2 SYNC")
    until("inactive", lambda: server.query("SELECT active_replicas FROM system.replicas WHERE table = 't1'") == "1", 30)


def broken_part(server: ClickHouse) -> None:
    """A part that is put aside, with the name that the server gives to one that it cannot read."""
    server.query(plain())
    server.query("INSERT INTO otel.t VALUES (1)")
    server.query("ALTER TABLE otel.t DETACH PART 'all_1_1_0'")
    path = Path(server.query("SELECT path FROM system.detached_parts"))
    path = path if path.is_absolute() else server.folder / "data" / path
    path.rename(path.with_name(f"broken_{path.name}"))


def failing_mutation(server: ClickHouse) -> None:
    server.query(plain())
    server.query("INSERT INTO otel.t VALUES (1)")
    server.query("ALTER TABLE otel.t DELETE WHERE throwIf(x = 1) SETTINGS mutations_sync = 0")
    until("fails", lambda: server.query("SELECT latest_fail_reason != '' FROM system.mutations") == "1")


def waiting_mutation(server: ClickHouse) -> None:
    server.query(plain())
    server.query("INSERT INTO otel.t VALUES (1)")
    server.query("SYSTEM STOP MERGES otel.t")
    server.query("ALTER TABLE otel.t DELETE WHERE x = 1 SETTINGS mutations_sync = 0")


def refused_insert(server: ClickHouse) -> None:
    """More parts than the table may have."""
    server.query(plain(settings="parts_to_throw_insert = 1, parts_to_delay_insert = 0"))
    server.query("SYSTEM STOP MERGES otel.t")
    server.query("INSERT INTO otel.t VALUES (1)")
    with pytest.raises(Exception, match="TOO_MANY_PARTS"):
        server.query("INSERT INTO otel.t VALUES (2)")


def snapshot(query: str) -> Callable[[ClickHouse], None]:
    """A view that is refreshed once, with rows of a query."""

    def make(server: ClickHouse) -> None:
        server.query("CREATE TABLE otel.product (x UInt32) ENGINE = MergeTree ORDER BY x")
        server.query(f"CREATE MATERIALIZED VIEW otel.snapshot REFRESH EVERY 1 YEAR TO otel.product AS {query}")
        ended = "status NOT IN ('Running', 'Scheduling') AND (last_success_time IS NOT NULL OR exception != '')"
        done = f"SELECT {ended} FROM system.view_refreshes"
        until("refreshed", lambda: server.query(done) == "1")

    return make


def many_parts(count: int) -> list[str]:
    """As many parts in one partition."""
    insert = f"INSERT INTO otel.t SELECT number FROM numbers({count})"
    return [
        plain(),
        "SYSTEM STOP MERGES otel.t",
        f"{insert} SETTINGS max_block_size = 1, min_insert_block_size_rows = 1, max_insert_threads = 1",
    ]


HOST = "@host@"
UP, DOWN = 1, 0
CASES = {
    "clickhouse-down": Case(
        State([gauge("up", UP, "ch1", "clickhouse"), gauge("up", "number >= 1", "ch2", "clickhouse", count=4)], firing=({"host": "ch2"},)),
        State([gauge("up", UP, "ch1", "clickhouse"), gauge("up", "number < 1", "ch2", "clickhouse", count=4)]),
    ),
    "clickhouse-replica-readonly": Case(State(read_only_replica, firing=({"host": HOST},)), State([replicated("t1", "1")])),
    "clickhouse-replica-behind": Case(
        State([replicated("t1", "1")], copy_of("replicas", absolute_delay="301"), firing=({"host": HOST},)),
        State([replicated("t1", "1")], copy_of("replicas", absolute_delay="300")),
    ),
    "clickhouse-replica-missing": Case(State(missing_replica, firing=({"shard": "1"},)), State([replicated("t1", "1")])),
    "clickhouse-parts": Case(State(many_parts(301), firing=({"host": HOST},)), State(many_parts(9))),
    "clickhouse-inserts-refused": Case(
        State(refused_insert, firing=({"host": HOST, "error": "TOO_MANY_PARTS"},)), State(refused_insert, later=400)
    ),
    "clickhouse-broken-parts": Case(
        State(broken_part, firing=({"host": HOST, "table": "otel.t"},)),
        State([plain(), "INSERT INTO otel.t VALUES (1)", "ALTER TABLE otel.t DETACH PART 'all_1_1_0'"]),
    ),
    "clickhouse-mutation-failing": Case(
        State(failing_mutation, firing=({"host": HOST, "table": "otel.t"},)), State(waiting_mutation), empty=True
    ),
    "clickhouse-mutation-stuck": Case(
        State(waiting_mutation, later=3700, firing=({"host": HOST, "table": "otel.t"},)), State(waiting_mutation, later=3500)
    ),
    "clickhouse-disk": Case(
        State((), copy_of("disks", unreserved_space="14", total_space="100"), firing=({"host": HOST, "disk": "default"},)),
        State((), copy_of("disks", unreserved_space="16", total_space="100")),
    ),
    "clickhouse-snapshot-failing": Case(
        State(snapshot("SELECT throwIf(1)::UInt32 AS x"), firing=({"host": HOST, "view": "otel.snapshot"},)),
        State(snapshot("SELECT 1::UInt32 AS x")),
    ),
    "clickhouse-snapshot-stale": Case(
        State(snapshot("SELECT 1::UInt32 AS x"), later=7300, firing=({"host": HOST, "view": "otel.snapshot"},)),
        State(snapshot("SELECT 1::UInt32 AS x"), later=7000),
    ),
    "clickhouse-old-system-logs": Case(
        State(["CREATE TABLE system.query_log_0 (x UInt8) ENGINE = Memory"], firing=({"host": HOST},)),
        State(["DROP TABLE IF EXISTS system.query_log_0"]),
    ),
    "certificate-authority-expires": Case(
        State(firing=({"host": HOST, "authority": "/CN=test CA"},)),
        State(later=-40 * 86400),
    ),
    "zookeeper-down": Case(
        State([gauge("up", DOWN, "zk1", "zookeeper"), gauge("up", UP, "zk2", "zookeeper")], firing=({"host": "zk1"},)),
        State([gauge("up", UP, "zk1", "zookeeper"), gauge("up", UP, "zk2", "zookeeper")]),
    ),
    "zookeeper-no-leader": Case(
        State([gauge("up", UP, "zk1", "zookeeper"), gauge("synced_followers", 2, "zk2", "zookeeper", ago=200)], firing=({},)),
        State([gauge("up", UP, "zk1", "zookeeper"), gauge("synced_followers", 2, "zk2", "zookeeper", ago=100)]),
    ),
    "zookeeper-followers": Case(
        State([gauge("synced_followers", "1 + number", "zk2", "zookeeper", count=2)], firing=({},)),
        State([gauge("synced_followers", "2 - number", "zk2", "zookeeper", count=2)]),
    ),
    "zookeeper-requests": Case(
        State([gauge("outstanding_requests", 101, "zk1", "zookeeper", count=5)], firing=({"host": "zk1"},)),
        State([gauge("outstanding_requests", "if(number = 0, 400, 20)", "zk1", "zookeeper", count=5)]),
    ),
    "zookeeper-file-descriptors": Case(
        State(
            [gauge(f"{what}_file_descriptor_count", value, "zk1", "zookeeper") for what, value in (("open", 81), ("max", 100))],
            firing=({"host": "zk1"},),
        ),
        State([gauge(f"{what}_file_descriptor_count", value, "zk1", "zookeeper") for what, value in (("open", 80), ("max", 100))]),
    ),
    "zookeeper-transactions": Case(
        State((), copy_of("zookeeper_connection", last_zxid_seen="bitShiftLeft(7::Int64, 32) + 3900000000"), firing=({},)),
        State((), copy_of("zookeeper_connection", last_zxid_seen="bitShiftLeft(7::Int64, 32) + 3800000000")),
    ),
}


def run(server: ClickHouse, uid: str, state: State, ask: Callable[[str], str] | None = None) -> list[Any]:
    """Make a state, and evaluate the rule."""
    for statement in () if callable(state.make) else state.make:
        server.query(statement)
    if callable(state.make):
        state.make(server)

    def query(text: str) -> str:
        if state.replaced:
            assert state.replaced[0] in text
            text = text.replace(*state.replaced)
        return server.query(text, user="grafana", database="otel", default_format="JSONCompact", max_execution_time=60)

    return evaluate(RULES[uid], ask or query, datetime.now(UTC) + timedelta(seconds=state.later))


def labels_of(server: ClickHouse, wanted: dict[str, str]) -> dict[str, str]:
    return {name: server.query("SELECT hostName()") if value == HOST else value for name, value in wanted.items()}


@pytest.mark.parametrize("uid", CASES)
def test_fires(empty: ClickHouse, uid: str) -> None:
    found = run(empty, uid, CASES[uid].fires)
    firing = [instance.labels for instance in found if instance.firing]
    assert firing == [labels_of(empty, wanted) for wanted in CASES[uid].fires.firing], found


@pytest.mark.parametrize("uid", CASES)
def test_does_not_fire(empty: ClickHouse, uid: str) -> None:
    found = run(empty, uid, CASES[uid].quiet)
    assert [instance for instance in found if instance.firing] == []
    assert CASES[uid].empty or any(instance.value == instance.value for instance in found), "no row says nothing"


def test_unreachable_clickhouse(server: ClickHouse) -> None:
    """The only rule that fires because a query fails. The other rules do not."""
    uid = "clickhouse-unreachable"
    assert [instance.firing for instance in run(server, uid, State())] == [False]
    refused = run(server, uid, State(), lambda text: server.query(text, user="grafana", password="of another time"))
    assert [instance.firing for instance in refused] == [True]
    assert [name for name, rule in RULES.items() if rule["execErrState"] == "Alerting"] == [uid]


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_queries_of_runbooks(server: ClickHouse, page: Path) -> None:
    """Each query that a runbook shows runs on this version."""
    for query in re.findall(r'^\$ ask "(SELECT .*)"$', page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        server.query(f"EXPLAIN {query}", database="otel")


def test_every_alert_has_a_case() -> None:
    assert set(CASES) | {"clickhouse-unreachable"} == set(RULES)


def test_values_are_json() -> None:
    """What the role writes is data that Grafana reads back unchanged."""
    assert json.loads(json.dumps(RULES)) == RULES
