# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every query of the dashboards on a real ClickHouse, with data that came through real collectors."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import previews
from tests.support import dashboards, large_day
from tests.support.dashboards import View
from tests.support.grafana_macros import ALL
from tests.support.platform import platform

pytestmark = pytest.mark.integration

DASHBOARDS = {uid: dashboards.built(spec) for uid, spec in dashboards.specs().items()}
PANELS = [
    pytest.param(uid, panel, id=f"{uid}-{panel['title']}")
    for uid, dashboard in DASHBOARDS.items()
    for panel in dashboards.panels(dashboard)
]


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    """A filled platform, and the last hour of it."""
    with platform(tmp_path_factory.mktemp("platform")) as running:
        dashboards.fill(running)
        yield dashboards.view(running)


@pytest.mark.parametrize(("uid", "panel"), PANELS)
def test_query_returns_what_the_panel_shows(view: View, uid: str, panel: dict[str, Any]) -> None:
    """Rows, in the form that this kind of panel needs, with the columns that its legend, links and units name."""
    for name, answer in view.answers(panel, view.values(DASHBOARDS[uid])).items():
        assert answer.rows, f"no rows: {answer.sql}"
        dashboards.check_form(panel, name, answer)


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_queries_run_with_a_value_of_each_variable(view: View, uid: str) -> None:
    """Of those that show everything when the dashboard opens, and with text in text boxes that is no SQL."""
    dashboard = DASHBOARDS[uid]
    values = view.values(dashboard, choose=True)
    typed = {variable["name"]: ["it's"] for variable in dashboard["templating"]["list"] if variable["type"] == "textbox"}
    for panel in dashboards.panels(dashboard):
        view.answers(panel, {**values, **typed})


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_preview_shows_every_panel(view: View, uid: str) -> None:
    """And says what it is."""
    dashboard = DASHBOARDS[uid]
    values = view.values(dashboard)
    answers = {panel["id"]: view.answers(panel, values) for panel in dashboards.panels(dashboard)}
    drawn = previews.Page(dashboard, "dark", view.begin, view.end).draw(answers, values)
    assert previews.PREVIEW in drawn
    assert [panel["title"] for panel in dashboard["panels"] if f">{html.escape(panel['title'])}<" not in drawn] == []
    # The page needs nothing from elsewhere.
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=", drawn)


@pytest.mark.soak
def test_no_query_reads_much_more_than_its_time_range(view: View) -> None:
    """One hour of a day: of the raw tables, which have 1,564 granules or more each, no query reads more than 150."""
    server = view.platform.clickhouse
    granules = large_day.create(server)
    assert min(granules.values()) >= 1500
    begin = large_day.BEGIN + timedelta(hours=12)
    large = View(large_day.Reader(server, "", Path()), begin, begin + timedelta(hours=1))
    for uid, spec in dashboards.specs().items():
        dashboard = dashboards.built(spec, large_day.NAME)
        variables = dashboard["templating"]["list"]
        values = {
            variable["name"]: [variable["current"]["value"]]
            if variable["type"] != "query"
            else [ALL]
            if variable["includeAll"]
            else large_day.CHOSEN[variable["name"]]
            for variable in variables
        }
        for panel in dashboards.panels(dashboard):
            for target in panel["targets"]:
                large.ask(target["rawSql"], values, f"{uid} {panel['title']} {target['refId']}")
    server.query("SYSTEM FLUSH LOGS")
    log = "system.query_log WHERE type = 'QueryFinish' AND query_id LIKE 'groundwork-%'"
    lines = server.query(f"SELECT query_id, ProfileEvents['SelectedMarks'] FROM {log}").splitlines()
    read = {name: int(marks) for name, marks in (line.split("\t") for line in lines)}
    # Those that read the raw tables did read them.
    assert sum(marks >= 5 for marks in read.values()) > 20
    assert {name: marks for name, marks in read.items() if marks > 150} == {}


def test_one_trace_is_shown_with_its_records(view: View) -> None:
    """Its id typed in, as the links do."""
    dashboard = DASHBOARDS["groundwork-traces"]
    found = view.ask("SELECT TraceId FROM otel.otel_traces WHERE ServiceName = 'payment' ORDER BY Timestamp DESC LIMIT 1", {}).rows[0][0]
    values = {**view.values(dashboard), "trace": [found]}
    shown = {panel["title"]: view.answers(panel, values)["A"] for panel in dashboards.panels(dashboard)}
    spans = shown["Trace"].rows
    assert {row[0] for row in spans} == {found}
    assert {row[3] for row in spans} >= {"frontend", "checkout", "payment"}
    assert len(shown["Log records of the trace"].rows) == len(spans) == len(shown["Spans"].rows)


def test_each_exemplar_is_a_series_and_leads_to_its_trace(view: View) -> None:
    """As the plugin makes series of rows: a label with the trace, which the link names, and a duration in the unit of the lines."""
    (panel,) = [panel for panel in dashboards.panels(DASHBOARDS["groundwork-service"]) if panel["title"] == "Duration"]
    answers = view.answers(panel, {"service": ["checkout"], "objective": ["99.9"]})
    (override,) = panel["fieldConfig"]["overrides"]
    assert override["matcher"] == {"id": "byFrameRefID", "options": "exemplars"}
    (link,) = next(part["value"] for part in override["properties"] if part["id"] == "links")
    assert link["url"].endswith("&var-trace=${__field.labels.trace}")
    shown = {trace: duration for _time, trace, duration in answers["exemplars"].rows}
    assert 10 < len(shown) == len(answers["exemplars"].rows) <= 30
    spans = f"otel.otel_traces WHERE ServiceName = 'checkout' AND TraceId IN {tuple(shown)}"
    for trace, duration in view.ask(f"SELECT TraceId, max(Duration) FROM {spans} GROUP BY TraceId", {}).rows:
        assert duration == pytest.approx(shown.pop(trace), rel=0.01)
    assert not shown


def test_records_are_found_by_a_word(view: View) -> None:
    dashboard = DASHBOARDS["groundwork-logs"]
    (panel,) = [panel for panel in dashboards.panels(dashboard) if panel["title"] == "Records"]
    found = view.answers(panel, {**view.values(dashboard), "word": ["DECLINED"]})["A"].rows
    assert {row[1] for row in found} == {"card was declined"}


def test_rates_are_those_of_the_traffic(view: View) -> None:
    """The counter of the node agent, added up over the hour, is what was sent to it."""
    dashboard = DASHBOARDS["groundwork-pipeline"]
    (panel,) = [panel for panel in dashboards.panels(dashboard) if panel["title"] == "Accepted"]
    rows = view.answers(panel, view.values(dashboard))["A"].rows
    metrics = sum(row[2] * 60 for row in rows if row[1] == "otelcol-node-agent metric_points")
    assert metrics > 100
