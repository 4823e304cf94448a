# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Service accounts, and their tokens as files on this host (private: may change at any time).

Grafana shows the key of a token once, in the answer that makes it. So that a key which did not arrive is told apart from one that
somebody moved away, its file holds :data:`PENDING` before the request is sent. The next run replaces such a token.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
import typing as t
from dataclasses import dataclass

from ansible_collections.groundwork.observability.plugins.module_utils._plan import Operation, Step

from .client import Client, GrafanaError, path_of
from .directory import SERVICE_ACCOUNT, Directory, Part, checked_name, name_of, uid_of
from .kind import Change, Declared, Found, Gathered, Observation, Value, check_unique, reference

# What the option replace may list.
LOST, EXPIRED, ALWAYS = "lost", "expired", "always"
# Values of tokens in diffs.
_PRESENT, _NEW, _UNDELIVERED = "present", "present, new", "its key did not arrive"
MAKE_TOKEN = "make a token"
PENDING = "grafana_access: the key of this token has not arrived yet\n"
_KEY = re.compile(rb"[\x21-\x7e]{16,}\s*\Z")
_KEY_AT_MOST = 4096


def declare(params: t.Mapping[str, t.Any]) -> list[Declared]:
    """The declared service accounts. Raises C(GrafanaError) for what is wrong whatever the server has."""
    want = []
    names: list[tuple[str, str]] = []
    paths: list[tuple[str, str]] = []
    for position, options in enumerate(params["service_accounts"]):
        where = f"service_accounts[{position}]"
        name = checked_name(options["name"], where)
        if options["state"] == "absent":
            if options["tokens"] is not None or options["purge"]:
                raise GrafanaError(f"{where}: a service account that is absent has no tokens")
            want.append(Declared(uid_of(SERVICE_ACCOUNT, name), None, where))
            continue
        tokens = {}
        for number, token in enumerate(options["tokens"] or ()):
            inside = f"{where}.tokens[{number}]"
            token_name = checked_name(token["name"], inside)
            names.append((inside, token_name))
            tokens[token_name] = {**token, "where": inside}
            if token["state"] == "absent":
                continue
            _check_token(token, inside)
            paths += [(inside, os.path.realpath(token["path"]))] if token["path"] else []
        value = {key: options[key] for key in ("role", "disabled") if options[key] is not None}
        if options["tokens"] is not None or options["purge"]:
            value["tokens"] = {key: _PRESENT for key, token in tokens.items() if token["state"] == "present"}
        want.append(Declared(uid_of(SERVICE_ACCOUNT, name), value, where, {"tokens": tokens, "purge": options["purge"]}))
    check_unique(((item.where, item.uid) for item in want), "name")
    check_unique(names, "name of a token, which the organisation has once,")
    check_unique(paths, "path")
    return want


def _check_token(token: Value, where: str) -> None:
    path, seconds = token["path"], token["seconds_to_live"]
    if not path and not token["return_key"]:
        raise GrafanaError(f"{where}: give path or return_key: Grafana shows the key only once")
    if path and not os.path.isabs(path):
        raise GrafanaError(f"{where}: path {path!r} must start with /")
    if LOST in token["replace"] and not path:
        raise GrafanaError(f"{where}: replace: {LOST} needs path")
    if seconds is not None and seconds < 1:
        raise GrafanaError(f"{where}: seconds_to_live: {seconds} is less than 1; leave it out for a token that does not expire")


def observe(directory: Directory, want: t.Sequence[Declared], params: t.Mapping[str, t.Any]) -> dict[str, Found]:
    """The declared accounts by the list of all, and the tokens of each that declares some by itself: the API has no list of all."""
    have = {}
    for item in want:
        accounts = directory.service_accounts().get(name_of(item.uid), [])
        if len(accounts) > 1:
            raise GrafanaError(f"{item.where}: {len(accounts)} service accounts have this name; rename or delete all but one")
        raw = accounts[0] if accounts else None
        value: Value = {"role": raw["role"], "disabled": raw["isDisabled"]} if raw else {}
        if item.value is not None and "tokens" in item.value:
            listed = directory.client.get_list("serviceaccounts", str(raw["id"]), "tokens") if raw and raw["tokens"] else []
            found = {token["name"]: token for token in listed}
            # No two tokens of an organisation have the same name.
            directory.ids.update({reference("token", name): token["id"] for name, token in found.items()})
            value["tokens"] = dict.fromkeys(found, _PRESENT)
            kept: dict[str, str] = {} if item.raw["purge"] else dict(value["tokens"])
            for name, token in item.raw["tokens"].items():
                kept.pop(name, None)
                if token["state"] == "present":
                    found_state, kept[name] = _compared(token, found.get(name), directory)
                    value["tokens"].update({name: found_state} if name in found else {})
            item.value["tokens"] = kept
        if raw:
            have[item.uid] = Found(item.uid, value, raw)
    return have


def _compared(token: Value, found: Value | None, directory: Directory) -> tuple[str, str]:
    """What a token is, and what it will be: the same unless it is to be replaced."""
    path, asked = token["path"], token["replace"]
    subject = f"{token['where']}: token {token['name']!r}"
    content = _content(path, token["where"]) if path else None
    if found is None:
        return "", _PRESENT
    if content == PENDING.encode():
        return _UNDELIVERED, _PRESENT
    if ALWAYS in asked:
        return _PRESENT, _NEW
    if found["hasExpired"]:
        if EXPIRED in asked:
            return "expired", _PRESENT
        directory.warnings.append(f"{subject} has expired; replace: [{EXPIRED}] makes a new one")
        return "expired", "expired"
    if path and not content:
        if LOST in asked:
            return "its key is lost", _PRESENT
        directory.warnings.append(f"{subject} exists, but its key is not in {path}; replace: [{LOST}] revokes it and makes a new one")
    return _PRESENT, _PRESENT


