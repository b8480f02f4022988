"""Make a staff user with a session, or remove it: `python -m bench.attack.account make|remove NAME`. Called by served.py.

The session is made in the database, as a sign-in would make it: the sign-in form is attacked on its own.
"""

from __future__ import annotations

import secrets
import sys
import time

from matinee import runtime


def make(name: str) -> str:
    """Return the session key of a new superuser without a usable password."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
    from django.contrib.sessions.backends.db import SessionStore

    from matinee.http.admin.session_age import BEGAN, USED

    user = get_user_model().objects.create_superuser(name, password=secrets.token_urlsafe(32))
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session[BEGAN] = session[USED] = int(time.time())
    session.save()
    return str(session.session_key)


def remove(name: str) -> str:
    """Delete the user; their session ends with them."""
    from django.contrib.auth import get_user_model

    get_user_model().objects.filter(username=name).delete()
    return ""


if __name__ == "__main__":
    runtime.setup_django()
    print({"make": make, "remove": remove}[sys.argv[1]](sys.argv[2]))
