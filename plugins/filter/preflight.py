# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that look at the whole inventory before any host is touched."""

from __future__ import annotations

import difflib
import functools
import pathlib
import re
import typing as t

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

ROLES = pathlib.Path(__file__).resolve().parents[2] / "roles"

# Which roles read the variables of a host in a group.
GROUP_ROLES = {
    "zookeeper": ("zookeeper",),
    "clickhouse": ("clickhouse", "telemetry_schema"),
    "gateway": ("otel_collector",),
    "node_agent": ("otel_collector",),
    "cluster_agent": ("otel_collector",),
    "prometheus_agent": ("otel_collector",),
    "grafana": ("grafana",),
}
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
# Become part of paths in ZooKeeper and of configuration files.
PLAIN_NAMES = ("clickhouse_cluster", "clickhouse_replica")
# Identity is explicit: never derived from the order of an inventory.
IDENTITIES = {"zookeeper": ("zookeeper_id",), "clickhouse": ("clickhouse_shard", "clickhouse_replica")}


@functools.cache
def role_options(role: str) -> dict[str, dict[str, t.Any]]:
    """The options that an inventory sets for a role, from its meta/argument_specs.yml. Empty for a role without one."""
    path = ROLES / role / "meta" / "argument_specs.yml"
    if not path.exists():
        return {}
    specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
    # Other entry points take parameters that a play or a role hands over.
    entry = "preflight" if role == "common" else "main"
    return t.cast("dict[str, dict[str, t.Any]]", specs[entry].get("options", {}))


@functools.cache
def _prefixes() -> dict[str, set[str]]:
    """Prefix -> the names that may begin with it. A role may take an option that another role owns."""
    roles = {path.name: set(role_options(path.name)) for path in ROLES.iterdir() if path.is_dir()}
    every = set().union(*roles.values())
    prefixes = [f"{role}_" for role in roles if role != "common"] + ["observability_"]
    return {prefix: {name for name in every if name.startswith(prefix)} for prefix in prefixes}


def _unknown(names: t.Iterable[str]) -> list[str]:
    found = []
    for name in sorted(names):
        for prefix, known in _prefixes().items():
            if name.startswith(prefix) and name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"see the README of role {prefix.rstrip('_')}"
                found.append(f"{name} is not a variable of this collection: {hint}")
    return found


def _values(variables: t.Mapping[str, t.Any], names: t.Iterable[str]) -> dict[str, t.Any]:
    """The values that the inventory gives; one that refers to a role's own default is left to the role."""
    values = {}
    for name in names:
        try:
            if name in variables:
                values[name] = variables[name]
        except AnsibleError:
            continue
    return values


def _spec_problems(role: str, variables: t.Mapping[str, t.Any]) -> list[str]:
    options = role_options(role)
    values = _values(variables, options)
    found = []
    # Required options are looked at below, with a hint of what to do.
    spec = {name: {**option, "required": False} for name, option in options.items() if name in values}
    checked = ArgumentSpecValidator(_module_spec(spec)).validate(values)
    # The validator makes text of anything.
    found += [
        f"argument '{name}' is of type {type(value).__name__} and has to be text (role {role})"
        for name, value in values.items()
        if options[name].get("type") in ("str", "path") and isinstance(value, (list, dict))
    ]
    # A value that does not fit is not repeated when it may be a secret.
    secrets = {str(values[name]) for name, option in options.items() if option.get("no_log") and name in values}
    for message in checked.error_messages:
        for secret in secrets:
            message = message.replace(secret, "(hidden)")
        found.append(f"{message} (role {role})")
    for name, option in options.items():
        if option.get("required") and not _given(variables, name):
            where = (
                "run the playbook groundwork.observability.secrets, which adds what is missing to observability_secrets_file"
                if option.get("no_log")
                else "set it in the host's host_vars/ file or in the hosts file"
            )
            found.append(f"{name} is missing (role {role}): {where}")
    return found


def _name_problems(variables: t.Mapping[str, t.Any]) -> list[str]:
    return [
        f"{name} has to be of letters, digits, '_', '-' and '.' and to begin with a letter or digit"
        for name, value in _values(variables, PLAIN_NAMES).items()
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", str(value))
    ]


def _given(variables: t.Mapping[str, t.Any], name: str) -> bool:
    try:
        return name in variables and variables[name] not in (None, "")
    except AnsibleError:
        return True


def _module_spec(options: dict[str, dict[str, t.Any]]) -> dict[str, dict[str, t.Any]]:
    """A role's options in the form that the validator takes (it knows no descriptions)."""
    keys = ("type", "elements", "choices", "default", "required", "no_log")
    spec = {}
    for name, option in options.items():
        spec[name] = {key: option[key] for key in keys if key in option}
        spec[name].pop("default", None)
        if "options" in option:
            spec[name]["options"] = _module_spec(option["options"])
    return spec


def _duplicates(hostvars: t.Mapping[str, t.Any], hosts: t.Sequence[str], names: tuple[str, ...]) -> list[str]:
    seen: dict[tuple[str, ...], str] = {}
    found = []
    for host in hosts:
        if not all(_given(hostvars[host], name) for name in names):
            continue
        identity = tuple(str(hostvars[host][name]) for name in names)
        if identity in seen:
            found.append(
                f"{' and '.join(names)} of {host} {'is' if len(names) == 1 else 'are'} the same as of {seen[identity]} "
                f"({', '.join(identity)}): give each host its own, in host_vars/{host}.yml or in the hosts file"
            )
        seen.setdefault(identity, host)
    return found


def inventory_problems(hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """Everything wrong with an inventory that can be seen without asking a host, one line a problem.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    """
    by_problem: dict[str, list[str]] = {}
    for host in groups.get("all", []):
        roles = [role for group, names in GROUP_ROLES.items() if host in groups.get(group, []) for role in names]
        problems = _unknown(name for name in hostvars[host] if isinstance(name, str))
        for role in dict.fromkeys(["common", *roles] if roles else []):
            problems += _spec_problems(role, hostvars[host])
        if "clickhouse" in roles:
            problems += _name_problems(hostvars[host])
        for problem in dict.fromkeys(problems):
            by_problem.setdefault(problem, []).append(host)
    found = [f"{', '.join(hosts)}: {problem}" for problem, hosts in by_problem.items()]
    for group, names in IDENTITIES.items():
        found += _duplicates(hostvars, groups.get(group, []), names)
    ensemble = len(groups.get("zookeeper", []))
    if ensemble and ensemble % 2 == 0:
        found.append(
            f"group zookeeper has {ensemble} hosts: an even ensemble survives no more failures than one with {ensemble - 1}; "
            "use 1, 3 or 5 (zookeeper_id and the group are in the hosts file)"
        )
    if groups.get("clickhouse") and not ensemble and not any(
        _given(hostvars[host], "clickhouse_zookeeper_hosts") for host in groups["clickhouse"]
    ):
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
