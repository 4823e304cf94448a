# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options and attributes that every ClickHouse module shares."""

    DOCUMENTATION = r"""
options:
  login_host:
    description:
      - Name or address of one ClickHouse server. Do not give a load balancer.
    type: str
    default: localhost
  login_port:
    description:
      - Port of its HTTP interface. By default V(8443) with O(secure=true), else V(8123).
    type: int
  secure:
    description:
      - Whether to use HTTPS.
    type: bool
    default: true
  validate_certs:
    description:
      - Whether to verify the server's certificate.
    type: bool
    default: true
  ca_path:
    description:
      - File with the certificates of the authorities to trust. By default those of the system.
    type: path
  client_cert:
    description:
      - File with the client certificate, and its key if O(client_key) is not given.
      - Without O(login_password) the certificate also authenticates O(login_user).
    type: path
  client_key:
    description:
      - File with the client certificate's key.
    type: path
  login_user:
    description:
      - Name of the ClickHouse user.
    type: str
    default: default
  login_password:
    description:
      - Password of the ClickHouse user.
    type: str
  login_database:
    description:
      - Database of objects and tables that are named without a database. By default the user's default database.
      - It must exist, unless M(groundwork.observability.clickhouse_schema) declares it.
    type: str
  session_settings:
    description:
      - Settings of the session by name, for example V(allow_suspicious_low_cardinality_types). They apply to every query.
      - Settings that the module itself needs, such as C(readonly) and formats, are refused.
    type: dict
    default: {}
  connect_timeout:
    description:
      - Seconds to wait for a connection.
    type: int
    default: 10
  timeout:
    description:
      - Seconds to wait for the answer to a query.
    type: int
    default: 300
  retries:
    description:
      - Number of further attempts if the connection fails, with growing pauses. The module does not retry after an error that the server
        reports, and does not retry in check mode.
    type: int
    default: 3
"""

    ATTRIBUTES = r"""
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: full
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second run does nothing.
    support: full
options: {}
"""

    POLICY = r"""
options:
  allow:
    description:
      - Permissions for steps that delete data or copy tables. Without its permission a step is not made.
      - V(drop_column) drops a column that is no longer declared, with its values.
      - V(drop_table) drops tables and databases that are declared absent.
      - V(modify_lossy) changes the type of a column to a type that cannot hold every value of the old type, or makes a stored column a
        column without values (C(ALIAS), C(EPHEMERAL)). The module first tries to convert all values, which reads the column. If a value
        cannot be converted, it reports drift with the server's reason.
      - V(rebuild) copies a MergeTree table for changes that no C(ALTER) can make. The module fills a new table, whose name ends with
        C(__rebuild), one partition after the other. Then it stops merges of both tables, compares number and checksum of the rows by
        partition, copies differing partitions again, exchanges the two tables (C(EXCHANGE TABLES)), and copies rows that were inserted
        meanwhile. The old table stays under a name that ends with C(__before) until it is dropped (C(state=absent)). The next run
        finishes an interrupted one. A rebuild needs as much free space as the table, and reads the table twice. It is refused while
        mutations of the table are not finished (C(ALTER UPDATE), C(DELETE)). If an C(INSERT) begins at the moment of the exchange, its
        rows are in the table, but materialized views over the table may miss them (seen on 26.7).
      - To rebuild a replicated table, declare another path in ZooKeeper among the arguments of its engine. The replicas are rebuilt in
        turn, each in its own run, and wait for each other for O(timeout) seconds. Rows that are inserted meanwhile through any replica
        are kept if the engine is C(MergeTree) or C(ReplacingMergeTree). With other engines, and for tables on several hosts that become
        replicas of one table, the module refuses to rebuild if the rows of the hosts differ.
    type: list
    elements: str
    choices: [drop_column, drop_table, modify_lossy, rebuild]
    default: []
  on_drift:
    description:
      - What to do if an existing object differs from its declaration, and the difference cannot or may not be altered (drift).
      - V(fail) changes nothing, and fails with the names of the objects and their differences.
      - V(report) does not change these objects, reports them in a warning and in RV(objects[].status), and makes all other changes.
    type: str
    choices: [fail, report]
    default: fail
  history:
    description:
      - Name of a database that exists or is declared. Each run that changes something adds a row to the table C(schema_history) of this
        database, also if it fails half-way. The module creates the table if it is missing. A row contains the time, the user of the
        server, the host that the module ran on, the statements without secrets, the error, and a checksum of the declaration, which is
        the same on all servers with the same declaration. RV(statements) does not contain the statement that adds the row.
    type: str
  cluster:
    description:
      - Name of a cluster, as in C(system.clusters). If a table, view or dictionary drifts, the module looks it up on the other servers of
        the cluster, and names those whose definition differs from the one on this server. The user needs C(REMOTE), and C(SELECT) on
        C(system.tables) and C(system.clusters).
    type: str
"""
