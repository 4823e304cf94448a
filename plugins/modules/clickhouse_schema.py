#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_schema
short_description: Databases, tables, views, dictionaries, functions and named collections of one ClickHouse node
version_added: 0.1.0
description:
  - Declares what should exist on one ClickHouse server, many objects in one call, and creates what is missing in the
    order of dependency (databases, named collections, functions, tables, dictionaries, Distributed tables, views, materialized views).
  - What exists and differs is altered in place, with one C(ALTER TABLE) a table. Columns are added at their place, moved, changed and
    dropped; so are skipping indices, constraints, projections, comments, TTL, settings and a longer C(ORDER BY). Views, dictionaries and
    functions are replaced, keys of named collections set and deleted.
  - Materialized views are altered (query, refresh schedule, definer, comment). One that gets another target (C(TO)) is made
    beside the old one and exchanged with it, so that each inserted row reaches one of the targets at least; a refreshable one is
    dropped and created.
  - What no C(ALTER TABLE) does to a MergeTree table, such as another engine, partition key or sorting key, or a plain table that
    shall be replicated, is done with V(rebuild) in O(allow), by copying the rows into a new table that takes the place of the old
    one.
  - Objects that depend on each other change in one call. What adds comes before what needs it, and what removes goes after what used
    it; an C(ALTER TABLE) that would have to be on both sides of another change is made in two. While a column is renamed that a
    materialized view reads or fills, it is kept under both names until the view has changed, so that no inserted row is missed.
  - Views are checked against the columns that the plan leads to before the first change. A column is not dropped while a materialized
    view that is not declared reads it.
  - Tables that hold no rows (C(Kafka) and other queues, C(Distributed), C(Buffer), C(Merge), C(Null), C(URL) and other engines of what
    is elsewhere) are dropped and created where no C(ALTER TABLE) makes them as declared, and so are databases of the engines
    C(HDFS), C(MySQL), C(PostgreSQL) and C(S3). C(Buffer) and C(Distributed) tables give away what they hold back first. A queue is
    dropped before its views change and created after, so that each message reaches all of them; its offsets stay in the broker.
    Where offsets or messages would be lost, V(drop_table) in O(allow) is needed. The plan says what is lost with each statement.
  - Names without a database, in queries or elsewhere, belong to the database of the session, as they do to the server.
  - The server rehearses every C(ALTER TABLE) on a temporary twin of the table first, with a row of it where the table keeps its rows
    itself. One that it refuses, or that does not lead to
    the declaration, changes nothing and is reported as drift, with the reason.
  - What exists is compared with its declaration in the server's own words. The declaration is created as a temporary
    table or view of the session and read back, so that neither spelling nor defaults show as a difference. What the
    server fills in by itself is no difference either (the path of a C(Replicated) table declared without arguments,
    C(index_granularity), the column list and definer of a view, the columns of a table that takes them from elsewhere, a guessed format).
  - Steps after which data is gone need a permission in O(allow); without it the difference is drift.
  - Every node is converged by its own host in the play. C(ON CLUSTER) is not accepted. Hosts that create the same
    replicated tables at the same time do not disturb each other.
  - A replica that is missing while its peers have another definition, such as one on a host that was lost, joins first and changes
    after. It is created with the definition in ZooKeeper, then altered like any other table.
  - A replica that is read-only, such as one whose server was started a moment ago, is waited for, O(timeout) seconds at most.
author:
  - groundwork.observability maintainers (@groundwork)
requirements:
  - clickhouse-connect (Python library) where the module runs
extends_documentation_fragment:
  - groundwork.observability.clickhouse
  - groundwork.observability.clickhouse.attributes
  - groundwork.observability.clickhouse.policy
attributes:
  check_mode:
    details:
      - Check mode returns exactly the statements that a run would execute. It creates temporary tables in its own
        session to compare definitions; they are gone with the session.
      - Tables whose engine reaches beyond the server as soon as one is created (queues, C(KeeperMap), C(EmbeddedRocksDB), C(SQLite),
        data lakes) are tried as C(Memory), for their columns alone; a run may find that the server refuses the rest.
      - Where nothing listens at the address (no server is installed yet), check mode plans for an empty server and warns.
