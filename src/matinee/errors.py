"""Everything that can go wrong, as one tree; every room raises from here, nobody raises HTTP statuses.

MatineeError
├── RequestError                  a caller sent something that we will not do; each has a page under /docs/errors/
│   ├── InvalidParameter      400 ├── UnknownParameter       400 ├── InvalidCursor          400
│   ├── FuturePosition        400 ├── HostNotAllowed         400
│   ├── MalformedBody         400 ├── Unauthenticated        401 ├── Forbidden              403
│   ├── NotFound              404 ├── MethodNotAllowed       405 ├── RequestTimeout         408
│   ├── Conflict              409 ├── Gone                   410 ├── StaleVersion           412
│   ├── WeakETag              412 ├── BodyTooLarge           413 ├── UnsupportedMediaType   415
│   ├── InvalidBody           422 ├── IdempotencyKeyReused   422 ├── PreconditionRequired   428
│   └── TooManyRequests       429 └── ClientGone             499
├── Unavailable                   we cannot do it now; try again
│   ├── LeaderUnavailable     503 ├── NoReaderAvailable      503
│   └── Overloaded            503
├── InternalError             500 a fault of ours
└── OperatorError                 the command line's: told with what to type next, exit code 2
    ├── ConfigError  ├── HomeError  ├── DatabaseError  └── PortTaken

The class docstring is the title that users see. A detail must never name a database, a cache, a host or the lag of one: it is
sent to anonymous clients. Such words belong into `reason`. This room imports nothing of ours.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One fault in a document: where it is (an RFC 6901 JSON pointer) and what is wrong."""

    pointer: str
    detail: str


class MatineeError(Exception):
    """Something went wrong."""

    status = 500
    slug = "internal-error"

    def __init__(self, detail: str = "", *, faults: tuple[Fault, ...] = (), reason: str = "") -> None:
        """`detail` is what any client may read. `reason` names servers or repeats their words: the log and commands show it."""
        super().__init__(detail or self.title())
        self.detail = detail or self.title()
        self.faults = faults
        self.reason = reason

    @property
    def for_operators(self) -> str:
        """Return the detail with the reason. Never send it to a client."""
        return f"{self.detail} The reason: {self.reason.rstrip('.')}." if self.reason else self.detail

    @classmethod
    def title(cls) -> str:
        """Return the class's docstring as the sentence that users see."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0]


class RequestError(MatineeError):
    """The request cannot be served as it was sent."""

    status = 400
    slug = "bad-request"


class InvalidParameter(RequestError):
    """A parameter's value cannot be used."""

    slug = "invalid-parameter"


class UnknownParameter(RequestError):
    """There is no parameter of that name."""

    slug = "unknown-parameter"


class InvalidCursor(RequestError):
    """The cursor does not belong to this request."""

    slug = "invalid-cursor"


class FuturePosition(RequestError):
    """The position has not been reached yet."""

    slug = "future-position"


class HostNotAllowed(RequestError):
    """The request's Host header is missing, repeated or not allowed."""

    slug = "host-not-allowed"


class MalformedBody(RequestError):
    """The body is not JSON."""

    slug = "malformed-body"


class Unauthenticated(RequestError):
    """A valid API key is needed."""

    status = 401
    slug = "unauthenticated"


class Forbidden(RequestError):
    """The API key's scope does not allow this."""

    status = 403
    slug = "forbidden"


class NotFound(RequestError):
    """There is nothing at this address."""

    status = 404
    slug = "not-found"


class MethodNotAllowed(RequestError):
    """This address does not take that method."""

    status = 405
    slug = "method-not-allowed"

    def __init__(self, detail: str = "", *, allowed: str = "") -> None:
        super().__init__(detail)
        self.allowed = allowed  # the value of the Allow header; empty is none


class RequestTimeout(RequestError):
    """The request did not arrive completely in time."""

    status = 408
    slug = "request-timeout"


class Conflict(RequestError):
    """The change collides with another movie or another request."""

    status = 409
    slug = "conflict"


class Gone(RequestError):
    """The movie was deleted."""

    status = 410
    slug = "gone"


class StaleVersion(RequestError):
    """The movie has changed since you read it."""

    status = 412
    slug = "stale-version"

    def __init__(self, detail: str = "", *, current_version: int = 0, current_etag: str = "") -> None:
        super().__init__(detail)
        self.current_version = current_version
        self.current_etag = current_etag


class WeakETag(RequestError):
    """If-Match needs a strong ETag; a weak one never matches."""

    status = 412
    slug = "weak-etag"


class BodyTooLarge(RequestError):
    """The body is larger than this server takes."""

    status = 413
    slug = "body-too-large"


class UnsupportedMediaType(RequestError):
    """The body's content type is not one that this address takes."""

    status = 415
    slug = "unsupported-media-type"


class InvalidBody(RequestError):
    """The document breaks a rule; `errors` says where."""

    status = 422
    slug = "invalid-body"


class IdempotencyKeyReused(RequestError):
    """The Idempotency-Key was used before with another request."""

    status = 422
    slug = "idempotency-key-reused"


class PreconditionRequired(RequestError):
    """An If-Match header is required."""

    status = 428
    slug = "precondition-required"


class TooManyRequests(RequestError):
    """This client has sent too many requests; wait as long as Retry-After says."""

    status = 429
    slug = "too-many-requests"

    def __init__(self, detail: str = "", *, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class ClientGone(RequestError):
    """The client closed the connection before the request was complete."""

    status = 499
    slug = "client-gone"


class Unavailable(MatineeError):
    """The service cannot answer now; try again shortly."""

    status = 503
    slug = "unavailable"


class LeaderUnavailable(Unavailable):
    """Writes are not possible right now; reads go on."""

    slug = "leader-unavailable"


class NoReaderAvailable(Unavailable):
    """No copy of the catalogue can be read right now."""

    slug = "no-reader-available"


class Overloaded(Unavailable):
    """This server has too much to do right now."""

    slug = "overloaded"


class InternalError(MatineeError):
    """A fault of ours; the request id finds it in the log."""


class OperatorError(MatineeError):
    """The command cannot run as things are."""

    slug = "operator-error"


class ConfigError(OperatorError):
    """A setting is missing or wrong."""


class HomeError(OperatorError):
    """The data folder cannot be used."""


class DatabaseError(OperatorError):
    """The database cannot be used as it is."""


class PortTaken(OperatorError):
    """Another program listens on that address."""


def request_errors() -> list[type[MatineeError]]:
    """Return every error that a client can meet, each with its own documentation page, in order of status."""
    found: list[type[MatineeError]] = [RequestError, Unavailable, InternalError]
    for parent in (RequestError, Unavailable):
        found.extend(parent.__subclasses__())
    return sorted(found, key=lambda kind: (kind.status, kind.slug))
