# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that derive who talks to whom from the inventory, and what a collector's configuration needs."""

from __future__ import annotations

import hashlib
import math
import re
import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.groundwork.observability.plugins.filter.addresses import address_in_url, host_address
from ansible_collections.groundwork.observability.plugins.filter.tls import GATEWAY_NAME
from ansible_collections.groundwork.observability.plugins.plugin_utils._across import INSTANCES, collector_queue_bytes
from ansible_collections.groundwork.observability.plugins.plugin_utils._settings import setting

EVERY_ADDRESS = ("", "0.0.0.0", "::")
# What a gateway takes at once: above what an agent batches (16 MB), as a batch that is refused for its size is lost.
MAX_REQUEST_MIB = 64
# Gateways that one agent takes in turn.
AGENT_GATEWAYS = 3
KINDS = ("receivers", "processors", "exporters", "connectors", "extensions")
# A line of the logging driver json-file has text, time and stream; the name of the file has the container's id.
CONTAINER_OPERATORS: list[dict[str, t.Any]] = [
    {"type": "container", "format": "docker", "add_metadata_from_filepath": False},
    # Without the line break at the end of the text.
    {"type": "regex_parser", "regex": r"(?s)^(?P<message>.*?)\n?$", "on_error": "send_quiet"},
    {"type": "move", "if": "attributes.message != nil", "from": "attributes.message", "to": "body"},
    {
        "type": "regex_parser",
        "parse_from": 'attributes["log.file.path"]',
        "regex": r"/(?P<container_id>[0-9a-f]{64})-json\.log",
        "on_error": "send_quiet",
    },
    {"type": "move", "if": "attributes.container_id != nil", "from": "attributes.container_id", "to": 'resource["container.id"]'},
]
VALID_VALUES = re.compile(r"'(\w+)' unknown type: \"no_such\".*?\(valid values: \[([^\]]*)\]\)")


def address_of(hostvars: t.Mapping[str, t.Any], host: str) -> str:
    """How other hosts reach C(host), fit for a URL."""
    return address_in_url(host_address(host, hostvars))


def _identity(hostvars: t.Mapping[str, t.Any], host: str) -> tuple[int, str]:
    names = ("clickhouse_shard", "clickhouse_replica")
    missing = [name for name in names if name not in hostvars[host]]
    if missing:
        raise AnsibleFilterError(f"{' and '.join(missing)} of {host} must be set: identity is never derived from the order of an inventory")
    return int(hostvars[host][names[0]]), str(hostvars[host][names[1]])


def _shards(hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]]) -> dict[int, list[str]]:
    """The shards in the order of their numbers, each with its hosts in the order of their replicas."""
    shards: dict[int, list[str]] = {}
    for host in sorted(groups.get("clickhouse", []), key=lambda host: _identity(hostvars, host)):
        shards.setdefault(_identity(hostvars, host)[0], []).append(host)
    return shards


def _shards_of_gateway(shards: t.Iterable[int], gateways: t.Sequence[str], gateway: str) -> list[int]:
    """The shards that the agents of one gateway send to.

    A gateway has as few shards as the numbers allow: one where gateways are a multiple of shards, all where the two
    numbers have no common divisor. So INSERTs stay few, and every shard has the same number of gateways.
    """
    ordered, step = sorted(shards), math.gcd(len(list(shards)), len(gateways))
    return ordered[sorted(gateways).index(gateway) % step :: step]


def _ranked(host: str, candidates: t.Iterable[t.Any]) -> list[t.Any]:
    """The candidates, highest hash first: a further candidate takes over only its own part of the hosts."""
    return sorted(candidates, key=lambda candidate: hashlib.sha256(f"{host} {candidate}".encode()).digest(), reverse=True)


