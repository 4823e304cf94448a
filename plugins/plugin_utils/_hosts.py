# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private: what a host has to have for the roles that the inventory gives it. May change at any time."""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.groundwork.observability.plugins.plugin_utils import _components as components
from ansible_collections.groundwork.observability.plugins.plugin_utils._across import (
    AGENTS,
    COLLECTOR_STATE,
    EVERY_ADDRESS,
    FOLDERS,
    MODES,
    QUEUES,
    Listener,
    collector_queue_bytes,
    listeners,
)
from ansible_collections.groundwork.observability.plugins.plugin_utils._constraints import heap_bytes
from ansible_collections.groundwork.observability.plugins.plugin_utils._options import Host

GB, MIB = 10**9, 2**20
PROGRAMS = "/opt"
# Platforms as the kernel and as the archives name them.
MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "riscv64": "riscv64", "s390x": "s390x"}
# What ClickHouse's builds need. Source: ClickHouse's documentation, "Usage recommendations" (SSE 4.2), and its cmake/cpu_features.cmake.
# AVX2 is used where it is there and is not needed.
CPU_FLAGS = {
    "x86_64": ("ssse3", "sse4_1", "sse4_2", "popcnt", "pclmulqdq"),
    "aarch64": ("asimd", "aes", "atomics", "asimddp"),
}
# README.md, "Install on your hosts"; the units use ProtectProc=, which systemd has since 247.
PYTHON, SYSTEMD = (3, 9), 247
# A certificate or a record dated by such a clock is refused or corrected elsewhere.
CLOCK_AHEAD, CLOCK_BEHIND = 60, 5
# File systems that lose data, or that a database's locks and renames do not work on.
UNFIT = ("tmpfs", "ramfs", "nfs", "nfs4", "cifs", "smb3", "vfat", "exfat", "9p", "fuse.sshfs", "fuse.s3fs", "squashfs", "iso9660")
# Free space to begin with, in GB; later at least FULL, so that a service can still write its configuration.
FIRST: dict[str, int] = {name: size for declared in components.groups().values() for name, size in declared["folders"].items()}
PROGRAMS_FIRST, FULL = 3 * GB, GB // 10
# Accounts that the roles' services run as.
ACCOUNTS: dict[str, str] = {group: declared["account"] for group, declared in components.groups().items()}


def requirements(host: Host, groups: t.Sequence[str]) -> dict[str, t.Any]:
    """Which paths and ports module host_info has to look at on a host that is in these groups."""
    paths = [host.text(name) for group in groups for name in FOLDERS.get(group, ())]
    if set(groups) & set(MODES):
        paths.append(COLLECTOR_STATE)
    ports = sorted({one.port for one in listeners(host, groups)})
    return {"paths": list(dict.fromkeys([*paths, PROGRAMS])) if groups else [], "ports": ports}


def unfit(host: Host, groups: t.Sequence[str], info: t.Mapping[str, t.Any]) -> list[str]:
    """What the host lacks, one line each.

    :param host: the host.
    :param groups: those groups of ours that it is in.
    :param info: what module host_info returned.
    """
    if not groups:
        return []
    found = _platform(host, groups, info) + _clock(info) + _memory(host, groups, info)
    return found + _disks(host, groups, info) + _held_ports(host, groups, info)


def _platform(host: Host, groups: t.Sequence[str], info: t.Mapping[str, t.Any]) -> list[str]:
    found = []
    machine, wanted = info["machine"], host.text("common_arch") or "amd64"
    if MACHINES.get(machine) != wanted:
        found.append(f"it is {machine}, and the archives are for {wanted}: set observability_arch in its host_vars file")
    lacking = [flag for flag in CPU_FLAGS.get(machine, ()) if flag not in info["cpu_flags"]]
    if "clickhouse" in groups and lacking:
        found.append(f"its processor lacks {', '.join(lacking)}, which ClickHouse needs")
    if tuple(int(part) for part in info["python"].split(".")[:2]) < PYTHON:
        found.append(f"Python is {info['python']}, and {'.'.join(map(str, PYTHON))} or newer is needed: set ansible_python_interpreter")
    if info["systemd"] < SYSTEMD:
        what = f"systemd is {info['systemd']}" if info["systemd"] else "it was not started by systemd"
        found.append(f"{what}, and systemd {SYSTEMD} or newer is needed")
    return found


def _clock(info: t.Mapping[str, t.Any]) -> list[str]:
    ahead = info["clock_seconds"]
    if -CLOCK_BEHIND <= ahead <= CLOCK_AHEAD:
        return []
    return [f"its clock is {abs(ahead):.0f} seconds {'ahead of' if ahead > 0 else 'behind'} the controller's: have both set by NTP"]


