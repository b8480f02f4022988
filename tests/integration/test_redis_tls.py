"""The shared tier over TLS: the server has to prove that it is the one of our CA, and nobody else's word counts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from matinee.cache.link import LinkFailed
from matinee.cache.redis import RedisLink, redis_driver
from matinee.errors import ConfigError
from matinee.ops import certificates
from matinee.ops.certificates import Wanted
from tests.processes import free_port
from tests.shared_tiers import RedisServer, running

pytestmark = pytest.mark.sqlite_only("it is of no engine of the catalogue: once is enough")


@contextmanager
def redis_with_tls(folder: Path, host: str) -> Iterator[int]:
    """Run a Redis whose certificate is for a host, and return the port of its TLS."""
    certificates.ensure(folder / "tls", "matinee", [Wanted("node", (host,), is_client=False)])
    files = {"ca-cert": "ca.crt", "cert": "node.crt", "key": "node.key"}
    named = [word for kind, name in files.items() for word in (f"--tls-{kind}-file", str(folder / "tls" / name))]
    port = free_port()
    with running(RedisServer, folder, "--tls-port", str(port), "--tls-auth-clients", "no", *named):
        yield port


async def said(url: str) -> str:
    """Return what Redis answers to a PING, or why there is no answer."""
    link = RedisLink(url)
    try:
        return str((await link.ask("PING")).decode())
    except LinkFailed as failure:
        return f"failed: {failure}"
    finally:
        await link.close()


def test_a_redis_of_our_ca_is_used_and_one_of_another_ca_is_not(tmp_path: Path) -> None:
    certificates.ensure(tmp_path / "other", "matinee", [])
    with redis_with_tls(tmp_path, "127.0.0.1") as port:
        found = [
            asyncio.run(said(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path}/{folder}/ca.crt"))
            for folder in ("tls", "other")
        ]

    assert (found[0], "CERTIFICATE_VERIFY_FAILED" in found[1]) == ("PONG", True)


def test_a_redis_whose_certificate_is_for_another_host_is_not_used(tmp_path: Path) -> None:
    with redis_with_tls(tmp_path, "10.0.0.9") as port:
        found = asyncio.run(said(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path}/tls/ca.crt"))

    assert "IP address mismatch" in found


def test_only_the_stated_ca_is_trusted_and_its_file_is_read_once(tmp_path: Path) -> None:
    certificates.ensure(tmp_path, "matinee", [])
    url = f"rediss://127.0.0.1:1/0?ssl_ca_certs={tmp_path}/ca.crt"
    contexts = [RedisLink(url)._connection.ssl_context.get() for _ in range(2)]  # type: ignore[attr-defined]

    assert (len(contexts[0].get_ca_certs()), contexts[0] is contexts[1]) == (1, True)


def test_a_ca_file_that_is_not_there_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be used \(.*No such file"):
        redis_driver(f"rediss://127.0.0.1:1/0?ssl_ca_certs={tmp_path}/none.crt")
