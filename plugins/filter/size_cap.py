# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters of role telemetry_schema: which days of telemetry are dropped when a disk is too full."""

from __future__ import annotations

import typing as t

from ansible_collections.groundwork.observability.plugins.plugin_utils._retention import KINDS

# Partitions of these tables are days. Those of roll-ups are months, and small.
_TABLES = tuple(table for kind in KINDS.values() if kind.ruled for table in kind.tables)


def size_cap_query(database: str) -> str:
    """The query for the days of telemetry on each local disk of a server.

    Parts that were replaced or dropped stay on disk for some minutes. They do not count as used.

    :param database: where the telemetry tables are.
    :returns: SQL; columns C(table), C(day), C(disk), C(bytes), C(used) and C(total) (bytes of the disk), and C(today).
    """
    tables = ", ".join(f"'{table}'" for table in _TABLES)
    return (
        "SELECT table, partition AS day, disk, sum(bytes_on_disk) AS bytes, any(used) AS used, any(total) AS total, "
        "toString(today()) AS today "
        "FROM system.parts INNER JOIN ("
        "SELECT name AS disk, total_space AS total, total_space - free_space - ifNull(outdated, 0) AS used FROM system.disks "
        "LEFT JOIN (SELECT disk_name AS name, sum(bytes_on_disk) AS outdated FROM system.parts WHERE NOT active GROUP BY name) AS gone "
        "USING (name) WHERE total_space > 0 AND NOT is_remote) AS disks ON parts.disk_name = disks.disk "
        f"WHERE active AND rows > 0 AND database = '{database}' AND table IN ({tables}) "
        "GROUP BY table, day, disk ORDER BY day, table, disk"
    )


def size_cap_drops(rows: t.Iterable[t.Mapping[str, t.Any]], percent: float) -> dict[str, t.Any]:
    """Which days to drop so that no disk is fuller than the cap: the oldest, and never today or the newest day.

    For a disk that would be too full without all of these days, too, none is dropped: something else fills it.

    :param rows: what the query of C(size_cap_query) returned.
    :param percent: the cap, in percent of each disk.
    :returns: C(drops), a list of C(table), C(day) and C(bytes), oldest first; and C(left), a message for each disk that stays too full.
    """
    found = [{**row, **{name: int(row[name]) for name in ("bytes", "used", "total")}} for row in rows]
    # Rows with a time in the future do not make today an old day.
    protected = min([max((row["day"] for row in found), default=""), *(row["today"] for row in found)])
    partitions: dict[tuple[str, str], dict[str, int]] = {}
    droppable: dict[str, int] = {}
    for row in found:
        if row["day"] < protected:
            partitions.setdefault((row["day"], row["table"]), {})[row["disk"]] = row["bytes"]
            droppable[row["disk"]] = droppable.get(row["disk"], 0) + row["bytes"]
    excess = {row["disk"]: row["used"] - row["total"] * percent / 100 for row in found}
    full = sorted(disk for disk, over in excess.items() if over > droppable.get(disk, 0))
    excess.update(dict.fromkeys(full, 0.0))
    drops = []
    for (day, table), disks in sorted(partitions.items()):
        if any(excess[disk] > 0 for disk in disks):
            drops.append({"table": table, "day": day, "bytes": sum(disks.values())})
            excess.update({disk: excess[disk] - size for disk, size in disks.items()})
    left = [
        f"disk {disk} is above {percent} %, and would be without all days before {protected}, too: something else fills it, "
        "and no day of it is dropped"
        for disk in full
    ]
    return {"drops": drops, "left": left}


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"size_cap_drops": size_cap_drops, "size_cap_query": size_cap_query}
