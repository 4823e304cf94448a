# GNU General Public License v3.0+ (see LICENSE)
"""The ensemble: one leader, TLS with certificates only, ClickHouse's nodes are its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


def test_one_leader(hosts: dict[str, Any], groups: dict[str, list[str]], platform: Any, ask: Callable[..., str]) -> None:
    states = []
    for name in groups["zookeeper"]:
        status, body = ask(hosts[name], f"http://127.0.0.1:{platform.setting('zookeeper_admin_port', name)}/commands/srvr").split(" ", 1)
        assert status == "200"
        states.append(json.loads(body)["server_stats"]["server_state"])
    followers = ["follower"] * (len(states) - 1)
    assert sorted(states) == (sorted(["leader", *followers]) if followers else ["standalone"])


def test_connection_without_a_client_certificate_is_refused(hosts: dict[str, Any], groups: dict[str, list[str]], platform: Any) -> None:
    program = """
import socket, ssl, sys
def talk(tls):
    sock = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)
    try:
        if tls:
            context = ssl.create_default_context(cafile="/etc/zookeeper/tls/ca.pem")
            if tls == "certificate":
                context.load_cert_chain("/etc/zookeeper/tls/host.pem")
            sock = context.wrap_socket(sock, server_hostname=sys.argv[1])
        sock.sendall(b"ruok")
        return sock.recv(100)
    except OSError:
        return b""
print(talk(""), talk("tls"), talk("certificate"))
"""
    for name in groups["zookeeper"]:
        port = str(platform.setting("zookeeper_client_port", name))
        assert hosts[name].check_output("python3 -c %s %s %s", program, platform.addresses[name], port) == "b'' b'' b'imok'", name


def test_members_have_distinct_identities(hosts: dict[str, Any], groups: dict[str, list[str]], platform: Any) -> None:
    files = {name: f"{platform.setting('zookeeper_data_dir', name)}/myid" for name in groups["zookeeper"]}
    identities = [hosts[name].file(file).content_string.strip() for name, file in files.items()]
    assert identities == [str(number) for number in range(1, len(identities) + 1)]
