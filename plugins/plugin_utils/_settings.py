# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private: one owner for each setting. May change at any time.

A port, a database, a user or a path is an option of one role and has its default there. Whoever else needs the value asks here.
"""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleError
from ansible_collections.groundwork.observability.plugins.plugin_utils._components import defaults, owners


def owner(name: str) -> tuple[str, str]:
    """The role that owns an option, and the group whose hosts it describes."""
    for prefix, found in owners().items():
        if name.startswith(prefix):
            return found
    raise AnsibleError(f"{name} is not an option of a role of this collection")


def default(name: str) -> t.Any:
    """An option's default, from the defaults/main.yml of the role that owns it. A default that is a template cannot be asked for."""
    role = owner(name)[0]
    try:
        value = defaults(role)[name]
    except KeyError:
        raise AnsibleError(f"{name} has no default in role {role}") from None
    if "{{" in str(value):
        raise AnsibleError(f"the default of {name} in role {role} is a template: only the role itself can evaluate it")
    return value


def setting(hostvars: t.Mapping[str, t.Any], host: str, name: str) -> t.Any:
    """The value of an option on a host: the inventory's, else the default of the role that owns the option.

    :param hostvars: ansible's C(hostvars).
    :param host: the host's name in the inventory.
    :param name: the option.
    """
    variables = hostvars[host]
    return variables[name] if name in variables else default(name)
