# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a collector's own metrics say about its data. The texts are from collector 0.149.0."""

from __future__ import annotations

import pytest
from ansible_collections.groundwork.observability.plugins.filter.collector_health import collector_health

WRONG_TOKEN = """\
# TYPE otelcol_exporter_queue_capacity gauge
otelcol_exporter_queue_capacity{data_type="logs",exporter="otlp_grpc"} 1e+09
otelcol_exporter_queue_size{data_type="logs",exporter="otlp_grpc"} 0
otelcol_exporter_send_failed_log_records{exporter="otlp_grpc"} 5
otelcol_exporter_send_failed_metric_points{exporter="otlp_grpc"} 170
otelcol_exporter_sent_log_records{exporter="otlp_grpc"} 0
otelcol_receiver_accepted_log_records{receiver="otlp",transport="http"} 5
otelcol_receiver_failed_log_records{receiver="otlp",transport="http"} 0
otelcol_receiver_refused_log_records{receiver="otlp",transport="http"} 0
"""
SCOPE = 'otel_scope_name="go.opentelemetry.io/collector/exporter/exporterhelper",otel_scope_schema_url="",otel_scope_version=""'
GATEWAY = f"""\
otelcol_exporter_queue_capacity{{data_type="logs",exporter="otlp_http/1",{SCOPE}}} 5e+09
otelcol_exporter_queue_size{{data_type="logs",exporter="otlp_http/1",{SCOPE}}} 0
otelcol_exporter_sent_log_records_total{{exporter="debug",{SCOPE}}} 10
otelcol_receiver_refused_log_records_total{{receiver="otlp",transport="grpc"}} 0
"""


def test_records_that_were_sent() -> None:
    assert collector_health(GATEWAY) == {"moved": True, "lost": [], "problems": []}


def test_no_data_is_no_problem() -> None:
    assert collector_health("") == {"moved": False, "lost": [], "problems": []}
    assert collector_health(GATEWAY.replace("} 10", "} 0")) == {"moved": False, "lost": [], "problems": []}


def test_records_that_the_next_hop_refuses_are_lost() -> None:
    found = collector_health(WRONG_TOKEN)
    assert not found["moved"]
    assert [line.split(":")[0] for line in found["problems"]] == [
        "exporter otlp_grpc has lost 5 log records",
        "exporter otlp_grpc has lost 170 metric points",
    ]


@pytest.mark.parametrize("exporter", ["clickhouse/1", "clickhouse/1_ignore_views", "otlp_grpc/1"])
def test_what_a_gateway_tries_again_is_not_lost(exporter: str) -> None:
    assert collector_health(f'otelcol_exporter_send_failed_spans{{exporter="{exporter}"}} 3')["problems"] == []


def test_refused_records_and_full_queues_count_where_nothing_was_sent() -> None:
    text = GATEWAY.replace('grpc"} 0', 'grpc"} 7').replace(f"{SCOPE}}} 0", f"{SCOPE}}} 4.6e+09")
    text += 'otelcol_exporter_enqueue_failed_spans{exporter="otlp_http/1"} 2\n'
    assert collector_health(text)["problems"] == []
    assert collector_health(text.replace("} 10", "} 0"))["problems"] == [
        "receiver otlp has refused 7 log records",
        "exporter otlp_http/1 has refused 2 spans: its queue takes no more",
        "the queue of exporter otlp_http/1 for logs is 92 % full",
    ]
