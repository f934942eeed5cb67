"""What a cluster takes that has nothing to do: processor time of all its processes, memory of each. Knows no flow."""

import threading

import psutil

from benchmarks.document import Result
from cluster.client.nodes_here import nodes_here
from sage.base.clock import Clock
from sage.base.errors import InternalError
from sage.base.settings import Settings

SETTLE_S = 2.0
WATCH_S = 10.0
_NUM_NODES = 2


class IdleResult(Result, frozen=True, kw_only=True):
    """`cpu_percent`: of one core, head and nodes together. `*_mb`: resident, the greatest of the nodes."""

    cpu_percent: float
    node_mb: float
    head_mb: float
    watched_s: float


def measure_idle(clock: Clock) -> list[IdleResult]:
    """Watch two nodes and their head for WATCH_S seconds; raises InternalError where one of them is missing."""
    with nodes_here(_NUM_NODES, settings=Settings()) as cluster:
        pids = {state.pid for state in cluster.node_states()}
        processes = psutil.Process().children(recursive=True)
        nodes = [process for process in processes if process.pid in pids]
        heads = [process for process in processes if {child.pid for child in process.children()} >= pids]
        if len(nodes) != _NUM_NODES or not heads:
            raise InternalError(f"of {len(processes)} processes {len(nodes)} are nodes")
        pause = threading.Event()
        pause.wait(SETTLE_S)
        began_s, before_s = clock.monotonic_s(), _cpu_s([*nodes, heads[-1]])
        pause.wait(WATCH_S)
        watched_s = clock.monotonic_s() - began_s
        used_s = _cpu_s([*nodes, heads[-1]]) - before_s
        memory = [process.memory_info().rss / 1e6 for process in (*nodes, heads[-1])]
    return [
        IdleResult(
            engine=f"{_NUM_NODES} nodes",
            workload="nothing to do",
            n=_NUM_NODES + 1,
            checked=True,
            simulated=False,
            cpu_percent=round(100 * used_s / watched_s, 2),
            node_mb=round(max(memory[:-1]), 1),
            head_mb=round(memory[-1], 1),
            watched_s=round(watched_s, 1),
        )
    ]


def _cpu_s(processes: list[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))
