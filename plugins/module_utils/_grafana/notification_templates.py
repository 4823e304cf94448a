# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notification templates: how they are declared, read, compared and changed (private: may change at any time)."""

from __future__ import annotations

import functools
import re
import typing as t

from .client import Client, GrafanaError, path_of
from .kind import Change, Declared, Found, Gathered, Kind, Observation, Value, check_unique, nothing_to_check
from .provenance import headers_for, purged_by_pattern, wanted_provenance

_ACTION = re.compile(r"{{-?\s*(\w*)")
_COMMENT = re.compile(r"{{-?\s*/\*.*?\*/\s*-?}}", re.DOTALL)
_OPENING = ("block", "define", "if", "range", "with")
_PATH = ("v1", "provisioning", "templates")


def declare(params: t.Mapping[str, t.Any]) -> list[Declared]:
    """The declared templates. Raises C(GrafanaError) for what is wrong whatever the server has."""
    want = []
    for position, options in enumerate(params["templates"]):
        where = f"templates[{position}]"
        name = options["name"].strip()
        if not name or any(ord(character) < 32 for character in name):
            raise GrafanaError(f"{where}: name must not be empty, and must not contain control characters")
        value = None
        if options["state"] == "present":
            value = {"template": _canonical(name, options["template"] or "", where), "provenance": wanted_provenance(params)}
        want.append(Declared(name, value, where))
    check_unique(((item.where, item.uid) for item in want), "name")
    return want


def _canonical(name: str, text: str, where: str) -> str:
    """The text as Grafana stores it: trimmed, and inside of a C(define) with the template's name where it has none."""
    text = text.strip()
    if not text:
        raise GrafanaError(f"{where}: template {name!r} has no text")
    words = _ACTION.findall(_COMMENT.sub("", text))
    opened, ends = sum(word in _OPENING for word in words), words.count("end")
    if opened != ends:
        raise GrafanaError(f"{where}: template {name!r} opens {opened} blocks (define, if, range, with, block), and has {ends} times end")
    if "define" in words:
        return text
    body = "\n".join(f"  {line}" for line in text.splitlines())
    return f'{{{{ define "{name}" }}}}\n{body}\n{{{{ end }}}}'


def observe(client: Client, want: t.Sequence[Declared], params: t.Mapping[str, t.Any]) -> Observation:
    """All templates by the list."""
    listed = client.get_list(*_PATH)
    return Observation({raw["name"]: Found(raw["name"], _value(raw), raw) for raw in listed})


def _value(raw: Value) -> Value:
    return {"template": str(raw.get("template") or "").strip(), "provenance": raw.get("provenance") or ""}


def changes(item: Declared, found: Found | None, observation: Observation) -> list[Change]:
    """The request that makes one template as declared."""
    path = path_of(*_PATH, item.uid)
    if item.value is None:
        return [Change(item.uid, "DELETE", path, deletes=True, headers=headers_for(found))]
    body = {"name": item.uid, "template": item.value["template"]}
    if found and found.raw.get("version"):
        # Grafana refuses to overwrite what somebody else has changed since it was read.
        body["version"] = found.raw["version"]
    return [Change(item.uid, "PUT", path, body, headers=headers_for(item))]


def gather(client: Client) -> Gathered:
    """All templates, with their provenance."""
    return Gathered({uid: {"name": uid, **found.value} for uid, found in observe(client, [], {}).have.items()})


TEMPLATES = Kind("template", declare, observe, functools.partial(purged_by_pattern, "templates"), nothing_to_check, changes)
