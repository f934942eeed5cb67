"""How long one record takes from its source to its end, at a rate that leaves everything time. Knows no terminal.

A record is the time at which its source gave it; its age is taken by the function that ends the stream. Both read the
one monotonic clock of the machine, also where they are in two processes.
"""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from statistics import median, quantiles
from time import perf_counter

import sage
from benchmarks.document import Result
from benchmarks.latency_wanted import LatencyWanted
from benchmarks.measure import Prepare, Run, in_turns
from benchmarks.pace import SteadyPace
from benchmarks.rivals.beside import RivalsBeside
from benchmarks.rivals.environment import Say
from cluster.client.nodes_here import nodes_here
from cluster.local import LocalCluster
from sage.base.clock import Clock
from sage.base.errors import InternalError
from sage.base.settings import Settings
from sage.flow.ends import Collected
from sage.flow.runner import Cluster

_WAIT_S = 300.0

INSIDE, BY_KEY, ACROSS = "in process", "in process, by key", "across processes"
PLACES = {"bytewax": INSIDE, "zmq": ACROSS, "multiprocessing": ACROSS}

Stamp = tuple[int, float, int]
"""Number of a record, when it was given, and in which process."""

Ages = tuple[list[float], int, int]
"""The ages of all records in order, and the processes of source and end."""


class LatencyResult(Result, frozen=True, kw_only=True):
    """Of `n` records, the first of each run left out: code is loaded then. `limit_p50_us` is that of the plain loop in
    the same run, and across processes that of bare sockets of ZeroMQ, where they were asked for. `ratio_to_limit` is
    1 for the limit itself, and less for whoever takes longer."""

    records_per_s: float
    p50_us: float
    p99_us: float
    max_us: float
    limit_p50_us: float | None = None
    ratio_to_limit: float | None = None


@dataclass(frozen=True, slots=True)
class Paced:
    """A source of `num_records` stamps, one every `every_s` seconds."""

    num_records: int
    every_s: float

    def open(self) -> "_PacedReader":
        return _PacedReader(self)


class _PacedReader:
    def __init__(self, paced: Paced) -> None:
        self._num_left = paced.num_records + 1
        self._number = 0
        self._pace = SteadyPace(paced.every_s)

    def read(self, max_records: int) -> list[Stamp] | None:
        if self._number == self._num_left:
            return None
        given_s = self._pace.wait()
        self._number += 1
        return [(self._number, given_s, os.getpid())]

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


# Measured.


def plain(num_records: int, every_s: float) -> Ages:
    """Return what a loop comes to that calls the functions of `fused`."""
    reader, arrivals = Paced(num_records, every_s).open(), Arrivals(num_records)
    ages: Ages | None = None
    while (stamps := reader.read(1)) is not None:
        for stamp in stamps:
            given = same(stamp)
            if is_given(given):
                ages = arrivals(given)
    assert ages is not None
    return ages


def measure_latency(wanted: LatencyWanted, clock: Clock, say: Say) -> list[LatencyResult]:
    """Return latencies within a process and across two, of ours, of limits and of rivals, all in turns; `say` is told
    which rivals cannot. Raises InternalError where records are lost or out of order."""
    num_records, every_s = wanted.num_records, 1 / wanted.records_per_s
    rivals = RivalsBeside(wanted.rivals, num_records, 0, 1, clock, say, every_s=every_s)
    ages_s: dict[str, list[float]] = {}

    def is_right(outcome: object) -> bool:
        """Of a rival: the ages of all records, which it gave in order."""
        return isinstance(outcome, list) and len(outcome) == num_records + 1 and min(outcome) > 0.0

    def check(way: str, outcome: object) -> None:
        ages_s.setdefault(way, []).extend(ages_of(way, outcome, num_records)[1:])

    with LocalCluster(settings=Settings()) as here, nodes_here(2) as two, ExitStack() as stack:
        num_cpus = two.nodes()[0].total.cpus
        ways: dict[str, Prepare] = {
            f"python {INSIDE}": lambda: lambda: plain(num_records, every_s),
            f"sage {INSIDE}": lambda: _run_on(here, *fused(num_records, every_s)),
            f"sage {BY_KEY}": lambda: _run_on(here, *exchanged(num_records, every_s)),
            f"sage {ACROSS}": lambda: _run_on(two, *across(num_records, every_s, num_cpus)),
        }
        for place, workload in ((INSIDE, "latency"), (ACROSS, "latency-across")):
            beside = replace(rivals, engines=tuple(name for name in wanted.rivals if PLACES[name] == place))
            others = stack.enter_context(beside.ready(workload, is_right))
            ways |= {f"{name} {place}": way for name, way in others.items()}
        in_turns(ways, num_rounds=wanted.num_rounds, clock=clock, check=check)
    limits = {INSIDE: ages_s[f"python {INSIDE}"], ACROSS: ages_s.get(f"zmq {ACROSS}")}
    return [result_of(way, ages, limits, wanted.records_per_s) for way, ages in ages_s.items()]


def _run_on(cluster: Cluster, flow: sage.Flow, ended: Collected[Ages | None]) -> Run:
    def run() -> object:
        cluster.submit(flow).wait(_WAIT_S)
        return ended.items[0] if len(ended.items) == 1 else None

    return run


def ages_of(way: str, outcome: object, num_records: int) -> list[float]:
    """Return the ages of all records; raises InternalError."""
    if isinstance(outcome, list):
        if len(outcome) != num_records + 1:
            raise InternalError(f"{way}: of {num_records + 1:,} records {len(outcome):,} came")
        return outcome
    if not isinstance(outcome, tuple) or len(outcome[0]) != num_records + 1:
        raise InternalError(f"{way}: of {num_records + 1} records not all came")
    ages_s, source, end = outcome
    if (source != end) != way.endswith(ACROSS):
        raise InternalError(f"{way}: the ends of the flow are not in the processes in which they are to be")
    return list(ages_s)


def result_of(
    way: str, ages_s: list[float], limits: Mapping[str, list[float] | None], records_per_s: float
) -> LatencyResult:
    engine, _, place = way.partition(" ")
    found = quantiles(ages_s, n=100, method="inclusive")
    limit = limits.get(place)
    return LatencyResult(
        engine=engine,
        workload=place,
        n=len(ages_s),
        checked=True,
        simulated=False,
        records_per_s=records_per_s,
        p50_us=round(found[49] * 1e6, 1),
        p99_us=round(found[98] * 1e6, 1),
        max_us=round(max(ages_s) * 1e6, 1),
        limit_p50_us=round(median(limit) * 1e6, 1) if limit is not None else None,
        ratio_to_limit=round(median(limit) / found[49], 4) if limit is not None else None,
    )
