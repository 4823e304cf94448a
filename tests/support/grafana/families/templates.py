# GNU General Public License v3.0+ (see LICENSE)
"""Notification templates. A version, made from the text, guards against writes that do not know the current one."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from ..alerting import READ, WRITE, check_provenance, invalid, missing, provenance, with_provenance
from ..api import ADMIN, SIGNED_IN, Fail, Reply, Request, Routes, absent
from ..store import Row, Store

routes = Routes()
ACTION = re.compile(r"{{-?\s*(\w*)")
OPENING = ("block", "define", "if", "range", "with")


def read(name: str, text: str) -> str:
    """The text as stored: trimmed, and inside a `define` of the template's name where it has none."""
    text = text.strip()
    if not text:
        raise invalid("template must have content")
    words = ACTION.findall(text)
    if sum(word in OPENING for word in words) > words.count("end"):
        line = text.count("\n") + 1
        raise invalid(f"invalid template: template: {name}:{line}: unexpected EOF")
    if "define" in words:
        return text
    body = "\n".join(f"  {line}" for line in text.splitlines())
    return f'{{{{ define "{name}" }}}}\n{body}\n{{{{ end }}}}'


def put(store: Store, org: int, name: str, text: str, origin: str) -> Row:
    """Create or replace a template."""
    old = store.one("templates", orgId=org, name=name)
    check_provenance(old, origin)
    row = {"orgId": org, "name": name, "template": read(name, text), "provenance": origin}
    if old is None:
        return store.add("templates", row)
    old.update(row)
    return old


def version(row: Row) -> str:
    """The version of a template's text."""
    return hashlib.sha256(row["template"].encode()).hexdigest()[:16]


def shown(row: Row) -> Row:
    """A template as answered."""
    return with_provenance({"name": row["name"], "template": row["template"], "version": version(row)}, row)


@routes("GET", "/api/v1/provisioning/templates", ADMIN, READ)
def listing(request: Request) -> Any:
    rows = request.store.rows("templates", orgId=request.org)
    return [shown(row) for row in sorted(rows, key=lambda row: str(row["name"]))]


@routes("GET", "/api/v1/provisioning/templates/:name", ADMIN, READ)
def get(request: Request) -> Any:
    row = request.store.one("templates", orgId=request.org, name=request.params["name"])
    return shown(row) if row else missing()


@routes("PUT", "/api/v1/provisioning/templates/:name", ADMIN, WRITE)
def update(request: Request) -> Any:
    body, name = request.json(), request.params["name"]
    old = request.store.one("templates", orgId=request.org, name=name)
    if old and body.get("version") and body["version"] != version(old):
        raise Fail(409, "the template has been changed by someone else", traced=True)
    text = body.get("template") or ""
    return Reply(202, shown(put(request.store, request.org, name, text, provenance(request))))


@routes("DELETE", "/api/v1/provisioning/templates/:name", ADMIN, WRITE)
def delete(request: Request) -> Any:
    request.store.drop("templates", orgId=request.org, name=request.params["name"])
    return Reply(204)


routes("POST", "/api/v1/provisioning/templates", SIGNED_IN)(absent)
