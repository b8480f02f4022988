-- Many movies at once as SQLite says it: the ids are a JSON array.

-- name: movies_by_ids
-- The documents of the live movies among these ids, and the tombstones.
SELECT movie_id, version, position, updated_at_s, body, NULL AS merged_into FROM movie_document
WHERE movie_id IN (SELECT value FROM json_each(:ids))
UNION ALL
SELECT movie_id, 0, position, 0, NULL, merged_into FROM tombstone WHERE movie_id IN (SELECT value FROM json_each(:ids))
