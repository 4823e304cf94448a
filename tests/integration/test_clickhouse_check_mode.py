# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check mode and rehearsal of clickhouse_schema write nothing: neither rows nor files nor requests, whatever the engine of a table."""

from __future__ import annotations

import contextlib
import socketserver
import threading
import time
import typing as t
from collections.abc import Iterator

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouse as Client
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouseError

from tests.support.clickhouse import ClickHouse, QueryError, files
from tests.support.converge import EVERYTHING, converge
from tests.support.zookeeper import ZooKeeper

pytestmark = pytest.mark.integration

# Where the engines below reach, and a view that counts what arrives in the table that they write to.
DESTINATION = (
    "CREATE TABLE d.rows (a String, n UInt32, at DateTime DEFAULT now()) ENGINE = MergeTree ORDER BY a",
    "CREATE TABLE d.counted (c UInt64) ENGINE = MergeTree ORDER BY c",
    "CREATE MATERIALIZED VIEW d.counting TO d.counted AS SELECT count() AS c FROM d.rows",
    "INSERT INTO d.rows (a, n) VALUES ('x', 1)",
)
BROKER = "'127.0.0.1:{port}'"
STORAGE = "'http://127.0.0.1:{port}/bucket/{name}/'"
AZURE = "'DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:{port}/a;', 'c', '{name}'"
SQL = "'127.0.0.1:{port}', 'db', 't', 'u', 'p'"
HDFS = "'hdfs://127.0.0.1:{port}/{name}'"
MERGE = "ORDER BY a"
# What declares a table of each engine: (its ENGINE clause, the end of the statement).
ENGINES: dict[str, tuple[str, str]] = {
    "AggregatingMergeTree": ("AggregatingMergeTree", MERGE),
    "Alias": ("Alias('d', 'rows')", ""),
    "AzureBlobStorage": (f"AzureBlobStorage({AZURE}, 'CSV')", ""),
    "AzureQueue": (f"AzureQueue({AZURE}, 'CSV')", "SETTINGS mode = 'unordered', keeper_path = '/queue/{name}'"),
    "Buffer": ("Buffer('d', 'rows', 1, 0, 0, 1, 1, 1, 1)", ""),
    "COSN": (f"COSN({STORAGE}, 'k', 's', 'CSV')", ""),
    "CoalescingMergeTree": ("CoalescingMergeTree", MERGE),
    "CollapsingMergeTree": ("CollapsingMergeTree(s)", MERGE),
    "DeltaLake": (f"DeltaLake({STORAGE}, 'k', 's')", ""),
    "DeltaLakeAzure": (f"DeltaLakeAzure({AZURE})", ""),
    "DeltaLakeLocal": ("DeltaLakeLocal('{folder}/delta_{name}')", ""),
    "DeltaLakeS3": (f"DeltaLakeS3({STORAGE}, 'k', 's')", ""),
    "Dictionary": ("Dictionary('d.dict')", ""),
    "Distributed": ("Distributed('one', 'd', 'rows', n)", ""),
    "EmbeddedRocksDB": ("EmbeddedRocksDB", "PRIMARY KEY a"),
    "Executable": ("Executable('script.sh', 'CSV')", ""),
    "ExecutablePool": ("ExecutablePool('script.sh', 'CSV')", ""),
    "File": ("File('CSV', '{folder}/{name}.csv')", ""),
    "FileLog": ("FileLog('{folder}/log', 'CSV')", ""),
    "FuzzJSON": ("FuzzJSON('{{}}')", ""),
    "FuzzQuery": ("FuzzQuery('SELECT 1')", ""),
    "GCS": (f"GCS({STORAGE}, 'k', 's', 'CSV')", ""),
    "GenerateRandom": ("GenerateRandom(1, 5, 3)", ""),
    "GraphiteMergeTree": ("GraphiteMergeTree('graphite_rollup')", MERGE),
    "HDFS": (f"HDFS({HDFS}, 'CSV')", ""),
    "Hudi": (f"Hudi({STORAGE}, 'k', 's')", ""),
    "Iceberg": (f"Iceberg({STORAGE}, 'k', 's')", ""),
    "IcebergAzure": (f"IcebergAzure({AZURE})", ""),
    "IcebergHDFS": (f"IcebergHDFS({HDFS})", ""),
    "IcebergLocal": ("IcebergLocal('{folder}/iceberg_{name}')", ""),
    "IcebergS3": (f"IcebergS3({STORAGE}, 'k', 's')", ""),
    "JDBC": ("JDBC('jdbc:mysql://127.0.0.1:{port}/?user=u&password=p', 'db', 't')", ""),
    "Join": ("Join(ANY, LEFT, a)", ""),
    "Kafka": (f"Kafka({BROKER}, 'topic', 'group', 'CSV')", ""),
    "KeeperMap": ("KeeperMap('/{name}')", "PRIMARY KEY a"),
    "Log": ("Log", ""),
    "Loop": ("Loop('d', 'rows')", ""),
    "MaterializedPostgreSQL": (f"MaterializedPostgreSQL({SQL})", "PRIMARY KEY a"),
    "MaterializedView": ("MaterializedView", ""),
    "Memory": ("Memory", ""),
    "Merge": ("Merge('d', '^rows$')", ""),
    "MergeTree": ("MergeTree", MERGE),
    "MongoDB": (f"MongoDB({SQL})", ""),
    "MySQL": (f"MySQL({SQL})", ""),
    "Null": ("Null", ""),
    "ODBC": ("ODBC('DSN=x;Server=127.0.0.1:{port}', 'db', 't')", ""),
    "OSS": (f"OSS({STORAGE}, 'k', 's', 'CSV')", ""),
    "Paimon": (f"Paimon({STORAGE}, 'k', 's')", ""),
    "PaimonAzure": (f"PaimonAzure({AZURE})", ""),
    "PaimonHDFS": (f"PaimonHDFS({HDFS})", ""),
    "PaimonLocal": ("PaimonLocal('{folder}/paimon_{name}')", ""),
    "PaimonS3": (f"PaimonS3({STORAGE}, 'k', 's')", ""),
    "PostgreSQL": (f"PostgreSQL({SQL})", ""),
    "QueryRunner": ("QueryRunner", ""),
    "Redis": (f"Redis({BROKER}, 0, 'p')", "PRIMARY KEY a"),
    "Remote": ("Remote('127.0.0.1:{tcp_port}', 'd', 'rows')", ""),
    "RemoteSecure": ("RemoteSecure('127.0.0.1:{port}', 'd', 'rows')", ""),
    "ReplacingMergeTree": ("ReplacingMergeTree(n)", MERGE),
    "S3": (f"S3({STORAGE}, 'k', 's', 'CSV')", ""),
    "S3Queue": (f"S3Queue({STORAGE}, 'k', 's', 'CSV')", "SETTINGS mode = 'unordered', keeper_path = '/queue/{name}'"),
    "SQLite": ("SQLite('{folder}/{name}.db', 't')", ""),
    "Set": ("Set", ""),
    "StripeLog": ("StripeLog", ""),
    "SummingMergeTree": ("SummingMergeTree(n)", MERGE),
    "TimeSeries": ("TimeSeries", ""),
    "TinyLog": ("TinyLog", ""),
    "URL": ("URL('http://127.0.0.1:{port}/{name}', 'CSV')", ""),
    "VersionedCollapsingMergeTree": ("VersionedCollapsingMergeTree(s, v)", MERGE),
    "View": ("View", ""),
    "WindowView": ("WindowView", ""),
    "YTsaurus": ("YTsaurus('http://127.0.0.1:{port}', '//t', 'token')", ""),
}
REPLICATED = {
    f"Replicated{name}": (f"Replicated{engine}".replace("Tree(", "Tree('/t/{name}', 'r', ", 1), rest)
    for name, (engine, rest) in ENGINES.items()
    if name.endswith("MergeTree")
}
# Those of which no table can be made here.
NOT_MADE = {
    *("AzureBlobStorage", "AzureQueue", "DeltaLakeAzure", "Iceberg", "IcebergAzure", "IcebergHDFS", "IcebergS3", "Loop"),
    *("MaterializedPostgreSQL", "MaterializedView", "Paimon", "PaimonAzure", "PaimonHDFS", "PaimonLocal", "PaimonS3"),
    *("View", "WindowView"),
}
# Columns, with the type of one that changes.
COLUMNS = {
    "Alias": "",
    "Dictionary": "a String, n {}",
    "IcebergLocal": "a String, n {}",
    "FuzzJSON": "j String COMMENT '{}'",
    "FuzzQuery": "q String COMMENT '{}'",
    "QueryRunner": "query String COMMENT '{}'",
}
EXPERIMENTAL = ("time_series_table", "ytsaurus_table_engine")
# An INSERT into these waits for a server that answers.
NO_ROW = ("JDBC", "Kafka", "ODBC", "MySQL", "PostgreSQL", "MongoDB", "Redis", "YTsaurus", "HDFS", "RemoteSecure")


