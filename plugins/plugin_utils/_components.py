# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private: what the roles declare about their components. May change at any time.

A role with an inventory group has roles/<role>/vars/main/component.yml; the README of role common explains its keys. Values are read as
they are written there: templates are not resolved.
"""

from __future__ import annotations

import functools
import pathlib
import typing as t

from ansible.module_utils.common.yaml import yaml_load

ROLES = pathlib.Path(__file__).resolve().parents[2] / "roles"


@functools.cache
def _load(path: pathlib.Path) -> dict[str, t.Any]:
    loaded: dict[str, t.Any] = yaml_load(path.read_text(encoding="utf-8"))
    return loaded


@functools.cache
def components() -> dict[str, dict[str, t.Any]]:
    """Role -> its component, as it is written in the file."""
    return {path.parts[-4]: _load(path)[f"__{path.parts[-4]}_component"] for path in sorted(ROLES.glob("*/vars/main/component.yml"))}


@functools.cache
def groups() -> dict[str, dict[str, t.Any]]:
    """Group of the inventory -> C(roles), which its hosts have, and C(account), C(identity), C(folders) and C(ports) of its service."""
    found: dict[str, dict[str, t.Any]] = {}
    for role, component in components().items():
        for group, declared in component["groups"].items():
            entry = found.setdefault(group, {"roles": (), "account": group, "identity": (), "folders": {}, "ports": {}})
            entry["roles"] += (role,)
            entry.update({key: tuple(value) if isinstance(value, list) else value for key, value in declared.items()})
    return found


@functools.cache
def owners() -> dict[str, tuple[str, str]]:
    """Prefix of an option -> the role that owns it, and the group whose hosts it describes.

    Options of a role with several groups begin with the role's name and the group's.
    """
    return {
        f"{role}_" if len(component["groups"]) == 1 else f"{role}_{group}_": (role, group)
        for role, component in components().items()
        for group in component["groups"]
    }


def instances(component: t.Mapping[str, t.Any]) -> list[str]:
    """The group with further instances of a component; none if it has no such group."""
    return [component["instances"]] if "instances" in component else []


@functools.cache
def defaults(role: str) -> dict[str, t.Any]:
    """A role's defaults, templates unresolved."""
    return _load(ROLES / role / "defaults" / "main.yml")


def archives() -> dict[str, dict[str, t.Any]]:
    """Name of an archive -> what its role declares of it, with C(groups), whose hosts need it, and C(version), the role's default."""
    return {
        name: {**archive, "groups": [*component["groups"], *instances(component)], "version": defaults(role)[archive["version_variable"]]}
        for role, component in components().items()
        for name, archive in component.get("archives", {}).items()
    }
