# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module grafana_access against the Grafana stand-in: every part through its states, interruptions, and wrong input."""

from __future__ import annotations

import json
import re
import threading
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from ansible_collections.groundwork.observability.plugins.module_utils._grafana import access, execution, planning, service_accounts
from ansible_collections.groundwork.observability.plugins.module_utils._grafana import client as grafana_client
from ansible_collections.groundwork.observability.plugins.modules import grafana_access

from tests.support.grafana_module import ADMIN, PASSWORD, ModuleRun, Result
from tests.support.grafana_proxy import CUT, FORWARD_AND_DROP, WRITES, Fault, Proxy

pytestmark = pytest.mark.integration

# Not in the organisation of the test.
SERVER_ADMIN: Result = {"url_username": "admin", "url_password": PASSWORD}
ANNA, OTHER = "anna's \"first\" password", "anna's other password"


@pytest.fixture
def run(run_in_grafana: Callable[[ModuleType], ModuleRun]) -> Iterator[ModuleRun]:
    """Afterwards the server has no organisations and users but those of a new one, and the test's own organisation."""
    made = run_in_grafana(grafana_access)
    made.secrets += (ANNA, OTHER)
    yield made
    for org in made.ask("GET", "/api/orgs"):
        if org["id"] not in (1, made.org):
            made.ask("DELETE", f"/api/orgs/{org['id']}")
    for user in made.ask("GET", "/api/users"):
        if user["login"] != "admin":
            made.ask("DELETE", f"/api/admin/users/{user['id']}")


def users_of(run: ModuleRun, organization: str) -> dict[str, str]:
    """The users of an organisation, and their roles."""
    number = run.ask("GET", f"/api/orgs/name/{organization}")["id"]
    return {user["login"]: user["role"] for user in run.ask("GET", f"/api/orgs/{number}/users")}


def users(run: ModuleRun) -> dict[str, Result]:
    """The users of the server but the first."""
    found = {user["login"]: user for user in run.ask("GET", "/api/users") if user["login"] != "admin"}
    keys = ("email", "name", "isAdmin", "isDisabled")
    return {login: {key: user[key] for key in keys} for login, user in found.items()}


def organizations(run: ModuleRun) -> list[str]:
    return sorted(org["name"] for org in run.ask("GET", "/api/orgs") if org["id"] not in (1, run.org))


def signs_in(run: ModuleRun, login: str, password: str) -> bool:
    return run.server.send("GET", "/api/user", auth=(login, password))[0] == 200


def user(login: str, **more: t.Any) -> Result:
    return {"login": login, "email": f"{login}@example.com", "password": ANNA, **more}


SHOP = {"name": "Shop / 'a' \"b\"", "users": [{"login": "anna", "role": "Admin"}, {"login": "Berta", "role": "Editor"}]}
PEOPLE: Result = {
    "organizations": [SHOP, {"name": "Empty"}],
    "users": [user("anna", name="Anna"), user("Berta", is_admin=True), user("carl", disabled=True)],
}
EVERYBODY = {"anna": "Admin", "berta": "Editor", "admin": "Admin"}


def lower(found: dict[str, str]) -> dict[str, str]:
    return {login.lower(): role for login, role in found.items()}


def shop(run: ModuleRun) -> dict[str, str]:
    return lower(users_of(run, "Shop%20%2F%20%27a%27%20%22b%22"))


def test_organizations_and_users(proxy: Proxy, run: ModuleRun) -> None:
    """Create, again, change, each in check mode first; then delete, twice."""
    announced = run(PEOPLE, check=True)
    assert not proxy.writes and organizations(run) == [] and users(run) == {}
    done = run(PEOPLE)
    assert done["statements"] == announced["statements"] and done["diff"] == announced["diff"]
    assert organizations(run) == ["Empty", SHOP["name"]] and shop(run) == EVERYBODY
    assert users(run)["anna"] == {"email": "anna@example.com", "name": "Anna", "isAdmin": False, "isDisabled": False}
    assert users(run)["Berta"]["isAdmin"] and users(run)["carl"]["isDisabled"] and signs_in(run, "anna", ANNA)
    # Who is declared by an organisation is a user of that one only; who is not goes where Grafana puts new users.
    assert lower(users_of(run, "Main%20Org.")) == {"admin": "Admin", "carl": "Viewer"}
    proxy.reset()
    again = run(PEOPLE)
    assert not again["changed"] and not again["diff"] and len(proxy.requests) == 5 and not proxy.writes
    assert [state["status"] for state in again["objects"]] == ["present"] * 6
    changed: Result = {
        "organizations": [{**SHOP, "users": [{"login": "berta", "role": "Admin"}, {"login": "carl"}], "purge": True}],
        "users": [user("Anna", email="a@example.com", name="A"), user("berta", is_admin=False), user("carl", disabled=False)],
    }
    proxy.reset()
    announced = run(changed, check=True)
    assert not proxy.writes
    done = run(changed)
    assert done["statements"] == announced["statements"] and done["diff"] == announced["diff"]
    assert shop(run) == {"berta": "Admin", "carl": "Viewer", "admin": "Admin"}
    assert users(run)["anna"]["email"] == "a@example.com" and users(run)["anna"]["name"] == "A"
    assert not users(run)["Berta"]["isAdmin"] and not users(run)["carl"]["isDisabled"]
    assert not run(changed)["changed"]
    gone: Result = {
        "organizations": [{"name": name, "state": "absent"} for name in (SHOP["name"], "Empty")],
        "users": [{"login": login, "state": "absent"} for login in ("anna", "berta", "carl")],
    }
    announced = run(gone, check=True)
    assert len(users(run)) == 3
    assert run(gone)["statements"] == announced["statements"] and len(announced["statements"]) == 5
    assert organizations(run) == [] and users(run) == {}
    assert not run(gone)["changed"]


def test_drift_by_hand(run: ModuleRun) -> None:
    run(PEOPLE)
    number = {found["login"]: found["id"] for found in run.ask("GET", "/api/users")}
    org = next(found["id"] for found in run.ask("GET", "/api/orgs") if found["name"] == SHOP["name"])
    run.ask("PATCH", f"/api/orgs/{org}/users/{number['Berta']}", {"role": "Viewer"})
    run.ask("POST", f"/api/admin/users/{number['anna']}/disable")
    run.ask("PUT", f"/api/users/{number['Berta']}", {"login": "Berta", "email": "other@example.com"})
    run.ask("DELETE", f"/api/admin/users/{number['carl']}")
    wanted = {**PEOPLE, "users": [user("anna", disabled=False), *PEOPLE["users"][1:]]}
    assert len(run(wanted)["statements"]) == 5  # Making carl takes two.
    assert shop(run) == EVERYBODY and not users(run)["anna"]["isDisabled"]
    assert users(run)["Berta"]["email"] == "Berta@example.com" and users(run)["carl"]["isDisabled"]
    assert not run(wanted)["changed"]


