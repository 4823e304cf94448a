# GNU General Public License v3.0+ (see LICENSE)
"""Grafana: no registry has it, so a stand-in that answers its HTTP API contract, in the shape of the vendor's archive."""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

from tests.support import grafana
from tests.testbed.artifacts import add_bytes, catalogue, plain
from tests.testbed.core import TestbedError, run

NAME = "grafana"
VERSION = catalogue()[NAME].version
ARCHIVE = catalogue()[NAME].archive
STAND_IN = "a contract server that answers as recorded from a real Grafana; not Grafana"
SOURCE = Path(grafana.__file__).parent
TOP = f"grafana-{VERSION}"
# Hosts have a bare Python; the provisioning files are YAML. Of this package only the pure Python part is packed.
YAML_PACKAGE = "PyYAML==6.0.2"
ELSEWHERE = {"bin", "recordings", "__pycache__", "defaults.ini", "README.md"}

README = f"""\
{grafana.NOTICE}

Made for a testbed that cannot reach the vendor's download. `bin/grafana server` reads grafana.ini and provisioning files
as Grafana {VERSION} does, as far as lib/grafana_standin goes. lib/yaml is {YAML_PACKAGE} from the Python package index (MIT).
"""
PROVISIONING = ("access-control", "alerting", "dashboards", "datasources", "plugins")


def inputs() -> list[str | Path]:
    """What the archive depends on."""
    return [VERSION, Path(__file__), *_sources(), SOURCE / "bin" / "grafana", SOURCE / "defaults.ini"]


def build(work: Path) -> list[Path]:
    """Pack the contract server as the vendor packs Grafana."""
    if grafana.VERSION != VERSION:
        raise TestbedError(
            "pack the Grafana stand-in",
            f"the roles install {VERSION}, the stand-in says it is {grafana.VERSION}",
            f"set VERSION in {SOURCE / '__init__.py'}, after looking what that version answers differently",
        )
    packages = work / "packages"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-compile",
        "--no-deps",
    ]
    run([*pip, "--target", packages, YAML_PACKAGE], what="install PyYAML for the Grafana stand-in")
    archive = work / ARCHIVE
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        add_bytes(tar, f"{TOP}/VERSION", f"{VERSION}\n")
        add_bytes(tar, f"{TOP}/README.md", README)
        add_bytes(tar, f"{TOP}/public/README.md", "Grafana's pages would be here. The stand-in has its own.\n")
        tar.add(SOURCE / "bin" / "grafana", f"{TOP}/bin/grafana", filter=plain)
        tar.add(SOURCE / "defaults.ini", f"{TOP}/conf/defaults.ini", filter=plain)
        for name in PROVISIONING:
            add_bytes(tar, f"{TOP}/conf/provisioning/{name}/.gitkeep", "")
        for file in _sources():
            tar.add(file, f"{TOP}/lib/grafana_standin/{file.relative_to(SOURCE)}", filter=plain)
        for file in sorted((packages / "yaml").glob("*.py")):
            tar.add(file, f"{TOP}/lib/yaml/{file.name}", filter=plain)
    return [archive]


def _sources() -> list[Path]:
    """The server's own files."""
    files = (path for path in sorted(SOURCE.rglob("*")) if path.is_file())
    return [path for path in files if not ELSEWHERE & set(path.relative_to(SOURCE).parts)]
