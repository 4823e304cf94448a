# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module is going to do, as one immutable value (private: may change at any time).

Check mode, diff mode, the real run and the result all read the same plan, so they cannot disagree:
``changed`` means "the plan has steps".
"""

from __future__ import annotations

import difflib
import typing as t
from dataclasses import dataclass, field

DRIFTED = "drifted"


@dataclass(frozen=True)
class Operation:
    """More than a statement can do, as data: a name under which the executor finds a function, and the values to call it with."""

    name: str
    arguments: tuple[t.Any, ...] = ()


@dataclass(frozen=True)
class Step:
    """One change, as data: the key of the object it belongs to, what is sent, and how that may be shown.

    C(shared) says that others may make the same change at the same time (replicas of one table). C(prepare) is done before the
    statement, C(cleanup) when it fails; that returns what to add to the message. C(lost) says what is lost with the step, C(effect)
    what it does to rows that are there, C(rows) and C(bytes) how many these are.
    """

    target: tuple[str, ...]
    statement: str
    shown: str
    shared: bool = False
    prepare: Operation | None = field(default=None, compare=False)
    cleanup: Operation | None = field(default=None, compare=False)
    lost: str = field(default="", compare=False)
    effect: str = field(default="", compare=False)
    rows: int = field(default=0, compare=False)
    bytes: int = field(default=0, compare=False)

    @property
    def result(self) -> dict[str, t.Any]:
        name = ".".join(filter(None, self.target))
        size = {"rows": self.rows, "bytes": self.bytes}
        return {"name": name, "statement": self.shown, "effect": self.effect, **size, "lost": self.lost}

    @property
    def described(self) -> str:
        """The statement behind a comment that says what it costs."""
        size = f": {self.rows} rows, {self.bytes} bytes" if self.rows else ""
        lost = f"; lost: {self.lost}" if self.lost else ""
        return f"-- {self.effect}{size}{lost}\n{self.shown}\n" if self.effect else f"{self.shown}\n"


@dataclass(frozen=True)
class ObjectState:
    """One declared object: what it is, what was found, what it will be, and why that cannot be.

    C(key) tells it from all others, which its name alone does not: a database may be called as a function is.
    """

    name: str
    kind: str
    status: str
    before: str = ""
    after: str = ""
    reason: str = ""
    key: tuple[str, ...] = ()

    @property
    def difference(self) -> str:
        """Lines that differ, on one line: for messages."""
        lines = difflib.unified_diff(self.before.splitlines(), self.after.splitlines(), lineterm="", n=0)
        changes = [f"{line[0]} {line[1:].strip()}" for line in lines if line[:3] not in ("---", "+++") and line[0] != "@"]
        more = [f"... {len(changes) - 12} more"] if len(changes) > 12 else []
        return " | ".join(changes[:12] + more)

    @property
    def result(self) -> dict[str, str]:
        return {
            "name": self.name,
            "kind": self.kind,
            "status": self.status,
            "before": self.before,
            "after": self.after,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Plan:
    """Ordered steps and the state of every declared object; C(uncertain) are statements that may have run: the connection broke."""

    steps: tuple[Step, ...] = ()
    objects: tuple[ObjectState, ...] = ()
    uncertain: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return bool(self.steps or self.uncertain)

    @property
    def statements(self) -> list[str]:
        return [step.shown for step in self.steps]

    @property
    def drifted(self) -> list[ObjectState]:
        return [state for state in self.objects if state.status == DRIFTED]

    @property
    def diff(self) -> list[dict[str, str]]:
        """Differences in Ansible's form: one entry an object, so that C(--diff) heads each with its name."""
        return [
            {
                "before_header": f"{state.kind} {state.name}",
                "after_header": f"{state.kind} {state.name}",
                "before": _lines(state.before),
                "after": _lines(state.after),
                "prepared": "".join(step.described for step in self.steps if step.target == state.key),
            }
            for state in self.objects
            if state.before != state.after
        ]

    @property
    def result(self) -> dict[str, t.Any]:
        uncertain = {"uncertain": list(self.uncertain)} if self.uncertain else {}
        return {
            **uncertain,
            "changed": self.changed,
            "statements": self.statements,
            "plan": [step.result for step in self.steps],
            "objects": [state.result for state in self.objects],
            "diff": self.diff,
        }


def _lines(text: str) -> str:
    return f"{text}\n" if text else ""
