# GNU General Public License v3.0+ (see LICENSE)
"""The files that role otel_collector writes, made without a host."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.groundwork.observability.plugins.filter.tls import GATEWAY_NAME

CHECKOUT = Path(__file__).parents[2]
TEMPLATES = CHECKOUT / "roles" / "otel_collector" / "templates"
GATEWAY_TOKEN = "gateway-token-0123456789"
AGENT_TOKEN = "agent-token-0123456789"
INGEST_PASSWORD = "a$b ${env:HOME} \"c\" 'd': #é"


def printing(*signals: str) -> dict[str, Any]:
    """Settings of a collector that prints all records of these signals, each with its content, and sends them nowhere.

    Without sampling: the logger drops lines that repeat, and knows them by one of 4,096 hashes, so some records would be dropped with them.
    """
    return {
        "exporters": {"debug": {"verbosity": "detailed"}},
        "service": {
            "pipelines": {signal: {"exporters": ["debug"]} for signal in signals},
            "telemetry": {"logs": {"sampling": {"enabled": False}}},
        },
    }


# What the role writes, without the host: the same checks, variables and templates; all files come back as one text.
PLAY = """
- name: Render
  hosts: MODE
  gather_facts: false
  vars:
    otel_collector_mode: MODE
  tasks:
    - name: Know the collection-wide settings
      ansible.builtin.import_role: {name: groundwork.observability.common}
    - name: Check the inventory
      ansible.builtin.import_role: {name: groundwork.observability.otel_collector, tasks_from: check}
    - name: Check the program
      ansible.builtin.import_role: {name: groundwork.observability.otel_collector, tasks_from: components}
      when: check_program
    - name: Write the files
      ansible.builtin.copy:
        dest: "{{ rendered }}/{{ inventory_hostname }}-MODE.json"
        content: >-
          {{ ([{'path': 'config.yaml', 'content': lookup('ansible.builtin.template', templates ~ '/config.yaml.j2')},
               {'path': 'unit', 'content': lookup('ansible.builtin.template', templates ~ '/otelcol.service.j2')},
               {'path': 'tls/ca.crt', 'content': common_tls_ca}]
              + __otel_collector_secret_files + __otel_collector_MODE_files + __otel_collector_MODE_secret_files)
             | rejectattr('path', 'match', '/') | to_json }}
        mode: "0644"
"""


class Rendered:
    """Configurations of a cluster: written on demand, one mode of all hosts that have it at a time."""

    def __init__(self, base: Path, program: Path) -> None:
        self.base, self.program = base, program
        self.certificate, self.key = base / "host.crt", base / "host.key"
        # Where lookups look, as in the role.
        for name in ("files", "templates"):
            (base / name).symlink_to(TEMPLATES.with_name(name))
        subject = ["-subj", "/CN=test", "-addext", f"subjectAltName=IP:127.0.0.1,DNS:{GATEWAY_NAME}"]
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        files = ["-keyout", str(self.key), "-out", str(self.certificate)]
        subprocess.run(["openssl", "req", "-x509", *kind, *subject, *files], check=True, capture_output=True)

    def render(
        self, modes: tuple[str, ...], hosts: dict[str, list[str]], *, plays: str = "", **variables: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run the role's checks and write its files, after further plays.

        The variable C(check_program=False) leaves out the check that the program accepts the configuration, which takes half of the
        time: for callers that start the program with it.
        """
        (self.base / "play.yml").write_text(plays + "".join(PLAY.replace("MODE", mode) for mode in modes), encoding="utf-8")
        given = {
            "templates": str(TEMPLATES),
            "rendered": str(self.base),
            "check_program": True,
            "otel_collector_program": str(self.program),
            "otel_collector_gateway_token": GATEWAY_TOKEN,
            "otel_collector_agent_token": AGENT_TOKEN,
            "clickhouse_ingest_password": INGEST_PASSWORD,
            "clickhouse_monitor_password": "monitor",
            "grafana_metrics_password": "metrics",
            "common_tls_ca": self.certificate.read_text(encoding="utf-8"),
            "common_tls_certificate": self.certificate.read_text(encoding="utf-8"),
            "common_tls_key": self.key.read_text(encoding="utf-8"),
            "__otel_collector_root": "{{ rendered }}/{{ inventory_hostname }}/{{ __otel_collector_instance }}",
            "__otel_collector_state_dir": "{{ __otel_collector_root }}/state",
            "__otel_collector_runtime_dir": "{{ __otel_collector_root }}/run",
            "observability_address": "{{ ansible_host | default(inventory_hostname) }}",
            **variables,
        }
        settings: dict[str, dict[str, Any]] = {"localhost": {}}
        settings |= {
            f"ch{shard}{replica}": {"clickhouse_shard": shard, "clickhouse_replica": replica} for shard in (1, 2) for replica in (1, 2)
        }
        inventory = {
            "all": {
                "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
                "children": {group: {"hosts": {host: settings.get(host, {}) for host in names}} for group, names in hosts.items()},
            }
        }
        (self.base / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
        (self.base / "vars.yml").write_text(yaml.safe_dump(given, allow_unicode=True), encoding="utf-8")
        done = self.play(self.base / "play.yml")
        for answer in self.base.glob("*.json"):
            host, mode = answer.stem.rsplit("-", 1)
            for file in json.loads(answer.read_text(encoding="utf-8")):
                path = self.base / host / mode / file["path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(file["content"], encoding="utf-8")
        return done

    def play(self, playbook: Path) -> subprocess.CompletedProcess[str]:
        """Run a playbook with the inventory and variables of the last C(render)."""
        return subprocess.run(
            [
                *(Path(sys.executable).with_name("ansible-playbook"), "-i", self.base / "hosts.yml"),
                *("-e", f"@{self.base / 'vars.yml'}", playbook),
            ],
            env={**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )

    def load(self, host: str, mode: str) -> dict[str, Any]:
        """The configuration as data."""
        loaded: dict[str, Any] = yaml.safe_load((self.base / host / mode / "config.yaml").read_text(encoding="utf-8"))
        return loaded

    def argv(self, host: str, mode: str) -> list[str]:
        """What the unit hands to the program."""
        unit = (self.base / host / mode / "unit").read_text(encoding="utf-8")
        gates = re.findall(r"--feature-gates=\S+", unit)
        return [*(f"--config={self.base / host / mode / name}" for name in ("config.yaml", "secret.yaml")), *gates]

    def before_start(self, host: str, mode: str) -> list[list[str]]:
        """What the unit runs before each start of the program, when its empty folder "run" is there."""
        unit = (self.base / host / mode / "unit").read_text(encoding="utf-8")
        return [shlex.split(line) for line in re.findall(r"^ExecStartPre=(.*)$", unit, re.MULTILINE)]

    def command(self, host: str, mode: str) -> list[str]:
        """The program with its arguments; where the unit makes a hosts file, in a mount namespace in which it is the one."""
        command = [str(self.program), *self.argv(host, mode)]
        if not self.before_start(host, mode):
            return command
        private = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
        hosts = str(self.base / host / mode / "run" / "hosts")
        return [*private, "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts, *command]

    def environment(self, host: str, mode: str) -> list[str]:
        """Variables that the unit sets, as NAME=VALUE."""
        return re.findall(r"^Environment=(\S+)$", (self.base / host / mode / "unit").read_text(encoding="utf-8"), re.MULTILINE)

    def validate(self, host: str, mode: str) -> None:
        """Let the program read it."""
        done = subprocess.run([self.program, "validate", *self.argv(host, mode)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
