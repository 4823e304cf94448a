#!/usr/bin/env -S python3 -IS
# GNU General Public License v3.0+ (see LICENSE)
"""A stand-in for the official `clickhouse` program: ClickHouse's own engine (libchdb.so), run as a server.

It reads the configuration that a real server reads. What the engine cannot do itself is added here: TLS ports (stunnel,
in front of loopback ports) and the lifetime of the processes. engine.c adds replication.
"""

from __future__ import annotations

import argparse
import base64
import copy
import fcntl
import hashlib
import http.client
import ipaddress
import os
import re
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

VERSION = "@VERSION@"
ENGINE_VERSION = "@ENGINE_VERSION@"
BUILD_ID = "@BUILD_ID@"
LIBRARY = Path(os.environ.get("GROUNDWORK_ENGINE", "/usr/lib/groundwork-engine/libchdb.so"))
ENGINE = Path(os.path.realpath(__file__)).parents[1] / "libexec" / "groundwork" / "engine"
CONFIG = "/etc/clickhouse-server/config.xml"
CLIENT_CONFIGS = [Path("~/.clickhouse-client/config.xml").expanduser(), Path("/etc/clickhouse-client/config.xml")]
ABOUT = (
    f"version {VERSION} (chdb engine {ENGINE_VERSION} behind the groundwork testbed launcher: "
    "a stand-in for the official program; TLS ports are served by stunnel)."
)
STOP_SECONDS = 8
# The blocked read keeps it serving, the end of its input ends it.
SERVE = (
    "SYSTEM START LISTEN QUERIES ALL; "
    "SELECT * FROM file('-', 'LineAsString') FORMAT Null SETTINGS max_execution_time = 0"
)
# For the engine's own session, which keeps it serving. The rest of the users' configuration is merged over it.
ENGINE_USER = """
<clickhouse>
  <profiles><_engine><max_execution_time>0</max_execution_time><log_queries>0</log_queries></_engine></profiles>
  <users><_engine>
    <password_sha256_hex>{}</password_sha256_hex><networks><ip>127.0.0.1</ip></networks><profile>_engine</profile>
    <grants><query>GRANT ALL ON *.*</query></grants>
  </_engine></users>
</clickhouse>
"""
# Where to bind: address, port (0: the system's choice), and the label to report it by.
Target = tuple[str, int, str]


class LauncherError(Exception):
    """What cannot be used or did not work, and why."""


class Stop(Exception):
    """SIGTERM or SIGINT came."""


# --- configuration: the same merge as the real server's ---------------------------------------------------------------

# `local` runs with the smallest pools; these are the server's own defaults (ClickHouse's documentation, "Server settings").
SERVER_DEFAULTS = {
    "background_pool_size": "16",
    "background_move_pool_size": "8",
    "background_fetches_pool_size": "16",
    "background_common_pool_size": "8",
    "background_buffer_flush_schedule_pool_size": "16",
    "background_schedule_pool_size": "512",
    "background_message_broker_schedule_pool_size": "16",
    "background_distributed_schedule_pool_size": "16",
}


def load(path: Path) -> ET.Element:
    """Read a configuration file and merge what lies in <name>.d/ and conf.d/ beside it."""
    root = _parse(path)
    for part in sorted({*path.with_suffix(".d").glob("*"), *path.with_name("conf.d").glob("*")}):
        if part.name.startswith(".") or part.suffix not in (".xml", ".conf", ".yaml", ".yml"):
            continue
        if part.suffix in (".yaml", ".yml"):
            raise LauncherError(f"{part}: this stand-in reads XML only")
        addition = _parse(part)
        if addition.tag != root.tag and {addition.tag, root.tag} != {"clickhouse", "yandex"}:
            raise LauncherError(f"Failed to merge config with '{part}': root <{addition.tag}> is not <{root.tag}>")
        _merge(root, addition)
    return root


def _parse(path: Path) -> ET.Element:
    try:
        root = ET.parse(path).getroot()
    except (OSError, ET.ParseError) as exc:
        raise LauncherError(f"Failed to read config '{path}': {exc}") from exc
    for node in root.iter():
        name = node.attrib.pop("from_env", None)
        if name is not None:
            if name not in os.environ:
                raise LauncherError(f"'{path}': <{node.tag}> wants environment variable {name}, which is not set")
            node.text = os.environ[name]
    return root


