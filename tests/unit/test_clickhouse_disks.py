# GNU General Public License v3.0+ (see LICENSE)
"""Disks that the inventory gives to ClickHouse: their folders are the server's, and its unit lets it write to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.rendered import ROLES, rendered

UNIT: Path = ROLES / "clickhouse" / "templates" / "clickhouse-server.service.j2"
DATA = {"path": "/var/lib/clickhouse", "owner": "clickhouse"}
OTHERS: dict[str, Any] = {
    "ansible_managed": "managed",
    "clickhouse_shard": 1,
    "clickhouse_replica": "a",
    "common_unit_hardening": "ProtectSystem=strict",
    "common_install_dir": "/opt",
}


@pytest.mark.parametrize(
    ("disks", "folders"),
    [
        ({}, []),
        ({"slow": {"path": "/data/slow/"}, "fast": {"path": "/data/fast"}}, ["/data/fast", "/data/slow"]),
        ({"cold": {"type": "s3", "endpoint": "https://s3.example.com/x/"}, "cache": {"type": "cache", "path": "cold/"}}, []),
        ({"again": {"path": "/var/lib/clickhouse/"}}, []),
    ],
)
def test_folders_of_disks(disks: dict[str, Any], folders: list[str]) -> None:
    config = {"storage_configuration": {"disks": disks}} if disks else {}
    found = rendered("clickhouse", "__clickhouse_folders", clickhouse_config=config)
    assert found == [DATA, *({"path": folder, "owner": "clickhouse"} for folder in folders)]
    unit = rendered("clickhouse", f"lookup('ansible.builtin.template', '{UNIT}')", clickhouse_config=config, **OTHERS)
    assert f"\nReadWritePaths={' '.join([DATA['path'], *folders])}\n" in unit
