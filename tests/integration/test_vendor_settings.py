# GNU General Public License v3.0+ (see LICENSE)
"""The lists of settings are what the programs themselves have."""

from __future__ import annotations

from tests import vendor_settings
from tests.testbed import mirror


def test_zookeeper() -> None:
    known = vendor_settings.zookeeper(mirror.fill(mirror.default_source()))
    assert (vendor_settings.ROLES / "zookeeper/files/known_settings.yml").read_text(encoding="utf-8") == vendor_settings.render(known)
    names = " ".join(known["settings"].values()).split()
    # What stands by hand is in the program, too.
    assert {
        "4lw.commands.whitelist",
        "ssl.quorum.keyStore.location",
        "quorum.cnxn.threads.size",
        *vendor_settings.ZOOKEEPER_NUMBERS,
    } <= set(names)


def test_clickhouse() -> None:
    known = vendor_settings.clickhouse()
    assert (vendor_settings.ROLES / "clickhouse/files/known_settings.yml").read_text(encoding="utf-8") == vendor_settings.render(known)
