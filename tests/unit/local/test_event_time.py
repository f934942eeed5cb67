"""Windows of whole flows: whatever the disorder and the number of instances, results are those of the oracle."""

import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sage
from cluster.local import LocalCluster
from sage.flow.windows import Session, Sliding, Tumbling
from tests.unit.operators.window_oracle import Event, by_all

SHAPES: list[Tumbling | Sliding | Session] = [sage.Tumbling(10), sage.Sliding(10, 2.5), sage.Session(1.5)]
DISORDER_S = 3.0


def moved(drawn: list[tuple[int, float]]) -> list[Event]:
    """Return an event every half second, each up to DISORDER_S behind its turn."""
    events = [Event(key, number / 2, number) for number, (key, _) in enumerate(drawn)]
    turn = [event.time_s + late_s for event, (_, late_s) in zip(events, drawn, strict=True)]
    return [events[number] for number in sorted(range(len(events)), key=turn.__getitem__)]


def found_by(
    flow: sage.Flow, windowed: "sage.Stream[sage.WindowResult[int, int]]", num_instances: int
) -> Callable[[], list[Any]]:
    results = windowed.with_parallelism(num_instances).collect()

    def found() -> list[Any]:
        with LocalCluster() as cluster:
            cluster.submit(flow.graph()).wait(30)
        return sorted((r.key, r.start, r.end, r.value) for r in results.items)

    return found


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
@settings(max_examples=8, deadline=None)
@given(
    drawn=st.lists(st.tuples(st.integers(0, 5), st.floats(0, DISORDER_S)), max_size=200),
    num_instances=st.integers(1, 4),
    num_before=st.integers(1, 4),
)
def test_no_record_within_the_disorder_is_late_however_many_instances_there_are(
    shape: Tumbling | Sliding | Session, drawn: list[tuple[int, float]], num_instances: int, num_before: int
) -> None:
    events = moved(drawn)
    flow = sage.Flow("windows")
    stream = flow.from_collection(events, timestamp=lambda event: event.time_s, max_out_of_order_s=DISORDER_S)
    stream = stream.map(lambda event: event).with_parallelism(num_before)
    keyed = stream.key_by(lambda event: event.key).with_parallelism(num_before)
    found = found_by(flow, keyed.window(shape).sum(lambda event: event.number), num_instances)
    assert found() == by_all(shape, events, sum)


def test_the_watermark_of_two_sources_is_that_of_the_slower_one() -> None:
    flow = sage.Flow("windows")
    early, late = range(50), range(1000, 1050)
    both = flow.from_collection(early, timestamp=float).union(flow.from_collection(late, timestamp=float))
    counts = both.key_by(lambda number: "all").window(sage.Tumbling(10)).count().collect()
    with LocalCluster() as cluster:
        cluster.submit(flow.graph()).wait(30)
    assert sorted((result.start, result.value) for result in counts.items) == [
        (start, 10) for start in [*range(0, 50, 10), *range(1000, 1050, 10)]
    ]


class Held:
    """A source that gives its numbers and then nothing, until it is let end."""

    def __init__(self, numbers: list[int]) -> None:
        self.left = numbers
        self.may_end = threading.Event()
        self.wake: Callable[[], object] = lambda: None

    def open(self) -> "Held":
        return self

    def wake_by(self, wake: Callable[[], object]) -> None:
        self.wake = wake

    def read(self, max_records: int) -> list[int] | None:
        given, self.left = self.left[:max_records], self.left[max_records:]
        return None if not given and self.may_end.is_set() else given

    def close(self) -> None:
        pass

    def end(self) -> None:
        self.may_end.set()
        self.wake()


def test_a_source_that_has_nothing_for_a_while_holds_no_window_back() -> None:
    flow = sage.Flow("windows")
    silent, busy = Held([3]), Held(list(range(35)))
    both = flow.from_source(silent, timestamp=float, idle_after_s=0.05).union(flow.from_source(busy, timestamp=float))
    given: queue.SimpleQueue[tuple[float, int]] = queue.SimpleQueue()
    counts = both.key_by(lambda number: "all").with_parallelism(2).window(sage.Tumbling(10)).count()
    counts.with_parallelism(2).for_each(lambda result: given.put((result.start, result.value)))
    with LocalCluster() as cluster:
        job = cluster.submit(flow.graph())
        early = [given.get(timeout=30) for _ in range(3)]
        silent.end()
        busy.end()
        job.wait(30)
    assert sorted(early) == [(0, 11), (10, 10), (20, 10)]
    assert given.get(timeout=1) == (30, 5)


