# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders: how they are declared, read, compared and changed (private: may change at any time)."""

from __future__ import annotations

import json
import typing as t
from dataclasses import replace

from .argument_specs import DELETE_CONTENT
from .client import Client, GrafanaError, Refused, path_of
from .kind import Change, Declared, Found, Gathered, Kind, Observation, Value, check_uid, check_unique

# Not folders, though lists may show them: the root, and what a user sees of folders below ones that are hidden from them.
NOT_FOLDERS = ("general", "sharedwithme")


def declare(params: t.Mapping[str, t.Any]) -> list[Declared]:
    """The declared folders. Raises C(GrafanaError) for what is wrong whatever the server has."""
    want = []
    for position, options in enumerate(params["folders"]):
        where = f"folders[{position}]"
        uid, title, parent = options["uid"], (options["title"] or "").strip(), options["parent_uid"]
        check_uid(uid, where)
        if uid in NOT_FOLDERS:
            raise GrafanaError(f"{where}: uid {uid!r} is not that of a folder, but Grafana's own")
        if options["state"] == "absent":
            want.append(Declared(uid, None, where))
            continue
        if not title:
            raise GrafanaError(f"{where}: title of folder {uid!r} is missing or empty")
        if len(title) > 189 or any(ord(character) < 32 for character in title):
            raise GrafanaError(f"{where}: title of folder {uid!r} must have at most 189 characters, and no control characters")
        if not parent and title.casefold() == "general":
            raise GrafanaError(f"{where}: title {title!r} is Grafana's own at the root")
        if parent:
            check_uid(parent, f"{where}: parent_uid")
        want.append(Declared(uid, {"title": title, "parent_uid": parent}, where))
    _check_tree(want, params["purge"])
    return want


def _check_tree(want: t.Sequence[Declared], purge: t.Sequence[str]) -> None:
    check_unique(((item.where, item.uid) for item in want), "uid")
    present = {item.uid: item.value for item in want if item.value}
    named = ((item.where, (item.value["parent_uid"], item.value["title"].casefold())) for item in want if item.value)
    check_unique(named, "title below the same parent")
    absent = {item.uid for item in want if item.value is None}
    for item in want:
        if not item.value:
            continue
        above, seen = item.value["parent_uid"], [item.uid]
        if above in absent:
            raise GrafanaError(f"{item.where}: parent_uid {above!r} is declared absent")
        while above in present:
            if above in seen:
                raise GrafanaError(f"{item.where}: folders are below each other in a circle: {' -> '.join([*seen, above])}")
            seen.append(above)
            above = present[above]["parent_uid"]
    for uid in purge:
        if uid not in present:
            raise GrafanaError(f"purge: {uid!r} is not the uid of a folder that is declared present")


def observe(client: Client, want: t.Sequence[Declared], params: t.Mapping[str, t.Any]) -> Observation:
    """All folders by the search, and each that is not as declared by itself: the search may be behind, and has no versions."""
    hits = client.pages("search", type="dash-folder")
    have = {
        hit["uid"]: Found(hit["uid"], {"title": hit["title"], "parent_uid": hit.get("folderUid") or ""})
        for hit in hits
        if hit["uid"] not in NOT_FOLDERS
    }
    parents = {item.value["parent_uid"] for item in want if item.value} - {""}
    unlisted = parents - set(have) - {item.uid for item in want}
    doubtful = {item.uid for item in want if item.uid not in have or item.value != have[item.uid].value}
    for uid in sorted(doubtful | unlisted):
        raw = client.get(path_of("folders", uid), missing={})
        if raw:
            have[uid] = Found(uid, {"title": raw["title"], "parent_uid": raw.get("parentUid") or ""}, raw)
        else:
            have.pop(uid, None)
    observation = Observation(have, extra={"force": DELETE_CONTENT in params["allow"]})
    gone = [item.uid for item in (*want, *purged(want, observation, params)) if item.value is None and item.uid in have]
    return replace(observation, content=_content(client, gone)) if gone else observation


def _content(client: Client, uids: t.Sequence[str]) -> dict[str, str]:
    """What is inside of folders that would be deleted, but for folders."""
    found: dict[str, list[str]] = {}
    for start in range(0, len(uids), 50):
        for hit in client.pages("search", type="dash-db", folderUIDs=list(uids[start : start + 50])):
            found.setdefault(hit.get("folderUid", ""), []).append(f"dashboard {hit['title']!r}")
    try:
        rules = client.get(path_of("v1", "provisioning", "alert-rules"), missing=[])
    except Refused as error:
        if error.status != 403:
            raise
        # Without the right to see them the server itself still refuses to delete a folder with rules.
        rules = []
    for rule in rules or ():
        found.setdefault(rule["folderUID"], []).append(f"alert rule {rule['title']!r}")
    return {uid: ", ".join([*names[:3], *([f"{len(names) - 3} more"] if len(names) > 3 else [])]) for uid, names in found.items()}


