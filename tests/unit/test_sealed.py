"""Which values of the shared tier open: those of this installation's key, under their own cache key, in this history."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from matinee.cache.sealed import Seals
from matinee.domain.change_log import ChangeLog, LogRow

HEAD_BYTES = 29  # format, position, mark of the position, MAC
seals = Seals("a secret of this installation")


def log_of(at: str = "2026-11-28 12:00:00") -> ChangeLog:
    log = ChangeLog()
    log.append([LogRow(7, "movie", 1, at)], 0.0)
    return log


def sealed(by: Seals = seals, key: str = "m:1") -> bytes:
    value = by.seal(log_of(), key, 7, b"content")
    assert value is not None
    return value


def refused() -> dict[str, float]:
    name = "matinee_shared_cache_refused_values_total"
    return {reason: REGISTRY.get_sample_value(name, {"reason": reason}) or 0.0 for reason in ("format", "mac", "history")}


def reasons(value: bytes, key: str = "m:1", log: ChangeLog | None = None) -> list[str]:
    """Return by which reasons a value was refused, once each."""
    before = refused()
    assert seals.unseal(log or log_of(), key, value) is None
    return [reason for reason, count in refused().items() if count == before[reason] + 1]


def test_a_value_opens_under_its_own_key_for_every_server_with_the_secret() -> None:
    other_server = Seals("a secret of this installation")

    assert other_server.unseal(log_of(), "m:1", sealed()) == (7, b"content")
    assert len(sealed()) == HEAD_BYTES + len(b"content")


@pytest.mark.parametrize("place", range(1, HEAD_BYTES + len(b"content")))
def test_a_value_of_which_one_bit_was_changed_is_refused(place: int) -> None:
    value = bytearray(sealed())
    value[place] ^= 1

    assert reasons(bytes(value)) == ["mac"]


def test_a_value_that_was_moved_to_another_key_is_refused() -> None:
    assert reasons(sealed(key="m:2"), "m:1") == ["mac"]


@pytest.mark.parametrize("secret", ["the secret before it was rotated", ""])
def test_a_value_of_another_secret_is_refused(secret: str) -> None:
    assert reasons(sealed(Seals(secret))) == ["mac"]


def test_without_a_secret_the_key_is_known_to_this_process_alone() -> None:
    one, other = Seals(""), Seals("")

    assert one.unseal(log_of(), "m:1", sealed(one)) == (7, b"content")
    assert other.unseal(log_of(), "m:1", sealed(one)) is None


@pytest.mark.parametrize("value", [b"", b"\x02", sealed()[: HEAD_BYTES - 1], b"\x01" + sealed()[1:], b"x" * 1_000])
def test_a_value_without_room_for_a_mac_or_of_another_version_is_refused(value: bytes) -> None:
    assert reasons(value) == ["format"]


@pytest.mark.parametrize("length", [HEAD_BYTES, HEAD_BYTES + 3])
def test_a_truncated_value_is_refused(length: int) -> None:
    assert reasons(sealed()[:length]) == ["mac"]


@pytest.mark.parametrize("log", [log_of("2026-11-28 13:00:00"), ChangeLog()])
def test_a_value_of_another_history_is_refused(log: ChangeLog) -> None:
    assert reasons(sealed(), log=log) == ["history"]
