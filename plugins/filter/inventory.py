# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter of role telemetry_schema: how the table inventory_hosts becomes the inventory."""

from __future__ import annotations

import typing as t

from ansible_collections.groundwork.observability.plugins.plugin_utils import _components
from ansible_collections.groundwork.observability.plugins.plugin_utils._across import INSTANCES


def inventory_changes(rows: t.Iterable[t.Mapping[str, t.Any]], groups: t.Mapping[str, t.Sequence[str]]) -> list[dict[str, t.Any]]:
    """The rows to insert into the table inventory_hosts, so that it holds the hosts of the inventory.

    :param rows: its rows that are not deleted, each with C(host) and C(groups).
    :param groups: ansible's C(groups). Only those that the collection knows count: playbooks make others while they run.
    :returns: rows with C(host), C(groups) (sorted) and C(is_deleted), in the order of the hosts' names.
    """
    # Further collectors are on hosts that are in the inventory themselves.
    members: dict[str, list[str]] = {host: [] for host in groups.get("all", ()) if host not in groups.get(INSTANCES, ())}
    for group in sorted(_components.groups()):
        for host in groups.get(group, ()):
            members.setdefault(host, []).append(group)
    known = {str(row["host"]): [str(group) for group in row["groups"]] for row in rows}
    written = [(host, names, 0) for host, names in members.items() if known.get(host) != names]
    gone = [(host, names, 1) for host, names in known.items() if host not in members]
    return [{"host": host, "groups": names, "is_deleted": deleted} for host, names, deleted in sorted(written + gone)]


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"inventory_changes": inventory_changes}
