# GNU General Public License v3.0+ (see LICENSE)
"""Files below paths.provisioning: read at the start, when an administrator asks, and dashboards every few seconds."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from . import durations
from .api import Fail
from .app import App
from .config import ConfigError, expand
from .families import (
    alert_rules,
    contact_points,
    dashboards,
    datasources,
    folders,
    mute_timings,
    policies,
    templates,
)
from .store import Row

DASHBOARDS = "Failed to create provisioner: "
ENVIRONMENT = re.compile(r"\$(?:{([^}]*)}|(\w+))")


class ProvisioningError(Exception):
    """A file is wrong: a reload fails, a start ends the server."""


class Loader(yaml.SafeLoader):
    """YAML without dates, which JSON does not have."""


Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def provision(app: App) -> None:
    """Everything, in Grafana's order. The error's text is what Grafana prints before it exits."""
    steps = (
        ("Failed to provision data sources", "Datasource provisioning error: ", provision_datasources),
        ("Failed to provision plugins", "app provisioning error: ", check_plugins),
        ("Failed to provision alerting", "", provision_alerting),
        ("Failed to provision dashboard", DASHBOARDS, provision_dashboards),
    )
    with app.store.change():
        for what, prefix, step in steps:
            try:
                step(app)
            except ProvisioningError as error:
                app.log("error", "provisioning", what, error=f"{prefix}{error}")
                # Dashboards are loaded by a background service, whose name Grafana prints too.
                service = "*provisioning.ProvisioningServiceImpl run error: " if prefix == DASHBOARDS else ""
                raise ProvisioningError(f"{service}{prefix}{error}") from error


def watch_dashboards(app: App) -> None:
    """Look at every provider's folder again after its `updateIntervalSeconds` (10 when not given)."""

    def watch() -> None:
        last: dict[str, float] = {}
        while True:
            time.sleep(1)
            for provider in app.dashboard_providers:
                began = last.setdefault(provider["name"], time.monotonic())
                if time.monotonic() - began >= int(provider.get("updateIntervalSeconds") or 10):
                    last[provider["name"]] = time.monotonic()
                    with app.store.change():
                        _walk(app, provider)

    threading.Thread(target=watch, daemon=True, name="dashboards").start()


