"""From a process as users give it to what its step is told. Knows nothing of how it runs."""

from collections.abc import Callable, Iterable
from copy import copy
from dis import get_instructions
from functools import partial
from inspect import isgeneratorfunction
from types import FunctionType
from typing import Any, NamedTuple

from sage.flow.declared_states import declared_states
from sage.flow.process import KeyedProcess, ReducingState, expires
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
    if (twice := _put_in_twice(type(made))) is not None:
        what = f"{twice.where}: self.{twice.state} is read and assigned at once, as by +=, and is a ReducingState"
        do = f"What is assigned goes through its function: write self.{twice.state} = ..., or use a ValueState."
        raise refusal(f"{what}, so that what it holds would be put in twice", do, param="process")
    return Process(make, tuple(sides), expires(made), has_two, has_broadcast, declared_states(type(made)))


class _PutInTwice(NamedTuple):
    """A line of a process, and the state that it assigns in place."""

    where: str
    state: str


def _put_in_twice(kind: type[Any]) -> _PutInTwice | None:
    """Return where a method of `kind` says `self.total += ...` of a ReducingState; None where none does.

    Python makes `self` twice there, to read and to assign, and nowhere else.
    """
    reducing = {name for cls in kind.__mro__ for name, held in vars(cls).items() if isinstance(held, ReducingState)}
    methods = (held for cls in kind.__mro__ for held in vars(cls).values() if isinstance(held, FunctionType))
    for method in methods if reducing else ():
        itself = method.__code__.co_varnames[:1]
        found = list(get_instructions(method))
        for loaded, copied, read in zip(found, found[1:], found[2:], strict=False):
            is_itself = loaded.opname.startswith("LOAD_FAST") and (loaded.argval,) == itself
            if is_itself and copied.opname == "COPY" and read.opname == "LOAD_ATTR" and read.argval in reducing:
                line = read.positions.lineno if read.positions is not None else None
                return _PutInTwice(f"{method.__code__.co_filename}:{line}, {method.__qualname__}", str(read.argval))
    return None
