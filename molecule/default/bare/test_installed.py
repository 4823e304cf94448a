# GNU General Public License v3.0+ (see LICENSE)
"""What a user without a checkout does with bare hosts: fill a mirror, and look at what would be installed from it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import vendor
from tests.support.installed import CHECKOUT, Installed, installed, publish, vendors_table
from tests.testbed import mirror


@pytest.fixture(scope="module")
def user(connections: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """A user whose mirror is filled from the vendors' stand-in and served. Signatures are left to the integration tests."""
    variables = connections["vars"]
    with installed(CHECKOUT / "inventories" / "single") as user, vendor.running() as vendors, vendor.running() as served:
        key = user.home / "key"
        shutil.copy(variables["ansible_ssh_private_key_file"], key)
        key.chmod(0o600)
        table = vendors_table(vendors.url)
        publish(vendors, table, mirror.fill(mirror.default_source()), ("amd64", "arm64"), tmp_path_factory.mktemp("k") / "keys")
        user.given = {
            "common_artifacts": table,
            "observability_mirror_archs": ["arm64"],
            "ansible_host": next(iter(connections["hosts"].values()))["ansible_host"],
            "ansible_user": variables["ansible_user"],
            "ansible_ssh_private_key_file": str(key),
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes",
        }
        for name in ("secrets", "mirror"):
            done = user.play(name)
            assert done.returncode == 0, done.stdout + done.stderr
        served.files = {f"/{path.name}": path for path in Path(user.mirror).iterdir()}
        user.given["observability_mirror"] = served.url
        yield user


def test_check_mode_is_clean(user: Installed) -> None:
    done = user.play("site", "--check", "--diff")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"obs1 .*changed=[1-9]\d* .*failed=0", done.stdout)
    # Nothing of what lies beside the hosts file is taken for an inventory.
    assert "Unable to parse" not in done.stdout + done.stderr


def test_a_host_of_another_platform_is_refused(user: Installed) -> None:
    done: subprocess.CompletedProcess[str] = user.play("site", "--check", observability_arch="arm64")
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert "it is x86_64, and the archives are for arm64: set observability_arch" in said
