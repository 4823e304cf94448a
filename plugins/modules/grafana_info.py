#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_info
short_description: Gather what a Grafana organisation has, as options of the other modules
version_added: 0.1.0
description:
  - Returns folders, data sources, library panels, dashboards, silences, alerting and access in the form that the other modules take as
    options. If these are given what this module returns, they change nothing. The module itself changes nothing.
  - The playbook C(adopt_grafana) writes the result into files, from which C(apply_grafana) manages a Grafana.
  - Secrets are not returned, because Grafana does not show them. RV(secrets) has the names of those that are set. The modules leave them as
    they are until they are given.
  - What the modules cannot manage, such as objects of provisioning files, is not returned. RV(left_out) gives the reason.
  - A section that the user may not read, or that this Grafana does not have, is missing. RV(skipped) gives the reason. Any other error
    fails the module.
author:
  - groundwork.observability maintainers (@groundwork)
extends_documentation_fragment:
  - groundwork.observability.grafana
  - groundwork.observability.grafana.attributes
attributes:
  check_mode:
    details:
      - The module does the same in check mode, because it changes nothing.
  diff_mode:
    support: none
options:
  filter:
    description:
      - Sections to return. V(all) stands for every section.
    type: list
    elements: str
    choices: [all, folders, datasources, library_panels, dashboards, silences, alerting, access]
    default: [all]
    aliases: [gather]
notes:
  - Dashboards and data sources take one request each, because lists do not say which of them come from provisioning files. Permissions
    take one request for each folder and dashboard. The other sections take as many as a run of their module that changes nothing.
  - Only what Grafana treats as a secret is left out. A token in a dashboard, or in the URL of a webhook, is returned.
  - Silences that have expired are not returned, and neither are users and organisations, which belong to the whole server. Teams and
    permissions name users by their logins.
  - Tested against a stand-in that answers as recordings of Grafana 9.5 do, see C(docs/verification.md).
"""

EXAMPLES = r"""
- name: Gather everything
  groundwork.observability.grafana_info:
    url: https://grafana.example.com
    token: "{{ grafana_token }}"
  delegate_to: localhost
  register: grafana

- name: Make the folders and data sources of one Grafana in another one
  groundwork.observability.grafana_folders:
    url: https://other.example.com
    token: "{{ other_grafana_token }}"
    folders: "{{ grafana.folders }}"
  delegate_to: localhost

- name: Gather the alerting
  groundwork.observability.grafana_info:
    url: https://grafana.example.com
    token: "{{ grafana_token }}"
    filter: [alerting]
  delegate_to: localhost
"""

RETURN = r"""
organization:
  description: The organisation that was read.
  returned: success
  type: dict
  contains:
    id:
      description: Number.
      type: int
      sample: 1
    name:
      description: Name.
      type: str
      sample: Main Org.
version:
  description: Version of Grafana. Empty if it does not tell its version.
  returned: success
  type: str
  sample: 12.1.0
folders:
  description: Folders, as in the option of M(groundwork.observability.grafana_folders).
  returned: if chosen in O(filter), and not skipped
  type: list
  elements: dict
  sample:
    - uid: platform
      title: Platform
      parent_uid: ""
datasources:
  description: Data sources without secrets, as in the option of M(groundwork.observability.grafana_datasources).
  returned: if chosen in O(filter), and not skipped
  type: list
  elements: dict
  sample:
    - uid: metrics
      name: Metrics
      type: prometheus
      access: proxy
      url: http://prometheus.example.com:9090
      json_data: {}
library_panels:
  description: Library panels and variables, as in the option of M(groundwork.observability.grafana_library_panels).
  returned: if chosen in O(filter), and not skipped
  type: list
  elements: dict
  sample:
    - uid: rows-written
      name: Rows written
      kind: panel
      folder_uid: platform
      model:
        type: stat
        description: ""
dashboards:
  description: Dashboards, as in the option of M(groundwork.observability.grafana_dashboards).
  returned: if chosen in O(filter), and not skipped
  type: list
  elements: dict
  sample:
    - uid: overview
      folder_uid: platform
      dashboard:
        title: Overview
        panels: []
silences:
  description: Silences that hold or are to come, as in the option of M(groundwork.observability.grafana_silences).
  returned: if chosen in O(filter), and not skipped
  type: list
  elements: dict
  sample:
    - name: db-upgrade
      comment: Upgrade of the database
      created_by: Ansible
      starts_at: "2030-01-31T08:00:00.000Z"
      ends_at: "2030-01-31T10:00:00.000Z"
      matchers:
        - name: service
          value: database
          is_regex: false
          is_equal: true
alerting:
  description:
    - Options of M(groundwork.observability.grafana_alerting), one entry a call, in the order of the calls. What was made at Grafana's pages
      and what was made through its API need different calls.
  returned: if chosen in O(filter), and not skipped
  type: list
  elements: dict
  sample:
    - editable_in_ui: false
      contact_points:
        - uid: team
          name: team
          type: email
          settings:
            addresses: team@example.com
access:
  description:
    - Options of one call of M(groundwork.observability.grafana_access), which are C(teams), C(service_accounts), C(permissions) of folders
      and dashboards, and C(preferences). One that the user may not read is missing.
  returned: if chosen in O(filter), and not skipped
  type: dict
  sample:
    teams:
      - name: Shop
        email: shop@example.com
        members: [ann]
        admins: []
        purge: true
secrets:
  description: Names of the secrets that are set, by list (such as C(datasources) or C(contact_points)) and uid or name.
  returned: success
  type: dict
  sample:
    datasources:
      metrics: [basicAuthPassword]
left_out:
  description: Why objects are not returned, by list (such as C(dashboards) or C(rule_groups)) and uid or name.
  returned: success
  type: dict
  sample:
    dashboards:
      home: it comes from a provisioning file
skipped:
  description: Why sections, or lists of them (such as C(access.permissions)), are not returned.
  returned: success
  type: dict
  sample: {}
status:
  description: HTTP status of the answer that made the module fail.
  returned: when the server answered with an error
  type: int
  sample: 401
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.argument_specs import connection_rules, info_spec
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.client import Client, Connection, GrafanaError
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.info import SECTIONS, gather


def main() -> None:
    module = AnsibleModule(argument_spec=info_spec(SECTIONS), supports_check_mode=True, **connection_rules())
    try:
        client = Client(Connection.from_params(module.params))
        client.enter_organisation()
        report = gather(client, module.params["filter"])
    except GrafanaError as error:
        status = {} if error.status is None else {"status": error.status}
        module.fail_json(msg=str(error), **status)
    for section, reason in report.skipped.items():
        module.warn(f"{section} is missing: {reason}")
    module.exit_json(changed=False, **report.result)


if __name__ == "__main__":
    main()
