# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module grafana_silences against the Grafana stand-in: every state, times, ways to be interrupted, wrong input."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._grafana import silences
from ansible_collections.groundwork.observability.plugins.modules import grafana_silences

from tests.support.grafana_module import ModuleRun, Result
from tests.support.grafana_proxy import CUT, DROP, FORWARD_AND_DROP, Fault, Proxy

pytestmark = pytest.mark.integration

PATH = "/api/alertmanager/grafana/api/v2/silences"
START, END, LATER = "2030-01-31T08:00:00Z", "2030-01-31T20:00:00Z", "2030-02-01T00:00:00Z"
HOUR = timedelta(hours=1)


@pytest.fixture
def run(run_in_grafana: Callable[[ModuleType], ModuleRun]) -> ModuleRun:
    return run_in_grafana(grafana_silences)


def silence(name: str | None, value: str = "x", **more: Any) -> Result:
    options = {"name": name, "comment": "Why: <b>'\"", "matchers": [{"name": "team", "value": value}], "duration": "2h"}
    return {key: option for key, option in {**options, **more}.items() if option is not None}


def window(name: str | None, start: str = START, end: str = END, **more: Any) -> Result:
    return silence(name, duration=None, starts_at=start, ends_at=end, **more)


def gone(name: str) -> Result:
    return {"name": name, "state": "absent"}


ALL = [silence("a"), silence("b", "y"), window("c"), window(None, comment="By its comment")]


def held(run: ModuleRun) -> list[Result]:
    """The silences that are not over, in the order of their comments."""
    found = [item for item in run.ask("GET", PATH) if item["status"]["state"] != "expired"]
    return sorted(found, key=lambda item: str(item["comment"]))


def names(run: ModuleRun) -> list[str]:
    return [silences._split(item["comment"])[1] or item["comment"] for item in held(run)]


def only(run: ModuleRun) -> Result:
    (found,) = held(run)
    return found


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def post(run: ModuleRun, item: Result, **changed: Any) -> None:
    kept = {key: item[key] for key in ("id", "comment", "createdBy", "matchers", "startsAt", "endsAt") if key in item}
    run.ask("POST", PATH, {**kept, **changed})


def test_create_again_change_and_check_mode(proxy: Proxy, run: ModuleRun) -> None:
    announced = run(ALL, check=True)
    assert held(run) == [] and not proxy.writes
    done = run(ALL)
    assert done["statements"] == announced["statements"] and done["diff"] == announced["diff"] and len(done["statements"]) == 4
    assert '"endsAt": "now + 2h"' in done["statements"][0] and '"startsAt": "now"' in done["statements"][0]
    assert names(run) == ["By its comment", "a", "b", "c"]
    by_comment, first, _second, third = held(run)
    assert instant(first["endsAt"]) - instant(first["startsAt"]) <= 2 * HOUR and first["createdBy"] == "Ansible"
    assert third["startsAt"] == "2030-01-31T08:00:00.000Z" and third["status"]["state"] == "pending"
    assert third["comment"] == "Why: <b>'\" [ansible:c]" and by_comment["comment"] == "By its comment"
    proxy.reset()
    again = run(ALL)
    assert not again["changed"] and not again["diff"] and not proxy.writes and len(proxy.requests) == 2
    wanted = [silence("a", duration="4h"), gone("b"), window("c", end=LATER, created_by="me"), window(None, comment="By its comment")]
    announced = run(wanted, check=True)
    assert not proxy.writes
    done = run(wanted)
    assert done["statements"] == announced["statements"] and done["diff"] == announced["diff"] and len(done["statements"]) == 3
    assert names(run) == ["By its comment", "a", "c"]
    _comment, extended, moved = held(run)
    assert extended["id"] == first["id"] and extended["startsAt"] == first["startsAt"]
    assert instant(extended["endsAt"]) - instant(extended["startsAt"]) == 4 * HOUR
    assert moved["id"] == third["id"] and moved["endsAt"] == "2030-02-01T00:00:00.000Z" and moved["createdBy"] == "me"
    assert not run(wanted)["changed"]


def test_spellings_of_the_same_are_no_difference(proxy: Proxy, run: ModuleRun) -> None:
    matchers = [{"name": "b", "value": "1|2", "is_regex": True}, {"name": "a", "value": "ü", "is_equal": False}]
    run([silence("a", duration="90m", matchers=matchers), window("w")])
    proxy.reset()
    again = [
        silence("a", duration="1h30m", comment=" Why: <b>'\" ", matchers=matchers[::-1]),
        window("w", "2030-01-31T10:00:00+02:00", "2030-01-31 20:00:00.000000+00:00"),
    ]
    assert not run(again)["changed"] and not proxy.writes


def test_silence_is_not_extended_within_its_window_and_made_again_after_it(run: ModuleRun) -> None:
    run([silence("a", created_by="me")])
    before = only(run)
    assert not run([silence("a")])["changed"] and only(run) == before
    run.ask("DELETE", f"{PATH[:-1]}/{before['id']}")
    assert held(run) == [] and run([silence("a")])["changed"]
    assert only(run)["id"] != before["id"]


