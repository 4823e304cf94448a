# GNU General Public License v3.0+ (see LICENSE)
"""What the platform costs while no application sends anything: python -m bench.idle [--help].

One of each service on loopback, with the settings of the roles: ZooKeeper with the unit's JVM and the settings of zoo.cfg, one member
without TLS; ClickHouse's engine with the role's logs and settings, one replica without TLS, in the testbed's launcher instead of the server
package; gateway with its relay, node agent, cluster agent and prometheus agent with the role's files, intervals and limits. The agents
measure this machine, ZooKeeper, ClickHouse, the stand-in of Grafana and one application's /metrics. What they send is all that is stored.

CPU and writes are those of the processes in /proc, scaled to an hour. Memory is the proportional set size at the end.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from bench.gateway import table
from tests.support.collector_files import CHECKOUT
from tests.support.daemon import Daemon, free_ports
from tests.support.http_server import http_server
from tests.support.platform import ALERTING, MODES, Platform, platform, server_config
from tests.support.rendered import rendered
from tests.support.zookeeper import ZooKeeper

# Until the services have done what they do at their start, such as compiling.
WARM_UP_SECONDS = 90
# On a busy machine.
START_SECONDS = 120.0
ZOOKEEPER_TEMPLATES = CHECKOUT / "roles" / "zookeeper" / "templates"
TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
# Settings of the role that depend on a host, or that are for TLS.
HOST_SETTINGS = ("dataDir", "dataLogDir", "secureClientPort", "secureClientPortAddress", "admin.serverPort", "4lw.commands.whitelist")
# Of the server's settings, those that have nothing to do with addresses, certificates and users. The bench's server has others of these.
SERVER_SETTINGS = re.compile(r"https?_|tcp_|interserver|listen|path|default_|user_dir|openSSL|macros|remote_servers|zookeeper|logger")


class IdleZooKeeper(ZooKeeper):
    """A member as the role configures it, but without TLS."""

    def __init__(self, config: str = "") -> None:
        settings = rendered("zookeeper", "__zookeeper_settings", common_address="127.0.0.1", groups={"zookeeper": ["zk1"]})
        own = [
            f"{name}={value}"
            for name, value in settings.items()
            if name not in HOST_SETTINGS and not name.startswith(("ssl", "metricsProvider"))
        ]
        (port,) = free_ports(1)
        super().__init__("\n".join([config, *own, f"admin.serverPort={port}"]))
        _mark, _, logback = (ZOOKEEPER_TEMPLATES / "logback.xml.j2").read_text(encoding="utf-8").partition("\n")
        (self.folder / "logback.xml").write_text(logback, encoding="utf-8")

    def argv(self) -> list[str | Path]:
        """The server with the options of the unit for its JVM."""
        unit = (ZOOKEEPER_TEMPLATES / "zookeeper.service.j2").read_text(encoding="utf-8")
        options = re.findall(r"-server|-X\S+", unit.replace("{{ zookeeper_heap }}", rendered("zookeeper", "zookeeper_heap")))
        java, *words = super().argv()
        return [java, *options, f"-Dlogback.configurationFile={self.folder}/logback.xml", *words[words.index("-cp") :]]


def role_config() -> str:
    """The role's settings of a server that do not depend on its host."""
    names = yaml.safe_load((CHECKOUT / "roles" / "clickhouse" / "vars" / "main" / "main.yml").read_text(encoding="utf-8"))
    own = [name for name in names["__clickhouse_settings"] if not SERVER_SETTINGS.search(name)]
    return _xml({name: rendered("clickhouse", f"__clickhouse_settings.{name}") for name in own})


def _xml(settings: Mapping[str, Any]) -> str:
    return "".join(f"<{name}>{_xml(value) if isinstance(value, Mapping) else value}</{name}>" for name, value in settings.items())


@dataclasses.dataclass(frozen=True)
class Usage:
    """Of a service and its children, since their start: CPU seconds, bytes written; and what memory they have."""

    seconds: float
    written: int
    memory: int


