# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module grafana_folders against the Grafana stand-in: every state, every way to be interrupted, every wrong input."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
import typing as t
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._grafana import client as grafana_client
from ansible_collections.groundwork.observability.plugins.module_utils._grafana import execution, folders, planning
from ansible_collections.groundwork.observability.plugins.modules import grafana_folders

from tests.support.grafana_module import ADMIN, PASSWORD, ModuleRun, Result
from tests.support.grafana_proxy import CUT, DROP, FORWARD_AND_DROP, WRITES, Fault, Listener, Proxy
from tests.support.pki import Pki

pytestmark = pytest.mark.integration


@pytest.fixture
def run(run_in_grafana: Callable[[ModuleType], ModuleRun]) -> ModuleRun:
    return run_in_grafana(grafana_folders)


def tree(run: ModuleRun) -> dict[str, str]:
    """Every folder of the organisation: parent and title."""
    hits = run.ask("GET", "/api/search?type=dash-folder")
    return {hit["uid"]: f"{hit.get('folderUid', '')}/{hit['title']}" for hit in hits}


def folder(uid: str, title: str = "", parent: str = "", **more: str) -> dict[str, str]:
    return {"uid": uid, "title": title or uid.upper(), "parent_uid": parent, **more}


TREE = [folder("c", parent="b"), folder("b", parent="a"), folder("a"), folder("d", "Ünïcode / <b>'\"{{ x }}")]


def test_create_again_change_and_check_mode(proxy: Proxy, run: ModuleRun) -> None:
    announced = run(TREE, check=True)
    assert tree(run) == {} and not proxy.writes
    done = run(TREE)
    assert done["statements"] == announced["statements"] and done["diff"] == announced["diff"] and len(done["statements"]) == 4
    assert tree(run) == {"a": "/A", "b": "a/B", "c": "b/C", "d": f"/{TREE[3]['title']}"}
    proxy.reset()
    again = run(TREE)
    assert not again["changed"] and not again["diff"] and [state["status"] for state in again["objects"]] == ["present"] * 4
    assert len(proxy.requests) == 2 and not proxy.writes
    changed = [folder("a"), folder("b", "Renamed"), folder("c", parent="a"), folder("d", state="absent")]
    announced = run(changed, check=True)
    assert not proxy.writes
    done = run(changed)
    assert done["statements"] == announced["statements"] and done["changed"]
    assert tree(run) == {"a": "/A", "b": "/Renamed", "c": "a/C"}
    assert {entry["before_header"] for entry in done["diff"]} == {"folder b", "folder c", "folder d"}
    assert '"title": "B"' in done["diff"][0]["before"] and '"title": "Renamed"' in done["diff"][0]["after"]
    assert not run(changed)["changed"]


def test_drift_and_deletion(proxy: Proxy, run: ModuleRun) -> None:
    run(TREE)
    version = run.ask("GET", "/api/folders/c")["version"]
    run.ask("PUT", "/api/folders/c", {"title": "By hand", "version": version})
    run.ask("POST", "/api/folders/b/move", {"parentUid": ""})
    run.ask("DELETE", "/api/folders/d")
    assert run(TREE)["changed"]
    assert tree(run)["c"] == "b/C" and tree(run)["b"] == "a/B" and "d" in tree(run)
    gone = [folder(uid, state="absent") for uid in "abcd"]
    assert run(gone)["statements"] == [f"DELETE /api/folders/{uid}" for uid in ("c", "b", "a", "d")]
    assert not run(gone)["changed"]


def test_exchanged_titles_and_places(run: ModuleRun) -> None:
    run([folder("a"), folder("b"), folder("c", "X", "a"), folder("d", "X", "b")])
    wanted = [folder("a", "B", "b"), folder("b", "A"), folder("c", "X", "b"), folder("d", "X", "a")]
    assert run(wanted)["changed"]
    assert tree(run) == {"a": "b/B", "b": "/A", "c": "b/X", "d": "a/X"}
    upside_down = [folder("b", "B", "a"), folder("a", "a"), folder("c", "Y", "a"), folder("d", "x", "a")]
    run(upside_down)
    assert tree(run) == {"b": "a/B", "a": "/a", "c": "a/Y", "d": "a/x"}
    assert not run(upside_down)["changed"]


