# GNU General Public License v3.0+ (see LICENSE)
"""The Grafana stand-in answers what a real Grafana was recorded to answer.

The recordings are of Grafana 9.5; the stand-in is 12.1. Where a later Grafana is known to answer differently, the recorded
answer is either rewritten into the later form before it is compared (REWRITES), or the exchange is named in DEPARTURES with
what is expected instead. What the stand-in does not model is named there too, as a gap.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.grafana_replay import RECORDINGS, Exchange, compare, look_up, recording, replay
from tests.support.grafana_server import ROOT, SOURCE, grafana_server, start

# How many requests each family replays.
FAMILIES = {
    "health": 20,
    "orgs": 61,
    "users": 53,
    "org_users": 17,
    "teams": 46,
    "service_accounts": 50,
    "folders": 58,
    "dashboards": 51,
    "search": 22,
    "datasources": 75,
    "plugins": 11,
    "provisioning_datasources": 30,
    "provisioning_dashboards": 37,
    "folders_nested": 25,
    "folder_permissions": 25,
    "dashboard_permissions": 19,
    "preferences": 51,
    "playlists": 21,
    "api_keys": 9,
    "annotations": 20,
    "alert_rules": 69,
    "rule_groups": 40,
    "contact_points": 56,
    "policies": 35,
    "mute_timings": 34,
    "templates": 29,
    "silences": 32,
    "ruler": 18,
    "provisioning_alerting": 35,
    "library_elements": 36,
}
POSTGRES = "grafana-postgresql-datasource"
ANY_UID = "00000000-0000-0000-0000-000000000000"
TAKEN = "a folder or dashboard in the general folder with the same name already exists"


def _each(value: Any, change: Callable[[dict[str, Any]], None]) -> None:
    """Apply a change to every object in a body."""
    if isinstance(value, dict):
        change(value)
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _each(item, change)


def _postgres(body: Any) -> Any:
    """The type is answered under its new name since 10.2.3, and so is the plugin."""

    def rename(item: dict[str, Any]) -> None:
        for key, old, new in (
            ("type", "postgres", POSTGRES),
            ("id", "postgres", POSTGRES),
            ("defaultNavUrl", "/plugins/postgres/", f"/plugins/{POSTGRES}/"),
        ):
            if item.get(key) == old:
                item[key] = new

    _each(body, rename)
    return body


def _teams(body: Any) -> Any:
    """Teams have a uid, and say whether another system provisions them."""

    def add(item: dict[str, Any]) -> None:
        if "teamId" in item and "message" in item:
            item["uid"] = ANY_UID
        if "memberCount" in item:
            item.update(uid=ANY_UID, isProvisioned=False)

    _each(body, add)
    return body


def _folders(body: Any) -> Any:
    """A deleted folder is answered with a message; a taken title is one in the same parent."""
    if body == "":
        return {"message": "Folder deleted"}
    if isinstance(body, dict) and body.get("message") == TAKEN:
        body["message"] = "a folder with the same name already exists in the current location"
    return body


def _nested(body: Any) -> Any:
    """With and without nesting a missing folder is answered in one form: the one recorded without."""
    if isinstance(body, dict) and body.get("messageId") == "folder.notFound":
        return {"message": "folder not found", "status": "not-found"}
    return _folders(body)


def _rules(body: Any) -> Any:
    """The list of rules says where each comes from."""
    if isinstance(body, list):
        return [{**rule, "provenance": "api"} for rule in body]
    return body


def _points(body: Any) -> Any:
    """The contact points of one name are listed in no fixed order."""
    return sorted(body, key=lambda point: (point["name"], point["uid"])) if isinstance(body, list) else body


def _templates(body: Any) -> Any:
    """Templates have a version, and say where they come from when they are read. They are listed in no fixed order."""

    def add(item: dict[str, Any]) -> None:
        if "template" in item:
            item.update(version="", provenance="api")

    _each(body, add)
    return sorted(body, key=lambda template: str(template["name"])) if isinstance(body, list) else body


def _silences(body: Any) -> Any:
    """Silences of one state are listed in no fixed order."""
    if not isinstance(body, list):
        return body
    return sorted(body, key=lambda silence: (silence["status"]["state"] == "expired", silence["updatedAt"]))


def _versions(body: Any) -> Any:
    """Versions come in pages with a token."""
    is_versions = isinstance(body, list) and body and "parentVersion" in body[0]
    return {"continueToken": "", "versions": body} if is_versions else _folders(body)


def _settings(body: Any) -> Any:
    """The lowest TLS version can be set."""
    if isinstance(body, dict) and "server" in body:
        body["server"]["min_tls_version"] = ""
    return body


REWRITES: dict[str, Callable[[Any], Any]] = {
    "health": _settings,
    "teams": _teams,
    "folders": _folders,
    "folders_nested": _nested,
    "folder_permissions": _folders,
    "library_elements": _folders,
    "preferences": _teams,
    "alert_rules": _rules,
    "contact_points": _points,
    "templates": _templates,
    "provisioning_alerting": _templates,
    "silences": _silences,
    "search": _folders,
    "dashboards": _versions,
    "datasources": _postgres,
    "plugins": _postgres,
    "provisioning_datasources": _postgres,
    "provisioning_dashboards": _folders,
}


def _ruler_path(path: str) -> str:
    """The ruler takes a folder's uid since 10.3, and no longer its title: send each where 9.5 was sent the other."""
    title, uid = "/rules/Rec%20ruler", "/rules/rec-ruler"
    return path.replace(title, uid) if title in path else path.replace(uid, title)


