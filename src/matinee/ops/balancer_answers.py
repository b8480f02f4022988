"""What the balancers answer by themselves, in the form of the servers' problems. Called by rendering.py for both engines.

It must never produce a single quote: both configurations quote the body with them.
"""

from __future__ import annotations

import re

import msgspec


def own_answers(max_body_bytes: int) -> tuple[tuple[int, str, str, int], ...]:
    """Return status, title, what to do, and the seconds of Retry-After (0: no such header)."""
    return (
        (404, "Not Found", "There is nothing at this address.", 0),
        (408, "Request Timeout", "The request came too slowly; send it at once.", 0),
        (413, "Body Too Large", f"The body is larger than {max_body_bytes} bytes; send less.", 0),
        (429, "Too Many Requests", "This address sends too many requests; wait, then send fewer.", 10),
        (502, "Bad Gateway", "The server broke off its answer; try again, a write with the same Idempotency-Key.", 1),
        (503, "Unavailable", "No server has room for this request right now; try again.", 1),
        (504, "Gateway Timeout", "The server did not answer in time; try again, a write with the same Idempotency-Key.", 1),
    )


def problem(public_url: str, status: int, title: str, detail: str) -> str:
    """Return the body of an answer; its `type` is below the public URL, as in those of the servers."""
    slug = re.sub(r"[^a-z]+", "-", title.lower())
    shown = f"{public_url}/docs/errors/{slug}"
    body = {"type": shown, "title": title, "status": status, "detail": detail, "errors": [], "request_id": ""}
    return msgspec.json.encode(body).decode().replace("'", "")
