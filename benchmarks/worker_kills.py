"""How soon a flow on processes is back at its rate after `kill -9` of one, and what it lost. Knows no terminal.

Numbers come at a set rate; where they leave, each worker writes down when. The kill comes at a random point between
two checkpoints. The rate before is the median of stretches of RATE_OVER_S in the last BEFORE_S before the kill; the
flow is back where as long a stretch has nine tenths of it.
"""

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from threading import Event
from time import monotonic
from typing import Protocol

import sage
from benchmarks.document import Result
from benchmarks.measure import centiles
from cluster.client.cluster import RemoteCluster
from cluster.client.nodes_here import nodes_here
from sage.base.errors import InternalError
from sage.base.ids import JobId
from sage.base.settings import Settings

RATE_OVER_S = 0.2
BEFORE_S = 2.0
_AFTER_S = 4.0
_PER_S = 5_000
_FULL_RATE = 0.9
_LEN_READ = 100
_LOOK_EVERY_S = 0.005
_WAIT_S = 60.0

Leaving = tuple[float, int]
"""When records left, by the clock of this machine, and how many."""


class KillsResult(Result, frozen=True, kw_only=True):
    """`n` kills: until the job was begun anew, until records left, and until as many as before; by a ledger of all."""

    records_per_s: float
    num_lost: int
    num_doubled: int
    detected_p50_s: float
    detected_p99_s: float
    first_record_p50_s: float
    first_record_p99_s: float
    full_rate_p50_s: float
    full_rate_p99_s: float


@dataclass(frozen=True, slots=True)
class SteadyNumbers:
    """Numbers below `num`, `per_s` a second; a reader goes on at its own pace wherever it begins."""

    num: int
    per_s: int = _PER_S

    def open(self) -> "SteadyReader":
        return self.open_at(0)

    def open_at(self, position: int) -> "SteadyReader":
        return SteadyReader(self, position)


class SteadyReader:
    def __init__(self, source: SteadyNumbers, position: int) -> None:
        self._source = source
        self._next = self._began_at = position
        self._began_s = monotonic()
        self._pause = Event()

    def read(self, max_records: int) -> Sequence[int] | None:
        numbers = range(self._next, min(self._next + min(_LEN_READ, max_records), self._source.num))
        if not numbers:
            return None
        due_s = self._began_s + (numbers.stop - self._began_at) / self._source.per_s
        self._pause.wait(max(0.0, due_s - monotonic()))
        self._next = numbers.stop
        return list(numbers)

    def position(self) -> int:
        return self._next

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """Writes down in `folder` when records pass, a file a process."""

    folder: str

    def __call__(self, numbers: Sequence[int]) -> Sequence[int]:
        with Path(self.folder, str(os.getpid())).open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps((monotonic(), len(numbers)))}\n")
        return numbers


@dataclass(frozen=True, slots=True)
class Killed:
    """What one kill came to; seconds count from it."""

    detected_s: float
    first_s: float
    full_s: float
    num_lost: int
    num_doubled: int


class Prey(Protocol):
    """A cluster of which a process may be killed."""

    def cluster(self) -> RemoteCluster:
        """Return the cluster as a client reaches it now."""
        ...

    def strike(self, rng: Random) -> "Struck":
        """Kill a process, and start again what does not by itself."""
        ...


@dataclass(frozen=True, slots=True)
class Struck:
    """When a process was killed, and from when on nothing of the run before works any more; by `monotonic`.

    `over_s` None: processes that live on do so until the job has begun anew.
    """

    killed_s: float
    over_s: float | None = None


@dataclass(frozen=True, slots=True)
class Workers:
    """The workers of `local:N`."""

    nodes: RemoteCluster

    def cluster(self) -> RemoteCluster:
        return self.nodes

    def strike(self, rng: Random) -> Struck:
        return Struck(kill(rng.choice(pids_at_work(self.nodes))))


@contextmanager
def two_workers() -> Iterator[Workers]:
    with nodes_here(2, settings=Settings()) as cluster:
        yield Workers(cluster)


def measure_worker_kills(num_kills: int, every_s: float) -> KillsResult:
    """Raises InternalError where a flow did not bear its kill."""
    return measure_kills("a worker of local:2", num_kills, every_s, two_workers)


def measure_kills(
    of_what: str, num_kills: int, every_s: float, prey: Callable[[], AbstractContextManager[Prey]]
) -> KillsResult:
    """Give each kill a prey of its own; raises InternalError where a flow did not bear its kill."""
    found = []
    with TemporaryDirectory() as folder:
        for number in range(num_kills):
            with prey() as one:
                found.append(_killed_once(one, Path(folder, str(number)), every_s, Random(number)))
    detected, first = centiles([each.detected_s for each in found]), centiles([each.first_s for each in found])
    full = centiles([each.full_s for each in found])
    return KillsResult(
        engine="sage",
        workload=f"kill -9 of {of_what}",
        n=num_kills,
        checked=True,
        simulated=False,
        records_per_s=_PER_S,
        num_lost=sum(killed.num_lost for killed in found),
        num_doubled=sum(killed.num_doubled for killed in found),
        detected_p50_s=round(detected[0], 3),
        detected_p99_s=round(detected[1], 3),
        first_record_p50_s=round(first[0], 3),
        first_record_p99_s=round(first[1], 3),
        full_rate_p50_s=round(full[0], 3),
        full_rate_p99_s=round(full[1], 3),
    )


