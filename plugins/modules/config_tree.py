#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: config_tree
short_description: Write all configuration files of a service after checking them together
version_added: 0.1.0
description:
  - Compares the declared files with those on the host, has the program that reads them check all of them in a temporary folder, and
    then replaces the files that differ, each by an atomic rename. If the check fails, no file is changed.
  - Reports whether the running service started before its configuration changed, or has to read changed files again. The report is also
    right after an earlier run that was interrupted between writing and restarting. The module itself never restarts or reloads a service.
author:
  - groundwork.observability maintainers (@groundwork)
attributes:
  check_mode:
    description:
      - Predicts the result in check mode. The check of O(validate) runs in check mode, too, if its program exists.
    support: full
  diff_mode:
    description: Returns what has changed, or would change, without the contents of O(secret_files).
    support: full
  platform:
    description: Works on hosts with systemd.
    platforms: posix
    support: full
options:
  root:
    description: Folder of the configuration. It is created with O(folder_mode) if it is missing.
    type: path
    required: true
  owner:
    description: Owner of the folders, and of files without an owner of their own.
    type: str
    default: root
  group:
    description: Group of the folders, and of files without a group of their own.
    type: str
    default: root
  folder_mode:
    description: Permissions of folders that are created, as an octal string.
    type: str
    default: "0750"
  folders:
    description: Folders that must exist before the service first starts, such as a data folder outside of the unit's C(StateDirectory=).
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      mode:
        description: Permissions as an octal string.
        type: str
        default: "0750"
      owner:
        description: Owner, O(owner) by default.
        type: str
      group:
        description: Group, O(group) by default.
        type: str
  files:
    description: Files to write. Their contents show in diffs.
    type: list
    elements: dict
    default: []
    suboptions: &suboptions
      path:
        description:
          - Path below O(root), or an absolute path for a file elsewhere, such as a unit file.
          - Files outside of O(root) are not checked by O(validate).
        type: str
        required: true
      content:
        description: Content of the file, as text.
        type: str
        required: true
      mode:
        description: Permissions as an octal string.
        type: str
        default: "0640"
      owner:
        description: Owner, O(owner) by default.
        type: str
      group:
        description: Group, O(group) by default.
        type: str
  secret_files:
    description: Files to write whose contents are never shown, neither in diffs nor in the result nor in logs.
    type: list
    elements: dict
    default: []
    suboptions: *suboptions
  purge:
    description: Whether files below O(root) that are not declared are removed.
    type: bool
    default: false
  validate:
    description:
      - Command that checks the files, as a list of arguments. V({root}) in an argument stands for the folder with the files to check.
      - It runs in that folder, so that relative paths in the files are those of the files to check.
      - It runs if a file below O(root) would change, and if O(unit) has not read the present files yet, such as after an upgrade.
      - Check mode skips it if its program is not installed yet.
    type: list
    elements: str
    default: []
  validate_files:
    description: Files below V({root}) that only O(validate) reads, such as an account for the check. They are never written below O(root).
    type: list
    elements: dict
    default: []
    suboptions: *suboptions
  validate_options:
    description: Names of the options that the checked files come from. The message names them if O(validate) fails.
    type: list
    elements: str
    default: []
  unit:
    description: The systemd unit that reads the configuration.
    type: str
  former:
    description:
      - Absolute path of an archive outside of O(root). Before the module changes files that the running O(unit) was started with, it writes
        them there.
      - It is a tar archive of absolute paths for root only. To put the files back, unpack it at C(/).
      - Remove it when the new configuration has proved itself. The module removes one from before the last start of O(unit).
    type: path
  reload:
    description:
      - Files that O(unit) reads again while it runs. If only these change, RV(reload_needed) is true instead of RV(restart_needed).
    type: dict
    suboptions:
      files:
        description:
          - Patterns of paths below O(root), such as V(users.d/*), also for files that O(purge) removes.
          - V(*) matches any characters, C(/) as well.
        type: list
        elements: str
        required: true
      stamp:
        description:
          - Absolute path of a file whose modification time says when O(unit) last read these files again. Touch it after each reload.
          - The file is outside of O(root), and may be missing. A start of O(unit) counts as well.
          - Without it O(unit) notices by itself that the files have changed, and RV(reload_needed) is false.
        type: path
  watch:
    description:
      - Further paths that count as configuration when RV(restart_needed) is computed, such as the symlink to the installed version.
      - Symlinks are not followed.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Write the configuration of ZooKeeper
  groundwork.observability.config_tree:
    root: /etc/zookeeper
    group: zookeeper
    files:
      - path: zoo.cfg
        content: "{{ lookup('ansible.builtin.template', 'zoo.cfg.j2') }}"
      - path: /etc/systemd/system/zookeeper.service
        content: "{{ lookup('ansible.builtin.template', 'zookeeper.service.j2') }}"
        mode: "0644"
    secret_files:
      - path: tls/host.pem
        content: "{{ zookeeper_host_pem }}"
    unit: zookeeper.service
    watch:
      - /opt/zookeeper/current
  register: zookeeper_config

- name: Write the configuration of a collector, checked by the collector itself
  groundwork.observability.config_tree:
    root: /etc/otelcol/gateway
    files:
      - path: config.yaml
        content: "{{ gateway_configuration | ansible.builtin.to_nice_yaml }}"
    validate: [/opt/otelcol/current/otelcol-contrib, validate, "--config={root}/config.yaml"]
    unit: otelcol-gateway.service

- name: Write the users of a server that reads them again on request
  groundwork.observability.config_tree:
    root: /etc/clickhouse-server
    secret_files:
      - path: users.d/application.xml
        content: "{{ application_users_xml }}"
    unit: clickhouse-server.service
    reload:
      files: [users.d/*]
      stamp: /run/clickhouse-server.reloaded
  register: server_config

- name: Have the server read its files again
  when: server_config.reload_needed
  block:
    - name: Ask the server
      ansible.builtin.command: clickhouse-client --query "SYSTEM RELOAD CONFIG"
      changed_when: true

    - name: Remember that the server has read its files
      ansible.builtin.file:
        path: /run/clickhouse-server.reloaded
        state: touch
        mode: "0644"
"""

RETURN = r"""
changed_files:
  description: Paths that were, or would be, written or removed.
  returned: always
  type: list
  elements: str
  sample: [/etc/zookeeper/zoo.cfg]
restart_needed:
  description: Whether O(unit) started before its configuration changed, other than in files of O(reload). False if it is not running.
  returned: always
  type: bool
reload_needed:
  description:
    - Whether O(unit) has not read a change of O(reload.files) yet.
    - False if it is not running, and if RV(restart_needed) is true, because a restart reads all files.
  returned: always
  type: bool
daemon_reload_needed:
  description: Whether systemd has to reload the file of O(unit).
  returned: always
  type: bool
active:
  description: Whether O(unit) was running.
  returned: always
  type: bool
enabled:
  description: Whether O(unit) starts with the host.
  returned: always
  type: bool
"""

import functools
import grp
import os
import pwd
import shutil
import stat
import tarfile
import tempfile
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.groundwork.observability.plugins.module_utils._config_tree import (
    Change,
    File,
    diff,
    due,
    plan,
    problems,
    reload_problems,
    reloadable,
    started_with,
)


class TreeError(Exception):
    """What ends the run: one line for the user, before anything was written."""


def wanted(params: dict[str, t.Any], options: t.Sequence[str], lenient: bool) -> list[File]:
    """What the options declare. Accounts that do not exist yet are an error, or root where C(lenient) (check mode on a bare host)."""

    def number(database: t.Callable[[str], t.Any], field: int, name: str, option: str) -> int:
        try:
            return t.cast(int, database(name)[field])
        except KeyError:
            if lenient:
                return 0
            raise TreeError(f"{option}: there is no such account on this host: {name}") from None

    files = []
    for option in options:
        for entry in params[option]:
            try:
                mode = int(entry["mode"], 8)
            except ValueError:
                raise TreeError(f"{option}: mode of {entry['path']} is not an octal string: {entry['mode']!r}") from None
            files.append(
                File(
                    path=os.path.join(params["root"], entry["path"]),
                    content=entry.get("content", "").encode(),
                    mode=mode,
                    uid=number(pwd.getpwnam, 2, entry["owner"] or params["owner"], "owner"),
                    gid=number(grp.getgrnam, 2, entry["group"] or params["group"], "group"),
                    secret=option == "secret_files",
                )
            )
    return files


def read(path: str) -> File | None:
    """The file as it is on the host, None where there is none."""
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            raise TreeError(f"{path} is there but is not a regular file")
        with open(path, "rb") as handle:
            return File(path, handle.read(), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_folder(path: str) -> tuple[int, int, int] | None:
    """Permissions, owner and group of a folder, None where there is none."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(status.st_mode):
        raise TreeError(f"{path} is there but is not a folder")
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


def below(root: str) -> list[str]:
    """All files below a folder."""
    return [os.path.join(folder, name) for folder, _folders, names in os.walk(root) for name in names]


class Tree:
    """The folder on this host: makes folders, checks a candidate, writes changes."""

    def __init__(self, root: str, mode: int, uid: int, gid: int) -> None:
        self.root, self.mode, self.uid, self.gid = root, mode, uid, gid

    def folder(self, path: str, limit: str = "") -> None:
        """Makes a folder and its parents; those below C(limit), the root by default, get the declared owner and permissions."""
        if os.path.isdir(path):
            return
        self.folder(os.path.dirname(path), limit)
        os.mkdir(path, 0o755)
        if (path + "/").startswith((limit or self.root) + "/"):
            os.chmod(path, self.mode)
            os.chown(path, self.uid, self.gid)

    def write(self, file: File, limit: str = "") -> None:
        """Puts a file in place by rename: a reader sees the old or the new one, never a part."""
        self.folder(os.path.dirname(file.path), limit)
        handle, name = tempfile.mkstemp(dir=os.path.dirname(file.path), prefix=".config_tree-")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(file.content)
                os.fchmod(stream.fileno(), file.mode)
                os.fchown(stream.fileno(), file.uid, file.gid)
                stream.flush()
                os.fsync(stream.fileno())
            os.rename(name, file.path)
        except BaseException:
            os.unlink(name)
            raise

    def apply(self, change: Change) -> None:
        """Carries one change out."""
        if change.want is None:
            os.unlink(change.path)
        elif change.rewrites:
            self.write(change.want)
        else:
            os.chmod(change.path, change.want.mode)
            os.chown(change.path, change.want.uid, change.want.gid)

    def validate(self, module: AnsibleModule, files: t.Iterable[File], command: list[str]) -> None:
        """Lets the program check the wanted tree in a private folder. Raises TreeError with what it said."""
        staged = tempfile.mkdtemp(prefix="config_tree-")
        try:
            os.chmod(staged, self.mode)
            os.chown(staged, self.uid, self.gid)
            for file in files:
                if file.path.startswith(self.root + "/"):
                    self.write(_moved(file, self.root, staged), staged)
            argv = [argument.replace("{root}", staged) for argument in command]
            status, out, err = module.run_command(argv, cwd=staged)
            if status != 0:
                said = (err.strip() or out.strip()).replace(staged, self.root)
                options = module.params["validate_options"]
                todo = f" Look at {' and '.join(options)}." if options else ""
                raise TreeError(f"{argv[0]} refuses the new configuration, the old one is still in place: {said[-2000:]}{todo}")
        finally:
            shutil.rmtree(staged)


def keep(archive: str, files: t.Iterable[File]) -> None:
    """Writes files as they are into an archive for root only, in place of one that is there."""
    os.makedirs(os.path.dirname(archive), exist_ok=True)
    handle, name = tempfile.mkstemp(dir=os.path.dirname(archive), prefix=".config_tree-")
    try:
        with os.fdopen(handle, "wb") as stream:
            with tarfile.open(fileobj=stream, mode="w") as tar:
                for file in files:
                    tar.add(file.path)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(name, archive)
    except BaseException:
        os.unlink(name)
        raise


def _moved(file: File, root: str, target: str) -> File:
    return File(target + file.path[len(root):], file.content, file.mode, file.uid, file.gid, file.secret)


def unit_state(module: AnsibleModule, unit: str | None) -> dict[str, t.Any]:
    """Whether the unit runs, since when (epoch seconds), whether it is enabled, and whether systemd knows its present file."""
    if not unit:
        return {"active": False, "enabled": False, "started": 0.0, "reload": False}
    properties = "ActiveState,ExecMainStartTimestampMonotonic,NeedDaemonReload,LoadState,UnitFileState"
    status, out, err = module.run_command(["systemctl", "show", unit, f"--property={properties}"])
    if status != 0:
        raise TreeError(f"unit: systemctl show {unit} failed: {err.strip() or out.strip()}")
    shown = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
    monotonic = int(shown.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
    return {
        "active": shown.get("ActiveState") in ("active", "activating", "reloading"),
        "enabled": shown.get("UnitFileState") == "enabled",
        "started": time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + monotonic,
        "reload": shown.get("NeedDaemonReload") == "yes" or shown.get("LoadState") == "not-found",
    }


def modified(paths: t.Iterable[str]) -> dict[str, float]:
    """Path -> modification time of those paths that exist, in epoch seconds."""
    return {path: os.lstat(path).st_mtime for path in paths if os.path.lexists(path)}


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Compares, checks, writes; returns the module's result."""
    params = module.params
    root = params["root"].rstrip("/")
    wrong = problems(root, [entry["path"] for option in ("files", "secret_files") for entry in params[option]])
    if wrong:
        raise TreeError("files: " + "; ".join(wrong))
    wrong = reload_problems(root, params["reload"]["files"], params["reload"]["stamp"] or "") if params["reload"] else []
    if wrong:
        raise TreeError("reload: " + "; ".join(wrong))
    want = wanted(params, ("files", "secret_files"), lenient=module.check_mode)
    top = {"path": root, "mode": params["folder_mode"], "owner": None, "group": None}
    folders = wanted({**params, "folders": [top, *params["folders"]]}, ("folders",), lenient=module.check_mode)
    tree = Tree(root, folders[0].mode, folders[0].uid, folders[0].gid)
    missing = [folder for folder in folders if read_folder(folder.path) != (folder.mode, folder.uid, folder.gid)]
    existing = below(root) if params["purge"] else []
    have = {path: file for path in [*(file.path for file in want), *existing] if (file := read(path)) is not None}
    changes = plan(want, have, existing)

    command = params["validate"]
    within = any(change.rewrites and change.path.startswith(root + "/") for change in changes)
    state = unit_state(module, params["unit"])
    changed, times = [change.path for change in changes], modified([*(file.path for file in want), *params["watch"]])
    reload = params["reload"] or {"files": [], "stamp": None}
    reloads = reloadable(root, reload["files"], [*times, *changed])
    needed = functools.partial(
        due,
        times,
        reloads=reloads,
        started=state["started"] if state["active"] else float("inf"),
        reloaded=modified([reload["stamp"]]).get(reload["stamp"], 0.0) if reload["stamp"] else float("inf"),
    )
    if (within or any(needed(changed=[]))) and command and (not module.check_mode or os.path.exists(command[0])):
        tree.validate(module, [*want, *wanted(params, ("validate_files",), lenient=module.check_mode)], command)
    if not module.check_mode:
        if params["former"] and state["active"]:
            if modified([params["former"]]).get(params["former"], state["started"]) < state["started"]:
                # The service has been restarted since.
                os.unlink(params["former"])
            read_once = {path for path in (*have, *changed) if path not in reloads}
            if read_once & set(changed) and started_with(read_once, times, state["started"]):
                keep(params["former"], have.values())
        for folder in missing:
            os.makedirs(folder.path, exist_ok=True)
            os.chmod(folder.path, folder.mode)
            os.chown(folder.path, folder.uid, folder.gid)
        for change in changes:
            tree.apply(change)
    restart_needed, reload_needed = needed(changed=changed)
    unit_changed = any(params["unit"] and os.path.basename(change.path) == params["unit"] for change in changes)
    return {
        "changed": bool(changes or missing),
        "changed_files": [folder.path for folder in missing] + changed,
        "active": state["active"],
        "enabled": state["enabled"],
        "restart_needed": restart_needed,
        "reload_needed": reload_needed,
        "daemon_reload_needed": unit_changed or state["reload"],
        "diff": diff([*(Change(folder.path, None, folder, False) for folder in missing), *changes]),
    }


def main() -> None:
    """Entry point."""
    def entry(secret: bool) -> dict[str, t.Any]:
        return {
            "path": {"type": "str", "required": True},
            "content": {"type": "str", "required": True, "no_log": secret},
            "mode": {"type": "str", "default": "0640"},
            "owner": {"type": "str"},
            "group": {"type": "str"},
        }

    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "folder_mode": {"type": "str", "default": "0750"},
            "folders": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "mode": {"type": "str", "default": "0750"},
                    "owner": {"type": "str"},
                    "group": {"type": "str"},
                },
            },
            "files": {"type": "list", "elements": "dict", "default": [], "options": entry(False)},
            "secret_files": {"type": "list", "elements": "dict", "default": [], "options": entry(True), "no_log": False},
            "purge": {"type": "bool", "default": False},
            "validate": {"type": "list", "elements": "str", "default": []},
            "validate_files": {"type": "list", "elements": "dict", "default": [], "options": entry(False)},
            "validate_options": {"type": "list", "elements": "str", "default": []},
            "unit": {"type": "str"},
            "former": {"type": "path"},
            "reload": {
                "type": "dict",
                "options": {
                    "files": {"type": "list", "elements": "str", "required": True},
                    "stamp": {"type": "path"},
                },
            },
            "watch": {"type": "list", "elements": "path", "default": []},
        },
        required_by={"former": "unit", "reload": "unit"},
        supports_check_mode=True,
    )
    try:
        result = run(module)
    except (TreeError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
