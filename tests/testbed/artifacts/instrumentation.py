# GNU General Public License v3.0+ (see LICENSE)
"""OpenTelemetry's agents for services: packages of Python and Node.js as the playbook mirror packs them, and Java's from Maven Central."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from plugins.module_utils import _artifacts
from tests.testbed.artifacts import ARCH
from tests.testbed.core import CACHE, run
from tests.testbed.engine import need

# Where Ansible's own loader is not installed, as in `python -m tests.testbed`.
sys.path.append(str(Path(__file__).parents[3] / ".collections"))

from ansible_collections.groundwork.observability.plugins.module_utils import _packages
from ansible_collections.groundwork.observability.plugins.plugin_utils import _instrumentation

NAME = "instrumentation"
AGENTS = _instrumentation.agent_archives()
VERSION = ", ".join(f"{entry['language']} {entry['version']}" for entry in AGENTS.values())


def archive(language: str) -> str:
    """Name of an agent's archive on the mirror."""
    entry: dict[str, Any] = AGENTS[_instrumentation.name_of(language)]
    return str(_artifacts.release(entry, entry["version"], ARCH)["archive"])


def inputs() -> list[str | Path]:
    """What the archives depend on."""
    files = (_instrumentation.REQUIREMENTS, _instrumentation.NPM_LOCK, _instrumentation.NODE_PROGRAM)
    return [VERSION, Path(__file__), *files, Path(_packages.__file__)]


def build(work: Path) -> list[Path]:
    """Let pip, npm and Maven fetch them."""
    need("mvn", "maven")
    python = work / archive("python")
    _packages.build_archive(_instrumentation.REQUIREMENTS.read_text(encoding="utf-8"), ARCH, python)
    nodejs = work / archive("nodejs")
    _packages.build_npm_archive(_instrumentation.NPM_LOCK, nodejs)
    java = AGENTS[_instrumentation.name_of("java")]["version"]
    run(
        [
            *("mvn", "--batch-mode", "--no-transfer-progress", f"-Dmaven.repo.local={CACHE / 'maven'}"),
            "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy",
            *(f"-Dartifact=io.opentelemetry.javaagent:opentelemetry-javaagent:{java}", f"-DoutputDirectory={work}"),
        ],
        what="fetch the Java agent",
    )
    return [python, nodejs, work / archive("java")]
