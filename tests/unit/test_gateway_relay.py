# GNU General Public License v3.0+ (see LICENSE)
"""The relay of a gateway: requests are split and joined without a change, refused records are taken out, everything else is tried again."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from tests.support import telemetry_load

PROGRAM = Path(__file__).parents[2] / "roles/otel_collector/files/gateway_relay.py"
SPEC = importlib.util.spec_from_file_location("gateway_relay", PROGRAM)
assert SPEC is not None and SPEC.loader is not None
relay = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(relay)

REFUSED = b"\x08\x0e\x12\x20clickhouse: code: 395, message: Value passed to 'throwIf' function is non-zero"
AWAY = b"dial tcp 127.0.0.1:9440: connect: connection refused"


def logs(*texts: str, host: str = "h") -> ExportLogsServiceRequest:
    """A request with one resource."""
    made = ExportLogsServiceRequest()
    block = made.resource_logs.add(schema_url="r")
    block.resource.attributes.add(key="host.name").value.string_value = host
    scope = block.scope_logs.add(schema_url="s")
    scope.scope.name = "scope"
    for text in texts:
        scope.log_records.add().body.string_value = text
    return made


def texts(body: bytes) -> list[str]:
    """The texts of a request, in order."""
    read = ExportLogsServiceRequest.FromString(body)
    return [log.body.string_value for block in read.resource_logs for scope in block.scope_logs for log in scope.log_records]


class Exporter:
    """Stands in for the exporters' receivers: a table refuses a batch with a bad record, a view one with V(view), or both are away."""

    def __init__(self, bad: Callable[[str], bool]) -> None:
        self.bad, self.requests, self.away_after = bad, 0, 10**9
        self.away: set[str] = set()
        # Blocks that the table has, as ClickHouse: each once.
        self.stored: list[bytes] = []

    def post(self, shard: str, signal: str, body: bytes, exporter: str = "write") -> tuple[int, str, bytes]:
        self.requests += 1
        if self.requests > self.away_after or shard in self.away:
            return 503, "text/plain", AWAY
        if any(self.bad(text) for text in texts(body)):
            return 503, "application/x-protobuf", REFUSED
        self.stored += [] if body in self.stored else [body]
        if exporter == "write" and "view" in texts(body):
            return 503, "application/x-protobuf", REFUSED
        return 200, "application/x-protobuf", b""


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, Exporter]]:
    """A relay before an exporter."""

    def made(bad: Callable[[str], bool], limit: int = 10**6) -> tuple[Any, Exporter]:
        exporter = Exporter(bad)
        relayed = relay.Relay(tmp_path, tmp_path, limit)
        monkeypatch.setattr(relayed, "post", exporter.post)
        return relayed, exporter

    return made


def letters(folder: Path) -> dict[str, str]:
    """Text of each dead letter -> why it is one."""
    return {
        text: json.loads(file.with_suffix(".json").read_text())["refused"]
        for file in folder.glob("*.otlp")
        for text in texts(file.read_bytes())
    }


@pytest.mark.parametrize("signal", telemetry_load.SIGNALS)
def test_requests_stay_the_same(signal: str) -> None:
    """Split and joined, a request of any signal is what it was, also in parts."""
    made = telemetry_load.request(signal, "run", "host", 0, 7)
    records = relay.split(made.SerializeToString())
    assert len(records) == (1 if signal == "metrics" else 7)
    assert type(made).FromString(relay.join(records)) == made
    parts = type(made)()
    for record in records:
        parts.MergeFrom(type(made).FromString(relay.join([record])))
    assert relay.join(relay.split(parts.SerializeToString())) == relay.join(records)


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.lists(st.text(), max_size=4)), max_size=4))
def test_requests_of_several_hosts_keep_their_order(hosts: list[tuple[str, list[str]]]) -> None:
    """Records of merged requests stay with their host."""
    made = ExportLogsServiceRequest()
    for host, said in hosts:
        made.MergeFrom(logs(*said, host=host))
    read = ExportLogsServiceRequest.FromString(relay.join(relay.split(made.SerializeToString())))
    got = [(block.resource, log) for block in read.resource_logs for scope in block.scope_logs for log in scope.log_records]
    assert got == [(block.resource, log) for block in made.resource_logs for scope in block.scope_logs for log in scope.log_records]