def _memory(host: Host, groups: t.Sequence[str], info: t.Mapping[str, t.Any]) -> list[str]:
    limits = {mode: host.number(f"otel_collector_{mode}_memory_mib") or 0 for mode in MODES if mode in groups}
    parts = {f"otel_collector_{mode}_memory_mib": limit * MIB for mode, limit in limits.items()}
    if "zookeeper" in groups:
        parts["zookeeper_heap"] = heap_bytes(host.text("zookeeper_heap"))
    if sum(parts.values()) <= info["memory_bytes"]:
        return []
    return [f"it has {info['memory_bytes'] // MIB} MiB of memory, and {' + '.join(parts)} are {sum(parts.values()) // MIB} MiB: lower them"]


def _disks(host: Host, groups: t.Sequence[str], info: t.Mapping[str, t.Any]) -> list[str]:
    found = []
    needed: dict[str, int] = {}
    names = {host.text(name): name for group in groups for name in FOLDERS.get(group, ())}
    for path, system in info["file_systems"].items():
        name = names.get(path, "")
        if name and system["type"] in UNFIT:
            found.append(f"{path} ({name}) is on {system['type']}, which is not fit for data: set {name} to a folder on a local disk")
        first = FIRST[name] * GB if name else PROGRAMS_FIRST if path == PROGRAMS and not _has_programs(info) else FULL
        needed[system["mount"]] = needed.get(system["mount"], 0) + (FULL if name and system["exists"] else first)
    for mount, wanted in needed.items():
        free = min(system["free_bytes"] for system in info["file_systems"].values() if system["mount"] == mount)
        paths = ", ".join(path for path, system in info["file_systems"].items() if system["mount"] == mount)
        if free < wanted:
            found.append(f"{mount} has {free / GB:.1f} GB free, and {wanted / GB:.1f} GB are needed for {paths}")
    return found + _queues(host, groups, info)


def _has_programs(info: t.Mapping[str, t.Any]) -> bool:
    """Whether an earlier run has installed something: folders of services are made after their programs."""
    return any(system["exists"] for path, system in info["file_systems"].items() if path != PROGRAMS)


def _queues(host: Host, groups: t.Sequence[str], info: t.Mapping[str, t.Any]) -> list[str]:
    """Queues that would fill the disk before they are full."""
    system = info["file_systems"].get(COLLECTOR_STATE)
    if not system:
        return []
    parts = {}
    if "gateway" in groups:
        name, size = _queue(host, "gateway", system["size_bytes"])
        parts[name] = QUEUES * size
        parts["otel_collector_gateway_dead_letter_bytes"] = host.number("otel_collector_gateway_dead_letter_bytes") or 0
    agents = len(set(groups) & set(AGENTS))
    if agents:
        name, size = _queue(host, "agent", system["size_bytes"])
        parts[name] = QUEUES * agents * size
    if sum(parts.values()) <= system["size_bytes"]:
        return []
    return [
        f"{system['mount']} with {COLLECTOR_STATE} has {system['size_bytes'] / GB:.0f} GB, and the collectors' queues may take "
        f"{sum(parts.values()) / GB:.0f} GB: lower {' and '.join(parts)}"
    ]


def _queue(host: Host, end: str, file_system_bytes: int) -> tuple[str, int]:
    """The option that gives the size of a queue, and the size."""
    configured, hours, rate, percent = (f"otel_collector_{end}_queue_{what}" for what in ("bytes", "hours", "rate", "percent"))
    given = [host.number(name) or 0 for name in (configured, hours, rate, percent)]
    size = collector_queue_bytes(*[*given, file_system_bytes])
    return next((name for name in (hours, percent) if host.number(name)), configured), size


def _held_ports(host: Host, groups: t.Sequence[str], info: t.Mapping[str, t.Any]) -> list[str]:
    wanted: dict[int, list[Listener]] = {}
    for one in listeners(host, groups):
        wanted.setdefault(one.port, []).append(one)
    # A port that moves from one of the host's own services to another is free when both are restarted.
    own = {ACCOUNTS[group] for group in groups}
    if host.has("otel_collector_instance"):
        own = {f"otelcol-{host.text('otel_collector_instance').replace('_', '-')}"}
    found = []
    for holder in info["listeners"]:
        for one in wanted.get(holder["port"], []):
            if holder["user"] not in own and _meet(one.address, holder["address"]):
                who = f"{holder['process'] or 'a process'} of user {holder['user']}"
                found.append(f"port {one.port} ({one.option}) is held by {who}: stop it, or set another {one.option}")
    return list(dict.fromkeys(found))


def _meet(wanted: str, held: str) -> bool:
    """Whether two addresses are one. A name may be any address."""
    if wanted in EVERY_ADDRESS or held in EVERY_ADDRESS:
        return True
    try:
        return ipaddress.ip_address(wanted) == ipaddress.ip_address(held)
    except ValueError:
        return not ipaddress.ip_address(held).is_loopback
