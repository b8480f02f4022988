"""Which connections are closed, and which never are."""

from __future__ import annotations

import dataclasses
from itertools import count

import pytest

from matinee.http.client import client_site
from matinee.http.connection_rules import ConnectionRules, Figures, Limits, Peer, Reason, has_begun

LIMITS = Limits(head_s=10, idle_s=75, answer_s=30, of_client=3, of_process=100)
_COOKIES = count(1)
_PORTS = count(40_000)


def figures(group: str = "10.0.0.1", *, quiet_s: float = 2, is_trusted: bool = False, **more: object) -> Figures:
    """Return an unused connection that was answered once; its time without bytes is `quiet_s`."""
    peer = Peer((group, str(next(_PORTS))), group, client_site(group.removesuffix("/64")), is_trusted)
    return Figures(next(_COOKIES), peer, 100, 1_000, False, True, quiet_s, quiet_s)._replace(**more)  # type: ignore[arg-type]


def new(group: str = "10.0.0.1", *, age_s: float = 2, is_trusted: bool = False) -> Figures:
    """Return a connection on which nothing was sent yet."""
    return figures(group, quiet_s=age_s, is_trusted=is_trusted, received_bytes=0, taken_bytes=0, has_answered=False)


def slow_head(group: str = "10.0.0.1", *, age_s: float = 2) -> Figures:
    """Return a new connection on which a byte of a first request came just now."""
    return new(group, age_s=age_s)._replace(received_bytes=50, since_received_s=0.1)


def closed(
    *looks: list[Figures], limits: Limits = LIMITS, active: tuple[Figures, ...] = (), every_s: float = 1
) -> dict[int, str]:
    """Return what is closed at the last of several looks."""
    rules, addresses = ConnectionRules(limits), {one.peer.address for one in active}
    doomed: dict[int, Reason] = {}
    for number, look in enumerate(looks):
        doomed = rules.judge(1_000 + number * every_s, look, addresses.__contains__)
    return {cookie: reason.value for cookie, reason in doomed.items()}


def test_a_new_connection_without_a_request_ends_at_the_time_for_headers() -> None:
    young, old, spare = new(age_s=9.9), new(age_s=10), new(age_s=60, is_trusted=True)

    assert closed([young, old, spare]) == {old.cookie: "unused"}


def test_an_unused_connection_ends_at_the_idle_time() -> None:
    young, old, proxy = figures(quiet_s=74), figures(quiet_s=75), figures(quiet_s=75, is_trusted=True)

    assert closed([young, old, proxy]) == {old.cookie: "unused", proxy.cookie: "unused"}


def test_a_first_request_whose_head_trickles_in_ends_at_the_time_for_headers() -> None:
    young, old = slow_head(age_s=9), slow_head(age_s=10)

    assert closed([young, old]) == {}
    assert closed([young, old], [young, old]) == {old.cookie: "slow_head"}


def test_a_later_request_whose_head_trickles_in_ends_at_the_time_for_headers() -> None:
    slow = figures(quiet_s=60, since_received_s=0.1)

    assert closed([slow], [slow], every_s=9) == {}
    assert closed([slow], [slow], every_s=10) == {slow.cookie: "slow_head"}


def test_the_first_request_on_a_proxys_spare_connection_is_not_late() -> None:
    spare = slow_head(age_s=60)
    spare = spare._replace(peer=spare.peer._replace(is_trusted=True))

    assert closed([spare], [spare]) == {}


def test_a_request_under_way_is_never_late() -> None:
    old = slow_head(age_s=500)

    assert closed([old], [old], active=(old,), every_s=100) == {}


def test_a_client_that_takes_nothing_of_its_answer_is_closed() -> None:
    stalled = figures(is_held_up=True)
    taking = figures("10.0.0.2", is_held_up=True)

    looks = [[stalled, taking._replace(taken_bytes=second * 2_000)] for second in range(31)]

    assert closed(*looks[:-1]) == {}
    assert closed(*looks) == {stalled.cookie: "slow_reader"}


def test_a_client_that_takes_a_byte_now_and_then_is_closed_although_its_request_is_under_way() -> None:
    stalled = figures(is_held_up=True)

    looks = [[stalled._replace(taken_bytes=second * 1_000)] for second in range(31)]

    assert closed(*looks, active=(stalled,)) == {stalled.cookie: "slow_reader"}


def test_a_client_over_its_limit_loses_what_was_never_answered_and_then_what_is_unused_longest() -> None:
    empty, slow = new(age_s=2), slow_head(age_s=3)
    kept = [figures(quiet_s=age) for age in (5, 4, 3)]

    assert closed([empty, slow, *kept]) == {empty.cookie: "client_limit", slow.cookie: "client_limit"}
    assert closed([empty, *kept, figures(quiet_s=1)]) == {empty.cookie: "client_limit", kept[0].cookie: "client_limit"}


