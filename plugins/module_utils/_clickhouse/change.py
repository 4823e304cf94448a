# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes one object as declared, and what that needs and loses (private: may change at any time). Values only."""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass, field

from ansible_collections.groundwork.observability.plugins.module_utils import _plan

from . import argument_specs, declaration, sql_secrets
from . import client as clickhouse

# A second object beside the first, while one takes the other's place.
REBUILD_SUFFIX = "__rebuild"
# Of a rebuild: rows that came late, and the lock of replicas.
TAIL_SUFFIX = "__tail"
LOCK_SUFFIX = "__lock"


# Of what is dropped and created where nothing can take its place at once.
UNAVAILABLE = "nothing that is kept, but it is not there for a moment"
# Words of statements that lose something, the surest first.
_LOSE = ("EXCHANGE TABLES", "DROP TABLE", "DROP DATABASE", "DROP COLUMN", "ALTER TABLE")


class Replan(clickhouse.ClickHouseError):
    """Raised by an operation when another replica has done what was planned: read and plan again."""


@dataclass(frozen=True)
class Change:
    """What makes an existing object as declared: statements, permissions that they need, and why there are none.

    C(casts), C(sample) and C(renamed) (new column names to old ones) are for the rehearsal, C(source) is where its row is taken from.
    C(unwritten) are columns that may have values computed from one that is dropped. C(shared) says that replicas make the same
    change. C(shown) are the statements as they may be seen, where hiding secrets is not enough.
    C(prepare) (by statement) and C(cleanup) are those of C(Step). C(create) is what creates the table first, as its replicas have it.
    C(halves) are other statements for the same change, where what depends on it changes between them; C(last) is the number of
    statements in the second half, once that was decided. C(between) are objects whose change has to stand between the halves.
    C(lost) is what is lost although no permission is needed.
    """

    statements: tuple[str, ...] = ()
    needs: tuple[tuple[str, str], ...] = ()
    impossible: tuple[str, ...] = ()
    casts: tuple[str, ...] = ()
    sample: tuple[str, ...] = ()
    unwritten: t.Mapping[str, str] = field(default_factory=dict)
    shared: bool = False
    source: str = ""
    renamed: t.Mapping[str, str] = field(default_factory=dict)
    shown: tuple[str, ...] = ()
    prepare: t.Mapping[str, _plan.Operation] = field(default_factory=dict)
    cleanup: _plan.Operation | None = None
    create: str = ""
    halves: tuple[tuple[str, ...], ...] = ()
    last: int = 0
    between: tuple[declaration.Key, ...] = ()
    lost: str = ""

    def in_halves(self) -> Change:
        """The same change as its two halves."""
        first, last = self.halves
        return dataclasses.replace(self, statements=(*first, *last), halves=(), last=len(last))

    def obstacles(self, allow: t.Collection[str]) -> list[str]:
        """Why it may not or cannot be made."""
        return [*self.impossible, *(f"{reason} (allow: [{need}])" for need, reason in self.needs if need not in allow)]

    def refused(self, *reasons: str) -> Change:
        """The same change, which is impossible for these reasons."""
        return dataclasses.replace(self, impossible=reasons)

    def after(self, *statements: str) -> Change:
        """The same change behind other statements."""
        halves = ((*statements, *self.halves[0]), *self.halves[1:]) if self.halves else ()
        return dataclasses.replace(self, statements=(*statements, *self.statements), halves=halves)

    def steps(self, target: tuple[str, ...], secrets: t.Collection[str]) -> list[_plan.Step]:
        """The statements as steps of a plan."""
        shown = self.shown or [sql_secrets.mask_secrets(text, secrets) for text in self.statements]
        lost = "; ".join(filter(None, [*(reason for need, reason in self.needs if need != argument_specs.REBUILD), self.lost]))
        loses = next((text for words in _LOSE for text in self.statements if words in text), "")
        return [
            _plan.Step(target, text, visible, self.shared, self.prepare.get(text), self.cleanup, lost if text == loses else "")
            for text, visible in zip(self.statements, shown)
        ]


# What makes each object as declared that exists and differs.
Changes = t.Mapping[declaration.Key, Change]
