"""Keyed processes: state for each key, timers by event time and by the clock, and what comes of a failure."""

import operator
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.machine import Command, Emit, Machine, SetTimer
from sage.base.batch import Batch
from sage.base.errors import FlowInvalid, RecordFailed
from sage.flow.graph import OnError
from sage.flow.process import KeyedProcess, ListState, MapState, ProcessContext, ReducingState, ValueState
from sage.flow.spec import AssignTimestamps, KeyBy, Process
from tests.unit.operators.arrange import dead_of, machine, step, values_of

Record = tuple[float, Any]
Context = ProcessContext[Any]


def driven_by(process: type[KeyedProcess[Any, Any, Any]], *, sides: tuple[str, ...] = (), **policy: Any) -> Machine:
    """Records are `(time, key)`."""
    spec = step(Process(process, sides), "process", **policy)
    return machine(AssignTimestamps(lambda record: record[0]), KeyBy(lambda record: record[1]), spec)


def again(driven: Machine, process: type[KeyedProcess[Any, Any, Any]]) -> tuple[Machine, list[Command]]:
    saved = {name: replace(state, keyed=dict(state.keyed or {})) for name, state in driven.snapshot().items()}
    other = driven_by(process)
    return other, other.restore(deepcopy(saved))


class Everything(KeyedProcess[Any, Record, Any]):
    """Uses every kind of state."""

    num = ValueState(0)
    last = ValueState[float | None](None)
    times = ListState[float]()
    seen = MapState[float, int]()
    total = ReducingState[float](operator.add)

    def on_record(self, record: Record, context: Context) -> Iterable[Any]:
        self.num += 1
        self.times.append(record[0])
        self.seen[record[0]] = self.num
        self.total = record[0]
        yield context.key, context.time_s, self.num, self.last, list(self.times), dict(self.seen), self.total
        self.last = record[0]
        if self.num == 3:
            del self.num
            del self.times


def test_each_key_has_values_of_its_own_and_they_outlive_a_restart() -> None:
    driven = driven_by(Everything)
    assert values_of(driven.on_batch(Batch([(1, 0), (2, ""), (3, 0)]))) == [
        (0, 1, 1, None, [1], {1: 1}, 1),
        ("", 2, 1, None, [2], {2: 1}, 2),
        (0, 3, 2, 1, [1, 3], {1: 1, 3: 2}, 4),
    ]
    driven, _ = again(driven, Everything)
    assert values_of(driven.on_batch(Batch([(4, 0.0), (5, False)]))) == [
        (0.0, 4, 3, 3, [1, 3, 4], {1: 1, 3: 2, 4: 3}, 8),
        (False, 5, 1, 4, [5], {1: 1, 3: 2, 4: 3, 5: 1}, 13),
    ]


class Declaring(KeyedProcess[Any, Record, Any]):
    """Has no other state any more."""

    num = ValueState(0)

    def on_record(self, record: Record, context: Context) -> None:
        self.num += 1


def test_a_state_that_is_declared_no_more_is_not_kept_on() -> None:
    driven = driven_by(Everything)
    driven.on_batch(Batch([(1, 0)]))
    driven, _ = again(driven, Declaring)
    driven.on_batch(Batch([(2, 0)]))
    [(values, *_)] = (driven.snapshot()["process"].keyed or {}).values()
    assert values == {"num": 2}


class Quiet(KeyedProcess[Any, Record, tuple[Any, float]]):
    """Tells of a key that had no record for 10 s."""

    due = ValueState[float | None](None)

    def on_record(self, record: Record, context: Context) -> None:
        if self.due is not None:
            context.drop_timer(self.due)
        self.due = record[0] + 10
        context.set_timer(self.due)
        context.set_timer(self.due)

    def on_timer(self, time_s: float, context: Context) -> list[tuple[Any, float]]:
        assert context.time_s == time_s <= context.watermark_s
        del self.due
        return [(context.key, time_s)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2), st.integers(0, 3)), max_size=60))
def test_timers_fire_once_when_the_watermark_is_there_also_after_a_restart(drawn: list[tuple[int, int, int]]) -> None:
    driven = driven_by(Quiet)
    due: dict[int, float] = {}
    now, batch = 0, []
    for pause, key, what in [*drawn, (0, 0, 1)]:
        now += pause
        batch.append((now, key))
        due[key] = now + 10
        if what == 0:
            continue
        found = values_of(driven.on_batch(Batch(batch)))
        expected = sorted((time, key) for key, time in due.items() if time <= now)
        assert sorted((time, key) for key, time in found) == expected
        due = {key: time for key, time in due.items() if time > now}
        batch = []
        if what == 1:
            driven, commands = again(driven, Quiet)
            assert values_of(commands) == []
    assert sorted(values_of(driven.on_end())) == sorted(due.items())
    assert not driven.snapshot()["process"].keyed


