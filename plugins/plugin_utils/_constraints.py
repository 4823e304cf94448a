# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private: which values an option may have, beyond its type. May change at any time.

The format of meta/argument_specs.yml has no key for a constraint, so the last sentence of an option's description states it:
C(Must be a port.), C(Must be host:port, or empty.), C(Each must be an IP network; at least one.) The words between are one of
C(KINDS). What ansible-doc and the READMEs show is what is checked.
"""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import re
import typing as t
import urllib.parse

from ansible.errors import AnsibleFilterError
from ansible_collections.groundwork.observability.plugins.filter.clickhouse_xml import to_clickhouse_xml
from ansible_collections.groundwork.observability.plugins.module_utils._durations import parse_duration
from ansible_collections.groundwork.observability.plugins.plugin_utils import (
    _grafana_alerts,
    _grafana_content,
    _grafana_notifications,
    _grafana_plugins,
    _instrumentation,
    _retention,
)

# Folders that belong to the system, at any depth. Units with ProtectHome and PrivateTmp do not see /home, /root, /run/user and /tmp.
_SYSTEM = re.compile(
    r"/(bin|boot|dev|etc|home|lib|lib32|lib64|libx32|lost\+found|proc|root|run|sbin|sys|tmp|usr|var/(lock|run|tmp))(/.*)?"
    r"|/(media|mnt|opt|srv|var)|/var/(backups|cache|lib|local|log|mail|opt|spool|www)"
    r"|/var/(cache|lib)/(apt|containerd|dnf|docker|dpkg|mysql|pacman|postgresql|private|rpm|systemd|yum)(/.*)?|/var/log/(apt|journal)(/.*)?"
    r"|/opt/(clickhouse|grafana|grafana-clickhouse-datasource|grafana-plugin-[a-z0-9-]+|opentelemetry-(java|python)|otelcol|zookeeper)(/.*)?"
)
_PATH = re.compile(r"(/[A-Za-z0-9_+@][A-Za-z0-9._+@-]*)+")
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*")
_HEAP = re.compile(r"([1-9][0-9]{0,8})([kmg])", re.IGNORECASE)
_SENTENCE = re.compile(r"(Must|Each must) be (.+?)(, or empty)?(; at least one)?\.")
_DATASOURCE_KEYS = frozenset(
    ("access", "basicAuth", "basicAuthUser", "correlations", "database", "editable", "isDefault", "jsonData", "name", "orgId")
    + ("secureJsonData", "type", "uid", "url", "user", "version", "withCredentials")
)


def is_address(text: str) -> bool:
    """Whether it is an IP address without a zone."""
    try:
        return bool(ipaddress.ip_address(text)) and "%" not in text
    except ValueError:
        return False


def is_host(text: str) -> bool:
    """Whether it is a host name (RFC 1123) or an IP address. Digits and dots alone have to be an address."""
    if is_address(text):
        return True
    return bool(_HOST_NAME.fullmatch(text)) and not re.fullmatch(r"[0-9.]+", text)


def is_port(text: str) -> bool:
    """Whether it is a number from 1 to 65535."""
    return bool(re.fullmatch(r"[0-9]{1,5}", text)) and 1 <= int(text) <= 65535


def is_host_port(text: str) -> bool:
    """Whether it is C(host:port), an IPv6 address in brackets."""
    host, port = text.rpartition(":")[::2]
    inner = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    return is_port(port) and is_host(inner) and ((":" in inner) == (inner is not host))


def is_url(text: str, schemes: str, hosts: int = 1, query: bool = False) -> bool:
    """Whether it is a URL of one of the schemes, without user and password, with at most so many hosts (C(host1,host2))."""
    if not re.fullmatch(r"[A-Za-z0-9._~:/?\[\]@!&'()*+,;=%-]+", text):
        return False
    scheme, rest = text.partition("://")[::2]
    names, path, asked = re.fullmatch(r"([^/?]*)([^?]*)(\?.*)?", rest).groups()  # type: ignore[union-attr]
    places = names.split(",")
    return (
        scheme in schemes.split()
        and len(places) <= hosts
        and (query or not asked)
        and ".." not in urllib.parse.unquote(path).split("/")
        and all(is_host_port(place) or is_host(place.strip("[]")) and (":" in place) == place.startswith("[") for place in places)
    )


def is_network(text: str) -> bool:
    """Whether it is a network or an address."""
    try:
        return bool(re.fullmatch(r"[0-9A-Fa-f.:/]+", text)) and bool(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return False


def is_own_folder(text: str) -> bool:
    """Whether a service may own the folder: a plain absolute path that is none of the system's."""
    return bool(_PATH.fullmatch(text)) and not _SYSTEM.fullmatch(text)


