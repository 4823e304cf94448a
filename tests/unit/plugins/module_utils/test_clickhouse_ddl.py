# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading DDL without a server."""

from __future__ import annotations

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.create_statement import Create, parse_create
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.references import find_references, has_lookup
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.server_defaults import fill_server_defaults
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.sql_clauses import (
    clause_text,
    join_clauses,
    parse_engine,
    replace_engine,
    set_settings,
    split_clauses,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.sql_secrets import (
    contains_hidden_secret,
    find_hidden_secrets,
    find_secrets,
    mask_secrets,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.sql_tokens import (
    DDLError,
    quote_name,
    quote_string,
    tokenize,
    unquote,
)


@pytest.mark.parametrize(
    ("text", "kind", "database", "name", "body"),
    [
        ("create table a.b (x UInt8) engine=Memory;", "table", "a", "b", "(x UInt8) engine=Memory"),
        ("CREATE TABLE IF NOT EXISTS a.b\n(x UInt8) ENGINE=Log", "table", "a", "b", "(x UInt8) ENGINE=Log"),
        ("-- why\nCREATE /* ; */ VIEW `a b`.\"c`d\" AS SELECT ';'", "view", "a b", "c`d", "AS SELECT ';'"),
        (r"CREATE TABLE `a\`b`.`c``d` (x UInt8) ENGINE = Log", "table", "a`b", "c`d", "(x UInt8) ENGINE = Log"),
        (
            "CREATE MATERIALIZED VIEW a.b TO a.c AS SELECT 1",
            "materialized_view",
            "a",
            "b",
            "TO a.c AS SELECT 1",
        ),
    ],
)
def test_parse(text: str, kind: str, database: str, name: str, body: str) -> None:
    assert parse_create(text) == Create(kind, database, name, body)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the statement is empty"),
        (" ; ", "the statement is empty"),
        ("DROP TABLE a.b", "expected a CREATE statement, found 'DROP'"),
        ("CREATE DATABASE a", "CREATE DATABASE A is not managed.*by kind and name"),
        ("CREATE ROLE a", "CREATE ROLE A is not managed"),
        ("CREATE TEMPORARY TABLE a (x UInt8)", "CREATE TEMPORARY TABLE is not managed"),
        ("CREATE TABLE a.b ON CLUSTER c (x UInt8)", "ON CLUSTER is not accepted"),
        ("CREATE TABLE b (x UInt8)", "needs its database"),
        ("CREATE TABLE a.b.c (x UInt8)", "expected a name"),
        ("CREATE TABLE 'a'.'b' (x UInt8)", "expected a name"),
        ("CREATE TABLE a.b", "nothing follows the name"),
        ("CREATE TABLE a.b (x UInt8 ENGINE = Log", "parentheses do not match"),
        ("CREATE TABLE a.b x UInt8) ENGINE = Log", "parentheses do not match"),
        ("CREATE TABLE a.b AS a.c", "names no ENGINE"),
        ("CREATE TABLE a.b ENGINE = Log AS WITH 1 AS x SELECT x", "would fill the table"),
        ("CREATE TABLE a.b CLONE AS a.c ENGINE = Log", "CLONE AS would fill the table"),
        ("CREATE TABLE a.b (x UInt8); DROP TABLE a.b", "more than one statement"),
        ("CREATE TABLE a.b (x UInt8) COMMENT 'open", "a quote opened at character 35 is never closed"),
    ],
)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(DDLError, match=message):
        parse_create(text)


@pytest.mark.parametrize("value", ["", "plain", "it's", "back\\slash", "new\nline", "tab\t", "'; DROP TABLE x --", "ü"])
def test_quoting_reads_back(value: str) -> None:
    assert unquote(quote_string(value)) == value
    assert unquote(quote_name(value)) == value
    assert [token.kind for token in tokenize(quote_string(value))] == ["string"]


