# GNU General Public License v3.0+ (see LICENSE)
"""What a user without a checkout does with bare hosts: look at what would be installed."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import vendor
from tests.support.installed import CHECKOUT, Installed, installed
from tests.testbed import mirror


@pytest.fixture(scope="module")
def user(connections: dict[str, Any]) -> Iterator[Installed]:
    """A user with a mirror of the testbed's archives, and of a few bytes in place of each for another platform."""
    variables = connections["vars"]
    archives = mirror.fill(mirror.default_source())
    locked = yaml.safe_load((archives / mirror.LOCK).read_text(encoding="utf-8"))
    pinned = locked["artifacts_lock"]
    with installed(CHECKOUT / "inventories" / "single") as user, vendor.running() as served:
        served.files = {f"/{name}": archives / name for name in pinned}
        for name in [name for name in pinned if "amd64" in name]:
            other, content = name.replace("amd64", "arm64"), b"for arm64"
            served.files[f"/{other}"] = content
            pinned[other] = {**pinned[name], "sha256": hashlib.sha256(content).hexdigest()}
        served.files[f"/{mirror.LOCK}"] = yaml.safe_dump(locked).encode()
        (user.site / mirror.LOCK).write_text(yaml.safe_dump(locked), encoding="utf-8")
        # As in the checkout's ansible.cfg: without it Ansible warns that it has chosen the host's Python by itself.
        user.environment["ANSIBLE_PYTHON_INTERPRETER"] = "auto_silent"
        key = user.home / "key"
        shutil.copy(variables["ansible_ssh_private_key_file"], key)
        key.chmod(0o600)
        user.given = {
            "observability_mirror": served.url,
            "ansible_host": next(iter(connections["hosts"].values()))["ansible_host"],
            "ansible_user": variables["ansible_user"],
            "ansible_ssh_private_key_file": str(key),
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes",
        }
        done = user.play("secrets")
        assert done.returncode == 0, done.stdout + done.stderr
        yield user


def test_check_mode_is_clean(user: Installed, ansible_log_file: Path) -> None:
    done = user.play("site", "--check", "--diff", "-vvv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"obs1 .*changed=[1-9]\d* .*failed=0", done.stdout)
    # Nothing of what lies beside the hosts file is taken for an inventory.
    assert "Unable to parse" not in done.stdout + done.stderr
    secrets = yaml.safe_load((user.site / "group_vars/all/secrets.yml").read_text(encoding="utf-8"))
    assert len(secrets) >= 12
    assert [name for name, value in secrets.items() if value in done.stdout + done.stderr] == []
    # The scenario's tests of what is printed read this as well.
    with ansible_log_file.open("a", encoding="utf-8") as log:
        log.write(done.stdout + done.stderr)


def test_a_host_of_another_platform_is_refused(user: Installed) -> None:
    done: subprocess.CompletedProcess[str] = user.play("hosts", "--check", observability_arch="arm64")
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert "it is x86_64, and the archives are for arm64: set observability_arch" in said
