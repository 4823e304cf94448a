# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs of prometheus agents from the inventory. tests/integration/test_prometheus_agents.py lets real collectors scrape them."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.groundwork.observability.plugins.filter.scrape import scrape_jobs

HOSTVARS: dict[str, dict[str, Any]] = {
    "p1": {},
    "p2": {},
    "app1": {"ansible_host": "192.0.2.1", "otel_collector_scrape_targets": {"shop": 8080}},
    "app2": {"observability_address": "2001:db8::2", "otel_collector_scrape_targets": {"shop": [8080, "8081"], "node": 9100}},
}
GROUPS = {"all": ["p2", "p1", "app2", "app1"], "prometheus_agent": ["p2", "p1"]}


def test_targets_of_all_hosts() -> None:
    """In the order of hosts, so that a file changes only with the inventory; a host may have several ports of a job."""
    made = scrape_jobs({"shop": {"scheme": "https"}, "node": {}, "idle": {}}, HOSTVARS, GROUPS, "p1", "/etc/x")
    files = {file["path"]: json.loads(file["content"]) for file in made["files"]}
    assert [(entry["targets"], entry["labels"]) for entry in files["targets/shop.json"]] == [
        (["192.0.2.1:8080"], {"instance": "app1:8080"}),
        (["[2001:db8::2]:8080"], {"instance": "app2:8080"}),
        (["[2001:db8::2]:8081"], {"instance": "app2:8081"}),
    ]
    assert len(files["targets/node.json"]) == 1 and files["targets/idle.json"] == []
    assert made["problems"] == []
    shop = made["configs"][0]
    assert (shop["job_name"], shop["scheme"], shop["file_sd_configs"]) == ("shop", "https", [{"files": ["/etc/x/targets/shop.json"]}])


def test_agents_have_different_shares() -> None:
    """The modulus is their number, before relabeling of the job's own. A single agent has no share to keep."""
    own = {"source_labels": ["env"], "action": "keep", "regex": "live"}
    shares = {
        agent: scrape_jobs({"shop": {"relabel_configs": [own]}}, HOSTVARS, GROUPS, agent, "/x")["configs"][0]["relabel_configs"]
        for agent in GROUPS["prometheus_agent"]
    }
    assert [(share[0]["modulus"], share[1]["regex"], share[2]) for share in shares.values()] == [(2, "1", own), (2, "0", own)]
    alone = {**GROUPS, "prometheus_agent": ["p1"]}
    assert scrape_jobs({"shop": {}}, HOSTVARS, alone, "p1", "/x")["configs"][0]["relabel_configs"] == []


def test_a_further_agent_has_no_share() -> None:
    """And the shares of the others stay as they are."""
    groups = {**GROUPS, "all": [*GROUPS["all"], "p3"], "collector_instance": ["p3"]}
    hostvars = {**HOSTVARS, "p3": {}}
    jobs: dict[str, Any] = {"shop": {}, "node": {}}
    assert scrape_jobs(jobs, hostvars, groups, "p3", "/x") == {"configs": [], "files": [], "problems": []}
    assert scrape_jobs(jobs, hostvars, groups, "p1", "/x") == scrape_jobs(jobs, HOSTVARS, GROUPS, "p1", "/x")


def test_unknown_job_is_named_with_its_host() -> None:
    """The others are made all the same, so that one run names all that is wrong."""
    made = scrape_jobs({"shop": {}}, HOSTVARS, GROUPS, "p1", "/x")
    assert made["problems"] == ["otel_collector_scrape_targets of app2 has the job node, which is not in otel_collector_scrape_jobs."]
