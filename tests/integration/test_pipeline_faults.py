# GNU General Public License v3.0+ (see LICENSE)
"""The cheap ones of the faults that `python -m tests.faults` makes on a running telemetry pipeline: nothing is lost."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from tests import faults
from tests.support.clickhouse import until
from tests.support.collector_files import Rendered
from tests.support.daemon import free_ports
from tests.support.pipeline import Collector, Pipeline, pipeline

# Each takes a few seconds. `make soak` makes all of them.
CHEAP = ("ClickHouse is killed in an INSERT", "gateway is killed")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """One pipeline for all."""
    with pipeline(tmp_path_factory.mktemp("pipeline")) as started:
        yield started


@pytest.mark.parametrize("fault", [fault for fault in faults.FAULTS if fault.name in CHEAP], ids=lambda fault: fault.name)
def test_nothing_acknowledged_is_lost(running: Pipeline, fault: faults.Fault) -> None:
    """Every acknowledged record is there, once but for the reason that the table names, and the metric showed the fault."""
    outcome = faults.run(running, fault)
    print(faults.table([outcome]))
    assert outcome.count.acknowledged > 100
    assert outcome.problems == []


def test_the_table_names_alerts_that_exist() -> None:
    """By their uid."""
    assert {fault.alert for fault in faults.FAULTS if fault.alert} <= faults.alerts()
    assert len({fault.name for fault in faults.FAULTS}) == len(faults.FAULTS)


PROGRAM = """
import http.server, os, pathlib, sys
starts = pathlib.Path(sys.argv[2])
starts.write_text(starts.read_text() + "x")
if len(starts.read_text()) in (2, 3):
    sys.exit("cannot start")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Commands:
    """What a collector of a pipeline wants of its files: a program in its place that does not serve at its second and third start."""

    def __init__(self, base: Path, port: int) -> None:
        self.base, self.starts, self.program = base, base / "starts", Path(sys.executable)
        self.starts.touch()
        self.port = port
        (base / "gw1" / "gateway").mkdir(parents=True)

    def command(self, host: str, mode: str) -> list[str]:
        """Its command line."""
        return [sys.executable, "-c", PROGRAM, str(self.port), str(self.starts)]

    def before_start(self, host: str, mode: str) -> list[list[str]]:
        """Nothing."""
        return []


def test_a_collector_that_crashes_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As systemd does it, also if it crashes at its start; it is not started again when its end is asked for, and each crash is told."""
    monkeypatch.setattr("tests.support.pipeline.RESTART_SECONDS", 0.1)
    (port,) = free_ports(1)
    commands = Commands(tmp_path, port)
    with Collector(cast(Rendered, commands), "gw1", "gateway", port, port) as collector:
        first = collector.process
        assert first is not None
        first.send_signal(signal.SIGABRT)
        until("a new process that serves", lambda: collector.process is not first and collector.ready())
        said = collector.take_crashes()
        assert [text.split(":")[0] for text in said] == ["status -6", "status 1", "status 1"] and "cannot start" in said[-1]
        collector.kill()
        # Longer than it takes to notice a crash, and to start it.
        time.sleep(1)
        assert not collector.ready()
        collector.start()
        assert collector.take_crashes() == []
    assert len(commands.starts.read_text()) == 5


def test_a_crash_that_nobody_counted_is_an_error(tmp_path: Path) -> None:
    """At the end of the block."""
    (port,) = free_ports(1)
    collector = Collector(cast(Rendered, Commands(tmp_path, port)), "gw1", "gateway", port, port)

    def crash() -> None:
        with collector:
            assert collector.process is not None
            collector.process.send_signal(signal.SIGABRT)
            collector.process.wait(20)
            collector.kill()

    with pytest.raises(RuntimeError, match=r"ended by itself 1 times, at last with status -6"):
        crash()


def test_a_known_reason_does_not_excuse_a_loss() -> None:
    """It is named. A loss that belongs to the fault itself is none."""
    upgraded, damaged = (next(fault for fault in faults.FAULTS if text in fault.name) for text in ("are upgraded", "is damaged"))
    panic = "panic: runtime error: invalid memory address or nil pointer dereference\nqueue.(*persistentQueue[...]).putInternal(0x1)"
    lost, crash = faults.Outcome(upgraded, faults.Count(300, 200, 200), 0, 0, 1.0, True, [panic]).problems
    assert lost == f"records are lost: 100 ({faults.STARTING})"
    assert crash.startswith("a collector ended by itself 1 times")
    assert faults.Outcome(damaged, faults.Count(300, 200, 200), 0, 0, 1.0, True).problems == []
