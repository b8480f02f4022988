"""What is believed of the values that are kept: judged by the log of changes as far as it has been followed."""

from __future__ import annotations

import pytest

from matinee.domain import change_log
from matinee.domain.change_log import PURGE, ChangeLog, LogRow


def row(position: int, movie_id: int = 0, subject: str = "movie", at: str = "") -> LogRow:
    return LogRow(position, subject, movie_id or position, at or f"2026-01-01 00:00:{position:02}")


def begun(position: int = 10) -> ChangeLog:
    log = ChangeLog()
    log.begin(row(position))
    return log


def test_a_movie_is_believed_until_the_log_shows_a_change_of_it() -> None:
    log = begun(10)

    log.append([row(10), row(11, 7), row(12, 8)], now_s=0)

    assert [log.believes(7, stamp) for stamp in (9, 10, 11, 12)] == [False, False, True, True]
    assert [log.believes(9, stamp) for stamp in (9, 10)] == [False, True]
    assert log.position == 12


def test_rows_that_are_known_already_are_passed_over() -> None:
    log = begun(10)
    log.append([row(11, 7)], now_s=0)

    log.append([row(10), row(11, 7), row(12, 9)], now_s=1)

    assert (log.position, log.mark_of(11), log.mark_of(12)) == (
        12, change_log.mark(row(11).at), change_log.mark(row(12).at)
    )  # fmt: skip


def test_rows_that_another_copy_has_told_in_part_meanwhile_still_continue_the_log() -> None:
    log = begun(10)
    log.append([row(11, 7)], now_s=0)
    rows = [row(10), row(11, 7), row(12, 9)]

    assert not log.must_begin(rows)
    log.append(rows, now_s=0)
    assert (log.position, log.believes(7, 11), log.believes(9, 11)) == (12, True, False)


def test_a_page_is_doubtful_from_the_first_change_that_it_may_lack_and_then_no_longer_believed() -> None:
    log = begun(10)
    log.append([row(11, 1), row(12, 2)], now_s=100)
    log.append([row(13, 3)], now_s=150)

    assert [log.believes_page(stamp, 150.5, grace_s=2) for stamp in (9, 10, 11, 12, 13)] == [
        "no", "no", "no", "doubtful", "fresh"
    ]  # fmt: skip
    assert log.believes_page(12, 152.5, grace_s=2) == "no"


def test_a_key_that_is_made_touches_no_page() -> None:
    log = begun(10)

    log.append([row(11, 1, "key")], now_s=0)

    assert (log.position, log.believes_page(10, 5, grace_s=0)) == (11, "fresh")


def test_a_purge_of_one_movie_and_one_of_everything() -> None:
    log = begun(10)

    log.append([row(11, 7, PURGE)], now_s=0)
    one = [log.believes(7, 10), log.believes(8, 10)]
    log.append([LogRow(12, PURGE, 0, "later")], now_s=0)

    assert one == [False, True]
    assert [log.believes(8, 11), log.believes(8, 12), log.believes_page(11, 0, 2)] == [False, True, "no"]


def test_another_history_that_gave_out_the_same_position_is_noticed() -> None:
    log = begun(10)

    assert log.continues([row(10), row(11)])
    assert not log.continues([row(10, at="of another history")])
    assert not log.continues([row(11)])
    assert not log.continues([])


def test_of_an_empty_log_every_row_is_the_next() -> None:
    log = ChangeLog()
    log.begin(None)

    assert not log.must_begin([row(1)])
    log.append([row(1, 5)], now_s=0)
    assert (log.position, log.believes(5, 0), log.believes(6, 0)) == (1, False, True)


def test_too_many_changes_at_once_are_one_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_log, "FLOOD_CHANGES", 3)

    assert begun(10).must_begin([row(10), row(11), row(12), row(13)])
    assert not begun(10).must_begin([row(10), row(11), row(12)])


def test_a_log_that_begins_anew_believes_nothing_from_before() -> None:
    log = begun(10)
    log.append([row(11, 1)], now_s=0)

    log.begin(row(50))

    assert (log.histories, log.believes(2, 49), log.believes(2, 50), log.mark_of(11)) == (2, False, True, None)


def test_what_came_before_can_be_read_later_so_that_older_stamps_are_judged() -> None:
    log = begun(10)
    log.append([row(11, 1)], now_s=0)

    log.prepend([row(7, 1), row(8, 2), row(9, 3)])

    assert (log.oldest, log.floor) == (7, 7)
    assert [log.believes(2, 7), log.believes(2, 8), log.believes(1, 9), log.believes(1, 11), log.believes(4, 7)] == [
        False, True, False, True, True
    ]  # fmt: skip
    assert log.mark_of(8) == change_log.mark(row(8).at)


def test_the_change_that_the_log_begins_with_counts_when_what_came_before_is_read_later() -> None:
    log = ChangeLog()
    log.begin(row(10, 7))

    log.prepend([row(8, 7), row(9, 8)])

    assert [log.believes(7, 9), log.believes(7, 10), log.believes(8, 9)] == [False, True, True]


def test_the_purge_of_everything_that_the_log_begins_with_counts_when_what_came_before_is_read_later() -> None:
    log = ChangeLog()
    log.begin(LogRow(10, PURGE, 0, "now"))

    log.prepend([row(8, 7), row(9, 8)])

    assert [log.believes(8, 9), log.believes(8, 10)] == [False, True]


def test_no_older_rows_bring_back_what_a_purge_of_everything_took() -> None:
    log = begun(10)
    log.append([LogRow(11, PURGE, 0, "now")], now_s=0)

    log.prepend([row(8, 1), row(9, 2)])

    assert (log.floor, log.believes(3, 10), log.believes(3, 11)) == (11, False, True)


def test_an_older_change_of_a_movie_that_was_forgotten_is_not_taken_for_its_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_log, "MOST_CHANGES", 1)
    log = begun(10)
    log.append([row(11, 7), row(12, 8)], now_s=0)

    log.prepend([row(8, 7), row(9, 9)])

    assert [log.believes(7, 9), log.believes(9, 9), log.believes(7, 11), log.believes(8, 12)] == [False, False, True, True]


def test_only_so_many_changes_are_kept_and_what_is_forgotten_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_log, "MOST_CHANGES", 3)
    log = begun(10)

    for position in range(11, 16):
        log.append([row(position, position * 100)], now_s=position)

    assert (log.floor, log.believes(1, 11), log.believes(1, 12), log.believes(1500, 14)) == (12, False, True, False)
