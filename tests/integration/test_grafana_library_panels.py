# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module grafana_library_panels against the Grafana stand-in: every state, paging, ways to be interrupted, wrong input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._grafana import client
from ansible_collections.groundwork.observability.plugins.modules import grafana_library_panels

from tests.support.grafana_module import ModuleRun, Result
from tests.support.grafana_proxy import CUT, DROP, FORWARD_AND_DROP, Fault, Proxy

pytestmark = pytest.mark.integration


@pytest.fixture
def run(run_in_grafana: Callable[[ModuleType], ModuleRun]) -> ModuleRun:
    made = run_in_grafana(grafana_library_panels)
    for uid, title, parent in (("f", "Folder", ""), ("g", "Below", "f")):
        made.ask("POST", "/api/folders", {"uid": uid, "title": title, "parentUid": parent})
    return made


def panel(uid: str, name: str = "", folder: str = "f", **more: Any) -> Result:
    return {"uid": uid, "name": name or uid.upper(), "folder_uid": folder, "model": {"type": "stat", "title": "<b>'\"; DROP"}, **more}


def gone(uid: str) -> Result:
    return {"uid": uid, "state": "absent"}


VARIABLE: Result = {"kind": "variable", "model": {"type": "query"}}
ALL = [panel("a"), panel("b", "Ünï"), panel("c", folder="g"), panel("v", "A", **VARIABLE), panel("r", folder="")]


def elements(run: ModuleRun) -> list[Result]:
    found: list[Result] = run.ask("GET", "/api/library-elements?perPage=1000")["result"]["elements"]
    return found


def places(run: ModuleRun) -> dict[str, str]:
    return {element["uid"]: f"{element['folderUid']}/{element['name']}" for element in elements(run)}


def versions(run: ModuleRun) -> dict[str, int]:
    return {element["uid"]: element["version"] for element in elements(run)}


def patch(run: ModuleRun, uid: str, **body: Any) -> None:
    version = run.ask("GET", f"/api/library-elements/{uid}")["result"]["version"]
    run.ask("PATCH", f"/api/library-elements/{uid}", {"kind": 1, "version": version, **body})


def use(run: ModuleRun, board: str, *uids: str) -> None:
    panels = [{"id": number, "type": "stat", "libraryPanel": {"uid": uid}} for number, uid in enumerate(uids, 1)]
    run.ask("POST", "/api/dashboards/db", {"dashboard": {"uid": board, "title": board, "panels": panels}, "overwrite": True})


def test_create_again_change_and_check_mode(proxy: Proxy, run: ModuleRun) -> None:
    announced = run(ALL, check=True)
    assert places(run) == {} and not proxy.writes
    done = run(ALL)
    assert done["statements"] == announced["statements"] and done["diff"] == announced["diff"] and len(done["statements"]) == 5
    assert places(run) == {"a": "f/A", "b": "f/Ünï", "c": "g/C", "v": "f/A", "r": "/R"}
    proxy.reset()
    again = run(ALL)
    assert not again["changed"] and not again["diff"] and not proxy.writes and set(versions(run).values()) == {1}
    wanted = [panel("a", "B"), panel("b", folder=""), gone("c"), panel("v", "Var", **VARIABLE), panel("r")]
    announced = run(wanted, check=True)
    assert not proxy.writes
    done = run(wanted)
    assert done["statements"] == announced["statements"] and done["diff"] == announced["diff"] and len(done["statements"]) == 5
    assert places(run) == {"a": "f/B", "b": "/B", "v": "f/Var", "r": "f/R"}
    assert done["diff"][0]["before"].count('"name": "A"') == 1 and '"name": "B"' in done["diff"][0]["after"]
    assert not run(wanted)["changed"]


def test_names_are_exchanged(proxy: Proxy, run: ModuleRun) -> None:
    run([panel("a", "One"), panel("b", "Two"), panel("c", "Three", "g")])
    after = [panel("a", "Two"), panel("b", "One"), panel("c", "Two", "")]
    proxy.reset()
    assert len(run(after)["statements"]) == 4 == len(proxy.writes)
    assert places(run) == {"a": "f/Two", "b": "f/One", "c": "/Two"} and not run(after)["changed"]


def test_drift_deletion_and_purge(run: ModuleRun) -> None:
    run(ALL)
    patch(run, "a", model={"type": "text"})
    patch(run, "b", name="Renamed")
    patch(run, "r", folderUid="g")
    run.ask("DELETE", "/api/library-elements/c")
    assert len(run(ALL)["statements"]) == 4
    assert places(run) == {"a": "f/A", "b": "f/Ünï", "c": "g/C", "v": "f/A", "r": "/R"}
    assert next(element for element in elements(run) if element["uid"] == "a")["model"]["title"] == "<b>'\"; DROP"
    for uid, folder in (("more", "f"), ("other", "g"), ("root", "")):
        run.ask("POST", "/api/library-elements", {"uid": uid, "name": uid, "kind": 1, "folderUid": folder, "model": {}})
    assert run(ALL, purge=["f"], check=True)["statements"] == ["DELETE /api/library-elements/more"]
    assert run(ALL, purge=["f"])["statements"] == ["DELETE /api/library-elements/more"]
    assert not run(ALL, purge=["f"])["changed"] and {"other", "root"} <= set(places(run))
    deleted = [gone(item["uid"]) for item in ALL]
    assert len(run(deleted)["statements"]) == 5 and sorted(places(run)) == ["other", "root"]
    assert not run(deleted)["changed"]


