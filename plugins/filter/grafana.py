# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that make Grafana's configuration files of the role's options."""

from __future__ import annotations

import ipaddress
import json
import pathlib
import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.groundwork.observability.plugins.filter.addresses import address_in_url, host_address
from ansible_collections.groundwork.observability.plugins.plugin_utils._grafana_plugins import name_of
from ansible_collections.groundwork.observability.plugins.plugin_utils._settings import setting

if t.TYPE_CHECKING:
    from ansible_collections.groundwork.observability.plugins.plugin_utils import _grafana_content

Settings = t.Mapping[str, t.Mapping[str, t.Any]]
# Keys of a server in ldap.toml that are tables of their own, which TOML wants behind all others.
TABLES = ("attributes", "group_mappings")


def host_and_port(host: str, port: int) -> str:
    """C(host:port), with an IPv6 address in brackets.

    :param host: name or address.
    :param port: the port.
    """
    return f"{address_in_url(host)}:{port}"


def listen_address(host: str) -> str:
    """An IP address to listen on: the given one, or all where a name is given.

    :param host: name or address.
    """
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return "0.0.0.0"


def grafana_peers(hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """Where the Grafana servers of an inventory reach each other for alerting, as C(host:port).

    :param hostvars: ansible's C(hostvars).
    :param groups: ansible's C(groups).
    """
    return [
        host_and_port(host_address(host, hostvars), setting(hostvars, host, "grafana_alerting_port")) for host in groups.get("grafana", [])
    ]


def _secret_path(section: str, name: str) -> str:
    return f"secrets/{section}.{name}"


def grafana_secret_files(settings: Settings) -> list[dict[str, str]]:
    """Files with secret settings, one for each that is not empty, as C(path) and C(content).

    :param settings: section of grafana.ini -> name -> secret.
    """
    return [
        {"path": _secret_path(section, name), "content": str(value)}
        for section, named in settings.items()
        for name, value in named.items()
        if value not in (None, "")
    ]


def grafana_secret_settings(files: t.Sequence[t.Mapping[str, str]], root: str) -> dict[str, dict[str, str]]:
    """Settings of grafana.ini that name files with secrets: section -> name -> C($__file{path}).

    :param files: what RV(grafana_secret_files) returned.
    :param root: folder of the files on the host.
    """
    found: dict[str, dict[str, str]] = {}
    for file in files:
        section, name = file["path"].removeprefix("secrets/").rsplit(".", 1)
        found.setdefault(section, {})[name] = f"$__file{{{root}/{file['path']}}}"
    return found


def controller_files(files: t.Mapping[str, str]) -> list[dict[str, str]]:
    """Texts of files on the controller, as C(path) and C(content). An empty name on the controller is left out.

    :param files: path on the host -> path on the controller.
    :raises AnsibleFilterError: a file cannot be read.
    """
    found = []
    for path, source in files.items():
        if source:
            try:
                found.append({"path": path, "content": pathlib.Path(source).read_text(encoding="utf-8")})
            except (OSError, ValueError) as error:
                raise AnsibleFilterError(f"{source} on the controller cannot be read: {error}") from error
    return found


def grafana_ldap_toml(servers: t.Sequence[t.Mapping[str, t.Any]], defaults: t.Mapping[str, t.Any]) -> str:
    """The text of ldap.toml. Texts of JSON are texts of TOML, too.

    :param servers: the servers, with Grafana's keys.
    :param defaults: keys for servers that do not have them.
    """
    lines = []
    for server in servers:
        merged = {**defaults, **server}
        lines += ["[[servers]]", *_toml({key: value for key, value in merged.items() if key not in TABLES})]
        lines += ["[servers.attributes]", *_toml(merged["attributes"])] if "attributes" in merged else []
        for mapping in merged.get("group_mappings", []):
            lines += ["[[servers.group_mappings]]", *_toml(mapping)]
    return "\n".join(lines) + "\n"


def _toml(values: t.Mapping[str, t.Any]) -> list[str]:
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]


def grafana_content(
    directory: str, secrets: t.Sequence[str] = (), values: t.Mapping[str, str] | None = None, shipped: str = ""
) -> _grafana_content.Content:
    """Folders and dashboards from files on the controller.

    :param directory: folder on the controller with C(dashboards/<title of the folder>/<name>). Empty: there are none.
    :param secrets: texts that must not be in a dashboard.
    :param values: C(database), C(cluster) and C(datasource) for descriptions of dashboards.
    :param shipped: folder with the role's own descriptions.
    :raises AnsibleFilterError: a file is not fit for Grafana; the message names it.
    """
    from ansible_collections.groundwork.observability.plugins.plugin_utils import _grafana_content

    return _checked(_grafana_content.read_dashboards, directory, secrets, values, shipped)


