# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that makes Grafana's alert rules from alerts."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.groundwork.observability.plugins.plugin_utils._grafana_alerts import rule_groups


def grafana_alert_rules(
    groups: t.Iterable[t.Mapping[str, t.Any]],
    values: t.Mapping[str, t.Any],
    settings: t.Mapping[str, t.Any] | None = None,
    datasource: str = "clickhouse",
    folder: str = "Platform alerts",
    runbooks: str = "",
) -> list[dict[str, t.Any]]:
    """The rule groups, in the form of Grafana's provisioning files; the parameters are those of C(rule_groups)."""
    try:
        return rule_groups(groups, values, settings or {}, datasource, folder, runbooks)
    except ValueError as error:
        raise AnsibleFilterError(f"grafana_alert_rules: {error}")


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"grafana_alert_rules": grafana_alert_rules}
