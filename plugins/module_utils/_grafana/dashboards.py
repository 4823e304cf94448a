# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dashboards: how they are declared, read, compared and changed (private: may change at any time)."""

from __future__ import annotations

import json
import os
import typing as t
from urllib.parse import urlencode

from .client import Client, GrafanaError, Refused, Unanswered, Unreachable, path_of
from .folders import missing_folders, resolve_folders, split_titles
from .kind import FROM_FILE, Change, Declared, Found, Gathered, Kind, Observation, Value, check_uid, check_unique, read_json
from .planning import final_value, is_as_declared

# What the server decides, and what is for an import only.
_SERVERS = ("id", "uid", "version")
_EXPORT = ("__inputs", "__requires", "__elements")
# Since Grafana 12 all dashboards come with their content, in this version as they were saved.
LIST = "/apis/dashboard.grafana.app/v0alpha1/namespaces/{namespace}/dashboards"
LIST_PAGE = 500
_FOLDER = "grafana.app/folder"
# How a server answers that cannot give a dashboard of the newer schema as classic JSON.
_NOT_CLASSIC = 406
# How a server without that list answers: no such path, not for this user or organisation, or a page.
_NO_LIST = (301, 302, 303, 307, 308, 400, 403, 404, 405, 406, 501)


def declare(params: t.Mapping[str, t.Any]) -> list[Declared]:
    """The declared dashboards, with the files read. Raises C(GrafanaError) for what is wrong whatever the server has."""
    want = []
    for where, options in _entries(params):
        if options.get("state") == "absent":
            if not options.get("uid"):
                raise GrafanaError(f"{where}: uid is missing")
            check_uid(options["uid"], where)
            want.append(Declared(options["uid"], None, where))
            continue
        if options.get("folder_uid") and options.get("folder"):
            raise GrafanaError(f"{where}: give either folder_uid or folder")
        if options.get("folder_uid"):
            check_uid(options["folder_uid"], f"{where}: folder_uid")
        model = _resolved(_model(options, where), params["inputs"], where)
        uid = options.get("uid") or model.get("uid")
        if model.get("uid") not in (None, "", uid):
            raise GrafanaError(f"{where}: uid {uid!r} is not that of the dashboard itself, {model['uid']!r}")
        if not isinstance(uid, str):
            raise GrafanaError(f"{where}: the dashboard has no uid: without one each run would make another dashboard")
        check_uid(uid, where)
        content = {key: part for key, part in model.items() if key not in (*_SERVERS, *_EXPORT)}
        if not isinstance(content.get("title"), str) or not content["title"].strip():
            raise GrafanaError(f"{where}: dashboard {uid!r} has no title")
        content["title"] = content["title"].strip()
        value = {"folder_uid": options.get("folder_uid") or options.get("folder") or "", "dashboard": content}
        want.append(Declared(uid, value, where, {"folder": options.get("folder"), "message": params["commit_message"]}))
    check_unique(((item.where, item.uid) for item in want), "uid")
    named = ((item.where, (_folder_of(item), item.value["dashboard"]["title"].casefold())) for item in want if item.value)
    check_unique(named, "title in the same folder")
    for uid in params["purge"]:
        check_uid(uid, "purge")
    return want


def _folder_of(item: Declared) -> tuple[str, ...]:
    return (item.value["folder_uid"] if item.value else "", *split_titles(item.raw.get("folder") or ""))


def _entries(params: t.Mapping[str, t.Any]) -> t.Iterator[tuple[str, Value]]:
    """The options of each dashboard, also of those in folders of files, with the name of the option."""
    for position, options in enumerate(params["dashboards"]):
        yield f"dashboards[{position}]", options
    for position, options in enumerate(params["directories"]):
        where = f"directories[{position}]"
        try:
            names = sorted(name for name in os.listdir(options["path"]) if name.endswith(".json"))
        except OSError as error:
            raise GrafanaError(f"{where}: {options['path']} cannot be read: {error.strerror}") from None
        if not names:
            raise GrafanaError(f"{where}: {options['path']} has no file that ends with .json")
        for name in names:
            yield f"{where}: {name}", {**options, "path": os.path.join(options["path"], name)}