options:
  objects:
    description:
      - What should exist. The order is of no importance.
      - An existing database keeps the engine or comment that its declaration does not mention.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of a database.
          - Of other objects C(database.name), of a function its name alone, as the statement in O(objects[].ddl) has it;
            checked against it if given.
        type: str
      kind:
        description:
          - What it is. Needed for databases, derived from O(objects[].ddl) otherwise.
        type: str
        choices: [database, table, view, materialized_view, dictionary, function, named_collection]
      ddl:
        description:
          - The C(CREATE TABLE), C(CREATE VIEW), C(CREATE MATERIALIZED VIEW), C(CREATE DICTIONARY), C(CREATE FUNCTION) or
            C(CREATE NAMED COLLECTION) statement. The name is qualified by its database, or is in O(login_database); functions and named
            collections have none.
          - C(CREATE OR REPLACE) is read as C(CREATE); nothing is ever replaced with its rows. A table without C(ENGINE) gets the
            server's default engine (V(default_table_engine) in O(session_settings)).
          - Passwords among the arguments of engines and table functions, or in settings, are hidden in every output. A changed
            password alone is not seen as a difference, because the server does not show it. Of a named collection no value is
            shown; a key that comes, goes, or changes in being overridable is a difference, a changed value is one only where the
            server shows values.
        type: str
      engine:
        description:
          - Engine of a database, for example V(Atomic), or of a table that is declared by options, with its arguments. The server's
            default, if not given.
        type: str
      comment:
        description:
          - Comment of a database, or of a table that is declared by options.
        type: str
      renamed_from:
        description:
          - Former name of a table, view or dictionary, as C(database.name). Where only that exists it is renamed, then altered.
            It may stay in the declaration for as long as wished.
          - A replicated table keeps its path in ZooKeeper, and needs it among the arguments of its engine from then on.
        type: str
      renamed_columns:
        description:
          - Former names of columns of a table that is declared by its statement, from new to old. Where only the former name
            exists the column is renamed, with its values. It may stay in the declaration.
        type: dict
      materialize:
        description:
          - Whether indices and projections that are added to a table that exists are also built for the rows it has, in the
            background (a mutation). Without it they hold what is inserted from then on.
        type: bool
        default: false
      columns:
        description:
          - Columns of a table, in their order. With O(objects[].kind=table), O(objects[].name) and O(objects[].engine) they declare it as
            well as a statement in O(objects[].ddl) would; types and expressions are SQL.
        type: list
        elements: dict
        suboptions:
          name:
            description: Name, quoted where it has to be.
            type: str
            required: true
          type:
            description: Type, for example V(LowCardinality(String\)).
            type: str
            required: true
          default:
            description: Expression of the default.
            type: str
          default_kind:
            description: What the default is.
            type: str
            choices: [DEFAULT, MATERIALIZED, ALIAS, EPHEMERAL]
            default: DEFAULT
          comment:
            description: Comment.
            type: str
          codec:
            description: Codecs, for example V(Delta, ZSTD(1\)).
            type: str
          ttl:
            description: Expression after which values are removed.
            type: str
          renamed_from:
            description: Former name of the column. Where only that exists it is renamed, with its values.
            type: str
      order_by:
        description: Sorting key.
        type: str
      primary_key:
        description: Primary key, where it is shorter than the sorting key.
        type: str
      partition_by:
        description: Partition key.
        type: str
      sample_by:
        description: Sampling key.
        type: str
      ttl:
        description: When rows are removed or moved.
        type: str
      settings:
        description: Settings of the table.
        type: dict
      indices:
        description: Skipping indices.
        type: list
        elements: dict
        suboptions:
          name:
            description: Name.
            type: str
            required: true
          expression:
            description: What is indexed.
            type: str
            required: true
          type:
            description: Type with its arguments, for example V(bloom_filter(0.01\)).
            type: str
            required: true
          granularity:
            description: Granules to a block of the index.
            type: int
            default: 1
      projections:
        description: Projections.
        type: list
        elements: dict
        suboptions:
          name:
            description: Name.
            type: str
            required: true
          query:
            description: Its C(SELECT), without a C(FROM).
            type: str
            required: true
      constraints:
        description: Constraints.
        type: list
        elements: dict
        suboptions:
          name:
            description: Name.
            type: str
            required: true
          check:
            description: Expression that holds for every row inserted.
            type: str
            required: true
      state:
        description:
          - V(present) makes the object exist as declared.
          - V(absent) removes it; it is named by O(objects[].kind) and O(objects[].name) alone. A table, a materialized view with
            rows of its own, and a database are removed with V(drop_table) in O(allow) only. What is absent goes before anything
            is created.
        type: str
        choices: [present, absent]
        default: present
  purge:
    description:
      - Databases in which tables, views, materialized views and dictionaries that are not declared are removed, after everything else.
      - Those with rows are removed with V(drop_table) in O(allow) only, and are drift otherwise.
    type: list
    elements: dict
    default: []
    suboptions:
      database:
        description: Name of the database.
        type: str
        required: true
      names:
        description: Shell patterns of names that are removed.
        type: list
        elements: str
        default: ["*"]
      keep:
        description: Shell patterns of names that stay.
        type: list
        elements: str
        default: []
