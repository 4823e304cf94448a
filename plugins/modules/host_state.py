#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_state
short_description: Report which paths and accounts a host lacks
version_added: 0.1.0
author: groundwork.observability maintainers (@groundwork)
description:
  - Looks for paths and accounts, and compares files, in one call. It changes nothing.
  - A role calls it before it installs something. A run that has nothing to install then needs one task instead of one for each path and
    account.
attributes:
  check_mode:
    description: The module changes nothing, so it does the same in check mode.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
  platform:
    description: The module runs on the host.
    support: full
    platforms: posix
options:
  file_system:
    description: A path. RV(file_system_bytes) is the size of the file system that holds it, or that would hold it where it does not exist.
    type: path
  paths:
    description: Paths that must exist.
    type: list
    elements: path
    default: []
  patterns:
    description: Patterns of paths, as of a shell. RV(matching_paths) has those that exist.
    type: list
    elements: path
    default: []
  accounts:
    description: Accounts that must exist.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The account's name.
        type: str
        required: true
      groups:
        description: Groups that the account must be a member of.
        type: list
        elements: str
        default: []
  unchanged:
    description: Files that contain an identity. The module fails if a file exists and has other content.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file.
        type: path
        required: true
      content:
        description: Expected content. White space at both ends is ignored.
        type: str
        required: true
      refusal:
        description: Message if the content differs. V({found}) stands for the content that was found.
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Look for what the service needs
  groundwork.observability.host_state:
    paths: [/usr/bin/java]
    accounts:
      - name: zookeeper
  register: zookeeper_state

- name: Install what is missing
  ansible.builtin.include_tasks: install.yml
  when: not zookeeper_state.complete
"""

RETURN = r"""
complete:
  description: Whether all paths and all accounts are there.
  returned: always
  type: bool
missing_paths:
  description: Paths that are not there.
  returned: always
  type: list
  elements: str
matching_paths:
  description: Paths that match O(patterns), sorted.
  returned: always
  type: list
  elements: str
missing_accounts:
  description: Accounts that are not there, or that lack a group.
  returned: always
  type: list
  elements: str
file_system_bytes:
  description: Size of the file system of O(file_system) in bytes, without what the file system reserves for root.
  returned: with O(file_system)
  type: int
"""

import glob
import grp
import os
import pwd
import typing as t

from ansible.module_utils.basic import AnsibleModule


def has_account(name: str, groups: t.Iterable[str]) -> bool:
    """Whether the account is there and a member of the groups. A group that does not exist counts as missing."""
    try:
        primary = pwd.getpwnam(name).pw_gid
        return all(name in group.gr_mem or group.gr_gid == primary for group in map(grp.getgrnam, groups))
    except KeyError:
        return False


def other_content(path: str, content: str) -> t.Optional[str]:
    """What a file holds instead of the content; None where it holds that, or is not there."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            found = stream.read(4096).strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None if found == content.strip() else found


def file_system_bytes(path: str) -> int:
    """Bytes that accounts other than root can use on the file system of a path. It does not change as files come and go."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    status = os.statvfs(path)
    return (status.f_blocks - (status.f_bfree - status.f_bavail)) * status.f_frsize


def main() -> None:
    """Entry point."""
    account = {"name": {"type": "str", "required": True}, "groups": {"type": "list", "elements": "str", "default": []}}
    identity = {
        "path": {"type": "path", "required": True},
        "content": {"type": "str", "required": True},
        "refusal": {"type": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "file_system": {"type": "path"},
            "paths": {"type": "list", "elements": "path", "default": []},
            "patterns": {"type": "list", "elements": "path", "default": []},
            "accounts": {"type": "list", "elements": "dict", "default": [], "options": account},
            "unchanged": {"type": "list", "elements": "dict", "default": [], "options": identity},
        },
        supports_check_mode=True,
    )
    try:
        for entry in module.params["unchanged"]:
            found = other_content(entry["path"], entry["content"])
            if found is not None:
                module.fail_json(msg=entry["refusal"].replace("{found}", found))
        system = module.params["file_system"]
        size = {"file_system_bytes": file_system_bytes(system)} if system else {}
    except OSError as error:
        module.fail_json(msg=str(error))
    paths = [path for path in module.params["paths"] if not os.path.exists(path)]
    accounts = [entry["name"] for entry in module.params["accounts"] if not has_account(entry["name"], entry["groups"])]
    matching = sorted(path for pattern in module.params["patterns"] for path in glob.glob(pattern))
    module.exit_json(
        changed=False,
        complete=not paths and not accounts,
        missing_paths=paths,
        missing_accounts=accounts,
        matching_paths=matching,
        **size,
    )


if __name__ == "__main__":
    main()
