# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a host's certificate is issued again."""

from __future__ import annotations

import datetime
import ipaddress

import pytest
from ansible_collections.groundwork.observability.plugins.filter import tls
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
NAMES = ["DNS:ch1", "DNS:localhost", "IP:127.0.0.1", "IP:192.0.2.14"]


class Authority:
    """Issues certificates that end 100 days after NOW."""

    def __init__(self, name: str) -> None:
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.pem = self._signed(self.name, self.key, [])

    def issue(self, names: list[str]) -> str:
        return self._signed(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ch1")]), ec.generate_private_key(ec.SECP256R1()), names)

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, names: list[str]) -> str:
        general: list[x509.GeneralName] = [
            x509.DNSName(value) if kind == "DNS" else x509.IPAddress(ipaddress.ip_address(value))
            for kind, value in (name.split(":", 1) for name in names)
        ]
        builder = x509.CertificateBuilder(self.name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(NOW - datetime.timedelta(days=1)).not_valid_after(NOW + datetime.timedelta(days=100))
        if general:
            builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("internal")


@pytest.mark.parametrize(
    ("address", "own"), [("192.0.2.14", "IP:192.0.2.14"), ("2001:DB8::1", "IP:2001:db8::1"), ("ch1.example.com", "DNS:ch1.example.com")]
)
def test_names_are_the_hosts_and_its_address(address: str, own: str) -> None:
    assert tls.certificate_names("ch1", address) == ["DNS:ch1", "DNS:localhost", "IP:127.0.0.1", own]


def test_a_name_is_there_once() -> None:
    assert tls.certificate_names("ch1", "ch1") == ["DNS:ch1", "DNS:localhost", "IP:127.0.0.1"]


def test_a_good_certificate_stays(authority: Authority) -> None:
    assert not tls.certificate_due(authority.issue(NAMES), list(reversed(NAMES)), authority.pem, 30, NOW)


def test_none_yet(authority: Authority) -> None:
    assert tls.certificate_due("", NAMES, authority.pem, 30, NOW)


@pytest.mark.parametrize(("days", "due"), [(99, False), (101, True)])
def test_its_end_is_near(authority: Authority, days: int, due: bool) -> None:
    assert tls.certificate_due(authority.issue(NAMES), NAMES, authority.pem, days, NOW) is due


def test_another_address(authority: Authority) -> None:
    assert tls.certificate_due(authority.issue(NAMES), [*NAMES[:-1], "IP:192.0.2.99"], authority.pem, 30, NOW)


@pytest.mark.parametrize("name", ["internal", "another"])
def test_another_authority(authority: Authority, name: str) -> None:
    """Also one of the same name with another key."""
    assert tls.certificate_due(authority.issue(NAMES), NAMES, Authority(name).pem, 30, NOW)