class Ticking(KeyedProcess[Any, Record, float]):
    def on_record(self, record: Record, context: Context) -> None:
        context.set_timer(record[0] + 1)

    def on_timer(self, time_s: float, context: Context) -> list[float]:
        context.set_timer(time_s + 1)
        return [time_s]


def test_a_timer_that_sets_the_next_one_catches_up_and_ends_with_the_stream() -> None:
    driven = driven_by(Ticking)
    driven.on_batch(Batch([(0, "a")]))
    [command] = driven.on_batch(Batch([(3.5, "b")]))
    assert isinstance(command, Emit)
    assert (command.batch.values, command.batch.timestamps_s) == ([1, 2, 3], [1, 2, 3])
    assert sorted(values_of(driven.on_end())) == [4, 4.5]


class Expiring(KeyedProcess[Any, Record, tuple[int, int]]):
    num = ValueState(0, ttl_s=10)
    kept = ListState[float](ttl_s=10)

    def on_record(self, record: Record, context: Context) -> list[tuple[int, int]]:
        self.num += 1
        self.kept.append(record[0])
        return [(self.num, len(self.kept))]


def test_a_value_expires_its_time_to_live_after_it_was_last_written() -> None:
    driven = driven_by(Expiring)
    times = [0, 9, 18, 28, 29, 60]
    found = []
    for time in times:
        found += values_of(driven.on_batch(Batch([(time, "a"), (time, "clock")])))[:1]
        driven, _ = again(driven, Expiring)
    assert found == [(1, 1), (2, 2), (3, 3), (1, 1), (2, 2), (1, 1)]
    found = [values_of(driven.on_batch(Batch([(time, "b")]))) for time in (70, 80, 95)]
    assert found == [[(1, 1)], [(1, 1)], [(1, 1)]]
    assert values_of(driven.on_batch(Batch([(96, "a")]))) == [(1, 1)]


@pytest.mark.parametrize("len_batch", [1, 2, 6])
def test_what_a_record_finds_expired_does_not_depend_on_batches(len_batch: int) -> None:
    driven = driven_by(Expiring)
    records = [(time, "a") for time in (0, 9, 18, 28, 25, 60)]
    batches = [records[start : start + len_batch] for start in range(0, len(records), len_batch)]
    found = [each for batch in batches for each in values_of(driven.on_batch(Batch(batch)))]
    assert found == [(1, 1), (2, 2), (3, 3), (1, 1), (2, 2), (1, 1)]


class Listing(KeyedProcess[Any, Record, Any]):
    seen = ValueState[list[float]]([])

    def on_record(self, record: Record, context: Context) -> list[Any]:
        self.seen.append(record[0])
        return [(record[1], list(self.seen))]


def test_a_default_that_can_be_changed_is_not_shared_between_keys() -> None:
    driven = driven_by(Listing)
    assert values_of(driven.on_batch(Batch([(1, "a"), (2, "b"), (3, "a")]))) == [("a", [1]), ("b", [2]), ("a", [1, 3])]
    driven, _ = again(driven, Listing)
    assert values_of(driven.on_batch(Batch([(4, "b"), (5, "c")]))) == [("b", [2, 4]), ("c", [5])]


class Deaf(KeyedProcess[Any, Record, Any]):
    def on_record(self, record: Record, context: Context) -> Any:
        match record[0]:
            case 0:
                return context.set_timer(1)
            case 1:
                return context.set_alarm(1)
            case 2:
                return {"what": "one record"}
            case _:
                return ["a list"]


def test_what_a_process_cannot_mean_fails_the_record() -> None:
    process = step(Process(Deaf), on_error=OnError.DEAD_LETTER)
    driven = machine(AssignTimestamps(lambda record: record[0]), KeyBy(lambda record: record[1]), process)
    commands = driven.on_batch(Batch([(number, "a") for number in range(4)]))
    assert values_of(commands) == ["a list"]
    assert [letter.error for letter in dead_of(commands)] == [
        "ValueError: set_timer needs a method on_timer in Deaf",
        "ValueError: set_alarm needs a method on_alarm in Deaf",
        "TypeError: Deaf has a method that returns a list of records, and it returned a dict",
    ]


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (lambda: ValueState(0, ttl_s=-1), "ttl_s is -1; it is more than 0"),
        (lambda: ReducingState(max, ttl_s=0), "ttl_s is 0; it is more than 0"),
    ],
)
def test_a_state_that_cannot_be_kept_is_refused(made: Any, text: str) -> None:
    with pytest.raises(FlowInvalid, match=text):
        made()


