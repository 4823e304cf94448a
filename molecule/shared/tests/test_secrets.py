# GNU General Public License v3.0+ (see LICENSE)
"""Secrets on the controller, and in what Ansible prints."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def test_the_file_is_the_users_alone(platform: Any) -> None:
    file = platform.folder / "group_vars/all/secrets.yml"
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    assert len(set(platform.secrets.values())) == len(platform.secrets) >= 12
    assert min(map(len, platform.secrets.values())) >= 32


def test_keys_are_readable_by_the_user_only(platform: Any) -> None:
    keys = sorted(platform.folder.glob("pki/**/*.key"))
    assert len(keys) == 1 + len(platform.hostvars)
    assert {oct(key.stat().st_mode & 0o777) for key in keys} == {"0o600"}


def test_nothing_printed_shows_a_secret(platform: Any, ansible_log: str) -> None:
    """Check mode with diffs, the first run and two re-runs; with -vvv in scenario default."""
    assert ansible_log.count("PLAY RECAP") >= 5
    if os.environ["MOLECULE_SCENARIO_NAME"] == "default":
        assert "EXEC" in ansible_log, "the log is not one of -vvv"
    keys = {str(path): path.read_text().split("\n")[1] for path in Path(platform.folder).glob("pki/**/*.key")}
    assert [name for name, value in {**platform.secrets, **keys}.items() if value in ansible_log] == []


def test_nothing_printed_is_a_warning(ansible_log: str) -> None:
    """But for what check mode on a bare host has to say, and the testbed's inventory before its hosts are there."""
    expected = ("[WARNING]: nothing answers at https://", "[WARNING]: Unable to parse")
    lines = {line.split("| ", 1)[-1] for line in ansible_log.splitlines()}
    assert [line for line in lines if line.startswith(("[WARNING]", "[DEPRECATION")) and not line.startswith(expected)] == []
