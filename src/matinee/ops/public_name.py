"""How clients reach a cluster: its public URL, where TLS ends, and which proxies in front of the balancer are believed.

topology.py checks the three lines of topology.toml with it; rendering.py gives its values to the templates of the balancers and
of the servers. It must never let unchecked text into a configuration: a public URL is letters, digits and `.-_~` only.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Where TLS ends: at the balancer with files of the operator, at the balancer with certbot's, or at a proxy in front of it.
HTTPS = ("certificate", "acme", "off")
# One year: the value that browsers' preload lists and security scanners ask for.
HSTS = "max-age=31536000"
# HAProxy has no loop: so many proxies one behind another are followed back to the client. nginx follows any number.
MOST_HOPS = 4
# Mozilla's "intermediate" list for TLS 1.2, without its DHE suites: those need parameters of their own, and cost the balancer
# far more than the client. Every client that has DHE and GCM has ECDHE too.
TLS12_CIPHERS = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)
TLS13_CIPHERS = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
CHALLENGE_PATH = "/.well-known/acme-challenge/"
# What only operators may ask, and only a server itself: the balancer answers 404.
INTERNAL_PATHS = ("livez", "readyz", "metrics")
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)(:(?P<port>\d{1,5}))?"
    r"(?P<path>(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*)/?"
)
_EXAMPLE_NAMES = re.compile(r"(.*\.)?example(\.(org|com|net))?")


@dataclass(frozen=True)
class PublicUrl:
    """A public URL in its parts; `path` is empty or begins with a slash and does not end with one."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def is_https(self) -> bool:
        """Return whether clients use TLS."""
        return self.scheme == "https"

    @property
    def origin(self) -> str:
        """Return scheme, host and port, as browsers write them: without the usual port."""
        usual = 443 if self.is_https else 80
        return f"{self.scheme}://{self.host}" + (f":{self.port}" if self.port != usual else "")


def parsed(text: str) -> PublicUrl | None:
    """Return a public URL in its parts; None when it is none."""
    found = _URL.fullmatch(text)
    if found is None or ".." in found["host"] or not 0 < int(found["port"] or 1) < 65_536:
        return None
    port = int(found["port"] or (443 if found["scheme"] == "https" else 80))
    return PublicUrl(found["scheme"], found["host"].lower(), port, found["path"])


def faults(public_url: str, https: str, trusted_proxies: Sequence[str], balancers: int) -> Iterator[str]:
    """Yield what is wrong with the three lines; without a public URL nothing is: only `require` demands one."""
    yield from _proxy_faults(trusted_proxies)
    if not public_url:
        return
    url = parsed(public_url)
    if url is None:
        yield (
            f'public_url = "{public_url[:80]}" is no address of a site; write scheme, host name, port and path only, as '
            '"https://movies.example.org" (a name with other letters in its xn-- form)'
        )
        return
    if https != "off" and not url.is_https:
        yield f'https = "{https}" needs a public_url that begins with https://; for plain HTTP write https = "off"'
    if https == "off" and url.is_https and not trusted_proxies:
        yield (
            f'https = "off" with public_url = "{public_url}": the proxy in front that ends TLS must be named, as in '
            'trusted_proxies = ["10.1.0.10"]; or write https = "certificate", or a public_url with http://'
        )
    if https == "acme":
        yield from _acme_faults(url, balancers)


def _proxy_faults(trusted_proxies: Sequence[str]) -> Iterator[str]:
    for text in trusted_proxies:
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            yield f'trusted_proxies: "{text}" must be an IP address or a network, as in "10.1.0.0/16" ({error})'
            continue
        if network.prefixlen == 0:
            yield f'trusted_proxies: "{text}" is every address: any client could pass for another. Name the proxies only'


def _acme_faults(url: PublicUrl, balancers: int) -> Iterator[str]:
    if url.host.replace(".", "").isdigit() or "." not in url.host:
        yield f'https = "acme" needs a public name in DNS, which {url.host!r} is not; use https = "certificate"'
    if balancers > 1:
        yield (
            f'https = "acme" needs one balancer, not {balancers}: the certificate authority may ask any of them. '
            'Use https = "certificate" and give all of them the same file'
        )


def demand(public_url: str) -> str | None:
    """Return why hosts of a topology without a public URL are not rendered, and what to add; None when it has one."""
    if public_url:
        return None
    return (
        "The topology does not say how clients reach the balancer. Add two lines above [sizes]:\n"
        '  public_url = "https://movies.example.org"   # the address that clients use, with your name in it\n'
        '  https = "certificate"                       # or "acme" (certbot), or "off" (a proxy in front ends TLS)\n'
        'For a cluster without any TLS: public_url = "http://..." and https = "off"; then no one can sign in to the admin.'
    )


def warnings(public_url: str, https: str, ports: Sequence[tuple[int, int]]) -> Iterator[str]:
    """Yield what an operator should know of a topology that is allowed; `ports` are each balancer's for HTTPS and for HTTP."""
    url = parsed(public_url)
    if url is None:
        return
    if _EXAMPLE_NAMES.fullmatch(url.host):
        yield f"{url.host} is an example: write your own name into public_url before you install these files."
    if not url.is_https:
        yield "public_url begins with http://: passwords and keys travel in the clear, and no one can sign in to the admin."
    for port, http_port in ports:
        if https != "off" and port != url.port:
            yield f"Clients connect to port {url.port}, the balancer listens on {port}: forward one to the other."
        if https == "acme" and http_port != 80:
            yield f"The certificate authority connects to port 80, the balancer listens on {http_port}: forward one."


def certbot_command(host: str, port: int) -> str:
    """Return what asks for the first certificate of a name; certbot remembers its options and renews with them.

    certbot listens on loopback while it asks; the balancer passes the authority's requests on to it.
    """
    return (
        f"certbot certonly --standalone --http-01-address 127.0.0.1 --http-01-port {port} -d {host} "
        "--agree-tos -m YOU@YOUR-DOMAIN --deploy-hook '/etc/matinee/public-certificate renewed'"
    )


def internal_pattern(path: str) -> str:
    """Return the regular expression of the decoded paths that only operators may ask, with and without the public path.

    It matches more than the servers answer: repeated slashes, and the public path several times.
    """
    prefix = f"({'/+'.join(map(re.escape, path.strip('/').split('/')))}/+)*" if path else ""
    return rf"^/+{prefix}({'|'.join(INTERNAL_PATHS)})/*$"
