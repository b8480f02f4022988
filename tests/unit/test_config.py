"""The settings table: defaults, where values come from, and all faults told at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from matinee import config as config_module
from matinee.config import SETTINGS, Config, load, origins, secret_path, without_password
from matinee.errors import ConfigError

SECRET = "s3cret-" * 5
# A folder that does not exist, so that nothing is read from the disk.
BASE = {"MATINEE_HOME": "/nonexistent/matinee", "SECRET_KEY": SECRET}


def faults_of(environ: Mapping[str, str], **overrides: Any) -> list[str]:
    """Return what is wrong with the settings, line by line."""
    with pytest.raises(ConfigError) as caught:
        load({**BASE, **environ}, **overrides)
    first, *faults = caught.value.detail.splitlines()
    assert first == "The settings are wrong:"
    return [fault.removeprefix("  - ") for fault in faults]


def test_without_an_environment_every_setting_is_its_default() -> None:
    config = load(BASE)

    assert config == Config(home=Path("/nonexistent/matinee").resolve(), secret_key=SECRET)
    assert config.database_path == config.home / "catalogue.sqlite3"
    assert not config.production


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert load({**BASE, "PORT": "", "MATINEE_ENV": "", "ALLOWED_HOSTS": ""}) == load(BASE)


def test_values_are_read_in_their_kind() -> None:
    config = load({
        **BASE, "PORT": "9000", "MATINEE_ACCESS_LOG": "Off", "LOG_LEVEL": "DEBUG", "ALLOWED_HOSTS": " a.org, ,b.org ",
        "MATINEE_PUBLIC_URL": "https://movies.example.org/", "DATABASE_URL": "sqlite:////data/movies.sqlite3",
    })  # fmt: skip

    assert (config.port, config.access_log, config.log_level) == (9000, False, "debug")
    assert (config.allowed_hosts, config.public_url) == (("a.org", "b.org"), "https://movies.example.org")
    assert config.database_path == Path("/data/movies.sqlite3").resolve()


def test_the_command_line_goes_before_the_environment() -> None:
    config = load({**BASE, "PORT": "9000", "WEB_CONCURRENCY": "3"}, port=9001, workers=None)

    assert (config.port, config.workers) == (9001, 3)


@pytest.mark.parametrize(
    ("env", "text", "reason"),
    [
        ("PORT", "0", "must be a whole number from 1 to 65535"),
        ("PORT", "http", "must be a whole number from 1 to 65535"),
        ("WEB_CONCURRENCY", "1.5", "must be a whole number from 1 to 256"),
        ("MATINEE_ENV", "prod", "must be one of development, production"),
        ("LOG_LEVEL", "loud", "must be one of debug, info, warning, error"),
        ("LOG_FORMAT", "xml", "must be one of auto, console, json"),
        ("MATINEE_PUBLIC_READS", "maybe", "must be true or false"),
        ("MATINEE_PUBLIC_URL", "movies.example.org", "must begin with http:// or https://"),
        (
            "DATABASE_URL",
            "mysql://db",
            "must be postgresql://USER@HOST/DATABASE or sqlite:///PATH",
        ),
        (
            "DATABASE_URL",
            "sqlite:///",
            "must be postgresql://USER@HOST/DATABASE or sqlite:///PATH",
        ),
        ("REDIS_URL", "cache:6379", "must be redis://[USER:PASSWORD@]HOST[:PORT][/NUMBER], rediss://... or unix://PATH"),
        ("REDIS_URL", "unix://", "must be redis://[USER:PASSWORD@]HOST[:PORT][/NUMBER], rediss://... or unix://PATH"),
        ("MEMCACHED_URL", "cache:11211", "must be memcached://HOST[:PORT]"),
        ("MEMCACHED_URL", "memcached://one:11211,two:11211", "must be memcached://HOST[:PORT]"),
        ("MATINEE_SHARED_CACHE_DEADLINE_MS", "0", "must be a whole number from 1 to 10000"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(env: str, text: str, reason: str) -> None:
    assert faults_of({env: text}) == [f"{env}={text!r}: {reason}"]


def test_a_long_bad_value_is_shown_in_part() -> None:
    assert faults_of({"PORT": "9" * 5_000}) == [f"PORT={'9' * 80!r}: must be a whole number from 1 to 65535"]


@pytest.mark.parametrize(
    ("env", "hint"),
    [
        ("MATINEE_MAXAGE_S", "did you mean MATINEE_MAX_AGE_S?"),
        ("MATINEE_HOMES", "did you mean MATINEE_HOME?"),
        ("MATINEE_XYZZY_PLUGH_QUUX_FOO_BAR", "see `matinee config show` for the known ones"),
    ],
)
def test_an_unknown_variable_of_ours_is_refused_with_the_nearest(env: str, hint: str) -> None:
    assert faults_of({env: "1"}) == [f"{env} is no setting; {hint}"]


def test_variables_of_others_are_none_of_our_business() -> None:
    assert load({**BASE, "PATH": "/bin", "HOME": "/root", "MATINEES": "1"}) == load(BASE)


def test_all_faults_are_told_at_once() -> None:
    faults = faults_of({"MATINEE_MAXAGE_S": "1", "PORT": "x", "MATINEE_ENV": "production", "SECRET_KEY": ""})

    assert faults == [
        "MATINEE_MAXAGE_S is no setting; did you mean MATINEE_MAX_AGE_S?",
        "PORT='x': must be a whole number from 1 to 65535",
        "MATINEE_ENV=production needs SECRET_KEY, 32 characters or more, the same on every server",
        "MATINEE_ENV=production needs ALLOWED_HOSTS, as ALLOWED_HOSTS=movies.example.org",
    ]


@pytest.mark.parametrize("secret", ["", "x" * 31])
def test_production_demands_a_long_secret(secret: str) -> None:
    faults = faults_of({"MATINEE_ENV": "production", "ALLOWED_HOSTS": "a.org", "SECRET_KEY": secret})

    assert faults == ["MATINEE_ENV=production needs SECRET_KEY, 32 characters or more, the same on every server"]


@pytest.mark.parametrize("hosts", ["", " , "])
def test_production_demands_the_names_of_its_hosts(hosts: str) -> None:
    faults = faults_of({"MATINEE_ENV": "production", "ALLOWED_HOSTS": hosts})

    assert faults == ["MATINEE_ENV=production needs ALLOWED_HOSTS, as ALLOWED_HOSTS=movies.example.org"]


def test_production_with_a_secret_and_hosts_is_taken() -> None:
    config = load({**BASE, "MATINEE_ENV": "production", "SECRET_KEY": "x" * 32, "ALLOWED_HOSTS": "a.org"})

    assert (config.production, config.secret_key, config.allowed_hosts) == (True, "x" * 32, ("a.org",))


@pytest.mark.parametrize(
    ("environ", "opened"),
    [
        ({"MATINEE_HOST": "0.0.0.0"}, True),
        ({"MATINEE_HOST": "::"}, True),
        ({}, False),
        ({"MATINEE_HOST": "0.0.0.0", "ALLOWED_HOSTS": "a.org"}, False),
        ({"MATINEE_HOST": "0.0.0.0", "ALLOWED_HOSTS": "a.org", "MATINEE_ENV": "production"}, False),
    ],
)
def test_any_host_name_is_answered_only_in_a_trial_on_all_addresses(environ: dict[str, str], opened: bool) -> None:
    assert load({**BASE, **environ}).open_to_all_hosts is opened


@pytest.mark.parametrize(
    ("env", "url"),
    [
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "redis://cache"),
        ("REDIS_URL", "rediss://user:secret@cache.example.org:6380/1"),
        ("REDIS_URL", "unix:///run/redis/redis.sock"),
        ("MEMCACHED_URL", "memcached://cache"),
        ("MEMCACHED_URL", "memcached://[::1]:11211"),
    ],
)
def test_a_shared_cache_is_named_by_its_url(env: str, url: str) -> None:
    config = load({**BASE, env: url})

    assert {"REDIS_URL": config.redis_url, "MEMCACHED_URL": config.memcached_url} == {
        "REDIS_URL": "",
        "MEMCACHED_URL": "",
        env: url,
    }


def test_two_shared_caches_at_once_are_refused() -> None:
    faults = faults_of({"REDIS_URL": "redis://cache", "MEMCACHED_URL": "memcached://cache"})

    assert faults == ["REDIS_URL and MEMCACHED_URL are both set; choose one, and unset the other"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@cache:6379/0", "redis://:***@cache:6379/0"),
        ("redis://user:se:cr@et@cache", "redis://user:***@cache"),
        ("unix://:secret@/run/redis.sock?db=1", "unix://:***@/run/redis.sock?db=1"),
        ("redis://cache?db=1&password=secret&x=1", "redis://cache?db=1&password=***&x=1"),
        ("postgresql://user:secret@one:5432,two:5432/db", "postgresql://user:***@one:5432,two:5432/db"),
        ("redis://cache:6379/0", "redis://cache:6379/0"),
        ("https://movies.example.org/a:b@c", "https://movies.example.org/a:b@c"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_a_url_that_is_refused_is_told_without_its_password() -> None:
    (fault,) = faults_of({"DATABASE_URL": "mysql://user:secret@db"})

    assert fault == "DATABASE_URL='mysql://user:***@db': must be postgresql://USER@HOST/DATABASE or sqlite:///PATH"


def test_the_origin_of_every_setting_is_told() -> None:
    environ = {"MATINEE_HOME": "/nonexistent/matinee", "PORT": "9000"}
    config = load(environ, workers=4)

    sources = {row.name: row.source for row in origins(config, environ)}

    assert sources == {
        **dict.fromkeys((setting.name for setting in SETTINGS), "default"),
        "home": "environment MATINEE_HOME",
        "port": "environment PORT",
        "workers": "command line",
    }


def test_a_secret_that_we_keep_is_told_with_its_file() -> None:
    config = Config(home=Path("/nonexistent/matinee"), secret_key=SECRET)

    sources = {row.name: row.source for row in origins(config, {})}

    assert sources["secret_key"] == str(secret_path(config)) == "/nonexistent/matinee/secret_key"


def test_the_secret_key_and_nothing_else_is_flagged_as_a_secret() -> None:
    assert [row.name for row in origins(load(BASE), BASE) if row.secret] == ["secret_key"]


def test_a_secret_that_cannot_be_read_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = {"env": "SECRET_KEY", "read": bytes.fromhex, "secret": True}
    monkeypatch.setattr(config_module, "SETTINGS", [SimpleNamespace(name="secret_key", metadata=metadata)])

    with pytest.raises(ConfigError) as caught:
        load({"SECRET_KEY": SECRET})

    assert "  - SECRET_KEY=(hidden): " in caught.value.detail
    assert SECRET not in caught.value.detail


def test_a_secret_stands_in_no_message_and_in_no_printed_configuration() -> None:
    faults = faults_of({"MATINEE_ENV": "production", "SECRET_KEY": "too-short-a-secret", "PORT": "x"})

    assert not any("too-short-a-secret" in fault for fault in faults)
    assert SECRET not in repr(load(BASE))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_setting_has_a_variable_and_a_sentence(setting: Any) -> None:
    row = setting.metadata

    assert row["env"] == row["env"].upper() != ""
    assert row["help"].endswith(".")
    assert callable(row["read"])


def test_no_two_settings_have_one_variable() -> None:
    names = [setting.metadata["env"] for setting in SETTINGS]

    assert len(set(names)) == len(names)
