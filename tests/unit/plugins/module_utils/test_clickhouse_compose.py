# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables declared by options."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import declaration
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouseError

COLUMN = {"name": "k", "type": "UInt8", "default_kind": "DEFAULT"}
TABLE: dict[str, t.Any] = {"kind": "table", "name": "d.t", "engine": "MergeTree", "columns": [COLUMN], "order_by": "k"}


def statement(**options: t.Any) -> str:
    return declaration.declare([{**TABLE, **options}])[0].statement


def test_every_option() -> None:
    assert statement(
        columns=[
            COLUMN,
            {**COLUMN, "name": "a `b`", "type": "String", "default": "'x'", "comment": "it's", "codec": "ZSTD(1)", "ttl": "now() + 1"},
            {**COLUMN, "name": "e", "default_kind": "EPHEMERAL"},
        ],
        indices=[{"name": "i", "expression": "k", "type": "minmax", "granularity": 2}],
        constraints=[{"name": "c", "check": "k > 1"}],
        projections=[{"name": "p", "query": "SELECT count()"}],
        partition_by="k % 2",
        primary_key="k",
        sample_by="k",
        ttl="now()",
        settings={"a": 1, "b": "x'y", "c": True},
        comment="two\nlines",
    ) == (
        "CREATE TABLE d.t (k UInt8, `a \\`b\\`` String DEFAULT 'x' COMMENT 'it\\'s' CODEC(ZSTD(1)) TTL now() + 1, e UInt8 EPHEMERAL,"
        " INDEX i k TYPE minmax GRANULARITY 2, CONSTRAINT c CHECK k > 1, PROJECTION p (SELECT count())) ENGINE = MergeTree"
        " PARTITION BY k % 2 PRIMARY KEY k ORDER BY k SAMPLE BY k TTL now() SETTINGS a = 1, b = 'x\\'y', c = 1 COMMENT 'two\nlines'"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "t"}, "objects[0].name: t needs its database"),
        ({"name": None}, "objects[0].name is missing"),
        ({"name": "d.t.u"}, "objects[0].name"),
        ({"columns": []}, "objects[0].columns is missing"),
        ({"columns": [{**COLUMN, "type": ""}]}, "objects[0].columns[0].type is empty"),
        ({"columns": [{**COLUMN, "type": "UInt8, x UInt8) ENGINE = Log --"}]}, "objects[0].columns[0].type: its parentheses do not match"),
        ({"columns": [{**COLUMN, "default": "1; DROP TABLE d.t"}]}, "objects[0].columns[0].default: there is a semicolon"),
        ({"columns": [{**COLUMN, "default_kind": "ALIAS"}]}, "objects[0].columns[0].default is missing"),
        ({"order_by": "'k"}, "objects[0].order_by: a quote opened at character 0 is never closed"),
        ({"order_by": "(k"}, "objects[0].order_by: its parentheses do not match"),
        ({"settings": {"a b": 1}}, "objects[0].settings: 'a b' is no name"),
        ({"settings": {"a": [1]}}, "objects[0].settings.a: expected"),
        ({"kind": "view"}, "objects[0].columns does not go with a view"),
        ({"ddl": "CREATE TABLE d.t (k UInt8) ENGINE = Log"}, "objects[0].columns does not go with a statement in ddl"),
    ],
)
def test_bad_options_are_named(options: dict[str, t.Any], message: str) -> None:
    with pytest.raises(ClickHouseError) as caught:
        statement(**options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_secrets_among_settings() -> None:
    options = {**TABLE, "settings": {"kafka_sasl_password": "hunter2"}}
    assert "hunter2" in declaration.find_declared_secrets([options])
