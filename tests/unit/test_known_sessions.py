"""The sessions of staff, told from cookies that anybody makes up."""

from __future__ import annotations

from typing import Any

from matinee.http.known_sessions import KnownSessions


def request(cookie: str) -> Any:
    """Return the scope of a request with a cookie header."""
    return {"headers": [(b"host", b"localhost"), (b"cookie", cookie.encode())]}


def test_a_session_is_known_from_its_first_answered_request_on_for_half_a_day() -> None:
    now_s = [0.0]
    sessions = KnownSessions(lambda: now_s[0])
    before = sessions.knows(request("matinee_session=abc"))
    sessions.note(request("a=b; matinee_session=abc; c=d"), [])

    soon = [sessions.knows(request(f"matinee_session={key}")) for key in ("abc", "abd", "")]
    now_s[0] = 12 * 3600.0

    assert (before, soon, sessions.knows(request("matinee_session=abc"))) == (False, [True, False, False], False)


def test_no_more_than_a_thousand_are_remembered_and_the_newest_stay() -> None:
    sessions = KnownSessions()
    for number in range(1_001):
        sessions.note(request(f"matinee_session=s{number}"), [])

    assert [sessions.knows(request(f"matinee_session=s{number}")) for number in (0, 1, 1_000)] == [False, True, True]


def test_a_request_without_a_cookie_is_nobodys() -> None:
    sessions = KnownSessions()
    sessions.note({"headers": []}, [])
    sessions.note(request("matinee_session=abc"), [])

    assert sessions.knows({"headers": []}) is False


def test_the_session_that_a_sign_in_begins_is_known_before_its_first_request() -> None:
    sessions = KnownSessions()
    sessions.note(request("matinee_session=old"), [(b"Set-Cookie", b"matinee_session=new; HttpOnly; Path=/; SameSite=Lax")])

    assert [sessions.knows(request(f"matinee_session={key}")) for key in ("old", "new")] == [False, True]


def test_a_sign_out_has_the_session_forgotten_and_makes_no_other_one_known() -> None:
    sessions = KnownSessions()
    sessions.note(request("matinee_session=abc"), [])
    sessions.note(request("matinee_session=abc"), [(b"Set-Cookie", b'matinee_session=""; expires=Thu, 01 Jan 1970; Path=/')])

    assert [sessions.knows(request(f"matinee_session={key}")) for key in ("abc", '""', "")] == [False, False, False]
