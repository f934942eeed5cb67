"""Placement: never more on a node than it has, always the same answer, little moved, and a reason for everything."""

from collections.abc import Mapping
from dataclasses import replace as replaced

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.jobs.explain import explain
from cluster.jobs.gpus import WHOLE, millionths
from cluster.jobs.parts import Part
from cluster.jobs.placement import Placement, Strategy, place, replace, rooms_of
from sage.base.demand import Demand, Labels
from sage.base.errors import NoRoom
from sage.base.ids import NodeId
from sage.base.offer import Gpu, NodeOffer

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")


def parts(demand: Demand, num: int = 1, name: str = "work") -> list[Part]:
    return [Part(f"{name}/{i}", f"{name} {i}", demand) for i in range(num)]


def gpu(name: str, *, type: str = "NVIDIA A100", memory_bytes: int = 100, is_slice: bool = False) -> Gpu:
    return Gpu(f"GPU-{name}", name, type, memory_bytes, is_slice)


def nodes_of(placement: Placement) -> list[str]:
    return [placed.node_id for placed in placement.placed]


DEMANDS = st.builds(
    Demand,
    cpus=st.sampled_from([0.0, 0.1, 0.3, 1.0, 2.5]),
    gpus=st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.0, 1.5, 2.0]),
    memory_bytes=st.integers(0, 100),
    gpu_memory_bytes=st.sampled_from([0, 0, 10, 60]),
    gpu_type=st.sampled_from(["", "", "a100"]),
    labels=st.sampled_from([(), (), (), (("zone", "x"),)]),
)
PARTS = st.lists(
    st.tuples(
        DEMANDS,
        st.sampled_from([{}, {}, {"asks": ("m",)}, {"serves": ("m",)}, {"serves": ("m",), "engine": ("openvino",)}]),
        st.sampled_from(["", "", "g"]),
        st.integers(1, 3),
    ),
    max_size=6,
).map(
    lambda drawn: [
        Part(f"{at}/{i}", f"part {at}/{i}", demand, apart=apart, **models)
        for at, (demand, models, apart, num) in enumerate(drawn)
        for i in range(num)
    ]
)
TYPES = st.sampled_from(["NVIDIA A100", "NVIDIA H100"])
GPUS = st.lists(
    st.tuples(TYPES, st.sampled_from([40, 80]), st.booleans(), st.booleans(), st.sampled_from([0, 0, 3, 30])),
    max_size=3,
)


def offer(
    cpus: float,
    memory_bytes: int,
    drawn: list[tuple[str, int, bool, bool, int]],
    labels: Labels,
    engines: tuple[str, ...],
) -> NodeOffer:
    gpus = [
        Gpu(f"GPU-{at}", str(at), type, memory, is_slice, "XID 79" if is_broken else "", held)
        for at, (type, memory, is_slice, is_broken, held) in enumerate(drawn)
    ]
    return NodeOffer(cpus, memory_bytes, tuple(gpus), labels, engines)


OFFERS = st.lists(
    st.builds(
        offer,
        st.floats(0, 8),
        st.integers(0, 300),
        GPUS,
        st.sampled_from([(), (("zone", "x"),)]),
        st.sampled_from([("simulated",), ("openvino", "simulated")]),
    ),
    min_size=1,
    max_size=4,
).map(lambda offers: {NodeId(f"node-{at}"): offer for at, offer in enumerate(offers)})
STRATEGIES = st.sampled_from(Strategy)


def check(placement: Placement, parts: list[Part], offers: Mapping[NodeId, NodeOffer]) -> None:
    """Add up, without the code under test, what every node and device gives, and compare with what it has."""
    assert [placed.part for placed in placement.placed] == parts
    for node_id, offer in offers.items():
        here = [placed for placed in placement.placed if placed.node_id == node_id]
        assert sum(millionths(placed.part.demand.cpus) for placed in here) <= millionths(offer.cpus)
        assert sum(placed.part.demand.memory_bytes for placed in here) <= offer.memory_bytes
        assert all(set(placed.part.demand.labels) <= set(offer.labels) for placed in here)
        assert all(set(placed.part.engine) <= set(offer.engines) for placed in here)
        groups = [placed.part.apart for placed in here if placed.part.apart]
        assert len(groups) == len(set(groups))
        for device in offer.gpus:
            shares = [share for placed in here for share in placed.gpus if share.gpu_id == device.id]
            assert not (shares and device.fault)
            assert sum(share.share for share in shares) <= WHOLE
            assert sum(share.memory_bytes for share in shares) <= device.memory_bytes - device.held_bytes
    for placed in placement.placed:
        demand, devices = placed.part.demand, {gpu.id: gpu for gpu in offers[placed.node_id].gpus}
        taken = [devices[share.gpu_id] for share in placed.gpus]
        assert len(set(taken)) == len(placed.gpus)
        assert bool(placed.gpus) == demand.takes_gpu
        assert sum(share.share for share in placed.gpus) == millionths(demand.gpus)
        assert all(share.memory_bytes >= demand.gpu_memory_bytes for share in placed.gpus)
        assert all(demand.gpu_type.casefold() in device.type.casefold() for device in taken)
        assert len(taken) < 2 or not any(device.is_slice for device in taken)
        assert placed.part.serves or len(devices) == 1 or not any(device.is_slice for device in taken)


