"""Broadcast streams as they are written down: where their records go, and what is refused."""

from typing import Any

import pytest

import sage
from sage.base.errors import FlowInvalid
from sage.flow.plan import Channel, Routing, plan_from_graph


class Keeping(sage.BroadcastProcess[int, int, int, int]):
    def on_record(self, record: int, context: sage.ProcessContext[int]) -> None:
        """Keep nothing."""

    def on_broadcast(self, record: int, context: sage.BroadcastContext) -> None:
        """Keep nothing."""


class Single(sage.KeyedProcess[int, int, int]):
    def on_record(self, record: int, context: sage.ProcessContext[int]) -> None:
        """Keep nothing."""


def channels_of(flow: sage.Flow) -> tuple[Channel, ...]:
    return plan_from_graph(flow.graph()).channels


def test_a_broadcast_goes_to_all_instances_of_each_step_that_reads_it() -> None:
    flow = sage.Flow("f")
    rules = flow.from_collection([1]).named("rules").broadcast()
    flow.from_collection([2]).key_by(abs).named("keys").connect(rules).process(Keeping).with_parallelism(3).collect()
    rules.map(abs).with_parallelism(2).for_each(print)
    assert [(c.target, c.routing, c.port) for c in channels_of(flow) if c.source == "rules"] == [
        ("process", Routing.BROADCAST, 1),
        ("map", Routing.BROADCAST, None),
    ]


def test_a_broadcast_to_one_instance_goes_forward_and_is_fused() -> None:
    flow = sage.Flow("f")
    flow.from_collection([1]).broadcast().map(abs).collect()
    assert channels_of(flow) == ()


def test_a_broadcast_stream_is_given_by_one_task_so_that_all_have_one_order() -> None:
    with pytest.raises(FlowInvalid, match="given to all instances by one task, not by 2"):
        sage.Flow("f").from_collection([1]).broadcast().with_parallelism(2)
    with pytest.raises(FlowInvalid, match="broadcast takes no on_error"):
        sage.Flow("f").from_collection([1]).broadcast().on_error("retry")


def test_a_broadcast_process_needs_a_broadcast_stream_and_the_other_way_round() -> None:
    flow = sage.Flow("f")
    keyed, rules = flow.from_collection([1]).key_by(abs), flow.from_collection([1]).broadcast()
    with pytest.raises(FlowInvalid, match=r"takes a sage\.CoProcess"):
        keyed.connect(keyed).process(Keeping)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(FlowInvalid, match=r"takes a sage\.BroadcastProcess"):
        keyed.connect(rules).process(Single)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(FlowInvalid, match='connect mixes streams of the flows "f" and "g"'):
        keyed.connect(sage.Flow("g").from_collection([1]).broadcast())


def test_what_is_told_to_every_instance_gives_no_records() -> None:
    class Giving(Keeping):
        def on_broadcast(self, record: int, context: sage.BroadcastContext) -> Any:
            yield record

    flow = sage.Flow("f")
    with pytest.raises(FlowInvalid, match="on_broadcast gives records"):
        flow.from_collection([1]).key_by(abs).connect(flow.from_collection([1]).broadcast()).process(Giving)


def test_event_time_is_that_of_the_keyed_stream() -> None:
    flow = sage.Flow("f")
    timed, timeless = flow.from_collection([1], timestamp=float), flow.from_collection([1])
    timed.key_by(abs).connect(timeless.broadcast()).process(Keeping).key_by(abs).window(
        sage.Tumbling(1)
    ).count().collect()
    flow.graph()
    other = sage.Flow("g")
    timed, timeless = other.from_collection([1], timestamp=float), other.from_collection([1])
    kept = timeless.key_by(abs).connect(timed.broadcast()).process(Keeping)
    kept.key_by(abs).window(sage.Tumbling(1)).count().collect()
    with pytest.raises(FlowInvalid, match="window needs event time"):
        other.graph()
