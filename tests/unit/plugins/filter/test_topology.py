# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who talks to whom, and what a collector lacks."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.groundwork.observability.plugins.filter import topology

# What otelcol-contrib 0.149.0 says, shortened.
SAID = """\
Error: failed to get config: cannot unmarshal the configuration: decoding failed due to the following error(s):

'receivers' unknown type: "no_such" for id: "no_such" (valid values: [prometheus otlp file_log filelog hostmetrics])
'processors' unknown type: "no_such" for id: "no_such" (valid values: [filter transform batch resource memory_limiter])
'exporters' unknown type: "no_such" for id: "no_such" (valid values: [otlphttp clickhouse debug otlp_grpc otlp])
'connectors' unknown type: "no_such" for id: "no_such" (valid values: [])
'extensions' unknown type: "no_such" for id: "no_such" (valid values: [file_storage bearertokenauth health_check])
"""


def inventory(shards: int, replicas: int, gateways: int) -> tuple[dict[str, t.Any], dict[str, list[str]]]:
    """Hosts c<shard><replica> and g<number>, listed in no useful order."""
    hostvars: dict[str, t.Any] = {
        f"c{shard}{replica}": {
            "clickhouse_shard": shard,
            "clickhouse_replica": f"r{replica}",
            "ansible_host": f"192.0.2.{shard}{replica}",
        }
        for replica in range(1, replicas + 1)
        for shard in range(shards, 0, -1)
    }
    names = list(hostvars)
    hostvars.update({f"g{number}": {} for number in range(1, gateways + 1)})
    return hostvars, {"clickhouse": names, "gateway": [f"g{number}" for number in range(gateways, 0, -1)]}


@pytest.mark.parametrize(
    ("shards", "gateways", "gateway", "own", "others"),
    [
        (1, 1, "g1", [1], []),
        (1, 2, "g2", [1], []),
        (2, 1, "g1", [1, 2], []),
        (2, 2, "g1", [1], [2]),
        (2, 2, "g2", [2], [1]),
        (2, 3, "g3", [1, 2], []),
        (2, 4, "g3", [1], [2]),
        (2, 4, "g4", [2], [1]),
        (4, 2, "g2", [2, 4], [1, 3]),
        (3, 2, "g2", [1, 2, 3], []),
        (4, 6, "g5", [1, 3], [2, 4]),
    ],
)
def test_every_gateway_has_a_writer_for_every_shard(shards: int, gateways: int, gateway: str, own: list[int], others: list[int]) -> None:
    """Its own shards come first, as few as the numbers allow; its agents are spread over those."""
    hostvars, groups = inventory(shards, 2, gateways)
    writers = topology.clickhouse_writers(hostvars, groups, gateway)
    assert [writer["shard"] for writer in writers] == own + others
    for writer in writers:
        assert writer["name"] == f"clickhouse/{writer['shard']}"
        assert writer["hosts"] == [f"c{writer['shard']}1", f"c{writer['shard']}2"]
        addresses = ",".join(f"192.0.2.{writer['shard']}{replica}:9440" for replica in (1, 2))
        assert writer["endpoint"] == f"tcp://{addresses}?secure=true"
    chosen = {topology.shard_for(hostvars, groups, f"h{number}", gateway) for number in range(200)}
    assert chosen == (set(own) if shards > 1 else {None})


def test_writer_port_and_ipv6() -> None:
    """A host's own port, and brackets around an IPv6 address."""
    hostvars, groups = inventory(1, 1, 1)
    hostvars["c11"].update(observability_address="2001:db8::1", clickhouse_native_port=9441)
    assert topology.clickhouse_writers(hostvars, groups, "g1")[0]["endpoint"] == "tcp://[2001:db8::1]:9441?secure=true"


