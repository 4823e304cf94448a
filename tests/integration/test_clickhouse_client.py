# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The connection that the modules share, against the real engine and against others that listen."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import error_codes
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import (
    ClickHouse,
    ClickHouseError,
    Connection,
    ConnectionFailed,
)

from tests.support import connect
from tests.support.clickhouse import ClickHouse as Server

pytestmark = pytest.mark.integration

PASSWORD = "pä€:ß word"
USERS = f"""
<users>
  <someone><password>{PASSWORD}</password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota></someone>
</users>
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(users=USERS) as node:
        yield node


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What a retry would have waited."""
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    return pauses


def connection(port: int, host: str = "127.0.0.1", user: str = "default", password: str | None = None) -> Connection:
    return connect.connection(port, host, user=user, password=password, connect_timeout=5, retries=2)


@contextmanager
def listener(answer: bytes) -> Iterator[int]:
    """Something that says this to whoever connects, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as sock:

        def serve() -> None:
            while True:
                try:
                    peer, _address = sock.accept()
                except OSError:
                    return
                with peer, suppress(ConnectionError):
                    peer.recv(65536)
                    peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            sock.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_session_costs_three_requests_on_one_connection(server: Server) -> None:
    asked = "SELECT value FROM system.events WHERE event = 'Query'"
    before = int(server.query(asked))
    session = ClickHouse(connection(server.port))
    assert int(server.query(asked)) - before - 1 == 3
    assert session.rows("SELECT number FROM system.numbers LIMIT 3") == [(0,), (1,), (2,)]
    session.execute("CREATE TEMPORARY TABLE t (a LowCardinality(String)) AS SELECT 'x'")
    assert session.rows("SELECT a FROM t") == [("x",)]
    pool = session._pool.connection_from_url(session.connection.url)
    assert (pool.num_connections, pool.num_requests) == (1, 6)
    session.close()
    assert not session._pool.pools


def test_error_codes_have_the_names_of_the_server(server: Server) -> None:
    ours = {name: code for name, code in vars(error_codes).items() if name.isupper()}
    session = ClickHouse(connection(server.port))
    ((theirs,),) = session.rows(f"SELECT arrayMap(code -> toString(errorCodeToName(code)), {list(ours.values())})")
    session.close()
    assert dict(zip(theirs, ours.values(), strict=True)) == ours


def test_passwords_in_any_script(server: Server) -> None:
    session = ClickHouse(connection(server.port, user="someone", password=PASSWORD))
    assert session.rows("SELECT currentUser()") == [("someone",)]
    session.close()


@pytest.mark.parametrize("password", ["wrong", "first\nsecond", "€"])
def test_wrong_password_is_reported_with_the_answer_of_the_server(server: Server, password: str) -> None:
    with pytest.raises(ClickHouseError) as caught:
        ClickHouse(connection(server.port, password=password))
    assert caught.value.code == 194
    assert password.split("\n", maxsplit=1)[0] not in str(caught.value)


@pytest.mark.parametrize("host", ["", "a b", "a..b", "x" * 70 + ".example"])
def test_invalid_host_name_is_not_retried(server: Server, no_pauses: list[float], host: str) -> None:
    with pytest.raises(ClickHouseError, match=r"^login_host: .*cannot be resolved: "):
        ClickHouse(connection(server.port, host))
    assert no_pauses == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", r"is not ClickHouse 24\.8 or newer \(SSH-2\.0"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", r"is not ClickHouse 24\.8 or newer \(IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 3_000_000, r"is not ClickHouse 24\.8 or newer .*begins 'xxxx"),
    ],
    ids=["another protocol", "bad HTTP", "a long answer"],
)
def test_answer_of_another_server(no_pauses: list[float], answer: bytes, message: str) -> None:
    with listener(answer) as port, pytest.raises(ClickHouseError, match=message):
        ClickHouse(connection(port))
    assert no_pauses == []


def test_a_connection_that_breaks_is_tried_again(no_pauses: list[float]) -> None:
    with listener(b"") as port, pytest.raises(ConnectionFailed, match="Remote end closed connection without response"):
        ClickHouse(connection(port))
    assert no_pauses == [1, 2]


def test_proxy_of_the_environment_is_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with listener(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n") as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        with pytest.raises(ClickHouseError, match="HTTP 502"):
            ClickHouse(connection(server.port))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        ClickHouse(connection(server.port)).close()
