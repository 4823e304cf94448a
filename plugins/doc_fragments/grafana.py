# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options and attributes that every Grafana module shares."""

    DOCUMENTATION = r"""
options:
  url:
    description:
      - URL of Grafana with scheme, port and sub path, for example V(https://grafana.example.com) or V(http://127.0.0.1:3000/grafana).
      - It must not contain a user, a query or a fragment. Redirects are not followed.
    type: str
    required: true
    aliases: [grafana_url]
  url_username:
    description:
      - Name of a Grafana user. It needs O(url_password). Give either this, O(token) or O(client_cert).
    type: str
    aliases: [grafana_user]
  url_password:
    description:
      - Password of the user.
    type: str
    aliases: [grafana_password]
  token:
    description:
      - Token of a service account. Printable ASCII characters without spaces.
      - A token belongs to one organisation. If O(org_id) or O(org_name) names another one, the module fails before it writes.
    type: str
    aliases: [grafana_api_key]
  client_cert:
    description:
      - File with the client certificate in PEM format, and its key if O(client_key) is not given.
    type: path
  client_key:
    description:
      - File with the client certificate's key. It needs O(client_cert).
    type: path
  ca_path:
    description:
      - File with the certificates of the authorities to trust. By default those of the system.
    type: path
  validate_certs:
    description:
      - Whether to verify the server's certificate.
    type: bool
    default: true
  use_proxy:
    description:
      - Whether to use the proxy of the environment variables C(http_proxy), C(https_proxy) and C(no_proxy).
    type: bool
    default: true
  http_agent:
    description:
      - Value of the header C(User-Agent).
    type: str
    default: ansible-groundwork-observability
  timeout:
    description:
      - Seconds to wait for a connection, and for each part of an answer. At least V(1).
    type: int
    default: 30
  retries:
    description:
      - How often a failed request is repeated, at least V(0). The pause starts at a quarter of a second and doubles each time. It is
        longer if the server asks for that (C(Retry-After)), and never longer than ten seconds.
      - Reads are repeated after connection errors and the statuses 429, 502, 503 and 504. Writes are repeated after 429, and if
        the server has not received them. If the answer to a write is lost, the module reads everything again and continues with
        what is still missing.
    type: int
    default: 3
  org_id:
    description:
      - Number of the organisation, at least V(1). By default the user's current one, or the one of the token.
      - It is sent with each request (header C(X-Grafana-Org-Id)). The user's current organisation is not switched, so that several runs can
        use the same user for different organisations at the same time.
    type: int
  org_name:
    description:
      - Name of the organisation, instead of O(org_id). The user must be a member of it. In check mode one that does not exist is taken for
        an empty one, with a warning, because a task before this one may be about to make it.
    type: str
"""

    ATTRIBUTES = r"""
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
    details:
      - Check mode sends the same reads as a run, and no writes. If nobody listens at O(url), it plans as for an empty Grafana and warns.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: full
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second run does nothing.
    support: full
options: {}
"""
