#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_schema
short_description: Manage databases, tables, views and other objects of a ClickHouse server
version_added: 0.1.0
description:
  - Takes a list of objects that should exist on one ClickHouse server, and creates the missing ones in the order of their dependencies
    (databases, named collections, functions, tables, dictionaries, Distributed tables, views, materialized views).
  - Alters objects that differ from their declaration in place, with one C(ALTER TABLE) for each table. Columns are added at their
    position, moved, changed and dropped; so are skipping indices, constraints, projections, comments, TTL, settings and a longer
    C(ORDER BY). Views, dictionaries and functions are replaced, keys of named collections set and deleted.
  - Materialized views are altered (query, refresh schedule, definer, comment). For another target (C(TO)) a new view is
    created and exchanged with the old one, so that each inserted row reaches at least one of the targets; a refreshable view is
    dropped and created.
  - Some changes of a MergeTree table cannot be made by C(ALTER TABLE), such as another engine, partition key or sorting key, or
    replication of a table that was not replicated. With V(rebuild) in O(allow) the module makes them by copying the rows into a new
    table, which then takes the place of the old one.
  - Objects that depend on each other change in one call. An addition is made before the changes that need it, a removal after the
    changes of everything that used it. An C(ALTER TABLE) that would have to run both before and after another change is split in two.
    A renamed column that a materialized view reads or fills exists under both names until the view has changed, so that no inserted
    row is missed.
  - Before the first change, views are checked against the columns that tables will have. A column is not dropped while a materialized
    view that is not declared reads it.
  - Tables that store no rows themselves (C(Kafka) and other queues, C(Distributed), C(Buffer), C(Merge), C(Null), C(URL) and other
    engines for external data) are dropped and created again if C(ALTER TABLE) cannot make the change. So are databases with the engines
    C(HDFS), C(MySQL), C(PostgreSQL) and C(S3). C(Buffer) and C(Distributed) tables are flushed first. A queue is dropped before its
    views change and created afterwards, so that each message reaches all views; its offsets stay in the broker. If offsets or messages
    would be lost, V(drop_table) in O(allow) is needed. The plan says what each statement loses.
  - Names without a database belong to the database of the session, as they do for the server.
  - The server first tries every C(ALTER TABLE) on a temporary copy of the table's definition, with one row of the table if the
    table stores its rows itself. If the server refuses, or the result is not the declaration, the table is not changed, and the module
    reports drift with the reason.
  - The module compares an object with its declaration as the server prints them. It creates the declaration as a temporary table or
    view of the session and reads it back, so that spelling and defaults do not count as a difference. Neither does what the server adds
    by itself (the path of a C(Replicated) table declared without arguments,
    C(index_granularity), the column list and definer of a view, columns that a table reads from another system, a guessed format).
  - Steps that delete data need a permission in O(allow). Without the permission the difference is reported as drift.
  - Run the module for each server of a cluster; C(ON CLUSTER) is not accepted. Several hosts can create the same replicated tables at
    the same time.
  - If a replica is missing, for example on a new host, and the other replicas have another definition, the module creates it with the
    definition in ZooKeeper, and then alters it like any other table.
  - The module waits for a replica that is read-only, for example because its server has just started, for at most O(timeout) seconds.
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
      - Creating a table with some engines (queues, C(KeeperMap), C(EmbeddedRocksDB), C(SQLite), data lakes) already writes to external
        systems. Check mode creates these with the engine C(Memory) and checks only their columns; the server may refuse the rest in a
        real run.
      - If nothing listens at the address, because no server is installed yet, check mode plans for an empty server and warns.
options:
  objects:
    description:
      - Objects that should exist, in any order.
      - If the declaration of a database has no engine or no comment, an existing database keeps its own.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of a database.
          - Name of a function.
          - Name of any other object as C(database.name).
          - If O(objects[].ddl) is given as well, its statement must have the same name.
        type: str
      kind:
        description:
          - Kind of the object. Required for databases; for other objects it follows from O(objects[].ddl).
        type: str
        choices: [database, table, view, materialized_view, dictionary, function, named_collection]
      ddl:
        description:
          - The C(CREATE TABLE), C(CREATE VIEW), C(CREATE MATERIALIZED VIEW), C(CREATE DICTIONARY), C(CREATE FUNCTION) or
            C(CREATE NAMED COLLECTION) statement. A name without a database belongs to O(login_database); functions and named
            collections have no database.
          - C(CREATE OR REPLACE) means the same as C(CREATE). A table is never replaced together with its rows.
          - A table without C(ENGINE) gets the server's default engine (V(default_table_engine) in O(session_settings)).
          - Passwords among the arguments of engines and table functions, or in settings, are hidden in every output. If only
            a password changes, the module does not see a difference, because the server does not show passwords. Values of named
            collections are never shown. A key that is added, removed, or made overridable is a difference; a changed value is a
            difference only if the server shows values to the user.
        type: str
      engine:
        description:
          - Engine of a database, for example V(Atomic), or of a table that is declared by options, with its arguments. By default
            the server's default engine.
        type: str
      comment:
        description:
          - Comment of a database, or of a table that is declared by options.
        type: str
      renamed_from:
        description:
          - Former name of a table, view or dictionary, as C(database.name). If only an object with that name exists,
            it is renamed and then altered. The option may stay in the declaration.
          - A replicated table keeps its path in ZooKeeper. From then on the arguments of its engine must contain that path.
        type: str
      renamed_columns:
        description:
          - Former names of columns of a table that is declared by its statement, from new to old. If only the
            former name exists, the column is renamed and keeps its values. The option may stay in the declaration.
        type: dict
      materialize:
        description:
          - Whether indices and projections that are added to an existing table are also built for its existing rows, in the
            background (a mutation). By default they cover only rows that are inserted later.
        type: bool
        default: false
      columns:
        description:
          - Columns of a table, in their order. With O(objects[].kind=table), O(objects[].name) and O(objects[].engine) they replace the
            statement in O(objects[].ddl). Types and expressions are SQL.
        type: list
        elements: dict
        suboptions:
          name:
            description: Name. The module quotes it where needed.
            type: str
            required: true
          type:
            description: Type, for example V(LowCardinality(String\)).
            type: str
            required: true
          default:
            description: Expression for the default value.
            type: str
          default_kind:
            description: Kind of the default.
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
            description: Former name of the column. If only that column exists, it is renamed and keeps its values.
            type: str
      order_by:
        description: Sorting key.
        type: str
      primary_key:
        description: Primary key, if it is shorter than the sorting key.
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
            description: Indexed expression.
            type: str
            required: true
          type:
            description: Type with its arguments, for example V(bloom_filter(0.01\)).
            type: str
            required: true
          granularity:
            description: Number of granules in a block of the index.
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
            description: C(SELECT) query without C(FROM).
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
            description: Expression that must be true for every inserted row.
            type: str
            required: true
      state:
        description:
          - V(present) makes the object exist as declared.
          - V(absent) drops the object; give only O(objects[].kind) and O(objects[].name). A table, a materialized view that stores
            rows itself, and a database are dropped only with V(drop_table) in O(allow). Objects are dropped before others are created.
        type: str
        choices: [present, absent]
        default: present
  purge:
    description:
      - Databases in which the module drops tables, views, materialized views and dictionaries that are not declared. It drops them
        after all other changes.
      - Objects with rows are dropped only with V(drop_table) in O(allow), and are reported as drift otherwise.
    type: list
    elements: dict
    default: []
    suboptions:
      database:
        description: Name of the database.
        type: str
        required: true
      names:
        description: Shell patterns of names to drop.
        type: list
        elements: str
        default: ["*"]
      keep:
        description: Shell patterns of names to keep.
        type: list
        elements: str
        default: []
