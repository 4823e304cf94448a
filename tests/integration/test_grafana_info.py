# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Grafana that was filled by hand is adopted: the module grafana_info, the files, and the playbooks that write and apply them."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible_collections.groundwork.observability.plugins.filter.grafana_files import grafana_files
from ansible_collections.groundwork.observability.plugins.modules import (
    grafana_access,
    grafana_alerting,
    grafana_dashboards,
    grafana_datasources,
    grafana_folders,
    grafana_info,
    grafana_library_panels,
    grafana_silences,
)

from tests.support.grafana_module import PASSWORD, ModuleRun, Result
from tests.support.grafana_proxy import CUT, DROP, Fault, Proxy

pytestmark = pytest.mark.integration

CHECKOUT = Path(__file__).parents[2]
PROVIDER = "apiVersion: 1\nproviders: [{name: p, type: file, options: {path: '<<provisioning>>/boards'}}]"
SOURCES = "apiVersion: 1\ndatasources: [{name: Of file, uid: file, type: prometheus, access: proxy, url: 'http://f'}]"
GRAFANA = {
    "files": {
        "dashboards/p.yaml": PROVIDER,
        "boards/b.json": json.dumps({"uid": "file", "title": "From file"}),
        "datasources/d.yaml": SOURCES,
    }
}
SECRETS = ("hunter2-source", "hunter2-point", "hunter2-url")
MODULES = {
    "folders": grafana_folders,
    "datasources": grafana_datasources,
    "library_panels": grafana_library_panels,
    "dashboards": grafana_dashboards,
    "silences": grafana_silences,
}
SILENCES = "/api/alertmanager/grafana/api/v2/silences"
DATA = [
    {"refId": "A", "datasourceUid": "ds", "relativeTimeRange": {"from": 600, "to": 0}, "model": {"expr": "up"}},
    {"refId": "B", "datasourceUid": "__expr__", "model": {"type": "threshold", "expression": "A"}},
]
RULE: Result = {
    "uid": "r1",
    "title": "Rule {{ one }}",
    "folderUID": "g",
    "ruleGroup": "Group/1",
    "condition": "B",
    "data": DATA,
    "for": "90m",
    "noDataState": "OK",
    "execErrState": "Alerting",
    "labels": {"team": "a"},
    "annotations": {"summary": "{{ $labels.x }}\ntwo lines"},
}


def fill(ask: Callable[..., Any]) -> None:
    """As people do, at Grafana's pages and through its API."""
    for uid, title, parent in (("f", "Földer {{ x }}", ""), ("g", "Below", "f")):
        ask("POST", "/api/folders", {"uid": uid, "title": title, "parentUid": parent})
    source = {"uid": "ds", "name": "Source", "type": "prometheus", "access": "proxy", "url": "http://p", "isDefault": True}
    source.update(basicAuth=True, basicAuthUser="u", jsonData={"httpMethod": "POST"}, secureJsonData={"basicAuthPassword": SECRETS[0]})
    ask("POST", "/api/datasources", source)
    ask("POST", "/api/datasources", {"uid": "pg", "name": "Pg", "type": "postgres", "access": "proxy", "jsonData": {"database": "x"}})
    model = {"type": "stat", "title": "Shared", "fieldConfig": {"defaults": {"displayName": "{{ host }}"}}}
    for kind, uid in ((1, "panel"), (2, "variable")):
        ask("POST", "/api/library-elements", {"uid": uid, "name": uid, "kind": kind, "folderUid": "f", "model": model})
    panels = [{"id": 1, "type": "stat", "title": "{{ legend }} <b>\"'", "libraryPanel": {"uid": "panel"}}, {"id": 2, "sql": "SELECT\n 1"}]
    for uid, folder in (("root", ""), ("inner", "g"), ("other", "g")):
        board = {"uid": uid, "title": f"Board {uid} ü", "panels": panels, "schemaVersion": 39}
        ask("POST", "/api/dashboards/db", {"dashboard": board, "folderUid": folder})
    matchers = [{"name": "team", "value": "a|b", "isRegex": True, "isEqual": True}, {"name": "x", "value": "1", "isRegex": False}]
    times = {"startsAt": "2020-01-01T00:00:00Z", "endsAt": "2031-01-01T00:00:00Z"}
    ask("POST", SILENCES, {"matchers": matchers, "comment": "By hand", "createdBy": "me", **times})


