-- The log of changes as SQLite says it: times and details are texts.

-- name: changes_since
-- The next changes of the catalogue after a position.
SELECT position, subject, subject_id, kind, version, at, detail FROM change
WHERE position > :since AND subject <> 'key' ORDER BY position LIMIT :limit
