#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mirror_archive
short_description: Download a vendor's archive and verify it
version_added: 0.1.0
description:
  - Downloads one archive, compares it with the checksum that its vendor publishes and with the checksum in a lock file, and verifies
    its signature with the tool that the vendor names.
  - The file appears at its path only after it is complete and verified. An interrupted download is continued, also by the next run. An
    existing file with the wrong checksum is downloaded again.
  - An archive that the lock file already has as verified is compared with the lock file only. The vendor is not contacted.
author:
  - groundwork.observability maintainers (@groundwork)
attributes:
  check_mode:
    description: Check mode downloads nothing, and RV(lock) is empty for an archive that does not exist yet.
    support: full
  diff_mode:
    description: Returns details on what has changed, or would change.
    support: none
  platform:
    description: Runs on any host that can reach the vendor, usually on the controller.
    platforms: posix
    support: full
options:
  url:
    description: URL of the archive. The module uses the proxies of the environment. Required without O(requirements) and O(npm_lock).
    type: str
  path:
    description: Path of the file on the host. Its folder must exist, and its name must be the name of the archive.
    type: path
    required: true
  checksum:
    description: Where the vendor publishes the checksum of the archive. Leave it out if the vendor publishes none.
    type: dict
    suboptions:
      url:
        description: URL of a file with the bare checksum, with lines of checksum and name, or with the versions of a Grafana plugin.
        type: str
        required: true
      algorithm:
        description: The algorithm.
        type: str
        choices: [sha256, sha512]
        required: true
      version:
        description: For a Grafana plugin, its version.
        type: str
      package:
        description: For a Grafana plugin, the name of the platform's package, for example V(linux-amd64).
        type: str
  signature:
    description: How to verify the vendor's signature. Leave it out if the vendor does not sign the archive.
    type: dict
    suboptions:
      files:
        description: Names and URLs of the files that O(signature.commands) need.
        type: dict
        required: true
      commands:
        description:
          - Commands, each a list of words. They run in order until one fails. C({path}) stands for the archive, C({folder}) for a folder
            that is empty before the first command, and C({name}) for the file of that name in O(signature.files).
          - If a program is not installed, no command runs, and RV(lock) says so.
        type: list
        elements: list
        required: true
  requirements:
    description:
      - Requirements file of C(pip) with every package of the archive, its version and its SHA-256, for an archive of Python packages that
        nobody publishes. C(pip) of the module's Python downloads the packages, and the module packs them.
      - The same packages give the same archive on every host.
    type: path
  npm_lock:
    description:
      - File C(package-lock.json) of C(npm), with its C(package.json) beside it, for an archive of Node.js packages that nobody publishes.
        C(npm) downloads the packages, compares them with the checksums in the file and runs none of their scripts. The module packs
        them as the folder C(node_modules), with the files C(*.js) that are beside the lock file.
      - The same packages give the same archive on every host.
    type: path
  arch:
    description: Platform of the hosts that O(requirements) is for.
    type: str
    choices: [amd64, arm64]
    default: amd64
  lock:
    description: Entry of the archive in the lock file, as RV(lock) of an earlier run returned it. Empty if the archive is not pinned yet.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Download an archive that publishes its checksum
  groundwork.observability.mirror_archive:
    url: https://packages.clickhouse.com/tgz/stable/clickhouse-common-static-26.7.2.59-arm64.tgz
    path: /srv/mirror/clickhouse-common-static-26.7.2.59-arm64.tgz
    checksum:
      url: https://packages.clickhouse.com/tgz/stable/clickhouse-common-static-26.7.2.59-arm64.tgz.sha512
      algorithm: sha512
  register: archive

- name: Look at what it was compared with
  ansible.builtin.debug:
    var: archive.lock
"""

RETURN = r"""
lock:
  description: What a lock has to say about the archive.
  returned: success
  type: dict
  contains:
    sha256:
      description: Its SHA-256 in hexadecimal digits.
      type: str
    size:
      description: Its size in bytes.
      type: int
    source:
      description: Where it was downloaded from.
      type: str
    checksum:
      description: Which checksum of the vendor it was compared with, or V(none published).
      type: str
    signature:
      description: V(valid), V(none published), or V(not verified) and why.
      type: str
  sample:
    sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
    size: 3
    source: https://packages.clickhouse.com/tgz/stable/clickhouse-common-static-26.7.2.59-arm64.tgz
    checksum: sha512 as published
    signature: none published
"""

import pathlib

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.groundwork.observability.plugins.module_utils import _artifacts, _packages


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str"},
            "path": {"type": "path", "required": True},
            "requirements": {"type": "path"},
            "npm_lock": {"type": "path"},
            "arch": {"type": "str", "choices": ["amd64", "arm64"], "default": "amd64"},
            "checksum": {
                "type": "dict",
                "options": {
                    "url": {"type": "str", "required": True},
                    "algorithm": {"type": "str", "required": True, "choices": ["sha256", "sha512"]},
                    "version": {"type": "str"},
                    "package": {"type": "str"},
                },
            },
            "signature": {
                "type": "dict",
                "options": {
                    "files": {"type": "dict", "required": True},
                    "commands": {"type": "list", "elements": "list", "required": True},
                },
            },
            "lock": {"type": "dict", "default": {}},
        },
        mutually_exclusive=[["requirements", "npm_lock", "url"]],
        required_one_of=[["requirements", "npm_lock", "url"]],
        supports_check_mode=True,
    )
    path = pathlib.Path(module.params["path"])
    pinned = module.params["lock"]
    checksum = {key: value for key, value in (module.params["checksum"] or {}).items() if value is not None}
    wanted = {"archive": path.name, "url": module.params["url"], "checksum": checksum, "signature": module.params["signature"] or {}}
    if module.check_mode:
        there = path.exists() and ("sha256" not in pinned or _artifacts.file_hash(path) == pinned["sha256"])
        module.exit_json(changed=not there, lock=pinned)
    try:
        if module.params["requirements"]:
            requirements = pathlib.Path(module.params["requirements"]).read_text(encoding="utf-8")
            lock, changed = _packages.fetch(
                lambda made: _packages.build_archive(requirements, module.params["arch"], made), "pip", path, pinned
            )
        elif module.params["npm_lock"]:
            packages = pathlib.Path(module.params["npm_lock"])
            lock, changed = _packages.fetch(lambda made: _packages.build_npm_archive(packages, made), "npm", path, pinned)
        else:
            lock, changed = _artifacts.fetch(wanted, path, pinned)
    except (_artifacts.ArtifactError, OSError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=changed, lock=lock)


if __name__ == "__main__":
    main()