def fill_alerting(ask: Callable[..., Any]) -> None:
    path = "/api/v1/provisioning"
    ask("POST", f"{path}/alert-rules", RULE)
    ask("POST", f"{path}/mute-timings", {"name": "nights", "time_intervals": [{"times": [{"start_time": "22:00", "end_time": "24:00"}]}]})
    ask("PUT", f"{path}/templates/t", {"template": '{{ define "t" }}{{ .Alerts }}{{ end }}'})
    settings = {"url": "http://hook", "username": "u", "password": SECRETS[1]}
    ask("POST", f"{path}/contact-points", {"uid": "hook", "name": "Hook", "type": "webhook", "settings": settings})
    route = {"receiver": "Hook", "object_matchers": [["team", "=", "a"]], "mute_time_intervals": ["nights"], "group_wait": "90s"}
    ask("PUT", f"{path}/policies", {"receiver": "grafana-default-email", "group_by": ["alertname"], "routes": [route]})


def fill_access(run: ModuleRun, login: str) -> None:
    """Teams, accounts, permissions and preferences. `login` is a new user's, who is in the first organisation from the beginning."""
    ask = run.ask
    user = ask("POST", "/api/admin/users", {"login": login, "email": f"{login}@example.com", "password": "longer than that"})["id"]
    if run.org != 1:
        ask("POST", "/api/org/users", {"loginOrEmail": login, "role": "Editor"})
    team = ask("POST", "/api/teams", {"name": "Team ü", "email": "team@example.com"})["teamId"]
    ask("POST", f"/api/teams/{team}/members", {"userId": user})
    ask("PUT", f"/api/teams/{team}/preferences", {"theme": "light"})
    ask("PUT", "/api/org/preferences", {"timezone": "utc", "homeDashboardUID": "root"})
    account = ask("POST", "/api/serviceaccounts", {"name": "Robot", "role": "Viewer"})["id"]
    ask("POST", f"/api/serviceaccounts/{account}/tokens", {"name": f"key of {login}"})
    granted = [{"teamId": team, "permission": 4}, {"userId": user, "permission": 2}, {"userId": account, "permission": 1}]
    ask("POST", "/api/folders/f/permissions", {"items": [*granted, {"role": "Viewer", "permission": 1}]})
    ask("POST", "/api/dashboards/uid/root/permissions", {"items": [{"userId": user, "permission": 4}]})


@pytest.fixture
def run(run_in_grafana: Callable[[ModuleType], ModuleRun]) -> ModuleRun:
    made = run_in_grafana(grafana_info)
    made.secrets = (*made.secrets, *SECRETS)
    return made


def info(run: ModuleRun, **options: Any) -> Result:
    run.module = grafana_info
    return run({}, **options)


def manage(run: ModuleRun, module: ModuleType, objects: Any, **options: Any) -> Result:
    run.module = module
    return run(objects, **options)


def apply(run: ModuleRun, found: Result, **options: Any) -> list[Result]:
    """What the modules say to what was gathered."""
    results = [manage(run, module, found[name], **options) for name, module in MODULES.items() if name != "silences"]
    results += [manage(run, grafana_alerting, call, **options) for call in found.get("alerting", ())]
    results += [manage(run, grafana_access, found["access"], **options)]
    return [*results, manage(run, grafana_silences, found["silences"], **options)]


def test_what_is_gathered_changes_nothing(proxy: Proxy, run: ModuleRun) -> None:
    fill(run.ask)
    fill_alerting(run.ask)
    fill_access(run, "Ann")
    proxy.reset()
    found = info(run)
    assert not found["changed"] and found["skipped"] == {} and not proxy.writes and set(proxy.organisations) == {str(run.org)}
    assert found["organization"] == {"id": run.org, "name": "test"} and found["version"].startswith("12.")
    assert [item["uid"] for item in found["folders"]] == ["f", "g"] and found["folders"][1]["parent_uid"] == "f"
    assert [item["uid"] for item in found["dashboards"]] == ["inner", "other", "root"]
    tokens = {"service_accounts": {"Robot": ["token key of Ann"]}}
    assert found["secrets"] == {"datasources": {"ds": ["basicAuthPassword"]}, "contact_points": {"hook": ["password"]}, **tokens}
    access = found["access"]
    assert access["teams"] == [{"name": "Team ü", "email": "team@example.com", "members": ["ann"], "admins": ["admin"], "purge": True}]
    assert access["service_accounts"] == [{"name": "Robot", "role": "Viewer", "disabled": False}]
    granted = next(entry["permissions"] for entry in access["permissions"] if entry.get("folder_uid") == "f")
    names = {"team": "Team ü"}, {"user": "ann"}, {"service_account": "Robot"}, {"role": "Viewer"}
    for name, level in zip(names, ("Admin", "Edit", "View", "View"), strict=True):
        assert {**name, "permission": level} in granted
    assert {"timezone": "utc", "home_dashboard_uid": "root"} in access["preferences"]
    assert {"team": "Team ü", "theme": "light"} in access["preferences"]
    assert found["left_out"] == {"contact_points": {"email receiver": "it has no uid"}}
    assert info(run, check=True) == found
    for result in apply(run, found):
        assert not result.get("failed") and not result["changed"], result
    assert not proxy.writes


