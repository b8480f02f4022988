"""Django's handler for the admin, with a bound on how many of its requests run at once. Made by app.py.

Django runs each request in a thread of its own. Each thread that computes holds the interpreter's lock for up to 5 ms, and the
event loop, which answers the API, waits for all of them whenever it needs the lock again. So only a few run at once. The others
wait here, in the order of arrival, and cost the loop nothing. front.py bounds how many can wait (places.py).
Must never wait for a client while it holds a turn: Django has read the body before, and sends the answer after.
"""

from __future__ import annotations

import asyncio
from typing import Any

from django.core.handlers.asgi import ASGIHandler

from matinee.http.known_sessions import IS_VISITOR
from matinee.http.sign_in_slots import hashes_a_password

# Visitors have turns of their own: a flood of them must not make signed-in users wait.
_OF_USERS, _OF_VISITORS = 3, 1


class DjangoPages(ASGIHandler):
    """The admin as an ASGI application."""

    def __init__(self) -> None:
        super().__init__()
        self._of_users, self._of_visitors = asyncio.Semaphore(_OF_USERS), asyncio.Semaphore(_OF_VISITORS)

    async def get_response_async(self, request: Any) -> Any:
        """Answer a request when it is its turn. Those that hash a password have slots instead (sign_in_slots.py)."""
        scope = request.scope
        if hashes_a_password(scope):
            return await super().get_response_async(request)
        async with self._of_visitors if IS_VISITOR in scope else self._of_users:
            return await super().get_response_async(request)
