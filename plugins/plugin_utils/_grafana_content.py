# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private: Grafana's content, read from files on the controller and delivered in two ways. May change at any time.

Content is C(folders), each with C(uid) and C(title), and C(dashboards), each with C(folder_uid) and C(dashboard), Grafana's classic JSON.
The modules grafana_folders and grafana_dashboards take it as it is; C(provisioning_files) makes the files that a server reads itself.
"""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

from ansible.module_utils.common.yaml import yaml_load
from ansible_collections.groundwork.observability.plugins.module_utils._grafana import dashboards, folders
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.client import GrafanaError
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.datasources import canonical_type
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.kind import check_uid
from ansible_collections.groundwork.observability.plugins.plugin_utils import _dashboards
from yaml import YAMLError

Content = dict[str, list[dict[str, t.Any]]]
# Folder of the dashboards that the role has.
SHIPPED_FOLDER = "Platform"
# Stand for the names that descriptions are built with, where only the descriptions are checked.
_VALUES = {"database": "database", "cluster": "cluster", "datasource": "datasource"}
# Keys that Grafana reads in a provisioning file and that are no options of the module grafana_datasources.
_FILE_ONLY = ("editable", "orgId", "version", "correlations")
# A text of fewer characters may be in a dashboard by chance.
_SECRET_LENGTH = 8


# What may be deleted when it has left the data. Shell patterns of uids or names, but for folders, which are uids.
_PURGED = ("contact_points", "datasources", "folders", "mute_timings", "templates")


class ContentError(Exception):
    """Content that Grafana would refuse, or that must not reach it: one line for the user, which names the file."""


def folder_uid(title: str) -> str:
    """The uid of a folder that has only a title: lower-case letters, digits and C(-).

    :raises ContentError: nothing is left of the title.
    """
    uid = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40]
    if not uid:
        raise ContentError(f"folder {title!r}: its name has no letter a-z and no digit")
    return uid


def read_dashboards(
    directory: str,
    secrets: t.Iterable[str] = (),
    values: t.Mapping[str, str] | None = None,
    shipped: str = "",
    datasources: t.Iterable[t.Mapping[str, t.Any]] | None = None,
) -> Content:
    """The folders and dashboards of a directory: C(dashboards/<title of the folder>/<name>), and those that the role has.

    A file C(.json) is a dashboard as Grafana exports it, a file C(.yml) a description for the filter grafana_dashboard.

    :param directory: folder on the controller. Empty: there are none.
    :param secrets: texts that must not be in a dashboard, which every viewer can read.
    :param values: C(database), C(cluster) and C(datasource), which descriptions are built with.
    :param shipped: folder with the role's own descriptions. Empty: they are left out.
    :param datasources: data sources besides ClickHouse that descriptions may ask, in the form of provisioning files; None: it is not known.
    :raises ContentError: a file cannot be read, or is not a dashboard, or has a secret in it, or asks an unknown data source, or two
        dashboards have the same uid or place.
    """
    content: Content = {"folders": [], "dashboards": []}
    files: dict[str, str] = {}
    hidden = [secret for secret in secrets if len(secret) >= _SECRET_LENGTH]
    there = {(str(source.get("uid")), canonical_type(str(source.get("type")))) for source in datasources or ()}
    for title, paths in _sources(directory, shipped):
        uid = folder_uid(title)
        if {"uid": uid, "title": title} not in content["folders"]:
            content["folders"].append({"uid": uid, "title": title})
        for path in paths:
            model = _dashboard(path, hidden, {**_VALUES, **(values or {})})
            # A dashboard that Grafana exports may name a data source by a variable.
            asked = [] if datasources is None or path.suffix == ".json" else _dashboards.product_datasources(model)
            for source in asked:
                if (source["uid"], source["type"]) not in there:
                    which = f"{source['uid']} of type {source['type']}"
                    raise ContentError(f"{path}: asks data source {which}, which grafana_datasources does not have")
            if model["uid"] in files:
                raise ContentError(f"{path}: uid {model['uid']} is also that of {files[model['uid']]}")
            files[model["uid"]] = str(path)
            content["dashboards"].append({"folder_uid": uid, "dashboard": model})
    _check(directory, content)
    return content


def _sources(directory: str, shipped: str) -> list[tuple[str, list[pathlib.Path]]]:
    """Title of a folder -> its files."""
    found = [(SHIPPED_FOLDER, _files(pathlib.Path(shipped)))] if shipped else []
    if not directory:
        return found
    top = pathlib.Path(directory)
    if not top.is_dir():
        raise ContentError(f"{directory} is not a folder on the controller")
    entries = sorted(path for path in top.glob("dashboards/*") if not path.name.startswith("."))
    stray = [str(path) for path in entries if not path.is_dir()]
    if stray:
        raise ContentError(f"{stray[0]} is in no folder: put it into dashboards/<title of the folder>/")
    return found + [(path.name, _files(path)) for path in entries]


def plain(value: t.Any) -> t.Any:
    """A value without Ansible's own containers, which take their templates along when they are copied."""
    if isinstance(value, t.Mapping):
        return {str(key): plain(value[key]) for key in value}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return str(value) if isinstance(value, str) else value