# Where another path is sent than the one recorded.
PATHS: dict[str, Callable[[str], str]] = {"ruler": _ruler_path}


@dataclass(frozen=True)
class Departure:
    """What the stand-in answers instead: the status, and values by their path in the body."""

    why: str
    status: int = 200
    values: dict[str, Any] = field(default_factory=dict)


NESTED = "nested folders are on by default since 11.0"
SAME_TITLE = "two dashboards in a folder may have one title since 11.6"
UID_FORMAT = "the uid's format is enforced since 12.0"
NESTED_9_5 = "nesting was unfinished in 9.5, it is on by default since 11.0"
COUNTS = "gap: 9.5 has no such route, later ones have; nothing says what they answer"
NO_RULE = "404 without a body in later versions"
RULE_ERROR = "what is wrong with a rule is 400 since 10 or 11, no longer 500"
FOLDER_OF_RULE = "a rule needs a folder that exists since 10 or 11"
NEW_UID = "a group's PUT creates rules with the uid given since 11.5.2"
ORDER = "a group keeps the order of its PUT since 11.5.2"
REPLACED = "a group's PUT deletes before it creates, so that rules without uid replace those of their title"
FOLDER_DELETED = Departure("a deleted folder is answered with a message", values={"message": "Folder deleted"})
PROVENANCE = "X-Disable-Provenance counts since the release of 9.5, and the origin `api` cannot be taken back"
EXPORT = "gap: later versions have this route; nothing says what it answers"
IN_USE = "what is in use is refused with 409 since 11.2"
NOT_EVALUATED = "gap: rules are stored, they are not evaluated"
CACHE = "gap: the stand-in does not cache permissions, it sees new rights at once"
DEPARTURES: dict[str, dict[str, Departure]] = {
    "teams": {
        "set all members at once": Departure(
            "the route came after 9.5", values={"message": "Team memberships have been updated"}
        ),
    },
    "service_accounts": {
        "use token of disabled account": Departure("gap: accounts are not cached, disabling counts at once", 401),
    },
    "folders": {
        "create with a parent": Departure(NESTED, values={"parentUid": "rec-folder", "parents.0.uid": "rec-folder"}),
        "create as editor": Departure(
            "from 10 on creating a folder clears its creator's cached rights",
            values={"canSave": True, "canAdmin": True},
        ),
        "get as viewer whose permissions are cached": Departure(CACHE, values={"uid": "rec-folder", "canSave": False}),
        "list": Departure(
            NESTED, values={"0.uid": "rec-by-editor", "1.uid": "rec-folder", "3.uid": "rec-folder-s", "4": None}
        ),
        "list, page 1 of 2": Departure(NESTED, values={"0.uid": "rec-by-editor", "1.uid": "rec-folder", "2": None}),
        "search folders": Departure(NESTED, values={"1.uid": "rec-child", "1.folderUid": "rec-folder", "5": None}),
        "delete the one with a parent": Departure(NESTED, 404),
        "counts of missing route": Departure(COUNTS, 501),
    },
    "folders_nested": {
        "create child": Departure(NESTED_9_5, values={"parentUid": "rec-parent", "parents.0.uid": "rec-parent"}),
        "create grandchild": Departure(NESTED_9_5, values={"parentUid": "rec-child", "parents.1.uid": "rec-child"}),
        "create with the parent's title below it": Departure(
            "titles are unique among siblings only since 11.0", values={"uid": "rec-same", "parentUid": "rec-parent"}
        ),
        "create below a missing parent": Departure(NESTED_9_5, 404, {"message": "folder not found"}),
        "get child": Departure(NESTED_9_5, values={"version": 1, "createdBy": "admin", "parents.0.uid": "rec-parent"}),
        "get grandchild": Departure(NESTED_9_5, values={"parentUid": "rec-child", "parents.0.uid": "rec-parent"}),
        "list below parent": Departure(
            "the folder with the parent's title is there too", values={"0.uid": "rec-child", "1.uid": "rec-same"}
        ),
        "move grandchild to parent": Departure(NESTED_9_5, values={"uid": "rec-grandchild", "parentUid": "rec-parent"}),
        "move grandchild to parent, identical": Departure(NESTED_9_5, values={"parentUid": "rec-parent"}),
        "move grandchild to root": Departure(NESTED_9_5, values={"uid": "rec-grandchild", "parentUid": None}),
        "move parent below its child": Departure(NESTED_9_5, 400, {"message": "circular reference detected"}),
        "move to a missing parent": Departure(NESTED_9_5, 404, {"message": "folder not found"}),
        "update child": Departure(NESTED_9_5, values={"title": "Rec child 2", "version": 2, "updatedBy": "admin"}),
        "get child after update": Departure(NESTED_9_5, values={"title": "Rec child 2", "parents.0.uid": "rec-parent"}),
        "counts": Departure(COUNTS, 501),
        "delete grandchild": Departure("it was moved to the root", values={"message": "Folder deleted"}),
    },
    "alert_rules": {
        "get, missing": Departure(NO_RULE, 404),
        **dict.fromkeys(
            (
                "create with taken uid",
                "create with taken title in folder",
                "create with taken title in folder, other group",
                "create with unknown state",
                "create without states",
                "update to a taken title",
            ),
            Departure(RULE_ERROR, 400),
        ),
        "create without folder": Departure(FOLDER_OF_RULE, 400),
        "create in missing folder": Departure(FOLDER_OF_RULE, 400),
        "rules as the alerting page sees them": Departure(NOT_EVALUATED, 501),
        "delete folder and its rules": FOLDER_DELETED,
    },
    "rule_groups": {
        "put a new group whose rules bring their uid": Departure(
            NEW_UID, values={"interval": 120, "rules.0.uid": "rec-g1", "rules.1.uid": "rec-g2"}
        ),
        "put without uids again": Departure(REPLACED, values={"rules.0.title": "Rec n1", "rules.1.title": "Rec n2"}),
        "create rule 1 with the default interval": Departure(NEW_UID, 400),
        "create rule 2": Departure(NEW_UID, 400),
        "get with three rules": Departure(
            NEW_UID,
            values={"interval": 120, "rules.0.uid": "rec-g3", "rules.1.uid": "rec-g1", "rules.2.uid": "rec-g2"},
        ),
        "get after put other order": Departure(
            ORDER, values={"rules.0.uid": "rec-g3", "rules.1.uid": "rec-g1", "rules.2.uid": "rec-g2"}
        ),
        "get with the new rule": Departure(
            ORDER, values={"interval": 300, "rules.0.uid": "rec-g6", "rules.1.uid": "rec-g3", "rules.4": None}
        ),
        "get after put without two of the rules": Departure(
            ORDER, values={"rules.0.uid": "rec-g3", "rules.1.uid": "rec-g1", "rules.2": None}
        ),
        "put with two rules of one title": Departure(RULE_ERROR, 400),
        "export as yaml": Departure(
            ORDER, values={"groups.0.rules.0.uid": "rec-g3", "groups.0.rules.1.uid": "rec-g1", "groups.0.rules.2": None}
        ),
        "export as json": Departure(
            ORDER, values={"groups.0.rules.0.uid": "rec-g3", "groups.0.rules.1.uid": "rec-g1", "groups.0.rules.2": None}
        ),
        "get at the end": Departure(ORDER, values={"rules.0.uid": "rec-g3", "rules.1.uid": "rec-g1", "rules.2": None}),
        "delete group": Departure("the route came after 9.5", 204),
        "get after put with no rules": Departure("the group was deleted before", 404),
        "delete folder": FOLDER_DELETED,
    },
    "contact_points": {
        "update without provenance": Departure(PROVENANCE, 500),
        "create without provenance": Departure(PROVENANCE, 202, {"uid": "rec-np", "provenance": None}),
        "export as yaml": Departure(EXPORT, 501),
        "delete while used": Departure(IN_USE, 409),
    },
    "policies": {
        "put without provenance": Departure(PROVENANCE, 403),
        "export as yaml": Departure(EXPORT, 501),
        "delete contact point while it is the root receiver": Departure(IN_USE, 409),
    },
    "mute_timings": {
        "update without name in the body": Departure(
            "the path's name is taken in later versions", 202, {"name": "rec-mute"}
        ),
        "update without provenance": Departure(PROVENANCE, 403),
        "delete while used": Departure(IN_USE, 409),
        "export as yaml": Departure(EXPORT, 501),
    },
    "templates": {
        "put with a version": Departure("a stale version is refused in later versions", 409),
        "put without provenance": Departure(PROVENANCE, 403),
    },
    "ruler": {"delete folder": FOLDER_DELETED},
    "provisioning_alerting": {
        "template": Departure("a template says where it comes from", values={"provenance": "file"}),
        "api update of file rule": Departure(FOLDER_OF_RULE, 400),
        "api update of file rule without provenance": Departure(FOLDER_OF_RULE, 400),
        "api delete of file contact point": Departure(IN_USE, 409),
        "rule after delete": Departure(NO_RULE, 404),
    },
    "dashboards": {
        "other uid, same title in the same folder": Departure(SAME_TITLE, values={"uid": "rec-dash-b", "version": 1}),
        "other uid, same title in the same folder, overwrite": Departure(
            SAME_TITLE, values={"uid": "rec-dash-b", "version": 2}
        ),
        "get by the second uid after that": Departure(SAME_TITLE, values={"dashboard.uid": "rec-dash-b"}),
        "versions": Departure(
            SAME_TITLE, values={"versions.0.version": 7, "versions.6.message": "Initial save", "versions.7": None}
        ),
        "tags": Departure(SAME_TITLE, values={"0.term": "rec", "0.count": 2}),
        "delete by second uid": Departure(SAME_TITLE, values={"message": "Dashboard Rec dash 2 deleted"}),
        "get as viewer": Departure(CACHE, values={"dashboard.uid": "rec-dash", "meta.canSave": False}),
    },
    "datasources": {
        "create with invalid uid": Departure(UID_FORMAT, 400, {"messageId": "datasource.uidInvalid"}),
        "create with uid of 41 characters": Departure(UID_FORMAT, 400, {"messageId": "datasource.uidInvalid"}),
        "list": Departure(UID_FORMAT, values={"0.uid": "rec-ch", "3.uid": "rec-pg", "4": None}),
        "list as viewer": Departure(UID_FORMAT, values={"0.uid": "rec-ch", "3.uid": "rec-pg", "4": None}),
        "delete odd uid": Departure(UID_FORMAT, 400),
        "delete long uid": Departure(UID_FORMAT, 400),
    },
    "plugins": {
        "settings of the renamed core plugin": Departure(
            "the plugin has its new name since 10.2.3", values={"id": POSTGRES}
        ),
    },
    "provisioning_datasources": {
        "get after prune reload": Departure("prune works from 11.1 on", 404),
    },
}


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_as_recorded(family: str) -> None:
    """Each family starts on an empty server, as README of the recordings says."""
    departures, rewrite = DEPARTURES.get(family, {}), REWRITES.get(family, lambda body: body)
    found: list[str] = []
    count = 0
    with grafana_server() as server:
        values: dict[str, Any] = {}
        for part in ("setup", family, "teardown"):
            for recorded, status, answer in replay(server, part, values, PATHS.get(part, str)):
                exchange = copy.deepcopy(recorded)
                count += part == family
                if part == family and exchange["name"] in departures:
                    found += _check_departure(exchange, departures[exchange["name"]], status, answer)
                    continue
                exchange["response"]["body"] = rewrite(exchange["response"]["body"])
                found += [f"{part}: {exchange['name']}: {line}" for line in compare(exchange, status, answer)]
    assert not found, "\n".join(found)
    assert count == FAMILIES[family]


