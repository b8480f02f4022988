-- Search and suggestions. The full-text index gives its rows in order of popularity, so each stops as soon as its page is full.

-- name: search_tier
-- One tier of a search, from a rank onwards, in order of popularity; the tiers of a page are joined by UNION ALL.
SELECT * FROM (
    SELECT {tier} AS tier, s.rowid AS search_rank, d.card, d.updated_at_s FROM movie_search s
    CROSS JOIN movie_document d ON d.movie_id = 4294967295 - (s.rowid & 4294967295)
    WHERE movie_search MATCH :match_{tier} AND s.rowid > :after_{tier} AND {where}
    ORDER BY s.rowid LIMIT :limit
)

-- name: suggest_people
-- The people who have these words in their names, those of popular movies first; looks at fifty movies at most.
SELECT p.id, p.name, min(m.place) AS place
FROM (SELECT rowid AS place, 4294967295 - (rowid & 4294967295) AS movie_id FROM movie_search
      WHERE movie_search MATCH :match ORDER BY rowid LIMIT 50) m
CROSS JOIN credit c ON c.movie_id = m.movie_id
CROSS JOIN person p ON p.id = c.person_id
WHERE {where}
GROUP BY p.id ORDER BY place, p.id LIMIT :limit
