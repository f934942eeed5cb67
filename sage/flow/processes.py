"""From a process as users give it to what its step is told. Knows nothing of how it runs."""

from collections.abc import Callable, Iterable
from copy import copy
from functools import partial
from inspect import isgeneratorfunction
from typing import Any

from sage.flow.process import KeyedProcess, expires
from sage.flow.spec import Process
from sage.flow.where import refusal


def process_spec(
    process: Callable[[], KeyedProcess[Any, Any, Any]] | KeyedProcess[Any, Any, Any],
    kind: type[Any],
    sides: Iterable[str],
    *,
    has_two: bool = False,
    has_broadcast: bool = False,
) -> Process:
    """Return the step of a class or function that makes a `kind`, or of one that is copied for each instance.

    Raises FlowInvalid for anything else.
    """
    if missing := sorted(getattr(process, "__abstractmethods__", ())):
        do = f"Define {' and '.join(f'{name}(self, record, context)' for name in missing)} in it."
        raise refusal(f"{process!r:.80} does not say what it does with a record", do, param="process")
    if isgeneratorfunction(getattr(process, "on_broadcast", None)):
        what = "on_broadcast gives records, and as many times as the step has instances"
        raise refusal(what, "Let it change broadcast states, and return None.", param="process")
    given: object = process
    make = partial(copy, process) if isinstance(process, KeyedProcess) else process
    made: object = make() if callable(given) or isinstance(given, KeyedProcess) else given
    if not isinstance(made, kind):
        do = f"Give a class that inherits from sage.{kind.__name__}, or a function that makes one."
        raise refusal(f"process takes a sage.{kind.__name__}, got {process!r:.80}", do, param="process")
    return Process(make, tuple(sides), expires(made), has_two, has_broadcast)
