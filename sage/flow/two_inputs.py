"""What processes and joins are told: steps that may have two inputs. Knows nothing of how they compute."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sage.flow.process import KeyedProcess
from sage.flow.windows import Session, Sliding, Tumbling


@dataclass(frozen=True, slots=True)
class Process:
    """Give each key's records to a process that `make` makes, one for each instance of the step.

    `has_two`: the second input is keyed too; `has_broadcast`: it is a broadcast stream. `states`: name and kind of each
    state that it declares.
    """

    make: Callable[[], KeyedProcess[Any, Any, Any]]
    sides: tuple[str, ...] = ()
    expires: bool = False
    has_two: bool = False
    has_broadcast: bool = False
    states: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Within:
    """Pair each record of the first input with those of the second from `before_s` before to `after_s` after it."""

    before_s: float
    after_s: float


@dataclass(frozen=True, slots=True)
class JoinWindows:
    """Pair the records of both inputs that are in one window."""

    shape: Tumbling | Sliding | Session


@dataclass(frozen=True, slots=True)
class AsOf:
    """Pair each record of the first input with the last of the second that is not later."""

    is_outer: bool = False


def takes_two(spec: object) -> bool:
    """Say whether a step has a first and a second input, and is given their records as `(0, record)`, `(1, record)`."""
    return isinstance(spec, Within | JoinWindows | AsOf) or (
        isinstance(spec, Process) and (spec.has_two or spec.has_broadcast)
    )


def has_broadcast(spec: object) -> bool:
    """Say whether the second input of a step is a broadcast stream, without keys and without part in its time."""
    return isinstance(spec, Process) and spec.has_broadcast
