# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module grafana_dashboards against the Grafana stand-in: every state, files, ways to be interrupted, wrong input."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._grafana import dashboards
from ansible_collections.groundwork.observability.plugins.modules import grafana_dashboards

from tests.support.grafana_module import ModuleRun, Result
from tests.support.grafana_proxy import CUT, DROP, FORWARD_AND_DROP, Fault, Proxy

pytestmark = pytest.mark.integration

PROVIDER = "apiVersion: 1\nproviders: [{name: p, type: file, options: {path: '<<provisioning>>/boards'}}]"
GRAFANA = {"files": {"dashboards/p.yaml": PROVIDER, "boards/b.json": json.dumps({"uid": "file", "title": "From file"})}}


@pytest.fixture
def run(run_in_grafana: Callable[[ModuleType], ModuleRun]) -> ModuleRun:
    made = run_in_grafana(grafana_dashboards)
    for uid, title, parent in (("f", "Folder", ""), ("g", "Below", "f")):
        made.ask("POST", "/api/folders", {"uid": uid, "title": title, "parentUid": parent})
    return made


@pytest.fixture(params=["list", "no list"])
def lists(request: pytest.FixtureRequest) -> bool:
    """Whether the server lists dashboards with their content, as it does since version 12."""
    return bool(request.param == "list")


def without_list(_method: str, path: str, _position: int) -> Fault | None:
    return (404, {}, b"<html>not found</html>") if path.startswith("/apis/") else None


def model(uid: str, title: str = "", **more: t.Any) -> Result:
    panel = {"id": 1, "type": "stat", "title": "<b>'\"; DROP", "targets": [{"rawSql": "SELECT $__interval_s"}]}
    return {"uid": uid, "title": title or uid.upper(), "panels": [panel], "schemaVersion": 39, **more}


def board(uid: str, title: str = "", folder: str = "f", **more: t.Any) -> Result:
    return {"dashboard": model(uid, title, **more), "folder_uid": folder}


ALL = [board("a", tags=["t"]), board("b", "Ünï"), board("c", folder="g"), board("d", folder="")]


def places(run: ModuleRun) -> dict[str, str]:
    hits = run.ask("GET", "/api/search?type=dash-db")
    return {hit["uid"]: f"{hit.get('folderUid', '')}/{hit['title']}" for hit in hits}


def get(run: ModuleRun, uid: str) -> Result:
    answer: Result = run.ask("GET", f"/api/dashboards/uid/{uid}")
    return answer


def save(run: ModuleRun, item: Result) -> None:
    run.ask("POST", "/api/dashboards/db", {"dashboard": item["dashboard"], "folderUid": item["folder_uid"], "overwrite": True})


def test_create_again_change_and_check_mode(proxy: Proxy, run: ModuleRun, lists: bool) -> None:
    proxy.reset(None if lists else without_list)
    announced = run(ALL, check=True)
    assert places(run) == {} and not proxy.writes
    done = run(ALL)
    assert done["statements"] == announced["statements"] and done["diff"] == announced["diff"] and len(done["statements"]) == 4
    assert places(run) == {"a": "f/A", "b": "f/Ünï", "c": "g/C", "d": "/D"}
    proxy.reset(None if lists else without_list)
    again = run(ALL)
    assert not again["changed"] and not again["diff"] and not proxy.writes and get(run, "a")["meta"]["version"] == 1
    assert len(proxy.requests) == (3 if lists else 3 + len(ALL))
    wanted = [board("a", "Renamed", tags=["t"]), board("b", "Ünï", "g"), {"uid": "c", "state": "absent"}, board("d", folder="", tags=[1])]
    announced = run(wanted, check=True)
    done = run(wanted)
    assert done["statements"] == announced["statements"] and done["diff"] == announced["diff"]
    assert places(run) == {"a": "f/Renamed", "b": "g/Ünï", "d": "/D"} and get(run, "d")["dashboard"]["tags"] == [1]
    assert get(run, "a")["meta"]["version"] == 2 and '"title": "A"' in done["diff"][0]["before"]
    assert not run(wanted)["changed"]