class Waking(KeyedProcess[Any, Any, Any]):
    def on_record(self, record: Any, context: Context) -> None:
        if record == "stop":
            context.drop_alarm()
        else:
            context.set_alarm(0.5)

    def on_alarm(self, context: Context) -> list[Any]:
        return [context.key]


def test_an_alarm_rings_once_after_its_time_and_may_be_replaced_or_dropped() -> None:
    driven = machine(KeyBy(lambda record: "a"), Process(Waking))
    assert driven.on_batch(Batch([1, 2])) == [SetTimer(1, 0.5), SetTimer(2, 0.5)]
    assert driven.on_timer(1) == []
    assert values_of(driven.on_timer(2)) == ["a"]
    assert driven.on_timer(2) == []
    assert driven.on_batch(Batch([3])) == [SetTimer(3, 0.5)]
    other = machine(KeyBy(lambda record: "a"), Process(Waking))
    assert other.restore(driven.snapshot()) == [SetTimer(1, 0.5)]
    assert values_of(other.on_timer(1)) == ["a"]
    driven.on_batch(Batch(["stop"]))
    assert driven.on_timer(3) == []
    assert not driven.snapshot()["step-1"].keyed


class Failing(KeyedProcess[Any, Record, float]):
    def on_record(self, record: Record, context: Context) -> Iterable[float]:
        yield record[0]
        if record[0] < 0:
            raise ValueError(record)
        context.set_timer(record[0])

    def on_timer(self, time_s: float, context: Context) -> Iterable[float]:
        yield -time_s
        if time_s == 2:
            raise ValueError(time_s)


def test_what_fails_leaves_nothing_and_follows_the_policy() -> None:
    driven = driven_by(Failing, on_error=OnError.DEAD_LETTER)
    commands = [*driven.on_batch(Batch([(1, "a"), (-1, "a"), (2, "a")])), *driven.on_batch(Batch([(9, "b")]))]
    assert values_of(commands) == [1, 2, -1, 9, -9]
    assert [letter.value for letter in dead_of(commands)] == [(-1, "a"), ("a", 2)]
    with pytest.raises(RecordFailed, match="ValueError"):
        driven_by(Failing).on_batch(Batch([(-1, "a")]))


class Raising(Failing):
    """Its timers fail as often as it is told."""

    num_left = 0

    def on_timer(self, time_s: float, context: Context) -> Iterable[float]:
        type(self).num_left -= 1
        yield -time_s
        if self.num_left >= 0:
            raise ConnectionError(time_s)


def test_a_timer_that_fails_is_tried_again_as_often_as_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Raising, "num_left", 2)
    driven = driven_by(Raising, on_error=OnError.RETRY, retries=3)
    assert values_of(driven.on_batch(Batch([(1, "a"), (2, "b")]))) == [1, 2, -1, -2]
    monkeypatch.setattr(Raising, "num_left", 100)
    driven = driven_by(Raising, on_error=OnError.DEAD_LETTER, retries=3)
    assert [letter.value for letter in dead_of(driven.on_batch(Batch([(1, "a")])))] == [("a", 1)]
    assert Raising.num_left == 96
    with pytest.raises(RecordFailed, match="after 4 tries: ConnectionError"):
        driven_by(Raising, on_error=OnError.RETRY, retries=3).on_batch(Batch([(1, "a")]))
    assert Raising.num_left == 92


class Parting(KeyedProcess[Any, Record, float]):
    def on_record(self, record: Record, context: Context) -> None:
        context.aside("odd" if record[0] % 2 else "even", record[0])


def test_a_process_puts_records_to_the_sides_it_has_and_no_others() -> None:
    driven = driven_by(Parting, sides=("odd",), on_error=OnError.DEAD_LETTER)
    commands: Sequence[Command] = driven.on_batch(Batch([(1, "a"), (2, "a")]))
    assert Emit(Batch([1], None, [1], 2), ("process", "odd")) in commands
    [letter] = dead_of(commands)
    assert "'even' is no side of 'process'" in letter.error


def test_timers_need_event_time() -> None:
    driven = machine(KeyBy(lambda record: record[1]), Process(Quiet))
    with pytest.raises(RecordFailed, match="set_timer needs event time"):
        driven.on_batch(Batch([(1, "a")]))
