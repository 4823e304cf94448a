# GNU General Public License v3.0+ (see LICENSE)
"""Services that load OpenTelemetry's agents: their environment, their archives, and units that cannot have them."""

from __future__ import annotations

import json
import pathlib
import tarfile
import typing as t
import zipfile

import pytest
from ansible_collections.groundwork.observability.plugins.filter import artifacts, instrumentation
from ansible_collections.groundwork.observability.plugins.module_utils import _artifacts, _packages
from ansible_collections.groundwork.observability.plugins.plugin_utils import _instrumentation

SHOP: dict[str, t.Any] = {"unit": "shop.service", "language": "python", "service_name": "shop"}
LEDGER = {"unit": "ledger.service", "language": "java", "service_name": "ledger"}
CART = {"unit": "cart.service", "language": "nodejs", "service_name": "cart"}
TOKEN = "a+b/c=0123456789"
DROP_IN = "50-opentelemetry.conf"
UNIT = "# /etc/systemd/system/shop.service\n[Service]\nExecStart=/usr/bin/python3 -m shop\n"
OWN = f"\n# /etc/systemd/system/shop.service.d/{DROP_IN}\n[Service]\nEnvironment=PYTHONPATH=/x\n"


def lines(service: dict[str, t.Any], agent: str = "/opt/agent") -> list[str]:
    return instrumentation.environment_file(service, agent, "http://127.0.0.1:4318", TOKEN).splitlines()


def test_the_environment_loads_the_agent_and_names_the_service() -> None:
    found = lines({**SHOP, "attributes": {"service.version": 1.4, "team": "a,b=c d"}})
    assert 'PYTHONPATH="/opt/agent/opentelemetry/instrumentation/auto_instrumentation:/opt/agent"' in found
    assert 'OTEL_SERVICE_NAME="shop"' in found
    assert 'OTEL_RESOURCE_ATTRIBUTES="service.version=1.4,team=a%2Cb%3Dc%20d"' in found
    assert 'OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20a%2Bb%2Fc%3D0123456789"' in found
    assert 'JAVA_TOOL_OPTIONS="-javaagent:/opt/agent.jar"' in lines(LEDGER, "/opt/agent.jar")
    assert 'NODE_OPTIONS="--require /opt/register.js"' in lines(CART, "/opt/register.js")


def test_own_values_are_kept_and_quoted() -> None:
    found = lines({**SHOP, "environment": {"PYTHONPATH": "/srv/app", "OTEL_LOGS_EXPORTER": "none", "X": 'a "b" \\ `c` $D'}})
    assert 'PYTHONPATH="/opt/agent/opentelemetry/instrumentation/auto_instrumentation:/opt/agent:/srv/app"' in found
    assert 'OTEL_LOGS_EXPORTER="none"' in found
    own = {"NODE_OPTIONS": "--trace-warnings", "OTEL_NODE_RESOURCE_DETECTORS": "env,process"}
    node = lines({**CART, "environment": own}, "/opt/r.js")
    assert 'NODE_OPTIONS="--require /opt/r.js --trace-warnings"' in node
    assert 'OTEL_NODE_RESOURCE_DETECTORS="env,process"' in node and 'OTEL_NODE_RESOURCE_DETECTORS="env"' in lines(CART)
    assert 'X="a \\"b\\" \\\\ \\`c\\` \\$D"' in found


@pytest.mark.parametrize(
    ("status", "text", "more", "said"),
    [
        (0, UNIT, {}, ""),
        (0, UNIT + OWN, {}, ""),
        (1, "", {}, "there is no unit shop.service"),
        (0, UNIT + "Environment=A=1 PYTHONPATH=/srv/app\n", {}, "/etc/systemd/system/shop.service sets PYTHONPATH"),
        (0, UNIT + "# Environment=PYTHONPATH=/srv/app\n", {}, ""),
        (0, UNIT + "Environment=PYTHONPATH=/srv/app\n" + OWN, {"environment": {"PYTHONPATH": "/srv/app"}}, ""),
    ],
)
def test_a_unit_that_cannot_be_instrumented(status: int, text: str, more: dict[str, t.Any], said: str) -> None:
    found = instrumentation.instrumentation_problems([{"item": {**SHOP, **more}, "rc": status, "stdout": text}], DROP_IN)
    assert len(found) == bool(said)
    assert all(said in line for line in found)


def test_only_hosts_with_such_services_need_an_agent() -> None:
    table = _instrumentation.agent_archives()
    hosts: dict[str, t.Any] = {
        "a": {"otel_collector_instrumented_services": [SHOP, LEDGER], "otel_collector_java_agent_version": "9.9.9"},
        "b": {"otel_collector_instrumented_services": [SHOP, CART], "observability_arch": "arm64"},
        "c": {"otel_collector_instrumented_services": [{"unit": "x"}]},
        "d": {},
    }
    wanted = artifacts.wanted_artifacts(hosts, {"node_agent": list(hosts)}, table, "amd64")
    version = table["opentelemetry_python"]["version"]
    assert {entry["archive"]: entry["hosts"] for entry in wanted} == {
        "opentelemetry-javaagent-9.9.9.jar": ["a"],
        f"opentelemetry-python-{version}-linux-amd64.tar": ["a"],
        f"opentelemetry-python-{version}-linux-arm64.tar": ["b"],
        f"opentelemetry-nodejs-{table['opentelemetry_nodejs']['version']}.tar": ["b"],
    }
    assert artifacts.mirrored_artifacts([], table, []) == []


