# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a program checks before its configuration is replaced."""

from __future__ import annotations

import grp
import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.groundwork.observability.plugins.modules import config_tree

Write = Callable[..., dict[str, Any]]
# Accepts a tree whose file `a` says yes, if it has the file of the check as well.
CHECK = ["/bin/sh", "-c", "grep -q hush $0/check.d/user && grep yes $0/a || { echo the key of $0 is wrong >&2; exit 3; }", "{root}"]


@pytest.fixture
def write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Write:
    """What the module answers after it was to write file `a`, by an account that may be another than root."""
    owner, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name

    def write(content: str, **more: Any) -> dict[str, Any]:
        arguments = {
            "root": str(tmp_path / "etc"),
            "owner": owner,
            "group": group,
            "files": [{"path": "a", "content": content}],
            "validate": CHECK,
            "validate_files": [{"path": "check.d/user", "content": "hush"}],
            "validate_options": ["x_config", "x_users"],
            **more,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            config_tree.main()
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    return write


def test_accepted_configuration_is_written_without_temporary_files(write: Write, tmp_path: Path) -> None:
    assert write("yes\n")["changed"] is True
    assert [path.name for path in (tmp_path / "etc").rglob("*")] == ["a"]
    assert write("yes\n")["changed"] is False


def test_refused_configuration_is_not_written(write: Write, tmp_path: Path) -> None:
    write("yes\n")
    answer = write("no\n")
    assert answer["failed"] is True
    assert f"the key of {tmp_path}/etc is wrong" in answer["msg"]
    assert "x_config and x_users" in answer["msg"]
    assert (tmp_path / "etc/a").read_text() == "yes\n"


def test_a_service_that_is_older_than_its_program_is_checked_again(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("no\n", validate=[])
    running = {"active": True, "enabled": True, "started": 0.0, "reload": False}
    monkeypatch.setattr(config_tree, "unit_state", lambda module, unit: running)
    assert "is wrong" in write("no\n")["msg"]
    monkeypatch.setattr(config_tree, "unit_state", lambda module, unit: {**running, "started": 4e9})
    assert write("no\n")["changed"] is False
