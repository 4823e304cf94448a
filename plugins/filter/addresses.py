# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where hosts are reached, for configuration that names other hosts."""

from __future__ import annotations

import typing as t


def host_address(host: str, hostvars: t.Mapping[str, t.Any]) -> str:
    """How other hosts reach a host: its C(observability_address), else C(ansible_host), else its name.

    :param host: the host's name in the inventory.
    :param hostvars: ansible's C(hostvars).
    """
    variables = hostvars[host]
    for name in ("observability_address", "ansible_host"):
        if variables.get(name):
            return str(variables[name])
    return host


def address_in_url(address: str) -> str:
    """An address or name as it stands in a URL: an IPv6 address is in brackets.

    :param address: name or address.
    """
    return f"[{address}]" if ":" in address else address


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"host_address": host_address}
