"""Compose the statement of one page of a list or a search from the named SQL. No I/O: text and values in, text and values out.

Called by the readers. A page is always one index range that ends after its rows:
- along the index of an order, checking the conditions on the way;
- along the index of the same order within one facet, when a genre, language or country is asked for;
- over the few movies that a person or a rare facet has, or that a bound lets pass, which are sorted.
Which of the three depends on the number of movies that a facet has or a bound lets pass, not on a guess: the walk along an
order would meet a rare genre only once in many thousand rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from matinee.domain import search, tsquery
from matinee.domain.ids import ExternalId, MovieRef
from matinee.domain.query import FacetFilter, Filters, ListQuery, PersonFilter, SearchQuery, Sort
from matinee.domain.ranking import UNKNOWN, title_key
from matinee.domain.text import identity, is_unspaced
from matinee.storage.sql import Engine, Statement, named_queries

# A facet with at most this many movies is sorted; with more, an order is walked and meets one of them often enough.
FEW_ROWS = 2_000
# Two that share hardly a movie are both read, if they are small, and what they share is sorted: a walk along one would look
# its every movie up in the other.
FEW_BOTH_ROWS, FEW_SHARED = 10_000, 100

# A walk along an order looks at this many rows, divided by the share of movies that pass, until a page of 20 is full.
_PAGE_ROWS = 21
# The key that each bound is on. PostgreSQL's planner chooses by its statistics; SQLite has none, so its rows are counted.
_BOUND_KEYS = {
    "year_from": "year_key",
    "year_to": "year_key",
    "rating_min": "rating_key",
    "votes_min": "votes_key",
    "runtime_min": "runtime_key",
    "runtime_max": "runtime_key",
}

KEYS = {
    "popularity": "popularity_key",
    "rating": "rating_key",
    "votes": "votes_key",
    "year": "year_key",
    "title": "title_key",
    "added": "movie_id",
}
_LETTERS = 4  # of an unfinished word; longer ones match few movies
_NEVER_UNKNOWN = ("title", "added")
_TABLES = {"page_by_facet": "f", "page_by_bounds": "k"}  # which is walked, by its name in the statement; else it is d
# Those that it holds in its indexes.
_HELD_KEYS = {"f": ("popularity", "rating", "votes", "year"), "k": ("popularity", "rating", "votes", "year", "runtime")}

# Each engine's language of full-text queries.
_LANGUAGES: dict[Engine, Any] = {"sqlite": search, "postgresql": tsquery}


@dataclass
class FacetDirectory:
    """The facets that lists filter by: ids by (kind, identity of the name) and by (kind, folded name), movies by id."""

    exact: dict[tuple[str, str], int] = field(default_factory=dict)
    folded: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[tuple[str, str, int, int]]) -> Self:
        """Return the directory of these facets: kind, name, id, number of movies."""
        directory = cls()
        for kind, name, facet_id, movies in rows:
            directory.exact[kind, identity(name)] = facet_id
            directory.folded.setdefault((kind, title_key(name)), []).append(facet_id)
            directory.sizes[facet_id] = movies
        return directory

    def ids(self, kind: str, name: str) -> list[int]:
        """Return the facet of this identity; if there is none, those that fold alike."""
        exact = self.exact.get((kind, name))
        return self.folded.get((kind, title_key(name)), []) if exact is None else [exact]


def facet_ids(facets: tuple[FacetFilter, ...], directory: FacetDirectory) -> list[list[int]] | None:
    """Return the ids of each facet filter's choices; None when one of them has none, so that nothing can match."""
    groups = [
        list(dict.fromkeys(facet_id for name in item.names for facet_id in directory.ids(item.kind, name))) for item in facets
    ]
    return None if any(not group for group in groups) else groups


def _person(index: int, item: PersonFilter, values: dict[str, Any]) -> dict[str, str]:
    name = f"person_{index}"
    values[name] = item.person
    which = "person_by_id" if isinstance(item.person, int) else "person_by_name"
    return {
        "people": named_queries()[which].format(name=name),
        "role": f" AND c.role = '{item.role}'" if item.role else "",
    }


def _bounds(filters: Filters, values: dict[str, Any]) -> list[str]:
    values.update(filters.bounds)
    return [named_queries()[name] for name, _ in filters.bounds]


def _by_key(query: ListQuery) -> dict[str, list[str]]:
    """Return the conditions on each key that no walk of this query begins at: neither its order's own nor a single year."""
    sql, found = named_queries(), dict[str, list[str]]()
    for name, _ in query.filters.bounds:
        key = _BOUND_KEYS.get(name)
        if key is not None and key != KEYS[query.sort.name]:
            found.setdefault(key, []).append(sql[name])
    return found


