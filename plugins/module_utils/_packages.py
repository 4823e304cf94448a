# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""An archive of Python packages that nobody publishes as one: pip downloads the pinned wheels, and they are unpacked into one tar file.

The same wheels give the same bytes, so that the archive of another controller has the same SHA-256.
"""

from __future__ import annotations

import io
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import typing as t
import zipfile

from ansible_collections.groundwork.observability.plugins.module_utils import _artifacts

# Platform as vendors of archives name it -> as wheels name it.
PLATFORMS = {"amd64": "manylinux2014_x86_64", "arm64": "manylinux2014_aarch64"}
# The oldest Python that the packages support. Only wheels that also fit newer versions are taken.
PYTHON = "3.10"


def fetch(requirements: str, arch: str, path: pathlib.Path, pinned: t.Mapping[str, t.Any]) -> tuple[dict[str, t.Any], bool]:
    """Bring the archive of a requirements file to a path and compare it with what is pinned.

    :param requirements: text of the file.
    :param arch: platform of the hosts.
    :param path: the archive. One that is there already is kept when it is the pinned one.
    :param pinned: the lock's entry of the archive, empty where it has none.
    :returns: the lock's entry, and whether anything was downloaded.
    :raises ArtifactError: it cannot be made, or is another one than the pinned.
    """
    if "sha256" in pinned and path.exists() and _artifacts.file_hash(path) == pinned["sha256"]:
        return dict(pinned), False
    build_archive(requirements, arch, path)
    made = _artifacts.lock_entry(path, source="pip", checksum="sha256 of each package as pinned", signature=_artifacts.NONE_PUBLISHED)
    if pinned.get("sha256", made["sha256"]) != made["sha256"]:
        path.unlink()
        raise _artifacts.ArtifactError(
            f"{path.name} has the sha256 {made['sha256']}, and the lock pins {pinned['sha256']}. It was thrown away. "
            f"Remove {path.name} from observability_lock_file when a changed archive is expected"
        )
    return {**pinned, **made}, True


def build_archive(requirements: str, arch: str, path: pathlib.Path) -> None:
    """Download the packages of a requirements file and write them as one archive.

    :param requirements: text of the file: each package with its version and SHA-256, dependencies included.
    :param arch: platform of the hosts, a key of C(PLATFORMS).
    :param path: the archive. It appears when it is complete.
    :raises ArtifactError: pip is missing, a package cannot be downloaded, or has another SHA-256.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        listed = folder / "requirements.txt"
        listed.write_text(requirements, encoding="utf-8")
        wheels = folder / "wheels"
        kinds = ["--implementation", "cp", "--python-version", PYTHON, "--abi", "abi3", "--abi", "none"]
        platforms = ["--platform", PLATFORMS[arch], "--platform", "any"]
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
        pinned = ["--require-hashes", "--no-deps", "--only-binary=:all:"]
        done = subprocess.run(
            [*pip, *pinned, *kinds, *platforms, "--dest", str(wheels), "--requirement", str(listed)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )
        if done.returncode:
            said = " ".join(line.strip() for line in done.stdout.splitlines()[-5:])
            raise _artifacts.ArtifactError(f"{path.name} cannot be made: `{sys.executable} -m pip download` says: {said[-1500:]}")
        part = path.with_name(f".{path.name}.part")
        _pack(sorted(wheels.glob("*.whl")), part)
        part.chmod(0o644)
        part.replace(path)


def _pack(wheels: t.Iterable[pathlib.Path], path: pathlib.Path) -> None:
    """Write the files of wheels into one tar file, without compression: its output differs between versions of the library."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as content:
                for name in sorted(content.namelist()):
                    # Programs and headers have no use there.
                    if name.endswith("/") or ".data/" in name or ".." in name.split("/") or name.startswith("/"):
                        continue
                    data = content.read(name)
                    entry = tarfile.TarInfo(name)
                    entry.size, entry.mode = len(data), 0o755 if name.endswith(".so") else 0o644
                    archive.addfile(entry, io.BytesIO(data))
