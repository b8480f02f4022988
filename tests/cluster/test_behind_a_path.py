"""A real server at https://.../films behind real proxies: nginx passes the path on, HAProxy takes it off."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from django.contrib.auth.models import User

from tests.processes import Server, end, eventually, free_port, start_server

pytestmark = pytest.mark.sqlite_only("paths are the same on both engines")
PASSWORD = "a long enough passphrase"
_NGINX = """
pid {folder}/nginx.pid; error_log {folder}/nginx.log; events {{ }}
http {{
    access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{
        listen 127.0.0.1:{port};
        location /films {{ proxy_pass http://127.0.0.1:{server}; proxy_set_header Host $http_host; }}
    }}
}}
"""
_HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend web
    bind 127.0.0.1:{port}
    http-request replace-path /films(/)?(.*) /\\2
    default_backend films
backend films
    server one 127.0.0.1:{server}
"""


@contextmanager
def proxy(name: str, text: str, folder: Path, port: int, server: Server) -> Iterator[str]:
    """Run a proxy until the block ends, and return its address."""
    file = folder / f"{name}.conf"
    file.write_text(text.format(folder=folder, port=port, server=urlsplit(server.url).port))
    command = ["nginx", "-c", str(file), "-g", "daemon off;"] if name == "nginx" else ["haproxy", "-f", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: answers(f"http://127.0.0.1:{port}/films/livez"), bool)
        yield f"http://127.0.0.1:{port}"
    finally:
        end(process)


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def proxies(small_catalogue: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Return the addresses of both proxies before one server."""
    tmp_path.chmod(0o755)
    User.objects.create_superuser("ann", password=PASSWORD)
    ports = {"nginx": free_port(), "haproxy": free_port()}
    with ExitStack() as stack:
        public = f"http://127.0.0.1:{ports['nginx']}/films"
        server = stack.enter_context(start_server(small_catalogue, MATINEE_PUBLIC_URL=public))
        texts = {"nginx": _NGINX, "haproxy": _HAPROXY}
        yield {name: stack.enter_context(proxy(name, texts[name], tmp_path, port, server)) for name, port in ports.items()}


def test_the_whole_service_works_below_a_path_behind_nginx_and_haproxy(proxies: dict[str, str]) -> None:
    for base in proxies.values():
        with httpx.Client(base_url=base, follow_redirects=True, timeout=20) as browser:
            docs, page = browser.get("/films/"), browser.get("/films/v1/movies?limit=1")
            admin = signed_in(browser)
            file = re.findall(r'href="(/[^"]+\.css[^"]*)"', admin.text)[0]
            left = browser.post("/films/admin/logout/", data={"csrfmiddlewaretoken": token_of(admin)})
            again = browser.get("/films/admin/")

            assert (docs.url.path, docs.status_code) == ("/films/docs", 200)
            assert page.headers["link"].startswith(f"<{proxies['nginx']}/films/v1/movies?limit=1&cursor=")
            assert (admin.url.path, "Log out" in admin.text) == ("/films/admin/", True)
            assert (file.startswith("/films/static/"), browser.get(file).status_code) == (True, 200)
            assert (left.status_code, again.url.path) == (200, "/films/admin/login/")


def signed_in(browser: httpx.Client) -> httpx.Response:
    """Return the first page after signing in, to which every redirect was followed."""
    form = browser.get("/films/admin/")
    assert form.url.path == "/films/admin/login/"
    typed = {"username": "ann", "password": PASSWORD, "csrfmiddlewaretoken": token_of(form), "next": "/films/admin/"}
    return browser.post("/films/admin/login/", data=typed)


def token_of(page: httpx.Response) -> str:
    """Return the token of a page's forms."""
    return re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)', page.text)[0]