def test_a_client_over_its_limit_keeps_requests_under_way_and_connections_that_have_just_begun() -> None:
    active = [figures(quiet_s=60) for _ in range(5)]
    fresh = [new(age_s=0.5) for _ in range(5)]
    unused = [figures(quiet_s=4) for _ in range(5)]

    assert closed([*active, *fresh, *unused], active=tuple(active)) == {one.cookie: "client_limit" for one in unused}


def test_neither_other_clients_nor_trusted_proxies_pay_for_a_clients_connections() -> None:
    many, others = [figures() for _ in range(4)], [figures(f"10.0.1.{number}") for number in range(4)]
    proxy = [figures("10.0.2.1", is_trusted=True) for _ in range(9)]

    doomed = closed([*many, *others, *proxy])

    assert len(doomed) == 1
    assert set(doomed) <= {one.cookie for one in many}


def test_no_limit_of_a_client_is_none() -> None:
    assert closed([figures() for _ in range(80)], limits=dataclasses.replace(LIMITS, of_client=0)) == {}


def test_near_the_limit_of_the_process_the_clients_with_the_most_lose_connections() -> None:
    limits = dataclasses.replace(LIMITS, of_client=0)
    greedy = [figures("10.0.0.1", quiet_s=age) for age in range(60)]
    busy = [figures("10.0.0.2") for _ in range(30)]
    small = [figures(f"10.0.1.{number}", quiet_s=70) for number in range(10)]

    doomed = closed([*greedy, *busy, *small], limits=limits)

    assert doomed == {one.cookie: "process_limit" for one in greedy[-20:]}


def test_near_the_limit_of_the_process_all_networks_of_an_ipv6_site_are_one_client() -> None:
    site = [figures(f"2001:db8:1:{number:x}::/64", quiet_s=2) for number in range(90)]
    others = [figures(f"2001:db8:{number:x}:1::/64", quiet_s=70) for number in range(2, 12)]

    doomed = closed([*site, *others])

    assert set(doomed.values()) == {"process_limit"}
    assert set(doomed) <= {one.cookie for one in site}


@pytest.mark.parametrize(
    ("one", "was_active", "is_active", "more_bytes", "expected"),
    [
        (figures(), False, False, 0, False),
        (figures(), False, True, 0, True),
        (figures(), False, False, 1, True),
        (new(), False, False, 1, True),
        (slow_head(), False, False, 1, False),
        (slow_head(), False, True, 1, True),
        (figures(), True, True, 1, False),
    ],
    ids=["unused", "in the front", "on the way", "the first one", "a trickle", "a late head", "under way all along"],
)
def test_a_request_that_has_begun_since_the_look_is_seen(
    one: Figures, was_active: bool, is_active: bool, more_bytes: int, expected: bool
) -> None:
    received = one.received_bytes + more_bytes

    assert has_begun(one, was_active=was_active, is_active=is_active, received_bytes=received) is expected


def test_among_many_clients_with_one_connection_each_the_process_closes_no_more_than_it_must() -> None:
    each = [figures(f"10.0.0.{number}", quiet_s=number) for number in range(70)]
    never_answered = [new(f"10.0.1.{number}", age_s=1) for number in range(30)]

    doomed = closed([*each, *never_answered])

    assert doomed == {one.cookie: "process_limit" for one in never_answered[:20]}


def test_the_process_cuts_requests_under_way_only_when_nothing_else_is_left() -> None:
    limits = dataclasses.replace(LIMITS, of_client=0)
    active = [figures() for _ in range(85)]
    unused = [figures() for _ in range(10)]

    doomed = closed([*active, *unused], limits=limits, active=tuple(active))

    assert {one.cookie for one in unused} <= set(doomed)
    assert len(doomed) == 15


def test_an_ending_server_closes_what_has_no_request_under_way() -> None:
    active, held_up, arriving = figures(), figures(is_held_up=True), new(age_s=0.1)
    ended = [new(), figures(), slow_head()]

    doomed = ConnectionRules(LIMITS).judge_ending([active, held_up, arriving, *ended], {active.peer.address}.__contains__)

    assert doomed == {one.cookie: Reason.SHUTDOWN for one in ended}


def test_an_idle_frame_of_http2_is_no_late_request() -> None:
    frame = figures(quiet_s=60, since_received_s=20)

    looks = [[frame], [frame]]

    assert closed(*looks, limits=dataclasses.replace(LIMITS, http2=True), every_s=20) == {}
    assert closed(*looks, every_s=20) == {frame.cookie: "slow_head"}
