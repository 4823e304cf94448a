# GNU General Public License v3.0+ (see LICENSE)
"""Hosts of a testbed: systemd containers on a network of their own, beside the mirror that they install from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests.testbed import mirror
from tests.testbed.artifacts import clickhouse
from tests.testbed.core import CACHE, TestbedError, heartbeat, locked, parallel, run, say
from tests.testbed.engine import docker, ensure, need
from tests.testbed.image import BOOKWORM, image

LAYOUTS = Path(__file__).with_name("layouts.yml")
# Names that documentation and tests use have known addresses; the others are spread over the rest.
FIXED_SUBNETS = {
    "demo": 1,
    "molecule-default": 2,
    "molecule-cluster": 3,
    "molecule-single": 4,
    "molecule-alternative": 5,
    "molecule-alerts": 6,
}
MIRROR_ADDRESS = 2
FIRST_ADDRESS = 11
START_SECONDS = 90
REMOVE_SECONDS = 30
ENGINE_MOUNT = "/usr/lib/groundwork-engine"
INIT = "/usr/local/sbin/testbed-init"
# What systemd needs, and no more: --privileged is neither needed nor possible everywhere.
SYSTEMD_OPTIONS = (
    *("--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--cgroupns", "private", "--tmpfs", "/run:exec", "--tmpfs", "/run/lock"),
    *("--env", "container=docker", "--stop-signal", "SIGRTMIN+3"),
)


@dataclass(frozen=True)
class Plan:
    """Where everything of a testbed lies. Follows from its name and layout alone."""

    name: str
    layout: str
    subnet: str
    gateway: str
    mirror: str
    hosts: dict[str, str]

    @property
    def network(self) -> str:
        """The engine's network."""
        return f"groundwork-{self.name}"

    @property
    def folder(self) -> Path:
        """What the testbed keeps on this machine."""
        return testbed_folder(self.name)


def testbed_folder(name: str) -> Path:
    """Where a testbed's inventory lies."""
    return CACHE / "testbeds" / name


def third_octet(name: str) -> int:
    """The subnet of a name, so that the same name always gets the same addresses."""
    return FIXED_SUBNETS.get(name) or 10 + int(hashlib.sha256(name.encode()).hexdigest(), 16) % 241


def plan(name: str, layout: str, layouts: dict[str, list[str]], prefix: str = "172.29") -> Plan:
    """Give every host of a layout its address."""
    if layout not in layouts:
        raise TestbedError("read the layout", f"there is no layout {layout!r}", f"choose one of {', '.join(layouts)}")
    net = f"{prefix}.{third_octet(name)}"
    return Plan(
        name=name,
        layout=layout,
        subnet=f"{net}.0/24",
        gateway=f"{net}.1",
        mirror=f"{net}.{MIRROR_ADDRESS}",
        hosts={host: f"{net}.{FIRST_ADDRESS + index}" for index, host in enumerate(layouts[layout])},
    )


def inventory(testbed: Plan, key: Path, lock: Path) -> dict[str, Any]:
    """How Ansible reaches the hosts. Groups and settings come from an inventory that is given beside it."""
    options = {
        "StrictHostKeyChecking": "accept-new",
        "UserKnownHostsFile": testbed.folder / "known_hosts",
        "IdentitiesOnly": "yes",
    }
    return {
        "all": {
            "hosts": {host: {"ansible_host": address} for host, address in testbed.hosts.items()},
            "vars": {
                "ansible_user": "ansible",
                "ansible_ssh_private_key_file": str(key),
                "ansible_ssh_common_args": " ".join(f"-o {name}={value}" for name, value in options.items()),
                "observability_mirror": f"http://{testbed.mirror}",
                "observability_lock_file": str(lock),
                # Beside this file, so that the secrets are loaded with it and nothing is written into the checkout.
                "observability_pki_dir": str(testbed.folder / "pki"),
                "observability_secrets_file": str(testbed.folder / "group_vars" / "all" / "secrets.yml"),
            },
        }
    }


