"""The benchmark of placement: it checks what it times, and would notice a node that gives too much."""

import pytest

from benchmarks.placement import check, measure_placement, offers_of
from cluster.jobs.parts import Part
from cluster.jobs.placement import Placement
from cluster.jobs.room import Placed
from sage.base.clock import SystemClock
from sage.base.demand import Demand
from sage.base.errors import InternalError
from sage.base.ids import NodeId


def test_every_way_is_timed_with_few_many_and_only_different_demands() -> None:
    results = measure_placement(num_nodes=20, num_parts=100, num_rounds=1, seed=1, clock=SystemClock())
    assert len(results) == 9
    assert {(result.workload, result.n) for result in results} == {("spread", 100), ("pack", 100), ("a node lost", 100)}


@pytest.mark.parametrize("demand", [Demand(cpus=65), Demand(memory_bytes=1 << 40)])
def test_a_node_that_gives_too_much_is_noticed(demand: Demand) -> None:
    placement = Placement((Placed(Part("part", "part", demand), NodeId("node-0")),))
    with pytest.raises(InternalError, match="more than there is"):
        check(placement, 1, offers_of(1))


def test_a_part_that_is_forgotten_is_noticed() -> None:
    with pytest.raises(InternalError, match="forgets a part"):
        check(Placement(), 1, offers_of(1))