def test_purge_and_content(proxy: Proxy, run: ModuleRun) -> None:
    run([*TREE, folder("kept", parent="d")])
    assert run([folder("a")], purge=["a"])["statements"] == ["DELETE /api/folders/c", "DELETE /api/folders/b"]
    assert sorted(tree(run)) == ["a", "d", "kept"]
    run(TREE)
    run.ask("POST", "/api/dashboards/db", {"dashboard": {"title": "In use", "uid": "x"}, "folderUid": "c"})
    proxy.reset()
    for wanted, purge in (([folder("a")], ["a"]), ([folder("c", state="absent")], []), ([folder("a", state="absent")], [])):
        for check in (True, False):
            refused = run(wanted, purge=purge, check=check)
            assert refused["failed"] and "allow: [delete_content]" in refused["msg"] and not proxy.writes
    assert "dashboard 'In use'" in run([folder("a")], purge=["a"])["msg"]
    assert "folder 'b'" in run([folder("a", state="absent")])["msg"]
    done = run([folder("a", state="absent")], allow=["delete_content"])
    assert [state["name"] for state in done["objects"]] == ["a", "b", "c"] and sorted(tree(run)) == ["d", "kept"]
    assert "lost: dashboard 'In use'" in json.dumps(done["diff"])


def rule(folder_uid: str) -> Result:
    model = {"type": "math", "expression": "1"}
    query = {"refId": "A", "datasourceUid": "__expr__", "relativeTimeRange": {"from": 60, "to": 0}, "model": model}
    more = {"for": "1m", "noDataState": "OK", "execErrState": "OK", "orgID": 1}
    return {"title": "Rule", "uid": "r", "ruleGroup": "g", "folderUID": folder_uid, "condition": "A", "data": [query], **more}


def test_folder_with_alert_rules_is_kept(proxy: Proxy, run: ModuleRun) -> None:
    run([folder("a")])
    run.ask("POST", "/api/v1/provisioning/alert-rules", rule("a"))
    gone = [folder("a", state="absent")]
    proxy.reset()
    assert "alert rule 'Rule'" in run(gone)["msg"] and not proxy.writes
    # One who may not see rules: the server refuses.
    proxy.reset(lambda _method, path, _n: (403, {}, b'{"message": "no"}') if "alert-rules" in path else None)
    assert "contains alert rules" in run(gone)["msg"] and "a" in tree(run)
    proxy.reset()
    assert run(gone, allow=["delete_content"])["changed"] and tree(run) == {}


