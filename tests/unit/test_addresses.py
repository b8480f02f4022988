"""Hosts and URLs: brackets around IPv6, names resolved, and each failure as a sentence."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from matinee import addresses
from matinee.errors import OperatorError, PortTaken


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("localhost", "http://localhost:80"),
        ("::1", "http://[::1]:80"),
        ("[::1]", "http://[::1]:80"),
        ("fe80::1%eth0", "http://[fe80::1%25eth0]:80"),
    ],
)
def test_a_url_has_brackets_around_ipv6(host: str, expected: str) -> None:
    assert addresses.url(host, 80) == expected


@pytest.mark.parametrize(("host", "expected"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("[::]", "::1"), ("a.org", "a.org")])
def test_a_server_on_all_addresses_is_reached_on_loopback(host: str, expected: str) -> None:
    assert addresses.reachable(host) == expected


def resolving(monkeypatch: pytest.MonkeyPatch, *found: str) -> None:
    """Let every name resolve to these addresses, or to none."""

    def look(name: str, *_: object, **__: object) -> list[tuple[Any, ...]]:
        if not found:
            raise socket.gaierror(-2, "Name or service not known")
        kinds = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(kinds[":" in address], socket.SOCK_STREAM, 6, "", (address, 0)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", look)


def test_a_name_has_all_its_addresses_once_and_ipv4_first(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "::1", "127.0.0.1", "::1", "127.0.0.2")

    assert addresses.resolved("a.name") == ["127.0.0.1", "127.0.0.2", "::1"]


def test_a_name_without_an_address_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch)

    with pytest.raises(OperatorError, match=r"'a.name' does not resolve to an address \(Name or service not known\)"):
        addresses.resolved("a.name")


@pytest.mark.parametrize(
    "host", ["x" * 70 + ".org", "a..b", "", "/run/matinee.sock", "unix:/run/x", "a b", "ü\udce9", "::1::", "[::1"]
)
def test_what_is_no_host_is_refused_in_one_sentence(host: str) -> None:
    with pytest.raises(PortTaken) as refused:
        addresses.listening_address(host, 8000)

    assert refused.value.detail.endswith("or another port with --port.")


def test_a_zone_id_is_refused_with_what_to_use_instead() -> None:
    with pytest.raises(PortTaken, match=r"^\[fe80::1%eth0\]:8000 has a zone id, .*--host ::"):
        addresses.listening_address("fe80::1%eth0", 8000)


def test_the_first_address_that_can_be_bound_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "192.0.2.1", "127.0.0.1")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    assert addresses.listening_address("a.name", port) == "127.0.0.1"


@pytest.mark.parametrize(
    ("number", "port", "remedy"),
    [
        (98, 8000, "End the program that uses it, or choose another with --port 8001."),
        (13, 80, "Ports below 1024 need rights of their own: choose --port 8000."),
        (99, 8000, "It is not an address of this machine. Choose another address with --host, or another port with --port."),
    ],
)
def test_each_reason_has_its_remedy(monkeypatch: pytest.MonkeyPatch, number: int, port: int, remedy: str) -> None:
    monkeypatch.setattr(addresses, "_failure", lambda *_: OSError(number, "no"))

    with pytest.raises(PortTaken) as refused:
        addresses.listening_address("::1", port)

    assert refused.value.detail == f"[::1]:{port} cannot be listened on (no). {remedy}"


@pytest.mark.parametrize(
    ("host", "address", "expected"),
    [
        ("localhost", "127.0.0.1", False),
        ("host-1", "127.0.1.1", True),
        ("127.0.0.1", "127.0.0.1", False),
        ("a", "10.0.0.1", False),
    ],
)
def test_a_host_name_that_leads_to_loopback_is_noticed(host: str, address: str, expected: bool) -> None:
    assert addresses.is_only_loopback(host, address) is expected