def is_controller_path(text: str) -> bool:
    """Whether it is an absolute path on the controller: home folders have all kinds of names, but none with a line break."""
    return text.startswith("/") and text.isprintable() and not {"..", "."} & set(text.split("/"))


def is_controller_folder(text: str) -> bool:
    """Whether files may be kept in it: below a folder of the system, not the folder itself."""
    return is_controller_path(text) and text.rstrip("/").count("/") >= 2 and not re.fullmatch(
        r"/(usr/.*|var/[^/]*|etc/(ssl|pki|ansible))/*", text
    )


def milliseconds(text: str) -> int:
    """The length of a duration, 0 where it is none."""
    return parse_duration(text, ("h", "m", "s", "ms")) or 0


def heap_bytes(text: str) -> int:
    """The size of a Java heap, 0 where it is none."""
    found = _HEAP.fullmatch(text)
    return int(found.group(1)) * 1024 ** (" kmg".index(found.group(2).lower())) if found else 0


def _is_integer(text: str, low: str, high: str) -> bool:
    return bool(re.fullmatch(r"-?[0-9]{1,18}", text)) and int(low) <= int(text) <= int(high)


def _is_number(text: str, low: str, high: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text)) and float(low) <= float(text) <= float(high)


def _matches(pattern: str) -> t.Callable[[str], bool]:
    return lambda text: bool(re.fullmatch(pattern, text))


def _is_secret(text: str) -> bool:
    return len(text) >= 8 and text.isprintable() and text.strip() == text


def _is_expression(text: str) -> bool:
    if not text or not text.isprintable() or text.strip() != text or text.endswith('"'):
        return False
    return not any(mark in text for mark in ('"""', "$", "%", "\\"))


def _is_glob(text: str) -> bool:
    return text.startswith("/") and text.isprintable() and "$" not in text and ".." not in text.split("/")


def is_regular_expression(text: str) -> bool:
    """Whether RE2 takes it, as far as Python can tell: neither look-around nor back references. The collector's own check sees the rest."""
    if not text or not text.isprintable() or re.search(r"\(\?(<?[=!]|P=|>|\()|\\[1-9]", re.sub(r"\\[^1-9]", "", text)):
        return False
    try:
        return bool(re.compile(text))
    except re.error:
        return False


def tokens_problem(tokens: t.Mapping[t.Any, t.Any]) -> str:
    """Why these cannot be tokens by name. Tokens are not repeated."""
    check, looks, _groups = _kind("a bearer token")
    seen: dict[str, str] = {}
    for name, token in tokens.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", str(name)):
            return f"{name!r} is not a name: letters, digits, '_', '-' and '.', beginning with a letter or digit"
        if not isinstance(token, str) or not check(token):
            return f"{name} is not a bearer token: {looks}"
        if seen.setdefault(token, name) != name:
            return f"{seen[token]} and {name} have the same token, so that none of them can be taken out alone"
    return ""


# Keys of Prometheus's scrape_configs whose value is a secret. Each has a sibling that names a file.
_INLINE_SECRETS = frozenset(("password", "credentials", "bearer_token", "client_secret", "secret_key", "secrets", "key"))


