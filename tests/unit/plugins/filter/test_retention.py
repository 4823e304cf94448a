# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Retention as data: its TTL clauses, its view, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.groundwork.observability.plugins.filter.retention import retention_clauses, retention_view
from ansible_collections.groundwork.observability.plugins.plugin_utils._retention import retention_problem, seconds

DEBUG = {"where": "SeverityNumber < 9", "keep": "3d"}


def test_defaults() -> None:
    found = retention_clauses({})
    assert len(found) == 11
    assert {table: end["ttl"] for table, end in found.items() if "metrics_s" not in table and "histogram" not in table} == {
        "otel_logs_local": "TTL toDateTime(Timestamp) + INTERVAL 14 DAY",
        "otel_traces_local": "TTL toDateTime(Timestamp) + INTERVAL 7 DAY",
        "otel_traces_trace_id_ts_local": "TTL Start + INTERVAL 7 DAY",
        "otel_metrics_gauge_local": "TTL TimeUnix + INTERVAL 30 DAY",
        "logs_volume_1m_local": "TTL Minute + INTERVAL 400 DAY",
        "traces_red_1m_local": "TTL Minute + INTERVAL 400 DAY",
        "metrics_gauge_5m_local": "TTL T + INTERVAL 400 DAY",
    }
    # Partitions of roll-ups are months: their rows are deleted one by one.
    whole = {table for table, end in found.items() if end["settings"] == ", ttl_only_drop_parts = 1"}
    assert set(found) - whole == {"logs_volume_1m_local", "traces_red_1m_local", "metrics_gauge_5m_local"}


def test_tiers_and_rules() -> None:
    retention = {"logs": {"keep": "30d", "cold_after": "36h", "rules": [DEBUG]}, "traces_red_1m": {"keep": "forever"}}
    found = retention_clauses(retention, "tiered", "slow")
    assert found["otel_logs_local"] == {
        "ttl": "TTL toDateTime(Timestamp) + INTERVAL 36 HOUR TO VOLUME 'slow', toDateTime(Timestamp) + INTERVAL 30 DAY, "
        "toDateTime(Timestamp) + INTERVAL 3 DAY DELETE WHERE (SeverityNumber < 9)",
        "settings": ", storage_policy = 'tiered', ttl_only_drop_parts = 0",
    }
    assert found["traces_red_1m_local"] == {"ttl": "", "settings": ", storage_policy = 'tiered'"}
    assert found["logs_volume_1m_local"]["ttl"] == "TTL Minute + INTERVAL 400 DAY"


def test_rules_of_traces_are_not_those_of_the_table_of_trace_ids() -> None:
    found = retention_clauses({"traces": {"rules": [{"where": "StatusCode = 'Unset'", "keep": "2d"}]}})
    assert found["otel_traces_local"]["ttl"].endswith("DELETE WHERE (StatusCode = 'Unset')")
    assert "WHERE" not in found["otel_traces_trace_id_ts_local"]["ttl"]


def test_view_has_a_limit_for_each_table_and_a_query_for_each_rule() -> None:
    retention = {"logs": {"keep": "30d", "cold_after": "36h", "rules": [{"where": "EventName = 'it\\'s'", "keep": "1h"}]}}
    text = retention_view(retention, "telemetry", "tiered")
    assert "('otel_logs_local', 2592000, 129600)" in text
    assert "('otel_traces_local', 604800, 0)" in text
    assert "policy_name = 'tiered'" in text and "database = 'telemetry'" in text
    assert text.count("UNION ALL") == 1
    assert "'EventName = \\'it\\\\\\'s\\'' AS rule" in text
    assert "FROM telemetry.otel_logs_local WHERE (EventName = 'it\\'s') AND toDateTime(Timestamp) < now() - 3600" in text


@pytest.mark.parametrize(
    ("retention", "line"),
    [
        ({"log": {}}, "log: no such signal or roll-up; there are logs, traces, metrics"),
        ({"logs": {"keep": "two weeks"}}, "logs: 'two weeks' is no duration such as 12h or 30d"),
        ({"logs": {"cold_after": "14d"}}, "logs: cold_after is 14d, and has to be shorter than keep, which is 14d"),
        ({"logs": {"keep": "2d", "rules": [DEBUG]}}, "logs: rules[0]: keep is 3d, and may not be longer than keep of all rows"),
        ({"metrics_gauge_5m": {"rules": [DEBUG]}}, "metrics_gauge_5m: a roll-up has nothing but keep"),
    ],
)
def test_messages(retention: dict[str, Any], line: str) -> None:
    assert retention_problem(retention).startswith(line)
    with pytest.raises(AnsibleFilterError, match="telemetry_schema_retention: "):
        retention_clauses(retention)


@pytest.mark.parametrize(
    "retention",
    [
        {},
        {"logs": {"keep": "forever", "cold_after": "18250d", "rules": [{**DEBUG, "keep": "18250d"}]}},
        {"metrics": {"cold_after": "29d", "rules": [{"where": "MetricName LIKE 'go_%'", "keep": "30d"}]}},
    ],
)
def test_accepted(retention: dict[str, Any]) -> None:
    assert retention_problem(retention) == ""


def test_seconds() -> None:
    assert [seconds(text) for text in ("1h", "30d", "forever")] == [3600, 2592000, 0]