def purge_problem(scope: t.Mapping[str, t.Any]) -> str:
    """What is wrong with a scope of deletions, empty where nothing is.

    :param scope: lists of texts by kind of object. Empty: nothing is deleted.
    """
    for kind, texts in scope.items():
        if kind not in _PURGED:
            return f"{kind}: nothing of that name can be deleted; there are {', '.join(_PURGED)}"
        if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) and text.strip() for text in texts):
            return f"{kind} has to be a list of texts that are not empty"
    for uid in scope.get("folders", ()):
        try:
            check_uid(uid, "folders")
        except GrafanaError as error:
            return str(error)
    return ""


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".json", ".yml", ".yaml"))


def _dashboard(path: pathlib.Path, secrets: t.Iterable[str], values: t.Mapping[str, str]) -> dict[str, t.Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        entry = {"path": str(path)} if path.suffix == ".json" else {"dashboard": _dashboards.build(yaml_load(text), **values)}
        declared = dashboards.declare(_options([entry]))[0]
    except (OSError, UnicodeDecodeError) as error:
        raise ContentError(f"{path} cannot be read: {error}") from error
    except (_dashboards.DashboardError, GrafanaError) as error:
        raise ContentError(f"{path}: {str(error).removeprefix('dashboards[0]: ')}") from error
    except YAMLError as error:
        raise ContentError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if any(secret in text or json.dumps(secret)[1:-1] in text for secret in secrets):
        raise ContentError(f"{path} has a secret of the inventory in it, which every viewer could read")
    value = t.cast("dict[str, t.Any]", declared.value)  # only an absent one has none
    return {"uid": declared.uid, **value["dashboard"]}


def _options(entries: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    return {"dashboards": entries, "directories": [], "inputs": {}, "commit_message": "", "purge": []}


def _check(directory: str, content: Content) -> None:
    """What the modules refuse whatever the server has, such as two dashboards of one title in a folder."""
    try:
        folders.declare({"folders": [{"parent_uid": "", "state": "present", **folder} for folder in content["folders"]], "purge": []})
        dashboards.declare(_options(content["dashboards"]))
    except GrafanaError as error:
        raise ContentError(f"{directory}: {error}") from error


def provisioning_files(content: Content, root: str) -> dict[str, list[dict[str, str]]]:
    """Files of a server that reads its dashboards itself.

    :param content: the content.
    :param root: folder on the server for the dashboards.
    :returns: C(dashboards), files below the root, and C(providers), files below Grafana's folder for provisioning. Each is C(path) and
        C(content).
    """
    providers = [
        {
            "name": folder["uid"],
            # Grafana takes $ for the begin of a variable, and $$ for $.
            "folder": folder["title"].replace("$", "$$"),
            "folderUid": folder["uid"],
            "type": "file",
            "updateIntervalSeconds": 30,
            "options": {"path": f"{root}/{folder['uid']}"},
        }
        for folder in content["folders"]
    ]
    return {
        "dashboards": [
            {
                "path": f"{entry['folder_uid']}/{entry['dashboard']['uid']}.json",
                "content": json.dumps(entry["dashboard"], indent=1, ensure_ascii=False) + "\n",
            }
            for entry in content["dashboards"]
        ],
        # JSON is YAML.
        "providers": [
            {
                "path": "provisioning/dashboards/groundwork.yml",
                "content": json.dumps({"apiVersion": 1, "providers": providers}, indent=1) + "\n",
            }
        ],
    }


def datasource_options(sources: t.Iterable[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Data sources of a provisioning file as options of the module grafana_datasources.

    :raises ContentError: one has no uid, which the module needs.
    """
    found = []
    for source in sources:
        if not source.get("uid"):
            raise ContentError(f"data source {source.get('name')}: uid is missing, by which it is found again")
        found.append({key: value for key, value in source.items() if key not in _FILE_ONLY})
    return found
