# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private: settings that pass through to a program, compared with those that it knows. May change at any time.

The lists are in roles/<role>/files/known_settings.yml; those of ZooKeeper and ClickHouse are read from the programs themselves, that of
Grafana is from its documentation. What ClickHouse alone can judge, it is asked before it is restarted (role clickhouse).
A newer program than the list may know more: then only what stands in the list is checked.
"""

from __future__ import annotations

import difflib
import functools
import pathlib
import re
import typing as t

import yaml
from ansible_collections.groundwork.observability.plugins.plugin_utils._options import Host

ROLES = pathlib.Path(__file__).resolve().parents[2] / "roles"
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?([kKMGT]i?)?")
_BOOLEANS = ("true", "false", "yes", "no", "on", "off", "0", "1")
# Elements of a profile that are no settings.
_IN_PROFILE = ("constraints", "profile")
_GRAFANA = {
    "server.http_addr": "grafana_address",
    "server.http_port": "grafana_port",
    "server.domain": "grafana_domain",
    "paths.data": "grafana_data_dir",
    "security.admin_user": "grafana_admin_user",
    "security.admin_password": "grafana_admin_password",
    "security.secret_key": "grafana_secret_key",
    **{f"database.{key}": f"grafana_database_{key}" for key in ("type", "host", "name", "user", "password")},
    "database.url": "grafana_database_host",
    "database.ssl_mode": "grafana_database_tls",
    "database.ca_cert_path": "grafana_database_ca_file",
    "unified_alerting.ha_listen_address": "grafana_alerting_port",
    **{f"smtp.{key}": f"grafana_smtp_{key}" for key in ("host", "user", "password", "from_address", "from_name")},
    "smtp.startTLS_policy": "grafana_smtp_starttls",
    **{
        f"auth.generic_oauth.{key}": f"grafana_oauth_{key}"
        for key in ("name", "client_id", "client_secret", "auth_url", "token_url", "api_url", "scopes", "role_attribute_path")
    },
    "auth.generic_oauth.tls_client_ca": "grafana_oauth_ca_file",
    "auth.ldap.enabled": "grafana_ldap_servers",
    "auth.ldap.config_file": "grafana_ldap_servers",
    "metrics.basic_auth_password": "grafana_metrics_password",
}
# Settings that an option of the role owns: who wants to change them changes the option, so that everything else follows.
OWNED: dict[str, dict[str, str]] = {
    "zookeeper_config": {
        "dataDir": "zookeeper_data_dir",
        "dataLogDir": "zookeeper_log_dir",
        "secureClientPort": "zookeeper_client_port",
        "admin.serverPort": "zookeeper_admin_port",
        "metricsProvider.httpPort": "zookeeper_metrics_port",
        "metricsProvider.httpHost": "zookeeper_metrics_address",
    },
    "clickhouse_config": {
        "path": "clickhouse_data_dir",
        "https_port": "clickhouse_https_port",
        "tcp_port_secure": "clickhouse_native_port",
        "interserver_https_port": "clickhouse_interserver_port",
        "listen_host": "clickhouse_listen",
        "macros.cluster": "clickhouse_cluster",
        "macros.shard": "clickhouse_shard",
        "macros.replica": "clickhouse_replica",
    },
    "grafana_ini": _GRAFANA,
    "grafana_secret_ini": _GRAFANA,
}


@functools.cache
def _file(role: str) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", yaml.safe_load((ROLES / role / "files" / "known_settings.yml").read_text(encoding="utf-8")))


@functools.cache
def known_settings(role: str, table: str) -> dict[str, str]:
    """Name -> kind (C(number), C(boolean) or C(text)) of each setting in a table of a role's known_settings.yml."""
    return {name: kind for kind, names in _file(role)[table].items() for name in names.split()}


def _is_newer(role: str, version: str) -> bool:
    """Whether a version is of a later series than the list."""

    def series(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in re.findall(r"[0-9]+", text)[:2])

    return series(version) > series(_file(role)["version"])


def setting_problems(host: Host, groups: t.Sequence[str]) -> list[str]:
    """Settings that the programs of a host do not know, or not with this value, one line each."""
    found = []
    if "zookeeper" in groups:
        found += _zookeeper(_dictionary(host, "zookeeper_config"), host.text("zookeeper_version"))
    if "clickhouse" in groups:
        version = host.text("clickhouse_version")
        found += _server(_dictionary(host, "clickhouse_config"), version)
        found += _profiles(_dictionary(host, "clickhouse_users_config"), version)
    if "grafana" in groups:
        for option in ("grafana_ini", "grafana_secret_ini"):
            found += _grafana(option, _dictionary(host, option), host.text("grafana_version"))
    return found


