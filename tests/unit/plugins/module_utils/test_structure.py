# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Limits that keep C(plugins/module_utils) readable."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[4] / "plugins/module_utils"
FILES = sorted(FOLDER.rglob("*.py"))
LONGEST_FUNCTION = 50
LONGEST_CLASS = 200
# Modules of the object modules' engine that decide and never ask a server.
PURE = (
    *("alter", "change", "sql_clauses", "create_statement", "declaration", "dependencies", "differences", "object_changes"),
    *("planning", "rebuild", "references", "server_defaults", "settings", "sql_functions", "sql_secrets", "sql_tokens"),
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_functions_and_classes_are_short(path: Path) -> None:
    limits = {ast.FunctionDef: LONGEST_FUNCTION, ast.ClassDef: LONGEST_CLASS}
    found = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > limits[type(node)]:
                found[node.name] = lines
    assert not found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_import_climbs(path: Path) -> None:
    """A module imports from its own folder, or by the collection's full name."""
    imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    assert not [node.module for node in imports if node.level > 1]


@pytest.mark.parametrize("name", PURE)
def test_planning_modules_use_no_client(name: str) -> None:
    tree = ast.parse((FOLDER / "_clickhouse" / f"{name}.py").read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not names & {"ClickHouse", "TemporaryObjects", "client"}


def test_the_generic_plan_knows_no_sql_engine() -> None:
    tree = ast.parse((FOLDER / "_plan.py").read_text())
    assert {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)} == {"__future__", "dataclasses"}
    steps = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Step")
    annotations = [ast.unparse(node.annotation) for node in steps.body if isinstance(node, ast.AnnAssign)]
    assert annotations
    assert not [annotation for annotation in annotations if "Callable" in annotation]


def imported_modules(path: Path) -> set[str]:
    """Names of what a module imports from these folders, at any depth: all of it travels with the module."""
    found: set[str] = set()
    pending = [path]
    while pending:
        for node in ast.walk(ast.parse(pending.pop().read_text())):
            if isinstance(node, ast.ImportFrom):
                named = node.module is not None and not node.module.endswith(("._clickhouse", ".module_utils"))
                names = [str(node.module).rpartition(".")[2]] if named else [alias.name for alias in node.names]
                paths = [folder / f"{name}.py" for name in names for folder in (FOLDER, FOLDER / "_clickhouse")]
                new = [path for path in paths if path.exists() and path.stem not in found]
                found |= {path.stem for path in new}
                pending += new
    return found


@pytest.mark.parametrize(
    ("module", "needed", "not_needed"),
    [
        ("clickhouse_query", "_clickhouse_query", {"declaration", "observation", "_clickhouse_info", "_clickhouse_copy"}),
        ("clickhouse_info", "_clickhouse_info", {"declaration", "observation", "_clickhouse_copy"}),
        ("clickhouse_copy", "_clickhouse_copy", {"declaration", "observation", "_clickhouse_info", "_clickhouse_query"}),
        ("clickhouse_schema", "execution", {"_clickhouse_query", "_clickhouse_info", "_clickhouse_copy"}),
        ("clickhouse_table", "execution", {"_clickhouse_query", "_clickhouse_info", "_clickhouse_copy"}),
    ],
)
def test_modules_travel_without_what_only_others_need(module: str, needed: str, not_needed: set[str]) -> None:
    found = imported_modules(FOLDER.parent / "modules" / f"{module}.py")
    assert needed in found
    assert not found & not_needed


@pytest.mark.parametrize("name", ["clickhouse_schema", "clickhouse_table"])
def test_the_engine_imports_modules_not_names(name: str) -> None:
    """The controller builds the module for each task, and looks up each imported name of each file as if it were a module."""
    engine = FOLDER / "_clickhouse"
    found = imported_modules(FOLDER.parent / "modules" / f"{name}.py")
    assert "schema" in found
    names = {}
    for path in [engine / f"{module}.py" for module in sorted(found - {"_plan"})]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.level and node.module or str(node.module).endswith("._plan")):
                names[path.stem] = [alias.name for alias in node.names]
    assert not names