def _inline_secret(settings: t.Any) -> str:
    """The path of the first secret that stands in settings of Prometheus itself."""
    items = settings.items() if isinstance(settings, t.Mapping) else enumerate(settings) if isinstance(settings, list) else ()
    for key, value in items:
        inner = "" if key in _INLINE_SECRETS else _inline_secret(value)
        if inner or key in _INLINE_SECRETS:
            return f"{key}.{inner}" if inner else str(key)
    return ""


def scrape_configuration_problem(settings: t.Mapping[str, t.Any]) -> str:
    """Why these cannot be settings of a job: secrets in them would be in a file that shows in diffs."""
    found = _inline_secret(settings)
    return f"{found} is a secret: put it into otel_collector_scrape_secrets, and name that file (password_file, ...)" if found else ""


def scrape_jobs_problem(jobs: t.Mapping[t.Any, t.Any]) -> str:
    """Why these cannot be settings of jobs by name."""
    for job, settings in jobs.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", str(job)):
            return f"{job!r} is not a name: letters, digits, '_', '-' and '.', beginning with a letter or digit"
        if not isinstance(settings, t.Mapping):
            return f"{job} has to be a dictionary of settings, empty where Prometheus's defaults do"
        own = sorted(name for name in map(str, settings) if name == "job_name" or name.endswith("_sd_configs") or name == "static_configs")
        if own:
            return f"{job} has {', '.join(own)}, but its name and targets come from the inventory: use otel_collector_scrape_configs"
        found = scrape_configuration_problem(settings)
        if found:
            return f"{job}.{found}"
    return ""


def scrape_targets_problem(targets: t.Mapping[t.Any, t.Any]) -> str:
    """Why these cannot be ports by job."""
    for job, ports in targets.items():
        listed = ports if isinstance(ports, list) else [ports]
        different = set(map(str, listed)) - {"True", "False"}
        if not listed or len(different) < len(listed) or not all(map(is_port, different)):
            return f"{job} has to be a port, or a list of different ports: numbers from 1 to 65535"
    return ""


def secret_files_problem(files: t.Mapping[t.Any, t.Any]) -> str:
    """Why these cannot be contents of files by name. Contents are not repeated."""
    for name, content in files.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", str(name)):
            return f"{name!r} is not a name of a file: letters, digits, '_', '-' and '.', beginning with a letter or digit"
        if not isinstance(content, str) or not content.strip():
            return f"{name} has to be text that is not empty"
    return ""


def scalar_problem(value: t.Any) -> str:
    """Why a value cannot stand on a line of a configuration file, empty where it can."""
    if isinstance(value, (bool, int, float)):
        return ""
    if not isinstance(value, str):
        return f"is a {type(value).__name__}, has to be text, a number, true or false"
    if not value.isprintable():
        return "has a line break or another control character"
    if value.endswith("\\"):
        return "ends with a backslash, which would join the next line to it"
    return ""


def zoo_cfg_problem(settings: t.Mapping[t.Any, t.Any]) -> str:
    """Why these cannot be settings of zoo.cfg, which is a file of Java properties."""
    for name, value in settings.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", str(name)):
            return f"{name!r} is not the name of a setting"
        wrong = scalar_problem(value) or ("has a backslash, which Java takes as an escape" if "\\" in str(value) else "")
        if wrong:
            return f"{name} {wrong}"
    return ""


def ini_problem(sections: t.Mapping[t.Any, t.Any]) -> str:
    """Why these cannot be sections of grafana.ini."""
    for section, settings in sections.items():
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", str(section)):
            return f"{section!r} is not the name of a section"
        if not isinstance(settings, dict):
            return f"section {section} has to be a dictionary of settings"
        for name, value in settings.items():
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", str(name)):
                return f"{name!r} in section {section} is not the name of a setting"
            wrong = scalar_problem(value) or _ini_text_problem(str(value))
            if wrong:
                return f"{section}.{name} {wrong}"
    return ""


