# GNU General Public License v3.0+ (see LICENSE)
"""What the integration tests share: a server for a whole file, and the collection's client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouse as Client

from tests.support.clickhouse import ClickHouse
from tests.support.connect import connection


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[ClickHouse]:
    """One server, which is the only one of cluster `one`. A file's SERVER holds further arguments of ClickHouse()."""
    with ClickHouse(**{"cluster": "one", **getattr(request.module, "SERVER", {})}) as node:
        yield node


@pytest.fixture(scope="module")
def client(server: ClickHouse) -> Iterator[Client]:
    """The collection's own connection to `server`, as its user `default`."""
    opened = Client(connection(server.port))
    yield opened
    opened.close()