def test_a_fresh_grafana_becomes_the_same(run: ModuleRun) -> None:
    fill(run.ask)
    fill_alerting(run.ask)
    run.ask("PUT", "/api/org/preferences", {"timezone": "utc", "homeDashboardUID": "root"})
    run.ask("POST", "/api/teams", {"name": "Team", "email": "team@example.com"})
    run.ask("POST", "/api/folders/f/permissions", {"items": [{"role": "Editor", "permission": 1}]})
    found = info(run)
    other = run.server.send("POST", "/api/orgs", {"name": "copy"}, auth=("admin", PASSWORD))[1]["orgId"]
    first, run.org = run.org, other
    for result in apply(run, found):
        assert not result.get("failed") and result["changed"], result
    copied = info(run)
    for name in MODULES:
        expected = copy.deepcopy(found[name])
        if name == "silences":
            expected[0]["starts_at"] = copied[name][0]["starts_at"]
        assert copied[name] == expected
    for call in (*found["alerting"], *copied["alerting"]):
        call.pop("editable_in_ui")
    assert copied["alerting"] == found["alerting"]
    assert copied["access"] == found["access"] and copied["secrets"] == {}
    run.server.send("DELETE", f"/api/orgs/{other}", auth=("admin", PASSWORD))
    run.org = first


def test_alerting_of_the_pages_and_of_the_api(run: ModuleRun) -> None:
    """What people have made at the pages and what the API has made are different calls, that with the policies last."""
    fill(run.ask)
    fill_alerting(run.ask)
    header = {"X-Disable-Provenance": "true", "X-Grafana-Org-Id": str(run.org)}
    point = {"uid": "mail", "name": "Mail", "type": "email", "settings": {"addresses": "a@example.com"}}
    status, _answer = run.server.send("POST", "/api/v1/provisioning/contact-points", point, auth=("admin", PASSWORD), headers=header)
    assert status == 202
    calls = info(run, filter=["alerting"])["alerting"]
    assert [call["editable_in_ui"] for call in calls] == [True, False] and "policy_tree" in calls[1]
    assert [point["uid"] for point in calls[0]["contact_points"]] == ["mail"]
    for call in calls:
        result = manage(run, grafana_alerting, call)
        assert not result.get("failed") and not result["changed"], result


def test_what_files_own_is_left_out(run: ModuleRun) -> None:
    run.org = 1
    found = info(run)
    assert "file" not in [item["uid"] for item in (*found["dashboards"], *found["datasources"])]
    expected = {"file": "it comes from a provisioning file"}
    assert found["left_out"]["dashboards"] == expected and found["left_out"]["datasources"] == expected


def test_what_the_modules_would_refuse_is_left_out(proxy: Proxy, run: ModuleRun) -> None:
    run.ask("POST", "/api/library-elements", {"uid": "nameless", "kind": 1, "model": {}})
    run.ask("POST", "/api/datasources", {"uid": "u", "name": "U", "type": "loki", "access": "proxy", "url": f"http://me:{SECRETS[2]}@h/x"})
    run.ask("POST", "/api/dashboards/db", {"dashboard": {"uid": "new-form", "title": "New form"}})
    refusal: Fault = (406, {}, b'{"message": "dashboard api version not supported"}')
    proxy.reset(lambda _method, path, _position: refusal if path.endswith("/new-form") else None)
    found = info(run)
    assert "name of 'nameless' must have 1 to 150 characters" in found["left_out"]["library_panels"]["nameless"]
    assert found["left_out"]["dashboards"] == {"new-form": "it has no classic JSON"}
    assert found["datasources"][0]["url"] == "http://h/x" and found["secrets"]["datasources"] == {"u": ["password in url"]}


def test_sections_and_who_may_see_them(proxy: Proxy, run: ModuleRun) -> None:
    viewer, editor = run.tokens("Viewer", "Editor")
    fill(run.ask)
    proxy.reset()
    assert set(info(run, filter=["folders"])) & {*MODULES, "alerting", "access"} == {"folders"} and len(proxy.requests) == 4
    seen = info(run, as_user={"token": viewer})
    assert "alerting" not in seen and "403: the user or token may not do this" in seen["skipped"]["alerting"]
    assert seen["warnings"] == [f"{name} is missing: {reason}" for name, reason in seen["skipped"].items()] and set(MODULES) <= set(seen)
    assert "access.permissions" in seen["skipped"] and "permissions" not in seen["access"]
    assert len(seen["dashboards"]) == 3 == len(info(run, as_user={"token": editor})["dashboards"])


