# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module grafana_test_notification, and the playbook that uses it.

Contact points are those of the Grafana stand-in. No recording has the request itself, so the stand-in does not know it: a server in between
answers as the source of Grafana 12 does (pkg/services/ngalert/api: RoutePostTestGrafanaReceivers, statusForTestReceivers).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.groundwork.observability.plugins.modules import grafana_test_notification

from tests.support.grafana_module import PASSWORD, ModuleRun
from tests.support.grafana_proxy import Fault, Proxy
from tests.support.inventory import SECRETS

pytestmark = pytest.mark.integration

CHECKOUT = Path(__file__).parents[2]
TEST = "/api/alertmanager/grafana/config/api/v1/receivers/test"
KEY, TOKEN = "pager-0123456789", "T0/B0/hook-0123456789"
DIGEST = {"groundworkSecrets": {"salt": "x", "digest": "y", "keys": ["url"]}}
POINTS = (
    {"uid": "mail", "name": "On call", "type": "email", "settings": {"addresses": "a@example.com"}},
    {"uid": "pager", "name": "On call", "type": "pagerduty", "settings": {"integrationKey": KEY, "class": "x"}},
    {"uid": "hook", "name": "Hook", "type": "webhook", "settings": {"url": f"https://hooks.example.com/{TOKEN}", **DIGEST}},
)


def answer(point: dict[str, Any], error: str = "", status: int = 200) -> Fault:
    """What Grafana answers to the test of one contact point."""
    config = {"name": point["name"], "uid": point["uid"], "status": "failed" if error else "ok", **({"error": error} if error else {})}
    alert = {"annotations": {"summary": "Notification test"}, "labels": {"alertname": "TestAlert", "instance": "Grafana"}}
    receiver = {"name": point["name"], "grafana_managed_receiver_configs": [config]}
    body = {"alert": alert, "receivers": [receiver], "notified_at": "2026-01-01T00:00:00Z"}
    return status, {"Content-Type": "application/json"}, json.dumps(body).encode()


def answering(proxy: Proxy, fault: Fault | Callable[[dict[str, Any]], Fault]) -> list[dict[str, Any]]:
    """Let the server in between answer tests; the bodies of the requests."""
    bodies: list[dict[str, Any]] = []

    def found(_method: str, path: str, position: int) -> Fault | None:
        if path != TEST:
            return None
        bodies.append(json.loads(proxy.bodies[position]))
        return fault(bodies[-1]["receivers"][0]["grafana_managed_receiver_configs"][0]) if callable(fault) else fault

    proxy.reset(found)
    return bodies


@pytest.fixture
def run(run_in_grafana: Callable[[ModuleType], ModuleRun]) -> ModuleRun:
    made = run_in_grafana(grafana_test_notification)
    made.secrets = (*made.secrets, KEY, TOKEN)
    for point in POINTS:
        made.ask("POST", "/api/v1/provisioning/contact-points", point)
    return made


def test_each_contact_point_is_asked_for_by_its_uid_and_without_secrets(run: ModuleRun) -> None:
    bodies = answering(run.proxy, answer)
    done = run({}, labels={"severity": "info"})
    assert done["changed"] and [(one["uid"], one["sent"], one["error"]) for one in done["results"]] == [
        *(("hook", True, ""), ("mail", True, ""), ("pager", True, "")),
    ]
    hook, mail, pager = (body["receivers"] for body in bodies)
    assert mail == [
        {
            "name": "On call",
            "grafana_managed_receiver_configs": [
                {
                    "uid": "mail",
                    "name": "On call",
                    "type": "email",
                    "disableResolveMessage": False,
                    "settings": {"addresses": "a@example.com"},
                    "secureFields": {},
                }
            ],
        }
    ]
    # Grafana looks up the secrets of a contact point that it knows.
    (secret,) = pager[0]["grafana_managed_receiver_configs"]
    assert secret["settings"] == {"class": "x"} and secret["secureFields"] == {"integrationKey": True} and secret["uid"] == "pager"
    # Grafana shows the URL of a webhook, so it would not look it up.
    assert hook[0]["grafana_managed_receiver_configs"][0]["settings"] == {"url": f"https://hooks.example.com/{TOKEN}"}
    assert {json.dumps(body["alert"]) for body in bodies} == {
        json.dumps({"labels": {"severity": "info"}, "annotations": {"description": "This is a test. Nothing is wrong."}})
    }
    assert run.proxy.writes == [f"POST {TEST}"] * 3


def test_some_contact_points_by_name(run: ModuleRun) -> None:
    answering(run.proxy, answer)
    assert [one["uid"] for one in run({}, contact_points=["On call"])["results"]] == ["mail", "pager"]
    refused = run({}, contact_points=["On call", "on call"])
    assert refused["failed"] and "no contact point named on call; there are: Hook, On call" in refused["msg"]