def test_what_dashboards_use_is_not_deleted(proxy: Proxy, run: ModuleRun) -> None:
    run(ALL)
    use(run, "uses-both", "a", "b")
    use(run, "uses-one", "a")
    proxy.reset()
    wanted = [panel("b", "Changed"), gone("a"), *ALL[2:]]
    refused = run(wanted)
    assert "library_panels[1]: library panel 'a' is used by dashboards (uses-both, uses-one): remove it" in refused["msg"]
    assert not proxy.writes and not refused["changed"]
    assert "purge: library panel 'a' is used" in run(ALL[1:], purge=["f"])["msg"] and not proxy.writes
    announced = run(wanted, check=True)
    assert "lost: refused while dashboards use it: uses-both, uses-one" in announced["diff"][1]["prepared"]
    for board in ("uses-both", "uses-one"):
        run.ask("DELETE", f"/api/dashboards/uid/{board}")
    assert run(wanted)["statements"] == announced["statements"]


def test_dashboard_that_begins_to_use_it_meanwhile(proxy: Proxy, run: ModuleRun) -> None:
    run([panel("a")])

    def interfere(method: str, _path: str, _position: int) -> Fault | None:
        if method == "DELETE":
            use(run, "late", "a")
        return None

    proxy.reset(interfere)
    refused = run([gone("a")])
    assert "403: the user or token may not do this: the library element has connections" in refused["msg"] and places(run) == {"a": "f/A"}


