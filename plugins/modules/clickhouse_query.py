#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_query
short_description: One statement on one ClickHouse server, and its rows
version_added: 0.1.0
description:
  - Runs one statement and returns its rows as a list of dicts.
  - Values come as JSON can hold them without loss. Integers of all sizes and floats are numbers; C(Decimal), dates and times,
    UUIDs, addresses and C(nan) and C(inf) are texts; C(Array) and C(Tuple) are lists; C(Map), C(JSON) and tuples
    with named elements are dicts. Bytes that are not UTF-8 are shown as C(\xff); select C(hex(x)) or C(base64Encode(x)) where
    they matter.
  - Statements that only read run unless told otherwise, and the server is told to refuse writing while it runs them. All
    others need O(write=true).
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
      - A statement that reads runs in check mode, too. One that may write is not sent, and the server is not contacted. The
        result then says V(changed=true).
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - Reading changes nothing. Whether a statement that writes changes anything when run again is up to the statement.
options:
  query:
    description:
      - The statement, without a C(FORMAT) clause for its result. A trailing semicolon does no harm.
      - It is shown in logs. Values to keep secret belong into O(secret_parameters).
      - C(INSERT) may carry its data behind C(VALUES) or C(FORMAT).
    type: str
    required: true
  parameters:
    description:
      - Values of the placeholders C({name:Type}) in the statement, by name. The server puts them in by itself, so that nothing in a
        value is taken as SQL.
      - A list goes with C(Array) and C(Tuple), a dict with C(Map) and C(JSON), null with C(Nullable).
      - A value may have 128 KiB, and so may the statement when it has parameters.
    type: dict
    default: {}
  secret_parameters:
    description:
      - Parameters whose values are hidden in every result and error.
      - Very short values hide much else, since they are hidden wherever they occur.
      - The server may keep values in its own logs.
    type: dict
    default: {}
  settings:
    description:
      - Settings for this statement, by name, for example V(max_execution_time). They come on top of O(session_settings).
    type: dict
    default: {}
  database:
    description:
      - Database of tables that the statement names without one. O(login_database), or else that of the user, if not given.
    type: str
  write:
    description:
      - Whether the statement may change something.
      - C(SELECT), C(SHOW), C(DESCRIBE), C(EXISTS), C(EXPLAIN) and C(CHECK) run in the server's mode for reading all the same.
    type: bool
    default: false
notes:
  - When the connection breaks, a statement that reads is sent again (see O(retries)). One that writes never is.
  - A statement that fails may have written a part. With a broken connection it is not known whether it ran; the result says
    V(changed=true) then.
  - A user whose profile has C(readonly=1) gets values in the form that the server has by default. C(nan) and C(inf) are null then.
seealso:
  - module: groundwork.observability.clickhouse_schema
  - module: groundwork.observability.clickhouse_info
"""

EXAMPLES = r"""
- name: Count the orders of a customer
  groundwork.observability.clickhouse_query:
    login_host: ch1.example.com
    login_user: reader
    login_password: "{{ clickhouse_reader_password }}"
    database: shop
    query: |
      SELECT status, count() AS orders, sum(total) AS total
      FROM orders
      WHERE customer = {customer:String} AND status IN {statuses:Array(String)}
      GROUP BY status
    parameters:
      customer: O'Hara
      statuses: [open, paid]
    settings:
      max_execution_time: 30
  delegate_to: localhost
  register: orders

- name: Delete a partition
  groundwork.observability.clickhouse_query:
    login_host: ch1.example.com
    login_user: admin
    login_password: "{{ clickhouse_admin_password }}"
    query: ALTER TABLE shop.orders DROP PARTITION 202501
    write: true
  delegate_to: localhost

- name: Create a user with a secret password
  groundwork.observability.clickhouse_query:
    login_host: ch1.example.com
    login_user: admin
    login_password: "{{ clickhouse_admin_password }}"
    query: CREATE USER IF NOT EXISTS alice IDENTIFIED BY {password:String}
    secret_parameters:
      password: "{{ alice_password }}"
    write: true
  delegate_to: localhost
"""

RETURN = r"""
rows:
  description: Rows, each a dict of its columns.
  returned: success
  type: list
  elements: dict
  sample:
    - status: open
      orders: 3
      total: "12.5"
row_count:
  description: Number of rows returned.
  returned: success
  type: int
  sample: 1
