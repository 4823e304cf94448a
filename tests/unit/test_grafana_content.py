# GNU General Public License v3.0+ (see LICENSE)
"""Content from files on the controller: what is read, what is refused by the name of its file, and the files that Grafana reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.groundwork.observability.plugins.plugin_utils import _components
from ansible_collections.groundwork.observability.plugins.plugin_utils import _grafana_content as content
from ansible_collections.groundwork.observability.plugins.plugin_utils._constraints import datasource_problem
from ansible_collections.groundwork.observability.plugins.plugin_utils._grafana_content import ContentError

from tests.support.dashboards import EXAMPLES

SECRET = 'psst "quoted" 0123456789'


def write(top: Path, files: dict[str, Any]) -> str:
    """A folder with these files below dashboards/: text, or data to be written as JSON."""
    for name, value in files.items():
        path = top / "dashboards" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(top)


def board(uid: str, title: str, **more: Any) -> dict[str, Any]:
    return {"uid": uid, "title": title, "panels": [], **more}


def test_folders_and_dashboards_are_read(tmp_path: Path) -> None:
    files = {"Shop & Orders/a.json": board("a", " A ", id=7, version=3), "Shop & Orders/b.json": board("b", "B")}
    found = content.read_dashboards(write(tmp_path, {**files, "Hosts/c.json": board("c", "A")}))
    assert found["folders"] == [{"uid": "hosts", "title": "Hosts"}, {"uid": "shop-orders", "title": "Shop & Orders"}]
    assert found["dashboards"] == [
        {"folder_uid": "hosts", "dashboard": board("c", "A")},
        {"folder_uid": "shop-orders", "dashboard": board("a", "A")},
        {"folder_uid": "shop-orders", "dashboard": board("b", "B")},
    ]
    assert content.read_dashboards("") == {"folders": [], "dashboards": []}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"F/a.json": "{"}, "dashboards/F/a.json: .*is not JSON"),
        ({"F/a.json": []}, "F/a.json: the dashboard is not an object"),
        ({"F/a.json": {"title": "A"}}, "F/a.json: the dashboard has no uid"),
        ({"F/a.json": {"uid": "a"}}, "F/a.json: dashboard 'a' has no title"),
        ({"F/a.json": board("a b", "A")}, "F/a.json: .*uid 'a b'"),
        ({"F/a.json": board("a", "A"), "G/b.json": board("a", "B")}, "G/b.json: uid a is also that of .*F/a.json"),
        ({"F/a.json": board("a", "A"), "F/b.json": board("b", "a")}, "title in the same folder"),
        ({"F/a.json": {"apiVersion": "v1", "spec": {}}}, "F/a.json: the dashboard has the form of a resource"),
        ({"F/a.json": board("a", "A", description=SECRET)}, "F/a.json has a secret of the inventory in it"),
        ({"F b/a.json": board("a", "A"), "f-B/b.json": board("b", "B")}, "uid"),
        ({"a.json": board("a", "A")}, "a.json is in no folder"),
        ({"öü/a.json": board("a", "A")}, "folder 'öü'"),
        ({"General/a.json": board("a", "A")}, "general"),
    ],
)
def test_what_is_not_fit_is_refused_by_its_name(tmp_path: Path, files: dict[str, Any], said: str) -> None:
    with pytest.raises(ContentError, match=said) as caught:
        content.read_dashboards(write(tmp_path, files), [SECRET, "short"])
    assert SECRET not in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_refused() -> None:
    with pytest.raises(ContentError, match="/nowhere/content is not a folder on the controller"):
        content.read_dashboards("/nowhere/content")


def test_descriptions_are_built(tmp_path: Path) -> None:
    shipped = str(_components.ROLES / "grafana/files/dashboards")
    values = {"database": "telemetry", "cluster": "mine", "datasource": "ch"}
    description = (_components.ROLES / "grafana/files/dashboards/groundwork-overview.yml").read_text()
    mine = description.replace("uid: groundwork-overview", "uid: mine", 1)
    own = write(tmp_path, {"Own/mine.yml": mine, "Platform/a.json": board("a", "A")})
    found = content.read_dashboards(own, values=values, shipped=shipped)
    assert [folder["title"] for folder in found["folders"]] == ["Platform", "Own"]
    uids = {entry["dashboard"]["uid"] for entry in found["dashboards"]}
    assert {"folder_uid": "platform", "dashboard": board("a", "A")} in found["dashboards"]
    assert {"mine", "groundwork-overview", "groundwork-host"} <= uids and len(uids) > 10
    text = json.dumps(found)
    assert "telemetry.otel_metrics_gauge" in text and "{database}" not in text


def test_a_broken_description_is_refused(tmp_path: Path) -> None:
    for text, said in (("uid: [", "F/a.yml is not YAML"), ("uid: a\ntitle: A\n", "F/a.yml: dashboard a")):
        with pytest.raises(ContentError, match=said):
            content.read_dashboards(write(tmp_path, {"F/a.yml": text}))


def test_a_description_that_asks_a_data_source_that_is_not_declared_is_refused(tmp_path: Path) -> None:
    """The README's data source is the one that the example asks."""
    live = (EXAMPLES / "orders_live.yml").read_text()
    own = write(tmp_path, {"Shop/live.yml": live})
    readme = (_components.ROLES / "grafana/README.md").read_text().split("## Live product data")[1]
    (source,) = yaml.safe_load(readme.split("```yaml\n")[1].split("```")[0])["grafana_datasources"]
    assert datasource_problem(source) == ""
    for there in (None, [source], [{**source, "type": "postgres"}]):
        assert len(content.read_dashboards(own, datasources=there)["dashboards"]) == 1
    for there in ([], [{**source, "uid": "shop2"}], [{**source, "type": "mysql"}], [{"name": "Shop", "type": source["type"]}]):
        with pytest.raises(ContentError, match=r"live.yml: asks data source shop of type grafana-postgresql-datasource, which grafana_dat"):
            content.read_dashboards(own, datasources=there)


def test_files_for_a_server(tmp_path: Path) -> None:
    made = content.provisioning_files(content.read_dashboards(write(tmp_path, {"$HOME é/a.json": board("a", "é")})), "/srv/dashboards")
    (file,), (providers,) = made["dashboards"], made["providers"]
    assert (file["path"], json.loads(file["content"])) == ("home/a.json", board("a", "é"))
    (provider,) = json.loads(providers["content"])["providers"]
    assert provider["options"] == {"path": "/srv/dashboards/home"}
    assert (provider["folder"], provider["folderUid"]) == ("$$HOME é", "home")
    assert "disableDeletion" not in provider and "allowUiUpdates" not in provider


def test_data_sources_as_options() -> None:
    source = {"name": "P", "uid": "p", "type": "prometheus", "editable": False, "orgId": 1, "jsonData": {"a": 1}}
    assert content.datasource_options([source]) == [{"name": "P", "uid": "p", "type": "prometheus", "jsonData": {"a": 1}}]
    with pytest.raises(ContentError, match="data source P: uid is missing"):
        content.datasource_options([{"name": "P"}])
