# GNU General Public License v3.0+ (see LICENSE)
"""The settings that the pinned programs know, read from the programs themselves: python -m tests.vendor_settings writes them.

They are in roles/<role>/files/known_settings.yml, where preflight looks. An integration test compares them with the programs.
"""

from __future__ import annotations

import json
import re
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import yaml

from tests import conftest  # noqa: F401  makes the collection importable
from tests.support.clickhouse import ClickHouse
from tests.testbed import mirror

ROLES = Path(__file__).parents[1] / "roles"
PACKAGE = "org/apache/zookeeper/"
# What QuorumPeerConfig.parseProperties of ZooKeeper 3.9 reads as a number or a truth value; the rest is text.
ZOOKEEPER_NUMBERS = (
    *("clientPort", "secureClientPort", "observerMasterPort", "clientPortListenBacklog", "tickTime", "maxClientCnxns", "minSessionTimeout"),
    *("maxSessionTimeout", "initLimit", "syncLimit", "connectToLearnerMasterLimit", "electionAlg", "autopurge.snapRetainCount"),
    *("autopurge.purgeInterval", "quorum.cnxn.threads.size", "jvm.pause.info-threshold.ms", "jvm.pause.warn-threshold.ms"),
    *("jvm.pause.sleep.time.ms", "multiAddress.reachabilityCheckTimeoutMs", "snapCount", "preAllocSize", "globalOutstandingLimit"),
)
ZOOKEEPER_BOOLEANS = (
    *("localSessionsEnabled", "localSessionsUpgradingEnabled", "quorumListenOnAllIPs", "syncEnabled"),
    *(
        "standaloneEnabled",
        "reconfigEnabled",
        "sslQuorum",
        "portUnification",
        "sslQuorumReloadCertFiles",
        "quorum.auth.enableSasl",
        "quorum.auth.serverRequireSasl",
    ),
    *("quorum.auth.learnerRequireSasl", "jvm.pause.monitor", "multiAddress.enabled", "multiAddress.reachabilityCheckEnabled"),
)
# Names that begin so end in something of the user's own.
ZOOKEEPER_PREFIXES = ("server.", "group.", "weight.", "metricsProvider.", "authProvider.")
NUMBERS = ("UInt64", "UInt32", "Int32", "Int64", "NonZeroUInt64", "Seconds", "Milliseconds", "Float", "Double")


def _constants(data: bytes) -> Iterator[str]:
    """The texts that a Java class uses (JVM specification, 4.4: entries of kind 8 refer to one of kind 1)."""
    sizes = {3: 5, 4: 5, 5: 9, 6: 9, 7: 3, 8: 3, 9: 5, 10: 5, 11: 5, 12: 5, 15: 4, 16: 3, 17: 5, 18: 5, 19: 3, 20: 3}
    texts: dict[int, str] = {}
    used: list[int] = []
    at, index = 10, 1
    while index < struct.unpack(">H", data[8:10])[0]:
        kind, (operand,) = data[at], struct.unpack(">H", data[at + 1 : at + 3])
        if kind == 1:
            texts[index] = data[at + 3 : at + 3 + operand].decode("utf-8", "replace")
            at += operand
        elif kind == 8:
            used.append(operand)
        at += sizes.get(kind, 3)
        index += 2 if kind in (5, 6) else 1
    return (texts[number] for number in used)


def zookeeper(archives: Path) -> dict[str, Any]:
    """Names in zoo.cfg: those that the parser compares with, and system properties, which zoo.cfg sets without their `zookeeper.`."""
    (archive,) = archives.glob("apache-zookeeper-*-bin.tar.gz")
    version = archive.name.split("-")[2]
    with tarfile.open(archive) as files:
        jar = files.extractfile(next(name for name in files.getnames() if name.endswith(f"/zookeeper-{version}.jar")))
        assert jar is not None
        with zipfile.ZipFile(BytesIO(jar.read())) as classes:
            server = [name for name in classes.namelist() if name.startswith(PACKAGE) and name.endswith(".class") and "/cli/" not in name]
            texts = {name: set(_constants(classes.read(name))) for name in server}
    every = set().union(*texts.values())
    names = {text.removeprefix("zookeeper.") for text in every if re.fullmatch(r"zookeeper\.[A-Za-z0-9_.-]*[A-Za-z0-9]", text)}
    tls = {text for text in texts[f"{PACKAGE}common/X509Util.class"] if re.fullmatch(r"[a-z][A-Za-z]+(\.[A-Za-z]+)*", text)}
    names |= {f"{prefix}{name}" for prefix in ("ssl.", "ssl.quorum.") for name in tls}
    parser = texts[f"{PACKAGE}server/quorum/QuorumPeerConfig.class"]
    names |= {text for text in parser if re.fullmatch(r"(?!zookeeper\.)[a-z][A-Za-z]+[.A-Z][A-Za-z.-]*[A-Za-z]", text)}
    unknown = {*ZOOKEEPER_NUMBERS, *ZOOKEEPER_BOOLEANS} - names
    if unknown:
        raise SystemExit(f"ZooKeeper {version} does not know {', '.join(sorted(unknown))}")
    return {
        "version": version,
        "prefixes": " ".join(ZOOKEEPER_PREFIXES),
        "settings": {
            "number": " ".join(sorted(ZOOKEEPER_NUMBERS)),
            "boolean": " ".join(sorted(ZOOKEEPER_BOOLEANS)),
            "text": " ".join(sorted(names - {*ZOOKEEPER_NUMBERS, *ZOOKEEPER_BOOLEANS})),
        },
    }


def clickhouse() -> dict[str, Any]:
    """Settings of the server, of MergeTree and of profiles, from the engine's own tables."""
    with ClickHouse() as server:
        found: dict[str, Any] = {"version": server.query("SELECT version()").strip()}
        for table in ("server_settings", "merge_tree_settings", "settings"):
            kinds: dict[str, list[str]] = {"number": [], "boolean": [], "text": []}
            answer = json.loads(server.query(f"SELECT name, type FROM system.{table} ORDER BY name FORMAT JSONCompact"))
            for name, kind in answer["data"]:
                kinds["number" if kind in NUMBERS else "boolean" if kind == "Bool" else "text"].append(name)
            found[table] = {kind: " ".join(names) for kind, names in kinds.items()}
    return found


def render(known: dict[str, Any]) -> str:
    """The file of a role."""
    written = "---\n# Written by `python -m tests.vendor_settings` from the program itself.\n"
    return written + yaml.safe_dump(known, sort_keys=False, width=120)


if __name__ == "__main__":
    for role, known in {"zookeeper": zookeeper(mirror.fill(mirror.default_source())), "clickhouse": clickhouse()}.items():
        (ROLES / role / "files").mkdir(exist_ok=True)
        (ROLES / role / "files" / "known_settings.yml").write_text(render(known), encoding="utf-8")
