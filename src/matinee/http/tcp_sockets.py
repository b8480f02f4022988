"""Read the kernel's figures of this process's accepted TCP connections, and close one of them. Linux only.

Called by connection_guard.py. The connections belong to Granian, so nothing here may keep or close a descriptor of theirs:
figures are read by the descriptor's number; a connection is cut by shutting down a duplicate after comparing its cookie.
A descriptor that was closed and reused between two calls gives one wrong figure at worst, never a wrong cut.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from matinee.http.client import Network, client_group, is_trusted, plain_address
from matinee.http.connection_rules import Figures, Peer

_SO_COOKIE, _TCP_INFO = 57, 11
_ESTABLISHED, _CLOSE_WAIT, _LISTEN = 1, 8, 10
# struct tcp_info of linux/tcp.h: state, ms since data was sent and received, bytes acknowledged and received, bytes not sent
# yet, segments of data sent (Linux 4.6).
_INFO = struct.Struct("=B43xI4xI64xQQ8xI8xI")
_STRIDE = 128  # descriptors that are read without a pause
_NO_LINGER = struct.pack("ii", 1, 0)
_REQUEST_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class TcpSockets:
    """The accepted connections of one port."""

    def __init__(self, port: int, trusted: tuple[Network, ...]) -> None:
        self._port, self._trusted = port, trusted
        # PyDLL keeps the interpreter's lock: giving it up for each of thousands of calls would cost more than the calls.
        self._getsockopt = ctypes.PyDLL(None).getsockopt
        self._getsockopt.argtypes = [ctypes.c_int] * 3 + [ctypes.c_void_p] * 2
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
        try:
            duplicate = os.dup(self._files[cookie])
        except (OSError, KeyError):
            return False
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=duplicate) as connection:
            if self._cookie_of(duplicate) != cookie:
                return False
            with contextlib.suppress(OSError):
                if says_why:
                    connection.send(_REQUEST_TIMEOUT, socket.MSG_DONTWAIT)
                if is_reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                connection.shutdown(socket.SHUT_RDWR)
            return True

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
        if self._tcp_info(number) is None:
            return None
        try:
            duplicate = os.dup(number)
        except OSError:
            return None
        with socket.socket(fileno=duplicate) as connection:
            try:
                port, address = connection.getsockname()[1], connection.getpeername()
            except (OSError, IndexError):
                return None
        if port != self._port:
            return None
        plain = plain_address(address[0])
        return Peer((address[0], str(address[1])), client_group(plain), is_trusted(plain, self._trusted))

    def _listens(self, number: int) -> bool:
        info = self._tcp_info(number)
        return info is not None and info[0] == _LISTEN and self._is_of_our_port(number)

    def _is_of_our_port(self, number: int) -> bool:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as listener:
            return bool(listener.getsockname()[1] == self._port)
        return False


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