def _dictionary(host: Host, name: str) -> dict[str, t.Any]:
    value = host.value(name)
    return value if isinstance(value, dict) else {}


def _owned(option: str, settings: t.Mapping[str, t.Any]) -> list[str]:
    found = []
    for path, owner in OWNED[option].items():
        section, _dot, key = path.rpartition(".")
        inner = settings.get(section)
        if path in settings or (key and isinstance(inner, dict) and key in inner):
            found.append(f"{option} sets {path}, which is {owner}: set {owner} instead")
    return found


def _kind_problem(where: str, kind: str, value: t.Any) -> str:
    text = str(value.get("#text", "")) if isinstance(value, dict) else str(value)
    if isinstance(value, dict) and "#text" not in value:
        return ""  # taken from elsewhere, such as @from_env
    if kind == "number" and (isinstance(value, bool) or not _NUMBER.fullmatch(text)):
        return f"{where} is {value!r}, and has to be a number"
    if kind == "boolean" and text.lower() not in _BOOLEANS:
        return f"{where} is {value!r}, and has to be true or false"
    return ""


def _unknown(where: str, name: str, known: t.Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f"{where}.{name} is no setting" + (f": did you mean {close[0]}?" if close else "")


def _compared(where: str, settings: t.Mapping[str, t.Any], known: t.Mapping[str, str], version: str, role: str) -> list[str]:
    """Settings against a complete list, which is only read where there are some."""
    found = []
    for name, value in settings.items():
        if name in known:
            found.append(_kind_problem(f"{where}.{name}", known[name], value))
        elif not str(name).startswith("@") and not _is_newer(role, version):
            found.append(f"{_unknown(where, str(name), known)} (of {role} {_file(role)['version']})")
    return [problem for problem in found if problem]


def _zookeeper(settings: dict[str, t.Any], version: str) -> list[str]:
    found = _owned("zookeeper_config", settings)
    members = sorted(name for name in settings if str(name).startswith("server."))
    if members:
        found.append(f"zookeeper_config sets {', '.join(members)}: members are the hosts of group zookeeper, with zookeeper_id")
    if not settings:
        return []
    prefixes = tuple(_file("zookeeper")["prefixes"].split())
    own = {name: value for name, value in settings.items() if not str(name).startswith(prefixes)}
    found += _compared("zookeeper_config", own, known_settings("zookeeper", "settings"), version, "zookeeper")
    return found or _zookeeper_numbers(own)


def _zookeeper_numbers(settings: dict[str, t.Any]) -> list[str]:
    """Numbers that ZooKeeper refuses. Source: its QuorumPeerConfig, which reads them as Java's int."""
    known = known_settings("zookeeper", "settings")
    numbers = {name: str(value) for name, value in settings.items() if known.get(name) == "number"}
    wrong = {name for name, text in numbers.items() if not re.fullmatch(r"-?[0-9]{1,10}", text) or abs(int(text)) >= 2**31}
    found = [f"zookeeper_config.{name} is {numbers[name]!r}, and has to be a whole number below {2**31}" for name in sorted(wrong)]
    for name in ("tickTime", "initLimit", "syncLimit"):
        if name in numbers and name not in wrong and int(numbers[name]) < 1:
            found.append(f"zookeeper_config.{name} is {numbers[name]}, and has to be at least 1")
    least, most = numbers.get("minSessionTimeout", "-1"), numbers.get("maxSessionTimeout", "-1")
    if not found and int(least) > int(most) > 0:
        found.append(f"zookeeper_config.minSessionTimeout ({least}) is above maxSessionTimeout ({most})")
    return found


def _grafana(option: str, sections: dict[str, t.Any], version: str) -> list[str]:
    """Grafana passes over what it does not know: a name that is nearly one of the list is a typo, one that is unlike all may be right."""
    found = _owned(option, sections)
    if not sections or _is_newer("grafana", version):
        return found
    lists = _file("grafana")
    known = lists["sections"].split()
    for section, settings in sections.items():
        if section not in known and not str(section).startswith(_GRAFANA_PREFIXES):
            found += _nearly(option, str(section), known, 0.75)
        names = [] if section in lists["open"].split() else lists["settings"].get(section, "").split()
        for name in settings if isinstance(settings, dict) and names else ():
            found += _nearly(f"{option}.{section}", str(name), names, 0.75) if name not in names else []
            kind = "boolean" if name in lists["booleans"].split() else "number" if name in lists["numbers"].split() else "text"
            if option == "grafana_secret_ini":
                continue  # a secret is not repeated
            # What Grafana takes from elsewhere: an environment variable, a file, another setting.
            taken = any(mark in str(settings[name]) for mark in ("$", "%(")) or settings[name] == ""
            found += [] if taken else filter(None, [_kind_problem(f"grafana_ini.{section}.{name}", kind, settings[name])])
    return found


# Sections that end in the name of a plugin or of a kind of object.
_GRAFANA_PREFIXES = ("plugin.", "unified_storage.")


def _nearly(where: str, name: str, known: list[str], cutoff: float = 0.85) -> list[str]:
    # Two letters of three that changed places leave two thirds alike.
    close = difflib.get_close_matches(name, known, n=1, cutoff=min(cutoff, 0.65) if len(name) < 4 else cutoff)
    return [_unknown(where, name, close)] if close else []


def _server(settings: dict[str, t.Any], version: str) -> list[str]:
    """The engine lists its settings, but not its sections: of other names only those are refused that are nearly a setting."""
    found = _owned("clickhouse_config", settings)
    if not settings:
        return []
    known = known_settings("clickhouse", "server_settings")
    sections = {name.split(".")[0] for name in known} | {"merge_tree", "replicated_merge_tree", *_SECTIONS}
    for name, value in settings.items():
        if name in ("merge_tree", "replicated_merge_tree") and isinstance(value, dict):
            table = known_settings("clickhouse", "merge_tree_settings")
            found += _compared(f"clickhouse_config.{name}", value, table, version, "clickhouse")
        elif name in known:
            found.append(_kind_problem(f"clickhouse_config.{name}", known[name], value))
        elif name not in sections and not name.endswith("_log") and not _is_newer("clickhouse", version):
            found += _nearly("clickhouse_config", name, sorted(sections))
        elif isinstance(value, dict):
            parts = {f"{name}.{key}": inner for key, inner in value.items() if f"{name}.{key}" in known}
            found += [_kind_problem(f"clickhouse_config.{path}", known[path], inner) for path, inner in parts.items()]
    return [problem for problem in found if problem]


# Sections of config.xml that hold no server setting, so that names like theirs are not taken for misspelt ones.
# Source: ClickHouse's documentation, "Global server settings", 26.x.
_SECTIONS = (
    *("access_control_improvements", "access_control_path", "auxiliary_zookeepers", "backups", "compression", "custom_settings_prefixes"),
    *("default_profile", "default_session_timeout", "dictionaries_config", "encryption_codecs", "graphite_rollup", "grpc", "grpc_port"),
    *("http_handlers", "http_options_response", "http_port", "https_port", "http_server_default_response", "interserver_http_credentials"),
    *("interserver_listen_host", "kafka", "keeper_server", "ldap_servers", "kerberos", "listen_host", "macros", "max_session_timeout"),
    *("mysql_port", "named_collections", "postgresql_port", "prometheus", "protocols", "proxy", "query_masking_rules", "remote_servers"),
    *("remote_url_allow_hosts", "resources", "roles", "rocksdb", "s3", "send_crash_reports", "storage_configuration", "system_profile"),
    *("tcp_port", "tcp_port_secure", "tcp_with_proxy_port", "timezone", "top_level_domains_lists", "url_scheme_mappers", "umask"),
    *("user_defined_executable_functions_config", "user_defined_path", "user_defined_zookeeper_path", "user_directories", "users_config"),
    *("workload_path", "workload_zookeeper_path", "zookeeper", "buffer_profile", "hsts_max_age", "builtin_dictionaries_reload_interval"),
)


def _profiles(settings: dict[str, t.Any], version: str) -> list[str]:
    if not settings:
        return []
    known = known_settings("clickhouse", "settings")
    sections = ("profiles", "quotas", "users", "roles")
    found = [_unknown("clickhouse_users_config", str(name), sections) for name in settings if name not in sections]
    profiles = settings.get("profiles")
    for profile, own in profiles.items() if isinstance(profiles, dict) else ():
        if isinstance(own, dict):
            plain = {name: value for name, value in own.items() if name not in _IN_PROFILE}
            found += _compared(f"clickhouse_users_config.profiles.{profile}", plain, known, version, "clickhouse")
    return found