def read_files(app: App, folder: str, prefix: str = "") -> Iterator[tuple[str, Row]]:
    """Name and content of each YAML file in one provisioning folder."""
    for path in sorted((app.config.path("provisioning") / folder).glob("*")):
        if path.suffix not in (".yaml", ".yml"):
            continue
        try:
            content = yaml.load(path.read_text(encoding="utf-8"), Loader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line if error.problem_mark else 0
            problem = (error.problem or "").partition(", but found")[0]
            problem = re.sub(r"^expected (the )?", "did not find expected ", problem)
            raise ProvisioningError(f"{prefix.format(path.name)}yaml: line {line}: {problem}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ProvisioningError(f"{prefix.format(path.name)}yaml: {error}") from error
        if content is None:
            continue
        if not isinstance(content, dict):
            raise ProvisioningError(f"{prefix.format(path.name)}yaml: unmarshal errors: not a mapping")
        yield path.name, content


def items(content: Row, key: str) -> list[Row]:
    """A list of mappings, or an error."""
    found = content.get(key) or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ProvisioningError(f"yaml: unmarshal errors: {key} is not a list of mappings")
    return found


def interpolate(value: Any) -> Any:
    """Grafana's expansion of every text. Also what `$__file` put in is expanded: a `$` in a secret file is lost."""
    if isinstance(value, dict):
        return {key: interpolate(item) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolate(item) for item in value]
    if not isinstance(value, str):
        return value
    try:
        parts = [expand(part) for part in value.split("$$")]
    except ConfigError as error:
        raise ProvisioningError(f"failed to interpolate value: {error}") from error
    return "$".join(ENVIRONMENT.sub(lambda match: os.environ.get(match[1] or match[2], ""), part) for part in parts)


def interpolate_alerting(value: Any) -> Any:
    """The same without queries and annotations of rules: Grafana's rules_types.go takes them as they are."""
    if isinstance(value, dict):
        return {
            key: item if key in ("model", "annotations") else interpolate_alerting(item) for key, item in value.items()
        }
    if isinstance(value, list):
        return [interpolate_alerting(item) for item in value]
    return interpolate(value)


def provision_datasources(app: App) -> None:
    """`datasources`, `deleteDatasources` and `prune`."""
    wanted: list[Row] = []
    removed: list[Row] = []
    for _name, content in read_files(app, "datasources"):
        removed += [interpolate(item) for item in items(content, "deleteDatasources")]
        prune = bool(content.get("prune"))
        wanted += [{**interpolate(item), "prunable": prune} for item in items(content, "datasources")]
    defaults: set[int] = set()
    for item in wanted:
        item["orgId"] = item.get("orgId") or 1
        if not item.get("name"):
            raise ProvisioningError("unique identifier and org id are needed to be able to get or delete a datasource")
        if item.get("isDefault"):
            if item["orgId"] in defaults:
                raise ProvisioningError(
                    "datasource.yaml config is invalid. Only one datasource per organization can be marked as default"
                )
            defaults.add(item["orgId"])
    for item in removed:
        app.store.drop("datasources", name=item.get("name"), orgId=item.get("orgId") or 1)
    for item in wanted:
        _put_datasource(app, item)
    kept = {(item["orgId"], item["name"]) for item in wanted}
    for row in app.store.rows("datasources", prunable=True):
        if (row["orgId"], row["name"]) not in kept:
            app.store.drop("datasources", id=row["id"])


def _put_datasource(app: App, item: Row) -> None:
    org, name = item["orgId"], str(item["name"])
    if not app.store.one("orgs", id=org):
        raise ProvisioningError("failed to provision data source: organization not found")
    old = app.store.one("datasources", orgId=org, name=name)
    made_uid = "P" + hashlib.sha256(name.encode()).hexdigest()[:16].upper()
    body = {
        **item,
        "name": name,
        "uid": item.get("uid") or (old["uid"] if old else made_uid),
        "access": item["access"] if item.get("access") in ("proxy", "direct") else "proxy",
        "jsonData": item.get("jsonData") or {},
        "secureJsonData": {key: str(value) for key, value in (item.get("secureJsonData") or {}).items()},
    }
    try:
        row = datasources.put(app.store, org, body, old)
    except Fail as error:
        raise ProvisioningError(str(error)) from error
    row.update(readOnly=not item.get("editable"), prunable=item["prunable"])
    app.log("info", "provisioning.datasources", "inserting datasource from configuration", name=name, uid=row["uid"])


def check_plugins(app: App) -> None:
    """The stand-in configures no app plugins; it refuses those that are missing, as Grafana does."""
    for _name, content in read_files(app, "plugins"):
        for item in items(content, "apps"):
            if item.get("type") not in app.plugins:
                raise ProvisioningError(f'plugin not installed: "{item.get("type")}"')


def provision_alerting(app: App) -> None:
    """Everything of alerting. All files are checked before the first is applied; what left the files stays."""
    contents = list(read_files(app, "alerting", "failure to parse file {}: "))
    for name, content in contents:
        _check_alerting(name, content)
    files = [(name, interpolate_alerting(content)) for name, content in contents]
    # In Grafana's order: policies come after what they name, and before its deletion.
    steps = (
        ("alert rules", _put_rules),
        ("contact points", _put_contact_points),
        ("mute times", _put_mute_times),
        ("text templates", _put_templates),
        ("notification policies", _put_policies),
        ("deletions", _delete_alerting),
    )
    for what, step in steps:
        for name, content in files:
            try:
                step(app, content)
            except Fail as error:
                raise ProvisioningError(f"{what}: {name}: {error}") from error


def _check_alerting(name: str, content: Row) -> None:
    known = (*contact_points.TYPES, *contact_points.OTHER_TYPES)
    for group in items(content, "groups"):
        if not group.get("folder"):
            raise ProvisioningError(f"failure to map file {name}: failure parsing rules: rule group has no folder set")
    for point in items(content, "contactPoints"):
        for receiver in items(point, "receivers"):
            if receiver.get("type") not in known:
                raise ProvisioningError(
                    f"failure to map file {name}: failure parsing contact points: "
                    f"{point.get('name')}: unknown type '{receiver.get('type')}'"
                )


def _org(item: Row) -> int:
    return int(item.get("orgId") or 1)


def _put_rules(app: App, content: Row) -> None:
    for group in items(content, "groups"):
        org = _org(group)
        where = {
            "folderUID": _make_folder(app, org, str(group["folder"]), "", ""),
            "ruleGroup": group.get("name") or "",
        }
        for rule in items(group, "rules"):
            if not rule.get("uid"):
                raise alert_rules.invalid("no UID set")
            old = app.store.one("alert_rules", orgID=org, uid=rule["uid"])
            alert_rules.put(app.store, org, {**alert_rules.read(rule), **where, "uid": rule["uid"]}, old, "file")
        for row in alert_rules.group_rules(app.store, org, **where):
            row["interval"] = (durations.parse(group.get("interval")) or 0) // 1000 or row["interval"]
    for item in items(content, "deleteRules"):
        app.store.drop("alert_rules", orgID=_org(item), uid=item.get("uid"))


def _put_contact_points(app: App, content: Row) -> None:
    for point in items(content, "contactPoints"):
        for receiver in items(point, "receivers"):
            row = contact_points.read({**receiver, "name": point.get("name")})
            contact_points.put(app.store, _org(point), receiver.get("uid") or "", row, "file")


def _put_mute_times(app: App, content: Row) -> None:
    for item in items(content, "muteTimes"):
        intervals = mute_timings.read(item.get("time_intervals"))
        mute_timings.put(app.store, _org(item), item.get("name") or "", intervals, "file")


def _put_templates(app: App, content: Row) -> None:
    for item in items(content, "templates"):
        templates.put(app.store, _org(item), item.get("name") or "", item.get("template") or "", "file")


def _put_policies(app: App, content: Row) -> None:
    for item in items(content, "policies"):
        policies.put(app.store, _org(item), item, "file")
    for org in content.get("resetPolicies") or []:
        app.store.drop("policies", orgId=org)


def _delete_alerting(app: App, content: Row) -> None:
    for item in items(content, "deleteContactPoints"):
        contact_points.remove(app.store, _org(item), item.get("uid") or "")
    for item in items(content, "deleteMuteTimes"):
        mute_timings.remove(app.store, _org(item), item.get("name") or "")
    for item in items(content, "deleteTemplates"):
        app.store.drop("templates", orgId=_org(item), name=item.get("name"))


def read_providers(app: App) -> list[Row]:
    """The dashboard providers of type file."""
    found = []
    prefix = "Failed to read dashboards config: could not parse provisioning config file: {} error: "
    for _name, content in read_files(app, "dashboards", prefix):
        for item in items(content, "providers"):
            item = interpolate(item)
            if item.get("type", "file") != "file" or not (item.get("options") or {}).get("path"):
                raise ProvisioningError("failed to load dashboards: path param is not a string")
            found.append({**item, "name": item.get("name") or "default", "orgId": item.get("orgId") or 1})
    return found


def provision_dashboards(app: App) -> None:
    """Load every provider's files; dashboards of providers that are gone go too."""
    providers = app.dashboard_providers = read_providers(app)
    names = {provider["name"] for provider in providers}
    for row in app.store.rows("dashboard_files"):
        if row["provider"] not in names:
            dashboards.remove(app.store, row["dashboardId"])
    for provider in providers:
        _walk(app, provider)


def _walk(app: App, provider: Row) -> None:
    store, name = app.store, provider["name"]
    root = Path(provider["options"]["path"])
    if not root.is_dir():
        message = f"stat {root}: no such file or directory"
        app.log("error", "provisioning.dashboard", "Cannot read directory", name=name, error=message)
        return
    known = {row["path"]: dict(row) for row in store.rows("dashboard_files", provider=name)}
    allow_updates = bool(provider.get("allowUiUpdates") or provider.get("editable"))
    for row in store.rows("dashboard_files", provider=name):
        row["allowUpdates"] = allow_updates
    files = sorted(path for path in root.rglob("*.json") if path.is_file())
    for path, row in known.items():
        if Path(path) in files:
            continue
        if provider.get("disableDeletion"):
            store.drop("dashboard_files", id=row["id"])
        else:
            dashboards.remove(store, row["dashboardId"])
    for file in files:
        try:
            text = file.read_bytes()
            checksum = hashlib.sha256(text).hexdigest()
            row = known.get(str(file), {})
            if row.get("checksum") == checksum and store.one("dashboards", id=row["dashboardId"]):
                continue
            model = json.loads(text)
            if not isinstance(model, dict) or not model.get("title"):
                raise ValueError("Dashboard title cannot be empty")
            folder = _folder(app, provider, file.parent.relative_to(root))
            saved = dashboards.save(
                store, provider["orgId"], model, folder, who=0, message="", old_id=row.get("dashboardId")
            )
        except (ValueError, OSError, Fail) as error:
            app.log(
                "error", "provisioning.dashboard", "failed to load dashboard from ", file=str(file), error=str(error)
            )
            continue
        store.drop("dashboard_files", dashboardId=saved["id"])
        store.add(
            "dashboard_files",
            {
                "provider": name,
                "path": str(file),
                "externalId": file.relative_to(root).as_posix(),
                "checksum": checksum,
                "dashboardId": saved["id"],
                "allowUpdates": allow_updates,
            },
        )


def _folder(app: App, provider: Row, below: Path) -> str:
    """The uid of the folder that a file's dashboard belongs to; missing ones are made."""
    title, uid, parent = provider.get("folder") or "", provider.get("folderUid") or "", ""
    if provider["options"].get("foldersFromFilesStructure"):
        for part in below.parts:
            parent = _make_folder(app, provider["orgId"], part, "", parent)
        return parent
    return _make_folder(app, provider["orgId"], title, uid, "") if title else ""


def _make_folder(app: App, org: int, title: str, uid: str, parent: str) -> str:
    old = app.store.one("folders", orgId=org, uid=uid) if uid else None
    old = old or next((row for row in folders.children(app.store, org, parent) if row["title"] == title), None)
    made = old or folders.create(app.store, org, {"title": title, "uid": uid, "parentUid": parent}, who=0)
    return str(made["uid"])
