"""What `with_resources` asks for decides where a step's tasks go."""

import pytest

import sage
from cluster.jobs.parts import parts_from_tasks
from cluster.jobs.placement import place
from cluster.jobs.tasks import tasks_from_plan
from cluster.local.engines import parts_of_engines
from cluster.serving.engines.spec import spec_from_text
from sage.base.errors import NoRoom
from sage.base.ids import JobId
from sage.base.offer import NodeOffer
from sage.flow.explained import explain
from sage.flow.plan import plan_from_graph
from tests.unit.jobs.test_placement import A, B, gpu


def test_a_step_gets_gpus_of_the_type_that_it_asks_for_and_is_told_where_there_is_none() -> None:
    flow = sage.Flow("typed")
    flow.from_collection([1]).map(str).with_resources(gpus=0.5, gpu_type="h100").named("score").collect()
    plan = plan_from_graph(flow.graph())
    asked = parts_from_tasks(tasks_from_plan(JobId("job"), plan))
    (score,) = [part for part in asked if part.demand.takes_gpu]
    a100, h100 = NodeOffer(cpus=8, gpus=(gpu("0"),)), NodeOffer(cpus=8, gpus=(gpu("0", type="NVIDIA H100 80GB"),))
    assert place([score], {A: a100, B: h100}).nodes() == {score.id: B}
    with pytest.raises(NoRoom, match=r"0\.5 GPUs of type h100: a has 0 of 0 h100 GPUs free"):
        place([score], {A: a100})
    assert "0.5 GPUs, type h100" in str(explain(plan))


def test_instances_that_are_kept_apart_have_a_node_each_and_those_of_another_job_beside_them() -> None:
    flow = sage.Flow("apart")
    flow.from_collection([1]).map(str).with_parallelism(2).with_resources(anti_affinity=True).named("score").collect()
    plan = plan_from_graph(flow.graph())
    first, second = (
        [part for part in parts_from_tasks(tasks_from_plan(JobId(job), plan)) if part.demand.anti_affinity]
        for job in ("one", "two")
    )
    nodes = {A: NodeOffer(cpus=8), B: NodeOffer(cpus=8)}
    placed = place([*first, *second], nodes).nodes()
    assert {placed[part.id] for part in first} == {placed[part.id] for part in second} == {A, B}
    with pytest.raises(NoRoom, match=r"asks for a node without another of it: a has one of score of one already"):
        place(first, {A: NodeOffer(cpus=8)})
    assert "each on a node of its own" in str(explain(plan))


def test_replicas_of_an_engine_are_kept_apart_where_that_is_said() -> None:
    nodes = {A: NodeOffer(cpus=8, engines=("simulated",)), B: NodeOffer(cpus=8, engines=("simulated",))}
    spec = spec_from_text("simulated:cpu2,replicas=2,anti_affinity=true")
    assert set(place(parts_of_engines([spec]), nodes).nodes().values()) == {A, B}
    with pytest.raises(NoRoom, match="a, b have one of engine cpu2 already"):
        place(parts_of_engines([spec_from_text("simulated:cpu2,replicas=3,anti_affinity=true")]), nodes)