class Requests(socketserver.ThreadingTCPServer):
    """Counts connections, and answers each as an empty bucket would."""

    daemon_threads = True

    def __init__(self) -> None:
        self.count = 0
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Requests)
        self.server.count += 1
        self.request.settimeout(2)
        with contextlib.suppress(OSError):
            self.request.recv(65536)
            self.request.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.fixture
def listener() -> Iterator[Requests]:
    """One for each test: clients of a table that was dropped may go on for a while."""
    with Requests() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def server() -> Iterator[ClickHouse]:
    with ZooKeeper() as zookeeper:
        node = ClickHouse(
            "<keeper_map_path_prefix>/map</keeper_map_path_prefix><graphite_rollup><default><function>avg</function>"
            "<retention><age>0</age><precision>60</precision></retention></default></graphite_rollup>",
            zookeeper=zookeeper.address,
            macros={"shard": "1", "replica": "a"},
            cluster="one",
        )
        (node.folder / "data" / "user_files" / "log").mkdir(parents=True)
        (node.folder / "data" / "user_files" / "log" / "1.csv").write_text("x,1\n")
        with node:
            yield node


def counts(server: ClickHouse) -> str:
    """Rows of every table that keeps some, and what is in ZooKeeper."""
    tables = server.query(
        "SELECT name FROM system.tables WHERE database = 'd' AND (engine LIKE '%MergeTree' OR engine IN"
        " ('Memory', 'Log', 'TinyLog', 'StripeLog', 'Join', 'EmbeddedRocksDB', 'KeeperMap')) ORDER BY name"
    ).split()
    rows = {name: server.query(f"SELECT count() FROM d.`{name}`") for name in tables}
    nodes = server.query("SELECT path || '/' || name FROM system.zookeeper WHERE path IN ('/', '/t', '/map', '/queue') ORDER BY ALL")
    return f"{rows} {nodes}"


