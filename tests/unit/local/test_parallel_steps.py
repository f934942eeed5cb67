"""Every kind of step with two instances comes to what one comes to; what is done by one task alone says so."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sage
from sage.base.errors import FlowInvalid

Make = Callable[[sage.Stream[Any]], Any]
EVENTS = [(number % 4, number) for number in range(40)]


class Summed(sage.KeyedProcess[Any, Any, Any]):
    total = sage.ValueState(0)

    def on_record(self, record: Any, context: Any) -> Any:
        self.total += record[1]
        yield context.key, self.total


class Both(sage.CoProcess[Any, Any, Any, Any]):
    def on_first(self, record: Any, context: Any) -> Any:
        yield "first", record

    def on_second(self, record: Any, context: Any) -> Any:
        yield "second", record


async def same(event: Any) -> Any:
    return event


def key_of(event: tuple[int, int]) -> int:
    return event[0]


def number_of(event: tuple[int, int]) -> int:
    return event[1]


def keyed(stream: sage.Stream[Any]) -> Any:
    return stream.key_by(key_of)


STEPS: dict[str, Make] = {
    "map": lambda stream: stream.map(number_of),
    "filter": lambda stream: stream.filter(lambda event: event[1] % 2),
    "flat_map": lambda stream: stream.flat_map(lambda event: [event, event]),
    "map_async": lambda stream: stream.map_async(same),
    "map_batches": lambda stream: stream.map_batches(list),
    "key_by": lambda stream: stream.key_by(key_of),
    "assign_timestamps": lambda stream: stream.assign_timestamps(number_of),
    "union": lambda stream: stream.union(stream.map(lambda event: event)),
    "count": lambda stream: keyed(stream).count(),
    "sum": lambda stream: keyed(stream).sum(number_of, final=True),
    "reduce": lambda stream: keyed(stream).reduce(lambda one, other: (one[0], one[1] + other[1])),
    "fold": lambda stream: keyed(stream).fold(0, lambda total, event: total + event[1]),
    "tumbling": lambda stream: keyed(stream).window(sage.Tumbling(10)).count(),
    "sliding": lambda stream: keyed(stream).window(sage.Sliding(10, 5)).count(),
    "session": lambda stream: keyed(stream).window(sage.Session(3)).collect(),
    "count window": lambda stream: keyed(stream).window(sage.CountWindow(5)).sum(number_of),
    "process": lambda stream: keyed(stream).process(Summed),
    "within": lambda stream: keyed(stream).join(keyed(stream)).within(2, 2),
    "join of windows": lambda stream: keyed(stream).join(keyed(stream)).window(sage.Tumbling(10)),
    "as_of": lambda stream: keyed(stream).join(keyed(stream)).as_of(outer=True),
    "connect": lambda stream: keyed(stream).connect(keyed(stream)).process(Both),
}


def came_to(make: Make, num_instances: int) -> Counter[str]:
    flow = sage.Flow("parallel")
    events = flow.from_collection(EVENTS, timestamp=number_of, max_out_of_order_s=100)
    out = make(events).with_parallelism(num_instances).collect()
    flow.run(timeout_s=30, progress=False)
    return Counter(map(repr, out.items))


@pytest.mark.parametrize("name", STEPS)
def test_two_instances_come_to_what_one_comes_to(name: str) -> None:
    expected = came_to(STEPS[name], 1)
    assert expected
    assert came_to(STEPS[name], 2) == expected


def test_instances_of_what_is_collected_come_to_one_list(tmp_path: Path) -> None:
    flow = sage.Flow("collected")
    out = keyed(flow.from_collection(EVENTS)).collect().with_parallelism(3)
    seen: list[Any] = []
    flow.from_collection(EVENTS).with_parallelism(2).for_each(seen.append).with_parallelism(2)
    for _ in range(2):
        seen.clear()
        flow.run(timeout_s=30, progress=False, checkpoint=sage.Checkpoint(tmp_path / "kept", every_s=0.01))
        assert sorted(out.items) == sorted(seen) == sorted(EVENTS)
        for key in range(4):
            assert [event for event in out.items if event[0] == key] == EVENTS[key::4], "the order within a key"


def test_instances_print_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    flow = sage.Flow("printed")
    flow.from_collection(range(500)).with_parallelism(2).print().with_parallelism(2)
    flow.run(timeout_s=30, progress=False)
    assert sorted(map(int, capsys.readouterr().out.split("\n")[:-1])) == list(range(500))


ALONE: dict[str, Make] = {
    "a stream is given to all instances by one task": lambda stream: stream.broadcast(),
    "the records of a loop are counted by one task": lambda stream: stream.iterate(
        lambda body: body.map(lambda event: event), until=bool, max_rounds=1
    ),
}


@pytest.mark.parametrize("why", ALONE)
def test_what_one_task_does_says_why_and_what_to_do(why: str) -> None:
    with pytest.raises(FlowInvalid, match=f"{why}, not by 2\n.*Put with_parallelism on another step"):
        ALONE[why](sage.Flow("alone").from_collection(EVENTS)).with_parallelism(2)