def _merge(base: ET.Element, addition: ET.Element) -> None:
    """Elements of the same name and attributes are merged in order, the others are appended."""

    def identity(node: ET.Element) -> tuple[str, frozenset[tuple[str, str]]]:
        return node.tag, frozenset(item for item in node.attrib.items() if item[0] not in ("replace", "remove"))

    base.text = addition.text
    left = list(base)
    for node in addition:
        match = next((old for old in left if identity(old) == identity(node)), None)
        remove, replace = "remove" in node.attrib, "replace" in node.attrib
        if match is None:
            if not remove:
                base.append(_without_marks(node))
            continue
        left.remove(match)
        if remove:
            base.remove(match)
        elif replace:
            base[list(base).index(match)] = _without_marks(node)
        else:
            _merge(match, node)


def _without_marks(node: ET.Element) -> ET.Element:
    result = copy.deepcopy(node)
    for element in result.iter():
        element.attrib.pop("replace", None)
        for child in [child for child in element if "remove" in child.attrib]:
            element.remove(child)
    return result


def find(root: ET.Element, key: str) -> ET.Element | None:
    """Look up a key as the server's own code writes it: `a.b.c`, `listen_host[1]`."""
    node: ET.Element | None = root
    for part in key.split("."):
        match = re.fullmatch(r"([^\[\]]+)(?:\[(\d+)\])?", part)
        if node is None or match is None:
            return None
        found = node.findall(match[1])
        index = int(match[2] or 0)
        node = found[index] if index < len(found) else None
    return node


def get(root: ET.Element, key: str, default: str = "") -> str:
    """Text of a key."""
    node = find(root, key)
    return default if node is None else (node.text or "").strip()


def put(root: ET.Element, key: str, value: str) -> None:
    """Set a top-level key."""
    node = root.find(key)
    if node is None:
        node = ET.SubElement(root, key)
    node.text = value


def number(root: ET.Element, key: str) -> int:
    """A port, 0 when it is not configured."""
    text = get(root, key, "0")
    if not text.isdigit() or int(text) > 65535:
        raise LauncherError(f"<{key}> is not a port: {text!r}")
    return int(text)


def users_path(root: ET.Element, config: Path) -> Path:
    """Where the users' configuration is."""
    name = get(root, "user_directories.users_xml.path") or get(root, "users_config")
    if not name:
        raise LauncherError("neither <user_directories><users_xml><path> nor <users_config> is in the configuration")
    return config.parent / name


# --- server -----------------------------------------------------------------------------------------------------------