def outcome(wanted: list[Part], offers: dict[NodeId, NodeOffer], strategy: Strategy) -> Placement | str:
    """Return the placement, or what the refusal says."""
    try:
        return place(wanted, offers, strategy=strategy)
    except NoRoom as refusal:
        return refusal.what


@given(PARTS, OFFERS, STRATEGIES)
def test_no_node_and_no_gpu_is_given_more_than_it_has_and_the_answer_is_always_the_same(
    wanted: list[Part], offers: dict[NodeId, NodeOffer], strategy: Strategy
) -> None:
    first, again = (outcome(wanted, offers, strategy) for _ in range(2))
    if isinstance(first, str) or isinstance(again, str):
        assert first == again
        return
    check(first, wanted, offers)
    assert again == first
    assert explain(again) == explain(first)
    assert len(explain(first)) == len(wanted)


@given(PARTS, PARTS, OFFERS, STRATEGIES)
def test_what_others_hold_is_not_given_away(
    first: list[Part], second: list[Part], offers: dict[NodeId, NodeOffer], strategy: Strategy
) -> None:
    later = [replaced(part, id=f"later/{part.id}") for part in second]
    try:
        held = place(first, offers, strategy=strategy)
        placement = place(later, offers, taken=held.placed, strategy=strategy)
    except NoRoom:
        return
    check(Placement((*held.placed, *placement.placed)), [*first, *later], offers)


@given(PARTS, PARTS, OFFERS, STRATEGIES, st.data())
def test_a_change_moves_nothing_that_still_fits_where_it_was(
    kept: list[Part], added: list[Part], offers: dict[NodeId, NodeOffer], strategy: Strategy, data: st.DataObject
) -> None:
    """Parts are added and ended, and a node is lost: if the rest can stay while the new find room, it does."""
    new = [replaced(part, id=f"new/{part.id}") for part in added]
    try:
        before = place(kept, offers, strategy=strategy)
    except NoRoom:
        return
    lost = data.draw(st.sampled_from([None, *offers]))
    left = {node_id: offer for node_id, offer in offers.items() if node_id != lost}
    still = [part for part in kept if data.draw(st.booleans())]
    at = before.nodes()
    stayed = [placed for placed in before.placed if placed.part in still and placed.node_id != lost]
    homeless = [part for part in still if at[part.id] == lost]
    try:
        after = replace(before, [*still, *new], left, strategy=strategy)
    except NoRoom:
        with pytest.raises(NoRoom):
            place([*still, *new], left, strategy=strategy)
        return
    check(after, [*still, *new], left)
    try:
        place([*homeless, *new], left, taken=stayed, strategy=strategy)
    except NoRoom:
        return
    assert [placed for placed in after.placed if placed in stayed] == stayed


@given(PARTS, OFFERS, STRATEGIES)
def test_nothing_moves_where_nothing_changed(
    wanted: list[Part], offers: dict[NodeId, NodeOffer], strategy: Strategy
) -> None:
    try:
        placement = place(wanted, offers, strategy=strategy)
    except NoRoom:
        return
    assert replace(placement, wanted, offers, strategy=strategy) == placement


def test_a_tenth_of_a_cpu_is_taken_three_times_from_three_tenths() -> None:
    assert len(place(parts(Demand(cpus=0.1), 3), {A: NodeOffer(0.3)}).placed) == 3
    (room,) = rooms_of({A: NodeOffer(0.3)}, place(parts(Demand(cpus=0.1), 3), {A: NodeOffer(0.3)}).placed)
    assert room.free.cpus == 0
    with pytest.raises(NoRoom):
        place(parts(Demand(cpus=0.1), 4), {A: NodeOffer(0.3)})


