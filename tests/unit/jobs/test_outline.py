"""An outline holds what the head needs of a plan, and nothing that could run."""

import msgspec
import pytest

import sage
from cluster.jobs.outline import is_same_work, outline_from_plan, plan_from_outline
from cluster.jobs.tasks import tasks_from_plan
from cluster.runtime.job_outline import PlanOutline
from sage.base.errors import FlowInvalid, InternalError
from sage.base.ids import JobId
from sage.flow.graph import models_of
from sage.flow.plan import Plan, plan_from_graph
from sage.flow.ports import PartitionedSource
from sage.flow.spec import SINKS, Read
from tests.cluster.topologies import SHAPES, Shape


def plan_of(shape: Shape) -> Plan:
    flow = sage.Flow(shape.__name__)
    shape(flow)
    return plan_from_graph(flow.graph())


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_the_tasks_and_links_of_an_outline_are_those_of_its_plan(shape: Shape) -> None:
    plan = plan_of(shape)
    outline = outline_from_plan(plan)
    travelled = msgspec.msgpack.decode(msgspec.msgpack.encode(outline), type=PlanOutline)
    without_code = plan_from_outline(travelled)
    job_id = JobId("job")
    for ours, theirs in zip(tasks_from_plan(job_id, plan), tasks_from_plan(job_id, without_code), strict=True):
        assert (ours.id, ours.inputs, ours.outputs, ours.chain.demand) == (
            theirs.id,
            theirs.inputs,
            theirs.outputs,
            theirs.chain.demand,
        )
        for mine, other in zip(ours.chain.steps, theirs.chain.steps, strict=True):
            assert (mine.name, str(mine.where)) == (other.name, str(other.where))
            assert [isinstance(mine.spec, kind) for kind in (Read, *SINKS)] == [
                isinstance(other.spec, kind) for kind in (Read, *SINKS)
            ]
    assert outline_from_plan(without_code) == outline


def test_the_models_that_a_flow_asks_stand_in_its_outline() -> None:
    flow = sage.Flow("models")
    texts = flow.from_collection(["a"])
    texts.generate(model="sim", prompt="{}").collect()
    texts.embed(model="small").collect()
    plan = plan_from_graph(flow.graph())
    without_code = plan_from_outline(outline_from_plan(plan))
    assert [(use.model, use.kind) for use in models_of(without_code.graph)] == [
        (use.model, use.kind) for use in models_of(plan.graph)
    ]


def test_a_plan_without_code_says_so_when_it_is_run() -> None:
    plan = plan_from_outline(outline_from_plan(plan_of(SHAPES[0])))
    read = plan.graph.steps[0].spec
    assert isinstance(read, Read)
    assert not isinstance(read.source, PartitionedSource)
    with pytest.raises(InternalError, match="on the job's nodes only"):
        read.source.open()


def test_where_a_file_lies_does_not_make_another_plan_and_another_step_does() -> None:
    outline = outline_from_plan(plan_of(SHAPES[0]))
    steps = tuple(msgspec.structs.replace(step, file="/elsewhere/flow.py") for step in outline.steps)
    assert is_same_work(outline, msgspec.structs.replace(outline, steps=steps))
    assert not is_same_work(outline, outline_from_plan(plan_of(SHAPES[4])))


def test_an_outline_of_no_plan_is_refused() -> None:
    outline = outline_from_plan(plan_of(SHAPES[4]))
    replace = msgspec.structs.replace
    lame = replace(outline.chains[0], parallelism=0)
    for wrong in (
        replace(outline, steps=outline.steps[1:]),
        replace(outline, chains=()),
        replace(outline, chains=(*outline.chains, outline.chains[0])),
        replace(outline, chains=(lame, *outline.chains[1:])),
        replace(outline, channels=(replace(outline.channels[0], target="nobody"),)),
    ):
        with pytest.raises(FlowInvalid):
            plan_from_outline(wrong)