def clickhouse_writers(hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]], gateway: str) -> list[dict[str, t.Any]]:
    """One writer for each shard, each with the addresses of that shard's replicas only.

    So every INSERT goes to local tables, and a retried block meets the replicas that know its hash. Every gateway can
    write to every shard: an agent may send to any of them. The first writer takes what names no shard.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    :param gateway: the gateway's name in the inventory.
    :returns: C(name) of the exporter, C(shard), C(endpoint) and C(hosts) of each writer.
    :raises AnsibleFilterError: without ClickHouse hosts, for a host that is no gateway, for a host without identity.
    """
    shards, gateways = _shards(hostvars, groups), groups.get("gateway", [])
    if gateway in groups.get(INSTANCES, []):
        # Only who is told to sends to it.
        gateways = [gateway]
    if not shards or gateway not in gateways:
        raise AnsibleFilterError(
            f"{gateway} has no ClickHouse to write to: group clickhouse is empty, or {gateway} is not in group gateway"
        )
    own = _shards_of_gateway(shards, gateways, gateway)
    return [
        {
            "name": f"clickhouse/{shard}",
            "shard": shard,
            "endpoint": "tcp://{}?secure=true".format(
                ",".join(f"{address_of(hostvars, host)}:{setting(hostvars, host, 'clickhouse_native_port')}" for host in shards[shard])
            ),
            "hosts": shards[shard],
        }
        for shard in [*own, *(shard for shard in shards if shard not in own)]
    ]


def gateway_pipelines(
    writers: t.Sequence[t.Mapping[str, t.Any]],
    exporter: t.Mapping[str, t.Any],
    batcher: t.Mapping[str, t.Any],
    queue: t.Mapping[str, t.Any],
    inputs: t.Mapping[str, t.Any],
    header: str,
    folder: str,
) -> dict[str, t.Any]:
    """The part of a gateway's configuration that depends on the shards that it writes to.

    Requests of agents are merged in memory, and each waits until its batch is in the disk queue of its shard. The batch
    travels there through a socket of the gateway's own, because a disk queue is at the begin of an exporter. What is
    taken from the queue goes to the relay, and from there through another socket to ClickHouse. It is one INSERT, also
    after a crash, so that ClickHouse drops a block that it has. A second exporter, which ignores errors of materialized
    views, is for what the first one is refused.

    Each signal has sockets of its own. A receiver that several signals share listens as soon as the first of its pipelines
    has started. While ClickHouse does not answer, exporters take long to start, and what arrives for one that has not yet
    started makes the collector crash.

    With several writers a routing connector hands each request as a whole to the writer that its header names: when the
    queue of one shard is full, only the requests for it are refused, and a retried request is not stored on another one.

    :param writers: as clickhouse_writers returns them.
    :param exporter: settings of every exporter to ClickHouse; the endpoint is added.
    :param batcher: settings of every exporter that merges requests; the endpoint is added.
    :param queue: settings of every disk queue; the shard is added to its endpoint, that of the relay.
    :param inputs: signal -> C(receivers) and C(processors) of the pipeline that takes the agents' requests.
    :param header: name of the header that names the shard.
    :param folder: where the sockets are.
    :returns: C(receivers), C(exporters), C(connectors) and C(pipelines).
    """
    shards = [str(writer["shard"]) for writer in writers]
    merged = [f"{shard}_{signal}" for shard in shards for signal in inputs]
    handed_over = [f"{shard}_{what}_{signal}" for shard in shards for what in ("write", "ignore_views") for signal in inputs]
    grpc = {"transport": "unix", "max_recv_msg_size_mib": MAX_REQUEST_MIB}
    http = {"transport": "unix", "max_request_body_size": MAX_REQUEST_MIB * 1024 * 1024}
    made: dict[str, t.Any] = {
        "receivers": {f"otlp/{name}": {"protocols": {"grpc": {**grpc, "endpoint": f"{folder}/{name}.sock"}}} for name in merged}
        | {f"otlp/{name}": {"protocols": {"http": {**http, "endpoint": f"{folder}/{name}.sock"}}} for name in handed_over},
        "exporters": {writer["name"]: {**exporter, "endpoint": writer["endpoint"]} for writer in writers}
        | {
            f"{writer['name']}_ignore_views": {
                **exporter,
                "endpoint": writer["endpoint"],
                "connection_params": {**exporter["connection_params"], "materialized_views_ignore_errors": "1"},
            }
            for writer in writers
        }
        | {f"otlp_grpc/{name}": {**batcher, "endpoint": f"unix://{folder}/{name}.sock"} for name in merged}
        | {f"otlp_http/{shard}": {**queue, "endpoint": f"{queue['endpoint']}/{shard}"} for shard in shards},
        "connectors": {},
        "pipelines": {},
    }
    for signal, pipeline in inputs.items():
        for writer, shard in zip(writers, shards):
            made["pipelines"][f"{signal}/queue_{shard}"] = {"receivers": [f"otlp/{shard}_{signal}"], "exporters": [f"otlp_http/{shard}"]}
            for what, name in (("write", writer["name"]), ("ignore_views", f"{writer['name']}_ignore_views")):
                made["pipelines"][f"{signal}/{what}_{shard}"] = {"receivers": [f"otlp/{shard}_{what}_{signal}"], "exporters": [name]}
        if len(writers) == 1:
            made["pipelines"][signal] = {**pipeline, "exporters": [f"otlp_grpc/{shards[0]}_{signal}"]}
            continue
        router = f"routing/{signal}"
        table = [
            {"context": "request", "condition": f'request["{header}"] == "{shard}"', "pipelines": [f"{signal}/{shard}"]} for shard in shards
        ]
        made["connectors"][router] = {"default_pipelines": table[0]["pipelines"], "table": table}
        made["pipelines"][signal] = {**pipeline, "exporters": [router]}
        for shard in shards:
            made["pipelines"][f"{signal}/{shard}"] = {"receivers": [router], "exporters": [f"otlp_grpc/{shard}_{signal}"]}
    return made


