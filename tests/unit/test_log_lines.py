"""A line of the log is one line of at most 4 kB, whatever it tells; and what repeats is counted instead."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinee.logs import lines
from matinee.logs.pipeline import Pipeline, is_client_error
from matinee.logs.repeats import MAX_LINES, MAX_REPEATS, WINDOW_S, Kind, Repeats
from matinee.logs.sink import Sink
from tests.log_targets import Kept

FORGED = 'x\n2026-11-28 [error   ] forged\r\x1b[31m\x85\u2028\u2029\x9b" status=200'
KIND = Kind("matinee.tests", "warning", "again")


class Unshowable:
    """A value that cannot be shown."""

    def __repr__(self) -> str:
        raise ValueError("no")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.builds(Unshowable),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.text(), VALUES, max_size=6))
def test_any_event_is_one_line_of_json(event: dict[str, Any]) -> None:
    line = lines.as_json(event).decode()

    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    assert isinstance(json.loads(line), dict)
    assert len(line.encode()) <= lines.MAX_LINE_BYTES


@given(st.dictionaries(st.text(), VALUES, max_size=6))
def test_any_event_is_one_line_for_people(event: dict[str, Any]) -> None:
    told = {name: value for name, value in event.items() if name not in ("exception", "stack")}

    line = lines.as_text(told).decode()

    assert len(line.splitlines()) == 1
    assert len(line.encode()) <= lines.MAX_LINE_BYTES


def test_no_field_forges_a_line_or_steers_a_terminal() -> None:
    event = {"timestamp": "now", "level": "error", "event": FORGED, "path": FORGED, FORGED: 1}

    text, as_json = lines.as_text(event).decode(), lines.as_json(event).decode()

    assert (len(text.splitlines()), len(as_json.splitlines())) == (1, 1)
    assert [sign for sign in text + as_json if sign != "\n" and not sign.isprintable()] == []
    assert 'path="x\\n2026-11-28 [error   ] forged\\r\\x1b[31m\\u0085\\u2028\\u2029\\u009b\\" status=200"' in text


def test_the_message_of_an_exception_forges_no_line_for_people() -> None:
    text = lines.as_text({"event": "fault", "exception": lines.stack_of(ValueError(FORGED))}).decode()

    assert [line for line in text.split("\n")[1:-1] if not line.startswith("  | ")] == []


def test_a_long_text_says_how_long_it_was() -> None:
    assert lines.shortened("x" * 60_000, 10) == "xxxxxxxxxx...(60000 characters)"


def test_a_long_stack_keeps_its_end_where_the_error_is() -> None:
    def deep(levels: int) -> None:
        if not levels:
            raise ValueError("the error itself")
        deep(levels - 1)

    with pytest.raises(ValueError, match="itself") as caught:
        deep(300)
    line = lines.as_json({"event": "fault", "exception": lines.stack_of(caught.value)})

    assert json.loads(line)["exception"].endswith("ValueError: the error itself")
    assert len(line) < 2_000


def test_a_line_that_repeats_is_counted_and_told_of_when_its_time_is_over() -> None:
    now_s = [0.0]
    repeats = Repeats(lambda: now_s[0])

    admitted = [repeats.admits(KIND) for _ in range(MAX_REPEATS + 5)]
    early = repeats.summaries()
    now_s[0] = WINDOW_S
    late, again = repeats.summaries(), repeats.admits(KIND)

    assert (admitted, again) == ([True] * MAX_REPEATS + [False] * 5, True)
    told = {"event": "lines suppressed", "repeated": "again", "logger": "matinee.tests", "lines": 5, "within_s": WINDOW_S}
    assert (early, late) == ([], [told])


def test_one_logger_writes_a_bounded_number_of_lines_whatever_their_events() -> None:
    repeats = Repeats(lambda: 0.0)

    admitted = sum(repeats.admits(KIND._replace(event=f"host {number}")) for number in range(20_000))

    assert (admitted, repeats.suppressed) == (MAX_LINES, 20_000 - MAX_LINES)
    assert len(repeats._windows) <= 1_002
    assert sum(summary["lines"] for summary in repeats.summaries(is_end=True)) == 20_000 - MAX_LINES


def test_a_line_that_repeats_hides_no_other_line_of_its_logger() -> None:
    repeats = Repeats(lambda: 0.0)

    flood = sum(repeats.admits(KIND) for _ in range(10 * MAX_LINES))

    assert (flood, repeats.admits(KIND._replace(event="another"))) == (MAX_REPEATS, True)


def test_a_client_that_repeats_hides_no_other_client() -> None:
    repeats = Repeats(lambda: 0.0)

    flood = sum(repeats.admits(KIND._replace(client="192.0.2.1")) for _ in range(10 * MAX_LINES))
    other = repeats.admits(KIND._replace(client="192.0.2.2"))

    told = {"event": "lines suppressed", "repeated": "again", "logger": "matinee.tests", "within_s": WINDOW_S}
    assert (flood, other) == (MAX_REPEATS, True)
    assert repeats.summaries(is_end=True) == [told | {"lines": 10 * MAX_LINES - MAX_REPEATS, "client": "192.0.2.1"}]


def test_many_clients_write_a_bounded_number_of_lines_of_one_event_and_hide_no_other_event() -> None:
    repeats = Repeats(lambda: 0.0)

    admitted = sum(repeats.admits(KIND._replace(client=str(number))) for number in range(20_000))

    assert (admitted, len(repeats._windows) <= 1_002) == (MAX_LINES, True)
    assert repeats.admits(KIND._replace(event=""))


def test_what_must_be_written_is_written_in_any_flood() -> None:
    sink, kept = Sink(), Kept()
    pipeline = Pipeline(sink)
    pipeline.use(kept, "info", for_people=False)

    for number in range(MAX_LINES + 50):
        pipeline.emit("warning", "tests", "user deleted", {"account": number, "is_always_written": True, "counted_by": "x"})
    assert sink.drain()

    assert [json.loads(line)["account"] for line in kept.lines()] == list(range(MAX_LINES + 50))
    assert "is_always_written" not in kept.lines()[0]


def test_nothing_that_is_logged_raises_and_what_cannot_be_shown_is_counted() -> None:
    sink, kept = Sink(), Kept()
    pipeline = Pipeline(sink)
    pipeline.use(kept, "debug", for_people=False)

    pipeline.emit("info", "tests", "shown", {"value": Unshowable()})
    pipeline.emit("info", "tests", Unshowable(), {})
    assert sink.drain()

    assert json.loads(kept.lines()[0])["value"] == "<Unshowable>"
    assert sink.lost == 1


def test_a_client_that_is_at_fault_or_gone_is_a_warning_without_a_stack() -> None:
    class SuspiciousOperation(Exception): ...

    class DisallowedHost(SuspiciousOperation): ...

    sink, kept = Sink(), Kept()
    pipeline = Pipeline(sink)
    pipeline.use(kept, "info", for_people=False)

    pipeline.emit("error", "tests", "refused", {}, DisallowedHost("evil"))
    assert sink.drain()

    (event,) = (json.loads(line) for line in kept.lines())
    assert (event["level"], event["error"], "exception" in event) == ("warning", "DisallowedHost: evil", False)
    assert not is_client_error(ValueError())
