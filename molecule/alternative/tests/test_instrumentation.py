# GNU General Public License v3.0+ (see LICENSE)
"""A service that was installed before the platform sends spans, metrics and logs by OpenTelemetry's agent, until it leaves the option."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.testbed.demo import recap

ENVIRONMENT = "/etc/otelcol/instrumentation/ledger.service.env"
DROP_IN = "/etc/systemd/system/ledger.service.d/50-opentelemetry.conf"
# Signal -> a record of the service, seen by its name and an attribute that the inventory gives it.
RECORDS = {
    "a span of the database": "otel_traces WHERE SpanName = 'SELECT' AND SpanAttributes['db.system'] = 'sqlite'",
    "a span of the HTTP client": "otel_traces WHERE SpanName = 'GET' AND SpanKind = 'Client'",
    "a log record": "otel_logs WHERE Body = 'balance is 42' AND SeverityText LIKE 'WARN%'",
    "a metric": "otel_metrics_histogram WHERE MetricName LIKE 'http.client.%duration'",
}
MINE = " AND ServiceName = 'ledger' AND ResourceAttributes['service.version'] = '1.2.3'"


def running(host: Any) -> tuple[str, str]:
    """Process id and environment of the running service."""
    pid = host.check_output("systemctl show ledger.service --property=MainPID --value")
    return pid, host.check_output(f"tr '\\0' '\\n' < /proc/{pid}/environ")


def test_every_signal_arrives(platform: Any, until: Callable[..., Any]) -> None:
    for what, where in RECORDS.items():
        query = f"SELECT count() FROM {platform.database}.{where}{MINE}"
        until(lambda query=query: int(platform.query(platform.server, query)[0][0]), f"{what} of ledger", 90)


def test_only_root_and_the_service_can_read_the_token(hosts: dict[str, Any], platform: Any) -> None:
    (host,) = hosts.values()
    token = platform.secrets["otel_collector_agent_token"]
    assert host.check_output(f"stat -c '%a %U' {ENVIRONMENT} /etc/otelcol/instrumentation").split() == ["600", "root", "700", "root"]
    pid, environment = running(host)
    assert token in environment
    for command in ("systemctl cat ledger.service", "systemctl show ledger.service", f"cat /proc/{pid}/cmdline"):
        assert token not in host.check_output(command)
    # What the unit had in the variable itself is kept.
    assert "PYTHONPATH=/srv/software/opentelemetry-python/current/opentelemetry/instrumentation/auto_instrumentation" in environment
    assert ":/srv/ledger\n" in environment


def test_a_service_that_leaves_the_option_runs_without_the_agent(hosts: dict[str, Any], playbook: Callable[..., Any]) -> None:
    (host,) = hosts.values()
    before, _environment = running(host)
    # The unit's file of another entry does not exist: nothing is changed.
    refused = playbook(
        "playbooks/collectors.yml", "--tags", "node_agent", "-e",
        '{"otel_collector_instrumented_services": [{"unit": "no-such.service", "language": "python", "service_name": "x"}]}',
    )
    assert refused.returncode != 0
    assert "otel_collector_instrumented_services: there is no unit no-such.service" in " ".join(refused.stdout.split())
    assert (recap(refused.stdout)[1], running(host)[0]) == (0, before)
    done = playbook("playbooks/collectors.yml", "--tags", "node_agent", "-e", '{"otel_collector_instrumented_services": []}')
    assert done.returncode == 0, done.stdout
    after, environment = running(host)
    assert after != before
    assert "OTEL_" not in environment and "opentelemetry" not in environment
    assert host.run(f"ls -d {ENVIRONMENT} {DROP_IN} /srv/software/opentelemetry-*").stdout == ""
