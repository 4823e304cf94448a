# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that decide which archives an inventory needs, and whether they are pinned and published."""

from __future__ import annotations

import json
import platform
import typing as t

import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.groundwork.observability.plugins.module_utils import _artifacts
from ansible_collections.groundwork.observability.plugins.plugin_utils._grafana_plugins import version_of
from ansible_collections.groundwork.observability.plugins.plugin_utils._instrumentation import OPTION, services_of
from ansible_collections.groundwork.observability.plugins.plugin_utils._options import Host

# Of a host whose inventory does not say.
DEFAULT_ARCH = "amd64"
CONTROLLER = "the controller, which checks configurations with it"
MIRRORED = "observability_mirror_archs"

Wanted = dict[str, t.Any]


def artifact_release(spec: t.Mapping[str, t.Any], version: str, arch: str) -> dict[str, t.Any]:
    """The names and URLs of one version of an archive for one platform.

    :param spec: an entry of C(common_artifacts).
    :param version: the version.
    :param arch: the platform.
    """
    return _artifacts.release(spec, str(version), arch)


def artifact_markers(
    wanted: t.Mapping[str, str], artifacts: t.Mapping[str, t.Any], pinned: t.Mapping[str, t.Any], arch: str, folder: str
) -> list[str]:
    """The files on a host that are there when the wanted versions are installed, complete and in use.

    :param wanted: artifact -> version.
    :param artifacts: the table C(common_artifacts).
    :param pinned: archive -> its entry in the lock.
    :param arch: the host's platform.
    :param folder: the folder on the host that archives are unpacked below.
    """
    archives = {artifact: artifact_release(artifacts[artifact], version, arch)["archive"] for artifact, version in wanted.items()}
    return [
        f"{folder}/{artifact.replace('_', '-')}/current/.sha256-{pinned[archive]['sha256']}" for artifact, archive in archives.items()
    ]


def controller_arch(machines: t.Mapping[str, str]) -> str:
    """The controller's platform, as the vendors name it.

    :param machines: what C(uname -m) says -> the vendors' name, where that differs.
    """
    return machines.get(platform.machine(), platform.machine())


def wanted_artifacts(
    hostvars: t.Mapping[str, t.Any],
    groups: t.Mapping[str, t.Sequence[str]],
    artifacts: t.Mapping[str, t.Any],
    controller: str,
) -> list[Wanted]:
    """The archives that an inventory's hosts and the controller need, each once.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    :param artifacts: the table C(common_artifacts).
    :param controller: what RV(controller_arch) returned.
    :returns: entries with C(artifact), C(version), C(arch), C(archive) and C(hosts), the names of those that need it.
    """
    needed: dict[tuple[str, str, str], list[str]] = {}
    hosts: dict[str, Host] = {}
    for artifact, spec in artifacts.items():
        for name in dict.fromkeys(name for group in spec["groups"] for name in groups.get(group, [])):
            host = hosts.get(name) or hosts.setdefault(name, Host(name, hostvars, groups))
            version = _version(host, spec)
            if version is None:
                continue
            needed.setdefault((artifact, version, str(host.value("observability_arch", DEFAULT_ARCH))), []).append(name)
            if spec.get("controller"):
                needed.setdefault((artifact, version, controller), []).append(CONTROLLER)
    return _wanted(needed, artifacts)


def _version(host: Host, spec: t.Mapping[str, t.Any]) -> str | None:
    """The version that a host wants, None where it does not want the archive."""
    if "language" in spec and spec["language"] not in [entry["language"] for entry in services_of(host.value(OPTION, []))]:
        return None
    value = host.value(spec["version_variable"], spec["version"]) if "version_variable" in spec else spec["version"]
    return version_of(spec["plugin"], value) if "plugin" in spec else str(value)


def mirrored_artifacts(
    wanted: t.Sequence[Wanted], artifacts: t.Mapping[str, t.Any], archs: t.Sequence[str]
) -> list[Wanted]:
    """The archives that a mirror has to have: those that are wanted, and the same versions for further platforms.

    :param wanted: what RV(wanted_artifacts) returned. Where it is empty, every archive's default version is taken.
    :param artifacts: the table C(common_artifacts).
    :param archs: further platforms.
    """
    needed = {(item["artifact"], item["version"], item["arch"]): list(item["hosts"]) for item in wanted}
    versions = {(artifact, version) for artifact, version, _arch in needed}
    if not versions:
        versions = {(artifact, str(spec["version"])) for artifact, spec in artifacts.items() if "language" not in spec}
        archs = archs or [DEFAULT_ARCH]
    for artifact, version in versions:
        for arch in archs:
            needed.setdefault((artifact, version, arch), [MIRRORED])
    return _wanted(needed, artifacts)


def _wanted(needed: t.Mapping[tuple[str, str, str], list[str]], artifacts: t.Mapping[str, t.Any]) -> list[Wanted]:
    found: dict[str, Wanted] = {}
    for (artifact, version, arch), hosts in sorted(needed.items()):
        if artifacts[artifact]["arch"] == ["any"]:
            arch = "any"
        archive = _artifacts.release(artifacts[artifact], version, arch)["archive"]
        entry = found.setdefault(archive, {"artifact": artifact, "version": version, "arch": arch, "archive": archive, "hosts": []})
        if artifacts[artifact].get("sha256", {}).get(version):
            entry["sha256"] = artifacts[artifact]["sha256"][version]
        entry["hosts"] = list(dict.fromkeys(entry["hosts"] + hosts))
    return list(found.values())


