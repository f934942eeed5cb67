"""What windows give before they are over: by number, by the clock, and across a snapshot."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import floor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.machine import Command, InParts, Machine, SetTimer
from operators.state import State
from sage.base.batch import Batch
from sage.flow.graph import OnError
from sage.flow.spec import Aggregate, AssignTimestamps, Combine, KeyBy, Window
from sage.flow.windows import Session, Sliding, Trigger, Tumbling
from tests.unit.operators.arrange import dead_of, machine, step, values_of, whole
from tests.unit.operators.stores import InMemory, Store, in_tables

COUNT = Aggregate("count")
SHAPES: list[Tumbling | Sliding | Session] = [Tumbling(10), Sliding(10, 5), Sliding(10, 4), Session(3)]


def driven_by(window: Window, max_out_of_order_s: float = 1000.0) -> Machine:
    """Records are `(time, key)`."""
    return machine(AssignTimestamps(lambda record: record[0], max_out_of_order_s), KeyBy(lambda r: r[1]), window)


def rows(commands: Sequence[Command]) -> list[tuple[Any, ...]]:
    return [(each.key, each.start, each.end, each.value) for each in values_of(commands)]


def timers(commands: Sequence[Command]) -> list[SetTimer]:
    return [command for command in commands if isinstance(command, SetTimer)]


@dataclass
class Session_:
    first: int
    last: int
    num: int = 0
    since: int = 0


@dataclass
class Expected:
    """Counts the obvious way, while no window is over."""

    shape: Tumbling | Sliding | Session
    every: int
    aligned: dict[tuple[str, float], list[int]] = field(default_factory=dict)
    sessions: dict[str, list[Session_]] = field(default_factory=dict)

    def take(self, time: int, key: str) -> list[tuple[Any, ...]]:
        if isinstance(self.shape, Session):
            return self._take_session(time, key, self.shape.gap_s)
        size, every = self.shape.size_s, getattr(self.shape, "every_s", self.shape.size_s)
        given = []
        start = floor(time / every) * every
        while start + size > time:
            counts = self.aligned.setdefault((key, start), [0, 0])
            counts[0] += 1
            counts[1] += 1
            if counts[1] == self.every:
                counts[1] = 0
                given.append((key, start, start + size, counts[0]))
            start -= every
        return given

    def _take_session(self, time: int, key: str, gap: float) -> list[tuple[Any, ...]]:
        own = Session_(time, time, 1, 1)
        apart = []
        for other in self.sessions.get(key, []):
            if other.first - gap <= time <= other.last + gap:
                own = Session_(
                    min(own.first, other.first), max(own.last, other.last), own.num + other.num, own.since + other.since
                )
            else:
                apart.append(other)
        given = []
        if own.since >= self.every:
            own.since = 0
            given.append((key, own.first, own.last + gap, own.num))
        self.sessions[key] = [*apart, own]
        return given


DRAWN = st.lists(st.tuples(st.integers(0, 40), st.sampled_from("ab"), st.integers(0, 5)), max_size=60)
Drawn = list[tuple[int, str, int]]


def steps(window: Window) -> tuple[AssignTimestamps, KeyBy, Window]:
    return AssignTimestamps(lambda record: record[0], 1000.0), KeyBy(lambda r: r[1]), window


@settings(max_examples=150, deadline=None)
@given(shape=st.sampled_from(SHAPES), every=st.integers(1, 4), drawn=DRAWN)
def test_a_window_gives_its_result_each_time_that_so_many_have_come(
    shape: Tumbling | Sliding | Session, every: int, drawn: Drawn
) -> None:
    window = Window(shape, COUNT, trigger=Trigger(every_records=every))
    check_by_number(InMemory(*steps(window)), Expected(shape, every), drawn)


@settings(max_examples=12, deadline=None)
@given(shape=st.sampled_from(SHAPES), every=st.integers(1, 4), drawn=DRAWN)
def test_a_window_in_tables_gives_its_result_each_time_that_so_many_have_come(
    shape: Tumbling | Sliding | Session, every: int, drawn: Drawn
) -> None:
    window = Window(shape, COUNT, trigger=Trigger(every_records=every))
    with in_tables(*steps(window)) as store:
        check_by_number(store, Expected(shape, every), drawn)


def check_by_number(store: Store, expected: Expected, drawn: Drawn) -> None:
    driven = store.begun()
    batch: list[tuple[int, str]] = []
    for time, key, what in drawn:
        batch.append((time, key))
        if what == 0:
            assert rows(driven.on_batch(Batch(batch))) == [
                row for pair in batch for row in sorted(expected.take(*pair))
            ]
            batch = []
        elif what == 1:
            driven, said = store.again(driven)
            assert rows(said) == []
    driven.close(complete=False)


@settings(max_examples=12, deadline=None)
@given(
    shape=st.sampled_from(SHAPES),
    trigger=st.sampled_from([Trigger(every_s=0.5), Trigger(every_s=0.5, every_records=3)]),
    drawn=st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abcdefg"), st.integers(0, 6)), max_size=40),
    max_out_of_order_s=st.sampled_from([3.0, 1000.0]),
)
def test_windows_in_tables_give_by_the_clock_what_those_in_memory_give(
    shape: Tumbling | Sliding | Session, trigger: Trigger, drawn: Drawn, max_out_of_order_s: float
) -> None:
    """Also where the one in tables goes on from its snapshot, and between two parts of what it gives."""
    time = AssignTimestamps(lambda record: record[0], max_out_of_order_s)
    specs = time, KeyBy(lambda r: r[1]), Window(shape, COUNT, allow_late_s=5.0, trigger=trigger)
    with in_tables(*specs) as store:
        memory, tables = Driven(InMemory(*specs)), Driven(store)
        batch: list[tuple[int, str]] = []
        for at_s, key, what in drawn:
            batch.append((at_s, key))
            if what < 3:
                assert sorted(memory.take(batch)) == sorted(tables.take(batch))
                batch = []
            if what == 1:
                tables.begin_again()
            if what < 2:
                assert sorted(memory.ring()) == sorted(tables.ring(begins_again=what == 0))
        assert sorted(memory.end()) == sorted(tables.end())


@pytest.mark.parametrize("shape", [Tumbling(10), Sliding(10, 5), Session(3)], ids=str)
def test_by_the_clock_what_is_over_is_not_given_again(shape: Tumbling | Sliding | Session) -> None:
    time = AssignTimestamps(lambda record: record[0], 0.0)
    specs = time, KeyBy(lambda r: r[1]), Window(shape, COUNT, allow_late_s=100.0, trigger=Trigger(every_s=0.5))
    with in_tables(*specs) as store:
        for where in (InMemory(*specs), store):
            driven = Driven(where)
            driven.take([(1, "a"), (1, "b")])
            assert {start for _, start, _, _ in driven.take([(22, "a")])} <= {-5, 0, 1}
            assert {start for _, start, _, _ in driven.ring()} <= {15, 20, 22}
            driven.end()


@pytest.mark.parametrize("shape", [Tumbling(5), Session(3)], ids=str)
def test_by_the_clock_what_came_since_is_given_in_memory_and_then_in_tables(shape: Tumbling | Session) -> None:
    """Of two windows of a key only the one in which something came."""
    specs = steps(Window(shape, COUNT, trigger=Trigger(every_s=0.5)))
    memory = InMemory(*specs).begun()
    memory.on_batch(Batch([(1, "a"), (1, "b"), (8, "a")]))
    with in_tables(*specs) as store:
        tables = Driven(store)
        assert tables.restore(memory.snapshot()) == []
        assert sorted((key, value) for key, _, _, value in tables.ring()) == [("a", 1), ("a", 1), ("b", 1)]
        assert tables.take([(2, "a")]) == []
        assert [(key, value) for key, _, _, value in tables.ring()] == [("a", 2)]
        tables.end()


class Driven:
    """A machine, and the newest timer that it set."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._machine = store.begun()
        self._timer: int | None = None

    def take(self, records: Sequence[Any]) -> list[tuple[Any, ...]]:
        return self._said(whole(self._machine, self._machine.on_batch(Batch(records))))

    def ring(self, *, begins_again: bool = False) -> list[tuple[Any, ...]]:
        """Let the timer come, if there is one; a machine that begins again does so between two parts."""
        if self._timer is None:
            return []
        timer, self._timer = self._timer, None
        given = self._said(self._machine.on_timer(timer))
        while isinstance(self._machine, InParts) and self._machine.goes_on:
            if begins_again:
                given += self.begin_again()
                given += self.ring()
            else:
                given += self._said(self._machine.go_on())
        return given

    def begin_again(self) -> list[tuple[Any, ...]]:
        self._timer = None
        self._machine, said = self._store.again(self._machine)
        return self._said(said)

    def restore(self, state: State) -> list[tuple[Any, ...]]:
        return self._said(self._machine.restore(state))

    def end(self) -> list[tuple[Any, ...]]:
        given = self._said(whole(self._machine, self._machine.on_end()))
        self._machine.close(complete=True)
        return given

    def _said(self, commands: Sequence[Command]) -> list[tuple[Any, ...]]:
        for timer in timers(commands):
            self._timer = timer.timer_id
        return rows(commands)


