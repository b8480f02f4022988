"""Variables that Kubernetes and Docker inject for a service named matinee: ignored by shape, and never taken for a setting."""

from __future__ import annotations

import pytest

from matinee.config import Config, load
from matinee.errors import ConfigError
from matinee.injected_variables import injected

BASE = {"MATINEE_HOME": "/nonexistent/matinee", "SECRET_KEY": "x" * 40}


def service(name: str, address: str = "10.96.7.1", port: int = 8000, protocol: str = "tcp") -> dict[str, str]:
    """Return what Kubernetes injects for a Service with one named port."""
    host = f"[{address}]" if ":" in address else address
    url, one = f"{protocol}://{host}:{port}", f"{name}_PORT_{port}_{protocol.upper()}"
    return {
        f"{name}_SERVICE_HOST": address,
        f"{name}_SERVICE_PORT": str(port),
        f"{name}_SERVICE_PORT_HTTP": str(port),
        f"{name}_PORT": url,
        one: url,
        f"{one}_PROTO": protocol,
        f"{one}_PORT": str(port),
        f"{one}_ADDR": address,
    }


@pytest.mark.parametrize(
    "variables",
    [
        service("MATINEE"),
        service("MATINEE_API"),
        service("MATINEE_PORT"),
        service("MATINEE_2"),
        service("MATINEE", "fd00:10:96::1"),
        service("MATINEE_DNS", port=53, protocol="udp"),
        service("MATINEE") | service("MATINEE_REDIS", port=6379) | service("REDIS", port=6379) | service("POSTGRES"),
    ],
)
def test_a_service_leaves_every_setting_as_it_is(variables: dict[str, str]) -> None:
    assert load({**BASE, **variables}) == load(BASE)
    assert injected(variables) == sorted(name for name in variables if name.startswith("MATINEE"))


def test_a_docker_link_is_ignored_with_the_variables_of_the_other_container() -> None:
    link = {"MATINEE_NAME": "/shop/matinee", "MATINEE_PORT": "tcp://172.17.0.5:8000", "MATINEE_ENV_GREETING": "any words"}

    assert injected(link) == sorted(link)
    assert load({**BASE, **link}) == load(BASE)


@pytest.mark.parametrize("name", ["MATINEE_HOST", "MATINEE_HOME", "PORT"])
def test_a_setting_that_is_set_is_still_taken_beside_a_service(name: str) -> None:
    values = {"MATINEE_HOST": "0.0.0.0", "MATINEE_HOME": "/elsewhere", "PORT": "9000"}

    found = load({**BASE, **service("MATINEE"), name: values[name]})

    assert found == load({**BASE, name: values[name]}) != Config()


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("MATINEE_PORT", "8000", "did you mean PORT?"),
        ("MATINEE_PORT", "http://10.0.0.1:8000", "did you mean PORT?"),
        ("MATINEE_PORT", "tcp://10.0.0.1", "did you mean PORT?"),
        ("MATINEE_PORT", "tcp://10.0.0.999:80", "did you mean PORT?"),
        ("MATINEE_PORT", "tcp://10.0.0.1:80000", "did you mean PORT?"),
        ("MATINEE_SERVICE_HOST", "movies.example.org", "did you mean MATINEE_"),
        ("MATINEE_SERVICE_PORT", "http", "did you mean MATINEE_"),
        ("MATINEE_PORT_8000_TCP_PROTO", "8000", ""),
        ("MATINEE_ENV_GREETING", "hello", "did you mean MATINEE_ENV?"),
        ("MATINEE_DATABASE_URL", "postgresql://db/matinee", "did you mean DATABASE_URL?"),
        ("MATINEE_NAME", "matinee", "did you mean MATINEE_"),
    ],
)
def test_what_only_looks_like_an_injected_variable_is_still_an_error(name: str, value: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({**BASE, name: value})

    assert f"{name} is no setting; {hint}" in caught.value.detail
