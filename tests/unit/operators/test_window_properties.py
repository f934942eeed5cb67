"""Every shape of windows against an oracle that keeps every record: random disorder, lateness and batches."""

from collections.abc import Callable
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.machine import Emit, InParts
from sage.base.batch import Batch
from sage.flow.spec import Aggregate, AssignTimestamps, Combine, Gather, KeyBy, Over, Reduce, Window
from sage.flow.windows import CountWindow, Session, Shape, Sliding, Tumbling
from tests.unit.operators.arrange import machine, whole
from tests.unit.operators.stores import InMemory, Store, in_tables
from tests.unit.operators.window_oracle import Event, Given, Oracle

SHAPES: list[Shape] = [
    Tumbling(10),
    Tumbling(2.5),
    Sliding(10, 5),
    Sliding(10, 2.5),
    Sliding(7.5, 5),
    Sliding(3, 3),
    Session(5),
    Session(0.125),
    CountWindow(1),
    CountWindow(3),
]


def tupled(numbers: tuple[int, ...], event: Event) -> tuple[int, ...]:
    return (*numbers, event.number)


OVER: dict[str, tuple[Over, Callable[[tuple[int, ...]], Any], Callable[[Any], Any]]] = {
    "count": (Aggregate("count"), len, lambda value: value),
    "sum": (Aggregate("sum", lambda event: event.number), sum, lambda value: value),
    "min": (Aggregate("min", lambda event: event.number), min, lambda value: value),
    "max": (Aggregate("max", lambda event: event.number), max, lambda value: value),
    "reduce": (
        Reduce(lambda one, other: one if one.number > other.number else other),
        max,
        lambda event: event.number,
    ),
    "collect": (Gather(), sorted, lambda events: sorted(event.number for event in events)),
    "fold": (Combine(tuple, tupled), sorted, sorted),
    "aggregate": (Combine(tuple, tupled, lambda a, b: (*a, *b), len), len, lambda value: value),
}

EVENTS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 400), st.integers(0, 4)), max_size=60)
Drawn = list[tuple[int, int, int]]


def batched(drawn: Drawn) -> list[tuple[list[Event], bool]]:
    """Return batches, and after which the machine begins again from its snapshot. An event's number is its place."""
    batches: list[tuple[list[Event], bool]] = []
    events: list[Event] = []
    for number, (key, eighths, what) in enumerate(drawn):
        events.append(Event(key, eighths / 8, number))
        if what:
            batches.append((events, what == 1))
            events = []
    return [*batches, (events, True)]


DISORDER = st.sampled_from([0.0, 1.0, 10.0, 100.0])
LATENESS = st.sampled_from([0.0, 2.0, 7.5, 1000.0])


@pytest.mark.parametrize("kind", OVER)
@settings(max_examples=120, deadline=None)
@given(shape=st.sampled_from(SHAPES), drawn=EVENTS, max_out_of_order_s=DISORDER, allow_late_s=LATENESS)
def test_windows_give_what_the_oracle_gives_batch_by_batch(
    kind: str,
    shape: Shape,
    drawn: Drawn,
    max_out_of_order_s: float,
    allow_late_s: float,
) -> None:
    store = InMemory(*steps(kind, shape, max_out_of_order_s, allow_late_s))
    check(store, kind, Oracle(shape, allow_late_s), drawn, max_out_of_order_s)


@pytest.mark.parametrize("kind", OVER)
@settings(max_examples=12, deadline=None)
@given(shape=st.sampled_from(SHAPES), drawn=EVENTS, max_out_of_order_s=DISORDER, allow_late_s=LATENESS)
def test_windows_in_tables_give_what_the_oracle_gives_batch_by_batch(
    kind: str,
    shape: Shape,
    drawn: Drawn,
    max_out_of_order_s: float,
    allow_late_s: float,
) -> None:
    with in_tables(*steps(kind, shape, max_out_of_order_s, allow_late_s), records=Event) as store:
        check(store, kind, Oracle(shape, allow_late_s), drawn, max_out_of_order_s)


def steps(
    kind: str, shape: Shape, max_out_of_order_s: float, allow_late_s: float
) -> tuple[AssignTimestamps, KeyBy, Window]:
    over, _, _ = OVER[kind]
    time = AssignTimestamps(lambda event: event.time_s, max_out_of_order_s)
    return time, KeyBy(lambda event: event.key), Window(shape, over, allow_late_s)


def check(store: Store, kind: str, oracle: Oracle, drawn: Drawn, max_out_of_order_s: float) -> None:
    """Drive windows; where they begin again, they do so also between two parts of what they give."""
    _, of_numbers, of_value = OVER[kind]
    driven = store.begun()
    latest_s = -inf
    for batch, begins_again in batched(drawn):
        latest_s = max([latest_s, *(event.time_s for event in batch)])
        before_s = oracle.watermark_s
        expected = oracle.batch(batch, latest_s - max_out_of_order_s)
        said = driven.on_batch(Batch(batch))
        while isinstance(driven, InParts) and driven.goes_on:
            driven, more = store.again(driven) if begins_again else (driven, driven.go_on())
            said += more
        found = [command.batch for command in said if isinstance(command, Emit)]
        assert told(found, of_value) == expected_of(expected, of_numbers)
        if not isinstance(oracle.shape, CountWindow):
            check_times(found, before_s, oracle.allow_late_s)
        if begins_again:
            driven, said = store.again(driven)
            assert all(len(command.batch) == 0 for command in said if isinstance(command, Emit))
    ended = [command.batch for command in whole(driven, driven.on_end()) if isinstance(command, Emit)]
    assert told(ended, of_value) == expected_of(oracle.batch([], inf), of_numbers)
    driven.close(complete=True)


def told(batches: list[Batch], of_value: Callable[[Any], Any]) -> list[Any]:
    return sorted((r.key, r.start, r.end, of_value(r.value)) for batch in batches for r in batch.values)


def expected_of(windows: list[Given], of_numbers: Callable[[tuple[int, ...]], Any]) -> list[Any]:
    return sorted((window.key, window.start, window.end, of_numbers(window.numbers)) for window in windows)


def check_times(batches: list[Batch], watermark_s: float, allow_late_s: float) -> None:
    """A result lies in its window, and no watermark has passed it before, unless late records changed it."""
    for batch in batches:
        for result, time_s in zip(batch.values, batch.timestamps_s or (), strict=True):
            assert result.start <= time_s <= result.end
            assert time_s >= watermark_s or allow_late_s


@settings(max_examples=50, deadline=None)
@given(drawn=EVENTS, shape=st.sampled_from([Tumbling(10), Sliding(10, 2.5)]))
def test_a_fold_takes_the_records_of_a_window_in_the_order_in_which_they_came(drawn: Drawn, shape: Shape) -> None:
    driven = machine(
        AssignTimestamps(lambda event: event.time_s, 100.0),
        KeyBy(lambda event: event.key),
        Window(shape, Combine(tuple, tupled)),
    )
    commands = [command for batch, _ in batched(drawn) for command in driven.on_batch(Batch(batch))]
    for command in [*commands, *driven.on_end()]:
        assert isinstance(command, Emit)
        assert all(list(result.value) == sorted(result.value) for result in command.batch.values)
