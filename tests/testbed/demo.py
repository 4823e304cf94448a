# GNU General Public License v3.0+ (see LICENSE)
"""`make demo`: starts hosts, installs the platform and the example application, and prints a page that shows what arrived."""

from __future__ import annotations

import json
import os
import re
import ssl
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.testbed import hosts, mirror
from tests.testbed.core import TestbedError, run, say

NAME, LAYOUT, INVENTORY = "demo", "cluster", "inventories/cluster"
CHECKOUT = Path(__file__).parents[2]
APPLICATION = "shop"
# Kind of record -> the table that it arrives in. The application emits all but summaries, of which its /metrics has one.
SIGNALS = {
    "logs": "otel_logs",
    "traces": "otel_traces",
    "gauge": "otel_metrics_gauge",
    "sum": "otel_metrics_sum",
    "histogram": "otel_metrics_histogram",
    "exponential histogram": "otel_metrics_exponential_histogram",
    "summary (scraped)": "otel_metrics_summary",
}
ARRIVAL_SECONDS = 90


def role_defaults() -> dict[str, Any]:
    """Option -> its default, of all roles. A default that is a template stays one: ask for the option that it refers to."""
    found: dict[str, Any] = {}
    for file in sorted((CHECKOUT / "roles").glob("*/defaults/main.yml")):
        found.update(yaml.safe_load(file.read_text()))
    return found


def listed(inventories: Sequence[str | Path]) -> dict[str, Any]:
    """What ansible-inventory says about inventories together."""
    program = Path(sys.executable).with_name("ansible-inventory")
    argv = [program, *(word for inventory in inventories for word in ("-i", inventory)), "--list"]
    # What it prints has secrets: it must not reach a log.
    environment = {"ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_LOG_PATH": os.devnull}
    found: dict[str, Any] = json.loads(run(argv, cwd=CHECKOUT, env=environment, what="read the inventory"))
    return found


def playbook(inventory: Path, name: str, *, what: str, arguments: Sequence[str] = (), todo: str = "") -> str:
    """Run a playbook on a testbed's hosts, with the shipped example inventory, and return what it printed."""
    program = Path(sys.executable).with_name("ansible-playbook")
    environment = {
        "PATH": f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
    }
    argv: list[str | Path] = [program, "-i", INVENTORY, "-i", inventory, *arguments, name]
    return run(argv, cwd=CHECKOUT, env=environment, what=what, todo=todo)


def recap(output: str) -> tuple[int, int]:
    """Hosts and changes that a playbook's recap counts."""
    rows = re.findall(r"^\S+\s+: ok=\d+\s+changed=(\d+)", output, flags=re.MULTILINE)
    return len(rows), sum(map(int, rows))


class Platform:
    """The running platform, asked as a person with the passwords would."""

    def __init__(self, inventory: Path, server: str = "ch1", inventories: Sequence[str | Path] = ()) -> None:
        """C(inventory) is the testbed's; C(inventories) are all of them, the example first."""
        self.server = server
        self.hostvars: dict[str, dict[str, Any]] = listed(inventories or (INVENTORY, inventory))["_meta"]["hostvars"]
        self.defaults = role_defaults()
        self.folder = inventory.parent
        self.addresses: dict[str, str] = {
            host: entry["ansible_host"] for host, entry in yaml.safe_load(inventory.read_text())["all"]["hosts"].items()
        }
        self.secrets: dict[str, str] = yaml.safe_load((self.folder / "group_vars/all/secrets.yml").read_text())
        self.context = ssl.create_default_context(cafile=str(self.folder / "pki/ca.crt"))

    def setting(self, name: str, host: str = "") -> Any:
        """An option on a host, by default the ClickHouse server: the inventory's value, else the role's default."""
        given = self.hostvars[host or self.server]
        return given[name] if name in given else self.defaults[name]

    @property
    def database(self) -> str:
        """Where telemetry is."""
        return str(self.setting("telemetry_schema_database"))

    def query(self, host: str, sql: str) -> list[list[Any]]:
        """Rows of a statement, if it has any, sent to one ClickHouse as the administrator."""
        request = urllib.request.Request(
            f"https://{self.addresses[host]}:{self.setting('clickhouse_https_port', host)}/?default_format=JSONCompact",
            data=sql.encode(),
            headers={
                "X-ClickHouse-User": self.setting("clickhouse_admin_user", host),
                "X-ClickHouse-Key": self.secrets["clickhouse_admin_password"],
            },
        )
        with urllib.request.urlopen(request, context=self.context, timeout=30) as answer:
            body = answer.read()
        rows: list[list[Any]] = json.loads(body)["data"] if body else []
        return rows

    def records(self) -> dict[str, tuple[int, int]]:
        """Kind of record -> all of them, and those of the application."""
        return {
            kind: (int(total), int(own))
            for kind, table in SIGNALS.items()
            for total, own in self.query(
                self.server, f"SELECT count(), countIf(ServiceName = '{APPLICATION}') FROM {self.database}.{table}"
            )
        }


