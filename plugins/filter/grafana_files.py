# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters for what a Grafana has: they make files of it, and find what has left such files."""

from __future__ import annotations

import json
import typing as t

import yaml
from ansible.errors import AnsibleFilterError

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
    from ansible_collections.groundwork.observability.plugins.plugin_utils._grafana_content import plain

    found = plain(info)
    files = [_variables(name, {name: found[name]}, found) for name in _SECTIONS if name in found]
    if "dashboards" in found:
        folders = sorted({board["folder_uid"] for board in found["dashboards"]})
        directories = [{"path": f"{{{{ grafana_files_dir }}}}/{_directory(uid)}", "folder_uid": uid} for uid in folders]
        files.append(_variables("dashboards", {"directories": directories}, found))
        files += [_dashboard(board) for board in found["dashboards"]]
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


# Kinds of objects that are deleted when they have left the files -> what each is found again by.
_PURGED = {"templates": "name", "mute_timings": "name", "contact_points": "uid"}


def grafana_purge(declared: t.Sequence[Info], present: t.Sequence[Info], scope: t.Mapping[str, t.Sequence[str]]) -> list[dict[str, t.Any]]:
    """Calls of M(groundwork.observability.grafana_alerting), with what has left the files as C(state=absent).

    That is deleted by the call with the notification policies, which may have used it until then.

    :param declared: the calls of the files.
    :param present: the calls that M(groundwork.observability.grafana_info) would make of what Grafana has.
    :param scope: shell patterns of C(templates), C(mute_timings) and C(contact_points), and C(folders), uids of folders of which all rule
        groups are in the files.
    :raises AnsibleFilterError: the scope is wrong.
    """
    from ansible_collections.groundwork.observability.plugins.module_utils._grafana.kind import matches_any
    from ansible_collections.groundwork.observability.plugins.plugin_utils._grafana_content import plain, purge_problem

    problem = purge_problem(scope)
    if problem:
        raise AnsibleFilterError(f"grafana_purge: {problem}")
    gone: dict[str, list[dict[str, t.Any]]] = {}
    for part, key in _PURGED.items():
        left = {entry[key] for entry in _entries(present, part)} - {entry[key] for entry in _entries(declared, part)}
        gone[part] = [{key: name, "state": "absent"} for name in sorted(left) if matches_any(name, scope.get(part, ()))]
    groups = {_group(entry) for entry in _entries(present, "rule_groups")} - {_group(entry) for entry in _entries(declared, "rule_groups")}
    gone["rule_groups"] = [
        {"folder_uid": folder, "name": name, "state": "absent"} for folder, name in sorted(groups) if folder in scope.get("folders", ())
    ]
    calls: list[dict[str, t.Any]] = plain(declared)
    if any(gone.values()):
        deleting = next((call for call in calls if "policy_tree" in call), None)
        if deleting is None:
            deleting = {"editable_in_ui": False}
            calls.append(deleting)
        deleting.update({part: [*deleting.get(part, ()), *entries] for part, entries in gone.items()})
    return calls


def _entries(calls: t.Iterable[Info], part: str) -> t.Iterator[Info]:
    for call in calls:
        yield from call.get(part) or ()


def _group(entry: Info) -> tuple[str, str]:
    return entry["folder_uid"], entry["name"]


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"grafana_files": grafana_files, "grafana_purge": grafana_purge}
