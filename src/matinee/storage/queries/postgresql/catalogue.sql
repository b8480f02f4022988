-- The log of changes as PostgreSQL says it: times and details become the texts that SQLite keeps.

-- name: changes_since
-- The next changes of the catalogue after a position.
SELECT position, subject, subject_id, kind, version, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS at,
detail::text AS detail FROM change
WHERE position > :since AND subject <> 'key' ORDER BY position LIMIT :limit
