"""What checkpoints cost a stream, and how soon one that was killed is back at its rate. Knows nothing of the terminal.

The flow runs with and without checkpoints, in turns. A pause is the longest time between two batches that leave the
flow, one for each checkpoint; without checkpoints, one for each stretch of the same length.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, mkdtemp

import msgspec

import sage
from benchmarks.checkpoint_flow import Leaving, expected_sums, running_sums
from benchmarks.checkpoint_wanted import CheckpointWanted
from benchmarks.document import Result
from benchmarks.measure import Prepare, Run, centiles, in_turns, median_ratio
from benchmarks.node_kills import measure_head_kills, measure_node_kills
from benchmarks.rivals.beside import RivalsBeside
from benchmarks.rivals.environment import Say
from benchmarks.worker_kills import measure_worker_kills
from cluster.local import LocalCluster
from sage.base.clock import Clock
from sage.base.errors import InternalError
from sage.base.settings import Settings

_WAIT_S = 300.0
_RATE_OVER_S = 0.2
_FULL_RATE = 0.9
_LOOK_EVERY_S = 0.01
_LEN_BATCH = 1000

NONE = "none"
_OURS = (NONE, "sage")


class CheckpointResult(Result, frozen=True, kw_only=True):
    """`ratio_to_none`: against the same flow of the same engine without checkpoints in the same run, the median of the
    rounds."""

    num_keys: int
    records_per_s: float
    ratio_to_none: float | None
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


def measure_checkpoints(wanted: CheckpointWanted, clock: Clock, say: Say) -> list[Result]:
    """`say` is told which rivals cannot. Raises InternalError where a sum is wrong."""
    results: list[Result] = list(_cost(wanted, clock, say))
    if wanted.num_kills:
        results.append(_recovery(wanted, clock))
    if wanted.num_worker_kills:
        results.append(measure_worker_kills(wanted.num_worker_kills, wanted.every_s))
    if wanted.num_node_kills:
        results.append(measure_node_kills(wanted.num_node_kills, wanted.every_s))
    if wanted.num_head_kills:
        results.append(measure_head_kills(wanted.num_head_kills, wanted.every_s))
    return results


def _cost(wanted: CheckpointWanted, clock: Clock, say: Say) -> Iterator[CheckpointResult]:
    """Ours and rivals, each with and without checkpoints, all in turns."""
    pauses_s: dict[str, list[float]] = {}
    expected = {num: expected_sums(num, wanted.num_keys) for num in {wanted.num_records, wanted.num_of_rivals}}

    def check(way: str, outcome: object) -> None:
        num = wanted.num_records if way in _OURS else wanted.num_of_rivals
        if not is_right(outcome, num, expected[num]):
            raise InternalError(f"{way}: the sums of {num} numbers are wrong")
        pauses_s.setdefault(way, []).extend(pauses(_sums_of(outcome)[2], wanted.every_s))

    with TemporaryDirectory() as folder, LocalCluster(settings=Settings()) as cluster, ExitStack() as stack:
        ways: dict[str, Prepare] = {
            NONE: lambda: _run(cluster, wanted, None),
            "sage": lambda: _run(cluster, wanted, mkdtemp(dir=folder)),
        }
        rivals = RivalsBeside(
            wanted.rivals, wanted.num_of_rivals, 0, _LEN_BATCH, clock, say, wanted.num_keys, wanted.every_s
        )
        judge = partial(is_right, num_records=wanted.num_of_rivals, expected=expected[wanted.num_of_rivals])
        for workload, name in (("sums", "{} " + NONE), ("sums-kept", "{}")):
            others = stack.enter_context(rivals.ready(workload, judge))
            ways |= {name.format(engine): way for engine, way in others.items()}
        seconds = in_turns(ways, num_rounds=wanted.num_rounds, clock=clock, check=check)
    for way in seconds:
        yield _cost_result(way, wanted, seconds, pauses_s[way])


def _cost_result(
    way: str, wanted: CheckpointWanted, seconds: Mapping[str, Sequence[float]], pauses_s: Sequence[float]
) -> CheckpointResult:
    engine, kept = ("sage" if way in _OURS else way.split()[0]), not way.endswith(NONE)
    num_records = wanted.num_records if way in _OURS else wanted.num_of_rivals
    without_s = seconds.get(NONE if way in _OURS else f"{engine} {NONE}")
    p50, p99 = centiles(pauses_s)
    return CheckpointResult(
        engine=engine,
        workload=f"a checkpoint every {wanted.every_s:g} s" if kept else "no checkpoints",
        n=num_records,
        checked=True,
        simulated=False,
        num_keys=wanted.num_keys,
        records_per_s=round(num_records / median(seconds[way]), 1),
        ratio_to_none=round(median_ratio(without_s, seconds[way]), 4) if without_s is not None else None,
        num_checkpoints=len(pauses_s) if kept else 0,
        pause_p50_ms=round(1000 * p50, 2),
        pause_p99_ms=round(1000 * p99, 2),
    )


def _sums_of(outcome: object) -> tuple[dict[int, int], int, list[float]]:
    """Return newest sums, number of updates, and when batches left."""
    if isinstance(outcome, Leaving):
        return outcome.sums, outcome.num_updates, outcome.times_s
    assert isinstance(outcome, tuple)
    sums, num_updates, times_s = outcome
    return sums, num_updates, times_s


def is_right(outcome: object, num_records: int, expected: dict[int, int]) -> bool:
    """Whether every number led to an update, and the newest sums are those of the oracle."""
    sums, num_updates, _ = _sums_of(outcome)
    return sums == expected and num_updates == num_records


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
