# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Library panels and variables: how they are declared, read, compared and changed (private: may change at any time)."""

from __future__ import annotations

import json
import typing as t
from dataclasses import replace

from .client import Client, GrafanaError, path_of
from .folders import NOT_FOLDERS, missing_folders, resolve_folders, split_titles
from .kind import Change, Declared, Found, Gathered, Kind, Observation, Value, check_uid, check_unique, read_json
from .planning import final_value, is_as_declared

VARIABLE = "variable"
_KINDS = {"panel": 1, VARIABLE: 2}
# What the server reads from the model, and puts into it where it is missing.
_COPIED = ("type", "description")
# Where an element says its own uid. The server writes it.
_OWN = "libraryPanel"


def declare(params: t.Mapping[str, t.Any]) -> list[Declared]:
    """The declared elements, with the files read. Raises C(GrafanaError) for what is wrong whatever the server has."""
    want = []
    for position, options in enumerate(params["library_panels"]):
        where, uid = f"library_panels[{position}]", options["uid"]
        check_uid(uid, where)
        if options["state"] == "absent":
            want.append(Declared(uid, None, where))
            continue
        if options["folder_uid"] and options["folder"]:
            raise GrafanaError(f"{where}: give either folder_uid or folder")
        if options["folder_uid"]:
            check_uid(options["folder_uid"], f"{where}: folder_uid")
        name = (options["name"] or "").strip()
        if not name or len(name) > 150 or any(ord(character) < 32 for character in name):
            raise GrafanaError(f"{where}: name of {uid!r} must have 1 to 150 characters, and no control characters")
        kind, folder = options["kind"], options["folder_uid"] or options["folder"] or ""
        value = {"folder_uid": folder, "kind": kind, "name": name, "model": _compared(_model(options, where), kind, name)}
        want.append(Declared(uid, value, where, {"folder": options["folder"]}))
    check_unique(((item.where, item.uid) for item in want), "uid")
    present = [(item.where, item.value, split_titles(item.raw["folder"] or "")) for item in want if item.value]
    named = ((where, (titles or value["folder_uid"], value["kind"], value["name"])) for where, value, titles in present)
    check_unique(named, "name in the same folder")
    for uid in params["purge"]:
        check_uid(uid, "purge")
    return want


def _model(options: t.Mapping[str, t.Any], where: str) -> Value:
    model, path = options["model"], options["path"]
    if (model is None) == (path is None):
        raise GrafanaError(f"{where}: give either model or path")
    if path is not None:
        model = read_json(path, where)
    if not isinstance(model, dict):
        raise GrafanaError(f"{where}: the model is not an object")
    for key in _COPIED:
        if not isinstance(model.get(key) or "", str):
            raise GrafanaError(f"{where}: {key} in the model must be a text")
    return model


def _compared(model: Value, kind: str, name: str) -> Value:
    """A model with what every server adds, and without what only some versions add."""
    named = {"name": name} if kind == VARIABLE else {}
    return {**{key: part for key, part in model.items() if key != _OWN}, **{key: model.get(key) or "" for key in _COPIED}, **named}


def observe(client: Client, want: t.Sequence[Declared], params: t.Mapping[str, t.Any]) -> Observation:
    """All elements by the list, which has their models and versions, and which dashboards use those that are to be deleted."""
    missing = resolve_folders(client, want)
    elements = client.pages("library-elements", size="perPage", inside=("result", "elements"))
    have = {raw["uid"]: _found(raw) for raw in elements}
    changed = [item for item in want if item.value and not (item.uid in have and is_as_declared(item, have[item.uid]))]
    folders = [item.value["folder_uid"] for item in changed if item.value]
    observation = Observation(have, extra={"missing": missing_folders(client, folders, missing)})
    gone = [item.uid for item in (*want, *purged(want, observation, params)) if item.value is None and item.uid in have]
    return replace(observation, content={uid: users for uid in gone if (users := _users(client, uid))})


def _found(raw: Value) -> Found:
    kind = next((name for name, number in _KINDS.items() if number == raw["kind"]), str(raw["kind"]))
    model = _compared(raw["model"] or {}, kind, raw["name"])
    return Found(raw["uid"], {"folder_uid": _folder(raw), "kind": kind, "name": raw["name"], "model": model}, raw)


def _folder(raw: Value) -> str:
    uid = str(raw.get("folderUid") or "")
    return "" if uid in NOT_FOLDERS else uid


