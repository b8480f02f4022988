"""The admin's pages as a browser uses them: signed in, forms read from the page and sent back with what was typed."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import psycopg
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests import postgres

MOVIES = "/admin/catalogue/movie/"
PEOPLE = "/admin/catalogue/person/"
GENRES = "/admin/catalogue/genre/"
KEYS = "/admin/catalogue/apikey/"
LOG = "/admin/catalogue/change/"

Form = dict[str, list[str]]


@dataclass
class Page:
    """What was answered."""

    status: int
    text: str
    headers: Any
    queries: list[str] = field(default_factory=list)

    @property
    def words(self) -> str:
        """Return the visible text, blanks made one."""
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", self.text))

    def form(self, form_id: str) -> Form:
        """Return what a browser would send of a form."""
        reader = _FormReader(form_id)
        reader.feed(self.text)
        return reader.values

    def rows(self) -> list[str]:
        """Return the first column of a list."""
        return re.findall(r'<th class="field-[^>]*>\s*<a [^>]*>([^<]*)</a>', self.text)

    def link(self, text: str) -> str | None:
        """Return where a link leads, None when the page has none of this text."""
        found = re.search(rf'<a href="([^"]*)"[^>]*>{re.escape(text)}</a>', self.text)
        return found[1].replace("&amp;", "&") if found else None


class Admin:
    """Somebody who is signed in."""

    def __init__(self, user: User) -> None:
        self.client = Client(headers={"host": "localhost"})
        self.client.force_login(user)

    def get(self, path: str) -> Page:
        """Open a page, following redirects."""
        return self._page(lambda: self.client.get(path, follow=True))

    def post(self, path: str, form: Form, *, follow: bool = True) -> Page:
        """Send a form, following redirects unless told otherwise."""
        return self._page(lambda: self.client.post(path, form, follow=follow))

    def change(self, path: str, form_id: str, **typed: str | list[str]) -> Page:
        """Open a form, type something, and save it."""
        return self.post(path, with_typed(self.get(path).form(form_id), **typed))

    def act(self, path: str, action: str, ids: list[int], **more: str) -> Page:
        """Tick rows of a list and run an action."""
        form = {"action": [action], "index": ["0"], "_selected_action": [str(pk) for pk in ids]}
        return self.post(path, form | {name: [value] for name, value in more.items()})

    def _page(self, send: Any) -> Page:
        with CaptureQueriesContext(connection) as captured:
            response = send()
        return Page(response.status_code, response.content.decode(), response.headers, [row["sql"] for row in captured])


def admin(name: str = "ann", *, superuser: bool = True) -> Admin:
    """Return a new user who is signed in."""
    make = User.objects.create_superuser if superuser else User.objects.create_user
    return Admin(make(username=name, password=None, is_staff=True))


def with_typed(form: Form, **typed: str | list[str]) -> Form:
    """Return a form with something else typed into it."""
    return {**form, **{name: value if isinstance(value, list) else [value] for name, value in typed.items()}}


def with_credit(form: Form, **row: str) -> Form:
    """Return a movie's form with one more credit, as the page's script adds it."""
    at = int(form["credit_set-TOTAL_FORMS"][0])
    added = {f"credit_set-{at}-{name}": [value] for name, value in row.items()}
    return {**form, **added, "credit_set-TOTAL_FORMS": [str(at + 1)]}


@contextmanager
def locked(home: Any) -> Iterator[None]:
    """Hold the catalogue's write lock as another process would; whoever wants it gives up at once."""
    if postgres.wanted():
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = 10")
        with psycopg.connect(os.environ["DATABASE_URL"]) as session:
            session.execute("SELECT FROM log_head FOR UPDATE")
            yield
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(home / "catalogue.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


class _FormReader(HTMLParser):
    def __init__(self, form_id: str) -> None:
        super().__init__()
        self.values: Form = {}
        self._form_id, self._inside = form_id, False
        self._select = self._area = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name")
        if tag == "form":
            self._inside = given.get("id") == self._form_id
        elif not self._inside:
            return
        elif tag == "input" and name and "__prefix__" not in name:
            if given.get("type") not in {"checkbox", "radio", "submit"} or "checked" in given:
                self.values.setdefault(name, []).append(given.get("value") or ("on" if "checked" in given else ""))
        elif tag == "select":
            self._select = name if name and "__prefix__" not in name else None
        elif tag == "option" and self._select and "selected" in given:
            self.values.setdefault(self._select, []).append(given.get("value") or "")
        elif tag == "textarea" and name:
            self._area = name
            self.values[name] = [""]

    def handle_data(self, data: str) -> None:
        if self._area:
            self.values[self._area][0] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False
        elif tag == "select":
            self._select = None
        elif tag == "textarea" and self._area:
            # A browser leaves the first line break out and sends the others as carriage return and line feed.
            text = self.values[self._area][0].replace("\r\n", "\n").removeprefix("\n")
            self.values[self._area] = [text.replace("\n", "\r\n")]
            self._area = None
