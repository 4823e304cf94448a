# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contact points: how they are declared, read, compared and changed (private: may change at any time).

Grafana has one settings for all: which of them are secret depends on the type and the version, and shows in that it answers
:data:`REDACTED`. A digest of the declared secrets is kept among the settings; Grafana stores settings that it does not know.
"""

from __future__ import annotations

import copy
import functools
import typing as t

from .client import Client, GrafanaError, path_of
from .kind import Change, Declared, Found, Gathered, Kind, Observation, Value, check_uid, check_unique
from .planning import final_value
from .provenance import headers_for, purged_by_pattern, wanted_provenance
from .secret_digest import ALWAYS, DIGEST, MASK, ON_CREATE, OTHER, RECORD, make_record, matches, new_salt

REDACTED = "[REDACTED]"
_PATH = ("v1", "provisioning", "contact-points")
# Settings that Grafana treats as secrets in every version that has the type, whose name it writes LINE for one. Others may be given as
# secrets too. Source: grafana/grafana, pkg/services/ngalert/notifier/channels_config/available_channels.go.
SECRETS: dict[str, tuple[str, ...]] = {
    "discord": ("url",),
    "kafka": ("password",),
    "line": ("token",),
    "oncall": ("authorization_credentials", "password"),
    "opsgenie": ("apiKey",),
    "pagerduty": ("integrationKey",),
    "prometheus-alertmanager": ("basicAuthPassword",),
    "pushover": ("apiToken", "userKey"),
    "sensugo": ("apikey",),
    "slack": ("token", "url"),
    "telegram": ("bottoken",),
    "threema": ("api_secret",),
    "webex": ("bot_token",),
    "webhook": ("authorization_credentials", "password"),
    "wecom": ("secret", "url"),
}
Path = tuple[str, ...]


def leaves(settings: t.Any, above: Path = ()) -> t.Iterator[tuple[Path, t.Any]]:
    """The values of nested settings with their keys from the top. A list is one value."""
    for key, part in settings.items():
        if isinstance(part, dict):
            yield from leaves(part, (*above, str(key)))
        else:
            yield (*above, str(key)), part


def get_leaf(settings: t.Any, path: Path) -> t.Any:
    """The value at a path, C(None) where there is none."""
    for key in path:
        settings = settings.get(key) if isinstance(settings, dict) else None
    return settings


def with_leaf(settings: Value, path: Path, value: t.Any) -> None:
    """Set the value at a path."""
    for key in path[:-1]:
        settings = settings.setdefault(key, {})
    settings[path[-1]] = value


def without_leaves(settings: Value, paths: t.Collection[Path], above: Path = ()) -> Value:
    """The settings without some values, and without what is empty then."""
    kept: Value = {}
    for key, part in settings.items():
        path = (*above, key)
        if path in paths:
            continue
        if isinstance(part, dict) and part:
            part = without_leaves(part, paths, path)
            if not part:
                continue
        kept[key] = part
    return kept


def declare(params: t.Mapping[str, t.Any]) -> list[Declared]:
    """The declared contact points. Raises C(GrafanaError) for what is wrong whatever the server has."""
    want = []
    for position, options in enumerate(params["contact_points"]):
        where, uid = f"contact_points[{position}]", options["uid"]
        check_uid(uid, where)
        if options["state"] == "absent":
            want.append(Declared(uid, None, where))
            continue
        subject = f"{where}: contact point {uid!r}"
        name, kind, settings = (options["name"] or "").strip(), (options["type"] or "").strip(), options["settings"] or {}
        if not name or any(ord(character) < 32 for character in name):
            raise GrafanaError(f"{subject}: name must not be empty, and must not contain control characters")
        if not kind:
            raise GrafanaError(f"{subject}: type is missing, for example email, slack, pagerduty or webhook")
        value: Value = {"name": name, "type": kind, "disable_resolve_message": options["disable_resolve_message"]}
        value.update(settings=settings, provenance=wanted_provenance(params))
        secrets = _secrets(options["secure_settings"], settings, subject)
        if secrets is not None:
            value["secure_settings"] = {".".join(path): MASK for path in sorted(secrets)}
        raw = {"mode": params["update_secrets"], "salt": new_salt(), "paths": sorted(secrets or ())}
        named = {".".join(path): secret for path, secret in (secrets or {}).items()}
        # What stands in the wrong place is refused, and must not be shown before.
        known = SECRETS.get(kind.lower(), ())
        misplaced = {path[-1]: str(part) for path, part in leaves(settings) if path[-1] in known and len(path) == 1}
        raw["misplaced"] = sorted(misplaced)
        want.append(Declared(uid, value, where, raw, {**misplaced, **named}))
    check_unique(((item.where, item.uid) for item in want), "uid")
    return want


def _secrets(given: t.Any, settings: Value, subject: str) -> dict[Path, str] | None:
    """The secrets by their keys from the top. Raises C(GrafanaError)."""
    if RECORD in settings:
        raise GrafanaError(f"{subject}: settings: {RECORD} is where this module keeps its digest")
    if any(part == REDACTED for _path, part in leaves(settings)):
        raise GrafanaError(f"{subject}: settings: {REDACTED} stands for a secret that Grafana does not show; give that in secure_settings")
    if given is None:
        return None
    found = {}
    for path, secret in leaves(given):
        key = ".".join(path)
        if not isinstance(secret, str) or not secret or secret == REDACTED:
            raise GrafanaError(f"{subject}: secure_settings.{key} must be a text that is not empty; without the key the secret is removed")
        if get_leaf(settings, path) is not None:
            raise GrafanaError(f"{subject}: {key} is both in settings and in secure_settings")
        found[path] = secret
    return found


def observe(client: Client, want: t.Sequence[Declared], params: t.Mapping[str, t.Any]) -> Observation:
    """All contact points by the list. That of a fresh server has no uid, and cannot be addressed."""
    listed = client.get_list(*_PATH)
    declared = {item.uid: item for item in want}
    have = {raw["uid"]: _found(raw, declared.get(raw["uid"])) for raw in listed if raw.get("uid")}
    return Observation(have, extra={"nameless": sorted(raw["name"] for raw in listed if not raw.get("uid"))})


def _found(raw: Value, item: Declared | None) -> Found:
    value: Value = {"name": raw["name"], "type": raw["type"], "disable_resolve_message": bool(raw.get("disableResolveMessage"))}
    value["provenance"] = raw.get("provenance") or ""
    # The settings of what is not declared are not shown: any may have been given as a secret.
    if item is not None and item.value is not None:
        settings = copy.deepcopy({key: part for key, part in (raw.get("settings") or {}).items() if key != RECORD})
        secret = _secret_paths(raw) | {path for path in item.raw["paths"] if get_leaf(settings, path) is not None}
        for path, part in leaves(item.value["settings"]):
            # What was declared as a secret before is compared with what is declared as none now, but not shown.
            if path in secret and get_leaf(settings, path) != part:
                with_leaf(settings, path, OTHER)
            secret.discard(path)
        value["settings"] = without_leaves(settings, secret)
        if "secure_settings" in item.value:
            value["secure_settings"] = _compared_secrets(item, settings, secret, (raw.get("settings") or {}).get(RECORD))
    return Found(raw["uid"], value, raw)


def _secret_paths(raw: Value) -> set[Path]:
    """The settings that Grafana hides, those that are secrets of the type, and those that were declared as secrets before."""
    settings = raw.get("settings") or {}
    record = settings.get(RECORD)
    before = {tuple(str(key).split(".")) for key in record.get("keys") or ()} if isinstance(record, dict) else set()
    known = before | {(key,) for key in SECRETS.get(raw["type"].lower(), ())}
    return {path for path, part in leaves(settings) if part == REDACTED} | {path for path in known if get_leaf(settings, path) is not None}


def _compared_secrets(item: Declared, settings: Value, paths: t.Collection[Path], record: t.Any) -> dict[str, str]:
    """Masks of what is set: those of the declaration where a secret is the same, as far as that can be known, else others."""
    hidden = any(get_leaf(settings, path) == REDACTED for path in paths)
    mode = item.raw["mode"]
    same = mode == ON_CREATE or (mode == DIGEST and hidden and matches(record, item.secrets))
    found = {}
    for path in sorted(paths):
        key, part = ".".join(path), get_leaf(settings, path)
        is_same = same if part == REDACTED else part == item.secrets.get(key) and mode != ALWAYS
        found[key] = MASK if is_same else OTHER
    return found


def check(want: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> None:
    """Raises C(GrafanaError) for a secret among the settings that are none."""
    for item in want:
        if item.value is None:
            continue
        found = observation.have.get(item.uid)
        same_type = found is not None and found.value["type"] == item.value["type"]
        hidden = {path for path, part in leaves(found.raw.get("settings") or {}) if part == REDACTED} if found and same_type else set()
        misplaced = [".".join(path) for path, _part in leaves(item.value["settings"]) if path in hidden]
        for key in [*item.raw["misplaced"], *misplaced]:
            raise GrafanaError(
                f"{item.where}: contact point {item.uid!r}: {key} is a secret for Grafana: give it in secure_settings instead of settings"
            )


def changes(item: Declared, found: Found | None, observation: Observation) -> list[Change]:
    """The request that makes one contact point as declared. Grafana deletes secrets that are left out, and keeps those sent redacted."""
    path = path_of(*_PATH, item.uid)
    if item.value is None:
        return [Change(item.uid, "DELETE", path, deletes=True, headers=headers_for(found))]
    value = final_value(item, found) or {}
    old = (found.raw.get("settings") or {}) if found else {}
    settings, shown = copy.deepcopy(value["settings"]), copy.deepcopy(value["settings"])
    if "secure_settings" in item.value:
        for keys in item.raw["paths"]:
            keeps = item.raw["mode"] == ON_CREATE and get_leaf(old, keys) == REDACTED
            with_leaf(settings, keys, REDACTED if keeps else item.secrets[".".join(keys)])
            with_leaf(shown, keys, MASK)
        if item.raw["mode"] == DIGEST and item.raw["paths"]:
            settings[RECORD] = {**make_record(item.secrets, item.raw["salt"]), "keys": sorted(value["secure_settings"])}
    elif found and found.value["type"] == value["type"]:
        for keys in sorted(_secret_paths(found.raw) - {path for path, _part in leaves(settings)}):
            with_leaf(settings, keys, get_leaf(old, keys))
            with_leaf(shown, keys, MASK)
        if RECORD in old:
            settings[RECORD] = old[RECORD]
    body = {"uid": item.uid, "name": value["name"], "type": value["type"]}
    body.update(settings=settings, disableResolveMessage=value["disable_resolve_message"])
    method, target = ("PUT", path) if found else ("POST", path_of(*_PATH))
    return [Change(item.uid, method, target, body, masked={"settings": shown}, headers=headers_for(item))]


def gather(client: Client) -> Gathered:
    """All contact points, with their provenance and without secrets."""
    observation = observe(client, [], {})
    gathered = Gathered({}, dict.fromkeys(observation.extra["nameless"], "it has no uid"))
    for uid, found in observation.have.items():
        paths = _secret_paths(found.raw)
        settings = {key: part for key, part in (found.raw.get("settings") or {}).items() if key != RECORD}
        gathered.options[uid] = {"uid": uid, **found.value, "settings": without_leaves(settings, paths)}
        if paths:
            gathered.secrets[uid] = sorted(".".join(path) for path in paths)
    return gathered


CONTACT_POINTS = Kind("contact_point", declare, observe, functools.partial(purged_by_pattern, "contact_points"), check, changes)
