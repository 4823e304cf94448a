#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: otlp_probe
short_description: Send logs, spans and metrics that can be found again to an OTLP receiver
version_added: 0.1.0
description:
  - Sends O(count) log records, spans and data points of a gauge (C(groundwork.verify.probe)) by OTLP/HTTP in JSON, one
    request for each signal.
  - Each record and its resource have the attribute C(groundwork.probe_id), by which a query finds it again.
    C(groundwork.probe_seq) numbers the records of a signal from 1. A log record and a span with the same number have the same trace
    id and span id.
author:
  - groundwork.observability maintainers (@groundwork)
attributes:
  check_mode:
    description: Check mode sends nothing, and RV(accepted) is 0.
    support: full
  diff_mode:
    description: Returns details on what has changed, or would change.
    support: none
  platform:
    description: Runs on any host that can reach the receiver.
    platforms: posix
    support: full
options:
  endpoint:
    description: Base URL of the receiver. C(/v1/logs), C(/v1/traces) and C(/v1/metrics) are appended.
    type: str
    default: http://127.0.0.1:4318
  token:
    description: Bearer token that the receiver asks for.
    type: str
  signals:
    description: Signals to send.
    type: list
    elements: str
    choices: [logs, traces, metrics]
    default: [logs, traces, metrics]
  count:
    description: Number of records of each signal, from 1 to 5000.
    type: int
    default: 1
  probe_id:
    description:
      - Value of the attribute C(groundwork.probe_id).
      - A random value by default. The same O(probe_id) gives the same trace and span ids.
    type: str
  service_name:
    description: The resource's C(service.name).
    type: str
    default: groundwork-verify
  ca_path:
    description: File on the host with the certificate of the authority that issued the receiver's certificate.
    type: path
  timeout:
    description: Seconds to wait for an answer.
    type: int
    default: 10
"""

EXAMPLES = r"""
- name: Send one record of each signal to the node agent of the host
  groundwork.observability.otlp_probe:
    token: "{{ otel_collector_agent_token }}"
  register: probe

- name: Send a thousand log records to a gateway
  groundwork.observability.otlp_probe:
    endpoint: https://gw1.example.com:4318
    token: "{{ otel_collector_gateway_token }}"
    ca_path: /etc/ssl/certs/internal.pem
    signals: [logs]
    count: 1000
"""

RETURN = r"""
probe_id:
  description: The value of C(groundwork.probe_id).
  returned: always
  type: str
  sample: 0f8c1f1be4a14a6c9d0e7c4e3f0a9b12
sent_at:
  description: The host's time when sending began, in seconds since 1970. The records are dated so.
  returned: always
  type: float
  sample: 1795490655.883
count:
  description: Number of records of each signal, as asked for.
  returned: always
  type: int
  sample: 1
accepted:
  description: Number of records that the receiver accepted, by signal.
  returned: always
  type: dict
  sample: {logs: 1, traces: 1, metrics: 1}
errors:
  description: What went wrong, by signal; empty when all records were accepted. The module fails when it is not.
  returned: always
  type: dict
  sample: {logs: "401 from http://127.0.0.1:4318/v1/logs: Unauthorized"}
"""

import json
import time
import typing as t
import uuid
from urllib.error import HTTPError, URLError

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.converters import to_text
from ansible.module_utils.urls import ConnectionError as UrlConnectionError
from ansible.module_utils.urls import open_url
from ansible_collections.groundwork.observability.plugins.module_utils._otlp import (
    SIGNALS,
    OtlpError,
    payload,
    refusal,
    rejected,
)


class Receiver:
    """An OTLP/HTTP receiver."""

    def __init__(self, endpoint: str, token: str | None, ca_path: str | None, timeout: int) -> None:
        self.endpoint, self.ca_path, self.timeout = endpoint.rstrip("/"), ca_path, timeout
        self.headers = {"Content-Type": "application/json"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"

    def send(self, signal: str, body: dict[str, t.Any]) -> tuple[int, str]:
        """Returns how many records it refused, and why."""
        url = f"{self.endpoint}/v1/{signal}"
        try:
            answer = open_url(
                url,
                method="POST",
                data=json.dumps(body),
                headers=self.headers,
                timeout=self.timeout,
                ca_path=self.ca_path,
                use_proxy=False,
            )
            return rejected(signal, to_text(answer.read()))
        except HTTPError as exc:
            raise OtlpError(f"{exc.code} from {url}: {refusal(exc.code, to_text(exc.read()))}") from None
        except OtlpError as exc:
            raise OtlpError(f"{url}: {exc}") from None
        except (URLError, UrlConnectionError, OSError) as exc:
            raise OtlpError(f"no answer from {url}: {getattr(exc, 'reason', exc)}: does the receiver run?") from None


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "endpoint": {"type": "str", "default": "http://127.0.0.1:4318"},
            "token": {"type": "str", "no_log": True},
            "signals": {"type": "list", "elements": "str", "choices": list(SIGNALS), "default": list(SIGNALS)},
            "count": {"type": "int", "default": 1},
            "probe_id": {"type": "str"},
            "service_name": {"type": "str", "default": "groundwork-verify"},
            "ca_path": {"type": "path"},
            "timeout": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    params = module.params
    count = params["count"]
    if not 1 <= count <= 5000:
        module.fail_json(msg=f"count is {count}, has to be from 1 to 5000")
    now = time.time_ns()
    probe_id = params["probe_id"] or uuid.uuid4().hex
    accepted = dict.fromkeys(params["signals"], 0)
    errors: dict[str, str] = {}
    receiver = Receiver(params["endpoint"], params["token"], params["ca_path"], params["timeout"])
    for signal in () if module.check_mode else params["signals"]:
        try:
            refused, why = receiver.send(signal, payload(signal, probe_id, params["service_name"], count, now))
            accepted[signal] = count - refused
            if refused:
                errors[signal] = f"{params['endpoint']} accepted {count - refused} of {count}: {why}"
        except OtlpError as exc:
            errors[signal] = str(exc)
    result = {
        "changed": any(accepted.values()),
        "probe_id": probe_id,
        "sent_at": now / 1e9,
        "count": count,
        "accepted": accepted,
        "errors": errors,
    }
    if errors:
        module.fail_json(msg="; ".join(f"{signal}: {why}" for signal, why in errors.items()), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
