"""Placement: never more on a node than it has, always the same answer, and a reason where there is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.jobs.placement import NodeRoom, place
from cluster.runtime.messages import TaskSpec
from sage.base.demand import Demand
from sage.base.errors import NoRoom
from sage.base.ids import JobId, NodeId, TaskId
from sage.base.resources import Resources
from sage.flow.graph import Step, Where
from sage.flow.plan import Chain
from sage.flow.spec import Map


def tasks_asking(wanted: Resources, name: str = "work", num: int = 1) -> list[TaskSpec]:
    step = Step(
        name,
        Map(abs),
        (),
        Where("flow.py", 7),
        parallelism=num,
        demand=Demand(wanted.cpus, wanted.gpus, wanted.memory_bytes),
    )
    chain = Chain(name, (step,), num, step.demand)
    return [TaskSpec(TaskId(f"job/{name}/{i}"), JobId("job"), chain, i, (), ()) for i in range(num)]


def room(name: str, free: Resources, total: Resources | None = None) -> NodeRoom:
    return NodeRoom(NodeId(name), total or free, free)


amounts = st.builds(
    Resources,
    cpus=st.sampled_from([0.0, 0.1, 0.3, 1.0, 2.5]),
    gpus=st.sampled_from([0.0, 0.5, 1.0]),
    memory_bytes=st.integers(0, 100),
)


@given(
    wanted=st.lists(st.tuples(amounts, st.integers(1, 4)), max_size=6),
    nodes=st.lists(
        st.builds(Resources, cpus=st.floats(0, 8), gpus=st.sampled_from([0.0, 2.0]), memory_bytes=st.integers(0, 300)),
        min_size=1,
        max_size=4,
    ),
)
def test_no_node_is_given_more_than_it_has_and_the_answer_is_always_the_same(
    wanted: list[tuple[Resources, int]], nodes: list[Resources]
) -> None:
    tasks = [task for at, (need, num) in enumerate(wanted) for task in tasks_asking(need, f"step-{at}", num)]
    rooms = [room(f"node-{at}", free) for at, free in enumerate(nodes)]
    try:
        placement = place(tasks, rooms)
    except NoRoom:
        with pytest.raises(NoRoom):
            place(tasks, rooms)
        return
    assert set(placement) == {task.id for task in tasks}
    for node in rooms:
        free = node.free
        for task in tasks:
            if placement[task.id] == node.node_id:
                free = free.minus(task.chain.demand.amounts)
    assert dict(place(tasks, rooms)) == dict(placement)


def test_tasks_that_ask_for_nothing_are_spread_evenly() -> None:
    rooms = [room("a", Resources(cpus=2)), room("b", Resources(cpus=4))]
    placement = place(tasks_asking(Resources(), num=4), rooms)
    assert sorted(placement.values()) == ["a", "a", "b", "b"]


def test_the_node_with_the_most_room_is_taken_first() -> None:
    rooms = [room("a", Resources(cpus=2)), room("b", Resources(cpus=4))]
    assert list(place(tasks_asking(Resources(cpus=2)), rooms).values()) == ["b"]
    assert sorted(place(tasks_asking(Resources(cpus=2), num=3), rooms).values()) == ["a", "b", "b"]


def test_the_free_room_of_a_node_is_not_lent_to_another() -> None:
    rooms = [room("a", Resources(cpus=1)), room("b", Resources(cpus=1))]
    with pytest.raises(NoRoom, match="asks for 2 CPUs: a has 1 of 1 CPUs free; b has 1 of 1 CPUs free"):
        place(tasks_asking(Resources(cpus=2)), rooms)


def test_what_is_missing_is_said_with_step_line_and_node() -> None:
    rooms = [room("a", Resources(cpus=4, memory_bytes=1000), Resources(cpus=8, memory_bytes=5000))]
    wanted = tasks_asking(Resources(cpus=2, gpus=1, memory_bytes=2000), "embed", 3)
    with pytest.raises(NoRoom) as caught:
        place(wanted, rooms)
    assert caught.value.what == (
        "instance 1 of 3 of embed (flow.py:7) asks for 2 CPUs and 1 GPUs and 2,000 bytes of memory: "
        "a has 0 of 0 GPUs and 1,000 of 5,000 bytes of memory free"
    )


def test_without_a_node_there_is_no_room() -> None:
    with pytest.raises(NoRoom, match="there is no node"):
        place(tasks_asking(Resources(cpus=1)), [])
