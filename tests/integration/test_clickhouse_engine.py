# GNU General Public License v3.0+ (see LICENSE)
"""The testbed's ClickHouse does what a server does and its engine alone does not."""

from __future__ import annotations

import contextlib
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.support.clickhouse import ClickHouse, QueryError, until
from tests.support.daemon import free_ports
from tests.support.zookeeper import ZooKeeper

pytestmark = pytest.mark.integration

LOG = "<query_log><database>system</database><table>query_log</table></query_log>"
CONFIG = f"""
{LOG}
<asynchronous_metric_log><database>system</database><table>asynchronous_metric_log</table></asynchronous_metric_log>
<access_control_path>access/</access_control_path>
<distributed_ddl><path>/ddl</path><replicas_path>/ddl_replicas</replicas_path></distributed_ddl>
"""
USERS = "<users><default><access_management>1</access_management></default></users>"


@pytest.fixture(scope="module")
def prometheus_port() -> int:
    """The port on which the first server has its metrics."""
    (port,) = free_ports(1)
    return port


@pytest.fixture(scope="module")
def pair(prometheus_port: int) -> Iterator[tuple[ClickHouse, ClickHouse]]:
    """Two servers, the replicas of cluster `pair`."""
    with ZooKeeper() as zookeeper, contextlib.ExitStack() as stack:
        one, two = (
            ClickHouse(config, users=USERS, zookeeper=zookeeper.address, macros={"shard": "1", "replica": name})
            for name, config in (("one", f"{CONFIG}<prometheus><port>{prometheus_port}</port></prometheus>"), ("two", CONFIG))
        )
        replicas = "".join(f"<replica><host>{node.host}</host><port>{node.tcp_port}</port></replica>" for node in (one, two))
        for node in (one, two):
            node.write("config.d/cluster.xml", f"<remote_servers><pair><shard>{replicas}</shard></pair></remote_servers>")
            stack.enter_context(node)
        yield one, two


@pytest.fixture(scope="module")
def server(pair: tuple[ClickHouse, ClickHouse]) -> ClickHouse:
    """The first of them, for what takes no more than one."""
    return pair[0]


def refused(server: ClickHouse, sql: str, code: int, **options: str) -> bool:
    """Whether the server refuses a statement with this error."""
    try:
        server.query(sql, **options)
    except QueryError as exc:
        return exc.code == code
    return False


def test_system_logs_survive_a_restart_and_a_crash(server: ClickHouse) -> None:
    marks = []
    for end in (signal.SIGTERM, signal.SIGKILL):
        marks.append(f"before {end.name}")
        server.query(f"SELECT '{marks[-1]}'")
        server.query("SYSTEM FLUSH LOGS")
        server.signal(end)
        server.start()
        for mark in marks:
            found = "SELECT count() FROM system.query_log WHERE type = 'QueryFinish' AND startsWith(query, {query:String})"
            assert server.query(found, param_query=f"SELECT '{mark}'") == "1"
    assert server.query("SELECT engine FROM system.databases WHERE name = 'system'") == "Atomic"


def test_only_the_system_logs_of_the_configuration_are_kept(server: ClickHouse) -> None:
    server.query("SYSTEM FLUSH LOGS")
    stored = "SELECT name FROM system.tables WHERE database = 'system' AND engine LIKE '%MergeTree' ORDER BY name"
    assert server.query(stored) == "asynchronous_metric_log\nquery_log"


def test_log_folders_without_metadata_are_moved_aside() -> None:
    node = ClickHouse(LOG)
    part = node.folder / "data" / "data" / "system" / "query_log" / "20260101_1_1_0"  # no metadata says what it is of
    part.mkdir(parents=True)
    with node as server:
        server.query("SELECT 1")
        server.query("SYSTEM FLUSH LOGS")
        assert server.query("SELECT count() > 0 FROM system.query_log") == "1"
        assert not part.exists()


