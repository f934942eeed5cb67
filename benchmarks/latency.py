"""How long one record takes from its source to its end, at a rate that leaves everything time. Knows no terminal.

A record is the time at which its source gave it; its age is taken by the function that ends the stream. Both read the
one monotonic clock of the machine, also where they are in two processes.
"""

import os
from dataclasses import dataclass
from statistics import quantiles
from threading import Event
from time import perf_counter

import sage
from benchmarks.document import Result
from cluster.client.nodes_here import nodes_here
from cluster.local import LocalCluster
from sage.base.errors import InternalError
from sage.base.settings import Settings
from sage.flow.ends import Collected
from sage.flow.runner import Cluster

_WAIT_S = 300.0
_SPIN_S = 0.0002

Stamp = tuple[int, float, int]
"""Number of a record, when it was given, and in which process."""

Ages = tuple[list[float], int, int]
"""The ages of all records in order, and the processes of source and end."""


class LatencyResult(Result, frozen=True, kw_only=True):
    """Of `n` records, the first of each run left out: code is loaded then."""

    records_per_s: float
    p50_us: float
    p99_us: float
    max_us: float


@dataclass(frozen=True, slots=True)
class Paced:
    """A source of `num_records` stamps, one every `every_s` seconds."""

    num_records: int
    every_s: float

    def open(self) -> "_PacedReader":
        return _PacedReader(self)


class _PacedReader:
    def __init__(self, paced: Paced) -> None:
        self._paced = paced
        self._number = 0
        self._due_s = 0.0
        self._pause = Event()

    def read(self, max_records: int) -> list[Stamp] | None:
        """Wait until shortly before the next record is due, then watch the clock."""
        if self._number > self._paced.num_records:
            return None
        self._due_s = max(self._due_s + self._paced.every_s, perf_counter())
        self._pause.wait(max(0.0, self._due_s - perf_counter() - _SPIN_S))
        while perf_counter() < self._due_s:
            pass
        self._number += 1
        return [(self._number, perf_counter(), os.getpid())]

    def close(self) -> None:
        pass


class Arrivals:
    """Ends a stream of stamps: gives None for each but the last, and all ages for that. Travels empty."""

    def __init__(self, num_records: int) -> None:
        self._num_records = num_records
        self._ages: list[float] = []

    def __reduce__(self) -> tuple[type["Arrivals"], tuple[int]]:
        return Arrivals, (self._num_records,)

    def __call__(self, stamp: Stamp) -> Ages | None:
        age_s = perf_counter() - stamp[1]
        if stamp[0] != len(self._ages) + 1:
            raise InternalError(f"record {stamp[0]} came as number {len(self._ages) + 1}")
        self._ages.append(age_s)
        return (self._ages, stamp[2], os.getpid()) if stamp[0] > self._num_records else None


def is_given(found: object) -> bool:
    return found is not None


def same(stamp: Stamp) -> Stamp:
    return stamp


def process_of(stamp: Stamp) -> int:
    return stamp[2]


def fused(num_records: int, every_s: float) -> tuple[sage.Flow, Collected[Ages | None]]:
    """Return a flow of which all runs as one task."""
    flow = sage.Flow("latency-fused")
    stamps = flow.from_source(Paced(num_records, every_s)).map(same).filter(is_given)
    return flow, stamps.map(Arrivals(num_records)).filter(is_given).collect()


def exchanged(num_records: int, every_s: float) -> tuple[sage.Flow, Collected[Ages | None]]:
    """Return a flow whose records go by key to another task, on a thread of its own."""
    flow = sage.Flow("latency-exchanged")
    stamps = flow.from_source(Paced(num_records, every_s)).map(same)
    mapped = stamps.key_by(process_of).reduce(_newer).with_parallelism(2)
    return flow, mapped.map(_second).map(Arrivals(num_records)).filter(is_given).collect()


def _newer(_: Stamp, new: Stamp) -> Stamp:
    return new


def _second(pair: tuple[int, Stamp]) -> Stamp:
    return pair[1]


def across(num_records: int, every_s: float, num_cpus: float) -> tuple[sage.Flow, Collected[Ages | None]]:
    """Return a flow whose source is on one of two nodes of `num_cpus` each, and its end on the other."""
    flow = sage.Flow("latency-across")
    stamps = flow.from_source(Paced(num_records, every_s)).with_resources(cpus=0.6 * num_cpus)
    ended = stamps.map(Arrivals(num_records)).with_resources(cpus=0.8 * num_cpus)
    return flow, ended.filter(is_given).collect()


def measure_latency(num_records: int, records_per_s: float) -> list[LatencyResult]:
    """Return latencies within a process and across two; raises InternalError where records are lost or out of order."""
    every_s = 1 / records_per_s
    with LocalCluster(settings=Settings()) as here:
        inside = _ages(here, *fused(num_records, every_s), num_records)
        hop = _ages(here, *exchanged(num_records, every_s), num_records)
    with nodes_here(2) as two:
        beyond = _ages(two, *across(num_records, every_s, two.nodes()[0].total.cpus), num_records)
    if inside[1] != inside[2] or hop[1] != hop[2] or beyond[1] == beyond[2]:
        raise InternalError("the ends of a flow are not in the processes in which they are to be")
    found = {"in process": inside, "in process, by key": hop, "across processes": beyond}
    return [_result(name, ages, records_per_s) for name, (ages, _, _) in found.items()]


def _ages(cluster: Cluster, flow: sage.Flow, ended: Collected[Ages | None], num_records: int) -> Ages:
    cluster.submit(flow).wait(_WAIT_S)
    (found,) = ended.items
    if found is None or len(found[0]) != num_records + 1:
        raise InternalError(f"of {num_records + 1} records not all came")
    return found


def _result(workload: str, ages_s: list[float], records_per_s: float) -> LatencyResult:
    counted = ages_s[1:]
    centiles = quantiles(counted, n=100, method="inclusive")
    return LatencyResult(
        engine="sage",
        workload=workload,
        n=len(counted),
        checked=True,
        simulated=False,
        records_per_s=records_per_s,
        p50_us=round(centiles[49] * 1e6, 1),
        p99_us=round(centiles[98] * 1e6, 1),
        max_us=round(max(counted) * 1e6, 1),
    )
