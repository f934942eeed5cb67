"""Results that leave as they come: between watermarks, none lost, none twice."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.any_order import AnyOrder
from operators.inflight import InOrder
from operators.machine import Call, CallResult, Command, Emit, Machine
from operators.rescale import dealt_out
from operators.state import StepState
from sage.base.batch import Batch
from sage.flow.spec import Embed, Generate, MapAsync
from tests.unit.operators.arrange import machine, values_of
from tests.unit.operators.asked import asked, reply, says


async def double(number: int) -> int:
    return 2 * number


def unordered(max_in_flight: int = 64) -> Machine:
    return machine(MapAsync(double, max_in_flight, ordered=False))


def calls_of(commands: Sequence[Command]) -> list[Call]:
    return [command for command in commands if isinstance(command, Call)]


def answer(driven: Machine, call: Call) -> list[Command]:
    return driven.on_results([CallResult(call.call_id, 2 * call.value, None)])


def batches_of(commands: Sequence[Command]) -> list[Batch]:
    return [command.batch for command in commands if isinstance(command, Emit)]


def test_a_result_does_not_wait_for_those_of_earlier_records() -> None:
    driven = unordered()
    first, second = calls_of(driven.on_batch(Batch([1, 2])))
    assert values_of(answer(driven, second)) == [4]
    assert values_of(answer(driven, first)) == [2]
    assert driven.is_done()


def test_a_watermark_is_passed_by_no_record() -> None:
    driven = unordered()
    first, second = calls_of(driven.on_batch(Batch([1, 2], None, [10.0, 11.0], 9.0)))
    [third] = calls_of(driven.on_batch(Batch([3], None, [12.0], 10.0)))
    assert answer(driven, third) == []
    assert batches_of(answer(driven, second)) == [Batch([4], None, [11.0], None)]
    assert batches_of(answer(driven, first)) == [Batch([2, 6], None, [10.0, 12.0], 10.0)]


def test_a_watermark_without_records_waits_for_those_before_it_and_for_nothing_else() -> None:
    driven = unordered()
    assert batches_of(driven.on_batch(Batch([], watermark_s=1.0))) == [Batch([], watermark_s=1.0)]
    [call] = calls_of(driven.on_batch(Batch([1], None, [5.0], 2.0)))
    assert driven.on_batch(Batch([], watermark_s=3.0)) == []
    assert batches_of(answer(driven, call)) == [Batch([2], None, [5.0], 3.0)]


def test_a_slow_record_lets_others_pass_without_bound() -> None:
    driven = unordered(max_in_flight=2)
    _slow, running = calls_of(driven.on_batch(Batch([0, 1])))
    for number in range(2, 200):
        assert values_of(answer(driven, running)) == [2 * running.value]
        [running] = calls_of(driven.on_batch(Batch([number])))
    assert driven.room() == 0


def test_model_steps_let_answers_pass_too() -> None:
    driven = machine(Generate("chat", "{}", ordered=False))
    _, second = asked(driven.on_batch(Batch(["a", "b"])))
    assert values_of(reply(driven, *says(second, "B"))) == ["B"]
    assert asked(machine(Embed("minilm", ordered=False)).on_batch(Batch(["a"])))


@given(st.data(), st.integers(1, 4), st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=8))
def test_none_is_lost_or_comes_twice_or_passes_a_watermark_also_after_restarts(
    data: Any, max_in_flight: int, batches: list[tuple[int, bool]]
) -> None:
    driven = unordered(max_in_flight)
    pending = list(batches)
    running: list[Call] = []
    seen: list[int | float] = []
    num_records, watermark_s = 0, 0.0
    while pending or running:
        if data.draw(st.integers(0, 9)) == 0:
            state, driven = driven.snapshot(), unordered(max_in_flight)
            new = driven.restore(state)
            running = calls_of(new)
        elif pending and driven.room() > 0 and (not running or data.draw(st.booleans())):
            num, is_marked = pending.pop(0)
            values = list(range(num_records, num_records + num))
            num_records += num
            watermark_s += is_marked
            times = [watermark_s for _ in values]
            new = driven.on_batch(Batch(values, None, times, watermark_s if is_marked else None))
            running += calls_of(new)
        else:
            new = answer(driven, running.pop(data.draw(st.integers(0, len(running) - 1))))
            running += calls_of(new)
        assert len(running) <= max_in_flight
        for batch in batches_of(new):
            assert len(batch.timestamps_s or ()) == len(batch)
            seen += [value // 2 for value in batch.values]
            seen += [batch.watermark_s] if batch.watermark_s is not None else []
    records = [each for each in seen if isinstance(each, int)]
    assert sorted(records) == list(range(num_records))
    assert driven.is_done()
    marks = [each for each in seen if isinstance(each, float)]
    assert marks == sorted(marks)
    assert (marks[-1] if marks else 0.0) == watermark_s
    _check_sections(seen, batches)


def _check_sections(seen: list[int | float], batches: list[tuple[int, bool]]) -> None:
    """Every record stands before the first watermark that was told behind it."""
    number, mark = 0, 0.0
    for num, is_marked in batches:
        mark += is_marked
        for record in range(number, number + num):
            behind = [each for each in seen[: seen.index(record)] if isinstance(each, float)]
            assert all(passed < mark or not is_marked for passed in behind)
        number += num


def test_what_is_held_can_be_given_to_another() -> None:
    order = AnyOrder(4)
    order.add(Batch([1, 2], None, None, 1.0))
    order.add(Batch([3]))
    _, second, third = order.start()
    order.finish(third, 30)
    order.finish(second, 20)
    assert order.ready() == Batch([20])
    assert order.held() == [(1, None, 1.0, "pending", None), (3, None, None, "done", 30)]
    other = AnyOrder(4)
    other.restore(order.held())
    assert other.ready() is None
    [first] = other.start()
    other.finish(first, 10)
    assert other.ready() == Batch([10, 30], None, None, 1.0)


@pytest.mark.parametrize("order", [InOrder, AnyOrder])
def test_what_several_held_leaves_before_the_watermark_of_any(order: type[InOrder]) -> None:
    first, second, both = order(4), order(4), order(4)
    first.add(Batch([1], None, [1.0], 5.0))
    second.add(Batch([2], None, [4.0], 5.0))
    dealt = dealt_out([StepState(held=first.held()), StepState(held=second.held())], 0, 1)
    both.restore(dealt.held, is_dealt=dealt.is_dealt)
    both.add(Batch((), watermark_s=5.0))  # the task hears it once more
    early, late = both.start()
    both.finish(early, 10)
    assert both.ready() == Batch([10], None, [1.0])
    both.finish(late, 20)
    assert both.ready() == Batch([20], None, [4.0], 5.0)
