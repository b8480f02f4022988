-- What `matinee sql report` asks each server of its own statistics.

-- name: report_statements
-- The statements that took the most time, from pg_stat_statements.
SELECT query, calls, round(mean_exec_time::numeric, 3)::float AS mean_ms, round(max_exec_time::numeric, 3)::float AS max_ms, rows,
round((100 * total_exec_time / sum(total_exec_time) OVER ())::numeric, 1)::float AS share_percent
FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY total_exec_time DESC LIMIT 25

-- name: report_indexes
-- How often each index was read; those that keep something unique are needed even when nobody reads them.
SELECT s.relname AS "table", s.indexrelname AS "index", s.idx_scan AS scans, pg_relation_size(s.indexrelid) AS bytes
FROM pg_stat_user_indexes s JOIN pg_index i ON i.indexrelid = s.indexrelid WHERE NOT i.indisunique ORDER BY s.indexrelname

-- name: report_sequential_reads
-- Big tables that were read from end to end: an index may be missing.
SELECT relname AS "table", seq_scan AS scans, seq_tup_read AS rows_read, n_live_tup AS rows FROM pg_stat_user_tables
WHERE n_live_tup > %(big)s AND seq_scan > 0 ORDER BY seq_tup_read DESC

-- name: report_bloat
-- Rows that are dead and not yet cleared away.
SELECT relname AS "table", n_live_tup AS live, n_dead_tup AS dead,
round((n_dead_tup::numeric / greatest(n_live_tup + n_dead_tup, 1)), 3)::float AS dead_ratio FROM pg_stat_user_tables
WHERE n_dead_tup > 1000 ORDER BY n_dead_tup DESC

-- name: report_slots
-- What the leader keeps for each follower; "lost" needs a new base backup, and a slot that nobody reads fills the disk.
SELECT slot_name AS slot, active, wal_status, safe_wal_size AS safe_bytes,
CASE WHEN pg_is_in_recovery() THEN NULL ELSE (pg_current_wal_lsn() - restart_lsn)::bigint END AS kept_bytes
FROM pg_replication_slots ORDER BY slot_name
