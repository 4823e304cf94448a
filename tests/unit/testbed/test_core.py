# GNU General Public License v3.0+ (see LICENSE)
"""The cache must notice every change of an input, and never show a half-made result."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.testbed import core
from tests.testbed.core import TestbedError, cached, input_hash, parallel, run


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setattr(core, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An input folder with a file in a sub-folder."""
    (tmp_path / "input" / "sub").mkdir(parents=True)
    (tmp_path / "input" / "sub" / "file").write_text("content")
    return tmp_path / "input"


def test_key_is_stable(folder: Path) -> None:
    assert input_hash(["1.0", folder]) == input_hash(["1.0", folder])


@pytest.mark.parametrize("change", ["content", "name", "more", "version"])
def test_key_follows_every_input(folder: Path, change: str) -> None:
    before, version = input_hash(["1.0", folder]), "1.0"
    match change:
        case "content":
            (folder / "sub" / "file").write_text("other")
        case "name":
            (folder / "sub" / "file").rename(folder / "sub" / "renamed")
        case "more":
            (folder / "second").touch()
        case "version":
            version = "1.1"
    assert input_hash([version, folder]) != before


def test_key_ignores_compiled_python(folder: Path) -> None:
    before = input_hash([folder])
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_text("x")
    assert input_hash([folder]) == before


def test_key_keeps_neighbours_apart() -> None:
    assert input_hash(["ab", "c"]) != input_hash(["a", "bc"])


def test_built_once(cache: Path) -> None:
    calls = []

    def build(work: Path) -> None:
        calls.append(work)
        (work / "result").touch()

    first = cached("thing", ["x"], build)
    assert cached("thing", ["x"], build) == first
    assert first.parent == cache
    assert (first / "result").exists()
    assert len(calls) == 1


def test_interrupted_build_leaves_no_files(cache: Path) -> None:
    def broken(work: Path) -> None:
        (work / "half").touch()
        raise KeyboardInterrupt

    def whole(work: Path) -> None:
        assert not list(work.iterdir())
        (work / "result").touch()

    with pytest.raises(KeyboardInterrupt):
        cached("thing", ["x"], broken)
    assert [path.name for path in cached("thing", ["x"], whole).iterdir()] == ["result"]


def test_two_at_once_build_once() -> None:
    calls = []

    def build(work: Path) -> None:
        calls.append(work)
        time.sleep(0.2)

    threads = [threading.Thread(target=cached, args=("thing", ["x"], build)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_run_returns_only_stdout() -> None:
    assert run(["sh", "-c", "echo result; echo noise >&2"], what="try") == "result\n"


def test_failed_run_lists_all_problems() -> None:
    with pytest.raises(TestbedError) as failure:
        run(["sh", "-c", "for i in $(seq 50); do echo line $i; done; exit 3"], what="count", todo="count less")
    text = str(failure.value)
    assert text.splitlines()[-1].startswith("count: `sh -c")
    assert text.endswith("ended with 3 -> count less")
    assert "line 50" in text
    assert len(failure.value.log) == core.LOG_LINES


def test_run_names_a_missing_program() -> None:
    with pytest.raises(TestbedError, match="no-such-program is not there -> install no-such-program"):
        run(["no-such-program"], what="try")


def test_parallel_finishes_the_rest_before_it_fails() -> None:
    done = []

    def fail() -> None:
        raise TestbedError("one", "broken")

    def work() -> None:
        time.sleep(0.1)
        done.append(1)

    with pytest.raises(TestbedError, match="broken"):
        parallel([fail, work])
    assert done
