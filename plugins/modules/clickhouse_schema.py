#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_schema
short_description: Databases, tables, views and materialized views of one ClickHouse node
version_added: 0.1.0
description:
  - Declares what should exist on one ClickHouse server, many objects in one call, and creates what is missing in the
    order of dependency (databases, tables, Distributed tables, views, materialized views).
  - What exists is compared with its declaration in the server's own words. The declaration is created as a temporary
    table or view of the session and read back, so that neither spelling nor defaults show as a difference. What the
    server fills in by itself is no difference either (the path of a C(Replicated) table declared without arguments,
    C(index_granularity), the column list and definer of a view).
  - Objects that differ are reported with the difference. This version does not alter them.
  - Every node is converged by its own host in the play. C(ON CLUSTER) is not accepted. Hosts that create the same
    replicated tables at the same time do not disturb each other.
author:
  - groundwork.observability maintainers (@groundwork)
requirements:
  - clickhouse-connect (Python library) where the module runs
extends_documentation_fragment:
  - groundwork.observability.clickhouse
  - groundwork.observability.clickhouse.attributes
attributes:
  check_mode:
    details:
      - Check mode returns exactly the statements that a run would execute. It creates temporary tables in its own
        session to compare definitions; they are gone with the session.
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
          - Of other objects C(database.name), as the statement in O(objects[].ddl) has it; checked against it if given.
        type: str
      kind:
        description:
          - What it is. Needed for databases, derived from O(objects[].ddl) otherwise.
        type: str
        choices: [database, table, view, materialized_view]
      ddl:
        description:
          - The C(CREATE TABLE), C(CREATE VIEW) or C(CREATE MATERIALIZED VIEW) statement. The name must be qualified by
            its database.
          - Passwords among the arguments of engines and table functions, or in settings, are hidden in every output. A
            changed password alone is not seen as a difference, because the server does not show it.
        type: str
      engine:
        description:
          - Engine of a database, for example V(Atomic).
        type: str
      comment:
        description:
          - Comment of a database.
        type: str
      state:
        description:
          - Objects are made to exist.
        type: str
        choices: [present]
        default: present
  on_drift:
    description:
      - What to do when an object exists and differs from its declaration.
      - V(fail) changes nothing at all and fails, naming the objects and how they differ.
      - V(report) leaves them as they are, says so in a warning and in RV(objects[].status), and creates what is missing.
    type: str
    choices: [fail, report]
    default: fail
notes:
  - The user needs C(SHOW) on the databases, C(CREATE) for what is to be created, C(CREATE TEMPORARY TABLE),
    C(CREATE ARBITRARY TEMPORARY TABLE) and C(CREATE TEMPORARY VIEW).
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
      description: V(present) as declared, V(created) by this run, or V(drifted).
      type: str
      sample: created
    before:
      description: Definition found, in the server's words.
      type: str
      sample: ""
    after:
      description: Definition declared, in the server's words.
      type: str
      sample: CREATE TABLE shop.orders (...)
code:
  description: Error code of the server.
  returned: when the server refused
  type: int
  sample: 497
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.argspec import (
    connection_rules,
    connection_spec,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import (
    CLICKHOUSE_CONNECT_ERROR,
    HAS_CLICKHOUSE_CONNECT,
    ClickHouse,
    ClickHouseError,
    Connection,
    Unreachable,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.schema import (
    converge,
    declare,
    plan_offline,
    secrets_of,
)


def argument_spec() -> dict:
    return {
        **connection_spec(),
        "objects": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str"},
                "kind": {"type": "str", "choices": ["database", "table", "view", "materialized_view"]},
                "ddl": {"type": "str"},
                "engine": {"type": "str"},
                "comment": {"type": "str"},
                "state": {"type": "str", "choices": ["present"], "default": "present"},
            },
        },
        "on_drift": {"type": "str", "choices": ["fail", "report"], "default": "fail"},
    }


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True, **connection_rules())
    if not HAS_CLICKHOUSE_CONNECT:
        module.fail_json(msg=missing_required_lib("clickhouse-connect"), exception=CLICKHOUSE_CONNECT_ERROR)
    report = module.params["on_drift"] == "report"
    secrets = secrets_of(module.params["objects"])
    module.no_log_values.update(secrets)
    try:
        want = declare(module.params["objects"])
        connection = Connection.from_params(module.params, patient=not module.check_mode)
        try:
            client = ClickHouse(connection)
        except Unreachable as error:
            if not module.check_mode:
                raise
            plan = plan_offline(want, secrets)
            module.warn(f"{error}; planned as for an empty server")
        else:
            plan = converge(client, want, secrets, apply=not module.check_mode, keep_drift=report)
            client.close()
    except ClickHouseError as error:
        module.fail_json(msg=str(error), **error.details)
    for state in plan.drifted:
        if not report:
            module.fail_json(msg=drift_message(plan.drifted), **plan.result)
        module.warn(f"{state.kind} {state.name} differs from its declaration and stays as it is: {state.difference}")
    module.exit_json(**plan.result)


def drift_message(drifted: list) -> str:
    differences = "; ".join(f"{state.kind} {state.name}: {state.difference}" for state in drifted)
    return f"objects differ from their declaration, and this version does not alter them (on_drift=fail): {differences}"


if __name__ == "__main__":
    main()
