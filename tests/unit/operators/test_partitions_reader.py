"""Reading the partitions of one instance: each in its turn, few at once where the source wants it, event time apart."""

from collections.abc import Sequence
from math import inf
from typing import Any

import pytest

from operators.alarms import Alarms
from operators.event_clock import EventClock
from operators.machine import SetTimer
from operators.partitions_reader import PartitionsReader, dealt_reader
from operators.quiet import NUM_LOOKS
from operators.read_times import ReadTimes
from operators.split_clock import SplitClock
from sage.base.errors import CheckpointUnusable, SourceUnreadable
from sage.flow.dealing import PartitionRead, PartitionsRead
from sage.flow.spec import AssignTimestamps


class Piles:
    """Partitions that are lists; `closed` says which readers were let go of."""

    def __init__(self, piles: dict[str, list[list[int]]], num_at_once: int | None = None, pause_s: float = 0.0) -> None:
        self.piles = piles
        self.num_at_once = num_at_once
        self.pause_s = pause_s
        self.closed: list[str] = []

    def partitions(self) -> list[str]:
        return list(self.piles)

    def open_partition(self, name: str, position: int | None) -> "PileReader":
        return PileReader(self, name, position or 0)


class PileReader:
    def __init__(self, source: Piles, name: str, at: int) -> None:
        self.source, self.name, self.at = source, name, at

    def read(self, max_records: int) -> Sequence[int] | None:
        if self.at == len(self.source.piles[self.name]):
            return None
        self.at += 1
        return self.source.piles[self.name][self.at - 1]

    def pause_s(self) -> float:
        return self.source.pause_s

    def position(self) -> int:
        return self.at

    def close(self) -> None:
        self.source.closed.append(self.name)


def opened(source: Any, read: Any = PartitionsRead(), instance: int = 0, num: int = 1) -> PartitionsReader:  # noqa: B008 - a value
    reader = dealt_reader(source, read, instance, num)
    assert isinstance(reader, PartitionsReader)
    return reader


def all_of(reader: PartitionsReader) -> list[Any]:
    found = []
    while (records := reader.read(10)) is not None:
        found += [(reader.times.current, record) for record in records]
    return found


def test_partitions_take_turns_and_each_is_closed_at_its_end() -> None:
    source = Piles({"a": [[1], [2]], "b": [[3]], "c": [[4]]})
    assert all_of(opened(source)) == [("a", 1), ("b", 3), ("c", 4), ("a", 2)]
    assert sorted(source.closed) == ["a", "b", "c"]


def test_where_few_are_read_at_once_the_next_is_begun_when_one_has_ended() -> None:
    reader = opened(Piles({"a": [[1], [2]], "b": [[3]], "c": [[4]]}, num_at_once=1))
    assert all_of(reader) == [("a", 1), ("a", 2), ("b", 3), ("c", 4)]
    assert reader.read_so_far() == PartitionsRead((), ("a", "b", "c"))


def test_those_that_were_begun_by_several_are_read_side_by_side_up_to_the_first_new_one() -> None:
    source = Piles({name: [[1], [2], [3]] for name in "abcd"}, num_at_once=1)
    read = PartitionsRead(tuple(PartitionRead(name, 1, 5.0) for name in "abd"))
    reader = opened(source, read)
    assert reader.times.latest_s == {"a": 5.0, "b": 5.0}
    assert {each.name for each in reader.read_so_far().begun} == {"a", "b", "d"}
    assert [name for name, _ in all_of(reader)] == ["a", "b", "a", "b", "c", "c", "c", "d", "d"]


def test_an_instance_without_any_partition_ends_at_once() -> None:
    assert opened(Piles({"a": [[1]]}), instance=1, num=2).read(10) is None


def test_a_pause_is_made_once_no_partition_has_anything() -> None:
    reader = opened(Piles({"a": [[], [], [1]], "b": [[], [], []]}, pause_s=0.5))
    pauses = []
    for _ in range(5):
        reader.read(10)
        pauses.append(reader.pause_s())
    assert pauses == [0.0, 0.5, 0.0, 0.5, 0.0]


def test_a_source_that_was_read_as_a_whole_and_a_reader_without_position_are_refused() -> None:
    with pytest.raises(CheckpointUnusable, match="was read as a whole"):
        opened(Piles({"a": []}), 17)
    source: Any = Piles({"a": []})
    source.open_partition = lambda name, position: Placeless()
    with pytest.raises(SourceUnreadable, match="of partition 'a' cannot say where it is"):
        opened(source)


class Placeless:
    def close(self) -> None:
        pass


def clock_of(times: ReadTimes, idle_after_s: float | None = None) -> tuple[SplitClock, Alarms]:
    alarms = Alarms()
    clock = SplitClock(AssignTimestamps(float, 2.0, None, idle_after_s), alarms)
    clock.follow(times)
    return clock, alarms


def give(clock: SplitClock, times: ReadTimes, name: str, latest_s: float) -> float | None:
    times.current = name
    clock.after(max(clock.before(), latest_s))
    return clock.watermark_s()


def test_the_open_partition_that_is_furthest_behind_counts_and_one_that_has_ended_does_not() -> None:
    times = ReadTimes()
    clock, _ = clock_of(times)
    times.begin("a")
    times.begin("b")
    assert give(clock, times, "a", 100.0) is None  # b has given nothing yet
    assert give(clock, times, "b", 10.0) == 8.0
    assert give(clock, times, "b", 30.0) == 28.0
    times.end("b")
    assert clock.watermark_s() == 98.0
    times.begin("c", 50.0)
    assert clock.watermark_s() is None  # it never falls
    assert give(clock, times, "c", 150.0) is None
    times.state("a", 120.0)
    assert clock.watermark_s() == 120.0
    times.end("a")
    times.end("c")
    assert clock.watermark_s() is None


