# GNU General Public License v3.0+ (see LICENSE)
"""The host image: a small Debian server with systemd and SSH, made from Debian's packages."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from pathlib import Path

from tests.testbed.core import CACHE, input_hash, locked, run, say
from tests.testbed.engine import docker, ensure, need

SUITE = "bookworm"
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "python3", "python3-apt", "sudo", "iproute2", "iptables", "ca-certificates"),
    *("procps", "openssh-server", "rsyslog", "openssl", "curl", "tzdata"),
)
# Only downloaded into the image, with what they depend on.
DOWNLOADS = ("openjdk-17-jre-headless", "postgresql", "unzip")
SETUP = Path(__file__).with_name("host-setup.sh")


def tag() -> str:
    """The image's name: it changes with the recipe, not with the date."""
    return f"groundwork-host:{SUITE}-{input_hash([SUITE, *PACKAGES, *DOWNLOADS, SETUP])}"


def image() -> str:
    """Return the image's name; build the image first when the engine does not have it."""
    ensure()
    name = tag()
    if _present(name):
        return name
    with locked("image"):
        if not _present(name):
            _build(name)
    return name


def _present(name: str) -> bool:
    inspected = subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False)
    return inspected.returncode == 0


def _build(name: str) -> None:
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
                *(SUITE, tarball),
            ],
            what="build the host image",
            todo="Debian's package mirror is needed; read the log above",
        )
        docker("import", tarball, name, what="load the host image")
    say(f"host image {name} is built")
