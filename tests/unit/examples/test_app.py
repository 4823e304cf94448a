# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The example application hangs together."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

APP = Path(__file__).parents[3] / "examples" / "app"


def test_the_playbook_deploys_the_version_of_the_sources() -> None:
    """One number, in two places."""
    version = re.findall(r'__version__ = "(.+)"', (APP / "shop" / "__init__.py").read_text(encoding="utf-8"))
    assert [yaml.safe_load((APP / "deploy.yml").read_text(encoding="utf-8"))[0]["vars"]["__shop_version"]] == version


def test_every_requirement_is_pinned() -> None:
    """The archive is installed without resolving dependencies."""
    lines = (APP / "requirements.txt").read_text(encoding="utf-8").splitlines()
    entries = [line.partition("#")[0].strip() for line in lines]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+==[0-9][0-9a-z.]*", entry) for entry in entries if entry)


def test_intermittent_connection_failures() -> None:
    """The demo has errors to look at, and products for every order."""
    sources = (APP / "shop" / "__main__.py").read_text(encoding="utf-8")
    assert "random.randint(1, UNLUCKY)" in sources
    rows = re.findall(r"\((\d+), '", (APP / "database.sql").read_text(encoding="utf-8"))
    assert [int(row) for row in rows] == list(range(1, 21))