def test_a_further_gateway_writes_to_all_shards() -> None:
    """It is not one of those that agents choose from, so it has no share of the shards, and the others keep theirs."""
    hostvars, groups = inventory(2, 1, 2)
    hostvars["shop"] = {}
    with_instance = {**groups, "collector_instance": ["shop"]}
    assert [writer["shard"] for writer in topology.clickhouse_writers(hostvars, with_instance, "shop")] == [1, 2]
    for gateway in groups["gateway"]:
        assert topology.clickhouse_writers(hostvars, with_instance, gateway) == topology.clickhouse_writers(hostvars, groups, gateway)


def test_writer_errors() -> None:
    """Names the host and the variable."""
    hostvars, groups = inventory(1, 2, 1)
    with pytest.raises(AnsibleFilterError, match="g9 has no ClickHouse"):
        topology.clickhouse_writers(hostvars, groups, "g9")
    with pytest.raises(AnsibleFilterError, match="group clickhouse is empty"):
        topology.clickhouse_writers(hostvars, {**groups, "clickhouse": []}, "g1")
    del hostvars["c12"]["clickhouse_shard"]
    with pytest.raises(AnsibleFilterError, match="clickhouse_shard of c12 must be set"):
        topology.clickhouse_writers(hostvars, groups, "g1")


INPUTS = {"logs": {"receivers": ["otlp"], "processors": ["p"]}, "metrics": {"receivers": ["otlp"], "processors": ["q"]}}


def test_one_writer_needs_no_routing() -> None:
    """Requests are merged, travel through a socket of their signal into the queue, and through another one to the exporter."""
    writers = [{"name": "clickhouse/7", "shard": 7, "endpoint": "tcp://a"}]
    made = topology.gateway_pipelines(
        writers,
        {"timeout": "1s", "connection_params": {"x": "1"}},
        {"compression": "none"},
        {"endpoint": "http://relay"},
        INPUTS,
        "x-shard",
        "/run/x",
    )
    grpc = {"transport": "unix", "max_recv_msg_size_mib": 64}
    http = {"transport": "unix", "max_request_body_size": 67108864}
    ignoring = {"x": "1", "materialized_views_ignore_errors": "1"}
    assert made == {
        "receivers": {
            "otlp/7_logs": {"protocols": {"grpc": {**grpc, "endpoint": "/run/x/7_logs.sock"}}},
            "otlp/7_metrics": {"protocols": {"grpc": {**grpc, "endpoint": "/run/x/7_metrics.sock"}}},
            "otlp/7_write_logs": {"protocols": {"http": {**http, "endpoint": "/run/x/7_write_logs.sock"}}},
            "otlp/7_write_metrics": {"protocols": {"http": {**http, "endpoint": "/run/x/7_write_metrics.sock"}}},
            "otlp/7_ignore_views_logs": {"protocols": {"http": {**http, "endpoint": "/run/x/7_ignore_views_logs.sock"}}},
            "otlp/7_ignore_views_metrics": {"protocols": {"http": {**http, "endpoint": "/run/x/7_ignore_views_metrics.sock"}}},
        },
        "exporters": {
            "clickhouse/7": {"timeout": "1s", "connection_params": {"x": "1"}, "endpoint": "tcp://a"},
            "clickhouse/7_ignore_views": {"timeout": "1s", "connection_params": ignoring, "endpoint": "tcp://a"},
            "otlp_grpc/7_logs": {"compression": "none", "endpoint": "unix:///run/x/7_logs.sock"},
            "otlp_grpc/7_metrics": {"compression": "none", "endpoint": "unix:///run/x/7_metrics.sock"},
            "otlp_http/7": {"endpoint": "http://relay/7"},
        },
        "connectors": {},
        "pipelines": {
            "logs": {"receivers": ["otlp"], "processors": ["p"], "exporters": ["otlp_grpc/7_logs"]},
            "logs/queue_7": {"receivers": ["otlp/7_logs"], "exporters": ["otlp_http/7"]},
            "logs/write_7": {"receivers": ["otlp/7_write_logs"], "exporters": ["clickhouse/7"]},
            "logs/ignore_views_7": {"receivers": ["otlp/7_ignore_views_logs"], "exporters": ["clickhouse/7_ignore_views"]},
            "metrics": {"receivers": ["otlp"], "processors": ["q"], "exporters": ["otlp_grpc/7_metrics"]},
            "metrics/queue_7": {"receivers": ["otlp/7_metrics"], "exporters": ["otlp_http/7"]},
            "metrics/write_7": {"receivers": ["otlp/7_write_metrics"], "exporters": ["clickhouse/7"]},
            "metrics/ignore_views_7": {"receivers": ["otlp/7_ignore_views_metrics"], "exporters": ["clickhouse/7_ignore_views"]},
        },
    }


