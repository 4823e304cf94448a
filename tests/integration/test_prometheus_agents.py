# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Agents that scrape, real collectors: two prometheus agents with applications on loopback, and which of several cluster agents watches."""

from __future__ import annotations

import base64
import json
import re
import shutil
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.support import otelcol
from tests.support.clickhouse import until
from tests.support.collector_files import Rendered, printing
from tests.support.daemon import free_ports, listening
from tests.support.platform import Process

pytestmark = pytest.mark.integration

AGENTS = ("agent1", "agent2")
APPLICATIONS = tuple(f"app{number}" for number in range(1, 9))
PASSWORD, SECOND_PASSWORD = "first-password", "second-password"


@contextmanager
def application(number: int, password: str = "", certificate: tuple[Path, Path] | None = None) -> Iterator[Any]:
    """A server with one metric, over TLS if it has a certificate. It answers 401 without its password, which may change."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = f"Basic {base64.b64encode(f'scraper:{server.password}'.encode()).decode()}"
            known = not server.password or self.headers.get("Authorization") == wanted
            self.send_response(200 if known else 401)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(f"# TYPE application_number gauge\napplication_number {number}\n".encode() if known else b"")

        def log_message(self, format: str, *arguments: Any) -> None:
            """Nothing."""

    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.password = password
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Agents:
    """Both, and what they print of what they have scraped."""

    def __init__(self, rendered: Rendered, processes: dict[str, Process], servers: dict[str, Any]) -> None:
        self.rendered, self.processes, self.servers = rendered, processes, servers

    def folder(self, agent: str) -> Path:
        """Its configuration."""
        return self.rendered.base / agent / "prometheus_agent"

    def scraped(self, agent: str) -> dict[str, int]:
        """Instance -> how often its own metric arrived, with the host's name."""
        text = self.processes[agent].log.read_text(encoding="utf-8", errors="replace")
        found: Counter[str] = Counter()
        for block in text.split("Resource SchemaURL")[1:]:
            instance = re.search(r"service\.instance\.id: Str\((.*)\)", block)
            if instance and "Name: application_number" in block:
                assert f"host.name: Str({instance.group(1).rpartition(':')[0]})" in block
                found[instance.group(1)] += 1
        return found


