# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter that reads from a collector's own metrics whether its data moves."""

from __future__ import annotations

import re
import typing as t

SAMPLE = re.compile(
    r"^otelcol_(exporter|receiver)_(\w+?)(?:_(log_records|spans|metric_points))?(?:_total)?\{([^}]*)\} (\S+)$", re.MULTILINE
)
LABEL = re.compile(r'(\w+)="([^"]*)"')
# A queue that is this full will soon refuse or lose data.
FULL = 0.9
# Exporters of a gateway whose failures are seen by what sends to them, and tried again: to ClickHouse, and to its own sockets.
RETRIED = ("clickhouse/", "otlp_grpc/")


def collector_health(metrics: str) -> dict[str, t.Any]:
    """Whether a collector has sent records since its start, and what it has refused or lost.

    :param metrics: the collector's own metrics, in Prometheus' text format.
    :returns: C(moved), whether an exporter has sent records; C(lost), what the next hop refuses for ever; C(problems), the same, and where
        nothing moved also what was refused, and queues that are nearly full. Senders keep what was refused: no problem where data moves.
    """
    moved = False
    lost: list[str] = []
    waits: list[str] = []
    queues: dict[tuple[str, str], dict[str, float]] = {}
    for kind, what, records, labels, text in SAMPLE.findall(metrics):
        label, value = dict(LABEL.findall(labels)), float(text)
        name, noun = label.get(kind, ""), records.replace("_", " ")
        if kind == "exporter" and what in ("queue_size", "queue_capacity"):
            queues.setdefault((name, label.get("data_type", "")), {})[what] = value
        elif kind == "exporter" and what == "sent":
            moved = moved or value > 0
        elif not value:
            continue
        elif kind == "exporter" and what == "send_failed" and not name.startswith(RETRIED):
            lost.append(f"exporter {name} has lost {value:.0f} {noun}: the next hop refuses them for ever")
        elif kind == "exporter" and what == "enqueue_failed":
            waits.append(f"exporter {name} has refused {value:.0f} {noun}: its queue takes no more")
        elif kind == "receiver" and what == "refused":
            waits.append(f"receiver {name} has refused {value:.0f} {noun}")
    for (name, signal), queue in queues.items():
        capacity = queue.get("queue_capacity", 0)
        if capacity and queue.get("queue_size", 0) >= FULL * capacity:
            waits.append(f"the queue of exporter {name} for {signal} is {100 * queue['queue_size'] / capacity:.0f} % full")
    return {"moved": moved, "lost": lost, "problems": lost + ([] if moved else waits)}


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"collector_health": collector_health}