def test_a_user_leaves_and_an_organization_is_renamed(run: ModuleRun) -> None:
    run(PEOPLE)
    org = next(found["id"] for found in run.ask("GET", "/api/orgs") if found["name"] == SHOP["name"])
    leaving = {"login": "berta", "state": "absent"}
    wanted: Result = {"organizations": [{"name": "New", "id": org, "users": [leaving]}]}
    assert run(wanted)["statements"] == [
        'PUT /api/orgs/<organization New> {"name": "New"}',
        "DELETE /api/orgs/<organization New>/users/<user berta>",
    ]
    assert lower(users_of(run, "New")) == {"anna": "Admin", "admin": "Admin"} and "Berta" in users(run)
    assert not run(wanted)["changed"]


def test_there_is_an_admin_at_any_time(run: ModuleRun) -> None:
    """The only admin hands over, and leaves: the server would refuse the other order."""
    run.ask("POST", "/api/admin/users", {**user("zora"), "OrgId": run.org})
    for state in ({"role": "Viewer"}, {"state": "absent"}):
        wanted: Result = {"organizations": [{"name": "test", "users": [{"login": "admin", **state}, {"login": "zora", "role": "Admin"}]}]}
        assert run(wanted, as_user=SERVER_ADMIN)["changed"] and not run(wanted, as_user=SERVER_ADMIN)["changed"]
        assert users_of(run, "test") == {"zora": "Admin", **({"admin": "Viewer"} if "role" in state else {})}


def test_passwords(proxy: Proxy, run: ModuleRun) -> None:
    """Written once, or when signing in with it fails; never shown."""
    run({"users": [user("anna")]})
    assert not run({"users": [user("anna", password=OTHER)]})["changed"] and signs_in(run, "anna", ANNA)
    always: Result = {"users": [user("anna", password=OTHER, update_password="always")]}
    for check in (True, False):
        done = run(always, check=check)
        assert done["statements"] == ['PUT /api/admin/users/<user anna>/password {"password": "********"}']
        assert "another value" in done["diff"][0]["before"] and "another value" not in done["diff"][0]["after"]
    assert signs_in(run, "anna", OTHER)
    proxy.reset()
    assert not run(always)["changed"] and len(proxy.requests) == 4
    disabled: Result = {"users": [user("anna", password=ANNA, update_password="always", disabled=True)]}
    assert len(run(disabled)["statements"]) == 2
    assert not run(disabled)["changed"]
    enabled: Result = {"users": [user("anna", password=OTHER, update_password="always", disabled=False)]}
    assert len(run(enabled)["statements"]) == 2 and signs_in(run, "anna", OTHER)
    assert not run(enabled)["changed"]


def test_own_password(run: ModuleRun) -> None:
    """What follows is sent with the new password."""
    run({"users": [user("root", is_admin=True, password=ANNA)], "organizations": [{"name": "Gone"}]})
    own: Result = {"url_username": "root", "url_password": ANNA}
    wanted: Result = {
        "users": [user("root", password=OTHER, update_password="always"), user("anna")],
        "organizations": [{"name": "Gone", "state": "absent"}],
    }
    assert len(run(wanted, as_user=own)["statements"]) == 3
    assert signs_in(run, "root", OTHER) and "anna" in users(run) and organizations(run) == []
    assert not run(wanted, as_user={**own, "url_password": OTHER})["changed"]


def test_killed_after_each_request(run: ModuleRun) -> None:
    """The next run finishes, whatever the last write was."""
    wanted: Result = {
        "organizations": [{**SHOP, "purge": True}, {"name": "Old", "state": "absent"}],
        "users": [user("anna", is_admin=True, disabled=False), user("berta", name="B"), {"login": "left", "state": "absent"}],
    }

    def prepare() -> None:
        for org in run.ask("GET", "/api/orgs"):
            if org["id"] not in (1, run.org):
                run.ask("DELETE", f"/api/orgs/{org['id']}")
        for found in run.ask("GET", "/api/users"):
            if found["login"] != "admin":
                run.ask("DELETE", f"/api/admin/users/{found['id']}")
        run.ask("POST", "/api/orgs", {"name": "Old"})
        run.ask("POST", "/api/admin/users", user("left"))
        run.ask("POST", "/api/admin/users", user("berta"))

    interrupted = 0
    for _stopped in run.interrupted(prepare, wanted):
        interrupted += 1
        run(wanted)
        assert organizations(run) == [SHOP["name"]] and shop(run) == EVERYBODY
        assert sorted(users(run)) == ["anna", "berta"] and users(run)["anna"]["isAdmin"] and users(run)["berta"]["name"] == "B"
        assert not run(wanted)["changed"]
    assert interrupted == 8


def test_lists_in_a_constant_number_of_requests(proxy: Proxy, run: ModuleRun, monkeypatch: pytest.MonkeyPatch) -> None:
    many: Result = {
        "organizations": [{"name": f"org {number}"} for number in range(7)],
        "users": [user(f"user{number}") for number in range(7)],
    }
    run(many)
    proxy.reset()
    assert not run(many)["changed"] and len(proxy.requests) == 4
    monkeypatch.setattr(grafana_client, "PAGE", 3)
    proxy.reset()
    # 9 organisations and 8 users: 4 pages, of which the last is empty, and 3.
    assert not run(many)["changed"] and len(proxy.requests) == 2 + 4 + 3


def test_examples(run: ModuleRun, tmp_path: Path) -> None:
    """The tasks of the documentation run one after the other, and change nothing when they run again."""
    text = re.sub(r"{{ \w+ }}", "password", grafana_access.EXAMPLES).replace("/etc/deployment", str(tmp_path))
    content: Result = {"dashboard": {"uid": "overview", "title": "Overview"}}
    tasks = [
        {**task["groundwork.observability.grafana_access"], "_ansible_no_log": task.get("no_log", False)} for task in yaml.safe_load(text)
    ]
    try:
        for again in (False, True):
            for position, task in enumerate(tasks):
                login = {"url_username": "admin", "url_password": PASSWORD, **({"org_name": "Shop"} if "org_name" in task else {})}
                given = {name: value for name, value in task.items() if not name.startswith(("url", "org_name"))}
                done = run({"organizations": [], **given}, as_user=login)
                assert not done.get("failed") and done["changed"] != again, done
                if position == 0 and not again:
                    there = {"X-Grafana-Org-Id": str(run.ask("GET", "/api/orgs/name/Shop")["id"])}
                    run.server.send("POST", "/api/folders", {"uid": "platform", "title": "P"}, auth=ADMIN, headers=there)
                    run.server.send("POST", "/api/dashboards/db", content, auth=ADMIN, headers=there)
    finally:
        run.ask("PUT", "/api/orgs/1", {"name": "Main Org."})
    assert len(tasks) == 4 and works(run, tmp_path / "grafana_token")


