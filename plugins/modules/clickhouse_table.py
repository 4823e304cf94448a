#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_table
short_description: Manage one table of a ClickHouse server
version_added: 0.1.0
description:
  - Manages one table. It does the same as M(groundwork.observability.clickhouse_schema) with a list of one table, and the description
    of that module applies here. For several objects use that module, which needs the same few requests for all of them.
  - The database of the table must exist.
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
options:
  name:
    description:
      - Name of the table, as C(database.name). Required unless O(ddl) is given; if both are given, both names must be the same.
    type: str
  ddl:
    description:
      - The C(CREATE TABLE) statement. A name without a database belongs to O(login_database). Give either this or O(columns).
      - C(CREATE OR REPLACE) means the same as C(CREATE). A table is never replaced together with its rows.
      - Passwords among the arguments of engines and table functions, or in settings, are hidden in every output. If only a
        password changes, the module does not see a difference, because the server does not show passwords.
    type: str
  engine:
    description:
      - Engine with its arguments, where the table is declared by options. By default the server's default engine.
    type: str
  comment:
    description:
      - Comment, where the table is declared by options.
    type: str
  renamed_from:
    description:
      - Former name of the table, as C(database.name). If only a table with that name exists, it is renamed and then
        altered. The option may stay in the declaration.
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
      - Columns, in their order. With O(name) and O(engine) they replace the statement in O(ddl). Types and expressions are SQL.
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
      - V(present) makes the table exist as declared.
      - V(absent) drops the table that O(name) names. It needs V(drop_table) in O(allow).
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: groundwork.observability.clickhouse_schema
  - module: groundwork.observability.clickhouse_query
"""

EXAMPLES = r"""
- name: Create or alter a table
  groundwork.observability.clickhouse_table:
    login_host: ch1.example.com
    login_user: admin
    login_password: "{{ clickhouse_admin_password }}"
    ca_path: /etc/ssl/certs/ca.crt
    name: shop.visits
    engine: ReplicatedMergeTree
    columns:
      - {name: at, type: DateTime}
      - {name: path, type: LowCardinality(String), renamed_from: page}
    order_by: (path, at)
    ttl: at + INTERVAL 1 YEAR
  delegate_to: localhost

- name: Give it another partition key, by copying its rows
  groundwork.observability.clickhouse_table:
    login_host: ch1.example.com
    login_user: admin
    login_password: "{{ clickhouse_admin_password }}"
    ddl: |
      CREATE TABLE shop.sessions (at DateTime, user UInt64)
      ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY (user, at)
    allow: [rebuild]
  delegate_to: localhost

- name: Remove the table that the rebuild has left
  groundwork.observability.clickhouse_table:
    login_host: ch1.example.com
    login_user: admin
    login_password: "{{ clickhouse_admin_password }}"
    name: shop.sessions__before
    state: absent
    allow: [drop_table]
  delegate_to: localhost
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
  description: The table, in a list of one.
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
    rules = {"required_one_of": [["name", "ddl"]], **argument_specs.connection_rules()}
    module = AnsibleModule(argument_spec=argument_specs.table_spec(), supports_check_mode=True, **rules)
    options = {option: module.params[option] for option in ("name", *argument_specs.object_spec())}
    schema.run(module, [{"kind": "table", **options}], where="")


if __name__ == "__main__":
    main()
