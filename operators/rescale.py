"""What each instance of a step goes on with where there were another number of them before. Pure; knows no files."""

from collections.abc import Iterable, Sequence
from typing import Any

from operators.partition import instance_of
from operators.state import StepState


def dealt_out(states: Sequence[StepState], instance: int, num_instances: int) -> StepState:
    """Return what instance number `instance` of `num_instances` goes on with, where `states` are those before it.

    They keep what they have where there are as many as before.
    """
    if len(states) == num_instances:
        return states[instance]
    keyed = {
        key: value
        for state in states
        for key, value in (state.keyed or {}).items()
        if instance_of(key, num_instances) == instance
    }
    grown = _piece([item for state in states for item in state.grown], instance, num_instances)
    held = _piece([item for state in states for item in state.held], instance, num_instances)
    shared = states[0].shared if states else None
    return StepState(keyed if any(state.keyed is not None for state in states) else None, grown, held, shared=shared)


def is_divisible(states: Iterable[StepState]) -> bool:
    """Say whether another number of instances can go on with `states`."""
    return all(state.fixed is None for state in states)


def _piece(items: Sequence[Any], instance: int, num_instances: int) -> Sequence[Any]:
    return items[len(items) * instance // num_instances : len(items) * (instance + 1) // num_instances]
