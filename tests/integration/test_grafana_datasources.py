# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module grafana_datasources against the Grafana stand-in: every state, secrets, ways to be interrupted, wrong input."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable
from types import ModuleType

import pytest
from ansible_collections.groundwork.observability.plugins.modules import grafana_datasources

from tests.support.grafana_module import ModuleRun, Result
from tests.support.grafana_proxy import CUT, DROP, FORWARD_AND_DROP, Fault, Proxy

pytestmark = pytest.mark.integration

CLICKHOUSE = "grafana-clickhouse-datasource"
FILE = "datasources: [{name: From file, uid: file, type: prometheus, access: proxy, url: 'http://p'}]"
GRAFANA = {"plugins": {CLICKHOUSE: "4.20.0"}, "files": {"datasources/f.yaml": FILE}}
SECRETS = ("Hunter2-clickhouse", "Hunter2-postgres", "Hunter2-mysql", "Hunter2-changed")


@pytest.fixture
def run(run_in_grafana: Callable[[ModuleType], ModuleRun]) -> ModuleRun:
    made = run_in_grafana(grafana_datasources)
    made.secrets += SECRETS
    return made


def source(uid: str, name: str = "", **more: t.Any) -> Result:
    return {"uid": uid, "name": name or uid.upper(), "type": "prometheus", "url": "http://prometheus:9090", **more}


SERVER = {"host": "ch1", "port": 9440, "protocol": "native", "secure": True, "username": "grafana"}
ALL = [
    source("ch", type=CLICKHOUSE, url="", json_data=SERVER, secure_json_data={"password": SECRETS[0]}, is_default=True),
    source("pg", type="postgres", url="db:5432", user="u", database="shop", secure_json_data={"password": SECRETS[1]}),
    source("my", "Ünï <b>'\"", type="mysql", url="db:3306", user="u", database="b", secure_json_data={"password": SECRETS[2]}),
    source("plain", json_data={"timeInterval": "30s", "deep": {"list": [1, {"a": None}]}}),
]


def names(run: ModuleRun) -> dict[str, str]:
    return {raw["uid"]: raw["name"] for raw in run.ask("GET", "/api/datasources")}


def get(run: ModuleRun, uid: str) -> Result:
    answer: Result = run.ask("GET", f"/api/datasources/uid/{uid}")
    return answer


def changed(position: int, **options: t.Any) -> list[Result]:
    return [{**item, **options} if place == position else item for place, item in enumerate(ALL)]


def stored_secret(run: ModuleRun, uid: str) -> Result:
    """The secrets themselves, which only the stand-in's own file has."""
    state = json.loads((run.server.folder / "data" / "grafana-standin.json").read_text())
    rows = state["tables"]["datasources"]
    found: Result = next(row["secrets"] for row in rows if (row["orgId"], row["uid"]) == (run.org, uid))
    return found


def test_create_again_change_and_check_mode(proxy: Proxy, run: ModuleRun) -> None:
    announced = run(ALL, check=True)
    assert names(run) == {} and not proxy.writes
    done = run(ALL)
    assert done["statements"] == announced["statements"] and done["diff"] == announced["diff"] and len(done["statements"]) == 4
    assert get(run, "pg")["type"] == "grafana-postgresql-datasource" and get(run, "pg")["jsonData"]["database"] == "shop"
    assert get(run, "ch")["isDefault"] and {**get(run, "ch")["jsonData"], "groundworkSecrets": 0} == {**SERVER, "groundworkSecrets": 0}
    assert stored_secret(run, "my") == {"password": SECRETS[2]}
    proxy.reset()
    again = run(ALL)
    assert not again["changed"] and not again["diff"] and [state["status"] for state in again["objects"]] == ["present"] * 4
    assert len(proxy.requests) == 2
    wanted = changed(3, json_data={"timeInterval": "1m"}, name="Renamed", url="http://other")
    announced = run(wanted, check=True)
    assert not proxy.writes
    done = run(wanted)
    assert done["statements"] == announced["statements"] and len(done["statements"]) == 1
    assert '"timeInterval": "30s"' in done["diff"][0]["before"] and '"timeInterval": "1m"' in done["diff"][0]["after"]
    assert get(run, "plain")["jsonData"] == {"timeInterval": "1m"} and get(run, "plain")["name"] == "Renamed"
    assert not run(wanted)["changed"]


