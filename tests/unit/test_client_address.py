"""Which client a request comes from: the peer, or what a trusted proxy says."""

from __future__ import annotations

import ipaddress

import pytest

from matinee.http.client import client_address, client_group, client_site

pytestmark = pytest.mark.unit
PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1"))


def scope(peer: str, *forwarded: str) -> dict[str, object]:
    return {"client": (peer, 50_000), "headers": [(b"x-forwarded-for", value.encode()) for value in forwarded]}


def test_a_peer_that_is_no_proxy_is_the_client_whatever_it_says() -> None:
    assert client_address(scope("192.0.2.7", "198.51.100.1"), PROXIES) == "192.0.2.7"


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    assert client_address(scope("10.0.0.1", "198.51.100.1"), ()) == "10.0.0.1"


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (("198.51.100.1",), "198.51.100.1"),
        (("203.0.113.9, 198.51.100.1",), "198.51.100.1"),
        (("203.0.113.9, 198.51.100.1, 10.2.3.4",), "198.51.100.1"),
        (("203.0.113.9", "198.51.100.1"), "198.51.100.1"),
        (("[2001:db8::1]",), "2001:db8::1"),
        (("::ffff:198.51.100.1",), "198.51.100.1"),
        ((), "10.0.0.1"),
        (("nonsense, 10.2.3.4",), "10.2.3.4"),
        (("x" * 60_000,), "10.0.0.1"),
        (("203.0.113.5:41234",), "203.0.113.5"),
        (("[2001:db8::1]:443",), "2001:db8::1"),
        (("203.0.113.5:x",), "10.0.0.1"),
        (("203.0.113.9, " + "10.2.3.4, " * 31 + "10.2.3.5",), "10.2.3.4"),
        (("198.51.100.1" + " " * 2_050 + ", 10.2.3.4",), "10.2.3.4"),
    ],
)
def test_a_trusted_proxy_names_the_client(forwarded: tuple[str, ...], client: str) -> None:
    assert client_address(scope("10.0.0.1", *forwarded), PROXIES) == client


def test_a_connection_without_an_address_has_no_client() -> None:
    assert client_address({"client": None, "headers": []}, PROXIES) == ""


def test_the_address_is_found_once_a_request() -> None:
    request = scope("10.0.0.1", "198.51.100.1")
    client_address(request, PROXIES)
    request["headers"] = []

    assert client_address(request, PROXIES) == "198.51.100.1"


def test_a_long_header_is_read_no_further_than_its_last_hops() -> None:
    request = scope("10.0.0.1", "203.0.113.9," * 5_000 + ",".join(["10.2.3.4"] * 40))

    assert client_address(request, PROXIES) == "10.2.3.4"


def test_limits_count_an_ipv6_network_as_one_client() -> None:
    assert client_group("2001:db8:1:2:3:4:5:6") == client_group("2001:db8:1:2::9") == "2001:db8:1:2::/64"
    assert client_group("198.51.100.1") == "198.51.100.1"


def test_a_site_is_a_48_bit_network() -> None:
    found = [client_site(each) for each in ("2001:db8:1:2::1", "2001:db8:1:ffff::1", "2001:db8:2::1", "198.51.100.1", "")]

    assert found == ["2001:db8:1::/48", "2001:db8:1::/48", "2001:db8:2::/48", "198.51.100.1", ""]