def test_the_end_of_event_time_passes_and_is_not_kept() -> None:
    times = ReadTimes()
    clock, _ = clock_of(times)
    times.begin("a", 5.0)
    clock.stated(inf)
    assert clock.watermark_s() == inf
    again, _ = clock_of(ReadTimes())
    again.restore(clock.snapshot())
    assert again.watermark_s() is None


def test_a_clock_that_is_over_says_nothing_where_its_task_goes_on_from_its_end() -> None:
    clock = EventClock(2.0)
    clock.latest_s = 10.0
    assert clock.watermark_s() == 8.0
    clock.stated(inf)
    assert clock.watermark_s() == inf
    again = EventClock(2.0)
    again.restore(clock.snapshot())
    assert again.watermark_s() is None


def test_a_partition_that_is_idle_holds_nothing_back_until_it_gives_something() -> None:
    times = ReadTimes()
    clock, alarms = clock_of(times, idle_after_s=1.0)
    times.begin("a")
    times.begin("b")
    assert give(clock, times, "a", 100.0) is None
    asked(times, "a", "b")
    assert look(clock, alarms) is None  # a was heard since, b was not: but it was asked once, nobody knows when
    for _ in range(NUM_LOOKS):
        give(clock, times, "a", 100.0)
        asked(times, "a", "b")
        assert look(clock, alarms) is None
    give(clock, times, "a", 100.0)
    asked(times, "a", "b")
    assert look(clock, alarms) == 98.0
    assert give(clock, times, "b", 40.0) is None
    assert times.latest_s == {"a": 100.0, "b": 40.0}
    assert clock.before() == 40.0
    assert min(times.latest_s.values()) > -inf


def look(clock: SplitClock, alarms: Alarms) -> float | None:
    (timer,) = alarms.take()
    assert isinstance(timer, SetTimer)
    alarms.ring(timer.timer_id)
    return clock.watermark_s()


def asked(times: ReadTimes, *names: str) -> None:
    for name in names:
        times.ask(name)


def wait(clock: SplitClock, alarms: Alarms, times: ReadTimes, *names: str) -> float | None:
    """Let so much time pass that those that are asked in vain all the while are idle; return the last watermark."""
    for _ in range(NUM_LOOKS + 1):
        asked(times, *names)
        assert look(clock, alarms) is None
    asked(times, *names)
    return look(clock, alarms)


def test_a_partition_that_began_shortly_before_is_not_idle_by_that() -> None:
    times = ReadTimes()
    clock, alarms = clock_of(times, idle_after_s=1.0)
    times.begin("a")
    times.begin("b")
    give(clock, times, "a", 100.0)
    assert give(clock, times, "b", 10.0) == 8.0
    asked(times, "a", "b")
    assert look(clock, alarms) is None
    for _ in range(NUM_LOOKS):
        asked(times, "a", "b")
        assert look(clock, alarms) is None
    times.end("b")
    times.begin("c")
    asked(times, "a", "c")
    assert look(clock, alarms) is None  # a is quiet for long enough by the next look at the earliest, c is new
    asked(times, "a", "c")
    assert look(clock, alarms) is None
    assert give(clock, times, "c", 20.0) == 18.0
    assert wait(clock, alarms, times, "a", "c") is None  # all are idle


def test_a_partition_that_is_asked_twice_is_idle_where_the_times_are_so_far_apart_for_sure() -> None:
    """An ask after the first look, which saw another one, is not: that may have been right before it."""
    for num_looks_between in range(NUM_LOOKS + 2):
        times = ReadTimes()
        clock, alarms = clock_of(times, idle_after_s=1.0)
        times.begin("a")
        times.begin("b")
        give(clock, times, "a", 100.0)
        asked(times, "b")
        assert look(clock, alarms) is None
        for _ in range(num_looks_between):
            assert look(clock, alarms) is None  # it is asked nothing, however long that takes
        asked(times, "b")
        assert look(clock, alarms) == (98.0 if num_looks_between >= NUM_LOOKS else None), num_looks_between


def test_a_partition_that_nobody_asked_is_not_idle_by_that() -> None:
    source = Piles({"a": [[1], [2]], "b": [[], [], [3]]})
    reader = opened(source)
    clock, alarms = clock_of(reader.times, idle_after_s=1.0)
    reader.read(10)
    assert give(clock, reader.times, "a", 100.0) is None
    reader.read(10)  # b, in vain
    for _ in range(3 * NUM_LOOKS):
        assert look(clock, alarms) is None
    reader.read(10)
    assert look(clock, alarms) is None
    give(clock, reader.times, "a", 100.0)
    reader.read(10)
    assert look(clock, alarms) == 98.0


def test_where_records_of_several_partitions_come_together_the_source_is_one() -> None:
    times = ReadTimes(owned=frozenset({("topic", 0), ("topic", 1)}))
    clock, _ = clock_of(times)
    assert give(clock, times, "", 100.0) == 98.0


def test_those_that_are_open_are_watched_also_where_idle_ones_have_ended() -> None:
    times = ReadTimes()
    clock, alarms = clock_of(times, idle_after_s=1.0)
    times.begin("a")
    times.begin("b")
    give(clock, times, "b", 10.0)
    for _ in range(NUM_LOOKS + 1):
        give(clock, times, "b", 10.0)
        asked(times, "a", "b")
        assert look(clock, alarms) is None
    asked(times, "a")
    assert look(clock, alarms) == 8.0  # a is idle
    times.end("a")
    assert wait(clock, alarms, times, "b") is None  # so is b, and nobody looks any more
    assert alarms.take() == []
    times.begin("c")
    assert clock.watermark_s() is None
    assert len(alarms.take()) == 1
