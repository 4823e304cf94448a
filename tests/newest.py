# GNU General Public License v3.0+ (see LICENSE)
"""A controller with the newest ansible-core and Python: a container with Debian 13, in which tests and playbooks run on this checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.testbed import hosts, image, mirror
from tests.testbed.core import CACHE, cached, run

CHECKOUT = Path(__file__).parents[1]
# The newest that the Python package index has: ansible-core 2.21, which needs Python 3.12. Debian 13 has 3.13.
ANSIBLE, PYTHON = "ansible==14.5.0", "3.13"
# Of requirements.txt: what tests import. The others are lint, or run in the controller of `make test`.
NEEDED = ("clickhouse-connect", "cryptography", "grpcio", "hypothesis", "opentelemetry-proto", "pytest", "pytest-testinfra")
NAME = "newest"
SITE_PACKAGES = f"lib/python{PYTHON}/site-packages"


def requirements() -> list[str]:
    """What the controller has, with the versions of requirements.txt."""
    lines = (CHECKOUT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [ANSIBLE, *(line for line in lines if re.split(r"[=\[]", line)[0] in NEEDED)]


def environment() -> Path:
    """A virtual environment for the controller's own Python, made once, on this machine, whose Python is another one."""
    abi = f"cp{PYTHON.replace('.', '')}"
    wanted = requirements()

    def install(work: Path) -> None:
        platforms = ("manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "any")
        host = ["--implementation", "cp", "--python-version", PYTHON, "--abi", abi, "--abi", "abi3", "--abi", "none"]
        host += [word for name in platforms for word in ("--platform", name)]
        # The versions are pinned for the other Python: this one need not fit.
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--ignore-requires-python"]
        target: list[str | Path] = ["--only-binary=:all:", *host, "--target", work / SITE_PACKAGES]
        run([*pip, *target, *wanted], what=f"install the newest Ansible for Python {PYTHON}")
        (work / "pyvenv.cfg").write_text("home = /usr/bin\n", encoding="utf-8")
        (work / "bin").mkdir()
        (work / "bin" / "python").symlink_to("/usr/bin/python3")

    return cached("newest-venv", [*wanted, PYTHON], install)


def controller(*words: str | Path, network: str = "none") -> subprocess.CompletedProcess[str]:
    """Run Python in the controller, in this checkout. It sees what this machine has below the cache, at the same paths."""
    venv = environment()
    options = [*("--rm", "--network", network, "--tmpfs", "/tmp:exec", "--workdir", CHECKOUT, "--user", f"{os.getuid()}:{os.getgid()}")]
    for path, mode in ((CHECKOUT, "ro"), (CACHE, "rw")):
        options += ["--volume", f"{path}:{path}:{mode}"]
    variables = {
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": f"{venv}/bin:/usr/bin:/bin",
        "HOME": "/tmp",
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "GROUNDWORK_CACHE": str(CACHE),
    }
    for name, value in variables.items():
        options += ["--env", f"{name}={value}"]
    command = ["docker", "run", *options, image.controller(), venv / "bin" / "python", *words]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def unit() -> subprocess.CompletedProcess[str]:
    """The unit tests on that controller."""
    return controller("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit")


def site() -> str:
    """The whole platform on one host with Debian 13, twice, and its proof. Returns what was wrong, empty where nothing was."""
    inventory = hosts.up(NAME, "single", mirror.default_source(), image.TRIXIE)
    example = CHECKOUT / "inventories" / "single" / "hosts.yml"
    program = environment() / SITE_PACKAGES / "bin" / "ansible-playbook"
    try:
        for playbook, expected in (("secrets", ""), ("site", ""), ("site", r"changed=0 "), ("verify", "")):
            words: list[str | Path] = [program, "-i", example, "-i", inventory, f"groundwork.observability.{playbook}"]
            done = controller(*words, network=f"groundwork-{NAME}")
            if done.returncode or not re.search(expected, done.stdout):
                return done.stdout + done.stderr
    finally:
        hosts.down(NAME)
    return ""