def test_begun_and_ended_windows(proxy: Proxy, run: ModuleRun) -> None:
    """A start that is over is no difference; a window that is over makes no silence, and ends one that holds."""
    now = datetime.now(UTC)
    past, future = (now - HOUR).isoformat(), (now + HOUR).isoformat()
    for item in (window("a", past, future), silence("a", starts_at=past)):
        assert run([item])["changed"] == (item.get("duration") is None)
        begun = only(run)
        assert abs(instant(begun["endsAt"]) - (now + HOUR)) < timedelta(seconds=1)
        assert not run([item])["changed"] and only(run) == begun
    postponed = window("a", START, END)
    assert run([postponed])["changed"] and only(run)["startsAt"] == "2030-01-31T08:00:00.000Z" and not run([postponed])["changed"]
    over = window("a", (now - 2 * HOUR).isoformat(), past)
    ended = run([over])
    assert ended["changed"] and held(run) == [] and "silences[0]: the silence a ended at" in ended["warnings"][0]
    proxy.reset()
    again = run([over, silence("b", starts_at=(now - 3 * HOUR).isoformat())])
    assert not again["changed"] and len(again["warnings"]) == 2 and not proxy.writes


def test_changed_matchers_end_one_silence_and_make_another(run: ModuleRun) -> None:
    run([silence("a")])
    before = only(run)
    assert len(run([silence("a", "y")])["statements"]) == 1
    assert only(run)["id"] != before["id"] and only(run)["matchers"][0]["value"] == "y" and not run([silence("a", "y")])["changed"]


def test_drift_and_copies(run: ModuleRun) -> None:
    run(ALL)
    by_comment, first, second, third = held(run)
    post(run, first, endsAt=END)
    post(run, third, startsAt="2030-01-31T09:00:00Z", comment="Other text [ansible:c]")
    post(run, second, id=None, endsAt=LATER)
    run.ask("DELETE", f"{PATH[:-1]}/{by_comment['id']}")
    done = run(ALL)
    assert len(done["statements"]) == 5 and '"copies": 2' in done["diff"][1]["before"]
    assert names(run) == ["By its comment", "a", "b", "c"] and not run(ALL)["changed"]
    assert held(run)[3]["startsAt"] == "2030-01-31T08:00:00.000Z"
    post(run, held(run)[2], id=None)
    assert run([gone("b")])["changed"] and names(run) == ["By its comment", "a", "c"]


def test_absent_and_purge(proxy: Proxy, run: ModuleRun) -> None:
    """What others made is not purged, though its comment looks alike."""
    run([*ALL, silence("team-x"), silence("team-keep")])
    post(run, held(run)[0], id=None, comment="team-y: by hand")
    purge: Result = {"names": ["team-*", "c"], "keep": ["*-keep"]}
    assert not run([ALL[2], silence("team-x")], purge=purge)["changed"]
    announced = run(ALL[:2], purge=purge, check=True)
    assert len(run(ALL[:2], purge=purge)["statements"]) == 2 == len(announced["statements"])
    assert names(run) == ["By its comment", "a", "b", "team-keep", "team-y: by hand"]
    proxy.reset()
    assert not run(ALL[:2], purge=purge)["changed"] and not proxy.writes
    deleted = [gone("a"), gone("b"), window(None, comment="By its comment", state="absent"), gone("nobody")]
    assert len(run(deleted)["statements"]) == 3
    assert names(run) == ["team-keep", "team-y: by hand"] and not run(deleted)["changed"]


@pytest.mark.parametrize(("seconds", "changed"), [(50, False), (-50, False), (70, True)])
def test_clocks_of_the_server_and_of_the_module_differ(proxy: Proxy, run: ModuleRun, seconds: int, changed: bool) -> None:
    run([silence("a")])
    stored = only(run)
    shifted = {**stored, "startsAt": (instant(stored["startsAt"]) + timedelta(seconds=seconds)).isoformat()}
    body = json.dumps([shifted]).encode()
    proxy.reset(lambda method, path, _position: (200, {}, body) if method == "GET" and path == PATH else None)
    assert run([silence("a")], check=True)["changed"] == changed


def test_duration_that_is_over(proxy: Proxy, run: ModuleRun) -> None:
    """A silence that has held for longer than its new duration: ending it would make a new one in the next run."""
    run([silence("a", duration="4h")])
    early = {**only(run), "startsAt": (datetime.now(UTC) - 3 * HOUR).isoformat().replace("+00:00", "Z")}
    body = json.dumps([early]).encode()
    proxy.reset(lambda method, path, _position: (200, {}, body) if method == "GET" and path == PATH else None)
    refused = run([silence("a", duration="1h")])
    assert "and would have ended by now with duration 1h: set state: absent" in refused["msg"] and not proxy.writes


