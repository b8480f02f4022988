-- Search and suggestions as PostgreSQL says them. Its planner cannot know how common a word's beginning is, so both ways are stated:
-- first the most popular movies are looked at one after another, where common words are met at once; only when they did not fill
-- the page is the inverted index asked, whose matches are few then.

-- name: search_tier
-- One tier of a search, from a rank onwards, in order of popularity; the tiers of a page are joined by UNION ALL.
SELECT * FROM (
    SELECT {tier} AS tier, s.search_rank, d.card, d.updated_at_s
    FROM (SELECT search_rank, movie_id, words FROM movie_search WHERE search_rank > :after_{tier} ORDER BY search_rank LIMIT 1000) s
    JOIN movie_document d ON d.movie_id = s.movie_id
    WHERE s.words @@ :match_{tier}::tsquery AND {where}
    ORDER BY s.search_rank LIMIT :limit
) AS near_{tier}
UNION ALL
SELECT * FROM (
    WITH found AS MATERIALIZED (SELECT search_rank, movie_id FROM movie_search WHERE words @@ :match_{tier}::tsquery)
    SELECT {tier} AS tier, s.search_rank, d.card, d.updated_at_s
    FROM (SELECT * FROM found WHERE search_rank > (SELECT max(search_rank) FROM (
        SELECT search_rank FROM movie_search WHERE search_rank > :after_{tier} ORDER BY search_rank LIMIT 1000) walked)
        ORDER BY search_rank) s
    JOIN movie_document d ON d.movie_id = s.movie_id WHERE {where}
    ORDER BY s.search_rank LIMIT :limit
) AS far_{tier}

-- name: suggest_people
-- The people who have these words in their names, those of popular movies first; looks at fifty movies at most.
SELECT p.id, p.name, min(m.place) AS place
FROM (
    SELECT * FROM (
        SELECT search_rank AS place, movie_id FROM (SELECT * FROM movie_search ORDER BY search_rank LIMIT 2000) near
        WHERE words @@ :match::tsquery
    ) AS near_matches
    UNION ALL
    SELECT * FROM (
        WITH found AS MATERIALIZED (SELECT search_rank, movie_id FROM movie_search WHERE words @@ :match::tsquery)
        SELECT search_rank, movie_id FROM found WHERE search_rank > (
            SELECT max(search_rank) FROM (SELECT search_rank FROM movie_search ORDER BY search_rank LIMIT 2000) walked)
        ORDER BY search_rank LIMIT 50
    ) AS far_matches
    LIMIT 50
) m
JOIN credit c ON c.movie_id = m.movie_id
JOIN person p ON p.id = c.person_id
WHERE {where}
GROUP BY p.id ORDER BY place, p.id LIMIT :limit
