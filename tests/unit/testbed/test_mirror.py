# GNU General Public License v3.0+ (see LICENSE)
"""What the testbed's mirror offers is what the roles install, by the names that they know."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import vendor
from tests.testbed import mirror
from tests.testbed.artifacts import Artifact, catalogue
from tests.testbed.core import TestbedError


def test_every_archive_of_the_roles_has_a_recipe() -> None:
    modules = [mirror.load(recipe.module) for recipe in mirror.RECIPES]
    assert set(catalogue()) <= {module.NAME for module in modules}
    assert {module.NAME: module.VERSION for module in modules}.items() >= {
        item.name: item.version for item in catalogue().values()
    }.items()


def test_the_vendors_are_asked_as_the_playbook_asks_them(tmp_path: Path) -> None:
    with vendor.running() as site:
        site.files["/x.tgz"] = b"content"
        item = Artifact("x", "1", {"archive": "x.tgz", "url": f"{site.url}/x.tgz", "checksum": {}, "signature": {}})
        lock = mirror._fetched(item, tmp_path)
        assert (lock["x.tgz"]["checksum"], lock["x.tgz"]["size"]) == ("none published", 7)
        del site.files["/x.tgz"]
        (tmp_path / "x.tgz").unlink()
        with pytest.raises(TestbedError, match="404.*--source registries"):
            mirror._fetched(item, tmp_path)


def test_unknown_source() -> None:
    with pytest.raises(TestbedError, match="choose one of registries, official"):
        mirror.fill("elsewhere")
