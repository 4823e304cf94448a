# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metrics of product databases: the cluster agent's receivers, and Prometheus exporters of a real PostgreSQL and a real MariaDB."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support import otelcol
from tests.support.clickhouse import until
from tests.support.collector_files import GATEWAY_TOKEN, Rendered
from tests.support.daemon import free_ports
from tests.support.gateway import Gateway, gateway
from tests.support.mariadb import MariaDB
from tests.support.platform import DATABASE, Process
from tests.support.postgres import Postgres
from tests.testbed import engine

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "roles/otel_collector/README.md").read_text(encoding="utf-8").split("### Product databases")[1]
PASSWORD, WRONG = "s3cret-of-the-exporter", "another-s3cret"
DATABASES = [
    {"name": "shop", "type": "postgresql", "host": "db1", "user": "otel"},
    {"name": "crm", "type": "mysql", "host": "db2", "user": "otel"},
]


def statements(number: int) -> str:
    """One of the README's blocks of SQL, with the password of a test."""
    block = README.split("```sql\n")[number].split("```")[0]
    assert "'...'" in block
    return block.replace("'...'", f"'{PASSWORD}'")


def test_program_without_the_receivers_is_refused_by_name(tmp_path: Path) -> None:
    """On the active agent only, as the other one does not need them; and no password is printed."""
    rendered = Rendered(tmp_path, otelcol.program())
    hosts = {"gateway": ["gw1"], "cluster_agent": ["mon1", "mon2"]}
    databases: dict[str, Any] = {
        "otel_collector_cluster_agent_databases": DATABASES,
        "otel_collector_cluster_agent_database_passwords": {"shop": "hush-4711", "crm": "hush-4712"},
    }
    done = rendered.render(("cluster_agent",), hosts, **databases)
    assert done.returncode != 0
    said = re.sub(r"\s+", " ", done.stdout + done.stderr)
    assert "needs: receivers: mysql, receivers: postgresql" in said or "needs: receivers: postgresql, receivers: mysql" in said
    assert "otel_collector_cluster_agent_databases" in said
    assert "hush-47" not in said
    assert not (tmp_path / "mon1").exists()
    assert set(rendered.load("mon2", "cluster_agent")["receivers"]) == {"prometheus"}
    assert "hush-47" not in (tmp_path / "mon2/cluster_agent/secret.yaml").read_text(encoding="utf-8")


class Exporter(Process):
    """A Prometheus exporter with its credentials in its environment."""

    def __init__(self, argv: Sequence[str | Path], port: int, **environment: str) -> None:
        super().__init__(argv, port)
        self._environment = environment

    def environment(self) -> dict[str, str]:
        return {**super().environment(), **self._environment}


@pytest.fixture(scope="module")
def exporters() -> Iterator[dict[str, tuple[Exporter, int]]]:
    """Of both databases, and one more of PostgreSQL with a wrong password. Each with its port."""
    engine.need("prometheus-postgres-exporter", "prometheus-postgres-exporter")
    engine.need("prometheus-mysqld-exporter", "prometheus-mysqld-exporter")
    with ExitStack() as stack:
        postgres, mariadb = stack.enter_context(Postgres()), stack.enter_context(MariaDB())
        postgres.query(f"CREATE TABLE orders (id int); {statements(1)}")
        mariadb.query(f"CREATE TABLE customers (id int); {statements(2)}")
        running = {}
        for name, password in (("shop-db", PASSWORD), ("wrong-db", WRONG)):
            (port,) = free_ports(1)
            uri = f"{postgres.host}:{postgres.port}/{postgres.database}?sslmode=disable"
            argv = ["prometheus-postgres-exporter", f"--web.listen-address=127.0.0.1:{port}"]
            exporter = Exporter(argv, port, DATA_SOURCE_URI=uri, DATA_SOURCE_USER="otel", DATA_SOURCE_PASS=password)
            running[name] = (stack.enter_context(exporter), port)
        (port,) = free_ports(1)
        source = f"otel:{PASSWORD}@({mariadb.host}:{mariadb.port})/"
        argv = ["prometheus-mysqld-exporter", f"--web.listen-address=127.0.0.1:{port}"]
        running["crm-db"] = (stack.enter_context(Exporter(argv, port, DATA_SOURCE_NAME=source)), port)
        for server in (postgres, mariadb):
            with pytest.raises(subprocess.CalledProcessError) as refused:
                read_rows(server)
            assert "denied" in refused.value.stderr
        yield running


