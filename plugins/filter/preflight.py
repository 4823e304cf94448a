# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that look at the whole inventory before any host is touched."""

from __future__ import annotations

import typing as t

from ansible_collections.groundwork.observability.plugins.plugin_utils._across import INSTANCES, MODES, groups_of, host_contradictions
from ansible_collections.groundwork.observability.plugins.plugin_utils._options import (
    GROUP_ROLES,
    Host,
    OptionChecks,
    role_options,
    variable_problems,
)


def inventory_problems(hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """Everything wrong with an inventory that can be seen without asking a host, one line a problem.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    """
    from ansible_collections.groundwork.observability.plugins.plugin_utils._site import Site, site_problems
    from ansible_collections.groundwork.observability.plugins.plugin_utils._vendor_settings import setting_problems

    hosts = {name: Host(name, hostvars, groups) for name in groups.get("all", [])}
    members = {group: [hosts[name] for name in groups.get(group, []) if name in hosts] for group in GROUP_ROLES}
    instances = [hosts[name] for name in groups.get(INSTANCES, []) if name in hosts]
    of_host: dict[str, list[str]] = {name: [] for name in hosts}
    for group, names in members.items():
        for host in names:
            of_host[host.name].append(group)
    of_host.update({host.name: groups_of(host, groups) for host in instances})
    server = next(iter(members["clickhouse"]), None)
    checks = OptionChecks()
    by_problem: dict[str, list[str]] = {}
    for host in hosts.values():
        own = of_host[host.name]
        roles = dict.fromkeys(role for group in own for role in ("common", *GROUP_ROLES[group]))
        problems = variable_problems(host, roles, checks) + host_contradictions(host, own, groups, server) + setting_problems(host, own)
        for problem in dict.fromkeys(problems):
            by_problem.setdefault(problem, []).append(host.name)
    found = [f"{', '.join(names)}: {problem}" for problem, names in by_problem.items()]
    return found + site_problems(Site(members, groups, instances))


def platform_hosts(groups: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """The hosts that have a role of the collection, in the order of the inventory: a pattern for C(hosts) of a play.

    Without any it is V(all), so that the play says what the inventory lacks.

    :param groups: ansible's C(groups).
    """
    members = {name for group in (*GROUP_ROLES, INSTANCES) for name in groups.get(group, [])}
    return [name for name in groups.get("all", []) if name in members] or ["all"]


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


def distinct_collectors(
    hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]], hosts: t.Sequence[str]
) -> list[dict[str, str]]:
    """One host for each distinct configuration of a collector, as C(mode) and C(host).

    Hosts are alike where the inventory sets the same options of role otel_collector, to the same values.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    :param hosts: names of the hosts to choose from.
    """
    chosen: dict[tuple[str, str], str] = {}
    settings: dict[str, str] = {}
    instances = {name: Host(name, hostvars, groups).text("otel_collector_mode") for name in groups.get(INSTANCES, [])}
    for mode in MODES:
        members = {*groups.get(mode, []), *(name for name, its_mode in instances.items() if its_mode == mode)}
        for name in (name for name in hosts if name in members):
            if name not in settings:
                host = Host(name, hostvars, groups)
                options = sorted(option for option in host.given if option.startswith("otel_collector_"))
                settings[name] = repr([(option, host.value(option)) for option in options])
            chosen.setdefault((mode, settings[name]), name)
    return [{"mode": mode, "host": host} for (mode, _settings), host in chosen.items()]


def host_requirements(
    hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]], host: str
) -> dict[str, t.Any]:
    """Which C(paths) and C(ports) module host_info has to look at on a host; both are empty where it has no role.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    :param host: the host's name in the inventory.
    """
    from ansible_collections.groundwork.observability.plugins.plugin_utils._hosts import requirements

    asked = Host(host, hostvars, groups)
    return requirements(asked, groups_of(asked, groups))


def host_problems(
    info: t.Mapping[str, t.Any], hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]], host: str
) -> list[str]:
    """What a host lacks for its roles, one line a problem.

    :param info: what module host_info returned.
    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    :param host: the host's name in the inventory.
    """
    from ansible_collections.groundwork.observability.plugins.plugin_utils._hosts import unfit

    asked = Host(host, hostvars, groups)
    return unfit(asked, groups_of(asked, groups), info)


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "distinct_collectors": distinct_collectors,
            "host_problems": host_problems,
            "host_requirements": host_requirements,
            "inventory_problems": inventory_problems,
            "platform_hosts": platform_hosts,
            "required_secrets": required_secrets,
        }