notes:
  - The user needs C(SHOW) on the databases, C(CREATE), C(ALTER) or C(DROP) for what is to be changed, C(CREATE TEMPORARY TABLE),
    C(CREATE ARBITRARY TEMPORARY TABLE) and C(CREATE TEMPORARY VIEW).
  - A changed type rewrites the column in the background (a mutation); the run waits for it on its own server. Changed types and
    TTLs are rehearsed with one row of the table, which needs C(SELECT).
  - The server writes a function's text into the tables and views that call it. Those that are declared are altered with the function.
  - A column or table with another name in the declaration is one that goes and another that comes, unless its former name is declared.
  - A rebuild needs C(SELECT) and C(INSERT), C(SYSTEM MERGES); for replicated tables C(SYSTEM FETCHES) and C(SYSTEM SYNC REPLICA),
    too, and should see the processes of all users, to wait for those that still insert.
  - To join a replicated table whose other replicas have another definition, the user needs C(SELECT) on C(system.zookeeper),
    C(system.macros) and C(system.server_settings), where the server asks for grants on system tables. Without them, or where the
    definition holds a secret or values would have to be tried (types that V(modify_lossy) is for), such a replica is made only when its
    peers are altered in the same run.
  - A server that is killed while it creates a replicated table may leave a replica without a table in ZooKeeper. The next run
    fails, and names the C(SYSTEM DROP REPLICA) for it.
  - Server versions before 24.8 are refused. It is tested with 26.7.
"""

EXAMPLES = r"""
- name: Create a database with a table and its hourly totals
  groundwork.observability.clickhouse_schema:
    login_host: ch1.example.com
    login_user: admin
    login_password: "{{ clickhouse_admin_password }}"
    ca_path: /etc/ssl/certs/ca.crt
    objects:
      - kind: database
        name: shop
        comment: What the shop sells
      - ddl: |
          CREATE TABLE shop.orders (
            id UInt64,
            placed DateTime,
            total Decimal(12, 2)
          ) ENGINE = ReplicatedMergeTree
          PARTITION BY toYYYYMM(placed)
          ORDER BY (placed, id)
      - ddl: |
          CREATE TABLE shop.orders_1h (
            hour DateTime,
            orders UInt64
          ) ENGINE = ReplicatedSummingMergeTree
          ORDER BY hour
      - ddl: |
          CREATE MATERIALIZED VIEW shop.orders_1h_mv TO shop.orders_1h AS
          SELECT toStartOfHour(placed) AS hour, count() AS orders FROM shop.orders GROUP BY hour
  delegate_to: localhost

- name: Declare a table by options
  groundwork.observability.clickhouse_schema:
    login_host: ch1.example.com
    login_user: admin
    login_password: "{{ clickhouse_admin_password }}"
    objects:
      - kind: table
        name: shop.visits
        engine: ReplicatedMergeTree
        columns:
          - {name: at, type: DateTime}
          - {name: page, type: LowCardinality(String), codec: ZSTD(1)}
          - {name: day, type: Date, default: toDate(at), default_kind: MATERIALIZED}
        order_by: (page, at)
        partition_by: toYYYYMM(at)
        ttl: at + INTERVAL 1 YEAR
        indices:
          - {name: by_page, expression: page, type: set(100)}
        settings: {min_bytes_for_wide_part: 0}
  delegate_to: localhost