def up(name: str, layout: str, source: str, suite: str = BOOKWORM) -> Path:
    """Start a testbed, or what is missing of it, and return its inventory. What runs is left as it is.

    `suite` is the release of Debian that its hosts have.
    """
    layouts = yaml.safe_load(LAYOUTS.read_text(encoding="utf-8"))
    testbed = plan(name, layout, layouts, os.environ.get("GROUNDWORK_SUBNET_PREFIX") or "172.29")
    ensure()
    image_name, archives, engine = parallel([lambda: image(suite), lambda: str(mirror.fill(source)), lambda: _engine(source)])
    with locked(f"testbed-{name}"):
        there = _containers(name)
        others = {container.layout for container in there.values()} - {layout, ""}
        if others:
            raise TestbedError(f"start {name}", f"it is there with layout {others.pop()}", f"`down {name}` first")
        key = _ssh_key()
        testbed.folder.mkdir(parents=True, exist_ok=True)
        _network(testbed)
        _mirror(testbed, there.get("mirror"), image_name, archives)

        def host(item: tuple[str, str]) -> None:
            _host(testbed, item[0], there.get(item[0]), image_name, engine, key)
            _wait(testbed, *item)

        parallel([partial(host, item) for item in testbed.hosts.items()])
        file = testbed.folder / "hosts.yml"
        text = yaml.safe_dump(inventory(testbed, key, Path(archives) / mirror.LOCK), sort_keys=False, width=1000)
        file.write_text(f"# Written by `python -m tests.testbed up {name}`.\n---\n{text}", encoding="utf-8")
    say(f"{name}: {len(testbed.hosts)} hosts and the mirror run")
    return file


def down(name: str) -> None:
    """Remove a testbed: hosts, network, inventory."""
    ensure()
    with locked(f"testbed-{name}"):
        names = [container.name for container in _containers(name).values()]
        if names:
            docker("rm", "--force", "--volumes", *names, what=f"remove the hosts of {name}")
        _remove_network(name)
        shutil.rmtree(testbed_folder(name), ignore_errors=True)
    say(f"{name}: {len(names)} containers removed")


def status(name: str) -> list[tuple[str, str, str, str]]:
    """Host, address, state and image of everything that the testbed has."""
    ensure()
    there = _containers(name)
    if not there:
        raise TestbedError(f"look at {name}", "there is no such testbed", f"`up {name} --layout ...` starts it")
    return [(role, item.address, item.state, item.image) for role, item in sorted(there.items())]


@dataclass(frozen=True)
class Container:
    """What the engine says about a container."""

    name: str
    state: str
    image: str
    address: str
    layout: str
    archives: str


def _containers(name: str) -> dict[str, Container]:
    """All containers of a testbed by host name; the mirror is called `mirror`."""
    label = f"label=groundwork.testbed={name}"
    ids = docker("ps", "--all", "--quiet", "--filter", label, what="list the hosts").split()
    if not ids:
        return {}
    found = {}
    for item in json.loads(docker("inspect", *ids, what="look at the hosts")):
        labels = item["Config"]["Labels"]
        networks = item["NetworkSettings"]["Networks"].values()
        addresses = [(network["IPAMConfig"] or {}).get("IPv4Address", "") for network in networks]
        found[labels["groundwork.host"]] = Container(
            name=item["Name"].lstrip("/"),
            state=item["State"]["Status"],
            image=item["Config"]["Image"],
            address=(addresses or [""])[0],
            layout=labels.get("groundwork.layout", ""),
            archives=labels.get("groundwork.archives", ""),
        )
    return found


def _network_exists(network: str) -> bool:
    return subprocess.run(["docker", "network", "inspect", network], capture_output=True, check=False).returncode == 0


def _network(testbed: Plan) -> None:
    if not _network_exists(testbed.network):
        docker(
            *("network", "create", "--subnet", testbed.subnet, "--gateway", testbed.gateway, testbed.network),
            what=f"make the network of {testbed.name}",
            todo=f"if {testbed.subnet} is taken: another name, or another GROUNDWORK_SUBNET_PREFIX (now the first two "
            "numbers of it)",
        )


def _remove_network(name: str) -> None:
    """The engine may hold the network a moment longer than the containers on it."""
    network = f"groundwork-{name}"
    deadline = time.monotonic() + REMOVE_SECONDS
    while _network_exists(network):
        try:
            docker("network", "rm", network, what=f"remove the network of {name}")
        except TestbedError:
            if time.monotonic() > deadline:
                raise
            for endpoint in json.loads(docker("network", "inspect", network, what="look at the network"))[0]["Containers"].values():
                command = ["docker", "network", "disconnect", "--force", network, endpoint["Name"]]
                subprocess.run(command, capture_output=True, check=False)
            time.sleep(0.5)


