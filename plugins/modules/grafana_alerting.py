#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_alerting
short_description: Manage the alerting of a Grafana organisation
version_added: 0.1.0
description:
  - Creates, changes and deletes groups of alert rules, contact points of any type, notification policies, mute timings and notification
    templates. One call takes all of them.
  - The module checks everything before it writes, among others that policies name contact points and mute timings that exist, that the
    folders and data sources of rules exist, and that nothing is deleted that a policy still uses.
  - It writes in the order in which objects need each other (templates, mute timings, contact points, policies, rule groups), and deletes
    in the reverse order. Rule groups are deleted first, so that others can take the titles of their rules.
  - If nothing differs, it writes nothing, and makes at most nine requests, however many objects there are.
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
      - With O(update_secrets=always) contact points with secrets are written in each run.
options:
  rule_groups:
    description:
      - Groups of alert rules. A group is identified by its folder and name. Its rules replace all that it has.
    type: list
    elements: dict
    default: []
    suboptions:
      folder_uid:
        description:
          - Uid of the folder. It must exist, see M(groundwork.observability.grafana_folders).
        type: str
        required: true
        aliases: [folderUid]
      name:
        description:
          - Name of the group in its folder, 1 to 190 characters without control characters.
        type: str
        required: true
        aliases: [title]
      interval:
        description:
          - How often the rules are evaluated, as a duration such as V(30s) or V(5m), or a number of seconds. A multiple of 10 seconds.
        type: str
        default: 1m
      rules:
        description:
          - Rules of the group, in the order in which they are evaluated. At least one unless O(rule_groups[].state=absent).
          - A rule is identified by its uid. If another group has it today, it is moved.
          - Before Grafana 11.6 a group does not keep the order of its rules. There another order is no difference.
        type: list
        elements: dict
        default: []
        suboptions:
          uid:
            description:
              - Identifier of the rule in the organisation. 1 to 40 characters of C(A-Z), C(a-z), C(0-9), C(_) and C(-).
            type: str
            required: true
          title:
            description:
              - Title, 1 to 190 characters without control characters. Rules of one folder must have different titles.
            type: str
          condition:
            description:
              - C(refId) of the query or expression that decides whether the rule fires. Required for an alert rule.
            type: str
          data:
            description:
              - Queries and expressions, with the names of Grafana's API (C(refId), C(datasourceUid), C(relativeTimeRange),
                C(queryType) and C(model)). At least one.
              - Data sources must exist. Expressions have C(datasourceUid) V(__expr__), and must refer to queries of the same rule.
            type: list
            elements: dict
            required: true
          no_data_state:
            description:
              - State of the rule if its query returns no data.
            type: str
            choices: [NoData, Alerting, OK, KeepLast]
            default: NoData
            aliases: [noDataState]
          exec_err_state:
            description:
              - State of the rule if its query fails.
            type: str
            choices: [Error, Alerting, OK, KeepLast]
            default: Error
            aliases: [execErrState]
          for:
            description:
              - How long the condition must hold before the rule fires, as a duration such as V(5m).
            type: str
            default: 0s
          keep_firing_for:
            description:
              - How long the rule goes on firing when the condition no longer holds, as a duration. Newer versions of Grafana have it.
            type: str
          missing_series_evals_to_resolve:
            description:
              - After how many evaluations without a series its alert is resolved. Newer versions of Grafana have it.
            type: int
            aliases: [missingSeriesEvalsToResolve]
          annotations:
            description:
              - Annotations, for example C(summary), C(description) and C(runbook_url). They replace all annotations of the rule.
            type: dict
            default: {}
          labels:
            description:
              - Labels. They replace all labels of the rule. Notification policies look at them.
            type: dict
            default: {}
          is_paused:
            description:
              - Whether the rule is not evaluated.
            type: bool
            default: false
            aliases: [isPaused]
          notification_settings:
            description:
              - Sends the alerts of this rule to C(receiver) instead of where the policies send them, with the names of Grafana's API.
            type: dict
          record:
            description:
              - Makes it a recording rule, with C(metric), C(from) (a C(refId)) and C(target_datasource_uid). Grafana keeps no condition,
                states and durations of such a rule.
            type: dict
      state:
        description:
          - V(present) makes the group exist as declared, V(absent) deletes it with its rules.
        type: str
        choices: [present, absent]
        default: present
  contact_points:
    description:
      - Contact points. Those with the same name are one receiver and get the same notifications.
    type: list
    elements: dict
    default: []
    suboptions:
      uid:
        description:
          - Identifier of the contact point in the organisation. 1 to 40 characters of C(A-Z), C(a-z), C(0-9), C(_) and C(-).
        type: str
        required: true
      name:
        description:
          - Name of the receiver, to which policies refer. Required unless O(contact_points[].state=absent).
          - If the last contact point of a name gets another name, Grafana changes it in the policies too.
        type: str
      type:
        description:
          - Type as Grafana's API calls it, for example V(email), V(slack), V(pagerduty), V(opsgenie), V(teams), V(webhook) or
            V(prometheus-alertmanager). Any type that the server has. Required unless O(contact_points[].state=absent).
        type: str
      settings:
        description:
          - Settings of the type, with the names of Grafana's API. They replace all settings that are there.
          - They must not contain secrets. The module refuses those that Grafana treats as secrets, for example C(url) of V(slack).
        type: dict
        default: {}
      secure_settings:
        description:
          - Secret settings, as texts that are not empty. They may be nested. They replace all secrets that are there; V({}) removes them.
            By default secrets stay as they are.
          - Any setting may be given here, for example the C(url) of a webhook that contains a token. It is never shown.
        type: dict
      disable_resolve_message:
        description:
          - Whether no notification is sent when an alert is resolved.
        type: bool
        default: false
        aliases: [disableResolveMessage]
      state:
        description:
          - V(present) makes the contact point exist as declared, V(absent) deletes it. One whose name a policy uses is not deleted.
        type: str
        choices: [present, absent]
        default: present
  policies:
    description:
      - Notification policies of one's own, directly below the root of the tree. Other policies of the organisation stay as they are.
      - A policy is identified by its matchers, so that several teams can manage their parts of the tree by different runs.
      - The tree is written as a whole. If two runs write it at the same moment, one may undo the other. The next run repairs that.
    type: list
    elements: dict
    default: []
    suboptions:
      object_matchers:
        description:
          - Matchers of the labels of alerts, each as a text such as V(team="shop") or V(severity=~"crit.*"), or as a list such as
            V([team, "=", shop]). Operators are C(=), C(!=), C(=~) and C(!~). At least one.
        type: list
        elements: raw
        aliases: [objectMatchers, matchers]
      receiver:
        description:
          - Name of the contact point. By default that of the policy above.
        type: str
      group_by:
        description:
          - Labels by which alerts are grouped into notifications. V(...) alone means all labels.
        type: list
        elements: str
        aliases: [groupByStr]
      group_wait:
        description:
          - How long to wait for further alerts of a new group, as a duration. By default that of the policy above.
        type: str
        aliases: [groupWait]
      group_interval:
        description:
          - How long to wait before a group is sent again with new alerts, as a duration. By default that of the policy above.
        type: str
        aliases: [groupInterval]
      repeat_interval:
        description:
          - How long to wait before a group is sent again without a change, as a duration. By default that of the policy above.
        type: str
        aliases: [repeatInterval]
      continue:
        description:
          - Whether alerts that match go on to the next policies.
        type: bool
        aliases: [Continue]
      mute_time_intervals:
        description:
          - Names of mute timings in which nothing is sent.
        type: list
        elements: str
        aliases: [muteTimeIntervals]
      active_time_intervals:
        description:
          - Names of mute timings outside of which nothing is sent. Newer versions of Grafana have it.
        type: list
        elements: str
      routes:
        description:
          - Policies below this one, with the same keys except O(policies[].state) and O(policies[].position), to any depth. The first one
            that matches gets an alert.
        type: list
        elements: dict
      position:
        description:
          - Whether a new policy is put before or behind all others. One that is there stays where it is.
        type: str
        choices: [first, last]
        default: last
      state:
        description:
          - V(present) makes the policy exist as declared, V(absent) deletes the one with these matchers.
        type: str
        choices: [present, absent]
        default: present
  policy_tree:
    description:
      - All notification policies of the organisation. Policies that are not declared are deleted. Not together with O(policies).
    type: dict
    suboptions:
      receiver:
        description:
          - Name of the contact point for alerts that no policy takes. Required unless O(policy_tree.state=absent).
        type: str
        aliases: [rootPolicyReceiver]
      group_by:
        description:
          - Labels by which alerts are grouped into notifications. V(...) alone means all labels.
        type: list
        elements: str
        aliases: [groupByStr]
      group_wait:
        description:
          - How long to wait for further alerts of a new group, as a duration. By default Grafana's (30 seconds).
        type: str
        aliases: [groupWait]
      group_interval:
        description:
          - How long to wait before a group is sent again with new alerts, as a duration. By default Grafana's (5 minutes).
        type: str
        aliases: [groupInterval]
      repeat_interval:
        description:
          - How long to wait before a group is sent again without a change, as a duration. By default Grafana's (4 hours).
        type: str
        aliases: [repeatInterval]
      routes:
        description:
          - Policies below the root, as in O(policies[].routes).
        type: list
        elements: dict
      state:
        description:
          - V(present) makes the tree as declared, V(absent) resets it to the tree of a new organisation.
        type: str
        choices: [present, absent]
        default: present
  mute_timings:
    description:
      - Mute timings, which are identified by their names.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name. It cannot be changed.
        type: str
        required: true
      time_intervals:
        description:
          - Intervals, of which each mutes when all that it declares matches. At least one unless O(mute_timings[].state=absent).
        type: list
        elements: dict
        suboptions:
          times:
            description: Times of the day. One over midnight needs two.
            type: list
            elements: dict
            suboptions:
              start_time:
                description: First minute, as a text such as V("22:00"). YAML reads it as a number without quotes.
                type: str
                required: true
              end_time:
                description: Minute after the last one, up to V("24:00").
                type: str
                required: true
          weekdays:
            description: Days of the week, or ranges such as V(monday:friday).
            type: list
            elements: str
          days_of_month:
            description: Days of the month, or ranges such as V(1:7). V(-1) is the last day.
            type: list
            elements: str
          months:
            description: Months by name or number, or ranges such as V(january:march).
            type: list
            elements: str
          years:
            description: Years, or ranges such as V(2026:2027).
            type: list
            elements: str
          location:
            description: Time zone, for example V(Europe/Berlin). By default UTC.
            type: str
      state:
        description:
          - V(present) makes the mute timing exist as declared, V(absent) deletes it. One that a policy uses is not deleted.
        type: str
        choices: [present, absent]
        default: present
  templates:
    description:
      - Notification templates, which are identified by their names.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name. It cannot be changed.
        type: str
        required: true
      template:
        description:
          - Text in Go's template language. If it has no C(define), it is put into one with the name of the template, as Grafana does.
            Required unless O(templates[].state=absent).
        type: str
      state:
        description:
          - V(present) makes the template exist as declared, V(absent) deletes it.
        type: str
        choices: [present, absent]
        default: present
  editable_in_ui:
    description:
      - Whether Grafana's pages may change what this module writes (header C(X-Disable-Provenance)).
      - An object that was written with V(false) cannot become editable, except for a rule group. The module refuses that before it writes.
      - O(policies) leaves it to the tree as it is, which others may edit.
    type: bool
    default: false
  update_secrets:
    description:
      - How a changed secret of a contact point is found. Grafana does not show secrets.
      - V(digest) keeps a salted scrypt digest of O(contact_points[].secure_settings) among the settings (C(groundworkSecrets)). All secrets
        of the contact point are written if the digest of the declared ones differs. A secret that somebody else changes is not found as
        long as nothing else differs. Who may read contact points can read the digest, and find a short secret by trying, but not a long
        random one.
      - V(always) writes them in each run. V(on_create) writes them only together with a new contact point. Neither keeps a digest.
    type: str
    choices: [digest, always, on_create]
    default: digest
  purge:
    description:
      - What is deleted if it is not declared. Objects of provisioning files are never deleted.
    type: dict
    suboptions:
      templates:
        description: Shell patterns of names of templates, for example V(platform-*).
        type: list
        elements: str
      mute_timings:
        description: Shell patterns of names of mute timings.
        type: list
        elements: str
      contact_points:
        description: Shell patterns of uids of contact points.
        type: list
        elements: str
      rule_groups:
        description: Uids of folders of which all rule groups are declared.
        type: list
        elements: str
      policies:
        description:
          - Matchers, such as V(team="shop"). Policies directly below the root that have one of these matchers are deleted if they are not
            in O(policies). Not together with O(policy_tree).
        type: list
        elements: raw
