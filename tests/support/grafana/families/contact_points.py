# GNU General Public License v3.0+ (see LICENSE)
"""Contact points: integrations, of which those of one name form one receiver. Nothing is ever sent."""

from __future__ import annotations

import uuid
from typing import Any

from ..alerting import READ, WRITE, invalid, provenance, with_provenance
from ..api import ADMIN, SIGNED_IN, Fail, Reply, Request, Routes, absent, not_covered
from ..store import Row, Store
from . import policies

routes = Routes()
REDACTED = "[REDACTED]"
# The receiver that every organisation has from the start. It is named otherwise in the list, and has no uid.
FIRST = {
    "uid": "",
    "name": "email receiver",
    "type": "email",
    "settings": {"addresses": "<example@email.com>"},
    "disableResolveMessage": False,
    "provenance": "",
}
# Required settings and secret settings. Email, pagerduty, slack and webhook were recorded; the others are as Grafana's
# source declares them.
TYPES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "dingding": (("url",), ()),
    "discord": (("url",), ("url",)),
    "email": (("addresses",), ()),
    "googlechat": (("url",), ()),
    "kafka": (("kafkaRestProxy", "kafkaTopic"), ("password",)),
    "line": (("token",), ("token",)),
    "oncall": (("url",), ("authorization_credentials", "password")),
    "opsgenie": (("apiKey",), ("apiKey",)),
    "pagerduty": (("integrationKey",), ("integrationKey",)),
    "prometheus-alertmanager": (("url",), ("basicAuthPassword",)),
    "pushover": (("apiToken", "userKey"), ("apiToken", "userKey")),
    "sensugo": (("url", "apikey"), ("apikey",)),
    "slack": ((), ("token", "url")),
    "teams": (("url",), ()),
    "telegram": (("bottoken", "chatid"), ("bottoken",)),
    "threema": (("gateway_id", "recipient_id", "api_secret"), ("api_secret",)),
    "victorops": (("url",), ()),
    "webex": (("room_id", "bot_token"), ("bot_token",)),
    "webhook": (("url",), ("authorization_credentials", "password")),
    "wecom": ((), ("secret", "url")),
}
# Types that Grafana has, and whose settings nothing says.
OTHER_TYPES = ("alertmanager", "jira", "mqtt", "sns")


def read(body: Row) -> Row:
    """The contact point in a body or file, checked."""
    kind, settings = body.get("type") or "", body.get("settings") or {}
    if kind in OTHER_TYPES:
        raise not_covered(f"contact points of type {kind}")
    if not settings and kind in TYPES and "settings" not in body:
        raise invalid("settings should not be empty")
    if kind not in TYPES:
        raise invalid(f"unknown type '{kind}'")
    for key in TYPES[kind][0]:
        if not settings.get(key):
            raise invalid(f"failed to validate receiver of type \"{kind}\": required field '{key}' is not specified")
    name, quiet = body.get("name") or "", bool(body.get("disableResolveMessage"))
    return {"name": name, "type": kind, "settings": settings, "disableResolveMessage": quiet}


def shown(row: Row, settings: Row) -> Row:
    """A contact point as answered."""
    keys = ("uid", "name", "type", "disableResolveMessage")
    return with_provenance({**{key: row[key] for key in keys}, "settings": settings}, row)


def listed(row: Row) -> Row:
    """As `shown`, with the secrets that are set hidden."""
    secret = TYPES[row["type"]][1]
    return shown(row, {key: REDACTED if key in secret else value for key, value in row["settings"].items()})


def put(store: Store, org: int, uid: str, point: Row, origin: str) -> Row:
    """Create or replace a contact point. A secret that is sent back hidden stays."""
    old = store.one("contact_points", orgId=org, uid=uid)
    if old is None:
        return store.add("contact_points", {"orgId": org, "uid": uid, **point, "provenance": origin})
    if old["provenance"] not in ("", origin):
        raise Fail(500, f"cannot changed provenance from '{old['provenance']}' to '{origin}'", traced=True)
    kept = {key: old["settings"].get(key) for key, value in point["settings"].items() if value == REDACTED}
    name = old["name"]
    old.update(point, settings={**point["settings"], **kept}, provenance=origin)
    if not store.one("contact_points", orgId=org, name=name):
        policies.rename_receiver(store, org, name, old["name"])
    return old


def remove(store: Store, org: int, uid: str) -> None:
    """Delete a contact point, unless the policies need its receiver."""
    row = store.one("contact_points", orgId=org, uid=uid)
    is_last = row and len(store.rows("contact_points", orgId=org, name=row["name"])) == 1
    if row and is_last and policies.uses(store, org, "receiver", row["name"]):
        message = f"contact point '{row['name']}' is currently used by a notification policy"
        raise Fail(409, message, traced=True)
    store.drop("contact_points", orgId=org, uid=uid)


@routes("GET", "/api/v1/provisioning/contact-points", ADMIN, READ)
def listing(request: Request) -> Any:
    rows = [FIRST, *request.store.rows("contact_points", orgId=request.org)]
    if "name" in request.query:
        rows = [row for row in rows if row["name"] == request.arg("name")]
    return [listed(row) for row in sorted(rows, key=lambda row: (str(row["name"]), str(row["uid"])))]


@routes("POST", "/api/v1/provisioning/contact-points", ADMIN, WRITE)
def create(request: Request) -> Any:
    body, store = request.json(), request.store
    point, uid = read(body), body.get("uid") or str(uuid.uuid4())
    other = store.one("contact_points", orgId=request.org, uid=uid)
    if other:
        raise Fail(
            500,
            f"receiver configuration with UID '{uid}' already exist in contact point '{other['name']}'. "
            "Please use unique identifiers for receivers across all contact points",
            traced=True,
        )
    row = put(store, request.org, uid, point, provenance(request))
    # The answer also hides secrets that are not set.
    return Reply(202, shown(row, {**row["settings"], **dict.fromkeys(TYPES[row["type"]][1], REDACTED)}))


@routes("PUT", "/api/v1/provisioning/contact-points/:uid", ADMIN, WRITE)
def update(request: Request) -> Any:
    uid, point = request.params["uid"], read(request.json())
    if not request.store.one("contact_points", orgId=request.org, uid=uid):
        raise Fail(404, f"object not found: contact point with uid '{uid}' not found", traced=True)
    put(request.store, request.org, uid, point, provenance(request))
    return Reply(202, {"message": "contactpoint updated"})


@routes("DELETE", "/api/v1/provisioning/contact-points/:uid", ADMIN, WRITE)
def delete(request: Request) -> Any:
    remove(request.store, request.org, request.params["uid"])
    return Reply(202, {"message": "contactpoint deleted"})


routes("GET", "/api/v1/provisioning/contact-points/:uid", SIGNED_IN)(absent)


@routes("GET", "/api/v1/provisioning/contact-points/export", ADMIN, READ)
def export(_request: Request) -> Any:
    raise not_covered("the export of contact points")
