# GNU General Public License v3.0+ (see LICENSE)
"""The artifact mirror: a flat folder of archives, named as the vendors name them, and their lock file.

Filled from public package registries (what the vendors do not publish there is built or stood in for, and says so), or
from the vendors' own sites.
"""

from __future__ import annotations

import importlib
import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import yaml

from plugins.module_utils import _artifacts
from tests.testbed.artifacts import Artifact, catalogue
from tests.testbed.core import TestbedError, cached, heartbeat, parallel

REGISTRIES, OFFICIAL = SOURCES = ("registries", "official")
LOCK = _artifacts.LOCK
BUILT = f"{_artifacts.NONE_PUBLISHED}: built here"


@dataclass(frozen=True)
class Recipe:
    """A module of `artifacts`, and how honest its archive is."""

    module: str
    stand_in: bool
    note: str


RECIPES = (
    Recipe("zookeeper", False, "the unchanged jars of Maven Central, packed in the shape of Apache's archive"),
    Recipe("otelcol", False, "upstream's modules, built here with fewer components than the vendor's binary"),
    Recipe("clickhouse", True, "ClickHouse's own engine behind a launcher"),
    Recipe("grafana", True, "a server that answers as recordings of a real Grafana do"),
    Recipe("grafana_plugin", True, "the plugin's id and version without its code"),
    Recipe("instrumentation", False, "OpenTelemetry's agents for Java, Node.js and Python services, from Maven Central, npm and PyPI"),
    Recipe("demo_app", False, "the sample application of this collection"),
)


class Module(Protocol):
    """What a module of `artifacts` offers."""

    NAME: str
    VERSION: str

    def inputs(self) -> list[str | Path]: ...

    def build(self, work: Path) -> list[Path]: ...


def default_source() -> str:
    """Where archives come from unless the command line says otherwise."""
    return os.environ.get("GROUNDWORK_SOURCE") or REGISTRIES


def fill(source: str) -> Path:
    """Return the mirror folder of that source, filled first where it is missing."""
    if source not in SOURCES:
        raise TestbedError("fill the mirror", f"unknown source {source!r}", f"choose one of {', '.join(SOURCES)}")
    modules = [(recipe, load(recipe.module)) for recipe in RECIPES]
    wanted = catalogue()
    downloads: list[Artifact] = []
    if source == OFFICIAL:
        downloads = list(wanted.values())
        modules = [(recipe, module) for recipe, module in modules if module.NAME not in wanted]
    inputs: list[str | Path] = [source, *map(repr, RECIPES), repr(wanted), Path(__file__)]
    for _, module in modules:
        inputs += module.inputs()

    def build(folder: Path) -> None:
        built = parallel([partial(_built, *pair, folder) for pair in modules], workers=len(RECIPES))
        fetched = parallel([partial(_fetched, item, folder) for item in downloads])
        lock: dict[str, dict[str, Any]] = {}
        for entries in [*built, *fetched]:
            lock.update(entries)
        missing = sorted({item.archive for item in wanted.values()} - lock.keys())
        if missing:
            raise TestbedError("fill the mirror", f"nothing made {', '.join(missing)}", "compare roles/*/vars/main/component.yml")
        (folder / LOCK).write_text(_artifacts.LOCK_HEAD + yaml.safe_dump({"artifacts_lock": lock}, width=1000), encoding="utf-8")

    return cached("mirror", inputs, build)


def load(name: str) -> Module:
    """Import a module of `artifacts`."""
    try:
        return cast(Module, importlib.import_module(f"tests.testbed.artifacts.{name}"))
    except ModuleNotFoundError as exc:
        raise TestbedError(
            "fill the mirror", f"no module {exc.name}", "is the checkout complete, and are its requirements installed?"
        ) from exc


def _built(recipe: Recipe, module: Module, folder: Path) -> dict[str, dict[str, Any]]:
    """Build an artifact, or take it from the cache, and put it in the mirror."""

    def build(work: Path) -> None:
        scratch = work / ".scratch"
        scratch.mkdir()
        for path in module.build(scratch):
            os.link(path, work / path.name)
        shutil.rmtree(scratch)

    # An artifact has its own cache folder: one that changes does not rebuild the others.
    lock: dict[str, dict[str, Any]] = {}
    for path in sorted(cached(f"artifact-{module.NAME}", module.inputs(), build).iterdir()):
        os.link(path, folder / path.name)
        lock[path.name] = _artifacts.lock_entry(
            path, source=REGISTRIES, checksum=BUILT, signature=BUILT, stand_in=recipe.stand_in, note=recipe.note
        )
    return lock


def _fetched(item: Artifact, folder: Path) -> dict[str, dict[str, Any]]:
    """Download an archive from its vendor and verify it, as the playbook mirror does."""
    with heartbeat(f"download {item.archive}"):
        try:
            lock, _ = _artifacts.fetch(item.release, folder / item.archive, {})
        except _artifacts.ArtifactError as exc:
            todo = "check the network, or take the packages of registries: --source registries"
            raise TestbedError(f"download {item.archive}", str(exc), todo) from exc
    return {item.archive: lock}