def test_a_hundred_folders_in_the_same_number_of_requests(proxy: Proxy, run: ModuleRun, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [folder(f"f{number}", parent=f"f{number // 3}" if number > 2 else "") for number in range(1, 101)]
    for item in many:
        run.ask("POST", "/api/folders", {"uid": item["uid"], "title": item["title"], "parentUid": item["parent_uid"]})
    proxy.reset()
    assert not run(many)["changed"]
    assert len(proxy.requests) == 2
    monkeypatch.setattr(grafana_client, "PAGE", 30)
    assert not run(many)["changed"]
    assert len(proxy.requests) == 2 + 1 + 4


def test_killed_after_each_request(run: ModuleRun) -> None:
    """The next run finishes, whatever the last write was."""
    before = [folder("a"), folder("b"), folder("c", parent="a"), folder("e", parent="a")]
    after = [folder("a", "B"), folder("b", "A", "a"), folder("c", "c2", "b"), folder("d", parent="c"), folder("e", state="absent")]

    def prepare() -> None:
        for uid in [uid for uid, place in tree(run).items() if place.startswith("/")]:
            run.ask("DELETE", f"/api/folders/{uid}")
        for item in before:
            run.ask("POST", "/api/folders", {"uid": item["uid"], "title": item["title"], "parentUid": item["parent_uid"]})

    interrupted = 0
    for _stopped in run.interrupted(prepare, after):
        interrupted += 1
        run(after)
        assert tree(run) == {"a": "/B", "b": "a/A", "c": "b/c2", "d": "c/D"}
        assert not run(after)["changed"]
    assert interrupted == 7


def test_lost_answer_is_looked_up(proxy: Proxy, run: ModuleRun) -> None:
    """The answer to each write is lost once: the module reads again, and reports each request once."""
    lost: set[str] = set()

    def lose_once(method: str, path: str, _position: int) -> Fault | None:
        key = f"{method} {path} {len(lost)}"
        if method in WRITES and key not in lost and len(lost) < 3:
            lost.add(key)
            return FORWARD_AND_DROP
        return None

    proxy.reset(lose_once)
    done = run(TREE, retries=2)
    assert len(lost) == 3 and len(done["statements"]) == 4 == len(set(done["statements"])) == len(proxy.writes)
    assert len(tree(run)) == 4


def test_retries_are_made_only_where_they_are_safe(proxy: Proxy, run: ModuleRun) -> None:
    answers: dict[str, Fault] = {"GET": (503, {}, b"<html>"), "POST": (429, {"Retry-After": "0"}, b"{}")}
    proxy.reset(lambda method, _path, _position: answers.pop(method, None))
    assert run([folder("a")], retries=1)["changed"]
    assert proxy.writes == ["POST /api/folders"] * 2
    proxy.reset(lambda method, _path, _position: (500, {}, b'{"message": "boom"}') if method == "POST" else None)
    assert "500: refused: boom" in run([folder("b")], retries=3)["msg"]
    assert len(proxy.writes) == 1


def test_changed_by_somebody_else_meanwhile(proxy: Proxy, run: ModuleRun) -> None:
    run([folder("a")])

    def interfere(method: str, _path: str, _position: int) -> Fault | None:
        if method == "PUT" and len(proxy.writes) == 1:
            run.ask("PUT", "/api/folders/a", {"title": "Theirs", "overwrite": True})
        return None

    proxy.reset(interfere)
    done = run([folder("a", "Ours")])
    assert proxy.writes == ["PUT /api/folders/a"] * 2 and len(done["statements"]) == 1
    assert tree(run) == {"a": "/Ours"}


def test_two_organisations_at_once(run: ModuleRun) -> None:
    """Two runs of one user, each request by turns: nothing lands in the other's organisation, and the user's own stays."""
    other = run.server.send("POST", "/api/orgs", {"name": "other"}, auth=ADMIN)[1]["orgId"]
    options = {"client_cert": None, "client_key": None, "ca_path": None, "validate_certs": True, "use_proxy": False, "http_agent": "t"}
    login = {"url": run.server.url, "url_username": "admin", "url_password": PASSWORD, "token": None}
    more = {**login, "timeout": 9, "retries": 0, "org_name": None}
    both = threading.Barrier(2)
    current = run.server.send("GET", "/api/user", auth=ADMIN)[1]["orgId"]

    class Alternating(grafana_client.Client):
        def send(self, *request: t.Any) -> t.Any:
            both.wait(timeout=20)
            return super().send(*request)

    def converge(org: int, prefix: str) -> None:
        params: Result = {**options, **more, "org_id": org, "purge": [], "allow": [], "folders": []}
        params["folders"] = [{**folder(f"same{n}", f"{prefix}{n}"), "state": "present"} for n in range(4)]
        client, want = Alternating(grafana_client.Connection.from_params(params)), folders.declare(params)
        client.enter_organisation()
        plan = planning.make_plan(folders.FOLDERS, want, folders.observe(client, want, params))
        execution.execute(client, folders.FOLDERS, plan, lambda: plan)

    runs = [threading.Thread(target=converge, args=arguments) for arguments in ((run.org, "x"), (other, "y"))]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join(timeout=60)
    assert tree(run) == {f"same{n}": f"/x{n}" for n in range(4)}
    titles = run.server.send("GET", "/api/search?type=dash-folder", auth=ADMIN, headers={"X-Grafana-Org-Id": str(other)})[1]
    assert sorted(hit["title"] for hit in titles) == [f"y{n}" for n in range(4)]
    assert run.server.send("GET", "/api/user", auth=ADMIN)[1]["orgId"] == current
    run.server.send("DELETE", f"/api/orgs/{other}", auth=ADMIN)


def test_tokens_and_organisations(run: ModuleRun) -> None:
    viewer, editor = run.tokens("Viewer", "Editor")
    org = run.org
    assert run([folder("a")], as_user={"token": editor, "org_id": org})["changed"]
    assert not run([folder("a")], as_user={"token": editor, "org_name": "test"})["changed"]
    login = {"url_username": "admin", "url_password": PASSWORD}
    assert not run([folder("a")], as_user={**login, "org_name": "test"})["changed"]
    refused = run([folder("b")], as_user={"token": viewer})
    assert "403: the user or token may not do this: You'll need additional permissions" in refused["msg"] and not refused["changed"]
    users: list[tuple[Result, str]] = [
        ({"token": editor, "org_id": 1}, f"org_id: 1: the credentials are of organisation {org} (test)"),
        ({"token": editor, "org_name": "Main Org."}, "org_name: 'Main Org.': the credentials are of organisation"),
        ({**login, "org_id": 9999}, "org"),
        ({**login, "org_name": "nobody's"}, "org_name: the user is not a member of an organisation"),
        ({"token": "expired"}, "401: the user or token is not accepted"),
        ({"token": "with space"}, "token: it contains a character that no token has"),
        ({"url_username": "admin", "url_password": "wrong"}, "401: the user or token is not accepted"),
        ({}, "one of the following is required: token, url_username, client_cert"),
    ]
    for user, expected in users:
        assert expected in run([folder("c")], as_user=user)["msg"]
    assert sorted(tree(run)) == ["a"]


WRONG = [
    ([folder("white space")], {}, "folders[0]: uid 'white space' must have 1 to 40 characters"),
    ([folder("x" * 41)], {}, "must have 1 to 40 characters"),
    ([folder("a/../b")], {}, "must have 1 to 40 characters"),
    ([folder("")], {}, "must have 1 to 40 characters"),
    ([folder("general")], {}, "is not that of a folder"),
    ([{"uid": "a"}], {}, "folders[0]: title of folder 'a' is missing or empty"),
    ([folder("a", "   ")], {}, "missing or empty"),
    ([folder("a", "two\nlines")], {}, "no control characters"),
    ([folder("a", "x" * 190)], {}, "at most 189 characters"),
    ([folder("a", "General")], {}, "is Grafana's own at the root"),
    ([folder("a"), folder("a", "B")], {}, "folders[1]: uid is also that of folders[0]"),
    ([folder("a", "T"), folder("b", "t ")], {}, "folders[1]: title below the same parent is also that of folders[0]"),
    ([folder("a", parent="a")], {}, "in a circle: a -> a"),
    ([folder("a", parent="b"), folder("b", parent="c"), folder("c", parent="a")], {}, "in a circle: a -> b -> c -> a"),
    ([folder("a", parent="nowhere")], {}, "parent_uid 'nowhere' is neither declared nor a folder"),
    ([folder("a", parent="no where")], {}, "parent_uid: uid 'no where'"),
    ([folder("a", parent="b"), folder("b", state="absent")], {}, "parent_uid 'b' is declared absent"),
    ([folder("a", "Taken")], {}, "title 'Taken' is that of folder 'theirs', which is not declared"),
    ([folder("theirs", "Taken", "below")], {}, "would be below itself"),
    ([folder("a")], {"purge": ["b"]}, "purge: 'b' is not the uid of a folder that is declared present"),
    ([folder("a")], {"purge": [""]}, "purge: ''"),
    ([folder("a")], {"timeout": 0}, "timeout: 0 is less than 1"),
    ([folder("a")], {"retries": -1}, "retries: -1 is less than 0"),
    ([folder("a")], {"url": "grafana:3000"}, "is not that of a Grafana"),
    ([folder("a")], {"url": "http://me:hidden@h"}, "url: it contains a user or password"),
    ([folder("a")], {"url": "http://[::1"}, "url: it is not a URL"),
    ([folder("a")], {"url": "http://127.0.0.1:1"}, "http://127.0.0.1:1 cannot be reached: Connection refused"),
    ([folder("a")], {"url": "https://127.0.0.1:1", "ca_path": "/no/such"}, "/no/such"),
    ([folder("a")], {"org_name": "test"}, "mutually exclusive"),
    ([folder("a")], {"token": "abcdefgh"}, "mutually exclusive"),
]


@pytest.mark.parametrize(("declared", "options", "message"), WRONG, ids=[message[:40] for _declared, _options, message in WRONG])
def test_wrong_input(proxy: Proxy, run: ModuleRun, declared: t.Any, options: Result, message: str) -> None:
    run.ask("POST", "/api/folders", {"uid": "theirs", "title": "Taken"})
    run.ask("POST", "/api/folders", {"uid": "below", "title": "Below", "parentUid": "theirs"})
    proxy.reset()
    refused = run([folder("first"), *declared] if "folders[" not in message else declared, **options)
    assert refused["failed"] and message in refused["msg"] and "\n" not in refused["msg"] and "hidden" not in refused["msg"]
    assert not proxy.writes and not refused.get("changed")


HTML = b"<!doctype html><title>Log in</title>"
BROKEN: list[tuple[Fault, str]] = [
    ((500, {}, b'{"message": "Internal Server Error"}'), "500: refused: Internal Server Error"),
    ((500, {}, HTML), "500: refused"),
    ((502, {}, HTML), "502: Grafana did not answer a proxy before it"),
    ((429, {}, b"{}"), "429: too many requests"),
    ((200, {"Content-Type": "text/html"}, HTML), "the answer is a page (HTML): url is not that of Grafana"),
    ((200, {}, b'{"half": '), "the answer is not JSON"),
    ((200, {}, b'{"no": "list"}'), "the answer is no list"),
    ((302, {"Location": "https://u:p@sso.example.com/login?to=secret"}, b""), "redirected to 'https://sso.example.com/login'"),
    ((404, {}, HTML), "404, and not JSON: url is not that of Grafana"),
    ((404, {}, b'{"message": "Not found"}'), "404: refused: Not found"),
    (CUT, "the answer broke off"),
    (DROP, "Remote end closed connection without response"),
]


@pytest.mark.parametrize(("fault", "message"), BROKEN, ids=[message[:30] for _fault, message in BROKEN])
def test_broken_answers(proxy: Proxy, run: ModuleRun, fault: Fault, message: str) -> None:
    """The same answer to the list, and then only to the first write."""
    proxy.reset(lambda _method, path, _position: fault if "search" in path else None)
    refused = run([folder("a")])
    assert refused["failed"] and message in refused["msg"] and "\n" not in refused["msg"] and "secret" not in refused["msg"]
    assert not proxy.writes and not refused.get("changed")
    proxy.reset(lambda method, _path, _position: fault if method == "POST" and len(proxy.writes) == 1 else None)
    run([folder("a"), folder("b", parent="a")])
    proxy.reset()
    run([folder("a"), folder("b", parent="a")])
    assert tree(run) == {"a": "/A", "b": "a/B"}


def test_slow_server(proxy: Proxy, run: ModuleRun) -> None:
    wake = threading.Event()
    proxy.reset(lambda _method, path, _position: DROP if "search" in path and not wake.wait(5) else None)
    refused = run([folder("a")], timeout=1)
    wake.set()
    assert "no answer within 1 s (timeout)" in refused["msg"]


def test_tls(run: ModuleRun, tmp_path: Path) -> None:
    """The authority of ca_path is trusted, no other; a client certificate is sent; what speaks no TLS is told apart."""
    pki = Pki(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki.ca))
    context.load_cert_chain(pki.certificate, pki.key)
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.connection.getpeercert())
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, format: str, *args: t.Any) -> None:
            """Quiet."""

    context.verify_mode = ssl.CERT_OPTIONAL
    with Listener(("127.0.0.1", 0), Handler) as listener:
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
        threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        url = f"https://localhost:{listener.server_address[1]}"
        trusted: Result = {"url": url, "ca_path": str(pki.ca)}
        gone = [folder("a", state="absent")]
        assert run(gone, as_user={"token": "abcdefgh"}, **trusted)["changed"] is False
        assert seen and not any(seen)
        certificate: Result = {"client_cert": str(pki.certificate), "client_key": str(pki.key)}
        assert run(gone, as_user=certificate, **trusted)["changed"] is False
        assert seen[-1]
        count = len(seen)
        for retries in (0, 3):
            assert "its certificate is not accepted" in run(gone, url=url, retries=retries)["msg"]
        assert len(seen) == count
        listener.shutdown()
    plain: Result = {"url": run.proxy.url.replace("http:", "https:"), "ca_path": str(pki.ca)}
    assert "TLS failed" in run(gone, **plain)["msg"]


def test_check_mode_without_a_server(run: ModuleRun) -> None:
    planned = run(TREE, check=True, url="http://127.0.0.1:1")
    assert planned["changed"] and len(planned["statements"]) == 4
    assert [text for text in planned["warnings"] if "planned as for an empty server" in text]


def test_grafana_without_nested_folders(proxy: Proxy, run: ModuleRun) -> None:
    flat = b'{"uid": "b", "title": "B", "version": 1}'
    proxy.reset(lambda method, _path, _position: (200, {}, flat) if method == "POST" and len(proxy.writes) == 2 else None)
    assert "this Grafana does not nest folders" in run([folder("a"), folder("b", parent="a")])["msg"]
