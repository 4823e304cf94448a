# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Configuration as data, written as XML."""

from __future__ import annotations

import typing as t
from xml.etree import ElementTree

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.groundwork.observability.plugins.filter.clickhouse_xml import to_clickhouse_xml


def test_complete_file() -> None:
    settings = {
        "http_port": {"@remove": "remove"},
        "listen_host": ["::1", "127.0.0.1"],
        "logger": {"level": "information", "console": True},
        "macros": {"shard": 1, "replica": "a"},
        "profiles": {"default": None},
        "nothing": [],
    }
    assert to_clickhouse_xml(settings, "managed") == (
        "<!-- managed -->\n"
        "<clickhouse>\n"
        '    <http_port remove="remove"/>\n'
        "    <listen_host>::1</listen_host>\n"
        "    <listen_host>127.0.0.1</listen_host>\n"
        "    <logger>\n"
        "        <level>information</level>\n"
        "        <console>1</console>\n"
        "    </logger>\n"
        "    <macros>\n"
        "        <shard>1</shard>\n"
        "        <replica>a</replica>\n"
        "    </macros>\n"
        "    <profiles>\n"
        "        <default/>\n"
        "    </profiles>\n"
        "</clickhouse>\n"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("", None),
        (False, "0"),
        (0, "0"),
        (0.05, "0.05"),
        ("a < b & \"c\" 'd' ]]>", "a < b & \"c\" 'd' ]]>"),
        ("/clickhouse/tables/{shard}", "/clickhouse/tables/{shard}"),
        ("two\nlines", "two\nlines"),
        ("Grüße", "Grüße"),
    ],
)
def test_values_survive(value: t.Any, text: str | None) -> None:
    root = ElementTree.fromstring(to_clickhouse_xml({"a": value, "b": {"@x": value, "c": 1}}))
    element = root.find("a")
    assert root.tag == "clickhouse"
    assert element is not None
    assert element.text == text


def test_attributes_text_and_repeated_dictionaries() -> None:
    text = to_clickhouse_xml({"shard": [{"weight": 1}, {"@replace": True, "#text": 'a"b<', "@n": "x\"'&"}]})
    shards = ElementTree.fromstring(text).findall("shard")
    assert [shard.findtext("weight") for shard in shards] == ["1", None]
    assert shards[1].attrib == {"replace": "1", "n": "x\"'&"}
    assert shards[1].text == 'a"b<'


def test_comment_with_the_end_of_a_comment_is_escaped() -> None:
    text = to_clickhouse_xml({"a": 1}, "x --> <evil/> --- y-")
    assert ElementTree.fromstring(text).find("evil") is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["a"], "expected a dictionary"),
        ({"a b": 1}, "clickhouse.a b is not a name"),
        ({"a": {"<b>": 1}}, "clickhouse.a.<b> is not a name"),
        ({"a": [[1]]}, "clickhouse.a is a list"),
        ({"a": {"@b": {}}}, "clickhouse.a.@b is a dict"),
        ({"a": "\x00"}, "clickhouse.a has a character"),
    ],
)
def test_refuses(settings: t.Any, message: str) -> None:
    with pytest.raises(AnsibleFilterError, match="to_clickhouse_xml: .*" + message.replace("(", r"\(")):
        to_clickhouse_xml(settings)
