"""Answer a repeated POST with what the first one was answered. Called by the HTTP write handlers.

The answer is stored in the transaction of the write itself: either both are there or neither is.
"""

from __future__ import annotations

import calendar
import datetime as dt
import hashlib
from collections.abc import Callable
from typing import TypedDict

from django.db.models import Q

from matinee.domain.movie import MovieDocument
from matinee.domain.representation import encode_body
from matinee.errors import IdempotencyKeyReused
from matinee.storage.models import IdempotentAnswer
from matinee.storage.writer import Leader, Transaction

KEPT = dt.timedelta(hours=24)

_leader = Leader()


class Answer(TypedDict):
    """What a POST answers: its position, and the movie's bytes and validators as they were then."""

    position: int
    id: int
    version: int
    document_position: int
    updated_at_s: int
    body: str


def _answer(position: int, document: MovieDocument) -> Answer:
    return Answer(
        position=position,
        id=document.id,
        version=document.version,
        document_position=document.position,
        updated_at_s=calendar.timegm(document.updated_at.utctimetuple()),
        body=encode_body(document).decode(),
    )


def once(key: str | None, request: bytes, actor: str, write: Callable[[Transaction], MovieDocument]) -> tuple[Answer, bool]:
    """Run a write, or return the answer that the same key and request got before; the flag says whether it was replayed.

    Raises: IdempotencyKeyReused when the key came with another request; what the write raises.
    """
    with _leader.transaction(actor) as work:
        if key is None:
            document = write(work)
            return _answer(work.position, document), False
        digest = hashlib.sha256(f"{actor}\n{key}".encode()).hexdigest()
        request_digest = hashlib.sha256(request).hexdigest()
        # One from the future was made while a clock was ahead, and would be kept for as long as it was.
        IdempotentAnswer.objects.filter(Q(created_at__lt=work.now - KEPT) | Q(created_at__gt=work.now + KEPT)).delete()
        stored = IdempotentAnswer.objects.filter(digest=digest).first()
        if stored is not None:
            if stored.request_digest != request_digest:
                raise IdempotencyKeyReused(f"Idempotency-Key {key[:60]!r} came with another request before; use a new key.")
            replayed: Answer = stored.answer
            return replayed, True
        document = write(work)
        answer = _answer(work.position, document)
        IdempotentAnswer.objects.create(digest=digest, request_digest=request_digest, answer=answer, created_at=work.now)
        return answer, False
