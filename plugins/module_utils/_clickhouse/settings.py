# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings as users give them and as the HTTP interface takes them (private: may change at any time). Pure."""

from __future__ import annotations

import re
import typing as t

from . import client as clickhouse

_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
# Arguments of the HTTP interface beside the settings, and settings that are options of the module.
_NO_SETTINGS = {
    "readonly": "write decides about it",
    "profile": "it might allow to write",
    "database": "it is an option of its own",
    "wait_end_of_query": "it is always on",
    **dict.fromkeys(
        (
            "query", "query_id", "user", "password", "role", "quota_key", "session_id", "session_check", "session_timeout", "close_session",
            "default_format", "compress", "decompress", "buffer_size", "stacktrace", "client_protocol_version", "enable_http_compression",
        ),
        "it is no setting",
    ),
}  # fmt: skip


def settings_text(settings: t.Mapping[str, t.Any], option: str = "settings") -> dict[str, str]:
    """Settings as the HTTP interface takes them; C(option) is where they were given, for messages. Raises C(ClickHouseError)."""
    found = {}
    for name, value in settings.items():
        where = f"{option}.{name}"
        if not _SETTING.fullmatch(str(name)):
            raise clickhouse.ClickHouseError(f"{option}: {excerpt(str(name))} is no name of a setting")
        reason = _NO_SETTINGS.get(name) or ("it is no setting" if name.startswith("param_") else None)
        if name.startswith("output_format_json_"):
            reason = "rows depend on it"
        if reason:
            raise clickhouse.ClickHouseError(f"{where} cannot be given: {reason}")
        if isinstance(value, bool):
            found[name] = str(int(value))
        elif isinstance(value, (str, int, float)):
            check_text(where, str(value))
            found[name] = str(value)
        else:
            raise clickhouse.ClickHouseError(f"{where}: expected a text, number or boolean")
    return found


def check_text(where: str, text: str) -> None:
    """Raise C(ClickHouseError) for text that cannot be sent; C(where) is the option that has it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise clickhouse.ClickHouseError(f"{where}: it is not UTF-8 text") from error


def excerpt(text: str) -> str:
    """The beginning of a text on one line, quoted, for messages."""
    shown = " ".join(text.encode("utf-8", "replace").decode().split())
    return repr(shown if len(shown) <= 40 else shown[:39] + "…")
