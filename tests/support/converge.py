# GNU General Public License v3.0+ (see LICENSE)
"""clickhouse_schema without Ansible around it: declared objects in, the plan out."""

from __future__ import annotations

import typing as t

from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import argument_specs, declaration, schema
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouse as Client
from ansible_collections.groundwork.observability.plugins.module_utils._plan import Plan

from tests.support.clickhouse import ClickHouse
from tests.support.connect import connection

DATABASE = {"kind": "database", "name": "d"}
# All that `allow` can permit.
EVERYTHING = argument_specs.PERMISSIONS


def converge(
    client: Client,
    *ddl: str | dict[str, t.Any],
    apply: bool = True,
    allow: t.Collection[str] = (),
    purge: t.Sequence[declaration.Purge] = (),
) -> Plan:
    """Converge database d with these objects, statements or dictionaries of options; with apply=False nothing is changed."""
    objects = [DATABASE, *({"ddl": item} if isinstance(item, str) else item for item in ddl)]
    secrets = declaration.find_declared_secrets(objects)
    return schema.converge(client, declaration.declare(objects), secrets, apply=apply, keep_drift=False, allow=allow, purge=purge)


def converge_node(
    node: ClickHouse,
    ddl: str,
    *,
    apply: bool = True,
    keep_drift: bool = False,
    allow: t.Collection[str] = EVERYTHING,
    user: str = "default",
    password: str | None = None,
    retries: int = 3,
    timeout: int = 60,
) -> Plan:
    """Converge database d with one object, through a connection of its own."""
    client = Client(connection(node.port, user=user, password=password, timeout=timeout, retries=retries))
    try:
        want = declaration.declare([{"kind": "database", "name": "d"}, {"ddl": ddl}])
        return schema.converge(client, want, set(), apply=apply, keep_drift=keep_drift, allow=allow)
    finally:
        client.close()


def drop_everything(server: ClickHouse) -> None:
    """Drop database d and the functions f and g."""
    server.query("DROP DATABASE IF EXISTS d SYNC")
    for name in ("f", "g"):
        server.query(f"DROP FUNCTION IF EXISTS {name}")
