# GNU General Public License v3.0+ (see LICENSE)
"""A host cannot be reached, one host alone is repaired, and ClickHouse refuses a setting."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.testbed.demo import recap

# The host gets nothing by TCP from others but SSH.
DROP_PACKETS = "iptables -{} INPUT ! -i lo -p tcp ! --dport 22 -j DROP"
COUNT = 200
EACH_ONCE = {"logs": [COUNT, COUNT], "traces": [COUNT, COUNT]}


@pytest.mark.parametrize("cut_off", ["obs1", "obs2"])
def test_an_unreachable_host_costs_no_record(
    hosts: dict[str, Any],
    groups: dict[str, list[str]],
    send: Callable[..., dict[str, Any]],
    stored: Callable[..., dict[str, list[int]]],
    until: Callable[..., Any],
    cut_off: str,
) -> None:
    """A member of the ensemble, a replica and a gateway are cut off. The others store what is sent, and the replica gets it later."""
    (left,) = [name for name in groups["clickhouse"] if name != cut_off]
    probe = f"cut-off-{time.time_ns()}"

    def complete(server: str) -> bool:
        """All records are on a server, each once. While it does not answer, they are not."""
        try:
            return stored(server, probe, "_local") == EACH_ONCE
        except OSError:
            return False

    hosts[cut_off].check_output(DROP_PACKETS.format("I"))
    try:
        assert send(groups["application"][0], probe, COUNT)["accepted"] == {"logs": COUNT, "traces": COUNT}
        until(lambda: complete(left), f"all records on {left}", 120)
    finally:
        hosts[cut_off].check_output(DROP_PACKETS.format("D"))
    until(lambda: complete(cut_off), f"all records on {cut_off}", 120)
    assert stored(left, probe, "_local") == EACH_ONCE


def test_an_interrupted_installation_is_completed(hosts: dict[str, Any], playbook: Callable[..., Any]) -> None:
    """The version's folder is there in part, and without the mark that says it is complete. The run is limited to the host."""
    name = "obs2"
    host = hosts[name]
    host.check_output("rm -rf /opt/zookeeper/current/.sha256-* /opt/zookeeper/current/lib && systemctl is-active zookeeper")
    done = playbook("playbooks/zookeeper.yml", "--limit", name)
    assert done.returncode == 0, done.stdout
    assert recap(done.stdout)[0] == 1, done.stdout
    assert int(host.check_output("ls /opt/zookeeper/current/lib | wc -l")) > 20
    assert host.service("zookeeper").is_running


def test_refused_setting_does_not_restart_clickhouse(
    everywhere: Callable[..., dict[str, str]], groups: dict[str, list[str]], playbook: Callable[..., Any]
) -> None:
    """The controller cannot know it: the choices of a setting are the program's own."""
    started = "systemctl show clickhouse-server --property=ExecMainStartTimestampMonotonic,ActiveState"
    before = everywhere(started, groups["clickhouse"])
    settings = {"clickhouse_users_config": {"profiles": {"default": {"join_algorithm": "fast"}}}}
    done = playbook("playbooks/clickhouse.yml", "-e", json.dumps(settings))
    assert done.returncode != 0
    for word in ("join_algorithm", "clickhouse_users_config", "the old one is still in place"):
        assert word in done.stdout
    assert recap(done.stdout)[1] == 0, done.stdout
    assert everywhere(started, groups["clickhouse"]) == before
    assert all("ActiveState=active" in state for state in before.values())
    again = playbook("playbooks/clickhouse.yml")
    assert (again.returncode, recap(again.stdout)[1]) == (0, 0), again.stdout
