#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_test_notification
short_description: Send a test notification by contact points of a Grafana organisation
version_added: 0.1.0
description:
  - Asks Grafana to send a notification by each contact point, or by some of them, one after the other. It uses the contact points as they
    are stored, with their secrets, whoever has made them.
  - The notification is that of an alert with the labels C(alertname=TestAlert) and C(instance=Grafana). It goes to people, and may page
    them.
  - If one contact point fails, the others are still tried. Then the module fails, and RV(results) says which.
author:
  - groundwork.observability maintainers (@groundwork)
extends_documentation_fragment:
  - groundwork.observability.grafana
  - groundwork.observability.grafana.attributes
attributes:
  check_mode:
    details:
      - Sends nothing, and returns the contact points that a run would use.
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - Each run sends notifications.
options:
  contact_points:
    description:
      - Names of contact points. A name may have several, which are all used. By default all contact points of the organisation.
    type: list
    elements: str
    default: []
  labels:
    description:
      - Further labels of the alert.
    type: dict
    default: {}
  annotations:
    description:
      - Further annotations of the alert.
    type: dict
    default:
      description: This is a test. Nothing is wrong.
notes:
  - The user or token needs the role Editor, or the permissions C(alert.notifications:read) and C(alert.notifications:write).
  - Grafana 13 and newer do not have the request that this module makes. The module says so.
  - No recording of a real Grafana has this request, see C(docs/verification.md).
"""

EXAMPLES = r"""
- name: Try all contact points
  groundwork.observability.grafana_test_notification:
    url: https://grafana.example.com
    token: "{{ grafana_token }}"
  delegate_to: localhost

- name: Try the way to the people on call
  groundwork.observability.grafana_test_notification:
    url: https://grafana.example.com
    token: "{{ grafana_token }}"
    contact_points: [On call]
    labels:
      severity: critical
  delegate_to: localhost
"""

RETURN = r"""
results:
  description: Each contact point, in the order of their names.
  returned: always, if the contact points could be read
  type: list
  elements: dict
  contains:
    name:
      description: Name of the contact point.
      type: str
      sample: On call
    uid:
      description: Uid of the contact point.
      type: str
      sample: pager
    type:
      description: Type of the contact point.
      type: str
      sample: pagerduty
    sent:
      description: Whether Grafana has sent the notification. V(false) in check mode.
      type: bool
      sample: true
    error:
      description: Why it was not sent, as Grafana says it, with the hosts of URLs only. Empty if it was sent, and in check mode.
      type: str
      sample: ""
status:
  description: HTTP status of the answer that made the module fail.
  returned: when the server answered with an error
  type: int
  sample: 403
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.groundwork.observability.plugins.module_utils._grafana import test_notifications
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.argument_specs import (
    connection_rules,
    test_notification_spec,
)
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.client import Client, Connection, GrafanaError


def main() -> None:
    module = AnsibleModule(argument_spec=test_notification_spec(), supports_check_mode=True, **connection_rules())
    params = module.params
    results: list[dict[str, t.Any]] = []
    try:
        client = Client(Connection.from_params(params))
        client.enter_organisation()
        points = test_notifications.choose(client, params["contact_points"])
        for point in points:
            result = {**{key: point[key] for key in ("name", "uid", "type")}, "sent": False, "error": ""}
            results.append(result)
            if not module.check_mode:
                result["error"] = test_notifications.send(client, point, params["labels"], params["annotations"])
                result["sent"] = not result["error"]
    except GrafanaError as error:
        module.fail_json(msg=str(error), results=results, **{**error.details, "changed": any(result["sent"] for result in results)})
    failed = [f"{result['name']} ({result['type']}, {result['uid']}): {result['error']}" for result in results if result["error"]]
    changed = module.check_mode or any(result["sent"] for result in results)
    if failed:
        said = f"{len(failed)} of {len(results)} contact points failed: {'; '.join(failed)}"
        module.fail_json(msg=said, results=results, changed=changed)
    module.exit_json(results=results, changed=changed)


if __name__ == "__main__":
    main()
