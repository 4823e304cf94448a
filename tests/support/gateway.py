# GNU General Public License v3.0+ (see LICENSE)
"""One gateway on loopback as the role configures it: the real collector, its relay, and a real ClickHouse engine with the tables."""

from __future__ import annotations

import json
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import grpc

from tests.support import otelcol, telemetry_load
from tests.support.clickhouse import ClickHouse, until
from tests.support.collector_files import GATEWAY_TOKEN, Rendered
from tests.support.daemon import free_ports
from tests.support.platform import CLUSTER, DATABASE, HOST, SCHEMA, Process, users


class Gateway:
    """The running programs of one gateway, and what tests do with them."""

    def __init__(self, rendered: Rendered, clickhouse: ClickHouse, collector: Process, relay: Process, ports: dict[str, int]) -> None:
        self.rendered, self.clickhouse, self.collector, self.relay, self.ports = rendered, clickhouse, collector, relay, ports
        self.folder = rendered.base / HOST / "gateway"
        self.ca = rendered.certificate.read_bytes()

    def query(self, sql: str) -> str:
        """Run one statement with all rights."""
        return self.clickhouse.query(sql)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a SELECT."""
        return [json.loads(line) for line in self.query(f"{sql} FORMAT JSONEachRow").splitlines()]

    def post(self, signal: str, body: bytes, token: str | None = GATEWAY_TOKEN, kind: str = "application/x-protobuf") -> int:
        """Send a request by HTTP; the status of the answer."""
        headers = {"Content-Type": kind} | ({} if token is None else {"Authorization": f"Bearer {token}"})
        request = urllib.request.Request(f"https://127.0.0.1:{self.ports['http']}/v1/{signal}", body, headers)
        try:
            context = ssl.create_default_context(cafile=str(self.rendered.certificate))
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def export(self, signal: str, message: Any, token: str | None = GATEWAY_TOKEN) -> grpc.StatusCode:
        """Send a request by gRPC; the code of the answer."""
        metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        with grpc.secure_channel(f"127.0.0.1:{self.ports['grpc']}", grpc.ssl_channel_credentials(self.ca)) as channel:
            try:
                stub: Any = telemetry_load.SERVICES[signal](channel)
                stub.Export(message, timeout=30, metadata=metadata)
            except grpc.RpcError as error:
                code: grpc.StatusCode = error.code()
                return code
        return grpc.StatusCode.OK

    def wait_for(self, what: str, sql: str, least: int = 1) -> None:
        """Until a query's number is reached."""
        until(what, lambda: int(self.query(sql)) >= least, 30)


def accepted(running: Gateway, signal: str, body: bytes) -> bool:
    """Whether a request is."""
    return running.post(signal, body) == HTTPStatus.OK


@contextmanager
def gateway(base: Path, **variables: Any) -> Iterator[Gateway]:
    """Start all of it, with the files of the role in an empty folder, until the block ends.

    C(variables) are those of the role, beside addresses and ports.
    """
    with ExitStack() as stack:
        clickhouse = stack.enter_context(ClickHouse(users=users(), macros={"cluster": CLUSTER}, cluster=CLUSTER))
        names = ("grpc", "http", "certificate_grpc", "certificate_http", "relay", "health", "metrics")
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        rendered = Rendered(base, otelcol.program())
        done = rendered.render(
            ("gateway",),
            {"clickhouse": [], "gateway": [HOST]},
            plays=SCHEMA,
            check_program=False,
            ansible_host="127.0.0.1",
            telemetry_schema_login_host="127.0.0.1",
            telemetry_schema_login_port=clickhouse.port,
            telemetry_schema_login_user="default",
            telemetry_schema_login_password="",
            telemetry_schema_secure=False,
            telemetry_schema_replicated=False,
            telemetry_schema_database=DATABASE,
            otel_collector_clickhouse_endpoint=f"tcp://127.0.0.1:{clickhouse.tcp_port}",
            otel_collector_clickhouse_table_suffix="_local",
            otel_collector_clickhouse_tls={"insecure": True},
            **{
                "otel_collector_gateway_batch_timeout": "100ms",
                **{f"otel_collector_gateway_{name}_port": port for name, port in ports.items()},
                **variables,
            },
        )
        assert done.returncode == 0, done.stdout + done.stderr
        folder = base / HOST / "gateway"
        for name in ("run", "state"):
            (folder / name).mkdir()
        argv: list[str | Path] = [sys.executable, "-B", folder / "relay.py", "serve", f"--port={ports['relay']}"]
        argv += [f"--sockets={folder}/run", f"--tokens={folder}/gateway_token", f"--folder={folder}/state/dead_letters"]
        relay = stack.enter_context(Process([*argv, "--limit=100000000"], ports["relay"]))
        collector = stack.enter_context(Process([rendered.program, *rendered.argv(HOST, "gateway")], ports["health"]))
        running = Gateway(rendered, clickhouse, collector, relay, ports)
        # In its first second it may refuse, as its connections to its own sockets are not there yet: senders try again.
        for signal in telemetry_load.SIGNALS:
            first = telemetry_load.request(signal, "first", HOST, 0, 1).SerializeToString()
            until(f"{signal} are refused", partial(accepted, running, signal, first), 30)
        yield running