def test_changed_secrets_are_found_and_never_shown(run: ModuleRun) -> None:
    run(ALL)
    wanted = changed(0, secure_json_data={"password": SECRETS[3], "tlsCACert": "-----BEGIN"})
    done = run(wanted, check=True)
    assert done["changed"] and stored_secret(run, "ch") == {"password": SECRETS[0]}
    done = run(wanted)
    assert stored_secret(run, "ch") == {"password": SECRETS[3], "tlsCACert": "-----BEGIN"}
    assert '"password": "******** (another value)"' in done["diff"][0]["before"] and "********" in done["statements"][0]
    assert "scrypt" not in json.dumps(done)
    assert not run(wanted)["changed"]
    # One that is no longer declared is removed; none declared leaves all; an empty set removes all.
    run(ALL)
    assert stored_secret(run, "ch") == {"password": SECRETS[0]}
    unmanaged = changed(0, secure_json_data=None)
    assert not run(unmanaged)["changed"]
    assert run(changed(0, secure_json_data=None, url="http://x"))["changed"] and stored_secret(run, "ch") == {"password": SECRETS[0]}
    assert not run(changed(0, url="http://x"))["changed"]
    assert run(changed(0, secure_json_data={}))["changed"] and stored_secret(run, "ch") == {}
    assert not run(changed(0, secure_json_data={}))["changed"]


def test_other_ways_to_update_secrets(run: ModuleRun) -> None:
    made, more = [ALL[0]], [{**ALL[0], "secure_json_data": {"password": SECRETS[3]}}]
    run(made, update_secrets="on_create")
    assert "groundworkSecrets" not in get(run, "ch")["jsonData"]
    assert not run(more, update_secrets="on_create")["changed"] and stored_secret(run, "ch") == {"password": SECRETS[0]}
    for _time in range(2):
        assert run(more, update_secrets="always")["changed"] and stored_secret(run, "ch") == {"password": SECRETS[3]}
    assert "groundworkSecrets" not in get(run, "ch")["jsonData"]
    assert run(more)["changed"] and not run(more)["changed"]


def test_drift_and_deletion(proxy: Proxy, run: ModuleRun) -> None:
    run(ALL)
    by_hand = get(run, "plain")
    run.ask("PUT", "/api/datasources/uid/plain", {**by_hand, "url": "http://by-hand", "isDefault": True})
    run.ask("DELETE", "/api/datasources/uid/my")
    done = run(ALL)
    assert [state["status"] for state in done["objects"]] == ["altered", "present", "created", "altered"]
    assert get(run, "plain")["url"] == "http://prometheus:9090" and get(run, "ch")["isDefault"] and not get(run, "plain")["isDefault"]
    # A secret that was removed by hand is set again as soon as anything else differs.
    run.ask("PUT", "/api/datasources/uid/ch", {**get(run, "ch"), "database": "x", "secureJsonData": {"password": ""}})
    assert run(ALL)["changed"] and stored_secret(run, "ch") == {"password": SECRETS[0]}
    assert not run(ALL)["changed"]
    gone = [{"uid": item["uid"], "state": "absent"} for item in ALL]
    proxy.reset()
    assert run(gone, check=True)["changed"] and not proxy.writes
    assert len(run(gone)["statements"]) == 4 and names(run) == {}
    assert not run(gone)["changed"]


def test_purge(proxy: Proxy, run: ModuleRun) -> None:
    run([*ALL, source("manual-1"), source("manual-2"), source("other")])
    done = run(ALL, purge={"uids": ["manual-*"], "keep": ["*-2"]})
    assert done["statements"] == ["DELETE /api/datasources/uid/manual-1"]
    assert run(ALL, purge={"uids": ["*"]})["changed"] and sorted(names(run)) == ["ch", "my", "pg", "plain"]
    proxy.reset()
    assert not run(ALL, purge={"uids": ["*"]})["changed"] and not proxy.writes


