"""The baseline with Django's own cache before it: the bytes of a movie, rendered once, kept in Redis.

The look-up comes before REST framework, whose request and negotiation cost more than Redis does. Nothing ever drops an entry:
no version is compared, no change is followed. What a correct application adds to that is not counted against it.
"""
# REST framework comes without types.
# mypy: disable-error-code="misc, import-untyped"

from __future__ import annotations

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse

from bench.baseline.views import MovieView

_rendered = MovieView.as_view()


def cached_movie(request: HttpRequest, pk: int) -> HttpResponse:
    """Answer GET /v1/movies/{id} from Redis; render it once."""
    key = f"movie:{pk}"
    body = cache.get(key)
    if body is None:
        response = _rendered(request, pk=pk).render()
        if response.status_code != 200:
            return response
        body = response.content
        cache.set(key, body, timeout=None)
    return HttpResponse(body, content_type="application/json")
