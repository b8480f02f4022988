-- Pages of cards as SQLite says them: CROSS JOIN keeps the order in which the tables are walked.

-- name: page_by_facet
-- A page along the index of one order of one facet.
SELECT f.movie_id, f.{key} AS sort_key, d.card, d.updated_at_s FROM movie_facet f CROSS JOIN movie_document d ON d.movie_id = f.movie_id
WHERE f.facet_id = :driver AND {where} ORDER BY {order} LIMIT :limit

-- name: page_by_few
-- A page of the few movies that a rare facet or a person has, sorted on the way.
SELECT d.movie_id, d.{key} AS sort_key, d.card, d.updated_at_s FROM ({few}) few CROSS JOIN movie_document d ON d.movie_id = few.movie_id
WHERE {where} ORDER BY {order} LIMIT :limit

-- name: page_by_ids
-- A page of the movies of these ids in the order asked; a merged id stands for the movie that it was merged into.
SELECT min(asked.key) AS place, d.movie_id, d.card, d.updated_at_s FROM json_each(:refs) AS asked
LEFT JOIN external_id e ON e.scheme = asked.value ->> 's' AND e.value = asked.value ->> 'v'
LEFT JOIN tombstone t ON t.movie_id = coalesce(e.movie_id, asked.value ->> 'i')
CROSS JOIN movie_document d ON d.movie_id = coalesce(t.merged_into, e.movie_id, asked.value ->> 'i')
WHERE {where} GROUP BY d.movie_id HAVING place > :after_place ORDER BY place LIMIT :limit

-- name: known_then_unknown
-- A page upwards: the movies whose key is known, then those whose key is not.
SELECT * FROM ({known}) UNION ALL SELECT * FROM ({unknown}) LIMIT :limit
