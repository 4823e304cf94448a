#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_table
short_description: One table of one ClickHouse node
version_added: 0.1.0
description:
  - Declares one table. It is the module M(groundwork.observability.clickhouse_schema) with a list of one table; everything that
    is said there is true here. Several objects belong into one call of that module, which needs the same few requests for all
    of them.
  - The table's database has to exist.
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
      - Name of the table, as C(database.name). Needed unless O(ddl) is given, which it is checked against.
    type: str
  ddl:
    description:
      - The C(CREATE TABLE) statement, with the name qualified by its database or in O(login_database). Either this, or O(columns).
      - C(CREATE OR REPLACE) is read as C(CREATE); nothing is ever replaced with its rows.
      - Passwords among the arguments of engines and table functions, or in settings, are hidden in every output. A changed
        password alone is not seen as a difference, because the server does not show it.
    type: str
  engine:
    description:
      - Engine with its arguments, where the table is declared by options. The server's default, if not given.
    type: str
  comment:
    description:
      - Comment, where the table is declared by options.
    type: str
  renamed_from:
    description:
      - Former name of the table, as C(database.name). Where only that exists it is renamed, then altered. It may stay in the
        declaration for as long as wished.
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
      - Columns, in their order. With O(name) and O(engine) they declare the table as well as a statement in O(ddl) would; types and
        expressions are SQL.
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
      - V(present) makes the table exist as declared.
      - V(absent) removes the table that O(name) names, with V(drop_table) in O(allow) only.
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
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.run import policy_spec, run


def argument_spec() -> dict:
    return {**connection_spec(), "name": {"type": "str"}, **compose.object_spec(), **policy_spec()}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True, required_one_of=[["name", "ddl"]], **connection_rules())
    options = {option: module.params[option] for option in ("name", *compose.object_spec())}
    run(module, [{"kind": "table", **options}], where="")


if __name__ == "__main__":
    main()