def _model(options: Value, where: str) -> Value:
    model, path = options.get("dashboard"), options.get("path")
    if (model is None) == (path is None):
        raise GrafanaError(f"{where}: give either dashboard or path")
    if path is not None:
        model = read_json(path, where)
    if not isinstance(model, dict):
        raise GrafanaError(f"{where}: the dashboard is not an object")
    if isinstance(model.get("dashboard"), dict) and "title" not in model:
        model = model["dashboard"]  # As the API returns it.
    if "apiVersion" in model or "elements" in model:
        raise GrafanaError(f"{where}: the dashboard has the form of a resource (apiVersion, spec); export it as classic JSON")
    return model


def _resolved(model: Value, inputs: t.Mapping[str, t.Any], where: str) -> Value:
    """The dashboard with values in place of what its export left open, such as names of data sources."""
    values = {}
    for entry in model.get("__inputs") or ():
        name = entry["name"]
        given = inputs.get(name, entry.get("value") if entry.get("type") == "constant" else None)
        if given is None:
            label = entry.get("label") or entry.get("pluginId") or "no label"
            raise GrafanaError(f"{where}: input {name} ({label}) has no value in inputs")
        values[f"${{{name}}}"] = str(given)

    def fill(part: t.Any) -> t.Any:
        if isinstance(part, dict):
            return {key: fill(inner) for key, inner in part.items()}
        if isinstance(part, list):
            return [fill(inner) for inner in part]
        if isinstance(part, str):
            for placeholder, given in values.items():
                part = part.replace(placeholder, given)
        return part

    return t.cast(Value, fill(model)) if values else model


def observe(client: Client, want: t.Sequence[Declared], params: t.Mapping[str, t.Any]) -> Observation:
    """All dashboards by the list, where the server has one, and each that is not as declared by itself."""
    missing = resolve_folders(client, want)
    listed = _listed(client)
    have = listed or {}
    if params["purge"] and listed is None:
        for start in range(0, len(params["purge"]), 50):
            for hit in client.pages("search", type="dash-db", folderUIDs=list(params["purge"][start : start + 50])):
                have[hit["uid"]] = Found(hit["uid"], {"folder_uid": hit.get("folderUid") or "", "dashboard": {"title": hit["title"]}})
    declared = {item.uid: item for item in want}
    for uid in [*declared, *(item.uid for item in purged(want, Observation(have), params))]:
        item = declared.get(uid)
        if item is None or item.value is None or uid not in have or not is_as_declared(item, have[uid]):
            raw = client.get(path_of("dashboards", "uid", uid), missing={})
            if raw:
                have[uid] = Found(uid, _value(raw["dashboard"], raw["meta"].get("folderUid")), raw)
            else:
                have.pop(uid, None)
    changed = [item for item in want if item.value and (item.uid not in have or not is_as_declared(item, have[item.uid]))]
    folders = [item.value["folder_uid"] for item in changed if item.value]
    return Observation(have, extra={"missing": missing_folders(client, folders, missing)})


def _value(model: Value, folder: str | None) -> Value:
    return {"folder_uid": folder or "", "dashboard": {key: part for key, part in model.items() if key not in _SERVERS}}


def _listed(client: Client) -> dict[str, Found] | None:
    """All dashboards with their content in a request for each 500. C(None) where the server has no such list, as before version 12."""
    org = client.get(path_of("org"))["id"]
    path = LIST.format(namespace="default" if org == 1 else f"org-{org}")
    have: dict[str, Found] = {}
    query: Value = {"limit": LIST_PAGE}
    while True:
        try:
            answer = client.get(f"{path}?{urlencode(query)}")
            for item in answer["items"]:
                uid, annotations = item["metadata"]["name"], item["metadata"].get("annotations") or {}
                have[uid] = Found(uid, _value(item["spec"], annotations.get(_FOLDER)))
            query["continue"] = answer["metadata"].get("continue")
        except (Unanswered, Unreachable):
            raise
        except GrafanaError as error:
            if isinstance(error, Refused) and error.status not in _NO_LIST:
                raise
            return None
        except (KeyError, TypeError):
            return None
        if not query["continue"]:
            return have