def test_several_writers_are_chosen_by_a_header() -> None:
    """A request goes as a whole to one of them; what names none goes to the first."""
    writers = [{"name": f"clickhouse/{shard}", "shard": shard, "endpoint": f"tcp://{shard}"} for shard in (2, 1)]
    made = topology.gateway_pipelines(
        writers, {"connection_params": {}}, {}, {"endpoint": "r"}, {"logs": INPUTS["logs"]}, "x-shard", "/run/x"
    )
    assert made["connectors"] == {
        "routing/logs": {
            "default_pipelines": ["logs/2"],
            "table": [
                {"context": "request", "condition": 'request["x-shard"] == "2"', "pipelines": ["logs/2"]},
                {"context": "request", "condition": 'request["x-shard"] == "1"', "pipelines": ["logs/1"]},
            ],
        }
    }
    assert made["pipelines"] == {
        "logs": {"receivers": ["otlp"], "processors": ["p"], "exporters": ["routing/logs"]},
        "logs/2": {"receivers": ["routing/logs"], "exporters": ["otlp_grpc/2_logs"]},
        "logs/1": {"receivers": ["routing/logs"], "exporters": ["otlp_grpc/1_logs"]},
        "logs/queue_2": {"receivers": ["otlp/2_logs"], "exporters": ["otlp_http/2"]},
        "logs/queue_1": {"receivers": ["otlp/1_logs"], "exporters": ["otlp_http/1"]},
        "logs/write_2": {"receivers": ["otlp/2_write_logs"], "exporters": ["clickhouse/2"]},
        "logs/write_1": {"receivers": ["otlp/1_write_logs"], "exporters": ["clickhouse/1"]},
        "logs/ignore_views_2": {"receivers": ["otlp/2_ignore_views_logs"], "exporters": ["clickhouse/2_ignore_views"]},
        "logs/ignore_views_1": {"receivers": ["otlp/1_ignore_views_logs"], "exporters": ["clickhouse/1_ignore_views"]},
    }


def test_gateways_for_is_stable() -> None:
    """A further gateway takes only its own part; the order of the inventory does not matter; each has as many agents as the others."""
    hosts = [f"h{number}" for number in range(300)]

    def choose(gateways: list[str]) -> dict[str, list[str]]:
        hostvars = {gateway: {"ansible_host": f"{gateway}.example.com"} for gateway in gateways}
        return {host: topology.gateways_for(hostvars, {"gateway": gateways}, host)["names"] for host in hosts}

    before, after = choose(["g1", "g2", "g3", "g4"]), choose(["g5", "g4", "g3", "g2", "g1"])
    assert all(len(names) == topology.AGENT_GATEWAYS for names in after.values())
    assert {frozenset(after[host]) - frozenset(before[host]) for host in hosts} == {frozenset(), frozenset({"g5"})}
    assert before == choose(["g3", "g4", "g1", "g2"])
    for place in range(topology.AGENT_GATEWAYS):
        chosen = [names[place] for names in after.values()]
        assert all(35 < chosen.count(f"g{number}") < 85 for number in range(1, 6))


