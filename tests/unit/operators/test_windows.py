"""Windows where something fails, is late by a hair, or is counted; what restores, and how lengths divide."""

from collections.abc import Sequence
from typing import Any

import pytest

from operators.machine import Command, Emit, Machine
from sage.base.batch import Batch
from sage.flow.graph import OnError, Step
from sage.flow.spec import Aggregate, AssignTimestamps, Combine, Gather, KeyBy, Reduce, Spec, Window
from sage.flow.windows import CountWindow, Session, Shape, Sliding, Tumbling, WindowResult
from tests.unit.operators.arrange import dead_of, machine, step, values_of

COUNT = Aggregate("count")


def rows(commands: Sequence[Command]) -> list[tuple[Any, ...]]:
    return [(each.key, each.start, each.end, each.value) for each in values_of(commands)]


def driven_by(window: Spec | Step, max_out_of_order_s: float = 0.0) -> Machine:
    """Records are `(time, key)`."""
    return machine(AssignTimestamps(lambda record: record[0], max_out_of_order_s), KeyBy(lambda r: r[1]), window)


def test_a_window_is_over_when_the_watermark_reaches_its_end_which_is_not_in_it() -> None:
    driven = driven_by(Window(Tumbling(10), COUNT))
    assert rows(driven.on_batch(Batch([(0, "a"), (9.99, "a")]))) == []
    assert rows(driven.on_batch(Batch([(10, "a")]))) == [("a", 0, 10, 2)]


def test_events_exactly_a_gap_apart_are_one_session_also_when_the_watermark_stands_there() -> None:
    driven = driven_by(Window(Session(5), COUNT))
    assert rows(driven.on_batch(Batch([(0, "a")]))) == []
    assert rows(driven.on_batch(Batch([(5, "b")]))) == []
    assert rows(driven.on_batch(Batch([(5, "a"), (10.5, "b")]))) == [("a", 0, 10, 2), ("b", 5, 10, 1)]
    assert rows(driven.on_end()) == [("b", 10.5, 15.5, 1)]


def test_no_watermark_has_passed_the_result_of_a_session_before_it_is_given() -> None:
    driven = driven_by(Window(Session(5), COUNT), max_out_of_order_s=1)
    driven.on_batch(
        Batch([(19, "a"), (25, "b")])
    )  # the watermark is 24, and a record at 24 would belong to the session
    [given] = [command.batch for command in driven.on_batch(Batch([(25.125, "b")])) if isinstance(command, Emit)]
    assert (rows([Emit(given)]), given.timestamps_s, given.watermark_s) == ([("a", 19, 24, 1)], [24], 24.125)


def test_a_record_between_two_sessions_makes_them_one() -> None:
    driven = driven_by(Window(Session(2), Gather()), max_out_of_order_s=10)
    assert rows(driven.on_batch(Batch([(0, "a"), (4, "a"), (2, "a")]))) == []
    assert rows(driven.on_end()) == [("a", 0, 6, [(0, "a"), (4, "a"), (2, "a")])]


@pytest.mark.parametrize(
    ("shape", "windows"),
    [
        (Sliding(0.3, 0.2), [(-0.2, 1), (0.0, 1)]),
        (Sliding(1, 0.25), [(-0.75, 1), (-0.5, 1), (-0.25, 1), (0.0, 1)]),
        (Tumbling(0.1), [(0.0, 1)]),
    ],
)
def test_lengths_that_are_no_whole_numbers_divide_as_they_are_written(shape: Shape, windows: list[Any]) -> None:
    driven = driven_by(Window(shape, COUNT))
    driven.on_batch(Batch([(0.05, "a")]))
    assert [(pytest.approx(start), value) for _, start, _, value in rows(driven.on_end())] == windows


def test_no_time_falls_beside_its_window_however_products_round() -> None:
    driven = driven_by(Window(Tumbling(0.1), Gather()), max_out_of_order_s=1e9)
    times = [number / 10 for number in range(-1000, 1000)] + [0.1 * number for number in range(-1000, 1000)]
    driven.on_batch(Batch([(time, "a") for time in times]))
    results = values_of(driven.on_end())
    assert sum(len(result.value) for result in results) == len(times)
    assert all(result.start <= time < result.end for result in results for time, _ in result.value)


