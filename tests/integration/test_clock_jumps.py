"""A clock that was ahead for a moment leaves nothing behind that lasts as long as it was ahead."""

from __future__ import annotations

import datetime as dt

from matinee.storage.models import IdempotentAnswer
from tests.client import Client


def test_an_answer_that_was_kept_by_a_clock_a_year_ahead_is_dropped_by_the_next_write_with_a_key(movies: Client) -> None:
    now = dt.datetime.now(dt.UTC)
    for digest, created_at in (("future", now + dt.timedelta(days=365)), ("recent", now - dt.timedelta(hours=1))):
        IdempotentAnswer.objects.create(digest=digest, request_digest="x", answer={}, created_at=created_at)

    written = movies.write("POST", "/v1/movies", {"title": "Alien"}, idempotency_key="one")

    assert written.status_code == 201
    assert set(IdempotentAnswer.objects.values_list("digest", flat=True)) >= {"recent"}
    assert not IdempotentAnswer.objects.filter(digest="future").exists()