def few_rows(newest_id: int) -> int:
    """Return how many movies cost less to sort than a walk along an order costs, until it has met 21 of them."""
    return min(FEW_ROWS, math.isqrt(_PAGE_ROWS * newest_id))


def bound_sizes_statement(query: ListQuery, most: int = FEW_ROWS) -> Statement | None:
    """Return the statement that counts, up to a limit, the movies that pass the bounds on each key; None when it is of no use.

    `most` is that limit. Its row holds the newest movie's id, then a count for each key: see few_by_bounds. SQLite only.
    """
    filters, by_key = query.filters, _by_key(query)
    if not by_key or filters.people or filters.ids is not None:
        return None
    count = named_queries()["bound_size"]
    counts = [count.format(where=" AND ".join(conditions)) for conditions in by_key.values()]
    text = named_queries()["bound_sizes"].format(counts=", ".join(counts))
    return Statement(text, dict(filters.bounds) | {"most": most + 1}, "bound_sizes")


def few_by_bounds(query: ListQuery, row: tuple[int, ...]) -> tuple[str, int] | None:
    """Return the key whose bounds the fewest movies pass, and how many: when to sort them costs less than to walk the order."""
    newest_id, *sizes = row
    size, key = min(zip(sizes, _by_key(query), strict=True))
    return (key, size) if size <= few_rows(newest_id) else None


def _along(bounds: list[str], table: str, sort: Sort, after: tuple[Any, ...] | None, engine: Engine) -> list[str]:
    """Return the conditions on numbers for a walk along the index of an order.

    PostgreSQL is told only to look at the keys that the walked table's indexes hold: its planner knows from its
    statistics how many rows pass a bound. SQLite's does not. One on the order's own key bounds the walk, unless the key that
    it goes on from does so. Any other gets a + before its column, by which SQLite checks it on the way: it would else take
    that column's index and sort all that it finds there, or begin at the bound and not at the key. A single year is free: it
    has indexes of its own.
    """
    own, free = f"d.{KEYS[sort.name]} ", named_queries()["year"]
    passed = None if after is None else f"{own}<=" if sort.descending else f"{own}>="
    parts = [part for text in bounds for part in text.split(" AND ")]
    bare = [(part.startswith(own) or part == free) and not (passed and part.startswith(passed)) for part in parts]
    placed = [part.replace("d.", f"{table}.") if part.startswith(own) else part for part in parts]
    if engine == "postgresql":
        held = tuple(f"d.{name}_key " for name in _HELD_KEYS.get(table, ()))
        return [part.replace("d.", f"{table}.") if part.startswith(held) else _of_row(part, table) for part in parts]
    return [part if is_bare else f"+{part}" for part, is_bare in zip(placed, bare, strict=True)]


def _of_row(part: str, table: str) -> str:
    """Return a condition on a movie's row for a table that does not hold the key."""
    if table == "d":
        return part
    return f"EXISTS (SELECT 1 FROM movie_document d WHERE d.movie_id = {table}.movie_id AND {part})"


def _in(ids: list[int]) -> dict[str, str]:
    return {"facets": ", ".join(map(str, ids))}


def list_statement(
    query: ListQuery,
    after: tuple[Any, ...] | None,
    directory: FacetDirectory,
    engine: Engine = "sqlite",
    few: tuple[str, int] | None = None,
) -> Statement | None:
    """Return the statement of a page of a list; None when nothing can match.

    `few` is the key whose bounds few movies pass, and how many (few_by_bounds).
    """
    sql, values = named_queries(engine), {"limit": query.limit + 1}
    groups = facet_ids(query.filters.facets, directory)
    if groups is None:
        return None
    people = [_person(index, item, values) for index, item in enumerate(query.filters.people)]
    base, fills = "page_by_order", {}
    if people:
        base, fills = "page_by_few", {"few": sql["few_by_person"].format(**people.pop(0))}
    elif few is not None and few[1] <= _rarest(groups, directory):
        passed = sql["few_by_bounds"].format(where=" AND ".join(_by_key(query)[few[0]]))
        base, fills = "page_by_few", {"few": passed}
    elif groups:
        base, fills, groups = _drive_by_facet(groups, directory, values)
    if engine == "postgresql" and base == "page_by_order" and query.filters.bounds:
        base = "page_by_bounds"
    table = _TABLES.get(base, "d")
    bounds = _along(_bounds(query.filters, values), table, query.sort, after, engine)
    kinds = [sql["has_facet"].format(**_in(ids)) for ids in groups]
    kinds += [sql["has_person"].format(**person) for person in people]
    walked = table if engine == "postgresql" else "d"
    conditions = [*bounds, *(kind.replace("d.movie_id", f"{walked}.movie_id") for kind in kinds)]
    statement = _ordered(sql[base], sql["known_then_unknown"], fills, conditions, query.sort, after, values, table)
    statement.name, statement.is_steady = base, not query.filters.bounds and base != "page_by_few"
    statement.shape = _shape(base, query)
    return statement


