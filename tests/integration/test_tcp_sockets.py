"""What the kernel tells of this process's accepted connections, and how one of them is cut."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from matinee.http.connection_rules import Figures
from matinee.http.tcp_sockets import TcpSockets, is_supported
from tests.processes import eventually

pytestmark = pytest.mark.skipif(not is_supported(), reason="the figures are Linux's")


class Pair:
    """A listener, one client of it and the connection that was accepted."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.socket(family)
        self.listener.bind((host, 0))
        self.listener.listen()
        self.client = socket.create_connection(self.listener.getsockname()[:2], timeout=5)
        self.accepted, _ = self.listener.accept()
        self.sockets = TcpSockets(self.listener.getsockname()[1], (ipaddress.ip_network("127.0.0.9"),))

    def close(self) -> None:
        for each in (self.listener, self.client, self.accepted):
            each.close()

    def look(self) -> Figures:
        """Return the figures of the one connection."""
        (figures,) = self.sockets.read()
        return figures


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    pair = Pair(request.param)
    yield pair
    pair.close()


def test_a_connection_is_read_with_its_peer_and_nothing_else_is(pair: Pair) -> None:
    before = pair.look()

    host, port, *_ = pair.client.getsockname()
    assert before.peer.address == (host, str(port))
    assert before.peer.is_trusted is False
    assert (before.received_bytes, before.has_answered, before.is_held_up) == (0, False, False)
    assert pair.sockets.is_listening
    assert pair.look().cookie == before.cookie


def test_what_came_in_and_what_was_answered_is_told_apart(pair: Pair) -> None:
    pair.client.sendall(b"hello")
    asked = eventually(pair.look, lambda seen: seen.received_bytes == 5)
    eventually(pair.look, lambda seen: seen.since_received_s > 0.05)
    pair.accepted.sendall(b"world!")
    answered = eventually(pair.look, lambda seen: seen.taken_bytes >= 6)

    assert (asked.has_answered, asked.since_received_s <= asked.since_sent_s) == (False, True)
    assert (answered.has_answered, answered.since_sent_s < answered.since_received_s) == (True, True)


def test_an_answer_that_the_client_has_no_room_for_is_told(pair: Pair) -> None:
    pair.accepted.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while pair.accepted.send(b"x" * 65_536):
            pass

    held_up = eventually(pair.look, lambda seen: seen.is_held_up)
    pair.client.recv(65_536)

    eventually(pair.look, lambda seen: seen.taken_bytes > held_up.taken_bytes)


def test_a_listener_that_has_closed_is_told(pair: Pair) -> None:
    pair.look()
    pair.listener.close()

    pair.look()

    assert not pair.sockets.is_listening


def test_a_connection_that_is_cut_ends_for_both_and_its_descriptor_stays_its_owners(pair: Pair) -> None:
    number = pair.accepted.fileno()

    was_cut = pair.sockets.cut(pair.look().cookie, says_why=True, is_reset=False)

    assert was_cut
    assert pair.client.recv(1_000).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert (pair.client.recv(1), pair.accepted.recv(1)) == (b"", b"")
    assert os.fstat(number)


def test_a_connection_that_is_reset_leaves_nothing_to_be_sent(pair: Pair) -> None:
    pair.sockets.cut(pair.look().cookie, says_why=False, is_reset=True)
    linger = pair.accepted.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)

    assert struct.unpack("ii", linger) == (1, 0)


def test_another_connection_under_the_same_descriptor_is_not_cut(pair: Pair) -> None:
    before = pair.look()
    number = pair.accepted.fileno()
    other, peer = socket.socketpair()
    with other, peer:
        os.dup2(other.fileno(), number)

        was_cut = pair.sockets.cut(before.cookie, says_why=True, is_reset=False)

        assert not was_cut
        peer.setblocking(False)
        with pytest.raises(BlockingIOError):
            peer.recv(1)


def test_a_file_under_the_same_descriptor_is_neither_cut_nor_duplicated(pair: Pair, tmp_path: Path) -> None:
    before, number = pair.look(), pair.accepted.fileno()
    with (tmp_path / "locked").open("w") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)  # closing any other descriptor of this file in this process drops the lock
        os.dup2(held.fileno(), number)

        was_cut = pair.sockets.cut(before.cookie, says_why=True, is_reset=True)
        lock = Path("/proc/locks").read_text()

        assert (was_cut, pair.sockets.received_bytes(before.cookie), list(pair.sockets.read())) == (False, None, [])
        assert f":{os.fstat(held.fileno()).st_ino} " in lock


def test_the_bytes_that_have_come_by_now_are_told(pair: Pair) -> None:
    before = pair.look()
    pair.client.sendall(b"hello")

    assert eventually(lambda: pair.sockets.received_bytes(before.cookie), lambda seen: seen == 5) == 5


def test_a_trusted_peer_is_told() -> None:
    pair = Pair()
    with socket.create_connection(pair.listener.getsockname(), timeout=5, source_address=("127.0.0.9", 0)):
        accepted, _ = pair.listener.accept()
        found = {figures.peer.address[0]: figures.peer.is_trusted for figures in pair.sockets.read()}
        accepted.close()
    pair.close()

    assert found == {"127.0.0.1": False, "127.0.0.9": True}
