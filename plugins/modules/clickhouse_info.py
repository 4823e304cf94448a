#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_info
short_description: Gather information about a ClickHouse server
version_added: 0.1.0
description:
  - Returns version, topology, databases, tables, replicas, access, settings and disks of one ClickHouse server. It changes nothing.
  - Each section takes one query; users and roles take two more. The number of queries does not depend on the number of objects.
  - A section that the user may not read is empty, and RV(skipped) gives the reason. The same holds for a section that this version of
    the server does not have, and for one that needs ZooKeeper while ZooKeeper does not answer. Any other error fails the module.
  - Passwords and keys in statements, settings and URLs are hidden.
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
      - The module does the same in check mode, because it changes nothing.
  diff_mode:
    support: none
options:
  filter:
    description:
      - Sections to return. By default all but V(settings) and V(merge_tree_settings), which list more than a thousand settings each.
        V(changed_settings) and V(changed_merge_tree_settings) list only the settings that differ from their default.
      - V(all) stands for every section.
    type: list
    elements: str
    aliases: [limit]
    choices:
      - all
      - driver
      - version
      - server
      - macros
      - clusters
      - databases
      - tables
      - parts
      - dictionaries
      - replicas
      - mutations
      - users
      - roles
      - grants
      - quotas
      - settings_profiles
      - settings_profile_elements
      - settings
      - changed_settings
      - merge_tree_settings
      - changed_merge_tree_settings
      - changed_server_settings
      - disks
      - storage_policies
  databases:
    description:
      - Limits V(databases), V(tables), V(parts), V(dictionaries), V(replicas) and V(mutations) to these databases. By default the
        result has all databases that the user may see.
      - The result leaves out a database that does not exist or that the user may not see.
    type: list
    elements: str
notes:
  - The server leaves out databases and tables that the user may not see. It does not report that it left something out.
  - A user needs C(SELECT) on the tables of the database C(system), C(SHOW ACCESS), and C(SHOW USERS) and C(SHOW ROLES) for the grants
    of others.
seealso:
  - module: groundwork.observability.clickhouse_query
  - module: groundwork.observability.clickhouse_schema
"""

EXAMPLES = r"""
- name: Everything
  groundwork.observability.clickhouse_info:
    login_host: ch1.example.com
    login_user: admin
    login_password: "{{ clickhouse_admin_password }}"
    ca_path: /etc/ssl/certs/ca.crt
  delegate_to: localhost
  register: clickhouse

- name: Replicas of one database
  groundwork.observability.clickhouse_info:
    login_host: ch1.example.com
    login_user: admin
    login_password: "{{ clickhouse_admin_password }}"
    filter: [replicas]
    databases: [otel]
  delegate_to: localhost
  register: clickhouse

- name: All of them are healthy
  ansible.builtin.assert:
    that: clickhouse.replicas.otel.values() | rejectattr('healthy') | length == 0
"""

RETURN = r"""
skipped:
  description:
    - Sections that are empty because they could not be read, each with the server's reason.
    - V(users.grants), V(users.roles), V(roles.grants) and V(roles.roles) are the lists of that name in RV(users) and RV(roles).
  returned: success
  type: dict
  sample:
    users: "Code: 497. DB::Exception: reader: Not enough privileges. ..."
driver:
  description: Version of the Python library.
  returned: success
  type: dict
  sample:
    version: 1.12.0
version:
  description: Version of the server, whole and in parts.
  returned: success
  type: dict
  sample:
    raw: 26.7.2.1
    year: 26
    feature: 7
    maintenance: 2
    build: 1
    type: null
server:
  description: Name, UUID, time zone and time (UTC) of the server, seconds since its start, and user and database of this connection.
  returned: when it is in O(filter)
  type: dict
  sample:
    host_name: ch1
    uptime: 86400
    timezone: Etc/UTC
macros:
  description: Macros by name.
  returned: when it is in O(filter)
  type: dict
  sample:
    shard: "1"
    replica: a
clusters:
  description: Clusters with their shards and replicas, by name and number.
  returned: when it is in O(filter)
  type: dict
  sample:
    otel:
      shards:
        "1":
          shard_weight: 1
          replicas:
            "1":
              host_name: ch1
              port: 9440
              is_local: 1
databases:
  description: Databases by name.
  returned: when it is in O(filter)
  type: dict
  sample:
    otel:
      engine: Atomic
      comment: ""
tables:
  description: Tables by database and name, with engine, definition, keys, rows, bytes and parts. Temporary tables are under an empty name.
  returned: when it is in O(filter)
  type: dict
  sample:
    otel:
      otel_logs:
        engine: ReplicatedMergeTree
        total_rows: 517
        total_bytes: 70123
        parts: 3
        active_parts: 2
parts:
  description: Active parts of each table, by database and table, summed up.
  returned: when it is in O(filter)
  type: dict
  sample:
    otel:
      otel_logs:
        parts: 2
        partitions: 1
        rows: 517
        bytes_on_disk: 70123