def _ini_text_problem(text: str) -> str:
    for quote in ('"""', "`"):
        if text.startswith(quote):
            closed = len(text) >= 2 * len(quote) and text.endswith(quote) and quote not in text[len(quote) : -len(quote)]
            return "" if closed else f"begins with {quote} and does not end with it"
    if "#" in text or ";" in text:
        return 'has # or ;, after which Grafana sees a comment: put it between """'
    return ""


def secret_ini_problem(sections: t.Mapping[t.Any, t.Any]) -> str:
    """Why these cannot be secret settings of grafana.ini, which are files that it names."""
    for section, settings in sections.items():
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", str(section)):
            return f"{section!r} is not the name of a section"
        if not isinstance(settings, dict):
            return f"section {section} has to be a dictionary of settings"
        for name, value in settings.items():
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", str(name)):
                return f"{name!r} in section {section} is not the name of a setting"
            if not isinstance(value, str) or not value.strip():
                return f"{section}.{name} has to be text that is not empty"
    return ""


# Source of names: Grafana's documentation, "Configure LDAP authentication", 12.x.
_LDAP_KEYS: dict[str, type] = {
    **dict.fromkeys(("host", "bind_dn", "bind_password", "search_filter", "group_search_filter"), str),
    **dict.fromkeys(("group_search_filter_user_attribute", "min_tls_version", "root_ca_cert", "client_cert", "client_key"), str),
    **dict.fromkeys(("use_ssl", "start_tls", "ssl_skip_verify"), bool),
    **dict.fromkeys(("port", "timeout"), int),
    **dict.fromkeys(("search_base_dns", "group_search_base_dns", "tls_ciphers", "group_mappings"), list),
    "attributes": dict,
}
_LDAP_TABLES: dict[str, dict[str, type]] = {
    "attributes": {"name": str, "surname": str, "username": str, "member_of": str, "email": str},
    "group_mappings": {"group_dn": str, "org_role": str, "grafana_admin": bool, "org_id": int},
}


def _ldap_keys_problem(where: str, values: t.Any, known: t.Mapping[str, type]) -> str:
    if not isinstance(values, t.Mapping):
        return f"{where} has to be a dictionary"
    for key, value in values.items():
        if key not in known:
            return f"{where} has {key!r}: no such key; there are {', '.join(sorted(known))}"
        if not isinstance(value, known[key]) or (known[key] is int and isinstance(value, bool)):
            return f"{where}.{key} has to be a {known[key].__name__}"
        texts = value if isinstance(value, list) and key != "group_mappings" else [value]
        for text in texts:
            if known[key] in (str, list) and key != "group_mappings" and not (isinstance(text, str) and text.isprintable()):
                return f"{where}.{key} has to be text without line breaks"
            if isinstance(text, str) and re.search(r"\$(__\w+)?\{", text):
                return f"{where}.{key} has ${{, which Grafana would expand"
    return ""


def ldap_problem(server: t.Mapping[str, t.Any]) -> str:
    """Why Grafana would refuse this server of ldap.toml, or nobody could log in with it."""
    found = _ldap_keys_problem("server", server, _LDAP_KEYS)
    if found:
        return found
    if not is_host(str(server.get("host", ""))):
        return "host is missing, or is not a host name or IP address"
    if not is_port(str(server.get("port", 636))):
        return "port has to be a number from 1 to 65535"
    if not server.get("search_base_dns"):
        return "search_base_dns is missing: it has to name at least one folder of the directory"
    if "%s" not in server.get("search_filter", ""):
        return "search_filter is missing, or has no %s, which stands for the name that a user logs in with"
    found = _ldap_keys_problem("attributes", server.get("attributes", {}), _LDAP_TABLES["attributes"])
    for number, mapping in enumerate(server.get("group_mappings", [])):
        where = f"group_mappings[{number}]"
        found = found or _ldap_keys_problem(where, mapping, _LDAP_TABLES["group_mappings"])
        if not found and mapping.get("org_role") not in ("Admin", "Editor", "Viewer"):
            found = f"{where}.org_role has to be Admin, Editor or Viewer"
    return found


