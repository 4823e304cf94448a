SELECT if(count() = 0, 'serving', concat('not serving: ', arrayStringConcat(groupArray(concat(database, '.', table)), ', ')))
FROM system.replicas WHERE is_readonly OR is_session_expired OR absolute_delay > 300
FORMAT TSVRaw
