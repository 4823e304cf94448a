# GNU General Public License v3.0+ (see LICENSE)
"""The testbed's ClickHouse stand-in does what the roles and modules ask of the official program."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import http.client
import os
import signal
import socket
import ssl
import struct
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.clickhouse import ClickHouse, QueryError, until
from tests.support.daemon import free_ports
from tests.support.pki import Pki
from tests.support.zookeeper import ZooKeeper

pytestmark = pytest.mark.integration

PASSWORD = "a password that is longer than twenty-two characters"
USERS = f"""
<users>
  <default remove="remove"/>
  <admin>
    <password_sha256_hex>{hashlib.sha256(PASSWORD.encode()).hexdigest()}</password_sha256_hex>
    <networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
    <grants><query>GRANT ALL ON *.*</query></grants>
  </admin>
  <reader>
    <password>r</password><networks><ip>192.0.2.0/24</ip></networks><profile>default</profile><quota>default</quota>
    <grants><query>GRANT SELECT ON otel.*</query></grants>
  </reader>
</users>
"""
CREDENTIALS = f"""
<interserver_http_credentials><user>replica</user><password>{PASSWORD}</password></interserver_http_credentials>
"""
QUICK_RETRY = "<merge_tree><initialization_retry_period>1</initialization_retry_period></merge_tree>"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Certificates for all nodes."""
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def zookeeper() -> Iterator[ZooKeeper]:
    """One ZooKeeper for all tests but those that stop theirs."""
    with ZooKeeper() as server:
        yield server


