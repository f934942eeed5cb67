"""Where engines go: apart from their replicas, near those who ask them, onto nodes that can host them."""

import pytest

from cluster.jobs.explain import explain
from cluster.jobs.parts import Part
from cluster.jobs.placement import Strategy, place
from sage.base.demand import Demand
from sage.base.errors import NoRoom
from sage.base.offer import NodeOffer
from tests.unit.jobs.test_placement import A, B, C, gpu, nodes_of, parts


def engines(demand: Demand = Demand(), num: int = 1, model: str = "m", needs: tuple[str, ...] = ()) -> list[Part]:
    return [Part(f"engine {model}-{i}", f"engine {model}-{i}", demand, (), (model,), engine=needs) for i in range(num)]


def test_a_mig_slice_is_given_alone_and_never_with_another_device() -> None:
    slices = tuple(gpu(f"0:{i}", memory_bytes=10, is_slice=True) for i in range(2))
    assert len(place(engines(Demand(gpus=1), 2), {A: NodeOffer(gpus=slices)}).placed) == 2
    with pytest.raises(NoRoom, match="asks for 2 GPUs: a has 2 of 2 GPUs free for that, but not together"):
        place(engines(Demand(gpus=2)), {A: NodeOffer(gpus=slices)})


def test_a_task_gets_a_mig_slice_only_where_its_nodes_process_sees_that_slice_alone() -> None:
    slices = tuple(gpu(f"0:{i}", memory_bytes=10, is_slice=True) for i in range(2))
    with pytest.raises(NoRoom, match="2 MIG slices are for engines alone"):
        place(parts(Demand(gpus=1)), {A: NodeOffer(gpus=slices)})
    one_each = {A: NodeOffer(gpus=slices[:1]), B: NodeOffer(gpus=slices[1:])}
    assert nodes_of(place(parts(Demand(gpus=1), 2), one_each)) == [A, B]


def test_replicas_of_an_engine_are_spread_over_nodes_and_packed_where_that_is_wanted() -> None:
    offers = {A: NodeOffer(cpus=8), B: NodeOffer(cpus=4), C: NodeOffer(cpus=2)}
    assert sorted(nodes_of(place(engines(num=3), offers))) == [A, B, C]
    assert len(set(nodes_of(place(engines(num=2), offers, strategy=Strategy.PACK)))) == 1


def test_an_engine_goes_where_most_parts_ask_it() -> None:
    offers = {A: NodeOffer(cpus=8), B: NodeOffer(cpus=8)}
    asking = Part("work", "work", Demand(cpus=4), asks=("m",))
    held = place([asking], {B: offers[B]}).placed
    placement = place(engines(), offers, taken=held)
    assert nodes_of(placement) == [B]
    assert "near 1 that ask it" in explain(placement)[0]


def test_steps_go_to_the_node_of_their_engine_while_there_is_room() -> None:
    offers = {A: NodeOffer(cpus=8), B: NodeOffer(cpus=2)}
    held = place(engines(), {B: offers[B]}).placed
    asking = [Part(f"work/{i}", f"work {i}", Demand(cpus=1), asks=("m",)) for i in range(3)]
    assert nodes_of(place(asking, offers, taken=held)) == [B, B, A]


def test_a_node_without_packages_or_files_of_an_engine_is_told_by_name() -> None:
    offers = {A: NodeOffer(engines=("simulated",)), B: NodeOffer(engines=("openvino", "simulated"))}
    needs = ("openvino", "openvino:smollm2")
    with pytest.raises(
        NoRoom, match=r"the packages of openvino engines .*sage models pull smollm2.*; b has not the fil"
    ):
        place(engines(needs=needs), offers)
    offers[B] = NodeOffer(engines=("openvino", "openvino:smollm2"))
    assert nodes_of(place(engines(needs=needs), offers)) == [B]
