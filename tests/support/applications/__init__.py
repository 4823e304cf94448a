# GNU General Public License v3.0+ (see LICENSE)
"""The examples of docs/applications.md as programs: their code is taken from the page, what they import is pinned beside this file."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.testbed.artifacts import clickhouse, otelcol
from tests.testbed.core import CACHE, cached, run
from tests.testbed.engine import need

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "applications.md"


@dataclass(frozen=True)
class Program:
    """How an example is run, beside the environment that the page gives it."""

    argv: list[str | Path]
    environment: dict[str, str] = field(default_factory=dict)


def blocks(language: str) -> list[str]:
    """The code of all blocks of a language on the page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def example(language: str) -> str:
    """The one example in a language."""
    (code,) = blocks(language)
    return code


def python() -> Program:
    """With packages from PyPI, in a folder of their own."""

    def install(work: Path) -> None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        run([*pip, "--target", work, "-r", HERE / "requirements.txt"], what="install what the Python example imports")

    packages = cached("application-python", [sys.version, HERE / "requirements.txt"], install)
    return Program([sys.executable, "-c", example("python")], {"PYTHONPATH": str(packages)})


def java() -> Program:
    """Compiled once, with jars from Maven Central."""

    def compile_it(work: Path) -> None:
        need("mvn", "maven")
        need("javac", "default-jdk-headless")
        copy = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
        options = ["--batch-mode", "--no-transfer-progress", f"-Dmaven.repo.local={CACHE / 'maven'}", f"-DoutputDirectory={work / 'lib'}"]
        run(["mvn", *options, "-f", HERE / "pom.xml", copy, "-DincludeScope=runtime"], what="collect what the Java example imports")
        (work / "Checkout.java").write_text(example("java"), encoding="utf-8")
        run(["javac", "-cp", f"{work / 'lib'}/*", "-d", work, work / "Checkout.java"], what="compile the Java example")

    home = cached("application-java", [HERE / "pom.xml", example("java")], compile_it)
    # The compiler that makes fast code has no time to pay for itself in a second.
    return Program(["java", "-XX:TieredStopAtLevel=1", "-cp", f"{home}:{home / 'lib'}/*", "Checkout"])


def go() -> Program:
    """Compiled once, with modules from the Go module proxy."""

    def compile_it(work: Path) -> None:
        (work / "main.go").write_text(example("go"), encoding="utf-8")
        for name in ("go.mod", "go.sum"):
            shutil.copy(HERE / name, work)
        # The caches of the collector's build.
        environment = {"GOPATH": str(CACHE / "go" / "path"), "GOCACHE": str(CACHE / "go" / "cache"), "CGO_ENABLED": "0"}
        environment["GOFLAGS"] = f"{os.environ.get('GOFLAGS', '')} -modcacherw".strip()
        argv: list[str | Path] = [otelcol._go(), "build", "-mod=readonly", "-o", "checkout", "."]
        run(argv, cwd=work, env=environment, what="compile the Go example")

    home = cached("application-go", [HERE / "go.mod", HERE / "go.sum", example("go")], compile_it)
    return Program([home / "checkout"])


def node() -> str | Path:
    """The machine's Node.js, or the one from PyPI that its npm is started with."""
    return shutil.which("node") or clickhouse.npm()[0]


def javascript() -> Program:
    """With packages from npm."""

    def install(work: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, work)
        npm: list[str | Path] = [*clickhouse.npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        run(npm, cwd=work, what="install what the Node.js example imports")

    home = cached("application-node", [HERE / "package.json", HERE / "package-lock.json"], install)
    page = PAGE.read_text(encoding="utf-8").split("## Node.js")[1]
    further = dict(re.findall(r"`(OTEL_[A-Z_]+)=(\w+)`", page))
    return Program([node(), "-e", example("javascript")], {"NODE_PATH": str(home / "node_modules"), **further})


LANGUAGES: dict[str, Callable[[], Program]] = {"python": python, "java": java, "go": go, "javascript": javascript}


def variables(route: str, service: str, replaced: dict[str, str]) -> dict[str, str]:
    """The environment that the page gives an application of a name on one route, C(agent) or C(gateway), with places replaced."""
    agent, gateway, attributes = blocks("shell")
    lines = [*(agent if route == "agent" else gateway).splitlines(), *attributes.splitlines()]
    given = dict(line.split("=", 1) for line in lines)
    for name, value in given.items():
        for place, real in replaced.items():
            value = value.replace(place, real)
        given[name] = value
    # Nothing else of this machine's environment: it may name other certificates.
    return {**{name: os.environ[name] for name in ("HOME", "PATH")}, **given, "OTEL_SERVICE_NAME": service}