- name: Add a column, drop another and keep rows for longer
  groundwork.observability.clickhouse_schema:
    login_host: ch1.example.com
    login_user: admin
    login_password: "{{ clickhouse_admin_password }}"
    objects:
      - ddl: |
          CREATE TABLE shop.orders (
            id UInt64,
            placed DateTime,
            currency LowCardinality(String) DEFAULT 'EUR'
          ) ENGINE = ReplicatedMergeTree
          PARTITION BY toYYYYMM(placed)
          ORDER BY (placed, id)
          TTL placed + INTERVAL 2 YEAR
      - kind: view
        name: shop.totals
        state: absent
    allow: [drop_column]
  delegate_to: localhost

- name: Say what differs without failing
  groundwork.observability.clickhouse_schema:
    login_host: ch1.example.com
    login_user: admin
    login_password: "{{ clickhouse_admin_password }}"
    objects:
      - ddl: CREATE TABLE shop.orders (id UInt64) ENGINE = MergeTree ORDER BY id
    on_drift: report
  delegate_to: localhost
  check_mode: true
"""

RETURN = r"""
statements:
  description: Statements that were executed or, in check mode, would be; secrets are hidden.
  returned: always
  type: list
  elements: str
  sample:
    - CREATE DATABASE shop
uncertain:
  description: Statements of which it is not known whether they ran, because the connection broke before the answer; secrets are hidden.
  returned: when there are any
  type: list
  elements: str
plan:
  description:
    - The same statements with what each does to rows that are there. V(instant) changes nothing but the definition. V(mutation) renames
      or removes files of all parts, V(rewrite) reads and writes a column or the table; the run waits for both. V(copy) fills another
      table, and V(drop) removes rows.
    - The figures are the server's own, before the run. With C(--diff) they stand beside what changes.
  returned: success, or when objects differ
  type: list
  elements: dict
  contains:
    name:
      description: Name of the object.
      type: str
      sample: shop.orders
    statement:
      description: The statement; secrets are hidden.
      type: str
      sample: ALTER TABLE shop.orders (MODIFY COLUMN `total` Decimal(18, 2))
    effect:
      description: V(instant), V(mutation), V(rewrite), V(copy) or V(drop).
      type: str
      sample: rewrite
    rows:
      description: Rows of the table, unless the statement is instant.
      type: int
      sample: 1000000
    bytes:
      description: Compressed bytes that are rewritten, copied or dropped.
      type: int
      sample: 4194304
    lost:
      description: What is lost with the statement; empty where nothing is.
      type: str
      sample: column note and its values would be dropped
objects:
  description: Every declared object, in the order of creation. Only those that exist, when the run fails because some differ.
  returned: success, or when objects differ
  type: list
  elements: dict
  contains:
    name:
      description: Name of the object.
      type: str
      sample: shop.orders
    kind:
      description: What it is.
      type: str
      sample: table
    status:
      description:
        - V(present) or V(absent) as declared; V(created), V(altered) or V(dropped) by this run, or to be in check mode; or V(drifted).
      type: str
      sample: created
    before:
      description: Definition found, in the server's words; on one line where it is as declared.
      type: str
      sample: ""
    after:
      description: Definition declared, in the server's words; on one line where what was found is the same.
      type: str
      sample: CREATE TABLE shop.orders (...)
    reason:
      description: Why an object that drifted cannot be, or may not be, altered.
      type: str
      sample: "column total and its values would be dropped (allow: [drop_column])"
code:
  description: Error code of the server.
  returned: when the server refused
  type: int
  sample: 497
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import compose
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.argspec import (
    connection_rules,
    connection_spec,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.declaration import KINDS
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.run import policy_spec, run


def argument_spec() -> dict:
    return {
        **connection_spec(),
        "objects": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str"},
                "kind": {"type": "str", "choices": list(KINDS)},
                **compose.object_spec(),
            },
        },
        "purge": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "database": {"type": "str", "required": True},
                "names": {"type": "list", "elements": "str", "default": ["*"]},
                "keep": {"type": "list", "elements": "str", "default": []},
            },
        },
        **policy_spec(),
    }


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True, **connection_rules())
    # Options that an object leaves out would be most of the result, in which Ansible shows how the module was called.
    module.params["objects"] = [
        {option: value for option, value in options.items() if value is not None} for options in module.params["objects"]
    ]
    run(module, module.params["objects"])


if __name__ == "__main__":
    main()
