-- The movies that are asked for most, along the index of one window; those that are gone are passed over.

-- name: trending_by_day
-- The live movies that are asked for most, by the half-life of a day's window.
SELECT movie_id, day FROM movie_popularity
WHERE EXISTS (SELECT 1 FROM movie_document d WHERE d.movie_id = movie_popularity.movie_id)
ORDER BY day DESC, movie_id DESC LIMIT :limit

-- name: trending_by_week
-- The live movies that are asked for most, by the half-life of a week's window.
SELECT movie_id, week FROM movie_popularity
WHERE EXISTS (SELECT 1 FROM movie_document d WHERE d.movie_id = movie_popularity.movie_id)
ORDER BY week DESC, movie_id DESC LIMIT :limit