def test_results_of_windows_have_event_time_and_can_be_put_into_windows_again() -> None:
    flow = sage.Flow("windows")
    numbers = flow.from_collection(range(100), timestamp=float).key_by(lambda number: number % 2)
    by_key = numbers.window(sage.Tumbling(10)).count()
    most = by_key.key_by(lambda result: "all").window(sage.Tumbling(10)).max(lambda result: result.value).collect()
    with LocalCluster() as cluster:
        cluster.submit(flow.graph()).wait(30)
    assert [(result.start, result.value) for result in most.items] == [(start, 5) for start in range(0, 100, 10)]


@settings(max_examples=8, deadline=None)
@given(times=st.lists(st.integers(0, 100), max_size=60), num_instances=st.integers(1, 4))
def test_every_record_is_in_a_window_or_late(times: list[int], num_instances: int) -> None:
    flow = sage.Flow("windows")
    one_by_one = flow.from_collection(times).map_batches(lambda batch: batch, max_records=1)
    keyed = one_by_one.assign_timestamps(float).key_by(lambda time: time % 7)
    found = keyed.window(sage.Tumbling(10)).late_to("late").collect().with_parallelism(num_instances)
    late, windows = found.side("late").collect(), found.collect()
    with LocalCluster() as cluster:
        cluster.submit(flow.graph()).wait(30)
    in_windows = [time for result in windows.items for time in result.value]
    assert sorted([*in_windows, *late.items]) == sorted(times)
    assert all(result.start <= time < result.end for result in windows.items for time in result.value)
    assert len({(result.key, result.start) for result in windows.items}) == len(windows.items)


class Latest(sage.KeyedProcess[int, Event, tuple[int, float]]):
    """Tells the number of records of a key every 5 s of event time in which it has some."""

    num = sage.ValueState(0)

    def on_record(self, record: Event, context: sage.ProcessContext[int]) -> None:
        self.num += 1
        context.set_timer(record.time_s // 5 * 5 + 5)

    def on_timer(self, time_s: float, context: sage.ProcessContext[int]) -> list[tuple[int, float]]:
        return [(context.key, time_s)]


@settings(max_examples=6, deadline=None)
@given(
    drawn=st.lists(st.tuples(st.integers(0, 5), st.floats(0, DISORDER_S)), max_size=100),
    num_instances=st.integers(1, 4),
)
def test_timers_of_many_instances_fire_each_once(drawn: list[tuple[int, float]], num_instances: int) -> None:
    events = moved(drawn)
    flow = sage.Flow("timers")
    stream = flow.from_collection(events, timestamp=lambda event: event.time_s, max_out_of_order_s=DISORDER_S)
    found = stream.key_by(lambda event: event.key).process(Latest).with_parallelism(num_instances).collect()
    with LocalCluster() as cluster:
        cluster.submit(flow.graph()).wait(30)
    assert sorted(found.items) == sorted({(event.key, event.time_s // 5 * 5 + 5) for event in events})


class Paired(sage.CoProcess[int, Event, Event, tuple[int, int]]):
    """Pairs the first record of either stream."""

    first = sage.ValueState[Event | None](None)
    second = sage.ValueState[Event | None](None)

    def on_first(self, record: Event, context: sage.ProcessContext[int]) -> list[tuple[int, int]]:
        was, self.first = self.first, self.first or record
        return [] if was is not None or self.second is None else [(record.key, self.second.key)]

    def on_second(self, record: Event, context: sage.ProcessContext[int]) -> list[tuple[int, int]]:
        was, self.second = self.second, self.second or record
        return [] if was is not None or self.first is None else [(self.first.key, record.key)]


@settings(max_examples=6, deadline=None)
@given(
    drawn=st.lists(st.tuples(st.integers(0, 5), st.floats(0, DISORDER_S)), max_size=60),
    num_instances=st.integers(1, 4),
)
def test_two_streams_meet_by_key_however_many_instances_there_are(
    drawn: list[tuple[int, float]], num_instances: int
) -> None:
    events = moved(drawn)
    flow = sage.Flow("joins")
    stream = flow.from_collection(events, timestamp=lambda event: event.time_s, max_out_of_order_s=DISORDER_S)
    left = stream.filter(lambda event: event.number % 2 == 0).key_by(lambda event: event.key)
    right = stream.filter(lambda event: event.number % 2).key_by(lambda event: event.key)
    near = left.join(right).within(2, 2).with_parallelism(num_instances).collect()
    paired = left.connect(right).process(Paired).with_parallelism(num_instances).collect()
    with LocalCluster() as cluster:
        cluster.submit(flow.graph()).wait(30)
    lefts, rights = events_of(events, 0), events_of(events, 1)
    pairs = [(one, two) for one in lefts for two in rights if one.key == two.key]
    assert sorted(near.items) == sorted(pair for pair in pairs if abs(pair[0].time_s - pair[1].time_s) <= 2)
    assert sorted(paired.items) == sorted({(one.key, two.key) for one, two in pairs})


def events_of(events: list[Event], rest: int) -> list[Event]:
    return [event for event in events if event.number % 2 == rest]
