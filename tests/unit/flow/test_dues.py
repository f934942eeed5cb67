"""Which steps records pass that are due at some time, and which streams cannot say so."""

import pytest

import sage
from sage.base.errors import FlowInvalid
from sage.flow.dues import has_dues
from sage.flow.graph import DueRole


def roles_of(flow: sage.Flow) -> dict[str, DueRole | None]:
    return {step.name: step.dues for step in flow.graph().steps}


async def awaited(record: object) -> object:
    return record


def test_records_are_due_on_all_ways_to_a_model_and_beside_them_no_more() -> None:
    flow = sage.Flow("f")
    read = flow.from_collection(["a"], due_in_s=5.0)
    asked = read.flat_map(str.split).map_async(awaited).generate(model="m", prompt="{}")
    asked.map(str.upper).collect()
    asked.embed(model="n").for_each(print)
    read.key_by(str).count().collect()
    on_way, leaves = DueRole.ON_WAY, DueRole.LEAVES
    assert roles_of(flow) == {
        "from_collection": on_way,
        "flat_map": on_way,
        "map_async": on_way,
        "generate": on_way,
        "map": leaves,
        "collect": None,
        "embed": on_way,
        "for_each": leaves,
        "key_by": leaves,
        "count": None,
        "collect-2": None,
    }


def test_what_is_made_of_many_records_is_due_at_no_time() -> None:
    flow = sage.Flow("f")
    read = flow.from_collection([1], due_in_s=5.0)
    read.generate(model="m", prompt="{}").collect()
    read.key_by(str).count().map(str).generate(model="m", prompt="{}").named("totals").collect()
    assert roles_of(flow)["totals"] is None


def test_a_flow_without_says_so() -> None:
    flow = sage.Flow("f")
    flow.from_collection(["a"]).generate(model="m", prompt="{}").collect()
    assert not has_dues(flow.graph())


def test_a_time_that_no_model_would_hear_of_is_refused_at_the_line_that_says_it() -> None:
    flow = sage.Flow("f")
    flow.from_collection([1], due_in_s=5.0).key_by(str).count().generate(model="m", prompt="{}").collect()
    with pytest.raises(FlowInvalid, match=r"test_dues.py:\d+: due_in_s orders what is asked of models") as caught:
        flow.graph()
    assert caught.value.param == "due_in_s"


@pytest.mark.parametrize("due_in_s", [0.0, -1.0, float("inf"), float("nan"), "5", True])
def test_a_time_is_a_number_of_seconds(due_in_s: float) -> None:
    with pytest.raises(FlowInvalid, match="due_in_s is"):
        sage.Flow("f").from_collection([1], due_in_s=due_in_s)
