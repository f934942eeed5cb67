"""Calls that fail are made again: when, how often, and what their records become."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.backing_off import MAX_BACKOFF_S, wait_before_retry_s
from operators.machine import Call, CallResult, Command, Machine, SetTimer
from sage.base.batch import Batch
from sage.base.clock import ManualClock
from sage.base.errors import InternalError, Overloaded, RecordFailed, RequestFailed
from sage.flow.graph import OnError
from sage.flow.spec import Embed, Generate, MapAsync
from tests.unit.operators.arrange import dead_of, machine, step, values_of
from tests.unit.operators.asked import asked, refused, reply, says


@dataclass
class Answer:
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    """As clients of HTTP raise it."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__("429 Too Many Requests")
        self.response = Answer(headers)


async def double(number: int) -> int:
    return 2 * number


def trying(num: int, *, on_error: OnError = OnError.RETRY, **options: Any) -> Machine:
    return machine(step(MapAsync(double, **options), on_error=on_error, retries=num))


def calls_of(commands: list[Command]) -> list[Call]:
    return [command for command in commands if isinstance(command, Call)]


def timers_of(commands: list[Command]) -> list[SetTimer]:
    return [command for command in commands if isinstance(command, SetTimer)]


def fail(driven: Machine, call: Call, error: BaseException) -> list[Command]:
    return driven.on_results([CallResult(call.call_id, None, error)])


@given(st.integers(1, 2000), st.floats(0.001, 10), st.integers())
def test_the_wait_doubles_up_to_a_bound_and_is_drawn_from_its_upper_half(num: int, backoff_s: float, seed: int) -> None:
    whole_s = min(MAX_BACKOFF_S, backoff_s * 2.0 ** min(num - 1, 60))
    wait_s = wait_before_retry_s(ValueError(), num, backoff_s, Random(seed))
    assert wait_s is not None
    assert whole_s / 2 <= wait_s <= whole_s


@pytest.mark.parametrize(
    ("error", "wait_s"),
    [
        (Overloaded("full", retry_after_s=2.5), 2.5),
        (Refused({"retry-after": "7"}), 7.0),
        (Refused({"Retry-After": "0"}), 0.0),
        (Refused({"retry-after": "3601"}), None),
        (Refused({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}), 30.0),
        (Refused({"retry-after": "Wednesday, 21-Oct-26 07:28:00 GMT"}), 30.0),
        (Refused({"retry-after": "Wed Oct 21 07:28:00 2026"}), 30.0),
        (Refused({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT"}), 0.0),
        (Refused({"retry-after": "Wed, 21 Oct 2026 08:28:00 GMT"}), None),
    ],
)
def test_an_error_that_says_when_is_obeyed_or_given_up(error: Exception, wait_s: float | None) -> None:
    clock = ManualClock(unix_s=datetime(2026, 10, 21, 7, 27, 30, tzinfo=UTC).timestamp())
    assert wait_before_retry_s(error, 1, 60.0, Random(1), clock) == wait_s


@pytest.mark.parametrize("said", ["Wed, 41 Oct 2026 07:28:00 GMT", "-5", "soon", "nan"])
def test_a_time_that_cannot_be_read_counts_for_nothing(said: str) -> None:
    assert wait_before_retry_s(Refused({"retry-after": said}), 1, 0.0, Random(1)) == 0.0


def test_a_call_is_made_again_after_its_time_and_holds_its_permit_until_then() -> None:
    driven = trying(2, max_in_flight=1, backoff_s=4.0)
    [call] = calls_of(driven.on_batch(Batch([1, 2])))
    commands = fail(driven, call, ValueError("no"))
    [timer] = timers_of(commands)
    assert calls_of(commands) == []
    assert 2.0 <= timer.after_s <= 4.0
    [again] = calls_of(driven.on_timer(timer.timer_id))
    [later] = timers_of(fail(driven, again, ValueError("no")))
    assert 4.0 <= later.after_s <= 8.0
    [third] = calls_of(driven.on_timer(later.timer_id))
    with pytest.raises(RecordFailed, match="after 3 tries: ValueError: no"):
        fail(driven, third, ValueError("no"))


def test_a_call_that_is_to_come_back_too_late_is_given_up_at_once() -> None:
    driven = trying(5, on_error=OnError.DEAD_LETTER)
    [call] = calls_of(driven.on_batch(Batch([1])))
    commands = fail(driven, call, Refused({"retry-after": "86400"}))
    assert [letter.value for letter in dead_of(commands)] == [1]
    assert driven.is_done()


def test_tries_that_were_not_made_are_not_counted() -> None:
    driven = trying(5)
    [call] = calls_of(driven.on_batch(Batch([1])))
    with pytest.raises(RecordFailed, match=r"failed on record 1: .*Refused"):
        fail(driven, call, Refused({"retry-after": "86400"}))


def test_nobody_fires_a_timer_that_was_not_set() -> None:
    with pytest.raises(InternalError, match="did not set it"):
        trying(1, backoff_s=1.0).on_timer(3)


def test_a_record_that_waits_to_be_called_again_is_called_at_once_after_a_restart() -> None:
    driven = trying(1, backoff_s=4.0)
    [call] = calls_of(driven.on_batch(Batch([7])))
    fail(driven, call, ValueError("no"))
    restored = trying(1, backoff_s=4.0)
    assert [again.value for again in calls_of(restored.restore(driven.snapshot()))] == [7]


def test_a_request_that_failed_is_made_again_after_a_while() -> None:
    driven = machine(step(Generate("chat", "{}", backoff_s=2.0), on_error=OnError.RETRY, retries=1))
    [request] = asked(driven.on_batch(Batch(["q"])))
    commands = reply(driven, refused(request, RequestFailed("it broke")))
    [timer] = timers_of(commands)
    assert asked(commands) == []
    assert 1.0 <= timer.after_s <= 2.0
    [again] = asked(driven.on_timer(timer.timer_id))
    assert values_of(reply(driven, *says(again, "A"))) == ["A"]


def test_a_request_that_is_to_come_back_too_late_is_given_up_at_once() -> None:
    driven = machine(step(Generate("chat", "{}"), on_error=OnError.DEAD_LETTER, retries=3))
    [request] = asked(driven.on_batch(Batch(["q"])))
    commands = reply(driven, refused(request, RequestFailed("later", retry_after_s=86_400.0)))
    assert [letter.value for letter in dead_of(commands)] == ["q"]
    assert driven.is_done()


@pytest.mark.parametrize(
    ("try_s", "deadline_s", "asked_s"), [(2.0, None, 2.0), (2.0, 1.0, 1.0), (2.0, 9.0, 2.0), (None, 9.0, 9.0)]
)
def test_each_try_has_its_own_time_within_that_of_the_record(
    try_s: float | None, deadline_s: float | None, asked_s: float
) -> None:
    for spec in (
        Generate("chat", "{}", timeout_s=try_s, deadline_s=deadline_s),
        Embed("minilm", timeout_s=try_s, deadline_s=deadline_s),
    ):
        [request] = asked(machine(spec).on_batch(Batch(["q"])))
        assert request.timeout_s == asked_s
