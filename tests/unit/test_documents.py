# GNU General Public License v3.0+ (see LICENSE)
"""Documents name files and commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import run

CHECKOUT = Path(__file__).parents[2]
ROLES = sorted(CHECKOUT.glob("roles/*/README.md"))
RUNBOOKS = sorted(CHECKOUT.glob("docs/runbooks/*.md"))
DOCUMENTS = [
    *("README.md", "CONTRIBUTING.md", "docs/applications.md", "docs/delivery.md", "docs/notifications.md", "docs/verification.md"),
    "docs/dashboards/README.md",
    *(str(path.relative_to(CHECKOUT)) for path in ROLES + RUNBOOKS),
]
CONTRIBUTING = (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_map_of_the_code_names_what_exists() -> None:
    rows = CONTRIBUTING.split("## Map of the code")[1].split("## Rules")[0]
    named = re.findall(r"`((?:[\w.]+/)*[\w.]+)`", "\n".join(row.split("|")[1] for row in rows.splitlines() if row.startswith("| `")))
    assert len(named) > 25
    assert [name for name in named if not (CHECKOUT / name).exists()] == []


def test_the_map_of_the_code_has_every_file_with_decisions() -> None:
    rows = CONTRIBUTING.split("## Map of the code")[1]
    files = [path for folder in ("plugin_utils", "module_utils") for path in (CHECKOUT / "plugins" / folder).glob("*.py")]
    assert [path for path in files if f"`{path.relative_to(CHECKOUT)}`" not in rows] == []


@pytest.mark.parametrize("stage", re.findall(r"python -m tests\.run ([\w-]+)", CONTRIBUTING))
def test_named_stages_exist(stage: str) -> None:
    assert stage in {**run.STAGES, **run.SOAK}


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_named_make_targets_exist(document: str) -> None:
    named = set(re.findall(r"`make ([a-z-]+)", (CHECKOUT / document).read_text(encoding="utf-8")))
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert named and named <= targets


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files_and_headings(document: str) -> None:
    path = CHECKOUT / document
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", path.read_text(encoding="utf-8")):
        name, _, heading = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.*)", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles], link


def test_playbooks_roles_and_modules_of_the_readme_are_all() -> None:
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    for pattern in ("playbooks/*.yml", "roles/*/README.md", "plugins/modules/*.py"):
        assert [path.name for path in CHECKOUT.glob(pattern) if f"({path.relative_to(CHECKOUT)})" not in readme] == []
