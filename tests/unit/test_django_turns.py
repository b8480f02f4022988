"""How many requests of the admin compute at once, and with which priority a password is hashed."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.handlers.asgi import ASGIHandler

from matinee.http.django_pages import DjangoPages
from matinee.http.known_sessions import IS_VISITOR
from matinee.write import password_hashing

VISITORS, USERS, SIGN_INS = {IS_VISITOR: True}, {}, {IS_VISITOR: True, "path": "/admin/login/", "method": "POST"}  # type: ignore[var-annotated]


@pytest.mark.parametrize(("more", "most"), [(VISITORS, 1), (USERS, 3), (SIGN_INS, 10)])
def test_of_ten_requests_at_once_only_so_many_compute(monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], most: int) -> None:
    running, seen = 0, []

    async def answer(_: Any, request: Any) -> Any:
        nonlocal running
        running += 1
        seen.append(running)
        for _turn in range(20):
            await asyncio.sleep(0)
        running -= 1
        return request

    async def all_at_once() -> list[Any]:
        pages = DjangoPages()
        request = SimpleNamespace(scope={"path": "/admin/", "method": "GET", **more})
        return await asyncio.gather(*(pages.get_response_async(request) for _ in range(10)))

    monkeypatch.setattr(ASGIHandler, "get_response_async", answer)

    assert (len(asyncio.run(all_at_once())), max(seen)) == (10, most)


def test_a_password_is_hashed_as_django_does_in_a_thread_that_yields_to_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []
    plain = PBKDF2PasswordHasher.encode

    def noted(*given: Any) -> str:
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return plain(*given)

    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", noted)
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    encoded = password_hashing.LowPriorityHasher().encode("a long password", "salt", 10)

    assert (encoded, found) == (plain(PBKDF2PasswordHasher(), "a long password", "salt", 10), [min(own + 5, 19)])


def test_a_worker_that_was_forked_after_a_hash_hashes_too() -> None:
    hasher = password_hashing.LowPriorityHasher()
    hasher.encode("a long password", "salt", 10)
    worker = multiprocessing.get_context("fork").Process(target=hasher.encode, args=("another", "salt", 10))

    worker.start()
    worker.join(20)
    is_done = worker.exitcode == 0
    worker.kill()

    assert is_done