def grafana_provisioning_files(content: _grafana_content.Content, root: str) -> dict[str, list[dict[str, str]]]:
    """Files of content for a Grafana that reads it itself: C(dashboards), below C(root), and C(providers), below its configuration.

    :param content: what RV(grafana_content) returned.
    :param root: folder on the server for the dashboards.
    """
    from ansible_collections.groundwork.observability.plugins.plugin_utils import _grafana_content

    return _grafana_content.provisioning_files(content, root)


def grafana_datasource_options(sources: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Data sources in the form of provisioning files, as options of M(groundwork.observability.grafana_datasources).

    :param sources: the data sources. Each must have a uid.
    :raises AnsibleFilterError: one has no uid.
    """
    from ansible_collections.groundwork.observability.plugins.plugin_utils import _grafana_content

    return _checked(_grafana_content.datasource_options, sources)


def grafana_alerting_options(content: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Options of M(groundwork.observability.grafana_alerting), and C(folders), the folders of the rules.

    :param content: C(rule_groups), C(contact_points), C(policy), C(mute_timings), C(templates), C(datasources), the uids of data sources,
        and C(dashboard_folders), the folders with dashboards.
    :raises AnsibleFilterError: Grafana would refuse something of it, or it refers to what is not declared.
    """
    from ansible_collections.groundwork.observability.plugins.plugin_utils import _grafana_content, _grafana_notifications

    return _checked(lambda: _grafana_notifications.module_options(**_grafana_content.plain(content)))


def grafana_alerting_file(options: dict[str, t.Any], previous: str = "") -> str:
    """The file for Grafana's folder provisioning/alerting, as text.

    :param options: what RV(grafana_alerting_options) returned.
    :param previous: the text of the file that is there. What it has and what is not declared any more is deleted.
    :raises AnsibleFilterError: contact points cannot be deleted safely, or the file that is there is not the role's.
    """
    from ansible_collections.groundwork.observability.plugins.plugin_utils import _grafana_content, _grafana_notifications

    try:
        there = json.loads(previous or "{}")
    except ValueError as error:
        raise AnsibleFilterError(
            f"provisioning/alerting/groundwork.yml on the host is not as the role wrote it ({error}): remove it; what has left the "
            "inventory since then has to be deleted in Grafana's pages"
        ) from error
    made = _checked(_grafana_notifications.provisioning_file, _grafana_content.plain(options), there)
    # JSON is YAML.
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def grafana_plugin_settings(plugins: t.Sequence[t.Mapping[str, t.Any]], folder: str) -> dict[str, t.Any]:
    """What the role needs of the plugins of grafana_plugins.

    :param plugins: the plugins.
    :param folder: the folder on the host that archives are unpacked below.
    :returns: C(versions), name of the archive -> version; C(homes), the folders of the versions in use; C(settings), sections of
        grafana.ini that name these folders.
    """
    names = {plugin["id"]: name_of(plugin["id"]) for plugin in plugins}
    homes = {plugin: f"{folder}/{name.replace('_', '-')}/current" for plugin, name in names.items()}
    return {
        "versions": {names[plugin["id"]]: plugin["version"] for plugin in plugins},
        "homes": list(homes.values()),
        "settings": {f"plugin.{plugin}": {"path": home} for plugin, home in homes.items()},
    }


def _checked(function: t.Callable[..., t.Any], *arguments: t.Any) -> t.Any:
    from ansible_collections.groundwork.observability.plugins.plugin_utils import _grafana_content

    try:
        return function(*arguments)
    except _grafana_content.ContentError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "controller_files": controller_files,
            "grafana_alerting_file": grafana_alerting_file,
            "grafana_alerting_options": grafana_alerting_options,
            "grafana_content": grafana_content,
            "grafana_datasource_options": grafana_datasource_options,
            "grafana_ldap_toml": grafana_ldap_toml,
            "grafana_peers": grafana_peers,
            "grafana_plugin_settings": grafana_plugin_settings,
            "grafana_provisioning_files": grafana_provisioning_files,
            "grafana_secret_files": grafana_secret_files,
            "grafana_secret_settings": grafana_secret_settings,
            "host_and_port": host_and_port,
            "listen_address": listen_address,
        }
