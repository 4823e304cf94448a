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
    hosts = tls.certificate_hosts({"ch1": {"ansible_host": address}}, ["ch1"], {})
    assert hosts == [{"name": "ch1", "names": ["DNS:ch1", "DNS:localhost", "IP:127.0.0.1", own]}]


def test_names_are_unique() -> None:
    assert tls.certificate_names("ch1", "ch1") == ["DNS:ch1", "DNS:localhost", "IP:127.0.0.1"]


def test_gateways_share_a_name() -> None:
    """Agents take turns among the addresses of one name; a gateway that has no other needs none."""
    hostvars: dict[str, dict[str, str]] = {name: {} for name in ("g1", "g2", "ch1")}
    for gateways, shared in ((["g1", "g2"], ["g1", "g2"]), (["g1"], [])):
        made = tls.certificate_hosts(hostvars, hostvars, {"gateway": gateways})
        assert [host["name"] for host in made if "DNS:gateway.otelcol.internal" in host["names"]] == shared


def test_lacking_names(tmp_path: Path) -> None:
    """Of a certificate from the time when there was one gateway; a host without a certificate lacks none."""
    hostvars: dict[str, dict[str, str]] = {"g1": {}, "g2": {}}
    pki = Pki(str(tmp_path))
    pki.make_folders()
    pki.make_authority()
    pki.issue("g1", tls.certificate_names("g1", "g1"), 5)
    folder = str(tmp_path)
    assert tls.certificate_lacks(hostvars, "g1", {"gateway": ["g1"]}, folder) == []
    assert tls.certificate_lacks(hostvars, "g1", {"gateway": ["g1", "g2"]}, folder) == ["DNS:gateway.otelcol.internal"]
    assert tls.certificate_lacks(hostvars, "g2", {"gateway": ["g1", "g2"]}, folder) == []


def test_ends_of_certificates(tmp_path: Path) -> None:
    pki = Pki(str(tmp_path), lambda: datetime(2030, 1, 1, tzinfo=UTC))
    pki.make_folders()
    pki.make_authority()
    pki.issue("ch1", ["DNS:ch1"], 90)
    (tmp_path / "hosts" / "ch2.crt").write_text("not a certificate", encoding="utf-8")
    end = int(datetime(2030, 4, 1, tzinfo=UTC).timestamp())
    assert tls.certificate_ends(["ch1", "ch2", "ch3"], str(tmp_path)) == [f"ch1 {end}"]
