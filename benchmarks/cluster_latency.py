"""How long one record takes through a task of another process, and what control takes while data flows.

Knows nothing of rates.
"""

import queue
import threading
from collections.abc import Sequence
from contextlib import suppress
from statistics import quantiles
from time import monotonic

from benchmarks.bare_trip import bare_trip_us
from benchmarks.cluster_flows import exchange, there_and_back, ticking
from benchmarks.document import Result
from cluster.client.cluster import RemoteCluster
from cluster.client.nodes_here import nodes_here
from cluster.local import LocalCluster
from cluster.runtime.control_printed import LogLine
from sage.base.clock import Clock
from sage.base.errors import InternalError, JobCancelled
from sage.base.settings import Settings
from sage.flow.runner import Cluster, Job

NUM_TRIPS = 2_000
NUM_TICKS = 1_000
TICK_EVERY_S = 0.01
NUM_CANCELS = 30
WAIT_S = 60.0


class TripResult(Result, frozen=True, kw_only=True):
    """`limit`: a message of one frame there and back between two bare sockets of ZeroMQ, in the same run."""

    round_trip_p50_us: float
    round_trip_p99_us: float
    limit_p50_us: float | None = None


class ControlResult(Result, frozen=True, kw_only=True):
    """`n` things said while data flows; how long until they were heard, or done."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    exchanged_per_s: float


def measure_trip(two: RemoteCluster) -> list[TripResult]:
    """Return the round trip of one record within a process, and across two; raises InternalError."""
    with LocalCluster(settings=Settings()) as here:
        inside = _trips_s(here, num_cpus=here.nodes()[0].total.cpus / 2, across=False)
    limit_us = bare_trip_us(NUM_TRIPS)
    across = _trips_s(two, num_cpus=two.nodes()[0].total.cpus, across=True)
    return [_trip("1 process", inside, None), _trip("2 nodes", across, round(limit_us, 1))]


def _trip(engine: str, seconds: Sequence[float], limit_us: float | None) -> TripResult:
    centiles = quantiles(seconds, n=100)
    return TripResult(
        engine=engine,
        workload="round trip of a task",
        n=len(seconds),
        checked=True,
        simulated=False,
        round_trip_p50_us=round(centiles[49] * 1e6, 1),
        round_trip_p99_us=round(centiles[98] * 1e6, 1),
        limit_p50_us=limit_us,
    )


def _trips_s(cluster: Cluster, *, num_cpus: float, across: bool) -> list[float]:
    flow, came = there_and_back(NUM_TRIPS, num_cpus)
    cluster.submit(flow).wait(WAIT_S)
    (result,) = came.items
    assert result is not None
    (own, *others), seconds = result
    if len(seconds) != NUM_TRIPS or others != ([other for other in others if other != own] if across else [own]):
        raise InternalError(f"{len(seconds)} of {NUM_TRIPS} trips, by way of processes {others} and from {own}")
    return seconds


def measure_control(clock: Clock) -> list[ControlResult]:
    """Return how long what nodes print takes to come here, and a cancelled job to end, beside data; raises
    InternalError."""
    came: queue.SimpleQueue[tuple[float, str]] = queue.SimpleQueue()

    def show(lines: Sequence[LogLine]) -> None:
        for line in lines:
            came.put((monotonic(), line.text))

    with nodes_here(2, settings=Settings(), show=show) as cluster:
        job = cluster.submit(exchange())
        cluster.submit(ticking(NUM_TICKS, TICK_EVERY_S)).wait(WAIT_S)
        rate = job.metrics().records_in / job.metrics().duration_s
        late_s = [at_s - float(line.split()[1]) for at_s, line in _lines(came)]
        job.cancel()
        cancels_s = [_cancelled_s(_under_way(cluster), clock) for _ in range(NUM_CANCELS)]
    return [_control("a line printed", late_s, rate), _control("a job cancelled", cancels_s, rate)]


def _lines(came: "queue.SimpleQueue[tuple[float, str]]") -> list[tuple[float, str]]:
    lines = [came.get(timeout=WAIT_S) for _ in range(NUM_TICKS)]
    if len({line.split()[0] for _, line in lines}) != 2:
        raise InternalError("not both nodes printed")
    return lines


def _under_way(cluster: Cluster) -> Job:
    """Return a job that has read its first 100,000 records."""
    job, is_flowing = cluster.submit(exchange()), threading.Event()
    watcher = threading.Thread(target=_watch, args=(job, is_flowing))
    watcher.start()
    if not is_flowing.wait(WAIT_S):
        raise InternalError("an exchange did not begin")
    return job


def _watch(job: Job, is_flowing: threading.Event) -> None:
    with suppress(JobCancelled):
        job.wait(WAIT_S, on_progress=lambda metrics: is_flowing.set() if metrics.records_in > 100_000 else None)


def _cancelled_s(job: Job, clock: Clock) -> float:
    began_s = clock.monotonic_s()
    job.cancel()
    with suppress(JobCancelled):
        job.wait(WAIT_S)
    return clock.monotonic_s() - began_s


def _control(workload: str, seconds: Sequence[float], rate: float) -> ControlResult:
    centiles = quantiles(seconds, n=100, method="inclusive")
    return ControlResult(
        engine="2 nodes",
        workload=workload,
        n=len(seconds),
        checked=True,
        simulated=False,
        p50_ms=round(centiles[49] * 1e3, 2),
        p99_ms=round(centiles[98] * 1e3, 2),
        max_ms=round(max(seconds) * 1e3, 2),
        exchanged_per_s=round(rate),
    )
