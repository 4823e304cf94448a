# GNU General Public License v3.0+ (see LICENSE)
"""What playbook preflight refuses, run on the shipped example inventory with one thing wrong, and what playbook secrets writes."""

from __future__ import annotations

import copy
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.wrong_values import refusals
from tests.testbed import mirror

CHECKOUT = Path(__file__).parents[2]
EXAMPLE = CHECKOUT / "inventories" / "single"
OTELCOL = "otelcol-contrib_0.149.0_linux_amd64.tar.gz"
Inventory = dict[str, Any]


class Handler(http.server.SimpleHTTPRequestHandler):
    """A mirror; of the archive named `spoiled` it serves other bytes."""

    spoiled = ""

    def do_GET(self) -> None:
        if self.spoiled and self.path == f"/{self.spoiled}":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"not what it says")
            return
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def archives() -> Path:
    return mirror.fill(mirror.default_source())


@pytest.fixture
def mirror_url(archives: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a mirror; `indirect` names an archive that it serves with other bytes."""
    handler = type("Spoiling", (Handler,), {"spoiled": getattr(request, "param", "")})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(archives))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Site:
    """An inventory folder as a user has it, and playbooks run on it. A host that is logged in to leaves a mark."""

    def __init__(self, folder: Path, cache: Path, mirror_url: str, lock: Path) -> None:
        self.folder, self.touched = folder / "site", folder / "touched"
        shutil.copytree(EXAMPLE, self.folder)
        self.secrets = self.folder / "group_vars/all/secrets.yml"
        ssh = folder / "ssh"
        ssh.write_text(f"#!/bin/sh\ntouch {self.touched}\nexit 255\n", encoding="utf-8")
        ssh.chmod(0o755)
        self.given: dict[str, Any] = {
            "ansible_ssh_executable": str(ssh),
            "observability_mirror": mirror_url,
            "observability_lock_file": str(lock),
            "observability_cache_dir": str(cache),
        }

    def play(self, name: str, *arguments: str, change: Callable[[Inventory], None] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a playbook on the inventory after a change to it."""
        inventory = yaml.safe_load((EXAMPLE / "hosts.yml").read_text(encoding="utf-8"))
        inventory["all"]["vars"] = copy.deepcopy(self.given)
        if change:
            change(inventory["all"])
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
        program = Path(sys.executable).with_name("ansible-playbook")
        environment = {"ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"}
        return subprocess.run(
            [program, "-i", self.folder, *arguments, f"groundwork.observability.{name}"],
            env={**os.environ, **environment},
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def values(self) -> dict[str, str]:
        """The secrets of the file."""
        loaded: dict[str, str] = yaml.safe_load(self.secrets.read_text(encoding="utf-8"))
        return loaded


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archives")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What playbook secrets writes for the example inventory."""
    made = Site(tmp_path_factory.mktemp("generated"), Path("unused"), "", Path("unused"))
    done = made.play("secrets")
    assert done.returncode == 0, done.stdout + done.stderr
    assert made.secrets.stat().st_mode & 0o777 == 0o600
    return made.secrets.read_text(encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path, cache: Path, mirror_url: str, archives: Path, generated: str) -> Site:
    """A complete inventory with its secrets."""
    made = Site(tmp_path, cache, mirror_url, archives / mirror.LOCK)
    made.secrets.write_text(generated, encoding="utf-8")
    made.secrets.chmod(0o600)
    return made


def words(done: subprocess.CompletedProcess[str]) -> str:
    """What was printed, without line breaks and indentation."""
    return re.sub(r"\s+", " ", done.stdout + done.stderr)


def refused(site: Site, done: subprocess.CompletedProcess[str], *names: str) -> None:
    """It failed, said why, touched no host and showed no secret."""
    said = words(done)
    assert done.returncode not in (0, 250), said
    for name in names:
        assert name in said
    assert "Traceback" not in said
    assert not site.touched.exists()
    assert [name for name, value in site.values().items() if value in done.stdout + done.stderr] == []


def test_the_example_is_accepted(site: Site) -> None:
    done = site.play("preflight")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not site.touched.exists()
    assert "WARNING" not in words(done)
    # Certificates are there, for the host's names; a second run finds nothing to do.
    assert (site.folder / "pki/hosts/obs1.crt").exists()
    again = site.play("preflight", "--check", "--diff")
    assert re.search(r"obs1 .*changed=0 ", words(again)), again.stdout


def set_host(**values: Any) -> Callable[[Inventory], None]:
    return lambda inventory: inventory["hosts"]["obs1"].update(values)


def set_all(**values: Any) -> Callable[[Inventory], None]:
    return lambda inventory: inventory["vars"].update(values)


def add_host(group: str, **values: Any) -> Callable[[Inventory], None]:
    return lambda inventory: inventory["children"][group]["hosts"].update({"obs2": values})


def remove(name: str) -> Callable[[Inventory], None]:
    return lambda inventory: inventory["hosts"]["obs1"].pop(name)


WRONG: dict[str, tuple[Callable[[Inventory], None], tuple[str, ...]]] = {
    "even ensemble": (add_host("zookeeper", zookeeper_id=2), ("zookeeper has 2 hosts", "use 1, 3 or 5")),
    "duplicate zookeeper_id": (
        add_host("zookeeper", zookeeper_id=1),
        ("zookeeper_id of obs2 is the same as of obs1", "host_vars/obs2.yml"),
    ),
    "duplicate shard and replica": (
        add_host("clickhouse", clickhouse_shard=1, clickhouse_replica="a"),
        ("clickhouse_shard and clickhouse_replica of obs2 are the same as of obs1",),
    ),
    "duplicate, one of them as text": (
        add_host("clickhouse", clickhouse_shard="1", clickhouse_replica="a"),
        ("clickhouse_shard and clickhouse_replica of obs2 are the same as of obs1",),
    ),
    "missing identity": (remove("zookeeper_id"), ("zookeeper_id is missing", "host_vars/")),
    "missing replica": (remove("clickhouse_replica"), ("clickhouse_replica is missing",)),
    "misspelt variable": (
        set_all(clickhouse_htps_port=8444),
        ("clickhouse_htps_port is not a variable", "did you mean clickhouse_https_port?"),
    ),
    "misspelt setting of all": (set_all(observability_miror="http://x"), ("observability_miror", "did you mean observability_mirror?")),
    "wrong type": (set_host(clickhouse_https_port="many"), ("clickhouse_https_port", "role clickhouse")),
    "list for a number": (set_host(zookeeper_client_port=[1]), ("zookeeper_client_port", "role zookeeper")),
    "text for a dictionary": (set_all(otel_collector_config="x"), ("otel_collector_config", "role otel_collector")),
    "hostile replica": (set_host(clickhouse_replica="a'; DROP TABLE x"), ("clickhouse_replica",)),
    "hostile shard": (set_host(clickhouse_shard="1</shard>"), ("clickhouse_shard",)),
    "empty token": (set_host(otel_collector_agent_token=""), ("otel_collector_agent_token",)),
    "mirror that does not answer": (set_all(observability_mirror="http://127.0.0.1:9"), ("observability_mirror", "127.0.0.1:9")),
    "mirror of another site": (set_all(observability_mirror="MIRROR/nothing"), ("observability_mirror", "404")),
    "lock that is not there": (
        set_all(observability_lock_file="/nonexistent/lock.yml"),
        ("observability_lock_file", "/nonexistent/lock.yml"),
    ),
    "version without an archive": (set_all(grafana_version="0.0.1"), ("grafana-0.0.1.linux-amd64.tar.gz", "observability_lock_file")),
    "platform that a vendor does not publish": (
        set_host(observability_arch="riscv64"),
        ("obs1: clickhouse is not published for riscv64, only for amd64, arm64", "observability_arch"),
    ),
    "component that the collector lacks": (
        set_all(otel_collector_gateway_config={"receivers": {"no_such_receiver": {}}}),
        ("as gateway", "obs1", "no_such_receiver", "otel_collector_gateway_config"),
    ),
    "scrape job that the collector refuses": (
        set_host(otel_collector_scrape_configs=[{"job_name": "shop", "scrape_interval": "often"}]),
        ("refuses the configuration of obs1 as prometheus_agent", "often", "otel_collector_scrape_configs"),
    ),
    "misspelt key of the collector": (
        set_all(otel_collector_node_agent_config={"exporters": {"otlp_grpc": {"compresion": "zstd"}}}),
        ("obs1 as node_agent", "compresion", "otel_collector_node_agent_config"),
    ),
    "misspelt key of the collector, on another host": (
        add_host("node_agent", otel_collector_node_agent_config={"exporters": {"otlp_grpc": {"tiemout": "1s"}}}),
        ("obs2 as node_agent", "tiemout"),
    ),
    "pipeline without its processor": (
        set_all(otel_collector_cluster_agent_config={"service": {"pipelines": {"metrics": {"processors": ["batch"]}}}}),
        ("obs1 as cluster_agent", "batch", "otel_collector_cluster_agent_config"),
    ),
    "secret of a wrong type": (
        set_all(otel_collector_secret_config={"gateway": {"exporters": {"clickhouse/1": {"timeout": "hush-4711"}}}}),
        ("obs1 as gateway", "invalid duration", "otel_collector_secret_config"),
    ),
}


# Problems of the inventory are told all at once, and so are those of collectors, so that one run shows several. Each other ends the run.
TOGETHER: tuple[tuple[str, ...], ...] = (
    (
        *("even ensemble", "duplicate zookeeper_id", "duplicate shard and replica", "misspelt variable", "misspelt setting of all"),
        *("wrong type", "list for a number", "text for a dictionary", "empty token"),
    ),
    ("duplicate, one of them as text", "missing identity"),
    ("missing replica", "hostile shard"),
    (
        *("component that the collector lacks", "misspelt key of the collector", "pipeline without its processor"),
        *("misspelt key of the collector, on another host", "scrape job that the collector refuses"),
    ),
)
ALONE = tuple((wrong,) for wrong in WRONG if not any(wrong in group for group in TOGETHER))


@pytest.mark.parametrize("wrong", TOGETHER + ALONE, ids=", ".join)
def test_preflight_refuses(site: Site, mirror_url: str, wrong: tuple[str, ...]) -> None:
    def applied(inventory: Inventory) -> None:
        for one in wrong:
            WRONG[one][0](inventory)
        inventory["vars"]["observability_mirror"] = inventory["vars"]["observability_mirror"].replace("MIRROR", mirror_url)

    done = site.play("preflight", change=applied)
    refused(site, done, *(name for one in wrong for name in WRONG[one][1]))
    assert "hush-4711" not in done.stdout + done.stderr


def test_every_option_is_refused_by_name(site: Site) -> None:
    """All at once, each with a value outside of its constraint: the last of its list, which passes as its type where there is one."""
    wrong = {name: value for _, name, value in refusals() if name not in site.given}
    done = site.play("preflight", change=set_host(**wrong))
    refused(site, done, *wrong)
    assert len(wrong) > 100


def test_a_missing_secret(site: Site) -> None:
    kept = {name: value for name, value in site.values().items() if name != "grafana_admin_password"}
    site.secrets.write_text(yaml.safe_dump(kept), encoding="utf-8")
    refused(site, site.play("preflight"), "grafana_admin_password is missing", "groundwork.observability.secrets")


def test_a_secret_of_a_wrong_type_is_not_repeated(site: Site) -> None:
    site.secrets.write_text(yaml.safe_dump({**site.values(), "grafana_admin_password": ["hush-4711"]}), encoding="utf-8")
    done = site.play("preflight")
    assert done.returncode != 0
    assert "grafana_admin_password" in words(done)
    assert "hush-4711" not in words(done)


def test_a_checksum_that_the_mirror_does_not_have(site: Site, archives: Path, tmp_path: Path) -> None:
    lock = yaml.safe_load((archives / mirror.LOCK).read_text(encoding="utf-8"))
    lock["artifacts_lock"][OTELCOL]["sha256"] = "0" * 64
    pinned = tmp_path / "pinned.yml"
    pinned.write_text(yaml.safe_dump(lock), encoding="utf-8")
    refused(site, site.play("preflight", change=set_all(observability_lock_file=str(pinned))), "observability_lock_file", OTELCOL)


@pytest.mark.parametrize("mirror_url", ["grafana-12.1.0.linux-amd64.tar.gz"], indirect=True)
def test_archive_with_a_wrong_checksum_is_refused(site: Site, tmp_path: Path) -> None:
    """The mirror's list is right, what it serves is not."""
    done = site.play("preflight", change=set_all(observability_cache_dir=str(tmp_path / "empty")))
    refused(site, done, "grafana-12.1.0.linux-amd64.tar.gz", "checksum")
    # Nothing of it stays in the cache.
    assert not list((tmp_path / "empty").glob("*/grafana-1*"))


def test_secrets_are_added_and_never_changed(site: Site) -> None:
    first = site.secrets.read_text(encoding="utf-8")
    assert site.secrets.stat().st_mode & 0o777 == 0o600
    assert len(set(site.values().values())) == len(site.values()) >= 12
    again = site.play("secrets")
    assert again.returncode == 0
    assert "changed=0" in words(again)
    assert site.secrets.read_text(encoding="utf-8") == first
    # One is lost: the others stay as they are.
    kept = {name: value for name, value in site.values().items() if name != "grafana_secret_key"}
    site.secrets.write_text("# by hand\n" + yaml.safe_dump(kept), encoding="utf-8")
    done = site.play("secrets", "-vvv", "--diff")
    assert done.returncode == 0, done.stdout
    assert {name: site.values()[name] for name in kept} == kept
    assert len(site.values()["grafana_secret_key"]) == 32
    assert site.secrets.read_text(encoding="utf-8").startswith("# by hand\n")
    assert [name for name, value in site.values().items() if value in done.stdout + done.stderr] == []


def test_secrets_in_check_mode_writes_nothing(site: Site) -> None:
    site.secrets.unlink()
    done = site.play("secrets", "--check", "--diff")
    assert done.returncode == 0, done.stdout
    assert not site.secrets.exists()


def test_an_encrypted_file_is_left_alone(site: Site, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("vault key", encoding="utf-8")
    kept = {name: value for name, value in site.values().items() if name != "grafana_secret_key"}
    site.secrets.write_text(yaml.safe_dump(kept), encoding="utf-8")
    vault = Path(sys.executable).with_name("ansible-vault")
    subprocess.run([vault, "encrypt", "--vault-password-file", key, site.secrets], check=True, capture_output=True)
    encrypted = site.secrets.read_text(encoding="utf-8")
    done = site.play("secrets", "--vault-password-file", str(key))
    assert done.returncode != 0
    assert "grafana_secret_key" in words(done)
    assert "ansible-vault edit" in words(done)
    assert site.secrets.read_text(encoding="utf-8") == encrypted