def purged(want: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> list[Declared]:
    """Folders that are not declared, and stand below one of the option purge, or below one that may be deleted with its content."""
    declared, scope = {item.uid for item in want}, set(params["purge"])
    if DELETE_CONTENT in params["allow"]:
        scope |= {item.uid for item in want if item.value is None}
    found = []
    for uid in observation.have:
        above: str | None = _parent(observation, uid)
        while above and above not in scope:
            above = _parent(observation, above)
        if above and uid not in declared:
            found.append(Declared(uid, None, "purge"))
    return found


def _parent(observation: Observation, uid: str) -> str:
    return str(observation.have[uid].value["parent_uid"]) if uid in observation.have else ""


def check(want: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> None:
    """Raises C(GrafanaError) for a parent that is nowhere, a title that another folder keeps, and content that would be lost."""
    have, declared = observation.have, {item.uid: item for item in want}
    final: dict[str, Value | None] = {**{uid: found.value for uid, found in have.items()}, **{item.uid: item.value for item in want}}
    titles = {(value["parent_uid"], value["title"].casefold()): uid for uid, value in final.items() if value and uid not in declared}
    for item in want:
        if item.value is None:
            _check_deletion(item, final, observation, params["allow"])
            continue
        parent = item.value["parent_uid"]
        if parent and final.get(parent) is None:
            raise GrafanaError(f"{item.where}: parent_uid {parent!r} is neither declared nor a folder of this organisation")
        taken = titles.get((parent, item.value["title"].casefold()))
        if taken:
            raise GrafanaError(f"{item.where}: title {item.value['title']!r} is that of folder {taken!r}, which is not declared")
        above, seen = parent, {item.uid}
        while above:
            if above in seen:
                raise GrafanaError(f"{item.where}: folder {item.uid!r} would be below itself: {above!r} stands below it on the server")
            seen.add(above)
            above = (final.get(above) or {}).get("parent_uid", "")


def _check_deletion(item: Declared, final: t.Mapping[str, Value | None], observation: Observation, allow: t.Collection[str]) -> None:
    if item.uid not in observation.have or DELETE_CONTENT in allow:
        return
    inside = [f"folder {uid!r}" for uid, value in sorted(final.items()) if value and value["parent_uid"] == item.uid]
    inside += [observation.content[item.uid]] if item.uid in observation.content else []
    if inside:
        raise GrafanaError(
            f"{item.where}: folder {item.uid!r} would be deleted with its content ({', '.join(inside[:4])}); "
            f"move that, or set allow: [{DELETE_CONTENT}]"
        )


def changes(item: Declared, found: Found | None, observation: Observation) -> list[Change]:
    """The requests that make one folder as declared."""
    path = path_of("folders", item.uid)
    if item.value is None:
        content = observation.content.get(item.uid, "")
        # Without it the server refuses to delete a folder with alert rules, also those that were not seen.
        query = "?forceDeleteRules=true" if observation.extra.get("force") else ""
        return [Change(item.uid, "DELETE", path + query, deletes=True, lost=content)]
    title, parent = item.value["title"], item.value["parent_uid"]
    if found is None:
        body = {"uid": item.uid, "title": title, **({"parentUid": parent} if parent else {})}
        return [Change(item.uid, "POST", path_of("folders"), body, parent=parent, name=title)]
    made = []
    if title != found.value["title"]:
        made.append(_rename(found, title))
    if parent != found.value["parent_uid"]:
        made.append(Change(item.uid, "POST", f"{path}/move", {"parentUid": parent}, parent=parent))
    return made


def _rename(found: Found, title: str) -> Change:
    body = {"title": title, "version": found.raw.get("version")}
    return Change(found.uid, "PUT", path_of("folders", found.uid), body, name=title)


def detour(item: Declared, found: Found, name: str) -> tuple[Change, Change]:
    """A title for a while, and the declared one."""
    return _rename(found, name), _rename(found, (item.value or found.value)["title"])


def place(value: Value) -> tuple[str, str]:
    """Parent and title."""
    return value["parent_uid"], value["title"]


def misread(statement: str, answer: t.Any) -> str:
    """Grafana answers some writes with another folder, or with the folder in another place: it did not do what it was asked."""
    line, _newline, text = statement.partition("\n")
    body = json.loads(text) if text else {}
    if line.startswith("DELETE ") or not isinstance(answer, dict):
        return ""
    uid = body.get("uid") or line.split("/")[3]
    if answer.get("uid") not in (None, uid):
        return f"the server changed folder {answer['uid']!r} instead"
    if body.get("parentUid") and answer.get("parentUid") != body["parentUid"]:
        return "the server did not put it below its parent: this Grafana does not nest folders (version 11 and later do)"
    return ""


def split_titles(path: str) -> tuple[str, ...]:
    """The titles of a folder and of those above it, as they are compared, from a text such as C(Platform/ClickHouse)."""
    return tuple(title.strip().casefold() for title in path.split("/") if title.strip())


def resolve_folders(client: Client, want: t.Sequence[Declared]) -> list[str]:
    """Give each declared object whose folder is named by titles (C(raw["folder"])) its uid. Returns the folders that are missing."""
    if not any(item.raw.get("folder") for item in want):
        return []
    hits = {hit["uid"]: hit for hit in client.pages("search", type="dash-folder")}
    paths: dict[tuple[str, ...], str] = {}
    for uid in hits:
        titles: list[str] = []
        above = uid
        while above in hits and len(titles) < len(hits) + 1:
            titles.insert(0, hits[above]["title"].casefold())
            above = hits[above].get("folderUid") or ""
        paths[tuple(titles)] = uid
    missing: list[str] = []
    for item in want:
        if item.value and item.raw.get("folder"):
            path = str(item.raw["folder"])
            item.value["folder_uid"] = paths.get(split_titles(path), path)
            if split_titles(path) not in paths:
                missing.append(path)
    return missing


def missing_folders(client: Client, uids: t.Collection[str], known: t.Collection[str]) -> list[str]:
    """Which folders do not exist. C(known) are missing in any case, the root never is."""
    return [*known, *(uid for uid in sorted(set(uids) - {"", *known}) if not client.get(path_of("folders", uid), missing={}))]


def gather(client: Client) -> Gathered:
    """All folders."""
    observation = observe(client, [], {"purge": [], "allow": []})
    return Gathered({uid: {"uid": uid, **found.value} for uid, found in observation.have.items()})


FOLDERS = Kind("folder", declare, observe, purged, check, changes, detour, place, misread)
