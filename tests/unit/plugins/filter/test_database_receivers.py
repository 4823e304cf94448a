# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration for product databases: settings as the receivers' documentation has them, and contradictions by name."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.groundwork.observability.plugins.filter.database_receivers import database_receivers

SHOP: dict[str, Any] = {"name": "shop", "type": "postgresql", "host": "db.example.com", "user": "otel", "databases": ["shop"]}
CRM: dict[str, Any] = {"name": "crm", "type": "mysql", "host": "fd00::1", "port": 3307, "user": "otel", "tls": False}
PASSWORDS = {"shop": "secret-of-shop", "crm": "secret-of-crm"}


def test_each_database_has_a_receiver_and_a_pipeline() -> None:
    made = database_receivers([{**SHOP, "ca_file": "/etc/ssl/db.crt"}, CRM], PASSWORDS, "30s")
    assert made["problems"] == []
    config = made["config"]
    assert config["receivers"] == {
        "postgresql/shop": {
            "endpoint": "db.example.com:5432",
            "username": "otel",
            "collection_interval": "30s",
            "tls": {"insecure_skip_verify": False, "ca_file": "/etc/ssl/db.crt"},
            "databases": ["shop"],
        },
        "mysql/crm": {"endpoint": "[fd00::1]:3307", "username": "otel", "collection_interval": "30s", "tls": {"insecure": True}},
    }
    pipelines = config["service"]["pipelines"]
    assert set(pipelines) == {"metrics/database_shop", "metrics/database_crm"}
    for pipeline in pipelines.values():
        assert set(pipeline["receivers"]) <= set(config["receivers"])
        assert {name for name in pipeline["processors"] if "database" in name} <= set(config["processors"])
    attributes = {one["key"]: one["value"] for one in config["processors"]["resource/database_crm"]["attributes"]}
    assert attributes == {"service.name": "crm", "db.system.name": "mysql", "server.address": "fd00::1", "server.port": 3307}
    assert made["secret_config"]["receivers"] == {
        "postgresql/shop": {"password": "secret-of-shop"},
        "mysql/crm": {"password": "secret-of-crm"},
    }
    assert "secret-of" not in str(config)


def test_certificates_are_checked_unless_tls_is_off() -> None:
    made = database_receivers([SHOP], PASSWORDS, "30s")["config"]["receivers"]["postgresql/shop"]["tls"]
    assert made == {"insecure_skip_verify": False}


@pytest.mark.parametrize(
    ("databases", "passwords", "problem"),
    [
        ([SHOP, SHOP], {"shop": "x"}, "otel_collector_cluster_agent_databases has shop twice"),
        ([SHOP], {}, "otel_collector_cluster_agent_database_passwords has no entry shop: add it to observability_secrets_file"),
        ([], {"shop": "hush"}, "has an entry shop, which is not in otel_collector_cluster_agent_databases"),
        ([{**CRM, "databases": ["crm"]}], {"crm": "x"}, "(crm): databases is for type postgresql"),
        ([{**CRM, "ca_file": "/x"}], {"crm": "x"}, "(crm): ca_file needs tls"),
    ],
)
def test_contradictions_are_named(databases: list[dict[str, Any]], passwords: dict[str, str], problem: str) -> None:
    (found,) = database_receivers(databases, passwords, "30s")["problems"]
    assert problem in found
    assert "hush" not in found
