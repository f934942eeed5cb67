"""The flows of `sage-benchmark cluster`, and what their functions do. Knows neither clusters nor figures."""

import asyncio
import os
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic, perf_counter

import sage
from sage.flow.ends import Collected

ANSWER_S = 30.0
_MANY = 1 << 40


@dataclass(frozen=True, slots=True)
class Spin:
    """A function that computes for a while: a chain of dependent steps, so that nobody can make it shorter."""

    num_steps: int

    def __call__(self, number: int) -> int:
        value = number
        for _ in range(self.num_steps):
            value = (value * 1_103_515_245 + 12_345) & 0x7FFF_FFFF
        return value


def spin_for(seconds: float) -> Spin:
    """Return a Spin that takes about `seconds` here and now."""
    num_steps = 1_000
    best_s = min(_took_s(Spin(num_steps)) for _ in range(200))
    return Spin(max(1, round(num_steps * seconds / best_s)))


def _took_s(spin: Spin) -> float:
    began_s = perf_counter()
    spin(1)
    return perf_counter() - began_s


@dataclass(frozen=True, slots=True)
class Wait:
    """A coroutine function that waits, as for an answer of somebody else."""

    seconds: float

    async def __call__(self, number: int) -> int:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[int] = loop.create_future()
        loop.call_later(self.seconds, answer.set_result, number)
        return await answer


def total(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return how many numbers there are and their sum."""
    return [(len(numbers), sum(numbers))]


def spinning(spin: Spin, num_records: int, num_instances: int) -> tuple[sage.Flow, Collected[tuple[int, int]]]:
    """Return a flow that spins once a record, and what comes to `(num_records, sum)` piece by piece."""
    flow = sage.Flow("spinning")
    spun = flow.from_collection(range(num_records)).map(spin).with_parallelism(num_instances)
    return flow, spun.map_batches(total).with_parallelism(num_instances).collect()


def waiting(wait: Wait, num_records: int, num_in_flight: int) -> tuple[sage.Flow, Collected[tuple[int, int]]]:
    """Return a flow that waits once a record, `num_in_flight` at a time."""
    flow = sage.Flow("waiting")
    waited = flow.from_collection(range(num_records)).map_async(wait, max_in_flight=num_in_flight)
    return flow, waited.map_batches(total).collect()


# One record at a time.


class Trips:
    """Where the records of one flow begin and end on one node. Travels as nothing: each node has its own."""

    def __init__(self) -> None:
        self.back: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.seconds: list[float] = []
        self.pids: set[int] = set()

    def __reduce__(self) -> tuple[type["Trips"], tuple[()]]:
        return Trips, ()


@dataclass(frozen=True, slots=True)
class OneAtATime:
    """A source that gives the time, `num_trips` times: again when the last record is back; then None."""

    trips: Trips
    num_trips: int

    def open(self) -> "_OneAtATimeReader":
        return _OneAtATimeReader(self.trips, self.num_trips)


class _OneAtATimeReader:
    def __init__(self, trips: Trips, num_trips: int) -> None:
        self._trips = trips
        self._num_left = num_trips
        trips.back.put(None)

    def read(self, max_records: int) -> list[float | None] | None:
        if self._num_left < 0:
            return None
        self._trips.back.get(timeout=ANSWER_S)
        self._num_left -= 1
        return [perf_counter() if self._num_left >= 0 else None]

    def close(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Home:
    """Takes what is back; gives, at the end, `(process ids where records were, seconds of all trips)`, ours first."""

    trips: Trips

    def __call__(self, record: tuple[float | None, int]) -> tuple[list[int], list[float]] | None:
        began_s, pid = record
        if began_s is None:
            return [os.getpid(), *self.trips.pids], self.trips.seconds
        self.trips.seconds.append(perf_counter() - began_s)
        self.trips.pids.add(pid)
        self.trips.back.put(None)
        return None


def through(began_s: float | None) -> tuple[float | None, int]:
    return began_s, os.getpid()


def is_result(record: object) -> bool:
    return record is not None


def there_and_back(
    num_trips: int, num_cpus: float
) -> tuple[sage.Flow, Collected[tuple[list[int], list[float]] | None]]:
    """Return a flow whose middle is on another node than its ends, on two nodes of `num_cpus` each."""
    flow, trips = sage.Flow("there-and-back"), Trips()
    began = flow.from_source(OneAtATime(trips, num_trips)).with_resources(cpus=0.6 * num_cpus)
    middle = began.map(through).with_resources(cpus=0.8 * num_cpus)
    return flow, middle.map(Home(trips)).with_resources(cpus=0.2 * num_cpus).filter(is_result).collect()


# Control beside data.


def last_digits(number: int) -> int:
    return number % 64


def exchange() -> sage.Flow:
    """Return a flow without end in sight, in which two keyed steps exchange all that they can."""
    flow = sage.Flow("exchange")
    numbers = flow.from_collection(range(_MANY)).map(abs).with_parallelism(2)
    sums = numbers.key_by(last_digits).with_parallelism(2).sum(final=True).with_parallelism(2)
    sums.for_each(is_result)
    return flow


@dataclass(frozen=True, slots=True)
class Ticks:
    """A source that gives `num_ticks` numbers, one every `every_s` seconds."""

    num_ticks: int
    every_s: float

    def open(self) -> "_TicksReader":
        return _TicksReader(self)


class _TicksReader:
    def __init__(self, ticks: Ticks) -> None:
        self._ticks = ticks
        self._number = 0
        self._pause = threading.Event()

    def read(self, max_records: int) -> list[int] | None:
        if self._number >= self._ticks.num_ticks:
            return None
        self._pause.wait(self._ticks.every_s)
        self._number += 1
        return [self._number]

    def close(self) -> None:
        pass


def stamped(_: int) -> str:
    """Return where and when it is: time on this machine's monotonic clock."""
    return f"{os.getpid()} {monotonic()!r}"


def ticking(num_ticks: int, every_s: float) -> sage.Flow:
    """Return a flow that prints, on each of two nodes in turn, where and when that was."""
    flow = sage.Flow("ticking")
    flow.from_source(Ticks(num_ticks, every_s)).map(stamped).with_parallelism(2).print()
    return flow
