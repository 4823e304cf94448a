SELECT concat(if(_table = 'metrics', 'ClickHouseMetrics_', 'ClickHouseAsyncMetrics_'), replaceRegexpAll(metric, '[^a-zA-Z0-9_]', '_')) AS name,
    toFloat64(value) AS value, description AS help, 'gauge' AS type
FROM merge('system', '^(metrics|asynchronous_metrics)$')
UNION ALL SELECT concat('ClickHouseProfileEvents_', event), toFloat64(value), description, 'counter' FROM system.events
FORMAT Prometheus
