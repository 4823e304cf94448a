#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_copy
short_description: Copy the rows of ClickHouse tables into other tables, each once, in steps that can be resumed
version_added: 0.1.0
description:
  - Copies all rows of MergeTree tables into other MergeTree tables on the same server, which may have other keys, codecs, indices and
    types. Values are converted to the types of the target. Materialized views over the target see the rows.
  - All tables are checked before the first row is copied. Then they are copied one after the other.
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
    support: full
    details:
      - The difference has the number of copied rows of each partition of the source.
options:
  tables:
    description:
      - Which tables are copied, and where to.
    type: list
    elements: dict
    required: true
    suboptions:
      source:
        description:
          - Database and name of the table to read, as C(database.table). If there is no such table, there is nothing to copy.
        type: str
        required: true
      target:
        description:
          - Database and name of the table that gets the rows. It must have all columns of the source, but for those that the source
            computes (C(DEFAULT), C(MATERIALIZED), C(ALIAS)).
        type: str
        required: true
      time_column:
        description:
          - Column of both tables with the time of a row. It divides the rows of a partition into ranges.
        type: str
        required: true
  rows:
    description:
      - The maximum number of rows of a range, at least 1. More rows in one second are one range. The server holds a range in memory.
    type: int
    default: 200000
notes:
  - The sources must not get new rows meanwhile. The module fails when it finds rows that came after their partition was copied.
  - Two equal rows of a source are both copied.
  - The user needs C(SELECT) on the sources and on C(system) tables, C(SELECT) and C(INSERT) on the targets, and C(CREATE TABLE) in their
    databases, and for replicated tables C(SYSTEM SYNC REPLICA).
  - Run the module for each server. It copies what the tables of this server have, also into a replicated target, where the rows of all
    replicas meet. Of a replicated source, the first active replica of each shard copies, and the others change nothing.
  - The target remembers the last blocks that it got (C(replicated_deduplication_window), C(non_replicated_deduplication_window)). If it
    has forgotten the block of an interrupted range, the module looks for the range's rows in the target. If they are there, a
    materialized view over the target may lack them, and a warning names the range.
  - ClickHouse removes rows from the target that are older than its C(TTL).
seealso:
  - module: groundwork.observability.clickhouse_schema
  - module: groundwork.observability.clickhouse_query
"""

EXAMPLES = r"""
- name: Copy logs and spans of the exporter's own tables
  groundwork.observability.clickhouse_copy:
    login_host: ch1.example.com
    login_user: admin
    login_password: "{{ clickhouse_admin_password }}"
    tables:
      - source: default.otel_logs
        target: otel.otel_logs_local
        time_column: Timestamp
      - source: default.otel_traces
        target: otel.otel_traces_local
        time_column: Timestamp
  delegate_to: localhost
"""

RETURN = r"""
copied:
  description: Rows of all tables that this run copied, in check mode those that it would copy. A run that fails says it as well.
  returned: always
  type: int
  sample: 1000000
tables:
  description: The same for each table, in the order of O(tables).
  returned: when the server was asked
  type: list
  elements: dict
  contains:
    source:
      description: Database and name of the table that was read.
      type: str
      sample: default.otel_logs
    target:
      description: Database and name of the table that got the rows.
      type: str
      sample: otel.otel_logs_local
    total:
      description: Rows of the source.
      type: int
      sample: 1000000
    copied:
      description: Rows that this run copied, in check mode those that it would copy.
      type: int
      sample: 800000
    partitions:
      description: Rows by partition of the source, and how many of them had been copied before this run.
      type: dict
      sample:
        "20260105": {rows: 1000000, copied: 200000}
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
    ClickHouse,
    ClickHouseError,
    Connection,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.sql_tokens import DDLError, parse_name
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse_copy import (
    Declared,
    Name,
    Partition,
    TableCopy,
    argument_spec,
    difference,
    find_copies,
    late_rows,
    rows_left,
)


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True, **connection_rules())
    if not HAS_CLICKHOUSE_CONNECT:
        module.fail_json(msg=missing_required_lib("clickhouse-connect"), exception=CLICKHOUSE_CONNECT_ERROR)
    result: dict[str, t.Any] = {"copied": 0}
    try:
        perform(module, result)
    except ClickHouseError as error:
        code = {} if error.code is None else {"code": error.code}
        module.fail_json(msg=str(error), changed=result["copied"] > 0, **code, **result)
    module.exit_json(changed=result["copied"] > 0, **result)


def perform(module: AnsibleModule, result: dict[str, t.Any]) -> None:
    """Copy what is left of all tables, and count it in the result."""
    params = module.params
    declared = read_tables(params)
    client = ClickHouse(Connection.from_params(params, patient=not module.check_mode))
    copies: list[tuple[TableCopy, list[Partition], dict[str, t.Any]]] = []
    tables: list[dict[str, t.Any]] = []
    for item, given in zip(find_copies(client, declared, params["rows"]), params["tables"]):
        if item and item.source.rows and not module.check_mode:
            item.prepare()
        partitions = item.partitions() if item else []
        counts = {partition.name: {"rows": partition.rows, "copied": partition.copied} for partition in partitions}
        total = sum(partition.rows for partition in partitions)
        tables.append({"source": given["source"], "target": given["target"], "total": total, "copied": 0, "partitions": counts})
        if item and item.copies_here:
            copies.append((item, partitions, tables[-1]))
    result.update(tables=tables, diff=[difference(item, partitions) for item, partitions, _table in copies if rows_left(partitions)])
    problems = [problem for item, partitions, _table in copies for problem in late_rows(item, partitions)]
    if problems:
        raise ClickHouseError("; ".join(problems))
    for item, partitions, table in copies:
        for rows in [rows_left(partitions)] if module.check_mode else item.copy_all(partitions, module.warn):
            table["copied"] += rows
            result["copied"] += rows
    client.close()


def read_tables(params: dict[str, t.Any]) -> list[Declared]:
    """The declared copies, with databases and names apart."""
    if params["rows"] < 1:
        raise ClickHouseError("rows: must be at least 1")
    declared: list[Declared] = []
    for place, item in enumerate(params["tables"]):
        source, target = (table_name(item[option], f"tables[{place}].{option}") for option in ("source", "target"))
        if (source, target) in [known[:2] for known in declared]:
            raise ClickHouseError(f"tables[{place}]: another entry copies {item['source']} to {item['target']} already: remove one of them")
        declared.append(Declared(source, target, item["time_column"]))
    return declared


def table_name(text: str, option: str) -> Name:
    """Database and name."""
    try:
        database, name = parse_name(text)
    except (DDLError, ValueError) as error:
        raise ClickHouseError(f"{option}: must be database.table, not {text}") from error
    return database, name


if __name__ == "__main__":
    main()
