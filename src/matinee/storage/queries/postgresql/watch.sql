-- What the watch over the servers asks, ten times a second of each.

-- name: leader_sample
-- How far the leader is: position, whether it is a follower after all, bytes of its log on disk, whether sessions may only read.
SELECT position, pg_is_in_recovery(),
CASE WHEN pg_is_in_recovery() THEN 0 ELSE (pg_current_wal_flush_lsn() - '0/0')::bigint END,
current_setting('transaction_read_only') = 'on' FROM log_head WHERE id = 1

-- name: leader_samplers
-- How many processes sample the leader.
SELECT greatest(count(*), 1) FROM pg_stat_activity WHERE application_name = 'matinee-leader-watch'

-- name: follower_tail
-- How far a follower is: its position, whether it is one, and the bytes of the leader's log that it has replayed.
SELECT position, pg_is_in_recovery(), coalesce((pg_last_wal_replay_lsn() - '0/0')::bigint, 0) FROM log_head WHERE id = 1