notes:
  - The user needs C(SHOW) on the databases, C(CREATE), C(ALTER) or C(DROP) for the objects to change, C(CREATE TEMPORARY TABLE),
    C(CREATE ARBITRARY TEMPORARY TABLE) and C(CREATE TEMPORARY VIEW).
  - A changed type rewrites the column in the background (a mutation); the module waits until the mutation is done on this server. Changed
    types and TTLs are tried with one row of the table, which needs C(SELECT).
  - The server copies the text of a function into the tables and views that call it. Declared tables and views are altered together with
    the function.
  - A renamed column or table is dropped and created under the new name unless O(objects[].renamed_columns),
    O(objects[].columns[].renamed_from) or O(objects[].renamed_from) gives its former name.
  - A rebuild needs C(SELECT) and C(INSERT), C(SYSTEM MERGES); for replicated tables also C(SYSTEM FETCHES) and
    C(SYSTEM SYNC REPLICA). The user should see the processes of all users, so that the module can wait for running inserts.
  - To join a replicated table whose other replicas have another definition, the user needs C(SELECT) on C(system.zookeeper),
    C(system.macros) and C(system.server_settings), where the server asks for grants on system tables. Without these
    grants such a replica is created only if the other replicas are altered in the same run. The same holds if the definition contains a
    secret, or if a change needs V(modify_lossy).
  - If a server is killed while it creates a replicated table, ZooKeeper may keep a replica that has no table. The next run fails with the
    C(SYSTEM DROP REPLICA) statement that removes it.
  - Servers older than 24.8 are refused. The module is tested with 26.7.
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
  description: Statements that ran, or that would run in a real run. Secrets are hidden.
  returned: always
  type: list
  elements: str
  sample:
    - CREATE DATABASE shop
uncertain:
  description: Statements that may have run or not, because the connection broke before the server answered. Secrets are hidden.
  returned: when there are any
  type: list
  elements: str
plan:
  description:
    - The same statements with their effect on existing rows. V(instant) changes only the definition. V(mutation) renames or removes
      files of all parts, and V(rewrite) reads and writes a column or the table; the module waits for both. V(copy) fills another table,
      and V(drop) deletes rows.
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
      description: What the statement deletes. Empty if it deletes nothing.
      type: str
      sample: column note and its values would be dropped
objects:
  description: Every declared object, in the order of creation. If the module fails because of drift, only the existing objects.
  returned: success, or when objects differ
  type: list
  elements: dict
  contains:
    name:
      description: Name of the object.
      type: str
      sample: shop.orders
    kind:
      description: Kind of the object.
      type: str
      sample: table
    status:
      description:
        - V(present) or V(absent) if the object is as declared, V(created), V(altered) or V(dropped) if this run changes it, or V(drifted).
      type: str
      sample: created
    before:
      description: Existing definition as the server prints it. On one line if it is as declared.
      type: str
      sample: ""
    after:
      description: Declared definition as the server prints it. On one line if the existing definition is the same.
      type: str
      sample: CREATE TABLE shop.orders (...)
    reason:
      description: Why an object with status V(drifted) cannot or may not be altered.
      type: str
      sample: "column total and its values would be dropped (allow: [drop_column])"
code:
  description: Error code of the server.
  returned: when the server refused
  type: int
  sample: 497
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import argument_specs, schema


def main() -> None:
    module = AnsibleModule(argument_spec=argument_specs.schema_spec(), supports_check_mode=True, **argument_specs.connection_rules())
    # Options that an object leaves out would be most of the result, in which Ansible shows how the module was called.
    module.params["objects"] = [
        {option: value for option, value in options.items() if value is not None} for options in module.params["objects"]
    ]
    schema.run(module, module.params["objects"])


if __name__ == "__main__":
    main()
