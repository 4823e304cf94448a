#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_copy
short_description: Copy the rows of a ClickHouse table into another table, each once, in steps that can be resumed
version_added: 0.1.0
description:
  - Copies all rows of a MergeTree table into another MergeTree table on the same server, which may have other keys, codecs, indices and
    types. Values are converted to the types of the target. Materialized views over the target see the rows.
  - The copy goes partition by partition, in ranges of time of at most O(rows) rows. Each range is one C(INSERT) of one block. What was
    copied is written to the table C(copied_ranges) of the target's database. A run that was interrupted, at whatever moment, is
    completed by the next one, and no row is stored twice.
  - Nothing is removed from the source.
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
      - The module reports how many rows it would copy.
  diff_mode:
    support: none
options:
  source:
    description:
      - Database and name of the table to read, as C(database.table). If there is none, there is nothing to copy.
    type: str
    required: true
  target:
    description:
      - Database and name of the table that gets the rows. It must have all columns of the source, but for those that the source computes
        (C(DEFAULT), C(MATERIALIZED), C(ALIAS)).
    type: str
    required: true
  time_column:
    description:
      - Column of both tables with the time of a row. It divides the rows of a partition into ranges.
    type: str
    required: true
  rows:
    description:
      - The maximum number of rows of a range. More rows in one second are one range. The server holds a range in memory.
    type: int
    default: 200000
notes:
  - The source must not get new rows meanwhile. The module fails when it finds rows that came after their partition was copied.
  - Two equal rows of the source are both copied.
  - The user needs C(SELECT) on the source and on C(system) tables, C(SELECT) and C(INSERT) on the target, and C(CREATE TABLE) in its
    database.
  - Of a replicated source, the first active replica of each shard copies, and the others change nothing.
  - The target remembers the last blocks that it got (C(replicated_deduplication_window), C(non_replicated_deduplication_window)). If it
    has forgotten the block of an interrupted range, the module looks for the range's rows in the target. If they are there, a
    materialized view over the target may lack them, and a warning names the range.
  - ClickHouse removes rows from the target that are older than its C(TTL).
seealso:
  - module: groundwork.observability.clickhouse_schema
  - module: groundwork.observability.clickhouse_query
"""

EXAMPLES = r"""
- name: Copy the logs of the exporter's own table
  groundwork.observability.clickhouse_copy:
    login_host: ch1.example.com
    login_user: admin
    login_password: "{{ clickhouse_admin_password }}"
    source: default.otel_logs
    target: otel.otel_logs_local
    time_column: Timestamp
  delegate_to: localhost
"""

RETURN = r"""
copied:
  description: Rows that this run copied, in check mode those that it would copy.
  returned: success
  type: int
  sample: 1000000
total:
  description: Rows of the source.
  returned: success
  type: int
  sample: 1000000
partitions:
  description: Rows by partition of the source, and how many of them had been copied before this run.
  returned: success
  type: dict
  sample:
    "20260105": {rows: 1000000, copied: 0}
code:
  description: Error code of the server.
  returned: when the server refused
  type: int
  sample: 497
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.argument_specs import (
    connection_rules,
    copy_spec,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import (
    CLICKHOUSE_CONNECT_ERROR,
    HAS_CLICKHOUSE_CONNECT,
    ClickHouse,
    ClickHouseError,
    Connection,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.sql_tokens import DDLError, parse_name
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.table_copy import HIGHEST, TableCopy


def main() -> None:
    module = AnsibleModule(argument_spec=copy_spec(), supports_check_mode=True, **connection_rules())
    if not HAS_CLICKHOUSE_CONNECT:
        module.fail_json(msg=missing_required_lib("clickhouse-connect"), exception=CLICKHOUSE_CONNECT_ERROR)
    result: dict[str, t.Any] = {"copied": 0, "total": 0, "partitions": {}}
    try:
        perform(module, result)
    except ClickHouseError as error:
        code = {} if error.code is None else {"code": error.code}
        module.fail_json(msg=str(error), changed=result["copied"] > 0, **code)
    module.exit_json(changed=result["copied"] > 0, **result)


def perform(module: AnsibleModule, result: dict[str, t.Any]) -> None:
    """Copy what is left, and count it in the result."""
    params = module.params
    source, target = (table_name(params, option) for option in ("source", "target"))
    if params["rows"] < 1:
        raise ClickHouseError("rows: must be at least 1")
    client = ClickHouse(Connection.from_params(params, patient=not module.check_mode))
    copy = TableCopy(client, source, target, params["time_column"], params["rows"])
    if not copy.copies_here():
        client.close()
        return
    partitions = copy.partitions()
    result["total"] = sum(partition.rows for partition in partitions)
    result["partitions"] = {partition.name: {"rows": partition.rows, "copied": partition.copied} for partition in partitions}
    late = {partition.name: partition.late for partition in partitions if partition.late}
    if late:
        names = ", ".join(f"{name}: {rows}" for name, rows in late.items())
        raise ClickHouseError(
            f"source: {copy.source.sql_name} got rows in partitions that were copied before ({names}): stop what writes to it, copy these "
            f"rows by hand, and correct the rows of {copy.progress}"
        )
    if module.check_mode:
        result["copied"] = sum(max(partition.rows - partition.copied, 0) for partition in partitions)
        client.close()
        return
    if any(partition.begun or partition.position < HIGHEST for partition in partitions):
        copy.prepare()
    for partition in partitions:
        if partition.begun:
            if copy.finish(partition.begun):
                module.warn(
                    f"{copy.target.sql_name} had the rows of partition {partition.name} from second {partition.begun.begin} to "
                    f"{partition.begun.end} already; compare what its materialized views have of this time"
                )
            result["copied"] += partition.begun.rows
        for item in copy.copy(partition):
            result["copied"] += item.rows
    client.close()


def table_name(params: dict[str, t.Any], option: str) -> tuple[str, str]:
    """Database and name."""
    try:
        database, name = parse_name(params[option])
    except (DDLError, ValueError) as error:
        raise ClickHouseError(f"{option}: must be database.table, not {params[option]}") from error
    return database, name


if __name__ == "__main__":
    main()
