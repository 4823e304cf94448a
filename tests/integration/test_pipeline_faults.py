# GNU General Public License v3.0+ (see LICENSE)
"""The cheap ones of the faults that `python -m tests.faults` makes on a running telemetry pipeline: nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import faults
from tests.support.pipeline import Pipeline, pipeline

# Each takes a few seconds. `make soak` makes all of them.
CHEAP = ("ClickHouse is killed in an INSERT", "gateway is killed")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """One pipeline for all."""
    with pipeline(tmp_path_factory.mktemp("pipeline")) as started:
        yield started


@pytest.mark.parametrize("fault", [fault for fault in faults.FAULTS if fault.name in CHEAP], ids=lambda fault: fault.name)
def test_nothing_acknowledged_is_lost(running: Pipeline, fault: faults.Fault) -> None:
    """Every acknowledged record is there, once but for the reason that the table names, and the metric showed the fault."""
    outcome = faults.run(running, fault)
    print(faults.table([outcome]))
    assert outcome.count.acknowledged > 100
    assert outcome.problems == []


def test_the_table_names_alerts_that_exist() -> None:
    """By their uid."""
    assert {fault.alert for fault in faults.FAULTS if fault.alert} <= faults.alerts()
    assert len({fault.name for fault in faults.FAULTS}) == len(faults.FAULTS)
