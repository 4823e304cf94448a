# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What config_tree decides."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils import _config_tree as config_tree

A = config_tree.File("/etc/x/a", b"one\n", 0o640, 0, 5)
SECRET = config_tree.File("/etc/x/key", b"hush\n", 0o640, 0, 5, secret=True)


def test_existing_file_is_no_change() -> None:
    assert config_tree.plan([A, SECRET], {A.path: A, SECRET.path: dataclasses.replace(SECRET, secret=False)}) == ()


@pytest.mark.parametrize(
    ("field", "value", "rewrites"), [("content", b"two\n", True), ("mode", 0o644, False), ("uid", 7, False), ("gid", 0, False)]
)
def test_each_difference_is_a_change(field: str, value: object, rewrites: bool) -> None:
    changed: dict[str, Any] = {field: value}
    have = dataclasses.replace(A, **changed)
    (change,) = config_tree.plan([A], {A.path: have})
    assert (change.have, change.want, change.rewrites) == (have, A, rewrites)


def test_a_missing_file_is_written_and_an_undeclared_one_removed() -> None:
    stray = config_tree.File("/etc/x/stray", b"x", 0o600, 0, 0)
    changes = config_tree.plan([A], {stray.path: stray}, [A.path, stray.path])
    assert [(change.path, change.want) for change in changes] == [(A.path, A), (stray.path, None)]
    assert all(change.rewrites for change in changes)


def test_a_diff_shows_files_and_hides_secrets() -> None:
    old = dataclasses.replace(SECRET, content=b"psst\n")
    stray = config_tree.File("/etc/x/stray", b"mum\n", 0o600, 0, 0)
    shown = config_tree.diff(config_tree.plan([A, SECRET], {old.path: old, stray.path: stray}, [stray.path]))
    assert [entry["after_header"] for entry in shown] == [A.path, SECRET.path, stray.path]
    assert shown[0]["before"] == ""
    assert shown[0]["after"] == "# mode 0640 owner 0:5\none\n"
    assert shown[1]["before"] != shown[1]["after"]
    # A file that is no longer declared may have been a secret one.
    assert not any(word in str(shown) for word in ("hush", "psst", "mum"))


@pytest.mark.parametrize(
    ("paths", "word"),
    [
        (["../a"], "plain"),
        (["a/../../b"], "plain"),
        (["./a"], "plain"),
        (["a//b"], "plain"),
        (["a", "/etc/x/a"], "twice"),
        (["a", "a/b"], "folder of"),
    ],
)
def test_dangerous_paths_are_refused(paths: list[str], word: str) -> None:
    assert [problem for problem in config_tree.problems("/etc/x", paths) if word in problem]


def test_safe_paths_are_accepted() -> None:
    assert config_tree.problems("/etc/x", ["a", "b/c", "b/d", "/etc/systemd/system/x.service"]) == []