def processes(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    for child in (PROC / str(pid) / "task" / str(pid) / "children").read_text(encoding="ascii").split():
        yield from processes(int(child))


def seconds(stat: Path) -> tuple[str, float]:
    """The name of a process or thread, and its CPU seconds."""
    head, _, tail = stat.read_text(encoding="utf-8", errors="replace").rpartition(") ")
    fields = tail.split()
    return head.partition("(")[2], (int(fields[11]) + int(fields[12])) / TICKS


def usage(program: Daemon) -> Usage:
    """Of a program that runs."""
    assert program.process is not None
    found = list(processes(program.process.pid))

    def total(file: str, name: str) -> int:
        texts = [(PROC / str(pid) / file).read_text(encoding="ascii", errors="replace") for pid in found]
        return sum(int(value) for text in texts for value in re.findall(rf"^{name}: +(\d+)", text, flags=re.MULTILINE))

    used = sum(seconds(PROC / str(pid) / "stat")[1] for pid in found)
    return Usage(used, total("io", "write_bytes"), 1024 * total("smaps_rollup", "Pss"))


def threads(programs: Mapping[str, Daemon]) -> Counter[tuple[str, str]]:
    """CPU seconds of each service's threads by name, which say what it is busy with."""
    found: Counter[tuple[str, str]] = Counter()
    for service, program in programs.items():
        assert program.process is not None
        for pid in processes(program.process.pid):
            for stat in PROC.glob(f"{pid}/task/*/stat"):
                try:
                    name, used = seconds(stat)
                except FileNotFoundError:
                    continue
                # mypy knows counts of a Counter as int only; they are seconds here.
                found[service, name] += used  # type: ignore[assignment]
    return found


def busy() -> tuple[float, float]:
    """CPU seconds that the machine's processors were busy, and all of them."""
    fields = [int(word) / TICKS for word in (PROC / "stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def measure(running: Platform, minutes: float, show_threads: bool) -> None:
    """Print the table."""
    time.sleep(WARM_UP_SECONDS)
    before, by_thread, machine = {name: usage(program) for name, program in running.programs.items()}, threads(running.programs), busy()
    started = time.monotonic()
    time.sleep(60 * minutes)
    hours = (time.monotonic() - started) / 3600
    after, machine_now = {name: usage(program) for name, program in running.programs.items()}, busy()
    rows = [
        {
            "service": name,
            "CPU s an hour": f"{(after[name].seconds - before[name].seconds) / hours:.0f}",
            "memory, MB": f"{after[name].memory / 1e6:.0f}",
            "written, MB an hour": f"{(after[name].written - before[name].written) / hours / 1e6:.0f}",
        }
        for name in running.programs
    ]
    sums = {key: f"{sum(float(row[key]) for row in rows):.0f}" for key in list(rows[0])[1:]}
    print(table([*rows, {"service": "all", **sums}]))
    share = (machine_now[0] - machine[0]) / (machine_now[1] - machine[1])
    print(f"\n{60 * hours:.1f} minutes; {os.cpu_count()} processors, {100 * share:.0f} % busy with all that ran on this machine.")
    parts = running.clickhouse.query(
        "SELECT table, countIf(event_type = 'NewPart') AS parts, countIf(event_type = 'MergeParts') AS merges FROM system.part_log "
        f"WHERE event_time > now() - {round(3600 * hours)} GROUP BY table ORDER BY parts DESC LIMIT 12 FORMAT TSVWithNames"
    )
    if show_threads:
        used = threads(running.programs)
        used.subtract(by_thread)
        for (service, name), cpu in used.most_common(30):
            print(f"{cpu / hours:8.1f} CPU s an hour  {service}: {name}")
        print(parts)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="how long to measure")
    parser.add_argument("--threads", action="store_true", help="also show the threads that use the most CPU, and parts written by table")
    arguments = parser.parse_args()
    Daemon.start_seconds = START_SECONDS
    modes = (*MODES, "prometheus_agent")
    defaults = dict.fromkeys(("otel_collector_interval", "otel_collector_gateway_batch_timeout"))
    with tempfile.TemporaryDirectory() as folder, http_server(ALERTING) as application:
        scraped = {"otel_collector_scrape_jobs": {"shop": {}}, "otel_collector_scrape_targets": {"shop": application}}
        settings: dict[str, Any] = {**defaults, **scraped}
        config = f"{server_config(logs='')}{role_config()}"
        with platform(Path(folder), modes=modes, zookeeper_type=IdleZooKeeper, clickhouse_config=config, **settings) as running:
            measure(running, arguments.minutes, arguments.threads)


if __name__ == "__main__":
    from tests import conftest  # noqa: F401  makes the collection importable

    main()
