"""Many synthetic movies in PostgreSQL, made by the server itself: far faster than the write path, and with the same tables.

Called by test_postgres_plans.py and bench/million_postgres.py. Shapes are those of real catalogues: keys are unknown now and
then, votes rise with popularity, a few genres are common and many are rare, and one person has made very many.
"""

from __future__ import annotations

import psycopg

# Each statement with its name in it, so that a slow one is found. {size} is the number of movies.
_STATEMENTS = (
    """
    CREATE TEMP TABLE made AS SELECT id, popularity, (id %% 120) + 1900 AS year,
        CASE WHEN random() < 0.3 THEN -1 ELSE (random() * 10000)::int END AS rating,
        CASE WHEN random() < 0.3 THEN -1 ELSE (popularity * popularity * 100 + random() * 50)::bigint END AS votes,
        CASE WHEN random() < 0.1 THEN -1 ELSE 60 + (random() * 120)::int END AS runtime,
        'common ' || substr(md5(id::text), 1, 5) || ' ' || (id %% 977) AS title
    FROM (SELECT id, CASE WHEN random() < 0.2 THEN 0 ELSE (random() ^ 4 * 1000)::numeric(9, 3)::float8 END AS popularity
          FROM generate_series(1, {size}) AS id) numbers
    """,
    """
    INSERT INTO movie_document (movie_id, version, position, updated_at_s, popularity_key, rating_key, votes_key, year_key,
        runtime_key, title_key, search_rank, card, body)
    SELECT id, 1, id, 1700000000, popularity, rating, votes, year, runtime, title,
        ((1000000 - popularity * 1000)::bigint << 32) | (4294967295 - id),
        convert_to('{{"id":' || id || ',"title":"' || title || '"}}' || repeat(' ', 250), 'UTF8'),
        convert_to('{{"id":' || id || ',"title":"' || title || '"}}' || repeat(' ', 1200), 'UTF8')
    FROM made
    """,
    """
    INSERT INTO facet (id, version, kind, name, name_fold, movies)
    SELECT id, 1, kind, kind || id, kind || id, 0 FROM (
        SELECT id, CASE WHEN id <= 20 THEN 'genre' WHEN id <= 40 THEN 'language' ELSE 'country' END AS kind
        FROM generate_series(1, 60) AS id) numbers
    """,
    # The first of a kind has half of all movies, the next a third, ... the last one in some thousands.
    """
    INSERT INTO movie_facet (facet_id, movie_id, place, popularity_key, rating_key, votes_key, year_key, title_key)
    SELECT f.id, m.id, 0, m.popularity, m.rating, m.votes, m.year, m.title FROM made m CROSS JOIN LATERAL (
        SELECT DISTINCT base + greatest(1, least(20, floor(1 / (random() + 0.0001))::int)) AS id
        FROM (VALUES (0), (20), (40)) AS kinds (base), generate_series(1, 1 + (m.id %% 2)::int)) AS f
    """,
    """
    UPDATE facet SET movies = counted.movies
    FROM (SELECT facet_id, count(*) AS movies FROM movie_facet GROUP BY facet_id) counted WHERE counted.facet_id = facet.id
    """,
    """
    INSERT INTO person (id, version, name, name_fold)
    SELECT id, 1, 'Person ' || id, 'person ' || id FROM generate_series(1, {size} / 10 + 1) AS id
    """,
    """
    INSERT INTO credit (movie_id, person_id, role, place)
    SELECT id, CASE WHEN id %% 500 = 0 THEN 1 ELSE 1 + (random() * {size} / 10)::int END, role, place
    FROM made CROSS JOIN (VALUES ('director', 0), ('cast', 0), ('cast', 1)) AS parts (role, place)
    """,
    "INSERT INTO external_id (scheme, value, movie_id) SELECT 'imdb', 'tt' || lpad(id::text, 8, '0'), id FROM made",
    """
    INSERT INTO movie_search (search_rank, movie_id, words)
    SELECT d.search_rank, d.movie_id, array_to_tsvector(ARRAY(SELECT DISTINCT word FROM unnest(
        string_to_array(d.title_key, ' ')
        || (SELECT array_agg(E'\\ue002' || word) FROM unnest(string_to_array(d.title_key, ' ')) AS word)
        || f.marks
        || ARRAY[E'\\ue000' || replace(d.title_key, ' ', E'\\ue000'), E'\\ue004y' || d.year_key, 'person', E'\\ue003person',
                 (d.movie_id %% 997)::text, E'\\ue003' || (d.movie_id %% 997)]) AS word))
    FROM movie_document d
    JOIN (SELECT movie_id, array_agg(E'\\ue004f' || facet_id) AS marks FROM movie_facet GROUP BY movie_id) f USING (movie_id)
    """,
    """
    INSERT INTO change (position, subject, subject_id, kind, version, actor, at, detail)
    SELECT id, 'movie', id, 'created', 1, 'synthetic', now(), '{{}}' FROM made
    """,
    # A third of the movies were asked for, in no order that another table has.
    """
    INSERT INTO movie_popularity (movie_id, day, week)
    SELECT id, 80000 + random() * 10, 6600 + random() * 10 FROM made WHERE random() < 0.3
    """,
    """
    UPDATE log_head SET position = {size}, folded_position = {size}, last_movie_id = {size},
        last_person_id = {size} / 10 + 1, last_facet_id = 60
    """,
    "DROP TABLE made",
)


def fill(url: str, size: int) -> None:
    """Fill a migrated, empty database with so many movies, and let the server look at what it holds."""
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("SET maintenance_work_mem = '512MB'")
        session.execute("SET synchronous_commit = off")
        indexes = session.execute(_SECONDARY_INDEXES).fetchall()
        for name, _ in indexes:
            session.execute(f'DROP INDEX "{name}"')
        session.execute("SELECT setseed(0.5)")
        for statement in _STATEMENTS:
            session.execute(statement.format(size=size).replace("%%", "%"))
        for _, definition in indexes:
            session.execute(definition)
        session.execute("VACUUM (ANALYZE)")


# Made again afterwards: an index that is made at once takes a fraction of the time of one that is kept up row by row.
_SECONDARY_INDEXES = """
    SELECT c.relname, pg_get_indexdef(c.oid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_class t ON t.oid = i.indrelid
    WHERE NOT i.indisunique AND t.relname IN
        ('movie_document', 'movie_facet', 'movie_popularity', 'credit', 'movie_search', 'external_id', 'change', 'person')
"""
