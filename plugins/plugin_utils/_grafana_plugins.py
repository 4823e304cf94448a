# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private: the plugins of option grafana_plugins as archives, beside those that roles declare. May change at any time."""

from __future__ import annotations

import re
import typing as t
import urllib.parse

ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,5}([-+~.][A-Za-z0-9]{1,20}){0,4}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEYS = ("id", "version", "backend", "url", "sha256")
# The role has an option of its own for its version.
OWN = "grafana-clickhouse-datasource"
# Grafana's catalogue: archives, and the list of versions with their checksums.
_CATALOGUE = "https://grafana.com/api/plugins/{id}/versions"


def plugin_problem(plugin: t.Mapping[str, t.Any]) -> str:
    """What is wrong with an entry of grafana_plugins, empty where nothing is."""
    unknown = sorted(str(key) for key in plugin if key not in _KEYS)
    if unknown:
        return f"{', '.join(unknown)}: no such key; there are {', '.join(_KEYS)}"
    if not isinstance(plugin.get("id"), str) or not ID.fullmatch(plugin["id"]):
        return "id is missing, or is not the id of a plugin: lower-case letters and digits with - between them"
    if plugin["id"] == OWN:
        return f"{OWN} is the role's own: set grafana_clickhouse_datasource_version"
    if not isinstance(plugin.get("version"), str) or not _VERSION.fullmatch(plugin["version"]):
        return "version is missing, or is not an exact version as text, such as \"1.2.3\""
    if not isinstance(plugin.get("backend", False), bool):
        return "backend has to be true or false"
    url = plugin.get("url", "")
    if not isinstance(url, str) or (url and not re.fullmatch(r"https?://[A-Za-z0-9._~:/\[\]{}?=&%+-]+", url)):
        return "url has to be an http or https URL"
    if url and (urllib.parse.urlsplit(url).username or urllib.parse.urlsplit(url).password):
        return "url has a user or a password, which would show: put the archive on the mirror instead"
    if not isinstance(plugin.get("sha256", "0" * 64), str) or not _SHA256.fullmatch(plugin.get("sha256", "0" * 64)):
        return "sha256 has to be 64 of 0-9 and a-f"
    return ""


def name_of(plugin: str) -> str:
    """Name of a plugin's archive among all archives; with C(-) for C(_) its folder below observability_install_dir.

    :param plugin: the plugin's id.
    """
    return f"grafana_plugin_{plugin.replace('-', '_')}"


def plugin_archives(lists: t.Iterable[t.Any]) -> dict[str, dict[str, t.Any]]:
    """Name of an archive -> what a role would declare of it, and C(plugin), C(version) and C(sha256), versions with their checksums.

    :param lists: the value of grafana_plugins of each host.
    """
    found: dict[str, dict[str, t.Any]] = {}
    for plugins in lists:
        for plugin in plugins if isinstance(plugins, list) else ():
            if not isinstance(plugin, t.Mapping) or plugin_problem(plugin):
                continue  # preflight says what is wrong
            entry = found.setdefault(name_of(plugin["id"]), _archive(plugin))
            if plugin.get("sha256"):
                entry["sha256"][plugin["version"]] = plugin["sha256"]
    return found


def _archive(plugin: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    catalogue = _CATALOGUE.format(id=plugin["id"])
    backend = plugin.get("backend", False)
    published = {
        "url": catalogue,
        "algorithm": "sha256",
        "version": "{version}",
        "package": "linux-{arch}" if backend else "any",
    }
    return {
        "groups": ["grafana"],
        "version_variable": "grafana_plugins",
        "plugin": plugin["id"],
        "version": plugin["version"],
        "arch": ["amd64", "arm64"] if backend else ["any"],
        "archive": f"{plugin['id']}-{{version}}{'.linux_{arch}' if backend else ''}.zip",
        "strip": 0,
        "url": plugin.get("url") or f"{catalogue}/{{version}}/download{'?os=linux&arch={arch}' if backend else ''}",
        "checksum": {} if plugin.get("url") else published,
        "sha256": {},
    }


def version_of(plugin: str, plugins: t.Any) -> str | None:
    """The version of a plugin in a host's grafana_plugins, None where it has none.

    :param plugin: the plugin's id.
    :param plugins: the value of the option.
    """
    entries = [entry for entry in plugins if isinstance(entry, t.Mapping)] if isinstance(plugins, list) else []
    return next((str(entry.get("version")) for entry in entries if entry.get("id") == plugin), None)
