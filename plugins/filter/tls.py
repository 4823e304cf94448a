# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that decide about the hosts' certificates, on the controller."""

from __future__ import annotations

import datetime
import ipaddress
import typing as t

from ansible.errors import AnsibleFilterError

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
except ImportError:
    HAS_CRYPTOGRAPHY = False
else:
    HAS_CRYPTOGRAPHY = True


def certificate_names(hostname: str, address: str) -> list[str]:
    """The names a host's certificate is for, as community.crypto writes them (V(DNS:...), V(IP:...)).

    :param hostname: the host's name in the inventory.
    :param address: how other hosts reach it, a name or an IP address.
    """
    try:
        own = f"IP:{ipaddress.ip_address(address)}"
    except ValueError:
        own = f"DNS:{address}"
    return list(dict.fromkeys([f"DNS:{hostname}", "DNS:localhost", "IP:127.0.0.1", own]))


def certificate_due(pem: str, names: list[str], authority: str, days: int, now: datetime.datetime | None = None) -> bool:
    """Whether a certificate has to be issued (again).

    :param pem: the present certificate, empty where there is none.
    :param names: what RV(certificate_names) returned.
    :param authority: the authority's certificate as PEM text.
    :param days: issue again when fewer than this many days are left.
    :param now: the time to compare with, for tests; timezone-aware.
    """
    if not HAS_CRYPTOGRAPHY:
        raise AnsibleFilterError("certificate_due needs the Python library cryptography on the controller: pip install cryptography")
    if not pem.strip():
        return True
    certificate = x509.load_pem_x509_certificate(pem.encode())
    issuer = x509.load_pem_x509_certificate(authority.encode())
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return True
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    have = {f"DNS:{name}" for name in alternatives.get_values_for_type(x509.DNSName)}
    have |= {f"IP:{address}" for address in alternatives.get_values_for_type(x509.IPAddress)}
    left = certificate.not_valid_after_utc - (now or datetime.datetime.now(datetime.timezone.utc))
    return have != set(names) or left < datetime.timedelta(days=int(days))


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"certificate_names": certificate_names, "certificate_due": certificate_due}
