"""Partitions that a user has named, behind a source that is read by its own: the same watermark from life to life."""

from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from operators.alarms import Alarms
from operators.machine import SetTimer
from operators.partition_clock import PartitionClock, apart_by_place
from operators.read_times import ReadTimes
from operators.state import StepState
from sage.flow.dealing import PartitionRead, PartitionsRead, deal
from sage.flow.spec import AssignTimestamps

NAMES = ("a", "b", "c", "d", "e")


class Instances:
    """Clocks over dealt partitions of a source, saved and begun again as so many as are wanted."""

    def __init__(self, num: int) -> None:
        self.begun: dict[str, int] = {}
        self.ended: set[str] = set()
        self.begin(num, [])

    def begin(self, num: int, states: list[StepState]) -> None:
        read = PartitionsRead(tuple(PartitionRead(*each) for each in self.begun.items()), tuple(self.ended))
        self.times: list[ReadTimes] = []
        self.clocks: list[PartitionClock] = []
        self.marks: list[float | None] = []
        for at in range(num):
            dealt = deal(NAMES, read, at, num)
            times = ReadTimes(went_on={each.name: each.name for each in dealt.left if each.position is not None})
            for each in dealt.left:
                times.begin(each.name)
            clock = PartitionClock(AssignTimestamps(float, 2.0, str), Alarms())
            clock.follow(times)
            if states:
                clock.restore(StepState(heard=[each for state in states for each in state.heard], is_dealt=True))
            self.times.append(times)
            self.clocks.append(clock)
            self.marks.append(clock.watermark_s())

    def again(self, num: int) -> None:
        self.begin(num, [clock.snapshot() for clock in self.clocks])

    def at(self, name: str) -> int:
        return next(at for at, times in enumerate(self.times) if name in times.latest_s)

    def give(self, name: str, partition: int, time_s: float) -> None:
        at = self.at(name)
        self.times[at].current = name
        latest_s, get, hear = self.clocks[at].before()
        latest_s[partition] = max(time_s, get(partition, -inf))
        hear(partition)
        self.begun[name] = self.begun.get(name, 0) + 1
        self.marks[at] = self.clocks[at].watermark_s() or self.marks[at]

    def end(self, name: str) -> None:
        self.times[self.at(name)].end(name)
        self.begun.pop(name, None)
        self.ended.add(name)


MOVES = st.one_of(
    st.tuples(st.sampled_from(NAMES), st.integers(0, 2), st.floats(0, 100)),
    st.sampled_from(NAMES),
    st.integers(1, 4),
)


@settings(deadline=None)
@given(st.integers(1, 4), st.lists(MOVES, max_size=40))
def test_the_watermark_is_what_it_was_however_many_instances_go_on(
    num: int, moves: list[tuple[str, int, float] | str | int]
) -> None:
    instances, latest_s = Instances(num), dict[tuple[str, int], float]()
    for move in moves:
        match move:
            case (name, partition, time_s) if name not in instances.ended:
                instances.give(name, partition, time_s)
                latest_s[name, partition] = max(time_s, latest_s.get((name, partition), -inf))
            case str() as name if name not in instances.ended:
                instances.end(name)
                latest_s = {each: time_s for each, time_s in latest_s.items() if each[0] != name}
            case int() as num_now:
                instances.again(num_now)
                marks = [mark for mark in instances.marks if mark is not None]
                assert min(marks, default=None) == (min(latest_s.values()) - 2.0 if latest_s else None)
                assert [at for at, mark in enumerate(instances.marks) if mark is not None] == sorted(
                    {instances.at(name) for name, _ in latest_s}
                )
            case _:
                pass  # it has ended


def test_what_one_instance_read_as_a_whole_goes_on_with_what_was_begun() -> None:
    before = StepState(heard=[("x", 5.0), (None, "y", 7.0)], is_dealt=True)
    times = ReadTimes(went_on={"a": "a"})
    times.begin("a")
    times.begin("b")
    clock = PartitionClock(AssignTimestamps(float, 0.0, str), Alarms())
    clock.follow(times)
    clock.restore(before)
    assert clock.watermark_s() == 5.0
    assert sorted(clock.snapshot().heard) == [("a", "x", 5.0), ("a", "y", 7.0)]
    times.end("a")
    assert clock.snapshot().heard == []


def test_what_a_user_names_in_places_that_are_read_together_goes_where_these_go() -> None:
    named = AssignTimestamps(lambda record: record[2], 0.0, lambda record: record[1])
    placed, place_of = apart_by_place(named, lambda record: record[0])
    whole = StepState(heard=[(None, ("t/0", "x"), 5.0), (None, ("t/1", "x"), 3.0), ("x", 1.0)], is_dealt=True)
    for owned, expected_s in ((["t/0"], 5.0), (["t/1"], 3.0), (["t/0", "t/1"], 3.0), ([], None)):
        clock = PartitionClock(placed, Alarms(), place_of=place_of)
        clock.follow(ReadTimes(owned=owned))
        clock.restore(whole)
        assert clock.watermark_s() == expected_s
    before = PartitionClock(placed, Alarms(), place_of=place_of)
    before.restore(StepState(heard=[("x", 1.0)]))  # as it was kept: nobody would ever hear of it again
    assert before.snapshot().heard == []
    assert placed.partition is not None
    assert placed.partition(("t/1", "x", 7.0)) == ("t/1", "x")
    assert apart_by_place(named, named.partition)[0] is named


def test_of_a_partition_that_was_not_asked_nothing_is_idle() -> None:
    times, alarms = ReadTimes(), Alarms()
    clock = PartitionClock(AssignTimestamps(float, 0.0, str, 1.0), alarms)
    clock.follow(times)
    for name, time_s in (("a", 5.0), ("b", 50.0)):
        times.begin(name)
        times.current = name
        latest_s, _, hear = clock.before()
        latest_s["x"] = time_s
        hear("x")
    assert clock.watermark_s() == 5.0
    for asked, expected_s in (((), None), (("a", "b"), None), (("b",), None), (("a",), 50.0)):
        for name in asked:
            times.ask(name)
        (timer,) = alarms.take()
        assert isinstance(timer, SetTimer)
        alarms.ring(timer.timer_id)
        if "b" in asked:
            times.current = "b"
            clock.before()[2]("x")
        assert clock.watermark_s() == expected_s
