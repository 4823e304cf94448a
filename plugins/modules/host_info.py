#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Gather information about a host that the platform's requirements are checked with
version_added: 0.1.0
description:
  - Reads the platform, the memory, the clock, the file systems of given paths, and which processes listen on given ports.
  - The filter P(groundwork.observability.host_problems#filter) compares the result with the requirements.
author:
  - groundwork.observability maintainers (@groundwork)
attributes:
  check_mode:
    description: Changes nothing, so check mode is the same.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
  platform:
    description: Works on Linux, reads C(/proc).
    platforms: linux
    support: full
options:
  paths:
    description: Absolute paths to look at. For a path that does not exist, the module looks at its nearest existing parent.
    type: list
    elements: path
    default: []
  ports:
    description: TCP ports to look at.
    type: list
    elements: int
    default: []
  controller_time:
    description: The controller's time in seconds since 1970, read just before the module starts. RV(clock_seconds) is compared with it.
    type: float
"""

EXAMPLES = r"""
- name: Ask the host what it has
  groundwork.observability.host_info:
    paths: [/var/lib/clickhouse]
    ports: [8443, 9440]
    controller_time: "{{ now(utc=true).timestamp() }}"
  become: true
  register: host
"""

RETURN = r"""
machine:
  description: The platform, as C(uname -m) prints it.
  returned: always
  type: str
  sample: x86_64
cpu_flags:
  description: Features of the processor, from C(/proc/cpuinfo).
  returned: always
  type: list
  elements: str
python:
  description: Version of the Python that ran the module.
  returned: always
  type: str
  sample: 3.11.2
systemd:
  description: Version of systemd, or 0 if systemd did not start the host.
  returned: always
  type: int
  sample: 252
memory_bytes:
  description: Memory of the host, in bytes.
  returned: always
  type: int
clock_seconds:
  description:
    - By how many seconds the host's clock is ahead of O(controller_time). The time that it took to start the module is part of it.
    - It is 0 without O(controller_time).
  returned: always
  type: float
file_systems:
  description: The file system that holds each of O(paths).
  returned: always
  type: dict
  contains:
    exists:
      description: Whether the path itself is there.
      type: bool
    mount:
      description: Where the file system is mounted.
      type: str
    type:
      description: Its type.
      type: str
      sample: ext4
    size_bytes:
      description: Its size.
      type: int
    free_bytes:
      description: What is free on it for accounts other than root.
      type: int
listeners:
  description: Sockets that listen on O(ports).
  returned: always
  type: list
  elements: dict
  contains:
    port:
      description: The port.
      type: int
    address:
      description: The address, V(0.0.0.0) or V(::) for all.
      type: str
    user:
      description: The account that opened the socket.
      type: str
    process:
      description: Name of the process, empty where it cannot be seen, as in a container without the capability for it.
      type: str
"""

import glob
import os
import platform
import pwd
import re
import socket
import struct
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule


def lines(path: str) -> list[str]:
    """Lines of a file, none where it is not there."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def cpu_flags() -> list[str]:
    """What the first processor can do."""
    for line in lines("/proc/cpuinfo"):
        name, flags = (line.split(":", 1) + [""])[:2]
        if name.strip() in ("flags", "Features"):
            return sorted(flags.split())
    return []


def systemd_version(module: AnsibleModule) -> int:
    """The version of the systemd that started the host, else 0."""
    if not os.path.isdir("/run/systemd/system"):
        return 0
    out = module.run_command(["systemctl", "--version"])[1]
    found = re.match(r"systemd (\d+)", out)
    return int(found.group(1)) if found else 0


def memory_bytes() -> int:
    """All memory of the host."""
    for line in lines("/proc/meminfo"):
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def file_system(path: str) -> dict[str, t.Any]:
    """The file system that holds a path, or would hold it."""
    there = path
    while not os.path.exists(there):
        there = os.path.dirname(there)
    status = os.statvfs(there)
    real, mount, kind = os.path.realpath(there), "/", ""
    for line in lines("/proc/self/mounts"):
        where, found = line.split()[1:3]
        where = where.encode().decode("unicode_escape")
        # A later line covers an earlier one.
        if (real == where or real.startswith(where.rstrip("/") + "/")) and len(where) >= len(mount):
            mount, kind = where, found
    return {
        "exists": there == path,
        "mount": mount,
        "type": kind,
        "size_bytes": status.f_blocks * status.f_frsize,
        "free_bytes": status.f_bavail * status.f_frsize,
    }


def _address(text: str) -> str:
    """An address as the kernel prints it, in words of four bytes."""
    words = [struct.pack("=I", int(text[start : start + 8], 16)) for start in range(0, len(text), 8)]
    return socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, b"".join(words))


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def listening(ports: set[int]) -> dict[str, dict[str, t.Any]]:
    """Inode of each socket that listens on one of the ports, with port, address and account."""
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in lines(table)[1:]:
            fields = line.split()
            address, port = fields[1].split(":")
            if fields[3] == "0A" and int(port, 16) in ports:
                found[fields[9]] = {"port": int(port, 16), "address": _address(address), "user": _user(int(fields[7]))}
    return found


def processes(inodes: set[str]) -> dict[str, str]:
    """Name of the process that has each socket, as far as it can be seen."""
    found: dict[str, str] = {}
    for handle in glob.iglob("/proc/[0-9]*/fd/*") if inodes else ():
        try:
            target = os.readlink(handle)
        except OSError:
            continue
        inode = target[8:-1] if target.startswith("socket:[") else ""
        if inode in inodes:
            found[inode] = "".join(lines(os.path.dirname(os.path.dirname(handle)) + "/comm"))
    return found


def listeners(ports: t.Iterable[int]) -> list[dict[str, t.Any]]:
    """Who listens on the ports."""
    sockets = listening(set(ports))
    names = processes(set(sockets))
    found = [{**entry, "process": names.get(inode, "")} for inode, entry in sockets.items()]
    return sorted(found, key=lambda entry: (entry["port"], entry["address"]))


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "default": []},
            "ports": {"type": "list", "elements": "int", "default": []},
            "controller_time": {"type": "float"},
        },
        supports_check_mode=True,
    )
    given = module.params["controller_time"]
    ahead = time.time() - given if given is not None else 0.0
    try:
        module.exit_json(
            changed=False,
            machine=platform.machine(),
            cpu_flags=cpu_flags(),
            python=platform.python_version(),
            systemd=systemd_version(module),
            memory_bytes=memory_bytes(),
            clock_seconds=ahead,
            file_systems={path: file_system(path) for path in module.params["paths"]},
            listeners=listeners(module.params["ports"]),
        )
    except OSError as error:
        module.fail_json(msg=f"the host does not tell: {error}")


if __name__ == "__main__":
    main()
