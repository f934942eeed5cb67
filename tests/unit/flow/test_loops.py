"""Loops as they are written down: what they make of the graph and the plan, and what is refused."""

import sys
from collections.abc import Callable
from typing import Any, cast
from xml.etree import ElementTree as ET

import pytest

import sage
from sage.base.errors import FlowInvalid
from sage.flow.bodies import returns_of, with_bodies
from sage.flow.graph import Step, Where
from sage.flow.iterate import INSIDE, Again, Iterate
from sage.flow.plan import Channel, Routing, plan_from_graph
from sage.flow.process import KeyedProcess, ProcessContext
from sage.flow.spec import Map, TakeSide
from sage.flow.stream import Stream

IntBody = Callable[[Stream[int]], Any]


def halved(stream: Stream[int]) -> Stream[int]:
    return stream.map(lambda n: n // 2)


def is_odd(n: int) -> bool:
    return n % 2 == 1


def looped(body: IntBody, **options: Any) -> tuple[sage.Flow, Stream[int]]:
    flow = sage.Flow("f")
    return flow, flow.from_collection([12]).iterate(body, until=is_odd, **{"max_rounds": 3, **options})


def refused_when_built(body: IntBody) -> FlowInvalid:
    flow, left = looped(body)
    left.collect()
    with pytest.raises(FlowInvalid) as caught:
        flow.graph()
    return caught.value


def test_a_loop_is_a_circle_of_tasks_that_one_channel_closes() -> None:
    flow, left = looped(lambda stream: halved(stream).with_parallelism(2))
    left.collect()
    plan = plan_from_graph(flow.graph())
    assert [chain.id for chain in plan.chains] == ["from_collection", "iterate", "round", "map", "again", "collect"]
    assert plan.channels == (
        Channel("from_collection", "iterate", Routing.FORWARD),
        Channel("iterate", "round", Routing.FORWARD, ("iterate", INSIDE)),
        Channel("round", "map", Routing.ROUND_ROBIN),
        Channel("map", "again", Routing.ROUND_ROBIN),
        Channel("iterate", "collect", Routing.FORWARD),
        Channel("again", "iterate", Routing.BACK),
    )
    assert "again  iterate  back" in " ".join(str(flow.explain()).split()).replace(" ", "  ")


def test_pictures_show_the_way_back() -> None:
    flow, left = looped(halved)
    left.collect()
    assert "    s4 -. again .-> s1" in flow.to_mermaid().splitlines()
    picture = ET.fromstring(flow.to_svg())
    dashed = [path for path in picture.iter() if path.get("stroke-dasharray")]
    assert len(dashed) == 1


def test_each_step_knows_the_innermost_loop_that_it_is_in() -> None:
    def twice(stream: Stream[int]) -> Stream[int]:
        return stream.map(abs).iterate(halved, until=is_odd, max_rounds=2).filter(bool)

    flow, left = looped(twice)
    left.collect()
    inside = {step.name: step.inside for step in flow.graph().steps}
    assert inside == {
        "from_collection": None,
        "iterate": None,
        "round": "iterate",
        "map": "iterate",
        "iterate-2": "iterate",
        "round-2": "iterate-2",
        "map-2": "iterate-2",
        "again": "iterate-2",
        "filter": "iterate",
        "again-2": "iterate",
        "collect": None,
    }


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (lambda stream: None, "returned None, which is no stream"),
        (cast(IntBody, 3), "is 3, which is no function"),
        (lambda stream: stream.collect(), "has a sink in it"),
        (lambda stream: sage.Flow("g").from_collection([1]), 'a stream of another flow, "g"'),
    ],
)
def test_a_body_that_returns_no_stream_of_the_flow_is_refused_at_its_line(body: IntBody, what: str) -> None:
    with pytest.raises(FlowInvalid) as caught:
        looped(body)
    assert what in caught.value.what
    assert caught.value.what.startswith(f"{__file__}:")
    assert caught.value.param == "body"


def test_a_body_with_a_source_or_a_sink_beside_its_way_is_refused() -> None:
    flow = sage.Flow("f")
    numbers = flow.from_collection([1])

    def reading(stream: Stream[int]) -> Stream[int]:
        return stream.union(flow.from_collection([2]))

    def writing(stream: Stream[int]) -> Stream[int]:
        stream.for_each(print)
        return stream.map(abs)

    for body, what in ((reading, "has a source in it"), (writing, "has a sink in it")):
        with pytest.raises(FlowInvalid, match=what):
            numbers.iterate(body, until=is_odd, max_rounds=1)


def test_a_body_that_returns_another_stream_than_its_own_is_refused() -> None:
    flow = sage.Flow("f")
    others = flow.from_collection([1])
    others.iterate(lambda stream: others, until=is_odd, max_rounds=1).collect()
    line = sys._getframe().f_lineno - 1
    with pytest.raises(FlowInvalid, match="does not come of the one it was given") as caught:
        flow.graph()
    assert caught.value.what.startswith(f"{__file__}:{line}: ")


