# GNU General Public License v3.0+ (see LICENSE)
"""What the Grafana stand-in does besides answering the recorded contract: configuration, TLS, ClickHouse, pages."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer, ThreadingTCPServer
from typing import Any

import pytest

from tests.support.grafana import durations
from tests.support.grafana.config import Config, ConfigError
from tests.support.grafana_server import PROGRAM, ROOT, SOURCE, GrafanaServer, grafana_server

CLICKHOUSE = "grafana-clickhouse-datasource"
PLUGINS = {CLICKHOUSE: "4.20.0"}


def read(tmp_path: Path, ini: str, overrides: dict[str, str] | None = None) -> Config:
    """A Config from this text over the real defaults."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "defaults.ini").write_text((SOURCE / "defaults.ini").read_text())
    (tmp_path / "grafana.ini").write_text(ini)
    return Config(tmp_path, [tmp_path / "grafana.ini"], overrides)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("plain", "plain"),
        ("cut # comment", "cut"),
        ("cut;comment", "cut"),
        ('"""a#b;c"""', "a#b;c"),
        ("`a#b`", "a#b"),
        ("a = b", "a = b"),
        ("$__env{STANDIN_TEST}", "from env"),
        ("${STANDIN_TEST}", "from env"),
        ("%(admin_user)s!", "admin!"),
        ("", ""),
    ],
)
def test_ini_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, value: str) -> None:
    """Grafana's quoting, comments and expansion."""
    monkeypatch.setenv("STANDIN_TEST", "from env")
    assert read(tmp_path, f"[security]\nadmin_password = {written}\n").text("security", "admin_password") == value


def test_ini_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """defaults.ini, cfg:default., grafana.ini, environment, cfg: the later wins."""
    (tmp_path / "secret").write_text("from file\n")
    monkeypatch.setenv("GF_AUTH_ANONYMOUS_ENABLED", "true")
    overrides = {"default.server.domain": "weak", "default.server.http_port": "1", "server.http_addr": "strong"}
    ini = f"[server]\nhttp_port = 2\nhttp_addr = x\n[security]\nadmin_password = $__file{{{tmp_path}/secret}}\n"
    config = read(tmp_path, ini, overrides)
    server = [config.text("server", key) for key in ("domain", "http_port", "http_addr", "root_url")]
    assert server == ["weak", "2", "strong", "http://weak:2/"]
    assert config.text("security", "admin_password") == "from file"
    assert config.flag("auth.anonymous", "enabled")


def test_ini_missing_secret_file(tmp_path: Path) -> None:
    """The error names the file."""
    config = read(tmp_path, "[security]\nadmin_password = $__file{/no/such}\n")
    with pytest.raises(ConfigError, match="/no/such"):
        config.text("security", "admin_password")


def cli(server: GrafanaServer, *words: str, stdin: str = "") -> str:
    """Run `grafana cli` on a server's files."""
    command = [sys.executable, "-c", PROGRAM, str(server.folder), "cli", "--config", str(server.folder / "grafana.ini")]
    return subprocess.run([*command, *words], cwd=ROOT, input=stdin, capture_output=True, text=True, check=True).stdout


def test_administrator_password() -> None:
    """Of the ini at the first start only; the command changes it on the running server; failures lock the login."""
    with grafana_server('[security]\nadmin_user = boss\nadmin_password = """a;b#c"""\n', plugins=PLUGINS) as server:
        assert server.send("GET", "/api/org", auth=("boss", "a;b#c"))[0] == 200
        assert server.send("GET", "/api/org", auth=("boss", "a"))[0] == 401
        assert "changed" in cli(server, "admin", "reset-admin-password", "--password-from-stdin", stdin="second\n")
        assert server.send("GET", "/api/org", auth=("boss", "a;b#c"))[0] == 401
        assert server.send("GET", "/api/org", auth=("boss", "second"))[0] == 200
        assert f"{CLICKHOUSE} @ 4.20.0" in cli(server, "plugins", "ls")
        state = server.folder / "data" / "grafana-standin.json"
        assert state.stat().st_mode & 0o777 == 0o600
        assert "second" not in state.read_text()
        for _attempt in range(5):
            assert server.send("GET", "/api/org", auth=("boss", "wrong"))[0] == 401
        assert server.send("GET", "/api/org", auth=("boss", "second"))[0] == 401