def test_clauses_keep_every_character() -> None:
    text = (
        "CREATE TABLE a.b (`ENGINE` String COMMENT 'TTL x', `y` Array(String)) ENGINE = ReplacingMergeTree(y) "
        "PARTITION BY toDate(t) PRIMARY KEY x ORDER BY (x, y) SAMPLE BY z TTL t + toIntervalDay(1) "
        "SETTINGS a = 1, b = 'c, d' COMMENT 'SETTINGS = 1'"
    )
    clauses = split_clauses(text)
    assert join_clauses(clauses) == text
    assert [clause.key for clause in clauses] == [
        *("head", "columns", "engine", "partition_by", "primary_key", "order_by", "sample_by", "ttl"),
        *("settings", "comment"),
    ]
    assert parse_engine(clause_text(clauses, "engine")) == ("ReplacingMergeTree", ["y"])


def test_a_select_is_one_clause() -> None:
    text = "CREATE MATERIALIZED VIEW a.b TO a.c (`x` UInt8) AS SELECT 1 AS x FROM a.d ORDER BY x SETTINGS max_threads = 1"
    clauses = split_clauses(text)
    assert [clause.key for clause in clauses] == ["head", "to", "columns", "select"]
    assert join_clauses(clauses) == text


@pytest.mark.parametrize(
    ("text", "engine", "with_memory"),
    [
        ("(x UInt8) ENGINE = Log", ("Log", []), "(x UInt8) ENGINE = Memory"),
        ("(x UInt8) engine MergeTree() ORDER BY x", ("MergeTree", []), "(x UInt8) ENGINE = Memory ORDER BY x"),
        ("AS a.engine ENGINE=Join(ANY, LEFT, (x, y))", ("Join", ["ANY", "LEFT", "(x, y)"]), "AS a.engine ENGINE = Memory"),
        ("AS engine ENGINE = Set", ("Set", []), "AS engine ENGINE = Memory"),
    ],
)
def test_engines(text: str, engine: tuple[str, list[str]], with_memory: str) -> None:
    """The sign before the name may be left out, and a table may be called like the word."""
    assert parse_engine(text) == engine
    assert replace_engine(text, "ENGINE = Memory") == with_memory
    assert parse_create(f"CREATE TABLE a.b {text}").body == text


@pytest.mark.parametrize("text", ["(x UInt8) ENGINE", "(x UInt8) ENGINE =", "AS a.engine"])
def test_no_engine(text: str) -> None:
    assert parse_engine(text) == ("", [])


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("(x UInt64) ENGINE = Dictionary(c.d)", {("c", "d")}),
        ("(x UInt64) ENGINE = Dictionary('c.d')", {("c", "d")}),
        ("(x UInt64) ENGINE = Dictionary('d')", {("a", "d")}),
        ("ENGINE = Alias(c, d)", {("c", "d")}),
        ("ENGINE = Alias('c.d')", {("c", "d")}),
        ("(x UInt64 DEFAULT dictGetOrDefault('c.d', 'v', x, 0)) ENGINE = Log", {("c", "d")}),
        ("(x UInt64, CONSTRAINT k CHECK dictHas(c.d, x)) ENGINE = Log", {("c", "d")}),
        ("(x UInt64 ALIAS joinGet(`c`.`d`, 'v', x)) ENGINE = Log", {("c", "d")}),
        ("(x UInt64 DEFAULT dictionary(1), dictGet UInt8) ENGINE = Log", set()),
        ("AS c.d ENGINE = Log", {("c", "d")}),
    ],
)
def test_references(body: str, found: set[tuple[str, str]]) -> None:
    assert find_references(body, "a", "table") == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("dictGet('c.d', 'v', x)", True),
        ("lower(joinGet(c.d, 'v', x))", True),
        ("x IN c.d", True),
        ("x IN (c.d)", True),
        ("x IN (1, 2) AND dictionary = 'dictGet('", False),
    ],
)
def test_lookups_are_recognized(text: str, found: bool) -> None:
    assert has_lookup(text) is found


MACROS = {"database": "a", "table": "b", "shard": "1", "replica": "r", "currentDatabase()": "db", "currentUser()": "me you"}
TABLE = "CREATE TABLE a.b (`x` UInt8)"


DICTIONARY = "CREATE DICTIONARY a.b (`k` {}) PRIMARY KEY k SOURCE(MYSQL(USER 'u' PASSWORD {})) LIFETIME(MIN 0 MAX 9) LAYOUT({})"