def launcher(*words: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `clickhouse <words>`."""
    server = ClickHouse.__new__(ClickHouse)
    server.folder = Path("/nonexistent")
    env = {**os.environ, **server.environment(), **environment}
    command = [*ClickHouse.program(), *words]
    return subprocess.run(command, check=False, env=env, input=stdin, capture_output=True, text=True, timeout=30)


def alive(pid: int) -> bool:
    """Whether a process still holds anything: a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False


def nobody(pids: list[int]) -> bool:
    """Whether all of them are gone."""
    return not any(map(alive, pids))


def listeners(host: str) -> set[int]:
    """TCP ports that somebody listens on at that IPv4 address."""
    wanted = socket.inet_aton(host)[::-1].hex().upper()
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return {int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and row[1].startswith(wanted)}


def test_users_and_settings_come_from_the_configuration() -> None:
    handlers = """
    <http_handlers>
      <rule><url>/metrics</url><methods>GET</methods><handler><type>predefined_query_handler</type>
        <query>SELECT 'up', 1 FORMAT CSV</query><user>admin</user></handler></rule>
      <defaults/>
    </http_handlers>"""
    with ClickHouse("<max_concurrent_queries>77</max_concurrent_queries>" + handlers, users=USERS) as server:
        admin = {"user": "admin", "password": PASSWORD}
        assert urllib.request.urlopen(f"{server.url}/ping").read() == b"Ok.\n"
        assert server.query("SELECT currentUser()", **admin) == "admin"
        setting = "SELECT value FROM system.server_settings WHERE name = 'max_concurrent_queries'"
        assert server.query(setting, **admin) == "77"
        for user, password in (("admin", "wrong"), ("default", ""), ("_engine", ""), ("reader", "r")):
            with pytest.raises(QueryError) as refused:  # the last one: right password, wrong network
                server.query("SELECT 1", user=user, password=password)
            assert refused.value.code in (194, 516)  # 194: no password given
        identity = server.query("SELECT serverUUID()", **admin)
        assert identity == (server.folder / "data" / "uuid").read_text(encoding="ascii")
        server.query("CREATE DATABASE otel", **admin)
        server.query("CREATE TABLE otel.t (x UInt8) ENGINE = MergeTree ORDER BY x", **admin)
        server.query("INSERT INTO otel.t FORMAT CSV", "1\n2\n", **admin)
        server.restart()
        assert server.query("SELECT count(), serverUUID() FROM otel.t", **admin) == f"2\t{identity}"


def native_hello(password: str) -> bytes:
    """The native protocol's first message, as client 1.1.54058 and user `admin`."""

    def text(value: str) -> bytes:
        return bytes([len(value)]) + value.encode()

    return b"\x00" + text("test") + b"\x01\x01\xaa\xa6\x03" + text("default") + text("admin") + text(password)


def test_a_wrong_password_on_any_port_is_refused_and_the_server_goes_on(pki: Pki) -> None:
    https, secure_native, interserver = free_ports(3)
    ports = (
        f"<https_port>{https}</https_port><tcp_port_secure>{secure_native}</tcp_port_secure>"
        f'<interserver_http_port remove="1"/><interserver_https_port>{interserver}</interserver_https_port>'
    )
    tls = ssl.create_default_context(cafile=str(pki.ca))
    with ClickHouse(ports + CREDENTIALS + pki.config(), users=USERS) as server:

        def http_status(port: int, path: str, user: str, password: str, context: ssl.SSLContext | None) -> int:
            connection = (
                http.client.HTTPSConnection(server.host, port, context=context, timeout=10)
                if context
                else http.client.HTTPConnection(server.host, port, timeout=10)
            )
            credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
            with contextlib.closing(connection):
                connection.request("POST", path, "SELECT 1", {"Authorization": f"Basic {credentials}"})
                return connection.getresponse().status

        def native_answer(port: int, password: str, context: ssl.SSLContext | None) -> bytes:
            with socket.create_connection((server.host, port), timeout=10) as plain:
                connection = context.wrap_socket(plain, server_hostname=server.host) if context else plain
                connection.sendall(native_hello(password))
                return connection.recv(4096)

        for word, status, answer in ((PASSWORD, 200, b"ClickHouse"), ("wrong", 403, b"Authentication failed")):
            assert http_status(server.port, "/", "admin", word, None) == status
            assert http_status(https, "/", "admin", word, tls) == status
            assert answer in native_answer(server.tcp_port, word, None)
            assert answer in native_answer(secure_native, word, tls)
        assert http_status(interserver, "/?endpoint=none", "replica", "wrong", tls) == 401
        assert http_status(interserver, "/?endpoint=none", "replica", PASSWORD, tls) != 401
        assert server.query("SELECT 1", user="admin", password=PASSWORD) == "1"


def test_a_connection_that_is_reset_does_not_end_the_server() -> None:
    with ClickHouse() as server:
        for _ in range(2000):
            client = socket.create_connection((server.host, server.port))
            client.sendall(b"not HTTP\r\n\r\n" * 50)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        assert server.query("SELECT 1") == "1"


def test_tls_only_and_the_clients_own_address(pki: Pki) -> None:
    host = "127.0.0.4"  # no other test listens there
    https, native = free_ports(2)
    plain = '<http_port remove="1"/><tcp_port remove="1"/><interserver_http_port remove="1"/>'
    listen = f'<listen_host replace="1">{host}</listen_host>'
    ports = f"<https_port>{https}</https_port><tcp_port_secure>{native}</tcp_port_secure>"
    with ClickHouse(plain + listen + ports + pki.config(), users=USERS) as server:
        assert listeners(host) == {https, native}
        seen = "SELECT address FROM system.processes WHERE query_id = queryID()"
        for source in ("127.0.0.1", "127.0.0.3"):
            answer = pki.https(https, seen, f"admin:{PASSWORD}", host=host, source=source)
            assert answer == (200, f"::ffff:{source}")
        # `clickhouse client` finds the https port beside the native one.
        config = server.folder / "client.xml"
        config.write_text(f"<config><user>admin</user><password>{PASSWORD}</password>{pki.config()}</config>")
        words = ["client", "--config-file", str(config), "--secure", "--host", host, "--http-port", str(https)]
        done = launcher(*words, "--multiquery", stdin="SELECT 'a;b'; SELECT currentUser() -- ;\n;")
        assert (done.stdout, done.returncode) == ("a;b\nadmin\n", 0)
        failed = launcher(*words, "--query", "SELECT * FROM nowhere")
        assert failed.returncode == 60
        assert f"Code: 60. DB::Exception: Received from {host}" in failed.stderr


def test_client_certificates_when_strict(pki: Pki) -> None:
    (https,) = free_ports(1)
    with ClickHouse(f"<https_port>{https}</https_port>" + pki.config("strict")):
        assert pki.https(https, "SELECT 1", "default", own=True) == (200, "1")
        with pytest.raises((ssl.SSLError, OSError)):
            pki.https(https, "SELECT 1", "default")


def test_replication_over_https(pki: Pki, zookeeper: ZooKeeper) -> None:
    interserver = free_ports(3)

    def node(index: int, credentials: str = CREDENTIALS) -> ClickHouse:
        port = f"<interserver_https_port>{interserver[index]}</interserver_https_port>"
        config = f'<interserver_http_port remove="1"/>{port}{credentials}{pki.config()}'
        return ClickHouse(config, zookeeper=zookeeper.address, macros={"replica": str(index)})

    with node(0) as one, node(1) as two, node(2, CREDENTIALS.replace("a password", "another")) as stranger:
        for server in (one, two, stranger):
            server.query("CREATE DATABASE d")
            server.query("CREATE TABLE d.t (x UInt64) ENGINE = ReplicatedMergeTree('/t', '{replica}') ORDER BY x")
        one.query("INSERT INTO d.t SELECT number FROM numbers(1000)")
        two.query("INSERT INTO d.t SELECT number FROM numbers(1000, 1000)")
        for server in (one, two):
            server.query("SYSTEM SYNC REPLICA d.t")
            assert server.query("SELECT count(), max(x) FROM d.t") == "2000\t1999"
            assert urllib.request.urlopen(f"{server.url}/replicas_status").read() == b"Ok.\n"
        assert stranger.query("SELECT count() FROM d.t") == "0"
        until("401", lambda: "401" in stranger.query("SELECT last_exception FROM system.replication_queue LIMIT 1"))

        two.kill()
        one.query("INSERT INTO d.t VALUES (5000)")
        two.start()
        two.query("SYSTEM SYNC REPLICA d.t")
        assert two.query("SELECT count(), max(x) FROM d.t") == "2001\t5000"


def test_distributed_over_tls_with_the_cluster_secret(pki: Pki) -> None:
    ports = free_ports(2)

    def cluster(secret: str) -> str:
        shards = "".join(
            f"<shard><replica><host>localhost</host><port>{port}</port><secure>1</secure></replica></shard>"
            for port in ports
        )
        return f"<remote_servers><otel><secret>{secret}</secret>{shards}</otel></remote_servers>{pki.config()}"

    with ExitStack() as stack:
        one, two = (
            stack.enter_context(ClickHouse(f"<tcp_port_secure>{port}</tcp_port_secure>" + cluster("s3cret")))
            for port in ports
        )
        assert one.query("SELECT is_local FROM system.clusters ORDER BY shard_num") == "1\n0"
        for server in (one, two):
            server.query("CREATE DATABASE d")
            server.query("CREATE TABLE d.t (x UInt64) ENGINE = MergeTree ORDER BY x")
            server.query("CREATE TABLE d.all AS d.t ENGINE = Distributed(otel, d, t, x)")
        one.query("INSERT INTO d.all SELECT number FROM numbers(100)", distributed_foreground_insert=1)
        assert (one.query("SELECT count() FROM d.t"), two.query("SELECT count() FROM d.t")) == ("50", "50")
        assert two.query("SELECT count() FROM d.all") == "100"
        outsider = stack.enter_context(ClickHouse(cluster("another")))
        with pytest.raises(QueryError):
            outsider.query("SELECT count() FROM cluster(otel, d.t)")


def test_zookeeper_over_tls(pki: Pki) -> None:
    (secure,) = free_ports(1)
    tls = "\n".join(
        (
            f"secureClientPort={secure}",
            f"secureClientPortAddress=127.0.0.1\nssl.keyStore.location={pki.both}\nssl.keyStore.type=PEM",
            f"ssl.trustStore.location={pki.ca}\nssl.trustStore.type=PEM\nssl.clientAuth=need",
        )
    )
    node = f"<zookeeper><node><host>localhost</host><port>{secure}</port><secure>1</secure></node></zookeeper>"
    identity = "<zookeeper><identity>clickhouse:zk-password</identity></zookeeper>"
    with ZooKeeper(tls), ClickHouse(node.replace("</zookeeper>", identity[11:]) + pki.config()) as server:
        server.query("CREATE DATABASE d")
        server.query("CREATE TABLE d.t (x UInt64) ENGINE = ReplicatedMergeTree('/t', 'a') ORDER BY x")
        server.query("INSERT INTO d.t VALUES (1)")
        assert server.query("SELECT count() FROM d.t") == "1"


def read_only_is(server: ClickHouse, expected: str) -> bool:
    """Whether the only replica is read-only: 1 or 0."""
    return server.query("SELECT is_readonly FROM system.replicas") == expected


def test_another_identity_in_zookeeper_cannot_use_the_nodes_of_the_former(zookeeper: ZooKeeper) -> None:
    """Why role clickhouse refuses another clickhouse_zookeeper_password."""
    with ClickHouse(zookeeper=zookeeper.address) as server:
        server.write("config.d/identity.xml", "<zookeeper><identity>clickhouse:former-password</identity></zookeeper>")
        server.restart()
        server.query("CREATE TABLE t (x UInt64) ENGINE = ReplicatedMergeTree('/owned', 'a') ORDER BY x")
        server.query("INSERT INTO t VALUES (1)")
        for password, read_only in (("other-password", "1"), ("former-password", "0")):
            server.write("config.d/identity.xml", f"<zookeeper><identity>clickhouse:{password}</identity></zookeeper>")
            server.restart()
            until(f"read-only: {read_only}", functools.partial(read_only_is, server, read_only))
            assert server.query("SELECT x FROM t") == "1"


def test_zookeeper_is_reported(zookeeper: ZooKeeper) -> None:
    with ClickHouse(zookeeper=zookeeper.address) as server, ClickHouse() as alone:
        server.query("CREATE DATABASE d")
        server.query("CREATE TABLE d.t (x UInt64) ENGINE = ReplicatedMergeTree('/shown', 'a') ORDER BY x")
        shown = server.query("SELECT name, value FROM system.zookeeper WHERE path = '/shown' AND name = 'columns' FORMAT TSVRaw")
        assert shown == "columns\tcolumns format version: 1\n1 columns:\n`x` UInt64"
        with pytest.raises(QueryError) as error:
            alone.query("SELECT * FROM system.zookeeper WHERE path = '/'")
        assert error.value.code == 60


def test_stops_cleanly_without_zookeeper_and_heals() -> None:
    with ZooKeeper() as ensemble, ClickHouse(QUICK_RETRY, zookeeper=ensemble.address) as server:
        server.query("CREATE DATABASE d")
        server.query("CREATE TABLE d.t (x UInt64) ENGINE = ReplicatedMergeTree('/t', 'a') ORDER BY x")
        server.query("INSERT INTO d.t VALUES (1)")
        ensemble.kill()
        with pytest.raises(QueryError):
            server.query("INSERT INTO d.t VALUES (2)", insert_keeper_max_retries=1)
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 10
        server.start()
        assert server.query("SELECT count() FROM d.t") == "1"
        ensemble.start()
        until("writable again", lambda: server.query("INSERT INTO d.t VALUES (2)", insert_keeper_max_retries=1) == "")


def test_all_processes_end_with_the_first(pki: Pki) -> None:
    (https,) = free_ports(1)
    with ClickHouse(f"<https_port>{https}</https_port>" + pki.config()) as server:

        def children() -> list[int]:
            assert server.process is not None
            path = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
            return [int(pid) for pid in path.read_text(encoding="ascii").split()]

        for victim in (0, 1):  # the engine, stunnel: systemd must see that the service failed
            pids = children()
            os.kill(pids[victim], signal.SIGKILL)
            assert server.wait() == 1
            until("no child is left", functools.partial(nobody, pids))
            server.start()
        for _ in range(3):  # the main process
            pids = children()
            server.kill()
            server.start()
            assert nobody(pids)
        # systemd signals the whole group, the main process first: a child that has died before is a failure.
        assert server.process is not None
        for pid in (server.process.pid, *children()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        assert server.wait() == 0


def test_version_and_configuration_check(tmp_path: Path) -> None:
    for words in (["--version"], ["server", "--version"], ["client", "--version"]):
        version = launcher(*words).stdout
        assert "version 26.7.2.59 (" in version
        assert "stand-in" in version
    config = tmp_path / "config.xml"
    config.write_text("<clickhouse><a><b>1</b><c>2</c></a><l>x</l></clickhouse>")
    (tmp_path / "config.d").mkdir()
    (tmp_path / "config.d" / "10.xml").write_text(
        '<clickhouse><a><b from_env="B"/><c remove="1"/></a><l>y</l><l>z</l><a new="1"><d>4</d></a></clickhouse>'
    )

    def extract(key: str, *more: str) -> tuple[str, int]:
        done = launcher("extract-from-config", f"--config-file={config}", "--key", key, *more, B="3")
        assert (done.returncode == 0) or done.stderr
        return done.stdout.strip(), done.returncode

    assert [extract(key) for key in ("a.b", "l", "l[1]", "a.c")] == [("3", 0), ("y", 0), ("z", 0), ("", 1)]
    assert extract("a.c", "--try") == ("", 0)
    (tmp_path / "config.d" / "20.xml").write_text("<clickhouse><a></clickhouse>")
    assert extract("a.b") == ("", 1)
    other = launcher("server", f"--config-file={config}", GROUNDWORK_ENGINE="/bin/sh")
    assert other.returncode == 1
    assert "d3d8f5517577ad52775b52318a193784b2fb5317" in other.stderr
    assert launcher("local", "--query", "SELECT 1").stdout == "1\n"
    assert launcher("local", "--query", "SELECT * FROM nowhere").returncode == 60
