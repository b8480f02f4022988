-- The log of changes as the caches follow it: which row, of what, and the text of its moment.

-- name: log_newest
-- The newest row of the log.
SELECT position, subject, subject_id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS at
FROM change WHERE position = (SELECT position FROM log_head WHERE id = 1)

-- name: log_from
-- The rows of the log from a position on, that position's own row first.
SELECT position, subject, subject_id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS at
FROM change WHERE position >= :since ORDER BY position LIMIT :limit

-- name: log_before
-- The rows of the log before a position, newest first.
SELECT position, subject, subject_id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS at
FROM change WHERE position < :before ORDER BY position DESC LIMIT :limit
