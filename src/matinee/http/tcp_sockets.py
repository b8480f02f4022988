"""Read the kernel's figures of this process's accepted TCP connections, and close one of them. Linux only.

Called by connection_guard.py. The connections belong to Granian, so nothing here may keep or close a descriptor of theirs:
all is done by the descriptor's number, right after its cookie was compared. The interpreter's lock is held in between, but
Granian's threads may close a number meanwhile, and it may be reused: for a connection that came just now, at worst.
There must be no duplicates: to close one of a file of SQLite's, which the number may have become, drops SQLite's locks.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from matinee.http.client import Network, client_group, client_site, is_trusted, plain_address
from matinee.http.connection_rules import Figures, Peer

_SO_COOKIE, _TCP_INFO = 57, 11
_ESTABLISHED, _CLOSE_WAIT, _LISTEN = 1, 8, 10
# struct tcp_info of linux/tcp.h: state, ms since data was sent and received, bytes acknowledged and received, bytes not sent
# yet, segments of data sent (Linux 4.6).
_INFO = struct.Struct("=B43xI4xI64xQQ8xI8xI")
_RECEIVED = 4  # its place among these
# struct sockaddr_in and sockaddr_in6: family, port, address.
_FAMILY = struct.Struct("=H")
_ADDRESSES = {socket.AF_INET: struct.Struct("!2xH4s"), socket.AF_INET6: struct.Struct("!2xH4x16s")}
_NAME_BYTES = 128  # struct sockaddr_storage
_STRIDE = 128  # descriptors that are read without a pause
_NO_LINGER = struct.pack("ii", 1, 0)
_REQUEST_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class TcpSockets:
    """The accepted connections of one port."""

    def __init__(self, port: int, trusted: tuple[Network, ...]) -> None:
        self._port, self._trusted = port, trusted
        # PyDLL keeps the interpreter's lock: giving it up for each of thousands of calls would cost more than the calls.
        library = ctypes.PyDLL(None)
        self._getsockopt, self._setsockopt = library.getsockopt, library.setsockopt
        self._send, self._shutdown = library.send, library.shutdown
        self._names = {True: library.getpeername, False: library.getsockname}
        self._getsockopt.argtypes = [ctypes.c_int] * 3 + [ctypes.c_void_p] * 2
        self._setsockopt.argtypes = [ctypes.c_int] * 3 + [ctypes.c_char_p, ctypes.c_uint32]
        self._send.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
        for each in self._names.values():
            each.argtypes = [ctypes.c_int] + [ctypes.c_void_p] * 2
        self._name = ctypes.create_string_buffer(_NAME_BYTES)
        self._info, self._size, self._cookie = ctypes.create_string_buffer(_INFO.size), ctypes.c_uint32(), ctypes.c_uint64()
        self._at = tuple(ctypes.addressof(each) for each in (self._info, self._size, self._cookie))
        self._peers: dict[int, Peer | None] = {}
        self._files: dict[int, int] = {}
        self.is_listening = False

    def read(self, pause: Callable[[], None] = lambda: None) -> Iterator[Figures]:
        """Yield the figures of every connection; afterwards `is_listening` says whether new ones are accepted.

        `pause` is called now and then, so that the event loop gets the interpreter's lock.
        """
        peers, self._peers, self._files = self._peers, {}, {}
        is_listening = False
        for number in range(_descriptors()):
            if number % _STRIDE == 0:
                pause()
            cookie = self._cookie_of(number)
            if not cookie:
                continue
            peer = self._peers[cookie] = peers[cookie] if cookie in peers else self._identify(number)
            if peer is None:
                is_listening = is_listening or self._listens(number)
                continue
            self._files[cookie] = number
            if (figures := self._figures(number, cookie, peer)) is not None:
                yield figures
        self.is_listening = is_listening

    def cut(self, cookie: int, *, says_why: bool, is_reset: bool) -> bool:
        """Close a connection that was read last time, and return whether it still existed.

        `says_why` sends a 408 first, for a request that is incomplete; `is_reset` discards what the client has not taken.
        """
        number = self._files.get(cookie, -1)
        if self._cookie_of(number) != cookie:
            return False
        if says_why:
            self._send(number, _REQUEST_TIMEOUT, len(_REQUEST_TIMEOUT), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        if is_reset:
            self._setsockopt(number, socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER, len(_NO_LINGER))
        self._shutdown(number, socket.SHUT_RDWR)
        return True

    def received_bytes(self, cookie: int) -> int | None:
        """Return how much has come by now on a connection that was read last time; None when it is gone."""
        number = self._files.get(cookie, -1)
        info = self._tcp_info(number) if self._cookie_of(number) == cookie else None
        return None if info is None else info[_RECEIVED]

    def _cookie_of(self, number: int) -> int:
        self._size.value = 8
        if self._getsockopt(number, socket.SOL_SOCKET, _SO_COOKIE, self._at[2], self._at[1]):
            return 0  # closed, or no socket
        return self._cookie.value

    def _tcp_info(self, number: int) -> tuple[int, ...] | None:
        self._size.value = _INFO.size
        if self._getsockopt(number, socket.IPPROTO_TCP, _TCP_INFO, self._at[0], self._at[1]) or self._size.value < _INFO.size:
            return None
        return _INFO.unpack_from(self._info)

    def _figures(self, number: int, cookie: int, peer: Peer) -> Figures | None:
        info = self._tcp_info(number)
        if info is None or info[0] not in (_ESTABLISHED, _CLOSE_WAIT):
            return None
        _, since_sent_ms, since_received_ms, acked, received, unsent, sent_segments = info
        return Figures(
            cookie, peer, received, acked, unsent > 0, bool(sent_segments), since_received_ms / 1000, since_sent_ms / 1000
        )

    def _identify(self, number: int) -> Peer | None:
        """Return the peer of an accepted connection to our port; None for any other socket."""
        if self._tcp_info(number) is None or not self._is_of_our_port(number):
            return None
        if (address := self._address(number, is_peer=True)) is None:
            return None
        plain = plain_address(address[0])
        return Peer((address[0], str(address[1])), client_group(plain), client_site(plain), is_trusted(plain, self._trusted))

    def _address(self, number: int, *, is_peer: bool) -> tuple[str, int] | None:
        """Return host and port of one end of a socket; None when it has none of the internet."""
        self._size.value = _NAME_BYTES
        if self._names[is_peer](number, ctypes.addressof(self._name), self._at[1]):
            return None
        (family,) = _FAMILY.unpack_from(self._name)
        if family not in _ADDRESSES:
            return None
        port, address = _ADDRESSES[family].unpack_from(self._name)
        return socket.inet_ntop(family, address), port

    def _listens(self, number: int) -> bool:
        info = self._tcp_info(number)
        return info is not None and info[0] == _LISTEN and self._is_of_our_port(number)

    def _is_of_our_port(self, number: int) -> bool:
        own = self._address(number, is_peer=False)
        return own is not None and own[1] == self._port


def _descriptors() -> int:
    """Return the size of this process's table of open files; no descriptor's number is larger."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("FDSize:")[2].split(maxsplit=1)[0])


def is_supported() -> bool:
    """Return whether this system has what the figures are read from."""
    if sys.platform != "linux":
        return False
    try:
        with socket.socket() as probe:
            info = probe.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _INFO.size)
            return len(info) == _INFO.size and bool(probe.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8))
    except OSError:
        return False
