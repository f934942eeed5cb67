"""What tenants got, against a fluid shared fairly; and what a noisy tenant costs a quiet one, in virtual time."""

import pytest

from benchmarks.policies import full_load_s, quiet_p99_ratio
from benchmarks.simulator.arrival import Arrival, Trace
from benchmarks.simulator.fairness import jain_index, max_min, shares_of
from benchmarks.simulator.outcome import Outcome
from benchmarks.simulator.run import Replayed, Setup, replay
from benchmarks.simulator.traces import load_trace
from cluster.serving.engines.cost import H100


def ended(tenant: str, why: str | None = None) -> Outcome:
    return Outcome(Arrival(0.0, 10, 10, tenant=tenant), first_s=1.0, end_s=1.0, why=why)


def jain_of(outcomes: list[Outcome]) -> float:
    return jain_index(list(shares_of(outcomes).values()))


def test_jain_is_one_where_all_tenants_get_the_same_share() -> None:
    assert jain_of([ended("a"), ended("b"), ended("b")]) == 1.0
    assert jain_of([ended("a"), ended("b", "SAGE-2201")]) == 0.5


def test_who_asks_for_little_gets_all_of_it_and_the_rest_is_dealt_out_alike() -> None:
    assert max_min(10.0, {"a": 2.0, "b": 20.0, "c": 5.0}) == {"a": 2.0, "c": 4.0, "b": 4.0}
    assert max_min(100.0, {"a": 2.0, "b": 20.0}) == {"a": 2.0, "b": 20.0}


def test_a_tenant_that_waits_while_another_is_served_got_less_than_its_share() -> None:
    served = [
        Outcome(Arrival(n / 10, 100, 1, tenant="noisy"), first_s=n / 10 + 0.1, end_s=n / 10 + 0.2) for n in range(100)
    ]
    late = [Outcome(Arrival(0.0, 100, 1, tenant="quiet"), first_s=20.0, end_s=21.0) for _ in range(40)]
    shares = shares_of([*served, *late])
    assert shares["quiet"] == 0.0
    assert shares["noisy"] > 1.5


@pytest.fixture(scope="module")
def overload() -> Trace:
    trace = load_trace("two-tenants", limit=1_500, seed=7)
    return trace.lasting(full_load_s(trace, 2, H100) / 2.0)


def fared(trace: Trace, policy: str) -> tuple[Replayed, float]:
    setup = Setup(policy, "least_work", "none", 2, H100, prompts="adaptive")
    run = replay(trace, setup)
    ratio = quiet_p99_ratio(trace, run, setup)
    assert ratio is not None
    return run, ratio


@pytest.mark.parametrize("policy", ["dlpm", "hybrid"])
def test_a_noisy_tenant_costs_a_quiet_one_little_where_tenants_are_served_alike(overload: Trace, policy: str) -> None:
    run, ratio = fared(overload, policy)
    shares = shares_of(run.outcomes)
    assert jain_index(list(shares.values())) >= 0.98
    assert min(shares.values()) >= 0.9
    assert ratio <= 4.0


def test_a_noisy_tenant_costs_a_quiet_one_dear_where_who_comes_first_is_served_first(overload: Trace) -> None:
    run, ratio = fared(overload, "fifo")
    assert min(shares_of(run.outcomes).values()) < 0.9
    assert ratio > 10.0
