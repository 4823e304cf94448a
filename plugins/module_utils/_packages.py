# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Archives of packages that nobody publishes as one: pip or npm downloads the pinned packages, and they are packed into one tar file.

The same packages give the same bytes, so that the archive of another controller has the same SHA-256.
"""

from __future__ import annotations

import io
import pathlib
import shutil
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
# What downloads packages -> the checksum that its file has of each.
CHECKSUMS = {"pip": "sha256", "npm": "sha512"}
# Files of a package of npm that a program does not read: types, sources for debuggers, documentation.
UNUSED = (".ts", ".mts", ".cts", ".map", ".md")
# What only npm reads, and writes: notes on what it has installed.
NPM_FILES = ("package.json", "package-lock.json", "node_modules/.package-lock.json")


def fetch(
    build: t.Callable[[pathlib.Path], None], source: str, path: pathlib.Path, pinned: t.Mapping[str, t.Any]
) -> tuple[dict[str, t.Any], bool]:
    """Bring an archive of packages to a path and compare it with what is pinned.

    :param build: writes the archive to a path.
    :param source: what downloads the packages, a key of C(CHECKSUMS).
    :param path: the archive. One that is there already is kept when it is the pinned one.
    :param pinned: the lock's entry of the archive, empty where it has none.
    :returns: the lock's entry, and whether anything was downloaded.
    :raises ArtifactError: it cannot be made, or is another one than the pinned.
    """
    if "sha256" in pinned and path.exists() and _artifacts.file_hash(path) == pinned["sha256"]:
        return dict(pinned), False
    build(path)
    checksum = f"{CHECKSUMS[source]} of each package as pinned"
    made = _artifacts.lock_entry(path, source=source, checksum=checksum, signature=_artifacts.NONE_PUBLISHED)
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
        _finish(path, lambda part: _pack(sorted(wheels.glob("*.whl")), part))


def build_npm_archive(lock: pathlib.Path, path: pathlib.Path) -> None:
    """Download the packages of a lock file of npm and write their folder C(node_modules) as one archive, with the programs beside the lock.

    :param lock: the C(package-lock.json), with the checksum of each package; its C(package.json) and C(*.js) are beside it.
    :param path: the archive. It appears when it is complete.
    :raises ArtifactError: npm is missing, a package cannot be downloaded, or has another checksum.
    """
    program = shutil.which("npm")
    if not program:
        raise _artifacts.ArtifactError(f"{path.name} cannot be made: npm is not installed on the controller: install Debian's package npm")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        programs = lock.parent.glob("*.js")
        for file in (lock.with_name("package.json"), lock, *programs):
            shutil.copy(file, folder / file.name)
        # No script of a package runs.
        npm = [program, "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--no-update-notifier"]
        done = subprocess.run(
            npm, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode:
            said = " ".join(line.strip() for line in done.stdout.splitlines()[-5:])
            raise _artifacts.ArtifactError(f"{path.name} cannot be made: `npm ci` says: {said[-1500:]}")
        _finish(path, lambda part: _pack_folder(folder, part))


def _finish(path: pathlib.Path, write: t.Callable[[pathlib.Path], None]) -> None:
    """The file is at its path when it is complete."""
    part = path.with_name(f".{path.name}.part")
    write(part)
    part.chmod(0o644)
    part.replace(path)


def _pack_folder(folder: pathlib.Path, path: pathlib.Path) -> None:
    """Write programs and packages of npm into one tar file, without links and without what no program reads."""
    files = (file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, file in sorted((file.relative_to(folder).as_posix(), file) for file in files):
            if name.endswith(UNUSED) or name in NPM_FILES:
                continue
            _add(archive, name, file.read_bytes())


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o755 if name.endswith(".so") else 0o644
    archive.addfile(entry, io.BytesIO(data))


def _pack(wheels: t.Iterable[pathlib.Path], path: pathlib.Path) -> None:
    """Write the files of wheels into one tar file, without compression: its output differs between versions of the library."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as content:
                for name in sorted(content.namelist()):
                    # Programs and headers have no use there.
                    if name.endswith("/") or ".data/" in name or ".." in name.split("/") or name.startswith("/"):
                        continue
                    _add(archive, name, content.read(name))