def gateways_for(hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]], host: str) -> dict[str, t.Any]:
    """The gateways that a host's collectors send to, in turn, and the shard that they name, by rendezvous hashing.

    Gateways of the same shard first, so that INSERTs stay few; another one where that is only one. At most AGENT_GATEWAYS, so
    that an agent's configuration and a gateway's connections do not grow with the number of gateways.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    :param host: the sending host's name in the inventory.
    :returns: C(names) and C(addresses) of the gateways; C(endpoint), which is GATEWAY_NAME where there are several, and the
        address where there is one; C(shard), none where there is no choice of one.
    :raises AnsibleFilterError: without gateways.
    """
    gateways = groups.get("gateway", [])
    if not gateways:
        raise AnsibleFilterError(f"{host} has no gateway to send to: group gateway is empty")
    ranked = _ranked(host, gateways)
    shards = _shards(hostvars, groups)
    shard = shard_for(hostvars, groups, host, ranked[0])
    same = [gateway for gateway in ranked if shard is None or shard in _shards_of_gateway(shards, gateways, gateway)]
    chosen = same[:AGENT_GATEWAYS] if len(same) > 1 else ranked[:2]
    port = setting(hostvars, chosen[0], "otel_collector_gateway_grpc_port")
    return {
        "names": chosen,
        "addresses": [host_address(gateway, hostvars) for gateway in chosen],
        "endpoint": f"{GATEWAY_NAME if len(chosen) > 1 else address_of(hostvars, chosen[0])}:{port}",
        "shard": shard,
    }


def shard_for(hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]], host: str, gateway: str = "") -> int | None:
    """The shard that a host's records are written to.

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    :param host: the sending host's name in the inventory.
    :param gateway: choose among the shards of this gateway; among all where it is empty.
    :returns: the shard, none where there are fewer than two.
    """
    shards = _shards(hostvars, groups)
    if len(shards) < 2:
        return None
    return t.cast(int, _ranked(host, _shards_of_gateway(shards, groups["gateway"], gateway) if gateway else shards)[0])


def _with_rotated(paths: t.Iterable[str]) -> list[str]:
    """The files, and what each is called after it was rotated once: what was not read before is read there."""
    found = [str(path) for path in paths]
    return list(dict.fromkeys([*found, *(f"{path}.1" for path in found)]))