def test_drift_deletion_and_purge(proxy: Proxy, run: ModuleRun, lists: bool) -> None:
    proxy.reset(None if lists else without_list)
    run(ALL)
    save(run, board("a", tags=["by hand"]))
    save(run, board("b", "Ünï", folder=""))
    run.ask("DELETE", "/api/dashboards/uid/c")
    assert len(run(ALL)["statements"]) == 3
    assert get(run, "a")["dashboard"]["tags"] == ["t"] and places(run) == {"a": "f/A", "b": "f/Ünï", "c": "g/C", "d": "/D"}
    for item in (board("more"), board("other", folder="g"), board("root", folder="")):
        save(run, item)
    assert run(ALL, purge=["f"])["statements"] == ["DELETE /api/dashboards/uid/more"]
    assert sorted(places(run)) == ["a", "b", "c", "d", "other", "root"] and not run(ALL, purge=["f"])["changed"]
    gone = [{"uid": item["dashboard"]["uid"], "state": "absent"} for item in ALL]
    assert len(run(gone)["statements"]) == 4 and sorted(places(run)) == ["other", "root"]
    assert not run(gone)["changed"]


def test_files_directories_inputs_and_folders_by_title(run: ModuleRun, tmp_path: Path) -> None:
    inputs = [
        {"name": "DS_CH", "type": "datasource", "pluginId": "grafana-clickhouse-datasource"},
        {"name": "VAR_X", "type": "constant", "value": "as exported"},
    ]
    exported = model("x", __inputs=inputs, __requires=[], id=7, version=12, datasource={"uid": "${DS_CH}"}, text="${VAR_X} {{ label }}")
    (tmp_path / "x.json").write_text(json.dumps(exported))
    (tmp_path / "y.json").write_text("\ufeff" + json.dumps({"meta": {}, "dashboard": model("y")}), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no dashboard")
    options: Result = {"directories": [{"path": str(tmp_path), "folder": "folder / Below"}], "inputs": {"DS_CH": "uid-of-it"}}
    assert run(**options)["changed"] and places(run) == {"x": "g/X", "y": "g/Y"}
    stored = get(run, "x")["dashboard"]
    assert stored["datasource"] == {"uid": "uid-of-it"} and stored["text"] == "as exported {{ label }}" and "__inputs" not in stored
    assert not run(**options)["changed"]
    assert not run([{"path": str(tmp_path / "y.json"), "folder_uid": "g", "uid": "y"}])["changed"]
    assert "input DS_CH (grafana-clickhouse-datasource) has no value" in run(directories=options["directories"])["msg"]


def test_files_own_what_they_provision(proxy: Proxy, run: ModuleRun) -> None:
    run.org = 1
    proxy.reset()
    for item in (board("file", "Other", folder=""), {"uid": "file", "state": "absent"}):
        refused = run([board("new", folder=""), item])
        assert "dashboard 'file' comes from the provisioning file" in refused["msg"] and not proxy.writes


def test_a_hundred_dashboards_in_the_same_number_of_requests(proxy: Proxy, run: ModuleRun, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [board(f"b{number}", "General" if number == 7 else "") for number in range(100)]
    for item in many:
        save(run, item)
    proxy.reset()
    assert not run(many)["changed"]
    assert len(proxy.requests) == 3 and set(proxy.organisations) == {str(run.org)}
    monkeypatch.setattr(dashboards, "LIST_PAGE", 30)
    assert not run(many)["changed"]
    assert len(proxy.requests) == 3 + 2 + 4


def test_killed_after_each_request(run: ModuleRun) -> None:
    """The next run finishes, whatever the last write was."""
    before = [board("a"), board("b"), board("c")]
    after = [board("a", "New"), board("b", folder="g"), {"uid": "c", "state": "absent"}, board("d")]

    def prepare() -> None:
        for uid in places(run):
            run.ask("DELETE", f"/api/dashboards/uid/{uid}")
        for item in before:
            save(run, item)

    interrupted = 0
    for _stopped in run.interrupted(prepare, after):
        interrupted += 1
        run(after)
        assert places(run) == {"a": "f/New", "b": "g/B", "d": "f/D"} and not run(after)["changed"]
    assert interrupted == 4


def test_lost_answers_and_concurrent_changes(proxy: Proxy, run: ModuleRun) -> None:
    proxy.reset(lambda method, _path, _position: FORWARD_AND_DROP if method == "POST" and len(proxy.writes) == 1 else None)
    done = run(ALL)
    assert len(done["statements"]) == 4 == len(proxy.writes) and get(run, "a")["meta"]["version"] == 1

    def interfere(method: str, _path: str, _position: int) -> Fault | None:
        if method == "POST" and len(proxy.writes) == 1:
            save(run, board("a", "Theirs"))
        return None

    proxy.reset(interfere)
    done = run([board("a", "Ours")])
    assert len(proxy.writes) == 2 and len(done["statements"]) == 1 and get(run, "a")["dashboard"]["title"] == "Ours"


def test_refusals_and_answers_about_another_dashboard(proxy: Proxy, run: ModuleRun) -> None:
    taken: Fault = (412, {}, b'{"message": "A dashboard with the same name in the folder already exists", "status": "name-exists"}')
    proxy.reset(lambda method, _path, _position: taken if method == "POST" else None)
    assert "412: refused: A dashboard with the same name" in run([board("a")])["msg"] and len(proxy.writes) == 2
    proxy.reset(lambda method, _path, _position: (200, {}, b'{"uid": "z"}') if method == "POST" else None)
    assert "the server saved dashboard 'z' instead" in run([board("a")])["msg"]
    (viewer,) = run.tokens("Viewer")
    proxy.reset()
    assert "403: the user or token may not do this" in run([board("a")], as_user={"token": viewer})["msg"]


def test_a_folder_that_does_not_exist_yet(run: ModuleRun) -> None:
    for item in (board("a", folder="later"), {"dashboard": model("a"), "folder": "Later/Deep"}):
        assert run([item], check=True)["changed"]
        assert "does not exist; grafana_folders makes folders" in run([item])["msg"]


WRONG: list[tuple[Result, Result, str]] = [
    (board("white space"), {}, "uid 'white space' must have 1 to 40 characters"),
    (board("x" * 41), {}, "must have 1 to 40 characters"),
    ({"dashboard": {"title": "No uid"}}, {}, "the dashboard has no uid"),
    ({"dashboard": {"title": "T", "uid": 5}}, {}, "the dashboard has no uid"),
    ({"uid": "b", "dashboard": model("a")}, {}, "uid 'b' is not that of the dashboard itself, 'a'"),
    ({"dashboard": {"uid": "a"}}, {}, "dashboard 'a' has no title"),
    ({"dashboard": {"uid": "a", "title": " "}}, {}, "dashboard 'a' has no title"),
    ({"dashboard": {"uid": "a", "title": ["x"]}}, {}, "dashboard 'a' has no title"),
    ({"dashboard": model("a"), "path": "/x"}, {}, "give either dashboard or path"),
    ({"uid": "a"}, {}, "give either dashboard or path"),
    ({"state": "absent"}, {}, "uid is missing"),
    ({"path": "/no/such.json"}, {}, "/no/such.json cannot be read: No such file"),
    ({"path": __file__}, {}, "is not JSON"),
    ({"dashboard": {"apiVersion": "dashboard.grafana.app/v2", "spec": {}}}, {}, "export it as classic JSON"),
    ({"dashboard": model("a"), "folder_uid": "f", "folder": "Folder"}, {}, "give either folder_uid or folder"),
    (board("a", folder="no such"), {}, "folder_uid: uid 'no such'"),
    (board("a", folder="nowhere"), {}, "folder 'nowhere' does not exist"),
    (board("f"), {}, "uid 'f' is that of a folder"),
    (board("first"), {}, "dashboards[1]: uid is also that of dashboards[0]"),
    (board("a", " first "), {}, "dashboards[1]: title in the same folder is also that of dashboards[0]"),
    (board("a"), {"directories": [{"path": "/no/such"}]}, "directories[0]: /no/such cannot be read"),
    (board("a"), {"directories": [{"path": "/usr"}]}, "has no file that ends with .json"),
    (board("a"), {"purge": ["a b"]}, "purge: uid 'a b'"),
    (board("a", "Folder"), {}, "Dashboard name cannot be the same as folder"),
]


@pytest.mark.parametrize(("declared", "options", "message"), WRONG, ids=[message[-40:] for _declared, _options, message in WRONG])
def test_wrong_input(proxy: Proxy, run: ModuleRun, declared: Result, options: Result, message: str) -> None:
    save(run, board("first"))
    refused = run([board("first"), declared], **options)
    assert refused["failed"] and message in refused["msg"] and "\n" not in refused["msg"]
    assert places(run) == {"first": "f/FIRST"} and not refused.get("changed")


BROKEN: list[Fault] = [(500, {}, b'{"message": "Failed"}'), (502, {}, b"<html>"), (401, {}, b'{"message": "Unauthorized"}'), CUT, DROP]


@pytest.mark.parametrize("fault", BROKEN, ids=str)
def test_broken_answers(proxy: Proxy, run: ModuleRun, fault: Fault) -> None:
    """To the list: nothing is written. To the first write: the next run finishes."""
    proxy.reset(lambda _method, path, _position: fault if path.startswith("/apis/") else None)
    refused = run(ALL)
    assert refused.get("failed") and "\n" not in refused["msg"] and not proxy.writes
    proxy.reset(lambda method, _path, _position: fault if method == "POST" and len(proxy.writes) == 1 else None)
    run(ALL)
    proxy.reset()
    run(ALL)
    assert len(places(run)) == 4 and not run(ALL)["changed"]
