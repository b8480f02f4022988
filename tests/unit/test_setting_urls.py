"""The URLs of databases and caches: read as they were meant, or refused with what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from matinee.config import load
from matinee.errors import ConfigError
from matinee.setting_urls import as_memcached_url, as_redis_url, postgres_urls, sqlite_file

BASE = {"MATINEE_HOME": "/nonexistent/matinee", "SECRET_KEY": "s3cret-" * 5}


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////srv/x.db", "/srv/x.db"),
        ("sqlite:////srv/x.db?timeout=20", "/srv/x.db"),
        ("sqlite:////srv/my%20films%3F%23.db", "/srv/my films?#.db"),
        ("sqlite:////srv/my films.db", "/srv/my films.db"),
        ("sqlite:////srv/%C3%A9t%C3%A9.db", "/srv/été.db"),
        ("sqlite:////srv/été.db", "/srv/été.db"),
        ("sqlite:////srv/50%25.db", "/srv/50%.db"),
    ],
)
def test_a_sqlite_url_names_the_decoded_path_and_nothing_of_its_parameters(url: str, path: str) -> None:
    assert load({**BASE, "DATABASE_URL": url}).database_path == Path(path)


def test_three_slashes_begin_a_path_relative_to_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert sqlite_file("sqlite:///a/x.db").path == tmp_path / "a" / "x.db"


def test_the_timeout_of_a_sqlite_url_is_the_busy_timeout_unless_the_setting_states_one() -> None:
    url = {**BASE, "DATABASE_URL": "sqlite:////srv/x.db?timeout=20"}

    assert load(url).busy_timeout_ms == 20_000
    assert load({**url, "MATINEE_BUSY_TIMEOUT_MS": "7"}).busy_timeout_ms == 7


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://x.db", "four slashes begin an absolute path"),
        ("sqlite:x.db", "four slashes begin an absolute path"),
        ("sqlite:///:memory:", "a catalogue in memory cannot be shared"),
        ("sqlite:///file:x.db?mode=ro", "not a file: URI"),
        ("sqlite:////x.db?mode=ro", "there is no parameter 'mode'; the known one is timeout=SECONDS"),
        ("sqlite:////x.db?", "there is no parameter ''"),
        ("sqlite:////x.db?timeout=soon", "timeout must be a number of seconds from 0 to 60"),
        ("sqlite:////x.db#1", "a # in a file's name is written %23"),
        ("sqlite:////x%00.db", "no path holds a control character"),
        ("sqlite:////x\n.db", "no path holds a control character"),
        ("sqlite:////50%off.db", "written %25"),
        ("sqlite:////x%ff.db", "not UTF-8"),
        ("sqlite:////srv/folder/", "names a folder"),
        ("sqlite:////tmp", "names a folder"),
        ("sqlite:///C:\\films.db", "no drive letter"),
        ("sqlite:////C:/films.db", "no drive letter"),
        ("sqlite3:///x.db", "must be postgresql://"),
        ("postgres//u@h/db", "must be postgresql://"),
        ("postgresql:/u@h/db", "must be postgresql://"),
        ("jdbc:postgresql://h/db", "must be postgresql://"),
        ("host=db dbname=matinee", "write the keywords as parts of the URL"),
        ("postgresql://u@h", "names no database"),
        ("postgresql://u@h/", "names no database"),
        ("postgresql://u@h:5432x/db", "the port must be a number"),
        ("postgresql://u@h:99999/db", "the port must be a number"),
        ("postgresql://u@::1/db", "an IPv6 address stands in brackets"),
        ("postgresql://u@h/db?sslmod=require", "there is no parameter 'sslmod'; did you mean sslmode?"),
        ("postgresql://u:p@ss@h/db", "@ is written %40"),
        ("postgresql://u:p/ss@h/db", "@ is written %40"),
        ("postgresql://u:50%off@h/db", "written %25"),
        ("postgresql://u@h/my films", "a blank"),
    ],
)
def test_a_faulty_database_url_is_refused_with_the_remedy_and_without_the_password(url: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({**BASE, "DATABASE_URL": url})

    assert words in caught.value.detail
    assert "50%off@" not in caught.value.detail
    assert "p@ss" not in caught.value.detail


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%40ss%2F@h:5433/db?sslmode=require&application_name=x",
        "postgresql://u@[::1]:5433/db",
        "postgres://one:5432,two:5433/db?target_session_attrs=read-write",
        "postgresql:///db?host=/run/postgresql",
        "postgresql://?service=films",
    ],
)
def test_a_good_url_of_postgresql_is_taken_as_it_is(url: str) -> None:
    assert postgres_urls(url) == (url,)


@pytest.mark.parametrize("url", ["redis://h:x", "redis://h/one", "redis://h?dbb=1", "redis//h", "redis://a,b", "redis://h:0"])
def test_a_faulty_url_of_redis_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        as_redis_url(url)


def test_good_urls_of_caches_are_taken_and_faulty_ports_refused() -> None:
    for url in (
        "redis://h",
        "rediss://u:p%40@h:6379/2",
        "unix:///run/redis.sock",
        "redis://[::1]:6379",
        "unix://u:p@/x.sock?db=1",
    ):
        assert as_redis_url(url) == url
    assert as_memcached_url("memcached://[::1]:11211") == "memcached://[::1]:11211"
    with pytest.raises(ValueError, match="the port must be a number from 1 to 65535"):
        as_memcached_url("memcached://h:99999")


def test_a_sqlite_url_in_the_home_folder_of_no_user_is_told_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"cannot be used as a file \(Could not determine home directory"):
        sqlite_file("sqlite:///~no-such-user-here/films.db")
