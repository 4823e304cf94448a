# GNU General Public License v3.0+ (see LICENSE)
"""Replays exchanges recorded from a real Grafana, and tells where a server's answers differ."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.grafana_server import GrafanaServer

RECORDINGS = Path(__file__).with_name("grafana") / "recordings"
PASSWORDS = {
    "admin": "admin",
    "rec-viewer": "viewer-pw-1",
    "rec-editor": "editor-pw-1",
    "rec-wrong": "not-the-password",
}
PLACEHOLDER = re.compile(r"<<(\w+)>>")
# Numbers and texts under these keys differ between two runs of a real server too; only their type is compared.
VOLATILE_NUMBER = re.compile(
    r"(^|[._a-z])(id|Id|ID|version|Version|created|updated|buildstamp|active\w+|secondsUntilExpiration)$"
)
VOLATILE_TEXT = re.compile(
    r"\.(commit|version|lastSeenAtAge|traceID|accessErrorId|latestVersion|http_port|appUrl|key)$"
)
# Parts of a text that differ, and what may stand in their place.
MADE_BY_SERVER = re.compile(
    r"(?P<uid>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
    r"|(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))"
    r"|(?P<id>(?<=dashboardId )\d+)"
)
REPLACEMENT = {"uid": r"[\w-]{1,40}", "time": r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)", "id": r"\d+"}

Exchange = dict[str, Any]


def recording(family: str) -> list[Exchange]:
    """One family's exchanges in their order."""
    exchanges: list[Exchange] = json.loads((RECORDINGS / f"{family}.json").read_text(encoding="utf-8"))
    return exchanges


def replay(
    server: GrafanaServer, family: str, values: dict[str, Any], path_of: Callable[[str], str] = str
) -> Iterator[tuple[Exchange, int, Any]]:
    """Send each request, with what this server captured before; the exchange, and the answer's status and body.

    `path_of` makes of a recorded path the one to send.
    """
    for exchange in recording(family):
        if "file" in exchange:
            _write(server.provisioning, exchange["file"])
            continue
        request = {**exchange["request"], **exchange["request"].get("template", {})}
        auth: tuple[str, str] | str | None = (request["auth"], PASSWORDS.get(request["auth"], ""))
        if request["auth"] == "none":
            auth = None
        elif request["auth"].startswith("token:"):
            auth = values.get(request["auth"][6:], request["auth"][6:])
        body = request["raw_body"].encode() if "raw_body" in request else fill(request.get("body"), values)
        headers = {key: str(value) for key, value in fill(request.get("headers", {}), values).items()}
        path = path_of(fill(request["path"], values))
        status, answer = server.send(request["method"], path, body, auth=auth, headers=headers)
        for name, path in exchange.get("captures", {}).items():
            found = look_up(answer, path)
            if found is not None:
                values[name] = found
        yield exchange, status, answer


def compare(exchange: Exchange, status: int, answer: Any) -> list[str]:
    """How an answer differs from the recorded one."""
    recorded = exchange["response"]
    if status != recorded["status"]:
        return [f"status {recorded['status']} became {status}: {answer}"]
    if exchange.get("compare") == "status":
        return []
    if "body_keys_kept" in recorded and isinstance(answer, dict):
        answer = {key: value for key, value in answer.items() if key in recorded["body_keys_kept"]}
    return list(differences(recorded["body"], answer, "body"))


def fill(value: Any, values: dict[str, Any]) -> Any:
    """Put captured values into <<name>>; a text that is only a placeholder takes the value's type."""
    if isinstance(value, str):
        whole = PLACEHOLDER.fullmatch(value)
        if whole:
            return values.get(whole[1], value)
        return PLACEHOLDER.sub(lambda match: str(values.get(match[1], match[0])), value)
    if isinstance(value, list):
        return [fill(item, values) for item in value]
    if isinstance(value, dict):
        return {key: fill(item, values) for key, item in value.items()}
    return value


def look_up(body: Any, path: str) -> Any:
    """The value at a path of keys and positions, or None."""
    for part in path.split("."):
        try:
            body = body[int(part)] if isinstance(body, list) else body[part]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return body


def differences(old: Any, new: Any, path: str) -> Iterator[str]:
    """Other keys, types or values, except where two runs of a real server differ."""
    if _kind(old) != _kind(new):
        yield f"{path}: {_kind(old)} became {_kind(new)}"
    elif isinstance(old, dict):
        for key in sorted(old.keys() | new.keys()):
            if key not in new:
                yield f"{path}.{key}: missing"
            elif key not in old:
                yield f"{path}.{key}: not in the recording"
            else:
                yield from differences(old[key], new[key], f"{path}.{key}")
    elif isinstance(old, list):
        if len(old) != len(new):
            yield f"{path}: {len(old)} items became {len(new)}"
        for number, (first, second) in enumerate(zip(old, new, strict=False)):
            yield from differences(first, second, f"{path}.{number}")
    elif not _alike(old, new, path):
        yield f"{path}: {old!r} became {new!r}"


def _alike(old: Any, new: Any, path: str) -> bool:
    if old == new:
        return True
    if not isinstance(old, str):
        return _kind(old) == "number" and bool(VOLATILE_NUMBER.search(path))
    if VOLATILE_TEXT.search(path):
        return True
    pattern, end = "", 0
    for match in MADE_BY_SERVER.finditer(old):
        pattern += re.escape(old[end : match.start()]) + REPLACEMENT[str(match.lastgroup)]
        end = match.end()
    return bool(re.fullmatch(pattern + re.escape(old[end:]), str(new), re.DOTALL))


def _kind(value: Any) -> str:
    kinds = (bool, "boolean"), ((int, float), "number"), (str, "string"), (list, "list"), (dict, "object")
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")


def _write(folder: Path, file: dict[str, str]) -> None:
    target = folder / file["path"]
    if file["action"] == "delete":
        target.unlink(missing_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(file["content"].replace("<<provisioning>>", str(folder)), encoding="utf-8")