WRONG: list[tuple[Result, str]] = [
    ({"filter": ["plugins"]}, "value of filter must be one or more of: all, folders"),
    ({"url": "grafana:3000"}, "is not that of a Grafana"),
    ({"url": "http://me:hidden@h"}, "url: it contains a user or password"),
    ({"url": "http://127.0.0.1:1"}, "cannot be reached: Connection refused"),
    ({"timeout": 0}, "timeout: 0 is less than 1"),
    ({"retries": -1}, "retries: -1 is less than 0"),
    ({"org_name": "test"}, "mutually exclusive"),
    ({"token": "abcdefgh"}, "mutually exclusive"),
    ({"ca_path": "/no/such"}, "/no/such"),
    ({"as_user": {"token": "expired"}}, "401: the user or token is not accepted"),
    ({"as_user": {}}, "one of the following is required"),
    ({"as_user": {"url_username": "admin", "url_password": "wrong"}}, "401: the user or token is not accepted"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=[message[:40] for _options, message in WRONG])
def test_wrong_input(run: ModuleRun, options: Result, message: str) -> None:
    refused = info(run, **options)
    assert refused["failed"] and message in refused["msg"] and "\n" not in refused["msg"] and "hidden" not in refused["msg"]


BROKEN: list[Fault] = [(500, {}, b'{"message": "Failed"}'), (502, {}, b"<html>"), (200, {}, b"<html>"), CUT, DROP]


@pytest.mark.parametrize("fault", BROKEN, ids=str)
@pytest.mark.parametrize("path", ["/api/search", "/api/datasources/uid/ds", "/api/library-elements", SILENCES, "/api/v1/provisioning/t"])
def test_broken_answers(proxy: Proxy, run: ModuleRun, fault: Fault, path: str) -> None:
    """An error is no empty section: who gives that to a module with purge would delete everything."""
    run.ask("POST", "/api/datasources", {"uid": "ds", "name": "Source", "type": "loki", "access": "proxy"})
    proxy.reset(lambda _method, asked, _position: fault if asked.startswith(path) else None)
    refused = info(run)
    assert refused.get("failed") and "\n" not in refused["msg"]


def play(server: Any, folder: Path, name: str, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    connection = {"url": server.url, "url_username": "admin", "url_password": PASSWORD}
    given = {"grafana_connection": connection, "grafana_files_dir": str(folder / "files"), "ansible_python_interpreter": sys.executable}
    (folder / "vars.json").write_text(json.dumps({**given, **variables}))
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    command = [program, "-i", "localhost,", str(CHECKOUT / "playbooks" / name), "-e", f"@{folder / 'vars.json'}", "-vvv", *arguments]
    environment = {"ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".collections"), "ANSIBLE_LOCAL_TEMP": str(folder / "local")}
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)


def test_playbooks_adopt_and_apply(grafana: Any, proxy: Proxy, run: ModuleRun, tmp_path: Path) -> None:
    """One command adopts; what it has written changes nothing, and makes another Grafana the same. No secret is shown or written."""
    run.org = 1
    run.tokens("Viewer")
    fill(run.ask)
    fill_alerting(run.ask)
    fill_access(run, "Bob")
    files = tmp_path / "files"
    planned = play(grafana, tmp_path, "adopt_grafana.yml", "--check", "--diff")
    assert planned.returncode == 0 and "changed=1" in planned.stdout and not files.exists(), planned.stdout + planned.stderr
    adopted = play(grafana, tmp_path, "adopt_grafana.yml")
    assert adopted.returncode == 0 and "changed=1" in adopted.stdout, adopted.stdout + adopted.stderr
    assert "[WARNING]" not in adopted.stdout + adopted.stderr
    names = sorted(str(path.relative_to(files)) for path in files.rglob("*") if path.is_file())
    boards = ["dashboards/g/inner.json", "dashboards/g/other.json", "dashboards/general/root.json"]
    assert names == sorted([*boards, *(f"{name}.yml" for name in (*MODULES, "alerting", "access"))])
    assert "# ds: basicAuthPassword set in Grafana" in (files / "datasources.yml").read_text()
    assert "# file is left out: it comes from a provisioning file" in (files / "dashboards.yml").read_text()
    assert "# Robot: token key of Bob set in Grafana" in (files / "access.yml").read_text()
    assert "displayName: !unsafe '{{ host }}'" in (files / "library_panels.yml").read_text()
    refused = play(grafana, tmp_path, "adopt_grafana.yml")
    assert refused.returncode != 0 and "has files already. Set grafana_files_overwrite=true" in refused.stdout
    written = {name: (files / name).stat().st_mtime_ns for name in names}
    (files / "dashboards" / "g" / "stale.json").write_text("{}")
    again = play(grafana, tmp_path, "adopt_grafana.yml", grafana_files_overwrite=True)
    assert "changed=1" in again.stdout and not (files / "dashboards" / "g" / "stale.json").exists(), again.stdout
    assert {name: (files / name).stat().st_mtime_ns for name in names} == written
    through = {"url": proxy.url, "url_username": "admin", "url_password": PASSWORD, "org_id": 1}
    proxy.reset()
    applied = play(grafana, tmp_path, "apply_grafana.yml", "--diff", grafana_connection=through)
    assert applied.returncode == 0 and "changed=0" in applied.stdout and not proxy.writes, applied.stdout + applied.stderr
    assert proxy.requests
    run.ask("PUT", "/api/folders/g", {"title": "Renamed", "overwrite": True})
    run.ask("DELETE", "/api/dashboards/uid/inner")
    for name in ("extra-a", "other"):
        point = {"uid": name, "name": name, "type": "email", "settings": {"addresses": "a@example.com"}}
        run.ask("POST", "/api/datasources", {"uid": name, "name": name, "type": "loki", "access": "proxy"})
        run.ask("POST", "/api/v1/provisioning/contact-points", point)
        run.ask("POST", "/api/v1/provisioning/mute-timings", {"name": name, "time_intervals": [{"weekdays": ["sunday"]}]})
        run.ask("PUT", f"/api/v1/provisioning/templates/{name}", {"template": f'{{{{ define "{name}" }}}}x{{{{ end }}}}'})
    run.ask("POST", "/api/dashboards/db", {"dashboard": {"uid": "extra-d", "title": "Extra", "panels": []}, "folderUid": "g"})
    scope = {**dict.fromkeys(("datasources", "contact_points", "mute_timings", "templates"), ["extra-*"]), "folders": ["g"]}
    kept = play(grafana, tmp_path, "apply_grafana.yml", "--check", "--diff", grafana_purge={**scope, "folders": ["g*"]})
    assert kept.returncode != 0 and "folders: uid 'g*' must have" in kept.stdout, kept.stdout
    healed = play(grafana, tmp_path, "apply_grafana.yml", "--diff", grafana_purge=scope)
    assert healed.returncode == 0 and "changed=4" in healed.stdout, healed.stdout + healed.stderr
    lists = ("datasources", *(f"v1/provisioning/{kind}" for kind in ("contact-points", "mute-timings", "templates")), "search")
    there = [str(entry.get("uid") or entry.get("name")) for path in lists for entry in run.ask("GET", f"/api/{path}")]
    assert there.count("other") == 5 and not [name for name in there if name.startswith("extra")]
    assert {"ds", "hook", "nights", "t", "inner"} <= set(there)
    texts = "".join(path.read_text() for path in files.rglob("*") if path.is_file())
    shown = "".join(done.stdout + done.stderr for done in (planned, adopted, refused, again, applied, kept, healed))
    assert not [secret for secret in (*SECRETS, PASSWORD, json.dumps(PASSWORD)[1:-1]) if secret in texts + shown]


def test_playbooks_without_settings(grafana: Any, tmp_path: Path) -> None:
    for name in ("adopt_grafana.yml", "apply_grafana.yml"):
        refused = play(grafana, tmp_path, name, grafana_files_dir="relative")
        assert refused.returncode != 0 and "grafana_files_dir to an absolute path" in refused.stdout


def test_folders_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Texts of all sorts survive YAML."""
    texts = ["{{ x }}", "{% if %}", "{# c #}", "yes", "123", "a: b", "line\n\n  two\n", "ünï 🙂", "'\"", " lead", "tab\t", "", "null"]
    folders = [{"uid": str(number), "title": text, "parent_uid": ""} for number, text in enumerate(texts)]
    (file,) = grafana_files({"folders": folders}, "/x")
    yaml.SafeLoader.add_constructor("!unsafe", lambda loader, node: str(node.value))
    assert file["path"] == "/x/folders.yml" and yaml.safe_load(file["content"]) == {"folders": folders}
    assert file["content"].count("!unsafe") == 3