def test_check_mode_sends_nothing(run: ModuleRun) -> None:
    answering(run.proxy, answer)
    planned = run({}, check=True)
    assert planned["changed"] and {one["uid"]: one["sent"] for one in planned["results"]} == dict.fromkeys(("hook", "mail", "pager"), False)
    assert not run.proxy.writes


def test_one_that_fails_does_not_keep_others_from_being_tried(run: ModuleRun) -> None:
    said = f'failed to send: Post "https://me:{KEY}@hooks.example.com/{TOKEN}?x={TOKEN}": dial tcp: lookup hooks.example.com\nno host'

    def failing(point: dict[str, Any]) -> Fault:
        return answer(point, said, 207) if point["uid"] == "hook" else answer(point)

    answering(run.proxy, failing)
    done = run({})
    line = 'failed to send: Post "https://hooks.example.com/...": dial tcp: lookup hooks.example.com no host'
    assert done["failed"] and done["msg"] == f"1 of 3 contact points failed: Hook (webhook, hook): {line}"
    assert done["changed"] and [one["sent"] for one in done["results"]] == [False, True, True]


@pytest.mark.parametrize(("status", "said"), [(400, "could not find addresses in settings"), (408, "the receiver timed out")])
def test_outcomes_with_other_statuses(run: ModuleRun, status: int, said: str) -> None:
    answering(run.proxy, lambda point: answer(point, said, status))
    done = run({}, contact_points=["Hook"])
    assert done["failed"] and not done["changed"] and done["msg"] == f"1 of 1 contact points failed: Hook (webhook, hook): {said}"


JSON = {"Content-Type": "application/json"}
BROKEN: list[tuple[Fault, str]] = [
    ((410, JSON, b'{"message": "gone"}'), "sends test notifications from its pages only"),
    ((404, JSON, b'{"message": "Not found"}'), "sends test notifications from its pages only"),
    ((403, JSON, b'{"message": "no"}'), "403: the user or token may not do this"),
    ((400, JSON, b'{"message": "bad request data"}'), "400: refused: bad request data"),
    ((500, JSON, b'{"message": "Failed"}'), "500: refused: Failed"),
    ((200, JSON, b"[]"), "does not say whether the notification was sent"),
    ((200, JSON, b'{"receivers": []}'), "does not say whether the notification was sent"),
    ((200, {}, b"<html>"), "the answer is a page (HTML)"),
    ("cut", ""),
    ("drop", ""),
]


@pytest.mark.parametrize(("fault", "message"), BROKEN, ids=[str(fault)[:30] for fault, _message in BROKEN])
def test_broken_answers(run: ModuleRun, fault: Fault, message: str) -> None:
    answering(run.proxy, fault)
    refused = run({}, contact_points=["Hook"])
    assert refused["failed"] and message in refused["msg"] and "\n" not in refused["msg"] and not refused["changed"]
    assert [one["sent"] for one in refused["results"]] == [False]


def test_without_contact_points(run_in_grafana: Callable[[ModuleType], ModuleRun]) -> None:
    refused = run_in_grafana(grafana_test_notification)({})
    assert refused["failed"] and refused["msg"] == "there are no contact points"


def test_playbook_shows_a_line_for_each_contact_point(run: ModuleRun, tmp_path: Path) -> None:
    answering(run.proxy, lambda point: answer(point, f"https://h/{TOKEN}: refused", 207) if point["uid"] == "hook" else answer(point))
    for point in POINTS:
        run.server.send("POST", "/api/v1/provisioning/contact-points", point, auth=("admin", PASSWORD))
    values = {**SECRETS, "grafana_admin_password": PASSWORD, "grafana_content_url": run.proxy.url, "observability_pki_dir": str(tmp_path)}
    (tmp_path / "values.json").write_text(json.dumps(values))
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    command = [program, "-i", "localhost,", str(CHECKOUT / "playbooks/test_notification.yml"), "-e", f"@{tmp_path}/values.json", "-vvv"]
    variables = {"ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".collections"), "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local")}
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode != 0, done.stdout + done.stderr
    for line in ("Hook (webhook, hook): https://h/...: refused", "On call (email, mail): sent", "On call (pagerduty, pager): sent"):
        assert f"=> \n    msg: '{line}'\n" in done.stdout, done.stdout
    assert "[ERROR]: Task failed: Action failed: 1 of 3 contact points failed: Hook (webhook, hook): https://h/...: refused" in done.stdout
    assert not [secret for secret in (KEY, TOKEN, PASSWORD, json.dumps(PASSWORD)[1:-1]) if secret in done.stdout + done.stderr]