def platform_problems(wanted: t.Sequence[Wanted], artifacts: t.Mapping[str, t.Any]) -> list[str]:
    """Platforms that a vendor does not publish an archive for, one line each.

    :param wanted: what RV(wanted_artifacts) or RV(mirrored_artifacts) returned.
    :param artifacts: the table C(common_artifacts).
    """
    return [
        f"{', '.join(item['hosts'])}: {item['artifact']} is not published for {item['arch']}, only for "
        f"{', '.join(artifacts[item['artifact']]['arch'])} (observability_arch)"
        for item in wanted
        if item["arch"] not in artifacts[item["artifact"]]["arch"]
    ]


def lock_problems(lock: t.Any, mirror_lock: t.Any, wanted: t.Sequence[Wanted]) -> list[str]:
    """Archives that are not pinned, or that the mirror has otherwise than they are pinned, one line each.

    :param lock: the content of observability_lock_file.
    :param mirror_lock: the content of the mirror's own lock; None where no mirror is used.
    :param wanted: what RV(wanted_artifacts) returned.
    """
    found = []
    pinned = _locked(lock)
    for item in wanted:
        archive = item["archive"]
        if archive not in pinned:
            found.append(
                f"{archive} has no SHA-256 in observability_lock_file: run the playbook groundwork.observability.mirror, "
                f"or correct the version of {item['artifact']}"
            )
        elif item.get("sha256", pinned[archive]["sha256"]) != pinned[archive]["sha256"]:
            found.append(f"the checksum of {archive} is wrong: pinned is {pinned[archive]['sha256']}, grafana_plugins has {item['sha256']}")
        elif mirror_lock:
            offered = _locked(mirror_lock).get(archive)
            if offered is None:
                found.append(f"{archive} is not on the mirror: fill it again")
            elif offered["sha256"] != pinned[archive]["sha256"]:
                found.append(
                    f"the checksum of {archive} is wrong: pinned is {pinned[archive]['sha256']}, the mirror has {offered['sha256']}"
                )
    return found


def mirror_downloads(
    wanted: t.Sequence[Wanted], artifacts: t.Mapping[str, t.Any], lock: t.Any, mirror: str = "", mirror_lock: t.Any = None
) -> list[dict[str, t.Any]]:
    """What M(groundwork.observability.mirror_archive) has to do to fill a mirror.

    :param wanted: what RV(mirrored_artifacts) returned.
    :param artifacts: the table C(common_artifacts).
    :param lock: the content of the lock that pins archives already.
    :param mirror: URL of the mirror that archives are taken from; empty where they come from the vendors.
    :param mirror_lock: the content of that mirror's lock.
    :returns: for each archive C(archive), C(url), C(checksum), C(signature) and C(lock); for one of packages C(requirements) and
        C(arch), or C(npm_lock).
    """
    found = []
    for item in wanted:
        release = _artifacts.release(artifacts[item["artifact"]], item["version"], item["arch"])
        pinned = _locked(lock).get(item["archive"], {"sha256": item["sha256"]} if "sha256" in item else {})
        if not mirror:
            packages = {key: artifacts[item["artifact"]][key] for key in ("requirements", "npm_lock") if key in artifacts[item["artifact"]]}
            release.update({**packages, "arch": item["arch"]} if "requirements" in packages else packages)
        if mirror:
            if item["archive"] not in _locked(mirror_lock):
                raise AnsibleFilterError(f"{item['archive']} is not on {mirror}: fill that mirror first")
            release.update(url=f"{mirror.rstrip('/')}/{item['archive']}", checksum={}, signature={})
            pinned = {**_locked(mirror_lock)[item["archive"]], **pinned}
        found.append({**release, "lock": pinned})
    return found


def mirror_lock(lock: t.Any, results: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """The text of the lock file after a mirror was filled. Entries of other archives are kept.

    :param lock: the content of the lock file before.
    :param results: results of M(groundwork.observability.mirror_archive) in a loop over RV(mirror_downloads).
    """
    archives = {**_locked(lock), **{result["item"]["archive"]: result["lock"] for result in results}}
    # Ansible's own texts and numbers are no YAML.
    plain = json.loads(json.dumps(archives))
    return _artifacts.LOCK_HEAD + yaml.safe_dump({"artifacts_lock": plain}, width=1000)


def unverified(results: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """Checksums and signatures of archives that the playbook mirror could not verify, one line each.

    :param results: results of M(groundwork.observability.mirror_archive) in a loop over RV(mirror_downloads).
    """
    return [
        f"{result['item']['archive']}: {kind} {result['lock'][kind]}"
        for result in results
        for kind in ("checksum", "signature")
        if str(result["lock"].get(kind, "")).startswith((_artifacts.NONE_PUBLISHED, _artifacts.NOT_VERIFIED))
    ]


def _locked(lock: t.Any) -> t.Mapping[str, t.Any]:
    return t.cast("t.Mapping[str, t.Any]", (lock or {}).get("artifacts_lock") or {})


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "artifact_markers": artifact_markers,
            "artifact_release": artifact_release,
            "controller_arch": controller_arch,
            "lock_problems": lock_problems,
            "mirror_downloads": mirror_downloads,
            "mirror_lock": mirror_lock,
            "mirrored_artifacts": mirrored_artifacts,
            "platform_problems": platform_problems,
            "unverified": unverified,
            "wanted_artifacts": wanted_artifacts,
        }
