"""Which Host headers are answered, and which may appear in links: the rule of ALLOWED_HOSTS for the API.

Called by the front for every request, by public_reads.py for hits and by answers.py for links. A host that is not named must
never appear in an answer: a cache in front, or a page that shows the link, would send readers to a stranger's server. What is
remembered of a client's bytes must stay bounded.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from matinee.config import Config
from matinee.errors import HostNotAllowed

_HOST = re.compile(rb"([A-Za-z0-9._~%-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{0,5})?")
_MOST_KNOWN = 256  # values of at most 261 bytes


class Hosts:
    """The hosts of one installation. `known` holds Host values that are named, as they were sent: one look-up for a hit."""

    def __init__(self, config: Config) -> None:
        names = [*config.allowed_hosts, f"[{config.host}]" if ":" in config.host else config.host]
        lowered = [name.lower().rstrip(".").encode() for name in names]
        self._exact = frozenset(name for name in lowered if not name.startswith(b"."))
        self._domains = tuple(name for name in lowered if name.startswith(b"."))
        self._is_open = config.open_to_all_hosts or b"*" in self._exact
        self._is_strict = config.restricts_hosts and not self._is_open
        self.known: set[bytes] = set()

    def is_named(self, stated: bytes) -> bool:
        """Return whether a Host may appear in links."""
        if stated in self.known:
            return True
        found = _HOST.fullmatch(stated)
        if found is None or not (self._is_open or self._matches(found[1].lower().rstrip(b"."))):
            return False
        if len(self.known) < _MOST_KNOWN:
            self.known.add(stated)
        return True

    def _matches(self, name: bytes) -> bool:
        return name in self._exact or any(name == domain[1:] or name.endswith(domain) for domain in self._domains)

    def admits(self, stated: bytes) -> bool:
        """Return whether the API answers requests for a Host. Development without names answers any, without links to it."""
        return self.is_named(stated) or (not self._is_strict and _HOST.fullmatch(stated) is not None)

    def check(self, scope: Any, *, is_health: bool, is_admin: bool) -> None:
        """Refuse a request whose Host is missing, repeated or not allowed. Raises: HostNotAllowed.

        Health checks may name any host: a probe sends an address. The admin's pages are stricter than the API: their forms
        and cookies belong to named hosts only.
        """
        stated = [value for name, value in scope["headers"] if name == b"host"]
        if len(stated) > 1:
            raise HostNotAllowed(f"The request has {len(stated)} Host headers; send one.")
        if is_health:
            return
        if not stated or not stated[0]:
            if scope.get("http_version") == "1.1":
                raise HostNotAllowed("The request has no Host header; HTTP/1.1 requires one.")
        elif not (self.is_named(stated[0]) if is_admin else self.admits(stated[0])):
            shown = stated[0][:100].decode("latin-1")
            raise HostNotAllowed(f"Host {shown!r} is not allowed; use a name of ALLOWED_HOSTS, or add this one there.")


def hosts_of(config: Config) -> Hosts:
    """Return the hosts of these settings; the same object for the same settings."""
    return _hosts_of(config.allowed_hosts, config.host, config.env)


@lru_cache(maxsize=16)
def _hosts_of(allowed_hosts: tuple[str, ...], host: str, env: str) -> Hosts:
    return Hosts(Config(allowed_hosts=allowed_hosts, host=host, env=env))
