# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Descriptions of dashboards, what is made of them, and what is refused."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.groundwork.observability.plugins.filter.dashboards import grafana_dashboard
from ansible_collections.groundwork.observability.plugins.plugin_utils import _dashboards

from tests.support import dashboards
from tests.support.grafana_macros import ALL, expand, expand_product, with_variables

SPECS = dashboards.specs()
EXAMPLES = {spec["uid"]: spec for spec in dashboards.specs(dashboards.EXAMPLES).values()}
BUILT = {uid: grafana_dashboard(spec) for uid, spec in {**SPECS, **EXAMPLES}.items()}
PICTURES = dashboards.CHECKOUT / "docs" / "dashboards"
PALETTE = {"green", "orange", "red"}
SPEC: dict[str, Any] = {
    "uid": "shop",
    "title": "Shop",
    "description": "The shop.",
    "rows": [
        {
            "title": "Orders",
            "panels": [
                {
                    "title": "Orders",
                    "description": "Orders taken.",
                    "kind": "timeseries",
                    "unit": "short",
                    "legend": "{region}",
                    "sql": "SELECT $__timeInterval(t) AS time, region, count() FROM {database}.orders GROUP BY time, region ORDER BY time",
                }
            ],
        }
    ],
}


POSTGRES = {"type": "grafana-postgresql-datasource", "uid": "shop"}


def changed(**panel: Any) -> dict[str, Any]:
    """SPEC with other keys of its panel; None removes one."""
    spec = deepcopy(SPEC)
    only = spec["rows"][0]["panels"][0]
    only.update(panel)
    spec["rows"][0]["panels"][0] = {key: value for key, value in only.items() if value is not None}
    return spec