def clickhouse_problem(settings: t.Mapping[str, t.Any]) -> str:
    """Why these cannot be settings in ClickHouse's XML."""
    try:
        to_clickhouse_xml(settings)
    except (AnsibleFilterError, TypeError) as error:
        return str(error).replace("to_clickhouse_xml: ", "")
    return ""


def datasource_problem(source: t.Mapping[str, t.Any]) -> str:
    """Why Grafana would refuse this data source."""
    unknown = sorted(str(name) for name in source if name not in _DATASOURCE_KEYS)
    if unknown:
        return f"{', '.join(unknown)}: no such key; there are {', '.join(sorted(_DATASOURCE_KEYS))}"
    for name in ("name", "type"):
        if not isinstance(source.get(name), str) or not source[name].strip() or not source[name].isprintable():
            return f"{name} is missing or is not text"
    if not re.fullmatch(r"[a-zA-Z0-9_-]{0,40}", str(source.get("uid", ""))):
        return "uid has to be of 40 or fewer letters, digits, '_' and '-'"
    if source.get("access", "proxy") not in ("proxy", "direct"):
        return "access has to be proxy or direct"
    for name in ("jsonData", "secureJsonData"):
        if not isinstance(source.get(name, {}), dict):
            return f"{name} has to be a dictionary"
    return ""


def passwords_problem(passwords: t.Mapping[t.Any, t.Any]) -> str:
    """Why these cannot be passwords by the names of sources or databases. The passwords are not repeated."""
    for name, password in passwords.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", str(name)):
            return f"{name!r} is not the name of a source or database"
        if not isinstance(password, str) or not password or not password.isprintable():
            return f"the password of {name} has to be text of printable characters, and not empty"
    return ""


