# GNU General Public License v3.0+ (see LICENSE)
"""The host images: a small Debian server with systemd and SSH, made from Debian's packages."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from pathlib import Path

from tests.testbed.core import CACHE, input_hash, locked, run, say
from tests.testbed.engine import docker, ensure, need

# Debian's releases that there are hosts of: 12 and 13.
SUITES = BOOKWORM, TRIXIE = ("bookworm", "trixie")
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "python3", "python3-apt", "sudo", "iproute2", "iptables", "ca-certificates"),
    *("procps", "openssh-server", "rsyslog", "openssl", "curl", "tzdata"),
)
# Only downloaded into the image, with what they depend on.
DOWNLOADS = ("default-jre-headless", "haproxy", "postgresql", "unzip")
# What a controller needs beside Python; everything else of it is mounted.
CONTROLLER = ("gpg", "gpg-agent", "gpgconf", "git", "openssh-client")
SETUP = Path(__file__).with_name("host-setup.sh")
# What each Python of a host does at its start: it saves time, see there.
AT_START = Path(__file__).with_name("python") / "sitecustomize.py"
# Where it keeps compiled code on this machine.
COMPILED = CACHE / "compiled"


def tag(suite: str) -> str:
    """The image's name: it changes with the recipe, not with the date."""
    return f"groundwork-host:{suite}-{input_hash([suite, *PACKAGES, *DOWNLOADS, SETUP, AT_START])}"


def image(suite: str = BOOKWORM) -> str:
    """Return the name of the image with a release of Debian; build the image first when the engine does not have it."""
    ensure()
    name = tag(suite)
    if _present(name):
        return name
    with locked(f"image-{suite}"):
        if not _present(name):
            _build(suite, name)
    return name


def controller() -> str:
    """Return the name of an image to run Ansible in: a host with Debian 13 and what a controller needs besides."""
    base = image(TRIXIE)
    name = f"groundwork-controller:{input_hash([base, *CONTROLLER])}"
    with locked("image-controller"):
        if not _present(name):
            with tempfile.TemporaryDirectory(dir=CACHE, prefix=".image-") as folder:
                install = f"apt-get update && apt-get install --yes --no-install-recommends {' '.join(CONTROLLER)}"
                Path(folder, "Dockerfile").write_text(f"FROM {base}\nRUN {install}\n", encoding="utf-8")
                docker("build", "--tag", name, folder, what="build the controller's image")
    return name


def _present(name: str) -> bool:
    inspected = subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False)
    return inspected.returncode == 0


def _build(suite: str, name: str) -> None:
    need("mmdebstrap", "mmdebstrap", "debian-archive-keyring")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=".image-") as folder:
        tarball = Path(folder) / "image.tar"
        run(
            [
                *("mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
                # Package lists and downloaded packages stay in the image.
                "--skip=cleanup/apt",
                f'--customize-hook=HOST_DOWNLOADS="{" ".join(DOWNLOADS)}" chroot "$1" sh < {shlex.quote(str(SETUP))}',
                f'--customize-hook=for python in "$1"/etc/python3.*; do cp {shlex.quote(str(AT_START))} "$python"; done',
                *(suite, tarball),
            ],
            what=f"build the host image with {suite}",
            todo="Debian's package mirror is needed; read the log above",
        )
        docker("import", tarball, name, what="load the host image")
    say(f"host image {name} is built")