def test_stops_at_once_and_keeps_its_state(tmp_path: Path) -> None:
    """SIGTERM ends it with 0; the next start knows what the first one was told."""
    with grafana_server() as server:
        server.send("POST", "/api/folders", {"uid": "kept", "title": "Kept"})
        began = time.monotonic()
        server.process.terminate()
        assert server.process.wait(timeout=5) == 0
        assert time.monotonic() - began < 2
        state = json.loads((server.folder / "data" / "grafana-standin.json").read_text())
    assert [folder["uid"] for folder in state["tables"]["folders"]] == ["kept"]


def test_pages_and_login() -> None:
    """A person can log in, and every page says what it is not."""
    notice = "it is not Grafana"
    file = "datasources: [{name: From file, uid: f, type: postgres, access: proxy}]"
    with grafana_server(files={"datasources/f.yaml": file}) as server:
        assert notice in server.send("GET", "/login", auth=None)[1]
        assert server.send("GET", "/", auth=None)[0] == 302
        assert server.send("POST", "/login", {"user": "admin", "password": "no"}, auth=None)[0] == 401
        request = urllib.request.Request(
            f"{server.url}/login", b'{"user": "admin", "password": "admin"}', {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as response:
            cookie = response.headers["Set-Cookie"].partition(";")[0]
        status, page = server.send("GET", "/", auth=None, headers={"Cookie": cookie})
        assert status == 200 and notice in page and "From file" in page
        server.send("GET", "/logout", auth=None, headers={"Cookie": cookie})
        assert server.send("GET", "/api/user", auth=None, headers={"Cookie": cookie})[0] == 401


def test_metrics_with_their_own_password() -> None:
    """Prometheus' format, behind the configured user."""
    with grafana_server("[metrics]\nbasic_auth_username = prom\nbasic_auth_password = pw\n") as server:
        assert server.send("GET", "/metrics", auth=None)[0] == 401
        status, text = server.send("GET", "/metrics", auth=("prom", "pw"))
    assert status == 200
    assert 'grafana_build_info{branch="standin",edition="standin"' in text
    assert 'grafana_http_request_duration_seconds_count{handler="/metrics",method="GET",status_code="401"} 1' in text


def test_anonymous_viewer() -> None:
    """May read, may not write."""
    with grafana_server("[auth.anonymous]\nenabled = true\n") as server:
        assert server.send("GET", "/api/folders", auth=None) == (200, [])
        assert server.send("POST", "/api/folders", {"title": "No"}, auth=None)[0] == 403


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cert.pem and key.pem for localhost."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command.split(), *names], cwd=folder, check=True, capture_output=True)
    return folder


def test_https(certificate: Path) -> None:
    """With the configured certificate and lowest version; a client without TLS does no harm."""
    ini = f"cert_file = {certificate}/cert.pem\ncert_key = {certificate}/key.pem\nmin_tls_version = TLS1.3\n"
    with grafana_server(f"[server]\nprotocol = https\n{ini}", wait=False) as server:
        url = server.url.replace("http:", "https:") + "/api/health"
        context = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
        for _attempt in range(100):
            try:
                with urllib.request.urlopen(url, context=context) as response:
                    assert json.load(response)["database"] == "ok"
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        else:
            pytest.fail("no answer over https")
        with pytest.raises(OSError):
            server.send("GET", "/api/health", auth=None)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(url, context=context)


class FakeHttp(BaseHTTPRequestHandler):
    """ClickHouse's HTTP interface: one answer, one user."""

    def do_POST(self) -> None:
        """Answer a query."""
        self.rfile.read(int(self.headers["Content-Length"]))
        right = (self.headers["X-ClickHouse-User"], self.headers["X-ClickHouse-Key"]) == ("grafana", "secret")
        meta = [
            ("t", "DateTime64(9)"),
            ("n", "UInt64"),
            ("s", "LowCardinality(Nullable(String))"),
            ("m", "Map(String, UInt8)"),
        ]
        data = [["2026-01-02 03:04:05.123456789", "7", "x", {"a": 1}], ["2026-01-02 03:04:06.000000000", 8, None, {}]]
        table = {"meta": [{"name": name, "type": kind} for name, kind in meta], "data": data}
        body = json.dumps(table).encode() if right else b"Code: 516. DB::Exception: grafana: Authentication failed"
        self.send_response(200 if right else 403)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-ClickHouse-Timezone", "Europe/Paris")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


class FakeNative(BaseRequestHandler):
    """ClickHouse's native interface, as far as Hello."""

    def handle(self) -> None:
        """Answer Hello, or the exception for a wrong password."""

        def text(value: str) -> bytes:
            return bytes([len(value)]) + value.encode()

        hello = self.request.recv(4096)
        if text("grafana") + text("secret") in hello:
            self.request.sendall(b"\0" + text("ClickHouse") + b"\x1a\x07\x90\xa6\x03")
        else:
            failure = text("DB::Exception") + text("grafana: Authentication failed") + text("") + b"\0"
            self.request.sendall(b"\2" + (516).to_bytes(4, "little") + failure)


@contextmanager
def serving(server: TCPServer, certificate: Path | None = None) -> Iterator[int]:
    """Serve in a thread; the port."""
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def health(server: GrafanaServer, settings: dict[str, Any], secrets: dict[str, str]) -> tuple[int, Any]:
    """Create a data source with these settings, ask for its health, delete it."""
    body = {
        "name": "ch",
        "uid": "ch",
        "type": CLICKHOUSE,
        "access": "proxy",
        "jsonData": settings,
        "secureJsonData": secrets,
    }
    assert server.send("POST", "/api/datasources", body)[0] == 200
    answer = server.send("GET", "/api/datasources/uid/ch/health")
    server.send("DELETE", "/api/datasources/uid/ch")
    return answer


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("protocol", ["http", "native"])
def test_clickhouse_health(certificate: Path, protocol: str, secure: bool) -> None:
    """It connects, with TLS checks the certificate, and says what the server says."""
    kind, handler = (ThreadingHTTPServer, FakeHttp) if protocol == "http" else (ThreadingTCPServer, FakeNative)
    with (
        serving(kind(("127.0.0.1", 0), handler), certificate if secure else None) as port,
        grafana_server(plugins=PLUGINS) as server,
    ):
        settings = {"host": "localhost", "port": port, "protocol": protocol, "username": "grafana", "secure": secure}
        secrets = {"password": "secret", "tlsCACert": (certificate / "cert.pem").read_text()}
        trusting = {**settings, "tlsAuthWithCACert": secure}
        assert health(server, trusting, secrets) == (200, {"message": "Data source is working", "status": "OK"})
        status, body = health(server, trusting, {**secrets, "password": "not-this"})
        assert (status, body["status"]) == (400, "ERROR")
        assert "516" in body["message"] and "not-this" not in body["message"]
        if secure:
            assert "CERTIFICATE_VERIFY_FAILED" in health(server, settings, secrets)[1]["message"]
            assert health(server, {**settings, "tlsSkipVerify": True}, secrets)[0] == 200
    with grafana_server(plugins=PLUGINS) as server:
        assert health(server, settings, secrets)[0] == 400
        assert "host" in health(server, {"protocol": protocol}, secrets)[1]["message"]


def test_clickhouse_query() -> None:
    """Rows become columns of a data frame; times are milliseconds in the server's zone."""
    with (
        serving(ThreadingHTTPServer(("127.0.0.1", 0), FakeHttp)) as port,
        grafana_server(plugins=PLUGINS) as server,
    ):
        settings = {"host": "127.0.0.1", "port": port, "username": "grafana"}
        for protocol in ("http", "native"):
            body: dict[str, Any] = {"name": protocol, "uid": protocol, "type": CLICKHOUSE, "access": "proxy"}
            body |= {"jsonData": {**settings, "protocol": protocol}, "secureJsonData": {"password": "secret"}}
            server.send("POST", "/api/datasources", body)

        def query(uid: str, sql: str) -> tuple[int, Any]:
            asked = {"queries": [{"refId": "A", "datasource": {"uid": uid}, "rawSql": sql, "format": 1}]}
            status, answer = server.send("POST", "/api/ds/query", asked)
            return status, answer["results"]["A"]

        status, result = query("http", "SELECT 1")
        assert (status, result["status"]) == (200, 200)
        frame = result["frames"][0]
        assert [field["type"] for field in frame["schema"]["fields"]] == ["time", "number", "string", "string"]
        times = [1767319445123, 1767319446000]
        assert frame["data"]["values"] == [times, [7, 8], ["x", None], ['{"a": 1}', "{}"]]
        assert query("native", "SELECT 1")[0] == 400
        assert "macros" in query("http", "SELECT $__timeFilter(t)")[1]["error"]


def test_dashboard_files_are_polled() -> None:
    """As in Grafana a changed file appears without a reload."""
    provider = (
        "apiVersion: 1\nproviders:\n  - name: p\n    updateIntervalSeconds: 1\n    folder: Files\n"
        "    options: {path: <<provisioning>>/boards, foldersFromFilesStructure: true}\n"
    )
    files = {"dashboards/p.yaml": provider, "boards/Team/one.json": '{"uid": "one", "title": "One"}'}
    with grafana_server(files=files) as server:
        assert server.send("GET", "/api/dashboards/uid/one")[1]["meta"]["folderTitle"] == "Team"
        (server.provisioning / "boards" / "two.json").write_text('{"uid": "two", "title": "Two"}')
        end = time.monotonic() + 10
        while server.send("GET", "/api/dashboards/uid/two")[0] == 404:
            assert time.monotonic() < end
            time.sleep(0.2)


def test_provisioned_values_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """`$$` is a dollar sign; a uid left out is made from the name, as Grafana makes it."""
    monkeypatch.setenv("STANDIN_HOST", "db.example.test")
    file = "datasources:\n  - {name: Made, type: x, url: 'http://$STANDIN_HOST', database: a$$b, user: '${STANDIN_HOST}'}\n"
    with grafana_server(files={"datasources/x.yaml": file}) as server:
        row = server.send("GET", "/api/datasources/name/Made")[1]
    assert (row["url"], row["database"], row["user"]) == ("http://db.example.test", "a$b", "db.example.test")
    assert row["uid"].startswith("P") and len(row["uid"]) == 17


def test_uncovered_requests_are_refused() -> None:
    """501 for a path, a value or a way to sign in that is not covered; 401 comes first."""
    with grafana_server() as server:
        assert server.send("GET", "/api/reports", auth=None)[0] == 401
        key = server.send("POST", "/api/auth/keys", {"name": "k", "role": "Viewer"})[1]["key"]
        server.send("POST", "/api/folders", {"uid": "f", "title": "F"})
        server.send("POST", "/api/v1/provisioning/alert-rules", rule("r", "R"))
        item = {"role": "Chief", "permission": 1}
        refused = [
            server.send("GET", "/api/reports"),
            server.send("POST", "/api/folders/f/permissions", {"items": [item]}),
            server.send("PUT", "/api/folders/f", {"uid": "g", "overwrite": True}),
            server.send("POST", "/api/annotations", {"text": "x", "dashboardUID": "d"}),
            server.send("GET", "/api/org", auth=key),
        ]
    assert [status for status, _body in refused] == [501] * 5
    assert "GET /api/reports" in refused[0][1]["message"]


def test_permissions_of_the_folders_above_are_inherited() -> None:
    """A dashboard in a nested folder has the permissions of both folders, and its creator's own."""
    with grafana_server() as server:
        server.send("POST", "/api/folders", {"uid": "top", "title": "Top"})
        server.send("POST", "/api/folders", {"uid": "low", "title": "Low", "parentUid": "top"})
        server.send("POST", "/api/dashboards/db", {"dashboard": {"uid": "d", "title": "D"}, "folderUid": "low"})
        server.send("POST", "/api/folders/low/permissions", {"items": [{"role": "Viewer", "permission": 4}]})
        found = server.send("GET", "/api/dashboards/uid/d/permissions")[1]
    shown = [(item.get("role", item["userLogin"]), item["permissionName"], item["inherited"]) for item in found]
    own, low = ("admin", "Admin", False), ("Viewer", "Admin", True)
    top = [("admin", "Admin", True), ("Viewer", "View", True), ("Editor", "Edit", True)]
    assert shown == [own, low, *top]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("24h", "1d"),
        ("90m", "1h30m"),
        ("7d", "1w"),
        ("8d", "8d"),
        ("365d", "1y"),
        ("400d", "400d"),
        ("250ms", "250ms"),
        ("0", "0s"),
    ],
)
def test_durations_are_rewritten(sent: str, kept: str) -> None:
    """As Prometheus writes them: weeks and years only where nothing is left over."""
    milliseconds = durations.parse(sent)
    assert milliseconds is not None and durations.write(milliseconds) == kept


