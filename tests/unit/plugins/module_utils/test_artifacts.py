# GNU General Public License v3.0+ (see LICENSE)
"""An archive is there only when it is whole and right; a download goes on where it broke; the lock says what was verified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils import _artifacts
from ansible_collections.groundwork.observability.plugins.module_utils._artifacts import ArtifactError, fetch, parse_checksum, release
from ansible_collections.groundwork.observability.plugins.plugin_utils import _components

from tests.support import vendor

TABLE = _components.archives()
ARCHIVE = "thing-1.0.tgz"
CONTENT = bytes(range(256)) * 400
SHA256, SHA512 = hashlib.sha256(CONTENT).hexdigest(), hashlib.sha512(CONTENT).hexdigest()


# --- names and URLs

GITHUB = "https://github.com/open-telemetry/opentelemetry-collector-releases/releases/download"


@pytest.mark.parametrize(
    ("artifact", "version", "arch", "url", "checksum"),
    [
        (
            *("zookeeper", "3.9.4", "any"),
            "https://archive.apache.org/dist/zookeeper/zookeeper-3.9.4/apache-zookeeper-3.9.4-bin.tar.gz",
            "https://archive.apache.org/dist/zookeeper/zookeeper-3.9.4/apache-zookeeper-3.9.4-bin.tar.gz.sha512",
        ),
        (
            *("clickhouse", "26.7.2.59", "arm64"),
            "https://packages.clickhouse.com/tgz/stable/clickhouse-common-static-26.7.2.59-arm64.tgz",
            "https://packages.clickhouse.com/tgz/stable/clickhouse-common-static-26.7.2.59-arm64.tgz.sha512",
        ),
        (
            *("otelcol", "0.149.0", "amd64"),
            f"{GITHUB}/v0.149.0/otelcol-contrib_0.149.0_linux_amd64.tar.gz",
            f"{GITHUB}/v0.149.0/opentelemetry-collector-releases_otelcol-contrib_checksums.txt",
        ),
        (
            *("otelcol", "0.159.0", "arm64"),
            f"{GITHUB}/v0.159.0/otelcol-contrib_0.159.0_linux_arm64.tar.gz",
            f"{GITHUB}/v0.159.0/otelcol-contrib_0.159.0_linux_arm64.tar.gz.sha256",
        ),
        (
            *("grafana", "12.1.0", "arm64"),
            "https://dl.grafana.com/oss/release/grafana-12.1.0.linux-arm64.tar.gz",
            "https://dl.grafana.com/oss/release/grafana-12.1.0.linux-arm64.tar.gz.sha256",
        ),
        (
            *("grafana_clickhouse_datasource", "4.20.0", "amd64"),
            "https://grafana.com/api/plugins/grafana-clickhouse-datasource/versions/4.20.0/download?os=linux&arch=amd64",
            "https://grafana.com/api/plugins/grafana-clickhouse-datasource/versions",
        ),
    ],
)
def test_vendors_urls(artifact: str, version: str, arch: str, url: str, checksum: str) -> None:
    got = release(TABLE[artifact], version, arch)
    assert (got["url"], got["checksum"]["url"]) == (url, checksum)
    assert "{" not in json.dumps({key: got[key] for key in ("archive", "url", "checksum")}).removeprefix("{")[1:].replace('": {"', "")
    assert version in got["archive"]
    assert arch == "any" or arch in got["archive"]


def test_collector_changed_its_signatures() -> None:
    before, after = (release(TABLE["otelcol"], version, "amd64")["signature"] for version in ("0.157.0", "0.158.0"))
    assert sorted(before["files"]) == ["certificate", "signature"]
    assert after["files"] == {"bundle": f"{GITHUB}/v0.158.0/otelcol-contrib_0.158.0_linux_amd64.tar.gz.sigstore.json"}
    assert any(word.endswith("base-release.yaml@refs/tags/v0.158.0") for word in after["commands"][0])


def test_an_entry_may_have_only_a_name() -> None:
    """As the sample application has, which comes from a mirror alone."""
    got = release({"archive": "x-{version}.tgz", "url": "{archive}"}, "1", "amd64")
    assert got == {"archive": "x-1.tgz", "url": "x-1.tgz", "checksum": {}, "signature": {}}


# --- checksums


@pytest.mark.parametrize(
    ("text", "algorithm", "expected"),
    [
        pytest.param(f"{SHA256}\n", "sha256", SHA256, id="bare"),
        pytest.param(SHA512, "sha512", SHA512, id="bare-without-newline"),
        pytest.param(f"{SHA512}  {ARCHIVE}\n", "sha512", SHA512, id="named"),
        pytest.param(f"{SHA256} *{ARCHIVE}\n", "sha256", SHA256, id="binary-mode"),
        pytest.param(f"{SHA256.upper()}  {ARCHIVE}\n", "sha256", SHA256, id="upper-case"),
        pytest.param(f"{SHA256}  build/out/{ARCHIVE}\n", "sha256", SHA256, id="with-path"),
        pytest.param(f"{'b' * 64}  other.tgz\n{SHA256}  {ARCHIVE}\n", "sha256", SHA256, id="list"),
        pytest.param(f"{SHA256}  -\n", "sha256", SHA256, id="one-of-another-name"),
    ],
)
def test_checksum_formats(text: str, algorithm: str, expected: str) -> None:
    assert parse_checksum(text, ARCHIVE, {"algorithm": algorithm}) == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("<html>not found</html>", id="error-page"),
        pytest.param(f"{SHA512}  {ARCHIVE}\n", id="other-algorithm"),
        pytest.param(f"{'b' * 64}  one.tgz\n{'c' * 64}  two.tgz\n", id="list-without-it"),
    ],
)
def test_checksum_is_not_guessed(text: str) -> None:
    with pytest.raises(ArtifactError, match=ARCHIVE):
        parse_checksum(text, ARCHIVE, {"algorithm": "sha256"})


PLUGIN = {"algorithm": "sha256", "version": "4.20.0", "package": "linux-arm64"}


def plugin_versions(version: str, package: str) -> str:
    """What grafana.com says about the versions of a plugin."""
    other = {"version": "4.19.0", "packages": {package: {"sha256": "b" * 64}}}
    return json.dumps({"items": [other, {"version": version, "packages": {package: {"sha256": SHA256, "packageName": package}}}]})


def test_checksum_of_a_plugin() -> None:
    assert parse_checksum(plugin_versions("4.20.0", "linux-arm64"), ARCHIVE, PLUGIN) == SHA256


@pytest.mark.parametrize("text", ["", "[]", '{"items": [{}]}', plugin_versions("4.20.1", "linux-arm64"), plugin_versions("4.20.0", "any")])
def test_checksum_of_a_plugin_is_not_guessed(text: str) -> None:
    with pytest.raises(ArtifactError, match=ARCHIVE):
        parse_checksum(text, ARCHIVE, PLUGIN)


# --- downloads


@pytest.fixture
def site() -> Iterator[vendor.Vendor]:
    with vendor.running() as server:
        server.files = {f"/{ARCHIVE}": CONTENT, f"/{ARCHIVE}.sha256": SHA256.encode()}
        yield server


def wanted(site: vendor.Vendor, *, checksum: bool = True, signature: dict[str, Any] | None = None) -> dict[str, Any]:
    url = f"{site.url}/{ARCHIVE}"
    return {
        "archive": ARCHIVE,
        "url": url,
        "checksum": {"url": f"{url}.sha256", "algorithm": "sha256"} if checksum else {},
        "signature": signature or {},
    }


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_download_is_verified_against_the_published_checksum(site: vendor.Vendor, tmp_path: Path) -> None:
    entry, downloaded = fetch(wanted(site), tmp_path / ARCHIVE, {}, ())
    assert downloaded
    assert entry == {
        "sha256": SHA256, "size": len(CONTENT), "source": f"{site.url}/{ARCHIVE}",
        "checksum": "sha256 as published", "signature": "none published",
    }
    assert (tmp_path / ARCHIVE).read_bytes() == CONTENT
    assert (tmp_path / ARCHIVE).stat().st_mode & 0o777 == 0o644
    assert files(tmp_path) == [ARCHIVE]


def test_without_a_published_checksum_the_lock_says_so(site: vendor.Vendor, tmp_path: Path) -> None:
    entry, _downloaded = fetch(wanted(site, checksum=False), tmp_path / ARCHIVE, {}, ())
    assert entry["checksum"] == "none published"


@pytest.mark.parametrize("publishes", [b"0" * 64, b"<html>"], ids=["another", "none"])
def test_file_with_a_wrong_checksum_is_removed(site: vendor.Vendor, tmp_path: Path, publishes: bytes) -> None:
    site.files[f"/{ARCHIVE}.sha256"] = publishes
    with pytest.raises(ArtifactError, match=rf"{ARCHIVE}.*publishes|cannot be read"):
        fetch(wanted(site), tmp_path / ARCHIVE, {}, ())
    assert files(tmp_path) == []


@pytest.mark.parametrize("there", [b"", CONTENT[:-1] + b"x"], ids=["not there", "damaged"])
def test_pinned_archive_is_not_replaced(site: vendor.Vendor, tmp_path: Path, there: bytes) -> None:
    if there:
        (tmp_path / ARCHIVE).write_bytes(there)
    with pytest.raises(ArtifactError, match="what the lock pins is 000.*observability_lock_file"):
        fetch(wanted(site), tmp_path / ARCHIVE, {"sha256": "0" * 64}, ())


def test_a_damaged_file_is_downloaded_again(site: vendor.Vendor, tmp_path: Path) -> None:
    entry, _downloaded = fetch(wanted(site), tmp_path / ARCHIVE, {}, ())
    (tmp_path / ARCHIVE).write_bytes(b"damaged")
    again, downloaded = fetch(wanted(site), tmp_path / ARCHIVE, entry, ())
    assert (again, downloaded) == (entry, True)
    assert (tmp_path / ARCHIVE).read_bytes() == CONTENT


def test_verified_archive_needs_no_request(site: vendor.Vendor, tmp_path: Path) -> None:
    entry, _downloaded = fetch(wanted(site), tmp_path / ARCHIVE, {}, ())
    site.asked.clear()
    assert fetch(wanted(site), tmp_path / ARCHIVE, entry, ()) == (entry, False)
    assert site.asked == []


def test_a_complete_file_without_a_lock_is_compared_not_downloaded(site: vendor.Vendor, tmp_path: Path) -> None:
    (tmp_path / ARCHIVE).write_bytes(CONTENT)
    _entry, downloaded = fetch(wanted(site), tmp_path / ARCHIVE, {}, ())
    assert not downloaded
    assert site.asked == [(f"/{ARCHIVE}.sha256", "")]


def test_interrupted_download_is_resumed(site: vendor.Vendor, tmp_path: Path) -> None:
    site.cut[f"/{ARCHIVE}"] = [1000, 2000]
    fetch(wanted(site), tmp_path / ARCHIVE, {}, (0, 0))
    assert [asked for path, asked in site.asked if path == f"/{ARCHIVE}"] == ["", "bytes=1000-", "bytes=3000-"]
    assert (tmp_path / ARCHIVE).read_bytes() == CONTENT


def test_the_next_run_goes_on_where_it_broke(site: vendor.Vendor, tmp_path: Path) -> None:
    site.cut[f"/{ARCHIVE}"] = [1000]
    with pytest.raises(ArtifactError, match="broke off after 1000 of 102400 bytes"):
        fetch(wanted(site), tmp_path / ARCHIVE, {}, ())
    assert files(tmp_path) == [f".{ARCHIVE}.part"]
    site.asked.clear()
    fetch(wanted(site), tmp_path / ARCHIVE, {}, ())
    assert (f"/{ARCHIVE}", "bytes=1000-") in site.asked
    assert files(tmp_path) == [ARCHIVE]


def test_partial_file_of_another_archive_is_not_continued(site: vendor.Vendor, tmp_path: Path) -> None:
    (tmp_path / f".{ARCHIVE}.part").write_bytes(b"x" * 1000)
    fetch(wanted(site), tmp_path / ARCHIVE, {}, ())
    assert (tmp_path / ARCHIVE).read_bytes() == CONTENT


def test_unverified_partial_download_restarts(site: vendor.Vendor, tmp_path: Path) -> None:
    (tmp_path / f".{ARCHIVE}.part").write_bytes(b"x" * 1000)
    fetch(wanted(site, checksum=False), tmp_path / ARCHIVE, {}, ())
    assert (tmp_path / ARCHIVE).read_bytes() == CONTENT


@pytest.mark.parametrize("begun", [1000, len(CONTENT), len(CONTENT) + 1])
@pytest.mark.parametrize("ranges", [True, False])
def test_partial_file_of_any_length_is_completed(site: vendor.Vendor, tmp_path: Path, begun: int, ranges: bool) -> None:
    site.ranges = ranges
    (tmp_path / f".{ARCHIVE}.part").write_bytes((CONTENT + b"x")[:begun])
    fetch(wanted(site), tmp_path / ARCHIVE, {}, (0,))
    assert (tmp_path / ARCHIVE).read_bytes() == CONTENT


def test_missing_archive_is_requested_once(site: vendor.Vendor, tmp_path: Path) -> None:
    del site.files[f"/{ARCHIVE}"]
    with pytest.raises(ArtifactError, match=f"{ARCHIVE} cannot be downloaded: HTTP Error 404"):
        fetch(wanted(site, checksum=False), tmp_path / ARCHIVE, {}, (0, 0, 0))
    assert len(site.asked) == 1


def test_an_unreachable_vendor_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(_artifacts.time, "sleep", pauses.append)
    with pytest.raises(ArtifactError, match="cannot be downloaded"):
        # Port 1 of this machine: refused at once.
        _artifacts.download("http://127.0.0.1:1/x", tmp_path / "x")
    assert pauses == list(_artifacts.PAUSES)


def test_a_folder_that_cannot_be_written_is_named(site: vendor.Vendor, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"No such file.*/gone/"):
        fetch(wanted(site), tmp_path / "gone" / ARCHIVE, {}, ())


# --- signatures


@pytest.fixture
def signed(site: vendor.Vendor, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """How the table says that ZooKeeper's signature is verified, and a vendor that offers it; beside it what a stranger signed."""
    folder = tmp_path_factory.mktemp("g")  # a short path: it holds a socket
    for name in ("vendor", "stranger"):
        site.files[f"/{name}.asc"], site.files[f"/{name}.KEYS"] = vendor.signed(CONTENT, folder / name)
    files = {"keys": f"{site.url}/vendor.KEYS", "signature": f"{site.url}/vendor.asc"}
    return {"files": files, "commands": TABLE["zookeeper"]["signature"]["commands"]}


