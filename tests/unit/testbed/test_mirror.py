# GNU General Public License v3.0+ (see LICENSE)
"""What the mirror writes is what the roles read, and what it downloads is what the vendor published."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from tests.testbed import mirror
from tests.testbed.artifacts import Artifact, catalogue, parse_catalogue
from tests.testbed.core import TestbedError

ARCHIVE = "thing-1.0.tgz"
SHA256 = "a" * 64
SHA512 = "0123456789abcdef" * 8


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
    assert mirror.parse_checksum(text, ARCHIVE, algorithm) == expected


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
    with pytest.raises(ValueError, match=ARCHIVE):
        mirror.parse_checksum(text, ARCHIVE, "sha256")


def test_catalogue_placeholders() -> None:
    entry = {"version": 1.0, "archive": "x-{version}.tgz", "url": "https://v/{version}/{archive}"}
    entry |= {"checksum_url": "https://v/{archive}.sha256", "checksum_algorithm": "sha256"}
    assert parse_catalogue({"common_artifacts": {"x": entry}})["x"] == Artifact(
        "x", "1.0", "x-1.0.tgz", "https://v/1.0/x-1.0.tgz", "https://v/x-1.0.tgz.sha256", "sha256"
    )


def test_every_archive_of_the_roles_has_a_recipe() -> None:
    modules = [mirror.load(recipe.module) for recipe in mirror.RECIPES]
    assert set(catalogue()) <= {module.NAME for module in modules}
    assert {module.NAME: module.VERSION for module in modules}.items() >= {
        item.name: item.version for item in catalogue().values()
    }.items()


def test_lock_is_what_roles_read(tmp_path: Path) -> None:
    (tmp_path / ARCHIVE).write_bytes(b"content")
    text = mirror.render_lock(mirror.entry(tmp_path / ARCHIVE, source="registries", stand_in=True, note="why"))
    assert yaml.safe_load(text) == {
        "artifacts_lock": {
            ARCHIVE: {
                "sha256": hashlib.sha256(b"content").hexdigest(),
                "size": 7,
                "source": "registries",
                "stand_in": True,
                "note": "why",
            }
        }
    }


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A vendor's site: its address and its folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    site = tmp_path / "site"
    site.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", site
        server.shutdown()


def artifact(address: str, checksum: str = "") -> Artifact:
    """An archive of that vendor."""
    return Artifact("thing", "1.0", ARCHIVE, f"{address}/{ARCHIVE}", checksum, "sha256" if checksum else "")


def test_download_is_verified(vendor: tuple[str, Path], tmp_path: Path) -> None:
    address, site = vendor
    (site / ARCHIVE).write_bytes(b"content")
    (site / "sums").write_text(f"{hashlib.sha256(b'content').hexdigest()}  {ARCHIVE}\n")
    lock = mirror._fetched(artifact(address, f"{address}/sums"), tmp_path)
    assert lock[ARCHIVE]["verified"] is True
    assert lock[ARCHIVE]["stand_in"] is False
    assert (tmp_path / ARCHIVE).read_bytes() == b"content"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site", ARCHIVE]


def test_changed_download_is_refused(vendor: tuple[str, Path], tmp_path: Path) -> None:
    address, site = vendor
    (site / ARCHIVE).write_bytes(b"changed")
    (site / "sums").write_text(SHA256)
    with pytest.raises(TestbedError, match="does not match"):
        mirror._fetched(artifact(address, f"{address}/sums"), tmp_path)


def test_without_a_published_checksum_the_lock_says_so(vendor: tuple[str, Path], tmp_path: Path) -> None:
    address, site = vendor
    (site / ARCHIVE).write_bytes(b"content")
    assert mirror._fetched(artifact(address), tmp_path)[ARCHIVE]["verified"] is False


def test_missing_download_fails_at_once(vendor: tuple[str, Path], tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match="404"):
        mirror._fetched(artifact(vendor[0]), tmp_path)


def test_unreachable_vendor_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("tests.testbed.mirror.time.sleep", pauses.append)
    with pytest.raises(TestbedError, match="--source registries"):
        # Port 1 of this machine: refused at once.
        mirror._fetched(artifact("http://127.0.0.1:1"), tmp_path)
    assert pauses == [2, 4, 8]


def test_unknown_source() -> None:
    with pytest.raises(TestbedError, match="choose one of registries, official"):
        mirror.fill("elsewhere")
