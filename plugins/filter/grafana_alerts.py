# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that make Grafana's alert rules from alerts, and the policies that send them."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError


def grafana_alert_rules(
    groups: t.Iterable[t.Mapping[str, t.Any]],
    values: t.Mapping[str, t.Any],
    settings: t.Mapping[str, t.Any] | None = None,
    datasource: str = "clickhouse",
    folder: str = "Platform alerts",
    runbooks: str = "",
) -> list[dict[str, t.Any]]:
    """The rule groups, in the form of Grafana's provisioning files; the parameters are those of C(rule_groups)."""
    from ansible_collections.groundwork.observability.plugins.plugin_utils._grafana_alerts import rule_groups

    try:
        return rule_groups(groups, values, settings or {}, datasource, folder, runbooks)
    except ValueError as error:
        raise AnsibleFilterError(f"grafana_alert_rules: {error}")


def grafana_alert_policy(receivers: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The tree of notification policies that sends alerts by their severity; the parameter is that of C(policy_tree)."""
    from ansible_collections.groundwork.observability.plugins.plugin_utils._grafana_alerts import policy_tree

    try:
        return policy_tree(receivers)
    except ValueError as error:
        raise AnsibleFilterError(f"grafana_alert_policy: {error}")


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"grafana_alert_policy": grafana_alert_policy, "grafana_alert_rules": grafana_alert_rules}
