"""Synthetic movies: made up from a seed, alike to a real catalogue in what makes lists and searches slow.

Called by synthetic.py. The same seed and number give the same movies. Each says that it is synthetic, in its overview and in
its id. What is imitated: popularity falls like a power of the rank and is rounded, so that it ties more the less known a movie
is; unknown values; a few words that every third title has; genres from every second movie to one in thousands; people with one
movie and with a thousand.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from matinee.domain.movie import CastRef, Critics, Ids, MovieContent, PersonRef, Rating

SEED = 20261123
GENRES = (
    "Drama", "Comedy", "Documentary", "Thriller", "Romance", "Action", "Horror", "Crime", "Adventure", "Family", "Mystery",
    "Fantasy", "Science Fiction", "Animation", "Music", "History", "War", "Biography", "Sport", "Western", "Musical",
    "Film Noir",
)  # fmt: skip
_GENRE_WEIGHTS = [0.72**place for place in range(len(GENRES))]  # Drama 28 %, Film Noir 0.03 % of the choices
_LANGUAGES = (
    "English", "French", "Spanish", "Japanese", "Hindi", "German", "Italian", "Korean", "Portuguese", "Russian", "Chinese",
    "Tamil", "Turkish", "Swedish", "Arabic", "Polish", "Telugu", "Danish", "Greek", "Persian", "Thai", "Finnish", "Icelandic",
)  # fmt: skip
_COUNTRIES = (
    "United States", "India", "France", "United Kingdom", "Japan", "Germany", "Italy", "Spain", "South Korea", "Canada",
    "China", "Brazil", "Russia", "Turkey", "Mexico", "Sweden", "Egypt", "Poland", "Argentina", "Denmark", "Greece", "Iran",
    "Thailand", "Finland", "Iceland",
)  # fmt: skip
_COMMON_WORDS = (
    "love", "man", "night", "day", "life", "girl", "world", "house", "last", "one", "death", "little", "dark", "black", "blood",
    "time", "king", "war", "big", "lost", "story", "city", "heart", "dead", "good", "home", "woman", "blue", "red", "road",
    "star",
)  # fmt: skip
_SYLLABLES = (
    "ba", "bel", "cor", "dan", "del", "er", "fa", "gar", "ha", "in", "jo", "ka", "lan", "mar", "nel", "or", "pa", "quin", "ro",
    "sel", "ta", "ul", "ver", "win", "xan", "yor", "zel", "mi", "no", "ri", "tho", "vi", "sta", "bri", "cle", "dro",
)  # fmt: skip


def movies(count: int, *, people: int, most_cast: int, seed: int = SEED) -> Iterator[MovieContent]:
    """Yield so many movies with credits from so many people, each with 3 credits or more."""
    return iter(_Studio(count, people, most_cast, seed))


class _Studio:
    """What all movies of one catalogue are drawn from."""

    def __init__(self, count: int, people: int, most_cast: int, seed: int) -> None:
        self._random = random.Random(seed)
        self._count, self._most_cast = count, max(most_cast, 2)
        self._words = [self._word(2, 4) for _ in range(20_000)]
        self._people = self._names(people)
        self._companies = [f"{self._word(2, 3).title()} Pictures" for _ in range(2_000)]
        self._ranks = list(range(1, count + 1))
        self._random.shuffle(self._ranks)
        self._genre_sums = list(accumulate(_GENRE_WEIGHTS))

    def __iter__(self) -> Iterator[MovieContent]:
        return (self._movie(number, rank) for number, rank in enumerate(self._ranks, start=1))

    def _word(self, least: int, most: int) -> str:
        return "".join(self._random.choices(_SYLLABLES, k=self._random.randint(least, most)))

    def _names(self, people: int) -> list[str]:
        first = [self._word(1, 3).title() for _ in range(1_500)]
        last = [self._word(2, 4).title() for _ in range(6_000)]
        names: dict[str, None] = {}
        while len(names) < people:
            names[f"{self._random.choice(first)} {self._random.choice(last)}"] = None
        return list(names)

    def _movie(self, number: int, rank: int) -> MovieContent:
        draw = self._random
        year = None if draw.random() < 0.02 else 2026 - int(126 * draw.random() ** 2.2)
        rated = draw.random() < 0.85
        return MovieContent(
            ids=Ids(fynd=f"synthetic-{number}"),
            title=self._title(),
            original_title=self._title() if draw.random() < 0.2 else None,
            year=year,
            released=dt.date(year, draw.randint(1, 12), draw.randint(1, 28)) if year and draw.random() < 0.6 else None,
            runtime_min=None if draw.random() < 0.05 else max(1, int(draw.gauss(100, 25))),
            genres=list(dict.fromkeys(draw.choices(GENRES, cum_weights=self._genre_sums, k=draw.randint(1, 3)))),
            languages=list(dict.fromkeys(self._skewed(_LANGUAGES, 3.0) for _ in range(draw.choice((1, 1, 1, 2))))),
            countries=list(dict.fromkeys(self._skewed(_COUNTRIES, 2.5) for _ in range(draw.choice((1, 1, 1, 2))))),
            companies=[self._skewed(self._companies, 1.5)] if draw.random() < 0.5 else [],
            overview=f"Synthetic movie {number} of {self._count}, made by bench/synthetic.py. {self._prose()}",
            rating=self._rating(rank) if rated else Rating(),
            critics=self._critics() if draw.random() < 0.15 else Critics(),
            popularity=None if draw.random() < 0.1 else self._popularity(rank),
            box_office_usd=draw.randint(10_000, 900_000_000) if draw.random() < 0.1 else None,
            **self._credits(),
        )

    def _title(self) -> str:
        draw = self._random
        words = [
            draw.choice(_COMMON_WORDS) if draw.random() < 0.25 else self._skewed(self._words, 2.0)
            for _ in range(draw.randint(1, 3))
        ]
        chance = draw.random()
        if chance < 0.3:
            words.insert(0, "the")
        elif chance < 0.4:
            words.insert(0, "a")
        if len(words) > 2 and draw.random() < 0.3:
            words.insert(2, "of")
        return " ".join(words).title()

    def _prose(self) -> str:
        return " ".join(self._random.choices(self._words, k=self._random.randint(10, 50))).capitalize() + "."

    def _skewed(self, choices: Any, power: float) -> Any:
        """Return one of the choices; the first ones come up more often the greater the power is."""
        return choices[int(len(choices) * self._random.random() ** power)]

    def _popularity(self, rank: int) -> float:
        return round(1_000 * float(rank**-0.75), 2)

    def _rating(self, rank: int) -> Rating:
        average = min(max(self._random.gauss(6.2, 1.3), 0.5), 10.0)
        return Rating(round(average, 1), max(1, int(2_000_000 / rank**0.8 * self._random.uniform(0.2, 1.8))))

    def _critics(self) -> Critics:
        draw = self._random
        return Critics(draw.randint(0, 100), round(draw.uniform(1, 10), 1), draw.randint(1, 300), draw.randint(1, 100))

    def _credits(self) -> dict[str, Any]:
        draw = self._random
        makers, cast = draw.choice((1, 1, 1, 2)), draw.randint(2, self._most_cast)
        chosen = list(dict.fromkeys(self._skewed(self._people, 1.5) for _ in range(makers + cast)))
        crew, players = chosen[:makers], chosen[makers:]
        characters = [self._skewed(self._words, 1.0).title() if draw.random() < 0.5 else None for _ in players]
        return {
            "directors": [PersonRef(name=name) for name in crew],
            "writers": [PersonRef(name=crew[0])] if draw.random() < 0.4 else [],
            "cast": [
                CastRef(name=name, character=character, order=place)
                for place, (name, character) in enumerate(zip(players, characters, strict=True))
            ],
        }
