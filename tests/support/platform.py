# GNU General Public License v3.0+ (see LICENSE)
"""A small platform on loopback: real ZooKeeper, ClickHouse and collectors, configured by the roles, and the Grafana stand-in.

The collectors measure this machine, each other, ZooKeeper, ClickHouse and the stand-in, and take the telemetry of applications by OTLP.
"""

from __future__ import annotations

import hashlib
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import yaml

from tests.support import otelcol
from tests.support.clickhouse import REPLICA_PATHS, ClickHouse, until
from tests.support.collector_files import AGENT_TOKEN, CHECKOUT, GATEWAY_TOKEN, INGEST_PASSWORD, Rendered
from tests.support.daemon import Daemon, free_ports
from tests.support.grafana_server import grafana_server
from tests.support.http_server import http_server
from tests.support.rendered import rendered
from tests.support.zookeeper import ZooKeeper

DATABASE = CLUSTER = "otel"
# The host that runs the collectors, as the inventory calls it.
HOST = "gateway-1"
GRAFANA_PASSWORD, MONITOR_PASSWORD = "grafana", "monitor"
# How often hosts and endpoints are read.
INTERVAL = "2s"
MODES = ("gateway", "node_agent", "cluster_agent")
CLICKHOUSE = CHECKOUT / "roles" / "clickhouse"

# What Grafana says of its alerting, which the stand-in does not have. Names and labels: grafana/grafana, pkg/services/ngalert/metrics, and
# the documentation, "Monitor alerting".
ALERTING = b"""\
# TYPE grafana_alerting_alerts gauge
grafana_alerting_alerts{state="alerting"} 1
grafana_alerting_alerts{state="normal"} 41
grafana_alerting_alerts{state="pending"} 2
# TYPE grafana_alerting_rule_evaluations_total counter
grafana_alerting_rule_evaluations_total{org="1"} 1200
# TYPE grafana_alerting_rule_evaluation_failures_total counter
grafana_alerting_rule_evaluation_failures_total{org="1"} 3
# TYPE grafana_alerting_notifications_total counter
grafana_alerting_notifications_total{integration="slack",org="1"} 17
# TYPE grafana_alerting_notifications_failed_total counter
grafana_alerting_notifications_failed_total{integration="slack",org="1"} 1
"""

SCHEMA = """
- name: Create the tables
  hosts: gateway[0]
  gather_facts: false
  roles: [groundwork.observability.telemetry_schema]
"""


class Process(Daemon):
    """A program of the collectors: its command line, and the port where it serves when it is ready."""

    def __init__(self, argv: Sequence[str | Path], port: int) -> None:
        super().__init__()
        self._argv, self.port = argv, port

    def argv(self) -> Sequence[str | Path]:
        """As given."""
        return self._argv

    def ready(self) -> bool:
        """Whether it answers: a collector's health check says 503 until all of it has started, the relay knows no GET."""
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=2).close()
        except urllib.error.HTTPError as error:
            return error.code != HTTPStatus.SERVICE_UNAVAILABLE
        except OSError:
            return False
        return True


