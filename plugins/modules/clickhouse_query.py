#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_query
short_description: Run a statement on a ClickHouse server and return its rows
version_added: 0.1.0
description:
  - Runs one statement and returns its rows as a list of dicts.
  - Values are returned in a form that JSON holds without loss. Integers of all sizes and floats are numbers; C(Decimal), dates and times,
    UUIDs, addresses, C(nan) and C(inf) are strings; C(Array) and C(Tuple) are lists; C(Map), C(JSON) and tuples
    with named elements are dicts. Bytes that are not UTF-8 are shown as C(\xff); select C(hex(x)) or C(base64Encode(x)) to
    get the exact bytes.
  - By default only statements that read are allowed, and the server is told to refuse any write while it runs them. Other statements
    need O(write=true).
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
      - A statement that reads runs in check mode, too. A statement that may write is not sent, and the module does not contact the
        server; the result has V(changed=true).
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - Statements that read change nothing. Whether a second run of a statement that writes changes something depends on the statement.
options:
  query:
    description:
      - The statement, without a C(FORMAT) clause for its result. A trailing semicolon does no harm.
      - Logs show it. Pass secret values in O(secret_parameters).
      - The data of an C(INSERT) may follow C(VALUES) or C(FORMAT).
    type: str
    required: true
  parameters:
    description:
      - Values of the placeholders C({name:Type}) in the statement, by name. The server inserts them, and never reads a value as SQL.
      - Pass a list for C(Array) and C(Tuple), a dict for C(Map) and C(JSON), and null for C(Nullable).
      - The limit for a value is 128 KiB, and the same limit holds for a statement with parameters.
    type: dict
    default: {}
  secret_parameters:
    description:
      - Parameters whose values are hidden in every result and error.
      - Each occurrence of such a value is hidden. A very short value therefore hides much of the output.
      - The server may keep values in its own logs.
    type: dict
    default: {}
  settings:
    description:
      - Settings for this statement, by name, for example V(max_execution_time). They are added to O(session_settings).
    type: dict
    default: {}
  database:
    description:
      - Database of tables that the statement names without a database. By default O(login_database), else the user's default database.
    type: str
  write:
    description:
      - Whether the statement may change something.
      - C(SELECT), C(SHOW), C(DESCRIBE), C(EXISTS), C(EXPLAIN) and C(CHECK) always run in the server's read-only mode.
    type: bool
    default: false
notes:
  - When the connection breaks, the module sends a statement that reads again (see O(retries)). It never repeats a statement that writes.
  - A statement that fails may have written a part. When the connection breaks, the module cannot know whether the statement ran, and
    the result has V(changed=true).
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
  description: Columns in their order. If a name occurs twice, a number is appended to the second, here and in RV(rows).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the column.
      type: str
      sample: total
    type:
      description: Type of the column as the server prints it.
      type: str
      sample: Decimal(38, 2)
statistics:
  description: Counters of the server, for example C(read_rows), C(read_bytes), C(written_rows), C(written_bytes), C(result_rows).
  returned: success
  type: dict
  sample:
    read_rows: 1000
    written_rows: 0
elapsed:
  description: Seconds that the server needed.
  returned: success
  type: float
  sample: 0.004
query_id:
  description: Id of the query in the server's logs and in C(system.query_log). Empty if no query was sent.
  returned: success
  type: str
  sample: 0a6bb1d4-5d35-4d64-8a0c-2f6a5c9e3f9d
msg:
  description: Message that the statement was not sent.
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
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.argument_specs import connection_rules
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import (
    CLICKHOUSE_CONNECT_ERROR,
    HAS_CLICKHOUSE_CONNECT,
    ClickHouseError,
    Connection,
    ConnectionFailed,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.settings import settings_text
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse_query import (
    Answer,
    Session,
    Statement,
    Unknown,
    argument_spec,
    bind_parameters,
    check_database,
    check_write_allowed,
    explain_readonly_error,
    mask_error_message,
    mask_secret_values,
    read_rows,
    read_statement,
    secret_spellings,
)


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True, **connection_rules())
    if not HAS_CLICKHOUSE_CONNECT:
        module.fail_json(msg=missing_required_lib("clickhouse-connect"), exception=CLICKHOUSE_CONNECT_ERROR)
    params = module.params
    secrets = secret_spellings(params["secret_parameters"])
    module.no_log_values.update(secrets)
    found: dict[str, t.Any] = {}
    failure: dict[str, t.Any] = {}
    try:
        found = perform(params, module.check_mode)
    except ClickHouseError as error:
        code = {} if error.code is None else {"code": error.code}
        failure = {"msg": mask_error_message(error, secrets), "changed": isinstance(error, Unknown), **code}
    # Not while the exception is being handled: its traceback would quote the server, and with it parts of secrets.
    if failure:
        module.fail_json(**failure)
    module.exit_json(**mask_secret_values(found, secrets))


def perform(params: dict, check_mode: bool) -> dict[str, t.Any]:
    statement = read_statement(params["query"])
    parameters = bind_parameters(statement, params["parameters"], params["secret_parameters"])
    settings = settings_text(params["settings"])
    check_database(params["database"])
    check_write_allowed(statement, params["write"])
    if check_mode and not statement.reads:
        message = f"{statement.verb} may write, it was not sent (check mode)"
        return {"changed": True, "msg": message, **result(Answer(b"", None, "", {}))}
    client = Session(Connection.from_params(params, patient=not check_mode))
    client.use_database()
    answer = send(client, statement, parameters, settings, params)
    client.close()
    return {"changed": not statement.reads, **result(answer)}


def send(client: Session, statement: Statement, parameters: dict, settings: dict, params: dict) -> Answer:
    def ask() -> Answer:
        return client.ask(statement.text, parameters, settings, params["database"], read_only=statement.reads)

    try:
        return client.call_with_retries(ask) if statement.reads else ask()
    except ConnectionFailed as error:
        if statement.reads:
            raise
        raise Unknown(f"query: whether it ran is not known: {error}") from error
    except ClickHouseError as error:
        raise explain_readonly_error(error, statement, params["write"]) from error


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