notes:
  - Templates, annotations and labels may contain Go templates. Ansible takes their braces for its own. Put them between C({% raw %}) and
    C({% endraw %}), or read them with the lookup P(ansible.builtin.file#lookup).
  - The contact point that a new organisation has (C(grafana-default-email)) has no uid, and cannot be managed. Policies can use it.
  - The user or token needs the role Admin, or the permissions C(alert.provisioning:read) and C(alert.provisioning:write).
  - In check mode a folder, data source, contact point or mute timing that is missing is no error, as a task before may be about to make it.
  - Tested against a stand-in that answers as recordings of Grafana 9.5 do, see C(docs/verification.md). That Grafana keeps the digest among
    the settings of a contact point follows from its source code. No recording shows it.
"""

EXAMPLES = r"""
- name: Manage alerts of one team and where they are sent
  groundwork.observability.grafana_alerting:
    url: https://grafana.example.com
    url_username: admin
    url_password: "{{ grafana_admin_password }}"
    org_name: Shop
    templates:
      - name: shop.title
        template: '{% raw %}{{ define "shop.title" }}Shop: {{ .CommonLabels.alertname }}{{ end }}{% endraw %}'
    mute_timings:
      - name: nights
        time_intervals:
          - times:
              - {start_time: "20:00", end_time: "24:00"}
              - {start_time: "00:00", end_time: "07:00"}
            location: Europe/Berlin
    contact_points:
      - uid: shop-mail
        name: Shop mail
        type: email
        settings: {addresses: shop@example.com}
      - uid: shop-pager
        name: Shop pager
        type: pagerduty
        settings: {severity: critical}
        secure_settings:
          integrationKey: "{{ shop_pagerduty_key }}"
    policies:
      - object_matchers: ['team="shop"']
        receiver: Shop mail
        group_by: [alertname, service]
        routes:
          - object_matchers: ['severity="critical"']
            receiver: Shop pager
          - object_matchers: ['severity="info"']
            mute_time_intervals: [nights]
    rule_groups:
      - folder_uid: shop
        name: Orders
        interval: 1m
        rules:
          - uid: shop-no-orders
            title: No orders
            condition: B
            for: 10m
            labels: {team: shop, severity: critical}
            annotations:
              summary: No order has arrived for 10 minutes
              runbook_url: https://runbooks.example.com/no-orders
            data:
              - refId: A
                datasourceUid: shop-postgres
                relativeTimeRange: {from: 600, to: 0}
                model: {rawSql: "SELECT count(*) FROM orders WHERE created > now() - interval '10 minutes'", format: table}
              - refId: B
                datasourceUid: __expr__
                model: {type: threshold, expression: A, conditions: [{evaluator: {type: lt, params: [1]}}]}
    purge:
      rule_groups: [shop]
      contact_points: [shop-*]
      policies: ['team="shop"']
  delegate_to: localhost

- name: Manage all notification policies, and let people edit them
  groundwork.observability.grafana_alerting:
    url: https://grafana.example.com
    token: "{{ grafana_token }}"
    editable_in_ui: true
    policy_tree:
      receiver: Shop mail
      group_by: [grafana_folder, alertname]
      repeat_interval: 12h
      routes:
        - object_matchers: [[severity, "=", critical]]
          receiver: Shop pager
  delegate_to: localhost
"""

RETURN = r"""
statements:
  description: Requests that were made, or that would be made in a real run, without secrets. In case of an error those made before it.
  returned: always
  type: list
  elements: str
  sample:
    - DELETE /api/v1/provisioning/contact-points/old
uncertain:
  description: Requests that may have been executed or not, because the answer was lost.
  returned: when there are any
  type: list
  elements: str
objects:
  description: Every declared object, and those that are purged.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description:
        - Uid of the contact point, name of the mute timing or template, folder and name of the rule group. For policies V(routes), and
          V(tree) for O(policy_tree).
      type: str
      sample: shop/Orders
    kind:
      description: V(template), V(mute_timing), V(contact_point), V(notification_policy) or V(rule_group).
      type: str
      sample: rule_group
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
      sample: '{"interval": "1m", "rules": []}'
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
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.alerting import ALERTING
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.argument_specs import (
    alerting_spec,
    connection_rules,
)
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.execution import run


def main() -> None:
    rules = connection_rules()
    rules["mutually_exclusive"] = [*rules["mutually_exclusive"], ("policies", "policy_tree")]
    module = AnsibleModule(argument_spec=alerting_spec(), supports_check_mode=True, **rules)
    run(module, ALERTING)


if __name__ == "__main__":
    main()
