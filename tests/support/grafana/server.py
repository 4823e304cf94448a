# GNU General Public License v3.0+ (see LICENSE)
"""The listening socket: HTTP/1.1 or HTTPS, a thread for each connection."""

from __future__ import annotations

import socket
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .app import App
from .config import Config, ConfigError

LARGEST_BODY = 32 * 1024 * 1024


class Server(ThreadingHTTPServer):
    """Serves one App."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, app: App) -> None:
        self.app = app
        self.tls = tls_context(app.config)
        address = app.config.text("server", "http_addr")
        if ":" in address or (not address and socket.has_dualstack_ipv6()):
            self.address_family = socket.AF_INET6
        super().__init__((address, app.config.number("server", "http_port", 3000)), Handler)

    def server_bind(self) -> None:
        """Without an address listen on IPv4 and IPv6, as Grafana does."""
        if self.address_family == socket.AF_INET6 and not self.server_address[0]:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's, which asks the resolver for this host's name.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept; the handshake is left to the connection's own thread."""
        connection, address = self.socket.accept()
        connection.settimeout(Handler.timeout)
        if self.tls:
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away, or speaks no TLS: nothing to report."""


class Handler(BaseHTTPRequestHandler):
    """Turns a connection's bytes into requests to the App."""

    protocol_version = "HTTP/1.1"
    server_version = "groundwork-grafana-standin"
    sys_version = ""
    timeout = 60
    disable_nagle_algorithm = True
    server: Server

    def _answer(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if self.headers.get("Transfer-Encoding") or not length.isdecimal() or int(length) > LARGEST_BODY:
            self.close_connection = True
            self.send_error(413 if length.isdecimal() else 411)
            return
        headers = {key.lower(): value for key, value in self.headers.items()}
        method = "GET" if self.command == "HEAD" else self.command
        reply = self.server.app.handle(method, self.path, headers, self.rfile.read(int(length)))
        body = b"" if reply.status == 204 else reply.encode()
        charset = "; charset=UTF-8" if reply.status >= 400 else ""
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type or f"application/json{charset}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        for key, value in reply.headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def log_message(self, format: str, *args: object) -> None:
        """Grafana logs requests only with `router_logging`."""
        if self.server.app.config.flag("server", "router_logging"):
            self.server.app.log(
                "info", "context", "Request Completed", method=self.command, path=self.path.split("?")[0]
            )


def tls_context(config: Config) -> ssl.SSLContext | None:
    """For `protocol = https` or `h2`; None for plain HTTP."""
    protocol = config.text("server", "protocol", "http")
    if protocol == "http":
        return None
    if protocol not in ("https", "h2"):
        raise ConfigError(f"[server] protocol: the stand-in does not serve {protocol!r}")
    files = {key: config.text("server", key) for key in ("cert_file", "cert_key")}
    for key, value in files.items():
        if not value:
            raise ConfigError(f"{key} cannot be empty when using HTTPS")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    least = config.text("server", "min_tls_version") or "TLS1.2"
    if least not in ("TLS1.2", "TLS1.3"):
        raise ConfigError(f"[server] min_tls_version: unknown version {least!r}")
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if least == "TLS1.3" else ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(files["cert_file"], files["cert_key"])
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot load {files['cert_file']} and {files['cert_key']}: {error}") from error
    return context
