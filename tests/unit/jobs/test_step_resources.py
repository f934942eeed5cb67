"""What `with_resources` asks for decides where a step's tasks go."""

import pytest

import sage
from cluster.jobs.parts import parts_from_tasks
from cluster.jobs.placement import place
from cluster.jobs.tasks import tasks_from_plan
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
