# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: archives
short_description: The archives that the roles of this collection install
version_added: 0.1.0
author: groundwork.observability maintainers (@groundwork)
description:
  - Each role declares its archives in C(vars/main/component.yml). This plugin returns those of all roles, the plugins of
    C(grafana_plugins), and the agents for C(otel_collector_instrumented_services), as one table, which role common has as
    C(common_artifacts).
"""

EXAMPLES = r"""
- name: Show where ClickHouse's archive comes from
  ansible.builtin.debug:
    msg: "{{ lookup('groundwork.observability.archives').clickhouse.url }}"
"""

RETURN = r"""
_raw:
  description:
    - One dictionary, of which each key is the name of an archive. Its value is what the role declares, with C(groups), whose hosts need
      the archive, and C(version), which the role installs by default.
  type: list
  elements: dict
"""

import typing as t

from ansible.plugins.lookup import LookupBase
from ansible_collections.groundwork.observability.plugins.plugin_utils._components import archives
from ansible_collections.groundwork.observability.plugins.plugin_utils._grafana_plugins import plugin_archives
from ansible_collections.groundwork.observability.plugins.plugin_utils._instrumentation import agent_archives
from ansible_collections.groundwork.observability.plugins.plugin_utils._options import Host


class LookupModule(LookupBase):
    """Returns the table."""

    def run(self, terms: t.Sequence[str], variables: t.Mapping[str, t.Any] | None = None, **kwargs: t.Any) -> list[t.Any]:
        """The table, whatever is asked for."""
        known = variables or {}
        groups, hostvars = known.get("groups", {}), known.get("hostvars", {})
        hosts = [Host(name, hostvars, groups) for name in groups.get("grafana", []) if name in hostvars]
        return [{**archives(), **agent_archives(), **plugin_archives(host.value("grafana_plugins") for host in hosts)}]
