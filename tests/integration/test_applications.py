# GNU General Public License v3.0+ (see LICENSE)
"""The examples of docs/applications.md, and programs that only load an agent, against collectors with the role's configuration."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from ansible_collections.groundwork.observability.plugins.filter.instrumentation import environment_file

from tests.integration.test_collector_configs import Running
from tests.support import applications, otelcol
from tests.support.collector_files import AGENT_TOKEN, GATEWAY_TOKEN, Rendered
from tests.testbed.artifacts import instrumentation
from tests.testbed.core import cached, run
from tests.testbed.engine import need

# A token with characters that have a meaning in the header.
OWN_TOKEN = "own+token/of=the=checkout"
ROUTES = ("agent", "gateway")
# Signal -> where the gateway's output begins a block of it, and what is in that block.
SIGNALS = {
    "trace": ("ResourceSpans #", r"Name +: POST /orders\n.*Kind +: Server"),
    "log": ("ResourceLog #", r"SeverityText: (ERROR)?\nSeverityNumber: Error\(17\)\nBody: Str\(card was declined\)"),
    "metric": ("ResourceMetrics #", r"-> Name: http\.server\.request\.duration\n.*-> Unit: s\n.*-> http\.route: Str\(/orders\)"),
}
ATTRIBUTES = {
    "service.version: Str(1.4.2)",
    "service.instance.id: Str(checkout-1)",
    "deployment.environment.name: Str(production)",
    "host.name: Str(app1)",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A node agent, and a gateway that also accepts a token of the application's own."""
    base = tmp_path_factory.mktemp("applications")
    pair = Running(Rendered(base, otelcol.program()), otel_collector_gateway_tokens={"application": OWN_TOKEN})
    try:
        for mode in ("gateway", "node_agent"):
            pair.start(mode)
        yield pair
    finally:
        for mode in list(pair.processes):
            pair.kill(mode)
        shutil.rmtree(base)


def block_of(output: str, service: str, begin: str) -> str:
    """What the gateway printed of one signal of a service, empty where nothing has arrived."""
    parts = re.split(r"(?=Resource(?:Spans|Log|Metrics) #)", output)
    return "\n".join(part for part in parts if part.startswith(begin) and f"service.name: Str({service})" in part)


def run_example(language: str, route: str, running: Running) -> tuple[str, subprocess.CompletedProcess[str]]:
    """Run the example of a language as a service named after both; that name, and how it ended."""
    program = applications.LANGUAGES[language]()
    service = f"checkout-{language}-{route}"
    replaced = {
        "127.0.0.1:4318": f"127.0.0.1:{running.port['agent_http']}",
        "gw1.example.com:4318": f"127.0.0.1:{running.port['http']}",
        "/etc/ssl/certs/observability-ca.crt": str(running.certificate),
        "AGENT_TOKEN": quote(AGENT_TOKEN, safe=""),
        "GATEWAY_TOKEN": quote(OWN_TOKEN if language in ("python", "go") else GATEWAY_TOKEN, safe=""),
    }
    environment = {**applications.variables(route, service, replaced), **program.environment}
    done = subprocess.run(list(map(str, program.argv)), env=environment, capture_output=True, text=True, timeout=60, check=False)
    return service, done


@pytest.mark.parametrize("language", applications.LANGUAGES)
def test_example_arrives(language: str, running: Running) -> None:
    """A span, a log record in it and a point of a histogram, by both ways, with all attributes that the page names."""
    with ThreadPoolExecutor(len(ROUTES)) as pool:
        ended = list(pool.map(lambda route: run_example(language, route, running), ROUTES))
    for service, done in ended:
        assert done.returncode == 0, f"{service}: {done.stdout}{done.stderr}"
        for kind, (begin, content) in SIGNALS.items():
            running.wait(lambda service=service, begin=begin: block_of(running.arrived(), service, begin), f"no {kind} of {service}")
            block = block_of(running.arrived(), service, begin)
            assert re.search(content, block, flags=re.DOTALL), block
            assert {attribute for attribute in ATTRIBUTES if attribute not in block} == set(), block
        span = re.search(r"Trace ID +: (\w{32})", block_of(running.arrived(), service, "ResourceSpans #"))
        assert span
        assert f"Trace ID: {span[1]}" in block_of(running.arrived(), service, "ResourceLog #"), "the record is not part of the trace"


