#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_silences
short_description: Manage the silences of a Grafana organisation
version_added: 0.1.0
description:
  - Creates, extends, changes and ends silences of Grafana's own Alertmanager.
  - Grafana makes the ids of silences itself. The module knows a silence by its name, which stands at the end of the comment, for example
    C([ansible:db-upgrade]). Without a name it knows it by its comment and its matchers.
  - Silences that have expired count as missing. If nothing differs, the module writes nothing.
  - If a run is interrupted, the next run finishes its work.
author:
  - groundwork.observability maintainers (@groundwork)
extends_documentation_fragment:
  - groundwork.observability.grafana
  - groundwork.observability.grafana.attributes
options:
  silences:
    description:
      - Silences, in any order.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the silence in the organisation. 1 to 64 characters of C(A-Z), C(a-z), C(0-9), C(_), C(.) and C(-).
          - With a name everything else can be changed. Without one O(silences[].comment) and O(silences[].matchers) identify the silence.
        type: str
      comment:
        description:
          - Why there is silence. Spaces around it are removed. Required if there is no O(silences[].name).
        type: str
        default: ""
      created_by:
        description:
          - Author that Grafana shows. A new silence gets V(Ansible) by default, an existing one keeps its author.
        type: str
      matchers:
        description:
          - Labels of the alerts to silence. An alert must match all of them. Their order does not matter.
          - Required unless O(silences[].state=absent) and O(silences[].name) is given. At least one must have a value.
        type: list
        elements: dict
        suboptions:
          name:
            description: Name of the label.
            type: str
            required: true
          value:
            description: Value of the label, or a regular expression.
            type: str
            required: true
          is_regex:
            description: Whether the value is a regular expression, which has to match the whole label.
            type: bool
            default: false
            aliases: [isRegex]
          is_equal:
            description: Whether the label must match. With V(false) it must not.
            type: bool
            default: true
            aliases: [isEqual]
      starts_at:
        description:
          - When the silence begins, with a time zone, for example V(2030-01-31T08:00:00Z). The default is the time when it is created.
          - Once a silence has begun, a declared time in the past is no difference.
        type: str
      ends_at:
        description:
          - When the silence ends, with a time zone. If that time is over, no silence is created, an existing one is ended, and the module
            warns.
          - Give either this or O(silences[].duration), unless O(silences[].state=absent).
        type: str
      duration:
        description:
          - How long the silence lasts, counted from its beginning, for example V(90m), V(2h30m), V(3d) or V(1w). At most V(3650d).
          - A run while the silence is active does not make it longer. A run after it has expired creates another one, unless
            O(silences[].starts_at) is given too and the end is over.
          - A difference of up to a minute is none, because the clocks of the server and of the host where the module runs may differ.
        type: str
      state:
        description:
          - V(present) makes the silence exist as declared, V(absent) ends it. Grafana keeps ended silences for some days.
        type: str
        choices: [present, absent]
        default: present
  purge:
    description:
      - Ends silences that this module has made and that are not declared. Silences without a name are never purged.
    type: dict
    suboptions:
      names:
        description:
          - Patterns of names, in which C(*) stands for any characters, for example V(platform-*).
        type: list
        elements: str
        required: true
      keep:
        description:
          - Patterns of names that are not purged.
        type: list
        elements: str
        default: []
notes:
  - The user or token needs the role Editor, or the permissions C(alert.instances:read), C(alert.instances:create) and
    C(alert.instances:write).
  - If several active silences have the same name, the one that ends last stays, and the others are ended.
  - If the matchers change, Grafana ends the silence and makes another one in the same request.
  - Tested against a stand-in that answers as recordings of Grafana 9.5 do, see C(docs/verification.md).
"""

EXAMPLES = r"""
- name: Silence the alerts of a database for the time of its upgrade
  groundwork.observability.grafana_silences:
    url: https://grafana.example.com
    token: "{{ grafana_token }}"
    silences:
      - name: db-upgrade
        comment: Upgrade of the database
        matchers:
          - name: service
            value: database
          - name: severity
            value: warning|info
            is_regex: true
        duration: 2h
  delegate_to: localhost

- name: End it early
  groundwork.observability.grafana_silences:
    url: https://grafana.example.com
    token: "{{ grafana_token }}"
    silences:
      - name: db-upgrade
        state: absent
  delegate_to: localhost

- name: Manage all silences whose names begin with platform-
  groundwork.observability.grafana_silences:
    url: https://grafana.example.com
    token: "{{ grafana_token }}"
    silences:
      - name: platform-move
        comment: Move to another data center
        matchers:
          - name: site
            value: north
        starts_at: "2030-01-31T08:00:00Z"
        ends_at: "2030-01-31T20:00:00Z"
    purge:
      names: [platform-*]
  delegate_to: localhost
"""

RETURN = r"""
statements:
  description: Requests that were made, or that would be made in a real run. In case of an error those that were made before it.
  returned: always
  type: list
  elements: str
  sample:
    - DELETE /api/alertmanager/grafana/api/v2/silence/1f3b7b71-ab32-4b9c-bc87-2462a638068b
uncertain:
  description: Requests that may have been executed or not, because the answer was lost.
  returned: when there are any
  type: list
  elements: str
objects:
  description: Every declared silence, and those that are purged.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the silence, or its comment and matchers if it has none.
      type: str
      sample: db-upgrade
    kind:
      description: Always V(silence).
      type: str
      sample: silence
    status:
      description: V(present) or V(absent) if it is as declared, V(created), V(altered) or V(deleted) if this run changes it.
      type: str
      sample: created
    before:
      description: Comment, author, matchers and times before, as JSON. Empty if it did not exist, or had expired.
      type: str
      sample: ""
    after:
      description: Comment, author, matchers and times as declared, as JSON. Empty if it is to be absent.
      type: str
      sample: '{"comment": "Upgrade of the database", "copies": 1, "duration": "2h", "matchers": ["service=\"database\""]}'
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
    silences_spec,
)
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.execution import run
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.silences import SILENCES


def main() -> None:
    module = AnsibleModule(argument_spec=silences_spec(), supports_check_mode=True, **connection_rules())
    run(module, SILENCES)


if __name__ == "__main__":
    main()