def check_library() -> None:
    """Refuse another engine than the one that engine.c knows."""
    try:
        with LIBRARY.open("rb") as file:
            head = file.read(4096)
    except OSError as exc:
        raise LauncherError(f"cannot read the engine: {exc} (the testbed mounts it there)") from exc
    note = head.find(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0")
    found = head[note + 16 : note + 36].hex() if note >= 0 else "none"
    if found != BUILD_ID:
        raise LauncherError(f"{LIBRARY} has build id {found}, this launcher is made for {BUILD_ID}")


def addresses(root: ET.Element, key: str) -> list[str]:
    """The IP addresses to listen on."""
    names = [(node.text or "").strip() for node in root.findall(key)] or ["127.0.0.1"]
    result = []
    for name in names:
        try:
            result += [str(info[4][0]) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
        except socket.gaierror as exc:
            raise LauncherError(f"<{key}> {name}: {exc.strerror}") from exc
    return list(dict.fromkeys(result))


def loopback(like: str) -> str:
    """The loopback address of the same family."""
    return "::1" if ":" in like else "127.0.0.1"


class Server:
    """One server: what to write for its engine and its stunnel, and the addresses that clients will find open."""

    def __init__(self, config: Path) -> None:
        self.root = load(config)
        self.users_path = users_path(self.root, config)
        password = secrets.token_hex()
        self.engine_user = ENGINE_USER.format(hashlib.sha256(password.encode()).hexdigest())
        self.path = Path(get(self.root, "path", "/var/lib/clickhouse/"))
        # systemd's RuntimeDirectory= may name several.
        self.private = Path(os.environ.get("RUNTIME_DIRECTORY", str(self.path)).split(":")[0]) / "launcher"
        self.settings = [f"session {password}", f"config {config}", f"users {self.users_path}", *self._on_demand()]
        self.labels: set[str] = set()
        self.tls: list[tuple[str, int, str]] = []  # address and port for clients, label of the engine's listener
        self.open: list[tuple[str, int]] = []
        self.listen: list[str] = []
        self.http_port, self.tcp_port = number(self.root, "http_port"), number(self.root, "tcp_port")
        self._clients()
        self._interserver()
        prometheus = number(self.root, "prometheus.port")
        for host in addresses(self.root, "listen_host") if prometheus else []:
            self._listener(self._marker(host), (host, prometheus, "prometheus"))
            self.open.append((host, prometheus))
        self.open += [(host, port) for host, port, _ in self.tls]

    def _on_demand(self) -> list[str]:
        """Settings of engine.c for what a server has only if its configuration says so."""
        root, result = self.root, []
        access = get(root, "user_directories.local_directory.path") or get(root, "access_control_path")
        if access:
            result.append(f"access {access.rstrip('/')}")
        if root.find("zookeeper") is not None:
            result.append("zookeeper 1")
            if root.find("distributed_ddl") is not None:
                names = {"path": "queue", "replicas_path": "replicas", "pool_size": "pool_size"}
                values = {"path": "/clickhouse/task_queue/ddl/", "replicas_path": "/clickhouse/task_queue/replicas/", "pool_size": "1"}
                result += [f"ddl_{names[key]} {get(root, f'distributed_ddl.{key}') or default}" for key, default in values.items()]
        if any(root.find(key) is not None for key in ("prometheus", "asynchronous_metric_log")):
            result.append(f"metrics {get(root, 'asynchronous_metrics_update_period_s') or 1}")
        return result

    def _listener(self, address: str, http: Target | None = None, tcp: Target | None = None) -> None:
        """Have the engine listen on http_port and tcp_port of an address that may be no more than a marker.

        The engine opens <http_port> and <tcp_port> on each <listen_host>, nothing else. engine.c's bind() sends each
        pair of address and port where it belongs; what nobody wants, to a loopback port of the system's choice.
        """
        self.listen.append(address)
        for port, target in ((self.http_port or 8123, http), (self.tcp_port or 9000, tcp)):
            to, to_port, label = target or (loopback(address), 0, "-")
            self.settings.append(f"bind {address} {port} {to} {to_port} {label}")
            self.labels |= {label} - {"-"}

    def _marker(self, like: str) -> str:
        """An address of the same family that the configuration does not name."""
        return f"fd00:9:9::{len(self.listen):x}" if ":" in like else f"127.9.9.{len(self.listen) + 1}"

    def _clients(self) -> None:
        hosts = addresses(self.root, "listen_host")
        http, tcp = self.http_port, self.tcp_port
        if http or tcp:
            for host in hosts:
                self._listener(host, (host, http, "-") if http else None, (host, tcp, "-") if tcp else None)
                self.open += [(host, port) for port in (http, tcp) if port]
        tls = {"http": number(self.root, "https_port"), "tcp": number(self.root, "tcp_port_secure")}
        if any(tls.values()):
            self._listener(self._marker("127.0.0.1"), ("127.0.0.1", 0, "http"), ("127.0.0.1", 0, "tcp"))
            self.tls += [(host, port, label) for label, port in tls.items() if port for host in hosts]

    def _interserver(self) -> None:
        root = self.root
        plain, tls = number(root, "interserver_http_port"), number(root, "interserver_https_port")
        if plain and tls:
            raise LauncherError("both <interserver_http_port> and <interserver_https_port> are configured")
        if not plain and not tls:
            return
        own = root.find("interserver_listen_host") is not None
        hosts = addresses(root, "interserver_listen_host" if own else "listen_host")
        if tls:
            self._listener(self._marker("127.0.0.1"), ("127.0.0.1", 0, "interserver"))
            self.tls += [(host, tls, "interserver") for host in hosts]
        else:
            for host in hosts:
                self._listener(self._marker(host), (host, plain, "interserver"))
                self.open.append((host, plain))
        self.settings += [
            f"host {get(root, 'interserver_http_host') or socket.getfqdn()}",
            f"port {plain or tls}",
            f"scheme {'https' if tls else 'http'}",
        ]
        for key in ("user", "password"):
            value = get(root, f"interserver_http_credentials.{key}")
            if value:
                self.settings.append(f"{key} {value}")

    def write(self) -> None:
        """Write the private files. Nothing is left from a run that was killed."""
        root = self.root
        defaults = {"tmp_path": "tmp", "user_files_path": "user_files", "format_schema_path": "format_schemas"}
        for key, folder in defaults.items():
            put(root, key, get(root, key) or f"{self.path / folder}/")
        for key, value in SERVER_DEFAULTS.items():
            put(root, key, get(root, key) or value)
        put(root, "path", f"{self.path}/")
        put(root, "users_config", str(self.private / "users" / "users.xml"))
        put(root, "http_port", str(self.http_port or 8123))
        put(root, "tcp_port", str(self.tcp_port or 9000))
        for node in root.findall("listen_host"):
            root.remove(node)
        for address in self.listen:
            ET.SubElement(root, "listen_host").text = address
        for name in ("config.xml", "settings"):
            (self.private / name).unlink(missing_ok=True)
        os.umask(0o077)
        ET.ElementTree(root).write(self.private / "config.xml")
        self._write_users()
        os.umask(0o027)

    def _write_users(self) -> None:
        """Have the engine merge the users' configuration over its own user, at the start and when files change.

        The engine merges conf.d/* and then <name>.d/* into a file. So the users' file itself is made one of conf.d.
        """
        folder, source = self.private / "users", self.users_path
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "conf.d").mkdir(parents=True)
        (folder / "users.xml").write_text(self.engine_user, encoding="ascii")
        (folder / "users.d").symlink_to(source.with_suffix(".d"))
        for index, path in enumerate([source, *sorted(source.with_name("conf.d").glob("*"))]):
            (folder / "conf.d" / f"{index:03}_{path.name}").symlink_to(path)

    def keep_system_database(self) -> None:
        """Make `system` a database on disk, as a server has it, so that the system logs survive a restart.

        The engine has `system` in memory unless it finds its metadata. What the logs of such a database left on disk
        has no metadata either: nothing can read it, and it takes the place of the new tables.
        """
        metadata = self.path / "metadata"
        definition, link = metadata / "system.sql", metadata / "system"
        if definition.exists():
            return
        identity = str(uuid.uuid4())
        store = Path("store", identity[:3], identity)
        (self.path / store).mkdir(mode=0o750, parents=True)
        metadata.mkdir(mode=0o750, exist_ok=True)
        shutil.rmtree(self.path / "data" / "system", ignore_errors=True)
        link.unlink(missing_ok=True)
        link.symlink_to(Path("..") / store)
        temporary = definition.with_suffix(".tmp")
        temporary.write_text(f"ATTACH DATABASE _ UUID '{identity}'\nENGINE = Atomic\n", encoding="ascii")
        temporary.rename(definition)

    def server_uuid(self) -> uuid.UUID:
        """The server's identity, made once, in the file that a real server uses."""
        file = self.path / "uuid"
        if not file.exists():
            temporary = file.with_suffix(".tmp")
            temporary.write_text(str(uuid.uuid4()), encoding="ascii")
            temporary.rename(file)
        return uuid.UUID(file.read_text(encoding="ascii").strip())

    def start_engine(self, lock: int) -> tuple[subprocess.Popen[bytes], dict[str, int]]:
        """Start the engine and wait for the loopback ports that it chose."""
        reports, report = os.pipe()
        settings = [*self.settings, f"uuid {self.server_uuid().hex}", f"report {report}"]
        descriptor = os.open(self.private / "settings", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(settings) + "\n")
        engine = start(
            [
                *(str(ENGINE), str(LIBRARY), f"--config-file={self.private / 'config.xml'}"),
                *(f"--log-level={get(self.root, 'logger.level', 'trace')}", "--query", SERVE),
            ],
            self.path,
            (lock, report),
            {"GROUNDWORK_SETTINGS": str(self.private / "settings")},
        )
        os.close(report)
        ports: dict[str, int] = {}
        with open(reports, encoding="ascii") as lines:
            while self.labels - ports.keys():
                line = lines.readline()
                if not line:
                    died("the engine", engine.wait())
                label, port = line.split()
                ports[label] = int(port)
        return engine, ports

    def start_stunnel(self, ports: dict[str, int], lock: int) -> subprocess.Popen[bytes]:
        """Serve the TLS ports."""
        certificate, key = (get(self.root, f"openSSL.server.{name}") for name in ("certificateFile", "privateKeyFile"))
        if not certificate or not key:
            raise LauncherError("TLS ports need <openSSL><server> with <certificateFile> and <privateKeyFile>")
        mode = get(self.root, "openSSL.server.verificationMode", "none")
        verify = {"none": 0, "once": 1, "relaxed": 1, "strict": 2}.get(mode)
        if verify is None:
            raise LauncherError(f"<openSSL><server><verificationMode>: {mode!r} is not none, relaxed, once or strict")
        lines = ["foreground = yes", "pid =", "syslog = no", "debug = err", f"cert = {certificate}", f"key = {key}"]
        lines += ["sslVersionMin = TLSv1.2", "socket = l:TCP_NODELAY=1", "socket = r:TCP_NODELAY=1", "TIMEOUTclose = 5"]
        ca = get(self.root, "openSSL.server.caConfig")
        if verify and ca:
            lines += [f"verify = {verify}", f"CAfile = {ca}"]
        elif verify == 2:
            raise LauncherError("<openSSL><server><verificationMode> strict needs <caConfig>")
        for index, (host, port, label) in enumerate(self.tls):
            lines += [f"[{label}-{index}]", f"accept = {host}:{port}", f"connect = 127.0.0.1:{ports[label]}"]
            lines += ["protocol = proxy"]  # engine.c then knows the client's address
        config = self.private / "stunnel.conf"
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        # With the loader and the libraries that it was made with: the host's may be others.
        folder = LIBRARY.parent
        loader = [str(next((folder / "lib").glob("ld-linux*"))), "--library-path", str(folder / "lib")]
        return start([*loader, str(folder / "stunnel4"), str(config)], self.path, (lock,), {})


def start(argv: Sequence[str], cwd: Path, keep: tuple[int, ...], env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a child that dies with this process, whatever ends it."""
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *argv],
        stdin=subprocess.PIPE,
        cwd=cwd,
        pass_fds=keep,
        env={**os.environ, **env},
    )


def died(what: str, status: int) -> NoReturn:
    """A child ended by itself: so must the server, for systemd to start it again."""
    raise LauncherError(f"{what} ended with {status}")


def server(argv: Sequence[str]) -> int:
    """Run a server in the foreground until SIGTERM."""
    parser = argparse.ArgumentParser(prog="clickhouse server", description="Stand-in: " + ABOUT)
    parser.add_argument("-C", "--config-file", "--config", default=CONFIG, type=Path)
    parser.add_argument("-P", "--pid-file", "--pidfile", type=Path)
    options = parser.parse_args(argv)
    check_library()
    node = Server(options.config_file.absolute())
    node.path.mkdir(parents=True, exist_ok=True)
    node.private.mkdir(mode=0o700, parents=True, exist_ok=True)

    def stop(*_: object) -> None:
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signal_number, signal.SIG_IGN)
        raise Stop

    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signal_number, stop)
        lock = take_lock(node.private / "lock")
        node.write()
        node.keep_system_database()
        children["the engine"], ports = node.start_engine(lock)
        if node.tls:
            children["stunnel"] = node.start_stunnel(ports, lock)
        if options.pid_file:
            options.pid_file.write_text(f"{os.getpid()}\n", encoding="ascii")
        wait_open(node.open, children)
        notify_ready()
        pid, status = os.wait()
        died(next(name for name, child in children.items() if child.pid == pid), os.waitstatus_to_exitcode(status))
    except Stop:
        end(children)
        return 0
    finally:
        for child in children.values():
            child.kill()
        if options.pid_file:
            options.pid_file.unlink(missing_ok=True)


def take_lock(path: Path) -> int:
    """Wait for the end of an earlier server's children: they hold the lock as long as they hold the ports."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + 10
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise LauncherError(f"another server in the same directory is already running ({path})") from None
            time.sleep(0.02)


def wait_open(expected: Sequence[tuple[str, int]], children: dict[str, subprocess.Popen[bytes]]) -> None:
    """Wait until every port is open. A connection would tell too, but leaves errors in the logs."""
    while not all(listening(host, port) for host, port in expected):
        for name, child in children.items():
            if child.poll() is not None:
                died(name, child.returncode)
        time.sleep(0.02)


def listening(host: str, port: int) -> bool:
    """Whether a socket listens there, by the kernel's table."""
    address = ipaddress.ip_address(host)
    words = [address.packed[i : i + 4][::-1].hex().upper() for i in range(0, len(address.packed), 4)]
    table = Path("/proc/self/net/tcp6" if address.version == 6 else "/proc/self/net/tcp").read_text(encoding="ascii")
    return re.search(rf"^ *\d+: {''.join(words)}:{port:04X} [0-9A-F:]+ 0A ", table, re.M) is not None


def notify_ready() -> None:
    """Tell systemd (Type=notify) that the ports are open."""
    name = os.environ.get("NOTIFY_SOCKET")
    if name:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect("\0" + name[1:] if name.startswith("@") else name)
            channel.send(b"READY=1")


def end(children: dict[str, subprocess.Popen[bytes]]) -> None:
    """Let the engine shut down, but not for ever."""
    engine = children.get("the engine")
    if engine is not None and engine.stdin is not None:
        engine.stdin.close()
        try:
            engine.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"clickhouse: the engine did not stop within {STOP_SECONDS} s, killing it", file=sys.stderr)


# --- the other programs -----------------------------------------------------------------------------------------------


def extract(argv: Sequence[str]) -> int:
    """Print a value of the merged configuration."""
    parser = argparse.ArgumentParser(prog="clickhouse extract-from-config")
    parser.add_argument("-c", "-C", "--config-file", required=True, type=Path)
    parser.add_argument("-k", "--key", required=True)
    parser.add_argument("--users", action="store_true", help="look in the users' configuration")
    parser.add_argument("--try", action="store_true", dest="missing_ok", help="a missing key is no error")
    options = parser.parse_args(argv)
    root = load(options.config_file.absolute())
    if options.users:
        root = load(users_path(root, options.config_file.absolute()))
    node = find(root, options.key)
    if node is not None:
        print((node.text or "").strip())
    elif not options.missing_ok:
        raise LauncherError(f"Not found: {options.key}")
    return 0


def local(argv: Sequence[str]) -> int:
    """Run `clickhouse local` in the engine. It writes errors to stderr and always ends with 0: read the code there."""
    process = subprocess.Popen([str(ENGINE), str(LIBRARY), *argv], stderr=subprocess.PIPE)
    code = 0
    assert process.stderr is not None
    for line in process.stderr:
        sys.stderr.buffer.write(line)
        match = re.match(rb"Code: (\d+)\. DB::Exception", line)
        if match:
            code = int(match[1]) % 256 or 1
    return process.wait() or code


def client(argv: Sequence[str]) -> int:
    """Send statements to a server."""
    parser = argparse.ArgumentParser(
        prog="clickhouse client",
        add_help=False,
        description="Stand-in for the official client. It talks HTTP(S) to the HTTP(S) port that belongs to the native "
        f"port given: {CONFIG} says which, else 8123 or, with --secure, 8443.",
    )
    parser.add_argument("--help", action="help")
    parser.add_argument("-C", "--config-file", "--config", type=Path)
    parser.add_argument("-h", "--host")
    parser.add_argument("--port", type=int, help="native port, as for the official client")
    parser.add_argument("--http-port", type=int, help="HTTP(S) port; the stand-in's own option")
    parser.add_argument("-s", "--secure", action="store_true")
    parser.add_argument("--accept-invalid-certificate", action="store_true")
    parser.add_argument("-u", "--user")
    parser.add_argument("--password")
    parser.add_argument("-d", "--database")
    parser.add_argument("-q", "--query", action="append", nargs="+", default=[])
    parser.add_argument("-n", "--multiquery", nargs="*", default=[])
    parser.add_argument("-f", "--format", default="TabSeparated")
    options = parser.parse_args(argv)

    path = options.config_file or next(filter(Path.exists, CLIENT_CONFIGS), None)
    config = load(path) if path else ET.Element("config")
    user = options.user or get(config, "user") or os.environ.get("CLICKHOUSE_USER") or "default"
    password = options.password or get(config, "password") or os.environ.get("CLICKHOUSE_PASSWORD") or ""
    secure = options.secure or get(config, "secure") in ("1", "true", "yes")
    host = options.host or get(config, "host") or os.environ.get("CLICKHOUSE_HOST") or "localhost"
    native = options.port or number(config, "port")
    port = options.http_port or http_port(native, secure)

    connection: http.client.HTTPConnection
    if secure:
        context = tls_context(config, options.accept_invalid_certificate)
        connection = http.client.HTTPSConnection(host, port, context=context)
    else:
        connection = http.client.HTTPConnection(host, port)
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "X-ClickHouse-Format": options.format}
    if options.database:
        headers["X-ClickHouse-Database"] = options.database
    target = "/?" + urllib.parse.urlencode({"session_id": str(uuid.uuid4())})

    queries = [text for group in [*options.query, options.multiquery] for text in group]
    statements = [statement for text in queries or [sys.stdin.read()] for statement in split(text)]
    for statement in statements:
        body = statement.encode()
        # INSERT ... FORMAT x: the data is on stdin.
        if queries and re.match(r"insert\b(?!.*\b(values|select)\b)", statement, re.I | re.S):
            body += b"\n" + sys.stdin.buffer.read()
        try:
            connection.request("POST", target, body, headers)
            answer = connection.getresponse()
            data = answer.read()
        except OSError as exc:
            print(f"Code: 210. DB::NetException: {exc} ({host}:{port}). (NETWORK_ERROR)", file=sys.stderr)
            return 210
        if answer.status != 200:
            text = data.decode(errors="replace").strip()
            code = int(answer.headers.get("X-ClickHouse-Exception-Code", "0"))
            text = text.replace("DB::", f"DB::Exception: Received from {host}:{native or port}. DB::", 1)
            print(f"Received exception from server:\n{text}\n(query: {statement})", file=sys.stderr)
            return code % 256 or 1
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    return 0


