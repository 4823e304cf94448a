# GNU General Public License v3.0+ (see LICENSE)
"""What a run without changes costs the controller, by the number of hosts: python -m bench.controller [--help].

Hosts are no hosts here: a connection plugin stands in for them and answers what real ones answered (bench/recordings), so what is measured
is the controller's work alone. `--testbed NAME` measures site.yml on the real hosts of a testbed instead. `--beside CHECKOUT` measures
another checkout of this collection in turn with this one. `--files` shows how large the agents' files are where every host has a target to
scrape.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests import conftest  # noqa: F401  makes the collection importable
from tests.support import otelcol
from tests.support.collector_files import Rendered
from tests.testbed import mirror
from tests.testbed.core import CACHE

CHECKOUT = Path(__file__).parents[1]
RECORDING = CHECKOUT / "bench" / "recordings" / "site.jsonl"
EXAMPLE = "inventories/cluster"
# The schema's module asks ClickHouse itself, from the controller: no connection plugin can stand in for that.
WITHOUT_HOSTS = ("--skip-tags", "schema")
# ansible.cfg has pipelining for ssh alone; without it each module would be sent as a file first.
CONNECTION = {"ansible_connection": "recorded", "ansible_pipelining": True}


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one run of a playbook: seconds, seconds of the controller's processors, results of tasks on hosts."""

    seconds: float
    processor: float
    ran: int
    skipped: int
    changed: int


