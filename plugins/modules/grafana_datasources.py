#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_datasources
short_description: Manage the data sources of a Grafana organisation
version_added: 0.1.0
description:
  - Creates, changes and deletes data sources of any type. A data source is identified by its uid, so that its name can be changed.
  - The module checks all data sources before it writes, among others that the plugins of new ones are installed. It reads all data sources
    with one request, and with one more each data source that is not as declared or declares O(datasources[].basic_auth_user) or
    O(datasources[].with_credentials), which the list does not contain. If nothing differs, it writes nothing.
  - Data sources are changed in an order in which every change is possible, also if they exchange their names.
  - If a run is interrupted, the next run finishes its work.
author:
  - groundwork.observability maintainers (@groundwork)
extends_documentation_fragment:
  - groundwork.observability.grafana
  - groundwork.observability.grafana.attributes
attributes:
  idempotent:
    support: partial
    details:
      - With O(update_secrets=always) data sources with secrets are written in each run.
options:
  datasources:
    description:
      - Data sources, in any order.
    type: list
    elements: dict
    required: true
    suboptions:
      uid:
        description:
          - Identifier of the data source in the organisation. 1 to 40 characters of C(A-Z), C(a-z), C(0-9), C(_) and C(-). It cannot be
            changed.
        type: str
        required: true
      name:
        description:
          - Name, 1 to 190 characters without control characters. Required unless O(datasources[].state=absent).
          - Data sources of one organisation must have different names, without regard to case.
        type: str
      type:
        description:
          - Id of the plugin, for example V(grafana-clickhouse-datasource), V(grafana-postgresql-datasource), V(mysql) or V(prometheus).
            Required unless O(datasources[].state=absent). The plugin must be installed.
          - V(postgres) means V(grafana-postgresql-datasource).
        type: str
        aliases: [ds_type]
      access:
        description:
          - V(proxy) sends queries from Grafana, V(direct) from the browser.
        type: str
        choices: [proxy, direct]
        default: proxy
      url:
        description:
          - URL, or host and port, of the server. It must not contain a password.
        type: str
        default: ""
        aliases: [ds_url]
      user:
        description:
          - Name of the user, for types that have it here.
        type: str
        default: ""
      database:
        description:
          - Name of the database, for types that have it here. For PostgreSQL the module also writes it to C(jsonData.database), where newer
            versions of Grafana expect it.
        type: str
        default: ""
      basic_auth:
        description:
          - Whether Grafana sends a user and password to the server by HTTP basic authentication. By default V(true) if
            O(datasources[].basic_auth_user) is given.
        type: bool
        aliases: [basicAuth]
      basic_auth_user:
        description:
          - User for basic authentication; the password is V(basicAuthPassword) in O(datasources[].secure_json_data). By default it stays as
            it is.
        type: str
        aliases: [basicAuthUser]
      with_credentials:
        description:
          - Whether browsers send cookies with queries. By default it stays as it is.
        type: bool
        aliases: [withCredentials]
      is_default:
        description:
          - Whether it is the default data source of the organisation. At most one may be V(true). By default it stays as it is, and is
            V(false) if another declared data source is the default.
        type: bool
        aliases: [isDefault]
      json_data:
        description:
          - Settings of the plugin. They replace all settings that are there.
          - Every user of the organisation can read them. They must not contain secrets.
        type: dict
        default: {}
        aliases: [jsonData, additional_json_data]
      secure_json_data:
        description:
          - Secret settings of the plugin, as texts that are not empty. They replace all secrets that are there; V({}) removes
            them. By default secrets stay as they are.
        type: dict
        aliases: [secureJsonData, additional_secure_json_data]
      state:
        description:
          - V(present) makes the data source exist as declared, V(absent) deletes it together with its secrets.
        type: str
        choices: [present, absent]
        default: present
  update_secrets:
    description:
      - How a changed secret is found. Grafana does not show secrets.
      - V(digest) keeps a salted scrypt digest of all secrets of a data source in its settings (C(jsonData.groundworkSecrets)). They are
        written if the digest of the declared ones differs. A secret that somebody else changes or removes is not found as long as
        nothing else differs. Users of the organisation can read the digest. They can find a short secret by trying, but not a long
        random one.
      - V(always) writes them in each run. V(on_create) writes them only together with a new data source. Neither keeps a digest.
    type: str
    choices: [digest, always, on_create]
    default: digest
  purge:
    description:
      - Which data sources are deleted if they are not declared. Those of provisioning files are never deleted.
    type: dict
    suboptions:
      uids:
        description: Shell patterns of uids to delete, for example V(platform-*). V(*) means all of the organisation.
        type: list
        elements: str
        required: true
      keep:
        description: Shell patterns of uids to keep.
        type: list
        elements: str
        default: []
