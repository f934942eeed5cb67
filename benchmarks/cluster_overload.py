"""What a cluster holds whose stream ends slower than its source reads, over minutes. Knows no rates of others.

A source that could read more than a hundred times what the end takes, on one node, and the end on the other: credit
must hold the source back, so that no process grows (`faults.md` asks for 10 % over 10 minutes).
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from time import monotonic

import psutil

import sage
from benchmarks.cluster_flows import total
from benchmarks.document import Result
from cluster.client.cluster import RemoteCluster
from cluster.client.nodes_here import nodes_here
from sage.base.clock import Clock
from sage.base.errors import InternalError
from sage.base.settings import Settings
from sage.flow.ends import Collected

TAKES_S = 0.0005  # a record at the slow end
SETTLED = 0.1  # of the time watched: what is held by then is what later samples are compared with
_SAMPLE_S = 1.0
_WAIT_S = 120.0
_PAYLOAD = "x" * 100


class OverloadResult(Result, frozen=True, kw_only=True):
    """`n` records taken. `*_mb`: resident, of the process (head, nodes, caller) that grew most, once all had settled
    and the most after that; `growth` is their ratio. `asked_*_ms`: how long the head took to say how its nodes are."""

    records_per_s: float
    settled_mb: float
    most_mb: float
    growth: float
    asked_p50_ms: float
    asked_max_ms: float
    watched_s: float


@dataclass(frozen=True, slots=True)
class Flood:
    """A source that gives as many numbered records as are asked of it, for `seconds`."""

    seconds: float

    def open(self) -> "_FloodReader":
        return _FloodReader(self.seconds)


class _FloodReader:
    def __init__(self, seconds: float) -> None:
        self._ends_s = monotonic() + seconds
        self._num_read = 0

    def read(self, max_records: int) -> list[tuple[int, str]] | None:
        if monotonic() >= self._ends_s:
            return None
        first, self._num_read = self._num_read, self._num_read + max_records
        return [(number, f"{_PAYLOAD}{number}") for number in range(first, self._num_read)]

    def close(self) -> None:
        pass


class SlowEnd:
    """Takes TAKES_S a record; raises InternalError for a record that is not the next. Travels empty."""

    def __init__(self) -> None:
        self._num_taken = 0
        self._pause = threading.Event()

    def __reduce__(self) -> tuple[type["SlowEnd"], tuple[()]]:
        return SlowEnd, ()

    def __call__(self, record: tuple[int, str]) -> int:
        if record != (self._num_taken, f"{_PAYLOAD}{self._num_taken}"):
            raise InternalError(f"record {record[0]} came as number {self._num_taken}", "Please report it.")
        self._num_taken += 1
        self._pause.wait(TAKES_S)
        return self._num_taken


def flooded(seconds: float, num_cpus: float) -> tuple[sage.Flow, Collected[tuple[int, int]]]:
    """Return a flow whose source and slow end are on different nodes of `num_cpus` each, and what it took."""
    flow = sage.Flow("overload")
    records = flow.from_source(Flood(seconds)).with_resources(cpus=0.6 * num_cpus)
    taken = records.map(SlowEnd()).with_resources(cpus=0.8 * num_cpus)
    return flow, taken.map_batches(total).collect()


def measure_overload(seconds: float, clock: Clock) -> list[OverloadResult]:
    """Watch two nodes, their head and this process for `seconds`; raises InternalError where records were lost."""
    with nodes_here(2, settings=Settings()) as cluster:
        flow, came = flooded(seconds, cluster.nodes()[0].total.cpus)
        job = cluster.submit(flow)
        began_s = clock.monotonic_s()
        samples, asked_s = _watch(cluster, began_s + seconds - _SAMPLE_S, clock)
        watched_s = clock.monotonic_s() - began_s
        job.wait(_WAIT_S)
        num_taken, num_read = sum(num for num, _ in came.items), job.metrics().records_in
    if num_taken != num_read:
        raise InternalError(f"of {num_read:,} records {num_taken:,} came to the end", "Please report it.")
    settled_mb, most_mb = grown_most(samples)
    return [
        OverloadResult(
            engine="2 nodes",
            workload="a slow end",
            n=num_taken,
            checked=True,
            simulated=False,
            records_per_s=round(num_taken / watched_s, 1),
            settled_mb=settled_mb,
            most_mb=most_mb,
            growth=round(most_mb / settled_mb, 4),
            asked_p50_ms=round(median(asked_s) * 1e3, 2),
            asked_max_ms=round(max(asked_s) * 1e3, 2),
            watched_s=round(watched_s, 1),
        )
    ]


def _watch(cluster: RemoteCluster, until_s: float, clock: Clock) -> tuple[list[list[float]], list[float]]:
    """Return what each process held, in MB, sample by sample, and how long each question took."""
    own = psutil.Process()
    processes = [own, *own.children(recursive=True)]
    samples: list[list[float]] = []
    asked_s: list[float] = []
    pause = threading.Event()
    while not samples or clock.monotonic_s() < until_s:
        before_s = clock.monotonic_s()
        cluster.node_states()
        asked_s.append(clock.monotonic_s() - before_s)
        samples.append([round(process.memory_info().rss / 1e6, 1) for process in processes])
        pause.wait(_SAMPLE_S)
    return samples, asked_s


def grown_most(samples: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return what the process that grew most held once SETTLED of the samples were taken, and the most after that.

    >>> grown_most([[10.0, 50.0], [30.0, 50.0], [30.0, 51.0], [33.0, 52.0]])
    (30.0, 33.0)
    """
    first = max(1, round(len(samples) * SETTLED)) if len(samples) > 1 else 0
    later = list(zip(*samples[first:], strict=True))
    return max(((held[0], max(held)) for held in later), key=lambda pair: pair[1] / pair[0])
