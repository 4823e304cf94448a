# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names that a host's certificate is for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from ansible_collections.groundwork.observability.plugins.filter import tls
from ansible_collections.groundwork.observability.plugins.module_utils._pki import Pki


@pytest.mark.parametrize(
    ("address", "own"), [("192.0.2.14", "IP:192.0.2.14"), ("2001:DB8::1", "IP:2001:db8::1"), ("ch1.example.com", "DNS:ch1.example.com")]
)
def test_names_are_the_hosts_and_its_address(address: str, own: str) -> None:
    hosts = tls.certificate_hosts({"ch1": {"ansible_host": address}}, ["ch1"])
    assert hosts == [{"name": "ch1", "names": ["DNS:ch1", "DNS:localhost", "IP:127.0.0.1", own]}]


def test_names_are_unique() -> None:
    assert tls.certificate_names("ch1", "ch1") == ["DNS:ch1", "DNS:localhost", "IP:127.0.0.1"]


def test_ends_of_certificates(tmp_path: Path) -> None:
    pki = Pki(str(tmp_path), lambda: datetime(2030, 1, 1, tzinfo=UTC))
    pki.make_folders()
    pki.make_authority()
    pki.issue("ch1", ["DNS:ch1"], 90)
    (tmp_path / "hosts" / "ch2.crt").write_text("not a certificate", encoding="utf-8")
    end = int(datetime(2030, 4, 1, tzinfo=UTC).timestamp())
    assert tls.certificate_ends(["ch1", "ch2", "ch3"], str(tmp_path)) == [f"ch1 {end}"]