def _users(client: Client, uid: str) -> str:
    """The uids of dashboards that use an element, as far as the user may see them."""
    answer = client.get(path_of("library-elements", uid, "connections"), missing={"result": []})
    return ", ".join(sorted({str(connection["connectionUid"]) for connection in answer["result"]}))


def purged(want: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> list[Declared]:
    """Elements directly in the folders of the option purge that are not declared."""
    declared, scope = {item.uid for item in want}, set(params["purge"])
    return [
        Declared(uid, None, "purge")
        for uid, found in sorted(observation.have.items())
        if uid not in declared and found.value["folder_uid"] in scope
    ]


def check(want: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> None:
    """Raises C(GrafanaError) for a missing folder, another kind, a name that another element keeps, and what dashboards use."""
    declared = {item.uid for item in want}
    names = {_name(found.value): uid for uid, found in observation.have.items() if uid not in declared}
    for item in want:
        found = observation.have.get(item.uid)
        if item.value is None:
            # In check mode a task before this one may be about to delete the dashboards, or make the folder.
            if item.uid in observation.content and not params.get("check_mode"):
                raise GrafanaError(
                    f"{item.where}: library panel {item.uid!r} is used by dashboards ({observation.content[item.uid]}): "
                    "remove it from them first, or delete them"
                )
            continue
        if item.value["folder_uid"] in observation.extra.get("missing", ()) and not params.get("check_mode"):
            raise GrafanaError(f"{item.where}: folder {item.value['folder_uid']!r} does not exist; grafana_folders makes folders")
        if found and found.value["kind"] != item.value["kind"]:
            kind = found.value["kind"]
            raise GrafanaError(f"{item.where}: {item.uid!r} is a {kind} on the server, and its kind cannot be changed: delete it first")
        taken = names.get(_name(item.value))
        if taken and (found is None or _name(found.value) != _name(item.value)):
            raise GrafanaError(f"{item.where}: name {item.value['name']!r} is that of {taken!r} in the same folder, which is not declared")


def _name(value: Value) -> tuple[str, str, str]:
    return value["folder_uid"], value["kind"], value["name"].casefold()


def changes(item: Declared, found: Found | None, observation: Observation) -> list[Change]:
    """The request that makes one element as declared."""
    if item.value is None:
        users = observation.content.get(item.uid)
        lost = f"refused while dashboards use it: {users}" if users else ""
        return [Change(item.uid, "DELETE", path_of("library-elements", item.uid), deletes=True, lost=lost)]
    return [_write(item, found, item.value["name"])]


def _write(item: Declared, found: Found | None, name: str) -> Change:
    value = {**(final_value(item, found) or {}), "name": name}
    body = {"name": name, "kind": _KINDS[value["kind"]], "folderUid": value["folder_uid"], "model": value["model"]}
    shown = {"model": {"type": value["model"]["type"]}}
    place_after = place(value)[1]
    if found is None:
        body["uid"] = item.uid
        return Change(item.uid, "POST", path_of("library-elements"), body, parent="", name=place_after, masked=shown)
    body["version"] = found.raw["version"]
    return Change(item.uid, "PATCH", path_of("library-elements", item.uid), body, name=place_after, masked=shown)


def detour(item: Declared, found: Found, name: str) -> tuple[Change, Change]:
    """A name for a while, and the declared one."""
    value = item.value or found.value
    return _write(item, found, name.split("/", 2)[2]), _write(item, found, value["name"])


def place(value: Value) -> tuple[str, str]:
    """A name is taken once for each kind in a folder."""
    return "", "/".join((value["folder_uid"], value["kind"], value["name"]))


def misread(statement: str, answer: t.Any) -> str:
    """Whether Grafana answers with another element than the one that was sent, or with one that it did not move."""
    line, _newline, text = statement.partition("\n")
    body, result = json.loads(text) if text else {}, answer.get("result") if isinstance(answer, dict) else None
    if not body or not isinstance(result, dict):
        return ""
    uid = body.get("uid") or line.split("/")[3]
    if result.get("uid") != uid:
        return f"the server changed {result.get('uid')!r} instead"
    return "" if _folder(result) == body["folderUid"] else f"the server did not put it into folder {body['folderUid']!r}"


def gather(client: Client) -> Gathered:
    """All library panels and variables."""
    observation = observe(client, [], {"purge": []})
    return Gathered({uid: {"uid": uid, **found.value} for uid, found in observation.have.items()})


LIBRARY_PANELS = Kind("library panel", declare, observe, purged, check, changes, detour, place, misread)
