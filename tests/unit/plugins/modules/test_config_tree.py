# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a program checks before its configuration is replaced."""

from __future__ import annotations

import grp
import json
import os
import pwd
import tarfile
import time
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


def test_the_check_runs_in_the_folder_of_the_files_to_check(write: Write) -> None:
    """So that relative paths in them are found before anything is written."""
    assert write("yes\n", validate=["/bin/sh", "-c", "grep yes a"])["changed"] is True


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


def test_the_files_of_the_running_service_are_kept(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is restarted: a second change before that keeps them, and files that it has not read are not kept."""
    former = tmp_path / "state" / "former.tar"
    running = {"active": False, "enabled": True, "started": 0.0, "reload": False}
    monkeypatch.setattr(config_tree, "unit_state", lambda module, unit: running)

    def change(content: str, **more: Any) -> None:
        assert write(content, unit="x.service", former=str(former), **more)["changed"] is True

    def kept() -> bytes:
        with tarfile.open(former) as tar:
            (member,) = tar.getmembers()
            assert member.name == str(tmp_path / "etc" / "a").lstrip("/")
            file = tar.extractfile(member)
            assert file
            return file.read()

    change("yes 1\n")
    assert not former.exists()
    running.update(active=True, started=time.time() + 60)
    change("yes 2\n", _ansible_check_mode=True)
    assert not former.exists()
    change("yes 2\n")
    assert kept() == b"yes 1\n"
    assert former.stat().st_mode & 0o777 == 0o600
    running["started"] = 1.0
    change("yes 3\n")
    assert kept() == b"yes 1\n"
    # Restarted since: what was kept has had its time.
    running["started"] = time.time() + 60
    assert write("yes 3\n", unit="x.service", former=str(former))["changed"] is False
    assert not former.exists()


def test_a_reload_is_due_until_the_stamp_is_newer(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp, asked = tmp_path / "run" / "stamp", {"files": ["a"], "stamp": str(tmp_path / "run" / "stamp")}
    stamp.parent.mkdir()
    running = {"active": True, "enabled": True, "started": time.time() + 60, "reload": False}
    monkeypatch.setattr(config_tree, "unit_state", lambda module, unit: running)

    def needed(content: str, **more: Any) -> tuple[bool, bool, bool]:
        answer = write(content, unit="x.service", reload=asked, **more)
        return answer["changed"], answer["restart_needed"], answer["reload_needed"]

    assert needed("yes 1\n") == (True, False, True)
    running["started"] = 1.0
    # Interrupted, or not yet asked for.
    assert needed("yes 1\n") == (False, False, True)
    assert needed("yes 1\n", _ansible_check_mode=True) == (False, False, True)
    stamp.touch()
    os.utime(stamp, (time.time() + 1, time.time() + 1))
    assert needed("yes 1\n") == (False, False, False)
    assert needed("yes 2\n", _ansible_check_mode=True) == (True, False, True)
    assert (tmp_path / "etc/a").read_text() == "yes 1\n"
    # Refused as any other file, and then it is not due.
    assert "is wrong" in write("no\n", unit="x.service", reload=asked)["msg"]
    assert needed("yes 1\n") == (False, False, False)
    # With a file that is read at the start only.
    other = [{"path": "a", "content": "yes 3\n"}, {"path": "b", "content": ""}]
    assert needed("yes 3\n", files=other) == (True, True, False)


def test_a_removed_file_is_a_change_of_its_pattern(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = {"active": True, "enabled": True, "started": time.time() + 60, "reload": False}
    monkeypatch.setattr(config_tree, "unit_state", lambda module, unit: running)
    write("yes\n")
    for pattern, needed in (("users.d/*", (False, True)), ("users.xml", (True, False))):
        (tmp_path / "etc/users.d").mkdir(exist_ok=True)
        (tmp_path / "etc/users.d/stray").touch()
        answer = write("yes\n", purge=True, unit="x.service", reload={"files": [pattern], "stamp": "/run/x"})
        assert (answer["restart_needed"], answer["reload_needed"]) == needed
        assert not (tmp_path / "etc/users.d/stray").exists()


def test_files_that_the_service_sees_by_itself_ask_for_nothing(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a restart nor a reload, in the run that changes them and in the next one. Other files still need a restart."""
    write("yes\n", unit="x.service", reload={"files": ["main.conf"]})
    running = {"active": True, "enabled": True, "started": time.time() - 60, "reload": False}
    monkeypatch.setattr(config_tree, "unit_state", lambda *_arguments: running)
    for files, needed in ((["*"], (False, False)), (["other"], (True, False))):
        for content in ("yes again\n", "yes again\n"):
            answer = write(content, unit="x.service", reload={"files": files})
            assert (answer["restart_needed"], answer["reload_needed"]) == needed


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"reload": {"files": ["a"], "stamp": "/run/x"}}, "unit"),
        ({"reload": {"files": ["/a"], "stamp": "/run/x"}, "unit": "x.service"}, "reload: files"),
        ({"reload": {"files": ["a"], "stamp": "x"}, "unit": "x.service"}, "reload: stamp"),
    ],
)
def test_a_reload_that_cannot_be_seen_is_refused(write: Write, tmp_path: Path, more: dict[str, Any], word: str) -> None:
    answer = write("yes\n", **more)
    assert answer["failed"] is True and word in answer["msg"]
    assert not (tmp_path / "etc").exists()


def test_a_service_that_does_not_run_needs_neither(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = {"active": False, "enabled": True, "started": 1.0, "reload": False}
    monkeypatch.setattr(config_tree, "unit_state", lambda module, unit: stopped)
    for pattern in ("a", "b"):
        answer = write(f"yes {pattern}\n", unit="x.service", reload={"files": [pattern], "stamp": "/run/x"})
        assert (answer["changed"], answer["restart_needed"], answer["reload_needed"]) == (True, False, False)
