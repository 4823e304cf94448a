# GNU General Public License v3.0+ (see LICENSE)
"""What the real servers for tests have in common: a folder, ports, a process that never outlives the test."""

from __future__ import annotations

import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

from tests.testbed import core
from tests.testbed.mirror import Module

D = TypeVar("D", bound="Daemon")
# Below the ports that the kernel gives to outgoing connections.
PORTS = range(20000, 32000)
# For an end that was asked for, as the collectors' units have it (TimeoutStopSec).
STOP_SECONDS = 30


def unpacked(module: Module) -> Path:
    """The folder of an artifact of the testbed, built and unpacked once."""

    def build(work: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            (archive,) = module.build(Path(scratch))
            with tarfile.open(archive) as tar:
                tar.extractall(work, filter="data")

    (top,) = core.cached(f"unpacked-{module.NAME}", module.inputs(), build).iterdir()
    return top


def free_ports(count: int) -> list[int]:
    """Ports that are free and that no other test is given: all processes count on in one file."""
    file = core.CACHE / "next-port"
    ports: list[int] = []
    with core.locked("ports"):
        port = int(file.read_text(encoding="ascii")) if file.exists() else PORTS.start
        while len(ports) < count:
            port = port + 1 if port + 1 in PORTS else PORTS.start
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                    ports.append(port)
                except OSError:
                    continue
        file.write_text(str(port), encoding="ascii")
    return ports


def listening(process: int) -> dict[int, str]:
    """The TCP ports that a process listens on, and the address of each."""
    sockets = {os.readlink(link) for link in Path(f"/proc/{process}/fd").iterdir() if link.is_symlink()}
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text(encoding="ascii").splitlines()[1:]]
    found = {}
    for local in (line[1] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets):
        address, _, port = local.rpartition(":")
        # Words of four bytes, the last byte first.
        packed = b"".join(bytes.fromhex(address[start : start + 8])[::-1] for start in range(0, len(address), 8))
        found[int(port, 16)] = str(ipaddress.ip_address(packed))
    return found


class Daemon:
    """A server in a folder of its own. Use it as a context manager.

    It dies with the thread that started it: start it from the test's own thread.
    """

    # A busy machine takes several times as long as a quiet one.
    start_seconds = 120.0

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{type(self).__name__.lower()}-"))
        self.log = self.folder / "output.log"
        self.process: subprocess.Popen[bytes] | None = None
        # Whether its end was asked for.
        self.ended = False

    def argv(self) -> Sequence[str | Path]:
        """The command line."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """The whole environment."""
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

    def ready(self) -> bool:
        """Whether it serves."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it serves."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self.argv()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(),
            )
        self.ended = False
        deadline = time.monotonic() + self.start_seconds
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(
                    f"{type(self).__name__} did not start:\n{self.log.read_text(errors='replace')[-3000:]}"
                )
            time.sleep(0.02)

    def signal(self, number: int) -> int:
        """Send a signal, wait for the end, return the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
            return self.wait()
        return self.process.returncode

    def wait(self) -> int:
        """Wait for an end that was brought about, return the exit status."""
        assert self.process is not None
        status = self.process.wait(STOP_SECONDS)
        self.ended = True
        return status

    def kill(self) -> None:
        """Crash it: kill -9."""
        self.signal(signal.SIGKILL)

    def stop(self) -> int:
        """Stop it as systemd does, return the exit status."""
        return self.signal(signal.SIGTERM)

    def restart(self) -> None:
        """Stop it if it runs, and start it again."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            status = self.signal(signal.SIGKILL)
            if not self.ended:
                said = self.log.read_text(errors="replace")[-3000:]
                raise RuntimeError(f"{type(self).__name__} died by itself with status {status}, and last said:\n{said}")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
