# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module clickhouse_table, and what clickhouse_schema writes down and compares: history, peers."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable, Iterator

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.groundwork.observability.plugins.modules import clickhouse_schema, clickhouse_table

from tests.support.clickhouse import ClickHouse

pytestmark = pytest.mark.integration

Result = dict[str, t.Any]
Run = Callable[..., Result]

COLUMNS: list[Result] = [{"name": "k", "type": "UInt32"}, {"name": "v", "type": "String", "codec": "ZSTD(1)"}]
TABLE: Result = {"name": "d.t", "engine": "MergeTree", "columns": COLUMNS, "order_by": "k"}
SAME = "CREATE TABLE d.t (k UInt32, v String CODEC(ZSTD(1))) ENGINE = MergeTree ORDER BY k"


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[ClickHouse]]:
    """Two nodes that know each other as cluster both."""
    started = [ClickHouse(), ClickHouse()]
    names = ("localhost", "127.0.0.1")
    replicas = "".join(
        f"<replica><host>{name}</host><port>{node.tcp_port}</port></replica>" for name, node in zip(names, started, strict=True)
    )
    for node in started:
        node.write("config.d/cluster.xml", f"<remote_servers><both><shard>{replicas}</shard></both></remote_servers>")
    with started[0], started[1]:
        yield started


