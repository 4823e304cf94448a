# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that look at the whole inventory before any host is touched."""

from __future__ import annotations

import typing as t

from ansible_collections.groundwork.observability.plugins.plugin_utils._across import host_contradictions
from ansible_collections.groundwork.observability.plugins.plugin_utils._hosts import requirements, unfit
from ansible_collections.groundwork.observability.plugins.plugin_utils._options import (
    GROUP_ROLES,
    Host,
    OptionChecks,
    role_options,
    variable_problems,
)
from ansible_collections.groundwork.observability.plugins.plugin_utils._site import Site, site_problems
from ansible_collections.groundwork.observability.plugins.plugin_utils._vendor_settings import setting_problems

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


def inventory_problems(hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """Everything wrong with an inventory that can be seen without asking a host, one line a problem.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    """
    hosts = {name: Host(name, hostvars, groups) for name in groups.get("all", [])}
    members = {group: [hosts[name] for name in groups.get(group, []) if name in hosts] for group in GROUP_ROLES}
    of_host: dict[str, list[str]] = {name: [] for name in hosts}
    for group, names in members.items():
        for host in names:
            of_host[host.name].append(group)
    checks = OptionChecks()
    by_problem: dict[str, list[str]] = {}
    for host in hosts.values():
        own = of_host[host.name]
        roles = dict.fromkeys(role for group in own for role in ("common", *GROUP_ROLES[group]))
        problems = variable_problems(host, roles, checks) + host_contradictions(host, own, groups) + setting_problems(host, own)
        for problem in dict.fromkeys(problems):
            by_problem.setdefault(problem, []).append(host.name)
    found = [f"{', '.join(names)}: {problem}" for problem, names in by_problem.items()]
    return found + site_problems(Site(members, groups))


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


def _groups_of(name: str, groups: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    return [group for group in GROUP_ROLES if name in groups.get(group, [])]


def host_requirements(
    hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]], host: str
) -> dict[str, t.Any]:
    """Which C(paths) and C(ports) module host_info has to look at on a host; both are empty where it has no role.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    :param host: the host's name in the inventory.
    """
    return requirements(Host(host, hostvars, groups), _groups_of(host, groups))


def host_problems(
    info: t.Mapping[str, t.Any], hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]], host: str
) -> list[str]:
    """What a host lacks for its roles, one line a problem.

    :param info: what module host_info returned.
    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    :param host: the host's name in the inventory.
    """
    return unfit(Host(host, hostvars, groups), _groups_of(host, groups), info)


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "host_problems": host_problems,
            "host_requirements": host_requirements,
            "inventory_problems": inventory_problems,
            "lock_problems": lock_problems,
            "required_secrets": required_secrets,
            "wanted_artifacts": wanted_artifacts,
        }
