"""Loops against the plain Python loop, whatever the order, and wherever a run ends and another goes on from it."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sage
from cluster.runtime.cuts import Cut
from sage.flow.ends import Collected
from sage.flow.graph import Graph
from sage.flow.stream import Stream
from tests.unit.runtime.driven_flow import DrivenFlow, dealt_out_anew, run_in_lives

Item = tuple[int, int]
"""Which record it came of, and its value."""

Body = Callable[[Stream[Item], int], Stream[Item]]
MAX_ROUNDS = 9


def collatz(item: Item) -> Item:
    number, value = item
    return number, value // 2 if value % 2 == 0 else 3 * value + 1


async def collatz_later(item: Item) -> Item:
    return collatz(item)


def prompt_of(item: Item) -> str:
    return str(item[1])


def next_of(item: Item, answer: str) -> Item:
    return collatz((item[0], int(answer)))


def parts(item: Item) -> list[Item]:
    """Make none, one or two of one."""
    number, value = item
    return [(number, value // 2 + add) for add in range(value % 3)]


def is_at_one(item: Item) -> bool:
    return item[1] == 1


def number_of(item: Item) -> int:
    return item[0]


def mapped(stream: Stream[Item], parallelism: int) -> Stream[Item]:
    return stream.map(collatz).with_parallelism(parallelism)


def awaited(stream: Stream[Item], parallelism: int) -> Stream[Item]:
    return stream.map_async(collatz_later, max_in_flight=3).with_parallelism(parallelism)


def awaited_in_any_order(stream: Stream[Item], parallelism: int) -> Stream[Item]:
    later = stream.map_async(collatz_later, max_in_flight=3, ordered=False).with_parallelism(parallelism)
    return later.filter(lambda item: True).with_parallelism(2)


def answered(stream: Stream[Item], parallelism: int) -> Stream[Item]:
    asked = stream.generate(model="simulated", prompt=prompt_of, into=next_of, max_in_flight=3, dedup=False)
    return asked.with_parallelism(parallelism)


def answered_in_any_order(stream: Stream[Item], parallelism: int) -> Stream[Item]:
    asked = stream.generate(model="simulated", prompt=prompt_of, into=next_of, max_in_flight=3, ordered=False)
    return asked.with_parallelism(parallelism)


def parted(stream: Stream[Item], parallelism: int) -> Stream[Item]:
    return stream.flat_map(parts).with_parallelism(parallelism)


def keyed(stream: Stream[Item], parallelism: int) -> Stream[Item]:
    newest = stream.map(collatz).key_by(number_of).reduce(lambda old, new: new)
    return newest.with_parallelism(parallelism).map(lambda update: update[1])


def split(stream: Stream[Item], parallelism: int) -> Stream[Item]:
    ways = stream.split({"even": lambda item: item[1] % 2 == 0})
    return ways.side("even").map(collatz).with_parallelism(parallelism).union(ways.map_async(collatz_later))


def gathered(stream: Stream[Item], parallelism: int) -> Stream[Item]:
    return stream.map_batches(lambda items: list(map(collatz, items)), max_records=4, max_wait_s=1.0)


BODIES: dict[Body, Callable[[Item], list[Item]]] = {
    mapped: lambda item: [collatz(item)],
    awaited: lambda item: [collatz(item)],
    awaited_in_any_order: lambda item: [collatz(item)],
    answered: lambda item: [collatz(item)],
    answered_in_any_order: lambda item: [collatz(item)],
    parted: parts,
    keyed: lambda item: [collatz(item)],
    split: lambda item: [collatz(item)],
    gathered: lambda item: [collatz(item)],
}


def left_of(body: Body, items: Sequence[Item]) -> tuple[Counter[Item], Counter[Item]]:
    """Return what leaves a loop over `items` done, and what leaves it unfinished, by a plain loop."""
    done: Counter[Item] = Counter()
    inside = list(items)
    for _ in range(MAX_ROUNDS):
        came = [out for item in inside for out in BODIES[body](item)]
        done.update(filter(is_at_one, came))
        inside = [item for item in came if not is_at_one(item)]
    return done, Counter(inside)


@dataclass
class Looped:
    """A flow with a loop, and what leaves it."""

    body: Body
    items: list[Item]
    parallelism: int = 1
    max_in_flight: int = 5

    def __post_init__(self) -> None:
        flow = sage.Flow("looped")
        half = len(self.items) // 2
        first, second = (flow.from_collection(part) for part in (self.items[:half], self.items[half:]))
        left = first.union(second).iterate(
            lambda stream: self.body(stream, self.parallelism),
            until=is_at_one,
            max_rounds=MAX_ROUNDS,
            max_in_flight=self.max_in_flight,
            unfinished_to="unfinished",
        )
        self.done: Collected[Item] = left.map(lambda item: item).with_parallelism(2).collect()
        self.unfinished: Collected[Item] = left.side("unfinished").collect()
        self.graph = flow.graph()

    def check(self) -> None:
        done, unfinished = left_of(self.body, self.items)
        assert Counter(self.done.items) == done
        assert Counter(self.unfinished.items) == unfinished


ITEMS = st.lists(st.integers(0, 40), max_size=30).map(lambda values: list(enumerate(values)))


@settings(max_examples=60, deadline=None)
@given(
    body=st.sampled_from(list(BODIES)),
    items=ITEMS,
    parallelism=st.integers(1, 4),
    max_in_flight=st.sampled_from([1, 3, 1000]),
    seed=st.integers(0, 1 << 16),
)
def test_what_leaves_a_loop_is_what_a_plain_loop_gives(
    body: Body, items: list[Item], parallelism: int, max_in_flight: int, seed: int
) -> None:
    looped = Looped(body, items, parallelism, max_in_flight)
    DrivenFlow(looped.graph, Random(seed)).run_out()
    looped.check()


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_each_record_leaves_once_wherever_runs_end(body: Body) -> None:
    for seed in range(6):
        rng = Random(seed)
        looped = Looped(body, list(enumerate(range(25))), rng.randint(1, 3), rng.choice((1, 6, 100)))
        run_in_lives(looped.graph, rng, most_checkpoints=10, steps=(5, 50, 300))
        looped.check()


@pytest.mark.parametrize(("before", "now"), [(2, 3), (3, 1)])
@pytest.mark.parametrize("body", [awaited, awaited_in_any_order, answered, keyed], ids=lambda body: body.__name__)
def test_each_record_leaves_once_with_another_number_of_instances(body: Body, before: int, now: int) -> None:
    for seed in range(4):
        rng = Random(seed)
        first, then = (Looped(body, list(enumerate(range(30))), num, 30) for num in (before, now))
        cut = cut_of(first.graph, rng, rng.choice((200, 400)))
        DrivenFlow(then.graph, rng, begins_at=dealt_out_anew(cut, first.graph, then.graph)).run_out()
        then.check()


def cut_of(graph: Graph, rng: Random, num_moves: int) -> Cut:
    """Return a checkpoint of a run, begun after so many moves."""
    run = DrivenFlow(graph, rng)
    run.run(num_moves)
    while run.newest is None:
        run.begin_checkpoint()
        run.run(20)
    return run.newest


def test_checkpoints_are_complete_while_records_go_round() -> None:
    looped = Looped(awaited, list(enumerate(range(30))), 2)
    run = DrivenFlow(looped.graph, Random(1))
    while not run.is_over:
        run.begin_checkpoint()
        run.run(60)
    assert run.num_complete > 5
    DrivenFlow(looped.graph, Random(2), begins_at=run.newest).run_out()
    looped.check()


@pytest.mark.parametrize("seed", range(4))
def test_a_loop_in_the_body_of_a_loop_gives_its_records_back_to_it(seed: int) -> None:
    flow = sage.Flow("nested")

    def to_odd(stream: Stream[int]) -> Stream[int]:
        return stream.map(lambda n: n // 2).with_parallelism(2)

    def odd_step(stream: Stream[int]) -> Stream[int]:
        odd = stream.map(lambda n: 2 * n).iterate(to_odd, until=lambda n: n % 2, max_rounds=50, max_in_flight=3)
        return odd.map(lambda n: n if n == 1 else 3 * n + 1)

    ends = flow.from_collection(range(1, 40)).iterate(odd_step, until=lambda n: n == 1, max_rounds=50).collect()
    graph, rng = flow.graph(), Random(seed)
    run = DrivenFlow(graph, rng)
    for _ in range(3):
        run.begin_checkpoint()
        run.run(400)
        run = DrivenFlow(graph, rng, begins_at=run.newest)
    run.run_out()
    assert ends.items == [1] * 39


@pytest.mark.parametrize("seed", range(6))
def test_no_record_leaves_a_loop_behind_the_watermark(seed: int) -> None:
    rng = Random(seed)
    flow = sage.Flow("timed")
    numbers = list(range(1, 60))
    timed = flow.from_collection(numbers, timestamp=float).map(lambda n: (n, n))
    left = timed.iterate(
        lambda stream: rng.choice((mapped, awaited_in_any_order, split))(stream, 2),
        until=is_at_one,
        max_rounds=MAX_ROUNDS,
        max_in_flight=rng.choice((2, 7, 100)),
        unfinished_to="unfinished",
    )
    both = left.union(left.side("unfinished"))
    windows = both.key_by(lambda item: "all").window(sage.Tumbling(10)).late_to("late").collect()
    late, counts = windows.side("late").collect(), windows.collect()
    graph = flow.graph()
    run = DrivenFlow(graph, rng)
    for _ in range(2):
        run.run(200)
        run.begin_checkpoint()
        run.run(200)
        run = DrivenFlow(graph, rng, begins_at=run.newest)
    run.run_out()
    assert late.items == []
    found = {each.start: sorted(item[0] for item in each.value) for each in counts.items}
    assert found == {start: [n for n in numbers if start <= n < start + 10] for start in range(0, 60, 10)}
