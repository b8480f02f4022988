"""The text of a variable: what surrounds the value is dropped, and what cannot be a value is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from matinee.config import Config, load, origins
from matinee.errors import ConfigError
from matinee.http.public_path import below

BASE = {"MATINEE_HOME": "/nonexistent/matinee", "SECRET_KEY": "x" * 40}


def refusal(**variables: str) -> str:
    """Return what is wrong with the settings."""
    with pytest.raises(ConfigError) as caught:
        load({**BASE, **variables})
    return caught.value.detail


@pytest.mark.parametrize("around", ["{}\n", " {}\t", '"{}"', "'{}'", '"{}"\n', '" {} "', "\r\n{}\r\n"])
def test_blanks_line_ends_and_quotes_around_a_value_are_dropped(around: str) -> None:
    values = {"PORT": "9000", "MATINEE_HOME": "/a folder/höme", "LOG_LEVEL": "debug", "MATINEE_PUBLIC_URL": "https://a.org"}
    values |= {"SECRET_KEY": "s" * 40, "DATABASE_URL": "postgresql://u:p@h/d", "MATINEE_ACCESS_LOG": "off"}

    assert load({name: around.format(value) for name, value in values.items()}) == load(values)


@pytest.mark.parametrize("empty", ["", " ", "\n", '""', "''", '" "'])
def test_a_value_of_blanks_or_quotes_alone_is_as_good_as_none(empty: str) -> None:
    variables = {**BASE, "PORT": empty, "MATINEE_ENV": empty, "DATABASE_URL": empty}

    assert load(variables) == load(BASE)
    assert {row.source for row in origins(load(variables), variables) if row.env == "PORT"} == {"default"}


def test_quotes_inside_a_value_and_a_single_one_stay() -> None:
    assert load({**BASE, "SECRET_KEY": "\"a'" + "x" * 40}).secret_key == "\"a'" + "x" * 40


@pytest.mark.parametrize("name", ["MATINEE_HOME", "PORT", "ALLOWED_HOSTS", "MATINEE_LOG_FILE"])
def test_bytes_that_are_not_utf8_are_named_and_can_be_printed(name: str) -> None:
    detail = refusal(**{name: "/caf\udce9"})

    assert f"{name}='/caf\\udce9': " in detail
    assert detail.isascii()


def test_a_secret_of_bytes_that_are_not_utf8_is_not_shown() -> None:
    assert "SECRET_KEY=(hidden): holds bytes that are not UTF-8" in refusal(SECRET_KEY="abc\udce9")


def test_a_misspelt_name_of_other_bytes_can_be_printed() -> None:
    assert "MATINEE_H\\udce9 is no setting" in refusal(**{"MATINEE_H\udce9": "1"})


@pytest.mark.parametrize(
    ("home", "reason"),
    [("~no-such-user-here/x", "home directory"), ("/" + "x" * 300, "File name too long"), ("/x" * 3_000, "File name too long")],
)
def test_a_home_that_can_be_no_folder_is_told_in_a_sentence(home: str, reason: str) -> None:
    detail = refusal(MATINEE_HOME=home)

    assert "cannot be used as a folder (" in detail
    assert reason in detail


def test_a_loop_of_links_as_home_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")

    assert "cannot be used as a folder (Symlink loop" in refusal(MATINEE_HOME=str(tmp_path / "one"))


def test_without_a_home_folder_of_the_user_the_setting_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Config, "home", Path())

    with pytest.raises(ConfigError, match="MATINEE_HOME is not set, and this user has no home folder"):
        load({})
    assert load({"MATINEE_HOME": "/x"}).home == Path("/x")


@pytest.mark.parametrize(
    ("hosts", "instead"),
    [
        ("http://films.example.org/", "films.example.org"),
        ("*.example.org", ".example.org"),
        ("https://*.example.org", ".example.org"),
        ("films.example.org:8000", "films.example.org"),
        ("films.example.org/api", "films.example.org"),
        ("[::1]:8000", "[::1]"),
        ("a b", "films.example.org"),
    ],
)
def test_a_host_that_never_matches_is_refused_with_what_to_write(hosts: str, instead: str) -> None:
    assert f"{hosts!r} never matches a Host header; write {instead}\n" in refusal(ALLOWED_HOSTS=f"a.org,{hosts}") + "\n"


def test_hosts_are_names_and_addresses_as_a_host_header_has_them() -> None:
    config = load({**BASE, "ALLOWED_HOSTS": "*,.example.org,my_host,10.0.0.1,::1,[::2]"})

    assert config.allowed_hosts == ("*", ".example.org", "my_host", "10.0.0.1", "[::1]", "[::2]")


def test_an_origin_with_a_wildcard_is_refused_with_what_to_write() -> None:
    told = refusal(MATINEE_CORS_ORIGINS="https://*.example.org")

    assert "'https://*.example.org' never matches: browsers send no *; list each origin, or write * alone for any" in told


@pytest.mark.parametrize(
    "url", ["https://", "https://*.org", "https://a.org?x=1", "https://a.org:x", "https://u@a.org", "http:///a"]
)
def test_a_public_url_that_is_no_address_is_refused(url: str) -> None:
    assert "is no address of a site; write scheme, host and path only" in refusal(MATINEE_PUBLIC_URL=url)


@pytest.mark.parametrize("url", ["https://a.org/films", "https://a.org/films/", "https://a.org:8443/a/b-2/films"])
def test_a_public_url_may_have_a_path(url: str) -> None:
    config = load({**BASE, "MATINEE_PUBLIC_URL": url})

    assert config.public_url == url.rstrip("/") == config.public_origin + config.public_path
    assert config.public_path.endswith("/films")


@pytest.mark.parametrize("path", ["/a//b", "/../b", "/.", "/fílms", "/a%20b", "/a;b", "/'a"])
def test_a_path_of_the_public_url_that_could_be_written_in_two_ways_is_refused(path: str) -> None:
    assert "must be of letters, digits, ., _, ~ and - between single slashes" in refusal(
        MATINEE_PUBLIC_URL=f"https://a.org{path}"
    )


@pytest.mark.parametrize("path", ["/v1", "/admin/films", "/docs", "/static", "/livez", "/openapi.json"])
def test_a_path_of_the_public_url_that_the_service_has_itself_is_refused(path: str) -> None:
    name = path.split("/")[1]

    assert f"cannot begin with /{name}, which is an address of the service itself" in refusal(
        MATINEE_PUBLIC_URL=f"https://a.org{path}"
    )


def test_what_is_below_a_path_costs_nothing_where_there_is_none() -> None:
    async def app(*_: object) -> None:
        """Stand for the service."""

    assert below("", app) is app
