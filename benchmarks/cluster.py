"""`sage-benchmark cluster`: what a second node brings, what a task costs, and whether control waits for data.

Measured on node processes of this machine. Knows flows by what they come to; no figure is given for a wrong result.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from threading import Thread

from benchmarks.cluster_flows import Spin, Wait, spin_for, spinning, waiting
from benchmarks.cluster_idle import measure_idle
from benchmarks.cluster_latency import measure_control, measure_trip
from benchmarks.cluster_overload import measure_overload
from benchmarks.cluster_wanted import ClusterWanted, ClusterWorkload
from benchmarks.document import Result
from benchmarks.measure import Prepare, Run, in_turns, median_ratio
from cluster.client.cluster import RemoteCluster
from cluster.client.nodes_here import nodes_here
from sage.base.clock import Clock
from sage.base.errors import InternalError
from sage.base.settings import Settings

RUN_S = 300.0
NUM_JOBS = 8
_RECORD_S = 30e-6
_TASKS_S = (0.001, 0.010)


class RateResult(Result, frozen=True, kw_only=True):
    """`engine` says how many nodes. `ratio_to_first`: to the first result of the workload, the median over rounds."""

    num_instances: int | None = None
    num_in_flight: int | None = None
    records_per_s: float
    ratio_to_first: float
    num_rounds: int


class JobsResult(Result, frozen=True, kw_only=True):
    """`share_of_sum`: how long the jobs took one after another against all at once; `jain`: how alike they fared."""

    num_jobs: int
    records_per_s: float
    share_of_sum: float
    jain: float
    num_rounds: int


@dataclass(frozen=True, slots=True)
class _Bench:
    one: RemoteCluster
    two: RemoteCluster
    wanted: ClusterWanted
    clock: Clock

    def on(self, num_nodes: int) -> RemoteCluster:
        return self.one if num_nodes == 1 else self.two


@dataclass(frozen=True, slots=True)
class _Way:
    num_nodes: int
    num_instances: int | None = None
    num_in_flight: int | None = None

    def __str__(self) -> str:
        return f"{self.num_nodes} nodes, {self.num_instances or self.num_in_flight} at a time"


_RECORDS_WAYS = (_Way(1, 1), _Way(1, 2), _Way(2, 2), _Way(2, 4))
_TASKS_WAYS = tuple(_Way(nodes, instances) for nodes in (1, 2) for instances in (1, 2, 4, 8) if instances >= nodes)
_WAITS_WAYS = tuple(_Way(nodes, None, in_flight) for nodes in (1, 2) for in_flight in (8, 32))


def measure_cluster(wanted: ClusterWanted, clock: Clock) -> list[Result]:
    """Return the results of each workload; raises InternalError where one came to a wrong result."""
    results: list[Result] = []
    with ExitStack() as stack:
        one, two = (stack.enter_context(nodes_here(num, settings=Settings())) for num in (1, 2))
        bench = _Bench(one, two, wanted, clock)
        for workload in wanted.workloads:
            results += _measure(workload, bench)
    return results


def _measure(workload: ClusterWorkload, bench: _Bench) -> Sequence[Result]:
    match workload:
        case ClusterWorkload.RECORDS:
            return _spins(_RECORD_S, _RECORDS_WAYS, bench)
        case ClusterWorkload.TASKS:
            return [result for each_s in _TASKS_S for result in _spins(each_s, _TASKS_WAYS, bench)]
        case ClusterWorkload.WAITS:
            return [result for each_s in _TASKS_S for result in _waits(each_s, bench)]
        case ClusterWorkload.JOBS:
            return _jobs(bench)
        case ClusterWorkload.TRIP:
            return measure_trip(bench.two)
        case ClusterWorkload.CONTROL:
            return measure_control(bench.clock)
        case ClusterWorkload.IDLE:
            return measure_idle(bench.clock)
        case ClusterWorkload.OVERLOAD:
            return measure_overload(bench.wanted.overload_s, bench.clock)


# Rates.


def _spins(each_s: float, ways: Sequence[_Way], bench: _Bench) -> list[RateResult]:
    spin, num = spin_for(each_s), max(8, round(bench.wanted.seconds / each_s))
    expected = num, sum(map(spin, range(num)))
    timed = {way: _spin_run(bench.on(way.num_nodes), spin, num, way.num_instances or 1) for way in ways}
    return _rates(_words(each_s), timed, expected, bench)


def _waits(each_s: float, bench: _Bench) -> list[RateResult]:
    wait, num = Wait(each_s), max(64, round(bench.wanted.seconds * 8 / each_s))
    timed = {way: _wait_run(bench.on(way.num_nodes), wait, num, way.num_in_flight or 1) for way in _WAITS_WAYS}
    return _rates(f"wait {_words(each_s)}", timed, (num, sum(range(num))), bench)


def _rates(workload: str, timed: dict[_Way, Prepare], expected: tuple[int, int], bench: _Bench) -> list[RateResult]:
    def check(way: str, outcome: object) -> None:
        if outcome != expected:
            raise InternalError(f"{workload} on {way} came to {outcome}, and not to {expected}", "Please report it.")

    ways = {str(way): prepare for way, prepare in timed.items()}
    seconds = in_turns(ways, num_rounds=bench.wanted.num_rounds, clock=bench.clock, check=check)
    first_s = next(iter(seconds.values()))
    return [
        RateResult(
            engine=_nodes(way.num_nodes),
            workload=workload,
            n=expected[0],
            checked=True,
            simulated=False,
            num_instances=way.num_instances,
            num_in_flight=way.num_in_flight,
            records_per_s=round(expected[0] / median(seconds[str(way)]), 1),
            ratio_to_first=round(median_ratio(first_s, seconds[str(way)]), 3),
            num_rounds=bench.wanted.num_rounds,
        )
        for way in timed
    ]


def _spin_run(cluster: RemoteCluster, spin: Spin, num: int, num_instances: int) -> Prepare:
    def prepare() -> Run:
        flow, came = spinning(spin, num, num_instances)

        def run() -> object:
            cluster.submit(flow).wait(RUN_S)
            return _added(came.items)

        return run

    return prepare


def _wait_run(cluster: RemoteCluster, wait: Wait, num: int, num_in_flight: int) -> Prepare:
    def prepare() -> Run:
        flow, came = waiting(wait, num, num_in_flight)

        def run() -> object:
            cluster.submit(flow).wait(RUN_S)
            return _added(came.items)

        return run

    return prepare


def _added(pieces: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(num for num, _ in pieces), sum(part for _, part in pieces)


# Jobs side by side.


def _jobs(bench: _Bench) -> list[JobsResult]:
    each_s = _TASKS_S[0]
    spin, num = spin_for(each_s), max(8, round(bench.wanted.seconds / each_s))
    expected = num, sum(map(spin, range(num)))
    shares, jains, rates = [], [], []
    for _ in range(bench.wanted.num_rounds):
        alone_s = _one_after_another(lambda: _job(bench, spin, expected))
        took_s, all_s = _all_at_once(lambda: _job(bench, spin, expected), bench.clock)
        shares.append(sum(alone_s) / all_s)
        jains.append(jain([1 / each for each in took_s]))
        rates.append(NUM_JOBS * num / all_s)
    return [
        JobsResult(
            engine=_nodes(2),
            workload=f"{NUM_JOBS} jobs of {_words(each_s)}",
            n=NUM_JOBS * num,
            checked=True,
            simulated=False,
            num_jobs=NUM_JOBS,
            records_per_s=round(median(rates), 1),
            share_of_sum=round(median(shares), 3),
            jain=round(median(jains), 4),
            num_rounds=bench.wanted.num_rounds,
        )
    ]


def _job(bench: _Bench, spin: Spin, expected: tuple[int, int]) -> float:
    """Run one job on both nodes and return how long it took."""
    flow, came = spinning(spin, expected[0], 2)
    began_s = bench.clock.monotonic_s()
    bench.two.submit(flow).wait(RUN_S)
    took_s = bench.clock.monotonic_s() - began_s
    if _added(came.items) != expected:
        raise InternalError(f"a job came to {_added(came.items)}, and not to {expected}", "Please report it.")
    return took_s


def _one_after_another(job: Callable[[], float]) -> list[float]:
    return [job() for _ in range(NUM_JOBS)]


def _all_at_once(job: Callable[[], float], clock: Clock) -> tuple[list[float], float]:
    """Return how long each took, and all together."""
    took_s: list[float] = []
    threads = [Thread(target=lambda: took_s.append(job())) for _ in range(NUM_JOBS)]
    began_s = clock.monotonic_s()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(took_s) != NUM_JOBS:
        raise InternalError(f"{NUM_JOBS - len(took_s)} of {NUM_JOBS} jobs failed")
    return took_s, clock.monotonic_s() - began_s


def jain(rates: Sequence[float]) -> float:
    """Return Jain's index of fairness: 1 where all are alike, 1/n where one has everything.

    >>> jain([2.0, 2.0]), jain([1.0, 0.0])
    (1.0, 0.5)
    """
    return sum(rates) ** 2 / (len(rates) * sum(rate * rate for rate in rates))


def _nodes(num_nodes: int) -> str:
    return "1 node" if num_nodes == 1 else f"{num_nodes} nodes"


def _words(seconds: float) -> str:
    return f"{seconds * 1e3:g} ms" if seconds >= 0.001 else f"{seconds * 1e6:g} us"
