# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module host_info and playbook hosts, asked about this machine."""

from __future__ import annotations

import getpass
import json
import os
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def held_port() -> Iterator[int]:
    """A port that this process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """One of ansible's programs, with this Python on the other side."""
    environment = {
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    }
    return subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        env={**os.environ, **environment},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_facts_of_the_local_host(held_port: int, tmp_path: Path) -> None:
    paths = [str(tmp_path), str(tmp_path / "not/yet")]
    options = {"paths": paths, "ports": [held_port], "controller_time": 0}
    local = json.dumps({"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False})
    asked = ["-m", "groundwork.observability.host_info", "-a", json.dumps(options)]
    done = run("ansible", "localhost", "-i", "localhost,", "-e", local, *asked)
    assert done.returncode == 0, done.stdout + done.stderr
    said: dict[str, Any] = json.loads(done.stdout.split("=>", 1)[1])
    assert said["machine"] == platform.machine()
    assert said["python"] == platform.python_version()
    assert said["memory_bytes"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert said["clock_seconds"] > 10**9
    here, beside = (said["file_systems"][path] for path in paths)
    assert (here["exists"], beside["exists"]) == (True, False)
    assert here["mount"] == beside["mount"]
    assert os.path.ismount(here["mount"])
    assert 0 < here["free_bytes"] <= here["size_bytes"]
    (found,) = said["listeners"]
    assert (found["port"], found["address"]) == (held_port, "127.0.0.1")
    assert found["user"] == getpass.getuser()
    assert found["process"] == Path("/proc/self/comm").read_text(encoding="utf-8").strip()


@pytest.mark.parametrize("mode", [[], ["--check"]])
def test_host_is_refused_before_the_first_change(held_port: int, tmp_path: Path, mode: list[str]) -> None:
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}
    wanted = {
        "grafana_port": held_port,
        "grafana_address": "127.0.0.1",
        "grafana_data_dir": str(tmp_path / "grafana"),
        "otel_collector_gateway_memory_mib": 900000000,
    }
    groups = {group: {"hosts": {"localhost": None}} for group in ("grafana", "gateway")}
    inventory = {"all": {"hosts": {"localhost": {**host, **wanted}, "other": host}, "children": groups}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    done = run("ansible-playbook", "-i", tmp_path / "hosts.yml", *mode, "groundwork.observability.hosts")
    said = re.sub(r"\s+", " ", done.stdout)
    assert done.returncode != 0, said
    assert "localhost cannot run what the inventory gives it" in said
    assert f"port {held_port} (grafana_port) is held by" in said
    assert "otel_collector_gateway_memory_mib are" in said
    assert "changed=1" not in said
    # A host without a role is left alone.
    assert "other :" not in said
    assert not (tmp_path / "grafana").exists()
