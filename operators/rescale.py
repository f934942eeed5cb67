"""What each instance of a step goes on with where there were another number of them before. Pure; knows no files."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from operators.partition import instance_of
from operators.state import KEYED, StepState


def dealt_out(states: Sequence[StepState], instance: int, num_instances: int) -> StepState:
    """Return what instance number `instance` of `num_instances` goes on with, where `states` are those before it.

    They keep what they have where there are as many as before.
    """
    if len(states) == num_instances:
        return states[instance]
    panes: dict[str, dict[Hashable, Any]] = {}
    for state in states:
        for pane, values in state.all_panes().items():
            own = panes.setdefault(pane, {})
            own |= {key: value for key, value in values.items() if instance_of(key, num_instances) == instance}
    grown = _piece([item for state in states for item in state.grown], instance, num_instances)
    held = _piece([item for state in states for item in state.held], instance, num_instances)
    heard = [each for state in states for each in state.heard]
    shared = states[0].shared if states else None
    stored = [each for state in states for each in state.stored]
    keyed = panes.pop(KEYED, None)
    return StepState(keyed, grown, held, shared=shared, panes=panes, heard=heard, stored=stored, is_dealt=True)


def is_divisible(states: Iterable[StepState]) -> bool:
    """Say whether another number of instances can go on with `states`."""
    return all(state.fixed is None for state in states)


def _piece(items: Sequence[Any], instance: int, num_instances: int) -> Sequence[Any]:
    return items[len(items) * instance // num_instances : len(items) * (instance + 1) // num_instances]
