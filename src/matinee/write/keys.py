"""API keys: made, shown once, revoked, their quotas, and when they were last used. Called by the admin, cli and http.

A key is `matinee_` + a public prefix + a random 256-bit secret. Only its SHA-256 is stored.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from dataclasses import dataclass

from django.db import connection

from matinee.errors import Fault, InvalidBody, LeaderUnavailable, NotFound
from matinee.storage import leader_link, models
from matinee.storage.writer import Leader

SCOPES = ("read", "write")
MAX_QUOTA = 1_000_000_000  # requests a minute

_leader = Leader()


@dataclass(frozen=True)
class NewKey:
    """A key that was just made; `text` is not kept anywhere."""

    id: int
    prefix: str
    text: str


def create(name: str, scope: str, actor: str, quota: int | None = None) -> NewKey:
    """Make a key; `quota` is in requests a minute, 0 is without a limit, None the default.

    Raises: InvalidBody for a scope that there is not, an empty name, or a quota out of bounds.
    """
    if scope not in SCOPES:
        raise InvalidBody(f"Scope {scope!r} is not one of {', '.join(SCOPES)}.")
    if not name.strip() or len(name) > 100:
        raise InvalidBody("A key's name has 1 to 100 characters; say who will use it.")
    _check_quota(quota)
    prefix = secrets.token_hex(4)
    text = f"matinee_{prefix}_{secrets.token_urlsafe(32)}"
    with _leader.transaction(actor) as work:
        key = models.ApiKey.objects.create(
            name=name.strip(), prefix=prefix, digest=_digest(text), scope=scope, quota=quota, created_at=work.now
        )
        work.note("key", key.id, "created", 1, {"name": key.name, "scope": scope, "quota": quota})
    return NewKey(key.id, prefix, text)


def revoke(prefix: str, actor: str) -> None:
    """Revoke a key at once; revoking it again changes nothing. Raises: NotFound."""
    with _leader.transaction(actor) as work:
        key = models.ApiKey.objects.filter(prefix=prefix).first()
        if key is None:
            raise NotFound(f"There is no key {prefix!r}; see `matinee key list`.")
        if key.revoked_at is None:
            key.revoked_at, key.version = work.now, key.version + 1
            key.save(update_fields=("revoked_at", "version"))  # `touch` writes last_used_at without the lock of the log
            work.note("key", key.id, "revoked", key.version, {"name": key.name})


def set_quota(prefix: str, quota: int | None, actor: str) -> bool:
    """Give a key a quota in requests a minute, 0 for no limit, None for the default; return whether that changed anything.

    Running servers follow within five seconds. Raises: NotFound; InvalidBody for a quota out of bounds.
    """
    _check_quota(quota)
    with _leader.transaction(actor) as work:
        key = models.ApiKey.objects.filter(prefix=prefix).first()
        if key is None:
            raise NotFound(f"There is no key {prefix!r}; see `matinee key list`.")
        if key.quota == quota:
            return False
        before, key.quota, key.version = key.quota, quota, key.version + 1
        key.save(update_fields=("quota", "version"))
        work.note("key", key.id, "updated", key.version, {"name": key.name, "fields": {"quota": [before, quota]}})
        return True


def _check_quota(quota: int | None) -> None:
    if quota is not None and not 0 <= quota <= MAX_QUOTA:
        reason = f"Quota {quota} is not a number of requests a minute from 0 (no limit) to {MAX_QUOTA:,}."
        raise InvalidBody(reason, faults=(Fault("/quota", reason),))


def all_keys() -> list[models.ApiKey]:
    """Return all keys, newest first."""
    return list(models.ApiKey.objects.order_by("-id"))


def touch(key_id: int, at: dt.datetime) -> None:
    """Remember when a key was last used. It is no change of the catalogue, so it takes no position.

    Raises: LeaderUnavailable.
    """
    try:
        with leader_link.within_deadline(connection):
            models.ApiKey.objects.filter(pk=key_id).update(last_used_at=at)
    except leader_link.LOST as error:
        leader_link.drop(connection)
        raise LeaderUnavailable("The catalogue cannot be written to right now; try again.", reason=f"{error}") from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
