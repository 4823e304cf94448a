# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a host's certificate is issued again, and what OpenSSL says of what is issued."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._pki import Pki, PkiError

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
NAMES = ["DNS:ch1", "DNS:localhost", "IP:127.0.0.1", "IP:192.0.2.14"]


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    """An authority, and a host's certificate that ends in 100 days."""
    made = Pki(str(tmp_path / "pki"), now=lambda: NOW)
    made.make_folders()
    made.make_authority()
    made.issue("ch1", NAMES, 100)
    return made


def files(pki: Pki) -> dict[str, str]:
    return {str(path.relative_to(pki.folder)): oct(path.stat().st_mode & 0o777) for path in pki.folder.rglob("*")}


def test_valid_certificate_is_kept(pki: Pki) -> None:
    assert not pki.due("ch1", list(reversed(NAMES)), 30)


def test_keys_are_readable_by_their_owner_only(pki: Pki) -> None:
    assert files(pki) == {
        "ca.key": "0o600",
        "ca.crt": "0o644",
        "hosts": "0o700",
        "hosts/ch1.key": "0o600",
        "hosts/ch1.crt": "0o644",
    }
    assert pki.folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
def test_openssl_accepts_it(pki: Pki, purpose: str) -> None:
    """In strict mode, on the day it was issued, and for the address."""
    moment = str(int(NOW.timestamp()))
    argv = ["openssl", "verify", "-x509_strict", "-attime", moment, "-purpose", purpose, "-verify_ip", "192.0.2.14"]
    done = subprocess.run([*argv, "-CAfile", pki.folder / "ca.crt", pki.folder / "hosts/ch1.crt"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("days", "due"), [(99, False), (101, True)])
def test_certificate_close_to_expiry_is_renewed(pki: Pki, days: int, due: bool) -> None:
    assert pki.due("ch1", NAMES, days) is due


def test_another_address(pki: Pki) -> None:
    assert pki.due("ch1", [*NAMES[:-1], "IP:192.0.2.99"], 30)


@pytest.mark.parametrize("name", ["ch1.crt", "ch1.key"])
def test_a_file_is_missing(pki: Pki, name: str) -> None:
    (pki.folder / "hosts" / name).unlink()
    assert pki.due("ch1", NAMES, 30)


def test_an_interrupted_run_left_a_new_key_and_the_old_certificate(pki: Pki) -> None:
    pki.issue("ch2", NAMES, 100)
    (pki.folder / "hosts/ch2.key").rename(pki.folder / "hosts/ch1.key")
    assert pki.due("ch1", NAMES, 30)


def test_another_authority_of_the_same_name(pki: Pki) -> None:
    pki.make_authority()
    assert pki.due("ch1", NAMES, 30)


def test_external_ca_without_its_key(pki: Pki) -> None:
    """Checks go on, issuing says what to do."""
    (pki.folder / "ca.key").unlink()
    own = Pki(str(pki.folder), now=lambda: NOW)
    assert not own.due("ch1", NAMES, 30)
    with pytest.raises(PkiError, match="ca.key is missing: put the key of"):
        own.issue("ch1", NAMES, 100)


def test_invalid_pem_is_named(pki: Pki) -> None:
    (pki.folder / "ca.crt").write_text("nothing")
    with pytest.raises(PkiError, match="ca.crt is not a certificate"):
        Pki(str(pki.folder), now=lambda: NOW).due("ch1", NAMES, 30)


def test_a_name_that_no_certificate_can_have(pki: Pki) -> None:
    with pytest.raises(PkiError, match="b\\xfccher"):
        pki.issue("x", ["DNS:b\xfccher"], 100)
