# GNU General Public License v3.0+ (see LICENSE)
"""A day of telemetry of a shop and its hosts, made by the engine itself from numbers: the same rows for whatever table they go to.

20 services log and make spans on 40 hosts. Services differ in size. A trace has five spans; six of ten log records belong to a trace.
Each host is measured every 30 seconds: 18 series of gauges and 18 of sums. Attributes are sorted by name, as the exporter sorts them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
DAY, INTERVAL, SERIES = 86400, 30, 18
# Rows of one INSERT.
BATCH = 250_000

SERVICES = [
    *("frontend", "cart", "catalog", "checkout", "payment", "shipping", "email", "currency", "ads", "search", "recommendation"),
    *("inventory", "pricing", "users", "sessions", "orders", "invoices", "returns", "reports", "fraud"),
]
START = int(BEGIN.timestamp())


def _texts(values: list[str]) -> str:
    return "[" + ", ".join(f"'{value}'" for value in values) + "]"


# n: the row's number; h: 64 random bits; u: a user; s: the service's number. Larger services have smaller numbers.
_COMMON = f"""
  number AS n, sipHash64({{salt}}, number) AS h, toString(sipHash64('user', h) % 20000) AS u,
  toUInt8(20 * pow((h % 10000) / 10000, 2)) AS s, {_texts(SERVICES)}[s + 1] AS service,
  (s * 3 + bitShiftRight(h, 20) % 6) % 40 AS host,
  fromUnixTimestamp64Nano({START * 10**9} + toInt64(n * {{step}}) + toInt64(bitShiftRight(h, 30) % {{step}})) AS time,
  ['GET', 'GET', 'GET', 'POST', 'PUT'][bitShiftRight(h, 8) % 5 + 1] AS method,
  concat('/api/v1/', service, '/', ['list', 'detail', 'search', 'update', 'export', 'health'][bitShiftRight(h, 12) % 6 + 1]) AS route,
  if(h % 1000 < 8, '500', if(h % 1000 < 40, '404', '200')) AS status,
  lower(hex(sipHash128('trace', intDiv(n, 5)))) AS trace,
  map('deployment.environment.name', 'production', 'host.arch', 'amd64', 'host.name', concat('host-', toString(host)),
    'os.type', 'linux', 'process.pid', toString(1000 + sipHash64(s, host) % 30000),
    'service.instance.id', lower(hex(sipHash128(s, host))), 'service.name', service, 'service.namespace', 'shop',
    'service.version', concat('1.', toString(s), '.3'), 'telemetry.sdk.language', ['java', 'go', 'python'][s % 3 + 1],
    'telemetry.sdk.name', 'opentelemetry', 'telemetry.sdk.version', '1.38.0') AS resource
