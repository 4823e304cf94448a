# GNU General Public License v3.0+ (see LICENSE)
"""Which archives an inventory needs, for which platforms, and what a mirror is filled with."""

from __future__ import annotations

import typing as t

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.groundwork.observability.plugins.filter import artifacts
from ansible_collections.groundwork.observability.plugins.plugin_utils._grafana_plugins import plugin_archives

Spec = dict[str, t.Any]
TABLE: dict[str, Spec] = {
    "zookeeper": {
        "groups": ["zookeeper"], "version": "1.0", "version_variable": "zookeeper_version", "arch": ["any"],
        "archive": "zookeeper-{version}.tgz", "url": "https://z/{archive}", "checksum": {"url": "{url}.sha512", "algorithm": "sha512"},
    },
    "otelcol": {
        "groups": ["gateway", "node_agent"], "version": "1.0", "version_variable": "otel_collector_version", "controller": True,
        "arch": ["amd64", "arm64"], "archive": "otelcol-{version}_{arch}.tgz", "url": "https://o/{version}/{archive}",
        "signature": {"files": {"bundle": "{url}.sig"}, "commands": [["cosign", "{bundle}"]]},
    },
}
GROUPS = {"zookeeper": ["z1"], "gateway": ["a", "b"], "node_agent": ["a", "b", "c", "z1"]}


def wanted(hostvars: dict[str, t.Any] | None = None, controller: str = "amd64") -> list[artifacts.Wanted]:
    versions = {"zookeeper_version": "1.0", "otel_collector_version": "1.0"}
    every = {host: {**versions, **(hostvars or {}).get(host, {})} for host in ("a", "b", "c", "z1")}
    return artifacts.wanted_artifacts(every, GROUPS, TABLE, controller)


def names(entries: t.Iterable[t.Mapping[str, t.Any]]) -> list[str]:
    return [entry["archive"] for entry in entries]


def test_archives_are_listed_once() -> None:
    assert names(wanted()) == ["otelcol-1.0_amd64.tgz", "zookeeper-1.0.tgz"]


def test_a_host_sets_version_and_platform() -> None:
    entries = wanted({"b": {"otel_collector_version": "2.0"}, "z1": {"observability_arch": "arm64", "zookeeper_version": 1.1}})
    assert names(entries) == ["otelcol-1.0_amd64.tgz", "otelcol-1.0_arm64.tgz", "otelcol-2.0_amd64.tgz", "zookeeper-1.1.tgz"]
    assert entries[1]["hosts"] == ["z1"]


def test_the_controller_needs_what_it_runs() -> None:
    entries = wanted(controller="arm64")
    assert names(entries) == ["otelcol-1.0_amd64.tgz", "otelcol-1.0_arm64.tgz", "zookeeper-1.0.tgz"]
    assert entries[1]["hosts"] == [artifacts.CONTROLLER]
    assert artifacts.wanted_artifacts({}, {}, TABLE, "arm64") == []


def test_a_platform_that_is_not_published() -> None:
    found = artifacts.platform_problems(wanted({"a": {"observability_arch": "riscv64"}, "z1": {"observability_arch": "riscv64"}}), TABLE)
    assert found == ["a, z1: otelcol is not published for riscv64, only for amd64, arm64 (observability_arch)"]
    assert artifacts.platform_problems(wanted(), TABLE) == []


def test_a_mirror_for_several_platforms() -> None:
    entries = artifacts.mirrored_artifacts(wanted({"b": {"otel_collector_version": "2.0"}}), TABLE, ["amd64", "arm64"])
    assert names(entries) == [
        *("otelcol-1.0_amd64.tgz", "otelcol-1.0_arm64.tgz", "otelcol-2.0_amd64.tgz", "otelcol-2.0_arm64.tgz"),
        "zookeeper-1.0.tgz",
    ]
    refused = artifacts.platform_problems(artifacts.mirrored_artifacts(wanted(), TABLE, ["sparc"]), TABLE)
    assert refused == ["observability_mirror_archs: otelcol is not published for sparc, only for amd64, arm64 (observability_arch)"]


@pytest.mark.parametrize(("archs", "arch"), [([], "amd64"), (["arm64"], "arm64")])
def test_a_mirror_without_an_inventory_has_the_defaults(archs: list[str], arch: str) -> None:
    assert names(artifacts.mirrored_artifacts([], TABLE, archs)) == [f"otelcol-1.0_{arch}.tgz", "zookeeper-1.0.tgz"]


PINNED = {"artifacts_lock": {"zookeeper-1.0.tgz": {"sha256": "a"}}}


@pytest.mark.parametrize(
    ("lock", "mirror", "expected"),
    [
        (PINNED, None, ""),
        (PINNED, PINNED, ""),
        ({}, None, "has no SHA-256 in observability_lock_file"),
        (None, None, "has no SHA-256 in observability_lock_file"),
        ({"artifacts_lock": None}, None, "has no SHA-256 in observability_lock_file"),
        (PINNED, {"artifacts_lock": {}}, "is not on the mirror"),
        (PINNED, {"artifacts_lock": {"zookeeper-1.0.tgz": {"sha256": "b"}}}, "zookeeper-1.0.tgz"),
    ],
)
def test_locks(lock: t.Any, mirror: t.Any, expected: str) -> None:
    found = artifacts.lock_problems(lock, mirror, wanted()[-1:])
    assert [expected in line for line in found] == ([True] if expected else [])


