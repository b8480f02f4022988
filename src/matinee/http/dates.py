"""Dates of HTTP headers as seconds since 1970: the three formats of RFC 9110, nothing else.

Called by ready.py for If-Modified-Since. A text that is no date must be ignored, not guessed at, and costs no more than its
first bytes.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re

_MONTHS = {name: number for number, name in enumerate(calendar.month_abbr) if name}
_MOST_BYTES = 64  # the longest date of RFC 850 has 33
_CLOCK = r"(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)"
_FORMATS = (
    re.compile(rf"[A-Z][a-z]{{2}}, (?P<d>\d\d) (?P<mon>[A-Z][a-z]{{2}}) (?P<y>\d{{4}}) {_CLOCK} GMT", re.ASCII),
    re.compile(rf"[A-Z][a-z]{{5,8}}, (?P<d>\d\d)-(?P<mon>[A-Z][a-z]{{2}})-(?P<y>\d\d) {_CLOCK} GMT", re.ASCII),
    re.compile(rf"[A-Z][a-z]{{2}} (?P<mon>[A-Z][a-z]{{2}}) (?P<d>[ \d]\d) {_CLOCK} (?P<y>\d{{4}})", re.ASCII),
)


def http_date_s(stated: bytes) -> int | None:
    """Return the moment that a header names; None when it is no date of HTTP."""
    if len(stated) > _MOST_BYTES:
        return None
    text = stated.decode("latin-1").strip(" \t")
    for form in _FORMATS:
        if found := form.fullmatch(text):
            return _seconds(found)
    return None


def _seconds(found: re.Match[str]) -> int | None:
    year, month = int(found["y"]), _MONTHS.get(found["mon"], 0)
    if len(found["y"]) == 2:
        year += 1900 if year >= 70 else 2000
    try:
        # A leap second is written as :60; one second earlier is as good.
        moment = dt.datetime(
            year, month, int(found["d"]), int(found["h"]), int(found["m"]), min(int(found["s"]), 59), tzinfo=dt.UTC
        )
    except ValueError:
        return None
    return int(moment.timestamp())
