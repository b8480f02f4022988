"""Sign-ins within their limits: by account and address, exact under parallel attempts, and slots for the hashes."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connections
from django.test import Client

from matinee.errors import OperatorError, TooManyRequests
from matinee.http.admin import sign_in as sign_in_form
from matinee.storage.models import SignInAttempt
from matinee.write import sign_ins
from tests.client import Client as Service
from tests.processes import matinee

PASSWORD = "a password of the tests"
LOGIN = "/admin/login/"


class Clock:
    """The time as sign_ins sees it: it stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = dt.datetime.now(dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)


class Lines:
    """A log that is kept."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str]] = []
        self.counted_by: set[str] = set()

    def info(self, event: str, **seen: Any) -> None:
        self.counted_by.add(seen["counted_by"])
        self.lines.append((event, seen["account"], seen["client"]))

    warning = info


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(sign_ins, "_now", clock)
    return clock


@pytest.fixture
def ann(catalogue_home: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> User:
    monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", 1_000)
    return User.objects.create_superuser("ann", password=PASSWORD)


def sign_in(name: str, password: str, address: str = "192.0.2.7") -> Any:
    client = Client(headers={"host": "localhost"}, REMOTE_ADDR=address)
    return client.post(LOGIN, {"username": name, "password": password})


def fail(times: int, account: str = "ann", address: str = "192.0.2.7") -> None:
    for _ in range(times):
        sign_ins.begin(account, address)


def pause_of(act: Callable[[], object]) -> int:
    with pytest.raises(TooManyRequests) as refused:
        act()
    return refused.value.retry_after_s


def test_the_sixth_attempt_is_a_429_page_even_with_the_right_password(ann: User) -> None:
    statuses = [sign_in("ann", "wrong").status_code for _ in range(5)]
    answer = sign_in("ann", PASSWORD)

    assert statuses == [200] * 5
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "30")
    assert "Wait 30 seconds" in answer.content.decode()
    assert "matinee user unlock --address ADDRESS" in answer.content.decode()
    assert "csrf" not in answer.cookies


def test_a_stranger_elsewhere_does_not_keep_the_owner_out(ann: User) -> None:
    fail(5, address="203.0.113.9")

    assert sign_in("ann", PASSWORD).status_code == 302


def test_an_account_tried_from_many_addresses_is_slowed_and_its_known_address_is_not(ann: User, clock: Clock) -> None:
    assert sign_in("ann", PASSWORD).status_code == 302
    for last in range(20):
        fail(1, address=f"203.0.113.{last}")

    assert pause_of(lambda: fail(1, address="198.51.100.1")) == 1
    assert sign_in("ann", PASSWORD).status_code == 302
    clock.forward(2)
    fail(1, address="198.51.100.1")


def test_the_pause_of_an_account_never_grows_beyond_five_seconds(ann: User, clock: Clock) -> None:
    for last in range(40):
        clock.forward(6)
        fail(1, address=f"203.0.113.{last}")

    assert pause_of(lambda: fail(1, address="198.51.100.1")) == 5


def test_an_address_that_tries_many_accounts_is_blocked(ann: User) -> None:
    for number in range(20):
        fail(1, account=f"user{number}")

    assert pause_of(lambda: fail(1, account="another")) == 30
    assert sign_in("ann", PASSWORD).status_code == 429


def test_all_networks_of_an_ipv6_site_count_as_one_address_but_not_for_one_account(ann: User) -> None:
    for number in range(16):
        sign_in(f"user{number}", "wrong", f"2001:db8:1:{number:x}::1")
    for number in range(4):
        sign_in("ann", "wrong", f"2001:db8:1:{number:x}::1")

    refused = [sign_in("ann", PASSWORD, address).status_code for address in ("2001:db8:1:99::1", "2001:db8:2::1")]
    assert refused == [429, 302]
    assert SignInAttempt.objects.filter(kind="address", failures=20).get().address == "2001:db8:1::/48"
    assert SignInAttempt.objects.filter(kind="pair", account="ann", failures=1).count() == 4


def test_the_pause_doubles_up_to_an_hour_and_is_forgotten_after_a_day(ann: User, clock: Clock) -> None:
    pauses = []
    for _ in range(12):
        fail(4 if not pauses else 0)
        fail(1)
        pauses.append(pause_of(lambda: fail(1)))
        clock.forward(pauses[-1] + 1)

    assert pauses == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600, 3600]
    clock.forward(24 * 3600 + 1)
    fail(4)


def test_a_success_forgets_the_failures_of_that_address(ann: User) -> None:
    fail(4)
    assert sign_in("ann", PASSWORD).status_code == 302
    fail(4)

    assert sign_in("ann", PASSWORD).status_code == 302


def test_spellings_of_one_name_count_together(ann: User) -> None:
    for name in ("Ann", "ANN", " ann", "ａｎｎ", "ann "):
        fail(1, account=name)

    assert pause_of(lambda: fail(1, account="ann")) == 30


def test_an_unknown_account_is_answered_as_a_known_one(ann: User) -> None:
    known, unknown = ([sign_in(name, "wrong") for _ in range(6)] for name in ("ann", "bob"))

    pages = [[page.content.decode().replace(name, "NAME") for page in of] for name, of in (("ann", known), ("bob", unknown))]
    assert [page.status_code for page in known] == [page.status_code for page in unknown] == [200] * 5 + [429]
    without_token = [["".join(line for line in page.splitlines() if "csrf" not in line) for page in of] for of in pages]
    assert without_token[0] == without_token[1]


def test_forty_parallel_attempts_get_five_tries(ann: User) -> None:
    outcomes: Counter[str] = Counter()

    def attempt() -> None:
        try:
            sign_ins.begin("ann", "192.0.2.7")
            outcomes["tried"] += 1
        except TooManyRequests:
            outcomes["refused"] += 1
        finally:
            connections.close_all()

    threads = [threading.Thread(target=attempt) for _ in range(40)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

    assert outcomes == {"tried": 5, "refused": 35}


def test_the_table_is_bounded(ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_ins, "MAX_ROWS", 30)
    assert sign_in("ann", PASSWORD).status_code == 302
    for number in range(40):
        fail(1, account=f"user{number}", address=f"2001:db8:{number:x}::")

    assert SignInAttempt.objects.count() <= 31
    assert SignInAttempt.objects.filter(account="ann", kind="pair").exists()


def test_failures_blocks_and_successes_are_logged_with_account_and_address(ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Lines()
    monkeypatch.setattr(sign_in_form, "log", log)
    sign_in("ann", "wrong")
    sign_in("ann", PASSWORD)
    sign_in("x\ny" + "z" * 100, "wrong")
    fail(5)
    sign_in("ann", PASSWORD)

    assert log.lines == [
        ("sign-in failed", "ann", "192.0.2.7"),
        ("sign-in", "ann", "192.0.2.7"),
        ("sign-in failed", "x�y" + "z" * 61, "192.0.2.7"),
        ("sign-in blocked", "ann", "192.0.2.7"),
    ]


def test_the_lines_of_each_address_are_limited_by_themselves(ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Lines()
    monkeypatch.setattr(sign_in_form, "log", log)

    for address in ("192.0.2.7", "192.0.2.8", "2001:db8::1", "2001:db8::2"):
        sign_in("ann", "wrong", address)

    assert log.counted_by == {"192.0.2.7", "192.0.2.8", "2001:db8::/64"}


def test_a_signed_in_session_is_never_affected(ann: User) -> None:
    client = Client(headers={"host": "localhost"}, REMOTE_ADDR="192.0.2.7")
    client.force_login(ann)
    fail(5)

    assert client.get("/admin/").status_code == 200


def test_a_sign_in_has_a_new_session_and_deletes_expired_ones(ann: User) -> None:
    old = SessionStore()
    old.set_expiry(-1)
    old.save()
    client = Client(headers={"host": "localhost"})
    client.cookies["matinee_session"] = "chosen-by-a-stranger"
    client.post(LOGIN, {"username": "ann", "password": PASSWORD})

    assert client.cookies["matinee_session"].value != "chosen-by-a-stranger"
    assert Session.objects.count() == 1


def test_an_operator_lists_and_lifts_blocks(ann: User, catalogue_home: Path, clock: Clock) -> None:
    clock.forward(-4 * 3600)
    for _ in range(5):
        fail(4 if not SignInAttempt.objects.exists() else 0)
        fail(1)
        clock.forward(3600)
    clock.forward(-3600)
    listed = matinee(catalogue_home, "user", "blocked")
    lifted = matinee(catalogue_home, "user", "unlock", "ANN")
    again = matinee(catalogue_home, "user", "unlock", "ann")
    both = matinee(catalogue_home, "user", "unlock", "ann", "--address", "192.0.2.7")

    assert listed.stdout.splitlines()[1].split("\t")[:4] == ["pair", "ann", "192.0.2.7", "9"]
    assert (lifted.returncode, lifted.stderr) == (0, "ANN: failed sign-ins forgotten.\n")
    assert again.stderr == "ann has no failed sign-ins.\n"
    assert both.returncode == 2
    assert sign_in("ann", PASSWORD).status_code == 302


def test_a_block_of_a_clock_that_was_ahead_ends_when_the_clock_is_right_again(ann: User, clock: Clock) -> None:
    clock.forward(365 * 24 * 3600)
    fail(5)
    for number in range(15):
        fail(1, account=f"user{number}")
    clock.forward(-365 * 24 * 3600)

    assert sign_ins.blocked() == []
    assert sign_in("ann", PASSWORD).status_code == 302


def test_a_clock_that_is_a_minute_behind_forgets_no_failure(ann: User, clock: Clock) -> None:
    fail(5)
    clock.forward(-60)

    assert pause_of(lambda: fail(1)) == 90


def test_an_address_that_succeeded_in_the_future_is_not_a_known_one(ann: User, clock: Clock) -> None:
    clock.forward(365 * 24 * 3600)
    assert sign_in("ann", PASSWORD).status_code == 302
    clock.forward(-365 * 24 * 3600)
    for last in range(20):
        fail(1, address=f"203.0.113.{last}")

    assert pause_of(lambda: fail(1)) == 1


@pytest.mark.parametrize("typed", ["2001:db8:0:7::42", "2001:DB8:0:7:0::1", "[2001:db8:0:7::42]", "2001:db8:0:7::/64"])
def test_an_address_is_unlocked_as_it_is_counted(ann: User, typed: str) -> None:
    from matinee.cli.users import unlock

    for number in range(20):
        fail(1, account=f"user{number}", address="2001:db8:0:7::/64")

    unlock("", typed)

    fail(1, account="another", address="2001:db8:0:7::/64")


@pytest.fixture
def service(ann: User, config: Any) -> Any:
    with Service(config, trusted_proxies=()) as service:
        yield service


def form_of(name: str, password: str) -> dict[str, Any]:
    token = "a" * 32
    headers = {"cookie": f"matinee_csrf={token}", "host": "localhost", "content-type": "application/x-www-form-urlencoded"}
    return {"content": f"username={name}&password={password}&csrfmiddlewaretoken={token}", "headers": headers}


def test_forty_parallel_strangers_leave_a_signed_in_admin_alone(service: Service, ann: User) -> None:
    client = Client(headers={"host": "localhost"})
    client.force_login(ann)
    cookie = f"matinee_session={client.cookies['matinee_session'].value}"
    service.request("GET", "/admin/", headers={"cookie": cookie, "host": "localhost"})  # as after a sign-in: it is known now

    async def all_of_them() -> tuple[list[int], list[int]]:
        attempts = [service._http.post(LOGIN, **form_of(f"user{number}", "wrong")) for number in range(40)]
        pages = [service._http.get("/admin/", headers={"cookie": cookie, "host": "localhost"}) for _ in range(20)]
        answers = await asyncio.gather(*attempts, *pages)
        return [answer.status_code for answer in answers[:40]], [answer.status_code for answer in answers[40:]]

    attempts, pages = service._loop.run_until_complete(all_of_them())

    assert pages == [200] * 20
    assert set(attempts) == {200, 429}
    assert attempts.count(200) == 2


def test_a_form_with_a_password_has_a_bound(service: Service) -> None:
    answer = service.request("POST", LOGIN, **form_of("ann", "x" * 70_000))

    assert (answer.status_code, answer.headers["retry-after"]) == (413, "1")


def test_the_address_is_what_a_trusted_proxy_says_and_nothing_else(service: Service) -> None:
    form = form_of("ann", "wrong")
    form["headers"]["x-forwarded-for"] = "198.51.100.77"

    service.request("POST", LOGIN, **form)

    assert set(SignInAttempt.objects.values_list("address", flat=True)) == {"", "127.0.0.1"}


def test_an_unlock_without_a_name_says_what_to_give(catalogue_home: Path) -> None:
    from matinee.cli.users import unlock

    with pytest.raises(OperatorError, match="one of the two"):
        unlock("", "")