def test_a_stream_of_the_body_that_is_used_outside_is_refused() -> None:
    kept: list[Stream[int]] = []

    def leaking(stream: Stream[int]) -> Stream[int]:
        kept.append(stream.map(abs))
        return kept[0]

    flow, left = looped(leaking)
    left.collect()
    kept[0].for_each(print)
    with pytest.raises(FlowInvalid, match='for_each is in the body of "iterate", whose records all come back'):
        flow.graph()


def test_the_body_of_an_inner_loop_that_ends_the_outer_one_is_refused() -> None:
    def crossed(stream: Stream[int]) -> Stream[int]:
        inner: list[Stream[int]] = []

        def body(own: Stream[int]) -> Stream[int]:
            inner.append(own.map(abs))
            return inner[0]

        stream.iterate(body, until=is_odd, max_rounds=1)
        return inner[0]

    assert "returns a stream that does not come of the one it was given" in refused_when_built(crossed).what


def test_a_stream_from_outside_is_refused_in_the_body() -> None:
    flow = sage.Flow("f")
    numbers, others = flow.from_collection([1]), flow.from_collection([2])
    numbers.iterate(lambda stream: stream.union(others), until=is_odd, max_rounds=1).collect()
    with pytest.raises(FlowInvalid, match='union brings "from_collection-2" into the body of "iterate"'):
        flow.graph()


class Echo(KeyedProcess[int, int, int]):
    def on_record(self, record: int, context: ProcessContext[int]) -> Any:
        yield record


@pytest.mark.parametrize(
    "body",
    [
        lambda stream: stream.assign_timestamps(float),
        lambda stream: stream.key_by(bool).window(sage.CountWindow(2)).sum().map(lambda each: each.value),
        lambda stream: stream.key_by(bool).process(Echo),
        lambda stream: stream.key_by(bool).join(stream.key_by(bool)).as_of(),
    ],
)
def test_what_goes_by_event_time_is_refused_in_the_body(body: IntBody) -> None:
    assert "where there is no event time" in refused_when_built(body).what


def test_what_waits_for_the_end_or_is_for_all_instances_is_refused_in_the_body() -> None:
    final = refused_when_built(lambda stream: stream.key_by(bool).count(final=True).map(lambda pair: pair[1]))
    assert "wait for an end" in final.what
    assert "not once for each instance" in refused_when_built(lambda stream: stream.broadcast().map(abs)).what


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"max_rounds": 0}, "max_rounds"),
        ({"max_rounds": 1.5}, "max_rounds"),
        ({"max_in_flight": 0}, "max_in_flight"),
        ({"unfinished_to": ""}, "unfinished_to"),
        ({"unfinished_to": INSIDE}, "unfinished_to"),
    ],
)
def test_numbers_and_tags_out_of_range_are_refused(options: dict[str, Any], param: str) -> None:
    with pytest.raises(FlowInvalid) as caught:
        looped(halved, **options)
    assert caught.value.param == param


def test_a_loop_needs_a_bound_and_a_function() -> None:
    numbers = sage.Flow("f").from_collection([1])
    with pytest.raises(TypeError, match="max_rounds"):
        numbers.iterate(halved, until=is_odd)  # type: ignore[call-arg]  # it is what a user forgets
    with pytest.raises(FlowInvalid, match="iterate takes a function"):
        numbers.iterate(halved, until=3, max_rounds=1)  # type: ignore[arg-type]  # it is no function


def test_a_side_for_unfinished_records_is_to_be_taken() -> None:
    flow, left = looped(halved, unfinished_to="rest")
    left.collect()
    with pytest.raises(FlowInvalid, match="nothing uses the side 'rest'"):
        flow.graph()


def test_a_loop_is_one_instance() -> None:
    _, left = looped(halved)
    with pytest.raises(FlowInvalid, match="the records of a loop are counted by one task, not by 2"):
        left.with_parallelism(2)


def test_steps_by_hand_of_which_one_end_is_missing_make_no_loop() -> None:
    where = Where("app.py", 3)
    head = Step("iterate", Iterate(is_odd, 2, loop=1), (), where)
    begin, made = Step("round", TakeSide(INSIDE), ("iterate",), where), Step("map", Map(abs), ("round",), where)
    assert returns_of([head, begin, made]) == []
    with pytest.raises(FlowInvalid, match="does not come of the one it was given"):
        with_bodies((head, begin, made))
    end = Step("again", Again(2), ("map",), where)
    with pytest.raises(FlowInvalid, match="which begins nowhere"):
        with_bodies((head, begin, made, end))