@given(st.binary(max_size=200))
def test_invalid_request_raises_value_error(body: bytes) -> None:
    """Nothing else is raised, and nothing hangs."""
    with contextlib.suppress(ValueError):
        assert isinstance(relay.join(relay.split(body)), bytes)


@pytest.mark.parametrize("body", [b"\x0a\x05abc", b"\x0a\xff\xff", b"\x0f", b"\xff" * 12])
def test_invalid_protobuf(body: bytes) -> None:
    """Fields that end beyond the message, a number without an end, a type that there is not."""
    with pytest.raises(ValueError, match="not protobuf"):
        relay.split(body)


def test_invalid_records_are_split_off(one: Any, tmp_path: Path) -> None:
    """The others are stored once, the bad ones are dead letters with a reason, at a cost that grows with their number only."""
    relayed, exporter = one(lambda text: text in ("17", "901"))
    numbers = [str(number) for number in range(1000)]
    assert relayed.store("1", "logs", logs(*numbers).SerializeToString())[0] == 200
    assert sorted(text for body in exporter.stored for text in texts(body)) == sorted(set(numbers) - {"17", "901"})
    assert set(letters(tmp_path)) == {"17", "901"}
    assert all(reason.startswith("FUNCTION_THROW_IF_VALUE_IS_NON_ZERO: code: 395") for reason in letters(tmp_path).values())
    assert exporter.requests < 64


