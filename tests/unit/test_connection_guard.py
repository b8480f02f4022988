"""What the connection guard closes of what the rules say: nothing on which a request has begun meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from matinee import config as configuration
from matinee.http.connection_guard import ConnectionGuard
from matinee.http.connection_rules import Figures, Peer
from matinee.http.under_way import UnderWay

pytestmark = pytest.mark.unit
ADDRESS = ("10.0.0.1", "40000")


class Sockets:
    """One connection that was last used a long time ago; `after_look` happens between the look and the cut."""

    is_listening = True

    def __init__(self, after_look: Callable[[Sockets], None]) -> None:
        self.received, self.is_cut, self._after_look = 100, False, after_look

    def read(self, **_: Any) -> Iterator[Figures]:
        yield Figures(1, Peer(ADDRESS, "10.0.0.1", "10.0.0.1", False), self.received, 1_000, False, True, 5_000.0, 5_000.0)

    def received_bytes(self, cookie: int) -> int:
        self._after_look(self)
        return self.received

    def cut(self, cookie: int, **_: bool) -> bool:
        self.is_cut = True
        return True


def is_cut(under_way: UnderWay, after_look: Callable[[Sockets], None]) -> bool:
    """Return whether one look closes the connection."""
    sockets = Sockets(after_look)
    guard = ConnectionGuard(configuration.load(), under_way)
    guard._look(sockets)  # type: ignore[arg-type]
    return sockets.is_cut


def receive(sockets: Sockets) -> None:
    sockets.received += 50


def test_an_unused_connection_is_closed_unless_bytes_come_before_the_cut() -> None:
    assert [is_cut(UnderWay(), lambda _: None), is_cut(UnderWay(), receive)] == [True, False]
