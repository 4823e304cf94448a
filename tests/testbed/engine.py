# GNU General Public License v3.0+ (see LICENSE)
"""The container engine: found, or installed and started where this machine allows it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.testbed.core import CACHE, TestbedError, heartbeat, locked, run, say, tail

START_SECONDS = 60


def docker(*words: str | Path, what: str, todo: str = "") -> str:
    """Run one docker command and return its output."""
    return run(["docker", *words], what=what, todo=todo)


def ensure() -> None:
    """Return when an engine answers; install and start one first where needed."""
    if _answers():
        return
    with locked("engine"):
        # Some machines have the client alone.
        need("dockerd" if os.geteuid() == 0 else "docker", "docker.io", "iptables")
        if _answers():
            return
        if os.geteuid() != 0:
            raise TestbedError(
                "container engine", "docker does not answer this user", "run as root, or join the group docker"
            )
        _start()


def need(program: str, *packages: str) -> None:
    """Install Debian packages for a program that is missing, or say what to install."""
    if shutil.which(program):
        return
    names = " ".join(packages)
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise TestbedError(f"find {program}", "it is not installed", f"install it (on Debian or Ubuntu: {names})")
    todo = f"install by hand: {names}"
    # Only one apt at a time.
    with locked("apt"):
        say(f"install {names}")
        run(["apt-get", "update"], what="read the package lists", todo=todo)
        run(
            ["apt-get", "install", "--yes", "--no-install-recommends", *packages],
            env={"DEBIAN_FRONTEND": "noninteractive"},
            what=f"install {names}",
            todo=todo,
        )


def _answers() -> bool:
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0


def _start() -> None:
    """Start the container engine by systemd, or as a background process if systemd is not running."""
    what = "start the container engine"
    say(what)
    if Path("/run/systemd/system").is_dir():
        run(["systemctl", "start", "docker"], what=what, todo="read `journalctl -u docker`")
        return
    log = CACHE / "logs" / "dockerd.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        # A session of its own: it outlives this command.
        engine = subprocess.Popen(
            ["dockerd"], stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, cwd="/"
        )
    deadline = time.monotonic() + START_SECONDS
    with heartbeat("wait for the container engine", log):
        while not _answers():
            if engine.poll() is not None or time.monotonic() > deadline:
                why = "it ended" if engine.poll() is not None else f"no answer after {START_SECONDS} s"
                raise TestbedError(what, why, f"start it by hand; the whole log is {log}", tail(log))
            time.sleep(0.5)