def test_view_that_refuses_rows_does_not_block_its_table(one: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table has the block when the view fails, so the same block is sent again; nothing is stored twice, and the log says why."""
    relayed, exporter = one(lambda text: False)
    body = logs("a", "view", "b").SerializeToString()
    assert relayed.store("1", "logs", body)[0] == 200
    assert exporter.stored == [body] and exporter.requests == 2 and not list(tmp_path.iterdir())
    assert "a view of shard 1 misses a batch of 3 logs, which its table has: FUNCTION_THROW_IF" in capsys.readouterr().out


def test_batch_refused_by_a_view_and_a_table(one: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only what the table refuses is a dead letter, and the log names the part of the batch that the view misses."""
    relayed, exporter = one(lambda text: text == "bad")
    relayed.store("1", "logs", logs("a", "bad", "view", "b").SerializeToString())
    assert sorted(text for body in exporter.stored for text in texts(body)) == ["a", "b", "view"]
    assert set(letters(tmp_path)) == {"bad"}
    assert "a view of shard 1 misses a batch of 2 logs" in capsys.readouterr().out


def test_valid_batch_is_forwarded_unchanged(one: Any, tmp_path: Path) -> None:
    """One request with the bytes that came."""
    relayed, exporter = one(lambda text: False)
    body = logs("a").SerializeToString()
    relayed.store("1", "logs", body)
    assert exporter.stored == [body] and exporter.requests == 1 and not list(tmp_path.iterdir())


def test_too_many_bad_records_cost_a_bounded_number_of_inserts(one: Any, tmp_path: Path) -> None:
    """Nothing is lost: what was not tried alone is a dead letter together with its neighbours."""
    relayed, exporter = one(lambda text: int(text) % 2 == 0)
    numbers = [str(number) for number in range(1000)]
    relayed.store("1", "logs", logs(*numbers).SerializeToString())
    assert exporter.requests <= 2 * relay.ATTEMPTS
    kept = [text for body in exporter.stored for text in texts(body)]
    assert sorted([*kept, *letters(tmp_path)]) == sorted(numbers)


def test_an_attempt_that_is_cut_off_is_repeated_with_the_same_blocks(one: Any, tmp_path: Path) -> None:
    """So that ClickHouse drops those that it has; dead letters are there once."""
    body = logs(*(str(number) for number in range(100))).SerializeToString()
    relayed, exporter = one(lambda text: text in ("3", "60"))
    exporter.away_after = 20
    with pytest.raises(relay.Unavailable):
        relayed.store("1", "logs", body)
    first, exporter.stored = exporter.stored, []
    exporter.away_after = 10**9
    relayed.store("1", "logs", body)
    assert first and exporter.stored[: len(first)] == first
    assert set(letters(tmp_path)) == {"3", "60"} and len(list(tmp_path.glob("*.otlp"))) == 2


@pytest.mark.parametrize(
    ("status", "answer", "permanent"),
    [
        (200, b"", False),
        (400, b"", True),
        (413, b"", True),
        (503, AWAY, False),
        (503, b"code: 242, message: Table is in readonly mode", False),
        (503, b"code: 252, message: Too many parts (300)", False),
        (503, b"code: 60, message: Table otel.otel_logs_local does not exist", False),
        (503, b"code: 241, message: Memory limit exceeded", False),
        (503, b"code: 6, message: Cannot parse string 'x' as UInt8", True),
        (503, b"code: 469, message: Constraint `c` is violated", True),
    ],
)
def test_temporary_error_is_no_refusal(status: int, answer: bytes, permanent: bool) -> None:
    """Only a value that ClickHouse cannot take is."""
    assert bool(relay.refusal(status, answer)) is permanent


def test_batch_stays_in_the_queue_when_the_folder_is_full(one: Any, tmp_path: Path) -> None:
    """Nothing is written, nothing acknowledged, and the answer says why."""
    relayed, _ = one(lambda text: True, limit=10)
    with pytest.raises(relay.Unavailable, match="folder .* is full: 0 of 10 bytes.*code: 395"):
        relayed.store("1", "logs", logs("a").SerializeToString())
    assert not list(tmp_path.iterdir())


def test_dead_letters_are_sent_again(one: Any, tmp_path: Path) -> None:
    """Those that are stored go, the others stay."""
    relayed, exporter = one(lambda text: text in ("a", "b"))
    relayed.store("1", "logs", logs("a", "b", "c").SerializeToString())
    exporter.bad = lambda text: text == "b"
    assert relayed.replay() == (1, 1, {})
    assert set(letters(tmp_path)) == {"b"} and len(list(tmp_path.iterdir())) == 2


def test_dead_letters_of_other_shards_are_sent_when_one_shard_is_away(one: Any, tmp_path: Path) -> None:
    """Such as one that left the inventory. Its letters stay, and the reason is given once."""
    relayed, exporter = one(lambda text: True)
    for shard, text in (("gone", "a"), ("1", "b"), ("gone", "c"), ("2", "d")):
        relayed.store(shard, "logs", logs(text).SerializeToString())
    exporter.bad = lambda text: False
    exporter.away = {"gone"}
    assert relayed.replay() == (2, 0, {"gone": AWAY.decode()})
    assert set(letters(tmp_path)) == {"a", "c"} and len(list(tmp_path.iterdir())) == 4


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a relay whose exporter is not there."""
    (tmp_path / "tokens").write_text("first-token\nsecond-token\n")
    monkeypatch.setattr(relay.Handler, "relay", relay.Relay(tmp_path, tmp_path, 1000), raising=False)
    monkeypatch.setattr(relay.Handler, "tokens", tmp_path / "tokens", raising=False)
    server = relay.Server(("127.0.0.1", 0), relay.Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_metrics_tell_how_full_the_folder_is(served: int, tmp_path: Path) -> None:
    """Without a token, and nothing else without one."""
    relay.Handler.relay.keep("1", "logs", relay.split(logs("a").SerializeToString()), "code: 1")
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    for path, status, parts in (
        ("/metrics", 200, ("\notelcol_gateway_dead_letters 1\n", f"\notelcol_gateway_dead_letter_bytes {size}\n")),
        ("/1/v1/logs", 404, ("there is nothing here",)),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", served, timeout=10)
        connection.request("GET", path)
        response = connection.getresponse()
        text = response.read().decode()
        assert response.status == status and all(part in text for part in parts)
        connection.close()


@pytest.mark.parametrize(
    ("path", "token", "answer"),
    [
        ("/1/v1/logs", "Bearer first-token", (503, b"the exporter of shard 1 does not answer")),
        ("/1/v1/logs", "Bearer second-token", (503, b"the exporter of shard 1 does not answer")),
        ("/1/v1/logs", "Bearer first", (503, b"a token of the gateway is needed")),
        ("/1/v1/logs", "", (503, b"a token of the gateway is needed")),
        ("/1/v1/profiles", "Bearer first-token", (404, b"there is nothing here")),
        ("/../v1/logs", "Bearer first-token", (404, b"there is nothing here")),
    ],
)
def test_a_token_is_needed(served: int, path: str, token: str, answer: tuple[int, bytes]) -> None:
    """Nothing is passed on without one. The answer is 503, which a queue tries again: 401 would make it drop a batch."""
    connection = http.client.HTTPConnection("127.0.0.1", served, timeout=10)
    connection.request("POST", path, b"", {"Authorization": token})
    response = connection.getresponse()
    assert response.status == answer[0] and response.read().startswith(answer[1])
    connection.close()