def http_port(native: int, secure: bool) -> int:
    """The HTTP(S) port of the server that has this native port, as far as the machine's own configuration tells."""
    try:
        root = load(Path(CONFIG))
        names = ("tcp_port_secure", "https_port") if secure else ("tcp_port", "http_port")
        own, port = number(root, names[0]), number(root, names[1])
        if port and native in (0, own):
            return port
    except LauncherError:
        pass  # no server here, or its configuration is not for this user to read
    return 8443 if secure else 8123


def tls_context(config: ET.Element, accept_invalid: bool) -> ssl.SSLContext:
    """TLS as the client's configuration wants it."""
    context = ssl.create_default_context(cafile=get(config, "openSSL.client.caConfig") or None)
    certificate = get(config, "openSSL.client.certificateFile")
    if certificate:
        context.load_cert_chain(certificate, get(config, "openSSL.client.privateKeyFile") or None)
    if accept_invalid or get(config, "openSSL.client.verificationMode") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def split(text: str) -> list[str]:
    """Statements of a script: `;` ends one, but not in quotes and comments."""
    comment = r"--[^\n]*|/\*.*?\*/"
    token = rf"'(?:\\.|''|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`(?:\\.|[^`\\])*`|{comment}|."
    statements = [""]
    for part in re.findall(token, text, re.S):
        if part == ";":
            statements.append("")
        else:
            statements[-1] += part
    return [item.strip() for item in statements if re.sub(rf"{comment}|\s", "", item, flags=re.S)]


def main() -> int:
    """Do what the first argument, or the name of the symlink, says."""
    programs = {"server": server, "client": client, "local": local, "extract-from-config": extract}
    name, words = Path(sys.argv[0]).name.removeprefix("clickhouse-"), sys.argv[1:]
    if name not in programs:
        name, words = (words[0], words[1:]) if words else ("", [])
    if {name, *words} & {"-V", "--version"}:
        print("ClickHouse", *([name] if name in programs else []), ABOUT)
        return 0
    if name not in programs:
        print(f"Use one of: clickhouse {' | '.join(programs)} | --version ({ABOUT})", file=sys.stderr)
        return 1
    try:
        return programs[name](words)
    except LauncherError as exc:
        print(f"clickhouse {name}: {exc}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
