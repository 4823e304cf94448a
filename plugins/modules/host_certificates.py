#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_certificates
short_description: Issue missing and expiring certificates of hosts from an internal authority
version_added: 0.1.0
author: groundwork.observability maintainers (@groundwork)
description:
  - Keeps a folder with an internal certificate authority (C(ca.crt), C(ca.key)) and with a key and a certificate for each host
    (C(hosts/<name>.key), C(hosts/<name>.crt)). It runs on the controller, once for all hosts.
  - A certificate is issued if it or its key is missing, if the two do not belong together, if another authority issued it, if the names
    of the host have changed, or if it expires soon. Other certificates are not changed.
  - An existing authority is used. Without C(ca.key) the module only checks the certificates, and fails if one has to be issued.
requirements:
  - cryptography >= 42 (Python library)
attributes:
  check_mode:
    description: Reports which certificates have to be issued, and issues none.
    support: full
  diff_mode:
    description: Shows the names of the issued certificates.
    support: full
  platform:
    description: The module runs on the controller.
    support: full
    platforms: posix
options:
  path:
    description: The folder. Only its owner can read it and the keys.
    type: path
    required: true
  hosts:
    description: The hosts.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The host's name in the inventory. It becomes the certificate's common name.
        type: str
        required: true
      names:
        description: The names that the certificate is for, as V(DNS:name) or V(IP:address).
        type: list
        elements: str
        required: true
  days:
    description: Lifetime of a certificate, in days.
    type: int
    default: 397
  renew_days:
    description: A certificate is issued again if it expires in fewer days than these.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Issue the certificates that are due
  groundwork.observability.host_certificates:
    path: "{{ inventory_dir }}/pki"
    hosts: "{{ hostvars | groundwork.observability.certificate_hosts(ansible_play_hosts_all, groups) }}"
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
issued:
  description: Names of the hosts whose certificates were issued, or would be.
  returned: always
  type: list
  elements: str
authority_issued:
  description: Whether the authority was created, or would be.
  returned: always
  type: bool
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.groundwork.observability.plugins.module_utils._pki import HAS_CRYPTOGRAPHY, Pki, PkiError


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Issues what is due; returns the module's result."""
    params = module.params
    pki = Pki(params["path"])
    new = not pki.has_authority
    due = [host for host in params["hosts"] if new or pki.due(host["name"], host["names"], params["renew_days"])]
    if not module.check_mode and (due or new):
        pki.make_folders()
        if new:
            pki.make_authority()
        for host in due:
            pki.issue(host["name"], host["names"], params["days"])
    issued = [host["name"] for host in due]
    lines = [*(["authority"] if new else []), *issued]
    return {
        "changed": bool(due or new),
        "issued": issued,
        "authority_issued": new,
        "diff": {"before": "", "after": "".join(f"certificate of {line}\n" for line in lines)},
    }


def main() -> None:
    """Entry point."""
    host = {"name": {"type": "str", "required": True}, "names": {"type": "list", "elements": "str", "required": True}}
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "hosts": {"type": "list", "elements": "dict", "required": True, "options": host},
            "days": {"type": "int", "default": 397},
            "renew_days": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    if not HAS_CRYPTOGRAPHY:
        module.fail_json(msg=missing_required_lib("cryptography"))
    try:
        result = run(module)
    except (PkiError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
