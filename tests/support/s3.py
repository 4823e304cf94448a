# GNU General Public License v3.0+ (see LICENSE)
"""A real S3-compatible server for tests: S3Proxy, which checks signatures and keeps objects in memory."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.daemon import Daemon, free_ports
from tests.testbed.jars import jars

VERSION = "2.7.0"
LOGGING = """\
<configuration>
  <appender name="console" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%level %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="console"/></root>
</configuration>
"""


class S3(Daemon):
    """One server on a free loopback port with a bucket, which only requests signed with its key may use."""

    start_seconds = 60.0
    key, secret = "importer", "s3cret-of-the-store"
    bucket = "exports"

    def __init__(self) -> None:
        super().__init__()
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}/{self.bucket}/"
        (self.folder / "logback.xml").write_text(LOGGING, encoding="utf-8")
        (self.folder / "s3proxy.conf").write_text(
            f"s3proxy.endpoint=http://127.0.0.1:{self.port}\ns3proxy.authorization=aws-v2-or-v4\n"
            f"s3proxy.identity={self.key}\ns3proxy.credential={self.secret}\n"
            "jclouds.provider=transient-nio2\njclouds.identity=none\njclouds.credential=none\n",
            encoding="utf-8",
        )

    def argv(self) -> Sequence[str | Path]:
        """The server, with what makes a JVM start quickly."""
        java = shutil.which("java")
        if java is None:
            raise RuntimeError("S3Proxy needs a JRE (Debian: openjdk-17-jre-headless)")
        return [
            *(java, "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", f"-Dlogback.configurationFile={self.folder}/logback.xml"),
            *("-cp", f"{jars('org.gaul', 's3proxy', VERSION)}/*", "org.gaul.s3proxy.Main", "--properties", self.folder / "s3proxy.conf"),
        ]

    def ready(self) -> bool:
        """Whether it serves; it then has the bucket."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0 and self.put("", "")

    def put(self, path: str, content: str) -> bool:
        """Create an object, or the bucket if the path is empty; whether it is there now."""
        # The credentials by standard input, the body from a file.
        (self.folder / "body").write_text(content, encoding="utf-8")
        argv = ["curl", "--silent", "--show-error", "--fail", "--config", "-", "--aws-sigv4", "aws:amz:us-east-1:s3"]
        argv += ["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "--upload-file", str(self.folder / "body")]
        argv.append((self.url + path).rstrip("/"))
        done = subprocess.run(argv, input=f'user = "{self.key}:{self.secret}"', capture_output=True, text=True, check=False)
        return done.returncode == 0
