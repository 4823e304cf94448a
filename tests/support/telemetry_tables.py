# GNU General Public License v3.0+ (see LICENSE)
"""Empty tables for telemetry on a server: ours, made by role telemetry_schema, and the stock ones, made by the collector's own exporter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support import otelcol
from tests.support.clickhouse import ClickHouse, until
from tests.support.collector_files import CHECKOUT
from tests.support.daemon import free_ports

# What exporter 0.149 makes with C(create_schema: true): seven tables that it writes, and the lookup of traces with its view.
STOCK = (
    "otel_logs",
    "otel_traces",
    "otel_traces_trace_id_ts",
    "otel_traces_trace_id_ts_mv",
    *(f"otel_metrics_{kind}" for kind in ("gauge", "sum", "histogram", "exponential_histogram", "summary")),
)


# Generated rows have fixed dates, so no table of ours may let them expire.
RETENTION = {
    name: {"keep": "forever"} for name in ("logs", "traces", "metrics", "logs_volume_1m", "traces_red_1m", "metrics_gauge_5m")
}


def play(server: ClickHouse, plays: list[dict[str, Any]], *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Run plays on one host, whose ClickHouse is the server, with options of role telemetry_schema for it."""
    given = {
        "ansible_host": server.host,
        "ansible_become": False,
        "telemetry_schema_login_port": server.port,
        "telemetry_schema_login_user": "default",
        "telemetry_schema_login_password": "",
        "telemetry_schema_secure": False,
        **variables,
    }
    with tempfile.TemporaryDirectory() as folder:
        inventory, playbook = Path(folder) / "hosts.json", Path(folder) / "play.json"
        groups: dict[str, Any] = {"clickhouse": {"hosts": {"ch1": {}}}}
        inventory.write_text(json.dumps({"all": {"children": groups, "vars": given}}), encoding="utf-8")
        playbook.write_text(json.dumps(plays), encoding="utf-8")
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), str(playbook), *arguments]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        return subprocess.run(argv, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=False)


def create_ours(server: ClickHouse, cluster: str) -> None:
    """Let the role make its tables on one server that is not replicated and all of a cluster."""
    role = {"hosts": "clickhouse", "gather_facts": False, "roles": ["groundwork.observability.telemetry_schema"]}
    done = play(
        server, [role], telemetry_schema_replicated=False, telemetry_schema_cluster=cluster, telemetry_schema_retention=RETENTION
    )
    assert done.returncode == 0, done.stdout + done.stderr


def create_stock(server: ClickHouse, database: str, program: Path | None = None) -> None:
    """Let the exporter make its tables, as it does at its start; C(program) is a collector of another version."""
    found = f"SELECT count() FROM system.tables WHERE database = '{database}'"
    with exporting(server, database, program, create_schema=True):
        until("the exporter's tables", lambda: int(server.query(found)) == len(STOCK), 60)


@contextmanager
def exporting(server: ClickHouse, database: str, program: Path | None = None, *, create_schema: bool) -> Iterator[str]:
    """A collector that writes all signals into a database with its exporter, until the block ends; its address for OTLP by gRPC."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    exporter = {"endpoint": f"tcp://{server.host}:{server.tcp_port}", "database": database, "create_schema": create_schema}
    pipeline = {"receivers": ["otlp"], "exporters": ["clickhouse"]}
    config = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": address}}}},
        "exporters": {"clickhouse": exporter},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": dict.fromkeys(("logs", "traces", "metrics"), pipeline),
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        file, said = Path(folder) / "config.yaml", Path(folder) / "output.log"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        argv = [str(program or otelcol.program()), f"--config={file}"]
        with said.open("wb") as output, subprocess.Popen(argv, stdout=output, stderr=output) as collector:
            try:
                yield address
            except BaseException as error:
                error.add_note(said.read_text(encoding="utf-8", errors="replace")[-3000:])
                raise
            finally:
                collector.terminate()
