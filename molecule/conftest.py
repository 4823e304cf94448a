# GNU General Public License v3.0+ (see LICENSE)
"""What the scenarios' tests share: the running hosts, by name, and the platform as a client with passwords sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import testinfra
import yaml

CHECKOUT = Path(__file__).parents[1]
sys.path.insert(0, str(CHECKOUT))

from tests.testbed.core import CACHE  # noqa: E402
from tests.testbed.demo import Platform, listed  # noqa: E402


@pytest.fixture(scope="session")
def scenario() -> str:
    return os.environ["MOLECULE_SCENARIO_NAME"]


@pytest.fixture(scope="session")
def inventory(scenario: str) -> Path:
    return CACHE / "testbeds" / f"molecule-{scenario}" / "hosts.yml"


@pytest.fixture(scope="session")
def inventories(scenario: str, inventory: Path) -> list[Path]:
    """The shipped example, the testbed's hosts, and what the scenario changes."""
    changed = CHECKOUT / "molecule" / scenario / "inventory"
    return [CHECKOUT / "inventories" / os.environ["GROUNDWORK_INVENTORY"], inventory, *([changed] if changed.exists() else [])]


@pytest.fixture(scope="session")
def connections(inventory: Path) -> dict[str, Any]:
    return yaml.safe_load(inventory.read_text())["all"]


@pytest.fixture(scope="session")
def hosts(connections: dict[str, Any]) -> dict[str, Any]:
    """Name -> the host, as root."""
    variables = connections["vars"]
    return {
        name: testinfra.get_host(
            f"ssh://{variables['ansible_user']}@{entry['ansible_host']}?sudo=true&controlpersist=60",
            ssh_identity_file=variables["ansible_ssh_private_key_file"],
            ssh_extra_args=variables["ansible_ssh_common_args"],
        )
        for name, entry in connections["hosts"].items()
    }


@pytest.fixture(scope="session")
def everywhere(hosts: dict[str, Any]) -> Callable[..., dict[str, str]]:
    """Runs a shell script on hosts, all of them by default, side by side: name -> what it printed."""

    def run(script: str, names: Iterable[str] | None = None) -> dict[str, str]:
        chosen = list(hosts if names is None else names)
        with ThreadPoolExecutor(8) as pool:
            return dict(zip(chosen, pool.map(lambda name: str(hosts[name].check_output("sh -c %s", script)), chosen), strict=True))

    return run


@pytest.fixture(scope="session")
def groups(inventories: list[Path]) -> dict[str, list[str]]:
    """Group -> its hosts."""
    found = listed(inventories)

    def members(group: str) -> list[str]:
        entry = found.get(group, {})
        return sorted({*entry.get("hosts", []), *(host for child in entry.get("children", []) for host in members(child))})

    return {group: members(group) for group in found if group != "_meta"}


@pytest.fixture(scope="session")
def platform(inventory: Path, inventories: list[Path], groups: dict[str, list[str]]) -> Platform:
    return Platform(inventory, groups["clickhouse"][0], inventories)


@pytest.fixture(scope="session")
def playbook(inventories: list[Path]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a playbook on the scenario's hosts."""

    def run(name: str | Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        sources = [word for source in inventories for word in ("-i", source)]
        argv = [Path(sys.executable).with_name("ansible-playbook"), *sources, *arguments, name]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_VERBOSITY": "0"}
        return subprocess.run(list(map(str, argv)), cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=600)

    return run


@pytest.fixture(scope="session")
def send(inventory: Path, platform: Platform) -> Callable[..., dict[str, Any]]:
    """Sends log records and spans, a number of each, to the node agent of a host; returns what otlp_probe says."""

    def send(host: str, probe: str, count: int) -> dict[str, Any]:
        token = platform.secrets["otel_collector_agent_token"]
        arguments = {"probe_id": probe, "count": count, "signals": ["logs", "traces"], "token": token}
        program = Path(sys.executable).with_name("ansible")
        argv = [program, "-i", inventory, host, "--one-line", "-m", "groundwork.observability.otlp_probe", "-a", json.dumps(arguments)]
        done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=60, cwd=CHECKOUT)
        assert done.returncode == 0, done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.split("=>", 1)[1])
        return answer

    return send


@pytest.fixture(scope="session")
def stored(platform: Platform) -> Callable[..., dict[str, list[int]]]:
    """Asks a server for what C(send) has sent: signal -> rows and different records. With suffix `_local` only for its own rows."""
    attributes = {"logs": "LogAttributes", "traces": "SpanAttributes"}

    def stored(host: str, probe: str, suffix: str = "") -> dict[str, list[int]]:
        queries = {
            signal: f"SELECT count(), uniqExact({column}['groundwork.probe_seq']) FROM {platform.database}.otel_{signal}{suffix}"
            f" WHERE {column}['groundwork.probe_id'] = '{probe}'"
            for signal, column in attributes.items()
        }
        return {signal: [int(number) for number in platform.query(host, query)[0]] for signal, query in queries.items()}

    return stored


@pytest.fixture(scope="session")
def ansible_log_file() -> Path:
    return Path(os.environ["ANSIBLE_LOG_PATH"])


@pytest.fixture(scope="session")
def ansible_log(ansible_log_file: Path) -> str:
    """All that Ansible printed in this scenario, with diffs; at -vvv in scenario default."""
    return ansible_log_file.read_text(encoding="utf-8", errors="replace")


@pytest.fixture(scope="session")
def ask() -> Callable[..., str]:
    """Asks a URL from a host itself: `200 body`, `401 ...`, or `refused` where nobody answers or TLS fails."""
    program = """
import json, ssl, sys, urllib.request
url, headers, body, ca = json.loads(sys.argv[1])
context = ssl.create_default_context(cafile=ca) if url.startswith("https") else None
request = urllib.request.Request(url, data=body.encode() if body else None, headers=headers)
try:
    try:
        answer = urllib.request.urlopen(request, context=context, timeout=10)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        print(answer.status, answer.read().decode())
except OSError as error:
    print("refused", error)
"""

    def ask(host: Any, url: str, headers: dict[str, str] | None = None, body: str = "", ca: str | None = None) -> str:
        return str(host.check_output("python3 -c %s %s", program, json.dumps([url, headers or {}, body, ca])))

    return ask


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """Waits until a call gives something true, and returns it; fails with the last answer."""

    def until(call: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        deadline = time.monotonic() + seconds
        while not (answer := call()):
            assert time.monotonic() < deadline, f"after {seconds} s not {what}: {answer!r}"
            time.sleep(0.5)
        return answer

    return until