def test_exchanged_names(run: ModuleRun) -> None:
    run([source("a", "A"), source("b", "B"), source("c", "C")])
    wanted = [source("a", "B"), source("b", "C"), source("c", "A")]
    assert len(run(wanted)["statements"]) == 4 and names(run) == {"a": "B", "b": "C", "c": "A"}
    assert run([source("a", "A"), source("b", "b"), {"uid": "c", "state": "absent"}])["changed"]
    assert names(run) == {"a": "A", "b": "b"}


def test_basic_authentication_and_what_stays_as_it_is(run: ModuleRun) -> None:
    wanted = [source("a", basic_auth_user="me", with_credentials=True, secure_json_data={"basicAuthPassword": SECRETS[3]})]
    run(wanted)
    assert get(run, "a")["basicAuth"] and get(run, "a")["basicAuthUser"] == "me" and get(run, "a")["withCredentials"]
    assert not run(wanted)["changed"]
    assert run([{**wanted[0], "basic_auth_user": "you"}])["changed"] and get(run, "a")["basicAuthUser"] == "you"
    run([source("a", basic_auth=True, access="direct")])
    assert get(run, "a")["basicAuthUser"] == "you" and get(run, "a")["withCredentials"] and get(run, "a")["access"] == "direct"


def test_files_own_what_they_provision(proxy: Proxy, run: ModuleRun) -> None:
    run.org = 1
    proxy.reset()
    for declared in (source("file", "From file", url="http://q"), {"uid": "file", "state": "absent"}):
        refused = run([source("new"), declared])
        assert "data source 'file' comes from a provisioning file" in refused["msg"] and not proxy.writes
    assert not run([source("file", "From file", url="http://p")], purge={"uids": ["*"]})["changed"]


def test_a_hundred_data_sources_in_the_same_number_of_requests(proxy: Proxy, run: ModuleRun) -> None:
    many = [source(f"s{number}", json_data={"n": number}) for number in range(100)]
    for item in many:
        run.ask("POST", "/api/datasources", {**item, "access": "proxy", "jsonData": item["json_data"]})
    proxy.reset()
    assert not run(many)["changed"]
    assert len(proxy.requests) == 2
    assert set(proxy.organisations) == {str(run.org)}


def test_killed_after_each_request(run: ModuleRun) -> None:
    """The next run finishes, whatever the last write was."""
    before = [source("a", "A"), source("b", "B"), source("c", "C")]
    secret = {"password": SECRETS[3]}
    after = [source("a", "B", secure_json_data=secret), source("b", "A"), source("d", "D"), {"uid": "c", "state": "absent"}]

    def prepare() -> None:
        for uid in names(run):
            run.ask("DELETE", f"/api/datasources/uid/{uid}")
        for item in before:
            run.ask("POST", "/api/datasources", {**item, "access": "proxy"})

    interrupted = 0
    for _stopped in run.interrupted(prepare, after):
        interrupted += 1
        run(after)
        assert names(run) == {"a": "B", "b": "A", "d": "D"} and stored_secret(run, "a") == secret
        assert not run(after)["changed"]
    assert interrupted == 5


def test_lost_answers_and_concurrent_changes(proxy: Proxy, run: ModuleRun) -> None:
    proxy.reset(lambda method, _path, _position: FORWARD_AND_DROP if method == "POST" and len(proxy.writes) == 1 else None)
    done = run(ALL)
    assert len(done["statements"]) == 4 == len(proxy.writes) and len(names(run)) == 4

    def interfere(method: str, _path: str, _position: int) -> Fault | None:
        if method == "PUT" and len(proxy.writes) == 1:
            run.ask("PUT", "/api/datasources/uid/plain", {**get(run, "plain"), "url": "http://theirs"})
        return None

    proxy.reset(interfere)
    done = run(changed(3, url="http://ours"))
    assert proxy.writes == ["PUT /api/datasources/uid/plain"] * 2 and len(done["statements"]) == 1
    assert get(run, "plain")["url"] == "http://ours"


