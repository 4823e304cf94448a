# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private: what M(groundwork.observability.config_tree) decides. May change at any time.

Pure functions from what is wanted and what is there to a frozen plan; reading, validating and writing are in the module.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import glob
import os
import typing as t


@dataclasses.dataclass(frozen=True)
class File:
    """One file as it is wanted, or as it was found. C(mode) is the permission bits, C(uid) and C(gid) are numbers."""

    path: str
    content: bytes
    mode: int
    uid: int
    gid: int
    secret: bool = False


@dataclasses.dataclass(frozen=True)
class Change:
    """One difference. C(have) is None where the file is missing, C(want) is None where it is to be removed."""

    path: str
    have: t.Optional[File]
    want: t.Optional[File]
    secret: bool

    @property
    def rewrites(self) -> bool:
        """Whether bytes change (else only owner, group or mode do)."""
        return self.have is None or self.want is None or self.have.content != self.want.content


def plan(want: t.Sequence[File], have: t.Mapping[str, File], purgeable: t.Iterable[str] = ()) -> tuple[Change, ...]:
    """What to write and what to remove, in order of path.

    :param want: the declared files.
    :param have: what is on disk, by path (declared paths only need to be there).
    :param purgeable: existing files below the root; those that are not declared are removed.
    """
    changes = []
    for file in want:
        found = have.get(file.path)
        same = found is not None and (found.content, found.mode, found.uid, found.gid) == (
            file.content,
            file.mode,
            file.uid,
            file.gid,
        )
        if not same:
            changes.append(Change(file.path, found, file, file.secret))
    declared = {file.path for file in want}
    # A file that is no longer declared may have been a secret one: its content is never shown.
    changes += [Change(path, have.get(path), None, True) for path in purgeable if path not in declared]
    return tuple(sorted(changes, key=lambda change: change.path))


def reloadable(root: str, patterns: t.Sequence[str], paths: t.Iterable[str]) -> frozenset[str]:
    """Those paths below the root that a pattern matches; C(*) matches any characters, C(/) as well."""
    return frozenset(path for path in paths if any(fnmatch.fnmatchcase(path, f"{glob.escape(root)}/{pattern}") for pattern in patterns))


def due(
    modified: t.Mapping[str, float], changed: t.Iterable[str], reloads: t.Container[str], started: float, reloaded: float
) -> tuple[bool, bool]:
    """Whether a service has to be restarted, and if not, whether it has to read files again.

    :param modified: path -> modification time of what the service reads, in epoch seconds, as all other times.
    :param changed: paths that this run changes.
    :param reloads: paths that the service reads again without a restart.
    :param started: when the service started, infinity if it is not running: then neither is needed.
    :param reloaded: when the service last read its files again, 0 if it has not, infinity if it does so by itself.
    """
    now = {**modified, **dict.fromkeys(changed, float("inf"))}
    restart = any(time > started for path, time in now.items() if path not in reloads)
    return restart, not restart and any(time > max(started, reloaded) for path, time in now.items() if path in reloads)


def started_with(have: t.Iterable[str], modified: t.Mapping[str, float], started: float) -> bool:
    """Whether a running service was started with the files that are there: none is newer.

    :param have: paths of the files.
    :param modified: path -> modification time, in epoch seconds.
    :param started: when the service started, in epoch seconds.
    """
    return all(modified.get(path, 0.0) <= started for path in have)


def _side(file: t.Optional[File], secret: bool) -> str:
    if file is None:
        return ""
    attributes = f"# mode {file.mode:04o} owner {file.uid}:{file.gid}\n"
    if secret:
        return attributes + "# (content is not shown)\n"
    return attributes + file.content.decode("utf-8", "replace")


def diff(changes: t.Iterable[Change]) -> list[dict[str, str]]:
    """The changes as ansible's C(--diff) shows them; contents of secret files are left out on both sides."""
    result = []
    for change in changes:
        before, after = _side(change.have, change.secret), _side(change.want, change.secret)
        if change.secret and change.have and change.want and change.rewrites:
            after = after.replace("(content is not shown)", "(another content, not shown)")
        result.append(
            {"before_header": change.path, "after_header": change.path, "before": before, "after": after},
        )
    return result


def reload_problems(root: str, patterns: t.Sequence[str], stamp: str) -> list[str]:
    """Errors in what the service reads again: a pattern that matches nothing below the root, a stamp among the configuration."""
    found = [f"files are patterns of paths below {root}, not {pattern!r}" for pattern in patterns if pattern.startswith("/")]
    if stamp and (not os.path.isabs(stamp) or stamp.startswith(root + "/")):
        found.append(f"stamp must be an absolute path outside of {root}, not {stamp!r}")
    return found


def problems(root: str, paths: t.Sequence[str]) -> list[str]:
    """Errors in the declared paths: one outside of the root by C(..), the same path twice, a file that is also a folder."""
    found = []
    seen: set[str] = set()
    for path in paths:
        if not os.path.isabs(path) and os.path.normpath(os.path.join(root, path)) != os.path.join(root, path):
            found.append(f"path {path!r} must be plain: no '..', no '.', no double slash")
        if os.path.join(root, path) in seen:
            found.append(f"path {path!r} is declared twice")
        seen.add(os.path.join(root, path))
    for path in sorted(seen):
        parent = os.path.dirname(path)
        while parent not in ("/", ""):
            if parent in seen:
                found.append(f"path {parent!r} is declared as a file and is also the folder of {path!r}")
            parent = os.path.dirname(parent)
    return found
