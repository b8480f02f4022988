"""Forms of the admin in an encoding that it does not read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from matinee import config as configuration
from matinee.http.sign_in_slots import SignInSlots

FOREIGN = ["latin1", "utf-16", "utf-7", "cp037", "zlib", "idna", "undefined", '"rot13"', "UTF-8x", ""]


def statuses(path: str, content_type: str) -> list[int]:
    """Send a form to the admin; return the statuses it answers, 200 when Django was reached."""
    seen: list[int] = []

    async def django(scope: Any, receive: Any, send: Any) -> None:
        seen.append(200)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"username=a", "more_body": False}

    async def send(message: Any) -> None:
        seen.extend([message["status"]] if "status" in message else [])

    headers = [(b"content-type", content_type.encode())]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "client": ("192.0.2.1", 1)}
    asyncio.run(SignInSlots(django, configuration.load({"MATINEE_HOME": "/nowhere"}))(scope, receive, send))
    return seen


@pytest.mark.parametrize("path", ["/admin/login/", "/admin/catalogue/movie/add/"])
@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b"])
def test_a_form_that_is_not_in_utf_8_is_refused_before_it_is_read(path: str, kind: str) -> None:
    refused = {charset: statuses(path, f"{kind}; Charset={charset}") for charset in FOREIGN}
    taken = [statuses(path, text) for text in (kind, f"{kind}; charset=utf-8", f'{kind};charset="UTF8" ; x=1')]

    assert refused == {charset: [415] for charset in FOREIGN}
    assert taken == [[200]] * 3
