# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What clickhouse_schema has created, or has found as somebody else created it, it never wants to change again."""

from __future__ import annotations

import json
import time
import typing as t
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.groundwork.observability.plugins.modules import clickhouse_schema

from tests.support import otelcol
from tests.support.clickhouse import ClickHouse
from tests.support.daemon import Daemon, free_ports
from tests.support.zookeeper import ZooKeeper

pytestmark = pytest.mark.integration

Result = dict[str, t.Any]
Run = Callable[..., Result]

USERS = """
<profiles><default>
  <s3_retry_attempts>0</s3_retry_attempts><azure_sdk_max_retries>0</azure_sdk_max_retries>
  <allow_experimental_kafka_offsets_storage_in_keeper>1</allow_experimental_kafka_offsets_storage_in_keeper>
</default></profiles>
<users><default><grants><query>GRANT ALL ON *.* WITH GRANT OPTION</query></grants></default></users>
"""
CONFIG = """
<default_replica_path>/clickhouse/tables/{shard}/{database}/{table}</default_replica_path>
<default_replica_name>{replica}</default_replica_name>
<keeper_map_path_prefix>/keeper_map</keeper_map_path_prefix>
<graphite_rollup>
  <version_column_name>Version</version_column_name>
  <default><function>avg</function><retention><age>0</age><precision>60</precision></retention></default>
</graphite_rollup>
<named_collections>
  <archive>
    <url>http://127.0.0.1:1/bucket/</url><access_key_id>key</access_key_id><secret_access_key>hunter2</secret_access_key>
  </archive>
  <crm><host>h</host><port>5432</port><user>u</user><password>hunter2</password><database>d</database></crm>
</named_collections>
"""
# As they stand in the data: passwords, session tokens, and an account's key.
SECRETS = ("hunter", "aHVudGVyMg")


@pytest.fixture(scope="module")
def server() -> Iterator[ClickHouse]:
    """One server with a ZooKeeper, and what some engines want to find."""
    with ZooKeeper() as zookeeper:
        macros = {"shard": "1", "replica": "a", "cluster": "one"}
        node = ClickHouse(CONFIG, users=USERS, zookeeper=zookeeper.address, macros=macros)
        shard = f"<shard><replica><host>127.0.0.1</host><port>{node.tcp_port}</port></replica></shard>"
        disks = f"<custom_local_disks_base_directory>{node.folder}/disks/</custom_local_disks_base_directory>"
        scripts = f"<user_scripts_path>{node.folder}/scripts/</user_scripts_path>"
        node.write("config.d/more.xml", f"<remote_servers><one>{shard}</one></remote_servers>{disks}{scripts}")
        (node.folder / "scripts").mkdir()
        (node.folder / "data" / "logs").mkdir(parents=True)
        (node.folder / "data" / "rows.jsonl").write_text('{"id": 1, "name": "a"}\n', encoding="utf-8")
        with node:
            yield node


