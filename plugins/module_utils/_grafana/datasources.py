# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data sources: how they are declared, read, compared and changed (private: may change at any time).

The digest of all secrets is kept in C(jsonData), which the list of data sources has.
"""

from __future__ import annotations

import json
import typing as t
from urllib.parse import urlsplit

from .client import Client, GrafanaError, Refused, path_of
from .kind import FROM_FILE, Change, Declared, Found, Gathered, Kind, Observation, Value, check_uid, check_unique, matches_any
from .planning import final_value, is_as_declared
from .secret_digest import ALWAYS, DIGEST, MASK, ON_CREATE, OTHER, RECORD, make_record, matches, new_salt

POSTGRES = "grafana-postgresql-datasource"
# Grafana answers the old name under the new one since 10.2.3.
_ALIASES = {"postgres": POSTGRES}
# Names in requests, by option. The list has all but the last two.
_KEYS = {
    "name": "name",
    "type": "type",
    "access": "access",
    "url": "url",
    "user": "user",
    "database": "database",
    "basic_auth": "basicAuth",
    "is_default": "isDefault",
    "json_data": "jsonData",
    "basic_auth_user": "basicAuthUser",
    "with_credentials": "withCredentials",
}
_NOT_LISTED = ("basic_auth_user", "with_credentials")
# Stays as it is where the option is not given.
_KEPT = ("is_default", *_NOT_LISTED)


def canonical_type(name: str) -> str:
    """The id of a data source plugin, of which C(name) may be the old one."""
    return _ALIASES.get(name, name)


def declare(params: t.Mapping[str, t.Any]) -> list[Declared]:
    """The declared data sources. Raises C(GrafanaError) for what is wrong whatever the server has."""
    want = []
    for position, options in enumerate(params["datasources"]):
        where = f"datasources[{position}]"
        check_uid(options["uid"], where)
        if options["state"] == "absent":
            want.append(Declared(options["uid"], None, where))
            continue
        _check_options(options, where)
        value = {key: options[key] for key in _KEYS if key not in _KEPT or options[key] is not None}
        value["type"] = canonical_type(options["type"])
        value["name"] = options["name"].strip()
        if options["basic_auth"] is None:
            value["basic_auth"] = bool(options["basic_auth_user"])
        if value["type"] == POSTGRES and options["database"]:
            # Where Grafana's own editor reads it.
            value["json_data"] = {"database": options["database"], **options["json_data"]}
        secrets = options["secure_json_data"]
        if secrets is not None:
            value["secure_json_data"] = dict.fromkeys(sorted(secrets), MASK)
        raw = {"type": options["type"], "salt": new_salt(), "mode": params["update_secrets"]}
        want.append(Declared(options["uid"], value, where, raw, secrets or {}))
    check_unique(((item.where, item.uid) for item in want), "uid")
    check_unique(((item.where, item.value["name"].casefold()) for item in want if item.value), "name")
    default = [(item.where, True) for item in want if item.value and item.value.get("is_default")]
    check_unique(default, "is_default=true")
    for item in want:
        # Or a request for another data source would take the default back.
        if item.value and default:
            item.value.setdefault("is_default", False)
    return want


def _check_options(options: t.Mapping[str, t.Any], where: str) -> None:
    subject = f"{where}: data source {options['uid']!r}"
    for key in ("name", "type"):
        text = (options[key] or "").strip()
        if not text or len(text) > 190 or any(ord(character) < 32 for character in text):
            raise GrafanaError(f"{subject}: {key} must have 1 to 190 characters, and no control characters")
    if RECORD in options["json_data"]:
        raise GrafanaError(f"{subject}: json_data: {RECORD} is where this module keeps its digest")
    for key, secret in (options["secure_json_data"] or {}).items():
        if not isinstance(secret, str) or not secret:
            raise GrafanaError(f"{subject}: secure_json_data.{key} must be a text that is not empty; without the key the secret is removed")
    url = options["url"]
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
        wrong = parts.port == 0 or any(character.isspace() for character in parts.netloc)
    except ValueError:
        raise GrafanaError(f"{subject}: url is not a URL, nor host:port") from None
    if parts.password:
        raise GrafanaError(f"{subject}: url contains a password; use secure_json_data")
    if wrong:
        raise GrafanaError(f"{subject}: url {url!r} is not a URL, nor host:port")


def observe(client: Client, want: t.Sequence[Declared], params: t.Mapping[str, t.Any]) -> Observation:
    """All data sources by the list, and by itself each that differs or declares what the list does not have."""
    listed = client.get_list("datasources")
    declared = {item.uid: item for item in want}
    have = {raw["uid"]: _found(raw, declared.get(raw["uid"])) for raw in listed}
    for item in want:
        found = have.get(item.uid)
        if item.value is None or found is None:
            continue
        if not is_as_declared(item, found) or any(key in item.value for key in _NOT_LISTED):
            raw = client.get(path_of("datasources", "uid", item.uid), missing={})
            if raw:
                have[item.uid] = _found(raw, item)
            else:
                del have[item.uid]
    types = {item.raw["type"] for item in want if item.value and (item.uid not in have or _type(have[item.uid]) != item.value["type"])}
    return Observation(have, extra={"missing": [name for name in sorted(types) if not _installed(client, name)]})


def _installed(client: Client, name: str) -> bool:
    """Grafana takes a data source of any type, and then cannot use it. Without the right to look at plugins nothing is known."""
    try:
        return bool(client.get(path_of("plugins", name, "settings"), missing={}))
    except Refused as error:
        if error.status == 403:
            return True
        raise


def _type(found: Found) -> str:
    return str(found.value["type"])


def _found(raw: Value, item: Declared | None) -> Found:
    value = {key: raw[name] for key, name in _KEYS.items() if name in raw}
    value["type"] = canonical_type(value["type"])
    value["json_data"] = {key: part for key, part in (raw.get("jsonData") or {}).items() if key != RECORD}
    if item is not None and item.value is not None and "secure_json_data" in item.value:
        value["secure_json_data"] = _compared_secrets(item, raw)
    return Found(raw["uid"], value, raw)


def _compared_secrets(item: Declared, raw: Value) -> dict[str, str]:
    """The masks of the declared secrets if they are the same on the server as far as that can be known, others if not."""
    masks: dict[str, str] = (item.value or {})["secure_json_data"]
    if item.raw["mode"] == ON_CREATE or (item.raw["mode"] == ALWAYS and not masks):
        return masks
    record = (raw.get("jsonData") or {}).get(RECORD)
    if item.raw["mode"] == DIGEST and isinstance(record, dict):
        if "secureJsonFields" in raw and sorted(key for key, is_set in raw["secureJsonFields"].items() if is_set) != sorted(masks):
            return dict.fromkeys(raw["secureJsonFields"], OTHER)
        if matches(record, item.secrets):
            return masks
    return dict.fromkeys(raw.get("secureJsonFields") or masks or ("unknown",), OTHER)


def purged(want: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> list[Declared]:
    """Data sources that are not declared, match the option purge, and are no file's."""
    scope, declared = params["purge"], {item.uid for item in want}
    return [
        Declared(uid, None, "purge")
        for uid, found in (observation.have.items() if scope else ())
        if uid not in declared and not found.raw.get("readOnly") and matches_any(uid, scope["uids"]) and not matches_any(uid, scope["keep"])
    ]


