# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters for services of a host into which the role otel_collector loads OpenTelemetry's agents."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.groundwork.observability.plugins.plugin_utils import _instrumentation as instrumentation


def environment_file(service: t.Mapping[str, t.Any], agent: str, endpoint: str, token: str) -> str:
    """The file for C(EnvironmentFile=) of a service's unit.

    :param service: an entry of otel_collector_instrumented_services.
    :param agent: the folder or file of the agent on the host.
    :param endpoint: URL of the node agent.
    :param token: the node agent's token.
    """
    variables = instrumentation.environment(service, agent, endpoint, token)
    # The characters that systemd takes as escaped between double quotes.
    escaped = {name: re.sub(r'(["\\`$])', r"\\\1", value) for name, value in variables.items()}
    return "".join(f'{name}="{value}"\n' for name, value in sorted(escaped.items()))


def instrumentation_problems(units: t.Sequence[t.Mapping[str, t.Any]], drop_in: str) -> list[str]:
    """Why services of a host cannot be instrumented, one line each.

    :param units: results of C(systemctl cat) in a loop over otel_collector_instrumented_services.
    :param drop_in: name of the role's own file in the folder of a unit.
    """
    found = []
    for result in units:
        service = result["item"]
        own = f"/etc/systemd/system/{service['unit']}.d/{drop_in}"
        found.append(instrumentation.unit_problem(service, int(result["rc"]), str(result["stdout"]), own))
    return [problem for problem in found if problem]


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"environment_file": environment_file, "instrumentation_problems": instrumentation_problems}