@pytest.mark.parametrize("text", ["", "5", "1.5h", "5 m", "m5", "5m1h", None, 300])
def test_invalid_durations(text: Any) -> None:
    """Nothing is guessed."""
    assert durations.parse(text) is None


def rule(uid: str, title: str) -> dict[str, Any]:
    """A rule of the group g in the folder f."""
    data = [{"refId": "A", "datasourceUid": "__expr__", "model": {"type": "math", "expression": "0 > 1"}}]
    states = {"for": "5m", "condition": "A", "noDataState": "NoData", "execErrState": "Error"}
    return {"uid": uid, "title": title, "folderUID": "f", "ruleGroup": "g", "data": data, **states}


def test_refused_rule_group_stays_as_it_was() -> None:
    """A group is checked as a whole before it is written; two rules may swap their titles."""
    path = "/api/v1/provisioning/folder/f/rule-groups/g"

    def titles() -> list[str]:
        return [item["title"] for item in server.send("GET", path)[1]["rules"]]

    with grafana_server() as server:
        server.send("POST", "/api/folders", {"uid": "f", "title": "F"})
        first = {"interval": 60, "rules": [rule("a", "A"), rule("b", "B")]}
        assert server.send("PUT", path, first)[0] == 200
        broken = {"interval": 60, "rules": [rule("c", "C"), {**rule("d", "D"), "data": []}]}
        assert server.send("PUT", path, broken)[0] == 400
        assert titles() == ["A", "B"]
        assert server.send("PUT", path, {"interval": 60, "rules": [rule("a", "B"), rule("b", "A")]})[0] == 200
        assert titles() == ["B", "A"]
        assert server.send("DELETE", path)[0] == 204
        assert server.send("DELETE", path)[0] == 404


def test_secrets_of_contact_points_stay_hidden() -> None:
    """Sent back hidden they stay, left out they go, and no answer shows them."""
    path = "/api/v1/provisioning/contact-points"
    point = {"uid": "p", "name": "P", "type": "pagerduty", "settings": {"integrationKey": "not-shown"}}
    with grafana_server() as server:
        assert "not-shown" not in str(server.send("POST", path, point))
        hidden = server.send("GET", f"{path}?name=P")[1][0]
        assert hidden["settings"] == {"integrationKey": "[REDACTED]"}
        assert server.send("PUT", f"{path}/p", {**hidden, "name": "Q"})[0] == 202
        state = json.loads((server.folder / "data" / "grafana-standin.json").read_text())
        assert state["tables"]["contact_points"][0]["settings"] == {"integrationKey": "not-shown"}
        assert server.send("POST", path, {**point, "uid": "q", "type": "jira"})[0] == 501