def _check_departure(exchange: Exchange, departure: Departure, status: int, answer: Any) -> list[str]:
    where = f"{exchange['name']} ({departure.why})"
    if not compare(exchange, status, answer):
        return [f"{where}: answers as recorded, it is no departure"]
    body = yaml.safe_load(answer) if isinstance(answer, str) else answer
    got = {path: look_up(body, path) for path in departure.values}
    wrong = [f"{where}: {path} is {got[path]!r}" for path in got if got[path] != departure.values[path]]
    return wrong + ([] if status == departure.status else [f"{where}: status {status}: {answer}"])


def test_every_recording_is_replayed() -> None:
    """A recording that is added must be replayed too."""
    recorded = {file.stem for file in RECORDINGS.glob("*.json")}
    assert recorded == {*FAMILIES, "setup", "teardown", "startup"}


def test_documents_count_what_is_replayed() -> None:
    """The README and docs/verification.md give these numbers."""
    reasons = [departure.why for departures in DEPARTURES.values() for departure in departures.values()]
    gaps = sum(reason.startswith("gap:") for reason in reasons)
    numbers = [f"{sum(FAMILIES.values()):,} requests", f"{len(reasons)} ", f"{len(reasons) - gaps} ", f"{gaps} "]
    for document in (SOURCE / "README.md", ROOT / "docs" / "verification.md"):
        text = document.read_text(encoding="utf-8")
        assert [number for number in numbers if number not in text] == []


def test_departures_name_recorded_exchanges() -> None:
    """A departure whose exchange is gone would hide nothing, but mislead."""
    for family, departures in DEPARTURES.items():
        assert departures.keys() <= {exchange["name"] for exchange in recording(family)}


@pytest.mark.parametrize("case", recording("startup"), ids=lambda case: case["name"])
def test_start_with_provisioning_files(case: dict[str, Any], tmp_path: Path) -> None:
    """A bad file ends the start with Grafana's message, or does not."""
    if case["server_stays_up"]:
        with grafana_server(files=case["files"]) as server:
            assert server.send("GET", "/api/health", auth=None)[0] == 200
        return
    process, _port = start(tmp_path, "", case["files"], {})
    _out, errors = process.communicate(timeout=20)
    assert (process.returncode, errors.strip()) == (1, case["log"][-1])
