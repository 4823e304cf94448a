# GNU General Public License v3.0+ (see LICENSE)
"""What the stages count."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests import run
from tests.testbed.core import TestbedError


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        ("= 3 passed, 1 warning in 2.50s =", (3, 0, 0)),
        ("bringing up nodes...\n1 failed, 596 passed, 1 warning in 796.53s (0:13:16)", (596, 1, 0)),
        ("2 passed, 1 skipped in 0.10s\nand again\n1 failed, 2 passed, 3 errors in 1.00s", (4, 4, 1)),
        ("no tests ran in 4.94s", (0, 1, 0)),
        ("Traceback", (0, 1, 0)),
    ],
)
def test_closing_lines(said: str, counts: tuple[int, int, int]) -> None:
    result = run.counted(said)
    assert (result.passed, result.failed, result.skipped) == counts


@pytest.mark.parametrize(
    ("tests", "counts"),
    [
        ({"a": "def test_1(): pass", "b": "def test_2(): pass\ndef test_3(): assert False"}, (2, 1, 0)),
        ({"a": "import os\ndef test_1(): os._exit(3)", "b": "def test_2(): pass"}, (0, 1, 0)),
        ({"a": "def test_1(): pass", "conftest": "def pytest_sessionfinish(session): session.exitstatus = 1"}, (1, 1, 0)),
    ],
    ids=["a failure", "a process that dies", "a failure that no line tells"],
)
def test_counts_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tests: dict[str, str], counts: tuple[int, ...]) -> None:
    for name, text in tests.items():
        (tmp_path / (name if name == "conftest" else f"test_{name}")).with_suffix(".py").write_text(text)
    monkeypatch.setattr(run, "CHECKOUT", tmp_path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take longer to load than this takes to run
    result = run.pytest("nothing", str(tmp_path))
    assert (result.passed, result.failed, result.skipped) == counts


def test_every_stage_runs_whatever_others_give(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> run.Result:
        raise TestbedError("start hosts", "no container engine", "install one")

    stages = {"broken": broken, "red": lambda: run.Result(passed=2, failed=1)}
    stages.update({f"green-{number}": lambda: run.Result(passed=1) for number in range(5)})
    monkeypatch.setattr(run, "STAGES", stages)
    monkeypatch.setattr(sys, "argv", ["run"])
    assert run.main() == 1
    printed = capsys.readouterr().out
    assert "no container engine" in printed
    assert printed.endswith("7 passed, 2 failed, 0 skipped\n")
    monkeypatch.setattr(sys, "argv", ["run", "green-3", "green-1"])
    assert run.main() == 0
    assert capsys.readouterr().out.endswith("2 passed, 0 failed, 0 skipped\n")


def test_parts_of_soak_run_one_after_another_and_ask_for_more(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in run.SOAK_ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GROUNDWORK_ROUNDS", "7")
    at_once: list[int] = []
    asked: dict[str, str | None] = {}

    class Pool(ThreadPoolExecutor):
        def __init__(self, workers: int) -> None:
            at_once.append(workers)
            super().__init__(workers)

    def part(name: str) -> run.Result:
        asked[name] = os.environ.get("GROUNDWORK_PAIRS")
        return run.Result(passed=1)

    monkeypatch.setattr(run, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(run, "SOAK", {name: partial(part, name) for name in run.SOAK})
    monkeypatch.setattr(run, "STAGES", {"unit": partial(part, "unit"), "lint": partial(part, "lint")})
    monkeypatch.setattr(sys, "argv", ["run", "lint"])
    assert run.main() == 0
    assert asked.pop("lint", "not run") is None
    monkeypatch.setattr(sys, "argv", ["run", "soak"])
    assert run.main() == 0
    assert asked == dict.fromkeys(run.SOAK, "1000")
    assert at_once == [run.AT_ONCE, 1]
    # What a user has set stays.
    assert os.environ["GROUNDWORK_ROUNDS"] == "7"
    assert capsys.readouterr().out.endswith(f"{len(run.SOAK)} passed, 0 failed, 0 skipped\n")


def test_a_stage_that_does_not_exist(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["run", "soak-pears"])
    assert run.main() == 2
    assert "there is no stage 'soak-pears': choose from" in capsys.readouterr().err


def test_slowest_tests_of_all_stages() -> None:
    said = "= slowest 2 durations =\n12.50s call     tests/a.py::test_a[x y]\n0.40s setup    tests/a.py::test_b\n= 2 passed in 13.00s ="
    other = "\x20 3.10s call     tests/not_at_the_beginning.py::test_c\n1.00s teardown tests/d.py::test_d"
    assert run.slowest({"unit": said, "molecule": other, "lint": ""}, 2) == [
        (12.5, "unit", "tests/a.py::test_a[x y] (call)"),
        (1.0, "molecule", "tests/d.py::test_d (teardown)"),
    ]


@pytest.mark.parametrize(
    ("what", "arguments"),
    [
        ("tests/unit/test_roles.py", ["tests/unit/test_roles.py"]),
        ("tests/unit/test_roles.py::test_x", ["tests/unit/test_roles.py::test_x"]),
        ("alter and not any", ["-k", "alter and not any"]),
    ],
)
def test_engine_argument_is_a_path_or_an_expression(monkeypatch: pytest.MonkeyPatch, what: str, arguments: list[str]) -> None:
    ran: list[tuple[str, ...]] = []

    def directly(*words: str) -> int:
        ran.append(words)
        return 5

    monkeypatch.setattr(run, "directly", directly)
    assert run.one(what) == 5
    assert ran == [tuple(arguments)]