def test_prometheus_endpoint(server: ClickHouse, prometheus_port: int) -> None:
    def scrape() -> dict[str, float]:
        # No password is asked for: one that is wrong makes no difference.
        wrong = {"X-ClickHouse-User": "default", "X-ClickHouse-Key": "wrong"}
        request = urllib.request.Request(f"http://{server.host}:{prometheus_port}/metrics", headers=wrong)
        text = urllib.request.urlopen(request, timeout=10).read().decode()
        return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, re.M)}

    queries = scrape()["ClickHouseProfileEvents_Query"]
    server.query("SELECT 1")
    assert scrape()["ClickHouseProfileEvents_Query"] == queries + 1
    assert "ClickHouseMetrics_Query" in scrape()
    uptime = scrape()["ClickHouseAsyncMetrics_Uptime"]
    until("asynchronous metrics are updated", lambda: scrape()["ClickHouseAsyncMetrics_Uptime"] > uptime)
    with pytest.raises(urllib.error.HTTPError) as no_queries:
        urllib.request.urlopen(f"http://{server.host}:{prometheus_port}/?query=SELECT+1", timeout=10)
    assert no_queries.value.code == 404
    server.query("SYSTEM FLUSH LOGS")
    assert int(server.query("SELECT uniq(metric) FROM system.asynchronous_metric_log")) > 100


def test_changed_files_are_read_again_without_a_restart(server: ClickHouse) -> None:
    """Nothing here restarts it: the launcher ends when its engine does."""
    user = "<password>{}</password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>"
    shard = "<shard><replica><host>127.0.0.9</host><port>9</port></replica></shard>"
    clusters = "SELECT host_address FROM system.clusters WHERE cluster = 'later'"
    server.write("users.d/later.xml", f"<users><later>{user.format('first')}</later></users>")
    server.write("config.d/later.xml", f"<remote_servers><later>{shard}</later></remote_servers><macros><later>1</later></macros>")
    server.query("SYSTEM RELOAD CONFIG")
    assert server.query("SELECT currentUser(), getMacro('later')", user="later", password="first") == "later\t1"
    assert server.query(clusters) == "127.0.0.9"
    # By itself.
    server.write("users.d/later.xml", f"<users><later>{user.format('second')}</later></users>")
    until("the new password", lambda: server.query("SELECT 1", user="later", password="second") == "1")
    assert refused(server, "SELECT 1", 516, user="later", password="first")
    server.write("config.d/later.xml", "<macros><later>2</later></macros>")
    until("the new macro", lambda: server.query("SELECT getMacro('later')") == "2")
    assert server.query(clusters) == ""
    (server.folder / "etc" / "users.d" / "later.xml").unlink()
    until("the user is gone", lambda: refused(server, "SELECT 1", 516, user="later", password="second"))


def test_changed_files_that_cannot_be_read_change_nothing(server: ClickHouse) -> None:
    for broken in ("users.d/broken.xml", "config.d/broken.xml"):
        server.write(broken, "<macros><replica>another</replica></macros><users>")
        with pytest.raises(QueryError, match="Failed to merge config"):
            server.query("SYSTEM RELOAD CONFIG")
        assert server.query("SELECT getMacro('replica'), currentUser()") == "one\tdefault"
        (server.folder / "etc" / broken).unlink()
    server.query("SYSTEM RELOAD CONFIG")


ACCESS = """
CREATE ROLE reader;
GRANT SELECT ON d.t TO reader;
CREATE SETTINGS PROFILE careful SETTINGS max_threads = 3 TO reader;
CREATE USER ann IDENTIFIED WITH sha256_password BY 'a' DEFAULT ROLE reader;
GRANT reader TO ann;
CREATE ROW POLICY odd ON d.t USING x % 2 = 1 TO ann;
CREATE QUOTA few FOR INTERVAL 1 hour MAX queries = 100 TO ann;
CREATE USER bob IDENTIFIED WITH sha256_password BY 'b'
"""