@pytest.fixture
def run(server: ClickHouse, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call the module."""

    def call(objects: Sequence[dict[str, t.Any]], *, check: bool = False, **options: t.Any) -> Result:
        where = {"login_host": server.host, "login_port": server.port, "secure": False, "retries": 0}
        arguments = {"objects": objects, "_ansible_check_mode": check, "_ansible_diff": True, **where, **options}
        capsys.readouterr()
        with patch_module_args(arguments), pytest.raises(SystemExit):
            clickhouse_schema.main()
        text = capsys.readouterr().out
        assert not any(secret in text for secret in SECRETS)
        return dict(json.loads(text))

    return call


def everything(server: ClickHouse) -> str:
    """All that a run might change, in the server's own words."""
    return server.query(
        "SELECT database, name, uuid, create_table_query FROM system.tables WHERE lower(database) NOT IN ('system', 'information_schema') "
        "AND NOT is_temporary ORDER BY ALL"
    ) + server.query("SELECT name, uuid, engine_full, comment FROM system.databases ORDER BY name")


def shown(server: ClickHouse, database: str) -> dict[str, str]:
    """The statements of a database as SHOW CREATE prints them."""
    names = server.query(
        f"SELECT name FROM system.tables WHERE database = '{database}' AND NOT startsWith(name, '.inner') FORMAT TSVRaw"
    ).splitlines()
    return {name: server.query(f"SHOW CREATE TABLE {database}.`{name}` FORMAT TSVRaw") for name in names}


def stored(server: ClickHouse, database: str) -> dict[str, str]:
    """The statements of a database as system.tables has them."""
    query = f"SELECT name, create_table_query FROM system.tables WHERE database = '{database}' AND NOT startsWith(name, '.inner')"
    rows = server.query(f"{query} FORMAT JSONCompactEachRow").splitlines()
    return dict(map(json.loads, rows))


def differences(result: Result) -> dict[str, tuple[str, str, str]]:
    """Of each object that is not as declared: what it is, what it should be, and why it cannot be that."""
    assert "failed" not in result, result["msg"]
    return {
        state["name"]: (state["before"], state["after"], state["reason"]) for state in result["objects"] if state["status"] != "present"
    }


def is_settled(run: Run, objects: Sequence[dict[str, t.Any]], *, check: bool = False) -> None:
    """Nothing is to be done, and nothing is spoken of but what is declared."""
    again = run(objects, check=check, on_drift="report")
    assert differences(again) == {}
    assert again["statements"] == again["diff"] == []
    assert not again["changed"]
    assert len(again["objects"]) == len(objects)


def is_created(run: Run, objects: Sequence[dict[str, t.Any]], untouched: Callable[[], None] = lambda: None) -> None:
    """Check mode announces what the run then does, one statement for each; what has to be true between the two."""
    check = run(objects, check=True)
    untouched()
    do = run(objects)
    for result in (check, do):
        assert "failed" not in result, result["msg"]
        assert {state["status"] for state in result["objects"]} == {"created"}
    assert check["statements"] == do["statements"]
    assert len(do["statements"]) == len(objects)


class Collector(Daemon):
    """The real collector with the ClickHouse exporter, that makes its own tables: of each kind a database."""

    databases = ("otel", "otel_json", "otel_replicated")

    def __init__(self, tcp_port: int) -> None:
        super().__init__()
        (self.port,) = free_ports(1)
        exporter = {"endpoint": f"tcp://127.0.0.1:{tcp_port}", "create_schema": True}
        exporters = {
            "clickhouse": {**exporter, "database": "otel", "ttl": "72h"},
            "clickhouse/json": {**exporter, "database": "otel_json", "json": True},
            "clickhouse/replicated": {**exporter, "database": "otel_replicated", "table_engine": {"name": "ReplicatedMergeTree"}},
        }
        pipelines = {signal: {"receivers": ["otlp"], "exporters": list(exporters)} for signal in ("logs", "traces", "metrics")}
        config = {
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{self.port}"}}}},
            "exporters": exporters,
            "service": {"telemetry": {"metrics": {"level": "none"}}, "pipelines": pipelines},
        }
        (self.folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")

    @staticmethod
    def program() -> Path:
        """The collector of the testbed."""
        return otelcol.program()

    def argv(self) -> Sequence[str | Path]:
        """In the foreground."""
        return [self.program(), f"--config={self.folder}/config.yaml"]

    def ready(self) -> bool:
        """Whether it takes records; its exporters have made their tables before that."""
        try:
            self.send("logs", {})
        except urllib.error.URLError:
            return False
        return True

    def send(self, signal: str, body: Result) -> None:
        """Send OTLP as JSON."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/{signal}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200


def send_one_of_each(collector: Collector) -> None:
    """A log record, a span, and a point of each kind of metric."""
    now = str(time.time_ns())
    at = {"timeUnixNano": now, "startTimeUnixNano": now}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    span = {"traceId": "a" * 32, "spanId": "b" * 16, "name": "buy", "startTimeUnixNano": now, "endTimeUnixNano": now}
    metrics = {
        "gauge": {**at, "asDouble": 1.5},
        "sum": {**at, "asDouble": 1.5},
        "summary": {**at, "count": "1", "sum": 1.0, "quantileValues": [{"quantile": 0.5, "value": 1.0}]},
        "histogram": {**at, "count": "1", "sum": 1.0, "bucketCounts": ["1", "0"], "explicitBounds": [2.0]},
        "exponentialHistogram": {**at, "count": "1", "sum": 1.0, "scale": 1, "positive": {"offset": 0, "bucketCounts": ["1"]}},
    }
    over_time = {kind: {} if kind in ("gauge", "summary") else {"aggregationTemporality": 2} for kind in metrics}
    points = [{"name": kind, kind: {"dataPoints": [point], **over_time[kind]}} for kind, point in metrics.items()]
    body = {"body": {"stringValue": "sold"}, "timeUnixNano": now}
    collector.send("logs", {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [body]}]}]})
    collector.send("traces", {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]})
    collector.send("metrics", {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": points}]}]})


def is_complete(server: ClickHouse, database: str) -> bool:
    """Whether every table of the collector is there and holds something."""
    query = "SELECT count(), countIf(total_rows > 0) FROM system.tables WHERE database = '{}'"
    return server.query(query.format(database)) == "9\t8"


def elsewhere(text: str, database: str) -> str:
    """The statement for another database, in ZooKeeper as well."""
    return text.replace(f"{database}.", f"new_{database}.").replace(f"/{database}/", f"/new_{database}/")


def test_tables_of_the_collector_are_no_drift(server: ClickHouse, run: Run) -> None:
    """Those that its exporter makes by itself, of every signal: as they are, and declared for another database."""
    with Collector(server.tcp_port) as collector:
        send_one_of_each(collector)
        deadline = time.monotonic() + 20
        while not all(is_complete(server, database) for database in Collector.databases):
            assert time.monotonic() < deadline, collector.log.read_text(encoding="utf-8")[-3000:]
            time.sleep(0.05)
    texts = {database: stored(server, database) for database in Collector.databases}
    assert {len(found) for found in texts.values()} == {9}
    pretty = {database: shown(server, database) for database in Collector.databases}
    assert all("\n" in text for found in pretty.values() for text in found.values())
    untouched = everything(server)
    for source in (texts, pretty):
        names = [{"kind": "database", "name": database} for database in Collector.databases]
        is_settled(run, [*names, *({"ddl": text} for found in source.values() for text in found.values())])
    assert everything(server) == untouched

    objects: list[dict[str, t.Any]] = [{"kind": "database", "name": f"new_{database}"} for database in Collector.databases]
    for database, found in pretty.items():
        objects += [{"ddl": elsewhere(text, database)} for text in found.values()]
    is_created(run, objects)
    is_settled(run, objects)
    for database, found in texts.items():
        assert stored(server, f"new_{database}") == {name: elsewhere(text, database) for name, text in found.items()}


DATA = (Path(__file__).parent / "clickhouse_definitions.sql").read_text(encoding="utf-8")
DATABASES = (
    "Atomic SETTINGS lazy_load_tables = true",
    "Memory",
    "Dictionary",
    "Filesystem('{folder}/data/logs')",
    "PostgreSQL('127.0.0.1:1', 'd', 'u', 'hunter2', 'sales', 1)",
    "PostgreSQL(crm, schema = 'sales')",
    "Replicated('/databases/a', '{shard}', '{replica}')",
    "Replicated('/databases/b', 's1', 'r1') SETTINGS max_broken_tables_ratio = 1",
    "S3('http://127.0.0.1:1/bucket/', 'NOSIGN')",
    "S3('http://127.0.0.1:1/bucket/', 'key', 'hunter2')",
    "SQLite('rows.sqlite')",
)


def definitions(server: ClickHouse) -> list[dict[str, t.Any]]:
    """All of them. What depends on another comes without order, as users write it."""
    statements = [text for text in DATA.split("\n\n") if "\nCREATE" in f"\n{text}"]
    engines = [engine.replace("{folder}", str(server.folder)) for engine in DATABASES]
    return [
        *({"ddl": text.replace("{folder}", str(server.folder))} for text in reversed(statements)),
        {"kind": "database", "name": "x", "engine": "Atomic", "comment": "it's"},
        *({"kind": "database", "name": f"x{number}", "engine": engine} for number, engine in enumerate(engines)),
    ]


def test_definitions_are_settled_after_the_first_run(server: ClickHouse, run: Run) -> None:
    """Nor does anything that happens to a table show as a difference of its definition."""
    objects = definitions(server)
    assert len(objects) > 200
    before = everything(server)

    def untouched() -> None:
        """Neither tables, nor what is beside them: a file of another engine's, a node of a queue."""
        assert everything(server) == before
        assert not {"rocks", "rows.sqlite"} & {path.name for path in (server.folder / "data").iterdir()}
        nodes = "SELECT name FROM system.zookeeper WHERE path = '/' AND name IN ('kafka', 's3queue', 'keeper_map', 'databases')"
        assert server.query(nodes) == ""

    is_created(run, objects, untouched)
    made = everything(server)
    is_settled(run, objects, check=True)
    is_settled(run, objects)
    assert everything(server) == made

    # Columns that no definition has, parts of every state, loaded dictionaries, a filled view.
    server.query("INSERT INTO x.src SELECT number, number / 2, now(), 'a', 1, map() FROM numbers(10)")
    server.query("INSERT INTO x.block_columns SELECT number FROM numbers(10)")
    server.query("DELETE FROM x.block_columns WHERE id = 1")
    server.query("ALTER TABLE x.src UPDATE name = 'b' WHERE id = 2 SETTINGS mutations_sync = 2")
    server.query("SYSTEM RELOAD DICTIONARY x.flat")
    server.query("SYSTEM REFRESH VIEW x.refresh_every")
    server.query("SYSTEM WAIT VIEW x.refresh_every")
    server.query("DETACH TABLE x.merge_tree")
    server.query("ATTACH TABLE x.merge_tree")
    is_settled(run, objects)
    # From its files, and as it writes them itself; what it hides cannot be declared like that.
    server.restart()
    is_settled(run, objects)
    for texts in (stored(server, "x"), shown(server, "x")):
        is_settled(run, [{"ddl": text} for text in texts.values() if "[HIDDEN]" not in text])


DEPENDENT = """
CREATE TABLE y.colours (id bigint unsigned, name text) ENGINE = Join(ANY, LEFT, id)

CREATE TABLE y.ids (id UInt64) ENGINE = Set

CREATE DICTIONARY y.names (id UInt64, name String) PRIMARY KEY id SOURCE(NULL()) LAYOUT(FLAT()) LIFETIME(0)

CREATE FUNCTION y_twice AS n -> n * 2

CREATE TABLE y.rows (
  id bigint unsigned, at DateTime, name text DEFAULT dictGet('y.names', 'name', id), twice bigint unsigned ALIAS y_twice(id),
  colour text MATERIALIZED joinGet('y.colours', 'name', id), listed Bool DEFAULT id IN y.ids,
  CONSTRAINT known CHECK dictHas('y.names', id)
)
ENGINE = MergeTree
ORDER BY id
TTL at + INTERVAL 1 DAY DELETE WHERE dictHas('y.names', id)

CREATE TABLE y.log (id bigint, name text DEFAULT dictGet(y.names, 'name', id::UInt64)) ENGINE = Log

CREATE TABLE y.same (id UInt64, name String) ENGINE = Dictionary(y.names)
"""


def test_comparison_leaves_no_references(server: ClickHouse, run: Run) -> None:
    """The server forgets a temporary table, but not that it referred to a dictionary: nobody could drop that again."""
    objects = [{"kind": "database", "name": "y"}, *({"ddl": text} for text in DEPENDENT.strip().split("\n\n"))]
    is_created(run, objects)
    # Also a run that fails half-way.
    assert run([*objects, {"ddl": "CREATE TABLE y.wrong (a Nothing2) ENGINE = Memory"}], check=True)["failed"]
    is_settled(run, objects)
    # Tables whose definition cannot be read, because what it calls is missing, are compared once that is there.
    server.query("DROP FUNCTION y_twice")
    server.query("DROP DICTIONARY y.names SYNC SETTINGS check_table_dependencies = 0")
    for check in (True, False):
        again = run(objects, check=check)
        assert [text.split(" AS ")[0].split(" (")[0] for text in again["statements"]] == [
            "CREATE FUNCTION y_twice",
            "CREATE DICTIONARY y.names",
        ]
    is_settled(run, objects)
    # A change is rehearsed on a twin of the table.
    changed = [{"ddl": entry["ddl"].replace("at DateTime", "at DateTime, more text")} if "ddl" in entry else entry for entry in objects]
    assert run(changed)["statements"] == ["ALTER TABLE y.rows (ADD COLUMN `more` String AFTER at)"]
    is_settled(run, changed)
    tables = [{"kind": "table", "name": f"y.{name}", "state": "absent"} for name in ("rows", "log", "same", "colours", "ids")]
    gone = [*tables, {"kind": "dictionary", "name": "y.names", "state": "absent"}, {"kind": "database", "name": "y", "state": "absent"}]
    result = run(gone, allow=["drop_table"])
    assert "failed" not in result, result["msg"]
    assert len(result["statements"]) == len(gone)


# What this engine has not, or not without another server, or only under a setting: the server's code, and whether check
# mode knows it. It does not try what would reach beyond the server, nor databases.
REFUSED = [
    ("CREATE TABLE x.r (a UInt8) ENGINE = RabbitMQ SETTINGS rabbitmq_host_port = 'h:1', rabbitmq_exchange_name = 'e'", 56, False),
    ("CREATE TABLE x.r (a UInt8) ENGINE = NATS SETTINGS nats_url = 'h:1', nats_subjects = 's', nats_format = 'CSV'", 56, False),
    ("CREATE TABLE x.r (a UInt8) ENGINE = YTsaurus('http://h', '//table', 'hunter2')", 56, True),
    ("CREATE TABLE x.r (a UInt8) ENGINE = Loop(x, src)", 80, True),
    ("CREATE TABLE x.r (a UInt8 STATISTICS(countmin)) ENGINE = MergeTree ORDER BY a", 80, True),
    ("CREATE TABLE x.r (a UInt8) ENGINE = ReplicatedMergeTree('/r/{uuid}', 'a') ORDER BY a", 36, False),
    ("CREATE TABLE x.r (a UInt8) ENGINE = MaterializedPostgreSQL('h:1', 'd', 't', 'u', 'hunter2') PRIMARY KEY a", 36, False),
    ("CREATE TABLE x.r ENGINE = TimeSeries", 344, False),
    ("CREATE TABLE x.r ENGINE = PaimonLocal('/nowhere')", 344, False),
    ("CREATE TABLE x.r ENGINE = IcebergLocal('/nowhere')", 481, False),
    ("CREATE TABLE x.r ENGINE = IcebergS3('http://127.0.0.1:1/bucket/iceberg', 'key', 'hunter2')", 499, False),
    ("CREATE TABLE x.r ENGINE = DeltaLakeLocal('/nowhere')", 481, False),
    ("CREATE TABLE x.r ENGINE = Hudi('http://127.0.0.1:1/bucket/hudi', 'key', 'hunter2')", 499, False),
    ("CREATE TABLE x.r ENGINE = MySQL('127.0.0.1:1', 'd', 't', 'u', 'hunter2')", 279, True),
    ("CREATE TABLE x.r ENGINE = PostgreSQL('127.0.0.1:1', 'd', 't', 'u', 'hunter2')", 614, True),
    ("CREATE TABLE x.r ENGINE = SQLite('rows.sqlite', 'nothing')", 591, False),
    ("Lazy(5)", 336, False),
    ("Ordinary", 336, False),
    ("Overlay('x')", 336, False),
    ("MaterializedPostgreSQL('h:1', 'd', 'u', 'hunter2')", 336, False),
    ("DataLakeCatalog('http://127.0.0.1:1') SETTINGS catalog_type = 'rest'", 344, False),
    ("MySQL('127.0.0.1:1', 'd', 'u', 'hunter2')", 501, False),
]


def test_features_missing_from_the_engine(server: ClickHouse, run: Run) -> None:
    """Is told with the server's code, changes nothing, and so is known here should a later engine have it."""
    run([{"kind": "database", "name": "x"}])
    untouched = everything(server)
    answers = []
    for text, _code, _known in REFUSED:
        declared = {"ddl": text} if text.startswith("CREATE") else {"kind": "database", "name": "r", "engine": text}
        check, do = run([declared], check=True), run([declared])
        answers.append((text, do.get("code"), "failed" in check))
        assert "failed" not in check or check["code"] == do["code"], text
    assert answers == REFUSED
    assert everything(server) == untouched
