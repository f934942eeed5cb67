"""How graphs are cut into chains and channels."""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sage.base.demand import Demand
from sage.flow.flow import Flow
from sage.flow.graph import Step
from sage.flow.index import Index
from sage.flow.plan import Channel, Plan, Routing, plan_from_graph
from sage.flow.spec import KeyBy, MapBatches, Union, Waiting
from sage.flow.stream import Stream


def plan_of(flow: Flow) -> Plan:
    return plan_from_graph(flow.graph())


def chains(plan: Plan) -> list[list[str]]:
    return [[step.name for step in chain.steps] for chain in plan.chains]


async def echo(value: Any) -> Any:
    return value


def test_inline_steps_from_source_to_sink_are_one_chain() -> None:
    flow = Flow("f")
    flow.from_collection([1]).map(str).filter(bool).flat_map(str.split).key_by(str).count().collect()
    plan = plan_of(flow)
    assert chains(plan) == [["from_collection", "map", "filter", "flat_map", "key_by", "count", "collect"]]
    assert plan.channels == ()


def test_a_step_that_waits_for_replies_stands_alone() -> None:
    flow = Flow("f")
    flow.from_collection([1]).map(str).map_async(echo).map(str).collect()
    plan = plan_of(flow)
    assert chains(plan) == [["from_collection", "map"], ["map_async"], ["map-2", "collect"]]
    assert plan.channels == (
        Channel("from_collection", "map_async", Routing.FORWARD),
        Channel("map_async", "map-2", Routing.FORWARD),
    )


def test_two_neighbours_that_wait_are_two_chains() -> None:
    flow = Flow("f")
    flow.from_collection(["a"]).generate(model="m", prompt="{}").embed(model="e").collect()
    assert chains(plan_of(flow)) == [["from_collection"], ["generate"], ["embed"], ["collect"]]


def test_map_batches_stands_alone_only_where_it_waits_for_a_full_batch() -> None:
    flow = Flow("f")
    flow.from_collection([1]).map_batches(list, max_records=2).map_batches(
        list, max_records=2, max_wait_s=1.0
    ).collect()
    assert chains(plan_of(flow)) == [["from_collection", "map_batches"], ["map_batches-2"], ["collect"]]


def test_each_reader_of_a_shared_step_begins_a_chain() -> None:
    flow = Flow("f")
    shared = flow.from_collection([1]).map(str)
    shared.map(len).collect()
    shared.print()
    plan = plan_of(flow)
    assert chains(plan) == [["from_collection", "map"], ["map-2", "collect"], ["print"]]
    assert {channel.target for channel in plan.channels} == {"map-2", "print"}


def test_a_union_begins_a_chain_that_later_steps_join() -> None:
    flow = Flow("f")
    flow.from_collection([1]).union(flow.from_collection([2])).map(str).collect()
    plan = plan_of(flow)
    assert chains(plan) == [["from_collection"], ["from_collection-2"], ["union", "map", "collect"]]
    assert [(channel.source, channel.target) for channel in plan.channels] == [
        ("from_collection", "union"),
        ("from_collection-2", "union"),
    ]


def test_a_change_of_parallelism_cuts_and_spreads_batches_in_turn() -> None:
    flow = Flow("f")
    flow.from_collection([1]).map(str).with_parallelism(3).map(len).with_parallelism(3).collect()
    plan = plan_of(flow)
    assert [(chain.id, chain.parallelism) for chain in plan.chains] == [
        ("from_collection", 1),
        ("map", 3),
        ("collect", 1),
    ]
    assert {channel.routing for channel in plan.channels} == {Routing.ROUND_ROBIN}


def test_records_are_shuffled_by_key_only_where_the_aggregate_is_parallel() -> None:
    flow = Flow("f")
    flow.from_collection(["a"]).key_by(str).count().with_parallelism(4).collect()
    plan = plan_of(flow)
    assert chains(plan) == [["from_collection", "key_by"], ["count"], ["collect"]]
    assert plan.channels[0].routing is Routing.KEYED


def test_equal_parallelism_on_both_sides_of_a_key_still_shuffles() -> None:
    flow = Flow("f")
    flow.from_collection(["a"]).key_by(str).with_parallelism(2).count().with_parallelism(2).collect()
    assert [channel.routing for channel in plan_of(flow).channels] == [
        Routing.ROUND_ROBIN, Routing.KEYED, Routing.ROUND_ROBIN,
    ]  # fmt: skip


def test_a_step_with_resources_of_its_own_begins_a_chain_and_light_steps_join_it() -> None:
    flow = Flow("f")
    flow.from_collection([1]).map(str).with_resources(cpus=1).map(len).with_resources(cpus=1).map(str).collect()
    plan = plan_of(flow)
    assert chains(plan) == [["from_collection"], ["map", "map-2", "map-3", "collect"]]
    assert plan.chains[1].demand == Demand(cpus=2)


def test_a_step_that_asks_for_a_gpu_begins_a_chain_even_behind_its_like() -> None:
    flow = Flow("f")
    gpu: dict[str, Any] = {"gpus": 0.5, "gpu_memory_bytes": 1 << 30, "labels": {"zone": "a", "disk": "ssd"}}
    flow.from_collection([1]).map(str).with_resources(**gpu).map(len).map(abs).with_resources(**gpu).collect()
    plan = plan_of(flow)
    assert chains(plan) == [["from_collection"], ["map", "map-2"], ["map-3", "collect"]]
    asked = Demand(gpus=0.5, gpu_memory_bytes=1 << 30, labels=(("disk", "ssd"), ("zone", "a")))
    assert [chain.demand for chain in plan.chains[1:]] == [asked, asked]


