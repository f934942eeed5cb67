"""W5: `sage-benchmark stream --workload W5`: calls of about 10 ms, 64 at a time and in order, against the ideal.

Knows nothing of how calls are run.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from operator import eq
from statistics import median

import sage
from benchmarks.call_times import NUM_IN_FLIGHT, Latency, call_times
from benchmarks.document import Result
from benchmarks.measure import Prepare, Run, in_turns, median_ratio
from benchmarks.rivals.beside import RivalsBeside
from benchmarks.streams import RUN_TIMEOUT_S
from benchmarks.wanted import StreamEngine
from sage.base.clock import Clock
from sage.base.errors import InternalError
from sage.flow.runner import Cluster


class CallsResult(Result, frozen=True, kw_only=True):
    """`ratio_to_ideal` is the time that all calls take together, divided by 64, over the median of the time taken.

    The engine `python` is 64 workers in one event loop, each with the next call as soon as its last one has ended: all
    that an event loop of this machine reaches, in this run. `ratio_to_python` is the median over the rounds.
    """

    latency: Latency
    records_per_s: float
    ratio_to_ideal: float
    ratio_to_python: float
    seconds_median: float
    seconds_min: float
    num_rounds: int
    num_in_flight: int = NUM_IN_FLIGHT


@dataclass(frozen=True, slots=True)
class WaitingCalls:
    """`lasts_s[i]` is how long the call for record i takes."""

    lasts_s: Sequence[float]
    latency: Latency

    @property
    def name(self) -> str:
        return f"W5-{self.latency}"

    @property
    def ideal_s(self) -> float:
        return sum(self.lasts_s) / NUM_IN_FLIGHT

    async def call(self, number: int) -> int:
        loop = asyncio.get_running_loop()
        answered = loop.create_future()
        loop.call_later(self.lasts_s[number], answered.set_result, 2 * number)
        result: int = await answered
        return result

    def plain(self) -> list[int]:
        results = [0] * len(self.lasts_s)

        async def work(numbers: Iterator[int]) -> None:
            for number in numbers:
                results[number] = await self.call(number)

        async def main() -> None:
            numbers = iter(range(len(results)))
            await asyncio.gather(*(work(numbers) for _ in range(NUM_IN_FLIGHT)))

        asyncio.run(main())
        return results

    def run_on(self, cluster: Cluster) -> Run:
        flow = sage.Flow(f"w5-{self.latency}")
        called = flow.from_collection(range(len(self.lasts_s))).map_async(self.call, max_in_flight=NUM_IN_FLIGHT)
        taken = called.collect()

        def run() -> object:
            cluster.submit(flow.graph()).wait(RUN_TIMEOUT_S)
            return taken.items

        return run


def waiting_calls(num_records: int, latency: Latency, *, seed: int) -> WaitingCalls:
    """Return calls of 10 ms, or of 10 ms on the average."""
    return WaitingCalls(call_times(num_records, latency, seed=seed), latency)


def measure_calls(
    calls: WaitingCalls,
    engines: Sequence[StreamEngine],
    cluster: Cluster,
    *,
    num_rounds: int,
    clock: Clock,
    rivals: RivalsBeside | None = None,
) -> list[CallsResult]:
    """Return a result an engine, and one each of `rivals` that can; the plain event loop runs in any case. Raises
    InternalError at a wrong outcome."""
    is_right = partial(eq, list(range(0, 2 * len(calls.lasts_s), 2)))

    def check(way: str, outcome: object) -> None:
        if not is_right(outcome):
            raise InternalError(f"{calls.name} on {way} came to a wrong result", "Please report it.")

    ways: dict[str, Prepare] = {StreamEngine.PYTHON: lambda: calls.plain}
    if StreamEngine.SAGE in engines:
        ways[StreamEngine.SAGE] = lambda: calls.run_on(cluster)
    with ExitStack() as stack:
        others = {} if rivals is None else stack.enter_context(rivals.ready(calls.name, is_right))
        seconds = in_turns({**ways, **others}, num_rounds=num_rounds, clock=clock, check=check)
    plain_s = seconds[StreamEngine.PYTHON]
    return [_result(calls, engine, seconds[engine], plain_s) for engine in (*engines, *others)]


def _result(calls: WaitingCalls, engine: str, own_s: Sequence[float], plain_s: Sequence[float]) -> CallsResult:
    num = len(calls.lasts_s)
    return CallsResult(
        engine=engine,
        workload=calls.name,
        n=num,
        checked=True,
        simulated=False,
        latency=calls.latency,
        records_per_s=round(num / median(own_s), 1),
        ratio_to_ideal=round(calls.ideal_s / median(own_s), 4),
        ratio_to_python=round(median_ratio(plain_s, own_s), 4),
        seconds_median=round(median(own_s), 6),
        seconds_min=round(min(own_s), 6),
        num_rounds=len(own_s),
    )
