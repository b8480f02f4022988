-- Search and suggestions as PostgreSQL says them. Common words are met on a walk in order of rank, rare ones in the inverted index:
-- which of the two is the planner's choice, from how often it has seen the lexemes.

-- name: search_tier
-- One tier of a search, from a rank onwards, in order of popularity; the tiers of a page are joined by UNION ALL.
SELECT * FROM (
    SELECT {tier} AS tier, s.search_rank, d.card, d.updated_at_s FROM movie_search s
    JOIN movie_document d ON d.movie_id = s.movie_id
    WHERE s.words @@ :match_{tier}::tsquery AND s.search_rank > :after_{tier} AND {where}
    ORDER BY s.search_rank LIMIT :limit
) AS tier_{tier}

-- name: suggest_people
-- The people who have these words in their names, those of popular movies first; looks at fifty movies at most.
SELECT p.id, p.name, min(m.place) AS place
FROM (SELECT search_rank AS place, movie_id FROM movie_search
      WHERE words @@ :match::tsquery ORDER BY search_rank LIMIT 50) m
JOIN credit c ON c.movie_id = m.movie_id
JOIN person p ON p.id = c.person_id
WHERE {where}
GROUP BY p.id ORDER BY place, p.id LIMIT :limit
