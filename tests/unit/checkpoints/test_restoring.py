"""A step finds what it held by its name, however many instances and whichever chains there are now."""

from collections.abc import Hashable

import pytest

from cluster.checkpoints.manifest import Manifest, SavedTask
from cluster.checkpoints.restoring import state_for_task
from cluster.jobs.tasks import tasks_from_plan
from cluster.runtime.messages import TaskSpec
from cluster.runtime.saving import ReadFrom, TaskState
from operators.partition import instance_of
from operators.state import StepState
from sage.base.errors import CheckpointUnusable
from sage.base.ids import JobId
from sage.flow.flow import Flow
from sage.flow.plan import plan_from_graph


def specs(parallelism: int) -> list[TaskSpec]:
    flow = Flow("words")
    keyed = flow.from_collection(["a"]).named("read").key_by(len).named("key")
    keyed.count().named("count").with_parallelism(parallelism).for_each(print).named("print")
    return list(tasks_from_plan(JobId("job"), plan_from_graph(flow.graph())))


class Taken:
    """A checkpoint of the flow with `parallelism` instances of its count, each holding the keys that are its."""

    def __init__(self, parallelism: int) -> None:
        self.states: dict[tuple[tuple[str, ...], int], TaskState] = {}
        tasks = []
        for spec in specs(parallelism):
            names = tuple(step.name for step in spec.chain.steps)
            tasks.append(SavedTask(names, spec.instance, spec.chain.parallelism, ()))
            steps = {}
            if "count" in names:
                own = [key for key in range(100) if instance_of(key, parallelism) == spec.instance]
                steps["count"] = StepState(keyed=dict.fromkeys(own, 7))
            reading = ReadFrom(42) if "read" in names else None
            self.states[names, spec.instance] = TaskState(steps=steps, reading=reading, counts=(10,))
        self.manifest = Manifest(1, "words", JobId("job"), 1.0, tuple(tasks))

    def load(self, task: SavedTask) -> TaskState:
        return self.states[task.steps, task.instance]

    def for_tasks(self, parallelism: int) -> list[tuple[TaskSpec, TaskState]]:
        found = [(spec, state_for_task(self.manifest, spec, self.load)) for spec in specs(parallelism)]
        return [(spec, state) for spec, state in found if state is not None]


@pytest.mark.parametrize("before", [1, 2, 3])
@pytest.mark.parametrize("now", [1, 2, 5])
def test_every_key_is_where_its_records_go_and_only_there(before: int, now: int) -> None:
    keys: list[Hashable] = []
    for spec, state in Taken(before).for_tasks(now):
        for key in state.steps["count"].keyed or {} if "count" in state.steps else ():
            keys.append(key)
            assert instance_of(key, now) == spec.instance
    assert sorted(keys, key=repr) == sorted(range(100), key=repr)


def test_the_source_goes_on_where_it_was_and_counts_go_on() -> None:
    taken = Taken(2)
    found = taken.for_tasks(1)
    assert [state.reading for _, state in found if state.reading is not None] == [ReadFrom(42)]
    assert sum(sum(state.counts) for _, state in found) == 10 * len(taken.states)


def test_what_only_stays_whole_is_not_dealt_out() -> None:
    taken = Taken(2)
    for key, state in taken.states.items():
        if "count" in state.steps:
            taken.states[key] = TaskState(steps={"count": StepState(fixed=1)})
    with pytest.raises(CheckpointUnusable, match="'count' had 2 instances and now has 3"):
        taken.for_tasks(3)


def test_steps_that_are_new_begin() -> None:
    flow = Flow("words")
    flow.from_collection([1]).named("other").for_each(print).named("new")
    (spec,) = tasks_from_plan(JobId("job"), plan_from_graph(flow.graph()))
    taken = Taken(1)
    assert state_for_task(taken.manifest, spec, taken.load) is None


def mapped(num_read: int, num_mapped: int = 2) -> list[TaskSpec]:
    flow = Flow("mapped")
    read = flow.from_collection([1, 2, 3]).named("read").with_parallelism(num_read)
    times = read.map(abs).named("map").with_parallelism(num_mapped).assign_timestamps(float, partition=abs)
    times.named("times").with_parallelism(num_mapped).for_each(print).named("print").with_parallelism(1)
    return list(tasks_from_plan(JobId("job"), plan_from_graph(flow.graph())))


def gone_on_with(before: list[TaskSpec], now: list[TaskSpec]) -> list[StepState]:
    """Return what each instance of the clock goes on with, where each heard of a partition of its own number."""
    tasks = {task.id: SavedTask(names_of(task), task.instance, task.chain.parallelism, ()) for task in before}
    states = {
        tasks[task.id]: TaskState(
            {"times": StepState(heard=[(task.instance, 1.0)])} if "times" in names_of(task) else {}
        )
        for task in before
    }
    manifest = Manifest(1, "mapped", JobId("job"), 1.0, tuple(states))
    found = [state_for_task(manifest, spec, states.__getitem__) for spec in now if "times" in names_of(spec)]
    return [state.steps["times"] for state in found if state is not None]


def names_of(spec: TaskSpec) -> tuple[str, ...]:
    return tuple(step.name for step in spec.chain.steps)


def test_after_a_source_of_one_instance_each_goes_on_with_its_own_where_all_is_as_it_was() -> None:
    assert gone_on_with(mapped(1), mapped(1)) == [StepState(heard=[(0, 1.0)]), StepState(heard=[(1, 1.0)])]


@pytest.mark.parametrize(
    ("before", "now"),
    [(mapped(2), mapped(2)), (mapped(2), mapped(1)), (mapped(1), mapped(2)), (mapped(1), mapped(1, 3))],
)
def test_where_what_comes_is_dealt_anew_each_hears_of_all(before: list[TaskSpec], now: list[TaskSpec]) -> None:
    found = gone_on_with(before, now)
    assert [(state.heard, state.is_dealt) for state in found] == [([(0, 1.0), (1, 1.0)], True)] * len(found)
    assert len(found) in (2, 3)
