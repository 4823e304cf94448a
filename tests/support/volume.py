# GNU General Public License v3.0+ (see LICENSE)
"""A small file system for tests that fill a disk or cut the power. It needs root."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

# FS_IOC_SHUTDOWN of Linux, `_IOR('X', 125, __u32)`, and its flag 2: without writing the journal first. The kernel's own tests (xfstests,
# src/godown.c) simulate a crash with it: from this moment on no write of the file system reaches the device.
SHUTDOWN, WITHOUT_JOURNAL = 0x8004587D, 2


CLONE_NEWNS = 0x00020000


def own_mounts() -> None:
    """From now on, what this program mounts is seen by it and its children alone.

    Elsewhere a container that starts meanwhile would take a copy of each mount along, and keep the file system from being unmounted.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


class Disk:
    """An ext4 on an image, mounted at a folder. Use it as a context manager.

    It can be filled, and its host can lose its power: what was not synced is gone then. A disk that loses what it has promised to have
    synced is not simulated.
    """

    def __init__(self, folder: Path, image: Path, megabytes: int) -> None:
        self.folder, self.image, self.megabytes = folder, image, megabytes

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.image.open("wb") as file:
            file.truncate(self.megabytes << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", self.image], check=True)
        self._mount()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        subprocess.run(["umount", "--lazy", self.folder], check=True)

    def _mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", self.image, self.folder], check=True)

    def fill(self) -> None:
        """Write a file that leaves no byte free."""
        with (self.folder / "filler").open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    continue

    def free(self) -> None:
        """Remove that file."""
        (self.folder / "filler").unlink()

    def cut_power(self) -> None:
        """From now on nothing reaches the image. Kill the programs that use it, then call restore."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", WITHOUT_JOURNAL))
        finally:
            os.close(descriptor)

    def restore(self) -> None:
        """Mount what the image holds; ext4 replays its journal."""
        # The kernel needs a moment to end a program that was killed.
        deadline = time.monotonic() + 20
        while subprocess.run(["umount", self.folder], capture_output=True).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.folder} is in use")
            time.sleep(0.1)
        self._mount()
