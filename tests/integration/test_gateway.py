# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gateway of the role, the real collector, before a real ClickHouse engine: whose records it takes, and what it stores of them."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from tests.support import telemetry_load
from tests.support.clickhouse import until
from tests.support.collector_files import AGENT_TOKEN, GATEWAY_TOKEN
from tests.support.daemon import listening
from tests.support.gateway import Gateway, gateway
from tests.support.pki import Pki
from tests.support.telemetry_load import attributes

pytestmark = pytest.mark.integration

ATTRIBUTES, BYTES, BODY = 20, 1000, 5000
TOKENS = {"shop": "shop-token-0123456789", "billing": "billing-token-0123456789"}
SECRET = "s3cr3t-0123456789"
CARD = "4111111111111111"


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """An authority of senders, and one of its certificates."""
    return Pki(tmp_path_factory.mktemp("clients"))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, clients: Pki) -> Iterator[Gateway]:
    """With small limits, something to redact, further tokens, and senders with certificates."""
    with gateway(
        tmp_path_factory.mktemp("gateway"),
        otel_collector_gateway_client_ca=clients.ca.read_text(encoding="ascii"),
        otel_collector_gateway_tokens=TOKENS,
        otel_collector_gateway_max_attributes=ATTRIBUTES,
        otel_collector_gateway_max_attribute_bytes=BYTES,
        otel_collector_gateway_max_body_bytes=BODY,
        otel_collector_gateway_redact_attributes=["password", r"user\.(email|name)", r"price\$"],
        otel_collector_gateway_redact_values=[r"\b4[0-9]{15}\b", r'say \$"(yes|no)"'],
    ) as one:
        yield one


def logs(service: str, body: Any, record: dict[str, Any] | None = None, resource: dict[str, Any] | None = None) -> ExportLogsServiceRequest:
    """A request with one log."""
    made = ExportLogsServiceRequest()
    block = made.resource_logs.add()
    block.resource.attributes.extend(attributes({"service.name": service, **(resource or {})}))
    log = block.scope_logs.add().log_records.add(time_unix_nano=time.time_ns(), attributes=attributes(record or {}))
    log.body.CopyFrom(AnyValue(string_value=body) if isinstance(body, str) else body)
    return made


def stored(running: Gateway, service: str, table: str = "otel_logs") -> dict[str, Any]:
    """The row of a service."""
    running.wait_for(f"{service} is not stored", f"SELECT count() FROM otel.{table} WHERE ServiceName = '{service}'")
    (row,) = running.rows(f"SELECT * FROM otel.{table} WHERE ServiceName = '{service}'")
    return row


