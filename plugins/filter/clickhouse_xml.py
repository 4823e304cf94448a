# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ClickHouse's configuration is data here, XML on the disk."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

from ansible.errors import AnsibleFilterError

_NAME = re.compile(r"[A-Za-z_][\w.-]*\Z")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INDENT = "    "


def to_clickhouse_xml(settings: Mapping[str, t.Any], comment: str = "") -> str:
    """A ClickHouse configuration file.

    :param settings: the elements below C(<clickhouse>).
    :param comment: put on top of the file as a comment.
    """
    if not isinstance(settings, Mapping):
        raise AnsibleFilterError(f"to_clickhouse_xml: expected a dictionary, got {type(settings).__name__}")
    lines = [f"<!-- {re.sub('-(?=-)', '- ', _text(comment, 'comment'))} -->"] if comment else []
    lines += _element("clickhouse", settings, "clickhouse", 0)
    return "\n".join(lines) + "\n"


def _element(name: str, value: t.Any, path: str, depth: int) -> list[str]:
    """Lines of one element."""
    if not _NAME.match(name):
        raise AnsibleFilterError(f"to_clickhouse_xml: {path} is not a name for an XML element")
    pad = _INDENT * depth
    if not isinstance(value, Mapping):
        text = _text(value, path)
        return [f"{pad}<{name}>{escape(text)}</{name}>" if text else f"{pad}<{name}/>"]
    attributes = "".join(f" {key[1:]}={quoteattr(_text(item, f'{path}.{key}'))}" for key, item in value.items() if key.startswith("@"))
    text = escape(_text(value.get("#text"), f"{path}.#text"))
    inner: list[str] = []
    for key, item in value.items():
        if key.startswith("@") or key == "#text":
            continue
        repeated = isinstance(item, Sequence) and not isinstance(item, (str, bytes))
        for entry in item if repeated else [item]:
            inner += _element(key, entry, f"{path}.{key}", depth + 1)
    if inner:
        return [f"{pad}<{name}{attributes}>{text}", *inner, f"{pad}</{name}>"]
    return [f"{pad}<{name}{attributes}>{text}</{name}>" if text else f"{pad}<{name}{attributes}/>"]


def _text(value: t.Any, path: str) -> str:
    """A scalar as ClickHouse reads it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        # Numbers, because settings such as readonly take no word, and everything that takes a word takes these.
        return str(int(value))
    if not isinstance(value, (str, int, float)):
        raise AnsibleFilterError(f"to_clickhouse_xml: {path} is a {type(value).__name__}, expected text or a number")
    text = str(value)
    if _NOT_XML.search(text):
        raise AnsibleFilterError(f"to_clickhouse_xml: {path} has a character that XML cannot hold")
    return text


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"to_clickhouse_xml": to_clickhouse_xml}
