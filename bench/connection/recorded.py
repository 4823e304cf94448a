# GNU General Public License v3.0+ (see LICENSE)

"""A stand-in for hosts: answers what Ansible asks from a recording of a real host's answers, or makes such a recording by ssh."""

from __future__ import annotations

DOCUMENTATION = """
name: recorded
short_description: Answers from a recording instead of a host
description:
  - For measuring the controller with more hosts than a machine can run. No host is there; every answer is one that a real host gave.
  - A question is known by its module and what it asks about. One without an answer in the recording fails by name.
author: groundwork.observability maintainers
options:
  recording:
    description: The file with questions and answers, as JSON lines.
    required: true
    vars:
      - name: recorded_file
  record:
    description: Whether to ask the host by ssh and write the answers down, instead of answering from the file.
    type: bool
    default: false
    vars:
      - name: recorded_record
  key:
    description: The ssh key to record with.
    vars:
      - name: ansible_ssh_private_key_file
extends_documentation_fragment:
  - connection_pipelining
"""

import ast
import fcntl
import functools
import json
import re
import subprocess
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection import ConnectionBase

# Ansible's name of a temporary folder, new for each task.
TEMPORARY = re.compile(r"ansible-tmp-[\d.]+-\d+-\d+")
# What a module's question is about, in its arguments.
SUBJECTS = ("unit", "path", "paths", "src", "name", "url", "accounts", "argv")


def question(command: str, payload: bytes | None) -> str:
    """A question without what differs from host to host: the module and its subject, or the command."""
    for line in (payload or b"").split(b"\n"):
        if line.startswith(b"module_fqn="):
            module = ast.literal_eval(line[len(b"module_fqn=") : -1].decode())
        if line.startswith(b"params="):
            arguments = json.loads(ast.literal_eval(line[len(b"params=") : -1].decode()))["ANSIBLE_MODULE_ARGS"]
            subject = next((arguments[name] for name in SUBJECTS if arguments.get(name)), "")
            return re.sub(r"\b(172\.29|10\.0)\.\d+\.\d+", "ADDRESS", f"{module.rsplit('.', 1)[-1]} {json.dumps(subject)}")
    return re.sub(r"BECOME-SUCCESS-\w+", "BECOME-SUCCESS", TEMPORARY.sub("ansible-tmp", command))


@functools.cache
def answers(file: str) -> dict[str, list[Any]]:
    """Question -> exit status, output, errors."""
    with open(file, encoding="utf-8") as stream:
        return {entry["question"]: [entry["status"], entry["out"], entry["err"]] for entry in map(json.loads, stream)}


class Connection(ConnectionBase):
    """No host, or one that is asked by ssh and listened to."""

    transport = "recorded"
    has_pipelining = True

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """The answer to a question."""
        asked = question(cmd, in_data)
        if not self.get_option("record"):
            try:
                status, out, err = answers(self.get_option("recording"))[asked]
            except KeyError:
                raise AnsibleConnectionFailure(f"the recording {self.get_option('recording')} has no answer to: {asked}") from None
            folder = TEMPORARY.search(cmd)
            return status, (out.replace("ansible-tmp", folder.group()) if folder else out).encode(), err.encode()
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        address = f"{self._play_context.remote_user}@{self._play_context.remote_addr}"
        argv = ["ssh", *options, "-i", self.get_option("key"), address, cmd]
        done = subprocess.run(argv, input=in_data or b"", capture_output=True, check=False)
        out = re.sub(rb"^BECOME-SUCCESS-\w+\r?\n", b"", done.stdout)
        entry = {
            "question": asked,
            "status": done.returncode,
            "out": TEMPORARY.sub("ansible-tmp", out.decode()),
            "err": done.stderr.decode(),
        }
        with open(self.get_option("recording"), "a", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.write(json.dumps(entry) + "\n")
        return done.returncode, out, done.stderr

    def put_file(self, in_path: str, out_path: str) -> None:
        """Nothing is sent in a run without changes."""
        raise AnsibleConnectionFailure(f"a run without changes sends no file: {in_path}")

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Nothing is fetched either."""
        raise AnsibleConnectionFailure(f"a run without changes fetches no file: {in_path}")

    def close(self) -> None:
        """Nothing is open."""
        self._connected = False
