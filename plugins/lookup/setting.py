# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: setting
short_description: The value of an option that another role owns
version_added: 0.1.0
author: groundwork.observability maintainers (@groundwork)
description:
  - Every port, database, user and path is an option of one role and has its default in that role only. Other roles and playbooks read the
    value with this plugin, so that a value that is changed in the inventory is changed everywhere.
  - Each option describes the hosts of a group, for example C(clickhouse). A host of that group gets its own value, any other host gets the
    value of the group's first host. If the group is empty, because the service is not managed here, the plugin returns the host's own
    value.
  - Without a value in the inventory the plugin returns the role's default.
options:
  _terms:
    description: Names of options, such as V(clickhouse_https_port).
    required: true
    type: list
    elements: str
  host:
    description: Return the value of this host instead.
    type: str
"""

EXAMPLES = r"""
- name: Show where ClickHouse is reached
  ansible.builtin.debug:
    msg: https://ch1:{{ lookup('groundwork.observability.setting', 'clickhouse_https_port', host='ch1') }}/
"""

RETURN = r"""
_raw:
  description: The values.
  type: list
  elements: raw
"""

import typing as t

from ansible.plugins.lookup import LookupBase
from ansible_collections.groundwork.observability.plugins.plugin_utils._settings import default, owner, setting


class LookupModule(LookupBase):
    """Asks for each option in turn."""

    def run(self, terms: t.Sequence[str], variables: t.Mapping[str, t.Any] | None = None, **kwargs: t.Any) -> list[t.Any]:
        """The value of each option."""
        known = variables or {}
        self.set_options(var_options=known, direct=kwargs)
        return [self._value(name, known) for name in terms]

    def _value(self, name: str, variables: t.Mapping[str, t.Any]) -> t.Any:
        own = str(variables.get("inventory_hostname", ""))
        members = variables.get("groups", {}).get(owner(name)[1], [])
        host: str = self.get_option("host") or (own if own in members else next(iter(members), own))
        if host != own and "hostvars" in variables:
            return setting(variables["hostvars"], host, name)
        return self._templar.template(variables[name]) if name in variables else default(name)
