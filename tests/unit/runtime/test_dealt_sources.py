"""Sources that several instances read: nothing lost, doubled or late, however many there are from life to life."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

import sage
from cluster.runtime.cuts import Cut
from sage.flow.graph import Graph
from tests.unit.runtime.driven_flow import DrivenFlow, dealt_out_anew

Event = tuple[int, str, int]
"""When it happened, in which partition, which of it."""


@dataclass(frozen=True)
class Sensors:
    """Partitions that a user has made, each of which gives what its list says; None: nothing for now."""

    lists: dict[str, list[Event | None]]

    def partitions(self) -> list[str]:
        return list(self.lists)

    def open_partition(self, name: str, position: int | None) -> "SensorReader":
        return SensorReader(self.lists[name], position or 0)


class SensorReader:
    def __init__(self, items: list[Event | None], following: int) -> None:
        self.items = items
        self.following = following

    def read(self, max_records: int) -> Sequence[Event] | None:
        if self.following == len(self.items):
            return None
        self.following += 1
        found = self.items[self.following - 1]
        return [] if found is None else [found]

    def position(self) -> int:
        return self.following

    def close(self) -> None:
        pass


def lives(rng: Random, graph_of: Any) -> None:
    """Run to the end in a few lives, each with another number of instances, from the newest checkpoint."""
    graph: Graph = graph_of(rng.randint(1, 4))
    run = DrivenFlow(graph, rng)
    newest: tuple[Cut, Graph] | None = None
    for _ in range(rng.randint(1, 4)):
        for _ in range(rng.randint(0, 4)):
            run.begin_checkpoint()
            run.run(rng.choice((20, 100, 300)))
        if run.num_complete and run.newest is not None:
            newest = run.newest, graph
        graph = graph_of(rng.randint(1, 4))
        run = DrivenFlow(graph, rng, begins_at=None if newest is None else dealt_out_anew(*newest, graph))
    run.run_out()


class Windowed:
    """Windows over a source of `num` instances; the newest flow's results are those of all lives."""

    def __init__(self, source: Any, num_windowed: int) -> None:
        self.source, self.num_windowed = source, num_windowed
        self.windows: Any = None
        self.late: Any = None
        self.seen: Any = None

    def graph(self, num: int) -> Graph:
        flow = sage.Flow("dealt")
        moved = self.source(flow, num).map(lambda event: event).named("same").with_parallelism(num)
        self.seen = moved.map(lambda event: event).named("seen").collect()
        keyed = moved.key_by(lambda event: event[2] % 3).named("by").with_parallelism(num)
        windowed = keyed.window(sage.Tumbling(10)).late_to("late").count().named("windows")
        windowed = windowed.with_parallelism(self.num_windowed)
        self.late = windowed.side("late").named("of late").collect().named("late")
        self.windows = windowed.collect().named("counts")
        return flow.graph()

    def check(self, events: list[Event]) -> None:
        assert Counter(self.seen.items) == Counter(events)
        assert self.late.items == []
        found = Counter({(r.key, r.start): r.value for r in self.windows.items})
        assert len(found) == len(self.windows.items)
        assert found == Counter((event[2] % 3, event[0] // 10 * 10) for event in events)

    def check_all(self, events: list[Event]) -> None:
        """Where partitions may be idle, what they give then may be late; it is said so, and in no window."""
        assert Counter(self.seen.items) == Counter(events)
        found = Counter({(r.key, r.start): r.value for r in self.windows.items})
        assert len(found) == len(self.windows.items)
        late = Counter((event[2] % 3, event[0] // 10 * 10) for event in self.late.items)
        assert found + late == Counter((event[2] % 3, event[0] // 10 * 10) for event in events)


def sensor(name: str, rng: Random, most_empty: int = 3) -> list[Event | None]:
    events: list[Event | None] = [(2 * number, name, number) for number in range(rng.randint(0, 30))]
    for _ in range(rng.randint(0, most_empty)):
        events.insert(rng.randint(0, len(events)), None)
    return events


@pytest.mark.parametrize("seeds", [range(first, first + 10) for first in range(0, 30, 10)], ids=str)
def test_partitions_go_on_in_event_time_however_many_instances_read_them(seeds: range) -> None:
    for seed in seeds:
        rng = Random(seed)
        lists = {name: sensor(name, rng) for name in "abcdef"[: rng.randint(1, 6)]}
        flow = Windowed(lambda made, num, of=Sensors(lists): _sensed(made, num, of), rng.randint(1, 3))
        lives(rng, flow.graph)
        flow.check([event for items in lists.values() for event in items if event is not None])


class Pausing(SensorReader):
    """Rests where it has nothing yet."""

    def pause_s(self) -> float:
        return 0.5


@dataclass(frozen=True)
class PausingSensors(Sensors):
    def open_partition(self, name: str, position: int | None) -> Pausing:
        return Pausing(self.lists[name], position or 0)


@pytest.mark.parametrize("seeds", [range(first, first + 10) for first in range(40, 60, 10)], ids=str)
def test_where_partitions_pause_and_are_idle_every_record_is_counted_or_late_once(seeds: range) -> None:
    for seed in seeds:
        rng = Random(seed)
        lists = {name: sensor(name, rng, most_empty=30) for name in "abcdef"[: rng.randint(1, 6)]}
        sensors = rng.choice((Sensors, PausingSensors))(lists)
        time: Any = {"partition": _device_of} if rng.random() < 0.5 else {}
        flow = Windowed(
            lambda made, num, of=sensors, time=time: made.from_source(
                of, timestamp=_time_of, idle_after_s=1.0, **time
            ).with_parallelism(num),
            rng.randint(1, 3),
        )
        lives(rng, flow.graph)
        flow.check_all([event for items in lists.values() for event in items if event is not None])


@pytest.mark.parametrize("seeds", [range(first, first + 10) for first in range(20, 40, 10)], ids=str)
def test_files_in_the_order_of_event_time_are_never_late_however_many_instances_read_them(
    seeds: range, tmp_path: Path
) -> None:
    for seed in seeds:
        rng = Random(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        events: list[Event] = []
        for number in range(rng.randint(1, 7)):
            own = [(20 * number + at, f"{number}", at) for at in range(rng.randint(0, 20))]
            (folder / f"{number}.csv").write_text("time_s,file,number\n" + "".join(f"{a},{b},{c}\n" for a, b, c in own))
            events += own
        flow = Windowed(lambda made, num, at=folder: _events(made, num, at), rng.randint(1, 3))
        lives(rng, flow.graph)
        flow.check(events)


@pytest.mark.parametrize("seed", range(6))
def test_a_list_is_read_whole_however_many_instances_read_it(seed: int) -> None:
    rng, items = Random(seed), list(range(300))
    seen: Any = None

    def graph(num: int) -> Graph:
        nonlocal seen
        flow = sage.Flow("listed")
        seen = flow.from_collection(items).named("read").with_parallelism(num).collect()
        return flow.graph()

    lives(rng, graph)
    assert Counter(seen.items) == Counter(items)


def test_partitions_that_a_user_names_are_waited_for_as_before_however_many_instances_go_on() -> None:
    """Each sensor tells of two devices, of which the clock of one is far behind."""
    lists: dict[str, list[Event | None]] = {
        name: [(2 * at + 500 * (at % 2), name, at) for at in range(40)] for name in "abc"
    }
    for seed, (num_before, num) in enumerate([(2, 3), (3, 1), (1, 3), (3, 3)]):
        flow = Windowed(
            lambda made, num: (
                made.from_source(Sensors(lists))
                .with_parallelism(num)
                .assign_timestamps(_time_of, partition=_device_of, max_out_of_order_s=20)
                .with_parallelism(num)
            ),
            2,
        )
        before = flow.graph(num_before)
        run = DrivenFlow(before, Random(seed))
        while len(flow.seen.items) < 30:
            run.run(1)
        run.begin_checkpoint()
        while not run.num_complete:
            run.run(1)
        now = flow.graph(num)
        DrivenFlow(now, Random(seed), begins_at=dealt_out_anew(run.newest, before, now)).run_out()  # type: ignore[arg-type]  # it is complete
        flow.check([event for items in lists.values() for event in items if event is not None])


class OpenSensors(Sensors):
    """They can be opened as one too, and then not where that was."""

    def open(self) -> SensorReader:
        return SensorReader([event for items in self.lists.values() for event in items], 0)


def test_a_source_that_goes_on_by_partitions_alone_is_read_by_them_by_one_instance() -> None:
    lists: dict[str, list[Event | None]] = {name: [(at, name, at) for at in range(25)] for name in "ab"}
    flow = sage.Flow("one")
    out = _sensed(flow, 1, OpenSensors(lists)).named("read").collect()
    run = DrivenFlow(flow.graph(), Random(1))
    run.run(20)
    run.begin_checkpoint()
    while not run.num_complete:
        run.run(1)
    assert out.items is not None
    assert len(out.items) < 50
    DrivenFlow(flow.graph(), Random(2), begins_at=run.newest).run_out()
    assert Counter(out.items) == Counter(event for items in lists.values() for event in items)


def test_windows_in_the_task_of_a_source_that_is_read_by_partitions_end_with_it() -> None:
    flow = sage.Flow("fused")
    lists: dict[str, list[Event | None]] = {name: [(at, name, at) for at in range(25)] for name in "ab"}
    counts = _sensed(flow, 1, Sensors(lists)).key_by(lambda event: event[1]).window(sage.Tumbling(10)).count().collect()
    DrivenFlow(flow.graph(), Random(1)).run_out()
    found = sorted((result.key, result.start, result.value) for result in counts.items)
    assert found == [(name, start, num) for name in "ab" for start, num in ((0, 10), (10, 10), (20, 5))]


def test_an_instance_that_has_ended_holds_nothing_back_and_says_nothing_twice() -> None:
    """One of two has ended, its buffer given; three go on from that."""
    lists: dict[str, list[Event | None]] = {"short": [(0, "short", 0)], "long": [(2 * n, "long", n) for n in range(40)]}
    out: Any = None

    def graph(num: int) -> Graph:
        nonlocal out
        flow = sage.Flow("buffered")
        read = _sensed(flow, num, Sensors(lists)).named("read")
        out = read.map_batches(list, max_records=3, max_wait_s=1e6).with_parallelism(num).named("buffer").collect()
        return flow.graph()

    rng = Random(1)
    for num in (2, 3, 1):
        before = graph(2)
        run = DrivenFlow(before, rng)
        run.run(150)
        run.begin_checkpoint()
        while not run.num_complete:
            run.run(1)
        assert run.newest is not None
        ended = [state.has_ended for task_id, state in run.newest.items() if "/read/" in task_id]
        assert sorted(ended) == [False, True]
        now = graph(num)
        DrivenFlow(now, rng, begins_at=dealt_out_anew(run.newest, before, now)).run_out()
        assert Counter(out.items) == Counter(event for items in lists.values() for event in items)


def _sensed(flow: sage.Flow, num: int, sensors: Sensors) -> sage.Stream[Event]:
    return flow.from_source(sensors, timestamp=_time_of).with_parallelism(num)


def _events(flow: sage.Flow, num: int, folder: Path) -> sage.Stream[Event]:
    """Return what is in files, by `num` instances; the map has as many, or one."""
    rows = flow.read_csv(folder / "*.csv", timestamp=lambda row: float(row["time_s"])).with_parallelism(num)
    return rows.map(_event_of).named("event").with_parallelism(num)


def _event_of(row: dict[str, str]) -> Event:
    return int(row["time_s"]), row["file"], int(row["number"])


def _time_of(event: Event) -> float:
    return event[0]


def _device_of(event: Event) -> int:
    return event[2] % 2
