# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that every ClickHouse module shares (private: may change at any time).

Mirrored by the documentation fragment ``clickhouse``.
"""

from __future__ import annotations

import typing as t


def connection_spec() -> dict[str, dict[str, t.Any]]:
    """Argument specification of the connection."""
    return {
        "login_host": {"type": "str", "default": "localhost"},
        "login_port": {"type": "int"},
        "secure": {"type": "bool", "default": True},
        "validate_certs": {"type": "bool", "default": True},
        "ca_path": {"type": "path"},
        "client_cert": {"type": "path"},
        "client_key": {"type": "path"},
        "login_user": {"type": "str", "default": "default"},
        "login_password": {"type": "str", "no_log": True},
        "login_database": {"type": "str"},
        "session_settings": {"type": "dict", "default": {}},
        "connect_timeout": {"type": "int", "default": 10},
        "timeout": {"type": "int", "default": 300},
        "retries": {"type": "int", "default": 3},
    }


def connection_rules() -> dict[str, t.Any]:
    """Rules between the options above, as arguments of C(AnsibleModule)."""
    return {"required_by": {"client_key": ["client_cert"]}}