def _create(testbed: Plan, host: str, address: str, *words: str) -> None:
    docker(
        *("create", "--name", f"{testbed.name}-{host}", "--hostname", host, "--label", f"groundwork.host={host}"),
        *("--label", f"groundwork.testbed={testbed.name}", "--network", testbed.network, "--network-alias", host),
        *("--ip", address, "--restart", "no", *words),
        what=f"create {testbed.name}-{host}",
    )


def _mirror(testbed: Plan, there: Container | None, image_name: str, archives: str) -> None:
    """Serve the mirror folder. A server of another folder is replaced: it holds no state."""
    name = f"{testbed.name}-mirror"
    if there and there.archives != archives:
        docker("rm", "--force", name, what=f"remove {name}")
        there = None
    if not there:
        _create(
            *(testbed, "mirror", testbed.mirror, "--label", f"groundwork.archives={archives}"),
            *("--volume", f"{archives}:/mirror:ro", image_name),
            *("python3", "-m", "http.server", "80", "--directory", "/mirror"),
        )
    if not there or there.state != "running":
        docker("start", name, what=f"start {name}")
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://{testbed.mirror}/{mirror.LOCK}", timeout=5):
                return
        except OSError as exc:
            if time.monotonic() > deadline:
                raise TestbedError(f"start {name}", str(exc), f"read `docker logs {name}`") from exc
            time.sleep(0.2)


def _host(testbed: Plan, host: str, there: Container | None, image_name: str, engine: str, key: Path) -> None:
    name = f"{testbed.name}-{host}"
    if there and there.image != image_name:
        say(f"{name} was made from an older image and stays; `down {testbed.name}`, then `up` renews it")
    if not there:
        mount = ["--volume", f"{engine}:{ENGINE_MOUNT}:ro"] if engine else []
        _create(
            *(testbed, host, testbed.hosts[host], "--label", f"groundwork.layout={testbed.layout}", *SYSTEMD_OPTIONS),
            *(*mount, image_name, INIT),
        )
        _forget(testbed, testbed.hosts[host])
    if not there or there.state != "running":
        docker("cp", f"{key}.pub", f"{name}:/etc/ssh/testbed_authorized_keys", what=f"give {name} the SSH key")
        docker("start", name, what=f"start {name}")


def _wait(testbed: Plan, host: str, address: str) -> None:
    """Return when systemd has started everything and SSH answers."""
    name = f"{testbed.name}-{host}"
    deadline = time.monotonic() + START_SECONDS
    state = banner = ""
    with heartbeat(f"wait for {name}"):
        while time.monotonic() < deadline:
            command = ["docker", "exec", name, "timeout", "20", "systemctl", "is-system-running", "--wait"]
            state = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
            if state in ("running", "degraded"):
                banner = _ssh_banner(address)
                if banner.startswith("SSH-"):
                    break
            time.sleep(0.2)
        else:
            raise TestbedError(
                f"start {name}",
                f"after {START_SECONDS} s systemd is {state or 'silent'} and SSH says {banner or 'nothing'}",
                f"read `docker logs {name}` and `docker exec {name} systemctl --failed`",
            )
    if state == "degraded":
        say(f"{name} runs, with failed units: `docker exec {name} systemctl --failed`")


def _engine(source: str) -> str:
    """What the stand-in for ClickHouse needs on a host. The vendor's has everything in its archive."""
    return str(clickhouse.engine_library()) if source == mirror.REGISTRIES else ""


def _ssh_banner(address: str) -> str:
    try:
        with socket.create_connection((address, 22), timeout=3) as connection:
            connection.settimeout(3)
            return connection.recv(64).decode(errors="replace").strip()
    except OSError:
        return ""


def _ssh_key() -> Path:
    """The key of all testbeds of this cache, made once."""
    key = CACHE / "ssh" / "id_ed25519"
    need("ssh-keygen", "openssh-client")
    with locked("ssh"):
        if not key.with_suffix(".pub").exists():
            key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            key.unlink(missing_ok=True)
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "groundwork-testbed", "-f", str(key)]
            run(command, what="make the SSH key")
    return key


def _forget(testbed: Plan, address: str) -> None:
    """A new host has a new key."""
    with locked(f"known-hosts-{testbed.name}"):
        known = testbed.folder / "known_hosts"
        if known.exists():
            run(["ssh-keygen", "-R", address, "-f", known], what=f"forget the old key of {address}")
