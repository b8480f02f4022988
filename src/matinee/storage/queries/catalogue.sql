-- Everything else that readers ask for: people, genres, the log of changes, keys, and what the health checks want to know.

-- name: person
-- One person.
SELECT id, name FROM person WHERE id = :id

-- name: genres
-- The genres that have movies, with how many.
SELECT id, name, movies FROM facet WHERE kind = 'genre' AND movies > 0 ORDER BY name_fold, id

-- name: facets
-- The genres, languages and countries that lists filter by; a few hundred rows, kept in memory until the catalogue changes.
SELECT kind, name, id, movies FROM facet WHERE kind IN ('genre', 'language', 'country') AND movies > 0

-- name: position
-- The newest position of this copy of the catalogue.
SELECT position FROM log_head WHERE id = 1

-- name: api_key
-- A key that is not revoked, by the digest of its text.
SELECT id, name, prefix, scope, quota FROM api_key WHERE digest = :digest AND revoked_at IS NULL
