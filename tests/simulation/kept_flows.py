"""Random flows that hold much by key and by event time, and whose sources may say where they are. Knows no runner."""

from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import sage
from sage.flow.process import KeyedProcess, MapState, ProcessContext
from sage.flow.windows import WindowResult
from tests.simulation.expected import Compute, Letters, Outcome
from tests.simulation.flows import Numbers, NumbersReader, RandomFlow

_SIZE_S, _EVERY_S, _GAP_S = 60, 20, 15
_LONGER_THAN_ALL_S = 1000.0


class KeptNumbers(Numbers):
    """Numbers whose reader says where it is."""

    __slots__ = ()

    def open(self) -> "KeptReader":
        return KeptReader(self)

    def open_at(self, position: int) -> "KeptReader":
        reader = KeptReader(self)
        reader._num_read = position
        return reader


class KeptReader(NumbersReader):
    def position(self) -> int:
        return self._num_read


class Buckets(KeyedProcess[int, int, int]):
    """Counts the records of each stretch of time, and says at its end how many there were."""

    nums: MapState[float, int] = MapState()

    def on_record(self, record: int, context: ProcessContext[int]) -> None:
        end_s = float((record // _SIZE_S + 1) * _SIZE_S)
        nums = self.nums
        nums[end_s] = nums.get(end_s, 0) + 1
        context.set_timer(end_s)

    def on_timer(self, time_s: float, context: ProcessContext[int]) -> Iterator[int]:
        yield marked(context.key, int(time_s) - _SIZE_S, self.nums.pop(time_s))


def marked(key: int, start: int, num: int) -> int:
    """Return a number that says all three."""
    return (start * 100 + num) * 10 + key


def of_window(result: WindowResult[int, int]) -> int:
    return marked(result.key, int(result.start), result.value)


def of_three(number: int) -> int:
    return number % 3


class KeptFlow(RandomFlow):
    """A RandomFlow for jobs that take checkpoints."""

    kinds = (*RandomFlow.kinds, *("running", "tumbling", "sliding", "session", "process") * 2)

    def __init__(self, name: str, rng: Random, *rest: Any, **named: Any) -> None:
        self._is_timed = rng.random() < 0.7
        super().__init__(name, rng, *rest, **named)

    def _begin(self, numbers: Numbers) -> Any:
        rng = self._rng
        if rng.random() < 0.6:
            numbers = KeptNumbers(numbers.items, numbers.seed, numbers.breaks_after, numbers.longest_s, numbers.rest)
        if not self._is_timed:
            return self.flow.from_source(numbers)
        return self.flow.from_source(numbers, timestamp=float, max_out_of_order_s=_LONGER_THAN_ALL_S)

    def _add(self, kind: str) -> set[int]:
        if kind not in ("running", "tumbling", "sliding", "session", "process"):
            return super()._add(kind)
        num = self._rng.randint(1, 3)
        if kind == "running" or not self._is_timed:
            first = self._rng.randrange(len(self._streams))
            counts = self._streams[first].key_by(of_three).count().with_parallelism(num)
            self._grow(first, counts.map(lambda pair: marked(pair[0], 0, pair[1])), running, is_ordered=False)
            return {first}
        first = self._rng.randrange(self._num_sources)  # whose numbers are their times
        keyed = self._streams[first].key_by(of_three)
        made: dict[str, tuple[Callable[[], Any], Compute]] = {
            "tumbling": (lambda: keyed.window(sage.Tumbling(_SIZE_S)).count(), windows(_SIZE_S)),
            "sliding": (lambda: keyed.window(sage.Sliding(_SIZE_S, _EVERY_S)).count(), windows(_EVERY_S)),
            "session": (lambda: keyed.window(sage.Session(_GAP_S)).count(), sessions),
            "process": (lambda: keyed.process(Buckets), windows(_SIZE_S)),
        }
        make, compute = made[kind]
        step = make().with_parallelism(num)
        self._grow(first, step if kind == "process" else step.map(of_window), compute, is_ordered=False)
        return {first}


class ListedFlow(KeptFlow):
    """A KeptFlow that shows nothing before its end."""

    collected_share = 1.0


# What lists make of that.


def running(inputs: list[list[int]], letters: Letters) -> Outcome:
    totals = Counter(map(of_three, inputs[0]))
    return Outcome([marked(key, 0, num) for key, total in totals.items() for num in range(1, total + 1)])


def windows(every: int) -> Compute:
    """Return how many of each key are in each window of `_SIZE_S` that begins at a multiple of `every`."""

    def compute(inputs: list[list[int]], letters: Letters) -> Outcome:
        starts = [(number, number // every * every) for number in inputs[0]]
        nums = Counter(
            (of_three(number), start) for number, last in starts for start in range(last, number - _SIZE_S, -every)
        )
        return Outcome([marked(key, start, num) for (key, start), num in nums.items()])

    return compute


def sessions(inputs: list[list[int]], letters: Letters) -> Outcome:
    found: list[int] = []
    for key in range(3):
        session: list[int] = []
        for number in [*sorted(filter(lambda n: of_three(n) == key, inputs[0])), None]:
            if session and (number is None or number > session[-1] + _GAP_S):
                found.append(marked(key, session[0], len(session)))
                session = []
            session += [] if number is None else [number]
    return Outcome(found)
