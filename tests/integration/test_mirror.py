# GNU General Public License v3.0+ (see LICENSE)
"""The playbook mirror of the installed collection, as a user without privileges runs it, on a server that stands in for the vendors."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import vendor
from tests.support.installed import CHECKOUT, Installed, installed, publish, vendors_table
from tests.testbed import mirror

ARCHS = ("amd64", "arm64")
ZOOKEEPER = "apache-zookeeper-3.9.4-bin.tar.gz"
CLICKHOUSE = "clickhouse-common-static-26.7.2.59-{}.tgz"
OTELCOL = "otelcol-contrib_0.149.0_linux_{}.tar.gz"
GRAFANA = "grafana-12.1.0.linux-{}.tar.gz"
PLUGIN = "grafana-clickhouse-datasource-4.20.0.linux_{}.zip"
ALL = sorted([ZOOKEEPER, *(name.format(arch) for name in (CLICKHOUSE, OTELCOL, GRAFANA, PLUGIN) for arch in ARCHS)])


@pytest.fixture(scope="module")
def user() -> Iterator[Installed]:
    with installed(CHECKOUT / "inventories" / "single") as user:
        yield user


class Vendors:
    """The vendors' stand-in, and where it has each archive."""

    def __init__(self, server: vendor.Vendor, folder: Path) -> None:
        self.server = server
        self.table = vendors_table(server.url)
        # Nothing is unpacked, so a few bytes do for an archive, but for the one whose download breaks off.
        (folder / OTELCOL.format("amd64")).write_bytes(bytes(6 << 20))
        self.places = publish(server, self.table, folder, ARCHS, folder / "keys")

    def downloads(self) -> dict[str, list[str]]:
        """Archive -> the Range headers that it was asked with, of all that was asked since the last call."""
        names = {place: name for name, place in self.places.items()}
        found: dict[str, list[str]] = {}
        for path, wanted in self.server.asked:
            if path in names:
                found.setdefault(names[path], []).append(wanted)
        self.server.asked.clear()
        return found


@pytest.fixture(scope="module")
def vendors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendors]:
    with vendor.running() as server:
        yield Vendors(server, tmp_path_factory.mktemp("v"))


def said(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stdout + done.stderr).split())


def changed(done: subprocess.CompletedProcess[str]) -> int:
    assert done.returncode == 0, done.stdout + done.stderr
    return int(re.findall(r"changed=(\d+)", done.stdout)[-1])


def lock(path: Path) -> dict[str, dict[str, Any]]:
    locked: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["artifacts_lock"]
    return locked


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_vendors_with_faults(user: Installed, vendors: Vendors) -> None:
    """A wrong checksum, an archive that is not there, a download that breaks; the next run brings what is missing, and no more."""
    user.given = {"common_artifacts": vendors.table, "observability_mirror_archs": list(ARCHS)}
    folder, pinned = user.mirror, user.site / "artifacts.lock.yml"
    wrong, gone, broken = CLICKHOUSE.format("amd64"), GRAFANA.format("arm64"), OTELCOL.format("amd64")
    server, places = vendors.server, vendors.places
    right = dict(server.files)
    server.files[f"{places[wrong]}.sha512"] = b"0" * 128
    del server.files[places[gone]]
    server.cut[places[broken]] = [1 << 20] * 4

    check = user.play("mirror", "--check", "--diff")
    assert changed(check) == 2  # the folder and the downloads
    assert not folder.exists()

    first = user.play("mirror")
    assert first.returncode != 0
    for problem in (
        f"{places[wrong]} is not the right archive: its sha512 is",
        f"{places[gone]} cannot be downloaded: HTTP Error 404",
        f"{places[broken]} cannot be downloaded: it broke off after 4194304 of",
    ):
        assert problem in said(first), problem
    assert files(folder) == sorted([f".{broken}.part", *(set(ALL) - {wrong, gone, broken})])
    assert not pinned.exists()
    vendors.downloads()

    server.files = right
    second = user.play("mirror")
    assert changed(second) == 2  # the downloads and the locks
    assert "WARNING" not in said(second)
    assert vendors.downloads() == {wrong: [""], gone: [""], broken: ["bytes=4194304-"]}
    assert files(folder) == sorted([*ALL, mirror.LOCK])
    assert (folder / mirror.LOCK).read_text() == pinned.read_text()
    entries = lock(pinned)
    assert sorted(entries) == ALL
    for name, entry in entries.items():
        assert entry["sha256"] == subprocess.run(["sha256sum", folder / name], check=True, capture_output=True, text=True).stdout[:64]
        assert entry["checksum"] == f"{'sha512' if name in (ZOOKEEPER, *map(CLICKHOUSE.format, ARCHS)) else 'sha256'} as published"
    cosign = "not verified: cosign is not installed on the controller"
    assert entries[ZOOKEEPER]["signature"] == "valid"
    assert {entries[OTELCOL.format(arch)]["signature"] for arch in ARCHS} == {cosign}
    assert f"{broken}: signature {cosign}" in said(second)
    assert f"{gone}: signature none published" in said(second)

    assert changed(user.play("mirror")) == 0
    assert vendors.downloads() == {}