def test_parts_that_ask_for_nothing_are_spread_by_the_cpus_there_are() -> None:
    assert sorted(nodes_of(place(parts(Demand(), 6), {A: NodeOffer(2), B: NodeOffer(4)}))) == [A, A, B, B, B, B]


def test_spreading_takes_the_emptiest_node_and_packing_the_fullest_that_does() -> None:
    offers = {A: NodeOffer(4), B: NodeOffer(8)}
    wanted = parts(Demand(cpus=2), 4)
    assert nodes_of(place(wanted, offers)) == [B, A, B, B]
    assert nodes_of(place(wanted, offers, strategy=Strategy.PACK)) == [A, A, B, B]


def test_packing_stops_at_a_nodes_cpus_for_parts_that_ask_for_nothing() -> None:
    offers = {A: NodeOffer(2), B: NodeOffer(2)}
    assert nodes_of(place(parts(Demand(), 4), offers, strategy=Strategy.PACK)) == [A, A, B, B]


def test_what_cannot_be_spread_is_packed() -> None:
    """Spread, the two of 4 CPUs and 1 byte leave no node with the 3 bytes that the last one asks for."""
    wanted = [*parts(Demand(cpus=4, memory_bytes=1), 2), *parts(Demand(cpus=1, memory_bytes=3), name="wide")]
    placement = place(wanted, {A: NodeOffer(8, 3), B: NodeOffer(8, 3)})
    assert nodes_of(placement) == [A, A, B]


def test_a_part_goes_where_the_engine_of_its_model_is_while_there_is_room() -> None:
    host = Part("engine", "engine of m", Demand(cpus=1), serves=("m",))
    asking = [Part(f"ask/{i}", f"ask {i}", Demand(cpus=1), asks=("m",)) for i in range(3)]
    placement = place([*asking, host], {A: NodeOffer(1), B: NodeOffer(3), C: NodeOffer(4)})
    assert nodes_of(placement) == [C, C, C, C]
    assert nodes_of(
        place(asking, {A: NodeOffer(4), B: NodeOffer(3)}, taken=place([host], {B: NodeOffer(3)}).placed)
    ) == [B, B, A]


def test_of_equally_good_nodes_the_one_with_the_neighbour_is_taken() -> None:
    read = Part("read", "read", Demand(cpus=1))
    ballast = Part("ballast", "ballast", Demand(cpus=1))
    count = Part("count", "count", Demand(cpus=0.5), beside=("read",))
    placement = place([ballast, read, count], {A: NodeOffer(4), B: NodeOffer(4)})
    assert nodes_of(placement) == [A, B, B]
    assert explain(placement)[2].endswith("beside read")


def test_instances_that_must_be_apart_share_no_node() -> None:
    hosts = [Part(f"engine-{i}", f"engine {i}", apart="m") for i in range(3)]
    assert sorted(nodes_of(place(hosts[:2], {A: NodeOffer(8), B: NodeOffer(1)}))) == [A, B]
    with pytest.raises(NoRoom, match="a, b have one of m already"):
        place(hosts, {A: NodeOffer(8), B: NodeOffer(1)})


