#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_access
short_description: Manage organisations, users, teams, service accounts, permissions and preferences of Grafana
version_added: 0.1.0
description:
  - Creates, changes and deletes organisations with their users, users of the server, teams with their members, and service accounts with
    their tokens. Sets permissions on folders, dashboards and data sources, and preferences of an organisation and of teams.
  - The module reads and checks everything before it writes. If nothing differs, it writes nothing.
  - Organisations, users, teams and service accounts are read by one list each. One more request is made for each organisation that declares
    users, each team that declares members, each service account that has tokens and declares some, each resource that declares
    permissions, and each owner of preferences, because the API has no lists of these.
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
      - A token with O(service_accounts[].tokens[].replace=always) is made again in each run. A password with
        O(users[].update_password=always) is written in each run while nobody can sign in with it, for example while the login is locked.
options:
  organizations:
    description:
      - Organisations, in any order. They need a server administrator, who signs in with O(url_username) or O(client_cert). O(org_id) and
        O(org_name) do not matter for them.
      - An organisation that a task makes can be the O(org_name) of the next task, not of the same.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name, 1 to 190 characters without control characters. It identifies the organisation unless O(organizations[].id) is given.
        type: str
        required: true
      id:
        description:
          - Number of an organisation that exists and is renamed if its name differs. The main organisation has the number 1.
        type: int
      users:
        description:
          - Users of the organisation. By default they stay as they are.
          - The user who makes an organisation becomes one of its users with the role Admin. Grafana does that, and the result says so.
        type: list
        elements: dict
        suboptions:
          login:
            description:
              - Login of the user, who exists or is declared in O(users). Case does not matter.
            type: str
            required: true
          role:
            description:
              - Role in the organisation. V(None) exists since Grafana 10.2.
            type: str
            choices: [Viewer, Editor, Admin, None]
            default: Viewer
          state:
            description:
              - V(absent) removes the user from the organisation. The user itself stays, even without any organisation.
            type: str
            choices: [present, absent]
            default: present
      purge:
        description:
          - Whether users that are not declared are removed from the organisation. The user who signs in always stays unless declared
            absent. One user with the role Admin must be left.
        type: bool
        default: false
      state:
        description:
          - V(present) makes the organisation exist as declared, V(absent) deletes it with all that is in it.
          - The main organisation and the current one of the user are not deleted.
        type: str
        choices: [present, absent]
        default: present
  users:
    description:
      - Users of the server, in any order. They need a server administrator, who signs in with O(url_username) or O(client_cert).
    type: list
    elements: dict
    default: []
    suboptions:
      login:
        description:
          - Login. It identifies the user. Case does not matter.
        type: str
        required: true
      email:
        description:
          - Mail address, which no other user may have. By default it stays as it is.
        type: str
      name:
        description:
          - Full name. By default it stays as it is. Grafana does not take an empty one.
        type: str
      password:
        description:
          - Password, at least 4 characters; Grafana may ask for more. Required for a new user.
        type: str
      update_password:
        description:
          - When the password is written. Grafana does not show passwords.
          - V(on_create) writes it only together with a new user.
          - V(always) signs in with it once in each run, also in check mode, and writes it if Grafana refuses that. This takes one more
            request for each such user. A refused attempt counts for Grafana, which locks a login for some minutes after five. While
            a login is locked, or if basic authentication is off, the password is written in each run. The password of a user who stays
            disabled is not compared, because nobody can sign in as that user.
          - The password of the user who signs in for the module can be changed, too. What follows is sent with the new one.
        type: str
        choices: [always, on_create]
        default: on_create
      is_admin:
        description:
          - Whether the user is a server administrator. By default it stays as it is, and is V(false) for a new user.
        type: bool
      disabled:
        description:
          - Whether the user cannot sign in. By default it stays as it is, and is V(false) for a new user.
        type: bool
      state:
        description:
          - V(present) makes the user exist as declared, V(absent) deletes it.
          - The user who signs in cannot be deleted or disabled, and stays a server administrator.
          - A new user is made in the first of O(organizations) that declares it. If none does, Grafana chooses (C(auto_assign_org_id)), and
            the user becomes a Viewer of the main organisation unless configured otherwise.
          - If Grafana's setting C(auto_assign_org) is off, Grafana makes an organisation for each new user instead. A run that then gives
            the user a role in another organisation fails, and the next run finishes.
        type: str
        choices: [present, absent]
        default: present
  teams:
    description:
      - Teams of the organisation, in any order.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name, 1 to 190 characters without control characters. It identifies the team. Grafana tells cases apart.
        type: str
        required: true
      email:
        description:
          - Mail address of the team. By default it stays as it is. An empty text removes it.
        type: str
      members:
        description:
          - Logins or mail addresses of members, who must be users of the organisation. If neither this nor O(teams[].admins) is given, the
            members stay as they are.
          - A user who makes a team becomes its admin. Grafana does that, and the result says so. With O(teams[].purge=true) the module
            removes that user again unless declared.
        type: list
        elements: str
      admins:
        description:
          - Logins or mail addresses of members with the permission Admin, who may change the team and its members.
        type: list
        elements: str
      purge:
        description:
          - Whether members that are not declared are removed.
        type: bool
        default: false
        aliases: [enforce_members]
      state:
        description:
          - V(present) makes the team exist as declared, V(absent) deletes it.
        type: str
        choices: [present, absent]
        default: present
  service_accounts:
    description:
      - Service accounts of the organisation, in any order.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name, 1 to 190 characters without control characters. It identifies the service account. If several have it, the module fails.
        type: str
        required: true
      role:
        description:
          - Role in the organisation. By default it stays as it is, and is V(Viewer) for a new account. V(None) exists since Grafana 10.2.
        type: str
        choices: [Viewer, Editor, Admin, None]
      disabled:
        description:
          - Whether its tokens are refused. By default it stays as it is, and is V(false) for a new account.
        type: bool
      tokens:
        description:
          - Tokens of the account. By default they stay as they are.
          - Grafana shows the key of a token only in the answer that makes it. The module writes it to O(service_accounts[].tokens[].path),
            or returns it if O(service_accounts[].tokens[].return_key) asks for that.
        type: list
        elements: dict
        suboptions:
          name:
            description:
              - Name, which the organisation has once. It identifies the token.
            type: str
            required: true
          path:
            description:
              - File for the key on the host where the module runs. Its folder must exist. The file has the mode 0600 and no line break at
                its end. A file that is there keeps its owner if the module runs as root.
              - The file has another text until the key arrives. If the run is interrupted then, the next run revokes the token and makes
                another one. A file with anything else than a key is not overwritten.
            type: path
          return_key:
            description:
              - Whether the key of a new token is returned, see RV(tokens). The task must have C(no_log=true), because the key would be
                shown and logged otherwise. What is registered has it nevertheless.
            type: bool
            default: false
          seconds_to_live:
            description:
              - Seconds after which a new token expires, at least V(1). By default it never does. It cannot be changed for a token that
                exists.
            type: int
          replace:
            description:
              - When a token that exists is revoked and made again, with a new key. By default never. The module warns of a token that is
                lost or expired.
              - V(lost) replaces it if its file is missing or empty, V(expired) if it has expired, V(always) in each run.
            type: list
            elements: str
            choices: [lost, expired, always]
            default: []
          state:
            description:
              - V(present) makes the token exist, V(absent) revokes it. Its file stays.
            type: str
            choices: [present, absent]
            default: present
      purge:
        description:
          - Whether tokens that are not declared are revoked.
        type: bool
        default: false
      state:
        description:
          - V(present) makes the service account exist as declared, V(absent) deletes it with its tokens. The module cannot know whether the
            O(token) that it uses is one of them.
        type: str
        choices: [present, absent]
        default: present
  permissions:
    description:
      - Permissions on resources of the organisation, in any order. Permissions that come from the folders above are not looked at.
    type: list
    elements: dict
    default: []
    suboptions:
      folder_uid:
        description: Uid of a folder. Give one of the three uids.
        type: str
      dashboard_uid:
        description: Uid of a dashboard.
        type: str
      datasource_uid:
        description:
          - Uid of a data source. Only Grafana Enterprise and Grafana Cloud have permissions on data sources.
        type: str
      permissions:
        description:
          - Who has which permission on the resource.
        type: list
        elements: dict
        default: []
        suboptions:
          user:
            description: Login or mail address of a user of the organisation. Give one of user, team, service account and role.
            type: str
          team:
            description: Name of a team.
            type: str
          service_account:
            description: Name of a service account.
            type: str
          role:
            description:
              - All users with a role. V(Admin) is for data sources only, because admins have all permissions on folders and dashboards.
            type: str
            choices: [Viewer, Editor, Admin]
          permission:
            description:
              - What is permitted. V(View), V(Edit) and V(Admin) are for folders and dashboards, V(Query), V(Edit) and V(Admin) for data
                sources. Required unless O(permissions[].permissions[].state=absent).
            type: str
            choices: [View, Query, Edit, Admin]
          state:
            description: V(absent) takes the permission away.
            type: str
            choices: [present, absent]
            default: present
      purge:
        description:
          - Whether permissions that are not declared are removed from the resource, for example those that Grafana gives to the roles and
            the creator of a new folder.
        type: bool
        default: false
  preferences:
    description:
      - Preferences of the organisation, and of teams. What is not given stays as it is. An empty text is Grafana's default.
    type: list
    elements: dict
    default: []
    suboptions:
      team:
        description: Name of the team. By default these are the preferences of the organisation.
        type: str
      theme:
        description: Theme of pages.
        type: str
        choices: [light, dark, system, ""]
      timezone:
        description: Time zone, for example V(utc), V(browser) or V(Europe/Berlin).
        type: str
      week_start:
        description: First day of the week.
        type: str
        choices: [saturday, sunday, monday, browser, ""]
      language:
        description: Language, for example V(en-US).
        type: str
      home_dashboard_uid:
        description: Uid of the dashboard that is shown first. It must exist.
        type: str
