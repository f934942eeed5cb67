"""A question for what one instance of a step keeps of a key, and its answer. Knows neither actor nor socket."""

from collections.abc import Callable, Hashable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from operators.keycode import with_one_nan
from operators.machine import Machine, Queryable
from operators.partition import instance_of
from operators.state import not_kept
from sage.base.errors import FlowInvalid, SageError, StateUnreachable, UnknownState
from sage.base.ids import JobId, TaskId
from sage.flow.graph import Graph

Answer = Callable[[Any, SageError | None], object]
"""Called once with the value, or with what is wrong; on any thread, and must return soon."""


@dataclass(frozen=True, slots=True)
class LookUp:
    """What one task of a run keeps of `key` in `step`: for its node, and for the task."""

    run_id: JobId
    task_id: TaskId
    step: str
    key: Hashable
    answer: Answer


@dataclass(frozen=True, slots=True)
class StateWanted:
    """Which instance of which step is asked for what it keeps of `key`, and for how long."""

    step: str
    key: Hashable
    instance: int
    timeout_s: float

    def too_late(self) -> StateUnreachable:
        """Return the error for an answer that did not come in time."""
        what = f"step {self.step!r} did not answer within {self.timeout_s:g} s"
        return StateUnreachable(what, "It works on a batch for so long: give timeout_s more, or ask again.")


def look_up(machine: Machine | None, wanted: LookUp) -> None:
    """Answer by a copy of what `machine` keeps; on its task's thread, between two batches."""
    value: Any = None
    error: SageError | None = None
    try:
        value = deepcopy(_value(machine, wanted))
    except SageError as refusal:
        error = refusal
    except Exception as refusal:  # noqa: BLE001 - what users keep may refuse to be copied in any way
        what = f"what step {wanted.step!r} keeps cannot be copied: {type(refusal).__name__}: {refusal}"
        error = UnknownState(what, "Keep plain values in the state.")
    wanted.answer(value, error)


def task_is_gone(task_id: TaskId) -> StateUnreachable:
    """Return the error for a task that runs no more, or not yet."""
    return StateUnreachable(f"task {task_id} does not run now", "Its job is over, or begins anew: try again.")


def instance_for(graph: Graph, step: str, key: Hashable) -> int:
    """Return which instance of a step has `key`. Raises: UnknownState where there is no such step; RecordFailed."""
    found = next((each for each in graph.steps if each.name == step), None)
    if found is None:
        names = ", ".join(each.name for each in graph.steps)
        raise UnknownState(f"the flow {graph.name!r} has no step {step!r}", f"Its steps: {names}.")
    try:
        hash(key)
    except TypeError as error:
        raise FlowInvalid(f"{key!r:.80} cannot be a key", "Give what key_by returned.", param="key") from error
    return instance_of(key, found.parallelism)


def _value(machine: Machine | None, wanted: LookUp) -> Any:
    if machine is None:
        raise task_is_gone(wanted.task_id)
    if not isinstance(machine, Queryable):
        raise not_kept(wanted.step)
    return machine.value_of(wanted.step, with_one_nan(wanted.key))
