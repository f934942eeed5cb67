"""Flows that are killed in tests, one for each kind of state. Knows nothing of who kills them."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sage
from sage.flow.process import KeyedProcess, ListState, ProcessContext
from sage.flow.stream import Stream
from sage.flow.windows import WindowResult

NUM_RECORDS = 1_500
LEN_READ = 15
NUM_KEYS = 7
UNLUCKY = range(0, NUM_RECORDS, 50)
_PAUSE_S = 0.001


@dataclass(frozen=True, slots=True)
class PacedNumbers:
    """Numbers, one each `pause_s`, so that a run takes some checkpoints; its reader says where it is."""

    num: int = NUM_RECORDS
    pause_s: float = _PAUSE_S

    def open(self) -> "PacedNumbersReader":
        return self.open_at(0)

    def open_at(self, position: int) -> "PacedNumbersReader":
        return PacedNumbersReader(self, position)


class PacedNumbersReader:
    def __init__(self, source: PacedNumbers, next_number: int) -> None:
        self._source = source
        self._next = next_number
        self._pause = threading.Event()

    def read(self, max_records: int) -> Sequence[int] | None:
        if self._next >= self._source.num:
            return None
        numbers = range(self._next, min(self._source.num, self._next + min(LEN_READ, max_records)))
        self._pause.wait(self._source.pause_s * len(numbers))
        self._next = numbers.stop
        return list(numbers)

    def position(self) -> int:
        return self._next

    def close(self) -> None:
        """Nothing is open."""


class Stretches(KeyedProcess[int, int, tuple[int, float, list[int]]]):
    """Gathers the numbers of each stretch of 50 s, and gives them at its end."""

    numbers = ListState[int]()

    def on_record(self, record: int, context: ProcessContext[int]) -> None:
        self.numbers.append(record)
        context.set_timer(record // 50 * 50 + 50.0)

    def on_timer(self, time_s: float, context: ProcessContext[int]) -> Iterator[tuple[int, float, list[int]]]:
        numbers = self.numbers
        yield context.key, time_s, [number for number in numbers if number < time_s]
        numbers[:] = [number for number in numbers if number >= time_s]


def by_key(number: int) -> int:
    return number % NUM_KEYS


def times(number: int) -> float:
    """Return the event time of a number: stretches of 20 s with gaps of 10 s between them."""
    return float(number + number // 20 * 10)


def shown(result: WindowResult[int, Any]) -> tuple[Any, ...]:
    return result.key, result.start, result.end, result.value


def added(numbers: list[int], number: int) -> list[int]:
    numbers.append(number)
    return numbers


def unlucky(number: int) -> int:
    if number in UNLUCKY:
        raise ValueError(number)
    return number


def newest(pair: tuple[int, list[int]]) -> tuple[int, int, int]:
    key, numbers = pair
    return key, len(numbers), numbers[-1]


def _keyed(flow: sage.Flow, numbers: PacedNumbers, time: Callable[[int], float] = float) -> Any:
    return flow.from_source(numbers, timestamp=time, max_out_of_order_s=30.0).key_by(by_key)


Trip = tuple[int, int, int]
"""A number, how many rounds it has to go, and how many it went, by the count of its key."""


def one_more(gone: Trip, came: Trip) -> Trip:
    number, left, _ = came
    return number, left - 1, gone[2] + 1


def looped(flow: sage.Flow, numbers: PacedNumbers) -> Any:
    """Send each number round one to seven times; a step with keys in the body counts how often it came."""

    def body(trips: Stream[Trip]) -> Stream[Trip]:
        counted = trips.key_by(lambda trip: trip[0]).fold((0, 0, 0), one_more).with_parallelism(2)
        return counted.map(lambda update: update[1])

    trips = flow.from_source(numbers).map(lambda number: (number, 1 + by_key(number), 0))
    return trips.iterate(body, until=lambda trip: trip[1] == 0, max_rounds=NUM_KEYS)


Kind = Callable[[sage.Flow, PacedNumbers], Any]
KINDS: dict[str, Kind] = {
    "fold": lambda flow, nums: _keyed(flow, nums).fold(list, added).map(newest),
    "windows": lambda flow, nums: _keyed(flow, nums).window(sage.Sliding(60, 20)).sum().with_parallelism(2).map(shown),
    "gathered": lambda flow, nums: _keyed(flow, nums).window(sage.Tumbling(60)).collect().map(shown),
    "sessions": lambda flow, nums: _keyed(flow, nums, times).window(sage.Session(12)).sum().map(shown),
    "count windows": lambda flow, nums: _keyed(flow, nums).window(sage.CountWindow(9)).sum().map(shown),
    "joins": lambda flow, nums: _keyed(flow, nums).join(_keyed(flow, nums)).within(10, 10),
    "process": lambda flow, nums: _keyed(flow, nums).process(Stretches).with_parallelism(2),
    "loop": looped,
}
"""By its name, what gives the stream of a flow over those numbers."""