@pytest.mark.parametrize("key", ["title", "description", "kind", "unit", "legend", "sql"])
def test_panel_without_a_key_is_refused_by_name(key: str) -> None:
    with pytest.raises(AnsibleFilterError, match=rf"dashboard shop, panel {'.' if key == 'title' else 'Orders'}.*{key} must be set"):
        grafana_dashboard(changed(**{key: None}))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (changed(colour="red"), "panel Orders: unknown: colour"),
        (changed(datasource="shop"), "panel Orders: datasource must be a mapping, not 'shop'"),
        (changed(datasource={"uid": "shop"}), "panel Orders, datasource: type must be set"),
        (changed(datasource={"type": "mysql"}), "panel Orders, datasource: uid must be set"),
        (changed(datasource={"type": "mysql", "uid": "the shop"}), "datasource: uid must be 1 to 40 of A-Z a-z 0-9 _ -, not 'the shop'"),
        (changed(datasource={**POSTGRES, "name": "Shop"}), "panel Orders, datasource: unknown: name. Known are type, uid"),
        (
            changed(datasource={"type": "prometheus", "uid": "shop"}),
            "datasource: type must be grafana-postgresql-datasource or mysql, not 'prometheus'; a panel without asks ClickHouse",
        ),
        (changed(datasource=POSTGRES, kind="logs"), "Orders: the kinds with a datasource are timeseries, stat, bargauge, table, not logs"),
        (changed(datasource=POSTGRES, kind="alertlist", sql=None), "the kinds with a datasource are .* not alertlist"),
        (changed(datasource=POSTGRES, sql="SELECT $__timeInterval(t)"), r"panel Orders: \$__timeInterval is no macro"),
        (changed(datasource=POSTGRES, sql={"A": 5}), "panel Orders: sql must be a text, or a mapping of texts"),
        (changed(kind="pie"), "panel Orders: kind must be one of timeseries"),
        (changed(sql="SELECT $__timeGroup(t, 5m)"), r"panel Orders: \$__timeGroup is no macro"),
        (changed(thresholds={"warning": 1}), "panel Orders, thresholds: critical must be set"),
        (changed(links=[{"title": "x"}]), "panel Orders, link: dashboard must be set"),
        (changed(columns={"region": {"size": 1}}), "panel Orders, column region: unknown: size"),
        (changed(kind="alertlist"), "an alertlist has no sql"),
        ({**SPEC, "uid": "the shop"}, "uid must be 1 to 40"),
        ({**SPEC, "uid": "shop\n"}, "uid must be 1 to 40"),
        ({**SPEC, "rows": []}, "dashboard shop: rows must be set"),
        ({**SPEC, "rows": ["x"]}, "dashboard shop, row .: a mapping is needed"),
        ({**SPEC, "variables": [{"name": "a"}]}, "dashboard shop, variable a: label must be set"),
        ({**SPEC, "variables": [{"name": "a", "label": "A", "values": ["1"], "default": "2"}]}, "default must be one of its values"),
        ("text", "dashboard: a mapping is needed"),
        ({**SPEC, "uid": 5}, "dashboard 5: uid must be a text, not 5"),
        ({**SPEC, "title": 5}, "dashboard shop: title must be a text, not 5"),
        ({**SPEC, "rows": 5}, "dashboard shop: rows must be a list, not 5"),
        ({**SPEC, "rows": [{"title": "Orders", "panels": {"a": 1}}]}, "row Orders: panels must be a list"),
        ({**SPEC, "range": "1 hour"}, "range must be a duration such as 30m, 6h or 7d, not '1 hour'"),
        ({**SPEC, "range": 6}, "range must be a text, not 6"),
        ({**SPEC, "variables": ["a"]}, "variable .: a mapping is needed, not 'a'"),
        ({**SPEC, "variables": [{"name": "a", "label": "A", "values": "1"}]}, "variable a: values must be a list"),
        ({**SPEC, "variables": [{"name": "a", "label": "A", "sql": "SELECT 1", "multi": "yes"}]}, "multi must be true or false"),
        (changed(kind=["stat"]), "panel Orders: kind must be a text"),
        (changed(sql=5), "panel Orders: sql must be a text, or a mapping of texts"),
        (changed(sql={"A": 5}), "panel Orders: sql must be a text, or a mapping of texts"),
        (changed(width="12"), "panel Orders: width must be a number, not '12'"),
        (changed(width=True), "panel Orders: width must be a number, not True"),
        (changed(width=25), "panel Orders: width must be from 1 to 24, not 25"),
        (changed(height=0), "panel Orders: height must be from 1 to 100, not 0"),
        (changed(min="0"), "panel Orders: min must be a number"),
        (changed(stack="yes"), "panel Orders: stack must be true or false"),
        (changed(thresholds=90), "panel Orders: thresholds must be a mapping, not 90"),
        (changed(thresholds={"critical": "90"}), "thresholds: critical must be a number, not '90'"),
        (changed(links={"title": "x"}), "panel Orders: links must be a list"),
        (changed(columns=["region"]), "panel Orders: columns must be a mapping"),
        (changed(points=["x"]), "panel Orders: points must be a mapping"),
        (changed(points={"query": "x"}), "panel Orders, points: legend must be set"),
        (changed(points={"query": "x", "legend": "x"}), "points: query must be the name of a query of a timeseries, not 'x'"),
        (changed(sql={"A": "SELECT 1"}, points={"query": "x", "legend": "x"}), "query must be the name of a query of a timeseries"),
        (changed(sql={"x": "SELECT 1"}, kind="stat", points={"query": "x", "legend": "x"}), "must be the name of a query of a timeseries"),
    ],
)
def test_wrong_description_is_refused(spec: Any, message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        grafana_dashboard(spec)


@pytest.mark.parametrize("macro", sorted(_dashboards.MACROS - {"$__conditionalAll"}))
def test_macros_that_are_accepted_are_those_that_tests_expand(macro: str) -> None:
    arguments = "" if re.search(r"fromTime|toTime|interval_s", macro) else "(t, u)" if macro == "$__dateTimeFilter" else "(t)"
    now = datetime.now(UTC)
    assert "$__" not in expand(f"SELECT {macro}{arguments}", now, now)


def test_names_of_database_cluster_and_data_source() -> None:
    spec = changed(sql="SELECT 1 FROM clusterAllReplicas('{cluster}', {database}.t)")
    panel = grafana_dashboard(spec, "telemetry", "main", "ch-2")["panels"][1]
    assert panel["targets"][0]["rawSql"] == "SELECT 1 FROM clusterAllReplicas('main', telemetry.t)"
    assert panel["targets"][0]["datasource"]["uid"] == panel["datasource"]["uid"] == "ch-2"


@pytest.mark.parametrize("plugin", _dashboards.SQL_TYPES)
@pytest.mark.parametrize(("kind", "form"), [("timeseries", "time_series"), ("stat", "table"), ("bargauge", "table"), ("table", "table")])
def test_panel_of_another_data_source(plugin: str, kind: str, form: str) -> None:
    """Its query is as those plugins' editor saves one, and nothing in it is replaced."""
    source = {"type": plugin, "uid": "shop"}
    sql = "SELECT '{database}' FROM orders WHERE $__timeFilter(placed)\n"
    dashboard = grafana_dashboard(changed(kind=kind, datasource=source, sql=sql))
    panel = dashboard["panels"][1]
    target = {"datasource": source, "editorMode": "code", "rawQuery": True, "format": form, "refId": "A", "rawSql": sql.strip()}
    assert (panel["datasource"], panel["targets"]) == (source, [target])
    assert _dashboards.product_datasources(dashboard) == [source]
    assert _dashboards.product_datasources(grafana_dashboard(SPEC)) == []


@pytest.mark.parametrize("macro", sorted(_dashboards.SQL_MACROS))
@pytest.mark.parametrize("plugin", _dashboards.SQL_TYPES)
def test_macros_of_other_data_sources_are_those_that_tests_expand(plugin: str, macro: str) -> None:
    arguments = {"timeFilter": "(t)", "timeGroup": "(t, '5m')", "timeGroupAlias": "(t, $__interval)", "interval": ""}
    now = datetime.now(UTC)
    assert "$" not in expand_product(f"SELECT {macro}{arguments.get(macro[3:], '()')}", plugin, now, now)


def test_small_values_are_bad_where_critical_is_below_warning() -> None:
    panel = grafana_dashboard(changed(thresholds={"warning": 30, "critical": 7}))["panels"][1]
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [(step["color"], step["value"]) for step in steps] == [("red", None), ("orange", 7), ("green", 30)]


def test_link_takes_columns_variables_and_text() -> None:
    link = {"title": "Logs", "dashboard": "logs", "variables": {"host": "{region}", "service": "${service}", "severity": "ERROR"}}
    for kind, column in (("timeseries", "${__field.labels.region}"), ("bargauge", "${__data.fields.region}")):
        (made,) = grafana_dashboard(changed(kind=kind, links=[link]))["panels"][1]["fieldConfig"]["defaults"]["links"]
        assert made["url"] == f"/d/logs?${{__url_time_range}}&var-host={column}&var-service=${{service}}&var-severity=ERROR"


@pytest.mark.parametrize("uid", SPECS)
def test_files_are_named_after_their_uid(uid: str) -> None:
    assert BUILT[uid]["uid"] == uid
    assert len({dashboard["title"] for dashboard in BUILT.values()}) == len(BUILT)


@pytest.mark.parametrize("uid", SPECS)
def test_page_has_each_dashboard_and_its_picture(uid: str) -> None:
    """Pictures are small, so that the repository stays so: `make dashboards` makes them."""
    page = (PICTURES / "README.md").read_text(encoding="utf-8")
    assert f"`{uid}`" in page
    assert f"({uid}.png)" in page
    assert (PICTURES / f"{uid}.png").stat().st_size < 150_000


@pytest.mark.parametrize("uid", BUILT)
def test_panels_lie_side_by_side(uid: str) -> None:
    """None covers another one, and none leaves the grid."""
    taken: set[tuple[int, int]] = set()
    for panel in BUILT[uid]["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in BUILT[uid]["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("uid", BUILT)
def test_colours_are_those_of_the_theme(uid: str) -> None:
    """Grafana has a shade of each for light and dark, and draws the background itself."""
    text = json.dumps(BUILT[uid])
    assert set(re.findall(r'"color": "([^"]*)"', text)) <= PALETTE
    assert '"colorMode": "background"' not in text
    assert not re.search(r"\"#[0-9a-fA-F]{3,8}\"|rgba?\(", text)


@pytest.mark.parametrize("uid", BUILT)
def test_links_lead_to_dashboards_and_their_variables(uid: str) -> None:
    for target, rest in re.findall(r'"/d/([\w-]+)\?([^"]*)"', json.dumps(BUILT[uid])):
        variables = {variable["name"] for variable in BUILT[target]["templating"]["list"]}
        assert set(re.findall(r"&var-(\w+)=", rest)) <= variables
        own = {variable["name"] for variable in BUILT[uid]["templating"]["list"]}
        assert set(re.findall(r"\$\{(?!__)(\w+)", rest)) <= own


def test_overview_leads_to_service_trace_logs_and_host() -> None:
    leads = {uid: set(re.findall(r'"/d/([\w-]+)\?', json.dumps(dashboard))) for uid, dashboard in BUILT.items()}
    path = ["groundwork-overview", "groundwork-service", "groundwork-traces", "groundwork-logs", "groundwork-host"]
    assert [(one, other) for one, other in zip(path, path[1:], strict=False) if other not in leads[one]] == []


def test_variables_are_written_as_grafana_writes_them() -> None:
    sql = "a IN (${x:singlequote}) AND $__conditionalAll(f(b, ${y:singlequote}) > 0, $y) AND c > ${z}"
    assert with_variables(sql, {"x": ["1", "it's"], "y": ["2"], "z": ["3"]}) == "a IN ('1','it\\'s') AND f(b, '2') > 0 AND c > 3"
    for nothing in ([ALL], [""]):
        assert with_variables(sql, {"x": ["1"], "y": nothing, "z": ["3"]}) == "a IN ('1') AND 1=1 AND c > 3"
