# GNU General Public License v3.0+ (see LICENSE)
"""What has left the files that manage a Grafana, and is deleted."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.groundwork.observability.plugins.filter.grafana_files import grafana_purge

PAGES: dict[str, Any] = {"editable_in_ui": True, "contact_points": [{"uid": "shop-a", "name": "A"}], "templates": [{"name": "shop-t"}]}
POLICIES: dict[str, Any] = {
    "editable_in_ui": False,
    "contact_points": [{"uid": "shop-b", "name": "B"}],
    "policy_tree": {"receiver": "B"},
    "rule_groups": [{"folder_uid": "shop", "name": "orders"}],
}
SCOPE = {"contact_points": ["shop-*"], "mute_timings": ["*"], "templates": ["shop-*"], "folders": ["shop"]}


def test_nothing_has_left_where_another_call_has_it() -> None:
    """What moved from one call to another is not deleted by either."""
    assert grafana_purge([PAGES, POLICIES], [PAGES, POLICIES], SCOPE) == [PAGES, POLICIES]
    moved = {**PAGES, "contact_points": [*PAGES["contact_points"], *POLICIES["contact_points"]]}
    assert grafana_purge([PAGES, POLICIES], [moved], SCOPE) == [PAGES, POLICIES]


def test_the_call_with_the_policies_deletes() -> None:
    gone = [{"uid": "shop-old", "name": "Old"}, {"uid": "other", "name": "Other"}]
    groups = [{"folder_uid": "shop", "name": "old"}, {"folder_uid": "other", "name": "old"}]
    present = [{"editable_in_ui": True, "contact_points": gone, "mute_timings": [{"name": "nights"}], "rule_groups": groups}]
    pages, policies = grafana_purge([PAGES, POLICIES], [PAGES, *present], SCOPE)
    assert pages == PAGES
    assert policies == {
        **POLICIES,
        "contact_points": [*POLICIES["contact_points"], {"uid": "shop-old", "state": "absent"}],
        "mute_timings": [{"name": "nights", "state": "absent"}],
        "templates": [],
        "rule_groups": [*POLICIES["rule_groups"], {"folder_uid": "shop", "name": "old", "state": "absent"}],
    }
    assert "mute_timings" not in POLICIES


def test_without_a_call_there_is_one_more() -> None:
    (call,) = grafana_purge([], [PAGES], {"templates": ["*"]})
    assert call.pop("templates") == [{"name": "shop-t", "state": "absent"}]
    assert call == {"editable_in_ui": False, "contact_points": [], "mute_timings": [], "rule_groups": []}
    assert grafana_purge([PAGES], [], SCOPE) == [PAGES]


def test_without_a_scope_nothing_is_deleted() -> None:
    assert grafana_purge([], [PAGES, POLICIES], {}) == []


@pytest.mark.parametrize("scope", [{"policies": ["*"]}, {"contact_points": "*"}, {"folders": ["shop-*"]}])
def test_wrong_scope(scope: dict[str, Any]) -> None:
    with pytest.raises(AnsibleFilterError, match="grafana_purge: "):
        grafana_purge([], [], scope)
