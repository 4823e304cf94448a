# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Silences: how they are declared, read, compared and changed (private: may change at any time).

The server makes the ids of silences, and another id when matchers change. So a silence is known by a name at the end of its comment, or
without a name by its matchers and comment. Silences that have expired count as missing.
"""

from __future__ import annotations

import json
import re
import typing as t
from datetime import datetime, timedelta, timezone

from ansible_collections.groundwork.observability.plugins.module_utils._durations import format_duration, parse_duration

from .client import Client, GrafanaError, path_of
from .kind import Change, Declared, Found, Gathered, Kind, Observation, Value, check_unique, matches_any
from .planning import final_value

API = ("alertmanager", "grafana", "api", "v2")
CREATED_BY = "Ansible"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_MARK = re.compile(r"(?:(?P<comment>.*)\s)?\[ansible:(?P<name>[A-Za-z0-9_.-]{1,64})\]\Z", re.DOTALL)
_LONGEST = timedelta(days=3650)
# A silence without a start begins when the server gets the request, and its end is reckoned by the clock of the module's host.
_TOLERANCE = timedelta(seconds=60)


def declare(params: t.Mapping[str, t.Any]) -> list[Declared]:
    """The declared silences. Raises C(GrafanaError) for what is wrong whatever the server has."""
    want = []
    now = datetime.now(timezone.utc)
    for position, options in enumerate(params["silences"]):
        where = f"silences[{position}]"
        name, comment, absent = options["name"], options["comment"].strip(), options["state"] == "absent"
        if name is not None and not _NAME.match(name):
            raise GrafanaError(f"{where}: name {name!r} must have 1 to 64 characters, of A-Z a-z 0-9 _ . and -")
        if _MARK.match(comment):
            raise GrafanaError(f"{where}: comment ends as if it had a name: give the name in the option name")
        if not name and not comment:
            raise GrafanaError(f"{where}: give a name, or a comment that together with the matchers identifies the silence")
        matchers = {} if absent and name else _matchers(options["matchers"] or (), where)
        uid = name or f"{comment} {{{', '.join(matchers)}}}"
        if absent:
            want.append(Declared(uid, None, where))
            continue
        times = _times(options, where)
        value: Value = {"comment": comment, "matchers": sorted(matchers), "copies": 1, **times}
        if options["created_by"]:
            value["created_by"] = options["created_by"]
        raw = {"name": name, "matchers": [matchers[text] for text in sorted(matchers)], "now": now}
        end = _end(times, now)
        if end <= now:
            want.append(Declared(uid, None, where, warning=f"the silence {uid} ended at {_text(end)}: it is not created"))
        else:
            want.append(Declared(uid, value, where, raw))
    check_unique(((item.where, item.uid) for item in want), "its name, or without one its comment and matchers,")
    return want


def _matchers(options: t.Iterable[Value], where: str) -> dict[str, Value]:
    """The matchers in the form of the API, by their text."""
    found: dict[str, Value] = {}
    for position, matcher in enumerate(options):
        if not matcher["name"] or any(ord(character) < 32 for character in matcher["name"]):
            raise GrafanaError(f"{where}: matchers[{position}]: name must not be empty, nor have control characters")
        wire = {"name": matcher["name"], "value": matcher["value"], "isRegex": matcher["is_regex"], "isEqual": matcher["is_equal"]}
        if _matcher_text(wire) in found:
            raise GrafanaError(f"{where}: matchers[{position}] is there twice")
        found[_matcher_text(wire)] = wire
    if not any(wire["value"] or not wire["isEqual"] for wire in found.values()):
        raise GrafanaError(f"{where}: matchers must have at least one with a value: without it everything would be silenced")
    return found


def _matcher_text(wire: Value) -> str:
    operator = ("=~" if wire.get("isRegex") else "=") if wire.get("isEqual", True) else ("!~" if wire.get("isRegex") else "!=")
    return f"{wire['name']}{operator}{json.dumps(wire['value'], ensure_ascii=False)}"


def _times(options: Value, where: str) -> Value:
    """The declared times, each written in one way."""
    times: Value = {}
    if (options["ends_at"] is None) == (options["duration"] is None):
        raise GrafanaError(f"{where}: give either ends_at or duration")
    for key in ("starts_at", "ends_at"):
        if options[key] is not None:
            times[key] = _text(_instant(options[key], f"{where}: {key}"))
    if options["duration"] is not None:
        times["duration"] = _duration_text(_duration(options["duration"], where))
    elif times.get("starts_at", "") >= times["ends_at"]:
        raise GrafanaError(f"{where}: ends_at {options['ends_at']!r} is not after starts_at")
    return times


def _instant(text: str, where: str) -> datetime:
    """Python before 3.11 does not read C(Z), nor fractions of other lengths than 3 and 6 digits."""
    fraction = re.sub(r"\.(\d+)", lambda match: f".{match[1]:0<6.6}", text.strip())
    try:
        instant = datetime.fromisoformat(re.sub(r"[zZ]\Z", "+00:00", fraction))
    except ValueError:
        raise GrafanaError(f"{where}: {text!r} is not a time such as 2030-01-31T08:00:00Z") from None
    if not 1970 < instant.year < 3000:
        raise GrafanaError(f"{where}: {text!r} is not between the years 1971 and 2999")
    if instant.tzinfo is None:
        raise GrafanaError(f"{where}: {text!r} has no time zone: end it with Z for UTC, or with an offset such as +02:00")
    return instant.astimezone(timezone.utc)


def _text(instant: datetime) -> str:
    """As the server writes it, so that texts sort as their instants do."""
    return instant.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _duration(text: str, where: str) -> timedelta:
    length = parse_duration(text, ("w", "d", "h", "m", "s"))
    if length is None:
        raise GrafanaError(f"{where}: duration {text!r} is not one such as 90m, 2h30m, 3d or 1w")
    if not 0 < length <= _LONGEST.total_seconds() * 1000:
        raise GrafanaError(f"{where}: duration {text!r} must be more than 0s and at most {_LONGEST.days}d")
    return timedelta(milliseconds=length)


def _duration_text(duration: timedelta) -> str:
    return format_duration(round(duration.total_seconds()) * 1000)


def _end(times: Value, start: datetime) -> datetime:
    """When a silence ends that starts as declared, or else at C(start)."""
    if "ends_at" in times:
        return _instant(times["ends_at"], "ends_at")
    begin = _instant(times["starts_at"], "starts_at") if "starts_at" in times else start
    return begin + _duration(times["duration"], "duration")


def observe(client: Client, want: t.Sequence[Declared], params: t.Mapping[str, t.Any]) -> Observation:
    """All silences by the list, in one request. Those with the same name are one, with copies."""
    listed = client.get(path_of(*API, "silences"))
    if not isinstance(listed, list):
        raise GrafanaError(f"GET {path_of(*API, 'silences')}: the answer is no list")
    groups: dict[str, list[Value]] = {}
    for raw in listed:
        if raw["status"]["state"] != "expired":
            groups.setdefault(_uid(raw), []).append(raw)
    declared = {item.uid: item for item in want}
    return Observation({uid: _found(uid, group, declared.get(uid)) for uid, group in groups.items()})


def _split(comment: str) -> tuple[str, str]:
    """A comment without the name at its end, and the name."""
    match = _MARK.match(comment)
    return (match["comment"] or "", match["name"]) if match else (comment, "")


def _uid(raw: Value) -> str:
    comment, name = _split(raw["comment"])
    return name or f"{comment} {{{', '.join(sorted(map(_matcher_text, raw['matchers'])))}}}"


def _found(uid: str, group: t.Sequence[Value], item: Declared | None) -> Found:
    """The silence that ends last, in the terms of the declaration: with the declared start if it is over, and with a duration."""
    first, *others = sorted(group, key=lambda raw: (_instant(raw["endsAt"], uid), raw["id"]), reverse=True)
    start, end = (_instant(first[key], uid) for key in ("startsAt", "endsAt"))
    comment, name = _split(first["comment"])
    value = {
        "comment": comment,
        "matchers": sorted(map(_matcher_text, first["matchers"])),
        "created_by": first["createdBy"],
        "starts_at": _text(start),
        "ends_at": _text(end),
        "copies": len(group),
    }
    declared = (item.value if item else None) or {}
    if item and "starts_at" in declared and first["status"]["state"] == "active":
        begin = _instant(declared["starts_at"], uid)
        if begin <= item.raw["now"]:
            # Both have begun. The server does not keep a start that was over when it got the silence.
            value["starts_at"], start = declared["starts_at"], begin
    if "duration" in declared:
        del value["ends_at"]
        wanted = _duration(declared["duration"], uid)
        value["duration"] = _duration_text(wanted if abs(end - start - wanted) <= _TOLERANCE else end - start)
    return Found(uid, value, {"name": name, "first": first, "ids": [raw["id"] for raw in (first, *others)]})


def purged(want: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> list[Declared]:
    """Silences that have a name, are not declared, and match the option purge."""
    scope, declared = params["purge"], {item.uid for item in want}
    return [
        Declared(uid, None, "purge")
        for uid, found in (sorted(observation.have.items()) if scope else ())
        if uid not in declared and found.raw["name"] and matches_any(uid, scope["names"]) and not matches_any(uid, scope["keep"])
    ]


def check(want: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> None:
    """Raises C(GrafanaError) for a duration that is shorter than a silence has already held."""
    for item in want:
        found = observation.have.get(item.uid)
        if item.value and found and _end(final_value(item, found) or {}, item.raw["now"]) <= item.raw["now"]:
            raise GrafanaError(
                f"{item.where}: silence {item.uid} began at {found.value['starts_at']} and would have ended by now with duration "
                f"{item.value['duration']}: set state: absent to end it, or a longer duration"
            )


def changes(item: Declared, found: Found | None, observation: Observation) -> list[Change]:
    """The requests that make one silence as declared: one for itself where it differs, and one for each that is too many."""
    if item.value is None:
        return [_expire(item.uid, number) for number in (found.raw["ids"] if found else ())]
    made = [_expire(item.uid, number) for number in (found.raw["ids"][1:] if found else ())]
    value = final_value(item, found) or {}
    if found and {**found.value, "copies": 1} == value:
        return made
    comment = f"{value['comment']} [ansible:{item.raw['name']}]".strip() if item.raw["name"] else value["comment"]
    body: Value = {"matchers": item.raw["matchers"], "comment": comment, "createdBy": value.get("created_by", CREATED_BY)}
    shown: Value = {}
    start = item.raw["now"]
    if found:
        first = found.raw["first"]
        body["id"] = first["id"]
        if found.value["matchers"] == value["matchers"]:
            body["matchers"] = first["matchers"]
    if found and found.value["starts_at"] == value["starts_at"]:
        # What the server has: another start would make another silence.
        body["startsAt"] = found.raw["first"]["startsAt"]
    elif "starts_at" in value:
        body["startsAt"] = value["starts_at"]
    else:
        body["startsAt"] = _text(start)
        shown["startsAt"] = "now"
        if "duration" in value:
            shown["endsAt"] = f"now + {value['duration']}"
    body["endsAt"] = _text(_end(value, start))
    return [Change(item.uid, "POST", path_of(*API, "silences"), body, parent="", name=item.uid, masked=shown), *made]


def _expire(uid: str, number: str) -> Change:
    return Change(uid, "DELETE", path_of(*API, "silence", number), deletes=True)


def gather(client: Client) -> Gathered:
    """All silences that have not expired."""
    options = {}
    for uid, found in observe(client, [], {}).have.items():
        matchers = [
            {"name": wire["name"], "value": wire["value"], "is_regex": bool(wire.get("isRegex")), "is_equal": wire.get("isEqual", True)}
            for wire in found.raw["first"]["matchers"]
        ]
        named = {"name": found.raw["name"]} if found.raw["name"] else {}
        kept = {key: found.value[key] for key in ("comment", "created_by", "starts_at", "ends_at")}
        options[uid] = {**named, **kept, "matchers": matchers}
    return Gathered(options)


SILENCES = Kind("silence", declare, observe, purged, check, changes)