ADMIN_LEFT = "would be left without a user with the role Admin"
WRONG: list[tuple[Result, str]] = [
    ({"organizations": [{"name": "  "}]}, "organizations[0]: name must have 1 to 190 characters"),
    ({"organizations": [{"name": "two\nlines"}]}, "no control characters"),
    ({"organizations": [{"name": "x" * 191}]}, "1 to 190 characters"),
    ({"organizations": [{"name": "a"}, {"name": " a"}]}, "organizations[1]: name is also that of organizations[0]"),
    ({"organizations": [{"name": "a", "id": 1}, {"name": "b", "id": 1}]}, "organizations[1]: id is also that of organizations[0]"),
    ({"organizations": [{"name": "a", "id": 99999}]}, "there is no organisation with id 99999"),
    ({"organizations": [{"name": "test", "id": 1}]}, "organizations[0]: the name is that of the organisation with id"),
    ({"organizations": [{"name": "Main Org.", "state": "absent"}]}, "is the main organisation of this Grafana, which must not be deleted"),
    ({"organizations": [{"name": "other", "id": 1, "state": "absent"}]}, "is called 'Main Org.'; it is not deleted"),
    ({"organizations": [{"name": "test", "state": "absent"}]}, "is the current organisation of the user"),
    ({"organizations": [{"name": "a", "state": "absent", "users": []}]}, "an organisation that is absent has no users"),
    ({"organizations": [{"name": "a", "users": [{"login": "x", "role": "Chief"}]}]}, "value of role must be one of"),
    ({"organizations": [{"name": "a", "users": [{"login": "theirs"}, {"login": "Theirs"}]}]}, "user 'theirs' is declared twice"),
    ({"organizations": [{"name": "a", "users": [{"login": "nobody"}]}]}, "user 'nobody' does not exist; declare it in users"),
    ({"organizations": [{"name": "test", "users": [{"login": "admin", "role": "Viewer"}]}]}, ADMIN_LEFT),
    ({"organizations": [{"name": "test", "users": [{"login": "admin", "state": "absent"}]}]}, ADMIN_LEFT),
    ({"organizations": [{"name": "a", "users": [{"login": "admin", "state": "absent"}]}]}, ADMIN_LEFT),
    (
        {"users": [{"login": "theirs", "state": "absent"}], "organizations": [{"name": "a", "users": [{"login": "theirs"}]}]},
        "user 'theirs' is declared absent",
    ),
    ({"users": [{"login": ""}]}, "users[0]: login must have 1 to 190 characters"),
    ({"users": [user("a"), user("A", email="b@example.com")]}, "users[1]: login is also that of users[0]"),
    ({"users": [user("a"), user("b", email="A@example.com")]}, "users[1]: email is also that of users[0]"),
    ({"users": [user("a", email="no address")]}, "email 'no address' is not a mail address"),
    ({"users": [user("a", name="")]}, "users[0]: name must have 1 to 190 characters"),
    ({"users": [user("a", password="abc")]}, "password of user 'a' has less than 4 characters"),
    ({"users": [{"login": "a"}]}, "user 'a' is new and needs a password"),
    ({"users": [{"login": "a", "update_password": "always"}]}, "update_password is always, but user 'a' has no password here"),
    ({"users": [user("a", email="theirs@example.com")]}, "login or email of user 'a' is that of user 'theirs'"),
    ({"users": [{"login": "admin", "state": "absent"}]}, "user 'admin' is the one who signs in here, and would be deleted"),
    ({"users": [{"login": "Admin", "disabled": True}]}, "and would be disabled"),
    ({"users": [{"login": "admin", "is_admin": False}]}, "and would be no server administrator any more"),
]


@pytest.mark.parametrize(("declared", "message"), WRONG, ids=[message[:50] for _declared, message in WRONG])
def test_wrong_input(proxy: Proxy, run: ModuleRun, declared: Result, message: str) -> None:
    """One line, and nothing is written, also not what is declared before it."""
    run.ask("POST", "/api/admin/users", user("theirs"))
    proxy.reset()
    for check in (True, False):
        if check and "does not exist" in message:
            assert not run(declared, check=True).get("failed")
            continue
        refused = run(declared, check=check)
        assert refused["failed"] and message in refused["msg"] and "\n" not in refused["msg"] and not refused.get("changed")
        assert not proxy.writes


def test_who_may_not(proxy: Proxy, run: ModuleRun) -> None:
    viewer, admin = run.tokens("Viewer", "Admin")
    run({"users": [user("anna")]})
    callers: list[tuple[Result, str]] = [
        ({"token": viewer}, "403: the user or token may not do this: You'll need additional permissions"),
        ({"token": admin}, "403: the user or token may not do this"),
        ({"url_username": "anna", "url_password": ANNA}, "403: the user or token may not do this"),
        ({"url_username": "anna", "url_password": OTHER}, "401: the user or token is not accepted"),
    ]
    proxy.reset()
    for caller, message in callers:
        for wanted in ({"users": [user("new")]}, {"organizations": [{"name": "new"}]}):
            refused = run(wanted, as_user=caller)
            assert message in refused["msg"] and not refused["changed"] and not proxy.writes


EVERYTHING: Result = {
    **PEOPLE,
    "teams": [{"name": "SRE", "members": ["anna"], "purge": True}],
    "service_accounts": [{"name": "deploy", "tokens": [{"name": "t", "path": "/no/such/folder/token"}]}],
    "permissions": [{"folder_uid": "f", "permissions": [{"team": "SRE", "permission": "Edit"}]}],
    "preferences": [{"team": "SRE", "theme": "dark"}, {"home_dashboard_uid": "home"}],
}


def test_check_mode_without_a_server(run: ModuleRun) -> None:
    planned = run({**EVERYTHING, "users": [{"login": "is there"}]}, check=True, url="http://127.0.0.1:1")
    assert planned["changed"] and [text for text in planned["warnings"] if "planned as for an empty server" in text]
    assert ANNA not in json.dumps(planned)


def test_check_mode_before_there_is_the_organization(proxy: Proxy, run: ModuleRun) -> None:
    """A task before this one may be about to make it."""
    there = {**SERVER_ADMIN, "org_name": "new"}
    planned = run(EVERYTHING, check=True, as_user=there)
    assert [text for text in planned["warnings"] if "planned as for an empty organisation" in text] and not proxy.writes
    assert {state["kind"] for state in planned["objects"]} >= {"team", "service account", "permission", "preferences"}
    refused = run(EVERYTHING, as_user=there)
    assert "the user is not a member of an organisation 'new'" in refused["msg"] and not proxy.writes


def people(run: ModuleRun, *logins: str) -> None:
    """Users of the test's organisation."""
    for login in logins:
        run.ask("POST", "/api/admin/users", {**user(login), "OrgId": run.org})


