"""Coroutines called for records: bounded, and in order."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.machine import Call, CallResult, Command, FreePermit, Machine
from sage.base.batch import Batch
from sage.base.errors import InternalError, RecordFailed
from sage.flow.graph import OnError
from sage.flow.spec import MapAsync
from tests.unit.operators.arrange import dead_of, machine, step, values_of


async def double(number: int) -> int:
    return 2 * number


def calls_of(commands: Sequence[Command]) -> list[Call]:
    return [command for command in commands if isinstance(command, Call)]


def answer(driven: Machine, *calls: Call) -> list[Command]:
    return driven.on_results([CallResult(call.call_id, 2 * call.value, None) for call in calls])


def fail(driven: Machine, call: Call, error: BaseException | None = None) -> list[Command]:
    return driven.on_results([CallResult(call.call_id, None, error or ValueError("no"))])


def test_results_leave_in_the_order_of_the_records() -> None:
    driven = machine(MapAsync(double))
    first, second, third = calls_of(driven.on_batch(Batch([1, 2, 3])))
    assert first.fn is double
    assert answer(driven, third) == []
    assert values_of(answer(driven, first)) == [2]
    assert not driven.is_done()
    assert values_of(answer(driven, second)) == [4, 6]
    assert driven.on_end() == []
    assert driven.is_done()
    assert (driven.counts.records_in, driven.counts.records_out) == (3, 3)


def test_no_more_calls_run_than_may() -> None:
    driven = machine(MapAsync(double, max_in_flight=2))
    assert driven.room() == 2
    running = calls_of(driven.on_batch(Batch([1, 2, 3, 4])))
    assert [call.value for call in running] == [1, 2]
    assert driven.room() <= 0
    commands = answer(driven, running[1])
    assert [call.value for call in calls_of(commands)] == [3]


def test_where_many_may_run_as_many_more_wait_for_a_permit_where_calls_end() -> None:
    driven = machine(MapAsync(double, max_in_flight=16))
    assert driven.room() == 32
    commands = calls_of(driven.on_batch(Batch(range(40))))
    assert [(call.value, call.max_at_once) for call in commands] == [(number, 16) for number in range(32)]
    assert driven.room() <= 0
    assert calls_of(machine(MapAsync(double, max_in_flight=15)).on_batch(Batch(range(40))))[15:] == []


def test_a_call_that_failed_has_its_permit_until_its_record_is_given_up() -> None:
    driven = machine(step(MapAsync(double), on_error=OnError.DEAD_LETTER, retries=1))
    [call] = calls_of(driven.on_batch(Batch([1])))
    assert not call.has_permit
    [again] = fail(driven, call)
    assert isinstance(again, Call)
    assert again.has_permit
    assert [command for command in fail(driven, again) if isinstance(command, FreePermit)] == [FreePermit()]


def test_a_slow_head_holds_results_back_but_not_the_records_behind_it_up_to_a_bound() -> None:
    driven = machine(MapAsync(double, max_in_flight=2))
    [_head, running] = calls_of(driven.on_batch(Batch([0, 1])))
    num_taken = 2
    while answer(driven, running) == [] and driven.room() > 0:
        [running] = calls_of(driven.on_batch(Batch([num_taken])))
        num_taken += 1
        assert num_taken <= 100
    assert num_taken == 32


def test_a_call_is_tried_again_and_its_result_keeps_its_place() -> None:
    driven = machine(step(MapAsync(double), on_error=OnError.RETRY, retries=1))
    first, second = calls_of(driven.on_batch(Batch([1, 2])))
    [again] = calls_of(fail(driven, first))
    assert again.value == 1
    assert answer(driven, second) == []
    assert values_of(answer(driven, again)) == [2, 4]


def test_a_call_that_failed_for_good_fails_the_job_or_is_set_aside() -> None:
    failing = machine(step(MapAsync(double), "ask"))
    _, second = calls_of(failing.on_batch(Batch([1, 2])))
    with pytest.raises(RecordFailed, match=r"step 'ask' \(app\.py:7\) failed on record 2: ValueError: no"):
        fail(failing, second)
    lenient = machine(step(MapAsync(double), on_error=OnError.DEAD_LETTER))
    first, second = calls_of(lenient.on_batch(Batch([1, 2])))
    answer(lenient, second)
    commands = fail(lenient, first)
    assert [letter.value for letter in dead_of(commands)] == [1]
    assert values_of(commands) == [4]
    assert lenient.is_done()


def test_a_call_that_took_too_long_says_how_long_it_was_given() -> None:
    driven = machine(MapAsync(double, timeout_s=2.5))
    [call] = calls_of(driven.on_batch(Batch([1])))
    assert call.timeout_s == 2.5
    with pytest.raises(RecordFailed, match=r"TimeoutError: the call did not end within 2\.5 s"):
        fail(driven, call, TimeoutError())


def test_replies_and_timers_have_no_business_here() -> None:
    driven = machine(MapAsync(double))
    with pytest.raises(InternalError):
        driven.on_replies([])
    with pytest.raises(InternalError):
        driven.on_timer(1)


@given(st.data(), st.integers(1, 5), st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=8))
def test_whatever_the_order_of_results_nothing_is_lost_or_comes_twice(
    data: Any, max_in_flight: int, batches: list[list[int]]
) -> None:
    """Records below 3 fail once and are mended; those of 9 fail for good."""
    driven = machine(step(MapAsync(double, max_in_flight), on_error=OnError.DEAD_LETTER, retries=1))
    pending, commands = list(batches), list[Command]()
    running: list[Call] = []
    failed: set[int] = set()
    while pending or running:
        takes = bool(pending) and driven.room() > 0 and (not running or data.draw(st.booleans()))
        if takes:
            new = driven.on_batch(Batch(pending.pop(0)))
        else:
            call = running.pop(data.draw(st.integers(0, len(running) - 1)))
            is_new = call.call_id not in failed
            failed.add(call.call_id)
            new = fail(driven, call) if call.value == 9 or (call.value < 3 and is_new) else answer(driven, call)
        running += calls_of(new)
        commands += new
        assert len(running) <= max_in_flight
    records = [record for batch in batches for record in batch]
    assert values_of(commands) == [2 * record for record in records if record != 9]
    assert [letter.value for letter in dead_of(commands)] == [9] * records.count(9)
    assert driven.is_done()
