# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter that makes files of what a Grafana has."""

from __future__ import annotations

import json
import typing as t

import yaml

Info = t.Mapping[str, t.Any]
File = dict[str, str]
# What Ansible would take for a template.
_TEMPLATES = ("{{", "{%", "{#")
_SECTIONS = ("folders", "datasources", "library_panels", "silences", "alerting", "access")
# What a section consists of, where that has names of its own.
_PARTS = {
    "alerting": ("templates", "mute_timings", "contact_points", "policy_tree", "rule_groups"),
    "access": ("teams", "service_accounts", "permissions", "preferences"),
}
# The option that takes the secrets of a section.
_SECRETS = {"datasources": "secure_json_data", "alerting": "secure_settings", "access": "tokens"}
# Folder of the dashboards at the root. No folder of Grafana has this uid.
_ROOT = "general"


class _Dumper(yaml.SafeDumper):
    """Writes lists with an indent, and everything in full."""

    def ignore_aliases(self, data: t.Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    tag = "!unsafe" if any(mark in text for mark in _TEMPLATES) else "tag:yaml.org,2002:str"
    return dumper.represent_scalar(tag, text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def grafana_files(info: Info, folder: str) -> list[File]:
    """Files with what a Grafana has, as C(path) and C(content): variables in YAML, and dashboards in JSON.

    :param info: what M(groundwork.observability.grafana_info) returned. A section that is missing there gets no file.
    :param folder: where the files will be. Who reads them sets the variable C(grafana_files_dir) to it.
    """
    plain = json.loads(json.dumps(info))
    files = [_variables(name, {name: plain[name]}, plain) for name in _SECTIONS if name in plain]
    if "dashboards" in plain:
        folders = sorted({board["folder_uid"] for board in plain["dashboards"]})
        directories = [{"path": f"{{{{ grafana_files_dir }}}}/{_directory(uid)}", "folder_uid": uid} for uid in folders]
        files.append(_variables("dashboards", {"directories": directories}, plain))
        files += [_dashboard(board) for board in plain["dashboards"]]
    return [{**file, "path": f"{folder}/{file['path']}"} for file in files]


def _directory(uid: str) -> str:
    return f"dashboards/{uid or _ROOT}"


def _dashboard(board: dict[str, t.Any]) -> File:
    model = {**board["dashboard"], "uid": board["uid"]}
    content = json.dumps(model, indent=2, sort_keys=True, ensure_ascii=False)
    return {"path": f"{_directory(board['folder_uid'])}/{board['uid']}.json", "content": f"{content}\n"}


def _variables(name: str, variables: dict[str, t.Any], info: Info) -> File:
    """A file of variables. Comments name what is not in it."""
    notes = []
    for part in _PARTS.get(name, (name,)):
        for uid, keys in sorted(info.get("secrets", {}).get(part, {}).items()):
            notes.append(f"{uid}: {', '.join(keys)} set in Grafana, which does not show it. {_SECRETS[name]} takes all of an object.")
        notes += [f"{uid} is left out: {reason}" for uid, reason in sorted(info.get("left_out", {}).get(part, {}).items())]
    # The paths of dashboards are templates, all other texts are Grafana's own.
    dumper = yaml.SafeDumper if name == "dashboards" else _Dumper
    content = yaml.dump(variables, Dumper=dumper, sort_keys=False, allow_unicode=True, width=160)
    return {"path": f"{name}.yml", "content": "".join(["---\n", *(f"# {' '.join(note.split())}\n" for note in notes), content])}


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"grafana_files": grafana_files}