"""
_LOG_TEXTS = """[
    concat(method, ' ', route, '/', toString(h % 90000), ' ', status, ' in ', toString(bitShiftRight(h, 16) % 900), ' ms'),
    concat('user ', u, ' put item ', toString(h % 9000), ' into the cart'),
    concat('cache miss for key item:', toString(h % 9000), ', asked the database'),
    concat('order ', toString(1000000 + intDiv(n, 40)), ' of user ', u, ' is confirmed, total ', toString(h % 50000 / 100)),
    concat('connection to db-', toString(h % 4), ':5432 took ', toString(bitShiftRight(h, 16) % 9000 / 10), ' ms'),
    concat('published message ', lower(hex(h)), ' to topic orders, partition ', toString(h % 12)),
    concat('retry ', toString(h % 3 + 1), ' of 3 for request ', lower(hex(sipHash64('request', n))), ': upstream ', service, ' timed out'),
    concat('session ', lower(hex(sipHash64('session', u))), ' of user ', u, ' is renewed until ', toString(time))
  ]"""


def _rows(salt: str, count: int) -> str:
    return _COMMON.format(salt=f"'{salt}'", step=DAY * 10**9 // count)


def _logs(count: int) -> tuple[str, dict[str, str]]:
    columns = {
        "Timestamp": "time",
        "TraceId": "if(h % 10 < 6, trace, '')",
        "SpanId": "if(h % 10 < 6, lower(hex(sipHash64('span', n))), '')",
        "TraceFlags": "toUInt8(h % 10 < 6)",
        "SeverityText": "multiIf(h % 1000 < 8, 'ERROR', h % 1000 < 40, 'WARN', h % 1000 < 850, 'INFO', 'DEBUG')",
        "SeverityNumber": "multiIf(h % 1000 < 8, 17, h % 1000 < 40, 13, h % 1000 < 850, 9, 5)",
        "ServiceName": "service",
        "Body": f"{_LOG_TEXTS}[bitShiftRight(h, 40) % 8 + 1]",
        "ResourceSchemaUrl": "'https://opentelemetry.io/schemas/1.37.0'",
        "ResourceAttributes": "resource",
        "ScopeName": "concat('shop.', service, '.', ['api', 'store', 'queue'][bitShiftRight(h, 50) % 3 + 1])",
        "LogAttributes": """map(
          'code.function.name', concat(service, '.', ['handle', 'load', 'save', 'send'][bitShiftRight(h, 44) % 4 + 1]),
          'http.request.method', method, 'http.response.status_code', status, 'http.route', route,
          'thread.name', concat('worker-', toString(bitShiftRight(h, 24) % 32)), 'user.id', u)""",
    }
    return _rows("log", count), columns


def _spans(count: int) -> tuple[str, dict[str, str]]:
    columns = {
        "Timestamp": "time",
        "TraceId": "trace",
        "SpanId": "lower(hex(sipHash64('span', n)))",
        "ParentSpanId": "if(n % 5 = 0, '', lower(hex(sipHash64('span', n - n % 5 + bitShiftRight(h, 9) % (n % 5)))))",
        "SpanName": "if(n % 5 = 4, concat('SELECT ', service), concat(method, ' ', route))",
        "SpanKind": "['Server', 'Server', 'Internal', 'Consumer', 'Client'][n % 5 + 1]",
        "ServiceName": "service",
        "ResourceAttributes": "resource",
        "ScopeName": "concat('io.opentelemetry.', ['http', 'grpc', 'internal', 'messaging', 'jdbc'][n % 5 + 1])",
        "ScopeVersion": "'2.20.1'",
        "SpanAttributes": """map('client.address', concat('10.', toString(h % 16), '.', toString(bitShiftRight(h, 4) % 256), '.7'),
          'http.request.method', method, 'http.response.status_code', status, 'http.route', route,
          'network.peer.port', toString(32768 + bitShiftRight(h, 17) % 28000), 'server.address', concat(service, '.shop.svc'),
          'url.path', concat(route, '/', toString(h % 90000)), 'user.id', u,
          'user_agent.original',
          ['Mozilla/5.0 (X11; Linux x86_64)', 'okhttp/4.12.0', 'python-requests/2.32.3'][bitShiftRight(h, 33) % 3 + 1])""",
        "Duration": "toUInt64(200000 * exp(7 * pow(bitShiftRight(h, 13) % 100000 / 100000, 2) + (s % 4)))",
        "StatusCode": "if(status = '500', 'Error', 'Unset')",
        "StatusMessage": "if(status = '500', 'internal error', '')",
        "Events.Timestamp": "if(status = '500', [time], [])",
        "Events.Name": "if(status = '500', ['exception'], [])",
        "Events.Attributes": "if(status = '500', [map('exception.message', concat('user ', u), 'exception.type', 'TimeoutError')], [])",
    }
    return _rows("span", count), columns


# Name, unit and attributes of the 18 series that each host has of gauges and of sums.
_CPU = [f"'cpu', 'cpu{cpu}', 'state', '{state}'" for cpu in range(2) for state in ("idle", "system", "user", "wait")]
_GAUGES = [
    *(("system.cpu.utilization", "1", labels) for labels in _CPU),
    *(("system.memory.utilization", "1", f"'state', '{state}'") for state in ("buffered", "cached", "free", "used")),
    *(
        ("system.filesystem.utilization", "1", f"'device', '/dev/vd{disk}', 'mode', 'rw', 'mountpoint', '{mount}', 'type', 'ext4'")
        for disk, mount in (("a", "/"), ("b", "/var/lib/clickhouse"), ("c", "/var/log"))
    ),
    *((f"system.cpu.load_average.{minutes}m", "{thread}", "") for minutes in (1, 5, 15)),
]
_SUMS = [
    *(("system.cpu.time", "s", labels) for labels in _CPU),
    *(
        (f"system.{what}.io", "By", f"'device', '{device}', 'direction', '{direction}'")
        for what, devices, directions in (
            ("network", ("eth0", "eth1"), ("receive", "transmit")),
            ("disk", ("vda", "vdb"), ("read", "write")),
        )
        for device in devices
        for direction in directions
    ),
    *(("system.disk.io_time", "s", f"'device', '{device}'") for device in ("vda", "vdb")),
]


def _points(series: list[tuple[str, str, str]], hosts: int, more: dict[str, str]) -> tuple[str, dict[str, str]]:
    names, units = (_texts([entry[place] for entry in series]) for place in (0, 1))
    maps = ", ".join(f"CAST(map({labels}), 'Map(LowCardinality(String), String)')" for _, _, labels in series)
    common = f"""
      number AS n, sipHash64('point', number) AS h, n % {SERIES} AS kind, intDiv(n, {SERIES}) % {hosts} AS host,
      intDiv(n, {SERIES * hosts}) AS turn, sipHash64(kind, host) % 2000 AS level, {names}[kind + 1] AS metric
    """
    columns = {
        "ResourceAttributes": """map('deployment.environment.name', 'production', 'host.arch', 'amd64',
          'host.id', lower(hex(sipHash128('host', host))), 'host.name', concat('host-', toString(host)), 'os.type', 'linux')""",
        "ScopeName": "'github.com/open-telemetry/opentelemetry-collector-contrib/receiver/hostmetricsreceiver'",
        "ScopeVersion": "'0.149.0'",
        "ServiceName": "''",
        "MetricName": "metric",
        "MetricDescription": "concat('What the host has of ', metric, ', as the operating system counts it.')",
        "MetricUnit": f"{units}[kind + 1]",
        "Attributes": f"[{maps}][kind + 1]",
        "StartTimeUnix": f"toDateTime({START - 864000} + host * 17)",
        "TimeUnix": f"toDateTime({START} + turn * {INTERVAL})",
        **more,
    }
    return common, columns


def hosts_for(points: int) -> int:
    """Hosts whose day has about so many points."""
    return max(1, round(points / (2 * SERIES * DAY / INTERVAL)))


def tables(records: int) -> dict[str, tuple[int, str, dict[str, str]]]:
    """Table -> rows, and SQL of the common expressions and of each column.

    C(records) logs, as many spans, and about twice as many points.
    """
    hosts = hosts_for(2 * records)
    points = SERIES * hosts * DAY // INTERVAL
    gauge = {"Value": "(level + h % 200) / (2990 + bitShiftRight(h, 20) % 20)"}
    total = {"Value": "toFloat64(turn * (level + 1) * 131 + h % 131)", "AggregationTemporality": "2", "IsMonotonic": "true"}
    return {
        "otel_logs": (records, *_logs(records)),
        "otel_traces": (records, *_spans(records)),
        "otel_metrics_gauge": (points, *_points(_GAUGES, hosts, gauge)),
        "otel_metrics_sum": (points, *_points(_SUMS, hosts, total)),
    }


def inserts(database: str, suffix: str, records: int) -> Iterator[str]:
    """INSERT statements for all tables of a database, whose names have a suffix, in the order of time."""
    for table, (rows, common, columns) in tables(records).items():
        names, values = ", ".join(f"`{name}`" for name in columns), ",\n  ".join(columns.values())
        for begin in range(0, rows, BATCH):
            numbers = f"numbers({begin}, {min(BATCH, rows - begin)})"
            yield f"INSERT INTO {database}.{table}{suffix} ({names})\nWITH {common}\nSELECT {values}\nFROM {numbers}"
