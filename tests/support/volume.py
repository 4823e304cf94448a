# GNU General Public License v3.0+ (see LICENSE)
"""Small file systems for tests that fill a disk or cut the power. Both need root."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

# FS_IOC_SHUTDOWN of Linux, `_IOR('X', 125, __u32)`, and its flag 2: without writing the journal first. It is how the kernel's own
# tests (xfstests, src/godown.c) simulate a crash: from this moment on no write of the file system reaches the device.
SHUTDOWN, WITHOUT_JOURNAL = 0x8004587D, 2


class Volume:
    """A file system of its own at a folder: a tmpfs of so many megabytes. Use it as a context manager."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder, self.megabytes = folder, megabytes

    def mount(self) -> None:
        """Mount it."""
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.megabytes}m", "groundwork-test", self.folder], check=True)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.mount()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        subprocess.run(["umount", "--lazy", self.folder], check=True)

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


class Disk(Volume):
    """An ext4 on an image, whose host can lose its power: what was not synced is gone then."""

    def __init__(self, folder: Path, image: Path, megabytes: int) -> None:
        super().__init__(folder, megabytes)
        self.image = image

    def mount(self) -> None:
        """Mount it; the file system replays its journal where it has to."""
        if not self.image.exists():
            with self.image.open("wb") as file:
                file.truncate(self.megabytes << 20)
            subprocess.run(["mkfs.ext4", "-q", self.image], check=True)
        subprocess.run(["mount", "-o", "loop", self.image, self.folder], check=True)

    def cut_power(self) -> None:
        """From now on nothing reaches the image. Kill the programs that use it, then call restore."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", WITHOUT_JOURNAL))
        finally:
            os.close(descriptor)

    def restore(self) -> None:
        """Mount what the image holds."""
        subprocess.run(["umount", self.folder], check=True)
        self.mount()
