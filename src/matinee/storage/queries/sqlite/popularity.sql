-- The movies that are asked for most, along the index of one window; those that are gone are passed over. Scores that only a clock
-- that was ahead can have written are passed over too, until they are counted again: worth more than 2^40, or of the future.

-- name: trending_by_day
-- The live movies that are asked for most, by the half-life of a day's window.
SELECT movie_id, day FROM movie_popularity
WHERE day <= unixepoch() / 21600.0 + 40 AND at <= unixepoch() + 600
AND EXISTS (SELECT 1 FROM movie_document d WHERE d.movie_id = movie_popularity.movie_id)
ORDER BY day DESC, movie_id DESC LIMIT :limit

-- name: trending_by_week
-- The live movies that are asked for most, by the half-life of a week's window.
SELECT movie_id, week FROM movie_popularity
WHERE week <= unixepoch() / 259200.0 + 40 AND at <= unixepoch() + 600
AND EXISTS (SELECT 1 FROM movie_document d WHERE d.movie_id = movie_popularity.movie_id)
ORDER BY week DESC, movie_id DESC LIMIT :limit