def test_unqualified_names_get_the_given_database() -> None:
    assert parse_create("CREATE OR REPLACE VIEW b AS SELECT 1", "a") == Create("view", "a", "b", "AS SELECT 1")
    assert parse_create("CREATE VIEW c.b AS SELECT 1", "a").database == "c"
    assert parse_create("CREATE FUNCTION f AS x -> x", "a").database == ""


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("CREATE TABLE a.b (x UInt8) ENGINE = MySQL('h', 'd', 't', 'u', '[HIDDEN]')", True),
        ("CREATE TABLE a.b (x UInt8) ENGINE = MySQL('h', 'd', 't', 'u', 'secret')", False),
        ("CREATE DICTIONARY a.b (x UInt8) PRIMARY KEY x SOURCE(MYSQL(USER 'u' PASSWORD '[HIDDEN]'))", True),
        ("CREATE TABLE a.b (x UInt8) ENGINE = URL('http://u:[HIDDEN]@h/')", True),
        ("CREATE NAMED COLLECTION c AS url = '[HIDDEN]'", True),
        ("CREATE VIEW a.b AS SELECT replaceAll(x, 'secret', '[HIDDEN]') AS x FROM a.c", False),
    ],
)
def test_secrets_that_were_copied_from_a_server(text: str, hidden: bool) -> None:
    assert contains_hidden_secret(text) is hidden


