# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that look at the whole inventory before any host is touched."""

from __future__ import annotations

import typing as t

from ansible_collections.groundwork.observability.plugins.plugin_utils._options import (
    GROUP_ROLES,
    Host,
    OptionChecks,
    host_problems,
    role_options,
)

# Which archives a host in a group needs: their names, and the variable that sets the version.
GROUP_ARTIFACTS = {
    "zookeeper": {"zookeeper": "zookeeper_version"},
    "clickhouse": {"clickhouse": "clickhouse_version"},
    "gateway": {"otelcol": "otel_collector_version"},
    "node_agent": {"otelcol": "otel_collector_version"},
    "cluster_agent": {"otelcol": "otel_collector_version"},
    "prometheus_agent": {"otelcol": "otel_collector_version"},
    "grafana": {
        "grafana": "grafana_version",
        "grafana_clickhouse_datasource": "grafana_clickhouse_datasource_version",
    },
}
# Identity is explicit: never derived from the order of an inventory.
IDENTITIES = {"zookeeper": ("zookeeper_id",), "clickhouse": ("clickhouse_shard", "clickhouse_replica")}


def _duplicates(hosts: t.Sequence[Host], names: tuple[str, ...]) -> list[str]:
    seen: dict[tuple[str, ...], str] = {}
    found = []
    for host in hosts:
        if not all(host.has(name) for name in names):
            continue
        identity = tuple(host.text(name) for name in names)
        if identity in seen:
            found.append(
                f"{' and '.join(names)} of {host.name} {'is' if len(names) == 1 else 'are'} the same as of {seen[identity]} "
                f"({', '.join(identity)}): give each host its own, in host_vars/{host.name}.yml or in the hosts file"
            )
        seen.setdefault(identity, host.name)
    return found


def inventory_problems(hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """Everything wrong with an inventory that can be seen without asking a host, one line a problem.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    """
    hosts = {name: Host(name, hostvars, groups) for name in groups.get("all", [])}
    members = {group: [hosts[name] for name in groups.get(group, []) if name in hosts] for group in GROUP_ROLES}
    roles: dict[str, dict[str, None]] = {name: {} for name in hosts}
    for group, names in GROUP_ROLES.items():
        for host in members[group]:
            roles[host.name].update(dict.fromkeys(("common", *names)))
    checks = OptionChecks()
    by_problem: dict[str, list[str]] = {}
    for host in hosts.values():
        for problem in dict.fromkeys(host_problems(host, roles[host.name], checks)):
            by_problem.setdefault(problem, []).append(host.name)
    found = [f"{', '.join(names)}: {problem}" for problem, names in by_problem.items()]
    for group, identity in IDENTITIES.items():
        found += _duplicates(members[group], identity)
    ensemble = len(members["zookeeper"])
    if ensemble and ensemble % 2 == 0:
        found.append(
            f"group zookeeper has {ensemble} hosts: an even ensemble survives no more failures than one with {ensemble - 1}; "
            "use 1, 3 or 5 (zookeeper_id and the group are in the hosts file)"
        )
    if members["clickhouse"] and not ensemble and not any(host.value("clickhouse_zookeeper_hosts") for host in members["clickhouse"]):
        found.append("group zookeeper is empty: fill it, or set clickhouse_zookeeper_hosts to an ensemble that is there already")
    return found


def required_secrets(groups: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """Names of the secrets that an inventory with these groups has to have, from the roles' argument specs."""
    roles = {role for group, names in GROUP_ROLES.items() if groups.get(group) for role in names}
    return sorted(
        {
            name
            for role in roles
            for name, option in role_options(role).items()
            if option.get("no_log") and option.get("required")
        }
    )


def wanted_artifacts(
    hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]], artifacts: t.Mapping[str, t.Any]
) -> list[dict[str, str]]:
    """The archives that the inventory's hosts need, each version once, as C(artifact), C(version) and C(archive).

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    :param artifacts: the list C(common_artifacts).
    """
    wanted = set()
    for group, needed in GROUP_ARTIFACTS.items():
        for host in groups.get(group, []):
            for artifact, variable in needed.items():
                wanted.add((artifact, str(hostvars[host].get(variable, artifacts[artifact]["version"]))))
    return [
        {"artifact": artifact, "version": version, "archive": artifacts[artifact]["archive"].replace("{version}", version)}
        for artifact, version in sorted(wanted)
    ]


def lock_problems(
    lock: t.Any,
    mirror_lock: t.Any,
    artifacts: t.Mapping[str, t.Any],
    hostvars: t.Mapping[str, t.Any],
    groups: t.Mapping[str, t.Sequence[str]],
) -> list[str]:
    """Archives that are not pinned, or that the mirror has otherwise than they are pinned, one line each.

    :param lock: the content of observability_lock_file.
    :param mirror_lock: the content of the mirror's own lock; None where no mirror is used.
    :param artifacts: the list C(common_artifacts).
    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    """
    found = []
    pinned = (lock or {}).get("artifacts_lock", {})
    for wanted in wanted_artifacts(hostvars, groups, artifacts):
        archive = wanted["archive"]
        if archive not in pinned:
            found.append(f"{archive} has no SHA-256 in observability_lock_file: add it, or correct the version of {wanted['artifact']}")
        elif mirror_lock:
            offered = mirror_lock.get("artifacts_lock", {}).get(archive)
            if offered is None:
                found.append(f"{archive} is not on the mirror: fill it again")
            elif offered["sha256"] != pinned[archive]["sha256"]:
                found.append(
                    f"the checksum of {archive} is wrong: pinned is {pinned[archive]['sha256']}, the mirror has {offered['sha256']}"
                )
    return found


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "inventory_problems": inventory_problems,
            "lock_problems": lock_problems,
            "required_secrets": required_secrets,
            "wanted_artifacts": wanted_artifacts,
        }
