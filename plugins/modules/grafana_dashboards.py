#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_dashboards
short_description: Manage the dashboards of a Grafana organisation
version_added: 0.1.0
description:
  - Saves and deletes dashboards, which are given as data, as files, or as folders of files. A dashboard is identified by its uid, so that
    its title and its folder can be changed.
  - A dashboard is saved only if its content or folder differs. Grafana itself makes a new version each time that a dashboard is saved.
  - The module checks all dashboards before it writes. Grafana 12 and later returns 500 dashboards with their content in one request. From
    older versions the module reads each declared dashboard by itself.
  - If a run is interrupted, the next run finishes its work.
author:
  - groundwork.observability maintainers (@groundwork)
extends_documentation_fragment:
  - groundwork.observability.grafana
  - groundwork.observability.grafana.attributes
options:
  dashboards:
    description:
      - Dashboards, in any order.
    type: list
    elements: dict
    default: []
    suboptions:
      uid:
        description:
          - Identifier of the dashboard in the organisation. 1 to 40 characters of C(A-Z), C(a-z), C(0-9), C(_) and C(-). It cannot be
            changed. By default the one in the dashboard itself; if both are given, both must be the same.
          - Required if O(dashboards[].state=absent).
        type: str
      dashboard:
        description:
          - The dashboard, in the form of its classic JSON. It must have a title. Numeric ids and versions in it are ignored.
          - Grafana's own placeholders with double braces would be templates of Ansible. Read such a dashboard with O(dashboards[].path).
        type: dict
      path:
        description:
          - File with the JSON of the dashboard, on the host where the module runs. Give either this or O(dashboards[].dashboard).
        type: path
      folder_uid:
        description:
          - Uid of the folder. It must exist. The default is the root.
        type: str
        default: ""
      folder:
        description:
          - Titles of the folder and of those above it, separated by slashes, for example V(Platform/ClickHouse). It must exist. Give either
            this or O(dashboards[].folder_uid).
        type: str
      state:
        description:
          - V(present) makes the dashboard exist as declared, V(absent) deletes it with its versions.
        type: str
        choices: [present, absent]
        default: present
  directories:
    description:
      - Folders of files on the host where the module runs. Each file directly in them that ends with C(.json) is a dashboard.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Folder. It must have at least one such file.
        type: path
        required: true
      folder_uid:
        description: As O(dashboards[].folder_uid), for all of its dashboards.
        type: str
        default: ""
      folder:
        description: As O(dashboards[].folder), for all of its dashboards.
        type: str
  inputs:
    description:
      - Values for what exported dashboards left open (C(__inputs)), by name, for example the uid of a data source for
        V(DS_CLICKHOUSE). Constants have the value of the export by default.
    type: dict
    default: {}
  commit_message:
    description:
      - What the history of the dashboard says about the change.
    type: str
    default: Saved by Ansible
  purge:
    description:
      - Uids of folders. Dashboards directly in them that are not declared are deleted, except those of provisioning files.
    type: list
    elements: str
    default: []
notes:
  - The user or token needs the role Editor, or the permissions C(dashboards:create), C(dashboards:read), C(dashboards:write),
    C(dashboards:delete) and C(folders:read).
  - Dashboards of provisioning files cannot be changed. If such a one differs, the module fails before its first change.
  - If somebody else saves a dashboard while the module runs, it is read and compared again. A dashboard is never replaced by another one
    of the same title.
  - In check mode a folder that does not exist is no error, because a task before this one may be about to make it.
  - Tested against a stand-in that answers as recordings of Grafana 9.5 do, and for the list of Grafana 12 as its documentation says, see
    C(docs/verification.md).
"""

EXAMPLES = r"""
- name: Manage all dashboards of a folder from files
  groundwork.observability.grafana_dashboards:
    url: https://grafana.example.com
    token: "{{ grafana_token }}"
    directories:
      - path: files/dashboards
        folder_uid: platform
    inputs:
      DS_CLICKHOUSE: clickhouse
    purge: [platform]
  delegate_to: localhost

- name: Manage a dashboard from data, and delete another one
  groundwork.observability.grafana_dashboards:
    url: https://grafana.example.com
    token: "{{ grafana_token }}"
    dashboards:
      - folder: Platform/ClickHouse
        dashboard:
          uid: clickhouse-overview
          title: Overview
          panels: []
      - uid: old
        state: absent
  delegate_to: localhost
"""

RETURN = r"""
statements:
  description: Requests that were made, or that would be made in a real run. In case of an error those that were made before it.
  returned: always
  type: list
  elements: str
  sample:
    - DELETE /api/dashboards/uid/old
uncertain:
  description: Requests that may have been executed or not, because the answer was lost.
  returned: when there are any
  type: list
  elements: str
objects:
  description: Every declared dashboard, and those that are purged.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Uid of the dashboard.
      type: str
      sample: clickhouse-overview
    kind:
      description: Always V(dashboard).
      type: str
      sample: dashboard
    status:
      description: V(present) or V(absent) if it is as declared, V(created), V(altered) or V(deleted) if this run changes it.
      type: str
      sample: created
    before:
      description: Folder and content before, as JSON. Empty if it did not exist.
      type: str
      sample: ""
    after:
      description: Folder and content as declared, as JSON. Empty if it is to be absent.
      type: str
      sample: '{"dashboard": {"title": "Overview"}, "folder_uid": "platform"}'
    reason:
      description: Always empty.
      type: str
      sample: ""
status:
  description: HTTP status of the answer that made the module fail.
  returned: when the server answered with an error
  type: int
  sample: 412
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.argument_specs import (
    connection_rules,
    dashboards_spec,
)
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.dashboards import DASHBOARDS
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.execution import run


def main() -> None:
    module = AnsibleModule(argument_spec=dashboards_spec(), supports_check_mode=True, **connection_rules())
    run(module, DASHBOARDS)


if __name__ == "__main__":
    main()
