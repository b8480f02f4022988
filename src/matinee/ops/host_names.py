"""The addresses of a cluster's hosts that are given by name, each looked up once: a name that fails may take seconds.

Called by rendering.py and by `cluster render`.
"""

from __future__ import annotations

from matinee.addresses import is_only_loopback, resolved
from matinee.errors import OperatorError
from matinee.ops.topology import Place


class HostNames:
    """What names resolve to here; an IP address is itself."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def address(self, place: Place) -> str | None:
        """Return the first IP address of a node's host, None when its name does not resolve."""
        return next(iter(self._addresses(place.address)), None)

    def outside_addresses(self, place: Place) -> list[str]:
        """Return the IP addresses that other hosts see a node's host by.

        Raises: OperatorError when there is none: the name does not resolve, or to loopback only, as Debian's /etc/hosts has it.
        """
        found = [address for address in self._addresses(place.address) if not is_only_loopback(place.address, address)]
        if not found:
            raise OperatorError(
                f"{place.name}: {place.address!r} does not resolve here to an address that other hosts see. Servers need one "
                "in MATINEE_TRUSTED_PROXIES: without it they count all clients of the balancer as one. Write the IP address of "
                f"{place.host} under [hosts], or render where the name resolves."
            )
        return found

    def _addresses(self, host: str) -> list[str]:
        if host not in self._found:
            try:
                self._found[host] = resolved(host)
            except OperatorError:
                self._found[host] = []
        return self._found[host]