@pytest.mark.parametrize(
    ("shards", "gateways", "sets"),
    [
        # Gateways of the same shard.
        (2, 4, {(1, "g1", "g3"), (2, "g2", "g4")}),
        # One for each shard: another one takes its place.
        (2, 2, {(1, "g1", "g2"), (2, "g1", "g2")}),
        (1, 2, {(None, "g1", "g2")}),
        (2, 1, {(1, "g1"), (2, "g1")}),
    ],
)
def test_gateways_of_a_shard(shards: int, gateways: int, sets: set[tuple[t.Any, ...]]) -> None:
    hostvars, groups = inventory(shards, 1, gateways)
    chosen = [topology.gateways_for(hostvars, groups, f"h{number}") for number in range(100)]
    assert {(gateway["shard"], *sorted(gateway["names"])) for gateway in chosen} == sets


def test_shard_for_is_stable() -> None:
    """A further shard takes over only its own part of the hosts, whichever gateway they send to."""
    hosts = [f"h{number}" for number in range(300)]
    before, after = ({host: topology.shard_for(*inventory(shards, 1, 1), host) for host in hosts} for shards in (3, 4))
    assert {after[host] for host in hosts if before[host] != after[host]} == {4}
    assert all(60 < list(before.values()).count(shard) < 140 for shard in (1, 2, 3))
    hostvars, groups = inventory(4, 1, 2)
    chosen = [topology.gateways_for(hostvars, groups, host) for host in hosts]
    assert {(gateway["names"][0], gateway["shard"]) for gateway in chosen} == {("g1", 1), ("g1", 3), ("g2", 2), ("g2", 4)}


def test_gateways_for_address() -> None:
    """One is reached at its own address, several under one name; without a gateway the host is named."""
    hostvars: dict[str, t.Any] = {"g1": {"observability_address": "192.0.2.1", "ansible_host": "10.0.0.1"}, "g2": {}}
    only = topology.gateways_for(hostvars, {"gateway": ["g1"]}, "h1")
    assert only == {"names": ["g1"], "addresses": ["192.0.2.1"], "endpoint": "192.0.2.1:4317", "shard": None}
    hostvars["g1"].update(observability_address="2001:db8::1", otel_collector_gateway_grpc_port=5317)
    assert topology.gateways_for(hostvars, {"gateway": ["g1"]}, "h1")["endpoint"] == "[2001:db8::1]:5317"
    hostvars["g2"].update(otel_collector_gateway_grpc_port=5317)
    both = topology.gateways_for(hostvars, {"gateway": ["g1", "g2"]}, "h1")
    assert sorted(both["addresses"]) == ["2001:db8::1", "g2"]
    assert both["endpoint"] == "gateway.otelcol.internal:5317"
    with pytest.raises(AnsibleFilterError, match="h1 has no gateway"):
        topology.gateways_for(hostvars, {}, "h1")


@pytest.mark.parametrize(
    ("hours", "rate", "size"), [(0, 0, 7), ("0", 5, 7), (1, 100_000, 360_000_000), (5, 1, 64_000_000), ("2", "100000", 720_000_000)]
)
def test_collector_queue_bytes(hours: t.Any, rate: t.Any, size: int) -> None:
    """What is configured without hours; else at least a few batches."""
    assert topology.collector_queue_bytes(7, hours, rate) == size


@pytest.mark.parametrize(
    ("hours", "percent", "size"), [(0, 60, 20_000_000_000), (0, "30", 10_000_000_000), (0, 0, 7), (1, 60, 360_000_000)]
)
def test_collector_queue_bytes_of_a_file_system(hours: int, percent: t.Any, size: int) -> None:
    """Each of three queues has a third of the share; hours come first."""
    assert topology.collector_queue_bytes(7, hours, 100_000, percent, 100_000_000_000) == size
    # At least a few batches, also where the size is not known yet.
    assert not percent or hours or topology.collector_queue_bytes(7, hours, 100_000, percent) == 64_000_000


