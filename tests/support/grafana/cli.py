# GNU General Public License v3.0+ (see LICENSE)
"""`grafana server`, `grafana cli` and `grafana --version`."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from . import BANNER
from .app import App, find_plugins
from .config import Config, ConfigError
from .log import Log
from .provisioning import ProvisioningError, provision, watch_dashboards
from .server import Server
from .store import FILE_NAME, Store, hash_password, now


def main(home: Path, arguments: list[str]) -> int:
    """Run the program; its exit status."""
    options, rest = _parser(home).parse_known_args(arguments)
    if options.version or (options.command == "server" and options.v):
        print(BANNER)
        return 0
    overrides = {}
    for item in rest:
        name, separator, value = item.removeprefix("cfg:").partition("=")
        if not item.startswith("cfg:") or not separator:
            return _error(f"unknown argument {item!r}")
        overrides[name] = value
    home = Path(options.homepath).absolute()
    own = home / "conf" / "custom.ini"
    files = [Path(options.config)] if options.config else [own] if own.exists() else []
    try:
        config = Config(home, files, overrides)
        if options.command == "server":
            return serve(config, options.pidfile)
        return cli(config, options)
    except (ConfigError, ProvisioningError) as error:
        return _error(str(error))
    except OSError as error:
        return _error(f"{error.strerror}: {error.filename or ''}".rstrip(": "))


def serve(config: Config, pidfile: str) -> int:
    """Serve until SIGTERM or SIGINT."""
    os.umask(0o027)
    modes = config.text("log", "mode", "console").split()
    log = Log(modes, config.text("log", "level", "info"), config.path("logs"))
    log(
        "info", "server", "Starting Grafana's stand-in", version=BANNER, pid=os.getpid(), paths_data=config.path("data")
    )
    app = App(config, log)
    provision(app)
    server = Server(app)
    if pidfile:
        Path(pidfile).write_text(f"{os.getpid()}\n", encoding="ascii")

    def stop(_number: int, _frame: object) -> None:
        threading.Thread(target=server.shutdown, daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    watch_dashboards(app)
    protocol = config.text("server", "protocol", "http")
    log(
        "info",
        "http.server",
        "HTTP Server Listen",
        address=f"{server.server_name}:{server.server_port}",
        protocol=protocol,
    )
    _notify("READY=1")
    with server:
        server.serve_forever(poll_interval=0.1)
    log("info", "server", "Shutdown completed")
    if pidfile:
        Path(pidfile).unlink(missing_ok=True)
    return 0


def cli(config: Config, options: argparse.Namespace) -> int:
    """The two sub-commands that the stand-in has."""
    words = options.words
    if words[:2] == ["plugins", "ls"]:
        folder = Path(options.plugins_dir) if options.plugins_dir else config.path("plugins")
        plugins = find_plugins(folder, Log([], "error", folder))
        print("installed plugins:" if plugins else "no installed plugins found")
        for name, plugin in sorted(plugins.items()):
            print(f"{name} @ {plugin.get('info', {}).get('version', '')}")
        return 0
    if words == ["admin", "reset-admin-password"] and options.password_from_stdin:
        password = sys.stdin.readline().rstrip("\n")
        if len(password) < 4:
            return _error("the new password is too short: it needs at least 4 characters")
        store = Store(config.path("data") / FILE_NAME)
        with store.change():
            user = store.one("users", id=options.user_id)
            if user is None:
                return _error(f"could not read user from database. Error: user {options.user_id} not found")
            user.update(password=hash_password(password), updated=now())
        print("Admin password changed successfully ✔")
        return 0
    return _error("the stand-in knows `cli plugins ls` and `cli admin reset-admin-password --password-from-stdin`")


def _parser(home: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="grafana", description=BANNER, allow_abbrev=False)
    parser.add_argument("--version", "-v", action="store_true")
    commands = parser.add_subparsers(dest="command", required="--version" not in sys.argv and "-v" not in sys.argv)
    common = argparse.ArgumentParser(add_help=False)
    # Grafana's own flags take one dash or two.
    common.add_argument("--homepath", "-homepath", default=str(home))
    common.add_argument("--config", "-config", default="")
    server = commands.add_parser("server", parents=[common], allow_abbrev=False)
    server.add_argument("--pidfile", "-pidfile", default="")
    server.add_argument("--packaging", "-packaging", default="")
    server.add_argument("-v", action="store_true")
    cli_ = commands.add_parser("cli", parents=[common], allow_abbrev=False)
    cli_.add_argument("--pluginsDir", dest="plugins_dir", default="")
    cli_.add_argument("--password-from-stdin", action="store_true")
    cli_.add_argument("--user-id", type=int, default=1)
    cli_.add_argument("words", nargs="*")
    return parser


def _error(message: str) -> int:
    print(f"Error: ✗ {message}", file=sys.stderr)
    return 1


def _notify(state: str) -> None:
    """Tell systemd, when it started us with Type=notify."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
