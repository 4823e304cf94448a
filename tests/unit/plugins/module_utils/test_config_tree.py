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


RELOADS = config_tree.reloadable("/etc/x", ["users.xml", "users.d/*"], ["/etc/x/users.xml", "/etc/x/users.d/a", "/etc/x/config.xml"])


@pytest.mark.parametrize(
    ("path", "matches"),
    [
        ("/etc/x/users.xml", True),
        ("/etc/x/users.d/secrets.xml", True),
        ("/etc/x/users.d/deeper/a", True),
        ("/etc/x/users_xml", False),
        ("/etc/x/old/users.xml", False),
        ("/etc/xx/users.xml", False),
        ("/etc/systemd/system/users.xml", False),
    ],
)
def test_patterns_match_paths_below_the_root(path: str, matches: bool) -> None:
    assert config_tree.reloadable("/etc/x", ["users.xml", "users.d/*"], [path]) == ({path} if matches else set())


def test_characters_of_the_root_are_no_pattern() -> None:
    assert config_tree.reloadable("/etc/[x]", ["*"], ["/etc/[x]/a", "/etc/x/a"]) == {"/etc/[x]/a"}


# The service started at 100.
@pytest.mark.parametrize(
    ("modified", "changed", "reloaded", "due"),
    [
        ({"config.xml": 50, "users.xml": 50}, [], 0, (False, False)),
        ({"config.xml": 50, "users.xml": 50}, ["users.xml"], 0, (False, True)),
        ({"config.xml": 50, "users.xml": 50}, ["users.d/a"], 200, (False, True)),
        ({"config.xml": 50, "users.xml": 50}, ["config.xml"], 0, (True, False)),
        # A restart reads all files.
        ({"config.xml": 50, "users.xml": 50}, ["config.xml", "users.xml"], 0, (True, False)),
        ({"config.xml": 150, "users.xml": 150}, [], 0, (True, False)),
        # An earlier run was interrupted after it wrote, or was not.
        ({"config.xml": 50, "users.xml": 150}, [], 0, (False, True)),
        ({"config.xml": 50, "users.xml": 150}, [], 140, (False, True)),
        ({"config.xml": 50, "users.xml": 150}, [], 160, (False, False)),
        # A stamp from before the start says nothing.
        ({"config.xml": 50, "users.xml": 95}, [], 90, (False, False)),
        # A reload does not make a restart unnecessary.
        ({"config.xml": 150, "users.xml": 50}, [], 160, (True, False)),
    ],
)
def test_what_a_service_has_to_do(modified: dict[str, float], changed: list[str], reloaded: float, due: tuple[bool, bool]) -> None:
    times = {f"/etc/x/{name}": time for name, time in modified.items()}
    paths = [f"/etc/x/{name}" for name in changed]
    assert config_tree.due(times, paths, RELOADS, 100, reloaded) == due
    assert config_tree.due(times, paths, RELOADS, float("inf"), reloaded) == (False, False)


@pytest.mark.parametrize(
    ("patterns", "stamp", "word"),
    [
        (["/etc/x/users.xml"], "/run/x", "not '/etc/x/users.xml'"),
        (["users.xml"], "/etc/x/stamp", "stamp"),
        (["users.xml"], "stamp", "stamp"),
    ],
)
def test_a_reload_that_would_never_be_seen_is_refused(patterns: list[str], stamp: str, word: str) -> None:
    (problem,) = config_tree.reload_problems("/etc/x", patterns, stamp)
    assert word in problem


def test_a_pattern_and_a_stamp_are_accepted() -> None:
    assert config_tree.reload_problems("/etc/x", ["users.d/*"], "/run/x.reloaded") == []