def read_rows(server: Postgres | MariaDB) -> None:
    """Try to read a table as the user of the exporters."""
    if isinstance(server, Postgres):
        server.query("SELECT * FROM orders", user="otel")
        return
    argv = ["mariadb", "--no-defaults", f"--host={server.host}", f"--port={server.port}", "--user=otel", server.database]
    environment = {**os.environ, "MYSQL_PWD": PASSWORD}
    subprocess.run(argv, input="SELECT * FROM customers", check=True, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def stored(exporters: dict[str, tuple[Exporter, int]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """What a prometheus agent has read from them, by way of a gateway."""
    with ExitStack() as stack:
        running = stack.enter_context(gateway(tmp_path_factory.mktemp("gateway")))
        base = tmp_path_factory.mktemp("agent")
        rendered = Rendered(base, otelcol.program())
        health, metrics = free_ports(2)
        done = rendered.render(
            ("prometheus_agent",),
            {"prometheus_agent": ["agent1"], "gateway": ["gw1"]},
            check_program=False,
            common_tls_ca=running.ca.decode(),
            otel_collector_gateway_token=GATEWAY_TOKEN,
            otel_collector_gateway_endpoint=f"127.0.0.1:{running.ports['grpc']}",
            # An exporter that is refused answers after a second.
            otel_collector_interval="3s",
            otel_collector_scrape_configs=[
                {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for name, (_, port) in exporters.items()
            ],
            otel_collector_prometheus_agent_health_port=health,
            otel_collector_prometheus_agent_metrics_port=metrics,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        stack.enter_context(Process([rendered.program, *rendered.argv("agent1", "prometheus_agent")], health))
        yield running


def value_of(name: str, metric: str) -> str:
    """A query of the greatest value of a metric of a database: the metric may have one for each of several databases."""
    tables = " UNION ALL ".join(
        f"SELECT Value FROM {DATABASE}.otel_metrics_{kind} WHERE ServiceName = '{name}' AND MetricName = '{metric}'"
        for kind in ("gauge", "sum")
    )
    return f"SELECT max(Value) FROM ({tables})"


@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("shop-db", ("pg_up", "pg_stat_database_xact_commit", "pg_database_size_bytes", "pg_settings_max_connections")),
        ("crm-db", ("mysql_up", "mysql_global_status_queries", "mysql_global_variables_max_connections")),
    ],
)
def test_metrics_of_a_database_arrive_in_clickhouse(stored: Gateway, name: str, metrics: tuple[str, ...]) -> None:
    for metric in metrics:
        stored.wait_for(f"{metric} is stored", value_of(name, metric))


@pytest.mark.soak
def test_wrong_password_shows_and_stops_nothing_else(stored: Gateway, exporters: dict[str, tuple[Exporter, int]]) -> None:
    stored.wait_for("the exporter is scraped", value_of("wrong-db", "up"))
    kept = f"SELECT count() FROM {DATABASE}.otel_metrics_gauge WHERE ServiceName = 'wrong-db' AND MetricName = 'pg_up'"
    stored.wait_for("pg_up is stored", kept)
    assert stored.query(value_of("wrong-db", "pg_up")) == "0"
    log = exporters["wrong-db"][0].log
    until("the reason is in its log", lambda: "password authentication failed" in log.read_text(encoding="utf-8"))
    assert WRONG not in log.read_text(encoding="utf-8")
    # The others go on after that.
    newest = f"SELECT toUnixTimestamp(max(TimeUnix)) FROM {DATABASE}.otel_metrics_gauge WHERE MetricName = 'mysql_up'"
    before = int(stored.query(newest))
    stored.wait_for("MariaDB is read again", newest, before + 1)
