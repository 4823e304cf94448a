# GNU General Public License v3.0+ (see LICENSE)
"""What the mirror offers, one module an artifact: NAME, VERSION, inputs() and build()."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CATALOGUE = Path(__file__).parents[3] / "roles" / "common" / "vars" / "main" / "artifacts.yml"


@dataclass(frozen=True)
class Artifact:
    """One entry of the roles' list of archives, its placeholders filled in."""

    name: str
    version: str
    archive: str
    url: str
    checksum_url: str
    checksum_algorithm: str


def parse_catalogue(data: dict[str, Any]) -> dict[str, Artifact]:
    """Read `common_artifacts`, fill in {version} and {archive}."""
    catalogue = {}
    for name, entry in data["common_artifacts"].items():
        version = str(entry["version"])
        archive = entry["archive"].format(version=version)
        catalogue[name] = Artifact(
            name=name,
            version=version,
            archive=archive,
            url=entry["url"].format(version=version, archive=archive),
            checksum_url=entry["checksum_url"].format(version=version, archive=archive),
            checksum_algorithm=entry["checksum_algorithm"],
        )
    return catalogue


def catalogue() -> dict[str, Artifact]:
    """All archives that the roles install, as the roles name them."""
    return parse_catalogue(yaml.safe_load(CATALOGUE.read_text(encoding="utf-8")))


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
