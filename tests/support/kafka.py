# GNU General Public License v3.0+ (see LICENSE)
"""A real Apache Kafka for tests, from Maven Central's jars, without ZooKeeper (KRaft)."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.daemon import Daemon, free_ports
from tests.testbed.jars import jars

VERSION = "4.1.1"
PASSWORDS = {"broker": "s3cret-of-the-broker", "clickhouse": "s3cret-of-kafka", "clickhouse2": "another-s3cret-of-kafka"}
CONFIG = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=SASL_PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=SASL_PLAINTEXT
listener.security.protocol.map=SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required {logins};
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
group.initial.rebalance.delay.ms=0
"""


class Kafka(Daemon):
    """One broker on a free loopback port. Clients need one of the passwords; a topic is made when it is first used."""

    start_seconds = 180.0

    def __init__(self) -> None:
        super().__init__()
        self.port, controller = free_ports(2)
        self.address = f"127.0.0.1:{self.port}"
        self.config = self.folder / "server.properties"
        logins = " ".join(
            [f'username="broker" password="{PASSWORDS["broker"]}"', *(f'user_{name}="{word}"' for name, word in PASSWORDS.items())]
        )
        text = CONFIG.format(controller=controller, port=self.port, folder=self.folder, logins=logins)
        self.config.write_text(text, encoding="utf-8")
        tool = [*self.java(), "kafka.tools.StorageTool", "format", "--cluster-id", "MkU3OEVBNTcwNTJENDM2Qg", "--config", self.config]
        subprocess.run(tool, check=True, capture_output=True, env=self.environment())

    def java(self) -> list[str | Path]:
        """A JVM with the jars, and what makes it start quickly."""
        java = shutil.which("java")
        if java is None:
            raise RuntimeError("Kafka needs a JRE (Debian: openjdk-17-jre-headless)")
        options = ("-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp")
        return [java, *options, f"{jars('org.apache.kafka', 'kafka_2.13', VERSION)}/*"]

    def argv(self) -> Sequence[str | Path]:
        """The server without its shell scripts."""
        return [*self.java(), "kafka.Kafka", self.config]

    def ready(self) -> bool:
        """Whether it takes connections: clients try again until it serves."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