notes:
  - The user or token needs the role Admin, or the permissions C(datasources:create), C(datasources:read), C(datasources:write) and
    C(datasources:delete).
  - Data sources of provisioning files cannot be changed. If such a one differs, the module fails before its first change.
  - Tested against a stand-in that answers as recordings of Grafana 9.5 do, see C(docs/verification.md).
"""

EXAMPLES = r"""
- name: Manage data sources of ClickHouse, PostgreSQL and MySQL
  groundwork.observability.grafana_datasources:
    url: https://grafana.example.com
    url_username: admin
    url_password: "{{ grafana_admin_password }}"
    org_name: Shop
    datasources:
      - uid: clickhouse
        name: ClickHouse
        type: grafana-clickhouse-datasource
        is_default: true
        json_data:
          host: ch1.example.com
          port: 9440
          protocol: native
          secure: true
          username: grafana
          tlsAuthWithCACert: true
        secure_json_data:
          password: "{{ clickhouse_grafana_password }}"
          tlsCACert: "{{ lookup('ansible.builtin.file', 'ca.crt') }}"
      - uid: shop-postgres
        name: Shop
        type: grafana-postgresql-datasource
        url: db1.example.com:5432
        user: grafana_read
        database: shop
        json_data: {sslmode: verify-full, postgresVersion: 1500}
        secure_json_data:
          password: "{{ shop_grafana_password }}"
      - uid: billing-mysql
        name: Billing
        type: mysql
        url: db2.example.com:3306
        user: grafana_read
        database: billing
        secure_json_data:
          password: "{{ billing_grafana_password }}"
    purge:
      uids: ["*"]
      keep: [manual-*]
  delegate_to: localhost

- name: Delete a data source
  groundwork.observability.grafana_datasources:
    url: https://grafana.example.com
    token: "{{ grafana_token }}"
    datasources:
      - uid: old
        state: absent
  delegate_to: localhost
"""

RETURN = r"""
statements:
  description: Requests that were made, or that would be made in a real run, without secrets. In case of an error those made before it.
  returned: always
  type: list
  elements: str
  sample:
    - DELETE /api/datasources/uid/old
uncertain:
  description: Requests that may have been executed or not, because the answer was lost.
  returned: when there are any
  type: list
  elements: str
objects:
  description: Every declared data source, and those that are purged.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Uid of the data source.
      type: str
      sample: clickhouse
    kind:
      description: Always V(datasource).
      type: str
      sample: datasource
    status:
      description: V(present) or V(absent) if it is as declared, V(created), V(altered) or V(deleted) if this run changes it.
      type: str
      sample: created
    before:
      description: What was there, as JSON without secrets. Empty if it did not exist.
      type: str
      sample: ""
    after:
      description: What is declared, as JSON without secrets. Empty if it is to be absent.
      type: str
      sample: '{"name": "ClickHouse", "type": "grafana-clickhouse-datasource"}'
    reason:
      description: Always empty.
      type: str
      sample: ""
status:
  description: HTTP status of the answer that made the module fail.
  returned: when the server answered with an error
  type: int
  sample: 403
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.argument_specs import (
    connection_rules,
    datasources_spec,
)
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.datasources import DATASOURCES
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.execution import run


def main() -> None:
    module = AnsibleModule(argument_spec=datasources_spec(), supports_check_mode=True, **connection_rules())
    run(module, DATASOURCES)


if __name__ == "__main__":
    main()