dictionaries:
  description: Dictionaries by database and name. Dictionaries without a database are under C(dict).
  returned: when it is in O(filter)
  type: dict
  sample:
    shop:
      prices:
        status: LOADED
        element_count: 12
replicas:
  description: Replicated tables of this server, by database and table. C(healthy) says whether a replica works, C(problems) what is wrong.
  returned: when it is in O(filter)
  type: dict
  sample:
    otel:
      otel_logs:
        is_readonly: 0
        active_replicas: 2
        total_replicas: 2
        healthy: true
        problems: []
mutations:
  description: Mutations that are not finished.
  returned: when it is in O(filter)
  type: list
  elements: dict
  sample:
    - database: otel
      table: otel_logs
      mutation_id: mutation_5.txt
      parts_to_do: 1
      latest_fail_reason: ""
users:
  description: Users by name, with their roles and grants, without any credentials.
  returned: when it is in O(filter)
  type: dict
  sample:
    reader:
      storage: users_xml
      default_roles_all: 1
      roles: []
      grants:
        - GRANT SELECT ON otel.* TO reader
roles:
  description: Roles by name, with their roles and grants.
  returned: when it is in O(filter)
  type: dict
  sample:
    analyst:
      storage: local_directory
      roles: []
      grants:
        - GRANT SELECT ON otel.* TO analyst
grants:
  description: Grants of C(users) and C(roles) by name, one entry for each access type and object.
  returned: when it is in O(filter)
  type: dict
  sample:
    users:
      reader:
        - access_type: SELECT
          database: otel
          grant_option: 0
    roles: {}
quotas:
  description: Quotas by name.
  returned: when it is in O(filter)
  type: dict
  sample:
    default:
      durations:
        - 3600
      apply_to_list:
        - default
settings_profiles:
  description: Settings profiles by name.
  returned: when it is in O(filter)
  type: dict
  sample:
    readonly:
      num_elements: 1
      apply_to_all: 0
settings_profile_elements:
  description: Settings and constraints of C(profiles), C(users) and C(roles) by name.
  returned: when it is in O(filter)
  type: dict
  sample:
    profiles:
      readonly:
        - setting_name: readonly
          value: "1"
    users: {}
    roles: {}
settings:
  description: All settings of this user by name.
  returned: when it is in O(filter)
  type: dict
  sample:
    max_threads:
      value: "4"
      changed: 0
      type: MaxThreads
changed_settings:
  description: Settings of this user that differ from their defaults, by name.
  returned: when it is in O(filter)
  type: dict
  sample:
    max_memory_usage:
      value: "10000000000"
      default: "0"
      type: UInt64
merge_tree_settings:
  description: All settings of MergeTree tables by name.
  returned: when it is in O(filter)
  type: dict
  sample:
    index_granularity:
      value: "8192"
      changed: 0
changed_merge_tree_settings:
  description: Settings of MergeTree tables that differ from their defaults, by name.
  returned: when it is in O(filter)
  type: dict
  sample:
    max_suspicious_broken_parts:
      value: "5"
      default: "100"
changed_server_settings:
  description: Settings of the server that differ from their defaults, by name.
  returned: when it is in O(filter)
  type: dict
  sample:
    mark_cache_size:
      value: "100000000"
      default: "5368709120"
disks:
  description: Disks by name, with their sizes in bytes.
  returned: when it is in O(filter)
  type: dict
  sample:
    default:
      path: /var/lib/clickhouse/
      free_space: 81604378624
      total_space: 105089261568
      type: Local
storage_policies:
  description: Storage policies by name, each with its C(volumes). The fields of the first volume are those of the policy, too.
  returned: when it is in O(filter)
  type: dict
  sample:
    default:
      volume_name: default
      disks:
        - default
      volumes:
        - volume_name: default
          disks:
            - default
code:
  description: Error code of the server.
  returned: when the server refused
  type: int
  sample: 516
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.argument_specs import connection_rules
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import (
    CLICKHOUSE_CONNECT_ERROR,
    HAS_CLICKHOUSE_CONNECT,
    ClickHouseError,
    Connection,
    driver_version,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse_info import (
    argument_spec,
    check_databases,
    gather,
    names_in,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse_query import Session


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True, **connection_rules())
    if not HAS_CLICKHOUSE_CONNECT:
        module.fail_json(msg=missing_required_lib("clickhouse-connect"), exception=CLICKHOUSE_CONNECT_ERROR)
    databases = module.params["databases"]
    try:
        names = names_in(module.params["filter"])
        check_databases(databases)
        client = Session(Connection.from_params(module.params, patient=not module.check_mode))
        client.use_database()
        result = gather(client, names, databases, driver_version())
        client.close()
    except ClickHouseError as error:
        code = {} if error.code is None else {"code": error.code}
        module.fail_json(msg=str(error), **code)
    for section, reason in result["skipped"].items():
        module.warn(f"{section} is empty: {reason}")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
