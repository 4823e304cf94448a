# GNU General Public License v3.0+ (see LICENSE)
"""Faults of the telemetry pipeline under constant load: python -m tests.faults [fault ...].

Each fault of the table below is made on a running pipeline (node agent, gateway, ClickHouse, ZooKeeper: real programs with the roles'
configuration, on loopback) and ended again, while applications send and a log file grows. Then the acknowledged records are looked for in
ClickHouse. The command prints a row for each fault and ends with status 1 if a record is lost, if one is stored twice without a reason,
or if the named metric did not show the fault.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.support.clickhouse import QueryError
from tests.support.pipeline import RESTART_SECONDS, Count, Load, Pipeline, pipeline

ALERTS = Path(__file__).parents[1] / "roles" / "grafana" / "files" / "alerts"
# Load before and after a fault, and the longest time that is waited for the queues to be empty.
BEFORE_SECONDS = AFTER_SECONDS = 1.5
DRAIN_SECONDS = 120
# What an operator sees -> its value; a fault shows itself when the value becomes larger than it was before.
SIGNS: dict[str, Callable[[Pipeline], float]] = {
    "gateway: otelcol_exporter_queue_size": lambda p: p.gateway.value("otelcol_exporter_queue_size", "otlp_http/"),
    "gateway: otelcol_receiver_refused_*": lambda p: _refused(p.gateway.value),
    "agent: otelcol_exporter_queue_size": lambda p: p.agent.value("otelcol_exporter_queue_size"),
    "gateway: does not answer": lambda p: _silent(p.gateway.value),
    "agent: does not answer": lambda p: _silent(p.agent.value),
    "ClickHouse: read-only tables": lambda p: float(p.query("SELECT countIf(is_readonly) FROM system.replicas")[0][0]),
}


def _refused(value: Callable[[str], float]) -> float:
    return sum(value(f"otelcol_receiver_refused_{kind}") for kind in ("log_records", "spans", "metric_points"))


def _silent(value: Callable[[str], float]) -> float:
    try:
        value("otelcol_process_uptime")
    except OSError:
        return 1
    return 0


@contextmanager
def clickhouse_down(p: Pipeline) -> Iterator[None]:
    """Killed, started again later."""
    p.clickhouse.kill()
    yield
    p.clickhouse.start()


@contextmanager
def clickhouse_killed_in_an_insert(p: Pipeline) -> Iterator[None]:
    """The network stops in the middle of an INSERT, the server dies with a part of it."""
    deadline = time.monotonic() + 20
    running = "SELECT count() FROM system.processes WHERE query_kind = 'Insert'"
    p.to_clickhouse.delay = 0.2
    while not int(p.query(running)[0][0]) and time.monotonic() < deadline:
        time.sleep(0.01)
    p.clickhouse.kill()
    p.to_clickhouse.delay = 0.0
    yield
    p.clickhouse.start()


@contextmanager
def clickhouse_read_only(p: Pipeline) -> Iterator[None]:
    """ZooKeeper is away: replicated tables refuse every INSERT, and the server answers /ping."""
    p.zookeeper.kill()
    yield
    p.zookeeper.start()


@contextmanager
def clickhouse_slow(p: Pipeline) -> Iterator[None]:
    """Each packet of the way to ClickHouse and back needs 500 ms."""
    p.to_clickhouse.delay = 0.5
    yield
    p.to_clickhouse.delay = 0.0


@contextmanager
def gateway_killed(p: Pipeline) -> Iterator[None]:
    """Killed once, and started again as systemd does it."""
    p.gateway.kill()
    time.sleep(RESTART_SECONDS)
    yield
    p.gateway.start()


@contextmanager
def gateway_killed_ten_times(p: Pipeline) -> Iterator[None]:
    """Again and again, its relay every second time."""
    for number in range(10):
        p.gateway.kill()
        if number % 2:
            p.relay.kill()
            p.relay.start()
        time.sleep(RESTART_SECONDS)
        p.gateway.start()
        time.sleep(0.5 + number / 10)
    yield


@contextmanager
def agent_killed(p: Pipeline) -> Iterator[None]:
    """Killed with data in its queue: nothing passes to the gateway before."""
    p.to_gateway.cut = True
    time.sleep(1)
    p.agent.kill()
    time.sleep(RESTART_SECONDS)
    yield
    p.agent.start()
    p.to_gateway.cut = False


@contextmanager
def agent_without_network(p: Pipeline) -> Iterator[None]:
    """Nothing passes between agent and gateway."""
    p.to_gateway.cut = True
    yield
    p.to_gateway.cut = False


@dataclass(frozen=True)
class Fault:
    """A fault, and how it shows.

    `make` begins it and, when its block ends, ends it. `seconds` is how long it lasts in between, `long` the same in `make soak`; 0: as
    long as always. `sign` is one of SIGNS, `alert` the uid of the alert that tells of it when it lasts. `twice` says why records may be
    stored twice; empty: they may not.
    """

    name: str
    make: Callable[[Pipeline], AbstractContextManager[None]]
    seconds: float
    sign: str
    alert: str
    twice: str = ""
    long: float = 0


KILLED = "killed between storing a batch and answering for it"
QUEUE = "gateway: otelcol_exporter_queue_size"
FAULTS = (
    Fault("ClickHouse is down", clickhouse_down, 5, QUEUE, "clickhouse-down", long=600),
    Fault("ClickHouse is killed in an INSERT", clickhouse_killed_in_an_insert, 1, QUEUE, "clickhouse-down"),
    Fault("ClickHouse is read-only", clickhouse_read_only, 8, "ClickHouse: read-only tables", "clickhouse-replica-readonly", long=60),
    Fault("ClickHouse is slow (500 ms)", clickhouse_slow, 5, QUEUE, "collector-queue", long=60),
    Fault("gateway is killed", gateway_killed, 0, "gateway: does not answer", "collector-down", KILLED),
    Fault("gateway is killed ten times", gateway_killed_ten_times, 0, "gateway: does not answer", "collector-down", KILLED),
    Fault("agent is killed", agent_killed, 0, "agent: does not answer", "host-agent-silent", KILLED),
    Fault("agent has no network", agent_without_network, 5, "agent: otelcol_exporter_queue_size", "host-agent-silent", long=600),
)


@dataclass(frozen=True)
class Outcome:
    """What was seen of a fault."""

    fault: Fault
    count: Count
    unanswered: int
    unsent: int
    drained: float
    seen: bool

    @property
    def problems(self) -> list[str]:
        """What must not be."""
        found = [f"{self.count.lost} records are lost"] if self.count.lost else []
        if self.count.twice and not self.fault.twice and not self.unanswered:
            found.append(f"{self.count.twice} records are stored twice")
        if self.unsent:
            found.append(f"{self.unsent} records were never acknowledged")
        return found if self.seen else [*found, f"{self.fault.sign} did not show it"]

    def row(self) -> list[str]:
        """For the table."""
        twice = f"{self.count.twice}" + (f" ({self.fault.twice or 'sent again without an answer'})" if self.count.twice else "")
        numbers = [self.count.acknowledged, self.count.different, self.count.lost]
        drained = "not" if self.count.lost else f"{self.drained:.1f}"
        return [self.fault.name, *map(str, numbers), twice, drained, self.fault.sign, self.fault.alert]


HEAD = ("fault", "acknowledged", "found", "lost", "twice", "drained, s", "metric that showed it", "alert")


class Watch:
    """Looks at a sign and remembers its largest value."""

    def __init__(self, p: Pipeline, sign: str) -> None:
        self.pipeline, self.sign = p, SIGNS[sign]
        self.before = self.look()
        self.most = self.before

    def look(self) -> float:
        """The value now; nothing where nobody answers."""
        with contextlib.suppress(OSError, QueryError):
            return self.sign(self.pipeline)
        return 0.0

    def during(self, seconds: float) -> None:
        """For a time, at least once."""
        end = time.monotonic() + seconds
        while True:
            self.most = max(self.most, self.look())
            if time.monotonic() >= end:
                return
            time.sleep(0.25)


def until_found(load: Load) -> Count:
    """Wait until all is there, for a bounded time."""
    end = time.monotonic() + DRAIN_SECONDS
    while True:
        with contextlib.suppress(OSError, QueryError):
            count = load.count()
            if not count.lost:
                return count
        if time.monotonic() > end:
            return load.count()
        time.sleep(0.25)


def run(p: Pipeline, fault: Fault, *, long: bool = False) -> Outcome:
    """Make a fault under load and count."""
    with p.load() as load:
        time.sleep(BEFORE_SECONDS)
        watch = Watch(p, fault.sign)
        with fault.make(p):
            watch.during(long and fault.long or fault.seconds)
        ended = time.monotonic()
        time.sleep(AFTER_SECONDS)
    until_found(load)
    drained = time.monotonic() - ended
    # What comes again comes within this time.
    time.sleep(1)
    sent = load.applications.sent
    return Outcome(fault, load.count(), sent.unanswered, sent.unsent, drained, watch.most > watch.before)


def run_in_turn(p: Pipeline, faults: Sequence[Fault], minutes: float) -> Outcome:
    """One load for so many minutes, in which the faults are made one after the other, again and again."""
    end = time.monotonic() + 60 * minutes
    every = Fault(f"{len(faults)} faults in turn, {minutes:g} minutes", clickhouse_down, 0, QUEUE, "", KILLED)
    with p.load() as load:
        watch = Watch(p, QUEUE)
        while time.monotonic() < end:
            for fault in faults:
                time.sleep(BEFORE_SECONDS)
                with fault.make(p):
                    watch.during(fault.seconds)
                if time.monotonic() >= end:
                    break
        ended = time.monotonic()
    until_found(load)
    drained = time.monotonic() - ended
    time.sleep(1)
    sent = load.applications.sent
    return Outcome(every, load.count(), sent.unanswered, sent.unsent, drained, watch.most > watch.before)


def table(outcomes: Sequence[Outcome]) -> str:
    """As text."""
    rows = [list(HEAD), *(outcome.row() for outcome in outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def alerts() -> set[str]:
    """The uids of all alerts that role grafana has."""
    return {alert["uid"] for file in ALERTS.glob("*.yml") for alert in yaml.safe_load(file.read_text(encoding="utf-8"))["alerts"]}


def main() -> int:
    """Run the faults that are named, all by default."""
    parser = argparse.ArgumentParser(description="Faults of the telemetry pipeline under constant load.")
    parser.add_argument("faults", nargs="*", metavar="fault", help="part of a name; all by default")
    parser.add_argument("--long", action="store_true", help="faults last as long as in make soak")
    parser.add_argument("--minutes", type=float, default=0, help="afterwards: one load for so long, with the faults in turn")
    parser.add_argument("--list", action="store_true", help="print the names")
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if not options.faults or any(part in fault.name for part in options.faults)]
    if options.list or not chosen:
        print("\n".join(fault.name for fault in FAULTS))
        return 0 if options.list else 2
    outcomes = []
    with tempfile.TemporaryDirectory() as base, pipeline(Path(base)) as p:
        for fault in chosen:
            outcomes.append(run(p, fault, long=options.long))
            print(table(outcomes[-1:]), *(f"  {fault.name}: {problem}" for problem in outcomes[-1].problems), sep="\n", flush=True)
        if options.minutes:
            outcomes.append(run_in_turn(p, chosen, options.minutes))
            print(*outcomes[-1].problems, sep="\n", flush=True)
    print(f"\n{table(outcomes)}", flush=True)
    return 1 if any(outcome.problems for outcome in outcomes) else 0


if __name__ == "__main__":
    from tests import conftest  # noqa: F401  makes the collection importable

    sys.exit(main())