@pytest.fixture
def run(nodes: list[ClickHouse], capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Call a module: clickhouse_schema where objects are given, clickhouse_table otherwise."""
    for node in nodes:
        node.query("DROP DATABASE IF EXISTS d SYNC")
        node.query("CREATE DATABASE d")

    def call(*, check: bool = False, node: ClickHouse = nodes[0], **options: t.Any) -> Result:
        module = clickhouse_schema if "objects" in options else clickhouse_table
        where = {"login_host": node.host, "login_port": node.port, "secure": False, "retries": 0}
        capsys.readouterr()
        with patch_module_args({"_ansible_check_mode": check, "_ansible_diff": True, **where, **options}), pytest.raises(SystemExit):
            module.main()
        result: Result = json.loads(capsys.readouterr().out)
        return result

    yield call
    for node in nodes:
        node.query("DROP DATABASE d SYNC")


def test_options_and_statement(nodes: list[ClickHouse], run: Run) -> None:
    announced = run(check=True, **TABLE)
    assert nodes[0].query("EXISTS d.t") == "0"
    done = run(**TABLE)
    assert announced["statements"] == done["statements"]
    assert [state["status"] for state in done["objects"]] == ["created"]
    for again in (run(**TABLE), run(ddl=SAME), run(check=True, ddl=SAME, name="d.t")):
        assert not again["changed"]
    longer = {**TABLE, "columns": [*COLUMNS, {"name": "w", "type": "UInt8"}]}
    assert run(**longer)["statements"] == ["ALTER TABLE d.t (ADD COLUMN `w` UInt8 AFTER v)"]
    refused = run(**TABLE)
    assert "column w and its values would be dropped (allow: [drop_column])" in refused["msg"]
    assert run(allow=["drop_column"], **TABLE)["changed"]
    renamed = {**TABLE, "name": "d.u", "renamed_from": "d.t"}
    assert run(**renamed)["statements"] == ["RENAME TABLE d.t TO d.u"]
    assert run(name="d.u", state="absent", allow=["drop_table"])["statements"] == ["DROP TABLE d.u SYNC"]
    assert not run(name="d.u", state="absent")["changed"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "one of the following is required: name, ddl"),
        ({"name": "d.t"}, "d.t: columns is missing"),
        ({"name": "t", "engine": "MergeTree", "columns": COLUMNS}, "write database.t"),
        ({"ddl": "CREATE VIEW d.v AS SELECT 1"}, "d.v (kind): table is declared, but the statement makes a view"),
        ({"ddl": SAME, "columns": COLUMNS}, "columns does not go with a statement in ddl"),
        ({"ddl": SAME, "name": "d.x"}, "name is d.x, but the statement in ddl makes d.t"),
        ({"ddl": SAME.replace("d.t", "nowhere.t")}, "nowhere.t (ddl): the database nowhere neither exists nor is declared"),
        ({"ddl": SAME.replace("UInt32", "Int")[:-1] + "x"}, "d.t (ddl): Code: 47"),
        ({"name": "d.t", "state": "absent", "ddl": SAME}, "ddl: what is absent is declared by its kind and name alone"),
        ({**TABLE, "columns": [{"name": "k", "type": "UInt8", "code": "ZSTD"}]}, "Unsupported parameters"),
        ({**TABLE, "allow": ["everything"]}, "value of allow must be one or more of"),
    ],
)
def test_bad_input(nodes: list[ClickHouse], run: Run, options: Result, message: str) -> None:
    result = run(**options)
    assert result["failed"]
    assert message in result["msg"]
    assert "objects[" not in result["msg"]
    assert nodes[0].query("SELECT count() FROM system.tables WHERE database = 'd'") == "0"


def test_history(nodes: list[ClickHouse], run: Run) -> None:
    """One row a run that changed something, of a failed one as well; secrets are hidden; no row for a run without changes."""
    rows = "SELECT user, run_on != '', length(checksum), length(statements), error FROM d.schema_history ORDER BY at"
    run(history="d", check=True, **TABLE)
    assert nodes[0].query("EXISTS d.schema_history") == "0"
    done = run(history="d", **TABLE)
    assert len(done["statements"]) == 2
    assert not run(history="d", **TABLE)["changed"]
    assert nodes[0].query(rows) == "default\t1\t64\t2\t"
    again = nodes[0].query("SELECT checksum FROM d.schema_history")
    secret = "CREATE TABLE d.pg (k UInt8) ENGINE = PostgreSQL('h:1', 'd', 't', 'u', 'hunter2')"
    run(history="d", objects=[{"ddl": secret}, {"ddl": SAME}])
    assert "hunter2" not in nodes[0].query("SELECT * FROM d.schema_history FORMAT TSVRaw")
    # The second statement fails: what was done before it is written down, with the error.
    unknown = "CREATE TABLE d.queue (k UInt32) ENGINE = RabbitMQ SETTINGS rabbitmq_host_port = 'h:1', rabbitmq_exchange_name = 'e'"
    failed = run(history="d", objects=[{"ddl": SAME.replace("d.t", "d.one")}, {"ddl": unknown}])
    assert failed["failed"]
    assert nodes[0].query("SELECT statements, error FROM d.schema_history ORDER BY at DESC LIMIT 1").startswith("['CREATE TABLE d.one")
    assert "d.queue (objects[1].ddl): Code: 56" in nodes[0].query("SELECT error FROM d.schema_history ORDER BY at DESC LIMIT 1")
    nodes[0].query("DROP TABLE d.t SYNC")
    run(history="d", **TABLE)
    assert nodes[0].query("SELECT checksum FROM d.schema_history ORDER BY at DESC LIMIT 1") == again
    twice = run(history="d", objects=[{"ddl": SAME.replace("d.t", "d.schema_history")}])
    assert "d.schema_history (history): it is declared as an object, too" in twice["msg"]
    # It is kept by a purge of its database.
    purged = run(history="d", objects=[{"ddl": SAME}], purge=[{"database": "d"}], allow=["drop_table"])
    assert nodes[0].query("SELECT name FROM system.tables WHERE database = 'd' ORDER BY name") == "schema_history\nt"
    assert len(purged["statements"]) == 2


def test_peers_that_differ_are_named(nodes: list[ClickHouse], run: Run) -> None:
    first, second = nodes
    other = SAME.replace("ORDER BY k", "ORDER BY (k, v)")
    for node in nodes:
        run(node=node, **TABLE)
    assert "in cluster both it is the same on all nodes" in run(ddl=other, cluster="both")["msg"]
    second.query("ALTER TABLE d.t ADD COLUMN x UInt8")
    assert "in cluster both it is other on 127.0.0.1" in run(ddl=other, cluster="both")["msg"]
    assert "in cluster both it is other on localhost" in run(node=second, ddl=other, cluster="both")["msg"]
    second.query("DROP TABLE d.t SYNC")
    assert "in cluster both it is other on 127.0.0.1" in run(ddl=other, cluster="both")["msg"]
    assert "cluster nowhere is not in system.clusters" in run(ddl=other, cluster="nowhere")["msg"]
    assert not run(ddl=SAME, cluster="nowhere").get("failed")
    refused = run(objects=[{"kind": "database", "name": "d", "engine": "Memory"}], cluster="both")
    assert "its engine cannot be altered" in refused["msg"]
    assert "in cluster" not in refused["msg"]