def _shape(base: str, query: ListQuery) -> str:
    """Return what the cost of a list depends on beside its values; empty when each row that is looked at is on the page."""
    filters = query.filters
    is_cheap = base in ("page_by_order", "page_by_facet") and not filters.bounds and len(filters.facets) <= 1
    if is_cheap and all(len(item.names) == 1 for item in filters.facets):
        return ""
    bounds = ",".join(name for name, _ in filters.bounds)
    kinds = ",".join(f"{item.kind}{'|' * (len(item.names) > 1)}" for item in filters.facets)
    return f"{base} {query.sort.name} {query.sort.descending} {bounds} {kinds} {len(filters.people)}"


def _rarest(groups: list[list[int]], directory: FacetDirectory) -> float:
    """Return the number of movies of the rarest facet filter; without one, no number is smaller."""
    return min((sum(directory.sizes[facet_id] for facet_id in ids) for ids in groups), default=math.inf)


def _drive_by_facet(
    groups: list[list[int]], directory: FacetDirectory, values: dict[str, Any]
) -> tuple[str, dict[str, str], list[list[int]]]:
    """Choose how the rarest facet filter is walked; return the base, what fills it, and the filters that are left."""
    sql, sizes = named_queries(), directory.sizes

    def size(*several: list[int]) -> int:
        return sum(sizes[facet_id] for ids in several for facet_id in ids)

    rarest, *rest = sorted(groups, key=size)
    # By chance they would share so many, or fewer: no facet has more movies than there are.
    if rest and size(rarest, rest[0]) <= FEW_BOTH_ROWS and size(rarest) * size(rest[0]) <= FEW_SHARED * max(sizes.values()):
        both = [sql["few_by_facets"].format(**_in(ids)) for ids in (rarest, rest[0])]
        return "page_by_few", {"few": " INTERSECT ".join(both)}, rest[1:]
    if len(rarest) == 1:
        values["driver"] = rarest[0]
        return "page_by_facet", {}, rest
    if size(rarest) <= FEW_ROWS:
        return "page_by_few", {"few": sql["few_by_facets"].format(**_in(rarest))}, rest
    return "page_by_order", {}, groups


def _ordered(
    base: str,
    joined: str,
    fills: dict[str, str],
    conditions: list[str],
    sort: Sort,
    after: tuple[Any, ...] | None,
    values: dict[str, Any],
    table: str,
) -> Statement:
    """Return the base with its order, its conditions and the key after which it goes on."""
    key, (direction, compare) = KEYS[sort.name], ("DESC", "<") if sort.descending else ("ASC", ">")
    order = ", ".join(f"{table}.{column} {direction}" for column in dict.fromkeys((key, "movie_id")))
    own, unknown = f"{table}.{key} ", f"{table}.{key} = {UNKNOWN}"
    in_unknown = after is not None and after[0] == UNKNOWN and not sort.descending
    following: list[str] = []
    if after is not None:
        values["after_key"], values["after_id"] = after
        # Where the key is one value anyway, the id alone says where to go on: SQLite would look for it row by row.
        one_key = key == "movie_id" or in_unknown or f"{own}= :year" in conditions
        keys, place = ("movie_id", ":after_id") if one_key else (f"{key}, {table}.movie_id", ":after_key, :after_id")
        following = [f"({table}.{keys}) {compare} ({place})"]

    def part(*first: str) -> str:
        where = " AND ".join([*first, *conditions]) or "TRUE"
        return base.format(key=key, order=order, where=where, direction=direction, **fills)

    is_known = sort.name in _NEVER_UNKNOWN or any(text.lstrip("+").startswith(own) for text in conditions)
    if sort.descending or is_known:
        return Statement(part(*following), values)
    # Unknown keys are below all known ones, and yet come last: upwards, the known range is read first, then the unknown.
    if in_unknown:
        return Statement(part(unknown, *following), values)
    known = part(*(following or [f"{own}>= 0"]))
    return Statement(joined.format(known=known, unknown=part(unknown)), values)