def play(checkout: Path, inventories: Sequence[str | Path], name: str, *arguments: str) -> Cost:
    """Run a playbook of a checkout. It must succeed."""
    program = Path(sys.executable).with_name("ansible-playbook")
    sources = [str(word) for inventory in inventories for word in ("-i", inventory)]
    environment = {
        **os.environ,
        "PATH": f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "ANSIBLE_CONFIG": str(checkout / "ansible.cfg"),
        "ANSIBLE_CONNECTION_PLUGINS": str(CHECKOUT / "bench" / "connection"),
        "ANSIBLE_NOCOLOR": "1",
    }
    used, started = _processor(), time.monotonic()
    done = subprocess.run(
        [str(program), *sources, *arguments, f"playbooks/{name}.yml"], cwd=checkout, env=environment, capture_output=True, text=True
    )
    seconds, processor = time.monotonic() - started, _processor() - used
    if done.returncode:
        raise SystemExit(f"{name}.yml failed in {checkout}:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
    recap = re.findall(r"^\S+ +: ok=(\d+) +changed=(\d+) .*skipped=(\d+)", done.stdout, flags=re.MULTILINE)
    ran, changed, skipped = (sum(int(row[column]) for row in recap) for column in range(3))
    return Cost(seconds, processor, ran, skipped, changed)


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def recorded_inventory(folder: Path, hosts: int) -> list[str | Path]:
    """The cluster's nine hosts and further ones with an application, none of which is there."""
    groups = yaml.safe_load((CHECKOUT / EXAMPLE / "hosts.yml").read_text())["all"]["children"].values()
    names = list(dict.fromkeys(host for group in groups for host in group.get("hosts") or {}))
    further = [f"app{number}" for number in range(2, 2 + hosts - len(names))]
    addresses = {name: {"ansible_host": f"10.0.{number // 250}.{number % 250 + 1}"} for number, name in enumerate(names + further)}
    content = {
        "all": {
            "hosts": addresses,
            "vars": {
                **CONNECTION,
                # As on the hosts of the recording.
                "ansible_user": "ansible",
                "ansible_python_interpreter": "/usr/bin/python3",
                "recorded_file": str(RECORDING),
                "observability_lock_file": str(mirror.fill(mirror.default_source()) / mirror.LOCK),
                "observability_pki_dir": str(folder / "pki"),
                "observability_secrets_file": str(folder / "group_vars" / "all" / "secrets.yml"),
            },
            "children": {"application": {"hosts": dict.fromkeys(further)}} if further else {},
        }
    }
    file = folder / "hosts.yml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return [EXAMPLE, file]


def without_hosts(checkouts: dict[str, Path], counts: Sequence[int], playbooks: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows for growing inventories; every checkout is measured before the next larger one."""
    first: dict[tuple[str, str], Cost] = {}
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            inventories = recorded_inventory(Path(folder), count)
            play(CHECKOUT, inventories, "secrets")
            # Issues the certificates, so that what is measured finds nothing to do.
            play(CHECKOUT, inventories, "preflight")
            for name in playbooks:
                for label, checkout in checkouts.items():
                    cost = play(checkout, inventories, name, *(WITHOUT_HOSTS if name == "site" else ()))
                    base = first.setdefault((name, label), cost)
                    yield row(name, label, count, cost, base)


def agents_files(counts: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Rows for growing inventories in which every host has a target: files of a node agent, and of one of two prometheus agents."""
    first = 0.0
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            files = Rendered(Path(folder), otelcol.program())
            applications = [f"app{number}" for number in range(1, count + 1)]
            groups = {"gateway": ["gw1", "gw2"], "prometheus_agent": ["pa1", "pa2"], "node_agent": ["app1"], "application": applications}
            groups |= {"clickhouse": ["ch11", "ch12", "ch21", "ch22"]}
            scrape: dict[str, Any] = {"otel_collector_scrape_jobs": {"shop": {}}, "otel_collector_scrape_targets": {"shop": 8080}}
            started = time.monotonic()
            done = files.render(("node_agent", "prometheus_agent"), groups, **scrape)
            seconds = time.monotonic() - started
            if done.returncode:
                raise SystemExit(done.stdout + done.stderr)
            first = first or seconds
            hosts = len({host for names in groups.values() for host in names})
            targets = (files.base / "pa1" / "prometheus_agent" / "targets" / "shop.json").stat().st_size
            yield {
                "hosts": hosts,
                "node agent, bytes": (files.base / "app1" / "node_agent" / "config.yaml").stat().st_size,
                "prometheus agent, bytes": (files.base / "pa1" / "prometheus_agent" / "config.yaml").stat().st_size,
                "targets, bytes a host": f"{targets / hosts:.0f}",
                "seconds": f"{seconds:.1f}",
                "times": f"{seconds / first:.2f}",
            }


def on_testbed(checkouts: dict[str, Path], name: str, rounds: int) -> Iterator[dict[str, Any]]:
    """Rows for site.yml on a testbed's hosts. Each checkout converges them first; the rounds of all take turns."""
    inventories: list[str | Path] = [EXAMPLE, CACHE / "testbeds" / name / "hosts.yml"]
    best: dict[str, Cost] = {}
    for _round in range(rounds):
        for label, checkout in checkouts.items():
            play(checkout, inventories, "site")
            cost = play(checkout, inventories, "site")
            if cost.changed:
                raise SystemExit(f"the run was not one without changes: changed={cost.changed} with {checkout}")
            best[label] = min(best.get(label, cost), cost, key=lambda item: item.seconds)
    for label, cost in best.items():
        yield row("site", label, 9, cost, next(reversed(best.values())))


def row(name: str, label: str, hosts: int, cost: Cost, base: Cost) -> dict[str, Any]:
    """A line of the table."""
    return {
        "playbook": f"{name}.yml",
        "checkout": label,
        "hosts": hosts,
        "seconds": f"{cost.seconds:.1f}",
        "processor": f"{cost.processor:.1f}",
        "times": f"{cost.seconds / base.seconds:.2f}",
        "tasks run": cost.ran,
        "skipped": cost.skipped,
    }


def record(name: str, checkouts: dict[str, Path]) -> None:
    """Write down what a testbed's hosts answer to a run without changes of each checkout."""
    RECORDING.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.jsonl"
        variables = {**CONNECTION, "recorded_record": True, "recorded_file": str(raw)}
        listening = Path(folder) / "hosts.yml"
        listening.write_text(yaml.safe_dump({"all": {"vars": variables}}), encoding="utf-8")
        inventories: list[str | Path] = [EXAMPLE, CACHE / "testbeds" / name / "hosts.yml"]
        for checkout in checkouts.values():
            play(checkout, inventories, "site")
            play(checkout, [*inventories, listening], "site", *WITHOUT_HOSTS)
        asked = {json.loads(line)["question"]: line for line in raw.read_text(encoding="utf-8").splitlines()}
        RECORDING.write_text("".join(f"{asked[question]}\n" for question in sorted(asked)), encoding="utf-8")


def show(rows: Iterator[dict[str, Any]]) -> None:
    """Print the table as it grows."""
    widths: dict[str, int] = {}
    for line in rows:
        if not widths:
            widths = {key: max(len(key), 12 if key == "checkout" else 9) for key in line}
            print("  ".join(f"{key:>{width}}" for key, width in widths.items()), flush=True)
        print("  ".join(f"{line[key]!s:>{width}}" for key, width in widths.items()), flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.controller", description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[10, 100, 1000], help="sizes of the inventory, at least 9")
    parser.add_argument("--playbooks", nargs="+", choices=("preflight", "site"), help="all by default; site needs a recording")
    parser.add_argument("--beside", type=Path, help="another checkout of this collection")
    parser.add_argument("--testbed", metavar="NAME", help="measure site.yml on the hosts that `python -m tests.testbed up NAME` started")
    parser.add_argument("--rounds", type=int, default=3, help="with --testbed: of so many runs of each checkout the fastest counts")
    parser.add_argument("--record", metavar="NAME", help="write the recording from a testbed's hosts instead")
    parser.add_argument("--files", action="store_true", help="sizes of the agents' files instead, as the role's templates make them")
    arguments = parser.parse_args()
    if arguments.files:
        print("files of three agents, made by the role's templates and checked by the collector; `times` is relative to the fewest hosts\n")
        show(agents_files(sorted(arguments.hosts)))
        return
    checkouts = {"this": CHECKOUT, **({arguments.beside.name: arguments.beside.resolve()} if arguments.beside else {})}
    if arguments.record:
        record(arguments.record, checkouts)
        return
    if arguments.testbed:
        print("real hosts of a testbed; `times` is relative to the last checkout\n")
        show(on_testbed(checkouts, arguments.testbed, arguments.rounds))
        return
    playbooks = arguments.playbooks or ["preflight", *(["site"] if RECORDING.exists() else [])]
    if "site" in playbooks and not RECORDING.exists():
        parser.error(f"{RECORDING} is not there: `--record NAME` writes it, from the hosts of a running testbed")
    print("no hosts: a connection plugin answers from a recording of real ones (bench/connection/recorded.py); site.yml without")
    print("schema.yml, which asks ClickHouse's servers itself; `times` is relative to the same playbook with the fewest hosts\n")
    show(without_hosts(checkouts, sorted(arguments.hosts), playbooks))


if __name__ == "__main__":
    main()
