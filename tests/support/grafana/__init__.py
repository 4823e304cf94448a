# GNU General Public License v3.0+ (see LICENSE)
"""The testbed's stand-in for Grafana: a server that answers Grafana's HTTP API contract. It is not Grafana.

Package registries do not carry Grafana. What this server answers was recorded from a real one
(`recordings/`, replayed by `tests/integration/test_grafana_contract.py`). It needs nothing but Python 3.11 and PyYAML.
A family of routes is one module in `families/`; adding a file there is enough to serve it.
"""

from __future__ import annotations

VERSION = "12.1.0"
BANNER = f"Version {VERSION} (groundwork testbed stand-in: contract server, not Grafana)"
NOTICE = "This is the testbed's stand-in for Grafana: it answers Grafana's API contract, it is not Grafana."
