"""The states that the class of a process declares. Knows nothing of what they hold."""

from typing import Any

from sage.flow.broadcast_process import BroadcastState
from sage.flow.process import ListState, MapState, ReducingState, ValueState

_KINDS = (ValueState, ListState, MapState, ReducingState, BroadcastState)


def declared_states(process: type[Any]) -> tuple[tuple[str, str], ...]:
    """Return name and kind of each state of a process, by name; a class of the user's own is of the kind it refines.

    >>> import sage
    >>> class Visits(sage.KeyedProcess):
    ...     num = sage.ValueState(0)
    >>> declared_states(Visits)
    (('num', 'ValueState'),)
    """
    found: dict[str, str] = {}
    for cls in reversed(process.__mro__):
        for name, held in vars(cls).items():
            kind = next((kind.__name__ for kind in _KINDS if isinstance(held, kind)), None)
            if kind is None:
                found.pop(name, None)
            else:
                found[name] = kind
    return tuple(sorted(found.items()))