def teams(run: ModuleRun) -> dict[str, tuple[str, dict[str, int]]]:
    """Mail address and members of each team."""
    found = {}
    for team in run.ask("GET", "/api/teams/search")["teams"]:
        members = run.ask("GET", f"/api/teams/{team['id']}/members")
        found[team["name"]] = team["email"], {member["login"]: member["permission"] for member in members}
    return found


TEAMS: Result = {
    "teams": [
        {"name": "SRE / 'x'", "email": "sre@example.com", "members": ["Anna", "berta@example.com"], "admins": ["carl"], "purge": True},
        {"name": "sre / 'x'", "members": ["anna"]},
        {"name": "Empty"},
    ]
}


def test_teams(proxy: Proxy, run: ModuleRun) -> None:
    """Create, again, drift by hand, change, delete, each in check mode first."""
    people(run, "anna", "berta", "carl")
    announced = run(TEAMS, check=True)
    assert teams(run) == {}
    done = run(TEAMS)
    assert done["statements"] == announced["statements"] and done["diff"] == announced["diff"]
    assert 'POST /api/teams/<team SRE / \'x\'>/members {"userId": "<user anna>"}' in done["statements"]
    wanted = {
        "SRE / 'x'": ("sre@example.com", {"anna": 0, "berta": 0, "carl": 4}),
        "sre / 'x'": ("", {"admin": 4, "anna": 0}),
        "Empty": ("", {"admin": 4}),
    }
    assert teams(run) == wanted
    proxy.reset()
    again = run(TEAMS)
    # The organisation, all teams, the members of two.
    assert not again["changed"] and not again["diff"] and len(proxy.requests) == 4
    team = next(found["id"] for found in run.ask("GET", "/api/teams/search")["teams"] if found["name"] == "SRE / 'x'")
    number = {found["login"]: found["id"] for found in run.ask("GET", "/api/users")}
    run.ask("PUT", f"/api/teams/{team}", {"name": "SRE / 'x'", "email": "else@example.com"})
    run.ask("PUT", f"/api/teams/{team}/members/{number['anna']}", {"permission": 4})
    run.ask("DELETE", f"/api/teams/{team}/members/{number['carl']}")
    run.ask("POST", f"/api/teams/{team}/members", {"userId": number["admin"]})
    assert len(run(TEAMS)["statements"]) == 5 and teams(run) == wanted and not run(TEAMS)["changed"]
    changed: Result = {"teams": [{"name": "SRE / 'x'", "email": "", "admins": ["berta"]}, {"name": "Empty", "state": "absent"}]}
    announced = run(changed, check=True)
    assert teams(run) == wanted
    assert run(changed)["statements"] == announced["statements"]
    assert teams(run)["SRE / 'x'"] == ("", {"anna": 0, "berta": 4, "carl": 4}) and "Empty" not in teams(run)
    gone: Result = {"teams": [{"name": name, "state": "absent"} for name in wanted]}
    assert len(run(gone)["statements"]) == 2 and teams(run) == {} and not run(gone)["changed"]


def test_lost_answers_and_others_who_write(proxy: Proxy, run: ModuleRun) -> None:
    """The module reads again, and reports each request once; what somebody else has made meanwhile is not made twice."""
    people(run, "anna", "berta", "carl")
    expected = run(TEAMS, check=True)["statements"]
    lost: set[int] = set()

    def lose_every_other(method: str, _path: str, _position: int) -> Fault | None:
        if method in WRITES and len(proxy.writes) % 2 and len(proxy.writes) not in lost and len(lost) < 4:
            lost.add(len(proxy.writes))
            return FORWARD_AND_DROP
        return None

    proxy.reset(lose_every_other)
    done = run(TEAMS)
    assert len(lost) == 4 and sorted(done["statements"]) == sorted(expected) and len(proxy.writes) == len(expected)
    assert not run(TEAMS)["changed"]

    def interfere(method: str, _path: str, _position: int) -> Fault | None:
        if method == "POST" and len(proxy.writes) == 1:
            run.ask("POST", "/api/teams", {"name": "new", "email": "theirs@example.com"})
        return None

    proxy.reset(interfere)
    done = run({"teams": [{"name": "new", "email": "ours@example.com"}]})
    assert proxy.writes[0] == "POST /api/teams" and len(done["statements"]) == 1 and teams(run)["new"][0] == "ours@example.com"


def test_users_and_their_teams_in_one_task(run: ModuleRun) -> None:
    wanted: Result = {
        "organizations": [{"name": "test", "users": [{"login": "anna", "role": "Editor"}]}],
        "users": [user("anna")],
        "teams": [{"name": "SRE", "members": ["anna@example.com"], "purge": True}],
    }
    announced = run(wanted, check=True)
    done = run(wanted)
    assert done["statements"] == announced["statements"] and done["diff"] == announced["diff"]
    assert teams(run)["SRE"][1] == {"anna": 0} and users_of(run, "test")["anna"] == "Editor"
    assert not run(wanted)["changed"]


def test_a_hundred_teams_in_one_list(proxy: Proxy, run: ModuleRun) -> None:
    many: Result = {"teams": [{"name": f"team {number}"} for number in range(100)]}
    many["service_accounts"] = [{"name": f"account {number}"} for number in range(100)]
    for number in range(100):
        run.ask("POST", "/api/teams", {"name": f"team {number}"})
        run.ask("POST", "/api/serviceaccounts", {"name": f"account {number}"})
    proxy.reset()
    assert not run(many)["changed"] and len(proxy.requests) == 3


def accounts(run: ModuleRun) -> dict[str, tuple[str, bool, list[str]]]:
    """Role, whether disabled, and tokens of each service account."""
    found = {}
    for account in run.ask("GET", "/api/serviceaccounts/search")["serviceAccounts"]:
        tokens = run.ask("GET", f"/api/serviceaccounts/{account['id']}/tokens")
        found[account["name"]] = account["role"], account["isDisabled"], sorted(token["name"] for token in tokens)
    return found


def works(run: ModuleRun, path: Path) -> bool:
    """Whether the server takes the key in a file; it must be in no result from here on."""
    key = path.read_text()
    run.secrets += (key,)
    return run.server.send("GET", "/api/org", auth=key)[0] == 200


def account(path: Path, **more: t.Any) -> Result:
    token = {"name": "deploy token", "path": str(path), **more}
    return {"service_accounts": [{"name": "Deploy / 'x'", "role": "Editor", "tokens": [token]}]}