def log_receivers(
    common: t.Mapping[str, t.Any],
    paths: t.Iterable[str],
    operators: t.Sequence[t.Mapping[str, t.Any]],
    multiline: t.Iterable[t.Mapping[str, t.Any]],
    containers: t.Sequence[str],
) -> dict[str, t.Any]:
    """The receivers of log files.

    A receiver knows a rotated file by its first bytes, whatever its name is, and goes on where it was.

    :param common: settings that all have.
    :param paths: files with one record a line.
    :param operators: what takes these lines apart.
    :param multiline: files whose records have several lines: C(name), C(paths), C(line_start_pattern).
    :param containers: files of Docker's logging driver C(json-file).
    :returns: name of the receiver -> its settings.
    """
    made: dict[str, t.Any] = {"file_log": {**common, "include": _with_rotated(paths), "operators": list(operators)}}
    for files in multiline:
        made[f"file_log/multiline_{files['name']}"] = {
            **common,
            "include": _with_rotated(files["paths"]),
            # The program takes $$ as one $.
            "multiline": {"line_start_pattern": str(files["line_start_pattern"]).replace("$", "$$")},
        }
    if containers:
        made["file_log/containers"] = {**common, "include": _with_rotated(containers), "operators": CONTAINER_OPERATORS}
    return made


def scrape_targets(
    hostvars: t.Mapping[str, t.Any], hosts: t.Iterable[str], port: str, listen: str = "", address: str = ""
) -> list[dict[str, t.Any]]:
    """The C(static_configs) of a Prometheus job; each target's instance is the host's name in the inventory.

    :param hostvars: ansible's C(hostvars).
    :param hosts: names of the hosts to scrape.
    :param port: the option that is the port.
    :param listen: the option that is the address listened on. A host where it is not set, or is all addresses, is scraped at the address
        that other hosts reach it at.
    :param address: scrape this address instead.
    """

    def reached(host: str) -> str:
        own = str(hostvars[host].get(listen) or "")
        return address_of(hostvars, host) if own in EVERY_ADDRESS else address_in_url(own)

    return [
        {
            "targets": [f"{address or reached(host)}:{setting(hostvars, host, port)}"],
            "labels": {"instance": host},
        }
        for host in sorted(hosts)
    ]


def collector_missing_components(config: t.Mapping[str, t.Any], said: str) -> list[str]:
    """What a collector's configuration uses but its program does not have, such as V(receivers: zookeeper).

    The list that C(components) prints leaves out those with two names (seen with 0.149.0), so the program is asked by
    a configuration that it refuses.

    :param config: the whole configuration.
    :param said: what C(validate) said about a configuration with a component C(no_such) of each kind.
    """
    available = {kind: set(names.split()) for kind, names in VALID_VALUES.findall(said)}
    if not available:
        raise AnsibleFilterError(f"the collector does not tell its components: {said.strip()[-500:]}")
    return [
        f"{kind}: {component}"
        for kind in KINDS
        for component in sorted({name.split("/", 1)[0] for name in config.get(kind) or {}} - available.get(kind, set()))
    ]


def _texts(value: t.Any) -> list[str]:
    if isinstance(value, t.Mapping):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _texts(item)]
    return [str(value)]


def collector_refusal(verdict: t.Mapping[str, t.Any], secrets: t.Mapping[str, t.Any]) -> str:
    """Why a collector refuses a configuration, empty where it accepts it.

    The controller has not the host's files: what the program says about a file that is not there is left to the host, where the same
    check runs before the first file is replaced.

    :param verdict: result of the collector's C(validate).
    :param secrets: the secret configuration, whose texts are hidden.
    """
    said = str(verdict.get("stderr") or verdict.get("msg") or "")
    if verdict.get("rc") == 0 or "no such file or directory" in said:
        return ""
    for secret in sorted(_texts(secrets), key=len, reverse=True):
        said = said.replace(secret, "(hidden)") if secret else said
    return " ".join(said.split())[-1500:]


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "clickhouse_writers": clickhouse_writers,
            "collector_missing_components": collector_missing_components,
            "collector_queue_bytes": collector_queue_bytes,
            "collector_refusal": collector_refusal,
            "gateway_pipelines": gateway_pipelines,
            "gateways_for": gateways_for,
            "log_receivers": log_receivers,
            "scrape_targets": scrape_targets,
            "shard_for": shard_for,
        }