def statement(engine: str, name: str, number: str, node: ClickHouse, listener: Requests) -> str:
    columns = COLUMNS.get(engine, "a String, s Int8, v UInt8, n {}").format(number)
    clause, rest = {**ENGINES, **REPLICATED}[engine]
    if engine.startswith("Replicated") and "(" not in clause:
        clause += "('/t/{name}', 'r')"
    text = f"CREATE TABLE d.{name} {f'({columns})' if columns else ''} ENGINE = {clause} {rest}"
    folder = node.folder / "data" / "user_files"
    return text.format(name=name, port=listener.server_address[1], tcp_port=node.tcp_port, folder=folder)


def test_every_engine_of_the_server_is_here(server: ClickHouse) -> None:
    names = set(server.query("SELECT name FROM system.table_engines").split())
    assert names == ENGINES.keys() | REPLICATED.keys()


@pytest.fixture
def destination(server: ClickHouse) -> Iterator[None]:
    server.query("DROP DATABASE IF EXISTS d SYNC")
    server.query("CREATE DATABASE d")
    for text in DESTINATION:
        server.query(text)
    server.query(
        "CREATE DICTIONARY d.dict (a String, n UInt32) PRIMARY KEY a SOURCE(CLICKHOUSE(TABLE 'rows' DB 'd'))"
        " LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(0)"
    )
    yield
    server.query("DROP DATABASE d SYNC")


@pytest.mark.usefixtures("destination")
@pytest.mark.parametrize("engine", [*ENGINES, *REPLICATED])
def test_nothing_is_written(server: ClickHouse, client: Client, listener: Requests, engine: str) -> None:
    """Neither for a table that is to be created, nor for one whose column gets another type, which is rehearsed."""
    made = True
    try:
        settings: dict[str, t.Any] = {f"allow_experimental_{name}": 1 for name in EXPERIMENTAL}
        server.query(statement(engine, "x", "UInt32", server, listener), **settings)
    except QueryError as error:
        print(error)
        made = False
    assert made == (engine not in NOT_MADE)
    if engine not in NO_ROW:
        with contextlib.suppress(QueryError):
            server.query("INSERT INTO d.x (a, n) VALUES ('x', 1)")
    before, rows, asked = files(server), counts(server), listener.count
    for name, number in (("x", "UInt64"), ("y", "UInt64"), ("x", "Int8")):
        with contextlib.suppress(ClickHouseError):
            converge(client, statement(engine, name, number, server, listener), apply=False, allow=EVERYTHING)
    assert counts(server) == rows
    deadline = time.monotonic() + 10
    while files(server) != before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert files(server) == before
    assert listener.count == asked