def test_viewers_and_editors_are_refused(run: ModuleRun) -> None:
    for token in run.tokens("Viewer", "Editor"):
        refused = run([source("a")], as_user={"token": token})
        assert "403: the user or token may not do this" in refused["msg"] and not refused["changed"]
    assert names(run) == {}


WRONG: list[tuple[list[Result], Result, str]] = [
    ([source("white space")], {}, "datasources[1]: uid 'white space' must have 1 to 40 characters"),
    ([source("x" * 41)], {}, "must have 1 to 40 characters"),
    ([source("a", "  ")], {}, "name must have 1 to 190 characters"),
    ([source("a", "x" * 191)], {}, "name must have 1 to 190 characters"),
    ([source("a", "two\nlines")], {}, "no control characters"),
    ([{"uid": "a", "name": "A"}], {}, "type must have 1 to 190 characters"),
    ([{"uid": "a", "type": "mysql"}], {}, "name must have 1 to 190 characters"),
    ([source("a", type="no-such-datasource")], {}, "no plugin for data sources of type 'no-such-datasource' is installed"),
    ([source("a", type="../../x")], {}, "no plugin for data sources of type '../../x' is installed"),
    ([source("a"), source("a", "B")], {}, "datasources[2]: uid is also that of datasources[1]"),
    ([source("a", "N"), source("b", "n")], {}, "datasources[2]: name is also that of datasources[1]"),
    ([source("a", is_default=True), source("b", is_default=True)], {}, "is_default=true is also that of"),
    ([source("a", "Taken")], {}, "name 'Taken' is that of data source 'theirs', which is not declared"),
    ([source("a", url="http://u:hidden@h")], {}, "url contains a password; use secure_json_data"),
    ([source("a", url="http://h:port")], {}, "is not a URL, nor host:port"),
    ([source("a", url="http://two words/")], {}, "is not a URL, nor host:port"),
    ([source("a", access="browser")], {}, "value of access must be one of: proxy, direct"),
    ([source("a", json_data={"groundworkSecrets": 1})], {}, "is where this module keeps its digest"),
    ([source("a", secure_json_data={"password": ""})], {}, "secure_json_data.password must be a text that is not empty"),
    ([source("a", secure_json_data={"password": {"deep": 1}})], {}, "secure_json_data.password must be a text"),
    ([source("a", unknown=1)], {}, "Unsupported parameters"),
    ([source("a")], {"purge": {"keep": ["*"]}}, "missing required arguments: uids"),
    ([source("a")], {"update_secrets": "never"}, "value of update_secrets must be one of"),
]


@pytest.mark.parametrize(("declared", "options", "message"), WRONG, ids=[message[-40:] for _declared, _options, message in WRONG])
def test_wrong_input(proxy: Proxy, run: ModuleRun, declared: list[Result], options: Result, message: str) -> None:
    run.ask("POST", "/api/datasources", {**source("theirs", "Taken"), "access": "proxy"})
    run.ask("POST", "/api/datasources", {**source("first", "FIRST"), "access": "proxy"})
    proxy.reset()
    refused = run([source("first"), *declared], **options)
    assert refused["failed"] and message in refused["msg"] and "\n" not in refused["msg"] and "hidden" not in refused["msg"]
    assert sorted(names(run)) == ["first", "theirs"] and not refused.get("changed")


@pytest.mark.parametrize(
    "fault", [(500, {}, b'{"message": "Failed"}'), (502, {}, b"<html>"), (200, {}, b"<html>"), (302, {}, b""), CUT, DROP], ids=str
)
def test_broken_answers(proxy: Proxy, run: ModuleRun, fault: Fault) -> None:
    """To the list: nothing is written. To the first write: the next run finishes."""
    some = [source("a"), source("b")]
    proxy.reset(lambda _method, path, _position: fault if path == "/api/datasources" else None)
    refused = run(some)
    assert refused["failed"] and "\n" not in refused["msg"] and not proxy.writes
    proxy.reset(lambda method, _path, _position: fault if method == "POST" and len(proxy.writes) == 1 else None)
    run(some)
    proxy.reset()
    run(some)
    assert len(names(run)) == 2 and not run(some)["changed"]
