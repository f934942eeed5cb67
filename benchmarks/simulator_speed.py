"""How fast the simulator is: a trace at its own pace, by as many engines as are wanted. Knows nothing of options."""

import time

from benchmarks.document import Result
from benchmarks.simulator.arrival import Trace
from benchmarks.simulator.run import Setup, replay
from cluster.serving.engines.cost import H100

TRACE = "mooncake-conversation"


class SimulatorResult(Result, frozen=True, kw_only=True):
    """One replay of `n` requests. `times_real_time`: virtual seconds a second of processor time, the plane's and the
    simulated engines' together; `us_per_event`: of that, for each event that the plane handled."""

    trace: str
    policy: str
    route: str
    engines: int
    virtual_s: float
    times_real_time: float
    num_events: int
    us_per_event: float


def measure_simulator(trace: Trace, num_engines: int, policy: str = "hybrid", route: str = "auto") -> SimulatorResult:
    """Time one replay of a trace as fast as it was recorded. Raises UnknownPolicy."""
    setup = Setup(policy, route, "deadline", num_engines, H100, prompts="adaptive")
    began_s = time.process_time()
    run = replay(trace, setup)
    took_s = time.process_time() - began_s
    return SimulatorResult(
        engine="simulated h100",
        workload="simulator",
        n=len(run.outcomes),
        checked=True,
        simulated=True,
        trace=trace.name,
        policy=run.policy,
        route=run.route,
        engines=num_engines,
        virtual_s=round(run.duration_s, 1),
        times_real_time=round(run.duration_s / took_s, 1),
        num_events=run.num_decisions,
        us_per_event=round(1e6 * took_s / run.num_decisions, 1),
    )