def _content(path: str, where: str) -> bytes | None:
    """What the file holds, C(None) where there is none. Raises C(GrafanaError) where it holds something else than a key."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise GrafanaError(f"{where}: {path} is no file")
        with open(path, "rb") as file:
            content = file.read(_KEY_AT_MOST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise GrafanaError(f"{where}: {path} cannot be read: {error.strerror}") from None
    if content and content != PENDING.encode() and (len(content) > _KEY_AT_MOST or not _KEY.match(content)):
        raise GrafanaError(f"{where}: {path} holds something else than the key of a token; it is not overwritten")
    return content


def check(want: t.Sequence[Declared], everything: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> None:
    """Raises C(GrafanaError) for files that cannot be written."""
    for item in want:
        before = observation.have[item.uid].value.get("tokens", {}) if item.uid in observation.have else {}
        for name, state in (item.value or {}).get("tokens", {}).items():
            token = item.raw["tokens"].get(name)
            if not token or not token["path"] or before.get(name) == state:
                continue
            folder = os.path.dirname(os.path.realpath(token["path"]))
            if not os.path.isdir(folder):
                # In check mode a task before this one may be about to make it.
                if not params.get("check_mode"):
                    raise GrafanaError(f"{token['where']}: folder {folder} does not exist")
            elif not os.access(folder, os.W_OK | os.X_OK):
                raise GrafanaError(f"{token['where']}: the user of this task may not write into folder {folder}")


def changes(item: Declared, found: Found | None, observation: Observation) -> list[Change]:
    """The requests that make one service account as declared."""
    name = name_of(item.uid)
    path = ("serviceaccounts", reference(SERVICE_ACCOUNT, name))
    if item.value is None:
        return [Change(item.uid, "DELETE", path_of(*path), deletes=True)]
    made = []
    if found is None:
        body = {"name": name, "role": item.value.get("role", "Viewer"), "isDisabled": item.value.get("disabled", False)}
        made.append(Change(item.uid, "POST", path_of("serviceaccounts"), body))
    else:
        wire = {"role": "role", "disabled": "isDisabled"}
        body = {wire[key]: item.value[key] for key in wire if key in item.value and item.value[key] != found.value[key]}
        made += [Change(item.uid, "PATCH", path_of(*path), body)] if body else []
    before: Value = found.value.get("tokens", {}) if found else {}
    after: Value = item.value.get("tokens", before)
    replaced = {token for token in before if before[token] != after.get(token)}
    made += [Change(item.uid, "DELETE", path_of(*path, "tokens", reference("token", token))) for token in sorted(replaced)]
    for token in sorted(after):
        if token not in before or token in replaced:
            options = item.raw["tokens"][token]
            seconds = {} if options["seconds_to_live"] is None else {"secondsToLive": options["seconds_to_live"]}
            operation = Operation(MAKE_TOKEN, (name, token, options["path"], options["return_key"]))
            made.append(Change(item.uid, "POST", path_of(*path, "tokens"), {"name": token, **seconds}, prepare=operation))
    return made


@dataclass(frozen=True)
class Key:
    """The key of a new token, which is to be returned."""

    service_account: str
    token: str
    key: str


def prepare(step: Step) -> None:
    """Write where the key will come that it has not. Raises C(GrafanaError) if that cannot be done: then there is no token either."""
    if step.prepare and step.prepare.name == MAKE_TOKEN and step.prepare.arguments[2]:
        _write(step.prepare.arguments[2], PENDING)


def receive(step: Step, answer: t.Any) -> Key | None:
    """Write a key to its file. Returns it, if that is asked for."""
    if step.prepare is None:
        return None
    account, token, path, returned = step.prepare.arguments
    key = answer.get("key") if isinstance(answer, dict) else None
    if not isinstance(key, str):
        raise GrafanaError(f"token {token!r}: the answer of the server has no key")
    if path:
        _write(path, key)
    return Key(account, token, key) if returned else None


def _write(path: str, text: str) -> None:
    """Put a file in its place as a whole, readable by its owner alone. One that is there gives it its owner."""
    target = os.path.realpath(path)
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".grafana_access-", dir=os.path.dirname(target))
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                if os.path.exists(target) and os.geteuid() == 0:
                    os.fchown(file.fileno(), os.stat(target).st_uid, os.stat(target).st_gid)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise GrafanaError(f"{path} cannot be written: {error.strerror}") from None


def gather(client: Client) -> Gathered:
    """All service accounts. Their tokens are secrets."""
    gathered = Gathered({})
    for name, accounts in Directory(client).service_accounts().items():
        if len(accounts) > 1:
            gathered.left_out[name] = f"{len(accounts)} service accounts have this name"
            continue
        (raw,) = accounts
        gathered.options[name] = {"name": name, "role": raw["role"], "disabled": raw["isDisabled"]}
        if raw["tokens"]:
            tokens = client.get_list("serviceaccounts", str(raw["id"]), "tokens")
            gathered.secrets[name] = [f"token {token['name']}" for token in tokens]
    return gathered


SERVICE_ACCOUNTS = Part(SERVICE_ACCOUNT, declare, observe, check, changes)
