# GNU General Public License v3.0+ (see LICENSE)
"""The units that run playbooks on a schedule."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
TIMERS = sorted((CHECKOUT / "examples" / "schedule").glob("*.timer"))


def unit(path: Path) -> configparser.ConfigParser:
    """A unit's file."""
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    # Names of settings keep their capitals. mypy takes the documented way to say so for an assignment to a method.
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text(encoding="utf-8"))
    return parser


@pytest.mark.parametrize("timer", TIMERS, ids=[path.stem for path in TIMERS])
def test_timer_runs_a_playbook_that_there_is(timer: Path) -> None:
    """Also after a time in which the controller was off; and the README names the unit."""
    assert unit(timer)["Timer"]["Persistent"] == "true"
    assert unit(timer)["Install"]["WantedBy"] == "timers.target"
    service = unit(timer.with_suffix(".service"))["Service"]
    assert service["Type"] == "oneshot"
    namespace, _, playbook = shlex.split(service["ExecStart"])[-1].rpartition(".")
    assert namespace == "groundwork.observability"
    assert (CHECKOUT / "playbooks" / f"{playbook}.yml").exists()
    assert timer.stem in (CHECKOUT / "roles" / "telemetry_schema" / "README.md").read_text(encoding="utf-8")


def test_there_are_timers() -> None:
    assert [path.stem for path in TIMERS] == ["observability-size-cap"]
