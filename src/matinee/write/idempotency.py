"""Answer a repeated POST with what the first one was answered. Called by the HTTP write handlers.

The answer is stored in the transaction of the write itself: either both are there or neither is.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable

from matinee.domain.representation import encode_body
from matinee.errors import IdempotencyKeyReused
from matinee.storage.models import IdempotentAnswer
from matinee.storage.writer import Leader, Transaction
from matinee.write.movies import Written

KEPT = dt.timedelta(hours=24)

_leader = Leader()


class Answer(dict[str, object]):
    """A stored answer: position, id, version and body of the movie as they were then."""


def _answer(written: Written) -> Answer:
    document = written.document
    if document is None:
        return Answer(position=written.position)
    return Answer(
        position=written.position,
        id=document.id,
        version=document.version,
        at=document.position,
        updated_at_s=int(document.updated_at.timestamp()),
        body=encode_body(document).decode(),
    )


def once(
    key: str | None, request: bytes, actor: str, write: Callable[[Transaction], Written]
) -> tuple[Answer, bool]:
    """Run a write, or return the answer that the same key and request got before; the flag says whether it was replayed.

    Raises: IdempotencyKeyReused when the key came with another request; what the write raises.
    """
    with _leader.transaction(actor) as work:
        if key is None:
            return _answer(write(work)), False
        digest = hashlib.sha256(f"{actor}\n{key}".encode()).hexdigest()
        request_digest = hashlib.sha256(request).hexdigest()
        IdempotentAnswer.objects.filter(created_at__lt=work.now - KEPT).delete()
        stored = IdempotentAnswer.objects.filter(digest=digest).first()
        if stored is not None:
            if stored.request_digest != request_digest:
                raise IdempotencyKeyReused(f"Idempotency-Key {key[:60]!r} came with another request before; use a new key.")
            return Answer(stored.answer), True
        answer = _answer(write(work))
        IdempotentAnswer.objects.create(
            digest=digest, request_digest=request_digest, answer=answer, created_at=work.now
        )
        return answer, False
