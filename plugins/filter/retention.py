# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters of role telemetry_schema: how long tables keep rows, as TTL clauses and as a view."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.groundwork.observability.plugins.plugin_utils import _retention


def retention_clauses(retention: _retention.Retention, policy: str = "", cold: str = "cold") -> dict[str, dict[str, str]]:
    """The clause TTL and the settings of each telemetry table; the parameters are those of C(clauses)."""
    try:
        return _retention.clauses(retention, policy, cold)
    except ValueError as error:
        raise AnsibleFilterError(f"telemetry_schema_retention: {error}")


def retention_view(retention: _retention.Retention, database: str, policy: str = "", cold: str = "cold") -> str:
    """The query of the view that compares the oldest rows with the retention; the parameters are those of C(view)."""
    try:
        return _retention.view(retention, database, policy, cold)
    except ValueError as error:
        raise AnsibleFilterError(f"telemetry_schema_retention: {error}")


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"retention_clauses": retention_clauses, "retention_view": retention_view}
