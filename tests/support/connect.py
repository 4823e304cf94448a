# GNU General Public License v3.0+ (see LICENSE)
"""The collection's own connection to a test's server, as modules make it from their options."""

from __future__ import annotations

from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import Connection


def connection(
    port: int,
    host: str = "127.0.0.1",
    *,
    user: str = "default",
    password: str | None = None,
    connect_timeout: int = 10,
    timeout: int = 60,
    retries: int = 0,
) -> Connection:
    """Without TLS; timeouts in seconds, and no retries unless they are asked for."""
    return Connection(
        host=host,
        port=port,
        secure=False,
        validate_certs=True,
        ca_path=None,
        client_cert=None,
        client_key=None,
        user=user,
        password=password,
        connect_timeout=connect_timeout,
        timeout=timeout,
        retries=retries,
    )