def ids_statement(
    query: ListQuery, after: tuple[Any, ...] | None, directory: FacetDirectory, engine: Engine = "sqlite"
) -> Statement | None:
    """Return the statement of a page of these ids' movies, in the order asked."""
    sql, filters = named_queries(engine), query.filters
    values: dict[str, Any] = {
        "refs": json.dumps([_asked(ref) for ref in filters.ids or ()]),
        "after_place": after[0] if after else -1,
        "limit": query.limit + 1,
    }
    groups = facet_ids(filters.facets, directory)
    if groups is None:
        return None
    conditions = _bounds(filters, values)
    conditions += [sql["has_facet"].format(**_in(ids)) for ids in groups]
    people = [_person(index, item, values) for index, item in enumerate(filters.people)]
    conditions += [sql["has_person"].format(**person) for person in people]
    text = sql["page_by_ids"].format(where=" AND ".join(conditions) or "TRUE")
    return Statement(text, values, "page_by_ids", is_steady=False, shape="page_by_ids")


def _asked(ref: MovieRef) -> dict[str, Any]:
    return {"s": ref.scheme, "v": ref.value} if isinstance(ref, ExternalId) else {"i": ref}


def search_statement(
    query: SearchQuery, after: tuple[Any, ...] | None, directory: FacetDirectory, engine: Engine = "sqlite"
) -> Statement | None:
    """Return the statement of a page of a search: its tiers, best first, from the one that the page before ended in."""
    words, groups = search.words_of(query.q), facet_ids(query.filters.facets, directory)
    if not words.forms or groups is None:
        return None
    sql, values = named_queries(), {"limit": query.limit + 1}
    conditions = _bounds(query.filters, values)
    people = [_person(index, item, values) for index, item in enumerate(query.filters.people)]
    conditions += [sql["has_person"].format(**person) for person in people]
    where = " AND ".join(conditions) or "TRUE"
    statement = _tiered(_LANGUAGES[engine].tiers(words, groups, query.year), where, after, values, engine)
    bounds = ",".join(name for name, _ in query.filters.bounds)
    statement.shape = f"search {_shape_of(words)} {query.year is not None} {bounds} {len(groups)} {len(query.filters.people)}"
    return statement


def _shape_of(words: search.Words) -> str:
    """Return what the cost of matching words depends on: how many they are, and how short the unfinished one is."""
    form = words.forms[0]
    return f"{len(form)} {min(len(form[-1]), _LETTERS)}"


def titles_statement(q: str, limit: int, engine: Engine = "sqlite") -> Statement | None:
    """Return the statement of the titles that are suggested for what has been typed so far."""
    words = search.words_of(q)
    if not words.forms:
        return None
    tiers = _LANGUAGES[engine].tiers(words, [], None, titles_only=True)
    statement = _tiered(tiers, "TRUE", None, {"limit": limit}, engine)
    statement.shape = f"titles {_shape_of(words)}"
    return statement


def _tiered(tiers: list[str], where: str, after: tuple[Any, ...] | None, values: dict[str, Any], engine: Engine) -> Statement:
    first, rank = after or (0, -1)
    parts = []
    for tier in range(first, len(tiers)):
        values[f"match_{tier}"] = tiers[tier]
        values[f"after_{tier}"] = rank if tier == first else -1
        parts.append(named_queries(engine)["search_tier"].format(tier=tier, where=where))
    return Statement(" UNION ALL ".join(parts) + " LIMIT :limit", values, "search_tier", is_steady=False)


def people_statement(q: str, limit: int, engine: Engine = "sqlite") -> Statement | None:
    """Return the statement of the people that are suggested for what has been typed so far."""
    words = search.words_of(q)
    if not words.forms:
        return None
    values: dict[str, Any] = {"match": _LANGUAGES[engine].people_match(words), "limit": limit}
    names = []
    for index, word in enumerate(words.apart):
        # Folded words hold letters, digits and marks only, so nothing in them means anything to LIKE.
        values[f"word_{index}"] = _in_name(word, is_last=index == len(words.apart) - 1)
        names.append(f"' ' || p.name_fold || ' ' LIKE :word_{index}")
    text = named_queries(engine)["suggest_people"].format(where=" AND ".join(names))
    return Statement(text, values, "suggest_people", is_steady=False, shape=f"people {_shape_of(words)}")


def _in_name(word: str, *, is_last: bool) -> str:
    if is_unspaced(word):
        return f"%{word}%"
    return f"% {word}%" if is_last else f"% {word} %"