def test_a_version_is_one_variable(user: Installed, vendors: Vendors) -> None:
    name, place = GRAFANA.format("amd64"), vendors.places[GRAFANA.format("amd64")]
    for suffix in ("", ".sha256"):
        vendors.server.files[f"{place}{suffix}".replace("12.1.0", "12.1.1")] = vendors.server.files[f"{place}{suffix}"]
    done = user.play("mirror", grafana_version="12.1.1", observability_mirror_archs=[])
    assert changed(done) == 2
    # What was pinned before stays: it is what a rollback needs.
    assert sorted(lock(user.site / "artifacts.lock.yml")) == sorted([*ALL, name.replace("12.1.0", "12.1.1")])


def test_vendor_that_replaces_a_pinned_archive_is_detected(user: Installed, vendors: Vendors) -> None:
    """A vendor that replaces an archive and its checksum is found out."""
    name = PLUGIN.format("arm64")
    before = (user.site / "artifacts.lock.yml").read_text()
    pinned = lock(user.site / "artifacts.lock.yml")[name]["sha256"]
    (user.mirror / name).unlink()
    place = vendors.places[name]
    kept = vendors.server.files[place]
    vendors.server.files[place] = b"replaced"
    done = user.play("mirror")
    vendors.server.files[place] = kept
    assert done.returncode != 0
    assert f"what the lock pins is {pinned}" in said(done)
    assert (user.site / "artifacts.lock.yml").read_text() == before
    assert changed(user.play("mirror")) == 1


def test_a_mirror_from_a_mirror(user: Installed) -> None:
    """Archives and what was verified of them come from the first; the vendors are not asked."""
    first = user.mirror
    with vendor.running() as server:
        server.files = {f"/{path.name}": path for path in first.iterdir()}
        more = {"common_artifacts": vendors_table("http://127.0.0.1:1"), "observability_mirror_from": server.url}
        more |= {"observability_mirror_dir": str(user.home / "second"), "observability_lock_file": str(user.home / "second.lock.yml")}
        assert changed(user.play("mirror", **more)) == 3
        entries, originals = lock(user.home / "second.lock.yml"), lock(first / mirror.LOCK)
        assert sorted(entries) == ALL
        for name, entry in entries.items():
            assert entry == {**originals[name], "source": f"{server.url}/{name}"}
        assert changed(user.play("mirror", **more)) == 0
        del server.files[f"/{ZOOKEEPER}"]
        (user.home / "second" / ZOOKEEPER).write_bytes(b"damaged")
        done = user.play("mirror", **more)
        assert f"{ZOOKEEPER} cannot be downloaded: HTTP Error 404" in said(done)


def test_a_platform_that_is_not_published(user: Installed) -> None:
    done = user.play("mirror", observability_mirror_archs=["sparc"])
    assert done.returncode != 0
    assert "clickhouse is not published for sparc, only for amd64, arm64" in said(done)