def pids_at_work(cluster: RemoteCluster) -> list[int]:
    """Return the processes of the nodes that have tasks."""
    return sorted(state.pid for state in cluster.node_states() if state.view.num_tasks)


def kill(pid: int) -> float:
    """Kill a process and return when that was, by `monotonic`."""
    killed_s = monotonic()
    os.kill(pid, signal.SIGKILL)
    return killed_s


def _killed_once(prey: Prey, folder: Path, every_s: float, rng: Random) -> Killed:
    stamps = folder / "stamps"
    stamps.mkdir(parents=True)
    strike_after_s = BEFORE_S + rng.uniform(0.0, every_s)
    num = int(_PER_S * (strike_after_s + _AFTER_S))
    job_id = prey.cluster().submit(_flow(num, stamps, folder), checkpoint=_kept(folder, every_s)).id
    _awaited(lambda: _span_s(leavings(stamps)) >= strike_after_s)
    struck = prey.strike(rng)
    _awaited(lambda: _num_restarts(prey.cluster(), job_id) > 0)
    begun_s = monotonic()
    prey.cluster().job(job_id).wait(_WAIT_S)
    detected_s, over_s = begun_s - struck.killed_s, begun_s if struck.over_s is None else struck.over_s
    first_s, full_s = back_after(leavings(stamps), struck.killed_s, over_s)
    came = Counter(map(int, (folder / "numbers.txt").read_text().split()))
    return Killed(detected_s, first_s, full_s, len(range(num)) - len(came), came.total() - len(came))


def _flow(num: int, stamps: Path, folder: Path) -> sage.Flow:
    flow = sage.Flow("kills")
    left = flow.from_source(SteadyNumbers(num)).key_by(_LastDigit()).fold((0, 0), _newest).with_parallelism(2)
    left.map(_number_of).map_batches(Stamped(str(stamps))).map(str).write_text(folder / "numbers.txt")
    return flow


def _kept(folder: Path, every_s: float) -> sage.Checkpoint:
    return sage.Checkpoint(folder / "kept", every_s=every_s)


@dataclass(frozen=True, slots=True)
class _LastDigit:
    def __call__(self, number: int) -> int:
        return number % 10


def _newest(kept: tuple[int, int], number: int) -> tuple[int, int]:
    return kept[0] + 1, number


def _number_of(update: tuple[int, tuple[int, int]]) -> int:
    return update[1][1]


def _num_restarts(cluster: RemoteCluster, job_id: JobId) -> int:
    return cluster.describe(job_id).state.num_restarts


def _awaited(is_so: Callable[[], bool]) -> None:
    ends_s, pause = monotonic() + _WAIT_S, Event()
    while not is_so():
        if monotonic() > ends_s:
            raise InternalError(f"the flow of a kill did not go on within {_WAIT_S:g} s")
        pause.wait(_LOOK_EVERY_S)


def leavings(folder: Path) -> list[Leaving]:
    """Return what all processes wrote down, by time; a line that a killed one had begun is left out."""
    lines = [line for file in folder.iterdir() for line in file.read_text().splitlines(keepends=True)]
    return sorted((time_s, num) for time_s, num in (json.loads(line) for line in lines if line.endswith("\n")))


def _span_s(left: Sequence[Leaving]) -> float:
    return left[-1][0] - left[0][0] if left else 0.0


def back_after(left: Sequence[Leaving], killed_s: float, over_s: float) -> tuple[float, float]:
    """Return the seconds from the kill until records left, and until they left at the rate from before.

    What left before `over_s` is of workers that lived on for a moment. Raises InternalError where it never was so.

    >>> before, after = [(n / 10, 5) for n in range(20)], [(3.5 + n / 10, 5) for n in range(20)]
    >>> back_after([*before, (2.1, 5), (3.0, 1), *after], 2.0, 2.5)
    (1.0, 1.5)
    """
    starts_s = [killed_s - RATE_OVER_S * number for number in range(1, int(BEFORE_S / RATE_OVER_S))]
    usual = median(_num_between(left, start_s) for start_s in starts_s)
    after = [(time_s, num) for time_s, num in left if time_s >= over_s]
    back_s = next((time_s for time_s, _ in after if _num_between(after, time_s) >= _FULL_RATE * usual), None)
    if back_s is None:
        raise InternalError("the flow was not back at its rate after the kill")
    return after[0][0] - killed_s, back_s - killed_s


def _num_between(left: Sequence[Leaving], start_s: float) -> int:
    return sum(num for time_s, num in left if start_s <= time_s < start_s + RATE_OVER_S)
