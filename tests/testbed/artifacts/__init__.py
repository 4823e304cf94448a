# GNU General Public License v3.0+ (see LICENSE)
"""What the mirror offers, one module an artifact: NAME, VERSION, inputs() and build()."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from typing import Any

from plugins.module_utils import _artifacts
from plugins.plugin_utils import _components

# Of hosts and of what is built for them.
ARCH = "amd64"


@dataclass(frozen=True)
class Artifact:
    """One entry of the roles' table of archives: its default version for the machine that hosts of a testbed run on."""

    name: str
    version: str
    release: dict[str, Any]

    @property
    def archive(self) -> str:
        """Its name on the mirror."""
        return str(self.release["archive"])


def catalogue() -> dict[str, Artifact]:
    """All archives that the roles install, as the roles name them."""
    return {
        name: Artifact(name, str(entry["version"]), _artifacts.release(entry, str(entry["version"]), ARCH))
        for name, entry in _components.archives().items()
    }


def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Filter for TarFile.add: the same entry whenever and by whomever it is packed."""
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    info.mode = 0o755 if info.mode & 0o111 else 0o644
    return info


def add_bytes(tar: tarfile.TarFile, name: str, content: str | bytes) -> None:
    """Add a small file that exists only in memory."""
    data = content.encode() if isinstance(content, str) else content
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
