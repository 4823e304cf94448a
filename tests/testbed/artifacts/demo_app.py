# GNU General Public License v3.0+ (see LICENSE)
"""The example application: its sources and everything they import, so that a host needs only its own Python."""

from __future__ import annotations

import re
import shutil
import sys
import tarfile
from pathlib import Path

from tests.testbed.artifacts import plain
from tests.testbed.core import run

SOURCE = Path(__file__).parents[3] / "examples" / "app"

NAME = "shop"
VERSION = re.findall(r'__version__ = "(.+)"', (SOURCE / "shop" / "__init__.py").read_text(encoding="utf-8"))[0]
ARCHIVE = f"groundwork-shop-{VERSION}.tar.gz"

# Of the hosts that run it (Debian 12 and 13), not of the machine that builds: some of the packages are compiled.
PYTHONS = ("3.11", "3.13")
PLATFORM = ("--platform", "manylinux2014_x86_64", "--platform", "any")


def inputs() -> list[str | Path]:
    """What the archive depends on."""
    return [Path(__file__), SOURCE / "shop", SOURCE / "requirements.txt"]


def build(work: Path) -> list[Path]:
    """Pack the shop and its site-packages."""
    packages = work / "site-packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    for python in PYTHONS:
        abi = f"cp{python.replace('.', '')}"
        target = work / abi
        host = ["--implementation", "cp", "--python-version", python, "--abi", abi, "--abi", "abi3", "--abi", "none", *PLATFORM]
        run(
            # --no-deps: the list is complete, and each entry pinned; a package that it lacks must fail a test, not slip in.
            [*pip, "--only-binary=:all:", "--no-deps", *host, "--target", target, "-r", SOURCE / "requirements.txt"],
            what=f"install what the example application imports with Python {python}",
        )
        # What is compiled has Python's version in its name, so that one folder serves both.
        shutil.copytree(target, packages, dirs_exist_ok=True)
    archive = work / ARCHIVE
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path in (SOURCE / "shop", packages):
            tar.add(path, f"groundwork-shop-{VERSION}/{path.name}", filter=_member)
    return [archive]


def _member(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Without byte code, and without the programs of the packages: they name the building machine's Python."""
    below = Path(info.name).parts[1:]
    return None if "__pycache__" in below or below[:2] == ("site-packages", "bin") else plain(info)