def test_a_retrieval_waits_for_every_chain_that_fills_its_index_once() -> None:
    flow, docs = Flow("f"), Index("docs")
    flow.from_collection([{}]).index_into(docs)
    flow.from_collection([{}]).index_into(docs)
    flow.from_collection([{}]).retrieve(docs).retrieve(docs, into="more").collect()
    completions = [channel for channel in plan_of(flow).channels if channel.routing is Routing.COMPLETION]
    assert completions == [
        Channel("from_collection", "from_collection-3", Routing.COMPLETION),
        Channel("from_collection-2", "from_collection-3", Routing.COMPLETION),
    ]


def test_a_retrieval_of_an_index_filled_elsewhere_waits_for_nobody() -> None:
    flow = Flow("f")
    flow.from_collection([{}]).retrieve(Index("elsewhere")).collect()
    assert plan_of(flow).channels == ()


GROWTH: dict[str, Callable[[Stream[Any], int], Stream[Any]]] = {
    "map": lambda stream, n: stream.map(str).with_parallelism(n),
    "heavy": lambda stream, n: stream.map(str).with_resources(cpus=n),
    "keyed": lambda stream, n: stream.key_by(str).count().with_parallelism(n),
    "waiting": lambda stream, n: stream.map_async(echo).with_parallelism(n),
    "batches": lambda stream, n: stream.map_batches(list, max_records=n, max_wait_s=1.0),
}


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    """Grow a flow by steps, unions and fan-outs at random places, then end whatever is open."""
    flow = Flow("random")
    streams: list[Stream[Any]] = [flow.from_collection([1])]
    for _ in range(draw(st.integers(0, 12))):
        stream = streams[draw(st.integers(0, len(streams) - 1))]
        what = draw(st.sampled_from([*GROWTH, "source", "union"]))
        if what == "source":
            streams.append(flow.from_collection([1]))
        elif what == "union":
            other = draw(st.sampled_from(streams))
            streams.append(stream.union(other if other is not stream else flow.from_collection([2])))
        else:
            streams.append(GROWTH[what](stream, draw(st.integers(1, 3))))
    for stream in streams:
        stream.for_each(print)
    return flow


@given(flows())
def test_every_step_is_in_one_chain_and_every_edge_is_inside_a_chain_or_a_channel(flow: Flow) -> None:
    graph = flow.graph()
    plan = plan_from_graph(graph)
    placed = [step for chain in plan.chains for step in chain.steps]
    assert sorted(step.name for step in placed) == sorted(step.name for step in graph.steps)

    edges = {(source, step.name) for step in graph.steps for source in step.inputs}
    inside = {(a.name, b.name) for chain in plan.chains for a, b in zip(chain.steps, chain.steps[1:], strict=False)}
    last = {chain.id: chain.steps[-1].name for chain in plan.chains}
    between = [(last[channel.source], channel.target) for channel in plan.channels]
    assert len(between) == len(set(between))
    assert inside | set(between) == edges
    assert inside.isdisjoint(between)


@given(flows())
def test_chains_are_in_topological_order_and_hold_only_what_can_be_fused(flow: Flow) -> None:
    plan = plan_of(flow)
    place = {chain.id: number for number, chain in enumerate(plan.chains)}
    assert all(place[channel.source] < place[channel.target] for channel in plan.channels)
    for chain in plan.chains:
        assert {step.parallelism for step in chain.steps} == {chain.parallelism}
        assert not any(isinstance(step.spec, Union) for step in chain.steps[1:])
        if len(chain.steps) > 1:
            assert not any(stands_alone(step) for step in chain.steps)


@given(flows())
def test_a_channel_is_keyed_exactly_where_a_key_meets_parallel_readers(flow: Flow) -> None:
    plan = plan_of(flow)
    by_id = {chain.id: chain for chain in plan.chains}
    for channel in plan.channels:
        source, target = by_id[channel.source], by_id[channel.target]
        after_key = isinstance(source.steps[-1].spec, KeyBy)
        assert (channel.routing is Routing.KEYED) == (after_key and target.parallelism > 1)
        if channel.routing is Routing.FORWARD:
            assert source.parallelism == target.parallelism
    for chain in plan.chains:
        for before, step in zip(chain.steps, chain.steps[1:], strict=False):
            assert not (isinstance(before.spec, KeyBy) and step.parallelism > 1)


def stands_alone(step: Step) -> bool:
    return isinstance(step.spec, Waiting) or (isinstance(step.spec, MapBatches) and step.spec.max_wait_s is not None)


def test_a_side_begins_a_chain_of_its_own_and_the_main_stream_goes_on_fused() -> None:
    flow = Flow("f")
    parts = flow.from_collection([1]).split({"odd": bool})
    parts.side("odd").map(abs).collect()
    parts.map(abs).collect()
    plan = plan_of(flow)
    assert [[step.name for step in chain.steps] for chain in plan.chains] == [
        ["from_collection", "split", "map-2", "collect-2"],
        ["side", "map", "collect"],
    ]
    assert plan.channels == (Channel("from_collection", "side", Routing.FORWARD, ("split", "odd")),)
