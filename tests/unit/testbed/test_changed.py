# GNU General Public License v3.0+ (see LICENSE)
"""Which tests `make test-changed` chooses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import changed

OF_COLLECTION = "from ansible_collections.groundwork.observability.plugins"
PYTHON = {
    "plugins/module_utils/_a/low.py": "",
    "plugins/module_utils/_a/high.py": "from . import low",
    "plugins/module_utils/_a/deep.py": "from .high import thing",
    "plugins/modules/m.py": "def main():\n    from ..module_utils._a import deep",
    "plugins/filter/f.py": "",
    "tests/support/play.py": "argv = ['ansible-playbook']",
    "tests/support/tool.py": "",
    "tests/integration/conftest.py": "import tests.support.tool",
    "tests/integration/test_module.py": f"{OF_COLLECTION}.modules import m",
    "tests/integration/test_play.py": "from tests.support import play",
    "tests/unit/test_low.py": f"{OF_COLLECTION}.module_utils._a.low import x",
    "tests/unit/test_other.py": "import json",
}
ALL = sorted(path for path in PYTHON if "/test_" in path)
UNIT = [path for path in ALL if path.startswith("tests/unit/")]


@pytest.mark.parametrize(
    ("differing", "chosen"),
    [
        ([], []),
        (["tests/unit/test_other.py"], ["tests/unit/test_other.py"]),
        (["plugins/module_utils/_a/deep.py"], ["tests/integration/test_module.py", "tests/integration/test_play.py"]),
        (["plugins/module_utils/_a/low.py"], [*ALL[:2], "tests/unit/test_low.py"]),
        (["plugins/filter/f.py"], ["tests/integration/test_play.py"]),
        (["tests/support/tool.py"], ALL[:2]),
        (["tests/support/play.py"], ["tests/integration/test_play.py"]),
        (["roles/r/tasks/main.yml"], ["tests/integration/test_play.py", *UNIT]),
        (["README.md"], UNIT),
        (["molecule/conftest.py"], []),
    ],
)
def test_tests_that_concern_a_change(differing: list[str], chosen: list[str]) -> None:
    assert changed.concerned(differing, PYTHON) == chosen


def test_files_changed_since_main(tmp_path: Path) -> None:
    """Committed on the branch, changed, deleted and new files; not what main got since."""

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "--initial-branch=main")
    for name in ("same", "edited", "deleted"):
        (tmp_path / name).write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    git("checkout", "-b", "branch")
    (tmp_path / "committed").write_text("1")
    git("add", ".")
    git("commit", "-m", "second")
    git("checkout", "main")
    git("commit", "--allow-empty", "-m", "third")
    git("checkout", "branch")
    (tmp_path / "edited").write_text("2")
    (tmp_path / "deleted").unlink()
    (tmp_path / "new").write_text("1")
    assert changed.changed(tmp_path) == ["committed", "deleted", "edited", "new"]