def test_service_accounts(proxy: Proxy, run: ModuleRun, tmp_path: Path) -> None:
    """Create with a token, again, drift by hand, change, purge of tokens, delete, each in check mode first."""
    path = tmp_path / "token"
    wanted = account(path, seconds_to_live=3600)
    announced = run(wanted, check=True)
    assert accounts(run) == {} and not path.exists()
    done = run(wanted)
    assert done["statements"] == announced["statements"] and done["diff"] == announced["diff"]
    assert accounts(run) == {"Deploy / 'x'": ("Editor", False, ["deploy token"])} and works(run, path)
    assert path.stat().st_mode & 0o777 == 0o600 and path.read_text().startswith("glsa_") and [*tmp_path.iterdir()] == [path]
    assert not {key for key in done if key not in ("changed", "statements", "objects", "diff", "warnings")}
    proxy.reset()
    again = run(wanted)
    assert not again["changed"] and not again["diff"] and not again["warnings"] and len(proxy.requests) == 3
    number = run.ask("GET", "/api/serviceaccounts/search")["serviceAccounts"][0]["id"]
    run.ask("PATCH", f"/api/serviceaccounts/{number}", {"role": "Admin", "isDisabled": True})
    by_hand = run.ask("POST", f"/api/serviceaccounts/{number}/tokens", {"name": "by hand"})["key"]
    assert run(wanted)["statements"] == ["PATCH /api/serviceaccounts/<service account Deploy / 'x'> {\"role\": \"Editor\"}"]
    changed: Result = {"service_accounts": [{**wanted["service_accounts"][0], "role": "Viewer", "disabled": False, "purge": True}]}
    announced = run(changed, check=True)
    assert len(accounts(run)["Deploy / 'x'"][2]) == 2
    assert run(changed)["statements"] == announced["statements"] and not run(changed)["changed"]
    assert accounts(run) == {"Deploy / 'x'": ("Viewer", False, ["deploy token"])} and works(run, path)
    assert run.server.send("GET", "/api/org", auth=by_hand)[0] == 401
    assert len(run(account(path, state="absent"))["statements"]) == 2 and accounts(run)["Deploy / 'x'"][2] == []
    gone: Result = {"service_accounts": [{"name": "Deploy / 'x'", "state": "absent"}]}
    assert run(gone)["changed"] and accounts(run) == {} and not run(gone)["changed"]


def test_a_token_is_replaced_only_when_asked(run: ModuleRun, tmp_path: Path) -> None:
    path = tmp_path / "token"
    run(account(path))
    old = path.read_text()
    run.secrets += (old,)
    for lose in (path.unlink, lambda: path.write_text("")):
        lose()
        kept = run(account(path, replace=["expired"]))
        assert not kept["changed"] and "replace: [lost] revokes it" in kept["warnings"][0]
    replaced = run(account(path, replace=["lost"]))
    assert "its key is lost" in replaced["diff"][0]["before"] and len(replaced["statements"]) == 2
    assert works(run, path) and run.server.send("GET", "/api/org", auth=old)[0] == 401
    assert not run(account(path, replace=["lost", "expired"]))["changed"]
    replaced = run(account(path, replace=["always"], seconds_to_live=1))
    assert replaced["changed"] and replaced["diff"]
    number = run.ask("GET", "/api/serviceaccounts/search")["serviceAccounts"][0]["id"]
    while not run.ask("GET", f"/api/serviceaccounts/{number}/tokens")[0]["hasExpired"]:
        pass
    kept = run(account(path, replace=["lost"]))
    assert not kept["changed"] and "has expired; replace: [expired] makes a new one" in kept["warnings"][0]
    assert run(account(path, replace=["expired"]))["changed"] and works(run, path)
    assert not run(account(path, replace=["expired"]))["changed"]


def test_a_key_is_returned_only_if_nobody_sees_it(proxy: Proxy, run: ModuleRun) -> None:
    wanted: Result = {"service_accounts": [{"name": "a", "tokens": [{"name": "t", "return_key": True}]}]}
    assert "return_key needs no_log: true at the task" in run(wanted)["msg"] and not proxy.writes
    hidden = run(wanted, _ansible_no_log=True)
    assert hidden["tokens"][0]["service_account"] == "a" and hidden["tokens"][0]["name"] == "t"
    key = hidden["tokens"][0]["key"]
    assert run.server.send("GET", "/api/org", auth=key)[0] == 200
    assert json.dumps(hidden).count(key) == 1
    run.secrets += (key,)
    again = run(wanted, _ansible_no_log=True)
    assert not again["changed"] and "tokens" not in again
    # A later failure does not lose the key.
    more: Result = {"service_accounts": [{"name": "b", "tokens": [{"name": "u", "return_key": True}, {"name": "v", "return_key": True}]}]}
    proxy.reset(lambda method, path, _n: (500, {}, b"{}") if method == "POST" and len(proxy.writes) == 3 else None)
    stopped = run(more, _ansible_no_log=True)
    assert stopped["failed"] and [token["name"] for token in stopped["tokens"]] == ["u"]


