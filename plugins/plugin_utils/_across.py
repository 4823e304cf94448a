# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private: options of one host that contradict each other. May change at any time."""

from __future__ import annotations

import pathlib
import typing as t

from ansible_collections.groundwork.observability.plugins.plugin_utils import _components as components
from ansible_collections.groundwork.observability.plugins.plugin_utils._options import Host, role_options

Groups = t.Mapping[str, t.Sequence[str]]
EVERY_ADDRESS = ("", "0.0.0.0", "::", "*")
LOOPBACK = "127.0.0.1"
COLLECTOR = components.components()["otel_collector"]
MODES = tuple(COLLECTOR["groups"])
AGENTS = tuple(mode for mode in MODES if mode != "gateway")
COLLECTOR_STATE = COLLECTOR["state_folder"]
# Group of the inventory with further instances of collectors.
INSTANCES = COLLECTOR["instances"]
# Batches of 16 MB have to fit into a queue several times.
QUEUE_LEAST = 64_000_000
# Of each collector: for logs, traces and metrics.
QUEUES = 3

# Group -> the ports that its hosts listen on, each with the option that gives the address. "": the host's own address.
LISTENERS: dict[str, dict[str, str]] = {group: declared["ports"] for group, declared in components.groups().items()}
# Group -> the folders that its services own on a host.
FOLDERS: dict[str, tuple[str, ...]] = {group: tuple(declared["folders"]) for group, declared in components.groups().items()}
# Folders of archives below observability_install_dir.
PROGRAMS = tuple(name.replace("_", "-") for name in components.archives())


class Listener(t.NamedTuple):
    """A port that a host listens on."""

    option: str
    port: int
    address: str
    group: str


def listeners(host: Host, groups: t.Iterable[str]) -> list[Listener]:
    """What a host that is in these groups listens on."""
    found = []
    for group in groups:
        for option, where in LISTENERS[group].items():
            port = host.number(option)
            value = host.value(where) if where not in ("", LOOPBACK) else where
            addresses = value if isinstance(value, list) else [value]
            found += [Listener(option, port, str(address or host.address), group) for address in addresses if port is not None]
    return found


def groups_of(host: Host, site: Groups) -> list[str]:
    """Those groups of ours that a host is in. An instance of a collector counts as a host of its mode.

    :param host: the host.
    :param site: ansible's C(groups).
    """
    if host.name in site.get(INSTANCES, []):
        return [mode for mode in MODES if mode == host.text("otel_collector_mode")]
    return [group for group in LISTENERS if host.name in site.get(group, [])]


def host_contradictions(host: Host, groups: t.Sequence[str], site: Groups, server: Host | None) -> list[str]:
    """Options of one host that cannot work together, one line each.

    :param host: the host.
    :param groups: those groups of ours that it is in.
    :param site: ansible's C(groups).
    :param server: the first host of group C(clickhouse), whose settings others follow.
    """
    found = _ports(host, groups) + _folders(host, groups)
    if groups:
        found += _certificates(host)
    if set(groups) & set(MODES):
        found += _collector(host, groups, site, server)
    if "clickhouse" in groups:
        found += _clickhouse(host) + _schema(host) + _product_data(host)
    if "grafana" in groups:
        found += _grafana(host, server)
    return found


def _ports(host: Host, groups: t.Sequence[str]) -> list[str]:
    seen: dict[int, list[Listener]] = {}
    found = []
    for one in listeners(host, groups):
        for other in seen.setdefault(one.port, []):
            if one.option != other.option and overlap(one.address, other.address):
                found.append(f"{one.option} and {other.option} are both {one.port}: give each a port of its own")
        seen[one.port].append(one)
    return list(dict.fromkeys(found))


def overlap(one: str, other: str) -> bool:
    """Whether two addresses that a host listens on share a port."""
    return one == other or one in EVERY_ADDRESS or other in EVERY_ADDRESS


def _folders(host: Host, groups: t.Sequence[str]) -> list[str]:
    own = [(group, name, host.text(name).rstrip("/")) for group in groups for name in FOLDERS.get(group, ()) if host.text(name)]
    if set(groups) & set(MODES):
        own.append(("collector", "the collectors' folder", COLLECTOR_STATE))
    install = host.text("observability_install_dir").rstrip("/")
    own += [("programs", f"{name} below observability_install_dir", f"{install}/{name}") for name in PROGRAMS if install]
    return [
        f"{name} ({path}) and {other} ({beside}) are in each other: give each service a folder of its own"
        for number, (group, name, path) in enumerate(own)
        for another, other, beside in own[:number]
        if group != another and (path == beside or path.startswith(f"{beside}/") or beside.startswith(f"{path}/"))
    ]


