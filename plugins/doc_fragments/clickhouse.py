# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options and attributes that every ClickHouse module shares."""

    DOCUMENTATION = r"""
options:
  login_host:
    description:
      - Name or address of the ClickHouse server. One server, no load balancer.
    type: str
    default: localhost
  login_port:
    description:
      - Port of its HTTP interface. V(8443) with O(secure=true), else V(8123), if not given.
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
      - File with the certificates of the authorities to trust. Those of the system, if not given.
    type: path
  client_cert:
    description:
      - File with the client certificate, and its key if O(client_key) is not given.
      - Without O(login_password) it is also what authenticates O(login_user).
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
      - Database of objects and tables that are named without one. That of the user, if not given.
      - It has to exist, unless M(groundwork.observability.clickhouse_schema) declares it.
    type: str
  session_settings:
    description:
      - Settings of the session by name, for example V(allow_suspicious_low_cardinality_types). Every query has them.
      - What the module itself depends on, such as C(readonly) and formats, cannot be set.
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
      - How often to try again when the connection fails, with growing pauses. Errors that the server reports are never
        retried this way. Check mode does not retry.
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
      - Steps after which data is gone, and which are therefore not made unless they are listed.
      - V(drop_column) drops a column that is no longer declared, with its values.
      - V(drop_table) removes tables and databases that are declared absent.
      - V(modify_lossy) changes the type of a column to one that does not hold every value of the old one, or makes a stored column one
        that keeps no values (C(ALIAS), C(EPHEMERAL)). The values are tried first, which reads the column; one that cannot be
        converted at all is drift, with the server's reason.
      - V(rebuild) copies a MergeTree table that no C(ALTER) makes as declared. A new table, named with C(__rebuild) at the end,
        is filled a partition at a time. Then merges of both stop, number and checksum of the rows are compared by partition, what
        differs is copied again, the tables change places (C(EXCHANGE TABLES)), and rows that were inserted meanwhile are copied.
        The old table stays with C(__before) at the end, until it is removed (C(state=absent)). An interrupted run is
        finished by the next one. It takes as much space again as the table, and reads it twice. An C(ALTER UPDATE) or C(DELETE)
        that is not done stops it. The rows of an C(INSERT) that begins in the instant of the exchange are in the table, but
        materialized views over it may miss them (seen on 26.7).
      - A replicated table needs another path in ZooKeeper for it, declared among the arguments of its engine. Its replicas take
        turns, each in its own run, and wait for each other for O(timeout) seconds; what is inserted through any of them
        meanwhile is kept, in tables of the engines C(MergeTree) and C(ReplacingMergeTree). For other engines, and plain tables
        on several hosts that shall become replicas of one, it is refused when the replicas' rows differ.
    type: list
    elements: str
    choices: [drop_column, drop_table, modify_lossy, rebuild]
    default: []
  on_drift:
    description:
      - What to do when an object exists and differs from its declaration in a way that cannot be, or may not be, altered.
      - V(fail) changes nothing at all and fails, naming the objects and how they differ.
      - V(report) leaves them as they are, says so in a warning and in RV(objects[].status), and creates what is missing.
    type: str
    choices: [fail, report]
    default: fail
  history:
    description:
      - Name of a database that exists or is declared. Its table C(schema_history), which is created where it is missing, gets a
        row for every run that changed something, also of one that failed on the way. It says when, the server's user, the host
        the module ran on, the statements without secrets, the error, and a checksum of what is declared (the same on every node
        with the same declaration). The row itself is not among RV(statements).
    type: str
  cluster:
    description:
      - Name of a cluster, as in C(system.clusters). A table, view or dictionary that differs from its declaration and is not
        altered is looked up on the cluster's other nodes, and those that have another definition of it than this node are named.
        Needs C(REMOTE) and C(SELECT) on C(system.tables) and C(system.clusters).
    type: str
"""
