# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that makes the configuration with which the cluster agent reads the metrics of product databases."""

from __future__ import annotations

import typing as t

PORTS = {"postgresql": 5432, "mysql": 3306}


def database_receivers(databases: t.Sequence[t.Mapping[str, t.Any]], passwords: t.Mapping[str, str], interval: str) -> dict[str, t.Any]:
    """A receiver and a pipeline for each database. One that fails leaves the pipelines of the others alone.

    Settings of the receivers: opentelemetry-collector-contrib, receiver/postgresqlreceiver and receiver/mysqlreceiver. Both verify no
    certificate unless they are told to, so C(tls) is always set.

    :param databases: the value of O(otel_collector_cluster_agent_databases).
    :param passwords: the value of O(otel_collector_cluster_agent_database_passwords).
    :param interval: time between two readings, as a duration of Go.
    :returns: C(config), the configuration without passwords; C(secret_config), the passwords; C(problems), a line for each contradiction.
    """
    receivers: dict[str, t.Any] = {}
    processors: dict[str, t.Any] = {}
    pipelines: dict[str, t.Any] = {}
    for database in databases:
        name, kind = str(database["name"]), str(database["type"])
        host, port = str(database["host"]), int(database.get("port") or PORTS[kind])
        tls = {"insecure_skip_verify": False, **({"ca_file": database["ca_file"]} if database.get("ca_file") else {})}
        receivers[f"{kind}/{name}"] = {
            "endpoint": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            "username": database["user"],
            "collection_interval": interval,
            "tls": tls if database.get("tls", True) else {"insecure": True},
            **({"databases": database["databases"]} if database.get("databases") else {}),
        }
        attributes = {"service.name": name, "db.system.name": kind, "server.address": host, "server.port": port}
        processors[f"resource/database_{name}"] = {
            "attributes": [{"key": key, "value": value, "action": "upsert"} for key, value in attributes.items()]
        }
        pipelines[f"metrics/database_{name}"] = {
            "receivers": [f"{kind}/{name}"],
            "processors": ["memory_limiter", f"resource/database_{name}", "resource/environment"],
            "exporters": ["otlp_grpc"],
        }
    return {
        "config": {"receivers": receivers, "processors": processors, "service": {"pipelines": pipelines}},
        "secret_config": {
            "receivers": {
                f"{one['type']}/{one['name']}": {"password": passwords[one["name"]]} for one in databases if one["name"] in passwords
            }
        },
        "problems": _problems(databases, passwords),
    }


def _problems(databases: t.Sequence[t.Mapping[str, t.Any]], passwords: t.Mapping[str, str]) -> list[str]:
    names = [str(database["name"]) for database in databases]
    option, secrets = "otel_collector_cluster_agent_databases", "otel_collector_cluster_agent_database_passwords"
    found = [f"{option} has {name} twice: give each a name of its own." for name in sorted(set(names)) if names.count(name) > 1]
    found += [f"{secrets} has no entry {name}: add it to observability_secrets_file." for name in names if name not in passwords]
    found += [f"{secrets} has an entry {name}, which is not in {option}: take it out." for name in passwords if name not in names]
    for database in databases:
        where = f"{option} ({database['name']})"
        if database.get("databases") and database["type"] == "mysql":
            found.append(f"{where}: databases is for type postgresql, mysql reads all of them: take it out.")
        if database.get("ca_file") and not database.get("tls", True):
            found.append(f"{where}: ca_file needs tls: set tls to true, or take ca_file out.")
    return found


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"database_receivers": database_receivers}