def _certificates(host: Host) -> list[str]:
    if not {"observability_tls_days", "observability_tls_renew_days"} & set(host.given):
        return []
    life, renew = host.number("common_tls_days"), host.number("common_tls_renew_days")
    if life is None or renew is None or life > renew:
        return []
    return [
        f"observability_tls_days ({life}) is not above observability_tls_renew_days ({renew}): each run would issue every certificate again"
    ]


def _collector(host: Host, groups: t.Sequence[str], site: Groups, server: Host | None) -> list[str]:
    found = []
    agents = [mode for mode in AGENTS if mode in groups]
    if agents and not site.get("gateway") and not host.text("otel_collector_gateway_endpoint"):
        found.append(
            f"{', '.join(agents)}: group gateway is empty and otel_collector_gateway_endpoint is not set, so there is nothing to send to"
        )
    if "gateway" in groups:
        found += _gateway(host, server)
    if "cluster_agent" in groups and server is not None:
        found += _stranger(host, "otel_collector_clickhouse_monitor_username", server, "clickhouse_monitor_user")
    tokens = {end: _tokens(host, end) for end in ("gateway", "agent")}
    for name in tokens["gateway"]:
        for other in tokens["agent"]:
            if tokens["gateway"][name] & tokens["agent"][other]:
                found.append(f"{name} and {other} are the same: an application could pass as an agent")
    for end in tokens:
        own, further = tokens[end].values()
        if own & further:
            found.append(f"otel_collector_{end}_tokens has the value of otel_collector_{end}_token: without its name it is still accepted")
    units = [str(service.get("unit")) for service in _dictionaries(host.value("otel_collector_instrumented_services"))]
    found += [f"otel_collector_instrumented_services has {unit} twice: leave one" for unit in sorted(set(units)) if units.count(unit) > 1]
    secret = host.value("otel_collector_secret_config")
    unknown = sorted(str(key) for key in secret if key not in MODES) if isinstance(secret, dict) else []
    found += _queue_rates(host, groups)
    if unknown:
        found.append(f"otel_collector_secret_config has {', '.join(unknown)}: its keys are {', '.join(MODES)}")
    return found