def test_downloads_from_the_vendors() -> None:
    collector, zookeeper = artifacts.mirror_downloads(wanted(), TABLE, PINNED)
    assert collector["signature"]["files"] == {"bundle": "https://o/1.0/otelcol-1.0_amd64.tgz.sig"}
    assert (collector["checksum"], collector["lock"]) == ({}, {})
    assert zookeeper["checksum"]["url"] == "https://z/zookeeper-1.0.tgz.sha512"
    assert zookeeper["lock"] == {"sha256": "a"}


def test_downloads_from_another_mirror() -> None:
    other = {"artifacts_lock": {"otelcol-1.0_amd64.tgz": {"sha256": "o", "signature": "valid"}, "zookeeper-1.0.tgz": {"sha256": "b"}}}
    collector, zookeeper = artifacts.mirror_downloads(wanted(), TABLE, PINNED, "http://m/", other)
    assert (collector["url"], collector["signature"]) == ("http://m/otelcol-1.0_amd64.tgz", {})
    assert collector["lock"] == {"sha256": "o", "signature": "valid"}
    # What is pinned here is not replaced by what another mirror pins.
    assert zookeeper["lock"] == {"sha256": "a"}
    with pytest.raises(AnsibleFilterError, match="otelcol-1.0_amd64.tgz is not on http://m/"):
        artifacts.mirror_downloads(wanted(), TABLE, PINNED, "http://m/", PINNED)


def results() -> list[dict[str, t.Any]]:
    """As a loop over the downloads registers them."""
    return [
        {
            "item": {"archive": "otelcol-1.0_amd64.tgz"},
            "lock": {"sha256": "o", "size": 3, "checksum": "none published", "signature": "not verified: cosign is not installed"},
        },
        {"item": {"archive": "x.tgz"}, "lock": {"sha256": "x", "stand_in": True, "checksum": "sha256 as published", "signature": "valid"}},
    ]


def test_the_lock_keeps_what_it_has() -> None:
    text = artifacts.mirror_lock(PINNED, results())
    assert text.startswith("# Written by the playbook mirror")
    assert yaml.safe_load(text) == {
        "artifacts_lock": {**PINNED["artifacts_lock"], **{result["item"]["archive"]: result["lock"] for result in results()}}
    }


def test_unverified_archives_are_reported() -> None:
    assert artifacts.unverified(results()) == [
        "otelcol-1.0_amd64.tgz: checksum none published",
        "otelcol-1.0_amd64.tgz: signature not verified: cosign is not installed",
    ]


def test_markers_name_the_pinned_archives() -> None:
    specs = {
        "grafana_plugin": {"archive": "plugin-{version}.zip", "arch": ["any"], "url": "x"},
        "otelcol": {"archive": "otelcol_{version}_{arch}.tar.gz", "arch": ["amd64", "arm64"], "url": "x"},
    }
    pinned = {"plugin-2.0.zip": {"sha256": "aa"}, "otelcol_1.1_arm64.tar.gz": {"sha256": "bb"}}
    assert artifacts.artifact_markers({"grafana_plugin": "2.0", "otelcol": "1.1"}, specs, pinned, "arm64", "/srv") == [
        "/srv/grafana-plugin/current/.sha256-aa",
        "/srv/otelcol/current/.sha256-bb",
    ]


PLUGINS = [
    {"id": "pie-panel", "version": "1.0.0", "sha256": "0" * 64},
    {"id": "search-datasource", "version": "2.0.0", "backend": True, "url": "https://example.com/{version}/{arch}.zip"},
]


def test_plugins_of_grafana_are_archives_of_the_hosts_that_want_them() -> None:
    hostvars: dict[str, t.Any] = {
        "g1": {"grafana_plugins": PLUGINS},
        "g2": {"grafana_plugins": [{"id": "pie-panel", "version": "1.1.0"}], "observability_arch": "arm64"},
        "g3": {},
    }
    table = plugin_archives(hostvars[host].get("grafana_plugins", []) for host in hostvars)
    entries = artifacts.wanted_artifacts(hostvars, {"grafana": list(hostvars)}, table, "amd64")
    assert [(entry["archive"], entry["hosts"], entry.get("sha256")) for entry in entries] == [
        ("pie-panel-1.0.0.zip", ["g1"], "0" * 64),
        ("pie-panel-1.1.0.zip", ["g2"], None),
        ("search-datasource-2.0.0.linux_amd64.zip", ["g1"], None),
    ]
    downloads = {entry["archive"]: entry for entry in artifacts.mirror_downloads(entries, table, {})}
    pie, search = downloads["pie-panel-1.0.0.zip"], downloads["search-datasource-2.0.0.linux_amd64.zip"]
    assert pie["url"] == "https://grafana.com/api/plugins/pie-panel/versions/1.0.0/download"
    assert (pie["checksum"]["package"], pie["checksum"]["version"], pie["lock"]) == ("any", "1.0.0", {"sha256": "0" * 64})
    assert (search["url"], search["checksum"], search["lock"]) == ("https://example.com/2.0.0/amd64.zip", {}, {})
    lock = {"artifacts_lock": {entry["archive"]: {"sha256": "1" * 64} for entry in entries}}
    assert artifacts.lock_problems(lock, None, entries) == [
        f"the checksum of pie-panel-1.0.0.zip is wrong: pinned is {'1' * 64}, grafana_plugins has {'0' * 64}"
    ]
