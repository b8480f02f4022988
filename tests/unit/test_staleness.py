"""How far behind the leader a position is, from samples alone. Time is a parameter here."""

from __future__ import annotations

from matinee.storage.staleness import LeaderSamples


def sampled(*samples: tuple[int, float]) -> LeaderSamples:
    leader = LeaderSamples()
    for position, asked_s in samples:
        leader.add(position, asked_s)
    return leader


def test_a_copy_at_the_newest_position_is_as_old_as_the_newest_sample() -> None:
    leader = sampled((7, 10.0), (7, 10.1), (7, 10.2))

    assert round(leader.staleness_s(7, 10.25), 3) == 0.05


def test_a_copy_that_lags_is_as_old_as_the_last_sample_that_it_had_reached() -> None:
    leader = sampled((7, 10.0), (8, 10.1), (9, 10.2))

    assert [round(leader.staleness_s(position, 11.0), 3) for position in (7, 8, 9, 10)] == [1.0, 0.9, 0.8, 0.8]


def test_a_position_before_all_samples_is_at_least_as_old_as_the_first_and_not_verified() -> None:
    leader = sampled((7, 10.0), (8, 12.0))

    assert (leader.staleness_s(3, 13.0), leader.is_verified(3, 12.1)) == (3.0, False)


def test_without_a_leader_staleness_grows_and_is_no_longer_verified() -> None:
    leader = sampled((7, 10.0))

    assert [leader.is_verified(7, moment_s) for moment_s in (10.5, 11.5)] == [True, False]
    assert leader.staleness_s(7, 15.0) == 5.0


def test_a_leader_that_lost_its_last_commits_starts_anew() -> None:
    leader = sampled((7, 10.0), (9, 10.1), (8, 10.2))

    assert (leader.newest, leader.is_verified(8, 10.3), leader.is_verified(7, 10.3)) == (8, True, False)


def test_before_the_first_sample_nothing_is_verified() -> None:
    assert (LeaderSamples().newest, LeaderSamples().is_verified(1, 0.0), LeaderSamples().staleness_s(1, 5.0)) == (0, False, 0.0)


def test_the_samples_that_are_kept_are_bounded() -> None:
    leader = sampled(*((position, position / 10) for position in range(20_000)))

    assert leader.staleness_s(19_000, 2_000.0) == 100.0
    assert not leader.is_verified(1, 2_000.0)
