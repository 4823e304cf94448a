# GNU General Public License v3.0+ (see LICENSE)
"""The artifact mirror: a flat folder of archives, named as the vendors name them, and their lock file.

Filled from public package registries (what the vendors do not publish there is built or stood in for, and says so), or
from the vendors' own sites.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import yaml

from tests.testbed.artifacts import CATALOGUE, Artifact, catalogue
from tests.testbed.core import TestbedError, cached, heartbeat, parallel

REGISTRIES, OFFICIAL = SOURCES = ("registries", "official")
LOCK = "artifacts.lock.yml"


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
    inputs: list[str | Path] = [source, *map(repr, RECIPES), CATALOGUE, Path(__file__)]
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
            raise TestbedError("fill the mirror", f"nothing made {', '.join(missing)}", f"compare {CATALOGUE}")
        (folder / LOCK).write_text(render_lock(lock), encoding="utf-8")

    return cached("mirror", inputs, build)


def load(name: str) -> Module:
    """Import a module of `artifacts`."""
    try:
        return cast(Module, importlib.import_module(f"tests.testbed.artifacts.{name}"))
    except ModuleNotFoundError as exc:
        raise TestbedError(
            "fill the mirror", f"no module {exc.name}", "is the checkout complete, and are its requirements installed?"
        ) from exc


def render_lock(lock: dict[str, dict[str, Any]]) -> str:
    """The lock file as the roles read it."""
    head = "# Written by whoever fills the mirror. stand_in: true is not the vendor's software.\n---\n"
    return head + yaml.safe_dump({"artifacts_lock": lock})


def parse_checksum(text: str, archive: str, algorithm: str) -> str:
    """Find an archive's hash in a vendor's checksum file: a bare hash, or lines of `hash  name`."""
    length = hashlib.new(algorithm).digest_size * 2
    found: dict[str, str] = {}
    for line in text.splitlines():
        digest, _, name = line.strip().partition(" ")
        if len(digest) == length and all(char in "0123456789abcdef" for char in digest.lower()):
            found[name.strip().lstrip("*").rsplit("/", 1)[-1]] = digest.lower()
    if archive in found:
        return found[archive]
    # One hash alone is that archive's, whatever name the vendor's build gave it.
    if len(found) == 1:
        return next(iter(found.values()))
    raise ValueError(f"no {algorithm} of {archive} among {len(found)} lines")


def file_hash(path: Path, algorithm: str) -> str:
    """The hash of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def entry(path: Path, **more: str | bool) -> dict[str, dict[str, Any]]:
    """What the lock says about a file."""
    return {path.name: {"sha256": file_hash(path, "sha256"), "size": path.stat().st_size, **more}}


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
        lock |= entry(path, source=REGISTRIES, stand_in=recipe.stand_in, note=recipe.note)
    return lock


def _fetched(item: Artifact, folder: Path) -> dict[str, dict[str, Any]]:
    """Download an archive from its vendor and compare it with the checksum that the vendor publishes."""
    target = folder / item.archive
    with heartbeat(f"download {item.archive}"):
        _download(item.url, target)
    if not item.checksum_url:
        return entry(target, source=OFFICIAL, stand_in=False, verified=False)
    checksums = folder / f".{item.archive}.checksum"
    _download(item.checksum_url, checksums)
    try:
        published = parse_checksum(checksums.read_text(encoding="utf-8"), item.archive, item.checksum_algorithm)
    except ValueError as exc:
        raise TestbedError(f"verify {item.archive}", str(exc), f"look at {item.checksum_url}") from exc
    checksums.unlink()
    if file_hash(target, item.checksum_algorithm) != published:
        raise TestbedError(
            f"verify {item.archive}", f"it does not match {item.checksum_url}", "do not use it; download again later"
        )
    return entry(target, source=OFFICIAL, stand_in=False, verified=True)


def _download(url: str, target: Path, pauses: Sequence[float] = (2, 4, 8)) -> None:
    """Fetch one file. What may pass is tried again."""
    for pause in (*pauses, None):
        try:
            with urllib.request.urlopen(url, timeout=60) as response, target.open("wb") as file:
                shutil.copyfileobj(response, file, 1 << 20)
                size = response.headers["Content-Length"]
            if size and target.stat().st_size != int(size):
                raise OSError(f"cut off after {target.stat().st_size} of {size} bytes")
            return
        except (OSError, urllib.error.URLError) as exc:
            permanent = isinstance(exc, urllib.error.HTTPError) and exc.code < 500
            if permanent or pause is None:
                raise TestbedError(
                    f"download {target.name.strip('.')}",
                    f"{url}: {exc}",
                    "check the network, or take the packages of registries: --source registries",
                ) from exc
            time.sleep(pause)