# Words of a constraint -> whether a text fits, and what it has to look like. Groups of the words are arguments of the check.
KINDS: dict[str, tuple[t.Callable[..., bool], str]] = {
    r"an integer from (-?\d+) to (\d+)": (_is_integer, ""),
    r"a number from ([\d.]+) to ([\d.]+)": (_is_number, ""),
    r"a port of the host": (is_port, "a number from 1 to 65535 that the host listens on and nothing else uses"),
    r"a port": (is_port, "a number from 1 to 65535"),
    r"a duration from (\w+) to (\w+)": (
        lambda text, low, high: milliseconds(low) <= milliseconds(text) <= milliseconds(high),
        "numbers with the units h, m, s and ms, such as 30s or 1m30s",
    ),
    r"a heap size": (
        lambda text: 64 * 1024**2 <= heap_bytes(text) <= 256 * 1024**3,
        "a number with the unit k, m or g, from 64m to 256g",
    ),
    r"a folder of its own": (
        is_own_folder,
        "an absolute path of letters, digits and . _ + @ - that is no folder of the system: the service gets it, with all that is in it",
    ),
    r"an absolute path": (_matches(_PATH.pattern), "slashes, with letters, digits and . _ + @ - between them"),
    r"an absolute path with wildcards": (_is_glob, "printable characters, no $"),
    r"a path on the controller": (is_controller_path, "absolute, without . or .. between slashes, printable characters"),
    r"a folder on the controller": (is_controller_folder, "an absolute path below a top-level folder, none of the system's folders itself"),
    r"a host name or IP address": (is_host, "a name of letters, digits, - and dots, or an address without brackets"),
    r"host:port": (is_host_port, "a name or an address, IPv6 in brackets, and a port"),
    r"an http or https URL": (lambda text: is_url(text, "http https"), "without user, password and query"),
    r"an https URL": (lambda text: is_url(text, "https"), "without user, password and query"),
    r"a ClickHouse URL": (
        lambda text: is_url(text, "tcp http https clickhouse", hosts=100, query=True),
        "tcp://, http://, https:// or clickhouse://, one or more host:port with commas, without user and password",
    ),
    r"an IP network": (is_network, "such as 10.0.0.0/8, 2001:db8::/32 or one address"),
    r"a name": (_matches(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"), "letters, digits, '_', '-' and '.', beginning with a letter or digit"),
    r"an identifier": (_matches(r"[A-Za-z_][A-Za-z0-9_]{0,62}"), "letters, digits and '_', not beginning with a digit"),
    r"an end of an identifier": (_matches(r"[A-Za-z0-9_]{1,62}"), "letters, digits and '_'"),
    r"a collector instance": (
        _matches(r"(?=.{1,24}$)(gateway|node_agent|cluster_agent|prometheus_agent)(_[a-z0-9]+)*(?<!_relay)"),
        "a mode, or a mode, '_' and lower-case letters, digits and '_', 24 characters at most, such as gateway_shop; "
        "not ending with _relay",
    ),
    r"a user name": (_matches(r"[A-Za-z_][A-Za-z0-9_.@-]{0,62}"), "letters, digits, '_', '.', '@' and '-', not beginning with a digit"),
    r"a group name": (_matches(r"[a-z_][a-z0-9_-]{0,31}"), "lower-case letters, digits, '_' and '-'"),
    r"a version": (
        _matches(r"[0-9]{1,9}(\.[0-9]{1,9}){0,5}([-+~.][A-Za-z0-9]{1,20}){0,4}"),
        "numbers with dots, as in the archive's name",
    ),
    r"a label": (_matches(r"[A-Za-z0-9]([A-Za-z0-9 _.:/-]{0,126}[A-Za-z0-9])?"), "up to 128 letters, digits, spaces and _ . : / -"),
    r"a mail address": (
        lambda text: bool(re.fullmatch(r"[A-Za-z0-9._+-]{1,64}@[^@]+", text)) and is_host(text.rpartition("@")[2]),
        "letters, digits and . _ + -, an @ and a host name",
    ),
    r"an OAuth scope": (_matches(r"[A-Za-z0-9._~:/+-]{1,128}"), "letters, digits and . _ ~ : / + -"),
    r"a JMESPath expression": (_is_expression, 'printable characters without """, $, % and backslash, and no space or " at its end'),
    r"a regular expression": (
        is_regular_expression,
        "in the syntax of RE2, without look-around and back references, printable characters",
    ),
    r"a bearer token": (_matches(r"[A-Za-z0-9._~+/=-]{16,}"), "16 or more of A-Z a-z 0-9 . _ ~ + / = -"),
    r"certificates in PEM": (
        _matches(r"(-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n?)+"),
        "one or more blocks from BEGIN CERTIFICATE to END CERTIFICATE, without text between them",
    ),
    r"a secret": (_is_secret, "8 or more printable characters, without a space at an end"),
}
# The same for dictionaries: what is wrong with it, empty where nothing is.
DICTIONARIES: dict[str, t.Callable[[t.Mapping[str, t.Any]], str]] = {
    "tokens by name": tokens_problem,
    "a scrape configuration": scrape_configuration_problem,
    "scrape jobs": scrape_jobs_problem,
    "scrape targets": scrape_targets_problem,
    "secret files": secret_files_problem,
    "settings of zoo.cfg": zoo_cfg_problem,
    "settings of grafana.ini": ini_problem,
    "secret settings of grafana.ini": secret_ini_problem,
    "an LDAP server": ldap_problem,
    "a Grafana plugin": _grafana_plugins.plugin_problem,
    "an instrumented service": _instrumentation.service_problem,
    "a rule group": functools.partial(_grafana_notifications.problem, "rule_groups"),
    "a contact point": functools.partial(_grafana_notifications.problem, "contact_points"),
    "a notification policy tree": lambda tree: _grafana_notifications.problem("policy_tree", tree) if tree else "",
    "a mute timing": functools.partial(_grafana_notifications.problem, "mute_timings"),
    "a notification template": functools.partial(_grafana_notifications.problem, "templates"),
    "server settings of ClickHouse": clickhouse_problem,
    "user settings of ClickHouse": clickhouse_problem,
    "a data source": datasource_problem,
    "a scope of deletions": _grafana_content.purge_problem,
    "passwords by name": passwords_problem,
    "a retention of telemetry": _retention.retention_problem,
    "receivers of alerts": _grafana_alerts.receivers_problem,
    "settings of alerts": lambda settings: _grafana_alerts.settings_problem(settings, _grafana_alerts.shipped()),
}


@dataclasses.dataclass(frozen=True)
class Constraint:
    """What an option's description says about its value."""

    words: str
    each: bool = False
    empty: bool = False
    nonempty: bool = False


@functools.cache
def parse(sentence: str) -> Constraint | None:
    """The constraint that a sentence states, None where it states none. Unknown words are a ValueError."""
    found = _SENTENCE.fullmatch(sentence)
    if not found:
        return None
    subject, words, empty, nonempty = found.groups()
    if words not in DICTIONARIES:
        _kind(words)
    return Constraint(words, subject == "Each must", bool(empty), bool(nonempty))


@functools.cache
def _kind(words: str) -> tuple[t.Callable[..., bool], str, tuple[str, ...]]:
    for pattern, (check, looks) in KINDS.items():
        found = re.fullmatch(pattern, words)
        if found:
            return check, looks, found.groups()
    raise ValueError(f"{words!r} is no constraint: plugin_utils/_constraints.py lists them")


def of_option(option: t.Mapping[str, t.Any]) -> Constraint | None:
    """The constraint of an option in an argument specification."""
    description = option.get("description", "")
    return parse(str(description[-1] if isinstance(description, list) else description))


def _text_problem(words: str, value: t.Any) -> str:
    if isinstance(value, bool):
        return "is true or false: put text between quotes"
    if not isinstance(value, (str, int, float)):
        return ""  # the type is checked elsewhere
    check, looks, arguments = _kind(words)
    return "" if check(str(value), *arguments) else f"is not {words}" + (f": {looks}" if looks else "")


def _one_problem(constraint: Constraint, value: t.Any) -> str:
    if constraint.words in DICTIONARIES:
        said = DICTIONARIES[constraint.words](value) if isinstance(value, t.Mapping) else ""
        return f"cannot be {constraint.words}: {said}" if said else ""
    return _text_problem(constraint.words, value)


def value_problems(name: str, option: t.Mapping[str, t.Any], value: t.Any) -> list[str]:
    """Where a value does not fit its option, one line each. Types are checked elsewhere; a secret is not repeated.

    :param name: the option's name.
    :param option: its entry in the argument specification.
    :param value: the value, templates resolved.
    """
    constraint = of_option(option)
    if value is None:
        return []
    if isinstance(value, list):
        found = _element_problems(name, option, value)
    elif constraint is None or (constraint.empty and value == ""):
        return []
    else:
        found = [(name, value, _one_problem(constraint, value))]
    lines = []
    for where, part, problem in found:
        hidden = option.get("no_log") or isinstance(part, (dict, list))
        if problem:
            lines.append(f"{where}{'' if hidden else f': {part!r}'} {problem}")
    return lines


def _element_problems(name: str, option: t.Mapping[str, t.Any], values: list[t.Any]) -> list[tuple[str, t.Any, str]]:
    constraint = of_option(option)
    found: list[tuple[str, t.Any, str]] = []
    if constraint and constraint.nonempty and not values:
        found.append((name, values, "is empty: it has to have at least one"))
    for number, value in enumerate(values):
        if constraint and constraint.each:
            found.append((f"{name}[{number}]", value, _one_problem(constraint, value)))
        for key, inner in option.get("options", {}).items():
            rule = of_option(inner)
            if isinstance(value, t.Mapping) and value.get(key) is not None and rule:
                found.append((f"{name}[{number}].{key}", value[key], _one_problem(rule, value[key])))
    return found