def test_killed_after_each_request(run: ModuleRun) -> None:
    """The next run finishes, whatever the last write was."""
    before = [silence("a"), silence("b"), silence("c")]
    after = [silence("a", "y"), silence("b", duration="3h"), gone("c"), silence("d")]

    def prepare() -> None:
        for item in held(run):
            run.ask("DELETE", f"{PATH[:-1]}/{item['id']}")
        run(before)

    interrupted = 0
    for _stopped in run.interrupted(prepare, after):
        interrupted += 1
        run(after)
        assert names(run) == ["a", "b", "d"] and not run(after)["changed"]
    assert interrupted == 4


def test_lost_answers_and_concurrent_changes(proxy: Proxy, run: ModuleRun) -> None:
    proxy.reset(lambda method, _path, _position: FORWARD_AND_DROP if method == "POST" and len(proxy.writes) == 1 else None)
    done = run(ALL)
    assert len(done["statements"]) == 4 == len(proxy.writes) and len(held(run)) == 4

    def interfere(method: str, _path: str, _position: int) -> Fault | None:
        if method == "POST" and len(proxy.writes) == 1:
            return (404, {}, b'{"message": "silence not found"}')
        return None

    proxy.reset(interfere)
    assert len(run([silence("a", duration="3h")])["statements"]) == 1 and len(proxy.writes) == 2


def test_viewer(run: ModuleRun) -> None:
    (viewer,) = run.tokens("Viewer")
    assert "403: the user or token may not do this" in run([silence("a")], as_user={"token": viewer})["msg"]
    assert run([silence("a")], check=True, url="http://127.0.0.1:1")["statements"]


WRONG: list[tuple[Result, Result, str]] = [
    (silence("white space"), {}, "silences[1]: name 'white space' must have 1 to 64 characters"),
    (silence("x" * 65), {}, "must have 1 to 64 characters"),
    (silence("first"), {}, "silences[1]: its name, or without one its comment and matchers, is also that of silences[0]"),
    (silence(None, comment=""), {}, "give a name, or a comment"),
    (silence("a", comment="Text [ansible:b]"), {}, "comment ends as if it had a name"),
    (silence("a", matchers=[]), {}, "matchers must have at least one with a value"),
    (silence("a", matchers=None), {}, "matchers must have at least one with a value"),
    (silence("a", ""), {}, "matchers must have at least one with a value"),
    (silence("a", matchers=[{"name": "", "value": "x"}]), {}, "matchers[0]: name must not be empty"),
    (silence("a", matchers=[{"name": "t", "value": "x"}] * 2), {}, "matchers[1] is there twice"),
    (silence("a", matchers=[{"name": "t"}]), {}, "missing required arguments: value"),
    (silence("a", duration=None), {}, "give either ends_at or duration"),
    (silence("a", ends_at=END), {}, "give either ends_at or duration"),
    (silence("a", duration="2 hours"), {}, "duration '2 hours' is not one such as 90m"),
    (silence("a", duration="-2h"), {}, "duration '-2h' is not one such as 90m"),
    (silence("a", duration="0s"), {}, "duration '0s' must be more than 0s and at most 3650d"),
    (silence("a", duration="999999w"), {}, "must be more than 0s and at most 3650d"),
    (window("a", "tomorrow"), {}, "starts_at: 'tomorrow' is not a time such as"),
    (window("a", "2030-01-31T08:00:00"), {}, "'2030-01-31T08:00:00' has no time zone"),
    (window("a", "2030-02-30T08:00:00Z"), {}, "is not a time such as"),
    (window("a", "0001-01-01T00:00:00+14:00"), {}, "is not between the years 1971 and 2999"),
    (window("a", END, START), {}, f"ends_at '{START}' is not after starts_at"),
    (silence("a", state="expired"), {}, "value of state must be one of: present, absent"),
    (silence("a"), {"purge": {"keep": ["x"]}}, "missing required arguments: names"),
]


@pytest.mark.parametrize(("declared", "options", "message"), WRONG, ids=[message[-40:] for _declared, _options, message in WRONG])
def test_wrong_input(proxy: Proxy, run: ModuleRun, declared: Result, options: Result, message: str) -> None:
    refused = run([silence("first"), declared], **options)
    assert refused["failed"] and message in refused["msg"] and "\n" not in refused["msg"]
    assert held(run) == [] and not proxy.writes and not refused.get("changed")


BROKEN: list[Fault] = [(500, {}, b'{"message": "Failed"}'), (502, {}, b"<html>"), (200, {}, b"{}"), (200, {}, b"<html>"), CUT, DROP]


@pytest.mark.parametrize("fault", BROKEN, ids=str)
def test_broken_answers(proxy: Proxy, run: ModuleRun, fault: Fault) -> None:
    """To the list: nothing is written. To the first write: the next run finishes, without a second silence."""
    proxy.reset(lambda method, path, _position: fault if method == "GET" and path == PATH else None)
    refused = run(ALL)
    assert refused.get("failed") and "\n" not in refused["msg"] and not proxy.writes
    proxy.reset(lambda method, _path, _position: fault if method == "POST" and len(proxy.writes) == 1 else None)
    run(ALL)
    proxy.reset()
    run(ALL)
    assert len(held(run)) == 4 and not run(ALL)["changed"]
