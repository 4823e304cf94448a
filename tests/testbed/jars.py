# GNU General Public License v3.0+ (see LICENSE)
"""Java programs from Maven Central: a jar and all that it needs."""

from __future__ import annotations

from pathlib import Path

from tests.testbed.core import CACHE, cached, run
from tests.testbed.engine import need

POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>groundwork.testbed</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency></dependencies>
</project>
"""


def jars(group: str, artifact: str, version: str) -> Path:
    """The folder with them, filled once. Maven checks each file against Maven Central's checksum."""

    def collect(work: Path) -> None:
        need("mvn", "maven")
        pom = work / "pom.xml"
        pom.write_text(POM.format(group, artifact, version), encoding="utf-8")
        goal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
        argv: list[str | Path] = ["mvn", "--batch-mode", "--no-transfer-progress", "--strict-checksums", "-f", pom]
        argv.append(f"-Dmaven.repo.local={CACHE / 'maven'}")
        run([*argv, goal, "-DincludeScope=runtime", f"-DoutputDirectory={work}"], what=f"collect the jars of {artifact}")

    return cached(f"jars-{artifact}", [group, artifact, version, POM], collect)
