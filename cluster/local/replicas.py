"""Which replicas of an engine begin and end where another number of them is wanted. Pure; starts none."""

import itertools
from collections.abc import Container, Sequence

from sage.base.ids import EngineId


def scaled(
    name: str, present: Sequence[EngineId], num_replicas: int, taken: Container[EngineId] = ()
) -> tuple[list[EngineId], list[EngineId]]:
    """Return the ids that begin and those that end, the newest first, so that `num_replicas` of `present` are left.

    No id that is `taken` begins.

    >>> scaled("e", [EngineId("e")], 3)
    (['e-1', 'e-2'], [])
    >>> scaled("e", [EngineId("e")], 2, taken=[EngineId("e-1")])
    (['e-2'], [])
    >>> scaled("e", [EngineId("e-1"), EngineId("e-2"), EngineId("e-3")], 1)
    ([], ['e-3', 'e-2'])
    """
    unused = (EngineId(f"{name}-{number}") for number in itertools.count(1))
    free = (engine_id for engine_id in unused if engine_id not in present and engine_id not in taken)
    begin = list(itertools.islice(free, max(0, num_replicas - len(present))))
    return begin, list(reversed(present[num_replicas:]))
