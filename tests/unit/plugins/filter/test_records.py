# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The processors that shorten and redact records. tests/integration/test_gateway.py lets the real collector run them."""

from __future__ import annotations

import pytest
from ansible_collections.groundwork.observability.plugins.filter import records
from ansible_collections.groundwork.observability.plugins.plugin_utils import _constraints


def test_every_signal_is_limited() -> None:
    """All contexts that have attributes, each with the three statements."""
    made = records.gateway_limits(128, 1000, 2000)
    contexts = {
        signal: [group["context"] for group in made[f"{signal}_statements"] if f"limit({group['context']}.attributes, 128" in str(group)]
        for signal in ("log", "trace", "metric")
    }
    assert contexts == {
        "log": ["resource", "scope", "log"],
        "trace": ["resource", "scope", "span", "spanevent"],
        "metric": ["resource", "scope", "datapoint"],
    }


def test_text_of_spans_is_redacted_before_it_is_cut() -> None:
    """Half of a secret would not be recognized."""
    groups = records.gateway_limits(128, 1000, 2000, [r'a\d"$'])["trace_statements"]
    statements = [statement for group in groups for statement in group["statements"]]
    redacted = statements.index('replace_pattern(span.name, "a\\\\d\\"$$", "****")')
    assert redacted < statements.index("truncate_all(span.cache, 1000)")


def test_names_are_one_expression_for_the_whole_name() -> None:
    """The collector takes $$ as $."""
    made = records.gateway_redaction(["a|b", "c$"], ["^d$"])
    assert made["blocked_key_patterns"] == ["^(?:(?:a|b)|(?:c$$))$$"]
    assert made["blocked_values"] == ["^d$$"] and made["redact_all_types"]
    assert records.gateway_redaction([], [])["blocked_key_patterns"] == []


@pytest.mark.parametrize("pattern", [r"user\.(email|name)", r"(?i)password", r"\b[0-9]{13,16}\b", r"\\\\1", r"x\(?=1"])
def test_usual_expressions_are_accepted(pattern: str) -> None:
    """Also with a backslash before what would be look-around or a back reference."""
    assert _constraints.is_regular_expression(pattern)
