# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options and attributes that every ClickHouse module shares."""

    DOCUMENTATION = r"""
options:
  login_host:
    description:
      - Name or address of the ClickHouse server. One server, no load balancer.
    type: str
    default: localhost
  login_port:
    description:
      - Port of its HTTP interface. V(8443) with O(secure=true), else V(8123), if not given.
    type: int
  secure:
    description:
      - Whether to use HTTPS.
    type: bool
    default: true
  validate_certs:
    description:
      - Whether to verify the server's certificate.
    type: bool
    default: true
  ca_path:
    description:
      - File with the certificates of the authorities to trust. Those of the system, if not given.
    type: path
  client_cert:
    description:
      - File with the client certificate, and its key if O(client_key) is not given.
      - Without O(login_password) it is also what authenticates O(login_user).
    type: path
  client_key:
    description:
      - File with the client certificate's key.
    type: path
  login_user:
    description:
      - Name of the ClickHouse user.
    type: str
    default: default
  login_password:
    description:
      - Password of the ClickHouse user.
    type: str
  connect_timeout:
    description:
      - Seconds to wait for a connection.
    type: int
    default: 10
  timeout:
    description:
      - Seconds to wait for the answer to a query.
    type: int
    default: 300
  retries:
    description:
      - How often to try again when the connection fails, with growing pauses. Errors that the server reports are never
        retried this way. Check mode does not retry.
    type: int
    default: 3
"""

    ATTRIBUTES = r"""
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: full
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second run does nothing.
    support: full
options: {}
"""
