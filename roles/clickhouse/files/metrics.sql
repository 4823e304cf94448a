SELECT name, value, help, type, labels FROM (
    SELECT concat(if(_table = 'metrics', 'ClickHouseMetrics_', 'ClickHouseAsyncMetrics_'), replaceRegexpAll(metric, '[^a-zA-Z0-9_]', '_')) AS name,
        toFloat64(value) AS value, description AS help, 'gauge' AS type, map()::Map(String, String) AS labels
    FROM merge('system', '^(metrics|asynchronous_metrics)$')
    UNION ALL SELECT concat('ClickHouseProfileEvents_', event), toFloat64(value), description, 'counter', map() FROM system.events
    UNION ALL SELECT concat('ClickHouseReplica_', measure.1), measure.2, measure.3, 'gauge', map('database', database, 'table', table)
    FROM system.replicas ARRAY JOIN [
        ('readonly', toFloat64(is_readonly), 'Whether the replica refuses INSERTs.'),
        ('delay_seconds', toFloat64(absolute_delay), 'How far the replica is behind.'),
        ('queue_size', toFloat64(queue_size), 'Fetches, merges and mutations that the replica has still to do.'),
        ('missing_replicas', toFloat64(total_replicas) - active_replicas, 'Replicas of the table that are not there.')] AS measure
    UNION ALL SELECT concat('ClickHouseMutations_', measure.1), measure.2, measure.3, 'gauge', map('database', database, 'table', table)
    FROM (
        SELECT database, table, count() AS running, countIf(latest_fail_reason != '') AS failing, max(now() - create_time) AS age
        FROM system.mutations WHERE NOT is_done GROUP BY ALL
    ) ARRAY JOIN [
        ('running', toFloat64(running), 'Mutations that are not done.'),
        ('failing', toFloat64(failing), 'Mutations that are not done and whose last attempt failed.'),
        ('oldest_seconds', toFloat64(age), 'Age of the oldest mutation that is not done.')] AS measure
    UNION ALL SELECT concat('ClickHouseParts_', measure.1), measure.2, measure.3, 'gauge', map('database', database, 'table', table)
    FROM (
        SELECT database, table, sum(parts) AS active_parts, max(parts) AS most_parts, sum(part_rows) AS all_rows, sum(part_bytes) AS all_bytes
        FROM (
            SELECT database, table, partition_id, count() AS parts, sum(rows) AS part_rows, sum(bytes_on_disk) AS part_bytes
            FROM system.parts WHERE active AND database != 'system' GROUP BY ALL
        ) GROUP BY ALL
    ) ARRAY JOIN [
        ('active', toFloat64(active_parts), 'Active parts.'),
        ('most_of_a_partition', toFloat64(most_parts), 'Active parts of the partition that has most.'),
        ('rows', toFloat64(all_rows), 'Rows.'),
        ('bytes', toFloat64(all_bytes), 'Bytes on disk.')] AS measure
    UNION ALL SELECT concat('ClickHouseDisk_', measure.1), measure.2, measure.3, 'gauge', map('disk', disk)
    FROM (SELECT name AS disk, free_space, unreserved_space, total_space FROM system.disks) ARRAY JOIN [
        ('free_bytes', toFloat64(free_space), 'Free bytes of the disk.'),
        ('unreserved_bytes', toFloat64(unreserved_space), 'Free bytes that no merge has reserved.'),
        ('total_bytes', toFloat64(total_space), 'Size of the disk.')] AS measure
    UNION ALL SELECT 'ClickHouseMerges_longest_seconds', toFloat64(max(elapsed)), 'Time that the longest running merge or mutation of a part takes so far.',
        'gauge', map('database', database, 'table', table)
    FROM system.merges GROUP BY database, table
    UNION ALL SELECT 'ClickHouseZooKeeper_transactions', toFloat64(bitAnd(last_zxid_seen, 4294967295)),
        'Transactions of this epoch of the ensemble, of 4294967295 before it elects a leader again.', 'gauge', map('host', host)
    FROM system.zookeeper_connection
)
ORDER BY name, labels
FORMAT Prometheus
