# GNU General Public License v3.0+ (see LICENSE)
"""Calls a Grafana module through a proxy, in an organisation of its own, and asks the server behind it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from tests.support.grafana_proxy import Proxy
from tests.support.grafana_server import GrafanaServer

PASSWORD = "pass\"word: ü'"
ADMIN = ("admin", PASSWORD)
Result = dict[str, Any]


@dataclass
class ModuleRun:
    """One organisation of the server. `secrets` must not be in any result."""

    server: GrafanaServer
    proxy: Proxy
    module: ModuleType
    capsys: pytest.CaptureFixture[str]
    org: int
    secrets: tuple[str, ...] = (PASSWORD,)

    def __call__(self, objects: Any = (), *, check: bool = False, as_user: Result | None = None, **options: Any) -> Result:
        """The result of a run with these objects declared: a list for a module with one list, else options with their lists."""
        login = {"url_username": "admin", "url_password": PASSWORD, "org_id": self.org} if as_user is None else as_user
        name = self.module.__name__.rpartition("grafana_")[2]
        declared = objects if isinstance(objects, dict) else {name: list(objects)}
        where = {"url": self.proxy.url, "retries": 0, **login, **declared, **options}
        self.capsys.readouterr()
        arguments = {"_ansible_check_mode": check, "_ansible_diff": True, **where}
        # Where a test has imported a controller, warnings would go to its display instead of the result.
        with patch_module_args(arguments), mock.patch.object(AnsibleModule, "warn") as warn, pytest.raises(SystemExit):
            self.module.main()
        printed = self.capsys.readouterr().out
        for secret in self.secrets:
            assert secret not in printed and json.dumps(secret)[1:-1] not in printed
        result: Result = {**json.loads(printed), "warnings": [call.args[0] for call in warn.call_args_list]}
        result.pop("invocation", None)
        return result

    def interrupted(self, prepare: Callable[[], None], objects: Any) -> Iterator[Result]:
        """Results of runs whose connection is gone for good once the server has executed the first write, the second, and so on.

        `prepare` makes the state before each of them. Ends with the first run that is not interrupted.
        """
        for writes in range(20):
            prepare()
            self.proxy.disappear_after(writes)
            stopped = self(objects)
            self.proxy.reset()
            if not stopped.get("failed"):
                return
            assert "\n" not in stopped["msg"] and stopped["changed"] == bool(stopped["statements"] or stopped.get("uncertain"))
            yield stopped

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What the server answers to its administrator in this organisation, past the proxy."""
        status, answer = self.server.send(method, path, body, auth=ADMIN, headers={"X-Grafana-Org-Id": str(self.org)})
        assert status < 300, answer
        return answer

    def tokens(self, *roles: str) -> list[str]:
        """A service account's token for each role."""
        found = []
        for role in roles:
            account = self.ask("POST", "/api/serviceaccounts", {"name": role, "role": role})
            found.append(self.ask("POST", f"/api/serviceaccounts/{account['id']}/tokens", {"name": role})["key"])
        self.secrets += tuple(found)
        return found
