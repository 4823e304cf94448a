# GNU General Public License v3.0+ (see LICENSE)
"""Makes the checkout importable as ansible_collections.groundwork.observability, as ansible itself does, before any test is read.

Puts the files that take longest first: where they are dealt out to processes, none of them is begun when the others end.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
from hypothesis import settings

LONGEST = (
    "test_clickhouse_random_sets",
    "test_clickhouse_sets",
    *("test_clickhouse_alter", "test_preflight", "test_mirror", "test_clickhouse_replicas", "test_clickhouse_rebuild"),
    *("test_telemetry_schema", "test_clickhouse_corpus", "test_clickhouse_join", "test_collector_configs", "test_clickhouse_roundtrips"),
    "test_grafana_alerts",
)

# How long an example takes says something of the machine, not of the code.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")

_AnsibleCollectionFinder(paths=[str(Path(__file__).parents[1] / ".collections")])._install()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
