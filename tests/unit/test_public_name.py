"""The public URL in its parts, what is said of it, and which paths the balancers keep from clients."""

from __future__ import annotations

import re

import pytest

from matinee.ops.public_name import PublicUrl, internal_pattern, parsed, warnings


@pytest.mark.parametrize(
    ("text", "expected", "origin"),
    [
        ("https://Movies.example.org", PublicUrl("https", "movies.example.org", 443, ""), "https://movies.example.org"),
        ("https://example.org:8443/a/b/", PublicUrl("https", "example.org", 8443, "/a/b"), "https://example.org:8443"),
        ("https://example.org:443", PublicUrl("https", "example.org", 443, ""), "https://example.org"),
        ("http://10.0.0.1:8000", PublicUrl("http", "10.0.0.1", 8000, ""), "http://10.0.0.1:8000"),
    ],
)
def test_a_public_url_is_read_in_its_parts(text: str, expected: PublicUrl, origin: str) -> None:
    found = parsed(text)

    assert found == expected
    assert found.origin == origin


@pytest.mark.parametrize(
    "text",
    ["", "movies.example.org", "ftp://a.b", "https://", "https://a..b", "https://a.b:0", "https://a.b:99999", "https://a.b/?x",
     "https://a.b/..", "https://a.b/x//y", "https://u@a.b", "https://a.b/x y", "https://a.b/x'", "https://a.b/;", "https://a.b\n",
     "https://ä.example", "https://a.b/x{", "https://a.b/$x", "https://a.b/%70"],
)  # fmt: skip
def test_what_is_no_address_of_a_site_is_not_read(text: str) -> None:
    assert parsed(text) is None


@pytest.mark.parametrize(
    ("path", "kept", "passed"),
    [
        ("", ["/metrics", "//readyz", "/livez/"], ["/metricsx", "/v1/metrics", "/films/metrics", "/admin/metrics/"]),
        ("/films", ["/metrics", "/films/metrics", "/films//readyz/", "/films/films/livez"], ["/films", "/film/metrics"]),
        ("/a.b/c", ["/a.b/c/metrics", "//a.b//c//metrics"], ["/axb/c/metrics", "/a.b/metrics", "/c/metrics"]),
    ],
)
def test_internal_paths_are_kept_from_clients_with_and_without_the_public_path(
    path: str, kept: list[str], passed: list[str]
) -> None:
    pattern = re.compile(internal_pattern(path))

    assert [asked for asked in kept + passed if pattern.search(asked)] == kept


def test_an_operator_hears_what_a_topology_that_is_allowed_will_not_do() -> None:
    said = [*warnings("https://films.example.org", "acme", [(8000, 8080)]), *warnings("http://films.dev", "off", [(8000, 80)])]

    assert [re.split("[:,]", text)[0] for text in said] == [
        "films.example.org is an example",
        "Clients connect to port 443",
        "The certificate authority connects to port 80",
        "public_url begins with http",
    ]
    assert list(warnings("https://films.dev", "certificate", [(443, 80)])) == []
