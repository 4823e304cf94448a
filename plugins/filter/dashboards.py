# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that builds Grafana's dashboards."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError


def grafana_dashboard(
    spec: t.Mapping[str, t.Any], database: str = "otel", cluster: str = "otel", datasource: str = "clickhouse"
) -> dict[str, t.Any]:
    """Grafana's JSON of a dashboard.

    :param spec: the dashboard's description.
    :param database: database of the telemetry tables.
    :param cluster: ClickHouse cluster that holds them.
    :param datasource: uid of the ClickHouse data source.
    """
    from ansible_collections.groundwork.observability.plugins.plugin_utils import _dashboards

    try:
        return _dashboards.build(spec, database, cluster, datasource)
    except _dashboards.DashboardError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"grafana_dashboard": grafana_dashboard}
