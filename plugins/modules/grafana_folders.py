#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_folders
short_description: Manage the folders of a Grafana organisation
version_added: 0.1.0
description:
  - Creates, renames, moves and deletes folders. A folder is identified by its uid, so that its title and its place can be changed.
  - The module checks all folders before it writes. It reads all folders with one request for a thousand of them, and each folder that is
    not as declared with one more. If nothing differs, it writes nothing.
  - Folders are changed in an order in which every change is possible, also if folders exchange their titles or their places.
  - If a run is interrupted, the next run finishes its work.
author:
  - groundwork.observability maintainers (@groundwork)
extends_documentation_fragment:
  - groundwork.observability.grafana
  - groundwork.observability.grafana.attributes
options:
  folders:
    description:
      - Folders, in any order.
    type: list
    elements: dict
    required: true
    suboptions:
      uid:
        description:
          - Identifier of the folder in the organisation. 1 to 40 characters of C(A-Z), C(a-z), C(0-9), C(_) and C(-). It cannot be changed.
        type: str
        required: true
      title:
        description:
          - Title, 1 to 189 characters without control characters. Spaces around it are removed.
          - Required unless O(folders[].state=absent). Folders with the same parent must have different titles, without regard to case.
        type: str
        aliases: [name]
      parent_uid:
        description:
          - Uid of the folder above. It must be declared or exist. The default is the root.
          - Folders below others need Grafana 11 or later.
        type: str
        default: ""
      state:
        description:
          - V(present) makes the folder exist as declared.
          - V(absent) deletes it. A folder with content is deleted only with V(delete_content) in O(allow).
        type: str
        choices: [present, absent]
        default: present
  purge:
    description:
      - Uids of declared folders. Folders below them, at any depth, that are not declared are deleted.
      - A folder with dashboards or alert rules is deleted only with V(delete_content) in O(allow).
    type: list
    elements: str
    default: []
  allow:
    description:
      - Permissions for steps that delete more than folders. Without its permission the module fails before its first change.
      - V(delete_content) deletes folders together with their dashboards, alert rules and library panels, and folders that are declared
        absent together with all folders below them.
    type: list
    elements: str
    choices: [delete_content]
    default: []
notes:
  - The user or token needs the role Editor, or the permissions C(folders:create), C(folders:read), C(folders:write) and C(folders:delete).
    Folders that the user may not see count as missing.
  - Alert rules in a folder are seen only with C(alert.provisioning:read). Without it the server refuses to delete a folder with rules.
  - Descriptions of folders are not managed, because Grafana does not return them.
  - Tested against a stand-in that answers as recordings of Grafana 9.5 do, see C(docs/verification.md).
"""

EXAMPLES = r"""
- name: Manage nested folders
  groundwork.observability.grafana_folders:
    url: https://grafana.example.com
    token: "{{ grafana_token }}"
    folders:
      - uid: platform
        title: Platform
      - uid: platform-clickhouse
        title: ClickHouse
        parent_uid: platform
      - uid: platform-collectors
        title: Collectors
        parent_uid: platform
  delegate_to: localhost

- name: Delete everything below a folder that is not declared
  groundwork.observability.grafana_folders:
    url: https://grafana.example.com
    url_username: admin
    url_password: "{{ grafana_admin_password }}"
    org_name: Shop
    folders:
      - uid: platform
        title: Platform
    purge: [platform]
    allow: [delete_content]
  delegate_to: localhost

- name: Delete one empty folder
  groundwork.observability.grafana_folders:
    url: https://grafana.example.com
    token: "{{ grafana_token }}"
    folders:
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
    - 'POST /api/folders {"title": "Platform", "uid": "platform"}'
uncertain:
  description: Requests that may have been executed or not, because the answer was lost.
  returned: when there are any
  type: list
  elements: str
objects:
  description: Every declared folder, and those that are purged.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Uid of the folder.
      type: str
      sample: platform
    kind:
      description: Always V(folder).
      type: str
      sample: folder
    status:
      description: V(present) or V(absent) if it is as declared, V(created), V(altered) or V(deleted) if this run changes it.
      type: str
      sample: created
    before:
      description: Title and parent before, as JSON. Empty if it did not exist.
      type: str
      sample: ""
    after:
      description: Title and parent as declared, as JSON. Empty if it is to be absent.
      type: str
      sample: '{"parent_uid": "", "title": "Platform"}'
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
    folders_spec,
)
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.execution import run
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.folders import FOLDERS


def main() -> None:
    module = AnsibleModule(argument_spec=folders_spec(), supports_check_mode=True, **connection_rules())
    run(module, FOLDERS)


if __name__ == "__main__":
    main()
