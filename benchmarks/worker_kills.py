"""How soon a flow on `local:2` is back at its rate after `kill -9` of a worker, and what it lost. Knows no terminal.

Numbers come at a set rate; where they leave, each worker writes down when. The rate before is the median of stretches
of RATE_OVER_S in the last BEFORE_S before the kill; the flow is back where as long a stretch has nine tenths of it.
"""

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Event
from time import monotonic

import sage
from benchmarks.document import Result
from benchmarks.measure import centiles
from cluster.client.cluster import RemoteCluster
from cluster.client.nodes_here import nodes_here
from cluster.local.job import SubmittedJob
from sage.base.errors import InternalError
from sage.base.settings import Settings

RATE_OVER_S = 0.2
BEFORE_S = 2.0
_AFTER_S = 6.0
_PER_S = 5_000
_FULL_RATE = 0.9
_LEN_READ = 100
_LOOK_EVERY_S = 0.005
_WAIT_S = 60.0

Leaving = tuple[float, int]
"""When records left, by the clock of this machine, and how many."""


class WorkerKillsResult(Result, frozen=True, kw_only=True):
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


def measure_worker_kills(num_kills: int, every_s: float) -> WorkerKillsResult:
    """Raises InternalError where a flow did not bear its kill."""
    found = []
    with TemporaryDirectory() as folder:
        for number in range(num_kills):
            with nodes_here(2, settings=Settings()) as cluster:
                found.append(_killed_once(cluster, Path(folder, str(number)), every_s, number))
    detected, first = centiles([each.detected_s for each in found]), centiles([each.first_s for each in found])
    full = centiles([each.full_s for each in found])
    return WorkerKillsResult(
        engine="sage",
        workload="kill -9 of a worker of local:2",
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


def _killed_once(cluster: RemoteCluster, folder: Path, every_s: float, number: int) -> Killed:
    stamps = folder / "stamps"
    stamps.mkdir(parents=True)
    num = int(_PER_S * (BEFORE_S + _AFTER_S))
    flow = sage.Flow("worker-kills")
    left = flow.from_source(SteadyNumbers(num)).key_by(_LastDigit()).fold((0, 0), _newest).with_parallelism(2)
    passed = left.map(_number_of).map_batches(Stamped(str(stamps)))
    passed.map(str).write_text(folder / "numbers.txt")
    job = cluster.submit(flow, checkpoint=sage.Checkpoint(folder / "kept", every_s=every_s))
    _awaited(lambda: _span_s(leavings(stamps)) >= BEFORE_S)
    pids = sorted(state.pid for state in cluster.node_states() if state.view.num_tasks)
    killed_s = monotonic()
    os.kill(pids[number % len(pids)], signal.SIGKILL)
    _awaited(lambda: _num_restarts(cluster, job) > 0)
    detected_s = monotonic() - killed_s
    job.wait(_WAIT_S)
    first_s, full_s = back_after(leavings(stamps), killed_s, killed_s + detected_s)
    came = Counter(map(int, (folder / "numbers.txt").read_text().split()))
    return Killed(detected_s, first_s, full_s, len(range(num)) - len(came), came.total() - len(came))


@dataclass(frozen=True, slots=True)
class _LastDigit:
    def __call__(self, number: int) -> int:
        return number % 10


def _newest(kept: tuple[int, int], number: int) -> tuple[int, int]:
    return kept[0] + 1, number


def _number_of(update: tuple[int, tuple[int, int]]) -> int:
    return update[1][1]


def _num_restarts(cluster: RemoteCluster, job: SubmittedJob) -> int:
    return cluster.describe(job.id).state.num_restarts


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


def back_after(left: Sequence[Leaving], killed_s: float, begun_s: float) -> tuple[float, float]:
    """Return the seconds from the kill until records left, and until they left at the rate from before.

    What left before `begun_s`, when the job was begun anew, is of workers that lived on for a moment.

    >>> before, after = [(n / 10, 5) for n in range(20)], [(3.5 + n / 10, 5) for n in range(20)]
    >>> back_after([*before, (2.1, 5), (3.0, 1), *after], 2.0, 2.5)
    (1.0, 1.5)
    """
    starts_s = [killed_s - RATE_OVER_S * number for number in range(1, int(BEFORE_S / RATE_OVER_S))]
    usual = median(_num_between(left, start_s) for start_s in starts_s)
    after = [(time_s, num) for time_s, num in left if time_s >= begun_s]
    if not after:
        raise InternalError("no record left after the kill")
    back_s = next((time_s for time_s, _ in after if _num_between(after, time_s) >= _FULL_RATE * usual), after[-1][0])
    return after[0][0] - killed_s, back_s - killed_s


def _num_between(left: Sequence[Leaving], start_s: float) -> int:
    return sum(num for time_s, num in left if start_s <= time_s < start_s + RATE_OVER_S)
