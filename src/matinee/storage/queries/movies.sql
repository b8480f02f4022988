-- One movie, by id or by another catalogue's id. A live movie's document comes first; only without one is a tombstone looked for.

-- name: movie_by_id
-- The document of a live movie, else its tombstone.
SELECT movie_id, version, position, updated_at_s, body, NULL AS merged_into FROM movie_document WHERE movie_id = :id
UNION ALL
SELECT movie_id, 0, position, 0, NULL, merged_into FROM tombstone WHERE movie_id = :id
LIMIT 1

-- name: movie_by_external_id
-- The same for an id such as imdb:tt0078748.
SELECT d.movie_id, d.version, d.position, d.updated_at_s, d.body, NULL AS merged_into
FROM external_id e JOIN movie_document d ON d.movie_id = e.movie_id WHERE e.scheme = :scheme AND e.value = :value
UNION ALL
SELECT t.movie_id, 0, t.position, 0, NULL, t.merged_into
FROM external_id e JOIN tombstone t ON t.movie_id = e.movie_id WHERE e.scheme = :scheme AND e.value = :value
LIMIT 1

-- name: documents_after
-- The next documents after a position, for an export: a short statement each, because a long one would hold back the database.
SELECT movie_id, position, body FROM movie_document WHERE position > :after ORDER BY position LIMIT :limit

-- name: count_documents
-- How many movies there are, for the progress of an export.
SELECT count(*) FROM movie_document
