"""`sage-benchmark stream`: records a second of flows on the embedded runtime, against the plain loop in the same run.

Knows workloads only by their protocol.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from operator import eq
from statistics import median

from benchmarks.document import Result
from benchmarks.measure import Prepare, Run, in_turns, median_ratio
from benchmarks.rivals.beside import RivalsBeside
from benchmarks.wanted import BATCHED, StreamEngine
from benchmarks.workloads import Workload
from sage.base.clock import Clock
from sage.base.errors import InternalError
from sage.flow.runner import Cluster

RUN_TIMEOUT_S = 300.0


class StreamResult(Result, frozen=True, kw_only=True):
    """`records_per_s` is n over the median time; `ratio_to_python` the median over rounds, 1 for the loop itself.

    `data` names the input; `batch_records` is how many records travel together (absent for the loop, and
    for rivals that decide it themselves).
    """

    data: str
    records_per_s: float
    ratio_to_python: float
    seconds_median: float
    seconds_min: float
    num_rounds: int
    batch_records: int | None = None


def measure_stream(
    workload: Workload,
    engines: Sequence[StreamEngine],
    cluster: Cluster,
    *,
    batch_records: int,
    num_rounds: int,
    clock: Clock,
    rivals: RivalsBeside | None = None,
) -> list[StreamResult]:
    """Return a result an engine; the plain loop runs in any case, as what the others are compared with. Those of
    `rivals` that cannot compute the workload have none.

    Raises InternalError where an outcome is not the oracle's: no figure is given for a wrong answer.
    """
    is_right = partial(eq, workload.expected())

    def check(way: str, outcome: object) -> None:
        if not is_right(outcome):
            raise InternalError(f"{workload.name} on {way} came to a wrong result", "Please report it.")

    ways: dict[str, Prepare] = {StreamEngine.PYTHON: lambda: workload.plain}
    if StreamEngine.SAGE in engines:
        ways[StreamEngine.SAGE] = lambda: _run_on(cluster, workload)
    with ExitStack() as stack:
        others = {} if rivals is None else stack.enter_context(rivals.ready(workload.name, is_right))
        seconds = in_turns({**ways, **others}, num_rounds=num_rounds, clock=clock, check=check)
    return [
        StreamResult(
            engine=engine,
            workload=workload.name,
            n=workload.num_records,
            checked=True,
            simulated=False,
            data=workload.data,
            records_per_s=round(workload.num_records / median(seconds[engine]), 1),
            ratio_to_python=round(median_ratio(seconds[StreamEngine.PYTHON], seconds[engine]), 4),
            seconds_median=round(median(seconds[engine]), 6),
            seconds_min=round(min(seconds[engine]), 6),
            num_rounds=num_rounds,
            batch_records=batch_records if engine in BATCHED else None,
        )
        for engine in (*engines, *others)
    ]


def _run_on(cluster: Cluster, workload: Workload) -> Run:
    flow, outcome = workload.flow()

    def run() -> object:
        cluster.submit(flow.graph()).wait(RUN_TIMEOUT_S)
        return outcome()

    return run