def test_what_is_over_is_given_once_and_counts_no_more() -> None:
    driven = driven_by(Window(Tumbling(10), COUNT, allow_late_s=100, trigger=Trigger(every_records=2)), 0.0)
    assert rows(driven.on_batch(Batch([(1, "a"), (2, "a"), (3, "a")]))) == [("a", 0, 10, 2)]
    assert rows(driven.on_batch(Batch([(12, "a")]))) == [("a", 0, 10, 3)]
    assert rows(driven.on_batch(Batch([(4, "a"), (5, "a")]))) == [("a", 0, 10, 5)], "as late records do"


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_by_the_clock_windows_in_which_something_came_are_given(shape: Tumbling | Sliding | Session) -> None:
    driven = driven_by(Window(shape, COUNT, trigger=Trigger(every_s=0.5)))
    [timer] = timers(driven.on_batch(Batch([(8, "a"), (9, "a"), (8, "b")])))
    assert timer.after_s == 0.5
    given = rows(driven.on_timer(timer.timer_id))
    assert {(key, value) for key, _, _, value in given} == {("a", 2), ("b", 1)}
    [timer] = timers(driven.on_batch(Batch([(9, "b")])))
    assert {(key, value) for key, _, _, value in rows(driven.on_timer(timer.timer_id))} == {("b", 2)}
    assert timers(driven.on_batch(Batch(()))) == [], "nobody looks while nothing comes"


def test_the_clock_goes_on_after_a_snapshot() -> None:
    window = Window(Session(5), COUNT, trigger=Trigger(every_s=0.5))
    before, driven = driven_by(window), driven_by(window)
    before.on_batch(Batch([(1, "a")]))
    [timer] = timers(driven.restore(before.snapshot()))
    assert rows(driven.on_timer(timer.timer_id)) == [("a", 1, 6, 1)]


def test_an_early_result_that_cannot_be_made_is_set_aside_and_the_window_goes_on() -> None:
    half = Combine(list, lambda numbers, record: [*numbers, record[0]], None, lambda numbers: 1 / (len(numbers) - 2))
    window = step(Window(Tumbling(10), half, trigger=Trigger(every_records=2)), on_error=OnError.DEAD_LETTER)
    driven = machine(AssignTimestamps(lambda record: record[0], 1000), KeyBy(lambda r: r[1]), window)
    commands = driven.on_batch(Batch([(1, "a"), (2, "a"), (3, "a"), (4, "a")]))
    assert len(dead_of(commands)) == 1
    assert rows(commands) == [("a", 0, 10, 0.5)]