columns:
  description: Columns in their order. Where a name occurs again, a number is appended to it, here and in RV(rows).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the column.
      type: str
      sample: total
    type:
      description: Type of the column, in the server's words.
      type: str
      sample: Decimal(38, 2)
statistics:
  description: What the server counted, for example C(read_rows), C(read_bytes), C(written_rows), C(written_bytes), C(result_rows).
  returned: success
  type: dict
  sample:
    read_rows: 1000
    written_rows: 0
elapsed:
  description: Seconds that the server took.
  returned: success
  type: float
  sample: 0.004
query_id:
  description: What the server calls this run in its logs and in C(system.query_log). Empty when nothing was sent.
  returned: success
  type: str
  sample: 0a6bb1d4-5d35-4d64-8a0c-2f6a5c9e3f9d
msg:
  description: Says that the statement was not sent.
  returned: in check mode, for a statement that may write
  type: str
  sample: INSERT may write, it was not sent (check mode)
code:
  description: Error code of the server.
  returned: when the server refused
  type: int
  sample: 497
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.argspec import (
    connection_rules,
    connection_spec,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import (
    CLICKHOUSE_CONNECT_ERROR,
    HAS_CLICKHOUSE_CONNECT,
    Answer,
    ClickHouse,
    ClickHouseError,
    Connection,
    ConnectionFailed,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.query import (
    Statement,
    Unknown,
    bind,
    check_database,
    explain,
    hide,
    read_rows,
    read_statement,
    refused,
    safe_message,
    secrets_of,
    settings_text,
)


def argument_spec() -> dict:
    return {
        **connection_spec(),
        "query": {"type": "str", "required": True},
        "parameters": {"type": "dict", "default": {}},
        "secret_parameters": {"type": "dict", "default": {}, "no_log": True},
        "settings": {"type": "dict", "default": {}},
        "database": {"type": "str"},
        "write": {"type": "bool", "default": False},
    }


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True, **connection_rules())
    if not HAS_CLICKHOUSE_CONNECT:
        module.fail_json(msg=missing_required_lib("clickhouse-connect"), exception=CLICKHOUSE_CONNECT_ERROR)
    params = module.params
    secrets = secrets_of(params["secret_parameters"])
    module.no_log_values.update(secrets)
    found: dict[str, t.Any] = {}
    failure: dict[str, t.Any] = {}
    try:
        found = perform(params, module.check_mode)
    except ClickHouseError as error:
        code = {} if error.code is None else {"code": error.code}
        failure = {"msg": safe_message(error, secrets), "changed": isinstance(error, Unknown), **code}
    # Not while the exception is being handled: its traceback would quote the server, and with it parts of secrets.
    if failure:
        module.fail_json(**failure)
    module.exit_json(**hide(found, secrets))


def perform(params: dict, check_mode: bool) -> dict[str, t.Any]:
    statement = read_statement(params["query"])
    parameters = bind(statement, params["parameters"], params["secret_parameters"])
    settings = settings_text(params["settings"])
    check_database(params["database"])
    refused(statement, params["write"])
    if check_mode and not statement.reads:
        message = f"{statement.verb} may write, it was not sent (check mode)"
        return {"changed": True, "msg": message, **result(Answer(b"", None, "", {}))}
    client = ClickHouse(Connection.from_params(params, patient=not check_mode))
    client.use_database()
    answer = send(client, statement, parameters, settings, params)
    client.close()
    return {"changed": not statement.reads, **result(answer)}


def send(client: ClickHouse, statement: Statement, parameters: dict, settings: dict, params: dict) -> Answer:
    def ask() -> Answer:
        return client.ask(statement.text, parameters, settings, params["database"], read_only=statement.reads)

    try:
        return client.patiently(ask) if statement.reads else ask()
    except ConnectionFailed as error:
        if statement.reads:
            raise
        raise Unknown(f"query: whether it ran is not known: {error}") from error
    except ClickHouseError as error:
        raise explain(error, statement, params["write"]) from error


def result(answer: Answer) -> dict[str, t.Any]:
    columns, rows = read_rows(answer)
    statistics = {name: number for name, number in answer.summary.items() if name != "elapsed_ns"}
    return {
        "rows": rows,
        "row_count": len(rows),
        "columns": columns,
        "statistics": statistics,
        "elapsed": answer.summary.get("elapsed_ns", 0) / 1e9,
        "query_id": answer.query_id,
    }


if __name__ == "__main__":
    main()