def purged(want: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> list[Declared]:
    """Dashboards directly in the folders of the option purge that are not declared, and are no file's."""
    declared, scope = {item.uid for item in want}, set(params["purge"])
    return [
        Declared(uid, None, "purge")
        for uid, found in sorted(observation.have.items())
        if uid not in declared and found.value["folder_uid"] in scope and not _file_of(found)
    ]


def _file_of(found: Found) -> str:
    """The provisioning file that owns a dashboard. With allowUiUpdates the flag C(provisioned) is false, though the file still does."""
    return str((found.raw.get("meta") or {}).get("provisionedExternalId") or "")


def check(want: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> None:
    """Raises C(GrafanaError) for what a file owns, the uid of a folder, and a folder that is missing."""
    missing = observation.extra.get("missing", ())
    for item in want:
        found = observation.have.get(item.uid)
        if found and (found.raw.get("meta") or {}).get("isFolder"):
            raise GrafanaError(f"{item.where}: uid {item.uid!r} is that of a folder")
        if found and _file_of(found) and not (item.value and is_as_declared(item, found)):
            file = _file_of(found)
            raise GrafanaError(f"{item.where}: dashboard {item.uid!r} comes from the provisioning file {file}: change or remove it there")
        # In check mode a task before this one may be about to make the folder.
        if item.value and item.value["folder_uid"] in missing and not params.get("check_mode"):
            raise GrafanaError(f"{item.where}: folder {item.value['folder_uid']!r} does not exist; grafana_folders makes folders")


def changes(item: Declared, found: Found | None, observation: Observation) -> list[Change]:
    """The request that makes one dashboard as declared."""
    if item.value is None:
        return [Change(item.uid, "DELETE", path_of("dashboards", "uid", item.uid), deletes=True)]
    value = final_value(item, found) or {}
    # The version that was read: the server refuses to overwrite what somebody else has saved since.
    version = {"version": found.raw["dashboard"].get("version")} if found and "dashboard" in found.raw else {}
    body = {
        "dashboard": {**value["dashboard"], "uid": item.uid, **version},
        "folderUid": value["folder_uid"],
        "message": item.raw["message"],
        "overwrite": False,
    }
    shown = {"dashboard": {"uid": item.uid, "title": value["dashboard"]["title"]}}
    return [Change(item.uid, "POST", path_of("dashboards", "db"), body, parent="", name=item.uid, masked=shown)]


def misread(statement: str, answer: t.Any) -> str:
    """Where the title is taken, Grafana may save another dashboard than the one that was sent."""
    text = statement.partition("\n")[2]
    uid = json.loads(text)["dashboard"]["uid"] if text else None
    answered = answer.get("uid") if isinstance(answer, dict) and uid else uid
    return "" if answered == uid else f"the server saved dashboard {answered!r} instead"


def gather(client: Client) -> Gathered:
    """All dashboards but those of provisioning files, each by a request of its own, which also says what a file owns."""
    gathered = Gathered({})
    for uid in sorted({hit["uid"] for hit in client.pages("search", type="dash-db")}):
        try:
            raw = client.get(path_of("dashboards", "uid", uid), missing={})
        except Refused as error:
            if error.status != _NOT_CLASSIC:
                raise
            gathered.left_out[uid] = "it has no classic JSON"
            continue
        if not raw:
            continue
        if _file_of(Found(uid, {}, raw)):
            gathered.left_out[uid] = FROM_FILE
            continue
        value = _value(raw["dashboard"], raw["meta"].get("folderUid"))
        value["dashboard"] = {key: part for key, part in value["dashboard"].items() if key not in _EXPORT}
        gathered.options[uid] = {"uid": uid, **value}
    return gathered


DASHBOARDS = Kind("dashboard", declare, observe, purged, check, changes, misread=misread)
