# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host is asked at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.groundwork.observability.plugins.modules import host_state

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """What the module answers."""

    def ask(**arguments: Any) -> dict[str, Any]:
        with patch_module_args(arguments), pytest.raises(SystemExit):
            host_state.main()
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    return ask


def identity(path: Path) -> list[dict[str, str]]:
    return [{"path": str(path), "content": "3\n", "refusal": "the inventory says 3, the disk {found}"}]


@pytest.fixture
def myid(tmp_path: Path) -> Path:
    return tmp_path / "data" / "myid"


def test_everything_is_there(ask: Ask, tmp_path: Path) -> None:
    answer = ask(paths=[str(tmp_path)], accounts=[{"name": "root", "groups": ["root"]}])
    assert answer["complete"] is True
    assert answer["changed"] is False


def test_size_of_a_file_system(ask: Ask, tmp_path: Path) -> None:
    """Of the nearest folder that exists: what root alone may use is not part of it."""
    status = os.statvfs(tmp_path)
    usable = status.f_bavail + status.f_blocks - status.f_bfree
    assert ask(file_system=str(tmp_path / "not" / "yet"))["file_system_bytes"] == pytest.approx(usable * status.f_frsize, rel=0.01)
    assert "file_system_bytes" not in ask()


def test_missing_items_are_named(ask: Ask, tmp_path: Path) -> None:
    accounts = [{"name": "nobody-here"}, {"name": "root", "groups": ["no-such-group"]}, {"name": "root"}]
    answer = ask(paths=[str(tmp_path), str(tmp_path / "x")], accounts=accounts)
    assert answer["complete"] is False
    assert answer["missing_paths"] == [str(tmp_path / "x")]
    assert answer["missing_accounts"] == ["nobody-here", "root"]


def test_broken_link_is_reported_as_missing(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(tmp_path / "1.0")
    assert ask(paths=[str(tmp_path / "current")])["missing_paths"] == [str(tmp_path / "current")]


def test_missing_identity_is_created(ask: Ask, myid: Path) -> None:
    assert ask(unchanged=identity(myid))["complete"] is True


def test_the_same_identity(ask: Ask, myid: Path) -> None:
    myid.parent.mkdir()
    myid.write_text("  3 ")
    assert ask(unchanged=identity(myid))["complete"] is True


def test_another_identity_is_refused(ask: Ask, myid: Path) -> None:
    myid.parent.mkdir()
    myid.write_text("7\n")
    answer = ask(unchanged=identity(myid))
    assert answer["failed"] is True
    assert answer["msg"] == "the inventory says 3, the disk 7"