notes:
  - Teams, service accounts, permissions and preferences are those of O(org_id) or O(org_name). They need the role Admin there, of a user
    or a token.
  - Users and organisations are written first, then teams, service accounts, permissions and preferences, so that each can refer to what is
    declared before it. Folders, dashboards and data sources must exist.
  - In check mode it is no error that a user, team, service account or resource does not exist, because a task before this one may be about
    to make it.
  - Permissions on data sources follow Grafana's documentation. No recording shows them.
  - Tested against a stand-in that answers as recordings of Grafana 9.5 do, see C(docs/verification.md).
"""

EXAMPLES = r"""
- name: Manage organisations and users of the server
  groundwork.observability.grafana_access:
    url: https://grafana.example.com
    url_username: admin
    url_password: "{{ grafana_admin_password }}"
    organizations:
      - name: Shop
        users:
          - {login: anna, role: Editor}
          - {login: berta}
          - {login: root, role: Admin}
        purge: true
      - name: Old shop
        state: absent
    users:
      - login: anna
        email: anna@example.com
        name: Anna Example
        password: "{{ anna_password }}"
      - login: berta
        email: berta@example.com
        password: "{{ berta_password }}"
      - login: root
        password: "{{ root_password }}"
        update_password: always
        is_admin: true
      - login: left
        state: absent
  delegate_to: localhost

