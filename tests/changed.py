# GNU General Public License v3.0+ (see LICENSE)
"""Which test files concern what differs from main: `make test-changed`.

A file of tests/unit or tests/integration is chosen
- if it has changed,
- if it imports what has changed, directly or through other files of the checkout,
- if it runs ansible-playbook, itself or through what it imports, and anything in plugins, roles, playbooks or inventories has changed,
- if it is a unit test, and anything that is not Python has changed: unit tests read roles, playbooks and documents.

Molecule's scenarios are not chosen.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

COLLECTION = "ansible_collections.groundwork.observability."
READ_BY_PLAYBOOKS = ("plugins/", "roles/", "playbooks/", "inventories/")


def changed(checkout: Path, base: str = "main") -> list[str]:
    """Paths that differ from where this branch left `base`, committed or not, deleted ones included."""

    def git(*arguments: str) -> list[str]:
        done = subprocess.run(["git", *arguments], cwd=checkout, check=True, capture_output=True, text=True)
        return done.stdout.splitlines()

    (fork,) = git("merge-base", base, "HEAD")
    return sorted({*git("diff", "--name-only", "--no-renames", fork), *git("ls-files", "--others", "--exclude-standard")})


def imports(path: str, text: str, python: Collection[str]) -> set[str]:
    """Paths among `python` that a file with this path and text imports; a package's __init__.py and conftest.py files come along."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            folder = path.split("/")[: -node.level] if node.level else []
            module = ".".join([*folder, *([node.module] if node.module else [])])
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    found = {name.removeprefix(COLLECTION).replace(".", "/") for name in names}
    wanted = {f"{name}{end}" for name in found for end in (".py", "/__init__.py")}
    wanted |= {f"{parent}/conftest.py" for parent in Path(path).parents}
    return wanted & set(python)


def concerned(differing: Collection[str], python: Mapping[str, str]) -> list[str]:
    """Test files that concern the differing paths. `python` is the text of every Python file of the checkout, by path."""
    direct = {path: imports(path, text, python) for path, text in python.items()}

    def reached(path: str) -> set[str]:
        """The file and all that it imports."""
        seen: set[str] = set()
        waiting = [path]
        while waiting:
            if (one := waiting.pop()) not in seen:
                seen.add(one)
                waiting += direct[one]
        return seen

    for_playbooks = any(path.startswith(READ_BY_PLAYBOOKS) for path in differing)
    not_python = any(not path.endswith(".py") for path in differing)
    chosen = []
    for path in sorted(python):
        if path.startswith(("tests/unit/", "tests/integration/")) and Path(path).name.startswith("test_"):
            files = reached(path)
            runs_playbooks = for_playbooks and any("ansible-playbook" in python[file] for file in files)
            if files & set(differing) or runs_playbooks or (not_python and path.startswith("tests/unit/")):
                chosen.append(path)
    return chosen


def test_files(checkout: Path) -> list[str]:
    """Test files that concern what differs from main."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"], cwd=checkout, check=True, capture_output=True, text=True
    )
    paths = [path for path in listed.stdout.splitlines() if (checkout / path).is_file()]
    return concerned(changed(checkout), {path: (checkout / path).read_text(encoding="utf-8") for path in paths})