@pytest.mark.parametrize(
    ("want", "have", "same"),
    [
        (f"{TABLE} ENGINE = MergeTree ORDER BY x", f"{TABLE} ENGINE = MergeTree ORDER BY x SETTINGS index_granularity = 8192", True),
        (
            f"{TABLE} ENGINE = MergeTree ORDER BY x SETTINGS b = 2, a = 1",
            f"{TABLE} ENGINE = MergeTree ORDER BY x SETTINGS a = 1, b = 2, index_granularity = 8192",
            True,
        ),
        (
            f"{TABLE} ENGINE = MergeTree ORDER BY x SETTINGS index_granularity = 1024",
            f"{TABLE} ENGINE = MergeTree ORDER BY x SETTINGS index_granularity = 8192",
            False,
        ),
        (
            f"{TABLE} ENGINE = MergeTree ORDER BY x",
            f"{TABLE} ENGINE = MergeTree ORDER BY x SETTINGS a = 1, index_granularity = 8192",
            False,
        ),
        (
            f"{TABLE} ENGINE = ReplicatedMergeTree ORDER BY x",
            f"{TABLE} ENGINE = ReplicatedMergeTree('/t/{{shard}}/a/b', '{{replica}}') ORDER BY x",
            True,
        ),
        (
            f"{TABLE} ENGINE = ReplicatedReplacingMergeTree(x) ORDER BY x",
            f"{TABLE} ENGINE = ReplicatedReplacingMergeTree('/t/{{shard}}/a/b', '{{replica}}', x) ORDER BY x",
            True,
        ),
        (
            f"{TABLE} ENGINE = ReplicatedMergeTree('/t/{{shard}}/{{database}}/{{table}}', '{{replica}}') ORDER BY x",
            f"{TABLE} ENGINE = ReplicatedMergeTree('/t/1/a/b', 'r') ORDER BY x",
            True,
        ),
        (
            f"{TABLE} ENGINE = ReplicatedMergeTree('/other', 'r') ORDER BY x",
            f"{TABLE} ENGINE = ReplicatedMergeTree('/t', 'r') ORDER BY x",
            False,
        ),
        (f"{TABLE} ENGINE = ReplicatedMergeTree ORDER BY x", f"{TABLE} ENGINE = MergeTree ORDER BY x", False),
        (f"{TABLE} ENGINE = MergeTree ORDER BY x", f"{TABLE} ENGINE = MergeTree ORDER BY x COMMENT 'c'", False),
        (
            f"{TABLE} ENGINE = MergeTree PRIMARY KEY x",
            f"{TABLE} ENGINE = MergeTree PRIMARY KEY x ORDER BY x SETTINGS index_granularity = 8192",
            True,
        ),
        (f"{TABLE} ENGINE = MergeTree PRIMARY KEY x", f"{TABLE} ENGINE = MergeTree PRIMARY KEY x ORDER BY (x, y)", False),
        (
            f"{TABLE} ENGINE = Distributed(c, a, t, rand())",
            f"{TABLE} ENGINE = Distributed('c', 'a', 't', rand())",
            True,
        ),
        (f"{TABLE} ENGINE = Distributed(c, a, t)", f"{TABLE} ENGINE = Distributed('c', 'a', 'u')", False),
        (
            "CREATE MATERIALIZED VIEW a.b TO a.c COMMENT 'x' AS SELECT 1 AS x",
            "CREATE MATERIALIZED VIEW a.b TO a.c (`x` UInt8) DEFINER = u SQL SECURITY DEFINER COMMENT 'x' AS SELECT 1 AS x",
            True,
        ),
        (
            "CREATE MATERIALIZED VIEW a.b ENGINE = Memory POPULATE AS SELECT 1 AS x",
            "CREATE MATERIALIZED VIEW a.b (`x` UInt8) ENGINE = Memory AS SELECT 1 AS x",
            True,
        ),
        (
            "CREATE MATERIALIZED VIEW a.b TO a.c AS SELECT 1 AS x",
            "CREATE MATERIALIZED VIEW a.b TO a.d (`x` UInt8) AS SELECT 1 AS x",
            False,
        ),
        ("CREATE VIEW a.b AS SELECT 1", f"{TABLE} ENGINE = Memory", False),
        (f"{TABLE} ENGINE = MergeTree", f"{TABLE} ENGINE = MergeTree ORDER BY tuple() SETTINGS index_granularity = 8192", True),
        (f"{TABLE} ENGINE = MergeTree", f"{TABLE} ENGINE = MergeTree ORDER BY x SETTINGS index_granularity = 8192", False),
        ("CREATE TABLE a.b ENGINE = Merge(a, '^c')", f"{TABLE} ENGINE = Merge('a', '^c')", True),
        ("CREATE TABLE a.b AS a.c ENGINE = Log", f"{TABLE} ENGINE = Log", False),
        (f"{TABLE} ENGINE = Merge(currentDatabase(), '^c')", f"{TABLE} ENGINE = Merge('db', '^c')", True),
        (f"{TABLE} ENGINE = Merge(currentDatabase(), '^c')", f"{TABLE} ENGINE = Merge('other', '^c')", False),
        (f"{TABLE} ENGINE = S3('u', NOSIGN)", f"{TABLE} ENGINE = S3('u', 'NOSIGN', 'Parquet')", True),
        (f"{TABLE} ENGINE = S3('u', NOSIGN)", f"{TABLE} ENGINE = S3('v', 'NOSIGN', 'Parquet')", False),
        (f"{TABLE} ENGINE = ReplacingMergeTree(x) ORDER BY x", f"{TABLE} ENGINE = ReplacingMergeTree(x, y) ORDER BY x", False),
        ("CREATE VIEW a.b DEFINER = CURRENT_USER AS SELECT 1", "CREATE VIEW a.b DEFINER = `me you` AS SELECT 1", True),
        ("CREATE VIEW a.b DEFINER = CURRENT_USER AS SELECT 1", "CREATE VIEW a.b DEFINER = other AS SELECT 1", False),
        (
            f"{TABLE} ENGINE = Memory",
            "CREATE TABLE a.b UUID '61f0c404-5cb3-11e7-907b-a6006ad3dba0' (`x` UInt8) ENGINE = Memory",
            True,
        ),
        (f"{TABLE} ENGINE = MergeTree PRIMARY KEY x ORDER BY x", f"{TABLE} ENGINE = MergeTree ORDER BY x", True),
        (f"{TABLE} ENGINE = MergeTree ORDER BY x", f"{TABLE} ENGINE = MergeTree PRIMARY KEY x ORDER BY x", True),
        (f"{TABLE} ENGINE = MergeTree PRIMARY KEY x", f"{TABLE} ENGINE = MergeTree ORDER BY x", True),
        (f"{TABLE} ENGINE = MergeTree ORDER BY (x, x + 1)", f"{TABLE} ENGINE = MergeTree PRIMARY KEY x ORDER BY (x, x + 1)", False),
        (
            "CREATE TABLE a.b (`x` Enum8('(a' = 1) EPHEMERAL COMMENT 'c') ENGINE = Memory",
            "CREATE TABLE a.b (`x` Enum8('(a' = 1) EPHEMERAL defaultValueOfTypeName('Enum8(\\'(a\\' = 1)') COMMENT 'c') ENGINE = Memory",
            True,
        ),
        ("CREATE TABLE a.b (`x` Int8 EPHEMERAL) ENGINE = Memory", "CREATE TABLE a.b (`x` Int8 EPHEMERAL 7) ENGINE = Memory", False),
        (DICTIONARY.format("String", "''", "HASHED()"), DICTIONARY.format("String", "'[HIDDEN]'", "COMPLEX_KEY_HASHED()"), True),
        (DICTIONARY.format("String", "'x'", "HASHED()"), DICTIONARY.format("String", "'y'", "COMPLEX_KEY_HASHED()"), False),
        (DICTIONARY.format("Int32", "'x'", "HASHED()"), DICTIONARY.format("Int32", "'x'", "COMPLEX_KEY_HASHED()"), False),
        (DICTIONARY.format("UUID", "'x'", "FLAT()"), DICTIONARY.format("UUID", "'x'", "COMPLEX_KEY_HASHED()"), False),
        (f"{TABLE} ENGINE = MySQL('h', 'd', 't', 'u', '')", f"{TABLE} ENGINE = MySQL('h', 'd', 't', 'u', '[HIDDEN]')", True),
    ],
)  # fmt: skip
def test_fill(want: str, have: str, same: bool) -> None:
    filled = join_clauses(fill_server_defaults(split_clauses(want), split_clauses(have), MACROS))
    assert (filled == have) is same


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ORDER BY k SETTINGS b = 2, a = 1 COMMENT 'x'", "ORDER BY k SETTINGS b = 2, a = 0, c = 'y' COMMENT 'x'"),
        ("ORDER BY k TTL k COMMENT 'x'", "ORDER BY k TTL k SETTINGS a = 0, c = 'y' COMMENT 'x'"),
    ],
)
def test_with_settings(text: str, wanted: str) -> None:
    head = "CREATE TABLE d.t (`k` UInt8) ENGINE = MergeTree "
    assert join_clauses(set_settings(split_clauses(head + text), {"a": "0", "c": "'y'"})) == head + wanted


