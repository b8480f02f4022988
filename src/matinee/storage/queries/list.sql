-- Pages of cards. A page starts at one of the bases, takes the conditions that the query states, and goes on from a key.
-- {key} is a sort key's column, {order} the order by it and by id, {where} the conditions: all of them our own text, never a caller's.

-- name: page_by_order
-- A page along the index of one order.
SELECT d.movie_id, d.{key} AS sort_key, d.card, d.updated_at_s FROM movie_document d
WHERE {where} ORDER BY {order} LIMIT :limit

-- name: has_facet
-- Condition: the movie has one of these facets.
EXISTS (SELECT 1 FROM movie_facet mf WHERE mf.movie_id = d.movie_id AND mf.facet_id IN ({facets}))

-- name: has_person
-- Condition: this person made or played in the movie.
EXISTS (SELECT 1 FROM credit c WHERE c.movie_id = d.movie_id AND c.person_id IN ({people}){role})

-- name: few_by_facets
-- The movies that have one of these facets.
SELECT DISTINCT movie_id FROM movie_facet WHERE facet_id IN ({facets})

-- name: few_by_person
-- The movies that this person made or played in.
SELECT DISTINCT c.movie_id FROM credit c WHERE c.person_id IN ({people}){role}

-- name: person_by_id
-- A person as a filter names one by id.
:{name}

-- name: person_by_name
-- The people as a filter names them, by folded name.
SELECT p.id FROM person p WHERE p.name_fold = :{name}

-- name: year
-- Condition: made in this year.
d.year_key = :year

-- name: year_from
-- Condition: made in this year or later.
d.year_key >= :year_from

-- name: year_to
-- Condition: made in this year or earlier, and the year is known.
d.year_key >= 0 AND d.year_key <= :year_to

-- name: rating_min
-- Condition: an average rating of at least this, in thousandths.
d.rating_key >= :rating_min

-- name: votes_min
-- Condition: at least this many votes.
d.votes_key >= :votes_min

-- name: runtime_min
-- Condition: at least this many minutes long.
d.runtime_key >= :runtime_min

-- name: runtime_max
-- Condition: at most this many minutes long, and the length is known.
d.runtime_key >= 0 AND d.runtime_key <= :runtime_max

-- name: bound_sizes
-- How many movies pass the bounds on each key, counted up to a limit; and the newest id, which says how many movies there may be.
SELECT (SELECT max(movie_id) FROM movie_document), {counts}

-- name: bound_size
-- One of these counts, along the index of its key.
(SELECT count(*) FROM (SELECT 1 FROM movie_document d WHERE {where} LIMIT :most))

-- name: few_by_bounds
-- The few movies that pass the bounds on one key.
SELECT d.movie_id FROM movie_document d WHERE {where}
