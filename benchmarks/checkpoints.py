"""What checkpoints cost a stream, and how soon one that was killed is back at its rate. Knows nothing of the terminal.

The flow runs with and without checkpoints, in turns. A pause is the longest time between two batches that leave the
flow, one for each checkpoint; without checkpoints, one for each stretch of the same length.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, mkdtemp

import msgspec

import sage
from benchmarks.checkpoint_flow import Leaving, expected_sums, running_sums
from benchmarks.document import Result
from benchmarks.measure import Run, centiles, in_turns, median_ratio
from benchmarks.node_kills import measure_head_kills, measure_node_kills
from benchmarks.worker_kills import measure_worker_kills
from cluster.local import LocalCluster
from sage.base.clock import Clock
from sage.base.errors import InternalError
from sage.base.settings import Settings

_WAIT_S = 300.0
_RATE_OVER_S = 0.2
_FULL_RATE = 0.9
_LOOK_EVERY_S = 0.01


class CheckpointResult(Result, frozen=True, kw_only=True):
    """`ratio_to_none`: against the same flow without checkpoints in the same run, the median of the rounds."""

    num_keys: int
    records_per_s: float
    ratio_to_none: float
    num_checkpoints: int
    pause_p50_ms: float
    pause_p99_ms: float


class RecoveryResult(Result, frozen=True, kw_only=True):
    """From `kill -9` of the process, which is started again at once: until records leave, and as many as before."""

    num_keys: int
    first_record_p50_s: float
    first_record_p99_s: float
    full_rate_p50_s: float
    full_rate_p99_s: float


@dataclass(frozen=True, slots=True)
class CheckpointWanted:
    """One measurement."""

    num_records: int
    num_keys: int
    every_s: float
    num_rounds: int
    num_kills: int
    num_worker_kills: int = 0
    num_node_kills: int = 0
    num_head_kills: int = 0

    def command(self) -> str:
        """Return the command line that asks for this.

        >>> CheckpointWanted(1000, 10, 0.5, 2, 3).command()
        'sage-benchmark checkpoint --records 1000 --keys 10 --every 0.5 --rounds 2 --kills 3'
        >>> CheckpointWanted(1000, 10, 0.5, 2, 0, num_node_kills=4).command().partition("--rounds ")[2]
        '2 --kills 0 --node-kills 4'
        """
        hurt = (
            ("worker", self.num_worker_kills),
            ("node", self.num_node_kills),
            ("head", self.num_head_kills),
        )
        return (
            f"sage-benchmark checkpoint --records {self.num_records} --keys {self.num_keys} --every {self.every_s:g} "
            f"--rounds {self.num_rounds} --kills {self.num_kills}"
        ) + "".join(f" --{what}-kills {num}" for what, num in hurt if num)


def measure_checkpoints(wanted: CheckpointWanted, clock: Clock) -> list[Result]:
    """Raises InternalError where a sum is wrong."""
    results: list[Result] = list(_cost(wanted, clock))
    if wanted.num_kills:
        results.append(_recovery(wanted, clock))
    if wanted.num_worker_kills:
        results.append(measure_worker_kills(wanted.num_worker_kills, wanted.every_s))
    if wanted.num_node_kills:
        results.append(measure_node_kills(wanted.num_node_kills, wanted.every_s))
    if wanted.num_head_kills:
        results.append(measure_head_kills(wanted.num_head_kills, wanted.every_s))
    return results


def _cost(wanted: CheckpointWanted, clock: Clock) -> Iterator[CheckpointResult]:
    expected = expected_sums(wanted.num_records, wanted.num_keys)
    pauses_s: dict[str, list[float]] = {"none": [], "sage": []}

    def check(way: str, outcome: object) -> None:
        assert isinstance(outcome, Leaving)
        if outcome.sums != expected or outcome.num_updates != wanted.num_records:
            raise InternalError(f"{way}: the sums of {wanted.num_records} numbers are wrong")
        pauses_s[way] += pauses(outcome.times_s, wanted.every_s)

    with TemporaryDirectory() as folder, LocalCluster(settings=Settings()) as cluster:
        ways = {"none": lambda: _run(cluster, wanted, None), "sage": lambda: _run(cluster, wanted, mkdtemp(dir=folder))}
        seconds = in_turns(ways, num_rounds=wanted.num_rounds, clock=clock, check=check)
    for way, taken_s in seconds.items():
        p50, p99 = centiles(pauses_s[way])
        yield CheckpointResult(
            engine="sage",
            workload=f"a checkpoint every {wanted.every_s:g} s" if way == "sage" else "no checkpoints",
            n=wanted.num_records,
            checked=True,
            simulated=False,
            num_keys=wanted.num_keys,
            records_per_s=round(wanted.num_records / median(taken_s), 1),
            ratio_to_none=round(median_ratio(seconds["none"], taken_s), 4),
            num_checkpoints=len(pauses_s[way]) if way == "sage" else 0,
            pause_p50_ms=round(1000 * p50, 2),
            pause_p99_ms=round(1000 * p99, 2),
        )


def _run(cluster: LocalCluster, wanted: CheckpointWanted, folder: str | None) -> Run:
    flow, leaving = running_sums(wanted.num_records, wanted.num_keys)
    kept = sage.Checkpoint(folder, every_s=wanted.every_s) if folder is not None else None

    def run() -> Leaving:
        cluster.submit(flow, checkpoint=kept).wait(_WAIT_S)
        return leaving

    return run


def pauses(times_s: Sequence[float], every_s: float) -> list[float]:
    """Return the longest time between two batches in each whole stretch of `every_s`.

    >>> pauses([0.0, 0.4, 0.5, 1.1, 1.2, 1.9, 2.5], 1.0)
    [0.6, 0.7]
    """
    found: list[float] = []
    longest_s, end_s = 0.0, times_s[0] + every_s
    for earlier_s, later_s in pairwise(times_s):
        longest_s = max(longest_s, later_s - earlier_s)
        if later_s >= end_s:
            found.append(round(longest_s, 9))
            longest_s, end_s = 0.0, end_s + every_s
    return found


# Recovery.


class _Left(msgspec.Struct):
    times_s: list[float]
    nums: list[int]
    is_right: bool


def _recovery(wanted: CheckpointWanted, clock: Clock) -> RecoveryResult:
    with TemporaryDirectory() as folder:
        found = [_killed_once(wanted, Path(folder) / str(number), clock) for number in range(wanted.num_kills)]
    first_s, full_s = zip(*found, strict=True)
    (first_p50, first_p99), (full_p50, full_p99) = centiles(first_s), centiles(full_s)
    return RecoveryResult(
        engine="sage",
        workload="kill -9 of the process",
        n=wanted.num_kills,
        checked=True,
        simulated=False,
        num_keys=wanted.num_keys,
        first_record_p50_s=round(first_p50, 3),
        first_record_p99_s=round(first_p99, 3),
        full_rate_p50_s=round(full_p50, 3),
        full_rate_p99_s=round(full_p99, 3),
    )


def _killed_once(wanted: CheckpointWanted, folder: Path, clock: Clock) -> tuple[float, float]:
    """Return the seconds from the kill to the first batch, and to the full rate; raises InternalError."""
    arguments = [str(folder), str(wanted.num_records), str(wanted.num_keys), str(wanted.every_s)]
    command = [sys.executable, "-m", "benchmarks.checkpoint_flow", *arguments]
    running = subprocess.Popen(command, stdout=subprocess.PIPE)
    while not list(folder.glob("*/*.manifest")):
        with suppress(subprocess.TimeoutExpired):
            running.wait(_LOOK_EVERY_S)
            raise InternalError(f"the flow ended by {running.returncode} before its first checkpoint")
    os.kill(running.pid, signal.SIGKILL)
    killed_s = clock.monotonic_s()
    running.communicate(timeout=_WAIT_S)
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=_WAIT_S, check=True)
    left = msgspec.json.decode(done.stdout, type=_Left)
    if not left.is_right or sum(left.nums) >= wanted.num_records:
        raise InternalError("the sums after a kill are wrong, or all of it was computed again")
    return left.times_s[0] - killed_s, full_rate_s(left.times_s, left.nums) - killed_s


def full_rate_s(times_s: Sequence[float], nums: Sequence[int]) -> float:
    """Return from when on records leave at nine tenths of the rate that the whole has.

    >>> full_rate_s([0.0, 0.3, 0.5, *(1 + n / 100 for n in range(100))], [10] * 103)
    1.0
    """
    totals = [0, *accumulate(nums)]
    rate_per_s = (totals[-1] - totals[len(nums) // 2]) / (times_s[-1] - times_s[len(nums) // 2 - 1])
    end = 0
    for start, start_s in enumerate(times_s):
        while end < len(times_s) and times_s[end] < start_s + _RATE_OVER_S:
            end += 1
        if totals[end] - totals[start] >= _FULL_RATE * rate_per_s * _RATE_OVER_S:
            return start_s
    return times_s[-1]
