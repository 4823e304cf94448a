#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_library_panels
short_description: Manage the library panels and variables of a Grafana organisation
version_added: 0.1.0
description:
  - Creates, changes, moves and deletes library panels, which several dashboards can show, and library variables. Each is identified by its
    uid, so that its name and its folder can be changed.
  - The module checks everything before it writes. It reads a thousand library panels with their content in one request. If nothing differs,
    it writes nothing.
  - If a run is interrupted, the next run finishes its work.
author:
  - groundwork.observability maintainers (@groundwork)
extends_documentation_fragment:
  - groundwork.observability.grafana
  - groundwork.observability.grafana.attributes
options:
  library_panels:
    description:
      - Library panels and variables, in any order.
    type: list
    elements: dict
    required: true
    suboptions:
      uid:
        description:
          - Identifier in the organisation. 1 to 40 characters of C(A-Z), C(a-z), C(0-9), C(_) and C(-). It cannot be changed.
        type: str
        required: true
      name:
        description:
          - Name, 1 to 150 characters without control characters. Spaces around it are removed.
          - Required unless O(library_panels[].state=absent). In one folder a name is taken once for each kind.
        type: str
      kind:
        description:
          - Whether it is a panel or a variable. To change it, delete the element first.
        type: str
        choices: [panel, variable]
        default: panel
      model:
        description:
          - Content, in the form that it has in the JSON of a dashboard. Give either this or O(library_panels[].path), unless
            O(library_panels[].state=absent).
          - Grafana's own placeholders with double braces would be templates of Ansible. Mark such texts with C(!unsafe), or read the model
            with O(library_panels[].path).
        type: dict
      path:
        description:
          - File with the JSON of the model, on the host where the module runs.
        type: path
      folder_uid:
        description:
          - Uid of the folder. It must exist. The default is the root.
        type: str
        default: ""
      folder:
        description:
          - Titles of the folder and of those above it, separated by slashes, for example V(Platform/ClickHouse). It must exist. Give either
            this or O(library_panels[].folder_uid).
        type: str
      state:
        description:
          - V(present) makes the library panel exist as declared, V(absent) deletes it.
          - Grafana does not delete a library panel that dashboards use. The module fails before its first change and lists them.
        type: str
        choices: [present, absent]
        default: present
  purge:
    description:
      - Uids of folders. Library panels and variables directly in them that are not declared are deleted.
    type: list
    elements: str
    default: []
notes:
  - The user or token needs the role Editor, or the permissions C(library.panels:create), C(library.panels:read), C(library.panels:write),
    C(library.panels:delete) and C(folders:read). To a user without the right to write, Grafana may answer that it failed to get the folder.
  - Make library panels before the dashboards that use them, and delete them after these.
  - If somebody else saves a library panel while the module runs, it is read and compared again.
  - In check mode a folder that does not exist is no error, and neither are dashboards that use what is to be deleted, because a task before
    this one may be about to change that. The diff names the dashboards.
  - Tested against a stand-in that answers as recordings of Grafana 9.5 do, see C(docs/verification.md).
"""

EXAMPLES = r"""
- name: Manage all library panels of a folder
  groundwork.observability.grafana_library_panels:
    url: https://grafana.example.com
    token: "{{ grafana_token }}"
    library_panels:
      - uid: rows-written
        name: Rows written
        folder_uid: platform
        model:
          type: stat
          title: Rows written
          datasource:
            type: grafana-clickhouse-datasource
            uid: clickhouse
          targets:
            - refId: A
              rawSql: SELECT count() FROM otel.otel_logs WHERE $__timeFilter(Timestamp)
    purge: [platform]
  delegate_to: localhost

- name: Delete a library panel that no dashboard uses
  groundwork.observability.grafana_library_panels:
    url: https://grafana.example.com
    token: "{{ grafana_token }}"
    library_panels:
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
    - DELETE /api/library-elements/old
uncertain:
  description: Requests that may have been executed or not, because the answer was lost.
  returned: when there are any
  type: list
  elements: str
objects:
  description: Every declared library panel and variable, and those that are purged.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Uid.
      type: str
      sample: rows-written
    kind:
      description: Always V(library panel).
      type: str
      sample: library panel
    status:
      description: V(present) or V(absent) if it is as declared, V(created), V(altered) or V(deleted) if this run changes it.
      type: str
      sample: created
    before:
      description: Folder, kind, name and model before, as JSON. Empty if it did not exist.
      type: str
      sample: ""
    after:
      description: Folder, kind, name and model as declared, as JSON. Empty if it is to be absent.
      type: str
      sample: '{"folder_uid": "platform", "kind": "panel", "model": {"description": "", "type": "stat"}, "name": "Rows written"}'
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
    library_panels_spec,
)
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.execution import run
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.library_panels import LIBRARY_PANELS


def main() -> None:
    module = AnsibleModule(argument_spec=library_panels_spec(), supports_check_mode=True, **connection_rules())
    run(module, LIBRARY_PANELS)


if __name__ == "__main__":
    main()
