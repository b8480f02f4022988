"""Refuse requests that no address of ours can be meant by, before any of their bytes are kept. Called by the front.

What comes later remembers paths and queries: the keys of loads and entries, the router's own cache, lines of the log.
"""

from __future__ import annotations

from typing import Any

from matinee.errors import InvalidParameter, NotFound
from matinee.http.hosts import Hosts
from matinee.http.parameters import MAX_QUERY_BYTES

MAX_PATH_CHARS = 1_024  # four times the longest address that exists


def require_possible(scope: Any, hosts: Hosts, *, is_health: bool, is_admin: bool) -> None:
    """Refuse a wrong Host, and an address that is too long or no text.

    Raises: HostNotAllowed, NotFound, InvalidParameter.
    """
    path, query = scope["path"], scope["query_string"]
    hosts.check(scope, is_health=is_health, is_admin=is_admin)
    if len(path) > MAX_PATH_CHARS:
        raise NotFound(f"There is nothing at {path[:60]!r}...: addresses have at most {MAX_PATH_CHARS} characters.")
    if not _is_text(path):
        raise NotFound(f"There is nothing at {path[:60]!r}: addresses are UTF-8.")
    if len(query) > MAX_QUERY_BYTES:
        raise InvalidParameter(f"The query string has {len(query)} bytes; {MAX_QUERY_BYTES} are allowed.")


def _is_text(path: str) -> bool:
    """Return whether a path can be encoded: bytes that were no UTF-8 may stand in it as surrogates."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
