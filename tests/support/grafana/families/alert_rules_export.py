# GNU General Public License v3.0+ (see LICENSE)
"""Alert rules in the form of a provisioning file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import yaml

from .. import durations
from ..alerting import READ
from ..api import ADMIN, Fail, Reply, Request, Routes, not_covered
from ..store import Row, Store
from .alert_rules import OPTIONAL_FIELDS, find, ordered, path_group

routes = Routes()
RULE = ("uid", "title", "condition", "data", "noDataState", "execErrState", "for", *OPTIONAL_FIELDS, "isPaused")
QUERY = ("refId", "queryType", "relativeTimeRange", "datasourceUid", "model")
FORMATS = ("yaml", "json", "hcl")


def answer(request: Request, rules: list[Row]) -> Reply:
    """The rules by folder and group, in the format asked for."""
    accepted = request.headers.get("accept", "")
    format_ = "json" if "json" in accepted else "yaml"
    if request.arg("format") in FORMATS:
        format_ = request.arg("format")
    if format_ == "hcl":
        raise not_covered("the export as HCL")
    body = {"apiVersion": 1, "groups": list(_groups(request.store, rules, format_))}
    download = request.arg("download") == "true"
    headers = {"Content-Disposition": f'attachment;filename="export.{format_}"'} if download else {}
    if format_ == "json":
        return Reply(200, body, headers=headers)
    kind = "application/yaml" if download else "text/yaml"
    return Reply(200, "".join(f"{line}\n" for line in lines(body)), kind, headers)


def _groups(store: Store, rules: list[Row], format_: str) -> Iterator[Row]:
    for (folder, group), members in groupby(rules, key=lambda rule: (rule["folderUID"], rule["ruleGroup"])):
        found = list(members)
        yield {
            "orgId": found[0]["orgID"],
            "name": group,
            "folder": _path(store, found[0]["orgID"], folder),
            "interval": durations.write(found[0]["interval"] * 1000),
            "rules": [_rule(rule, format_) for rule in found],
        }


def _path(store: Store, org: int, uid: str) -> str:
    """The titles of a folder and those above it."""
    titles: list[str] = []
    while uid:
        folder = store.one("folders", orgId=org, uid=uid)
        if folder is None:
            # As in Grafana, a rule without its folder breaks the export.
            raise Fail(500, f"cannot find full path for folder with uid '{uid}'", traced=True)
        titles.insert(0, folder["title"])
        uid = folder["parentUid"]
    return "/".join(titles)


def _rule(rule: Row, format_: str) -> Row:
    out = {key: rule[key] for key in RULE if key in rule}
    out["data"] = [{key: query[key] for key in QUERY if query[key] != ""} for query in rule["data"]]
    if format_ == "yaml":
        for query in out["data"]:
            if not any(query["relativeTimeRange"].values()):
                del query["relativeTimeRange"]
    return out


def lines(value: Any, column: int = 0) -> Iterator[str]:
    """YAML as Grafana lays it out: what is below a key begins at the next multiple of four columns."""
    if isinstance(value, dict):
        indent = 4 - column % 4
        for key, item in value.items():
            if isinstance(item, (dict, list)) and item:
                yield f"{scalar(key)}:"
                yield from (" " * indent + line for line in lines(_sorted(key, item), column + indent))
            else:
                yield f"{scalar(key)}: {scalar(item)}"
    else:
        for item in value:
            first, *rest = lines(item, column + 2) if isinstance(item, dict) else [scalar(item)]
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)


def _sorted(key: str, value: Any) -> Any:
    """What is a map in Grafana is written in the order of its keys."""
    return dict(sorted(value.items())) if key in ("model", "annotations", "labels") else value


def scalar(value: Any) -> str:
    """Plain where YAML reads the same value back, else quoted."""
    if isinstance(value, str):
        try:
            plain = bool(value) and yaml.safe_load(f"k: {value}") == {"k": value} and value == value.strip()
        except yaml.YAMLError:
            plain = False
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


@routes("GET", "/api/v1/provisioning/alert-rules/export", ADMIN, READ)
def export_all(request: Request) -> Any:
    if any(request.arg(key) for key in ("folderUid", "group", "ruleUid")):
        raise not_covered("the export of chosen rules")
    return answer(request, ordered(request.store, request.org))


@routes("GET", "/api/v1/provisioning/alert-rules/:uid/export", ADMIN, READ)
def export_one(request: Request) -> Any:
    rule = find(request)
    if rule is None:
        raise Fail(404, "could not find alert rule", traced=True)
    return answer(request, [rule])


@routes("GET", "/api/v1/provisioning/folder/:folder/rule-groups/:group/export", ADMIN, READ)
def export_group(request: Request) -> Any:
    return answer(request, path_group(request))