def in_folder(host: Path) -> list[str | Path]:
    """The program in the folder of its configuration, as the unit says."""
    unit = (host / "prometheus_agent/unit").read_text(encoding="utf-8")
    assert f"WorkingDirectory=-{host}/prometheus_agent\n" in unit
    return ["env", "-C", host / "prometheus_agent", otelcol.program()]


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agents]:
    """With the targets of eight hosts; the last one wants TLS and a password."""
    base = tmp_path_factory.mktemp("agents")
    rendered = Rendered(base, otelcol.program())
    with ExitStack() as stack:
        servers = {name: stack.enter_context(application(number)) for number, name in enumerate(APPLICATIONS[:-1])}
        servers[APPLICATIONS[-1]] = stack.enter_context(application(99, PASSWORD, (rendered.certificate, rendered.key)))
        targets = {name: {"shop" if name != APPLICATIONS[-1] else "billing": server.server_port} for name, server in servers.items()}
        ports = {name: dict(zip(("health", "metrics"), free_ports(2), strict=True)) for name in AGENTS}
        billing = {
            "scheme": "https",
            "tls_config": {"ca_file": "tls/ca.crt"},
            "basic_auth": {"username": "scraper", "password_file": "scrape_secrets/billing_password"},
        }
        done = rendered.render(
            ("prometheus_agent",),
            {"prometheus_agent": list(AGENTS), "application": list(APPLICATIONS)},
            check_program=False,
            ansible_host="127.0.0.1",
            targets=targets,
            ports=ports,
            otel_collector_gateway_endpoint="127.0.0.1:1",
            otel_collector_interval="1s",
            otel_collector_scrape_targets="{{ targets[inventory_hostname] | default({}) }}",
            otel_collector_scrape_jobs={"shop": {"metrics_path": "/shop"}, "billing": billing},
            otel_collector_scrape_secrets={"billing_password": PASSWORD},
            otel_collector_prometheus_agent_health_port="{{ ports[inventory_hostname].health }}",
            otel_collector_prometheus_agent_metrics_port="{{ ports[inventory_hostname].metrics }}",
            otel_collector_prometheus_agent_config=printing("metrics"),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        processes = {
            name: stack.enter_context(Process([*in_folder(base / name), *rendered.argv(name, "prometheus_agent")], ports[name]["health"]))
            for name in AGENTS
        }
        yield Agents(rendered, processes, servers)
    shutil.rmtree(base)


def test_each_target_is_scraped_by_one_agent(agents: Agents) -> None:
    """All of them, also with TLS and a password. Both agents have the same list."""
    instances = {f"{name}:{server.server_port}" for name, server in agents.servers.items()}
    until("all are scraped", lambda: set(agents.scraped("agent1")) | set(agents.scraped("agent2")) == instances, 60)
    first, second = (set(agents.scraped(name)) for name in AGENTS)
    assert not first & second
    assert len({(agents.folder(name) / "targets/shop.json").read_text(encoding="utf-8") for name in AGENTS}) == 1
    for name in AGENTS:
        config = (agents.folder(name) / "config.yaml").read_text(encoding="utf-8")
        said = agents.processes[name].log.read_text(encoding="utf-8", errors="replace")
        assert PASSWORD not in config + said


def test_only_health_and_metrics_listen(agents: Agents) -> None:
    """On loopback: an agent that scrapes takes no records from anybody."""
    for agent in agents.processes.values():
        assert agent.process is not None
        found = listening(agent.process.pid)
        assert agent.port in found
        assert list(found.values()) == ["127.0.0.1"] * 2


def test_new_target_and_changed_password_need_no_restart(agents: Agents) -> None:
    """Files are read again when they change."""
    name = APPLICATIONS[-1]
    (instance,) = {f"{name}:{agents.servers[name].server_port}"}
    (owner,) = [agent for agent in AGENTS if agents.scraped(agent).get(instance)]
    agents.servers[name].password = SECOND_PASSWORD
    for agent in AGENTS:
        (agents.folder(agent) / "scrape_secrets/billing_password").write_text(SECOND_PASSWORD, encoding="utf-8")
    with application(100) as added:
        for agent in AGENTS:
            file = agents.folder(agent) / "targets/shop.json"
            targets = json.loads(file.read_text(encoding="utf-8"))
            targets.append({"targets": [f"127.0.0.1:{added.server_port}"], "labels": {"instance": f"new:{added.server_port}"}})
            new = file.with_name(".new")
            new.write_text(json.dumps(targets), encoding="utf-8")
            new.rename(file)
        count = agents.scraped(owner)[instance]
        until("the new one is scraped", lambda: any(f"new:{added.server_port}" in agents.scraped(agent) for agent in AGENTS), 60)
        until("the password is used", lambda: agents.scraped(owner)[instance] > count + 1, 60)


def test_one_cluster_agent_watches_the_platform(tmp_path: Path) -> None:
    """The first by name, or the one that is named; the others have no targets, and the program accepts both configurations."""
    hosts = {"zookeeper": ["zk1"], "clickhouse": ["ch11"], "gateway": ["gw1"], "grafana": ["gw1"], "cluster_agent": ["mon2", "mon1"]}
    rendered = Rendered(tmp_path, otelcol.program())
    for variables, active in (({}, "mon1"), ({"otel_collector_cluster_agent_active": "mon2"}, "mon2")):
        done = rendered.render(("cluster_agent",), hosts, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        for host in hosts["cluster_agent"]:
            jobs = rendered.load(host, "cluster_agent")["receivers"]["prometheus"]["config"]["scrape_configs"]
            watched = {job["job_name"] for job in jobs if job["static_configs"]}
            assert watched == ({"zookeeper", "clickhouse", "grafana"} if host == active else set())
            rendered.validate(host, "cluster_agent")
    done = rendered.render(("cluster_agent",), hosts, otel_collector_cluster_agent_active="mon3")
    assert done.returncode != 0
    assert "otel_collector_cluster_agent_active is mon3, which is not in group cluster_agent" in re.sub(r"\s+", " ", done.stdout)


def test_unknown_job_is_refused_by_host(tmp_path: Path) -> None:
    """Before anything is written."""
    rendered = Rendered(tmp_path, otelcol.program())
    done = rendered.render(
        ("prometheus_agent",),
        {"prometheus_agent": ["agent1"], "gateway": ["agent1"], "application": ["app1"]},
        otel_collector_scrape_targets="{{ {'shopp': 80} if inventory_hostname == 'app1' else {} }}",
        otel_collector_scrape_jobs={"shop": {}},
    )
    assert done.returncode != 0
    said = re.sub(r"\s+", " ", done.stdout + done.stderr)
    assert "otel_collector_scrape_targets of app1 has the job shopp, which is not in otel_collector_scrape_jobs." in said
    assert not (tmp_path / "agent1").exists()
