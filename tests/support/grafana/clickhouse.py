# GNU General Public License v3.0+ (see LICENSE)
"""What the ClickHouse data source plugin's backend does: check a connection, run a query."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .store import Row

TIMEOUT = 10
# Before revision 54058 a server's Hello ends after its own revision: the shortest conversation there is.
REVISION = 54032
HELLO, EXCEPTION = 0, 2
NUMBER = re.compile(r"(?:U?Int\d+|Float\d+|Decimal.*|BFloat16)$")
WRAPPER = re.compile(r"(?:Nullable|LowCardinality)\((.*)\)$")
TIME = re.compile(r"(?:Date|Date32|DateTime(?:64)?)(?:\((?:\d+(?:, )?)?(?:'([^']+)')?\))?$")


class ClickHouseError(Exception):
    """The server cannot be reached or refuses; the message is for the user and holds no password."""


def check(settings: Row, secrets: Row) -> None:
    """Connect and authenticate over the protocol that the data source names."""
    if settings.get("protocol") == "http":
        query(settings, secrets, "SELECT 1")
    else:
        _hello(settings, secrets)


def query(settings: Row, secrets: Row, sql: str) -> Row:
    """Run SQL over HTTP(S); JSONCompact's answer."""
    host, port = _endpoint(settings)
    if settings.get("secure"):
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=TIMEOUT, context=_tls(settings, secrets)
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    options = {"default_format": "JSONCompact"}
    if settings.get("defaultDatabase"):
        options["database"] = settings["defaultDatabase"]
    path = "/" + str(settings.get("path") or "").strip("/")
    headers = {
        "X-ClickHouse-User": settings.get("username") or "default",
        "X-ClickHouse-Key": secrets.get("password", ""),
    }
    try:
        with closing(connection):
            connection.request("POST", f"{path}?{urlencode(options)}", sql.encode(), headers)
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise ClickHouseError(f"{host}:{port}: {error or type(error).__name__}") from error
    if response.status != 200:
        raise ClickHouseError(text.strip()[:500] or f"{host}:{port}: HTTP status {response.status}")
    if not text.strip():
        return {"meta": [], "data": []}
    try:
        answer = json.loads(text)
        return {**answer, "timezone": response.headers.get("X-ClickHouse-Timezone", "UTC")}
    except ValueError as error:
        raise ClickHouseError(f"{host}:{port} does not answer like ClickHouse's HTTP interface") from error


def frame(ref_id: str, sql: str, answer: Row) -> Row:
    """A query's answer as Grafana's data frame: one list of values a column."""
    fields, columns = [], []
    for position, column in enumerate(answer["meta"]):
        kind, convert = _converter(column["type"], answer["timezone"])
        type_info = {"frame": {"number": "float64", "time": "time.Time"}.get(kind, kind), "nullable": True}
        fields.append({"name": column["name"], "type": kind, "typeInfo": type_info})
        values = [row[position] for row in answer["data"]]
        columns.append([value if value is None else convert(value) for value in values])
    meta = {"typeVersion": [0, 0], "executedQueryString": sql}
    return {"schema": {"refId": ref_id, "meta": meta, "fields": fields}, "data": {"values": columns}}


def _converter(name: str, zone: str) -> tuple[str, Any]:
    while wrapped := WRAPPER.match(name):
        name = wrapped[1]
    if NUMBER.match(name):
        return "number", lambda value: value if isinstance(value, (int, float)) else json.loads(value)
    if name == "Bool":
        return "boolean", bool
    if is_time := TIME.match(name):
        # A date has no zone; Grafana shows it as midnight UTC.
        zone = (is_time[1] or zone) if name.startswith("DateTime") else "UTC"
        return "time", lambda value: _milliseconds(value, zone)
    return "string", lambda value: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _milliseconds(text: str, zone: str) -> int:
    # Python's parser takes at most microseconds, DateTime64 goes to nanoseconds.
    when = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    try:
        return int(when.replace(tzinfo=UTC if zone == "UTC" else ZoneInfo(zone)).timestamp() * 1000)
    except ZoneInfoNotFoundError as error:
        raise ClickHouseError(f"the time zone {zone} is not known on Grafana's host: install tzdata") from error


def _endpoint(settings: Row) -> tuple[str, int]:
    host = str(settings.get("host") or settings.get("server") or "")
    if not host:
        raise ClickHouseError("invalid server host. Either empty or not set")
    if not str(settings.get("port")).isdecimal():
        raise ClickHouseError("invalid port")
    return host, int(settings["port"])


def _tls(settings: Row, secrets: Row) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(
            cadata=secrets.get("tlsCACert") if settings.get("tlsAuthWithCACert") else None
        )
        if settings.get("tlsSkipVerify"):
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if settings.get("tlsAuth"):
            # The ssl module takes a client's certificate only from a file.
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
                file.write(f"{secrets.get('tlsClientCert', '')}\n{secrets.get('tlsClientKey', '')}\n")
                file.flush()
                context.load_cert_chain(file.name)
        return context
    except (ssl.SSLError, ValueError) as error:
        raise ClickHouseError(f"the data source's certificates cannot be used: {type(error).__name__}") from error


def _hello(settings: Row, secrets: Row) -> None:
    """The native protocol's first exchange, which authenticates."""
    host, port = _endpoint(settings)
    try:
        connection = socket.create_connection((host, port), TIMEOUT)
        with closing(connection):
            if settings.get("secure"):
                connection = _tls(settings, secrets).wrap_socket(connection, server_hostname=host)
            with closing(connection):
                texts = (
                    settings.get("defaultDatabase") or "",
                    settings.get("username") or "default",
                    secrets.get("password", ""),
                )
                connection.sendall(
                    _varint(HELLO)
                    + _text("grafana-clickhouse-datasource")
                    + _varint(4)
                    + _varint(20)
                    + _varint(REVISION)
                    + b"".join(map(_text, texts))
                )
                with connection.makefile("rb") as stream:
                    _server_hello(stream)
    except OSError as error:
        raise ClickHouseError(f"{host}:{port}: {error}") from error


def _server_hello(stream: Any) -> None:
    kind = _read_varint(stream)
    if kind == HELLO:
        _read_text(stream)
    elif kind == EXCEPTION:
        code = int.from_bytes(_read(stream, 4), "little", signed=True)
        _name, message = _read_text(stream), _read_text(stream)
        raise ClickHouseError(f"code: {code}, message: {message}")
    else:
        raise ClickHouseError("the server does not answer like ClickHouse's native interface")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _text(value: str) -> bytes:
    return _varint(len(value.encode())) + value.encode()


def _read(stream: Any, size: int) -> bytes:
    data: bytes = stream.read(size)
    if len(data) < size:
        raise ClickHouseError("the server closed the connection during the handshake")
    return data


def _read_varint(stream: Any) -> int:
    number = shift = 0
    while True:
        byte = _read(stream, 1)[0]
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number
        if shift > 63:
            raise ClickHouseError("the server does not answer like ClickHouse's native interface")


def _read_text(stream: Any) -> str:
    size = _read_varint(stream)
    if size > 1 << 20:
        raise ClickHouseError("the server does not answer like ClickHouse's native interface")
    return _read(stream, size).decode("utf-8", "replace")