def test_a_token_whose_key_did_not_arrive(proxy: Proxy, run: ModuleRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is lost, or the disk is full: the token is replaced, by the same run or the next one."""
    path = tmp_path / "token"

    def lose(method: str, request: str, _position: int) -> Fault | None:
        return FORWARD_AND_DROP if method == "POST" and request.endswith("/tokens") and len(proxy.writes) == 2 else None

    proxy.reset(lose)
    done = run(account(path))
    assert [line.split()[0] for line in done["statements"]] == ["POST", "DELETE", "POST"] and works(run, path)
    assert accounts(run)["Deploy / 'x'"][2] == ["deploy token"]
    path.unlink()
    full = account(path, replace=["lost"])
    write = service_accounts._write

    def keys_do_not_fit(target: str, text: str) -> None:
        write(target if text == service_accounts.PENDING else "/no/x", text)

    monkeypatch.setattr(service_accounts, "_write", keys_do_not_fit)
    proxy.reset()
    stopped = run(full)
    assert stopped["failed"] and "/no/x cannot be written" in stopped["msg"] and stopped["changed"]
    monkeypatch.undo()
    assert path.read_text() == service_accounts.PENDING
    healed = run(account(path))
    assert "its key did not arrive" in healed["diff"][0]["before"] and works(run, path) and not run(account(path))["changed"]
    path.unlink()
    monkeypatch.setattr(service_accounts, "_write", lambda _target, text: write("/no/x", text))
    proxy.reset()
    assert "/no/x cannot be written" in run(account(path, replace=["always"]))["msg"]
    assert [line.split()[0] for line in proxy.writes] == ["DELETE"]
    monkeypatch.undo()
    assert run(account(path))["changed"] and works(run, path)


def permissions(run: ModuleRun, resource: str) -> dict[str, int]:
    """Who has which permission on a resource itself."""
    found = run.ask("GET", f"/api/{resource}/permissions")
    return {entry.get("role") or entry["team"] or entry["userLogin"]: entry["permission"] for entry in found if not entry["inherited"]}


def granted(*entries: tuple[str, str, str], purge: bool = True, **resource: str) -> Result:
    return {**resource, "permissions": [{kind: name, "permission": level} for kind, name, level in entries], "purge": purge}


def test_permissions(proxy: Proxy, run: ModuleRun) -> None:
    """On a folder and on a dashboard in it: create, again, drift by hand, change without and with purge."""
    people(run, "anna", "berta")
    run.ask("POST", "/api/folders", {"uid": "f", "title": "F"})
    run.ask("POST", "/api/dashboards/db", {"dashboard": {"uid": "d", "title": "D"}, "folderUid": "f"})
    folder, dashboard = "folders/f", "dashboards/uid/d"
    roles = ("role", "Viewer", "View"), ("user", "Anna@example.com", "Admin")
    wanted: Result = {
        "teams": [{"name": "SRE"}],
        "service_accounts": [{"name": "deploy", "role": "Viewer"}],
        "permissions": [
            granted(*roles, ("team", "SRE", "Edit"), ("service_account", "deploy", "Edit"), folder_uid="f"),
            granted(("user", "berta", "Edit"), purge=False, dashboard_uid="d"),
        ],
    }
    before = permissions(run, folder)
    announced = run(wanted, check=True)
    assert permissions(run, folder) == before == {"admin": 4, "Editor": 2, "Viewer": 1}
    done = run(wanted)
    assert done["statements"] == announced["statements"] and done["diff"] == announced["diff"]
    shown = '{"items": [{"permission": 1, "role": "Viewer"}, {"permission": 2, "userId": "<service account deploy>"}, '
    assert any(line.startswith(f"POST /api/folders/f/permissions {shown}") for line in done["statements"])
    after = {"Viewer": 1, "anna": 4, "SRE": 2, "sa-deploy": 2}
    assert permissions(run, folder) == after and permissions(run, dashboard) == {"admin": 4, "berta": 2}
    proxy.reset()
    again = run(wanted)
    # The organisation, teams, service accounts, two resources.
    assert not again["changed"] and not again["diff"] and len(proxy.requests) == 5
    run.ask("POST", "/api/folders/f/permissions", {"items": [{"role": "Viewer", "permission": 2}, {"role": "Editor", "permission": 1}]})
    assert len(run(wanted)["statements"]) == 1 and permissions(run, folder) == after
    fewer: Result = {
        "permissions": [
            {
                "folder_uid": "f",
                "permissions": [
                    {"role": "Viewer", "state": "absent"},
                    {"service_account": "deploy", "state": "absent"},
                    {"user": "anna@example.com", "permission": "View"},
                    {"user": "nobody", "state": "absent"},
                ],
            }
        ]
    }
    assert run(fewer)["changed"] and permissions(run, folder) == {"anna": 1, "SRE": 2} and not run(fewer)["changed"]
    assert run({"permissions": [{"folder_uid": "f", "purge": True}]})["changed"] and permissions(run, folder) == {}


DATASOURCE_PERMISSIONS = [
    {"id": 1, "roleName": "fixed:datasources:reader", "isManaged": False, "userId": 1, "userLogin": "admin", "permission": "Query"},
    {"id": 2, "isManaged": True, "isInherited": False, "userId": 7, "userLogin": "anna", "permission": "Query"},
    {"id": 3, "isManaged": True, "isInherited": False, "teamId": 3, "team": "SRE", "permission": "Edit"},
    {"id": 4, "isManaged": True, "isInherited": False, "builtInRole": "Viewer", "permission": "Query"},
]


def test_permissions_on_data_sources(proxy: Proxy, run: ModuleRun) -> None:
    """Answers as documented: neither the stand-in nor the recorded Grafana has these permissions."""
    documented = json.dumps(DATASOURCE_PERMISSIONS).encode()

    def answer(method: str, path: str, _position: int) -> Fault | None:
        if "/api/access-control/datasources/" in path:
            return (200, {}, documented if method == "GET" else b"{}")
        return None

    proxy.reset(answer)
    same = granted(("user", "anna", "Query"), ("team", "SRE", "Edit"), ("role", "Viewer", "Query"), datasource_uid="p")
    assert not run({"permissions": [same]})["changed"]
    people(run, "berta")
    other = granted(("user", "anna", "Edit"), ("team", "SRE", "Edit"), ("user", "berta", "Query"), datasource_uid="p")
    announced = run({"permissions": [other]}, check=True)
    assert announced["statements"] == run({"permissions": [other]})["statements"] and announced["statements"] == [
        'POST /api/access-control/datasources/p/builtInRoles/Viewer {"permission": ""}',
        'POST /api/access-control/datasources/p/users/<user anna> {"permission": "Edit"}',
        'POST /api/access-control/datasources/p/users/<user berta> {"permission": "Query"}',
    ]
    assert "POST /api/access-control/datasources/p/users/7" in proxy.writes
    run.ask("POST", "/api/datasources", {"uid": "p", "name": "P", "type": "prometheus", "access": "proxy", "url": "http://p"})
    absent: Fault = (404, {}, b'{"message": "Not found"}')
    proxy.reset(lambda _method, path, _position: absent if "/access-control/" in path else None)
    assert "this Grafana has no permissions on data sources" in run({"permissions": [same]})["msg"]
    assert "data source 'q' does not exist" in run({"permissions": [{**same, "datasource_uid": "q"}]})["msg"]


def test_preferences(proxy: Proxy, run: ModuleRun) -> None:
    """Of the organisation and of a team that is new: set, again, drift by hand, one changed, reset."""
    run.ask("POST", "/api/dashboards/db", {"dashboard": {"uid": "home", "title": "Home"}})
    own = {"theme": "light", "timezone": "utc", "week_start": "monday", "language": "en-US", "home_dashboard_uid": "home"}
    wanted: Result = {"teams": [{"name": "SRE"}], "preferences": [own, {"team": "SRE", "theme": "dark"}]}

    def found() -> tuple[Result, Result]:
        team = run.ask("GET", "/api/teams/search")["teams"][0]["id"]
        return run.ask("GET", "/api/org/preferences"), run.ask("GET", f"/api/teams/{team}/preferences")

    announced = run(wanted, check=True)
    assert run.ask("GET", "/api/org/preferences") == {}
    done = run(wanted)
    assert done["statements"] == announced["statements"] and done["diff"] == announced["diff"]
    full = {"theme": "light", "timezone": "utc", "weekStart": "monday", "language": "en-US", "homeDashboardUID": "home"}
    assert found() == (full, {"theme": "dark"})
    proxy.reset()
    assert not run(wanted)["changed"] and len(proxy.requests) == 4
    run.ask("PATCH", "/api/org/preferences", {"timezone": "browser"})
    assert run(wanted)["statements"] == [f"PUT /api/org/preferences {json.dumps(full, sort_keys=True)}"]
    one: Result = {"preferences": [{"theme": "", "home_dashboard_uid": ""}, {"team": "SRE", "timezone": "browser"}]}
    assert run(one)["changed"] and not run(one)["changed"]
    assert found() == ({"timezone": "utc", "weekStart": "monday", "language": "en-US"}, {"theme": "dark", "timezone": "browser"})


def test_killed_in_an_organization(run: ModuleRun, tmp_path: Path) -> None:
    """The next run finishes, whatever the last write was."""
    people(run, "anna", "berta")
    path = tmp_path / "token"
    wanted: Result = {
        "teams": [{"name": "SRE", "admins": ["anna"], "members": ["berta"], "purge": True}, {"name": "Old", "state": "absent"}],
        "permissions": [granted(("team", "SRE", "Edit"), ("service_account", "Deploy / 'x'", "View"), folder_uid="f")],
        "preferences": [{"theme": "dark"}, {"team": "SRE", "theme": "light"}],
        **account(path),
    }

    def prepare() -> None:
        for team in run.ask("GET", "/api/teams/search")["teams"]:
            run.ask("DELETE", f"/api/teams/{team['id']}")
        for found in run.ask("GET", "/api/serviceaccounts/search")["serviceAccounts"]:
            run.ask("DELETE", f"/api/serviceaccounts/{found['id']}")
        run.ask("PUT", "/api/org/preferences", {})
        for uid in [found["uid"] for found in run.ask("GET", "/api/folders")]:
            run.ask("DELETE", f"/api/folders/{uid}")
        run.ask("POST", "/api/folders", {"uid": "f", "title": "F"})
        run.ask("POST", "/api/teams", {"name": "Old"})
        path.unlink(missing_ok=True)

    interrupted = 0
    for _stopped in run.interrupted(prepare, wanted):
        interrupted += 1
        run(wanted)
        assert teams(run) == {"SRE": ("", {"anna": 4, "berta": 0})}
        assert accounts(run) == {"Deploy / 'x'": ("Editor", False, ["deploy token"])} and works(run, path)
        assert permissions(run, "folders/f") == {"SRE": 2, "sa-deploy-/-'x'": 1}
        assert run.ask("GET", "/api/org/preferences") == {"theme": "dark"}
        assert not run(wanted)["changed"]
    assert interrupted == 11


def test_two_organizations_at_once(run: ModuleRun) -> None:
    """Two runs of one user, each request by turns: nothing lands in the other's organisation, and the user's own stays."""
    other = run.server.send("POST", "/api/orgs", {"name": "other"}, auth=ADMIN)[1]["orgId"]
    people(run, "anna", "berta")
    run.ask("POST", f"/api/orgs/{other}/users", {"loginOrEmail": "berta", "role": "Viewer"})
    both = threading.Barrier(2)
    current = run.server.send("GET", "/api/user", auth=ADMIN)[1]["orgId"]
    login: Result = {"url_username": "admin", "url_password": PASSWORD, "token": None, "org_name": None, "timeout": 9, "retries": 0}
    more: Result = {"client_cert": None, "client_key": None, "ca_path": None, "validate_certs": True, "use_proxy": False, "http_agent": "t"}
    plans = {}

    class Alternating(grafana_client.Client):
        def send(self, method: str, path: str, body: t.Any = None, headers: t.Mapping[str, str] | None = None) -> t.Any:
            both.wait(timeout=20)
            return super().send(method, path, body, headers)

    def converge(org: int, member: str) -> None:
        team = {"name": "same", "email": f"{member}@example.com", "members": None, "admins": [member], "purge": True, "state": "present"}
        lists: Result = {"organizations": [], "users": [], "service_accounts": [], "permissions": [], "teams": [team]}
        dark = {"team": None, "theme": "dark" if org == other else "light", "timezone": None, "week_start": None, "language": None}
        params: Result = {**lists, "preferences": [{**dark, "home_dashboard_uid": None}], "org_id": org}
        client = Alternating(grafana_client.Connection.from_params({"url": run.server.url, **login, **more, "org_id": org}))
        kind = access.Access(hidden=False).kind()
        want = kind.declare(params)
        client.enter_organisation()
        observation = kind.observe(client, want, params)
        kind.check(want, observation, params)
        plans[org] = planning.make_plan(kind, want, observation)
        execution.execute(client, kind, plans[org], lambda: plans[org])

    runs = [threading.Thread(target=converge, args=arguments) for arguments in ((run.org, "anna"), (other, "berta"))]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join(timeout=60)
    assert teams(run) == {"same": ("anna@example.com", {"anna": 4})}
    here = {"X-Grafana-Org-Id": str(other)}
    found = run.server.send("GET", "/api/teams/search", auth=ADMIN, headers=here)[1]["teams"]
    assert [(team["name"], team["email"]) for team in found] == [("same", "berta@example.com")]
    assert run.server.send("GET", "/api/org/preferences", auth=ADMIN, headers=here)[1] == {"theme": "dark"}
    assert run.ask("GET", "/api/org/preferences") == {"theme": "light"}
    assert run.server.send("GET", "/api/user", auth=ADMIN)[1]["orgId"] == current


TOKEN = {"name": "t", "path": "/no/such/folder/token"}


def of_account(**token: t.Any) -> Result:
    return {"service_accounts": [{"name": "a", "tokens": [{**TOKEN, **token}]}]}


def on_folder(**grant: t.Any) -> Result:
    return {"permissions": [{"folder_uid": "f", "permissions": [grant]}]}


WRONG_HERE: list[tuple[Result, str]] = [
    ({"teams": [{"name": ""}]}, "teams[0]: name must have 1 to 190 characters"),
    ({"teams": [{"name": "a"}, {"name": "a"}]}, "teams[1]: name is also that of teams[0]"),
    ({"teams": [{"name": "a", "members": ["anna"], "admins": ["Anna"]}]}, "teams[0].admins[0]: user 'anna' is declared twice"),
    ({"teams": [{"name": "a", "members": ["anna", "anna@example.com"]}]}, "user 'anna' is declared twice, by login and by mail address"),
    ({"teams": [{"name": "a", "members": ["nobody"]}]}, "'nobody' is neither login nor mail address of a user of this organisation"),
    ({"teams": [{"name": "a", "admins": ["elsewhere"]}]}, "'elsewhere' is neither login nor mail address"),
    ({"teams": [{"name": "a", "members": [""]}]}, "teams[0].members[0]: login must have 1 to 190"),
    ({"teams": [{"name": "a", "state": "absent", "members": []}]}, "a team that is absent has no members"),
    ({"teams": [{"name": "a", "members": ["anna"]}], "users": [{"login": "anna", "state": "absent"}]}, "user 'anna' is declared absent"),
    ({"service_accounts": [{"name": "a"}, {"name": "a"}]}, "service_accounts[1]: name is also that of service_accounts[0]"),
    ({"service_accounts": [{"name": "a", "role": "Chief"}]}, "value of role must be one of"),
    ({"service_accounts": [{"name": "double", "role": "Admin"}]}, "2 service accounts have this name"),
    ({"service_accounts": [{"name": "a", "state": "absent", "purge": True}]}, "a service account that is absent has no tokens"),
    (of_account(path=None), "give path or return_key: Grafana shows the key only once"),
    (of_account(path="relative"), "path 'relative' must start with /"),
    (of_account(seconds_to_live=0), "seconds_to_live: 0 is less than 1"),
    (of_account(path=None, return_key=True), "return_key needs no_log: true"),
    (of_account(path="/no/such/folder/token"), "folder /no/such/folder does not exist"),
    (of_account(path="/etc"), "/etc is no file"),
    (of_account(path="/etc/passwd"), "/etc/passwd holds something else than the key of a token; it is not overwritten"),
    (of_account(name=" "), "service_accounts[0].tokens[0]: name must have 1 to 190"),
    ({"service_accounts": [{"name": n, "tokens": [{"name": "t", "path": f"/tmp/{n}"}]} for n in "ab"]}, "which the organisation has once"),
    ({"service_accounts": [{"name": "a", "tokens": [{"name": n, "path": "/tmp/x"} for n in "tu"]}]}, "path is also that of"),
    ({"permissions": [{"permissions": []}]}, "permissions[0]: give one of folder_uid, dashboard_uid, datasource_uid"),
    ({"permissions": [{"folder_uid": "a", "dashboard_uid": "b"}]}, "give one of folder_uid"),
    ({"permissions": [{"folder_uid": "a b"}]}, "folder_uid: uid 'a b' must have 1 to 40 characters"),
    ({"permissions": [{"folder_uid": "none"}]}, "folder 'none' does not exist"),
    ({"permissions": [{"dashboard_uid": "none"}]}, "dashboard 'none' does not exist"),
    ({"permissions": [{"folder_uid": "f"}, {"folder_uid": "f"}]}, "permissions[1]: resource is also that of permissions[0]"),
    (on_folder(permission="View"), "give one of user, team, service_account, role"),
    (on_folder(user="anna", team="x", permission="View"), "give one of user, team"),
    (on_folder(user="anna"), "permission must be one of View, Edit, Admin for a folder"),
    (on_folder(user="anna", permission="Query"), "permission must be one of View, Edit, Admin for a folder"),
    (on_folder(role="Admin", permission="View"), "users with the role Admin always have all permissions"),
    (on_folder(user="nobody", permission="View"), "'user nobody' does not exist in this organisation"),
    (on_folder(team="none", permission="View"), "'team none' does not exist in this organisation"),
    (on_folder(service_account="none", permission="View"), "'service account none' does not exist in this organisation"),
    ({**on_folder(team="Here", permission="View"), "teams": [{"name": "Here", "state": "absent"}]}, "'team Here' does not exist"),
    ({"preferences": [{}]}, "preferences[0]: give at least one of theme"),
    ({"preferences": [{"theme": "pink"}]}, "value of theme must be one of"),
    ({"preferences": [{"theme": "dark"}, {"timezone": "utc"}]}, "preferences[1]: owner is also that of preferences[0]"),
    ({"preferences": [{"home_dashboard_uid": "none"}]}, "dashboard 'none' does not exist in this organisation"),
    ({"preferences": [{"home_dashboard_uid": "no ne"}]}, "home_dashboard_uid: uid 'no ne' must have"),
    ({"preferences": [{"team": "none", "theme": "dark"}]}, "team 'none' does not exist in this organisation"),
]
IN_CHECK_MODE = ("does not exist", "neither login nor mail address")


@pytest.mark.parametrize(("declared", "message"), WRONG_HERE, ids=[message[:50] for _declared, message in WRONG_HERE])
def test_wrong_input_of_an_organization(proxy: Proxy, run: ModuleRun, declared: Result, message: str) -> None:
    """One line, and nothing is written. What a task before this one may be about to make is no error in check mode."""
    people(run, "anna")
    run.ask("POST", "/api/admin/users", user("elsewhere"))
    run.ask("POST", "/api/folders", {"uid": "f", "title": "F"})
    run.ask("POST", "/api/teams", {"name": "Here"})
    for name in ("double", "other"):
        made = run.ask("POST", "/api/serviceaccounts", {"name": name})
    run.ask("PATCH", f"/api/serviceaccounts/{made['id']}", {"name": "double"})
    proxy.reset()
    for check in (True, False):
        refused = run(declared, check=check)
        if check and any(text in message for text in IN_CHECK_MODE):
            assert not refused.get("failed")
        else:
            assert refused["failed"] and message in refused["msg"] and "\n" not in refused["msg"] and not refused.get("changed")
        assert not proxy.writes


READS = ("/orgs", "/users/search", "/org/users", "/teams/search", "/members", "/serviceaccounts/search", "/tokens", "/f/permissions")


@pytest.mark.parametrize("read", READS)
def test_broken_answers(proxy: Proxy, run: ModuleRun, tmp_path: Path, read: str) -> None:
    """To each read: one line, and nothing is written."""
    people(run, "anna", "berta")
    run.ask("POST", "/api/folders", {"uid": "f", "title": "F"})
    run(account(tmp_path / "token"))
    run({"teams": [{"name": "SRE", "members": ["anna"]}]})
    wanted: Result = {
        "organizations": [{"name": "new"}],
        "users": [user("carl")],
        "teams": [{"name": "SRE", "members": ["berta"], "purge": True}],
        **on_folder(user="anna", permission="View"),
        **account(tmp_path / "token", state="absent"),
    }
    broken: list[tuple[Fault, str]] = [
        ((500, {}, b'{"message": "boom"}'), "500: refused: boom"),
        ((200, {}, b'{"no": "list"}'), "the answer is no list"),
        ((200, {"Content-Type": "text/html"}, b"<html>"), "the answer is a page (HTML)"),
        (CUT, "the answer broke off"),
    ]
    for fault, message in broken:

        def answer(_method: str, path: str, _position: int, fault: Fault = fault) -> Fault | None:
            return fault if path.partition("?")[0].endswith(read) else None

        proxy.reset(answer)
        refused = run(wanted)
        assert refused["failed"] and message in refused["msg"] and "\n" not in refused["msg"]
        assert not proxy.writes and not refused["changed"]


def test_viewers_token_in_an_organization(proxy: Proxy, run: ModuleRun, tmp_path: Path) -> None:
    viewer, admin = run.tokens("Viewer", "Admin")
    people(run, "anna")
    run.ask("POST", "/api/folders", {"uid": "f", "title": "F"})
    lists: list[Result] = [
        {"teams": [{"name": "a", "members": ["anna"], "purge": True}]},
        account(tmp_path / "token"),
        on_folder(user="anna", permission="View"),
        {"preferences": [{"theme": "dark"}]},
    ]
    for wanted in lists:
        proxy.reset()
        refused = run(wanted, as_user={"token": viewer})
        assert "403: the user or token may not do this" in refused["msg"] and not refused["changed"] and not proxy.writes
        assert run(wanted, as_user={"token": admin})["changed"] and not run(wanted, as_user={"token": admin})["changed"]
    assert teams(run)["a"][1] == {"anna": 0} and works(run, tmp_path / "token")