def test_shares_of_gpus_are_packed_and_small_gpus_taken_first() -> None:
    big, small = gpu("0", memory_bytes=80), gpu("1", memory_bytes=40)
    offers = {A: NodeOffer(8, gpus=(big, small))}
    placement = place([*parts(Demand(gpus=0.5), 2), *parts(Demand(gpus=1), name="whole")], offers)
    assert [[(s.gpu_id, s.share, s.memory_bytes) for s in placed.gpus] for placed in placement.placed] == [
        [("GPU-0", WHOLE // 2, 40)],
        [("GPU-0", WHOLE // 2, 40)],
        [("GPU-1", WHOLE, 40)],
    ]


def test_gpu_memory_alone_shares_a_gpu_until_its_memory_is_taken() -> None:
    offers = {A: NodeOffer(gpus=(gpu("0", memory_bytes=100),))}
    assert len(place(parts(Demand(gpu_memory_bytes=30), 3), offers).placed) == 3
    with pytest.raises(NoRoom, match="asks for 30 bytes of a GPU: a has 0 of 1 GPUs free for that"):
        place(parts(Demand(gpu_memory_bytes=30), 4), offers)


def test_several_gpus_are_of_one_type() -> None:
    mixed = (gpu("0"), gpu("1", type="NVIDIA H100"), gpu("2", type="NVIDIA H100"))
    (placed,) = place(parts(Demand(gpus=2)), {A: NodeOffer(gpus=mixed)}).placed
    assert [share.gpu_id for share in placed.gpus] == ["GPU-1", "GPU-2"]


def test_a_part_keeps_its_gpu_when_others_become_free() -> None:
    offers = {A: NodeOffer(gpus=(gpu("0"), gpu("1")))}
    both = parts(Demand(gpus=1), 2)
    before = place(both, offers)
    assert replace(before, both[1:], offers).placed == before.placed[1:]


def test_a_part_on_a_gpu_that_broke_moves_to_a_sound_one() -> None:
    wanted = parts(Demand(gpus=1))
    before = place(wanted, {A: NodeOffer(gpus=(gpu("0"), gpu("1")))})
    broken = Gpu("GPU-0", "0", "NVIDIA A100", 100, fault="XID 79")
    (placed,) = replace(before, wanted, {A: NodeOffer(gpus=(broken, gpu("1")))}).placed
    assert (placed.node_id, placed.gpus[0].gpu_id) == (A, "GPU-1")


def test_parts_move_only_where_a_new_one_finds_no_room_otherwise() -> None:
    offers = {A: NodeOffer(4), B: NodeOffer(4)}
    small, big = parts(Demand(cpus=2), 2), parts(Demand(cpus=4), name="big")
    before = place(small, offers)
    assert nodes_of(before) == [A, B]
    after = replace(before, [*small, *big], offers)
    assert sorted(nodes_of(after)) in ([A, A, B], [A, B, B])
    assert after.nodes()["big/0"] not in (after.nodes()["work/0"], after.nodes()["work/1"])


def test_what_is_missing_is_said_for_every_node_at_once_where_it_is_the_same() -> None:
    with pytest.raises(NoRoom) as caught:
        place(parts(Demand(cpus=2)), {NodeId(f"node-{i}"): NodeOffer(1) for i in range(6)} | {A: NodeOffer(1.5)})
    assert caught.value.what == (
        "work 0 asks for 2 CPUs: node-0, node-1, node-2, node-3 and 2 more have 1 of 1 CPUs free; "
        "a has 1.5 of 1.5 CPUs free"
    )


def test_every_kind_of_want_is_named() -> None:
    broken = Gpu("GPU-0", "0", "NVIDIA H100", 80, fault="XID 79")
    node = NodeOffer(8, 5000, (broken, gpu("1")), (("zone", "b"),))
    held = place(parts(Demand(cpus=7, memory_bytes=4000), name="other"), {A: node}).placed
    labels = (("disk", "ssd"), ("zone", "a"))
    with pytest.raises(NoRoom) as caught:
        place(parts(Demand(2, 1, 2000, 50, "h100", labels)), {A: node}, taken=held)
    assert caught.value.what == (
        "work 0 asks for 2 CPUs and 1 GPUs of type h100 with 50 bytes each and 2,000 bytes of memory and the label "
        "disk=ssd and the label zone=a: a has 1 of 8 CPUs free and 0 of 1 h100 GPUs free for that, GPU 0 is out of "
        "use: XID 79 and 1,000 of 5,000 bytes of memory free and no label disk and the label zone=b"
    )


def test_without_a_node_there_is_no_room() -> None:
    with pytest.raises(NoRoom, match="there is no node"):
        place(parts(Demand(cpus=1)), {})


def test_each_line_says_where_what_and_why() -> None:
    host = Part("engine", "engine of m", Demand(gpus=0.5), serves=("m",))
    asking = Part("ask", "ask (flow.py:3)", asks=("m",))
    plain = parts(Demand(cpus=1), 2)
    offers = {A: NodeOffer(2), B: NodeOffer(4, gpus=(gpu("0"),))}
    before = place([asking, host], offers)
    assert explain(replace(before, [asking, host, *plain], offers)) == [
        "ask (flow.py:3): on b, takes nothing; it stays where it was",
        "engine of m: on b, takes 0.5 GPUs (0.5 of GPU-0, 50 bytes); it stays where it was",
        "work 0: on a, takes 1 CPUs; the best of 2 that fit, 50% full with it",
        "work 1: on b, takes 1 CPUs; the best of 2 that fit, 75% full with it",
    ]
    assert explain(before) == [
        "ask (flow.py:3): on b, takes nothing; near the engine of m, the best of 2 that fit, 50% full with it",
        "engine of m: on b, takes 0.5 GPUs (0.5 of GPU-0, 50 bytes); the only one of 2 that fits",
    ]