def test_files_and_folders_by_title(run: ModuleRun, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("\ufeff" + json.dumps({"type": "text", "legend": "{{ host }}"}), encoding="utf-8")
    item = {"uid": "a", "name": "A", "folder": "folder / Below", "path": str(tmp_path / "a.json")}
    assert run([item])["changed"] and places(run) == {"a": "g/A"} and elements(run)[0]["model"]["legend"] == "{{ host }}"
    assert not run([item])["changed"]


def test_many_in_the_same_number_of_requests(proxy: Proxy, run: ModuleRun, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [panel(f"p{number}") for number in range(60)]
    run(many)
    proxy.reset()
    assert not run(many)["changed"]
    assert len(proxy.requests) == 2 and set(proxy.organisations) == {str(run.org)}
    monkeypatch.setattr(client, "PAGE", 25)
    assert not run(many)["changed"] and len(proxy.requests) == 2 + 1 + 3


def test_what_later_versions_add_is_no_difference(proxy: Proxy, run: ModuleRun) -> None:
    """They put the uid into the model, and call the root general."""
    item = panel("a", folder="")
    run([item])
    (stored,) = elements(run)
    stored.update(folderUid="general", model={**stored["model"], "libraryPanel": {"uid": "a"}})
    answer = json.dumps({"result": {"elements": [stored]}}).encode()
    proxy.reset(lambda _method, path, _position: (200, {}, answer) if path.startswith("/api/library-elements?") else None)
    assert not run([item])["changed"]


def test_killed_after_each_request(run: ModuleRun) -> None:
    """The next run finishes, whatever the last write was."""
    before = [panel("a", "One"), panel("b", "Two"), panel("c")]
    after = [panel("a", "Two"), panel("b", "One"), gone("c"), panel("d")]

    def prepare() -> None:
        for uid in places(run):
            run.ask("DELETE", f"/api/library-elements/{uid}")
        run(before)

    interrupted = 0
    for _stopped in run.interrupted(prepare, after):
        interrupted += 1
        run(after)
        assert places(run) == {"a": "f/Two", "b": "f/One", "d": "f/D"} and not run(after)["changed"]
    assert interrupted == 5


def test_lost_answers_and_concurrent_changes(proxy: Proxy, run: ModuleRun) -> None:
    proxy.reset(lambda method, _path, _position: FORWARD_AND_DROP if method == "POST" and len(proxy.writes) == 1 else None)
    assert len(run(ALL)["statements"]) == 5 == len(proxy.writes) and set(versions(run).values()) == {1}

    def interfere(method: str, _path: str, _position: int) -> Fault | None:
        if method == "PATCH" and len(proxy.writes) == 1:
            patch(run, "a", name="Theirs")
        return None

    proxy.reset(interfere)
    done = run([panel("a", "Ours")])
    assert len(proxy.writes) == 2 and len(done["statements"]) == 1 and places(run)["a"] == "f/Ours" and versions(run)["a"] == 3


def test_refusals_and_answers_about_another_element(proxy: Proxy, run: ModuleRun) -> None:
    taken: Fault = (400, {}, b'{"message": "library element with that name or UID already exists"}')
    proxy.reset(lambda method, _path, _position: taken if method == "POST" else None)
    assert "library panel a: POST /api/library-elements: 400: refused: library element with that" in run([panel("a")])["msg"]
    elsewhere = {"uid": "a", "folderUid": ""}
    for answer, message in (({"uid": "z"}, "the server changed 'z' instead"), (elsewhere, "did not put it into folder 'f'")):
        body = json.dumps({"result": answer}).encode()
        proxy.reset(lambda method, _path, _position, body=body: (200, {}, body) if method == "POST" else None)  # type: ignore[misc]
        assert message in run([panel("a")])["msg"]
    (viewer,) = run.tokens("Viewer")
    proxy.reset()
    assert "failed to get folder" in run([panel("a")], as_user={"token": viewer})["msg"]


def test_a_folder_that_does_not_exist_yet(run: ModuleRun) -> None:
    for item in (panel("a", folder="later"), {**panel("a", folder=""), "folder": "Later/Deep"}):
        assert run([item], check=True)["changed"]
        assert "does not exist; grafana_folders makes folders" in run([item])["msg"]
    assert run([panel("a")], check=True, url="http://127.0.0.1:1")["statements"]


WRONG: list[tuple[Result, Result, str]] = [
    (panel("white space"), {}, "uid 'white space' must have 1 to 40 characters"),
    (panel("x" * 41), {}, "must have 1 to 40 characters"),
    (panel("a/../b"), {}, "must have 1 to 40 characters"),
    (panel("first", "Other"), {}, "library_panels[1]: uid is also that of library_panels[0]"),
    (panel("a", " FIRST "), {}, "library_panels[1]: name in the same folder is also that of library_panels[0]"),
    (panel("a", "theirs"), {}, "name 'theirs' is that of 'other' in the same folder, which is not declared"),
    ({**panel("a"), "name": " "}, {}, "name of 'a' must have 1 to 150 characters"),
    (panel("a", "x" * 151), {}, "name of 'a' must have 1 to 150 characters"),
    (panel("a", "two\nlines"), {}, "no control characters"),
    ({"uid": "a", "name": "A"}, {}, "give either model or path"),
    (panel("a", path="/x"), {}, "give either model or path"),
    ({"uid": "a", "name": "A", "path": "/no/such.json"}, {}, "/no/such.json cannot be read: No such file"),
    ({"uid": "a", "name": "A", "path": __file__}, {}, "is not JSON"),
    (panel("a", model={"type": ["stat"]}), {}, "type in the model must be a text"),
    (panel("a", model={"description": 5}), {}, "description in the model must be a text"),
    (panel("a", kind="row"), {}, "value of kind must be one of: panel, variable"),
    (panel("other", kind="variable"), {}, "'other' is a panel on the server, and its kind cannot be changed"),
    (panel("a", folder="no such"), {}, "folder_uid: uid 'no such'"),
    (panel("a", folder="nowhere"), {}, "folder 'nowhere' does not exist"),
    ({**panel("a"), "folder": "Folder"}, {}, "give either folder_uid or folder"),
    (panel("a"), {"purge": ["a b"]}, "purge: uid 'a b'"),
    (panel("a"), {"purge": [""]}, "purge: uid ''"),
]


@pytest.mark.parametrize(("declared", "options", "message"), WRONG, ids=[message[-40:] for _declared, _options, message in WRONG])
def test_wrong_input(proxy: Proxy, run: ModuleRun, declared: Result, options: Result, message: str) -> None:
    run.ask("POST", "/api/library-elements", {"uid": "other", "name": "Theirs", "kind": 1, "folderUid": "f", "model": {}})
    refused = run([panel("first"), declared], **options)
    assert refused["failed"] and message in refused["msg"] and "\n" not in refused["msg"]
    assert places(run) == {"other": "f/Theirs"} and not proxy.writes and not refused.get("changed")


BROKEN: list[Fault] = [
    (500, {}, b'{"message": "Failed"}'),
    (502, {}, b"<html>"),
    (200, {}, b'{"result": []}'),
    (200, {}, b"<html>"),
    CUT,
    DROP,
]


@pytest.mark.parametrize("fault", BROKEN, ids=str)
def test_broken_answers(proxy: Proxy, run: ModuleRun, fault: Fault) -> None:
    """To the list: nothing is written. To the first write: the next run finishes."""
    proxy.reset(lambda _method, path, _position: fault if path.startswith("/api/library-elements?") else None)
    refused = run(ALL)
    assert refused.get("failed") and "\n" not in refused["msg"] and not proxy.writes
    proxy.reset(lambda method, _path, _position: fault if method == "POST" and len(proxy.writes) == 1 else None)
    run(ALL)
    proxy.reset()
    run(ALL)
    assert len(places(run)) == 5 and not run(ALL)["changed"]