def arrived(platform: Platform) -> dict[str, tuple[int, int]]:
    """Wait until every kind of record of the application is in ClickHouse."""
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while True:
        records = platform.records()
        missing = [kind for kind, (_, own) in records.items() if not own]
        if not missing:
            return records
        if time.monotonic() > deadline:
            raise TestbedError(
                "wait for the application's telemetry",
                f"after {ARRIVAL_SECONDS} s nothing of {APPLICATION} arrived in {', '.join(SIGNALS[kind] for kind in missing)}",
                "look at `journalctl -u shop -u otelcol-node-agent -u otelcol-prometheus-agent` on app1",
            )
        time.sleep(1)


def layout_rows() -> list[tuple[str, str]]:
    """Host -> what the example inventory puts there."""
    inventory = yaml.safe_load((CHECKOUT / INVENTORY / "hosts.yml").read_text())["all"]["children"]
    rows: dict[str, list[str]] = {}

    def visit(label: str, group: dict[str, Any]) -> None:
        for host in group.get("hosts") or {}:
            rows.setdefault(host, []).append(label)
        for child in group.get("children") or {}:
            visit(label, inventory[child])

    for group, entry in inventory.items():
        visit(group, entry)
    identities = {
        host: " ".join(f"{key.split('_')[-1]} {value}" for key, value in (variables or {}).items() if key != "ansible_host")
        for entry in inventory.values()
        for host, variables in (entry.get("hosts") or {}).items()
        if variables
    }
    return [
        (host, ", ".join(f"{label} ({identities[host]})" if label in ("zookeeper", "clickhouse") else label for label in labels))
        for host, labels in rows.items()
    ]


def table_of(output: str) -> list[str]:
    """The table that verify.yml printed."""
    lines = output.splitlines()
    starts = [index for index, line in enumerate(lines) if "Print the table]" in line]
    if not starts:
        return []
    body = lines[starts[0] + 1 :]
    end = next((index for index, line in enumerate(body) if line.startswith(("TASK [", "PLAY "))), len(body))
    return [line.strip() for line in body[:end] if line.strip() and not line.startswith("ok:") and not line.strip().startswith("msg:")]


def page(platform: Platform, records: dict[str, tuple[int, int]], verified: str, lock: dict[str, Any]) -> str:
    """What a person sees at the end."""
    grafana = f"https://{platform.addresses['gw1']}:{platform.setting('grafana_port', 'gw1')}/"
    clickhouse = f"https://{platform.addresses['ch1']}:{platform.setting('clickhouse_https_port', 'ch1')}/play"
    latency = platform.query(
        "ch1",
        "SELECT round(quantile(0.5)(l), 1), round(max(l), 1), count() FROM (SELECT dateDiff('millisecond', Timestamp, now64(3)) / 1000 AS l"
        f" FROM {platform.database}.otel_logs WHERE ServiceName = '{APPLICATION}' ORDER BY Timestamp DESC LIMIT 1)",
    )[0][0]
    lines = ["", "The platform runs.", "", "  what runs where"]
    lines += [f"    {host:<5} {platform.addresses[host]:<15} {what}" for host, what in layout_rows()]
    lines += ["", f"    {'records':<24} {'table':<30} {'all':>9} {'of the application':>20}"]
    lines += [
        f"    {kind:<24} {platform.database + '.' + SIGNALS[kind]:<30} {total:>9} {own:>20}" for kind, (total, own) in records.items()
    ]
    lines += ["", f"  newest log of the application in ClickHouse: {latency} s old; way of fresh records, by verify.yml:", ""]
    lines += [f"    {line}" for line in table_of(verified)]
    lines += [
        "",
        "  log in",
        f"    Grafana     {grafana}  user {platform.setting('grafana_admin_user', 'gw1')}, password grafana_admin_password",
        f"    ClickHouse  {clickhouse}  user {platform.setting('clickhouse_admin_user', 'ch1')}, password clickhouse_admin_password",
        f"    passwords   {platform.folder / 'group_vars/all/secrets.yml'}",
        f"    authority   {platform.folder / 'pki/ca.crt'}",
        "",
        "  stand-ins (everything else is the real thing)",
    ]
    lines += [f"    {archive}: {entry['note']}" for archive, entry in sorted(lock.items()) if entry.get("stand_in")]
    lines += ["", "  make demo-down removes all of it", ""]
    return "\n".join(lines)


def demo(source: str) -> None:
    """Build and show everything. Safe to run again: what is there already is left as it is."""
    inventory = hosts.up(NAME, LAYOUT, source)
    playbook(inventory, "playbooks/secrets.yml", what="generate missing secrets")
    say("installing the platform: ansible-playbook playbooks/site.yml")
    site = playbook(inventory, "playbooks/site.yml", what="site.yml")
    say("site.yml: {} hosts, changed={}".format(*recap(site)))
    application = playbook(inventory, "examples/app/deploy.yml", what="start the application")
    say("examples/app/deploy.yml: {} hosts, changed={}".format(*recap(application)))
    verified = playbook(inventory, "playbooks/verify.yml", what="verify.yml", todo="the last lines name the hop that had a record last")
    say("verify.yml: a fresh log, span and metric arrived everywhere they should")
    platform = Platform(inventory)
    records = arrived(platform)
    lock = yaml.safe_load((mirror.fill(source) / mirror.LOCK).read_text())["artifacts_lock"]
    print(page(platform, records, verified, lock))
