# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that decide which names hosts' certificates are for, and tell when they end."""

from __future__ import annotations

import ipaddress
import typing as t

from ansible_collections.groundwork.observability.plugins.filter.addresses import host_address

# Where there are several gateways, agents reach them under this one name, so the certificate of each is for it.
GATEWAY_NAME = "gateway.otelcol.internal"


def certificate_names(hostname: str, address: str, gateways: t.Collection[str] = ()) -> list[str]:
    """The names a host's certificate is for, as V(DNS:...) and V(IP:...).

    :param hostname: the host's name in the inventory.
    :param address: how other hosts reach it, a name or an IP address.
    :param gateways: the hosts of group C(gateway).
    """
    try:
        own = f"IP:{ipaddress.ip_address(address)}"
    except ValueError:
        own = f"DNS:{address}"
    shared = [f"DNS:{GATEWAY_NAME}"] if hostname in gateways and len(gateways) > 1 else []
    return list(dict.fromkeys([f"DNS:{hostname}", "DNS:localhost", "IP:127.0.0.1", own, *shared]))


def certificate_hosts(
    hostvars: t.Mapping[str, t.Any], hosts: t.Iterable[str], groups: t.Mapping[str, t.Sequence[str]]
) -> list[dict[str, t.Any]]:
    """What M(groundwork.observability.host_certificates) takes: each host with the names that other hosts and the controller verify.

    :param hostvars: ansible's C(hostvars).
    :param hosts: names of the hosts.
    :param groups: ansible's C(groups).
    """
    gateways = groups.get("gateway", [])
    return [{"name": host, "names": certificate_names(host, host_address(host, hostvars), gateways)} for host in hosts]


def certificate_lacks(
    hostvars: t.Mapping[str, t.Any], host: str, groups: t.Mapping[str, t.Sequence[str]], folder: str
) -> list[str]:
    """The names that a host's certificate on the controller should be for and is not; none if there is no certificate yet.

    :param hostvars: ansible's C(hostvars).
    :param host: the host's name in the inventory.
    :param groups: ansible's C(groups).
    :param folder: the folder of the certificates on the controller.
    """
    # Few filters need what it imports.
    from ansible_collections.groundwork.observability.plugins.module_utils._pki import Pki

    names = certificate_names(host, host_address(host, hostvars), groups.get("gateway", []))
    return Pki(folder).lacks(host, names)


def certificate_ends(hosts: t.Iterable[str], folder: str) -> list[str]:
    """When the certificates of hosts end, each as the host, a space, and seconds since 1970. Hosts without a certificate are left out.

    :param hosts: names of the hosts.
    :param folder: the folder of the certificates on the controller.
    """
    # Few filters need what it imports.
    from ansible_collections.groundwork.observability.plugins.module_utils._pki import Pki

    ends = ((host, Pki(folder).end(host)) for host in hosts)
    return [f"{host} {int(end.timestamp())}" for host, end in ends if end]


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "certificate_ends": certificate_ends,
            "certificate_hosts": certificate_hosts,
            "certificate_lacks": certificate_lacks,
        }