def test_the_mirror_makes_what_nobody_publishes() -> None:
    table = _instrumentation.agent_archives()
    wanted = artifacts.wanted_artifacts({"a": {"otel_collector_instrumented_services": [SHOP]}}, {"node_agent": ["a"]}, table, "amd64")
    (made,) = artifacts.mirror_downloads(wanted, table, {})
    assert (made["url"], made["requirements"], made["arch"]) == ("", str(_instrumentation.REQUIREMENTS), "amd64")
    other = {"artifacts_lock": {made["archive"]: {"sha256": "a"}}}
    (copied,) = artifacts.mirror_downloads(wanted, table, {}, "http://mirror", other)
    assert copied["url"] == f"http://mirror/{made['archive']}"
    assert "requirements" not in copied
    wanted = artifacts.wanted_artifacts({"a": {"otel_collector_instrumented_services": [CART]}}, {"node_agent": ["a"]}, table, "amd64")
    (made,) = artifacts.mirror_downloads(wanted, table, {})
    assert (made["url"], made["npm_lock"]) == ("", str(_instrumentation.NPM_LOCK)) and "arch" not in made


def test_packages_of_nodejs_are_pinned() -> None:
    """Each by its checksum, and without the address of a registry: npm asks the one that is configured."""
    packages = json.loads(_instrumentation.NPM_LOCK.read_text(encoding="utf-8"))["packages"]
    assert len(packages) > 200
    assert [name for name, package in packages.items() if name and not package.get("integrity", "").startswith("sha512-")] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []


def test_requirements_are_complete_and_pinned() -> None:
    packages = _instrumentation.REQUIREMENTS.read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    listed = [line for line in packages if not line.startswith("#")]
    assert len(listed) > 40
    assert [line for line in listed if "==" not in line or "--hash=sha256:" not in line] == []


def wheels(folder: pathlib.Path) -> list[pathlib.Path]:
    path = folder / "a-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name in ("a/__init__.py", "a/fast.so", "a-1.data/scripts/a", "../escape"):
            wheel.writestr(name, name)
    return [path]


def test_the_same_packages_give_the_same_archive(tmp_path: pathlib.Path) -> None:
    archives = [tmp_path / "one.tar", tmp_path / "two.tar"]
    for archive in archives:
        _packages._pack(wheels(tmp_path), archive)
    assert archives[0].read_bytes() == archives[1].read_bytes()
    assert b"fast.so" in archives[0].read_bytes()
    assert b"escape" not in archives[0].read_bytes() and b"scripts" not in archives[0].read_bytes()


NPM = """#!/bin/sh
# Stands for npm: what it does with the real one is in tests/integration/test_applications.py.
[ "$1" = ci ] || exit 1
grep -q '"wrong"' package.json && echo EINTEGRITY && exit 1
mkdir -p node_modules/a node_modules/.bin
echo "x = 1" > node_modules/a/b.js
echo types > node_modules/a/b.d.ts
date +%N > node_modules/.package-lock.json
ln -s ../a/b.js node_modules/.bin/a
"""


def test_packages_of_nodejs_are_packed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes each time, nothing but what a program reads, and npm's own words where it refuses."""
    (tmp_path / "npm").write_text(NPM, encoding="utf-8")
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    lock = tmp_path / "package-lock.json"
    lock.write_text("{}", encoding="utf-8")
    lock.with_name("package.json").write_text("{}", encoding="utf-8")
    lock.with_name("register.js").write_text("y = 2", encoding="utf-8")
    archives = [tmp_path / "one.tar", tmp_path / "two.tar"]
    for path in archives:
        _packages.build_npm_archive(lock, path)
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with tarfile.open(archives[0]) as archive:
        assert archive.getnames() == ["node_modules/a/b.js", "register.js"]
    lock.with_name("package.json").write_text('{"wrong": 1}', encoding="utf-8")
    with pytest.raises(_artifacts.ArtifactError, match=r"three\.tar cannot be made: `npm ci` says: EINTEGRITY"):
        _packages.build_npm_archive(lock, tmp_path / "three.tar")
    (tmp_path / "npm").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(_artifacts.ArtifactError, match="npm is not installed on the controller"):
        _packages.build_npm_archive(lock, tmp_path / "three.tar")
    assert not (tmp_path / "three.tar").exists()


def test_another_archive_than_the_pinned_is_thrown_away(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "python.tar"

    def build(target: pathlib.Path) -> None:
        target.write_bytes(b"x")

    lock, changed = _packages.fetch(build, "npm", path, {})
    assert (changed, lock["source"], lock["checksum"]) == (True, "npm", "sha512 of each package as pinned")
    assert _packages.fetch(build, "npm", path, lock) == (lock, False)
    with pytest.raises(_artifacts.ArtifactError, match="the lock pins 0000"):
        _packages.fetch(build, "npm", path, {"sha256": "0000"})
    assert not path.exists()
