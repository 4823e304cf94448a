# GNU General Public License v3.0+ (see LICENSE)
"""What every part of the testbed uses: the cache, progress lines, sub-processes and the one error type."""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

CACHE: Path = Path(
    os.environ.get("GROUNDWORK_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "groundwork-observability"
).resolve()

QUIET_SECONDS = 5
HEARTBEAT_SECONDS = 10
LOG_LINES = 30

T = TypeVar("T")

_started = time.monotonic()
_numbers = itertools.count(1)


class TestbedError(Exception):
    """A stage of the testbed failed: which one, why, and what to do about it."""

    __test__ = False  # the name starts with "Test", it is no test class

    def __init__(self, stage: str, why: str, todo: str = "", log: Sequence[str] = ()) -> None:
        super().__init__(stage, why, todo, log)
        self.stage, self.why, self.todo, self.log = stage, why, todo, list(log)

    def __str__(self) -> str:
        line = f"{self.stage}: {self.why}" + (f" -> {self.todo}" if self.todo else "")
        return "\n".join([*(f"  | {entry}" for entry in self.log), line])


def say(msg: str) -> None:
    """Print a progress line, with the seconds since the command started. Goes to stderr: stdout is for results."""
    print(f"[{time.monotonic() - _started:5.0f} s] {msg}", file=sys.stderr, flush=True)


def input_hash(inputs: Sequence[str | Path]) -> str:
    """Hash strings as they are, files by content, folders by the names and contents of all files below them."""
    digest = hashlib.sha256()

    def add(kind: str, name: str, content: bytes) -> None:
        digest.update(f"{kind} {len(name.encode())} {len(content)}\n{name}".encode() + content)

    for item in inputs:
        if isinstance(item, str):
            add("text", "", item.encode())
        elif item.is_dir():
            add("folder", item.name, b"")
            for path in sorted(p for p in item.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
                add("file", path.relative_to(item).as_posix(), path.read_bytes())
        else:
            add("file", item.name, item.read_bytes())
    return digest.hexdigest()[:12]


def cached(name: str, inputs: Sequence[str | Path], build: Callable[[Path], None]) -> Path:
    """Return the folder CACHE/<name>-<hash of the inputs>; when it is missing, let `build` fill it first.

    `build` gets an empty folder beside the final one, which is renamed when all is done: an interrupted build leaves
    nothing that looks complete. A second process that wants the same waits for the first.
    """
    final = CACHE / f"{name}-{input_hash(inputs)}"
    if final.is_dir():
        return final
    with locked(final.name):
        if final.is_dir():
            return final
        temporary = final.with_name(f".{final.name}.building")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        started = time.monotonic()
        build(temporary)
        temporary.rename(final)
        if time.monotonic() - started > QUIET_SECONDS:
            say(f"{name}: built in {time.monotonic() - started:.0f} s")
    return final


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock `name` among all processes that use this cache."""
    path = CACHE / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        with heartbeat(f"{name}: waiting for another process that works on it"):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def heartbeat(what: str, log: Path | None = None) -> Iterator[None]:
    """Print a line every 10 s (from 5 s on) while the body runs, with the log's last line where there is a log."""
    done = threading.Event()

    def beat() -> None:
        started, pause = time.monotonic(), QUIET_SECONDS
        while not done.wait(pause):
            pause = HEARTBEAT_SECONDS
            last = tail(log, 1) if log else []
            say(f"{what} ... {time.monotonic() - started:.0f} s" + (f" | {last[0][:90]}" if last else ""))

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    what: str,
    todo: str = "",
) -> str:
    """Run a command, its output in a log file, and return what it wrote to stdout.

    `env` is added to this process's environment. A failure raises TestbedError with the log's last lines; `todo` says
    what to do then, by default where to read the whole log.
    """
    words = [str(word) for word in argv]
    log = CACHE / "logs" / f"{re.sub(r'[^a-z0-9]+', '-', what.lower()).strip('-')}-{os.getpid()}-{next(_numbers)}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    output: list[bytes] = []
    with log.open("wb", buffering=0) as file, heartbeat(what, log):
        try:
            process = subprocess.Popen(
                words,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=file,
            )
        except FileNotFoundError as exc:
            raise TestbedError(what, f"{exc.filename} is not there", todo or f"install {words[0]}") from exc
        assert process.stdout is not None
        try:
            for line in process.stdout:
                output.append(line)
                file.write(line)
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
    if code:
        command = " ".join(words)
        command = command if len(command) < 200 else command[:200] + " ..."
        raise TestbedError(what, f"`{command}` ended with {code}", todo or f"read {log}", tail(log))
    log.unlink()
    return b"".join(output).decode(errors="replace")


def parallel(calls: Sequence[Callable[[], T]], workers: int = 4) -> list[T]:
    """Do all calls side by side and return their results in order. The first failure is raised when all are done."""

    def call(function: Callable[[], T]) -> T:
        try:
            return function()
        except TestbedError as exc:
            say(f"failed, the rest goes on: {exc.stage}: {exc.why}")
            raise

    with ThreadPoolExecutor(workers) as pool:
        return [future.result() for future in [pool.submit(call, function) for function in calls]]


def tail(log: Path, lines: int = LOG_LINES) -> list[str]:
    """Last lines that say something; a line that a progress bar rewrote counts as it stood last."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 20_000))
        text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", file.read().decode(errors="replace"))
    entries = [entry.rstrip("\r").rsplit("\r", 1)[-1].rstrip() for entry in text.split("\n")]
    return [entry for entry in entries if entry][-lines:]