- name: Manage teams, service accounts, permissions and preferences of one organisation
  groundwork.observability.grafana_access:
    url: https://grafana.example.com
    url_username: admin
    url_password: "{{ grafana_admin_password }}"
    org_name: Shop
    teams:
      - name: SRE
        email: sre@example.com
        members: [anna, berta@example.com]
        admins: [root]
        purge: true
    service_accounts:
      - name: deployment
        role: Editor
        tokens:
          - name: deployment
            path: /etc/deployment/grafana_token
            seconds_to_live: 7776000
            replace: [lost, expired]
        purge: true
    permissions:
      - folder_uid: platform
        permissions:
          - {role: Viewer, permission: View}
          - {team: SRE, permission: Edit}
          - {service_account: deployment, permission: Admin}
        purge: true
    preferences:
      - {timezone: utc, week_start: monday, home_dashboard_uid: overview}
      - {team: SRE, theme: dark}

- name: Make a token and keep its key in a variable
  groundwork.observability.grafana_access:
    url: https://grafana.example.com
    url_username: admin
    url_password: "{{ grafana_admin_password }}"
    org_name: Shop
    service_accounts:
      - name: reports
        tokens:
          - {name: reports, return_key: true}
  delegate_to: localhost
  no_log: true
  register: reports_account

- name: Rename the main organisation
  groundwork.observability.grafana_access:
    url: https://grafana.example.com
    url_username: admin
    url_password: "{{ grafana_admin_password }}"
    organizations:
      - {id: 1, name: Example}
  delegate_to: localhost
"""

RETURN = r"""
statements:
  description:
    - Requests that were made, or that would be made in a real run, without secrets. In case of an error those made before it.
    - Numbers of objects are shown as their names, for example C(<user anna>).
  returned: always
  type: list
  elements: str
  sample:
    - 'PATCH /api/orgs/<organization Shop>/users/<user anna> {"role": "Editor"}'
uncertain:
  description: Requests that may have been executed or not, because the answer was lost.
  returned: when there are any
  type: list
  elements: str
objects:
  description: Every declared object.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the object, login of a user in lower case, resource of permissions, or owner of preferences.
      type: str
      sample: anna
    kind:
      description: V(organization), V(user), V(organization users), V(team), V(service account), V(permission) or V(preferences).
      type: str
      sample: user
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
      sample: '{"email": "anna@example.com", "password": "********"}'
    reason:
      description: Always empty.
      type: str
      sample: ""
tokens:
  description: Keys of new tokens that O(service_accounts[].tokens[].return_key) asks for, also if the module fails after it made them.
  returned: when there are any
  type: list
  elements: dict
  contains:
    service_account:
      description: Name of the service account.
      type: str
      sample: reports
    name:
      description: Name of the token.
      type: str
      sample: reports
    key:
      description: The key.
      type: str
      sample: glsa_...
status:
  description: HTTP status of the answer that made the module fail.
  returned: when the server answered with an error
  type: int
  sample: 403
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.access import Access
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.argument_specs import (
    access_spec,
    connection_rules,
)
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.execution import run


def main() -> None:
    module = AnsibleModule(argument_spec=access_spec(), supports_check_mode=True, **connection_rules())
    run(module, Access(hidden=module.no_log).kind())


if __name__ == "__main__":
    main()
