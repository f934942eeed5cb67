"""W5: both forms come to the same, in order, and the ideal is what the calls take together."""

from dataclasses import dataclass

import pytest

from benchmarks.call_times import LATENCY_S, Latency
from benchmarks.calls import WaitingCalls, measure_calls, waiting_calls
from benchmarks.wanted import OURS, StreamEngine
from cluster.local import LocalCluster
from sage.base.clock import SystemClock
from sage.base.errors import InternalError


@pytest.mark.parametrize("latency", Latency)
def test_a_result_says_how_near_the_ideal_it_came(latency: Latency) -> None:
    calls = waiting_calls(200, latency, seed=1)
    with LocalCluster() as cluster:
        ours, plain = measure_calls(calls, OURS, cluster, num_rounds=1, clock=SystemClock())
    assert (ours.engine, ours.workload, ours.n, ours.checked) == ("sage", f"W5-{latency}", 200, True)
    assert 0 < ours.ratio_to_ideal <= 1
    assert (plain.engine, plain.ratio_to_python) == ("python", 1.0)


def test_the_ideal_has_64_calls_at_any_time() -> None:
    assert waiting_calls(6400, Latency.CONSTANT, seed=1).ideal_s == pytest.approx(1.0)
    drawn = waiting_calls(20_000, Latency.EXPONENTIAL, seed=1)
    assert drawn.ideal_s == pytest.approx(20_000 * LATENCY_S / 64, rel=0.05)
    assert drawn.lasts_s == waiting_calls(20_000, Latency.EXPONENTIAL, seed=1).lasts_s


@dataclass(frozen=True, slots=True)
class Wrong(WaitingCalls):
    async def call(self, number: int) -> int:
        return number


def test_no_figure_is_given_for_a_wrong_outcome() -> None:
    wrong = Wrong([0.0] * 10, Latency.CONSTANT)
    with LocalCluster() as cluster, pytest.raises(InternalError, match="W5-constant on python came to a wrong result"):
        measure_calls(wrong, (StreamEngine.SAGE,), cluster, num_rounds=1, clock=SystemClock())
