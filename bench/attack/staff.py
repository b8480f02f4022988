"""The staff fuzzer: requests of a signed-in admin whose ids, parameters and forms are broken. Called by __main__.py.

Broken input must get a page of the 4xx kind, or a redirect with a message. Nothing here names an existing object except the
movies that the attack made itself, so nothing of the catalogue changes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from urllib.parse import quote, urlencode

from bench.attack.bodies import delete
from bench.attack.wire import Statuses, Target, Wire, in_parallel, request

_AT_ONCE = 4
_CSRF = "a" * 32  # Django compares the cookie with the form field; a client may choose the value
_MODELS = (
    "catalogue/movie", "catalogue/person", "catalogue/genre", "catalogue/apikey", "catalogue/change", "auth/user",
    "auth/group", "auth/nothing",
)  # fmt: skip
_IDS = (
    "abc", "-1", "0", "1e3", "9" * 19, "9" * 400, "1.5", "\u0661", "\u0000", "a/b", "..", "_2F", "%", "None", " ",
    "x" * 3_000, "999999999999", "\u200b", "1 OR 1=1", "[]", "true",
)  # fmt: skip
_PAGES = ("", "add/", "{id}/", "{id}/change/", "{id}/delete/", "{id}/history/", "{id}/merge/", "{id}/password/", "options/")
_OTHER = (
    "/admin/", "/admin/search/", "/admin/autocomplete/", "/admin/r/{id}/{id}/", "/admin/jsi18n/",
    "/admin/password_change/", "/admin/catalogue/", "/admin/{id}/", "/admin/login/",
)  # fmt: skip
_PARAMETERS = (
    "q", "o", "p", "e", "all", "cursor", "after", "before", "sort", "_changelist_filters", "_to_field", "_popup",
    "next", "s", "app_label", "model_name", "field_name", "term", "page", "id__exact", "id__foo", "foo__bar",
    "year__gte", "title__regex", "credits__person__id__in", "password__startswith", "digest__startswith",
    "is_superuser__exact",
)  # fmt: skip
_FIELDS = (
    "action", "_selected_action", "select_across", "index", "title", "year", "name", "version", "seen", "_save",
    "_continue", "_addanother", "_saveasnew", "post", "into", "scope", "username", "password1", "password2",
    "is_superuser", "groups", "user_permissions", "credits-TOTAL_FORMS", "credits-INITIAL_FORMS",
    "credits-MIN_NUM_FORMS", "credits-MAX_NUM_FORMS", "credits-0-id", "credits-0-person", "credits-0-DELETE",
    "form-TOTAL_FORMS", "ids_imdb", "released", "runtime_min", "genres",
)  # fmt: skip
_VALUES = (
    *_IDS, "", "on", "delete_selected", "merge", "2000-13-45", "9999-12-31", "1e999", "NaN", "a" * 20_000, "\ufffe",
    "{}", "tt0078748",
)  # fmt: skip


def _garbled(chance: random.Random, names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(chance.choice(names), chance.choice(_VALUES)) for _ in range(chance.randrange(1, 6))]


def _body(chance: random.Random) -> tuple[bytes, bytes]:
    """Return a form's body and its content type."""
    form = urlencode([("csrfmiddlewaretoken", _CSRF), *_garbled(chance, _FIELDS)]).encode()
    kind = chance.random()
    if kind < 0.8:
        return form, b"application/x-www-form-urlencoded"
    if kind < 0.9:
        part = b'--x\r\nContent-Disposition: form-data; name="title"; filename="a\xff"\r\n\r\n' + form[:200] + b"\r\n"
        return part + (b"--x--" if chance.random() < 0.5 else b""), b"multipart/form-data; boundary=x"
    if kind < 0.95:
        return b"%ff%fe=%zz&" + form, b"application/x-www-form-urlencoded; charset=utf-99"
    return b'{"a":1}', b"application/json"


def messages(count: int, seed: int, target: Target, session: str, movies: list[int]) -> Iterator[bytes]:
    """Yield the requests."""
    chance = random.Random(seed)
    cookie = f"Cookie: matinee_session={session}; matinee_csrf={_CSRF}\r\nX-CSRFToken: {_CSRF}\r\n".encode()
    for _ in range(count):
        chosen = quote(chance.choice((*_IDS, *map(str, movies[:5]))), safe="%/")
        path = f"/admin/{chance.choice(_MODELS)}/{chance.choice(_PAGES)}" if chance.random() < 0.8 else chance.choice(_OTHER)
        path = path.replace("{id}", chosen)
        if chance.random() < 0.5:
            path += "?" + urlencode(_garbled(chance, _PARAMETERS))
        if chance.random() < 0.55:
            yield request("GET", path, target, cookie)
        else:
            body, content_type = _body(chance)
            yield request(
                chance.choice(("POST",) * 9 + ("PUT", "TRACE")),
                path,
                target,
                cookie + b"Content-Type: " + content_type + b"\r\n",
                body,
            )


async def attack(target: Target, key: str, session: str, count: int, seed: int, answered: Statuses) -> list[bytes]:
    """Send the requests; return those that were answered with a 5xx."""
    faults: list[bytes] = []
    wires = [Wire(target) for _ in range(_AT_ONCE)]
    headers = f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n".encode()
    made = [
        await wires[0].exchange(request("POST", "/v1/movies", target, headers, b'{"title":"attack staff"}')) for _ in range(5)
    ]
    movies = [json.loads(answer.body)["id"] for answer in made if answer.status == 201]

    async def one(message: bytes) -> None:
        wire = wires.pop()
        answer = await wire.exchange(message)
        wires.append(wire)
        answered[answer.status] += 1
        if answer.status >= 500:
            faults.append(b"%d to %r" % (answer.status, message[:600]))

    await in_parallel(messages(count, seed, target, session, movies), _AT_ONCE, one)
    await delete(target, key, movies)
    return faults
