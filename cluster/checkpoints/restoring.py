"""What a task goes on from, found in a checkpoint by the names of its steps. Pure; reads nothing itself.

The chains of a checkpoint need not be those of now: a step finds its state wherever it was, and where it has another
number of instances, what it holds is dealt out anew. Nothing is on its way between tasks in a checkpoint.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from cluster.checkpoints.manifest import Manifest, SavedTask
from cluster.runtime.messages import TaskSpec
from cluster.runtime.saving import Reading, ReadParts, TaskState
from operators.rescale import dealt_out, is_divisible
from operators.state import State, StepState
from sage.base.errors import CheckpointUnusable
from sage.flow.dealing import together
from sage.flow.spec import HOLDS_KEYS, Read

Load = Callable[[SavedTask], TaskState]


def state_for_task(manifest: Manifest, spec: TaskSpec, load: Load, lost: Collection[str] = ()) -> TaskState | None:
    """Return what `spec` goes on from; None where none of its steps is in the checkpoint.

    `lost`: steps that go on from nothing. Raises CheckpointUnusable where what is there cannot be dealt out.
    """
    load = _without(lost, load) if lost else load
    names = tuple(step.name for step in spec.chain.steps)
    shared = [task for task in manifest.tasks if not set(names).isdisjoint(task.steps)]
    own = next((task for task in shared if _is_of(task, names, spec)), None)
    depends = _depends_on_others(spec, manifest)
    if own is not None and not depends:
        return load(own)
    if not shared:
        return None
    shared.sort(key=lambda task: task.instance)
    states = {number: load(task) for number, task in enumerate(shared)}
    have_all_ended = all(state.has_ended for state in states.values())
    steps: dict[str, StepState] = {}
    for name in names:
        of_name = [number for number, task in enumerate(shared) if name in task.steps]
        if of_name:
            held = [_left_of(states[number], name, is_over=have_all_ended) for number in of_name]
            steps[name] = _dealt_out(held, spec, name, depends=depends)
    read = [states[number].reading for number, task in enumerate(shared) if task.steps[0] == names[0]]
    return replace(
        _merged(list(states.values()), spec) if own is None else states[shared.index(own)],
        steps=steps,
        reading=_read_by_all([reading for reading in read if reading is not None]),
        watermark_s=min(state.watermark_s for state in states.values()),
        has_ended=have_all_ended,
        is_final=all(state.is_final for state in states.values()),
    )


def _without(lost: Collection[str], load: Load) -> Load:
    def loaded(task: SavedTask) -> TaskState:
        state = load(task)
        return replace(state, steps={name: step for name, step in state.steps.items() if name not in lost})

    return loaded


def _is_of(task: SavedTask, names: tuple[str, ...], spec: TaskSpec) -> bool:
    return (task.steps, task.parallelism, task.instance) == (names, spec.chain.parallelism, spec.instance)


def _depends_on_others(spec: TaskSpec, manifest: Manifest) -> bool:
    """Say whether a task goes on from what all instances held, also where they are as many as before.

    What a source is dealt is dealt anew, and so what comes to the instances after it, up to where records are parted by
    key: how far each was in event time, and whether it had ended, says nothing of what will come to it now. Where
    one instance reads each source, and all chains are as they were, each goes on from what was its own.
    """
    is_keyed = any(isinstance(step.spec, HOLDS_KEYS) for step in spec.chain.steps)
    return spec.chain.parallelism > 1 and not is_keyed and (_is_read_by_several(spec) or _is_changed(spec, manifest))


def _is_read_by_several(spec: TaskSpec) -> bool:
    return any(chain.parallelism > 1 and isinstance(chain.steps[0].spec, Read) for chain in spec.chains)


def _is_changed(spec: TaskSpec, manifest: Manifest) -> bool:
    now = {(tuple(step.name for step in chain.steps), chain.parallelism) for chain in spec.chains}
    return now != {(task.steps, task.parallelism) for task in manifest.tasks}


def _left_of(state: TaskState, name: str, *, is_over: bool) -> StepState:
    """Return what a step held, for a task that goes on; one that had ended has said what it had by key.

    `is_over`: all tasks had ended, and go on so.
    """
    step = state.steps.get(name, StepState())
    return replace(step, keyed=None, panes={}, stored=()) if state.has_ended and not is_over else step


def _dealt_out(states: Sequence[StepState], spec: TaskSpec, name: str, *, depends: bool) -> StepState:
    if len(states) != spec.chain.parallelism and not is_divisible(states):
        raise _cannot(f"step {name!r} had {len(states)} instances and now has {spec.chain.parallelism}", "as before")
    dealt = dealt_out(states, spec.instance, spec.chain.parallelism)
    if depends:
        return replace(dealt, heard=[each for state in states for each in state.heard], is_dealt=True)
    return dealt


def _merged(states: Sequence[TaskState], spec: TaskSpec) -> TaskState:
    if any(state.waiting for state in states):
        raise _cannot(f"records waited for an index before what is chain {spec.chain.id!r} now", "chained so")
    counts = tuple(map(sum, zip(*(state.counts for state in states), strict=True))) if spec.instance == 0 else ()
    return TaskState(_NO_STEPS, counts=counts)


def _read_by_all(readings: Sequence[Reading]) -> Reading | None:
    parts = [reading.read for reading in readings if isinstance(reading, ReadParts)]
    return ReadParts(together(parts)) if parts else next(iter(readings), None)


_NO_STEPS: State = {}


def _cannot(what: str, how: str) -> CheckpointUnusable:
    return CheckpointUnusable(
        f"the checkpoint cannot be gone on from: {what}",
        f'Run it {how} until a later checkpoint, or begin anew: resume="never".',
    )
