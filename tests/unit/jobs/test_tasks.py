"""Tasks and links of a plan: who is joined to whom, by which routing."""

import sage
from cluster.jobs.tasks import tasks_from_plan
from cluster.runtime.messages import TaskSpec
from sage.base.ids import JobId
from sage.flow.plan import Routing, plan_from_graph


def tasks_of(flow: sage.Flow) -> dict[str, TaskSpec]:
    return {task.id: task for task in tasks_from_plan(JobId("job"), plan_from_graph(flow.graph()))}


def test_a_keyed_channel_joins_every_instance_to_every_instance() -> None:
    flow = sage.Flow("keyed")
    counts = flow.from_collection(range(10)).key_by(abs).count().with_parallelism(3).named("counts")
    counts.for_each(print).with_parallelism(1).named("shown")
    tasks = tasks_of(flow)
    assert set(tasks) == {"job/from_collection/0", "job/counts/0", "job/counts/1", "job/counts/2", "job/shown/0"}
    (output,) = tasks["job/from_collection/0"].outputs
    assert output.routing is Routing.KEYED
    assert [link.target for link in output.links] == ["job/counts/0", "job/counts/1", "job/counts/2"]
    assert [spec.link.source for spec in tasks["job/shown/0"].inputs] == [f"job/counts/{n}" for n in range(3)]


def test_both_ends_of_a_link_know_it() -> None:
    flow = sage.Flow("diamond")
    numbers = flow.from_collection(range(10)).map(abs).with_parallelism(2)
    numbers.filter(bool).union(numbers.map(abs).with_parallelism(2)).for_each(print)
    tasks = tasks_of(flow).values()
    sent = {link for task in tasks for output in task.outputs for link in output.links}
    assert sent == {spec.link for task in tasks for spec in task.inputs}
    assert all(link.source == task.id for task in tasks for output in task.outputs for link in output.links)
    assert all(spec.link.target == task.id for task in tasks for spec in task.inputs)


def test_the_chain_that_asks_an_index_is_told_when_the_one_that_fills_it_has_ended() -> None:
    flow, index = sage.Flow("index"), sage.Index("docs")
    flow.from_collection([{"vector": [1.0]}]).named("docs").index_into(index)
    flow.from_collection([{"vector": [1.0]}]).named("questions").retrieve(index).for_each(print)
    tasks = tasks_of(flow)
    (spec,) = tasks["job/questions/0"].inputs
    assert (spec.is_completion, spec.link.source) == (True, "job/docs/0")
    (output,) = tasks["job/docs/0"].outputs
    assert output.routing is Routing.COMPLETION