class Platform:
    """The running programs by name, and what tests do with them."""

    def __init__(self, clickhouse: ClickHouse, otlp: str, log: Path, programs: Mapping[str, Daemon] | None = None) -> None:
        self.clickhouse, self._otlp, self._log, self.programs = clickhouse, otlp, log, programs or {}

    def query(self, sql: str, query_id: str = "") -> str:
        """Run one statement as the user that dashboards read as, with that user's rights and limits."""
        return self.clickhouse.query(sql, user="grafana", password=GRAFANA_PASSWORD, query_id=query_id)

    def send(self, signal: str, message: bytes) -> None:
        """Hand an OTLP request for C(logs), C(traces) or C(metrics) to the node agent, as an application does."""
        headers = {"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {AGENT_TOKEN}"}
        request = urllib.request.Request(f"{self._otlp}/v1/{signal}", message, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200

    def write_log(self, program: str, text: str) -> None:
        """Add a line to the log file that the node agent reads. It reads what is added after it has seen the file."""
        with self._log.open("a", encoding="utf-8") as lines:
            lines.write(f"{datetime.now(UTC).isoformat()} {HOST} {program}[42]: {text}\n")

    def wait_for(self, what: str, sql: str, least: int = 1, seconds: float = 60) -> None:
        """Until a query's number is reached."""
        until(what, lambda: int(self.clickhouse.query(sql)) >= least, seconds)


def users() -> str:
    """The users that the role makes for collectors and Grafana, with the role's rights and profiles."""
    declared = yaml.safe_load((CLICKHOUSE / "vars" / "main" / "main.yml").read_text(encoding="utf-8"))
    made = ""
    for name, password in (("ingest", INGEST_PASSWORD), ("grafana", GRAFANA_PASSWORD), ("monitor", MONITOR_PASSWORD)):
        grants = rendered("clickhouse", f"__clickhouse_rights.{name}.grants.query", __clickhouse_database=DATABASE)
        queries = "".join(f"<query>{grant}</query>" for grant in grants)
        digest = hashlib.sha256(password.encode()).hexdigest()
        made += (
            f"<{name}><password_sha256_hex>{digest}</password_sha256_hex><networks><ip>::/0</ip></networks><profile>{name}</profile>"
            f"<quota>default</quota><grants>{queries}</grants></{name}>"
        )
    profiles = ""
    for name in ("ingest", "grafana", "monitor"):
        settings = declared["__clickhouse_users"]["profiles"][name]
        simple = {key: int(value) for key, value in settings.items() if isinstance(value, (bool, int))}
        profiles += f"<{name}>{''.join(f'<{key}>{value}</{key}>' for key, value in simple.items())}</{name}>"
    return f"<profiles>{profiles}</profiles><users>{made}</users>"


QUICK_LOGS = "".join(
    f"<{log}><database>system</database><table>{log}</table><flush_interval_milliseconds>500</flush_interval_milliseconds></{log}>"
    for log in ("query_log", "part_log")
)


def server_config(logs: str = QUICK_LOGS) -> str:
    """The parts of the role's configuration that dashboards depend on: metrics for the cluster agent, and the server's own logs."""
    metrics = escape((CLICKHOUSE / "files" / "metrics.sql").read_text(encoding="utf-8"))
    rule = f"<type>predefined_query_handler</type><query>{metrics}</query>"
    return (
        f"{REPLICA_PATHS}{logs}<http_handlers><rule><url>/metrics</url><methods>GET</methods><handler>{rule}</handler></rule>"
        "<defaults/></http_handlers>"
    )


def scrape_configs(targets: Mapping[str, tuple[str, str, str]]) -> list[dict[str, object]]:
    """Jobs of the cluster agent: job -> host as the inventory calls it, address, and name:password or nothing."""
    jobs = []
    for job, (instance, address, login) in targets.items():
        entry: dict[str, object] = {
            "job_name": job,
            "static_configs": [{"targets": [address], "labels": {"instance": instance}}],
            "fallback_scrape_protocol": "PrometheusText0.0.4",
        }
        if login:
            entry["basic_auth"] = dict(zip(("username", "password"), login.split(":"), strict=True))
        jobs.append(entry)
    return jobs


@contextmanager
def platform(
    base: Path,
    *,
    modes: Sequence[str] = MODES,
    zookeeper_type: type[ZooKeeper] = ZooKeeper,
    clickhouse_config: str = "",
    **settings: Any,
) -> Iterator[Platform]:
    """Start all of it, with the files of the collectors in an empty folder, until the block ends.

    C(settings) are variables of the roles; None is the role's default instead of what is quick for tests.
    """
    (metrics,) = free_ports(1)
    provider = "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider"
    with ExitStack() as stack:
        zookeeper = stack.enter_context(
            zookeeper_type(f"{provider}\nmetricsProvider.httpHost=127.0.0.1\nmetricsProvider.httpPort={metrics}")
        )
        clickhouse = stack.enter_context(
            ClickHouse(
                clickhouse_config or server_config(),
                users=users(),
                zookeeper=zookeeper.address,
                macros={"shard": "1", "replica": "a", "cluster": CLUSTER},
                cluster=CLUSTER,
            )
        )
        grafana = stack.enter_context(grafana_server())
        alerting = stack.enter_context(http_server(ALERTING))
        jobs = scrape_configs(
            {
                "zookeeper": ("zookeeper-1", f"127.0.0.1:{metrics}", ""),
                "clickhouse": ("clickhouse-1", f"127.0.0.1:{clickhouse.port}", f"monitor:{MONITOR_PASSWORD}"),
                "grafana": ("grafana-1", grafana.url.removeprefix("http://"), ""),
                "grafana-alerting": ("grafana-1", f"127.0.0.1:{alerting}", ""),
            }
        )
        ports = dict(zip(("grpc", "http", "relay", "agent_grpc", "agent_http"), free_ports(5), strict=True))
        health = dict(zip(modes, free_ports(len(modes)), strict=True))
        own_metrics = dict(zip(modes, free_ports(len(modes)), strict=True))
        log = base / "syslog"
        log.touch()
        files = Rendered(base, otelcol.program())
        variables: dict[str, Any] = {
            "ansible_host": "127.0.0.1",
            "telemetry_schema_login_host": "127.0.0.1",
            "telemetry_schema_login_port": clickhouse.port,
            "telemetry_schema_login_user": "default",
            "telemetry_schema_login_password": "",
            "telemetry_schema_secure": False,
            "otel_collector_environment": "demo",
            "otel_collector_interval": INTERVAL,
            "otel_collector_log_paths": [str(log)],
            "otel_collector_clickhouse_endpoint": f"tcp://127.0.0.1:{clickhouse.tcp_port}",
            "otel_collector_clickhouse_table_suffix": "_local",
            "otel_collector_clickhouse_tls": {"insecure": True},
            "otel_collector_gateway_endpoint": f"127.0.0.1:{ports['grpc']}",
            "otel_collector_gateway_batch_timeout": "500ms",
            "otel_collector_gateway_grpc_port": ports["grpc"],
            "otel_collector_gateway_http_port": ports["http"],
            "otel_collector_gateway_relay_port": ports["relay"],
            "otel_collector_node_agent_grpc_port": ports["agent_grpc"],
            "otel_collector_node_agent_http_port": ports["agent_http"],
            "otel_collector_cluster_agent_config": {"receivers": {"prometheus": {"config": {"scrape_configs": jobs}}}},
            **{f"otel_collector_{mode}_health_port": port for mode, port in health.items()},
            **{f"otel_collector_{mode}_metrics_port": port for mode, port in own_metrics.items()},
            **settings,
        }
        done = files.render(
            tuple(modes),
            {"clickhouse": [], **{mode: [HOST] for mode in modes}},
            plays=SCHEMA,
            check_program=False,
            **{name: value for name, value in variables.items() if value is not None},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        gateway = base / HOST / "gateway"
        for folder in ("run", "state"):
            (gateway / folder).mkdir()
        relay: list[str | Path] = [sys.executable, "-B", gateway / "relay.py", "serve", f"--port={ports['relay']}"]
        relay += [f"--sockets={gateway}/run", f"--tokens={gateway}/gateway_token", f"--folder={gateway}/state/dead_letters"]
        programs: dict[str, Daemon] = {"zookeeper": zookeeper, "clickhouse": clickhouse}
        programs["gateway_relay"] = stack.enter_context(Process([*relay, "--limit=1000000"], ports["relay"]))
        assert (gateway / "gateway_token").read_text(encoding="utf-8") == GATEWAY_TOKEN
        for mode in modes:
            argv: list[str | Path] = ["env", *files.environment(HOST, mode), files.program, *files.argv(HOST, mode)]
            programs[mode] = stack.enter_context(Process(argv, health[mode]))
        yield Platform(clickhouse, f"http://127.0.0.1:{ports['agent_http']}", log, programs)
