"""End a session that was not used for a while, or that is old, however much it is used. A middleware, named in settings.

A session with a time of the future ends too: a clock that was ahead would lengthen it by as much as it was ahead.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from matinee.http.known_sessions import SIGNED_IN

BEGAN, USED = "matinee.began_s", "matinee.used_s"  # seconds since 1970, whole
_CLOCKS_DIFFER_S = 300  # the clocks of servers at most
_NOTED_EVERY_S = 600  # a session is written at most so often because it is used


class SessionAge:
    """Sign a user out whose session is too old."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the request, as an anonymous one when the session has ended."""
        if request.user.is_authenticated:
            _look_at(request, int(time.time()))
        if request.user.is_authenticated:
            _tell_signed_in(request)
        return self._get_response(request)


def _look_at(request: HttpRequest, now_s: int) -> None:
    session = request.session
    began_s, used_s = session.get(BEGAN, 0), session.get(USED, 0)
    is_old = now_s - began_s > settings.SESSION_COOKIE_AGE or now_s - used_s > settings.SESSION_IDLE_S
    if is_old or max(began_s, used_s) - now_s > _CLOCKS_DIFFER_S:
        logout(request)
    elif now_s - used_s > _NOTED_EVERY_S:
        session[USED] = now_s


def _tell_signed_in(request: HttpRequest) -> None:
    """Tell the ASGI layer, so that this session's requests are not taken for a stranger's; Django's test client has none."""
    getattr(request, "scope", {})[SIGNED_IN] = True


def connect() -> None:
    """Note the time of each sign-in in its session; called by apps.py."""
    user_logged_in.connect(_begin)


def _begin(request: HttpRequest, **_: Any) -> None:
    request.session[BEGAN] = request.session[USED] = int(time.time())
    _tell_signed_in(request)