def collector_queue_bytes(configured: t.Any, hours: t.Any, rate: t.Any, percent: t.Any = 0, file_system_bytes: t.Any = 0) -> int:
    """Size of each disk queue of a collector: hours at a rate, or a share of the file system; without both, what is configured.

    :param configured: bytes.
    :param hours: for which the next hop may be away.
    :param rate: bytes a second of the signal with the most.
    :param percent: of the file system, for the three queues of a collector together.
    :param file_system_bytes: size of the file system.
    """
    if int(hours):
        return max(QUEUE_LEAST, int(hours) * 3600 * int(rate))
    return max(QUEUE_LEAST, int(file_system_bytes) * int(percent) // 100 // QUEUES) if int(percent) else int(configured)


def _queue_rates(host: Host, groups: t.Sequence[str]) -> list[str]:
    found = []
    for end, modes in (("gateway", ("gateway",)), ("agent", AGENTS)):
        hours, rate, percent = (f"otel_collector_{end}_queue_{what}" for what in ("hours", "rate", "percent"))
        if not set(groups) & set(modes) or not host.number(hours):
            continue
        if host.number(rate) == 0:
            found.append(f"{hours} is {host.number(hours)}, and {rate} is 0: set it to the bytes a second that were measured")
        if host.number(percent):
            found.append(f"{hours} is {host.number(hours)} and {percent} is {host.number(percent)}: set one to 0, both give the same size")
    return found


def _tokens(host: Host, end: str) -> dict[str, set[str]]:
    """The tokens that gateways, or agents, accept, by option."""
    own, further = f"otel_collector_{end}_token", f"otel_collector_{end}_tokens"
    values = host.value(further)
    return {own: {host.text(own)} - {""}, further: set(map(str, values.values())) if isinstance(values, dict) else set()}


def _gateway(host: Host, server: Host | None) -> list[str]:
    if host.text("otel_collector_clickhouse_endpoint"):
        return []
    if server is None:
        return ["gateway: group clickhouse is empty and otel_collector_clickhouse_endpoint is not set, so there is nothing to write to"]
    found = []
    if host.text("otel_collector_clickhouse_table_suffix"):
        found.append("otel_collector_clickhouse_table_suffix is only used with otel_collector_clickhouse_endpoint: take it out")
    found += _differs(host, "otel_collector_clickhouse_database", server, "telemetry_schema_database", "the tables are there")
    return found + _stranger(host, "otel_collector_clickhouse_username", server, "clickhouse_ingest_user")


def _differs(host: Host, name: str, server: Host, owner: str, why: str) -> list[str]:
    """An option that repeats the value of an option of the servers, with another value."""
    if name not in host.given:
        return []
    own, wanted = host.text(name), server.text(owner)
    if not own or not wanted or own == wanted:
        return []
    return [f"{name} ({own}) is not {owner} ({wanted}): {why}. Set only {owner}"]


def _stranger(host: Host, name: str, server: Host, owner: str) -> list[str]:
    """A user that the servers do not have: neither the role's nor one of clickhouse_users_config."""
    config = server.value("clickhouse_users_config")
    further = config.get("users") if isinstance(config, dict) else None
    if name not in host.given or host.text(name) in (further or ()):
        return []
    return _differs(host, name, server, owner, "the servers have no such user")


def _clickhouse(host: Host) -> list[str]:
    from ansible_collections.groundwork.observability.plugins.plugin_utils._constraints import is_own_folder

    found = []
    listen = host.given.get("clickhouse_listen") and host.value("clickhouse_listen")
    if isinstance(listen, list) and listen and not {*EVERY_ADDRESS, LOOPBACK, "localhost"} & set(map(str, listen)):
        found.append("clickhouse_listen has no 127.0.0.1: the role asks the server for its health there")
    config = host.value("clickhouse_config")
    config = config if isinstance(config, dict) else {}
    most, query = _positive(config.get("max_server_memory_usage")), host.number("clickhouse_grafana_max_memory")
    if most and query and query > most:
        found.append(
            f"clickhouse_grafana_max_memory ({query}) is above max_server_memory_usage ({most:.0f}) of clickhouse_config: lower it"
        )
    storage = config.get("storage_configuration")
    disks = storage.get("disks") if isinstance(storage, dict) else None
    for name, disk in disks.items() if isinstance(disks, dict) else ():
        path = str(disk.get("path", "")) if isinstance(disk, dict) else ""
        if path.startswith("/") and not is_own_folder(path.rstrip("/")):
            found.append(f"clickhouse_config: disk {name} has the path {path!r}: give it a folder of its own, as clickhouse_data_dir")
    ratio = config.get("max_server_memory_usage_to_ram_ratio", 0.5)
    if not _positive(ratio) or float(ratio) > 1:
        found.append(f"clickhouse_config.max_server_memory_usage_to_ram_ratio is {ratio!r}: it has to be above 0 and at most 1")
    users = [host.text(f"clickhouse_{purpose}_user") for purpose in ("admin", "ingest", "grafana", "monitor")]
    if len(users) != len(set(users)):
        found.append(
            f"clickhouse_admin_user, clickhouse_ingest_user, clickhouse_grafana_user and clickhouse_monitor_user are {', '.join(users)}: "
            "each has to have its own name"
        )
    named = [tuple(map(str, (node.get("host"), node.get("port")))) for node in _dictionaries(host.value("clickhouse_zookeeper_hosts"))]
    if len(named) != len(set(named)):
        found.append("clickhouse_zookeeper_hosts names a member twice")
    return found


def _positive(value: t.Any) -> float:
    try:
        return max(float(value), 0)
    except (TypeError, ValueError):
        return 0


def _dictionaries(values: t.Any) -> list[dict[str, t.Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _schema(host: Host) -> list[str]:
    found = _differs(host, "telemetry_schema_cluster", host, "clickhouse_cluster", "Distributed tables need one that the servers know")
    for name in ("telemetry_schema_database", "telemetry_schema_history"):
        if host.text(name).lower() in ("system", "information_schema"):
            found.append(f"{name} is {host.text(name)}, which belongs to the server: name another")
    if "telemetry_schema_login_host" not in host.given:
        found += _stranger(host, "telemetry_schema_login_user", host, "clickhouse_admin_user")
        found += _differs(host, "telemetry_schema_login_port", host, "clickhouse_https_port", "the server listens there")
        found += _storage_policy(host)
        if str(host.value("telemetry_schema_secure", True)).lower() in ("false", "no", "0"):
            found.append("telemetry_schema_secure is off, and the role's servers listen by TLS only: take it out")
    return found


def _product_data(host: Host) -> list[str]:
    from ansible_collections.groundwork.observability.plugins.plugin_utils import _product_data as product_data

    database, found = host.text("product_data_database"), []
    if database.lower() in ("system", "information_schema", "default"):
        found.append(f"product_data_database is {database}, which belongs to the server: name another")
    if host.text("telemetry_schema_database") in (database, f"{database}_source"):
        found.append(f"product_data_database ({database}) and telemetry_schema_database are the same, or would be: name another")
    passwords = host.value("product_data_passwords")
    options = product_data.ProductData(
        database,
        _dictionaries(host.value("product_data_sources")),
        _dictionaries(host.value("product_data_snapshots")),
        passwords if isinstance(passwords, dict) else {},
        _dictionaries(host.value("product_data_dictionaries")),
    )
    if options.dictionaries and "product_data_login_host" not in host.given:
        found += _stranger(host, "product_data_dictionary_user", host, "clickhouse_grafana_user")
    return found + product_data.problems(options)


def _storage_policy(host: Host) -> list[str]:
    """Tiers need a storage policy that the server has, with the volume."""
    policy, cold = host.text("telemetry_schema_storage_policy"), host.text("telemetry_schema_cold_volume")
    retention = host.value("telemetry_schema_retention")
    entries = retention.items() if isinstance(retention, dict) else ()
    tiered = [name for name, entry in entries if isinstance(entry, dict) and "cold_after" in entry]
    if not policy:
        missing = "and telemetry_schema_storage_policy is empty: set it"
        return [f"telemetry_schema_retention: {name} has cold_after, {missing}" for name in tiered]
    config = host.value("clickhouse_config")
    declared = config.get("storage_configuration", {}).get("policies", {}) if isinstance(config, dict) else {}
    if policy not in declared:
        return [f"telemetry_schema_storage_policy is {policy}: declare it in clickhouse_config, storage_configuration.policies"]
    if tiered and cold not in declared[policy].get("volumes", {}):
        return [f"telemetry_schema_cold_volume is {cold}: storage policy {policy} in clickhouse_config has no such volume, name one of it"]
    return []


def _grafana(host: Host, server: Host | None) -> list[str]:
    found = []
    if not host.text("grafana_clickhouse_host"):
        if server is None:
            found.append("group clickhouse is empty: set grafana_clickhouse_host to the ClickHouse that dashboards ask")
        else:
            found += _differs(host, "grafana_clickhouse_port", server, "clickhouse_https_port", "the servers listen there")
            found += _differs(host, "grafana_clickhouse_database", server, "telemetry_schema_database", "the tables are there")
            found += _stranger(host, "grafana_clickhouse_user", server, "clickhouse_grafana_user")
    plugins = [str(plugin.get("id")) for plugin in _dictionaries(host.value("grafana_plugins"))]
    found += [f"grafana_plugins has {name} twice: leave one of them" for name in sorted(set(plugins)) if plugins.count(name) > 1]
    found += _grafana_database(host) + _grafana_logins(host) + _grafana_content(host)
    sources = [{"name": "ClickHouse", "uid": "clickhouse"}, *_dictionaries(host.value("grafana_datasources"))]
    for key in ("name", "uid"):
        values = [source[key] for source in sources if source.get(key)]
        for value in sorted({str(value) for value in values if values.count(value) > 1}):
            found.append(f"grafana_datasources: {key} {value} is there twice, or is the role's own: give each data source its own")
    if any(source.get("isDefault") for source in sources):
        found.append("grafana_datasources: isDefault is the role's own data source, and Grafana refuses to start with two: take it out")
    return found


GRAFANA_FILE = "in group_vars/grafana.yml"


def _grafana_database(host: Host) -> list[str]:
    kind = host.text("grafana_database_type")
    if kind in ("postgres", "mysql"):
        return [
            f"grafana_database_type is {kind}, and {name} is not set: set it {where}"
            for name, where in (("grafana_database_host", GRAFANA_FILE), ("grafana_database_password", "in observability_secrets_file"))
            if not host.has(name)
        ]
    return [
        f"{name} is only used with another grafana_database_type than {kind}: set that to postgres or mysql, or take {name} out"
        for name in ("grafana_database_host", "grafana_database_password")
        if host.has(name)
    ]


def _grafana_logins(host: Host) -> list[str]:
    """Options that need each other, and files on the controller that are not there."""
    found = []
    needed = {
        "grafana_smtp_user": ("grafana_smtp_host", "grafana_smtp_password"),
        "grafana_smtp_password": ("grafana_smtp_user",),
        "grafana_oauth_client_id": tuple(f"grafana_oauth_{name}" for name in ("client_secret", "auth_url", "token_url", "api_url")),
        "grafana_oauth_client_secret": ("grafana_oauth_client_id",),
    }
    for name, others in needed.items():
        missing = [other for other in others if not host.has(other)] if host.has(name) else []
        found += [f"{name} is set, and {', '.join(missing)} is not: set it {GRAFANA_FILE}"] if missing else []
    for name in ("grafana_database_ca_file", "grafana_oauth_ca_file", "grafana_ldap_ca_file"):
        path = host.text(name)
        if path and not pathlib.Path(path).is_file():
            found.append(f"{name} is {path}, which is not a file on the controller: put the certificate there, or set {name}")
    return found


def _grafana_content(host: Host) -> list[str]:
    """Files that Grafana would refuse."""
    from ansible_collections.groundwork.observability.plugins.plugin_utils import _grafana_content as content

    found = []
    if host.text("grafana_content_url"):
        found.append("grafana_content_url is for a Grafana that is not in group grafana: empty the group, or take the variable out")
    options = role_options("grafana")
    secrets = [host.text(name) for name in options if options[name].get("no_log") and options[name]["type"] == "str"]
    directory = host.text("grafana_content_dir")
    folders = [{"title": content.SHIPPED_FOLDER}]
    try:
        # The role's own dashboards are right; they are read where others could take their uids or titles.
        if directory:
            sources = _dictionaries(host.value("grafana_datasources"))
            folders = content.read_dashboards(directory, secrets, shipped=_shipped_dashboards(host), datasources=sources)["folders"]
    except content.ContentError as error:
        found.append(f"grafana_content_dir: {error}")
    try:
        if host.text("grafana_content_delivery") == "api":
            content.datasource_options(_dictionaries(host.value("grafana_datasources")))
    except content.ContentError as error:
        found.append(f"grafana_datasources: {error}")
    return found + _grafana_alerting(host, folders)


def _shipped_dashboards(host: Host) -> str:
    wanted = str(host.value("grafana_platform_dashboards")).lower() not in ("false", "no", "0")
    return str(components.ROLES / "grafana" / "files" / "dashboards") if wanted else ""


def _grafana_alerting(host: Host, folders: t.Sequence[t.Mapping[str, str]]) -> list[str]:
    """Alert rules and policies that refer to what is not there. What is wrong with each alone is said elsewhere."""
    from ansible_collections.groundwork.observability.plugins.plugin_utils import _grafana_alerts as alerts
    from ansible_collections.groundwork.observability.plugins.plugin_utils import _grafana_content as content
    from ansible_collections.groundwork.observability.plugins.plugin_utils import _grafana_notifications as notifications

    names = ("alert_rule_groups", "contact_points", "mute_timings", "notification_templates")
    groups, points, timings, templates = (_dictionaries(host.value(f"grafana_{name}")) for name in names)
    policy = host.value("grafana_notification_policy")
    sources = {"clickhouse", *(str(source.get("uid")) for source in _dictionaries(host.value("grafana_datasources")))}
    tree = policy if isinstance(policy, dict) else {}
    receivers = host.value("grafana_alert_receivers")
    if tree and receivers:
        return [f"grafana_alert_receivers and grafana_notification_policy both say where alerts go: set one of them {GRAFANA_FILE}"]
    if isinstance(receivers, dict) and not alerts.receivers_problem(receivers):
        tree = tree or alerts.policy_tree(receivers)
    try:
        notifications.module_options(groups, points, tree, timings, templates, sources, folders)
    except content.ContentError as error:
        return [f"grafana_alert_rule_groups, grafana_contact_points, grafana_alert_receivers or grafana_notification_policy: {error}"]
    return []
