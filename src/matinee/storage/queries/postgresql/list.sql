-- Pages of cards as PostgreSQL says them: which table is walked first is its planner's choice, from its statistics.

-- name: page_by_facet
-- A page along the index of one order of one facet; a row is looked at only when its movie is on the page.
SELECT f.movie_id, f.sort_key, d.card, d.updated_at_s FROM (
    SELECT f.movie_id, f.{key} AS sort_key FROM movie_facet f
    WHERE f.facet_id = :driver AND {where} ORDER BY {order} LIMIT :limit
) f JOIN movie_document d ON d.movie_id = f.movie_id ORDER BY f.sort_key {direction}, f.movie_id {direction} LIMIT :limit

-- name: page_by_bounds
-- A page along the index of one order that holds all keys; what a bound passes over costs no look at its row.
SELECT k.movie_id, k.sort_key, d.card, d.updated_at_s FROM (
    SELECT k.movie_id, k.{key} AS sort_key FROM movie_document k WHERE {where} ORDER BY {order} LIMIT :limit
) k JOIN movie_document d ON d.movie_id = k.movie_id ORDER BY k.sort_key {direction}, k.movie_id {direction} LIMIT :limit

-- name: page_by_few
-- A page of the few movies that a rare facet or a person has, sorted on the way; OFFSET 0 keeps the planner from walking the order.
SELECT d.movie_id, d.{key} AS sort_key, d.card, d.updated_at_s
FROM (SELECT d.* FROM ({few}) few JOIN movie_document d ON d.movie_id = few.movie_id OFFSET 0) d
WHERE {where} ORDER BY {order} LIMIT :limit

-- name: page_by_ids
-- A page of the movies of these ids in the order asked; a merged id stands for the movie that it was merged into.
SELECT min(asked.place) - 1 AS place, d.movie_id, d.card, d.updated_at_s
FROM jsonb_array_elements(:refs) WITH ORDINALITY AS asked (value, place)
LEFT JOIN external_id e ON e.scheme = asked.value ->> 's' AND e.value = asked.value ->> 'v'
LEFT JOIN tombstone t ON t.movie_id = coalesce(e.movie_id, (asked.value ->> 'i')::bigint)
JOIN movie_document d ON d.movie_id = coalesce(t.merged_into, e.movie_id, (asked.value ->> 'i')::bigint)
WHERE {where} GROUP BY d.movie_id HAVING min(asked.place) - 1 > :after_place ORDER BY place LIMIT :limit

-- name: known_then_unknown
-- A page upwards: the movies whose key is known, then those whose key is not.
SELECT * FROM ({known}) AS known UNION ALL SELECT * FROM ({unknown}) AS unknown LIMIT :limit
