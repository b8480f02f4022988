"""A value is made once for all who want it within a short time."""

from __future__ import annotations

import asyncio

import pytest

from matinee.http.shared_value import SharedValue

pytestmark = pytest.mark.unit


class Source:
    """A value that counts how often it was made, and fails while `fault` is set; it is also the clock."""

    def __init__(self) -> None:
        self.made, self.now_s = 0, 100.0
        self.fault: Exception | None = None
        self.shared = SharedValue(self.make, 1.0, lambda: self.now_s)

    async def make(self) -> int:
        await asyncio.sleep(0)
        self.made += 1
        if self.fault is not None:
            raise self.fault
        return self.made


def gathered(source: Source, count: int) -> list[int | BaseException]:
    """Return what concurrent callers get."""

    async def run() -> list[int | BaseException]:
        return await asyncio.gather(*(source.shared.get() for _ in range(count)), return_exceptions=True)

    return asyncio.run(run())


def test_concurrent_callers_share_one_value_and_later_ones_too_until_it_is_old() -> None:
    source = Source()

    first = gathered(source, 3)
    source.now_s += 0.9
    second = gathered(source, 2)
    source.now_s += 0.1

    assert (first, second, gathered(source, 2)) == ([1, 1, 1], [1, 1], [2, 2])


def test_an_error_is_shared_and_not_kept() -> None:
    source = Source()
    source.fault = OSError("gone")
    failed = gathered(source, 2)
    source.fault = None

    assert (failed[0] is failed[1], type(failed[0]), gathered(source, 1)) == (True, OSError, [2])
