# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has to be written so that the table inventory_hosts is the inventory."""

from __future__ import annotations

from ansible_collections.groundwork.observability.plugins.filter.inventory import inventory_changes

GROUPS = {
    "all": ["ch1", "app1", "other"],
    "clickhouse": ["ch1"],
    "node_agent": ["app1", "ch1"],
    "clickhouse_restart_pending": ["ch1"],  # made by a playbook
    "berlin": ["app1"],
}
ROWS = [
    {"host": "app1", "groups": ["node_agent"]},
    {"host": "ch1", "groups": ["clickhouse", "node_agent"]},
    {"host": "other", "groups": []},
]


def test_first_run_writes_all_hosts() -> None:
    assert inventory_changes([], GROUPS) == [{**row, "is_deleted": 0} for row in ROWS]


def test_second_run_writes_nothing() -> None:
    assert inventory_changes(ROWS, GROUPS) == []


def test_hosts_that_left_came_or_changed() -> None:
    rows = [{"host": "gone", "groups": ["node_agent"]}, {"host": "ch1", "groups": ["clickhouse"]}, ROWS[2]]
    assert inventory_changes(rows, GROUPS) == [
        {"host": "app1", "groups": ["node_agent"], "is_deleted": 0},
        {"host": "ch1", "groups": ["clickhouse", "node_agent"], "is_deleted": 0},
        {"host": "gone", "groups": ["node_agent"], "is_deleted": 1},
    ]
