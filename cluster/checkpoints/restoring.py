"""What a task goes on from, found in a checkpoint by the names of its steps. Pure; reads nothing itself.

The chains of a checkpoint need not be those of now: a step finds its state wherever it was, and where it has another
number of instances, what it holds is dealt out anew. Nothing is on its way between tasks in a checkpoint.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from cluster.checkpoints.manifest import Manifest, SavedTask
from cluster.runtime.messages import TaskSpec
from cluster.runtime.saving import TaskState
from operators.rescale import dealt_out, is_divisible
from operators.state import State, StepState
from sage.base.errors import CheckpointUnusable

Load = Callable[[SavedTask], TaskState]


def state_for_task(manifest: Manifest, spec: TaskSpec, load: Load) -> TaskState | None:
    """Return what `spec` goes on from; None where none of its steps is in the checkpoint.

    Raises CheckpointUnusable where what is there cannot be dealt out.
    """
    names = tuple(step.name for step in spec.chain.steps)
    shared = [task for task in manifest.tasks if not set(names).isdisjoint(task.steps)]
    for task in shared:
        if (task.steps, task.parallelism, task.instance) == (names, spec.chain.parallelism, spec.instance):
            return load(task)
    if not shared:
        return None
    shared.sort(key=lambda task: task.instance)
    states = {number: load(task) for number, task in enumerate(shared)}
    steps: dict[str, StepState] = {}
    for name in names:
        own = [states[number].steps.get(name, StepState()) for number, task in enumerate(shared) if name in task.steps]
        if own:
            steps[name] = _dealt_out(own, spec, name)
    return replace(_merged(list(states.values()), spec), steps=steps)


def _dealt_out(states: Sequence[StepState], spec: TaskSpec, name: str) -> StepState:
    if len(states) != spec.chain.parallelism and not is_divisible(states):
        raise _cannot(f"step {name!r} had {len(states)} instances and now has {spec.chain.parallelism}", "as before")
    return dealt_out(states, spec.instance, spec.chain.parallelism)


def _merged(states: Sequence[TaskState], spec: TaskSpec) -> TaskState:
    chain = spec.chain.id
    if len({(state.has_ended, state.is_final) for state in states}) > 1:
        raise _cannot(f"some of what is chain {chain!r} now had ended in the checkpoint, and some not", "chained so")
    if any(state.waiting for state in states):
        raise _cannot(f"records waited for an index before what is chain {chain!r} now", "chained so")
    readings = [state.reading for state in states if state.reading is not None]
    return TaskState(
        steps=_NO_STEPS,
        reading=readings[0] if readings else None,
        watermark_s=min(state.watermark_s for state in states),
        has_ended=states[0].has_ended,
        is_final=states[0].is_final,
        counts=tuple(map(sum, zip(*(state.counts for state in states), strict=True))) if spec.instance == 0 else (),
    )


_NO_STEPS: State = {}


def _cannot(what: str, how: str) -> CheckpointUnusable:
    return CheckpointUnusable(
        f"the checkpoint cannot be gone on from: {what}",
        f'Run it {how} until a later checkpoint, or begin anew: resume="never".',
    )
