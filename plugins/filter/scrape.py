# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that make the jobs of prometheus agents from the inventory."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.groundwork.observability.plugins.filter.topology import address_of
from ansible_collections.groundwork.observability.plugins.plugin_utils._across import INSTANCES


def scrape_jobs(
    jobs: t.Mapping[str, t.Mapping[str, t.Any]],
    hostvars: t.Mapping[str, t.Any],
    groups: t.Mapping[str, t.Sequence[str]],
    agent: str,
    folder: str,
) -> dict[str, list[t.Any]]:
    """The jobs that the hosts of the inventory ask for, as one of the prometheus agents scrapes them.

    An agent of group C(collector_instance) has none of them: the agents of group C(prometheus_agent) have all.

    The targets are in files that the agent reads again when they change, so that a new host restarts no agent. All agents have the same
    files; of several, each scrapes the targets whose address has its part of the hashes.

    :param jobs: the value of O(otel_collector_scrape_jobs).
    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    :param agent: the agent's name in the inventory.
    :param folder: folder of the agent's configuration.
    :returns: C(configs), scrape configurations of Prometheus; C(files), C(path) and C(content) of the files with targets; C(problems), a
        line for each job of a host that there is not.
    """
    if agent in groups.get(INSTANCES, []):
        # The agents of the group have all targets already.
        return {"configs": [], "files": [], "problems": []}
    targets: dict[str, list[dict[str, t.Any]]] = {job: [] for job in jobs}
    problems = []
    for host in sorted(groups["all"]):
        for job, ports in hostvars[host].get("otel_collector_scrape_targets", {}).items():
            if job not in targets:
                problems.append(f"otel_collector_scrape_targets of {host} has the job {job}, which is not in otel_collector_scrape_jobs.")
                continue
            targets[job] += [
                {"targets": [f"{address_of(hostvars, host)}:{port}"], "labels": {"instance": f"{host}:{port}"}}
                for port in (ports if isinstance(ports, list) else [ports])
            ]
    agents = sorted(groups["prometheus_agent"])
    share = [
        {"source_labels": ["__address__"], "modulus": len(agents), "target_label": "__tmp_share", "action": "hashmod"},
        {"source_labels": ["__tmp_share"], "regex": str(agents.index(agent)), "action": "keep"},
    ]
    content = {job: "[\n" + ",\n".join(map(json.dumps, found)) + "\n]\n" for job, found in targets.items()}
    return {
        "configs": [
            {
                **settings,
                "job_name": job,
                "file_sd_configs": [{"files": [f"{folder}/targets/{job}.json"]}],
                "relabel_configs": [*(share if len(agents) > 1 else []), *settings.get("relabel_configs", [])],
            }
            for job, settings in jobs.items()
        ],
        "files": [{"path": f"targets/{job}.json", "content": text} for job, text in content.items()],
        "problems": problems,
    }


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"scrape_jobs": scrape_jobs}
