"""Joins against all pairs there are: random disorder, batches and restarts."""

from itertools import product
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.machine import Command, Emit, InParts, Machine, Queryable
from sage.base.batch import Batch
from sage.flow.spec import AsOf, JoinWindows, Within
from sage.flow.windows import Session, Sliding, Tumbling
from tests.unit.operators.arrange import values_of, whole
from tests.unit.operators.stores import InMemory, Store, in_tables


class Event(msgspec.Struct, frozen=True, order=True):
    side: int
    key: int
    time_s: float
    number: int


DRAWN = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 40), st.integers(0, 4)), max_size=50)
Drawn = list[tuple[int, int, int, int]]
DELAY_S = 10.0


def joined(store: Store, drawn: Drawn) -> tuple[list[Any], list[Event], Machine]:
    """Return what the join gives, the events that were in time, and the machine at the end.

    The watermark follows DELAY_S behind the latest event, after every batch; now and then the machine begins anew,
    also between two parts of what it gives.
    """
    driven = store.begun()
    latest_s, watermark_s = 0.0, -DELAY_S
    found: list[Any] = []
    in_time: list[Event] = []
    batch: list[Event] = []
    for number, (side, key, half_s, what) in enumerate([*drawn, (0, 9, 0, 1)]):
        batch.append(Event(side, key, half_s / 2, number))
        if what == 0:
            continue
        in_time += [event for event in batch if event.time_s >= watermark_s]
        latest_s = max([latest_s, *(event.time_s for event in batch)])
        watermark_s = latest_s - DELAY_S
        rows = [(event.side, event) for event in batch], [e.key for e in batch], [e.time_s for e in batch]
        said = driven.on_batch(Batch(*rows, watermark_s))
        while isinstance(driven, InParts) and driven.goes_on:
            driven, more = begun_again(store, driven, watermark_s) if what == 1 else (driven, driven.go_on())
            said += more
        found += told(said)
        batch = []
        if what == 1:
            driven, said = begun_again(store, driven, watermark_s)
            assert values_of(said) == []
    return found + told(whole(driven, driven.on_end())), in_time, driven


def begun_again(store: Store, driven: Machine, watermark_s: float) -> tuple[Machine, list[Command]]:
    """Go on from a snapshot, as a task does it."""
    again, said = store.again(driven)
    return again, said + again.on_batch(Batch((), watermark_s=watermark_s))


def told(said: list[Command]) -> list[Any]:
    batches = [command.batch for command in said if isinstance(command, Emit)]
    return [each for batch in batches for each in zip(batch.values, batch.timestamps_s or (), strict=True)]


def pairs_of(events: list[Event]) -> list[tuple[Event, Event]]:
    pairs = product([event for event in events if event.side == 0], [event for event in events if event.side == 1])
    return [(left, right) for left, right in pairs if left.key == right.key]


BEFORE = st.sampled_from([0.0, 1.0, 30.0])
AFTER = st.sampled_from([0.0, 2.5, -0.0])


@settings(max_examples=200, deadline=None)
@given(drawn=DRAWN, before_s=BEFORE, after_s=AFTER)
def test_an_interval_join_gives_every_pair_near_in_time_once(drawn: Drawn, before_s: float, after_s: float) -> None:
    check_interval_join(InMemory(Within(before_s, after_s)), drawn, before_s, after_s)


@settings(max_examples=30, deadline=None)
@given(drawn=DRAWN, before_s=BEFORE, after_s=AFTER)
def test_an_interval_join_in_tables_gives_the_same(drawn: Drawn, before_s: float, after_s: float) -> None:
    with in_tables(Within(before_s, after_s), records=Event) as store:
        check_interval_join(store, drawn, before_s, after_s)


def check_interval_join(store: Store, drawn: Drawn, before_s: float, after_s: float) -> None:
    found, in_time, driven = joined(store, drawn)
    expected = [
        ((left, right), max(left.time_s, right.time_s))
        for left, right in pairs_of(in_time)
        if left.time_s - before_s <= right.time_s <= left.time_s + after_s
    ]
    assert sorted(found) == sorted(expected)
    assert isinstance(driven, Queryable)
    assert not any(driven.value_of("step-0", key) for key in range(10)), "nothing is kept when event time has ended"
    driven.close(complete=True)


@settings(max_examples=200, deadline=None)
@given(drawn=DRAWN, is_outer=st.booleans())
def test_a_table_join_gives_each_left_the_row_of_its_time(drawn: Drawn, is_outer: bool) -> None:
    check_table_join(InMemory(AsOf(is_outer)), drawn, is_outer=is_outer)


@settings(max_examples=30, deadline=None)
@given(drawn=DRAWN, is_outer=st.booleans())
def test_a_table_join_in_tables_gives_the_same(drawn: Drawn, is_outer: bool) -> None:
    with in_tables(AsOf(is_outer), records=Event) as store:
        check_table_join(store, drawn, is_outer=is_outer)


def check_table_join(store: Store, drawn: Drawn, *, is_outer: bool) -> None:
    drawn = [(side, key, half_s + 2 * number, what) for number, (side, key, half_s, what) in enumerate(drawn)]
    drawn = [(side, key, at, what) for number, (side, key, at, what) in enumerate(drawn) if at < 2 * number + 18]
    found, in_time, driven = joined(store, drawn)
    expected = []
    for left in (event for event in in_time if event.side == 0):
        rows = [row for row in in_time if row.side == 1 and row.key == left.key and row.time_s <= left.time_s]
        row = max(rows, key=lambda row: (row.time_s, row.number), default=None)
        if row is not None or is_outer:
            expected.append(((left, row), left.time_s))
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    driven.close(complete=True)


JOINED = st.sampled_from([Tumbling(5), Sliding(5, 2.5), Session(1)])


@settings(max_examples=100, deadline=None)
@given(drawn=DRAWN, shape=JOINED)
def test_a_window_join_gives_every_pair_of_a_window(drawn: Drawn, shape: Tumbling | Sliding | Session) -> None:
    check_window_join(InMemory(JoinWindows(shape)), drawn, shape)


@settings(max_examples=30, deadline=None)
@given(drawn=DRAWN, shape=JOINED)
def test_a_window_join_in_tables_gives_the_same(drawn: Drawn, shape: Tumbling | Sliding | Session) -> None:
    with in_tables(JoinWindows(shape), records=Event) as store:
        check_window_join(store, drawn, shape)


def check_window_join(store: Store, drawn: Drawn, shape: Tumbling | Sliding | Session) -> None:
    drawn = [(side, key, half_s % 20, what) for side, key, half_s, what in drawn]
    found, in_time, driven = joined(store, drawn)
    driven.close(complete=True)
    pairs = [result.value for result, _ in found]
    assert len(in_time) == len(drawn) + 1, "nothing is late"
    if isinstance(shape, Session):
        for result, _ in found:
            assert all(result.start <= event.time_s <= result.end - shape.gap_s for event in result.value)
        near = [pair for pair in pairs_of(in_time) if abs(pair[0].time_s - pair[1].time_s) <= shape.gap_s]
        assert set(near) <= set(pairs)
        assert len(set(pairs)) == len(pairs)
        return
    every_s = shape.size_s if isinstance(shape, Tumbling) else shape.every_s
    starts = [number * every_s for number in range(-10, 10)]
    expected = [
        (left, right)
        for left, right in pairs_of(in_time)
        for start in starts
        if all(start <= event.time_s < start + shape.size_s for event in (left, right))
    ]
    assert sorted(pairs) == sorted(expected)