def check(want: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> None:
    """Raises C(GrafanaError) for what a file owns, a name that another keeps, and a type whose plugin is missing."""
    declared = {item.uid for item in want}
    names = {found.value["name"].casefold(): uid for uid, found in observation.have.items() if uid not in declared}
    for item in want:
        found = observation.have.get(item.uid)
        before = found.value if found else None
        if found and found.raw.get("readOnly") and not is_as_declared(item, found):
            raise GrafanaError(f"{item.where}: data source {item.uid!r} comes from a provisioning file: change or remove it there")
        if item.value is None:
            continue
        taken = names.get(item.value["name"].casefold())
        if taken and (before is None or before["name"] != item.value["name"]):
            raise GrafanaError(f"{item.where}: name {item.value['name']!r} is that of data source {taken!r}, which is not declared")
        if item.raw["type"] in observation.extra.get("missing", ()):
            raise GrafanaError(f"{item.where}: no plugin for data sources of type {item.raw['type']!r} is installed")


def changes(item: Declared, found: Found | None, observation: Observation) -> list[Change]:
    """The request that makes one data source as declared."""
    if item.value is None:
        return [Change(item.uid, "DELETE", path_of("datasources", "uid", item.uid), deletes=True)]
    return [_write(item, found, item.value["name"])]


def _write(item: Declared, found: Found | None, name: str) -> Change:
    value = final_value(item, found) or {}
    body: Value = {wire: value[key] for key, wire in _KEYS.items() if key in value}
    body.update(uid=item.uid, name=name, type=item.raw["type"])
    shown = {"jsonData": body["jsonData"]}
    record = ((found.raw.get("jsonData") or {}) if found else {}).get(RECORD)
    if "secure_json_data" in value:
        if found is None or found.value["secure_json_data"] != value["secure_json_data"]:
            # An empty text removes a secret; one that is left out stays.
            gone = dict.fromkeys((found.raw.get("secureJsonFields") or ()) if found else (), "")
            body["secureJsonData"] = {**gone, **item.secrets}
            shown["secureJsonData"] = {**gone, **dict.fromkeys(sorted(item.secrets), MASK)}
            record = make_record(item.secrets, item.raw["salt"])
        record = record if item.raw["mode"] == DIGEST else None
    if record:
        body["jsonData"] = {**body["jsonData"], RECORD: record}
    if found is None:
        return Change(item.uid, "POST", path_of("datasources"), body, parent="", name=name, masked=shown)
    body["version"] = found.raw.get("version")
    return Change(item.uid, "PUT", path_of("datasources", "uid", item.uid), body, name=name, masked=shown)


def detour(item: Declared, found: Found, name: str) -> tuple[Change, Change]:
    """A name for a while, and the declared one."""
    return _write(item, found, name), _write(item, found, (item.value or found.value)["name"])


def place(value: Value) -> tuple[str, str]:
    """Data sources have no parent."""
    return "", value["name"]


def misread(statement: str, answer: t.Any) -> str:
    """Whether Grafana answers with another data source than the one that was sent."""
    text = statement.partition("\n")[2]
    uid = (json.loads(text) if text else {}).get("uid")
    answered = answer.get("datasource", {}).get("uid", uid) if isinstance(answer, dict) and uid else uid
    return "" if answered == uid else f"the server changed data source {answered!r} instead"


def gather(client: Client) -> Gathered:
    """All data sources but those of provisioning files, each by a request of its own: the list lacks what is needed."""
    gathered = Gathered({})
    for uid in sorted(observe(client, [], {}).have):
        raw = client.get(path_of("datasources", "uid", uid), missing={})
        if not raw:
            continue
        if raw.get("readOnly"):
            gathered.left_out[uid] = FROM_FILE
            continue
        value = {"uid": uid, **_found(raw, None).value}
        names = [key for key, is_set in sorted((raw.get("secureJsonFields") or {}).items()) if is_set]
        parts = urlsplit(value.get("url") or "")
        if parts.password:
            names.append("password in url")
            value["url"] = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        gathered.options[uid] = value
        if names:
            gathered.secrets[uid] = names
    return gathered


DATASOURCES = Kind("datasource", declare, observe, purged, check, changes, detour, place, misread)
