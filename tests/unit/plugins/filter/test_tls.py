# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names that a host's certificate is for."""

from __future__ import annotations

import pytest
from ansible_collections.groundwork.observability.plugins.filter import tls


@pytest.mark.parametrize(
    ("address", "own"), [("192.0.2.14", "IP:192.0.2.14"), ("2001:DB8::1", "IP:2001:db8::1"), ("ch1.example.com", "DNS:ch1.example.com")]
)
def test_names_are_the_hosts_and_its_address(address: str, own: str) -> None:
    hosts = tls.certificate_hosts({"ch1": {"ansible_host": address}}, ["ch1"])
    assert hosts == [{"name": "ch1", "names": ["DNS:ch1", "DNS:localhost", "IP:127.0.0.1", own]}]


def test_names_are_unique() -> None:
    assert tls.certificate_names("ch1", "ch1") == ["DNS:ch1", "DNS:localhost", "IP:127.0.0.1"]
