# GNU General Public License v3.0+ (see LICENSE)
"""ZooKeeper: Maven Central has every file of Apache's own tarball that a server needs."""

from __future__ import annotations

import tarfile
from pathlib import Path

from tests.testbed.artifacts import add_bytes, catalogue, plain
from tests.testbed.core import CACHE, TestbedError, run
from tests.testbed.engine import need

NAME = "zookeeper"
VERSION = catalogue()[NAME].version
ARCHIVE = catalogue()[NAME].archive
POM = Path(__file__).with_name("zookeeper") / "pom.xml"
TOP = f"apache-zookeeper-{VERSION}-bin"

README = f"""\
Apache ZooKeeper {VERSION}: the unchanged jars of Maven Central, packed for a testbed in the shape of Apache's archive.
It is not Apache's archive: the shell scripts in bin/ and the documentation are not there.
"""
SAMPLE = """\
tickTime=2000
initLimit=10
syncLimit=5
dataDir=/tmp/zookeeper
clientPort=2181
"""


def inputs() -> list[str | Path]:
    """What the archive depends on."""
    return [VERSION, Path(__file__), POM]


def build(work: Path) -> list[Path]:
    """Let Maven collect the jars, pack them as Apache does."""
    need("mvn", "maven")
    lib = work / "lib"
    run(
        [
            *("mvn", "--batch-mode", "--no-transfer-progress", "-f", POM),
            *(f"-Dmaven.repo.local={CACHE / 'maven'}", f"-Dzookeeper.version={VERSION}"),
            "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies",
            *("-DincludeScope=runtime", f"-DoutputDirectory={lib}"),
        ],
        what="collect ZooKeeper's jars",
        todo="Maven Central must be reachable; read the log above",
    )
    jars = sorted(lib.glob("*.jar"))
    if not (lib / f"zookeeper-{VERSION}.jar").exists():
        raise TestbedError("collect ZooKeeper's jars", f"no zookeeper-{VERSION}.jar among {len(jars)}", f"check {POM}")
    archive = work / ARCHIVE
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        add_bytes(tar, f"{TOP}/README.md", README)
        add_bytes(tar, f"{TOP}/conf/zoo_sample.cfg", SAMPLE)
        for jar in jars:
            tar.add(jar, f"{TOP}/lib/{jar.name}", filter=plain)
    return [archive]
