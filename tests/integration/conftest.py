# GNU General Public License v3.0+ (see LICENSE)
"""What the integration tests share: a server for a whole file, and the collection's client of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouse as Client

from tests.support.clickhouse import ClickHouse
from tests.support.connect import connection
from tests.support.grafana_module import ADMIN, PASSWORD, ModuleRun
from tests.support.grafana_proxy import Proxy, grafana_proxy
from tests.support.grafana_server import GrafanaServer, grafana_server


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


@pytest.fixture(scope="module")
def grafana(request: pytest.FixtureRequest) -> Iterator[GrafanaServer]:
    """One Grafana stand-in. A file's GRAFANA holds further arguments of grafana_server()."""
    with grafana_server(f'[security]\nadmin_password = """{PASSWORD}"""\n', **getattr(request.module, "GRAFANA", {})) as started:
        yield started


@pytest.fixture(scope="module")
def proxy(grafana: GrafanaServer) -> Iterator[Proxy]:
    """What stands between modules and `grafana`."""
    with grafana_proxy(grafana.url) as started:
        yield started


@pytest.fixture
def run_in_grafana(
    grafana: GrafanaServer, proxy: Proxy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[ModuleType], ModuleRun]]:
    """Makes what calls a module in an organisation of its own."""
    # Ansible reads the certificates of all authorities for each request, which takes longer than the request.
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
    org = grafana.send("POST", "/api/orgs", {"name": "test"}, auth=ADMIN)[1]["orgId"]
    proxy.reset()
    yield lambda module: ModuleRun(grafana, proxy, module, capsys, org)
    grafana.send("DELETE", f"/api/orgs/{org}", auth=ADMIN)