def test_long_texts_are_cut_at_a_character(running: Gateway) -> None:
    """A line of 1 MB is stored in part, with its length; what has the most bytes that it may have stays."""
    assert running.post("logs", logs("long", "é" * 500_000 + "x", {"a": "ß" * 501, "b": "b" * BYTES}).SerializeToString()) == 200
    row = stored(running, "long")
    assert row["Body"] == "é" * (BODY // 2)
    assert row["LogAttributes"] == {"a": "ß" * (BYTES // 2), "b": "b" * BYTES, "body.length": "1000001"}
    running.post("logs", logs("short", "x" * BODY).SerializeToString())
    row = stored(running, "short")
    assert row["Body"] == "x" * BODY and row["LogAttributes"] == {}


def test_long_list_as_body_is_cut(running: Gateway) -> None:
    """It is JSON in the table."""
    body = AnyValue()
    body.array_value.values.extend(AnyValue(int_value=number) for number in range(BODY))
    running.post("logs", logs("list", body).SerializeToString())
    row = stored(running, "list")
    assert row["Body"].startswith("[0,1,2,") and len(row["Body"]) == BODY
    assert int(row["LogAttributes"]["body.length"]) > BODY


def test_100000_attributes_of_one_record_are_limited(running: Gateway) -> None:
    """The first ones and what tables need stay, of record and resource; the number before is stored."""
    many = {f"key-{number}": "x" for number in range(100_000)}
    request = logs("many", "x", many, {**{f"r-{number}": "x" for number in range(100)}, "host.name": "box"})
    assert running.post("logs", request.SerializeToString()) == 200
    row = stored(running, "many")
    assert row["LogAttributes"] == {**{f"key-{number}": "x" for number in range(ATTRIBUTES - 1)}, "attributes.count": "100000"}
    assert len(row["ResourceAttributes"]) == ATTRIBUTES
    kept = {"service.name": "many", "host.name": "box", "deployment.environment.name": "production", "attributes.count": "103"}
    assert kept.items() <= row["ResourceAttributes"].items()


def test_limits_of_spans_and_points(running: Gateway) -> None:
    """Attributes of both, of events, and a span's name and status."""
    many = attributes({f"key-{number:03}": "x" * 2 * BYTES for number in range(50)})
    now = time.time_ns()
    traces = ExportTraceServiceRequest()
    block = traces.resource_spans.add()
    block.resource.attributes.extend(attributes({"service.name": "span-limits"}))
    span = block.scope_spans.add().spans.add(name="n" * 2000, trace_id=b"t" * 16, span_id=b"s" * 8, attributes=many)
    span.start_time_unix_nano = span.end_time_unix_nano = now
    span.status.message = "m" * 2000
    span.events.add(name="e", time_unix_nano=now, attributes=many)
    metrics = ExportMetricsServiceRequest()
    points = metrics.resource_metrics.add()
    points.resource.attributes.extend(attributes({"service.name": "point-limits"}))
    points.scope_metrics.add().metrics.add(name="m").gauge.data_points.add(time_unix_nano=now, as_double=1, attributes=many)
    assert running.post("traces", traces.SerializeToString()) == running.post("metrics", metrics.SerializeToString()) == 200
    row = stored(running, "span-limits", "otel_traces")
    limited = {**{f"key-{number:03}": "x" * BYTES for number in range(ATTRIBUTES - 1)}, "attributes.count": "50"}
    assert row["SpanName"] == "n" * BYTES and row["StatusMessage"] == "m" * BYTES
    assert row["SpanAttributes"] == limited and row["Events.Attributes"] == [limited]
    assert stored(running, "point-limits", "otel_metrics_gauge")["Attributes"] == limited


def test_redacted_values_are_nowhere_in_the_tables(running: Gateway) -> None:
    """By the whole name of an attribute or key, and by content; other values stay."""
    body = AnyValue()
    inner = KeyValue(key="login", value=AnyValue())
    inner.value.kvlist_value.values.extend(attributes({"password": SECRET, "card": f"my {CARD}."}))
    body.kvlist_value.values.extend([*attributes({"user.email": SECRET, "kept": "kept"}), inner])
    record: dict[str, Any] = {"password": f"{SECRET}\n{SECRET}", "user.name": 4242, "price$": SECRET}
    record |= {"user.names": "kept", "note": f"card {CARD}!"}
    running.post("logs", logs("redact", body, record, {"password": SECRET}).SerializeToString())
    running.post("logs", logs("text", f'{CARD} and say $"yes"').SerializeToString())
    traces = ExportTraceServiceRequest()
    block = traces.resource_spans.add()
    block.resource.attributes.extend(attributes({"service.name": "redact"}))
    span = block.scope_spans.add().spans.add(name=f"pay {CARD}", trace_id=b"t" * 16, span_id=b"r" * 8, attributes=attributes(record))
    span.start_time_unix_nano = span.end_time_unix_nano = time.time_ns()
    span.status.message = f'refused {CARD}, say $"no"'
    span.events.add(name="e", time_unix_nano=time.time_ns(), attributes=attributes(record))
    running.post("traces", traces.SerializeToString())
    log, trace = stored(running, "redact"), stored(running, "redact", "otel_traces")
    masked = {"password": "****\n****", "user.name": "****", "price$": "****", "user.names": "kept", "note": "card ****!"}
    assert log["LogAttributes"] == trace["SpanAttributes"] == trace["Events.Attributes"][0] == masked
    assert log["ResourceAttributes"]["password"] == "****"
    assert log["Body"] == '{"kept":"kept","login":{"card":"my ****.","password":"****"},"user.email":"****"}'
    assert stored(running, "text")["Body"] == "**** and ****"
    assert (trace["SpanName"], trace["StatusMessage"]) == ("pay ****", "refused ****, ****")
    # A span is seen before its row in the roll-up.
    until("the roll-up", lambda: running.query("SELECT count() FROM otel.traces_red_1m WHERE ServiceName = 'redact'") != "0")
    for what in ("* FROM otel.otel_logs", "* FROM otel.otel_traces", "SpanName FROM otel.traces_red_1m"):
        text = running.query(f"SELECT {what} WHERE ServiceName IN ('redact', 'text') FORMAT JSONEachRow")
        assert text and SECRET not in text and CARD not in text, what


def test_invalid_utf8_is_stored_as_it_came(running: Gateway) -> None:
    """It neither stops its batch nor changes: the same bytes are in the table."""
    request = logs("utf8", "BODY", {"a": "VALUE"}).SerializeToString()
    request = request.replace(b"BODY", b"\xff\xfeab").replace(b"VALUE", b"\x80\xc3(\xed\xa0")
    assert running.post("logs", request) == 200
    running.wait_for("not stored", "SELECT count() FROM otel.otel_logs WHERE ServiceName = 'utf8'")
    found = running.query("SELECT hex(Body), hex(LogAttributes['a']) FROM otel.otel_logs WHERE ServiceName = 'utf8'")
    assert found == "FFFE6162\t80C328EDA0"


@pytest.mark.parametrize("signal", telemetry_load.SIGNALS)
def test_nothing_is_accepted_without_a_token(running: Gateway, signal: str) -> None:
    """By gRPC and HTTP; every token of a gateway is accepted, nothing that resembles one is, and none of an agent."""
    message = telemetry_load.request(signal, f"refused-{signal}", "box", 0, 1)
    for token in (None, "", " ", "wrong", AGENT_TOKEN, GATEWAY_TOKEN[:-1], f"{GATEWAY_TOKEN}x"):
        assert running.export(signal, message, token) is grpc.StatusCode.UNAUTHENTICATED, token
        assert running.post(signal, message.SerializeToString(), token) == HTTPStatus.UNAUTHORIZED, token
    for name, token in {"own": GATEWAY_TOKEN, **TOKENS}.items():
        message = telemetry_load.request(signal, f"{name}-{signal}", "box", 0, 1)
        assert running.export(signal, message, token) is grpc.StatusCode.OK
        assert running.post(signal, message.SerializeToString(), token) == HTTPStatus.OK
    table, *_ = telemetry_load.TABLES[signal]
    for name in ("own", *TOKENS):
        running.wait_for(f"{name} is not stored", f"SELECT count() FROM otel.{table} WHERE ServiceName = 'load-{name}-{signal}'")
    assert running.query(f"SELECT count() FROM otel.{table} WHERE ServiceName = 'load-refused-{signal}'") == "0"


@pytest.mark.parametrize("signal", telemetry_load.SIGNALS)
def test_certificates_instead_of_tokens(running: Gateway, clients: Pki, tmp_path: Path, signal: str) -> None:
    """A certificate of the authority is enough on its ports; none, a token, and a certificate of another authority are not."""
    stranger = Pki(tmp_path)
    message = telemetry_load.request(signal, f"certificate-{signal}", "box", 0, 1)
    token = {"Authorization": f"Bearer {GATEWAY_TOKEN}"}
    for pki, headers in ((None, {}), (None, token), (stranger, {}), (stranger, token), (clients, {})):
        own = (pki.key.read_bytes(), pki.certificate.read_bytes()) if pki else ()
        credentials = grpc.ssl_channel_credentials(running.ca, *own)
        context = ssl.create_default_context(cafile=str(running.rendered.certificate))
        if pki:
            context.load_cert_chain(pki.certificate, pki.key)
        answers = []
        with grpc.secure_channel(f"127.0.0.1:{running.ports['certificate_grpc']}", credentials) as channel:
            stub: Any = telemetry_load.SERVICES[signal](channel)
            try:
                stub.Export(message, timeout=30, metadata=[(name.lower(), value) for name, value in headers.items()])
                answers.append("accepted")
            except grpc.RpcError as error:
                answers.append(error.code().name)
        connection = http.client.HTTPSConnection("127.0.0.1", running.ports["certificate_http"], timeout=30, context=context)
        try:
            connection.request("POST", f"/v1/{signal}", message.SerializeToString(), {"Content-Type": "application/x-protobuf", **headers})
            answers.append("accepted" if connection.getresponse().status == HTTPStatus.OK else "refused")
        except OSError:
            answers.append("refused")
        finally:
            connection.close()
        assert answers == (["accepted", "accepted"] if pki is clients else ["UNAVAILABLE", "refused"])
    # On the other ports a certificate is no token.
    context = ssl.create_default_context(cafile=str(running.rendered.certificate))
    context.load_cert_chain(clients.certificate, clients.key)
    connection = http.client.HTTPSConnection("127.0.0.1", running.ports["http"], timeout=30, context=context)
    connection.request("POST", f"/v1/{signal}", message.SerializeToString(), {"Content-Type": "application/x-protobuf"})
    assert connection.getresponse().status == HTTPStatus.UNAUTHORIZED
    connection.close()
    table, *_ = telemetry_load.TABLES[signal]
    running.wait_for("not stored", f"SELECT count() FROM otel.{table} WHERE ServiceName = 'load-certificate-{signal}'")


def test_nothing_but_health_and_metrics_answers_without_a_token(running: Gateway) -> None:
    """Of all ports that the programs of a gateway listen on. Health and its own metrics are on loopback on every host."""
    answers, said = {}, {}
    for program in (running.collector, running.relay):
        assert program.process is not None
        for port in listening(program.process.pid):
            name = next((name for name, known in running.ports.items() if known == port), str(port))
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request("POST" if name == "relay" else "GET", "/external/v1/logs" if name == "relay" else "/metrics", b"")
                answer = connection.getresponse()
                answers[name], said[name] = answer.status, answer.read()
            except (OSError, http.client.HTTPException):
                answers[name] = 0
            finally:
                connection.close()
    # The ports for OTLP want TLS: Go answers 400 to HTTP without, and closes a connection for gRPC.
    tls = {"grpc": 0, "http": 400, "certificate_grpc": 0, "certificate_http": 400}
    assert answers == {**tls, "relay": 503, "health": 200, "metrics": 200}
    assert said["relay"] == b"a token of the gateway is needed"
    config = running.rendered.load("gateway-1", "gateway")
    assert config["extensions"]["health_check"]["endpoint"].startswith("127.0.0.1:")
    assert config["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"]["host"] == "127.0.0.1"


def test_revoked_and_replaced_tokens_while_others_send(running: Gateway) -> None:
    """One is refused at once, another is replaced, the gateway's own too: what was acknowledged is stored once, and no other is refused."""
    file = running.folder / "gateway_token"
    former = {"own": GATEWAY_TOKEN, **TOKENS}
    senders = {name: Sender(running, name, token) for name, token in former.items()}
    for sender in senders.values():
        sender.start()
    try:
        until("all send", lambda: all(sender.accepted > 5 for sender in senders.values()))
        # As the module writes it: by an atomic rename. Without shop; billing's and the own one are new, for a while beside the former.
        write(file, ["own-token-0123456789", GATEWAY_TOKEN, "billing-second-0123456789", TOKENS["billing"]])
        until("shop is refused", lambda: senders["shop"].refused > 0, 60)
        senders["own"].token, senders["billing"].token = "own-token-0123456789", "billing-second-0123456789"
        counts = {name: sender.accepted for name, sender in senders.items()}
        until("the new ones are accepted", lambda: all(senders[name].accepted > counts[name] + 5 for name in ("own", "billing")))
        # Only the new ones.
        write(file, ["own-token-0123456789", "billing-second-0123456789"])
        counts = {name: sender.accepted for name, sender in senders.items()}
        until("it goes on", lambda: all(senders[name].accepted > counts[name] + 5 for name in ("own", "billing")))
    finally:
        for sender in senders.values():
            sender.stop()
    assert senders["shop"].accepted == counts["shop"]
    assert [senders[name].refused for name in ("own", "billing")] == [0, 0]
    assert [error for sender in senders.values() for error in sender.errors] == []
    for name, sender in senders.items():
        where = f"FROM otel.otel_logs WHERE ServiceName = 'load-sent-{name}'"
        running.wait_for(f"records of {name} are missing", f"SELECT count() {where}", sender.accepted)
        assert running.query(f"SELECT count(), uniqExact(LogAttributes['load.id']) {where}") == f"{sender.accepted}\t{sender.accepted}"
    # Tokens show neither in logs nor in arguments nor in the environment.
    said = running.collector.log.read_text(encoding="utf-8") + running.relay.log.read_text(encoding="utf-8")
    for program in (running.collector, running.relay):
        assert program.process is not None
        said += "".join(Path(f"/proc/{program.process.pid}/{name}").read_text(encoding="utf-8") for name in ("cmdline", "environ"))
    said += (running.folder / "config.yaml").read_text(encoding="utf-8")
    assert said and not [token for token in [*former.values(), "own-token-0123456789", "billing-second-0123456789"] if token in said]


def test_dead_letter_is_replayed_when_its_cause_is_gone(running: Gateway) -> None:
    """The others of its batch are stored at once and the next ones, too; its reason is kept, and the metric shows it."""
    letters = "otelcol_gateway_dead_letters "
    running.query("ALTER TABLE otel.otel_logs_local ADD CONSTRAINT no_bad CHECK Body != 'bad'")
    request = ExportLogsServiceRequest()
    for body in ("good", "bad", "fine"):
        request.MergeFrom(logs("letters", body))
    token = current(running)
    assert running.post("logs", request.SerializeToString(), token) == HTTPStatus.OK
    assert running.post("logs", logs("letters", "next").SerializeToString(), token) == HTTPStatus.OK
    where = "FROM otel.otel_logs WHERE ServiceName = 'letters'"
    running.wait_for("the others are not stored", f"SELECT count() {where}", 3)
    until("the metric shows it", lambda: f"{letters}1\n" in relay_metrics(running))
    (about,) = (running.folder / "state/dead_letters").glob("*.json")
    assert "VIOLATED_CONSTRAINT: code: 469" in json.loads(about.read_text(encoding="utf-8"))["refused"]
    assert json.loads(replay(running).stdout) == {"stored": 0, "refused": 1, "unavailable": {}}
    running.query("ALTER TABLE otel.otel_logs_local DROP CONSTRAINT no_bad")
    assert json.loads(replay(running).stdout) == {"stored": 1, "refused": 0, "unavailable": {}}
    assert running.query(f"SELECT arraySort(groupArray(Body)) {where}") == "['bad','fine','good','next']"
    assert f"{letters}0\n" in relay_metrics(running)


def current(running: Gateway) -> str:
    """The first token that the gateway accepts now."""
    return (running.folder / "gateway_token").read_text(encoding="utf-8").split()[0]


def relay_metrics(running: Gateway) -> str:
    """What the relay tells of itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{running.ports['relay']}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def replay(running: Gateway) -> subprocess.CompletedProcess[str]:
    """The command of playbooks/dead_letters.yml."""
    folder = running.folder
    argv: list[str | Path] = [sys.executable, "-B", folder / "relay.py", "replay", f"--port={running.ports['relay']}"]
    argv += [f"--sockets={folder}/run", f"--tokens={folder}/gateway_token", f"--folder={folder}/state/dead_letters", "--limit=1000000"]
    return subprocess.run(argv, capture_output=True, text=True, check=True)


def write(file: Path, tokens: list[str]) -> None:
    """Replace a file of tokens."""
    new = file.with_name(".new")
    new.write_text("\n".join(tokens), encoding="utf-8")
    new.rename(file)


class Sender(threading.Thread):
    """Sends one log after the other by gRPC with its token, which may change."""

    def __init__(self, running: Gateway, name: str, token: str) -> None:
        super().__init__()
        self.running, self.source, self.token = running, name, token
        self.accepted = self.refused = 0
        # What else went wrong.
        self.errors: list[str] = []
        self._end = threading.Event()

    def run(self) -> None:
        """Until it is stopped."""
        channel = grpc.secure_channel(f"127.0.0.1:{self.running.ports['grpc']}", grpc.ssl_channel_credentials(self.running.ca))
        stub: Any = telemetry_load.SERVICES["logs"](channel)
        number = 0
        while not self._end.wait(0.02):
            message = telemetry_load.request("logs", f"sent-{self.source}", "box", number, 1)
            number += 1
            try:
                stub.Export(message, timeout=30, metadata=(("authorization", f"Bearer {self.token}"),))
                self.accepted += 1
            except grpc.RpcError as error:
                self.refused += error.code() is grpc.StatusCode.UNAUTHENTICATED
                self.errors += [] if error.code() is grpc.StatusCode.UNAUTHENTICATED else [str(error)]
        channel.close()

    def stop(self) -> None:
        """End it, after the request that is under way."""
        self._end.set()
        self.join()
