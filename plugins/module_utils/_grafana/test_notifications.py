# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test notifications: what is sent to Grafana for each contact point, and what its answer says (private: may change at any time).

Source: grafana/grafana 12, pkg/services/ngalert/api: RoutePostTestGrafanaReceivers and statusForTestReceivers. Grafana looks up the
secrets of a contact point by its uid, so that they are not sent. The answer has the outcome of each contact point, also with the statuses
207, 400 (its settings are wrong) and 408 (it did not answer). Grafana 13 has no such request any more.
"""

from __future__ import annotations

import re
import typing as t

from .client import Client, GrafanaError, Refused, path_of
from .contact_points import REDACTED, leaves, without_leaves
from .secret_digest import RECORD

_PATH = path_of("alertmanager", "grafana", "config", "api", "v1", "receivers", "test")
_LIST = ("v1", "provisioning", "contact-points")
# A URL may have a token before @, in its path and in its query. Its host and port help to find the fault.
_URL = re.compile(
    r"(https?://)(?:[^/\s\"'@]*@)?((?:\[[0-9A-Fa-f:.]+\]|[^/\s\"'?#:]+)(?::[0-9]+)?)"
    r"[^\s\"']*?(?=[:,;.)]*(?:[\s\"']|$))"
)

Value = dict[str, t.Any]


def choose(client: Client, names: t.Collection[str]) -> list[Value]:
    """The contact points with these names, or all, as the server has them. That of a fresh server, which has no uid, is left out.

    :raises GrafanaError: there is none, or none with one of the names.
    """
    there = [raw for raw in client.get_list(*_LIST) if raw.get("uid")]
    missing = sorted(set(names) - {raw["name"] for raw in there})
    if missing:
        known = ", ".join(sorted({raw["name"] for raw in there})) or "none"
        raise GrafanaError(f"contact_points: there is no contact point named {', '.join(missing)}; there are: {known}")
    if not there:
        raise GrafanaError("there are no contact points")
    return sorted((raw for raw in there if not names or raw["name"] in names), key=lambda raw: (raw["name"], raw["uid"]))


def request(point: t.Mapping[str, t.Any], labels: t.Mapping[str, str], annotations: t.Mapping[str, str]) -> Value:
    """The body of the request for one contact point.

    :param point: the contact point, as the server has it.
    :param labels: labels of the alert, besides those that Grafana adds.
    :param annotations: annotations of the alert, besides those that Grafana adds.
    """
    settings = {key: part for key, part in (point.get("settings") or {}).items() if key != RECORD}
    hidden = {path for path, part in leaves(settings) if part == REDACTED}
    integration = {
        **{key: point[key] for key in ("uid", "name", "type")},
        "disableResolveMessage": bool(point.get("disableResolveMessage")),
        "settings": without_leaves(settings, hidden),
        "secureFields": {".".join(path): True for path in sorted(hidden)},
    }
    receiver = {"name": point["name"], "grafana_managed_receiver_configs": [integration]}
    return {"receivers": [receiver], "alert": {"labels": dict(labels), "annotations": dict(annotations)}}


def send(client: Client, point: t.Mapping[str, t.Any], labels: t.Mapping[str, str], annotations: t.Mapping[str, str]) -> str:
    """Let Grafana send a notification by one contact point.

    :returns: why it was not sent, without secrets, on one line; empty if it was.
    :raises GrafanaError: Grafana did not try.
    """
    try:
        answer = client.send("POST", _PATH, request(point, labels, annotations))
    except Refused as error:
        if error.status in (404, 410):
            raise GrafanaError(
                f"POST {_PATH}: {error.status}: this Grafana sends test notifications from its pages only (Alerting, Contact points, "
                "Test); it is older than 8, or 13 or newer",
                error.status,
            ) from None
        if error.status not in (400, 408) or not isinstance(error.answer, dict) or "receivers" not in error.answer:
            raise
        answer = error.answer
    return outcome(answer)


def outcome(answer: t.Any) -> str:
    """Why a notification was not sent, without secrets, on one line; empty if it was.

    :raises GrafanaError: the answer does not say it.
    """
    try:
        (receiver,) = answer["receivers"]
        (config,) = receiver["grafana_managed_receiver_configs"]
        status, said = config["status"], str(config.get("error") or "")
    except (KeyError, TypeError, ValueError):
        raise GrafanaError(f"POST {_PATH}: the answer does not say whether the notification was sent") from None
    if status == "ok":
        return ""
    return without_urls(said) or f"its status is {status}"


def without_urls(text: str) -> str:
    """A text on one line, with the hosts of its URLs only: the rest of a URL may be a secret."""
    return " ".join(_URL.sub(r"\1\2/...", text).split())[:500]
