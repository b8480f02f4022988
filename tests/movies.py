"""Movies for the tests: a small catalogue of known films, and records made of a few words."""

from __future__ import annotations

from typing import Any

from matinee.domain.movie import parse_content
from matinee.write.batches import Record


def record(line: int = 1, **stated: Any) -> Record:
    """Return an import's record of what is stated; people may be written as names."""
    for field in ("directors", "writers", "cast"):
        stated[field] = [{"name": person} if isinstance(person, str) else person for person in stated.get(field, [])]
    return Record(line, parse_content(stated), frozenset(stated))


def _film(title: str, year: int | None, popularity: float | None, genres: str, director: str, **more: Any) -> dict[str, Any]:
    names = [name for name in genres.split() if name]
    return {"title": title, "year": year, "popularity": popularity, "genres": names, "directors": [director], **more}


SMALL_CATALOGUE: list[dict[str, Any]] = [
    _film("Alien", 1979, 95, "Horror Sci-Fi", "Ridley Scott", ids={"imdb": "tt0078748", "tmdb": "348"}, runtime_min=117,
          rating={"average": 8.5, "votes": 900_000}, languages=["English"], countries=["United Kingdom", "United States"],
          cast=[{"name": "Sigourney Weaver", "character": "Ripley", "order": 0}, "Tom Skerritt"]),
    _film("Aliens", 1986, 90, "Action Sci-Fi", "James Cameron", ids={"imdb": "tt0090605"}, runtime_min=137,
          rating={"average": 8.4, "votes": 750_000}, languages=["English"], countries=["United States"],
          cast=["Sigourney Weaver", "Michael Biehn"]),
    _film("Blade Runner", 1982, 88, "Sci-Fi Thriller", "Ridley Scott", runtime_min=117, languages=["English"],
          rating={"average": 8.1, "votes": 800_000}, countries=["United States"], cast=["Harrison Ford", "Rutger Hauer"]),
    _film("Star Wars", 1977, 99, "Action Sci-Fi", "George Lucas", runtime_min=121, rating={"average": 8.6, "votes": 1_400_000},
          languages=["English"], countries=["United States"], cast=["Mark Hamill", "Harrison Ford", "Carrie Fisher"]),
    _film("Amélie", 2001, 80, "Comedy Romance", "Jean-Pierre Jeunet", original_title="Le Fabuleux Destin d'Amélie Poulain",
          runtime_min=122, languages=["French"], countries=["France", "Germany"], cast=["Audrey Tautou"]),
    _film("WALL·E", 2008, 85, "Animation Family", "Andrew Stanton", runtime_min=98, languages=["English"]),
    _film("Spider-Man", 2002, 82, "Action Adventure", "Sam Raimi", runtime_min=121, languages=["English"],
          cast=["Tobey Maguire", "Willem Dafoe"]),
    _film("Fast & Furious", 2009, 60, "Action", "Justin Lin", cast=["Vin Diesel"]),
    _film("Schindler's List", 1993, 92, "Drama History", "Steven Spielberg", runtime_min=195, cast=["Liam Neeson"]),
    _film("The Star Witness", 1931, None, "Crime", "William A. Wellman"),
    _film("A Day in the Country", 1946, None, "Romance Drama", "Jean Renoir", runtime_min=40, languages=["French"]),
    _film("Untitled Project", None, None, "", "Nobody Known"),
]  # fmt: skip