def test_a_wrong_token_is_refused(running: Running) -> None:
    """What the examples rely on: the same environment with another token sends nothing."""
    wrong = {"127.0.0.1:4318": f"127.0.0.1:{running.port['agent_http']}", "AGENT_TOKEN": GATEWAY_TOKEN}
    program = applications.go()
    environment = applications.variables("agent", "checkout-refused", wrong)
    done = subprocess.run(list(map(str, program.argv)), env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "401" in done.stderr, done.stderr
    assert "Str(checkout-refused)" not in running.arrived()


def test_the_page_names_what_the_examples_import() -> None:
    """Packages that the page tells to install are those that the tests install."""
    page = applications.PAGE.read_text(encoding="utf-8")
    asked = set(re.findall(r"`(opentelemetry-[a-z-]+)`", page.split("## Python")[1].split("```")[0]))
    requirements = (applications.HERE / "requirements.txt").read_text(encoding="utf-8")
    assert asked and {name for name in asked if f"\n{name}==" not in requirements} == set()
    assert set(re.findall(r"`io\.opentelemetry:([a-z-]+)`", page)) == set(
        re.findall(r"<artifactId>(opentelemetry-[a-z-]+)", (applications.HERE / "pom.xml").read_text(encoding="utf-8"))
    )
    assert set(re.findall(r"`(@opentelemetry/[a-z-]+)`", page)) == set(
        re.findall(r'"(@opentelemetry/[a-z-]+)":', (applications.HERE / "package.json").read_text(encoding="utf-8"))
    )


# What a service without a change of its code does: a span and a metric of its HTTP client, and a log record. In Node.js without a record:
# the agent takes those of logging libraries only.
WITHOUT_CODE = {
    "python": """
import http.server, logging, threading, urllib.request
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/").close()
logging.getLogger("ledger").error("no balance")
""",
    "nodejs": """
const http = require("http");
const server = http.createServer((_request, response) => response.end());
server.listen(0, "127.0.0.1", () => {
  http.get(`http://127.0.0.1:${server.address().port}/`, (response) => {
    response.resume();
    // As systemd stops it: it has to send what it has, and to end.
    response.on("end", () => setTimeout(() => process.kill(process.pid, "SIGTERM"), 100));
  });
});
""",
    "java": """
public class Ledger {
    public static void main(String[] arguments) throws Exception {
        var server = com.sun.net.httpserver.HttpServer.create(new java.net.InetSocketAddress("127.0.0.1", 0), 0);
        server.createContext("/", exchange -> { exchange.sendResponseHeaders(204, -1); exchange.close(); });
        server.start();
        new java.net.URL("http://127.0.0.1:" + server.getAddress().getPort() + "/").openStream().close();
        java.util.logging.Logger.getLogger("ledger").severe("no balance");
        System.exit(0);
    }
}
""",
}


def agent(language: str) -> Path:
    """The folder or file of an agent, unpacked once, as the role has it on a host."""

    def unpack(work: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for archive in instrumentation.build(Path(folder)):
                if archive.suffix == ".tar":
                    with tarfile.open(archive) as tar:
                        tar.extractall(work / archive.name.split("-")[1], filter="data")
                else:
                    shutil.copy(archive, work / "java.jar")

    home = cached("instrumentation-unpacked", instrumentation.inputs(), unpack)
    return home / {"java": "java.jar", "nodejs": "nodejs/register.js", "python": "python"}[language]


def uninstrumented(language: str) -> list[str | Path]:
    """A program without any import of OpenTelemetry."""
    if language == "python":
        return [sys.executable, "-c", WITHOUT_CODE["python"]]
    if language == "nodejs":
        return [applications.node(), "-e", WITHOUT_CODE["nodejs"]]

    def compile_it(work: Path) -> None:
        need("javac", "default-jdk-headless")
        (work / "Ledger.java").write_text(WITHOUT_CODE["java"], encoding="utf-8")
        run(["javac", "-nowarn", "-d", work, work / "Ledger.java"], what="compile a Java program")

    return ["java", "-XX:TieredStopAtLevel=1", "-cp", cached("application-ledger", [WITHOUT_CODE["java"]], compile_it), "Ledger"]


@pytest.mark.parametrize("language", WITHOUT_CODE)
def test_a_program_without_opentelemetry_arrives(language: str, running: Running) -> None:
    """With nothing but the environment that the role writes."""
    service = f"ledger-{language}"
    entry = {"unit": "ledger.service", "language": language, "service_name": service, "attributes": {"service.version": "7 a=b"}}
    endpoint = f"http://127.0.0.1:{running.port['agent_http']}"
    text = environment_file(entry, str(agent(language)), endpoint, AGENT_TOKEN)
    # As systemd reads it: no value here has a character that is escaped.
    variables = dict(line.rstrip('"').split('="', 1) for line in text.splitlines())
    environment = {**{name: os.environ[name] for name in ("HOME", "PATH")}, **variables}
    argv = list(map(str, uninstrumented(language)))
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == (-signal.SIGTERM if language == "nodejs" else 0), done.stdout + done.stderr
    wanted = {
        "ResourceSpans #": r"Name +: GET\n.*Kind +: Client",
        "ResourceLog #": r"SeverityNumber: Error\(17\)\nBody: Str\(no balance\)",
        "ResourceMetrics #": r"-> Name: http\.client\.",
    }
    if language == "nodejs":
        del wanted["ResourceLog #"]
    for begin, content in wanted.items():
        running.wait(lambda begin=begin: block_of(running.arrived(), service, begin), f"nothing of {service} after {begin}: {done.stderr}")
        block = block_of(running.arrived(), service, begin)
        assert re.search(content, block, flags=re.DOTALL), block
        assert "service.version: Str(7 a=b)" in block
        # The node agent's, from the inventory. The agent for Java sends the host's own name.
        assert language == "java" or "host.name: Str(box)" in block