def test_log_receivers() -> None:
    """Each reads rotated files as well."""
    files = [{"name": "shop", "paths": ["/var/log/shop.log"], "line_start_pattern": "^x$"}]
    made = topology.log_receivers({"start_at": "end"}, ["/var/log/syslog", "/var/log/app*"], [{"type": "noop"}], files, [])
    assert made == {
        "file_log": {
            "start_at": "end",
            "include": ["/var/log/syslog", "/var/log/app*", "/var/log/syslog.1", "/var/log/app*.1"],
            "operators": [{"type": "noop"}],
        },
        "file_log/multiline_shop": {
            "start_at": "end",
            "include": ["/var/log/shop.log", "/var/log/shop.log.1"],
            "multiline": {"line_start_pattern": "^x$$"},
        },
    }
    containers = topology.log_receivers({}, [], [], [], ["/c/*-json.log"])["file_log/containers"]
    assert containers["include"] == ["/c/*-json.log", "/c/*-json.log.1"]


def test_scrape_targets() -> None:
    """One target a host, named after it."""
    hostvars: dict[str, t.Any] = {"z2": {"ansible_host": "192.0.2.2"}, "z1": {"zookeeper_metrics_port": 7001}}
    assert topology.scrape_targets(hostvars, ["z2", "z1"], "zookeeper_metrics_port") == [
        {"targets": ["z1:7001"], "labels": {"instance": "z1"}},
        {"targets": ["192.0.2.2:7000"], "labels": {"instance": "z2"}},
    ]
    assert topology.scrape_targets(hostvars, ["z2"], "otel_collector_gateway_metrics_port", address="127.0.0.1") == [
        {"targets": ["127.0.0.1:8888"], "labels": {"instance": "z2"}}
    ]
    assert topology.scrape_targets(hostvars, [], "zookeeper_metrics_port") == []


@pytest.mark.parametrize(
    ("listen", "target"), [("192.0.2.9", "192.0.2.9:7000"), ("2001:db8::9", "[2001:db8::9]:7000"), ("0.0.0.0", "z:7000"), ("::", "z:7000")]
)
def test_scraped_where_it_listens(listen: str, target: str) -> None:
    hostvars = {"z": {"zookeeper_metrics_address": listen}}
    targets = topology.scrape_targets(hostvars, ["z"], "zookeeper_metrics_port", "zookeeper_metrics_address")
    assert targets[0]["targets"] == [target]


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        (
            {
                "receivers": {"otlp": {}, "filelog/a": {}, "file_log": None},
                "exporters": {"otlp": {}, "otlp_grpc/b": {}},
            },
            [],
        ),
        ({"receivers": {"zookeeper/zk1": {}, "zookeeper/zk2": {}, "otlp": {}}}, ["receivers: zookeeper"]),
        (
            {"connectors": {"count": {}}, "extensions": {"basicauth": {}}, "processors": None, "service": {}},
            ["connectors: count", "extensions: basicauth"],
        ),
        # A name of one kind is no name of another.
        ({"exporters": {"prometheus": {}}}, ["exporters: prometheus"]),
    ],
)
def test_missing_components(config: dict[str, t.Any], missing: list[str]) -> None:
    """Types are compared, both names of a component count, each lack is named once."""
    assert topology.collector_missing_components(config, SAID) == missing


def test_missing_components_without_answer() -> None:
    """A program that does not run is not one without components."""
    with pytest.raises(AnsibleFilterError, match="cannot execute binary file"):
        topology.collector_missing_components({}, "cannot execute binary file")


def test_refusal_hides_the_secret_configuration() -> None:
    """Also where the program repeats it; what it says about files of the host is no refusal."""
    verdict = {"rc": 1, "stderr": "Error: 'timeout'\ntime: invalid duration \"hush-4711\""}
    said = topology.collector_refusal(verdict, {"exporters": {"clickhouse/1": {"timeout": "hush-4711"}}})
    assert said == "Error: 'timeout' time: invalid duration \"(hidden)\""
    assert topology.collector_refusal({"rc": 0, "stderr": ""}, {}) == ""
    assert topology.collector_refusal({"rc": 1, "stderr": "open x: no such file or directory"}, {}) == ""