def test_fill_inserts_omitted_clauses_of_a_view_in_order() -> None:
    view = "CREATE MATERIALIZED VIEW a.v TO a.b{} COMMENT 'c' AS SELECT x FROM a.c"
    have = split_clauses("CREATE MATERIALIZED VIEW a.v TO a.b (`x` UInt8) DEFINER = u SQL SECURITY DEFINER AS SELECT x FROM a.c")
    filled = join_clauses(fill_server_defaults(split_clauses(view.format("")), have, {}))
    assert filled == view.format(" (`x` UInt8) DEFINER = u SQL SECURITY DEFINER")


def test_fill_keeps_the_order_of_a_table_in_a_database_named_like_a_view() -> None:
    head = "CREATE TABLE review.b (`x` UInt8) ENGINE = MergeTree PRIMARY KEY x"
    have = split_clauses(f"{head} ORDER BY x TTL y COMMENT 'c'")
    assert join_clauses(fill_server_defaults(split_clauses(f"{head} TTL y"), have, {})) == f"{head} ORDER BY x TTL y"


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("CREATE TABLE a.b (x UInt8) ENGINE = PostgreSQL('h', 'd', 't', 'u', 'pw1')", {"pw1"}),
        ("CREATE TABLE a.b (x String, INDEX i x TYPE text(tokenizer = 'ngrams')) ENGINE = MergeTree ORDER BY x", set()),
        ("CREATE TABLE a.b (x UInt8) ENGINE = Kafka SETTINGS access_token = 'pw1', tokenizers = 'no'", {"pw1"}),
        ("CREATE TABLE a.b (x UInt8) ENGINE = MySQL('h', 'd', 't', 'u', 'it\\'s')", {"it's"}),
        ("CREATE TABLE a.b (x UInt8) ENGINE = S3('http://x', 'key', 'pw2', 'CSV')", {"pw2"}),
        ("CREATE TABLE a.b (x UInt8) ENGINE = S3('http://x', 'CSV')", set()),
        ("CREATE VIEW a.b AS SELECT * FROM remote('h', a.t, 'u', 'pw3')", {"pw3"}),
        ("CREATE VIEW a.b AS SELECT * FROM remoteSecure('h', 'a', 't', 'u', 'pw4')", {"pw4"}),
        ("CREATE VIEW a.b AS SELECT * FROM mysql(nc, password = 'pw5')", {"pw5"}),
        ("CREATE TABLE a.b (x UInt8) ENGINE = Kafka SETTINGS kafka_sasl_password = 'pw6'", {"pw6"}),
        ("CREATE TABLE a.b (x UInt8) ENGINE = MongoDB('mongodb://u:pw7@h/d', 'c')", {"pw7"}),
        ("CREATE TABLE a.b (x UInt8) ENGINE = S3('http://x', 'key', 'pw8')", {"pw8"}),
        ("CREATE TABLE a.b (x UInt8) ENGINE = S3Queue('http://x', 'key', 'pw9', 'pw/9', 'CSV', 'gzip')", {"pw9", "pw/9"}),
        ("CREATE TABLE a.b (x UInt8) ENGINE = S3('http://x', 'CSV', 'gzip')", set()),
        ("CREATE TABLE a.b (x UInt8) ENGINE = S3('http://x', NOSIGN, 'CSV', 'gzip')", set()),
        ("CREATE VIEW a.b AS SELECT * FROM s3('http://x', 'CSV', 'y UInt8')", set()),
        ("CREATE TABLE a.b (x UInt8) ENGINE = URL('http://x', CSV, headers('Authorization' = 'Bearer pw10'))", {"Bearer pw10"}),
        ("CREATE TABLE a.b (x UInt8) ENGINE = ODBC('DSN=d;PWD=pw11', 'd', 't')", {"DSN=d;PWD=pw11"}),
        ("CREATE TABLE a.b (x UInt8) ENGINE = AzureQueue('AccountName=a;AccountKey=pw12==;', 'box')", {"pw12=="}),
        ("CREATE DATABASE a ENGINE = PostgreSQL('h', 'd', 'u', 'pw13', 'schema', 1)", {"pw13"}),
        ("CREATE DATABASE a ENGINE = MySQL('h', 'd', 'u', 'pw14')", {"pw14"}),
        ("CREATE DATABASE a ENGINE = S3('http://x', 'key', 'pw15')", {"pw15"}),
        ("CREATE DATABASE a ENGINE = S3('http://x', 'NOSIGN')", set()),
        ("CREATE TABLE a.b (token String DEFAULT 'x') ENGINE = Memory COMMENT 'password'", set()),
    ],
)
def test_secrets(text: str, secrets: set[str]) -> None:
    assert find_secrets(text) == secrets
    shown = mask_secrets(text, secrets)
    assert not any(secret in unquote(token.text) for secret in secrets for token in tokenize(shown))
    assert shown.count("[HIDDEN]") == len(secrets)


@pytest.mark.parametrize(
    ("ours", "theirs", "secrets"),
    [
        ("ENGINE = S3('u', 'k', 'pw1', 'pw2', 'CSV')", "ENGINE = S3('u', 'k', '[HIDDEN]', '[HIDDEN]', 'CSV')", {"pw1", "pw2"}),
        ("ENGINE = URL('u', CSV, headers('a' = 'pw3'))", "ENGINE = URL('u', 'CSV', headers('a' = '[HIDDEN]'))", {"pw3"}),
        ("ENGINE = S3('u', 'k', 'pw4')", "ENGINE = S3('u', 'k', '[HIDDEN]', 'CSV')", {"pw4"}),
        ("ENGINE = Log COMMENT 'no secret'", "ENGINE = S3('[HIDDEN]')", set()),
    ],
)
def test_hidden_values_are_secrets(ours: str, theirs: str, secrets: set[str]) -> None:
    assert find_hidden_secrets(ours, theirs) == secrets