def test_counted_windows_need_no_time_and_the_last_may_have_fewer() -> None:
    driven = machine(KeyBy(lambda n: n % 2), Window(CountWindow(2), Aggregate("sum")))
    commands = driven.on_batch(Batch([1, 2, 3, 5, 7, 9]))
    assert rows(commands) == [(1, 0, 2, 4), (1, 2, 4, 12)]
    assert all(isinstance(command, Emit) and command.batch.timestamps_s is None for command in commands)
    again = machine(KeyBy(lambda n: n % 2), Window(CountWindow(2), Aggregate("sum")))
    again.restore(driven.snapshot())
    assert rows(again.on_batch(Batch([4, 11]))) == [(0, 0, 2, 6), (1, 4, 6, 20)]
    assert rows(again.on_end()) == []


def test_counted_windows_have_the_time_of_their_last_record() -> None:
    driven = driven_by(Window(CountWindow(2), COUNT))
    [command] = driven.on_batch(Batch([(1, "a"), (7, "b"), (3, "a")]))
    assert isinstance(command, Emit)
    assert command.batch == Batch([WindowResult("a", 0, 2, 2)], None, [3], 7)
    [command] = driven.on_end()
    assert isinstance(command, Emit)
    assert command.batch == Batch([WindowResult("b", 0, 1, 1)], None, [7])


@pytest.mark.parametrize("shape", [Tumbling(10), Sliding(10, 5), Session(3), CountWindow(3)])
def test_a_record_that_fails_in_a_window_changes_nothing_in_it(shape: Shape) -> None:
    tries: list[Any] = []

    def keep(one: Any, other: Any) -> Any:
        tries.append(other)
        if other[1:] == ("a", "bad"):
            raise ValueError(other)
        return one

    window = step(Window(shape, Reduce(keep)), on_error=OnError.DEAD_LETTER, retries=2)
    driven = driven_by(window, max_out_of_order_s=100)
    commands = driven.on_batch(Batch([(0, "a", "first"), (1, "a", "bad"), (2, "a", "last")]))
    assert [letter.value for letter in dead_of(commands)] == [(1, "a", "bad")]
    assert tries.count((1, "a", "bad")) == 3
    commands = [*commands, *driven.on_end()]
    assert {value for *_, value in rows(commands)} <= {(0, "a", "first"), (2, "a", "last")}


@pytest.mark.parametrize("shape", [Tumbling(10), Session(3), CountWindow(3)])
def test_a_result_that_cannot_be_made_is_set_aside_with_its_window(shape: Shape) -> None:
    def result(numbers: list[Any]) -> int:
        raise ValueError(len(numbers))

    over = Combine(list, lambda records, record: [*records, record], None, result)
    driven = driven_by(step(Window(shape, over), on_error=OnError.DEAD_LETTER))
    commands = [*driven.on_batch(Batch([(0, "a"), (1, "a"), (2, "a")])), *driven.on_end()]
    assert rows(commands) == []
    [letter] = dead_of(commands)
    assert isinstance(letter.value, WindowResult)
    assert letter.value.key == "a"
    assert letter.error == "ValueError: 3"


def test_keys_that_are_equal_are_one_and_falsy_ones_are_keys() -> None:
    driven = driven_by(Window(Tumbling(10), COUNT))
    driven.on_batch(Batch([(0, 1), (0, 1.0), (0, True), (0, 0), (0, ""), (0, None), (0, (1, "x")), (0, "ä")]))
    assert sorted(rows(driven.on_end()), key=repr) == sorted(
        [(1, 0, 10, 3), (0, 0, 10, 1), ("", 0, 10, 1), (None, 0, 10, 1), ((1, "x"), 0, 10, 1), ("ä", 0, 10, 1)],
        key=repr,
    )
