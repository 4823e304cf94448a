# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private: one owner for each setting. May change at any time.

A port, a database, a user or a path is an option of one role and has its default there. Whoever else needs the value asks here.
"""

from __future__ import annotations

import functools
import pathlib
import typing as t

import yaml
from ansible.errors import AnsibleError

ROLES = pathlib.Path(__file__).resolve().parents[2] / "roles"

# Prefix of an option -> the role that owns it, and the group whose hosts it describes. A longer prefix comes first.
OWNERS = {
    "zookeeper_": ("zookeeper", "zookeeper"),
    "clickhouse_": ("clickhouse", "clickhouse"),
    "telemetry_schema_": ("telemetry_schema", "clickhouse"),
    "otel_collector_gateway_": ("otel_collector", "gateway"),
    "otel_collector_node_agent_": ("otel_collector", "node_agent"),
    "otel_collector_cluster_agent_": ("otel_collector", "cluster_agent"),
    "otel_collector_prometheus_agent_": ("otel_collector", "prometheus_agent"),
    "grafana_": ("grafana", "grafana"),
}


def owner(name: str) -> tuple[str, str]:
    """The role that owns an option, and the group whose hosts it describes."""
    for prefix, found in OWNERS.items():
        if name.startswith(prefix):
            return found
    raise AnsibleError(f"{name} is not an option of a role of this collection")


@functools.cache
def _defaults(role: str) -> dict[str, t.Any]:
    loaded: dict[str, t.Any] = yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text(encoding="utf-8"))
    return loaded


def default(name: str) -> t.Any:
    """An option's default, from the defaults/main.yml of the role that owns it. A default that is a template cannot be asked for."""
    role = owner(name)[0]
    try:
        value = _defaults(role)[name]
    except KeyError:
        raise AnsibleError(f"{name} has no default in role {role}") from None
    if "{{" in str(value):
        raise AnsibleError(f"the default of {name} in role {role} is a template: only the role itself can evaluate it")
    return value


def setting(hostvars: t.Mapping[str, t.Any], host: str, name: str) -> t.Any:
    """The value of an option on a host: the inventory's, else the default of the role that owns the option.

    :param hostvars: ansible's C(hostvars).
    :param host: the host's name in the inventory.
    :param name: the option.
    """
    variables = hostvars[host]
    return variables[name] if name in variables else default(name)