def test_a_valid_signature(site: vendor.Vendor, signed: dict[str, Any], tmp_path: Path) -> None:
    entry, _downloaded = fetch(wanted(site, signature=signed), tmp_path / ARCHIVE, {}, ())
    assert entry["signature"] == "valid"


@pytest.mark.parametrize("what", ["of a stranger", "of another file"])
def test_a_signature_that_is_not_valid(site: vendor.Vendor, signed: dict[str, Any], tmp_path: Path, what: str) -> None:
    if what == "of a stranger":
        site.files["/vendor.asc"] = site.files["/stranger.asc"]
    else:
        site.files[f"/{ARCHIVE}"] = b"another"
    with pytest.raises(ArtifactError, match="signature of thing-1.0.tgz is not valid: gpg says"):
        fetch(wanted(site, checksum=False, signature=signed), tmp_path / ARCHIVE, {}, ())
    assert files(tmp_path) == []


def test_missing_verification_program_is_reported_and_verification_repeated(
    site: vendor.Vendor, signed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path))
        entry, _downloaded = fetch(wanted(site, signature=signed), tmp_path / ARCHIVE, {}, ())
    assert entry["signature"] == "not verified: gpg is not installed on the controller"
    again, downloaded = fetch(wanted(site, signature=signed), tmp_path / ARCHIVE, entry, ())
    assert (again["signature"], downloaded) == ("valid", False)


def test_cosign_gets_its_files(site: vendor.Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for cosign, which needs the internet, shows what it is called with."""
    program = tmp_path / "bin" / "cosign"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/words; for last; do :; done; cat "$last" > {tmp_path}/seen\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    site.files["/x.sig"] = site.files["/x.pem"] = b"-"
    signature = release(TABLE["otelcol"], "0.149.0", "amd64")["signature"]
    signature["files"] = {"signature": f"{site.url}/x.sig", "certificate": f"{site.url}/x.pem"}
    entry, _downloaded = fetch(wanted(site, signature=signature), tmp_path / ARCHIVE, {}, ())
    assert entry["signature"] == "valid"
    assert (tmp_path / "seen").read_bytes() == CONTENT
    words = (tmp_path / "words").read_text().split()
    assert words[0] == "verify-blob"
    assert any(word.endswith("@refs/tags/v0.149.0") for word in words)
    assert "{" not in " ".join(words)
