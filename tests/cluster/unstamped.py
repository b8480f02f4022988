"""Matinee with the stamp taken out: whatever is kept anywhere is believed. `python unstamped.py serve ...`.

A planted fault, for test_coherence.py to see that its checks find it. Workers are forked, so they have it too.
"""

from __future__ import annotations

from matinee.cli.main import main
from matinee.domain.change_log import ChangeLog


def take_out_the_stamp() -> None:
    """Believe every value, of whatever position."""
    ChangeLog.believes = lambda self, movie_id, stamp: True  # type: ignore[method-assign]
    ChangeLog.believes_page = lambda self, stamp, now_s, grace_s: "fresh"  # type: ignore[method-assign]


if __name__ == "__main__":
    take_out_the_stamp()
    main()
