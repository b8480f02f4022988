"""Limit sign-in attempts by account and by client address, exactly and for all servers together. Called by the admin and cli.

Invariant: an attempt is counted as failed in a committed transaction before its password is hashed, and taken back when the
password was right. So any number of parallel attempts gets as many tries as attempts one after another.
It must never say whether an account exists: unknown names are counted as known ones are.

| counted | failures without a limit | then refused for | forgotten after |
|---|---|---|---|
| account and address together | 5 | 30 s, doubled for each failure, up to 1 h | 24 h |
| address, any account | 20 | 30 s, doubled, up to 1 h | 1 h |
| account, any address | 20 | 1 s, doubled, up to 5 s: it slows, it never locks | 1 h |

What a clock that was ahead has written counts as forgotten: else a block would last for as long as that clock was ahead.

The limit of an account does not hold for an address from which it has signed in during the last 30 days. So a stranger who
guesses a name's password from elsewhere does not keep its owner out.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import unicodedata
from dataclasses import dataclass

from django.db import connection, transaction
from django.db.models import Q

from matinee.errors import TooManyRequests
from matinee.storage import leader_link
from matinee.storage.models import SignInAttempt

MAX_ROWS = 10_000  # rows without a success; about 3 MB
_KNOWN_FOR = dt.timedelta(days=30)
_CLOCKS_DIFFER = dt.timedelta(minutes=5)  # the clocks of servers at most; what is later than this is of a wrong clock
_ACCOUNT_CHARS = 150  # the longest name of a user


@dataclass(frozen=True)
class Limit:
    """After how many failures attempts are refused, for how long at first and at most, and when failures are forgotten."""

    free: int
    first_s: float
    most_s: float
    forgotten_after: dt.timedelta

    def pause_s(self, failures: int) -> float:
        """Return for how long attempts are refused after so many failures."""
        if failures < self.free:
            return 0.0
        return min(self.most_s, self.first_s * 2.0 ** min(failures - self.free, 30))


LIMITS = {
    "pair": Limit(5, 30, 3600, dt.timedelta(hours=24)),
    "address": Limit(20, 30, 3600, dt.timedelta(hours=1)),
    "account": Limit(20, 1, 5, dt.timedelta(hours=1)),
}


@dataclass(frozen=True)
class Attempt:
    """A sign-in that may go ahead; it counts as failed until `succeeded` is called."""

    account: str
    address: str
    keys: dict[str, str]

    def succeeded(self) -> None:
        """Take the failure back, forget those of this account from this address, and remember the address for 30 days."""
        now = _now()
        with transaction.atomic():
            leader_link.limit(connection)
            rows = _locked(self.keys)
            for row in rows:
                row.failures = 0 if row.kind == "pair" else max(0, row.failures - 1)
                row.blocked_until = None if row.failures < LIMITS[row.kind].free else row.blocked_until
                row.succeeded_at = now if row.kind == "pair" else None
            SignInAttempt.objects.bulk_update(rows, ("failures", "blocked_until", "succeeded_at"))


def begin(account: str, address: str, site: str = "") -> Attempt:
    """Count an attempt as failed and return it. Raises: TooManyRequests while the account or the address is blocked.

    `site` is the network on which failures of any account count; default: the address itself. One customer may have 65,536
    IPv6 addresses of 64 bits, each with 20 failures.
    """
    account, now = normal(account), _now()
    subjects = _subjects(account, address, site or address)
    keys = {kind: hashlib.sha256("\0".join((kind, *of)).encode()).hexdigest() for kind, of in subjects.items()}
    # A look without a lock first: a flood of refused attempts must not compete with writes.
    _refuse_blocked(list(SignInAttempt.objects.filter(key__in=keys.values())), now)
    with transaction.atomic():
        leader_link.limit(connection)
        rows = _locked(keys)
        rows += _created(keys, {row.kind for row in rows}, subjects, now)
        _refuse_blocked(rows, now)
        for row in rows:
            _count(row, now)
        SignInAttempt.objects.bulk_update(rows, ("failures", "blocked_until", "last_at"))
    return Attempt(account, address, keys)


def normal(account: str) -> str:
    """Return the form of a name under which its attempts are counted: spelling variants of one name count together."""
    return unicodedata.normalize("NFKC", account).casefold().strip()[:_ACCOUNT_CHARS]


def unlock(*, account: str = "", address: str = "") -> int:
    """Forget the failures of an account from all addresses, or those of an address; return how many rows had any."""
    rows = SignInAttempt.objects.filter(failures__gt=0)
    rows = rows.filter(account=normal(account)) if account else rows.filter(address=address)
    return rows.update(failures=0, blocked_until=None)


def blocked() -> list[SignInAttempt]:
    """Return what is refused now, the longest block first."""
    now = _now()
    rows = SignInAttempt.objects.filter(blocked_until__gt=now, last_at__lte=now + _CLOCKS_DIFFER)
    return list(rows.order_by("-blocked_until"))


def _subjects(account: str, address: str, site: str) -> dict[str, tuple[str, str]]:
    """Return the account and the address of each row that an attempt counts on, by kind."""
    subjects = {"pair": (account, address), "account": (account, "")}
    if site:  # unknown over a UNIX socket; all such clients must not be counted as one
        subjects["address"] = ("", site)
    return subjects


def _locked(keys: dict[str, str]) -> list[SignInAttempt]:
    """Return the rows of these keys, locked in one order, so that two attempts cannot deadlock."""
    return list(SignInAttempt.objects.select_for_update().filter(key__in=keys.values()).order_by("key"))


def _created(
    keys: dict[str, str], present: set[str], subjects: dict[str, tuple[str, str]], now: dt.datetime
) -> list[SignInAttempt]:
    """Add the missing rows, prune, and return the added rows locked: a parallel attempt may have added the same ones."""
    missing = {kind: key for kind, key in keys.items() if kind not in present}
    if not missing:
        return []
    new = [
        SignInAttempt(key=key, kind=kind, account=subjects[kind][0], address=subjects[kind][1], last_at=now)
        for kind, key in sorted(missing.items(), key=lambda item: item[1])
    ]
    SignInAttempt.objects.bulk_create(new, ignore_conflicts=True)
    rows = _locked(missing)
    _prune(max(row.id for row in rows), now)
    return rows


def _prune(newest_id: int, now: dt.datetime) -> None:
    """Delete rows that no limit needs any more, and the oldest ones beyond MAX_ROWS."""
    longest = max(limit.forgotten_after for limit in LIMITS.values())
    without_success = Q(succeeded_at=None) & (Q(id__lte=newest_id - MAX_ROWS) | Q(last_at__lt=now - longest))
    SignInAttempt.objects.filter(without_success | Q(last_at__lt=now - _KNOWN_FOR)).delete()


def _refuse_blocked(rows: list[SignInAttempt], now: dt.datetime) -> None:
    is_known = any(_is_known(row, now) for row in rows if row.kind == "pair")
    ends = [
        row.blocked_until
        for row in rows
        if row.blocked_until and row.blocked_until > now and not (row.kind == "account" and is_known)
        if not _is_of_the_future(row.last_at, now)
    ]
    if ends:
        wait_s = math.ceil((max(ends) - now).total_seconds())
        raise TooManyRequests("Too many sign-ins have failed; wait before the next one.", retry_after_s=max(1, wait_s))


def _is_known(row: SignInAttempt, now: dt.datetime) -> bool:
    return row.succeeded_at is not None and now - _KNOWN_FOR < row.succeeded_at <= now + _CLOCKS_DIFFER


def _is_of_the_future(at: dt.datetime, now: dt.datetime) -> bool:
    return at > now + _CLOCKS_DIFFER


def _count(row: SignInAttempt, now: dt.datetime) -> None:
    limit = LIMITS[row.kind]
    is_old = max(row.last_at, row.blocked_until or row.last_at) < now - limit.forgotten_after
    if is_old or _is_of_the_future(row.last_at, now):
        row.failures = 0
    row.failures, row.last_at = row.failures + 1, now
    pause_s = limit.pause_s(row.failures)
    row.blocked_until = now + dt.timedelta(seconds=pause_s) if pause_s else None


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