def test_sql_managed_access_survives_a_restart_and_a_crash(server: ClickHouse) -> None:
    server.query("CREATE DATABASE d")
    server.query("CREATE TABLE d.t (x UInt8) ENGINE = MergeTree ORDER BY x")
    server.query("INSERT INTO d.t VALUES (1), (2), (3)")
    for statement in ACCESS.split(";"):
        server.query(statement)
    ann = {"user": "ann", "password": "a"}

    def check() -> None:
        assert server.query("SELECT count(), getSetting('max_threads') FROM d.t", **ann) == "2\t3"
        assert refused(server, "INSERT INTO d.t VALUES (5)", 497, **ann)
        assert server.query("SELECT max_queries FROM system.quota_limits WHERE quota_name = 'few'") == "100"
        assert server.query("SELECT storage FROM system.users WHERE name IN ('ann', 'default') ORDER BY name") == (
            "local_directory\nusers_xml"
        )

    assert refused(server, "CREATE USER ann", 493)  # the next change is not held up by a refused one
    server.query("CREATE USER temporary")
    server.query("DROP USER temporary")
    check()
    wanted = server.query("SHOW ACCESS")
    for end in (signal.SIGTERM, signal.SIGKILL):
        server.signal(end)
        server.start()
        assert server.query("SHOW ACCESS") == wanted
        check()
    server.query("ALTER USER ann IDENTIFIED WITH sha256_password BY 'changed'")
    server.query("CREATE USER OR REPLACE bob IDENTIFIED WITH sha256_password BY 'replaced'")
    server.query("DROP ROW POLICY odd ON d.t")
    server.kill()
    server.start()
    assert server.query("SELECT count() FROM d.t", user="ann", password="changed") == "3"
    assert server.query("SELECT 1", user="bob", password="replaced") == "1"


def test_access_is_reloaded_from_its_folder(server: ClickHouse) -> None:
    server.query("CREATE USER carl IDENTIFIED WITH sha256_password BY 'c'")
    identity = server.query("SELECT id FROM system.users WHERE name = 'carl'")
    file = server.folder / "data" / "access" / f"{identity}.sql"
    definition = file.read_text(encoding="ascii")
    file.write_text("no entity", encoding="ascii")
    server.query("SYSTEM RELOAD USERS")  # what cannot be read is left out, and does not keep others away
    assert refused(server, "SELECT 1", 516, user="carl", password="c")
    assert server.query("SELECT 1") == "1"
    file.write_text(definition, encoding="ascii")
    server.query("SYSTEM RELOAD USERS")
    assert server.query("SELECT 1", user="carl", password="c") == "1"
    server.query("DROP USER carl")
    assert not file.exists()


def test_on_cluster_reaches_each_replica(pair: tuple[ClickHouse, ClickHouse]) -> None:
    one, two = pair
    one.query("CREATE DATABASE c ON CLUSTER pair")
    one.query("CREATE TABLE c.t ON CLUSTER pair (x UInt8) ENGINE = ReplicatedMergeTree('/c', '{replica}') ORDER BY x")
    two.query("CREATE USER dora ON CLUSTER pair IDENTIFIED WITH sha256_password BY 'd'")
    for node in pair:
        assert node.query("EXISTS TABLE c.t") == "1"
        assert node.query("SELECT currentUser()", user="dora", password="d") == "dora"
    two.kill()
    one.query("ALTER TABLE c.t ON CLUSTER pair ADD COLUMN y UInt8", distributed_ddl_task_timeout=0)
    two.start()
    columns = "SELECT count() FROM system.columns WHERE database = 'c' AND table = 't'"
    until("the statement for a replica that was down", lambda: two.query(columns) == "2")
    done = "SELECT count() FROM system.distributed_ddl_queue WHERE status = 'Finished' AND query LIKE 'ALTER%'"
    until("both replicas have finished", lambda: one.query(done) == "2")


def test_replicated_databases(pair: tuple[ClickHouse, ClickHouse]) -> None:
    one, two = pair
    for node in pair:
        node.query("CREATE DATABASE r ENGINE = Replicated('/r', 'shard', '{replica}')")
    one.query("CREATE TABLE r.t (x UInt8) ENGINE = ReplicatedMergeTree ORDER BY x")
    two.query("SYSTEM SYNC DATABASE REPLICA r")
    two.query("INSERT INTO r.t VALUES (1)")
    two.restart()
    one.query("SYSTEM SYNC REPLICA r.t")
    assert [node.query("SELECT count() FROM r.t") for node in pair] == ["1", "1"]
