"""Create, replace, patch, delete and merge one movie. Called by the API, the admin and the command line.

Every function is one transaction and returns the movie's document with the position that its commit got. `if_match` is the
version that the caller has seen; None is for callers who hold the lock themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import structs

from matinee.domain.ids import ExternalId, MovieRef
from matinee.domain.merge_patch import merge_patch
from matinee.domain.movie import MovieContent, MovieDocument, content_of, parse_content, refuse_unknown_fields
from matinee.domain.representation import etag
from matinee.errors import Conflict, Fault, Gone, InvalidBody, NotFound, StaleVersion
from matinee.storage.writer import Edit, Leader, Transaction

_leader = Leader()


@dataclass(frozen=True)
class Written:
    """What a write answers: the movie as it is now (None: it is gone) and the position that shows it."""

    position: int
    document: MovieDocument | None = None


def create(content: MovieContent, actor: str) -> Written:
    """Add a movie. Raises: InvalidBody; Conflict for an external id that a live movie has."""
    with _leader.transaction(actor) as work:
        document = create_in(work, content)
        return Written(document.position, document)


def create_in(work: Transaction, content: MovieContent) -> MovieDocument:
    """Add a movie within a transaction that has begun."""
    (document,) = work.save([Edit(content)])
    return document


def replace(ref: MovieRef, content: MovieContent, actor: str, if_match: str | None) -> Written:
    """Give a movie this content. Raises: NotFound, Gone, StaleVersion, InvalidBody, Conflict."""
    return _change(ref, actor, if_match, lambda _: content)


def patch(ref: MovieRef, changes: Any, actor: str, if_match: str | None) -> Written:
    """Apply a JSON merge patch to a movie. Raises: as `replace`."""
    if not isinstance(changes, dict):
        raise InvalidBody('A merge patch is a JSON object, as {"year": 1979}.')
    refuse_unknown_fields(changes)

    def patched(before: MovieDocument) -> MovieContent:
        return parse_content(merge_patch(msgspec.to_builtins(content_of(before)), changes))

    return _change(ref, actor, if_match, patched)


def _change(ref: MovieRef, actor: str, if_match: str | None, content: Callable[[MovieDocument], MovieContent]) -> Written:
    with _leader.transaction(actor) as work:
        before = require(work, ref)
        check_version(before, if_match)
        (document,) = work.save([Edit(content(before), before=before)])
        return Written(document.position, document)


def delete(ref: MovieRef, actor: str, if_match: str | None) -> Written:
    """Delete a movie; its last content stays in the log. Raises: NotFound, Gone, StaleVersion."""
    with _leader.transaction(actor) as work:
        before = require(work, ref)
        check_version(before, if_match)
        work.remove([(before, None)])
        return Written(work.position)


def merge(ref: MovieRef, into: int, actor: str) -> Written:
    """Merge a movie into another one within one transaction. Raises: as `merge_in`."""
    with _leader.transaction(actor) as work:
        document = merge_in(work, ref, into)
        return Written(work.position, document)


def merge_in(work: Transaction, ref: MovieRef, into: int) -> MovieDocument:
    """Merge a movie into another one: it is gone, its address leads there, and so do its ids in other catalogues.

    The other one keeps what it states; of the merged one it takes only external ids that it lacks.
    Raises: NotFound, Gone; Conflict for a movie into itself, or into one that is not there.
    """
    source = require(work, ref)
    if source.id == into:
        raise Conflict(f"Movie {into} cannot be merged into itself; name the movie that stays.")
    target = _require_target(work, into)
    work.remove([(source, into)])
    content = content_of(target)
    lacking = {scheme: value for scheme, value in structs.asdict(source.ids).items() if getattr(target.ids, scheme) is None}
    content.ids = structs.replace(content.ids, **lacking)
    (document,) = work.save([Edit(content, before=target)])
    return document


def require(work: Transaction, ref: MovieRef) -> MovieDocument:
    """Return a live movie. Raises: NotFound; Gone, which says where a merged one went."""
    movie_id = work.owners([ref]).get(ref, 0) if isinstance(ref, ExternalId) else ref
    found = work.load([movie_id]).get(movie_id)
    if found is not None:
        return found
    stone = work.tombstones([movie_id]).get(movie_id)
    if stone is None:
        raise NotFound(f"There is no movie {ref}.")
    if stone.merged_into is None:
        raise Gone(f"Movie {ref} was deleted at position {stone.position}.")
    raise Gone(f"Movie {ref} was merged into {stone.merged_into}; change that one.")


def _require_target(work: Transaction, into: int) -> MovieDocument:
    # What is not there is named in the request, not its address: so it is no 404 and no 410.
    try:
        return require(work, into)
    except (NotFound, Gone) as error:
        raise Conflict(error.detail, faults=(Fault("/into", error.detail),)) from error


def check_version(before: MovieDocument, if_match: str | None) -> None:
    """Refuse a write that was made from another version than the current one. Raises: StaleVersion."""
    if if_match is None:
        return
    current = etag(before.version, before.position)
    parts = [part.strip() for part in if_match.split(",")]
    strong = [part for part in parts if not part.startswith("W/")]  # a weak ETag never matches (RFC 9110, 13.1.1)
    if if_match.strip() != "*" and current not in strong:
        weak = "" if strong == parts else " A weak ETag (W/...) never matches; send the strong one."
        raise StaleVersion(
            f"Movie {before.id} is at version {before.version} (ETag {current}), not {if_match[:60]}; "
            f"read it again and repeat your change on that.{weak}",
            current_version=before.version,
            current_etag=current,
        )
